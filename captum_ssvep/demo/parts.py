"""Which parts of an image flicker: the masks of the command line."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .._checks import count
from ..stimulus.masks import UNTAGGED, disc, ring, sectors, tiles

# A drawing with more colors than this was smoothed or compressed.
MOST_PARTS = 64
USAGE = (
    "halves, tiles RxC, disc [RADIUS], ring [RADIUS RADIUS ...], sectors N, or the path of a "
    "picture or an .npy file"
)

Size = tuple[int, int]
# Makes an input of shape (channels, height, width) of a picture.
Prepare = Callable[[Image.Image], Tensor]


@dataclass(frozen=True)
class Parts:
    """How images are divided.

    Args:
        names (tuple[str, ...]): What the parts are called.
        mask (callable): From the height and width of an input, those of its picture, and what makes
            inputs of pictures, to the mask; None for left and right half.
    """

    names: tuple[str, ...]
    mask: Callable[[Size, Size, Prepare], Tensor | None]


def parts_of(words: Sequence[str]) -> Parts:
    """The parts that the user asks for.

    Radii are in pixels of the network's input. A disc has a quarter of the smaller side as its
    radius; rings are, by default, that disc and the ring around it, up to half of the smaller side.

    Args:
        words (sequence of str): What follows ``--mask``.

    Raises:
        ValueError: If the words say nothing that is known, or there is no such file.
    """
    if len(words) == 1 and not Path(words[0]).is_file():
        words = words[0].split() or words  # as in quotes
    kind, *values = words
    if kind == "halves" and not values:
        return Parts(("left half", "right half"), lambda *_: None)
    if kind == "tiles" and (found := re.fullmatch(r"([1-9]\d*)[xX]([1-9]\d*)", "x".join(values))):
        rows, columns = map(int, found.groups())
        return _numbered(rows * columns, lambda size: tiles((1, 1, *size), rows, columns))
    if kind == "sectors" and len(values) == 1 and re.fullmatch(r"[1-9]\d*", values[0]):
        n = int(values[0])
        return _numbered(n, lambda size: sectors((1, 1, *size), n))
    if kind in ("disc", "ring"):
        return _round(kind, [_number(value, words) for value in values], words)
    if kind in ("halves", "tiles", "sectors") or len(words) > 1:
        raise _unknown(words)
    return _drawn(Path(kind))


def _numbered(n_parts: int, divide: Callable[[Size], Tensor]) -> Parts:
    names = tuple(f"part {part}" for part in range(n_parts))
    return Parts(names, lambda size, *_: divide(size))


def _round(kind: str, radii: list[float], words: Sequence[str]) -> Parts:
    """Parts around the middle."""
    if kind == "disc" and len(radii) <= 1:

        def divide(size: Size) -> Tensor:
            _refuse_outside(radii, size, words)
            return disc((1, 1, *size), radii[0] if radii else min(size) / 4)

        return Parts(("disc", "surround"), lambda size, *_: divide(size))
    if kind == "ring" and len(radii) != 1:

        def rings(size: Size) -> Tensor:
            _refuse_outside(radii[:-1], size, words)
            return ring((1, 1, *size), radii or [0, min(size) / 4, min(size) / 2])

        return _numbered(len(radii) - 1 if radii else 2, rings)
    raise _unknown(words)


def _refuse_outside(radii: Sequence[float], size: Size, words: Sequence[str]) -> None:
    """Refuse radii beyond which there is no pixel."""
    corner = math.hypot(size[0] - 1, size[1] - 1) / 2
    if max(radii, default=0) >= corner:
        raise ValueError(
            f"Expected --mask {words[0]} with pixels beyond each inner radius, but "
            f"{max(radii):g} leaves none in {size[0]} x {size[1]} pixels; take a smaller radius, "
            f"up to {math.ceil(corner) - 1}"
        )


def _number(value: str, words: Sequence[str]) -> float:
    try:
        return float(value)
    except ValueError:
        raise _unknown(words) from None


def _unknown(words: Sequence[str]) -> ValueError:
    return ValueError(f"Expected --mask to be {USAGE}, but got {' '.join(words)}; try tiles 2x2")


def _drawn(path: Path) -> Parts:
    """The parts of a mask in a file."""
    if not path.is_file():
        raise ValueError(
            f"Expected --mask to be {USAGE}, but there is no file {path}; try tiles 2x2"
        )
    ids = _array(path) if path.suffix == ".npy" else _ranked(_levels(path), path)
    n_parts = int(ids.max(initial=UNTAGGED)) + 1
    missing = set(range(n_parts)) - set(np.unique(ids).tolist())
    if not n_parts or missing:
        raise ValueError(
            f"Expected --mask to number its parts from 0, but {path} has no part "
            f"{min(missing, default=0)}; -1 stands for what does not flicker"
        )
    names = tuple(f"part {part}" for part in range(n_parts))
    return Parts(names, lambda *sizes: _fitted(torch.from_numpy(ids), path, *sizes))


def _array(path: Path) -> NDArray[np.int64]:
    """The integers in a file of NumPy."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        array = np.array(None)
    if array.ndim != 2 or array.dtype.kind not in "iub" or array.size == 0 or array.min() < -1:
        what = f"{array.dtype} of shape {array.shape}" if array.ndim else "none"
        is_float = array.ndim == 2 and array.dtype.kind == "f"
        remedy = "save integers, as `mask.astype(int)`" if is_float else "save them with `np.save`"
        raise ValueError(
            f"Expected --mask to hold integers from -1 of shape (height, width), but {path} holds "
            f"{what}; {remedy}"
        )
    ids: NDArray[np.int64] = array.astype(np.int64)
    return ids


