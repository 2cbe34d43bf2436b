"""Collisions and aliases, against literal search."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from captum_ssvep import TaggingDesign, choose_design
from captum_ssvep.design.collisions import (
    alias_turning_phases,
    collision_free_bins,
    collision_free_order,
)
from captum_ssvep.design.components import integer_vectors


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


def short_aliases(bins, n_frames):
    """Integer vectors that vanish on the tags, to a little above the shortest."""
    norm = 2 * collision_free_order(bins, n_frames) + 4
    vectors = integer_vectors(len(bins), norm)
    aliases = vectors[vectors @ np.array(bins) % n_frames == 0]
    return aliases[aliases.any(axis=1)]


@st.composite
def coherent_tags(draw, n_parts):
    n_frames = draw(st.integers(20, 400))
    count = draw(st.sampled_from(n_parts))
    tag = st.integers(1, (n_frames - 1) // 2)
    bins = tuple(draw(st.lists(tag, min_size=count, max_size=count, unique=True)))
    assume(collision_free_order(bins, n_frames) >= 1)
    return bins, n_frames


@settings(max_examples=100)
@given(coherent_tags([1, 2, 3]))
def test_aliases_are_turned_by_thirds(tags):
    bins, n_frames = tags
    aliases = short_aliases(bins, n_frames)
    assert len(aliases)
    thirds = 3 * aliases @ np.array(alias_turning_phases(bins, n_frames)) / (2 * np.pi)
    np.testing.assert_allclose(thirds, thirds.round(), atol=1e-9)
    turned = thirds.round() % 3 != 0
    norms = np.abs(aliases).sum(axis=1)
    assert turned[norms == norms.min()].mean() > 0.5
    assert np.average(turned, weights=norms**-4.0) > 0.6


@pytest.mark.filterwarnings("ignore:Responses to parts")
@settings(max_examples=25)
@given(coherent_tags([2]), st.tuples(*[st.floats(0, 6.3)] * 2))
def test_a_turned_alias_is_estimated_at_its_strength(tags, phases):
    """The shortest alias of a random design: what the replicate changes of it, per unit."""
    bins, n_frames = tags
    alias = min(short_aliases(bins, n_frames).tolist(), key=lambda a: sum(map(abs, a)))
    design = TaggingDesign(bins, n_frames, n_frames, phases)
    other, excess = design.replicate()
    before, after = (np.exp(1j * shown.angle(alias)) for shown in (design, other))
    assert abs(before - after) / excess == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("design", [TaggingDesign(), choose_design(3, 3, kind="time")])
def test_a_replicate_has_the_same_tags_and_record(design):
    other, _ = design.replicate()
    assert other.phases != design.phases
    assert replace(other, phases=design.phases) == design
