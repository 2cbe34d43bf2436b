"""Masks: which part of the input an element belongs to.

A mask is an integer tensor that broadcasts to the input. It holds the part of every element,
counted from 0, and -1 where nothing flickers.
"""

import math
import sys
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._checks import finite_floats, integer, number, shown

UNTAGGED = -1


def halves(shape: Sequence[int], dim: int = -1) -> Tensor:
    """Mask of two halves along a dimension: part 0 first (left), part 1 second (right).

    Args:
        shape (sequence of int): Shape of the input, batch first.
        dim (int, optional): Dimension to divide. Default: -1, the width of an image.

    Returns:
        Tensor: Integer mask that broadcasts to ``shape``, with size 1 in every other dimension.

    Raises:
        ValueError: If the dimension is the batch or shorter than 2.
        TypeError: If the shape or the dimension is of another type.

    Examples::

        >>> halves((1, 3, 4, 4)).flatten().tolist()
        [0, 0, 1, 1]
    """
    _validate_shape(shape)
    integer(dim, "dim", at_least=-sys.maxsize)
    if not -len(shape) < dim < len(shape) or dim == 0 or shape[dim] < 2:
        raise ValueError(
            f"Expected `dim` to be a dimension after the batch with at least 2 elements, but got "
            f"dimension {dim} of shape {tuple(shape)}; give `feature_mask` yourself"
        )
    dim %= len(shape)
    mask = torch.arange(shape[dim]) >= shape[dim] // 2
    return mask.long().reshape([-1 if d == dim else 1 for d in range(len(shape))])


def tiles(shape: Sequence[int], rows: int, columns: int) -> Tensor:
    """Mask of ``rows`` times ``columns`` rectangles, numbered in reading order.

    Args:
        shape (sequence of int): Shape of the input; its last two dimensions are divided.
        rows (int): Rectangles from top to bottom.
        columns (int): Rectangles from left to right.

    Returns:
        Tensor: Integer mask, shape ``(1, ..., 1, height, width)``.

    Raises:
        ValueError: If a rectangle would hold no element.
        TypeError: If a number is not an integer.

    Examples::

        >>> tiles((1, 3, 2, 4), rows=2, columns=2).squeeze().tolist()
        [[0, 0, 1, 1], [2, 2, 3, 3]]
    """
    row, column = _rows_and_columns(shape)
    height, width = shape[-2:]
    rows, columns = integer(rows, "rows"), integer(columns, "columns")
    if rows > height or columns > width:
        raise ValueError(
            f"Expected `rows` and `columns` to divide {height} x {width} elements, but got "
            f"{rows} x {columns}; for signals of shape (N, channels, length) take 1 row"
        )
    return row * rows // height * columns + column * columns // width


def disc(shape: Sequence[int], radius: float, center: tuple[float, float] | None = None) -> Tensor:
    """Mask of a disc, part 0, and what surrounds it, part 1.

    Args:
        shape (sequence of int): Shape of the input; the disc lies in its last two dimensions.
        radius (float): In pixels.
        center (tuple of float, optional): Row and column. Default: the middle

    Returns:
        Tensor: Integer mask, shape ``(1, ..., 1, height, width)``.

    Raises:
        ValueError: If one of the two parts would hold no pixel.

    Examples::

        >>> disc((1, 3, 3, 3), radius=1).squeeze().tolist()
        [[1, 0, 1], [0, 0, 0], [1, 0, 1]]
    """
    beyond = _distances(shape, center) > number(radius, "radius")
    return _with_all_parts(beyond.long(), 2, f"radius={radius}")


def ring(
    shape: Sequence[int], radii: Sequence[float], center: tuple[float, float] | None = None
) -> Tensor:
    """Mask of concentric rings; part ``i`` reaches from ``radii[i]`` to ``radii[i + 1]``.

    Args:
        shape (sequence of int): Shape of the input; the rings lie in its last two dimensions.
        radii (sequence of float): Two or more rising numbers, in pixels. If the first is 0, the
            first ring is a disc.
        center (tuple of float, optional): Row and column. Default: the middle

    Returns:
        Tensor: Integer mask, shape ``(1, ..., 1, height, width)``; -1 inside the first radius and
        outside the last.

    Raises:
        ValueError: If the radii do not rise, or a ring would hold no pixel.

    Examples::

        >>> ring((1, 3, 1, 9), radii=(1, 2, 3)).squeeze().tolist()
        [-1, 1, 0, -1, -1, -1, 0, 1, -1]
    """
    bounds = finite_floats(radii, "radii", "one ring is (10, 20)")
    if len(bounds) < 2 or bounds[0] < 0 or list(bounds) != sorted(set(bounds)):
        raise ValueError(
            "Expected `radii` to be two or more rising numbers, such as (10, 20) for one ring, but "
            f"got {shown(radii)}"
        )
    # A first ring from 0 includes the center itself.
    edges = torch.tensor([bounds[0] or -1.0, *bounds[1:]], dtype=torch.float64)
    mask = torch.bucketize(_distances(shape, center), edges) - 1
    mask[mask == len(bounds) - 1] = UNTAGGED
    return _with_all_parts(mask, len(bounds) - 1, f"radii={tuple(radii)}")


