"""Tag images one after the other: print what responds most, and write what was found."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from ..attr.tagging import FrequencyTaggingAttribution
from ..design import Design
from ..report.spectra import MOST_EXAMPLES
from ..spectrum.tagged import TaggedSpectrum
from .examples import Example
from .networks import told
from .printing import say
from .tables import shown_components, strongest_channels, write_table
from .written import write_layer, write_stimulus

# Images, each with the spectra of its layers.
Found = list[tuple[Example, list[TaggedSpectrum]]]


@dataclass
class Tagging:
    """A network whose layers are read, and the parts that flicker.

    Args:
        model (Module): In eval mode.
        layers (sequence of str): Names of the layers.
        design (Design): How the parts flicker.
        names (sequence of str): What the parts are called.
        for_page (bool): Whether to keep what `write_page` takes. Default: False
    """

    model: nn.Module
    layers: Sequence[str]
    design: Design
    names: Sequence[str]
    for_page: bool = False

    def write_all(self, examples: Iterable[Example], n_examples: int, folder: Path) -> Found:
        """Tag images, print a table for each, and write pictures, spectra and all numbers.

        Of several images each has a folder, of several layers each has one within.

        Returns:
            list[tuple[Example, list[TaggedSpectrum]]]: The first images of one size, each with the
            spectra of the layers' neurons; empty if they are not for a page.
        """
        spectra: dict[str, list[TaggedSpectrum]] = {}
        tried: set[torch.Size] = set()
        found: Found = []
        on_terminal, several = sys.stderr.isatty(), n_examples > 1
        without_bar = not (several and on_terminal)
        for example in tqdm(examples, "images", n_examples, unit="image", disable=without_bar):
            if example.image.shape not in tried:
                tried.add(example.image.shape)
                self._try(example)
            of_image = folder / example.name if several else folder
            of_image.mkdir(exist_ok=True)
            responses = self._write(example, of_image, on_terminal and not several)
            spectra[example.name] = [channels for channels, _ in responses]
            if self.for_page and len(found) < MOST_EXAMPLES and len(tried) == 1:
                found.append((example, [neurons for _, neurons in responses]))
        write_table(folder / "table.csv", spectra)
        return found

    def _try(self, example: Example) -> None:
        """Run the network once, to say in a sentence if it does not take such images."""
        shape = tuple(example.image.shape)
        with torch.no_grad():
            told(f"the network, given an image of shape {shape},", self.model, example.image)

    def _write(
        self, example: Example, folder: Path, show_progress: bool
    ) -> list[tuple[TaggedSpectrum, TaggedSpectrum]]:
        """Write what is found of one image."""
        write_stimulus(folder, example, self.design)
        responses = self._respond(example, show_progress)
        for layer, (channels, neurons) in zip(self.layers, responses, strict=True):
            of_layer = folder / layer if len(self.layers) > 1 else folder
            of_layer.mkdir(exist_ok=True)
            table = strongest_channels(channels, self.names)
            without_maps = write_layer(of_layer, example, channels, neurons)
            found = (f"{example.title}, {layer}:", table, without_maps)
            say("\n".join(filter(None, found)) + "\n")
        return responses

    def _respond(
        self, example: Example, show_progress: bool
    ) -> list[tuple[TaggedSpectrum, TaggedSpectrum]]:
        """The response of each layer, of its channels and of its neurons."""
        method: Any = FrequencyTaggingAttribution(self.model, list(self.layers))
        shown = {
            "baselines": example.baselines,
            "feature_mask": example.mask,
            "design": self.design,
            "show_progress": show_progress,
        }
        channels = method.spectrum(example.image, pooling="channel", **shown)
        for layer, spectrum in zip(self.layers, channels, strict=True):
            if not isinstance(spectrum, TaggedSpectrum):
                raise ValueError(
                    f"Expected --layer to give one tensor, but {layer} gives {len(spectrum)}; take "
                    "a layer inside it"
                )
        # A page shows every component of every neuron; maps need less memory.
        components = channels[0].components
        if not self.for_page:
            shown_somewhere = {c for spectrum in channels for c in shown_components(spectrum)}
            components = tuple(c for c in components if c in shown_somewhere)
        neurons = method.spectrum(example.image, components=components, **shown)
        return list(zip(channels, neurons, strict=True))
