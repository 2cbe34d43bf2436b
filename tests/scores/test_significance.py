"""Tests of significance against SciPy, literal enumeration and what white noise does."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from captum_ssvep import TaggedSpectrum, TaggingDesign
from captum_ssvep.scores.significance import (
    SNR_THRESHOLDS,
    benjamini_hochberg,
    fisher_test,
    hotelling_test,
    line_f_test,
    noise_surprise,
    sign_flip_test,
    t2circ_test,
    t_test,
)

# Nothing less probable than this counts as chance; seeds are fixed.
SURPRISING = 1e-3
NO_FLOOR = torch.tensor(0.0)


def t_test_of(values):
    return t_test(values.mean(0), values.var(0), len(values))


@pytest.mark.parametrize("n_examples", [2, 3, 30])
@pytest.mark.parametrize("shape", [(), (5,), (3, 4)])
@pytest.mark.parametrize("effect", [0.0, 0.5, 20.0])
def test_the_t_test_is_scipys(n_examples, shape, effect):
    values = torch.randn(n_examples, *shape, dtype=torch.float64) + effect
    ours = t_test_of(values)
    assert ours.shape == shape
    assert ours.dtype == torch.float64
    np.testing.assert_allclose(ours, stats.ttest_1samp(values.numpy(), 0, axis=0).pvalue, rtol=1e-9)


def test_the_t_test_is_two_sided_and_knows_no_unit():
    values = torch.randn(6, 4, dtype=torch.float64) + 1
    expected = t_test_of(values)
    for factor in (-1, 1e-30, -1e30):
        torch.testing.assert_close(t_test_of(factor * values), expected)


def test_coefficients_that_do_not_vary_are_no_evidence_or_all_of_it():
    zeros, constant, opposite = torch.zeros(4), torch.full((4,), -2.0), torch.tensor([1.0, -1] * 2)
    values = torch.stack([zeros, constant, opposite], dim=1)
    assert t_test_of(values).tolist() == [1, 0, 1]


def test_the_t_test_of_a_single_image_finds_nothing():
    p_values = t_test(torch.rand(2, 3), torch.full((2, 3), torch.nan), 1)
    assert torch.equal(p_values, torch.ones(2, 3, dtype=torch.float64))


def literal_sign_flips(values):
    """Share of all 2^n flips whose mean is as far from zero as the one observed."""
    observed = np.abs(values.mean(axis=0))
    hits = np.zeros(values.shape[1:])
    for signs in itertools.product([1, -1], repeat=len(values)):
        flipped = np.mean([s * value for s, value in zip(signs, values, strict=True)], axis=0)
        hits += np.abs(flipped) >= observed - 1e-12
    return hits / 2 ** len(values)


@pytest.mark.parametrize("n_examples", [2, 3, 5, 8])
@pytest.mark.parametrize("kind", ["continuous", "with ties and zeros"])
def test_the_sign_flip_test_of_few_images_counts_all_flips(n_examples, kind):
    rng = np.random.default_rng(n_examples)
    values = rng.standard_normal((n_examples, 2, 3))
    values += np.array([[0], [1]])
    if kind == "with ties and zeros":
        values = values.round()
    ours = sign_flip_test(torch.from_numpy(values))
    assert ours.dtype == torch.float64
    np.testing.assert_allclose(ours, literal_sign_flips(values), rtol=1e-12)


def test_the_sign_flip_test_of_more_images_is_within_monte_carlo_error():
    n_resamples = 2000
    values = np.random.default_rng(0).standard_normal((14, 6)) + np.linspace(0, 0.8, 6)
    exact = literal_sign_flips(values)
    assert exact.min() < 0.05 < exact.max()
    ours = sign_flip_test(torch.from_numpy(values), n_resamples).numpy()
    # Twice the share of flips on one side.
    error = 2 * np.sqrt(exact / 2 * (1 - exact / 2) / n_resamples)
    assert (np.abs(ours - exact) < 4 * error + 2 / n_resamples).all()
    assert not np.array_equal(ours, exact)


def test_the_sign_flip_test_is_its_seeds():
    values = torch.randn(20, 30)
    first = sign_flip_test(values, 200, seed=1)
    np.random.random(3)  # noqa: NPY002  # the global generators have no part in it
    torch.rand(3)
    assert torch.equal(sign_flip_test(values, 200, seed=1), first)
    assert not torch.equal(sign_flip_test(values, 200, seed=2), first)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3, 4)])
@pytest.mark.parametrize("n_examples", [3, 30])
def test_shapes_and_bounds_of_the_sign_flip_test(shape, n_examples):
    n_resamples = 99
    values = torch.randn(n_examples, *shape, requires_grad=True)
    p_values = sign_flip_test(values, n_resamples)
    assert p_values.shape == shape
    assert ((p_values > 0) & (p_values <= 1)).all()
    certain = sign_flip_test(torch.ones(n_examples, *shape), n_resamples)
    lowest = 2 / 2**n_examples if n_examples == 3 else 1 / (n_resamples + 1)
    assert (certain >= lowest).all()
    assert (certain <= 2 * lowest).all()
    assert (sign_flip_test(torch.zeros(n_examples, *shape), n_resamples) == 1).all()


@pytest.mark.parametrize("n_neighbors", [4, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_surprise_at_a_line_is_that_of_an_f_test(n_neighbors, dtype):
    neighbors = torch.rand(n_neighbors, 5, 7, dtype=dtype) + 0.1
    amplitude = torch.logspace(-2, 2, 35, dtype=dtype).reshape(5, 7)
    surprise = noise_surprise(amplitude, neighbors, NO_FLOOR)
    assert surprise.shape == (5, 7)
    ratio = amplitude.double().square() / neighbors.double().square().mean(0)
    expected = -stats.f.logsf(ratio.numpy(), 2, 2 * n_neighbors)
    np.testing.assert_allclose(surprise, expected, rtol=1e-9 if dtype == torch.float64 else 1e-4)


def test_where_nothing_answers_nothing_surprises():
    neighbors = torch.zeros(4, 3)
    neighbors[:, 2] = 1
    amplitude = torch.tensor([0.0, 1.0, 0.0])
    assert noise_surprise(amplitude, neighbors, NO_FLOOR).tolist() == [0, math.inf, 0]


def test_rounding_does_not_surprise_where_noise_is_below_it():
    neighbors, floor = torch.full((4, 3), 1e-9), torch.tensor([1e-6, 1e-6, 1e-12])
    surprise = noise_surprise(torch.tensor([1e-6, 1e-5, 1e-6]), neighbors, floor)
    # At the floor F is 1, whatever the noise, and above it the ratio to the floor.
    expected = stats.f.logsf([1, 100, 1e6], 2, 8)
    np.testing.assert_allclose(surprise, -expected, rtol=1e-5)


@pytest.mark.parametrize("n_examples", [1, 2, 17])
def test_fishers_method_is_scipys(n_examples):
    p_values = np.random.default_rng(0).uniform(size=(n_examples, 6)) ** [1, 1, 1, 4, 4, 30]
    expected = [stats.combine_pvalues(column, method="fisher").pvalue for column in p_values.T]
    ours = fisher_test(torch.from_numpy(-np.log(p_values).mean(axis=0)), n_examples)
    assert ours.dtype == torch.float64
    np.testing.assert_allclose(ours, expected, rtol=1e-9)
    assert fisher_test(torch.zeros(2, 3), n_examples).tolist() == [[1] * 3] * 2


def literal_benjamini_hochberg(p_values):
    """Adjusted: the least m p_(j) / j over all p_(j) that are no smaller."""
    m = len(p_values)
    ranked = sorted(p_values)
    return [min(1, *(m * q / j for j, q in enumerate(ranked, 1) if q >= p)) for p in p_values]


def literal_discoveries(p_values, rate):
    """The step-up procedure: reject up to the largest p that is below its share of the rate."""
    ranked = sorted(p_values)
    below = [p for j, p in enumerate(ranked, 1) if p <= rate * j / len(ranked)]
    return [bool(below) and p <= max(below) for p in p_values]


several_p_values = st.lists(
    st.one_of(st.floats(0, 1), st.floats(0, 0.01), st.sampled_from([0.0, 0.01, 0.5, 1.0])),
    min_size=1,
    max_size=30,
)


@settings(max_examples=200)
@given(several_p_values, st.floats(0.001, 0.5), st.randoms(use_true_random=False))
def test_false_discoveries_are_those_of_the_step_up_procedure(p_values, rate, random):
    adjusted = benjamini_hochberg(torch.tensor(p_values, dtype=torch.float64)).tolist()
    assert adjusted == pytest.approx(literal_benjamini_hochberg(p_values), rel=1e-12)
    assert all(before <= after <= 1 for before, after in zip(p_values, adjusted, strict=True))
    assume(all(abs(value - rate) > 1e-9 for value in adjusted))  # rounding decides
    assert [value <= rate for value in adjusted] == literal_discoveries(p_values, rate)
    order = random.sample(range(len(p_values)), len(p_values))
    moved = benjamini_hochberg(torch.tensor(p_values, dtype=torch.float64)[order])
    assert moved.tolist() == [adjusted[place] for place in order]


def test_adjusting_keeps_the_shape():
    p_values = torch.rand(2, 3, 4)
    adjusted = benjamini_hochberg(p_values)
    assert adjusted.shape == (2, 3, 4)
    assert torch.equal(adjusted.flatten(), benjamini_hochberg(p_values.flatten()))


@pytest.fixture(scope="module")
def white_noise():
    """20000 records of noise, and components none of whose bins another one uses."""
    design = TaggingDesign()
    apart, taken = [], set()
    for component in design.components("all"):
        bins = {design.bin(component), *design.neighbors(component)}
        if taken.isdisjoint(bins):
            apart.append(component)
            taken |= bins
    assert len(apart) >= 8
    series = np.random.default_rng(7).standard_normal((design.n_frames, 20000))
    return TaggedSpectrum.from_series(series, design, components=apart)


def uniformity(p_values):
    return stats.kstest(p_values.numpy().ravel(), "uniform").pvalue


def test_p_values_of_a_line_in_noise_are_uniform(white_noise):
    for component in white_noise.components:
        surprise = noise_surprise(
            white_noise.amplitude(component),
            white_noise.neighbor_amplitudes(component),
            white_noise.floor_of_neurons,
        )
        assert uniformity(surprise.neg().exp()) > SURPRISING
        # As of so many images, combined.
        by_image = surprise.reshape(20, 1000)
        assert uniformity(fisher_test(by_image.mean(0), 20)) > SURPRISING


def test_p_values_of_coefficients_in_noise_are_uniform(white_noise):
    flips = []
    for component in white_noise.components:
        by_image = white_noise.coefficient(component).reshape(10, 2000)
        assert uniformity(t_test_of(by_image)) > SURPRISING
        flips.append(sign_flip_test(by_image[:, :100]))
    # In steps of 2 / 2^10 up to 1: as often at most each of them as it says.
    found = torch.cat(flips).numpy()
    for level in (2**-5, 2**-3, 0.5):
        rate, error = (found <= level).mean(), np.sqrt(level * (1 - level) / len(found))
        assert abs(rate - level) < 4 * error


@pytest.mark.parametrize("rate", SNR_THRESHOLDS)
def test_noise_exceeds_the_thresholds_at_their_rates(white_noise, rate):
    snr = torch.cat([white_noise.snr(component) for component in white_noise.components])
    found = (snr > SNR_THRESHOLDS[rate]).double().mean().item()
    assert abs(found - rate) < 4 * math.sqrt(rate * (1 - rate) / len(snr))


@pytest.mark.parametrize("rate", SNR_THRESHOLDS)
def test_the_thresholds_are_those_of_rayleigh_distributed_amplitudes(rate):
    """P(A > t m) = exp(-(t m)^2 / 2) for a mean m of neighbors, whose own mean is simulated."""
    rng = np.random.default_rng(0)
    neighbors = rng.rayleigh(size=(1_000_000, 4)).mean(axis=1)
    found = np.exp(-np.square(SNR_THRESHOLDS[rate] * neighbors) / 2).mean()
    assert found == pytest.approx(rate, rel=0.03)


@pytest.mark.parametrize("unit", [1e-30, 1e-24, 1e20, 1e30])
def test_small_and_large_activations_are_as_surprising(unit):
    amplitude, neighbors = torch.tensor([0.5, 2.0, 7.0]), torch.rand(4, 3) + 0.5
    expected = noise_surprise(amplitude.double(), neighbors.double(), NO_FLOOR)
    found = noise_surprise(unit * amplitude, unit * neighbors, NO_FLOOR)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_one_image_has_no_sign_to_flip():
    assert sign_flip_test(torch.tensor([[1.0, -2.0]])).tolist() == [1, 1]


N_NULLS = 200_000
TESTS_OF_TRIALS = {hotelling_test: 3, t2circ_test: 2}  # and the fewest trials


def complex_noise(*shape, spread=1.0, tilt=0.0, seed=0):
    """Normal coefficients with this ratio of standard deviations, and axes turned by an angle."""
    real, imaginary = np.random.default_rng(seed).standard_normal((2, *shape))
    return torch.from_numpy((real + 1j * spread * imaginary) * np.exp(1j * tilt))


def literal_hotelling(trials):
    """T2 and p as the one-sample test of a mean vector, of a single neuron."""
    pairs = np.stack([trials.real, trials.imag], axis=1)
    n_trials, n_variables = pairs.shape
    mean = pairs.mean(axis=0)
    covariance = sum(np.outer(row - mean, row - mean) for row in pairs) / (n_trials - 1)
    squared = n_trials * mean @ np.linalg.inv(covariance) @ mean
    ratio = (n_trials - n_variables) / (n_variables * (n_trials - 1)) * squared
    return squared, stats.f.sf(ratio, n_variables, n_trials - n_variables)


def literal_t2circ(trials):
    """Victor and Mast's estimates of the variance: from the mean, over that from the trials."""
    n_trials, mean = len(trials), sum(trials) / len(trials)
    by_mean = n_trials * (mean.real**2 + mean.imag**2) / 2
    by_trials = sum((z - mean).real ** 2 + (z - mean).imag ** 2 for z in trials)
    by_trials /= 2 * (n_trials - 1)
    ratio = by_mean / by_trials
    return ratio / n_trials, stats.f.sf(ratio, 2, 2 * n_trials - 2)


