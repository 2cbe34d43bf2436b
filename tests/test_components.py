import copy
import pickle
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captum_ssvep.components import (
    Component,
    collision_free_bins,
    collision_free_order,
    enumerate_components,
    integer_vectors,
)


def test_a_component_is_its_tuple_and_survives_copying():
    component = Component((0, -2, 1))
    assert component == (0, 2, -1)
    assert {component: 1}[(0, 2, -1)] == 1
    assert component.parts == (1, 2)
    assert pickle.loads(pickle.dumps(component)) == component
    assert type(copy.deepcopy(component)) is Component


@pytest.mark.parametrize(("n_parts", "order"), [(1, 5), (2, 4), (3, 3), (4, 2)])
def test_integer_vectors_are_those_of_brute_force(n_parts, order):
    span = range(-order, order + 1)
    expected = {v for v in product(span, repeat=n_parts) if sum(map(abs, v)) <= order}
    assert {tuple(v) for v in integer_vectors(n_parts, order).tolist()} == expected


@pytest.mark.parametrize(
    ("group", "expected"),
    [("fundamentals", 2), ("harmonics", 8), ("intermodulations", 12), ("all", 20)],
)
def test_groups_of_two_parts_to_order_four(group, expected):
    components = enumerate_components(group, 2, 4)
    assert len(components) == len(set(components)) == expected
    assert [c.order for c in components] == sorted(c.order for c in components)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=4).filter(any))
def test_a_component_equals_its_negative(entries):
    assert Component(entries) == Component([-n for n in entries])
    assert Component(entries).order == sum(map(abs, entries))


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
