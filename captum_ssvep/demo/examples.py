"""Turn pictures into inputs of a network, with what black is there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from .._checks import shown
from .networks import Network
from .parts import Parts
from .pictures import load_picture, size_of


@dataclass(frozen=True)
class Example:
    """An image as a network takes it.

    Args:
        name (str): What the table of all images and folders call it.
        title (str): What is printed above its own table.
        image (Tensor): Shape ``(1, channels, height, width)``.
        baselines (Tensor or None): What black is; None for 0. Default: None
        mean, std (tuple of float or None): Normalization of the channels, to undo it in pictures;
            None for none. Default: None
        mask (Tensor or None): The part of every pixel; None for left and right half. Default: None
    """

    name: str
    title: str
    image: Tensor
    baselines: Tensor | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    mask: Tensor | None = None


def load_example(path: Path, name: str, network: Network, parts: Parts, device: str) -> Example:
    """Read a picture and make an input of it.

    Black and white are what the preprocessing makes of a black and a white picture of the same
    size, and the normalization is the line through both. So any function will do that treats all
    pictures alike.

    Args:
        path (Path): The picture.
        name (str): What to call it.
        network (Network): What takes it.
        parts (Parts): How to divide it.
        device (str): Where the network is.

    Raises:
        ValueError: If the file is no picture, the preprocessing gives no image, or the mask does
            not fit.
    """

    def prepare(picture: Image.Image | Tensor) -> Tensor:
        return _image(network.preprocess(picture), network.name)

    picture = load_picture(path)
    height, width = size_of(picture)
    black, white = (
        prepare(Image.new("RGB", (width, height), color)) for color in ("black", "white")
    )
    image = prepare(picture)
    mean, std = _normalization(black, white, network.name)
    mask = parts.mask((image.shape[1], image.shape[2]), (height, width), prepare)
    title = f"{name}{path.suffix} through {network.name}"
    return Example(name, title, image[None].to(device), black[None].to(device), mean, std, mask)


def _image(prepared: Any, name: str) -> Tensor:
    """What the preprocessing gave, if it is an image."""
    if not isinstance(prepared, Tensor) or prepared.dim() != 3 or not prepared.is_floating_point():
        dtype = f" of {prepared.dtype}" if isinstance(prepared, Tensor) else ""
        raise ValueError(
            f"Expected the preprocessing of {name} to give a floating tensor of shape (channels, "
            f"height, width), but got {shown(prepared)}{dtype}; `transforms.ToTensor()` makes one"
        )
    return prepared


def _normalization(
    black: Tensor, white: Tensor, name: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, with which 0 and 1 become black and white."""
    if black.shape != white.shape:
        raise _unequal(name, f"shapes {tuple(black.shape)} and {tuple(white.shape)}")
    # What a border adds to both is not what tells them apart.
    reach, place = (white - black).flatten(1).double().max(dim=1)
    if not reach.isfinite().all() or not (reach > 0).all():
        raise _unequal(name, "no larger values for white than for black")
    lowest = black.flatten(1).double().gather(1, place[:, None])[:, 0]
    return tuple((-lowest / reach).tolist()), tuple((1 / reach).tolist())


def _unequal(name: str, found: str) -> ValueError:
    return ValueError(
        f"Expected the preprocessing of {name} to treat all pictures alike, as "
        f"`transforms.Normalize` does, but a black and a white one have {found}; divide by fixed "
        "numbers and not by those of each picture"
    )
