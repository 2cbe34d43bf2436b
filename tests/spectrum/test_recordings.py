"""Recordings of MNE, compared with NumPy, with MNE itself and with a literal Letswave."""

import sys

import mne
import numpy as np
import pytest
import torch

from captum_ssvep import ChebyshevGrid, TaggedSpectrum, TaggingDesign
from captum_ssvep.spectrum.statistics import neighbor_ratio, zscore

RATE, N_FRAMES = 250.0, 1000
DESIGN = TaggingDesign((6.0, 7.5), RATE, N_FRAMES)
NAMES = ("Fz", "Oz", "MEG 0111", "MEG 0112", "EOG", "Aux")
TYPES = dict(zip(NAMES, ("eeg", "eeg", "mag", "grad", "eog", "misc"), strict=True))
UNITS = dict(zip(NAMES, ("V", "V", "T", "T/m", "V", "AU"), strict=True))
GOOD = ("Oz", "MEG 0111", "MEG 0112")


def make_info():
    info = mne.create_info(list(TYPES), RATE, list(TYPES.values()), verbose="error")
    info["bads"] = ["Fz"]
    return info


def simulate(n_epochs, n_samples):
    """Responses to both tags and to their product, in microvolts, within noise."""
    seconds = np.arange(n_samples) / RATE
    first, second = (np.sin(2 * np.pi * tag * seconds) for tag in DESIGN.frequencies)
    sources = np.array([first, second, first * second])
    generator = np.random.default_rng(0)
    mixed = generator.normal(size=(len(TYPES), 3)) @ sources
    return 1e-6 * (mixed + generator.normal(size=(n_epochs, *mixed.shape)))


def make_epochs(n_epochs=5, n_samples=N_FRAMES, tmin=0.0):
    return mne.EpochsArray(
        simulate(n_epochs, n_samples), make_info(), tmin=tmin, proj=False, verbose="error"
    )


def make_evoked(n_samples=N_FRAMES, tmin=0.0):
    return mne.EvokedArray(simulate(1, n_samples)[0], make_info(), tmin=tmin, verbose="error")


def make_raw(n_samples=N_FRAMES):
    return mne.io.RawArray(simulate(1, n_samples)[0], make_info(), verbose="error")


@pytest.fixture
def spectrum():
    return TaggedSpectrum.from_mne(make_epochs(), DESIGN, whole=True)


@pytest.mark.parametrize("make", [make_epochs, make_evoked, make_raw])
@pytest.mark.parametrize("n_more", [0, 1])
def test_lines_of_recordings_are_numpys(make, n_more):
    """MNE includes the last moment: with one sample more, the record is cut at its end."""
    recording = make(n_samples=N_FRAMES + n_more)
    spectrum = TaggedSpectrum.from_mne(recording, DESIGN, n_neighbors=4)
    data = recording.get_data(picks=list(GOOD))[..., :N_FRAMES]
    expected = np.moveaxis(np.fft.rfft(data.reshape(-1, *data.shape[-2:])), -1, 0)
    assert spectrum.mean.shape == expected.shape[1:]
    bins = [DESIGN.bin(component) for component in spectrum.components]
    np.testing.assert_allclose(spectrum.lines, expected[bins], atol=1e-14)
    np.testing.assert_allclose(
        spectrum.neighbor_lines, expected[list(spectrum.neighbor_bins)], atol=1e-14
    )


@pytest.mark.parametrize(
    ("picks", "names"),
    [
        (None, GOOD),
        ("eeg", ("Oz",)),
        (["MEG 0111", "Fz"], ("MEG 0111", "Fz")),
        ("meg", ("MEG 0111", "MEG 0112")),
        ([1, 0], ("Oz", "Fz")),
        (["eog", "misc"], ("EOG", "Aux")),
    ],
)
def test_channels_are_picked_as_mne_does(picks, names):
    epochs = make_epochs()
    spectrum = TaggedSpectrum.from_mne(epochs, DESIGN, picks=picks)
    assert spectrum.neuron_names == names
    assert spectrum.neuron_units == tuple(UNITS[name] for name in names)
    same = TaggedSpectrum.from_series(np.moveaxis(epochs.get_data(list(names)), -1, 0), DESIGN)
    assert torch.equal(spectrum.lines, same.lines)
    assert spectrum.unit == (UNITS[names[0]] if len(set(spectrum.neuron_units)) == 1 else None)


def test_a_recording_is_left_as_it_is():
    epochs = make_epochs()
    before = epochs.get_data(copy=True)
    TaggedSpectrum.from_mne(epochs, DESIGN)
    assert np.array_equal(epochs.get_data(copy=False), before)
    assert epochs.ch_names == list(TYPES)


