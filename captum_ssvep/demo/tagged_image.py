"""Tag one image: print what answers, write pictures and the spectrum."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from urllib.error import URLError

import matplotlib
import torch
import torchvision
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from .. import visualization
from ..attr.tagging import FrequencyTaggingAttribution
from ..design import TaggingDesign
from ..spectrum.tagged import TaggedSpectrum
from ..stimulus.frames import black
from . import digits

# What the table and the maps show: each half alone, and both together.
WHERE = {(1, 0): "left half", (0, 1): "right half", (1, 1): "both"}
SHOWN = tuple(WHERE)
N_STRONGEST = 8


@dataclass(frozen=True)
class TaggedImage:
    """One image as its model takes it, shape ``(1, channels, height, width)``."""

    values: Tensor
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    @property
    def baselines(self) -> Tensor | float:
        """Black, as the model sees it."""
        return 0.0 if self.mean is None or self.std is None else black(self.mean, self.std)


def run_demo(out: Path) -> None:
    """Tag two digits in the embedded network."""
    network = digits.load_network()
    images, labels = digits.load_test_set()
    accuracy = digits.accuracy(network, images, labels)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    print(
        f"Embedded residual network, {n_parameters:,} parameters: {accuracy:.1%} correct on "
        f"{len(labels)} handwritten digits it was not trained on.\n"
    )
    for image, label in zip(*digits.example_images(), strict=True):
        print(f"A handwritten {label}, layer3:")
        tag_image(network, "layer3", TaggedImage(image[None]), out / f"digit_{label}")


def run_model(name: str, layer: str, path: Path, weights: str, out: Path) -> None:
    """Tag an image file in a torchvision classifier."""
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        close = ", ".join(difflib.get_close_matches(name, names)) or ", ".join(names)
        raise ValueError(f"Expected --model to name a torchvision classifier, got {name}: {close}")
    preprocess = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    model = load_model(name, weights)
    with Image.open(path) as file:
        values = preprocess(file.convert("RGB"))[None]
    image = TaggedImage(values, preprocess.mean, preprocess.std)
    print(f"{path.name} through {name}, {layer}:")
    tag_image(model, layer, image, out)


def load_model(name: str, weights: str) -> nn.Module:
    """A torchvision classifier in eval mode, with the weights asked for."""
    pretrained = torchvision.models.get_model_weights(name).DEFAULT
    try:
        model: nn.Module = torchvision.models.get_model(
            name, weights=pretrained if weights == "default" else None
        )
    except URLError as error:
        raise ValueError(
            f"Expected to download {pretrained.url}, but could not ({error.reason}); give a state "
            "dict with --weights PATH, or --weights none for random weights"
        ) from None
    if weights not in ("default", "none"):
        try:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        except UnpicklingError:
            raise ValueError(
                f"Expected --weights to be a state dict saved by torch.save, but {weights} is not"
            ) from None
        model.load_state_dict(state)
    return model.eval()


def tag_image(model: nn.Module, layer: str, image: TaggedImage, out: Path) -> None:
    """Print the strongest channels of a layer and write the pictures and the spectrum."""
    matplotlib.use("Agg")
    design = TaggingDesign()
    out.mkdir(parents=True, exist_ok=True)
    tagging = FrequencyTaggingAttribution(model, layer)
    channels = tagging.spectrum(
        image.values, baselines=image.baselines, design=design, pooling="channel"
    )
    neurons = tagging.spectrum(
        image.values, baselines=image.baselines, design=design, components=SHOWN, n_neighbors=0
    )
    if not isinstance(channels, TaggedSpectrum) or not isinstance(neurons, TaggedSpectrum):
        raise ValueError(f"Expected a layer with one tensor, but {layer} gives several")
    print(strongest_channels(channels))
    channels.save(out / "spectrum.npz")
    strip, _ = visualization.plot_stimulus(
        image.values, design, baselines=image.baselines, mean=image.mean, std=image.std
    )
    _save(strip, out / "stimulus.png")
    visualization.save_stimulus_gif(
        out / "stimulus.gif",
        image.values,
        design,
        baselines=image.baselines,
        mean=image.mean,
        std=image.std,
    )
    # The channel that combines the halves most is the one with all three colours to show.
    channel = int(channels.amplitude((1, 1))[0].argmax())
    spectrum, axis = visualization.plot_spectrum(channels, channel)
    axis.set_title(f"Channel {channel} of {layer}, the strongest at f1 + f2")
    _save(spectrum, out / "spectrum.png")
    contrasts, _ = visualization.plot_contrasts(channels, channel)
    _save(contrasts, out / "contrast.png")
    written = ["spectrum.npz", "stimulus.png", "stimulus.gif", "spectrum.png", "contrast.png"]
    if neurons.mean.dim() > 2:
        maps, _ = visualization.plot_maps(neurons, image.values, mean=image.mean, std=image.std)
        _save(maps, out / "maps.png")
        written.append("maps.png")
    print(f"Written to {out}: {', '.join(written)}")
    print("" if "maps.png" in written else f"No maps: {layer} has no spatial dimensions.\n")


def strongest_channels(channels: TaggedSpectrum) -> str:
    """Table of the channels with the largest amplitude at each shown component."""
    design = channels.design
    columns = []
    for component in SHOWN:
        amplitude = channels.amplitude(component)[0]
        share = channels.reduce([component], "variance_share")[0]
        strongest = amplitude.topk(min(N_STRONGEST, len(amplitude))).indices.tolist()
        title = f"{design.title(component)} ({WHERE[component]})"
        present = channels.snr(component)[0] > 1
        columns.append(
            [f"{title:^26}", f"{'channel':>7} {'amplitude':>10} {'share':>7}"]
            + [
                f"{c:>7} {amplitude[c]:>10.4g} {share[c]:>7.1%}" if present[c] else f"{'-':>26}"
                for c in strongest
            ]
        )
    rows = ["   |  ".join(row).rstrip() for row in zip(*columns, strict=True)]
    return "\n".join(
        [
            f"The {len(rows) - 2} channels of {channels.mean.shape[1]} that answer most (amplitude "
            "of the channel's mean activation,\nshare of its variance; - is below rounding; "
            f"{design.n_distinct_frames} frames):",
            *rows,
        ]
    )


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=120)
    plt.close(figure)
