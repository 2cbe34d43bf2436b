"""Spectra of toy networks against their closed forms.

With contrasts from -1 to 1 and a phase of pi/2 a part's contrast is ``cos(theta)`` itself, so that
a layer that computes ``r(x, y)`` has the double Fourier series of ``r(cos(theta1), cos(theta2))``.
"""

from __future__ import annotations

import cmath
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import ellipe, ellipk, gamma, hyp2f1, iv
from torch import Tensor, nn

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    TaggedSpectrum,
    TaggingDesign,
    tagged_sequence,
)
from captum_ssvep.design.base import Design

PI = math.pi
# Allowed error of amplitudes and means, as a share of the largest amplitude: what aliasing leaves.
TOLERANCE = 1e-8
KINKED_TOLERANCE = 1e-5
ROUNDING = 1e-12
# Aliases of grids are added one by one to this multiple of a tag: beyond, gamma() overflows.
HIGHEST_ALIAS = 140
# Odd, so that no frame falls on the jump of sign(cos).
LONG_RECORD = 100_001
CONTRAST = (0.5, 1.0)
M, A = 0.75, 0.25  # middle and half-width of CONTRAST


@dataclass(frozen=True)
class Form:
    """A response to the parts' contrasts, and what its spectrum has to be.

    ``amplitude`` takes the absolute multiples of a component: both signs of an intermodulation are
    alike. Spectra of ``kinked`` responses to two parts fall so slowly that they need many frames.
    ``tolerance`` replaces the usual one, and takes the absolute multiples too (zeros: the mean).
    """

    response: Callable[..., Tensor]
    mean: float
    amplitude: Callable[..., float]
    n_parts: int = 2
    contrast: tuple[float, float] = (-1.0, 1.0)
    kinked: bool = False
    max_order: int = 4
    tolerance: Callable[..., float] | None = None


class Formula(nn.Module):
    """One neuron that computes a function of the input's columns."""

    def __init__(self, response: Callable[..., Tensor]) -> None:
        super().__init__()
        self.response = response

    def forward(self, inputs: Tensor) -> Tensor:
        return self.response(*inputs.unbind(1))[:, None]


@cache
def two_tags(
    kinked: bool, contrast: tuple[float, float], phases: float | tuple[float, float]
) -> TaggingDesign:
    """Tags at bins (m, m + 1) in 2 m^2 + 2 m + 1 frames: no collision up to order m."""
    m = 400 if kinked else 24
    n_frames = 2 * m * m + 2 * m + 1
    return TaggingDesign((m, m + 1), n_frames, n_frames, phases=phases, contrast=contrast)


@cache
def one_tag(contrast: tuple[float, float]) -> TaggingDesign:
    return TaggingDesign((1,), LONG_RECORD, LONG_RECORD, phases=PI / 2, contrast=contrast)


def read(form: Form, design: Design) -> TaggedSpectrum:
    model = nn.Sequential(Formula(form.response)).eval()
    return FrequencyTaggingAttribution(model, "0").spectrum(
        torch.ones(1, form.n_parts, dtype=torch.float64),
        design=design,
        max_order=form.max_order,
        n_neighbors=0,
        perturbations_per_eval=100_000,
    )


@cache
def spectrum_of(name: str) -> TaggedSpectrum:
    form = FORMS[name]
    if form.n_parts == 1:
        return read(form, one_tag(form.contrast))
    return read(form, two_tags(form.kinked, form.contrast, PI / 2))


@cache
def grid_of(name: str, nodes: int) -> TaggedSpectrum:
    form = FORMS[name]
    return read(form, ChebyshevGrid(form.n_parts, nodes, form.contrast))


def only(amplitudes: dict[tuple[int, ...], float]) -> Callable[..., float]:
    """Amplitudes of a response that has no component but these."""
    return lambda *n: amplitudes.get(n, 0.0)


def rectified_cosine(n: int) -> float:
    """|cos|, the full-wave rectifier."""
    if n == 0:
        return 2 / PI
    return 0.0 if n % 2 else 4 / PI / (n * n - 1)


