"""Choose a design for a number of parts."""

import bisect
import math
from typing import Any, Literal, get_args

from .._checks import choice, count, integer
from .base import Design
from .collisions import collision_free_bins
from .components import MOST_VECTORS, n_vectors
from .fractions import MOST_FRAMES, n_products
from .grids import ChebyshevGrid, can_be_run
from .tags import TaggingDesign, Waveform
from .two_level import TwoLevelDesign

DesignKind = Literal["auto", "grid", "time", "two-level"]

# With more parts a grid needs too many frames (`benchmarks/accuracy.py`).
MOST_PARTS_OF_A_GRID = 4
# Parts times integer vectors up to the order. The search takes about 5 s for so many (2 cores).
MOST_SEARCHED = 100_000


def choose_design(
    n_parts: int,
    max_order: int = 4,
    kind: DesignKind = "auto",
    contrast: tuple[float, float] | None = None,
    waveform: Waveform = "sine",
) -> Design:
    """Choose a design for a number of parts, in which components up to an order do not collide.

    ``"grid"`` is a `ChebyshevGrid` with ``max_order + 1`` nodes. ``"time"`` is a short record with
    tags that are collision-free to ``max_order``: for two tags those whose path visits the Padua
    points (Bos et al. 2006), otherwise those that a search finds. ``"two-level"`` is a
    `TwoLevelDesign`, which takes the fewest frames for many parts. It gives up what lies between
    the two contrasts: parts are on or off, so that there is no response to contrast, and all odd
    orders of a part count as its first.

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
        kind (str, optional): ``"auto"``, ``"grid"``, ``"time"`` or ``"two-level"``. Take
            ``"time"`` for networks with memory, for noise and for films of the stimulus, and
            ``"two-level"`` to learn what combines with what among many parts.
            Default: ``"auto"``
        contrast (tuple of float, optional): Lowest and highest contrast. Default: None, (0.5, 1.0),
            or (0.0, 1.0) for ``"two-level"``
        waveform (str, optional): As in `TaggingDesign`; ``"triangle"`` only in time.
            Default: ``"sine"``

    Returns:
        Design: A `ChebyshevGrid`, a `TaggingDesign` or a `TwoLevelDesign`.

    Raises:
        ValueError: If ``n_parts`` or ``max_order`` is below 1, the kind is unknown or does not
            fit the waveform, or the design would take too many frames; the message says how many.
        TypeError: If a number is not an integer.

    Examples::

        >>> choose_design(2).n_distinct_frames
        25
        >>> design = choose_design(4, max_order=3, kind="time")
        >>> design.frequencies, design.n_distinct_frames, design.collision_free_order
        ((1.0, 6.0, 21.0, 66.0), 82, 3)
        >>> choose_design(25, 2, kind="two-level", contrast=(0, 1)).n_frames
        1024
    """
    n_parts, max_order = integer(n_parts, "n_parts"), integer(max_order, "max_order")
    choice(kind, "kind", get_args(DesignKind))
    choice(waveform, "waveform", get_args(Waveform))
    if kind in ("grid", "two-level") and waveform != "sine":
        raise ValueError(
            f"Expected `waveform` to be 'sine' for kind={kind!r}, which has no waves in time, but "
            f"got {waveform!r}; take kind='time'"
        )
    # Otherwise the design's own default.
    given: dict[str, Any] = {} if contrast is None else {"contrast": contrast}
    if kind == "two-level":
        return TwoLevelDesign(n_parts, max_order, **given)
    if not _is_affordable(n_parts, max_order, kind, waveform):
        raise _too_many_frames(n_parts, max_order, kind, waveform)
    if _is_grid(n_parts, kind, waveform):
        return ChebyshevGrid(n_parts, max_order + 1, **given)
    order = max_order + (kind == "auto")
    bins: tuple[int, ...] = (order + 1, order + 2)
    period = 2 * math.prod(bins)
    if n_parts != 2:
        bins, period = collision_free_bins(n_parts, order)
    return TaggingDesign(bins, period, 3 * period, phases=math.pi / 2, waveform=waveform, **given)


def _is_grid(n_parts: int, kind: DesignKind, waveform: Waveform) -> bool:
    fits_grid = n_parts <= MOST_PARTS_OF_A_GRID and waveform == "sine"
    return kind == "grid" or (kind == "auto" and fits_grid)


def _is_affordable(n_parts: int, max_order: int, kind: DesignKind, waveform: Waveform) -> bool:
    """Whether a design is found within seconds, and its frames fit into memory."""
    if _is_grid(n_parts, kind, waveform):
        return can_be_run(n_parts, max_order + 1)
    n_lines = n_vectors(n_parts, max_order + (kind == "auto"))
    return n_lines <= MOST_VECTORS if n_parts <= 2 else n_parts * n_lines <= MOST_SEARCHED


def _too_many_frames(
    n_parts: int, max_order: int, kind: DesignKind, waveform: Waveform
) -> ValueError:
    """The error for a design that is not affordable, with what is."""
    cost = f"{max_order + 1} ** {n_parts} frames"
    if not _is_grid(n_parts, kind, waveform):
        order = max_order + (kind == "auto")
        n_lines = n_vectors(n_parts, order)
        number = f"{n_lines:,}" if n_lines < 10**12 else f"10 ** {len(str(n_lines)) - 1}"
        cost = f"at least {number} frames, one for each line to order {order}"
    tries = range(1, 10**9)
    lower = bisect.bisect_left(
        tries, True, key=lambda m: not _is_affordable(n_parts, m, kind, waveform)
    )
    fewer = bisect.bisect_left(
        tries, True, key=lambda n: not _is_affordable(n, max_order, kind, waveform)
    )
    remedies = [f"max_order={lower}"] if lower else []
    if kind != "time" and _is_affordable(n_parts, max_order, "time", waveform):
        remedies.append("kind='time'")
    if n_products(n_parts, max_order) <= MOST_FRAMES:
        remedies.append("kind='two-level', which shows parts or does not")
    if fewer:
        remedies.append(f"at most {fewer} parts, each of several regions")
    if not remedies:
        remedies.append("fewer parts and a lower order")
    return ValueError(
        f"Expected `n_parts` and `max_order` of a design that is found in seconds, but "
        f"{count(n_parts, 'part')} to order {max_order} take {cost}; take {' or '.join(remedies)}"
    )
