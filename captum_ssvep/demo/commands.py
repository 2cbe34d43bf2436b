"""Tag one image: print which channels respond, write pictures and the spectrum."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from urllib.error import URLError

import matplotlib
import numpy as np
import torch
import torchvision
from matplotlib import pyplot as plt
from PIL import Image, ImageOps
from torch import Tensor, nn

from .. import visualization
from ..attr.tagging import FrequencyTaggingAttribution
from ..spectrum.tagged import TaggedSpectrum
from ..stimulus.frames import black
from . import digits

# The components in the table and the maps: each half by itself, and both together.
SHOWN = {(1, 0): "left half", (0, 1): "right half", (1, 1): "both"}
N_STRONGEST = 8


def run_demo(out: Path) -> None:
    """Tag two digits in the package's own network."""
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
        tag_image(network, "layer3", image[None], out / f"digit_{label}")


def run_model(name: str, layer: str, path: Path, weights: str, out: Path) -> None:
    """Tag an image file in a torchvision classifier."""
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        close = ", ".join(difflib.get_close_matches(name, names) or names)
        raise ValueError(
            f"Expected --model to name a torchvision classifier, but got {name}; try {close}"
        )
    preprocess = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    image = preprocess(load_picture(path))[None]
    model = load_model(name, weights)
    print(f"{path.name} through {name}, {layer}:")
    tag_image(model, layer, image, out, preprocess.mean, preprocess.std)


def load_picture(path: Path) -> Image.Image | Tensor:
    """A picture as a person sees it, in colors: turned upright, and on white where it is clear.

    Returns:
        Image or Tensor: A tensor of shape ``(3, height, width)`` from 0 to 1 if its numbers have
        more than 8 bits, to keep them.

    Raises:
        ValueError: If the file is no picture.
    """
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            if picture.mode[0] in "IF":
                return _grey_levels(picture, is_16_bit="16" in picture.mode or file.format == "PNG")
            if picture.getbands()[-1] == "A" or "transparency" in picture.info:
                clear = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
            return picture.convert("RGB")
    except Exception as error:  # pictures can be damaged in many ways
        raise ValueError(
            f"Expected --image to be a picture, but {path} cannot be read as one ({error}); "
            "give another file, such as a PNG or JPEG"
        ) from None


def _grey_levels(picture: Image.Image, is_16_bit: bool) -> Tensor:
    """A picture of integers or floats, its black at 0 and its white at 1.

    Of floats, 1 is white, or the largest if it is larger; of integers whose format does not say how
    deep they are, the largest number of the 8, 16 or 32 bits that hold them all.
    """
    levels = torch.from_numpy(np.array(picture, dtype=np.float32))
    levels = levels - levels.min().clamp(max=0)
    depths = (16,) if is_16_bit else (8, 16, 32)
    whites = [1] if picture.mode == "F" else [2**bits - 1 for bits in depths]
    white = next((white for white in whites if levels.max() <= white), levels.max())
    return (levels / white).expand(3, -1, -1)


def load_model(name: str, weights: str) -> nn.Module:
    """A torchvision classifier in eval mode, with the weights that the user chose."""
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
            model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        except UnpicklingError:
            raise ValueError(
                f"Expected --weights to be a state dict saved by torch.save, but {weights} is not"
            ) from None
    return model.eval()


def tag_image(
    model: nn.Module,
    layer: str,
    image: Tensor,
    out: Path,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> None:
    """Print the strongest channels of a layer, and write pictures and the spectrum.

    Args:
        model: A classifier in eval mode.
        layer: Name of the layer to tag.
        image: The image as the model takes it, shape ``(1, channels, height, width)``.
        out: Folder to write to.
        mean, std: Normalization of the image. Default: none
    """
    matplotlib.use("Agg")
    baselines = None if mean is None or std is None else black(mean, std)
    tagging = FrequencyTaggingAttribution(model, layer)
    channels = tagging.spectrum(image, baselines=baselines, pooling="channel")
    if not isinstance(channels, TaggedSpectrum):
        raise ValueError(f"Expected a layer with one tensor, but {layer} gives several")
    print(strongest_channels(channels))
    out.mkdir(parents=True, exist_ok=True)
    channels.save(out / "spectrum.npz")
    visualization.save_stimulus_gif(
        out / "stimulus.gif", image, baselines=baselines, mean=mean, std=std
    )
    # The channel that combines the halves most shows all three colors.
    channel = int(channels.amplitude((1, 1))[0].argmax())
    spectrum, axis = visualization.plot_spectrum(channels, channel)
    axis.set_title(f"Channel {channel} of {layer}, the strongest at f1 + f2")
    strip, _ = visualization.plot_stimulus(image, baselines=baselines, mean=mean, std=std)
    contrasts, _ = visualization.plot_contrasts(channels, channel)
    figures = {"stimulus.png": strip, "spectrum.png": spectrum, "contrast.png": contrasts}
    neurons = tagging.spectrum(image, baselines=baselines, components=tuple(SHOWN))
    has_maps = neurons.mean.dim() > 2
    if has_maps:
        figures["maps.png"], _ = visualization.plot_maps(neurons, image, mean=mean, std=std)
    for name, figure in figures.items():
        figure.savefig(out / name, dpi=120)
        plt.close(figure)
    print(f"Written to {out}: {', '.join(['spectrum.npz', 'stimulus.gif', *figures])}")
    print("" if has_maps else f"No maps: {layer} has no spatial dimensions.\n")


def strongest_channels(channels: TaggedSpectrum) -> str:
    """Table of the channels with the largest amplitude at each shown component."""
    columns = []
    for component, where in SHOWN.items():
        amplitude = channels.amplitude(component)[0]
        share = channels.reduce([component], "variance_share")[0]
        present = channels.snr(component)[0] > 1
        title = f"{channels.design.title(component)} ({where})"
        column = [f"{title:^26}", "channel  amplitude   share"]
        for c in amplitude.topk(min(N_STRONGEST, len(amplitude))).indices.tolist():
            row = f"{c:>7} {amplitude[c]:>10.4g} {share[c]:>7.1%}"
            column.append(row if present[c] else f"{'-':>26}")
        columns.append(column)
    rows = ["   |  ".join(row).rstrip() for row in zip(*columns, strict=True)]
    heading = (
        f"The {len(rows) - 2} channels of {channels.mean.shape[1]} that answer most (amplitude of "
        "the channel's mean activation,\nshare of its variance; - is below rounding; "
        f"{channels.design.n_distinct_frames} frames):"
    )
    return "\n".join([heading, *rows])