def biased_rectifier(a: float, b: float, n: int) -> float:
    """relu(a + b cos), abs(a) < b."""
    g = math.acos(-a / b)
    if n == 0:
        return b * (math.sin(g) - g * math.cos(g)) / PI
    if n == 1:
        return b * (g - math.sin(g) * math.cos(g)) / PI
    wave = math.cos(g) * math.sin(n * g) - n * math.sin(g) * math.cos(n * g)
    return 2 * b / PI * abs(wave) / (n * (n * n - 1))


def bennett_equal(n1: int, n2: int) -> float:
    """relu(cos1 + cos2): half the sum, and half its modulus, which is a product of two |cos|."""
    if (n1 + n2) % 2:
        return 0.5 if n1 + n2 == 1 else 0.0
    m, k = (n1 + n2) // 2, abs(n1 - n2) // 2
    product = rectified_cosine(2 * m) * rectified_cosine(2 * k)
    return product if m == 0 or k == 0 else product / 2


def bennett(a: float, b: float, n1: int, n2: int) -> float:
    """relu(a cos1 + b cos2), a > b: integrals of Weber and Schafheitlin."""
    if (n1 + n2) % 2:
        return {(1, 0): a / 2, (0, 1): b / 2}.get((n1, n2), 0.0)
    q = (b / a) ** 2
    if n1 == n2 == 0:
        return a * 2 / PI**2 * (2 * ellipe(q) - (1 - q) * ellipk(q))
    h = (n1 + n2 - 1) / 2
    integral = (
        b**n2
        * gamma(h)
        / (4 * a ** (n2 - 1) * gamma(n2 + 1) * gamma((3 + n1 - n2) / 2))
        * hyp2f1(h, (n2 - n1 - 1) / 2, n2 + 1, q)
    )
    return 2 / PI * abs(integral)


def divisive(s: float, n1: int, n2: int) -> float:
    """c1 / (s + c2): geometric in n2, nothing above n1 = 1."""
    d = s + M
    k = A / d
    root = math.sqrt(1 - k * k)
    row = (1 - root) ** n2 / k**n2 / (d * root)
    if n1 > 1:
        return 0.0
    if n1 == 1:
        return A * row
    return M * row * (2 if n2 else 1)


def exponential(z1: float, z2: float, n1: int, n2: int) -> float:
    return (2 if n1 or n2 else 1) * iv(n1, z1) * iv(n2, z2)


def clipped(z: float, n: int) -> float:
    if n % 2 == 0:
        return 0.0
    if n == 1:
        return 2 / PI * (z * math.asin(1 / z) + math.sqrt(1 - 1 / z**2))
    return 2 * biased_rectifier(-1, z, n)


def hyperbolic_tangent(z: float, n: int) -> float:
    if n % 2 == 0:
        return 0.0
    n_terms = 10_000

    def s(q: np.ndarray | float) -> np.ndarray | float:
        return 1 / (np.sqrt(1 + q * q) + q)  # sqrt(1 + q^2) - q without the cancellation

    q = (2 * np.arange(1, n_terms + 1) - 1) * PI / (2 * z)
    terms = s(q) ** n / np.sqrt(1 + q * q)
    # The rest of the sum, as an integral from halfway between two of its terms.
    rest = z / PI * s(n_terms * PI / z) ** n / n
    return 4 / z * float(terms.sum() + rest)


def square_wave(n: int) -> float:
    return 4 / (PI * n) if n % 2 else 0.0


def square_wave_alias(n: int) -> float:
    """What aliasing can add to a line of sign(cos), which falls only as 1 / n.

    In an odd number of frames the line n also holds the components j * n_frames +- n. Pair by pair
    they alternate in sign and shrink, so that the first pair that is not zero bounds their sum.
    """
    if n == 0:
        return square_wave(LONG_RECORD)
    j = 2 if n % 2 else 1  # the multiple that leaves an odd harmonic
    return square_wave(j * LONG_RECORD - n) + square_wave(j * LONG_RECORD + n)


def chebyshev(n: int, x: Tensor) -> Tensor:
    """Polynomial of Chebyshev by its recurrence."""
    before, now = torch.ones_like(x), x
    for _ in range(n - 1):
        before, now = now, 2 * x * now - before
    return now


