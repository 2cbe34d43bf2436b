"""Tags for a screen: whole cycles of its frames, within a band, with room for the noise."""

import math

import numpy as np
from numpy.typing import NDArray

from .._checks import count
from .base import Design
from .components import integer_vectors, n_vectors

# Free bins on each side of every component: what a z-score of EEG compares it with.
N_NEIGHBORS = 10
# Parts times integer vectors up to twice the order. The search takes seconds for so many.
MOST_SEARCHED = 2**16
# Frames of a record: 18 minutes at 120 Hz.
MOST_FRAMES = 2**17
# Bins of a wide band that are tried, sets of tags that are kept, and those that are compared.
MOST_BINS, MOST_SETS, MOST_COMPARED = 128, 4000, 512
# Cells of the tables that are held at once.
MOST_CELLS = 2**22


def display_bins(
    band: tuple[int, int], n_frames: int, n_parts: int, max_order: int, subharmonics: bool
) -> tuple[int, ...] | None:
    """Find the bins of tags for a screen; None if there are none.

    Sets of tags grow by one tag at a time. The first goal is the collision-free order, to
    ``max_order``; the second the order to which every component has `N_NEIGHBORS` free bins on each
    side, which is so where the lowest line has these below it and the highest above. Of the sets
    found, the best has the fewest components to ``max_order`` without such room, a collision-free
    order above ``max_order`` by up to two, the fewest components above the Nyquist frequency, the
    nearest free bins and the widest gaps between lines.

    Args:
        band: Lowest and highest bin of a tag.
        n_frames: Frames in the record.
        n_parts: Number of tags.
        max_order: Components up to this order are to have lines of their own.
        subharmonics: Whether tags are to be odd multiples of two bins. In an even number of frames
            all components then lie on even bins, and half a tag's frequency on an odd one.

    Examples::

        >>> display_bins((50, 150), 600, 2, 4, subharmonics=False)
        (57, 71)
    """
    lines = np.arange(max(band[0], 1), min(band[1], (n_frames - 1) // 2) + 1)
    candidates = _thinned(lines[lines % 4 == 2] if subharmonics else lines, MOST_BINS)
    orders = range(max_order, 0, -1)
    for order in (m for m in orders if m == 1 or n_vectors(n_parts, m) <= n_frames):
        for room_order in range(max_order, -1, -1):
            sets = _sets_of_tags(candidates, n_frames, n_parts, order, room_order)
            if len(sets):
                return _best(sets, n_frames, max_order)
    return None


def traded(design: Design, max_order: int) -> list[str]:
    """What a design for a screen does not have, in words.

    Examples::

        >>> from captum_ssvep import TaggingDesign
        >>> traded(TaggingDesign((5.7, 7.1), 60, 600), 4)
        []
    """
    found = []
    if design.collision_free_order < max_order:
        found.append(
            f"they are collision-free to order {design.collision_free_order} only, since no tags "
            f"were found that are to order {max_order}"
        )
    components = design.components("all", max_order)
    try:
        neighbors = [design.neighbors(c, N_NEIGHBORS, max_order) for c in components]
    except ValueError:
        return [*found, f"fewer than {2 * N_NEIGHBORS} bins hold no component to order {max_order}"]
    crowded = [
        component
        for component, bins in zip(components, neighbors, strict=True)
        if sum(np.less(bins, design.line(component))) != N_NEIGHBORS
    ]
    if crowded:
        named = ", ".join(map(design.label, crowded[:3])) + ", ..." * (len(crowded) > 3)
        found.append(
            f"one side of {len(crowded)} of {count(len(components), 'component')} to order "
            f"{max_order} ({named}) has fewer than {N_NEIGHBORS} free bins, so that more neighbors "
            "lie on the other"
        )
    return found


def _sets_of_tags(
    candidates: NDArray[np.int64],
    n_frames: int,
    n_parts: int,
    order: int,
    room_order: int,
) -> NDArray[np.int64]:
    """Sets of tags, collision-free to one order and with room to another; in rising order."""
    sets = np.zeros((1, 0), dtype=np.int64)
    for n_missing in range(n_parts, 0, -1):
        last = len(candidates) - n_missing + 1
        sets = _with_one_more(sets, candidates[: max(last, 0)], n_frames, order)
        for tag in range(sets.shape[1] - 1):
            sets = sets[~_are_harmonics(sets[:, tag], sets[:, -1], n_frames)]
        sets = _with_room(sets, n_frames, room_order)
        # Longer records have more room, so that fewer sets do.
        cells = max(n_frames, n_vectors(n_parts - 1, 2 * order))
        sets = _thinned(sets, min(MOST_SETS, max(1, MOST_CELLS // cells)))
    return sets


def _with_one_more(
    sets: NDArray[np.int64], candidates: NDArray[np.int64], n_frames: int, order: int
) -> NDArray[np.int64]:
    """Sets with every higher tag none of whose multiples closes a null combination."""
    norm, n_tags = 2 * order, sets.shape[1]
    vectors = integer_vectors(n_tags, norm) if n_tags else np.zeros((1, 0), dtype=np.int64)
    norms = np.abs(vectors).sum(axis=1)
    # lowest[line, s]: the smallest norm with which the tags of set s reach a line.
    lowest = np.full((n_frames, len(sets)), norm + 1, dtype=np.int16)
    lines = vectors @ sets.T % n_frames
    for row in np.argsort(-norms, kind="stable"):
        lowest[lines[row], np.arange(len(sets))] = norms[row]
    fits = np.ones((len(candidates), len(sets)), dtype=bool)
    if n_tags:
        fits &= candidates[:, None] > sets[:, -1]
    for multiple in range(1, norm + 1):
        fits &= lowest[multiple * candidates % n_frames] > norm - multiple
    columns, rows = np.nonzero(fits.T)[::-1]
    return np.concatenate([sets[rows], candidates[columns][:, None]], axis=1)


def _are_harmonics(
    lower: NDArray[np.int64], higher: NDArray[np.int64], n_frames: int
) -> NDArray[np.bool_]:
    """Whether a tag is a multiple of another, or its second or third harmonic if folded."""
    found: NDArray[np.bool_] = higher % lower == 0
    for first, second in ((lower, higher), (higher, lower)):
        for multiple in (2, 3):
            found |= (multiple * first - second) % n_frames == 0
            found |= (multiple * first + second) % n_frames == 0
    return found


def _with_room(sets: NDArray[np.int64], n_frames: int, room_order: int) -> NDArray[np.int64]:
    """Sets whose lowest and highest line to an order leave enough bins below and above."""
    vectors = _positive_vectors(sets.shape[1], room_order)
    for vector in vectors[vectors[:, -1] != 0]:
        lines = _folded(sets @ vector, n_frames)
        sets = sets[(lines > N_NEIGHBORS) & (lines <= (n_frames - 1) // 2 - N_NEIGHBORS)]
    return sets


def _best(sets: NDArray[np.int64], n_frames: int, max_order: int) -> tuple[int, ...]:
    """The best set of tags; see `display_bins`."""
    n_parts = sets.shape[1]
    vectors = _positive_vectors(n_parts, max_order)
    n_crowded = _n_crowded(np.sort(_folded(sets @ vectors.T, n_frames), axis=1), n_frames)
    n_compared = min(MOST_COMPARED, MOST_CELLS // n_vectors(n_parts, max_order + 2))
    compared = _thinned(sets[n_crowded == n_crowded.min()], max(1, n_compared))
    for order in (max_order + 1, max_order + 2):
        freer = _is_collision_free(compared, n_frames, order)
        compared = compared[freer] if freer.any() else compared

    def rank(bins: list[int]) -> tuple[float, ...]:
        cycles = np.abs(vectors @ bins)
        lines = np.unique(_folded(cycles, n_frames))
        n_folded = int((2 * cycles > n_frames).sum())
        gap = int(np.diff(lines).min(initial=n_frames))
        return (n_folded, _reach(lines, n_frames), -gap, *bins)

    best: list[int] = min(compared.tolist(), key=rank)
    return tuple(best)


def _is_collision_free(sets: NDArray[np.int64], n_frames: int, order: int) -> NDArray[np.bool_]:
    lines = np.sort(sets @ integer_vectors(sets.shape[1], order).T % n_frames, axis=1)
    return np.asarray((np.diff(lines, axis=1) > 0).all(axis=1))


def _n_crowded(lines: NDArray[np.int64], n_frames: int) -> NDArray[np.int64]:
    """How many lines of each row, sorted, have too few free bins on a side."""
    highest = (n_frames - 1) // 2
    differs = np.diff(lines, axis=1, prepend=0) > 0
    taken = np.cumsum(differs & (lines <= highest), axis=1)
    n_below = lines - taken
    n_above = highest - lines - (taken[:, -1:] - taken)
    return np.asarray((np.minimum(n_below, n_above) < N_NEIGHBORS).sum(axis=1))


def _reach(lines: NDArray[np.int64], n_frames: int) -> float:
    """How far the farthest neighbor of a line lies from it, in bins."""
    free = np.setdiff1d(np.arange(1, (n_frames + 1) // 2), lines)
    if len(free) < 2 * N_NEIGHBORS:
        return math.inf
    place = np.searchsorted(free, lines)
    start = np.clip(place - N_NEIGHBORS, 0, len(free) - 2 * N_NEIGHBORS)
    reach = np.maximum(lines - free[start], free[start + 2 * N_NEIGHBORS - 1] - lines)
    return float(reach.max())


def _positive_vectors(n_parts: int, max_order: int) -> NDArray[np.int64]:
    """One integer vector of each component."""
    vectors = integer_vectors(n_parts, max_order)
    return vectors[len(vectors) // 2 + 1 :]


def _folded(cycles: NDArray[np.int64], n_frames: int) -> NDArray[np.int64]:
    lines = cycles % n_frames
    return np.minimum(lines, n_frames - lines)


def _thinned(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many rows, spread evenly."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