LITERAL = {hotelling_test: literal_hotelling, t2circ_test: literal_t2circ}


@pytest.mark.parametrize("test", LITERAL)
@pytest.mark.parametrize("n_trials", [3, 4, 20])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("effect", [0.0, 0.5 - 0.2j, 5.0])
def test_tests_over_trials_are_their_formulas(test, n_trials, shape, effect):
    trials = complex_noise(n_trials, *shape, spread=0.3, tilt=0.7) + effect
    found = test(trials)
    assert found.statistic.shape == found.p_value.shape == shape
    assert found.statistic.dtype == found.p_value.dtype == torch.float64
    columns = trials.numpy().reshape(n_trials, -1).T
    expected = np.array([LITERAL[test](column) for column in columns])
    np.testing.assert_allclose(found.statistic.ravel(), expected[:, 0], rtol=1e-9)
    np.testing.assert_allclose(found.p_value.ravel(), expected[:, 1], rtol=1e-9)
    degrees = {hotelling_test: n_trials - 2, t2circ_test: 2 * n_trials - 2}[test]
    assert found.degrees_of_freedom == (2, degrees)


def test_t2circ_is_an_analysis_of_variance_of_its_two_estimates():
    """Of two trials it is F(2, 2) of sum and difference."""
    first, second = 1 + 2j, 2 - 1j
    found = t2circ_test(torch.tensor([first, second]))
    ratio = abs(first + second) ** 2 / abs(first - second) ** 2
    assert 2 * found.statistic.item() == pytest.approx(ratio)
    assert found.p_value.item() == pytest.approx(1 / (1 + ratio))