FORMS = {
    # 1. Linear, and a rectifier whose bias keeps it linear.
    "linear": Form(lambda x, y: 0.3 + 0.7 * x - 0.4 * y, 0.3, only({(1, 0): 0.7, (0, 1): 0.4})),
    "rectifier that never cuts": Form(
        lambda x, y: torch.relu(1.2 + 0.7 * x - 0.4 * y), 1.2, only({(1, 0): 0.7, (0, 1): 0.4})
    ),
    # 2. Half-wave and full-wave rectifier.
    "half wave": Form(
        torch.relu,
        1 / PI,
        lambda n: 0.5 if n == 1 else rectified_cosine(n) / 2,
        n_parts=1,
    ),
    "full wave": Form(torch.abs, 2 / PI, rectified_cosine, n_parts=1),
    # 3. Rectifier with a bias: cutting little or much, always on, never on.
    **{
        f"rectifier with bias {a:g}": Form(
            lambda x, a=a, b=b: torch.relu(a + b * x),
            biased_rectifier(a, b, 0),
            lambda n, a=a, b=b: biased_rectifier(a, b, n),
            n_parts=1,
        )
        for a, b in ((0.3, 1.0), (-0.5, 1.3))
    },
    "rectifier always on": Form(lambda x: torch.relu(1.5 + x), 1.5, only({(1,): 1.0}), n_parts=1),
    "rectifier never on": Form(lambda x: torch.relu(x - 1.5), 0.0, only({}), n_parts=1),
    # 4, 5. Powers of a sum.
    "square": Form(
        lambda x, y: (0.8 * x + 0.5 * y) ** 2,
        (0.8**2 + 0.5**2) / 2,
        only({(2, 0): 0.8**2 / 2, (0, 2): 0.5**2 / 2, (1, 1): 0.8 * 0.5}),
    ),
    "cubic": Form(
        lambda x, y: (0.8 * x + 0.5 * y) ** 3,
        0.0,
        only(
            {
                (1, 0): 3 * 0.8**3 / 4 + 3 * 0.8 * 0.5**2 / 2,
                (0, 1): 3 * 0.5**3 / 4 + 3 * 0.5 * 0.8**2 / 2,
                (3, 0): 0.8**3 / 4,
                (0, 3): 0.5**3 / 4,
                (2, 1): 3 * 0.8**2 * 0.5 / 4,
                (1, 2): 3 * 0.8 * 0.5**2 / 4,
            }
        ),
    ),
    # 6. Product, in the paper's contrasts.
    "product": Form(
        lambda x, y: x * y,
        M * M,
        only({(1, 0): A * M, (0, 1): A * M, (1, 1): A * A / 2}),
        contrast=CONTRAST,
    ),
    # 7, 8, 9. Rectified sums, and the maximum, which has the same amplitudes.
    "rectified sum": Form(lambda x, y: torch.relu(x + y), 4 / PI**2, bennett_equal, kinked=True),
    "rectified unequal sum": Form(
        lambda x, y: torch.relu(x + 0.5 * y),
        bennett(1, 0.5, 0, 0),
        lambda *n: bennett(1, 0.5, *n),
        kinked=True,
    ),
    "maximum": Form(
        lambda x, y: F.max_pool1d(torch.stack([x, 0.5 * y], dim=-1), 2).squeeze(-1),
        bennett(1, 0.5, 0, 0),
        lambda *n: bennett(1, 0.5, *n),
        kinked=True,
    ),
    "maximum of equals": Form(torch.maximum, 4 / PI**2, bennett_equal, kinked=True),
    # 10. Divisive normalisation, in the paper's contrasts.
    "divisive": Form(
        lambda x, y: x / (0.2 + y),
        divisive(0.2, 0, 0),
        lambda *n: divisive(0.2, *n),
        contrast=CONTRAST,
    ),
    # 11. Exponential.
    "exponential": Form(
        lambda x, y: torch.exp(0.8 * x + 0.5 * y),
        exponential(0.8, 0.5, 0, 0),
        lambda *n: exponential(0.8, 0.5, *n),
    ),
    # 12. A polynomial of Chebyshev is a single line.
    **{
        f"Chebyshev {n}": Form(lambda x, n=n: chebyshev(n, x), 0.0, only({(n,): 1.0}), n_parts=1)
        for n in (2, 3, 4)
    },
    "Chebyshev 3 times 2": Form(
        lambda x, y: chebyshev(3, x) * chebyshev(2, y), 0.0, only({(3, 2): 0.5}), max_order=6
    ),
    # 13. A jump: to the aliasing bound only.
    "sign": Form(torch.sign, 0.0, square_wave, n_parts=1, tolerance=square_wave_alias),
    # 14, 15. Saturations.
    "clip": Form(lambda x: torch.clamp(1.7 * x, -1, 1), 0.0, lambda n: clipped(1.7, n), n_parts=1),
    "tanh": Form(lambda x: torch.tanh(2 * x), 0.0, lambda n: hyperbolic_tangent(2, n), n_parts=1),
    "sigmoid": Form(
        lambda x: torch.sigmoid(3 * x), 0.5, lambda n: hyperbolic_tangent(1.5, n) / 2, n_parts=1
    ),
}


