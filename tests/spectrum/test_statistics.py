"""Each statistic against a slow literal definition, MNE, SciPy or a known distribution."""

import numpy as np
import pytest
import torch
from scipy.signal import periodogram

from captum_ssvep import TaggedSpectrum, TaggingDesign
from captum_ssvep.scores.significance import SNR_THRESHOLDS
from captum_ssvep.spectrum import statistics
from captum_ssvep.spectrum.statistics import neighbor_ratio, snr_threshold

RATE, N_FRAMES = 120.0, 1200


def noisy_series(rng):
    """6, 7.5 and 13.5 Hz in noise: an EEG of one electrode."""
    time = np.arange(N_FRAMES) / RATE
    waves = ((1.5, 6.0), (0.7, 7.5), (0.3, 13.5))
    signal = sum(a * np.cos(2 * np.pi * f * time + 0.3) for a, f in waves)
    return signal + rng.normal(size=N_FRAMES)


def literal_snr(amplitude, line, offsets):
    return amplitude[line] / np.mean([amplitude[line + offset] for offset in offsets])


def test_snr_of_the_paper_is_that_of_its_definition():
    series = noisy_series(np.random.default_rng(0))
    amplitude = 2 * np.abs(np.fft.rfft(series)) / N_FRAMES
    design = TaggingDesign(n_frames=N_FRAMES)
    spectrum = TaggedSpectrum.from_series(series[:, None], design)
    ratios = neighbor_ratio(torch.from_numpy(amplitude))
    for component, line in (((1, 0), 60), ((0, 1), 75), ((1, 1), 135), ((1, -1), 15)):
        expected = literal_snr(amplitude, line, (-2, -1, 1, 2))
        assert ratios[line].item() == pytest.approx(expected, rel=1e-12)
        assert spectrum.snr(component).item() == pytest.approx(expected, rel=1e-10)
        assert spectrum.amplitude(component).item() == pytest.approx(amplitude[line], rel=1e-10)


def test_other_neighbor_statistics_are_those_of_their_definitions():
    series = noisy_series(np.random.default_rng(1))
    amplitude = 2 * np.abs(np.fft.rfft(series)) / N_FRAMES
    design = TaggingDesign(n_frames=N_FRAMES)
    spectrum = TaggedSpectrum.from_series(series[:, None], design)
    around = amplitude[[58, 59, 61, 62]]
    expected = {
        "baseline_corrected": amplitude[60] - around.mean(),
        "zscore": (amplitude[60] - around.mean()) / around.std(ddof=1),
        "snr_db": 20 * np.log10(amplitude[60] / around.mean()),
        "variance_share": amplitude[60] ** 2 / 2 / series.var(),
    }
    for statistic, value in expected.items():
        ours = spectrum.reduce([(1, 0)], statistic).item()
        assert ours == pytest.approx(value, rel=1e-9), statistic


def test_snr_of_mnes_tutorial_is_reproduced():
    mne = pytest.importorskip("mne")
    series = noisy_series(np.random.default_rng(2))
    epochs = mne.EpochsArray(series[None, None], mne.create_info(1, RATE, "eeg"), verbose="error")
    psd, _ = epochs.compute_psd(
        "welch",
        n_fft=N_FRAMES,
        n_overlap=0,
        n_per_seg=None,
        fmin=0,
        fmax=RATE / 2,
        window="boxcar",
        verbose="error",
    ).get_data(return_freqs=True)
    # The tutorial's definition: a convolution whose kernel leaves out the line and 1 bin around it.
    kernel = np.concatenate([np.ones(3), np.zeros(3), np.ones(3)]) / 6
    expected = psd[0, 0] / np.convolve(psd[0, 0], kernel, mode="same")
    ours = neighbor_ratio(torch.from_numpy(psd[0, 0]), n_neighbors=3, n_skip=1).numpy()
    np.testing.assert_allclose(ours[4:-4], expected[4:-4], rtol=1e-10)
    assert np.isnan(ours[[0, 3, -4, -1]]).all()
    # And from our own amplitudes, whose squares are proportional to the power.
    power = torch.from_numpy(np.abs(np.fft.rfft(series)) ** 2)
    from_fft = neighbor_ratio(power, n_neighbors=3, n_skip=1).numpy()
    np.testing.assert_allclose(from_fft[[60, 75, 135]], expected[[60, 75, 135]], rtol=1e-10)


def test_amplitude_is_that_of_scipys_periodogram():
    series = noisy_series(np.random.default_rng(3))
    _, power = periodogram(series, RATE, scaling="spectrum", detrend=False)
    design = TaggingDesign(n_frames=N_FRAMES)
    spectrum = TaggedSpectrum.from_series(series[:, None], design)
    for component in design.components("all"):
        expected = np.sqrt(2 * power[design.bin(component)])
        assert spectrum.amplitude(component).item() == pytest.approx(expected, rel=1e-10)


def test_snr_of_noise_has_the_published_critical_values():
    lines = np.random.default_rng(4).normal(size=(2, 5, 400_000))
    amplitude = torch.from_numpy(np.hypot(*lines))
    ratios = statistics.snr(amplitude[0], amplitude[1:], torch.tensor(0.0))
    for level, threshold in SNR_THRESHOLDS.items():
        assert (ratios > threshold).double().mean().item() == pytest.approx(level, rel=0.1)