@pytest.mark.parametrize("n_neighbors", [1, 4, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_f_test_of_a_line_is_scipys(n_neighbors, dtype):
    neighbors = torch.rand(n_neighbors, 5, 7, dtype=dtype) + 0.1
    amplitude = torch.logspace(-2, 2, 35, dtype=dtype).reshape(5, 7)
    found = line_f_test(amplitude, neighbors)
    ratio = amplitude.double().square() / neighbors.double().square().mean(0)
    torch.testing.assert_close(found.statistic, ratio)
    expected = stats.f.sf(ratio.numpy(), 2, 2 * n_neighbors)
    np.testing.assert_allclose(found.p_value, expected, rtol=1e-9)
    surprise = noise_surprise(amplitude, neighbors, NO_FLOOR)
    torch.testing.assert_close(found.p_value, surprise.neg().exp())


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001])
def test_critical_values_are_where_p_is_the_level(alpha):
    for effect in (0.5, 1.5):
        trials = complex_noise(12, 50) + effect
        for found in (
            hotelling_test(trials),
            t2circ_test(trials),
            line_f_test(trials[0].abs(), trials[1:7].abs()),
        ):
            beyond = found.statistic > found.critical_value(alpha)
            assert torch.equal(beyond, found.p_value < alpha)
    # Of six neighbors, MNE's tutorial: see benchmarks/thresholds.py.
    six = line_f_test(torch.tensor(1.0), torch.ones(6))
    assert six.critical_value() == pytest.approx(3.885, abs=1e-3)


