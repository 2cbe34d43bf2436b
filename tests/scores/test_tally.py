"""Moments of pieces are those of the whole, as numpy has them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_ssvep.scores.tally import Moments

EPS = np.finfo(np.float64).eps


@st.composite
def samples(draw):
    """Examples with a mean that may be much larger than their spread."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (draw(st.integers(2, 30)), *draw(st.sampled_from([(), (3,), (2, 3)])))
    offset = draw(st.sampled_from([0.0, 1.0, -1e4, 1e8]))
    spread = draw(st.sampled_from([1e-6, 1.0, 1e5]))
    return offset + spread * rng.standard_normal(shape)


def assert_moments_are_those_of(values, moments):
    """To 1e-12, and to what the rounding of a large mean does to any difference from it."""
    assert moments.count == len(values)
    rounding = 8 * EPS * np.abs(values).max(axis=0)
    variance = values.var(axis=0, ddof=1)
    np.testing.assert_array_less(
        np.abs(moments.mean.numpy() - values.mean(axis=0)),
        1e-12 * np.abs(values.mean(axis=0)) + rounding,
    )
    np.testing.assert_array_less(
        np.abs(moments.variance.numpy() - variance),
        1e-12 * variance + rounding * np.sqrt(variance) + rounding**2,
    )


@settings(max_examples=200)
@given(samples(), st.data())
def test_any_pieces_in_any_order_give_the_moments_of_the_whole(values, data):
    order = data.draw(st.permutations(range(len(values))))
    cuts = data.draw(st.sets(st.integers(1, len(values) - 1)))
    pieces = [
        Moments.of(torch.from_numpy(piece)) for piece in np.split(values[order], sorted(cuts))
    ]
    while len(pieces) > 1:  # two by two, in whatever tree
        first = pieces.pop(data.draw(st.integers(0, len(pieces) - 1)))
        second = pieces.pop(data.draw(st.integers(0, len(pieces) - 1)))
        pieces.append(first + second)
    assert_moments_are_those_of(values, pieces[0])


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.integers(2, 200))
def test_a_large_mean_costs_the_whole_nothing(seed, n_examples):
    """Two passes, as numpy's: the squares are of deviations."""
    values = 1e8 + np.random.default_rng(seed).standard_normal((n_examples, 4))
    moments = Moments.of(torch.from_numpy(values))
    np.testing.assert_allclose(moments.mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.variance, values.var(axis=0, ddof=1), rtol=1e-12)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_a_single_example_has_no_variance(shape):
    values = torch.rand(1, *shape)
    moments = Moments.of(values)
    assert moments.count == 1
    assert torch.equal(moments.mean, values[0].double())
    assert moments.variance.shape == shape
    assert moments.variance.isnan().all()
    # Two of them do have one.
    both = moments + Moments.of(values + 1)
    torch.testing.assert_close(both.variance, torch.full(shape, 0.5, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.int64])
def test_everything_is_double(dtype):
    # The mean needs a bit more than float32 has, and their sum more than float16 can hold.
    large = 2.0**24 if dtype != torch.float16 else 2.0**15
    values = torch.tensor([large, 1.0, large, 1.0]).to(dtype)
    moments = Moments.of(values)
    assert moments.mean.dtype == moments.variance.dtype == moments.deviations.dtype == torch.float64
    assert moments.mean.item() == (large + 1) / 2
    assert moments.variance.item() == pytest.approx((large - 1) ** 2 / 3, rel=1e-15)


def test_equal_examples_do_not_vary():
    total = Moments.of(torch.full((3, 2), 0.1, dtype=torch.float64))
    for n_examples in (1, 4, 2):
        total = total + Moments.of(torch.full((n_examples, 2), 0.1, dtype=torch.float64))
    assert total.count == 10
    assert (total.variance <= (8 * EPS * 0.1) ** 2).all()


def test_adding_changes_neither():
    first, second = Moments.of(torch.rand(3, 2)), Moments.of(torch.rand(4, 2))
    kept = [(m.count, m.mean.clone(), m.deviations.clone()) for m in (first, second)]
    assert (first + second).count == 7
    for moments, (count, mean, deviations) in zip((first, second), kept, strict=True):
        assert moments.count == count
        assert torch.equal(moments.mean, mean)
        assert torch.equal(moments.deviations, deviations)