def absolute(component: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(abs, component))


def allowed_error(form: Form, spectrum: TaggedSpectrum, multiples: tuple[int, ...]) -> float:
    if form.tolerance is not None:
        return form.tolerance(*multiples)
    largest = max(form.amplitude(*absolute(c)) for c in spectrum.components)
    return (KINKED_TOLERANCE if form.kinked else TOLERANCE) * largest


@pytest.mark.parametrize("name", FORMS)
def test_every_amplitude_and_the_mean_are_the_closed_forms(name):
    form, spectrum = FORMS[name], spectrum_of(name)

    error = abs(spectrum.mean.item() - form.mean)
    assert error <= allowed_error(form, spectrum, (0,) * form.n_parts)
    for component in spectrum.components:
        multiples = absolute(component)
        error = abs(spectrum.amplitude(component).item() - form.amplitude(*multiples))
        assert error <= allowed_error(form, spectrum, multiples), component


def grid_alias(form: Form, multiples: tuple[int, ...], nodes: int) -> float:
    """What aliasing can add to a line of a grid: the closed forms of all its aliases.

    At Chebyshev's nodes cos(m theta) is (-1)^j cos(n theta) for m = 2 j nodes +- n. A component of
    q parts has 2^(q-1) equal lines, which sum to its Chebyshev coefficient, and a grid takes all of
    them for one.
    """
    n_periods = HIGHEST_ALIAS // (2 * nodes)
    shells = [0.0] * (n_periods + 1)
    for periods in itertools.product(range(n_periods + 1), repeat=form.n_parts):
        folded = (
            {abs(2 * j * nodes + sign * n) for sign in (-1, 1)}
            for j, n in zip(periods, multiples, strict=True)
        )
        for alias in itertools.product(*folded):
            if alias != multiples:
                n_lines = 2 ** (np.count_nonzero(alias) - 1)
                shells[max(periods)] += form.amplitude(*alias) * n_lines
    # A continuous response falls at least as 1 / j^2, and sum_{j > J} 1 / j^2 < J / J^2.
    total = sum(shells) + n_periods * shells[-1]
    if form.tolerance is not None:
        # A jump: with an even number of nodes its pairs alternate and shrink; the first is more.
        total = shells[1]
    return total / 2 ** max(np.count_nonzero(multiples) - 1, 0)


@pytest.mark.parametrize("nodes", [8, 24])
@pytest.mark.parametrize("name", FORMS)
def test_a_grid_gives_the_closed_forms_to_its_aliases(name, nodes):
    form, spectrum = FORMS[name], grid_of(name, nodes)

    error = abs(spectrum.mean.item() - form.mean)
    assert error <= grid_alias(form, (0,) * form.n_parts, nodes) + ROUNDING
    for component in spectrum.components:
        multiples = absolute(component)
        error = abs(spectrum.amplitude(component).item() - form.amplitude(*multiples))
        assert error <= grid_alias(form, multiples, nodes) + ROUNDING, component