@pytest.mark.parametrize(
    ("test", "n_trials", "spread"),
    [
        (hotelling_test, 3, 1.0),
        (hotelling_test, 10, 1.0),
        (hotelling_test, 10, 0.1),  # whatever the noise's axes
        (t2circ_test, 2, 1.0),
        (t2circ_test, 10, 1.0),
    ],
)
def test_five_percent_of_nulls_are_found_at_five_percent(test, n_trials, spread):
    found = test(complex_noise(n_trials, N_NULLS, spread=spread, tilt=0.4))
    assert abs((found.p_value < 0.05).double().mean().item() - 0.05) < 0.007
    assert abs((found.statistic > found.critical_value()).double().mean().item() - 0.05) < 0.007
    assert uniformity(found.p_value[:20_000]) > SURPRISING


@pytest.mark.parametrize("n_neighbors", [4, 20])
def test_five_percent_of_lines_in_noise_are_found_at_five_percent(n_neighbors):
    amplitudes = complex_noise(n_neighbors + 1, N_NULLS).abs()
    found = line_f_test(amplitudes[0], amplitudes[1:])
    assert abs((found.p_value < 0.05).double().mean().item() - 0.05) < 0.007
    assert abs((found.statistic > found.critical_value()).double().mean().item() - 0.05) < 0.007