def _levels(path: Path) -> NDArray[np.int64]:
    """One number per pixel and color of a picture; -1 where it is clear."""
    try:
        with Image.open(path) as picture:
            if picture.mode in ("1", "L", "P") or picture.mode[0] == "I":
                return np.array(picture).astype(np.int64)
            colors = np.array(picture.convert("RGBA")).astype(np.int64)
    except Exception as error:  # pictures can be damaged in many ways
        raise ValueError(
            f"Expected --mask to be {USAGE}, but {path} cannot be read as a picture ({error}); "
            "save it as a PNG"
        ) from None
    codes: NDArray[np.int64] = colors[..., :3] @ np.array([1 << 16, 1 << 8, 1])
    return np.where(colors[..., 3] == 0, UNTAGGED, codes)


def _ranked(levels: NDArray[np.int64], path: Path) -> NDArray[np.int64]:
    """The parts of a picture: the lowest number, or the darkest gray, is part 0."""
    kinds = np.unique(levels[levels != UNTAGGED])
    # JPEG smooths whatever has edges.
    most = 2 if path.suffix.lower() in (".jpg", ".jpeg") else MOST_PARTS
    if len(kinds) > most:
        kind = "JPEG" if most == 2 else "picture"
        raise ValueError(
            f"Expected --mask to be a {kind} of at most {most} flat colors, one for each "
            f"part, but {path} has {count(len(kinds), 'color')}; draw it without smooth edges and "
            "save it as a PNG"
        )
    return np.where(levels == UNTAGGED, UNTAGGED, np.searchsorted(kinds, levels))


def _fitted(ids: Tensor, path: Path, size: Size, of_picture: Size, prepare: Prepare) -> Tensor:
    """A drawn mask for one input, resized and cropped like the picture if it has its size.

    Each part is drawn in white on black and prepared like the picture. Pixels belong to the part
    that is brightest there.
    """
    drawn = tuple(ids.shape)
    if drawn == size:
        return ids
    if drawn != of_picture:
        fitting = " or ".join(f"{h} x {w}" for h, w in dict.fromkeys([size, of_picture]))
        raise ValueError(
            f"Expected --mask of {fitting} pixels (height x width), as the network's input or the "
            f"picture, but {path} has {drawn[0]} x {drawn[1]}; resize it without interpolation"
        )
    shares = []
    for part in range(UNTAGGED, int(ids.max()) + 1):
        white = (255 * (ids == part)).numpy().astype(np.uint8)
        shares.append(prepare(Image.fromarray(white).convert("RGB")).mean(dim=0))
    return torch.stack(shares).argmax(dim=0) + UNTAGGED