def test_names_and_units_go_with_a_spectrum(spectrum, tmp_path):
    spectrum.save(tmp_path / "spectrum.npz")
    loaded = TaggedSpectrum.load(tmp_path / "spectrum.npz")
    kept = (spectrum, loaded, spectrum[2], spectrum[:2], spectrum.to("cpu"), spectrum + loaded)
    for one in (*kept, sum(kept[:2])):
        assert (one.neuron_names, one.neuron_units) == (GOOD, ("V", "T", "T/m"))
        assert repr(one).startswith(
            "TaggedSpectrum(3 channels Oz to MEG 0112 in T and T/m and V, tags 6, 7.5 Hz, "
        )
        for record in (*one.table(), *one.wide_table()):
            assert record["unit"] == UNITS[record["neuron"]]
    assert {record["neuron"] for record in spectrum.table()} == set(GOOD)
    other = TaggedSpectrum.from_mne(make_epochs(), DESIGN, picks=["Fz", "MEG 0111", "MEG 0112"])
    with pytest.raises(ValueError, match="spectra with the same neuron_names to add"):
        TaggedSpectrum.from_mne(make_epochs(), DESIGN) + other


def test_a_single_channel_prints_with_its_name():
    spectrum = TaggedSpectrum.from_mne(make_evoked(), DESIGN, picks="Oz")
    assert repr(spectrum).startswith("TaggedSpectrum(1 channel Oz in V, tags 6, 7.5 Hz, ")


def test_what_is_cut_off_at_the_beginning_changes_no_phase():
    """The second of three seconds of a recording, relative to what was shown then."""
    design = TaggingDesign((5.0, 7.0), sampling_rate=250, n_frames=500, phases=(0.3, 1.0))
    longer = TaggingDesign((5.0, 7.0), sampling_rate=250, n_frames=1250, phases=(0.3, 1.0))
    info = mne.create_info(["Oz"], 250, "eeg")
    series = 1e-6 * longer.contrasts.prod(axis=1)[None, None]
    epochs = mne.EpochsArray(series, info, verbose="error")
    late = TaggedSpectrum.from_mne(epochs.copy().crop(1.3, 3.3), design)
    early = TaggedSpectrum.from_mne(epochs.copy().crop(0, 2), design)
    assert late.design.phases != early.design.phases == design.phases
    for component in early.components:
        difference = late.coefficient(component) - early.coefficient(component)
        assert abs(difference.item()) < 1e-15


@pytest.mark.parametrize(
    ("recording", "words"),
    [
        (
            make_epochs().resample(100, verbose="error"),
            r"`recording` at the design's 250 Hz, but got 100 Hz; give the design "
            r"sampling_rate=100 and n_frames=400, or use `recording.resample\(250\)`",
        ),
        (
            make_epochs(n_samples=1100, tmin=-0.2),
            r"begin with the tagged stimulus, but got one from -0.2 s on; "
            r"`recording.crop\(0, 4, include_tmax=False\)` cuts",
        ),
        (
            make_epochs(n_samples=1002, tmin=2.0),
            r"design's 1000 samples, or one more as MNE .*, but got 1002; "
            r"`recording.crop\(tmax=6, include_tmax=False\)` cuts it, or n_frames=1000 in the",
        ),
        (make_evoked(n_samples=999), "but got 999; n_frames=500 in the design fits"),
        (make_evoked(n_samples=200), "but got 200; record for longer"),
        (
            make_raw(n_samples=5100),
            r"but got 5100; `recording.crop\(tmax=4, include_tmax=False\)` cuts it, or "
            r"`mne.make_fixed_length_epochs\(recording, 4\)` makes epochs of records in a row, or "
            "n_frames=5000 in the design fits",
        ),
        (make_epochs()[[]], "`recording` to hold at least one epoch"),
    ],
)
def test_a_recording_that_does_not_fit_is_refused(recording, words):
    with pytest.raises(ValueError, match=words):
        TaggedSpectrum.from_mne(recording, DESIGN)


