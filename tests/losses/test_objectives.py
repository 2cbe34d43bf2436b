"""Shares within bounds, against sums over single components."""

import pytest
import torch

from captum_ssvep import TaggedSpectrum, TaggingDesign, TwoLevelDesign
from captum_ssvep.losses import Share


def spectrum(design):
    contrasts = torch.as_tensor(design.contrasts)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(design.n_parts, 2 * 4, generator=generator, dtype=torch.float64)
    series = (contrasts @ weights).relu().unflatten(1, (2, 4))
    return TaggedSpectrum.from_series(series, design)


def power(of, belongs):
    """Variance in the components that belong to something, of all neurons and images."""
    return sum(of.power(c).sum().item() for c in of.components if belongs(c))


FOUR = TwoLevelDesign(4, max_order=4)


@pytest.mark.parametrize(
    ("parts", "belongs"),
    [
        (2, lambda c: c.parts == (2,)),
        ((2,), lambda c: c.parts == (2,)),
        ((3, 1), lambda c: c.parts == (1, 3)),
        ([0, 1, 2], lambda c: c.parts == (0, 1, 2)),
        ("harmonics", lambda c: len(c.parts) == 1),
        ("intermodulations", lambda c: len(c.parts) > 1),
    ],
)
def test_a_share_is_the_power_of_its_components_over_the_variance(parts, belongs):
    found = spectrum(FOUR)
    expected = power(found, belongs) / found.variance.sum().item()
    assert Share(parts, at_most=0.0)(found).item() == pytest.approx(expected)
    assert Share(parts, at_least=1.0)(found).item() == pytest.approx(1 - expected)


def test_sums_and_differences_of_tags_count():
    found = spectrum(TaggingDesign())
    expected = power(found, lambda c: c.is_intermodulation) / found.variance.sum().item()
    assert Share((0, 1), at_most=0.0)(found).item() == pytest.approx(expected)


def test_within_the_band_nothing_is_lost():
    found = spectrum(FOUR)
    share = Share(0, at_most=0.0)(found).item()
    assert Share(0, at_least=share - 0.01, at_most=share + 0.01)(found) == 0
    below = Share(0, at_least=share + 0.1, at_most=share + 0.2)(found).item()
    above = Share(0, at_least=0.0, at_most=share / 2)(found).item()
    assert (below, above) == pytest.approx((0.1, share / 2))


def test_a_neuron_counts_by_its_variance():
    found = spectrum(TwoLevelDesign(2))
    ratios = found.interaction((0, 1))
    expected = (ratios * found.variance).sum() / found.variance.sum()
    torch.testing.assert_close(Share((0, 1), at_most=0.0)(found), expected)


def test_rounding_is_no_share():
    design = TwoLevelDesign(2)
    series = 1e4 + 1e-3 * torch.as_tensor(design.contrasts.prod(axis=1)).float()[:, None]
    assert Share((0, 1), at_most=0.0)(TaggedSpectrum.from_series(series, design)) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"parts": (0, 1)}, "`at_least` and `at_most` to leave out some shares"),
        ({"parts": 0, "at_least": 0.5, "at_most": 0.2}, "`at_least` and `at_most` .* 0.5 and 0.2"),
        ({"parts": 0, "at_most": 1.5}, "`at_most` to be at most 1"),
        ({"parts": 0, "at_least": -0.5}, "`at_least` to be at least 0"),
        ({"parts": "fundamentals", "at_most": 0}, "one of harmonics, intermodulations"),
        ({"parts": (1, 1), "at_most": 0}, "`parts` to be different ones"),
        ({"parts": (), "at_most": 0}, "`parts` to be different ones"),
        ({"parts": -1, "at_most": 0}, "`parts` to be at least 0"),
        ({"parts": 0.5, "at_most": 0}, "`parts` to be an integer"),
    ],
)
def test_what_is_no_share_is_refused(arguments, words):
    with pytest.raises((ValueError, TypeError), match=words):
        Share(**arguments)
