"""Grids of Chebyshev nodes: components without time."""

import itertools
import math

import numpy as np
import pytest
import torch
from captum.attr import LayerActivation, LayerGradientXActivation
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import chebyshev
from scipy.fft import dctn
from torch import nn

from captum_ssvep import (
    FrequencyTaggingAttribution,
    FrequencyTunnel,
    TaggedSpectrum,
    TaggingDesign,
    choose_design,
    tagged_sequence,
)
from captum_ssvep.design.grids import ChebyshevGrid
from captum_ssvep.spectrum.statistics import REDUCTIONS

M, A = 0.75, 0.25


def spectrum_of(response, design, **arguments):
    """Of a function of the parts' contrasts, taken from -1 to 1."""
    low, high = design.contrast
    levels = (2 * design.contrasts - low - high) / (high - low)
    return TaggedSpectrum.from_series(response(*levels.T)[:, None], design, **arguments)


def absolute(component):
    return tuple(map(abs, component))


def n_equal_lines(component):
    """Sums and differences that share a product of cosines."""
    return 2 ** (sum(map(bool, component)) - 1)


@pytest.fixture
def model():
    layers = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4), nn.ReLU())
    return layers.double().eval()


IMAGES = torch.rand(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
THIRDS = torch.tensor([0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize("n_parts", [1, 2, 3])
@pytest.mark.parametrize("nodes", [2, 5])
def test_frames_are_all_combinations_of_chebyshev_nodes(n_parts, nodes):
    design = ChebyshevGrid(n_parts, nodes, (-0.2, 1.4))
    assert isinstance(design, ChebyshevGrid)
    assert (design.n_parts, design.nodes, design.contrast) == (n_parts, nodes, (-0.2, 1.4))
    assert design.n_frames == design.n_distinct_frames == nodes**n_parts
    assert design.collision_free_order == nodes - 1
    levels = 0.6 + 0.8 * chebyshev.chebpts1(nodes)[::-1]
    expected = list(itertools.product(levels, repeat=n_parts))
    np.testing.assert_allclose(design.contrasts, expected, atol=1e-15)


def test_grids_compare_by_value_and_name_themselves():
    assert ChebyshevGrid() == ChebyshevGrid(2, np.int64(5), [0.5, 1])
    assert ChebyshevGrid() != ChebyshevGrid(nodes=6)
    assert str(ChebyshevGrid(3, 4)) == "4 x 4 x 4 grid"
    assert str(ChebyshevGrid(1, 4)) == "grid of 4 nodes"
    assert repr(ChebyshevGrid(3, 4, np.array([0, 1.25]))) == (
        "ChebyshevGrid(4 x 4 x 4 contrasts from 0 to 1.25, 64 frames, collision-free to order 3)"
    )
    spectrum = spectrum_of(lambda x, y: x * y, ChebyshevGrid())
    assert (
        repr(spectrum) == "TaggedSpectrum(1 neuron, 5 x 5 grid, 20 components to order 4, 1 image)"
    )
    assert ChebyshevGrid().title((1, -1)) == "f1 - f2"


@pytest.mark.parametrize(("n_parts", "nodes"), [(1, 9), (2, 5), (3, 4), (4, 3)])
def test_lines_are_the_discrete_cosine_transform(n_parts, nodes):
    design = ChebyshevGrid(n_parts, nodes)
    series = np.random.default_rng(0).normal(size=(design.n_frames, 2, 3))
    cube = series.reshape(*[nodes] * n_parts, 2, 3)
    expected = dctn(cube, type=2, axes=range(n_parts)) / 2**n_parts  # SciPy doubles every sum
    spectrum = TaggedSpectrum.from_series(series, design, max_order=nodes - 1)
    for component, line in zip(spectrum.components, spectrum.lines, strict=True):
        np.testing.assert_allclose(line.real, expected[absolute(component)], atol=1e-12)
        assert not line.imag.any()
    np.testing.assert_allclose(spectrum.mean, series.mean(axis=0), atol=1e-14)
    np.testing.assert_allclose(spectrum.variance, series.var(axis=0), atol=1e-14)


def polynomial(coefficients):
    values = {1: chebyshev.chebval, 2: chebyshev.chebval2d, 3: chebyshev.chebval3d}
    return lambda *levels: values[len(levels)](*levels, coefficients)


@st.composite
def polynomials(draw):
    """A grid, an order, and a polynomial of the highest degree that is exact to that order."""
    n_parts, nodes = draw(st.integers(1, 3)), draw(st.integers(2, 6))
    max_order = draw(st.integers(1, nodes - 1))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    coefficients = random.normal(size=[2 * nodes - max_order] * n_parts)
    low = draw(st.floats(-1, 1))
    return (
        ChebyshevGrid(n_parts, nodes, (low, low + draw(st.floats(0.1, 2)))),
        max_order,
        coefficients,
    )


@settings(max_examples=60)
@given(polynomials())
def test_coefficients_of_polynomials_are_exact(case):
    design, max_order, coefficients = case
    spectrum = spectrum_of(polynomial(coefficients), design, max_order=max_order)
    assert spectrum.mean.item() == pytest.approx(coefficients.flat[0], abs=1e-10)
    for component in spectrum.components:
        wanted = coefficients[absolute(component)] / n_equal_lines(component)
        assert spectrum.coefficient(component).item() == pytest.approx(wanted, abs=1e-10)
        assert spectrum.amplitude(component).item() == pytest.approx(abs(wanted), abs=1e-10)


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(2, 6), st.integers(0, 2**32))
def test_shares_of_low_polynomials_add_up_to_the_variance(n_parts, nodes, seed):
    coefficients = np.random.default_rng(seed).normal(size=[nodes] * n_parts)
    coefficients[np.indices(coefficients.shape).sum(axis=0) >= nodes] = 0
    spectrum = spectrum_of(
        polynomial(coefficients), ChebyshevGrid(n_parts, nodes), max_order=nodes - 1
    )
    assert spectrum.explained_variance.item() == pytest.approx(1, abs=1e-12)


def test_a_degree_above_the_nodes_is_read_below_them():
    """cos(m theta) at q nodes is (-1)^j cos(n theta) with m = 2 q j +- n, and 0 at m = q."""
    for degree, alias, sign in ((6, 4, -1), (9, 1, -1), (11, 1, -1), (19, 1, 1), (24, 4, 1)):
        spectrum = spectrum_of(lambda x, m=degree: np.cos(m * np.arccos(x)), ChebyshevGrid(1))
        for n in range(1, 5):
            wanted = sign if n == alias else 0
            assert spectrum.coefficient((n,)).item() == pytest.approx(wanted, abs=1e-13)
    nothing = spectrum_of(lambda x: np.cos(5 * np.arccos(x)), ChebyshevGrid(1))
    assert nothing.variance.item() == pytest.approx(0, abs=1e-28)


def test_errors_are_the_signed_sum_of_the_aliases():
    def response(x, y):
        return np.tanh(0.2 + 1.3 * x - 0.8 * y)

    nodes, n_true = 5, 128
    levels = np.cos(np.pi * (np.arange(n_true) + 0.5) / n_true)
    true = dctn(response(levels[:, None], levels), type=2) / n_true**2
    true[0] /= 2
    true[:, 0] /= 2
    spectrum = spectrum_of(response, ChebyshevGrid(2, nodes))
    largest_error = 0.0
    for component in spectrum.components:
        total = 0.0
        for jx, jy in itertools.product(range(5), repeat=2):
            rows = {abs(2 * nodes * jx + sign * component[0]) for sign in (-1, 1)}
            columns = {abs(2 * nodes * jy + sign * component[1]) for sign in (-1, 1)}
            total += (-1) ** (jx + jy) * true[np.ix_(sorted(rows), sorted(columns))].sum()
        ours = spectrum.coefficient(component).item() * n_equal_lines(component)
        assert ours == pytest.approx(total, abs=1e-12)
        largest_error = max(largest_error, abs(ours - true[absolute(component)]))
    assert largest_error > 1e-4  # there is something to explain


def test_sums_and_differences_are_the_same_line():
    spectrum = spectrum_of(lambda x, y, z: np.maximum(x + y - 0.5 * z, 0.1), ChebyshevGrid(3))
    for signs in itertools.product([1, -1], repeat=2):
        for multiples in ((1, 1, 0), (2, 1, 1), (1, 0, 3)):
            other = (multiples[0], signs[0] * multiples[1], signs[1] * multiples[2])
            assert torch.equal(spectrum.coefficient(other), spectrum.coefficient(multiples))
            assert spectrum.amplitude(other) > 1e-4


@pytest.mark.parametrize("phases", [0.0, math.pi / 2])
def test_a_fine_grid_and_a_long_record_agree(phases):
    def response(x, y):
        return np.exp(0.8 * x - 0.5 * y)

    n_frames = 2 * 24**2 + 2 * 24 + 1
    time = TaggingDesign((24, 25), n_frames, n_frames, phases)
    record, points = (
        spectrum_of(response, d, n_neighbors=0) for d in (time, ChebyshevGrid(nodes=16))
    )
    for component in points.components:
        for read_out in (TaggedSpectrum.amplitude, TaggedSpectrum.coefficient):
            both = read_out(record, component), read_out(points, component)
            assert both[0].item() == pytest.approx(both[1].item(), abs=1e-13)
    for part in (0, 1):
        torch.testing.assert_close(record.first_order(part), points.first_order(part))
    torch.testing.assert_close(record.variance, points.variance)
    torch.testing.assert_close(record.mean, points.mean)


def test_a_product_shares_its_variance_as_its_closed_form():
    spectrum = spectrum_of(lambda x, y: (M + A * x) * (M + A * y), ChebyshevGrid())
    variances = A * A * M * M / 2, A**4 / 4  # of a part, and of both together
    total = 2 * variances[0] + variances[1]
    assert spectrum.variance.item() == pytest.approx(total, abs=1e-14)
    for part in (0, 1):
        assert spectrum.first_order(part).item() == pytest.approx(18 / 37, abs=1e-12)
        assert spectrum.total_order(part).item() == pytest.approx(19 / 37, abs=1e-12)
    assert spectrum.interaction((0, 1)).item() == pytest.approx(1 / 37, abs=1e-12)
    assert spectrum.explained_variance.item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("statistic", ["snr", "snr_db", "amplitude", "coefficient"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_statistics_without_neighbors_work(model, statistic, reduction):
    tagging = FrequencyTaggingAttribution(model, "1")
    arguments = dict(components="all", statistic=statistic, reduction=reduction)
    result = tagging.attribute(IMAGES, design=ChebyshevGrid(), **arguments)
    spectrum = tagging.spectrum(IMAGES, design=ChebyshevGrid())
    torch.testing.assert_close(
        result, spectrum.reduce("all", statistic, reduction), rtol=1e-9, atol=1e-12
    )
    assert result.shape == (3, 8)
    assert result.isfinite().all()


def test_snr_is_the_amplitude_in_units_of_the_floor(model):
    spectrum = FrequencyTaggingAttribution(model, "1").spectrum(IMAGES, design=ChebyshevGrid())
    assert spectrum.neighbor_bins == ()
    torch.testing.assert_close(
        spectrum.snr((1, 1)), spectrum.amplitude((1, 1)) / spectrum.floor[:, None]
    )
    shares = spectrum.reduce("all", "variance_share", "sum")
    torch.testing.assert_close(shares, spectrum.explained_variance)
    linear = FrequencyTaggingAttribution(model, "0").spectrum(IMAGES, design=ChebyshevGrid())
    assert (linear.snr((1, 1)) < 1).all()  # absent
    assert (linear.snr((1, 0)) > 1e6).all()


def test_a_series_of_frames_gives_the_same_spectrum(model):
    design = ChebyshevGrid(nodes=6)
    spectrum = FrequencyTaggingAttribution(model, "3").spectrum(
        IMAGES, 0.3, design=design, perturbations_per_eval=7
    )
    frames = tagged_sequence(IMAGES, design, baselines=0.3)
    assert frames.shape == (36, 3, 6)
    series = TaggedSpectrum.from_series(model(frames.flatten(0, 1)).reshape(36, 3, 4), design)
    for name in ("lines", "mean", "variance", "floor", "neighbor_lines"):
        torch.testing.assert_close(
            getattr(series, name), getattr(spectrum, name), rtol=1e-9, atol=1e-13
        )
    assert series.components == spectrum.components


def test_three_parts_flicker_as_the_mask_says(model):
    design = ChebyshevGrid(3, 4)
    spectrum = FrequencyTaggingAttribution(model, "1").spectrum(
        IMAGES, feature_mask=THIRDS, design=design, max_order=3
    )
    contrasts = torch.as_tensor(design.contrasts)[:, THIRDS]
    with torch.no_grad():
        answers = model[:2](contrasts[:, None] * IMAGES).numpy()
    expected = dctn(answers.reshape(4, 4, 4, 3, 8), type=2, axes=(0, 1, 2)) / 8
    for component in spectrum.components:
        wanted = 2 / 64 * expected[absolute(component)]
        np.testing.assert_allclose(spectrum.coefficient(component), wanted, atol=1e-13)


def test_the_tunnel_takes_grids(model):
    plain = FrequencyTaggingAttribution(model, "1").spectrum(IMAGES, design=ChebyshevGrid())
    tunnel = FrequencyTunnel(LayerActivation(model, model[1]))
    through = tunnel.spectrum(IMAGES, design=ChebyshevGrid(), frames_per_pass=4)
    torch.testing.assert_close(through.lines, plain.lines, rtol=1e-9, atol=1e-13)
    tunnel = FrequencyTunnel(LayerGradientXActivation(model, model[1]))
    result = tunnel.attribute(IMAGES, design=ChebyshevGrid(), target=0, statistic="coefficient")
    assert result.shape == (3, 8)
    assert result.isfinite().all()
    with pytest.raises(ValueError, match="design in time for statistic='zscore'"):
        tunnel.attribute(IMAGES, design=ChebyshevGrid(), target=0, statistic="zscore")


@pytest.mark.parametrize(
    ("design", "estimate_error", "n_rows"),
    [
        (ChebyshevGrid(), False, 25),
        (ChebyshevGrid(), True, 25 + 36),
        (ChebyshevGrid(3, 4), False, 64),
        (TaggingDesign(), True, 49 + 65),
    ],
)
def test_what_a_design_costs(model, design, estimate_error, n_rows):
    rows = []
    model[0].register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    FrequencyTaggingAttribution(model, "1").spectrum(
        IMAGES[:1],
        feature_mask=THIRDS % design.n_parts,
        design=design,
        max_order=3,
        estimate_error=estimate_error,
    )
    assert sum(rows) == n_rows + 1  # one is shown twice, for comparison


def test_saving_keeps_the_grid(tmp_path):
    spectrum = spectrum_of(lambda x, y: np.exp(x * y), ChebyshevGrid(contrast=(0.2, 0.9)))
    for original in (spectrum, spectrum + spectrum):
        original.save(tmp_path / "spectrum.npz")
        loaded = TaggedSpectrum.load(tmp_path / "spectrum.npz")
        assert loaded.design == original.design == ChebyshevGrid(contrast=(0.2, 0.9))
        assert loaded.components == original.components
        assert (loaded.variance is None) == (original.variance is None)
        assert torch.equal(loaded.coefficient((1, 1)), original.coefficient((1, 1)))
        assert torch.equal(loaded.snr((1, 1)), original.snr((1, 1)))


REFUSALS = {
    "part": (lambda: ChebyshevGrid(0), ValueError, "`n_parts` to be at least 1, but got 0"),
    "half a part": (
        lambda: ChebyshevGrid(1.5),
        TypeError,
        "`n_parts` to be an integer, but got 1.5",
    ),
    "one node": (lambda: ChebyshevGrid(nodes=1), ValueError, "`nodes` to be at least 2, but got 1"),
    "half a node": (
        lambda: ChebyshevGrid(nodes=4.0),
        TypeError,
        "`nodes` to be an integer, but got 4.0",
    ),
    "true nodes": (lambda: ChebyshevGrid(nodes=True), TypeError, "`nodes` to be an integer"),
    "reversed contrast": (lambda: ChebyshevGrid(contrast=(1, 0.5)), ValueError, "lowest < highest"),
    "infinite contrast": (
        lambda: ChebyshevGrid(contrast=(0, math.inf)),
        ValueError,
        "to be finite",
    ),
    "text contrast": (
        lambda: ChebyshevGrid(contrast="ab"),
        TypeError,
        "`contrast` to hold numbers",
    ),
    "multiple": (
        lambda: ChebyshevGrid().components([(5, 0)]),
        ValueError,
        r"multiples below 5.*got 5.*ChebyshevGrid\(2, 6\)",
    ),
    "negative multiple": (
        lambda: ChebyshevGrid().components([(1, -7)]),
        ValueError,
        "below 5.*got 7",
    ),
    "length": (lambda: ChebyshevGrid().components([(1, 0, 0)]), ValueError, "tuples of 2 integers"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_no_grid_is_refused(name):
    call, error, words = REFUSALS[name]
    with pytest.raises(error, match=words):
        call()


REFUSED_CALLS = {
    "noise": (dict(noise_std=0.1), "design in time for `noise_std`, but got a 5 x 5 grid"),
    "zscore": (dict(statistic="zscore"), "design in time for statistic='zscore'"),
    "baseline": (dict(statistic="baseline_corrected"), "no neighboring lines"),
    "component": (dict(components=[(5, 0)]), "multiples below 5"),
    "parts": (dict(feature_mask=THIRDS), r"ids \[2\] that the design lacks"),
}


@pytest.mark.parametrize("name", REFUSED_CALLS)
def test_calls_that_need_time_are_refused_before_anything_runs(model, name):
    arguments, words = REFUSED_CALLS[name]
    model[0].register_forward_hook(lambda *_: pytest.fail("the model ran"))
    with pytest.raises(ValueError, match=words):
        FrequencyTaggingAttribution(model, "1").attribute(
            IMAGES, design=ChebyshevGrid(), **arguments
        )


def test_groups_hold_what_the_nodes_can_read(model):
    tagging = FrequencyTaggingAttribution(model, "1")
    design = ChebyshevGrid(nodes=3)
    assert {c.order for c in tagging.spectrum(IMAGES, design=design).components} == {1, 2}
    spectrum = tagging.spectrum(IMAGES, design=design, max_order=4)
    assert {c.order for c in spectrum.components} == {1, 2, 3, 4}
    assert max(abs(n) for c in spectrum.components for n in c) == 2
    thirds = choose_design(3, max_order=2)
    attribution = tagging.attribute(IMAGES, feature_mask=THIRDS, design=thirds, components="all")
    assert attribution.shape == (3, 8)


@pytest.mark.parametrize("statistic", ["zscore", "baseline_corrected"])
def test_a_spectrum_of_a_grid_has_no_neighbors_to_compare_with(statistic):
    spectrum = spectrum_of(lambda x, y: x * y, ChebyshevGrid())
    with pytest.raises(ValueError, match=f"design in time for statistic='{statistic}'"):
        spectrum.reduce("all", statistic)