def test_what_errors_recommend_works():
    raw = make_raw(n_samples=5100)
    cut = raw.copy().crop(tmax=4, include_tmax=False)
    records = mne.make_fixed_length_epochs(raw, 4, verbose="error")
    longer = TaggingDesign((6.0, 7.5), RATE, 5000)
    whole = raw.copy().crop(tmax=20, include_tmax=False)
    before = make_epochs(n_samples=1100, tmin=-0.2).crop(0, 4, include_tmax=False)
    resampled = make_epochs().resample(100, verbose="error")
    other = TaggingDesign((6.0, 7.5), 100, 400)
    for recording, design, n_images in (
        (cut, DESIGN, 1), (records, DESIGN, 5), (whole, longer, 1), (before, DESIGN, 5),
        (resampled, other, 5), (resampled.copy().resample(250, verbose="error"), DESIGN, 5),
    ):  # fmt: skip
        assert len(TaggedSpectrum.from_mne(recording, design)) == n_images


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"recording": np.ones(3)}, TypeError, "`recording` to be .* `from_series` takes arrays"),
        ({"design": ChebyshevGrid()}, TypeError, "`design` to be a `TaggingDesign`"),
        ({"picks": "Pz"}, ValueError, "`picks` to be names, .* but got 'Pz'; it has Fz, Oz, "),
        ({"picks": []}, ValueError, "`picks` to be names"),
        ({"n_neighbors": -1}, ValueError, "`n_neighbors` to be at least 0"),
    ],
)
def test_other_arguments_are_checked(arguments, error, words):
    with pytest.raises(error, match=words):
        TaggedSpectrum.from_mne(**{"recording": make_evoked(), "design": DESIGN, **arguments})


def test_without_mne_the_extra_is_named(spectrum, monkeypatch):
    monkeypatch.setitem(sys.modules, "mne", None)
    for call in (spectrum.to_mne, lambda: TaggedSpectrum.from_mne(None, DESIGN)):
        with pytest.raises(ImportError, match=r"pip install captum-ssvep\[mne\]"):
            call()


def snr_spectrum(psd, noise_n_neighbor_freqs=1, noise_skip_neighbor_freqs=1):
    """As in MNE's tutorial, 50_ssvep.py."""
    averaging_kernel = np.concatenate(
        (
            np.ones(noise_n_neighbor_freqs),
            np.zeros(2 * noise_skip_neighbor_freqs + 1),
            np.ones(noise_n_neighbor_freqs),
        )
    )
    averaging_kernel /= averaging_kernel.sum()
    mean_noise = np.apply_along_axis(
        lambda psd_: np.convolve(psd_, averaging_kernel, mode="valid"), axis=-1, arr=psd
    )
    edge_width = noise_n_neighbor_freqs + noise_skip_neighbor_freqs
    pad_width = [(0, 0)] * (mean_noise.ndim - 1) + [(edge_width, edge_width)]
    mean_noise = np.pad(mean_noise, pad_width=pad_width, constant_values=np.nan)
    return psd / mean_noise


def test_power_and_snr_are_those_of_mnes_tutorial(spectrum):
    psd, frequencies = (
        make_epochs()
        .compute_psd(
            "welch", n_fft=N_FRAMES, n_overlap=0, n_per_seg=None, fmin=0, window="boxcar",
            picks=list(GOOD), verbose="error",
        )
        .get_data(picks=list(GOOD), return_freqs=True)
    )  # fmt: skip
    power = spectrum.whole.amplitude.square().movedim(0, -1)
    np.testing.assert_allclose(spectrum.whole.frequencies, frequencies)
    # MNE removes the mean, and leaves the first and the last bin as half of a pair.
    np.testing.assert_allclose(psd[..., 1:-1] * 2 * RATE / N_FRAMES, power[..., 1:-1])
    expected = snr_spectrum(psd, 3, 1)
    places = slice(5, -5)
    np.testing.assert_allclose(neighbor_ratio(power, 3, 1)[..., places], expected[..., places])


def test_a_z_score_is_letswaves(spectrum):
    """Bins 2 to 5 on each side, the sample standard deviation, as in `RLW_SNR`."""
    data = make_epochs().get_data(picks=list(GOOD))
    rms = np.abs(np.fft.rfft(data)) / N_FRAMES * np.sqrt(2)
    amplitude = spectrum.whole.amplitude
    for component in spectrum.components:
        line = DESIGN.bin(component)
        if line < 6:
            continue
        noise = [rms[..., line + step] for side in (-1, 1) for step in side * np.arange(2, 6)]
        expected = (rms[..., line] - np.mean(noise, axis=0)) / np.std(noise, axis=0, ddof=1)
        steps = torch.tensor([-5, -4, -3, -2, 2, 3, 4, 5])
        found = zscore(amplitude[line], amplitude[line + steps], torch.zeros(()).double())
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("info", [None, make_info()], ids=["made", "given"])
def test_a_round_trip_through_mne_is_equal(info):
    epochs = make_epochs()
    spectrum = TaggedSpectrum.from_mne(epochs, DESIGN)
    written = spectrum.to_mne(info)
    assert tuple(written.ch_names) == GOOD
    assert written.get_channel_types() == ["eeg", "mag", "grad"]
    units = {"107": "V", "112": "T", "201": "T/m"}
    assert [units[str(int(ch["unit"]))] for ch in written.info["chs"]] == ["V", "T", "T/m"]
    data, frequencies = written.get_data(return_freqs=True)
    assert data.dtype == complex
    assert data.shape == (5, 3, len(spectrum.components))
    assert (np.diff(frequencies) > 0).all()
    for component in spectrum.components:
        (place,) = np.flatnonzero(frequencies == DESIGN.frequency(component))
        np.testing.assert_allclose(np.abs(data[..., place]), spectrum.amplitude(component))
        np.testing.assert_allclose(np.angle(data[..., place]), spectrum.phase(component))