def gauss_chebyshev(form: Form) -> np.ndarray:
    """Tensor-Chebyshev coefficients of a response, by quadrature at Chebyshev's nodes."""
    n_nodes = 200_000 if form.n_parts == 1 else 1000 if form.kinked else 64
    angles = (np.arange(n_nodes) + 0.5) * PI / n_nodes
    low, high = form.contrast
    nodes = torch.from_numpy((low + high) / 2 + (high - low) / 2 * np.cos(angles))
    axes = torch.meshgrid(*[nodes] * form.n_parts, indexing="ij")
    values = form.response(*[axis.flatten() for axis in axes]).numpy()
    coefficients = values.reshape([n_nodes] * form.n_parts)
    modes = np.cos(np.outer(np.arange(form.max_order + 1), angles)) * 2 / n_nodes
    modes[0] /= 2
    for _ in range(form.n_parts):
        # Takes the leading axis to its modes, and puts them last.
        coefficients = np.tensordot(coefficients, modes, axes=(0, 1))
    return coefficients


@pytest.mark.parametrize("name", FORMS)
def test_coefficients_are_the_signed_chebyshev_coefficients(name):
    form, spectrum = FORMS[name], spectrum_of(name)
    expected = gauss_chebyshev(form)

    for component in spectrum.components:
        multiples = absolute(component)
        # A product of q cosines is 2^(q-1) pairs of lines.
        wanted = expected[multiples] / 2 ** (len(component.parts) - 1)
        error = abs(spectrum.coefficient(component).item() - wanted)
        assert error <= allowed_error(form, spectrum, multiples), component


@pytest.mark.parametrize(
    ("name", "component", "sign"),
    [
        ("linear", (1, 0), 1),
        ("linear", (0, 1), -1),  # more contrast, less activation
        ("half wave", (2,), 1),
        ("half wave", (4,), -1),
        ("product", (1, 1), 1),
        ("product", (1, -1), 1),
        ("maximum", (1, 1), -1),  # of two, the maximum is submodular ...
        ("rectified unequal sum", (1, 1), 1),  # ... and a rectified sum the contrary
        ("divisive", (0, 1), -1),
        ("divisive", (0, 2), 1),
        ("divisive", (1, -1), -1),
        ("sign", (3,), -1),
        ("tanh", (3,), -1),
    ],
)
@pytest.mark.parametrize("kind", ["time", "grid"])
def test_a_coefficient_has_the_sign_of_the_response(name, component, sign, kind):
    spectrum = spectrum_of(name) if kind == "time" else grid_of(name, 8)

    assert math.copysign(1, spectrum.coefficient(component).item()) == sign
    assert abs(spectrum.coefficient(component)) == pytest.approx(spectrum.amplitude(component))


POLYNOMIALS = ("linear", "square", "cubic", "product")
FOLDED = dict(frequencies=(12.0, 15.0), sampling_rate=41.0, n_frames=41, phases=(0.3, 2.0))


@pytest.mark.parametrize("name", POLYNOMIALS)
@pytest.mark.parametrize(
    "make_design",
    [
        TaggingDesign,
        partial(TaggingDesign, phases=PI / 2),
        # The shortest record for order 4; the tags' harmonics fold at the Nyquist frequency.
        partial(TaggingDesign, **FOLDED),
        ChebyshevGrid,
    ],
    ids=["paper", "paper in cosine phase", "folded", "grid"],
)
def test_few_frames_hold_low_polynomials_exactly(name, make_design):
    form = FORMS[name]
    spectrum = read(form, make_design(contrast=form.contrast))

    assert spectrum.mean.item() == pytest.approx(form.mean, abs=1e-12)
    for component in spectrum.components:
        wanted = form.amplitude(*absolute(component))
        assert spectrum.amplitude(component).item() == pytest.approx(wanted, abs=1e-12), component


@pytest.mark.parametrize("phases", [0.0, (0.3, 2.0)], ids=["sine", "any"])
def test_magnitudes_and_signs_do_not_depend_on_the_phase(phases):
    form = Form(lambda x, y: torch.tanh(0.2 + 1.3 * x - 0.8 * y), math.nan, only({}))
    spectrum = read(form, two_tags(False, form.contrast, phases))
    cosine = read(form, two_tags(False, form.contrast, PI / 2))

    assert spectrum.mean.item() == pytest.approx(cosine.mean.item(), abs=1e-12)
    for component in spectrum.components:
        assert cosine.amplitude(component) > 1e-5  # there is something to compare
        for read_out in (TaggedSpectrum.amplitude, TaggedSpectrum.coefficient):
            both = read_out(spectrum, component), read_out(cosine, component)
            assert both[0].item() == pytest.approx(both[1].item(), abs=1e-12), component


