import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from captum_ssvep import (
    ChebyshevGrid,
    Component,
    FrequencyTaggingAttribution,
    TaggedSpectrum,
    TaggingDesign,
)
from captum_ssvep.spectrum.statistics import REDUCTIONS, STATISTICS

DESIGN = TaggingDesign()


def response(left, right, seed):
    """A smooth response of 3 examples with 2 x 2 neurons to both contrasts."""
    weights = np.random.default_rng(seed).normal(size=(3, 3, 2, 2))
    left, right = left[:, None, None, None], right[:, None, None, None]
    return np.tanh(weights[0] + 2 * weights[1] * left + 2 * weights[2] * right)


def make_spectrum(seed=0, noise=0.0, design=DESIGN):
    series = response(*design.contrasts.T, seed)
    series += noise * np.random.default_rng(seed).normal(size=series.shape)
    return TaggedSpectrum.from_series(series, design), series


def test_lines_are_numpys():
    spectrum, series = make_spectrum(noise=0.1)
    expected = np.fft.rfft(series, axis=0)
    for component, line in zip(spectrum.components, spectrum.lines, strict=True):
        np.testing.assert_allclose(line.numpy(), expected[DESIGN.bin(component)], atol=1e-10)
        np.testing.assert_allclose(
            spectrum.phase(component).numpy(), np.angle(expected[DESIGN.bin(component)]), atol=1e-9
        )
    np.testing.assert_allclose(spectrum.mean.numpy(), series.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(spectrum.variance.numpy(), series.var(axis=0), atol=1e-12)


@pytest.mark.parametrize("phases", [0.0, math.pi / 2, (0.7, 2.1)])
def test_coefficients_do_not_depend_on_the_phases(phases):
    fine = (10.0, 11.0)
    expected, _ = make_spectrum(design=TaggingDesign(fine))
    shifted, _ = make_spectrum(design=TaggingDesign(fine, phases=phases))
    for component in ((1, 0), (0, 1), (1, 1), (1, -1), (2, 1)):
        torch.testing.assert_close(
            shifted.coefficient(component), expected.coefficient(component), rtol=1e-3, atol=1e-6
        )


def test_a_coefficient_has_the_sign_of_the_response():
    falling = TaggedSpectrum.from_series(-2.0 * DESIGN.contrasts[:, :1], DESIGN)
    assert falling.coefficient((1, 0)).item() == pytest.approx(-0.5)
    assert falling.amplitude((1, 0)).item() == pytest.approx(0.5)


def test_shares_add_up():
    spectrum, _ = make_spectrum(design=TaggingDesign((10.0, 11.0)))
    total = spectrum.first_order(0) + spectrum.first_order(1) + spectrum.interaction((1, 0))
    torch.testing.assert_close(total, spectrum.explained_variance)
    torch.testing.assert_close(
        spectrum.total_order(0), spectrum.first_order(0) + spectrum.interaction((0, 1))
    )
    assert (spectrum.explained_variance <= 1 + 1e-12).all()
    assert (spectrum.explained_variance > 0.99).all()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("statistic", STATISTICS)
def test_reductions_of_statistics_are_literal(statistic, reduction):
    spectrum, _ = make_spectrum(noise=0.1)
    wanted = [(1, 0), (1, 1), (2, -1)]
    single = "snr" if statistic == "snr_db" else statistic
    values = np.stack([spectrum.reduce([c], single, "sum").numpy() for c in wanted])
    expected = {
        "mean": values.mean(axis=0),
        "sum": values.sum(axis=0),
        "max": values.max(axis=0),
        "energy": np.sqrt((values**2).sum(axis=0)),
    }[reduction]
    if statistic == "snr_db":
        expected = 20 * np.log10(expected)
    np.testing.assert_allclose(spectrum.reduce(wanted, statistic, reduction).numpy(), expected)


def test_groups_are_those_the_spectrum_holds():
    spectrum, _ = make_spectrum()
    harmonics = [c for c in spectrum.components if c.is_harmonic]
    torch.testing.assert_close(
        spectrum.reduce("harmonics", "amplitude", "energy"),
        spectrum.reduce(harmonics, "amplitude", "energy"),
    )


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_saving_keeps_everything(tmp_path, noise):
    spectrum, _ = make_spectrum(noise=noise, design=TaggingDesign(phases=(0.1, 0.2)))
    for original in (spectrum, spectrum + spectrum):
        original.save(tmp_path / "spectrum.npz")
        loaded = TaggedSpectrum.load(tmp_path / "spectrum.npz")
        assert loaded.design == original.design
        assert loaded.components == original.components
        assert all(type(component) is Component for component in loaded.components)
        assert torch.equal(loaded.lines, original.lines)
        assert torch.equal(loaded.snr((1, 1)), original.snr((1, 1)))
        assert (loaded.variance is None) == (original.variance is None)
    with np.load(tmp_path / "spectrum.npz", allow_pickle=False) as arrays:
        assert "lines" in arrays


def test_a_foreign_file_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", lines=np.zeros(3))
    with pytest.raises(ValueError, match=r"written by `TaggedSpectrum\.save`.*lacks about"):
        TaggedSpectrum.load(tmp_path / "other.npz")


def test_sums_are_spectra_of_summed_responses():
    (first, first_series), (second, second_series) = (make_spectrum(s, noise=0.1) for s in (0, 1))
    expected = TaggedSpectrum.from_series(first_series + second_series, DESIGN)
    for total in (first + second, sum([first, second])):
        torch.testing.assert_close(total.lines, expected.lines)
        torch.testing.assert_close(total.snr((1, 0)), expected.snr((1, 0)))
        torch.testing.assert_close(total.mean, expected.mean)


def test_examples_are_picked_with_their_batch_dimension():
    spectrum, _ = make_spectrum(noise=0.1)
    assert len(spectrum) == 3
    assert repr(spectrum) == (
        "TaggedSpectrum(2 x 2 neurons, tags 6, 7.5 Hz, 20 components to order 4, 3 images)"
    )
    for index in (1, -2, np.int64(1), slice(1, 2), torch.tensor([1])):
        picked = spectrum[index]
        assert len(picked) == 1
        torch.testing.assert_close(picked.snr((1, 1)), spectrum.snr((1, 1))[1:2])
        torch.testing.assert_close(picked.first_order(0), spectrum.first_order(0)[1:2])
    assert torch.equal(spectrum.to("cpu").lines, spectrum.lines)
    with pytest.raises(IndexError):
        spectrum[3]


def test_a_line_at_the_nyquist_frequency_is_counted_once():
    design = TaggingDesign((20.0, 7.5), phases=math.pi / 2)
    angles = 2 * np.pi * 20 * np.arange(240) / 120
    with pytest.warns(UserWarning, match="3f1 with its own mirror image"):
        spectrum = TaggedSpectrum.from_series(np.cos(3 * angles)[:, None], design, [(3, 0)])
    assert spectrum.amplitude((3, 0)).item() == pytest.approx(1.0)
    assert spectrum.coefficient((3, 0)).item() == pytest.approx(1.0)
    assert spectrum.explained_variance.item() == pytest.approx(1.0)


def test_a_component_on_the_mean_holds_the_mean():
    with pytest.warns(UserWarning, match="second harmonic"):
        design = TaggingDesign((10.0, 20.0))
    series = 5.0 + np.zeros((240, 1))
    with pytest.warns(UserWarning, match="2f1 - f2 with the mean"):
        spectrum = TaggedSpectrum.from_series(series, design, [(2, -1)], n_neighbors=0)
    assert spectrum.amplitude((2, -1)).item() == pytest.approx(5.0)
    assert spectrum.interaction((0, 1)).item() == 0  # a mean does not vary


def test_a_series_with_a_graph_is_analysed_without_it(tmp_path):
    series = torch.rand(240, 1, requires_grad=True)
    spectrum = TaggedSpectrum.from_series(series, DESIGN)
    assert not spectrum.lines.requires_grad
    spectrum.save(tmp_path / "spectrum.npz")


def test_floors_of_sums_add_up():
    spectrum, _ = make_spectrum()
    torch.testing.assert_close((spectrum + spectrum).floor, 2 * spectrum.floor)


def test_a_short_record_is_read_without_neighbors():
    short = TaggingDesign((4.0, 5.0), 41.0, 41)
    series = short.contrasts[:, :1]
    assert TaggedSpectrum.from_series(series, short, n_neighbors=0).snr((1, 0)).item() > 1e12
    with pytest.raises(ValueError, match="n_neighbors=0 does without"):
        TaggedSpectrum.from_series(series, short)


@pytest.mark.parametrize("design", [DESIGN, ChebyshevGrid()], ids=["tags", "grid"])
@pytest.mark.parametrize("summed", [False, True])
def test_a_table_has_a_record_for_each_image_neuron_and_component(design, summed):
    spectrum, _ = make_spectrum(noise=0.1, design=design)
    spectrum = spectrum + spectrum if summed else spectrum
    expected = {}
    for image, row, column in itertools.product(range(3), range(2), range(2)):
        for first, second in spectrum.components:
            component = (first, second)
            name = design.label(component)
            place = image, row, column
            expected[image, (row, column), name] = {
                "image": image,
                "layer": None,
                "neuron": (row, column),
                "unit": None,
                "component": name,
                "order": abs(first) + abs(second),
                "frequency": abs(6 * first + 7.5 * second) if design is DESIGN else None,
                "amplitude": spectrum.amplitude(component)[place].item(),
                "coefficient": spectrum.coefficient(component)[place].item(),
                "snr": spectrum.snr(component)[place].item(),
                "share": None if summed else spectrum.variance_share(component)[place].item(),
            }
    records = spectrum.table()
    assert len(records) == len(expected) == 3 * 4 * len(spectrum.components)
    for record in records:
        wanted = expected.pop((record["image"], record["neuron"], record["component"]))
        assert record == wanted
        assert list(record) == list(wanted)
    assert not expected


def test_a_neuron_with_one_index_is_a_number_in_the_table():
    series = torch.rand(240, 2, 3)
    records = TaggedSpectrum.from_series(series, DESIGN, [(1, 1)]).table()
    places = {(record["image"], record["neuron"]) for record in records}
    assert places == set(itertools.product(range(2), range(3)))


class Network(nn.Module):
    """A convolution, tokens of its maps, and an output."""

    def __init__(self):
        super().__init__()
        self.convolution, self.tokens = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
        self.shuffle, self.head = nn.Unflatten(2, (5, 1, 1)), nn.Linear(5, 2)

    def forward(self, x):
        tokens = self.tokens(self.convolution(x).flatten(2).transpose(1, 2))
        return self.head(self.shuffle(tokens).flatten(2).mean(dim=1))


@pytest.fixture
def spectra():
    """Of all of a network's layers, in the network's own order, and of two poolings."""
    model, images = Network().eval(), torch.rand(3, 3, 6, 8)
    layers = FrequencyTaggingAttribution(model, ["convolution", "tokens", "shuffle", "head"])
    arguments = dict(design=TaggingDesign(phases=math.pi / 2), max_order=2)
    pooled = [
        FrequencyTaggingAttribution(model, "tokens").spectrum(images, pooling=pooling, **arguments)
        for pooling in ("channel", lambda activations: activations.amax(dim=1))
    ]
    return [*layers.spectrum(images, **arguments), *pooled]


ORIGINS = [
    ("convolution", "neuron", 1, "channels_first"),
    ("tokens", "neuron", 2, "tokens"),
    ("shuffle", "neuron", None, None),
    ("head", "neuron", 1, None),
    ("tokens", "channel", 1, None),
    ("tokens", "pooled value", None, None),
]


def test_where_numbers_come_from_goes_with_them(spectra, tmp_path):
    def origin(spectrum):
        return spectrum.layer, spectrum.neurons, spectrum.channel_dim, spectrum.layout

    assert [origin(spectrum) for spectrum in spectra] == ORIGINS
    for spectrum, expected in zip(spectra, ORIGINS, strict=True):
        spectrum.save(tmp_path / "spectrum.npz")
        loaded = TaggedSpectrum.load(tmp_path / "spectrum.npz")
        for kept in (loaded, spectrum[1], spectrum[:2], spectrum.to("cpu"), spectrum + loaded):
            assert origin(kept) == expected
            assert {record["layer"] for record in kept.table()} == {expected[0]}


def test_a_sum_over_layers_is_of_none():
    one, other = (TaggedSpectrum.from_series(torch.rand(240, 1), DESIGN) for _ in range(2))
    assert (one + other).layer is None
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).eval()
    first, second = FrequencyTaggingAttribution(model, ["0", "1"]).spectrum(torch.rand(2, 4))
    assert (first + second).layer is None