def test_mne_works_on_what_it_is_given(spectrum):
    written = spectrum.to_mne()
    assert len(written) == 5
    assert written[1:3].get_data().shape == (2, 3, 501)
    assert written["image"].get_data(["Oz"], fmin=6, fmax=7.5).shape == (5, 1, 7)
    evoked = TaggedSpectrum.from_mne(make_epochs().average(), DESIGN)
    (place,) = np.flatnonzero(written.freqs == 7.5)
    # The mean of complex amplitudes is that of the mean over epochs.
    mean = np.abs(written.average().get_data()[:, place])
    np.testing.assert_allclose(mean, evoked.amplitude((0, 1))[0])


def test_a_whole_spectrum_is_written_whole(spectrum):
    data, frequencies = spectrum.to_mne().get_data(return_freqs=True)
    np.testing.assert_allclose(frequencies, np.fft.rfftfreq(N_FRAMES, 1 / RATE))
    expected = np.fft.rfft(make_epochs().get_data(picks=list(GOOD))) * 2 / N_FRAMES
    expected[..., [0, -1]] /= 2
    np.testing.assert_allclose(data, expected, atol=1e-18)


def test_a_line_of_two_components_is_written_once():
    with pytest.warns(UserWarning, match="5f1 with 4f2"):
        spectrum = TaggedSpectrum.from_mne(make_epochs(), DESIGN, [(5, 0), (0, 4), (1, 0)])
    assert spectrum.to_mne().freqs.tolist() == [6.0, 30.0]


def test_channels_without_names_take_those_of_the_info():
    series = torch.rand(N_FRAMES, 2, 3, dtype=torch.float64)
    spectrum = TaggedSpectrum.from_series(series, DESIGN)
    written = spectrum.to_mne(mne.create_info(["A", "B", "C"], RATE, "seeg"))
    assert written.ch_names == ["A", "B", "C"]
    assert written.get_channel_types(unique=True) == ["seeg"]


def grid_spectrum():
    return TaggedSpectrum.from_series(np.random.rand(25, 2, 3), ChebyshevGrid())  # noqa: NPY002


def series_spectrum(*shape):
    return TaggedSpectrum.from_series(torch.rand(N_FRAMES, *shape), DESIGN)


@pytest.mark.parametrize(
    ("make", "info", "error", "words"),
    [
        (grid_spectrum, None, ValueError, "Expected a design in time for MNE"),
        (lambda: series_spectrum(2), None, ValueError, r"got shape \(2,\), images first"),
        (lambda: series_spectrum(2, 3, 4), None, ValueError, "pooling='channel'"),
        (
            lambda: series_spectrum(2, 3), None, ValueError,
            r"`info` of the channels of a spectrum without units, .*create_info\(3, 250, 'eeg'\)",
        ),
        (lambda: series_spectrum(2, 3), "eeg", TypeError, "`info` to be an `Info` of MNE"),
        (lambda: series_spectrum(2, 3), make_info(), ValueError, "of 3 channels, but got 6"),
        (
            lambda: TaggedSpectrum.from_mne(make_evoked(), DESIGN),
            mne.create_info(["Oz", "Cz"], RATE, "eeg"), ValueError,
            "but got one without MEG 0111, MEG 0112",
        ),
        (
            lambda: TaggedSpectrum.from_mne(make_evoked(), DESIGN, picks="misc"), None,
            ValueError, "of a spectrum in AU, but got None",
        ),
        (
            lambda: TaggedSpectrum.from_mne(make_evoked(), DESIGN, picks="eog"), make_info(),
            ValueError, "`info` of data channels, as EEG or MEG, but got eog",
        ),
    ],
)  # fmt: skip
def test_what_mne_does_not_take_is_refused(make, info, error, words):
    with pytest.raises(error, match=words):
        make().to_mne(info)