def sectors(
    shape: Sequence[int],
    n: int,
    center: tuple[float, float] | None = None,
    radius: float | None = None,
) -> Tensor:
    """Mask of equal sectors around a point, counterclockwise from the top: two are left and right.

    Args:
        shape (sequence of int): Shape of the input; its last two dimensions are divided.
        n (int): Number of sectors.
        center (tuple of float, optional): Row and column. Default: the middle
        radius (float, optional): Where sectors end, in pixels. Default: None, at the border

    Returns:
        Tensor: Integer mask, shape ``(1, ..., 1, height, width)``; -1 beyond the radius.

    Raises:
        ValueError: If a sector would hold no pixel.
        TypeError: If ``n`` is not an integer.

    Examples::

        >>> sectors((1, 3, 2, 2), 4).squeeze().tolist()
        [[0, 3], [1, 2]]
    """
    rows, columns = _offsets(shape, center)
    turns = torch.atan2(-columns, -rows) / (2 * math.pi) % 1
    mask = (turns * integer(n, "n")).long().clamp(max=n - 1)
    if radius is not None:
        mask[_distances(shape, center) > number(radius, "radius")] = UNTAGGED
    return _with_all_parts(mask, n, f"n={n}, radius={radius}")


def channel_groups(
    shape: Sequence[int], groups: int | Sequence[Sequence[int]], dim: int = 1
) -> Tensor:
    """Mask of channels, or groups of channels, of a layer whose output flickers (``tag_layer``).

    Args:
        shape (sequence of int): Shape of the layer's output, batch first.
        groups (int or sequence of sequences of int): A number of groups of neighboring channels,
            as equal as possible; or the channels of each group. Channels of no group stay as they
            are.
        dim (int, optional): Dimension of the channels. Default: 1

    Returns:
        Tensor: Integer mask that broadcasts to ``shape``, with size 1 in every other dimension;
        -1 for channels of no group.

    Raises:
        ValueError: If a group is empty, or a channel is in two groups or does not exist.
        TypeError: If an argument is of another type.

    Examples::

        >>> channel_groups((1, 5, 8, 8), 2).flatten().tolist()
        [0, 0, 0, 1, 1]
        >>> channel_groups((1, 5, 8, 8), [[4], [0, 2]]).flatten().tolist()
        [1, -1, 1, -1, 0]
    """
    _validate_shape(shape)
    integer(dim, "dim", at_least=-sys.maxsize)
    if not -len(shape) < dim < len(shape) or dim == 0:
        raise ValueError(
            f"Expected `dim` to be a dimension after the batch, but got {dim} for shape "
            f"{tuple(shape)}; channels of an image lie along 1"
        )
    n_channels = shape[dim]
    if isinstance(groups, (int, np.integer)) and not isinstance(groups, bool):
        n_groups = integer(groups, "groups")
        members = [part.tolist() for part in np.array_split(np.arange(n_channels), n_groups)]
    else:
        members = _members(groups)
    flat = [channel for group in members for channel in group]
    unknown = [channel for channel in flat if not 0 <= channel < n_channels]
    if unknown or len(set(flat)) < len(flat) or not members or not all(members):
        raise ValueError(
            f"Expected `groups` of different channels among 0 to {n_channels - 1}, at least one "
            f"in each, but got {shown(groups)}; `[[0, 1], [2]]` makes two"
        )
    mask = torch.full([n_channels], UNTAGGED)
    for part, group in enumerate(members):
        mask[group] = part
    dim %= len(shape)
    return mask.reshape([-1 if d == dim else 1 for d in range(len(shape))])


def _members(groups: object) -> list[list[int]]:
    """The channels of each group."""
    lists: list[list[Any]]
    try:
        lists = [torch.as_tensor(group).flatten().tolist() for group in groups]  # type: ignore[attr-defined]
    except (TypeError, ValueError, RuntimeError):
        lists = [[None]]
    if any(type(channel) is not int for channel in chain(*lists)):
        raise TypeError(
            "Expected `groups` to be a number, or a list of channels for each group, as in "
            f"[[0, 1], [2]], but got {shown(groups)}"
        )
    return lists


def _validate_shape(shape: Sequence[int]) -> None:
    whole = isinstance(shape, Sequence) and all(isinstance(n, (int, np.integer)) for n in shape)
    if not whole or min(shape, default=0) < 0:
        raise TypeError(
            "Expected `shape` to be that of an input, such as (1, 3, 224, 224), but got "
            f"{shown(shape)}; pass `inputs.shape`"
        )


def _rows_and_columns(shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Row and column of every pixel; together they broadcast to ``(1, ..., 1, height, width)``."""
    _validate_shape(shape)
    if len(shape) < 3:
        raise ValueError(
            "Expected `shape` to be that of an input, examples first and height and width last, "
            f"but got {tuple(shape)}; of signals, `halves` divides any dimension"
        )
    height, width = shape[-2:]
    return torch.arange(height).reshape([1] * (len(shape) - 2) + [height, 1]), torch.arange(width)


def _offsets(shape: Sequence[int], center: tuple[float, float] | None) -> tuple[Tensor, Tensor]:
    """Distances of every pixel from a point, down and to the right."""
    rows, columns = _rows_and_columns(shape)
    if center is None:
        center = (shape[-2] - 1) / 2, (shape[-1] - 1) / 2
    point = finite_floats(center, "center", "give its row and column")
    if len(point) != 2:
        raise ValueError(
            f"Expected `center` to be a row and a column, but got {shown(center)}; the default is "
            "the middle"
        )
    row, column = point
    return rows.double() - row, columns.double() - column


def _distances(shape: Sequence[int], center: tuple[float, float] | None) -> Tensor:
    return torch.hypot(*_offsets(shape, center))


def _with_all_parts(mask: Tensor, n_parts: int, arguments: str) -> Tensor:
    """The mask, if every part has a pixel."""
    missing = set(range(n_parts)) - set(torch.unique(mask).tolist())
    if missing:
        height, width = mask.shape[-2:]
        raise ValueError(
            f"Expected every part to have a pixel, but with {arguments} in {height} x {width} "
            f"pixels part {min(missing)} has none; signals are divided by `tiles` with 1 row"
        )
    return mask
