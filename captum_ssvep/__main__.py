"""The command line: tag one image, print what answers, write pictures and the spectrum."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from urllib.error import URLError

import matplotlib
import numpy as np
import torch
import torchvision
from captum.attr import visualization as captum_visualization
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from . import visualization
from .attr.tagging import FrequencyTaggingAttribution
from .demo import digits
from .design.tags import TaggingDesign
from .spectrum.tagged import TaggedSpectrum
from .stimulus.frames import black
from .visualization.maps import guess_layout, mean_of_channels

# What the table and the maps show: each half alone, and both together.
SHOWN = ((1, 0), (0, 1), (1, 1))
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments (sequence of str, optional): Default: those of the process.

    Returns:
        int: Exit status: 0, or 2 with one line on what was wrong.
    """
    parser = argparse.ArgumentParser(
        prog="captum-ssvep",
        description="Flicker the halves of an image at 6 and 7.5 Hz and see which neurons answer.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="two digits through the embedded network, offline")
    run = commands.add_parser("run", help="any image through any torchvision classifier")
    run.add_argument("--model", required=True, help="torchvision name, such as resnet18")
    run.add_argument("--layer", required=True, help="name of a module, such as layer4")
    run.add_argument("--image", required=True, type=Path, help="image file")
    run.add_argument(
        "--weights",
        default="default",
        help="path of a state dict, 'none' for random weights; default: torchvision's pretrained",
    )
    for command in (demo, run):
        command.add_argument("--out", required=command is run, type=Path, help="folder to write to")
    demo.set_defaults(out=Path("demo_output"))
    options = parser.parse_args(arguments)
    matplotlib.use("Agg")
    try:
        if options.command == "demo":
            run_demo(options.out)
        else:
            run_model(options.model, options.layer, options.image, options.weights, options.out)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"captum-ssvep: {error}", file=sys.stderr)
        return 2
    return 0


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
    design = TaggingDesign()
    out.mkdir(parents=True, exist_ok=True)
    tagging = FrequencyTaggingAttribution(model, layer)
    channels = tagging.spectrum(
        image.values,
        baselines=image.baselines,
        design=design,
        pooling=lambda activations: mean_of_channels(activations, guess_layout(activations)),
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
    _save(plot_contrast(channels, channel, layer), out / "contrast.png")
    written = ["spectrum.npz", "stimulus.png", "stimulus.gif", "spectrum.png", "contrast.png"]
    if neurons.mean.dim() > 2:
        _save(plot_maps(neurons, image), out / "maps.png")
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
        title = design.title(component)
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


def plot_maps(neurons: TaggedSpectrum, image: TaggedImage) -> Figure:
    """The image, and where in it the neurons answer each half and both."""
    height, width = image.values.shape[-2:]
    picture = visualization.to_pixels(image.values, image.mean, image.std)[0]
    if picture.ndim == 2:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.7), layout="constrained")
    axes[0].imshow(picture)
    axes[0].axvline(width // 2 - 0.5, color="0.5", linestyle="--", linewidth=1)
    axes[0].set_title("image: left f1, right f2")
    axes[0].set_axis_off()
    for axis, component, cmap in zip(axes[1:], SHOWN, ("Reds", "Greens", "Blues"), strict=True):
        amplitude = neurons.amplitude(component)
        title = neurons.design.title(component)
        if neurons.snr(component).max() <= 1:
            axis.set_title(f"{title}: none")
            axis.set_axis_off()
            continue
        captum_visualization.visualize_image_attr(
            visualization.to_map(amplitude, (height, width), reduction="energy"),
            picture,
            method="blended_heat_map",
            sign="positive",
            plt_fig_axis=(figure, axis),
            cmap=cmap,
            alpha_overlay=0.7,
            title=title,
            use_pyplot=False,
        )
    figure.supxlabel(
        "amplitude, root of the sum of squares over channels; each map on its own scale"
    )
    return figure


def plot_contrast(channels: TaggedSpectrum, channel: int, layer: str) -> Figure:
    """How a channel follows the contrast of each half, and of both."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, parts in zip(axes, (None, (0, 1)), strict=True):
        visualization.plot_contrast_response(channels, channel, parts, ax=axis)
        axis.set_title(f"Channel {channel} of {layer}")
    return figure


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