def test_spectra_print_as_one_line_each(spectra):
    """Also in a list, as those of several layers come."""
    assert repr(spectra) == "[" + ", ".join(map(repr, spectra)) + "]"
    for spectrum, (layer, *_) in zip(spectra, ORIGINS, strict=True):
        assert repr(spectrum).startswith(f"TaggedSpectrum({layer}, ")
        assert not any(word in repr(spectrum) for word in ("\n", "tensor(", "array("))
        assert len(repr(spectrum)) < 120


@pytest.mark.parametrize(
    ("design", "order"),
    [
        (DESIGN, 4),
        (TaggingDesign((10.0, 15.0)), 2),
        (TaggingDesign((63.0, 65.0), 4095, 4095), 8),
        (ChebyshevGrid(), 4),
        (ChebyshevGrid(1, 2), 1),
        (ChebyshevGrid(3, 4), 3),
        (ChebyshevGrid(1, 9), 8),
        (ChebyshevGrid(1, 12), 8),
    ],
)
def test_by_default_all_components_to_the_order_that_the_design_resolves_are_read(design, order):
    assert design.default_order == order
    series = torch.rand(design.n_frames, 1)
    spectrum = TaggedSpectrum.from_series(series, design, n_neighbors=0)
    assert spectrum.components == design.components("all", order)
    assert max(component.order for component in spectrum.components) == order


def test_the_number_of_neighbors_may_be_numpys(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3)).eval()
    tagging = FrequencyTaggingAttribution(model, "0")
    spectrum = tagging.spectrum(torch.rand(1, 4), n_neighbors=np.int64(1), noise_std=0.1)
    spectrum.save(tmp_path / "spectrum.npz")
    assert TaggedSpectrum.load(tmp_path / "spectrum.npz").n_neighbors == 1
    with pytest.raises(TypeError, match="`n_neighbors` to be an integer"):
        tagging.spectrum(torch.rand(1, 4), n_neighbors=2.5)
