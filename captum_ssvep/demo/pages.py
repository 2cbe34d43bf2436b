"""The page about everything that was found."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from .._checks import count
from ..report import write_report
from ..spectrum.tagged import TaggedSpectrum
from .examples import Example
from .folders import nearest_folder
from .printing import in_options


def refuse_unwritable(path: Path) -> None:
    """Refuse a place for the page before there is one.

    Raises:
        ValueError: If the path is a folder, lies in a file or has another ending.
    """
    if path.is_dir() or path.suffix not in (".html", ".htm"):
        fitting = path / "report.html" if path.is_dir() else path.with_suffix(".html")
        raise ValueError(
            f"Expected --report to be a file that ends in .html, but got {path}; try {fitting}"
        )
    nearest_folder(path.parent, "--report")


def write_page(
    path: Path,
    found: Sequence[tuple[Example, Sequence[TaggedSpectrum]]],
    facts: Mapping[str, object],
    caught: Sequence[str],
) -> None:
    """Write a page about the neurons of layers.

    Args:
        path (Path): Where to write it; its folder is made.
        found (sequence of tuple): Images of one size, each with the spectra of its layers.
        facts (mapping): What else readers should know; its ``"network"`` is in the title.
        caught (sequence of str): Warnings that came up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    examples = [example for example, _ in found]
    first = examples[0]
    names = [example.name for example in examples]
    layers = [spectrum.layer for spectrum in found[0][1]]
    where = layers[0] if len(layers) == 1 else count(len(layers), "layer")
    write_report(
        path,
        [_joined(layer) for layer in zip(*(spectra for _, spectra in found), strict=True)],
        images=torch.cat([example.image for example in examples]),
        feature_mask=first.mask,
        baselines=first.baselines,
        mean=first.mean,
        std=first.std,
        title=f"{', '.join(names)}: {where} of {facts['network']}",
        facts=facts,
        caught=caught,
        image_names=names,
    )


def _joined(spectra: Sequence[TaggedSpectrum]) -> TaggedSpectrum:
    """The spectra of single images as that of a batch."""
    dimensions = {"lines": 1, "neighbor_lines": 1, "mean": 0, "variance": 0, "floor": 0}
    tensors: dict[str, Any] = {
        name: torch.cat([getattr(spectrum, name) for spectrum in spectra], dim)
        for name, dim in dimensions.items()
    }
    return replace(spectra[0], **tensors)


@contextmanager
def remembered_warnings() -> Iterator[list[str]]:
    """Show warnings as before, and keep what they say."""
    messages: list[str] = []
    show = warnings.showwarning

    def keep(message: Warning | str, *place: Any, **more: Any) -> None:
        messages.append(in_options(str(message)))
        show(message, *place, **more)

    with warnings.catch_warnings():
        warnings.showwarning = keep
        yield messages