def test_on_a_line_t2circ_finds_too_much_and_hotelling_too_little_and_both_warn():
    """As over the images of a noiseless network without memory: the theory's 8.7 %."""
    trials = complex_noise(20, N_NULLS, spread=0.0, tilt=0.4)
    rates = []
    for test in (t2circ_test, hotelling_test):
        with pytest.warns(UserWarning, match=r"lie on a line .* Use `t_test` of signed") as caught:
            p_values = test(trials).p_value
        assert caught[0].filename == __file__
        rates.append((p_values < 0.05).double().mean().item())
    assert rates[0] == pytest.approx(0.087, abs=0.004)
    assert rates[1] < 0.03
    signed = (trials * np.exp(-0.4j)).real
    assert (t_test_of(signed) < 0.05).double().mean().item() == pytest.approx(0.05, abs=0.007)


def test_single_tests_on_a_line_among_many_do_not_warn():
    trials = complex_noise(5, 3)
    trials[:, 0] = trials[:, 0].real + 0j
    for test in TESTS_OF_TRIALS:
        test(trials)  # warnings are errors here


@pytest.mark.parametrize("test", TESTS_OF_TRIALS)
def test_coefficients_of_trials_that_do_not_vary_are_no_evidence_or_all_of_it(test):
    trials = torch.zeros(4, 3, dtype=torch.complex64)
    trials[:, 1] = 1 - 1j
    trials[:, 2] = torch.tensor([1, 1j, -1, -1j])
    found = test(trials)
    assert found.p_value.tolist() == [1, 0, 1]
    assert found.statistic.tolist() == [0, math.inf, 0]