def test_the_critical_values_are_exact():
    """A line exceeds t with probability E[exp(-t^2 m^2 / 2)], m the mean of four Rayleigh
    variables, whose density is a convolution of theirs.
    """
    step = 1e-3
    amplitude = np.arange(0, 40, step) + step / 2
    rayleigh = amplitude * np.exp(-(amplitude**2) / 2)
    n_values = 4 * len(amplitude)
    density = np.fft.irfft((np.fft.rfft(rayleigh, n_values) * step) ** 4, n_values) / step
    mean = (np.arange(n_values) + 2) * step / 4
    for level, threshold in SNR_THRESHOLDS.items():
        exceeded = (np.exp(-((threshold * mean) ** 2) / 2) * density).sum() * step
        assert exceeded == pytest.approx(level, rel=0.01)


def test_nothing_is_infinite_where_everything_is_zero():
    zero, none = torch.zeros(3), torch.zeros(0, 3)
    for neighbors in (none, torch.zeros(4, 3)):
        assert statistics.snr(zero, neighbors, zero).tolist() == [0, 0, 0]
        assert statistics.zscore(zero, neighbors, zero).tolist() == [0, 0, 0]
    floor = torch.tensor(0.5)
    assert statistics.zscore(torch.ones(3), none, floor).tolist() == [2, 2, 2]
    assert statistics.decibels(zero).tolist() == [-60, -60, -60]
    assert statistics.variance_share(zero, zero, zero).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("reduction", "expected"), [("mean", 2.5), ("sum", 10), ("max", 4), ("energy", 30**0.5)]
)
def test_reductions(reduction, expected):
    values = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    assert statistics.reduce(values, reduction).item() == pytest.approx(expected)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("n_neighbors", [1, 2, 4, 10])
def test_white_noise_exceeds_the_snr_threshold_at_its_rate(n_neighbors, alpha):
    noise = np.random.default_rng(0).normal(size=2**20)
    ratios = neighbor_ratio(torch.from_numpy(np.abs(np.fft.rfft(noise))), n_neighbors)
    inside = ratios[ratios.isfinite()]
    exceeds = (inside > snr_threshold(n_neighbors, alpha)).double().mean().item()
    # Lines share neighbors, which leaves the standard error near that of independent ones.
    assert exceeds == pytest.approx(alpha, abs=5 * (alpha / len(inside)) ** 0.5)


def test_snr_thresholds_of_the_paper_and_of_many_neighbors():
    for alpha, threshold in SNR_THRESHOLDS.items():
        assert round(snr_threshold(2, alpha), 2) == threshold
        # The mean of many amplitudes is that of the Rayleigh distribution, sqrt(pi / 2).
        rayleigh = np.sqrt(-2 * np.log(alpha)) / np.sqrt(np.pi / 2)
        assert snr_threshold(5000, alpha) == pytest.approx(rayleigh, rel=1e-3)


@pytest.mark.parametrize("arguments", [(0,), (-1,), (2, 0.0), (2, 1.0)])
def test_snr_threshold_refuses_what_has_none(arguments):
    with pytest.raises(ValueError, match=r"`(n_neighbors|alpha)` to be"):
        snr_threshold(*arguments)


GOOD = {
    "snr": ("amplitude", "neighbors", "floor"),
    "zscore": ("amplitude", "neighbors", "floor"),
    "baseline_corrected": ("amplitude", "neighbors"),
    "decibels": ("ratio",),
    "variance_share": ("power", "variance", "floor"),
    "reduce": ("values",),
    "neighbor_ratio": ("spectrum",),
}
BAD = {
    "array": (np.ones(5), TypeError, "to be a tensor, but got array"),
    "list": ([1.0, 2.0], TypeError, "to be a tensor, but got"),
    "number": (1.0, TypeError, "to be a tensor, but got 1.0"),
    "None": (None, TypeError, "to be a tensor, but got None"),
    "integers": (torch.ones(5, dtype=torch.int64), TypeError, "of a floating dtype, but got torch"),
    "complex": (torch.ones(5) + 0j, TypeError, "of a floating dtype"),
    "NaN": (torch.full((5,), torch.nan), ValueError, "to be finite"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name in GOOD for argument in GOOD[name]]
)
def test_what_is_no_tensor_of_numbers_is_refused(name, argument, bad):
    value, error, words = BAD[bad]
    arguments = {key: torch.ones(5) for key in GOOD[name]}
    if "neighbors" in arguments:
        arguments["neighbors"] = torch.ones(4, 5)
    if name == "reduce":
        arguments["reduction"] = "mean"
    assert getattr(statistics, name)(**arguments) is not None
    with pytest.raises(error, match=f"Expected `{argument}` {words}"):
        getattr(statistics, name)(**{**arguments, argument: value})


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: statistics.snr(torch.ones(5), torch.ones(4, 3), torch.ones(1)),
            ValueError,
            r"`neighbors` to fit `amplitude` of shape \(5,\), neighbors first, but got .*\(4, 3\)",
        ),
        (
            lambda: statistics.variance_share(torch.ones(5), torch.ones(2, 5), torch.ones(1)),
            ValueError,
            "`variance` to fit `power`",
        ),
        (
            lambda: statistics.reduce(torch.ones(0, 3), "max"),
            ValueError,
            "at least one component",
        ),
        (
            lambda: statistics.reduce(torch.ones(2), np.ones(2)),
            ValueError,
            "`reduction` to be one of mean, sum, max, energy",
        ),
        (lambda: neighbor_ratio(torch.ones(9), 1.5), TypeError, "`n_neighbors` to be an integer"),
        (lambda: neighbor_ratio(torch.ones(9), 0), ValueError, "`n_neighbors` to be at least 1"),
        (lambda: neighbor_ratio(torch.ones(9), 1, -1), ValueError, "`n_skip` to be at least 0"),
        (lambda: neighbor_ratio(torch.tensor(1.0)), ValueError, "window of 5 bins within the 0"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
