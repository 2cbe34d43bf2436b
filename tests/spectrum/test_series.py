"""Series that were recorded elsewhere, and activations of any size."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    TaggedSpectrum,
    TaggingDesign,
)
from captum_ssvep.spectrum.statistics import REDUCTIONS, STATISTICS

DESIGN = TaggingDesign()
SERIES = np.random.default_rng(0).normal(size=(240, 3, 2))


class Frame:
    """What NumPy makes an array of, as it does of a pandas DataFrame."""

    def __array__(self, dtype=None, copy=None):
        return SERIES[:, :, 0]


def read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


@pytest.mark.parametrize(
    ("series", "same"),
    [
        (torch.from_numpy(SERIES), SERIES),
        (SERIES.tolist(), SERIES),
        (SERIES.astype(">f8"), SERIES),
        (SERIES.astype(np.longdouble), SERIES),
        (read_only(SERIES), SERIES),
        (SERIES[::-1], SERIES[::-1].copy()),
        (np.moveaxis(np.moveaxis(SERIES, 0, -1).copy(), -1, 0), SERIES),
        (Frame(), SERIES[:, :, 0]),
    ],
)
def test_arrays_of_any_kind_are_taken(series, same):
    found = TaggedSpectrum.from_series(series, DESIGN)
    rows = [DESIGN.bin(component) for component in found.components]
    np.testing.assert_allclose(found.lines, np.fft.rfft(same, axis=0)[rows], atol=1e-11)


def test_a_frame_of_pandas_is_taken():
    pandas = pytest.importorskip("pandas")
    spectrum = TaggedSpectrum.from_series(pandas.DataFrame(SERIES[:, :, 0]), DESIGN)
    assert spectrum.mean.shape == (3,)


BROKEN = SERIES.copy()
BROKEN[17, 2, 1] = np.nan
REFUSED = {
    "NaN": (BROKEN, ValueError, "got NaN at frame 17 of example 2"),
    "infinity": (np.nan_to_num(BROKEN, nan=-np.inf), ValueError, "got infinity at frame 17"),
    "trials first": (np.moveaxis(SERIES, 0, -1), ValueError, r"np.moveaxis\(series, -1, 0\)"),
    "batch first": (np.moveaxis(SERIES, 0, 1), ValueError, r"np.moveaxis\(series, 1, 0\)"),
    "one neuron": (SERIES[:, 0, 0], ValueError, r"series\[:, None\]"),
    "short": (SERIES[:100], ValueError, r"n_frames = 240, but got shape \(100, 3, 2\)"),
    "no neuron": (SERIES[:, :0], ValueError, "at least one of each"),
    "integers": (SERIES.astype(int), TypeError, r"got int64; .*series.astype\(float\)"),
    "integer tensor": (torch.ones(240, 1, dtype=torch.int32), TypeError, r"got torch.int32"),
    "truth values": (SERIES > 0, TypeError, "got bool"),
    "complex": (SERIES + 0j, TypeError, "got complex128; take `.real`"),
    "text": ("eeg.npy", TypeError, "got str without numbers"),
    "path": (Path("eeg.npy"), TypeError, "Path without numbers"),
    "None": (None, TypeError, "got NoneType"),
    "ragged": ([[1.0], [1.0, 2.0]], TypeError, "got list"),
    "objects": (SERIES.astype(object), TypeError, "got object"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("design", [DESIGN, ChebyshevGrid(1, 240)], ids=["time", "grid"])
def test_what_is_no_series_is_refused(name, design):
    series, error, words = REFUSED[name]
    with pytest.raises(error, match="Expected `series` .*" + words):
        TaggedSpectrum.from_series(series, design)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"design": None}, TypeError, "`design` to be the design shown, but got None"),
        ({"n_neighbors": -1}, ValueError, "`n_neighbors` to be at least 0"),
        ({"n_neighbors": 2.5}, TypeError, "`n_neighbors` to be an integer"),
        ({"components": 3}, TypeError, "`components` to be a group"),
    ],
)
def test_other_arguments_are_checked(arguments, error, words):
    with pytest.raises(error, match=words):
        TaggedSpectrum.from_series(SERIES, **{"design": DESIGN, **arguments})


SCALES = [1e-36, 1e-24, 1e24, 1e30]


def statistics_of(spectrum):
    """Everything that does not depend on scale, and what does, in units of the floor."""
    units = spectrum.floor_of_neurons.double()
    read = {}
    for name, info in STATISTICS.items():
        for reduction in REDUCTIONS:
            values = spectrum.reduce("all", name, reduction).double()
            read[name, reduction] = values / units if info.unit == "activation" else values
    read["first order"] = spectrum.first_order(0)
    read["power"] = spectrum.power((1, 0)) / units.square()
    read["response"] = spectrum.contrast_response((0, 1), 3)[1] / units
    return {key: value.double() for key, value in read.items()}


@pytest.mark.filterwarnings("ignore:Contrast responses")  # noise has any phase
@pytest.mark.parametrize("scale", SCALES)
def test_statistics_of_a_series_do_not_depend_on_its_scale(scale):
    plain = torch.from_numpy(SERIES).float()
    expected = statistics_of(TaggedSpectrum.from_series(plain, DESIGN))
    scaled = TaggedSpectrum.from_series(plain * torch.tensor([scale, 1.0, scale])[:, None], DESIGN)
    for key, value in statistics_of(scaled).items():
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-4, msg=str(key))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("pooling", [None, "channel"])
@pytest.mark.parametrize("design", [TaggingDesign(phases=math.pi / 2), ChebyshevGrid()])
def test_shares_of_a_layer_do_not_depend_on_its_scale(scale, pooling, design, tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()).eval()
    scaled = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()).eval()
    images = torch.rand(3, 1, 6, 6)
    arguments = dict(design=design, pooling=pooling, estimate_error=True)
    with torch.no_grad():
        for ours, theirs in zip(scaled.parameters(), network.parameters(), strict=True):
            ours.copy_(theirs * scale)
    plain = FrequencyTaggingAttribution(network, "1").spectrum(images, **arguments)
    tagging = FrequencyTaggingAttribution(scaled, "1")
    spectrum = tagging.spectrum(images, perturbations_per_eval=5, **arguments)
    spectrum.save(tmp_path / "spectrum.npz")
    loaded = TaggedSpectrum.load(tmp_path / "spectrum.npz")
    for found in (spectrum, loaded, spectrum[:]):
        for part in (0, 1):
            share, expected = found.first_order(part), plain.first_order(part)
            torch.testing.assert_close(share.float(), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            (found.error((1, 1)) / scale).float(), plain.error((1, 1)), rtol=1e-2, atol=1e-6
        )
        assert found.mean.dtype == found.reduce("all", "snr", "energy").dtype == torch.float32
    assert plain.lines.dtype == torch.complex64
    assert tagging.attribute(images, design=design).dtype == torch.float32


def test_a_minute_of_eeg_takes_little_memory_beside_the_record():
    """The dense weights of 420 lines alone would be thirteen times as large as the record."""
    n_frames = 2048 * 20
    design = TaggingDesign((6.0, 7.5), 2048, n_frames)
    record = np.random.default_rng(0).normal(size=(n_frames, 2))
    spectrum = TaggedSpectrum.from_series(record, design, n_neighbors=10)
    expected = np.fft.rfft(record, axis=0)
    np.testing.assert_allclose(
        spectrum.neighbor_lines, expected[list(spectrum.neighbor_bins)], atol=1e-8
    )
    amplitudes = 2 / n_frames * np.abs(expected[list(design.neighbors((1, 0), 10))])
    np.testing.assert_allclose(spectrum.neighbor_amplitudes((1, 0)), amplitudes, atol=1e-12)
