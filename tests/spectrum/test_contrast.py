"""Responses to contrast, summed up from spectra, against the responses themselves."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_ssvep import ChebyshevGrid, TaggedSpectrum, TaggingDesign, choose_design

M, A = 0.75, 0.25
LONG = dict(frequencies=(24.0, 25.0), sampling_rate=1201.0, n_frames=1201)

# In these a response of degree 4 in both contrasts together is exact.
SINES = {
    "sine": TaggingDesign(),
    "cosine": TaggingDesign(phases=math.pi / 2),
    "any phase": TaggingDesign(phases=(0.3, 2.0)),
    "found": choose_design(2, kind="time", contrast=(-0.3, 1.2)),
    "grid": ChebyshevGrid(),
    "wide grid": ChebyshevGrid(nodes=6, contrast=(-1.0, 1.0)),
}
TRIANGLES = {
    "sine": TaggingDesign(waveform="triangle"),
    "cosine": TaggingDesign(phases=math.pi / 2, waveform="triangle"),
    "any phase": TaggingDesign(phases=(0.3, 2.0), waveform="triangle", contrast=(0.0, 2.0)),
}


def product(x, y):
    return x * y


def polynomial(x, y):
    return 1 + x - 2 * y + 3 * x * y - x**2 * y + 2 * (x * y) ** 2 + 0.5 * y**3


def spectrum_of(response, design, **arguments):
    series = torch.as_tensor(response(*design.contrasts.T))[:, None]
    return TaggedSpectrum.from_series(series, design, **{"n_neighbors": 0, **arguments})


def arcsine_average(response, contrast):
    """Over a contrast that follows a sine: Gauss-Chebyshev quadrature."""
    (low, high), nodes = contrast, np.polynomial.chebyshev.chebpts1(64)
    return response((low + high) / 2 + (high - low) / 2 * nodes[:, None]).mean(axis=0)


def uniform_average(response, contrast):
    """Over a contrast that follows a triangle wave: Gauss-Legendre quadrature."""
    (low, high), (nodes, weights) = contrast, np.polynomial.legendre.leggauss(64)
    return weights / 2 @ response((low + high) / 2 + (high - low) / 2 * nodes[:, None])


@pytest.mark.parametrize("response", [product, polynomial])
@pytest.mark.parametrize("design", SINES.values(), ids=SINES)
def test_a_curve_averages_over_the_other_part(response, design):
    spectrum = spectrum_of(response, design)
    for part in (0, 1):
        contrasts, curve = spectrum.contrast_response(part)
        own = contrasts.numpy()
        np.testing.assert_allclose(own, np.linspace(*design.contrast, 33))
        assert curve.shape == (33, 1)

        def given_other(other, own=own, part=part):
            return response(own, other) if part == 0 else response(other, own)

        expected = arcsine_average(given_other, design.contrast)
        np.testing.assert_allclose(curve[:, 0], expected, atol=1e-12)


@pytest.mark.parametrize("response", [product, polynomial])
@pytest.mark.parametrize("design", SINES.values(), ids=SINES)
def test_a_surface_is_the_response(response, design):
    spectrum = spectrum_of(response, design)
    contrasts, surface = spectrum.contrast_response((0, 1), n_contrasts=9)
    assert surface.shape == (9, 9, 1)
    own = contrasts.numpy()
    np.testing.assert_allclose(surface[..., 0], response(own[:, None], own), atol=1e-12)
    _, turned = spectrum.contrast_response([1, 0], n_contrasts=9)
    torch.testing.assert_close(turned, surface.transpose(0, 1))


def smooth_in_phase(design):
    """Of few lines, although the contrasts follow a triangle wave."""
    low, high = design.contrast

    def response(x, y):
        u, v = (np.cos(np.pi * (high - c) / (high - low)) for c in (x, y))
        return polynomial(u, v)

    return response


@pytest.mark.parametrize("design", TRIANGLES.values(), ids=TRIANGLES)
def test_a_triangle_wave_averages_uniformly(design):
    response = smooth_in_phase(design)
    spectrum = spectrum_of(response, design)
    contrasts, curve = spectrum.contrast_response(0)
    own = contrasts.numpy()
    expected = uniform_average(lambda other: response(own, other), design.contrast)
    np.testing.assert_allclose(curve[:, 0], expected, atol=1e-12)
    _, surface = spectrum.contrast_response((0, 1))
    np.testing.assert_allclose(surface[..., 0], response(own[:, None], own), atol=1e-12)


@pytest.mark.parametrize("phases", [0.0, math.pi / 2])
def test_a_product_under_triangle_waves_is_found_but_for_its_highest_harmonics(phases):
    design = TaggingDesign(**LONG, phases=phases, waveform="triangle")
    spectrum = spectrum_of(product, design, max_order=20)
    contrasts, curve = spectrum.contrast_response(0)
    # A triangle has harmonics 8 / (pi n)^2: those left out, and as much again by aliasing.
    left_out = sum(8 / (math.pi * n) ** 2 for n in range(21, 100_000, 2))
    np.testing.assert_allclose(curve[:, 0], M * contrasts, rtol=0, atol=2 * A * M * left_out)
    middle = slice(4, -4)  # away from the corners, where they all add up
    np.testing.assert_allclose(
        curve[middle, 0], M * contrasts[middle], rtol=0, atol=0.5 * A * M * left_out
    )


@pytest.mark.parametrize("design", [TaggingDesign(), ChebyshevGrid()], ids=str)
def test_fundamentals_give_the_linear_part(design):
    spectrum = spectrum_of(product, design, components="fundamentals")
    contrasts, surface = spectrum.contrast_response((0, 1))
    x, y = contrasts[:, None], contrasts
    torch.testing.assert_close(surface[..., 0], M * M + M * (x - M) + M * (y - M))
    torch.testing.assert_close(spectrum.contrast_response(1)[1][:, 0], M * contrasts)


@pytest.mark.parametrize("held", [[(1, 1)], [(1, -1)], [(1, 1), (1, -1)]])
@pytest.mark.parametrize("design", [TaggingDesign(), ChebyshevGrid()], ids=str)
def test_one_of_the_equal_lines_stands_for_all(design, held):
    spectrum = spectrum_of(product, design, components=held)
    contrasts, surface = spectrum.contrast_response((0, 1))
    interaction = (contrasts[:, None] - M) * (contrasts - M)
    torch.testing.assert_close(surface[..., 0], M * M + interaction)


def three(x, y, z):
    return x * y + 2 * z * y - x * z**2


@pytest.mark.parametrize(
    "design", [choose_design(3, 3, kind="time"), ChebyshevGrid(3, 4)], ids=["time", "grid"]
)
def test_a_surface_of_two_parts_averages_over_the_third(design):
    spectrum = spectrum_of(three, design, max_order=3)
    own = np.linspace(*design.contrast, 5)
    for parts in ((0, 1), (0, 2), (1, 2), (2, 0)):
        _, surface = spectrum.contrast_response(parts, n_contrasts=5)

        def given_other(other, parts=parts):
            first, second = (axis.ravel() for axis in np.meshgrid(own, own, indexing="ij"))
            values = {parts[0]: first, parts[1]: second, 3 - sum(parts): other}
            return three(*(values[part] for part in range(3)))

        expected = arcsine_average(given_other, design.contrast).reshape(5, 5)
        np.testing.assert_allclose(surface[..., 0], expected, atol=1e-12)
    _, volume = spectrum.contrast_response((0, 1, 2), n_contrasts=5)
    expected = three(own[:, None, None], own[:, None], own)
    np.testing.assert_allclose(volume[..., 0], expected, atol=1e-12)


def test_one_part_gives_its_response():
    spectrum = spectrum_of(lambda x: 2 + x**3, ChebyshevGrid(1))
    contrasts, curve = spectrum.contrast_response(0)
    torch.testing.assert_close(curve[:, 0], 2 + contrasts**3)


def test_neurons_keep_their_shape_and_dtype():
    series = torch.rand(25, 2, 3, 4)
    spectrum = TaggedSpectrum.from_series(series, ChebyshevGrid())
    contrasts, surface = spectrum.contrast_response((0, 1), n_contrasts=7)
    assert surface.shape == (7, 7, 2, 3, 4)
    assert surface.dtype == contrasts.dtype == torch.float32
    single = spectrum[1].contrast_response((0, 1), n_contrasts=7)[1]
    torch.testing.assert_close(surface[:, :, 1:], single)


@settings(max_examples=20)
@given(st.integers(2, 6), st.integers(0, 2**32))
def test_a_curve_of_one_part_goes_through_what_was_measured(nodes, seed):
    """The polynomial through the nodes is what the components of a grid sum up to."""
    measured = np.random.default_rng(seed).normal(size=nodes)
    design = ChebyshevGrid(1, nodes, (-1.0, 1.0))
    spectrum = TaggedSpectrum.from_series(measured[:, None], design, max_order=nodes - 1)
    contrasts, curve = spectrum.contrast_response(0)
    coefficients = np.polynomial.chebyshev.chebfit(design.contrasts[:, 0], measured, nodes - 1)
    expected = np.polynomial.chebyshev.chebval(contrasts.numpy(), coefficients)
    np.testing.assert_allclose(curve[:, 0], expected, atol=1e-10)


@pytest.mark.parametrize(
    ("components", "parts"),
    [
        ("all", 2),
        ("all", -1),
        ("all", (0, 0)),
        ("all", (0, 7)),
        ("all", (0, -1)),
        ("all", ()),
        ([(0, 1)], 0),
        ([(1, 1)], 0),
        ([(1, 1)], (1,)),
    ],
)
@pytest.mark.parametrize("design", [TaggingDesign(), ChebyshevGrid()], ids=str)
def test_parts_have_to_differ_and_to_be_in_the_spectrum(design, components, parts):
    spectrum = spectrum_of(product, design, components=components)
    with pytest.raises(ValueError, match="`parts` to be different ones among"):
        spectrum.contrast_response(parts)


def test_there_has_to_be_a_contrast():
    with pytest.raises(ValueError, match="`n_contrasts` to be at least 1, but got 0"):
        spectrum_of(product, ChebyshevGrid()).contrast_response(0, n_contrasts=0)


@pytest.mark.parametrize("design", [TaggingDesign(), ChebyshevGrid()], ids=str)
def test_parts_may_be_numpy_integers_and_arrays(design):
    spectrum = spectrum_of(product, design)
    expected = spectrum.contrast_response((0, 1))[1]
    assert torch.equal(spectrum.contrast_response(np.array([0, 1]))[1], expected)
    assert torch.equal(spectrum.contrast_response(np.int64(1))[1], spectrum.contrast_response(1)[1])


def test_a_line_counts_once_and_the_mean_not_at_all():
    """In this record 2 f1 - f2 lies on the mean, and 2 f1 on f2."""
    with pytest.warns(UserWarning, match="second harmonic of 5 Hz"):
        design = TaggingDesign((5, 10), 40, 40, phases=math.pi / 2, contrast=(-1, 1))
    series = 5 + design.contrasts.sum(axis=1)
    with pytest.warns(UserWarning, match="share a line"):
        spectrum = TaggedSpectrum.from_series(
            series[:, None], design, components=[(2, -1), (2, 0), (1, 0), (0, 1)]
        )
    contrasts, surface = spectrum.contrast_response((0, 1), n_contrasts=5)
    expected = 5 + contrasts[:, None] + contrasts[None]
    torch.testing.assert_close(surface[..., 0], expected, rtol=0, atol=1e-12)