def test_a_line_where_nothing_answers_is_no_evidence():
    neighbors = torch.zeros(4, 3)
    neighbors[:, 2] = 1
    found = line_f_test(torch.tensor([0.0, 1.0, 0.0]), neighbors)
    assert found.p_value.tolist() == [1, 0, 1]


@pytest.mark.parametrize("test", TESTS_OF_TRIALS)
def test_phase_and_unit_do_not_matter_to_tests_over_trials(test):
    trials = complex_noise(8, 30, spread=0.5) + 0.4
    expected = test(trials)
    for factor in (-1, 1e-30, 1e30j, np.exp(0.3j)):
        found = test(factor * trials)
        torch.testing.assert_close(found.p_value, expected.p_value, rtol=1e-9, atol=0)
    torch.testing.assert_close(test(trials.conj()).p_value, expected.p_value)


def test_t2circ_finds_more_than_hotelling_where_noise_is_equal():
    trials = complex_noise(6, 20_000) + 1
    found = [
        (test(trials).p_value < 0.05).double().mean() for test in (t2circ_test, hotelling_test)
    ]
    assert found[0] > found[1] + 0.1


def test_an_eeg_in_noise_is_found_by_all_three():
    """Twenty trials of a tag in noise, by the package's own spectra, and of a tag that is not."""
    design = TaggingDesign((5.7, 7.1), 120, 1200)
    moments = 2 * np.pi * np.outer(np.arange(1200), [5.7]) / 120
    noise = np.random.default_rng(0).standard_normal((1200, 20, 1))
    series = np.cos(moments)[:, None] * 0.3 + noise
    spectrum = TaggedSpectrum.from_series(series, design, n_neighbors=10)
    for component, is_there in (((1, 0), True), ((0, 1), False)):
        trials = torch.polar(spectrum.amplitude(component), spectrum.phase(component))
        mean = TaggedSpectrum.from_series(
            series.mean(axis=1, keepdims=True), design, n_neighbors=10
        )
        line = line_f_test(mean.amplitude(component), mean.neighbor_amplitudes(component))
        assert line.degrees_of_freedom == (2, 40)
        for found in (hotelling_test(trials), t2circ_test(trials), line):
            assert (found.p_value.item() < 0.001) == is_there


WRONG = {
    "signed": (lambda: hotelling_test(torch.rand(5)), TypeError, "complex.*`t_test` takes signed"),
    "array": (lambda: t2circ_test(np.ones(5) + 0j), TypeError, "`coefficients` to be a tensor"),
    "few": (lambda: hotelling_test(complex_noise(2, 9)), ValueError, "at least 3 trials"),
    "one": (lambda: t2circ_test(complex_noise(1, 9)), ValueError, "at least 2 trials"),
    "none": (lambda: t2circ_test(complex_noise(3).sum()), ValueError, r"but got shape \(\)"),
    "nan": (lambda: t2circ_test(complex_noise(3) * math.nan), ValueError, "to be finite"),
    "no bins": (
        lambda: line_f_test(torch.ones(2), torch.ones(0, 2)),
        ValueError,
        "`neighbors` of at least 1",
    ),
    "misfit": (
        lambda: line_f_test(torch.ones(2), torch.ones(4, 3)),
        ValueError,
        "`neighbors` to fit `amplitude`",
    ),
    "level": (
        lambda: t2circ_test(complex_noise(3)).critical_value(1),
        ValueError,
        "`alpha` to be between 0 and 1, but got 1",
    ),
    "percent": (lambda: t2circ_test(complex_noise(3)).critical_value(5), ValueError, "`alpha`"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_tested_is_refused(name):
    call, error, words = WRONG[name]
    with pytest.raises(error, match=words):
        call()
