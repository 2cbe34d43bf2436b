"""Collisions and aliases: the lattice of integer vectors that vanish on a record's lines.

Tags at bins ``k`` in a record of ``N`` frames put the components ``n`` and ``n + a`` on the same
line whenever ``a . k`` is a multiple of ``N``. Those ``a`` form a lattice. Its short vectors decide
how well a design separates components.
"""

import bisect
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .components import MOST_VECTORS, Component, integer_vectors, n_vectors


def collision_free_order(bins: Sequence[int], n_frames: int) -> int:
    """Highest order up to which every component has a DFT line of its own.

    This is ``(d - 1) // 2``, where ``d`` is the smallest ``sum abs(a_i)`` of a non-zero integer
    vector with ``sum a_i bins_i = 0`` modulo ``n_frames``. Up to this order, no two components
    share a line, nor do a component and its own negative, as on the Nyquist line.

    Examples::

        >>> collision_free_order((12, 15), 240), collision_free_order((10, 11), 240)
        (4, 10)
    """

    def collides(order: int) -> bool:
        # More vectors than lines cannot each have their own.
        if n_vectors(len(bins), order) > n_frames:
            return True
        lines = np.sort(integer_vectors(len(bins), order) @ bins % n_frames)
        return bool((lines[1:] == lines[:-1]).any())

    # If two components collide at one order, they also do at any higher order.
    highest = 1
    while not collides(highest):
        highest *= 2
    return bisect.bisect_left(range(1, highest), True, lo=highest // 2, key=collides)


def collisions(
    bins: Sequence[int], n_frames: int, components: Sequence[Component]
) -> list[tuple[Component, Component | None]]:
    """Components whose line also holds another of no higher order; see `TaggingDesign.collisions`.

    Examples::

        >>> collisions((12, 15), 240, [Component((1, 1)), Component((5, 0))])
        [(Component(5f1), Component(4f2))]
    """
    found = []
    for component in components:
        vectors, lines = _vectors_with_lines(tuple(bins), n_frames, max(2, component.order))
        same_line = vectors[lines == np.dot(component, bins) % n_frames]
        others = same_line[(same_line != component).any(axis=1)]
        if len(others):
            lowest = others[np.abs(others).sum(axis=1).argmin()].tolist()
            found.append((component, Component(lowest) if any(lowest) else None))
    return found


@lru_cache(maxsize=8)
def _vectors_with_lines(
    bins: tuple[int, ...], n_frames: int, max_order: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    vectors = integer_vectors(len(bins), max_order)
    return vectors, vectors @ bins % n_frames


def harmonics_on_tags(bins: Sequence[int], n_frames: int) -> list[tuple[int, int, int]]:
    """Tags whose second or third harmonic, folded at the Nyquist line, is another tag.

    Returns:
        list: For each, the part, the multiple and the other part.

    Examples::

        >>> harmonics_on_tags((10, 20), 240), harmonics_on_tags((100, 40), 240)
        ([(0, 2, 1)], [(0, 2, 1)])
    """
    numbered = list(enumerate(bins))
    return [
        (part, multiple, other)
        for part, tag in numbered
        for multiple in (2, 3)
        for other, line in numbered
        if part != other and multiple * tag % n_frames in (line, n_frames - line)
    ]


@lru_cache(maxsize=8)
def free_bins(bins: tuple[int, ...], n_frames: int, max_order: int) -> NDArray[np.int64]:
    """Bins strictly between the mean and the Nyquist line that hold no component up to an order.

    Examples::

        >>> free_bins((2, 3), 20, 1).tolist()
        [1, 4, 5, 6, 7, 8, 9]
    """
    # Vectors come with both signs, so that a line above the Nyquist line is also found below it.
    free = np.ones(n_frames, dtype=bool)
    free[0] = False
    free[integer_vectors(len(bins), max_order) @ bins % n_frames] = False
    return np.flatnonzero(free[: (n_frames + 1) // 2])


def collision_free_bins(n_parts: int, max_order: int) -> tuple[tuple[int, ...], int]:
    """Find a short record with tags that are collision-free to an order.

    For growing record lengths, tags are added greedily: each is the smallest bin with no multiple
    on the line of a combination of the earlier tags. Lengths come within a few percent of the best
    known lattices (for two parts, the perfect Lee codes of ``2 M^2 + 2 M + 1`` frames).

    Returns:
        tuple: The bins, one per part, and the number of frames.

    Examples::

        >>> collision_free_bins(2, 4)
        ((1, 9), 41)
    """
    n_frames = n_vectors(n_parts, max_order)
    if n_parts == 1:
        return (1,), n_frames
    while (bins := _greedy_bins(n_parts, max_order, n_frames)) is None:
        n_frames += max(1, n_frames // 1000)
    return bins, n_frames


def _greedy_bins(n_parts: int, max_order: int, n_frames: int) -> tuple[int, ...] | None:
    """Tags without a null combination of norm up to ``2 * max_order``; None if no bin is left."""
    norm = 2 * max_order
    # reached[r]: the lines that combinations of the tags so far reach with a norm of at most r.
    reached = np.zeros((norm + 1, n_frames), dtype=bool)
    reached[:, 0] = True
    bins: list[int] = []
    for _ in range(n_parts):
        # Lines once reached stay so: the next tag lies above the last.
        tag = _first_free(reached, start=bins[-1] + 1 if bins else 1)
        if tag is None:
            return None
        bins.append(tag)
        rising = reached
        for r in range(1, norm + 1):
            rising[r, tag:] |= rising[r - 1, :-tag]
            rising[r, :tag] |= rising[r - 1, -tag:]
        # Falling multiples reach the mirror images.
        reached = rising.copy()
        reached[:, 1:] |= rising[:, :0:-1]
    return tuple(bins)


def _first_free(reached: NDArray[np.bool_], start: int) -> int | None:
    """The first bin from ``start`` with no multiple on a line that would close a short vector."""
    n_norms, n_frames = reached.shape
    multiples = np.arange(1, n_norms)[:, None]
    size = 64
    while start < (n_frames + 1) // 2:
        candidates = np.arange(start, min(start + size, (n_frames + 1) // 2))
        taken = reached[n_norms - 1 - multiples, multiples * candidates % n_frames].any(axis=0)
        if not taken.all():
            return start + int(taken.argmin())
        start, size = start + size, 2 * size
    return None


def alias_turning_phases(
    bins: Sequence[int], n_frames: int, with_harmonics: bool = False
) -> tuple[float, ...]:
    r"""Phases to add to the tags, so that most aliases turn by a third of a cycle.

    Shifted by :math:`\delta`, an alias ``a`` with :math:`a \cdot k = m N` turns by
    :math:`a \cdot \delta` relative to the component on whose line it lies. With
    :math:`\delta = 2 \pi (s + t k / N) / 3`, thirds of a cycle and of a sample, this is
    :math:`2 \pi (a \cdot s + t m) / 3`. The integers ``s, t`` are chosen so that they turn most of
    the short aliases, which are the strong ones.

    Args:
        bins: Cycles of each tag in the record.
        n_frames: Frames in the record.
        with_harmonics (bool, optional): Whether aliases of a single tag count however long they
            are, as needed for waves other than sines, which have harmonics of their own.
            Default: False

    Returns:
        tuple[float, ...]: One phase in radians per tag.

    Examples::

        >>> [round(phase, 3) for phase in alias_turning_phases((4, 5), 80)]
        [2.304, 2.356]
    """
    n_parts = len(bins)
    norm = 2 * collision_free_order(bins, n_frames) + 6
    while n_vectors(n_parts, norm) > MOST_VECTORS:
        norm -= 1
    vectors = integer_vectors(n_parts, norm)
    vectors = vectors[(vectors @ bins % n_frames == 0) & vectors.any(axis=1)]
    strengths = 1.0 / np.abs(vectors).sum(axis=1) ** 4
    if with_harmonics or not len(vectors):
        single = np.diag([n_frames // math.gcd(k, n_frames) for k in bins])
        vectors = np.concatenate([vectors, single])
        strengths = np.concatenate([strengths, 1.0 / single.sum(axis=1) ** 2])
    periods = vectors @ bins // n_frames
    thirds = np.random.default_rng(0).integers(3, size=(256, n_parts + 1))
    turned = (vectors @ thirds[:, :-1].T + np.outer(periods, thirds[:, -1])) % 3 != 0
    best = thirds[np.argmax(strengths @ turned)]
    shifts = 2 * np.pi / 3 * (best[:-1] + best[-1] * np.asarray(bins) / n_frames)
    return tuple(shifts.tolist())
