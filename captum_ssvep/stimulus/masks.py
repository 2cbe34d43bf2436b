"""Masks: which part of the input an element belongs to.

A mask is an integer tensor that broadcasts to the input. It holds the part of every element,
counted from 0, and -1 where nothing flickers.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .._checks import integer

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

    Examples::

        >>> halves((1, 3, 4, 4)).flatten().tolist()
        [0, 0, 1, 1]
    """
    if not -len(shape) < dim < len(shape) or dim == 0 or shape[dim] < 2:
        raise ValueError(
            f"Expected a dimension of at least 2 elements after the batch to divide, but got "
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
            f"{rows} x {columns}"
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
    return _with_all_parts((_distances(shape, center) > radius).long(), 2, f"radius={radius}")


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
    if len(radii) < 2 or radii[0] < 0 or list(radii) != sorted(set(radii)):
        raise ValueError(
            "Expected `radii` to be two or more rising numbers, such as (10, 20) for one ring, but "
            f"got {radii}"
        )
    # A first ring from 0 includes the center itself.
    bounds = torch.tensor([radii[0] or -1.0, *radii[1:]], dtype=torch.float64)
    mask = torch.bucketize(_distances(shape, center), bounds) - 1
    mask[mask == len(radii) - 1] = UNTAGGED
    return _with_all_parts(mask, len(radii) - 1, f"radii={tuple(radii)}")


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
        mask[_distances(shape, center) > radius] = UNTAGGED
    return _with_all_parts(mask, n, f"n={n}, radius={radius}")


def _rows_and_columns(shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Row and column of every pixel; together they broadcast to ``(1, ..., 1, height, width)``."""
    if len(shape) < 3:
        raise ValueError(
            "Expected `shape` to be that of an input, examples first and height and width last, "
            f"but got {tuple(shape)}"
        )
    height, width = shape[-2:]
    return torch.arange(height).reshape([1] * (len(shape) - 2) + [height, 1]), torch.arange(width)


def _offsets(shape: Sequence[int], center: tuple[float, float] | None) -> tuple[Tensor, Tensor]:
    """Distances of every pixel from a point, down and to the right."""
    rows, columns = _rows_and_columns(shape)
    row, column = ((n - 1) / 2 for n in shape[-2:]) if center is None else center
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
            f"pixels part {min(missing)} has none"
        )
    return mask
