"""Collisions and aliases, against literal search."""

from itertools import product

import numpy as np
import pytest

from captum_ssvep.components import integer_vectors
from captum_ssvep.lattice import collision_free_bins, collision_free_order


def smallest_null_norm(bins, n_frames, limit):
    """Literal search for the smallest integer combination of the bins that vanishes."""
    span = range(-limit, limit + 1)
    return min(
        sum(map(abs, v))
        for v in product(span, repeat=len(bins))
        if any(v) and sum(n * k for n, k in zip(v, bins, strict=True)) % n_frames == 0
    )


@pytest.mark.parametrize(
    ("bins", "n_frames", "order"),
    [
        ((12, 15), 240, 4),
        ((11, 15), 240, 7),
        ((10, 11), 240, 10),
        ((23, 25), 128, 7),
        ((14, 16, 19), 145, 4),
        ((20, 40), 240, 1),
    ],
)
def test_collision_free_order_is_that_of_the_smallest_null_vector(bins, n_frames, order):
    assert collision_free_order(bins, n_frames) == order
    assert (smallest_null_norm(bins, n_frames, 24 if len(bins) == 2 else 9) - 1) // 2 == order


@pytest.mark.parametrize("n_parts", range(1, 9))
@pytest.mark.parametrize("order", [1, 2, 3])
def test_found_bins_are_collision_free(n_parts, order):
    bins, n_frames = collision_free_bins(n_parts, order)
    assert len(set(bins)) == n_parts
    assert all(0 < k < n_frames / 2 for k in bins)
    lines = integer_vectors(n_parts, order) @ np.array(bins) % n_frames
    assert len(set(lines.tolist())) == len(lines)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6, 8])
def test_two_parts_get_the_perfect_lee_code(order):
    assert collision_free_bins(2, order)[1] == 2 * order**2 + 2 * order + 1


@pytest.mark.parametrize(
    ("n_parts", "order", "best_known"),
    [(3, 2, 27), (3, 3, 70), (3, 4, 145), (4, 2, 46), (4, 4, 435), (5, 3, 363), (8, 2, 241)],
)
def test_records_are_close_to_the_shortest_known(n_parts, order, best_known):
    assert collision_free_bins(n_parts, order)[1] <= 1.1 * best_known