@pytest.mark.parametrize("phase", [0.0, PI / 2], ids=["sine", "cosine"])
def test_a_triangle_wave_has_odd_harmonics_of_inverse_square(phase):
    form = Form(lambda x: 0.3 - 0.7 * x, 0.3, only({}), n_parts=1)
    design = TaggingDesign(
        (1,), LONG_RECORD, LONG_RECORD, phases=phase, contrast=(-1.0, 1.0), waveform="triangle"
    )
    spectrum = read(form, design)

    assert spectrum.mean.item() == pytest.approx(0.3, abs=1e-9)
    for (n,) in spectrum.components:
        # Signed: the triangle peaks with the cosine, and so do all its harmonics.
        wanted = -0.7 * 8 / (PI * n) ** 2 if n % 2 else 0.0
        assert spectrum.coefficient((n,)).item() == pytest.approx(wanted, abs=1e-9)
        assert spectrum.amplitude((n,)).item() == pytest.approx(abs(wanted), abs=1e-9)


LEAK = 0.9


def leaky_integrator(drive: Tensor) -> Tensor:
    """``y_t = LEAK * y_{t-1} + x_t`` over several records; the last of them."""
    n_records = 5  # LEAK ** (4 * 240) is 1e-44: the start is forgotten
    state, states = torch.zeros_like(drive[0]), []
    for moment in drive.repeat(n_records, *[1] * (drive.dim() - 1)):
        state = LEAK * state + moment
        states.append(state)
    return torch.stack(states[-len(drive) :])


def gain(design: TaggingDesign, component: tuple[int, int]) -> complex:
    """Transfer function of the integrator at a component's line."""
    return 1 / (1 - LEAK * cmath.exp(-2j * PI * design.bin(component) / design.n_frames))


@pytest.mark.parametrize("phases", [0.0, PI / 2])
def test_a_leaky_integrator_filters_the_tags(phases):
    design = TaggingDesign(phases=phases)
    left, right = tagged_sequence(torch.ones(1, 2, dtype=torch.float64), design).unbind(-1)
    drive = 0.7 * left - 0.4 * right
    instant = TaggedSpectrum.from_series(drive, design)
    spectrum = TaggedSpectrum.from_series(leaky_integrator(drive), design)

    assert spectrum.mean.item() == pytest.approx((0.7 - 0.4) * M / (1 - LEAK))
    for component in spectrum.components:
        weight = {(1, 0): 0.7, (0, 1): 0.4}.get(component, 0.0)
        wanted = weight * A * abs(gain(design, component))
        assert spectrum.amplitude(component).item() == pytest.approx(wanted, abs=1e-12)
        if weight:
            lag = spectrum.phase(component) - instant.phase(component)
            wanted = cmath.phase(gain(design, component))
            assert math.remainder(lag.item() - wanted, 2 * PI) == pytest.approx(0, abs=1e-12)


def test_only_memory_tells_sum_from_difference_intermodulations():
    design = TaggingDesign()
    drive = tagged_sequence(torch.ones(1, 2, dtype=torch.float64), design).prod(-1)
    instant = TaggedSpectrum.from_series(drive, design)
    spectrum = TaggedSpectrum.from_series(leaky_integrator(drive), design)

    for component in ((1, 1), (1, -1)):
        assert instant.amplitude(component).item() == pytest.approx(A * A / 2, abs=1e-12)
        wanted = A * A / 2 * abs(gain(design, component))
        assert spectrum.amplitude(component).item() == pytest.approx(wanted, abs=1e-12)
    # The low-pass favours the difference, 1.5 Hz, over the sum, 13.5 Hz.
    assert spectrum.amplitude((1, -1)) > 4 * spectrum.amplitude((1, 1))
