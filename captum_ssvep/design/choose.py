"""Choose a design for a number of parts."""

import math
from typing import Literal, get_args

from .._checks import integer, unknown_choice
from .base import Design
from .collisions import collision_free_bins
from .grids import ChebyshevGrid
from .tags import TaggingDesign, Waveform

DesignKind = Literal["auto", "grid", "time"]

# With more parts a grid needs too many frames (`benchmarks/accuracy.py`).
MOST_PARTS_OF_A_GRID = 4


def choose_design(
    n_parts: int,
    max_order: int = 4,
    kind: DesignKind = "auto",
    contrast: tuple[float, float] = (0.5, 1.0),
    waveform: Waveform = "sine",
) -> Design:
    """Choose a design for a number of parts, in which components up to an order do not collide.

    ``"grid"`` is a `ChebyshevGrid` with ``max_order + 1`` nodes. ``"time"`` is a short record with
    tags that are collision-free to ``max_order``: for two tags those whose path visits the Padua
    points (Bos et al. 2006), otherwise those that `collision_free_bins` finds.

    ``"auto"`` is the grid for up to 4 parts. With two and four parts the grid is more exact than
    tags with as many frames. With three it is more exact at orders 3 and 4, and less exact at
    order 2. For more parts a grid would need too many frames, and it cannot sample triangle waves.
    Then ``"auto"`` takes tags that are collision-free to one order above ``max_order``, because
    aliases of the next order cause most of the error in the highest components.

    In time, one period lasts a second and is shown three times, so that two bins on either side of
    every component hold only noise. The repeats add no distinct frame and cost nothing.

    Args:
        n_parts (int): Number of parts.
        max_order (int, optional): Components up to this order do not collide. Higher orders need
            more frames. Default: 4
        kind (str, optional): ``"auto"``, ``"grid"`` or ``"time"``. Take ``"time"`` for networks
            with memory, for noise and for films of the stimulus. Default: ``"auto"``
        contrast (tuple of float, optional): As in `TaggingDesign`. Default: (0.5, 1.0)
        waveform (str, optional): As in `TaggingDesign`; ``"triangle"`` only in time.
            Default: ``"sine"``

    Returns:
        Design: A `ChebyshevGrid` or a `TaggingDesign`.

    Raises:
        ValueError: If ``n_parts`` or ``max_order`` is below 1, or the kind is unknown or does not
            fit the waveform.
        TypeError: If a number is not an integer.

    Examples::

        >>> choose_design(2).n_distinct_frames
        25
        >>> design = choose_design(4, max_order=3, kind="time")
        >>> design.frequencies, design.n_distinct_frames, design.collision_free_order
        ((1.0, 6.0, 21.0, 66.0), 82, 3)
    """
    n_parts, max_order = integer(n_parts, "n_parts"), integer(max_order, "max_order")
    if kind not in get_args(DesignKind):
        raise unknown_choice("kind", kind, get_args(DesignKind))
    if kind == "grid" and waveform != "sine":
        raise ValueError(
            "Expected `waveform` to be 'sine' for kind='grid', whose Chebyshev nodes sample a "
            f"sine, but got {waveform!r}; take kind='time'"
        )
    fits_grid = n_parts <= MOST_PARTS_OF_A_GRID and waveform == "sine"
    if kind == "grid" or (kind == "auto" and fits_grid):
        return ChebyshevGrid(n_parts, max_order + 1, contrast)
    order = max_order + (kind == "auto")
    bins: tuple[int, ...] = (order + 1, order + 2)
    period = 2 * math.prod(bins)
    if n_parts != 2:
        bins, period = collision_free_bins(n_parts, order)
    return TaggingDesign(
        bins, period, 3 * period, phases=math.pi / 2, contrast=contrast, waveform=waveform
    )
