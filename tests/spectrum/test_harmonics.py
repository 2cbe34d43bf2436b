"""Harmonics summed over one list, compared with a literal version, and what chance adds to it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from captum_ssvep import Component, TaggedSpectrum, TaggingDesign
from captum_ssvep.spectrum import sum_harmonics

RATE, N_FRAMES = 250, 5000
DESIGN = TaggingDesign((5.5, 7.5), RATE, N_FRAMES)
HARMONICS = [(n, 0) for n in range(1, 13)]


def make_series(responses, tag=5.5, shape=(4, 3), seed=0):
    """Harmonics of a tag, ``{multiple: amplitude}``, in noise."""
    noise = np.random.default_rng(seed).normal(size=(N_FRAMES, *shape))
    turns = 2 * np.pi * tag * np.arange(N_FRAMES) / RATE
    waves = sum(size * np.cos(n * turns + n) for n, size in responses.items())
    return noise + (waves if responses else 0 * turns).reshape(-1, *[1] * len(shape))


def read(series, components=HARMONICS, design=DESIGN, n_neighbors=10):
    return TaggedSpectrum.from_series(series, design, components, n_neighbors=n_neighbors)


def test_sums_are_literal():
    series = make_series({1: 1.0, 2: 0.5, 5: 0.3})
    found = sum_harmonics(read(series), 0)
    amplitudes = 2 * np.abs(np.fft.rfft(series, axis=0)) / N_FRAMES
    multiples = range(-12, 13)
    combinations = [(m, n) for m in multiples for n in multiples if abs(m) + abs(n) <= 12]
    taken = {abs(np.dot(combination, DESIGN.bins)) for combination in combinations}
    corrected, zscores = {}, {}
    for n in range(1, 13):
        line = n * DESIGN.bins[0]
        # The nearest ten on each side that hold no combination of the tags.
        sides = [[line + side * step for step in range(1, 20)] for side in (-1, 1)]
        bins = [k for side in sides for k in [k for k in side if k not in taken][:10]]
        corrected[n] = amplitudes[line] - amplitudes[bins].mean(axis=0)
        noise = sorted(amplitudes[bins].mean(axis=(1, 2)))[1:-1]
        zscores[n] = (amplitudes[line].mean() - np.mean(noise)) / np.std(noise, ddof=1)
    assert {c[0]: z for c, z in found.zscores.items()} == pytest.approx(zscores)
    last = max(n for n, z in zscores.items() if z > 2.47)
    assert last >= 5
    assert found.components == tuple((n, 0) for n in range(1, last + 1))
    expected = sum(corrected[n] for n in range(1, last + 1))
    np.testing.assert_allclose(found.amplitude, expected, rtol=1e-9)
    assert found.threshold == 2.47
    assert repr(found).endswith(f"{last}f1 of 12, z above 2.47)")


def test_all_up_to_the_last_are_summed():
    """Also those between that do not rise above the noise."""
    found = sum_harmonics(read(make_series({1: 1.0, 5: 1.0})), 0, threshold=10)
    assert [c[0] for c in found.components] == [1, 2, 3, 4, 5]
    assert max(found.zscores[Component((n, 0))] for n in (2, 3, 4)) < 10
    np.testing.assert_allclose(found.amplitude, 2, atol=0.3)


def test_harmonics_on_lower_ones_of_another_tag_are_left_out():
    design = TaggingDesign((6.0, 1.2), RATE, N_FRAMES)
    with pytest.warns(UserWarning, match="share a line"):
        oddball = read(
            make_series(dict.fromkeys(range(1, 13), 1.0), tag=1.2),
            [(0, n) for n in range(1, 13)],
            design,
        )
    with pytest.warns(UserWarning, match="may, too"):
        found = sum_harmonics(oddball, 1)
    assert [c[1] for c in found.components] == [1, 2, 3, 4, 6, 7, 8, 9, 11, 12]
    assert found.shared == ((0, 5), (0, 10))
    assert not found.zscores.keys() & set(found.shared)
    base = read(make_series({1: 1.0}, tag=6.0), [(n, 0) for n in range(1, 5)], design)
    assert sum_harmonics(base, 0, threshold=10).components == ((1, 0),)


def test_nothing_above_the_noise_gives_zero():
    found = sum_harmonics(read(make_series({})), 0, threshold=20)
    assert found.components == ()
    assert found.amplitude.shape == (4, 3)
    assert not found.amplitude.any()
    assert repr(found) == "HarmonicSum(no harmonic of 12, z above 20)"


def test_the_last_harmonic_below_the_nyquist_frequency_needs_no_warning():
    design = TaggingDesign((55.0, 7.5), RATE, N_FRAMES)
    turns = 2 * np.pi * 55 * np.arange(N_FRAMES)[:, None] / RATE
    series = np.cos(turns) + np.cos(2 * turns) + make_series({}, shape=(3,))
    found = sum_harmonics(read(series, [(1, 0), (2, 0), (3, 0)], design), 0)
    assert found.components == ((1, 0), (2, 0))
    assert len(found.zscores) == 2


def test_more_harmonics_may_follow_the_last_one():
    with pytest.warns(UserWarning, match=r"holds, 2f1, still rises .* higher `max_order`"):
        sum_harmonics(read(make_series({1: 1.0, 2: 1.0}), [(1, 0), (2, 0)]), 0)


@pytest.mark.slow
@pytest.mark.parametrize(("n_averaged", "share"), [(1, 0.05), (16, 0.037)])
def test_chance_exceeds_the_threshold_in_five_percent(n_averaged, share):
    """And less often in the mean over images and neurons, whose noise is nearer to normal."""
    design = TaggingDesign((12.5,), RATE, 1000)
    generator = torch.Generator().manual_seed(0)
    exceeded = []
    for _ in range(12):
        noise = torch.randn(1000, 100, n_averaged, generator=generator)
        spectrum = read(noise, [(n,) for n in range(1, 10)], design)
        for one in range(100):
            found = sum_harmonics(spectrum[one], 0, threshold=100)
            exceeded += [z > 2.47 for z in found.zscores.values()]
    assert np.mean(exceeded) == pytest.approx(share, abs=0.006)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"spectrum": None}, TypeError, "`spectrum` to be a `TaggedSpectrum`, but got None"),
        (
            {"spectrum": read(make_series({}), n_neighbors=9)},
            ValueError,
            "10 or more neighbors on each side, but got 9 neighbors in a tags 5.5, 7.5 Hz; .*"
            "n_neighbors=10",
        ),
        ({"part": 1}, ValueError, "`part` to be one whose harmonics the spectrum holds, but got 1"),
        ({"part": -1}, ValueError, "`part` to be at least 0"),
        ({"part": 0.5}, TypeError, "`part` to be an integer"),
        ({"threshold": "high"}, TypeError, "`threshold` to be a number"),
    ],
)
def test_arguments_are_checked(arguments, error, words):
    with pytest.raises(error, match=words):
        sum_harmonics(**{"spectrum": read(make_series({})), "part": 0, **arguments})


def test_channels_in_several_units_have_no_grand_average():
    mixed = replace(read(make_series({})), neuron_units=("V", "T", "V"))
    with pytest.raises(ValueError, match=r"in one unit, but got T, V; .* `picks`"):
        sum_harmonics(mixed, 0)
