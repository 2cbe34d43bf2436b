"""Estimated errors against true ones."""

import math

import numpy as np
import pytest
import torch
from captum.attr import LayerActivation
from torch import nn

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    FrequencyTunnel,
    TaggedSpectrum,
    TaggingDesign,
    choose_design,
)

COSINE = math.pi / 2
# Even in every phase where they are sampled: aliases add to coefficients what they add to lines.
SYMMETRIC = {
    "paper's tags, cosine phase": (TaggingDesign(phases=COSINE), 4),
    "close tags": (TaggingDesign((5.0, 5.5), phases=COSINE), 4),
    "two parts in time": (choose_design(2, 4, kind="time"), 4),
    "three parts in time": (choose_design(3, 3, kind="time"), 3),
    "4 x 4 grid": (ChebyshevGrid(nodes=4), 3),
    "5 x 5 grid": (ChebyshevGrid(nodes=5), 4),
    "4 x 4 x 4 grid": (ChebyshevGrid(3, 4), 3),
}
DESIGNS = SYMMETRIC | {
    "paper's": (TaggingDesign(), 4),
    "any phases": (TaggingDesign(phases=(0.3, 2.0)), 4),
}


class Rectifiers:
    """100 neurons above two layers of rectifiers, with random weights."""

    def __init__(self, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        layers = []
        for before, after in ((6, 32), (32, 32), (32, 100)):
            linear = nn.Linear(before, after).double()
            linear.weight.data = normal(after, before) * (2 / before) ** 0.5
            linear.bias.data = 0.3 * normal(after)
            layers += [linear, nn.ReLU()]
        self.model = nn.Sequential(*layers).eval()
        self.inputs = normal(1, 6)

    def spectrum(self, design, **arguments):
        return FrequencyTaggingAttribution(self.model, "5").spectrum(
            self.inputs,
            feature_mask=torch.arange(6) % design.n_parts,
            design=design,
            perturbations_per_eval=2000,
            **{"n_neighbors": 0, **arguments},
        )


def spectrum_of(response, design, **arguments):
    """Of a function of the parts' contrasts, taken from -1 to 1, with its errors."""
    low, high = design.contrast
    middle, half = (low + high) / 2, (high - low) / 2

    class Response(nn.Module):
        def forward(self, x):
            return response(*((x - middle) / half).unbind(1))[:, None]

    return FrequencyTaggingAttribution(nn.Sequential(Response()).eval(), "0").spectrum(
        torch.ones(1, design.n_parts, dtype=torch.float64),
        design=design,
        estimate_error=True,
        **{"n_neighbors": 0, **arguments},
    )


def rms(values):
    return torch.cat(list(values)).abs().square().mean().sqrt().item()


@pytest.fixture(scope="module", params=DESIGNS)
def case(request):
    """A design's spectrum with errors, and the truth."""
    design, max_order = DESIGNS[request.param]
    network = Rectifiers()
    truth = network.spectrum(
        ChebyshevGrid(design.n_parts, 40 if design.n_parts == 2 else 20), max_order=max_order
    )
    spectrum = network.spectrum(design, max_order=max_order, estimate_error=True)
    orders = [
        [component for component in spectrum.components if component.order == order]
        for order in range(1, max_order + 1)
    ]
    return request.param, spectrum, truth, orders


def test_aliases_in_the_lines_are_known_to_a_factor_of_two(case):
    _, spectrum, truth, orders = case

    def deviation(component):
        row, scale = spectrum.components.index(component), spectrum.design.scale(component)
        return spectrum.deviations[row] * scale

    def line_error(component):
        """How far a line, in cosine phase and as an amplitude, is from the truth."""
        line = spectrum.lines[spectrum.components.index(component)]
        turned = line * spectrum.design.turn(component) * spectrum.design.scale(component)
        return turned - truth.coefficient(component)

    for components in orders:
        estimated, true = rms(map(deviation, components)), rms(map(line_error, components))
        assert true > 1e-6  # aliasing, not rounding
        assert 0.5 < estimated / true < 2


@pytest.mark.parametrize("read_out", ["amplitude", "coefficient"])
def test_errors_are_those_of_values_to_a_factor_of_two(case, read_out):
    name, spectrum, truth, orders = case
    for components in orders:
        estimated = rms(map(spectrum.error, components))
        true = rms(getattr(spectrum, read_out)(c) - getattr(truth, read_out)(c) for c in components)
        assert estimated > 0.5 * true
        if name in SYMMETRIC:
            assert estimated < 2 * true
        elif read_out == "amplitude":  # of which aliases are a part that need not be real
            assert estimated < 2.5 * true


@pytest.mark.parametrize("phases", [0.0, COSINE, (0.3, 2.0)])
def test_a_single_alias_in_time_is_its_own_error(phases):
    """5 f1 lies on 4 f2; part of it is known from the phase, and part taken for a real answer."""
    design = TaggingDesign(phases=phases)
    spectrum = spectrum_of(lambda x, y: 0.7 * torch.cos(5 * x.acos()) + 0 * y, design)
    assert spectrum.amplitude((0, 4)).item() == pytest.approx(0.7)  # and should be 0
    real = abs(spectrum.coefficient((0, 4)).item())
    for component in spectrum.components:
        wanted = math.hypot(real, 0.7 - real) if component == (0, 4) else 0
        assert spectrum.error(component).item() == pytest.approx(wanted, abs=1e-9)


def test_a_single_alias_in_a_grid_is_its_own_error():
    """6 f1 is read as 4 f1 with 5 nodes, and not at all with 6."""
    spectrum = spectrum_of(lambda x, y: 0.7 * torch.cos(6 * x.acos()) + 0 * y, ChebyshevGrid())
    assert spectrum.coefficient((4, 0)).item() == pytest.approx(-0.7)
    for component in spectrum.components:
        wanted = 0.7 if component == (4, 0) else 0
        assert spectrum.error(component).item() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    "design",
    [
        TaggingDesign(),
        TaggingDesign(phases=COSINE),
        choose_design(2, kind="time"),
        ChebyshevGrid(),
    ],
    ids=str,
)
def test_a_low_polynomial_has_no_error(design):
    spectrum = spectrum_of(lambda x, y: 1 + x - 2 * y * x + 3 * (x * y) ** 2 - y**3, design)
    for component in spectrum.components:
        assert spectrum.error(component).item() < 1e-13
    assert spectrum.amplitude((2, 2)).item() == pytest.approx(3 / 8)


@pytest.mark.parametrize("design", [TaggingDesign(phases=0.3), ChebyshevGrid()], ids=str)
def test_estimating_errors_changes_nothing_else(design):
    network = Rectifiers()
    plain = network.spectrum(design)
    spectrum = network.spectrum(design, estimate_error=True)
    assert plain.deviations is None
    assert spectrum.components == plain.components
    for name in ("lines", "mean", "variance"):
        torch.testing.assert_close(
            getattr(spectrum, name), getattr(plain, name), rtol=1e-6, atol=1e-12
        )
    torch.testing.assert_close(spectrum.floor, plain.floor, rtol=1e-12, atol=0)
    assert spectrum.design == design


def test_several_layers_and_examples_have_errors():
    network = Rectifiers()
    tagging = FrequencyTaggingAttribution(network.model, ["1", "3"])
    images = torch.cat([network.inputs, -network.inputs])
    both = tagging.spectrum(
        images, design=ChebyshevGrid(), estimate_error=True, internal_batch_size=7
    )
    for spectrum in both:
        assert spectrum.error((1, 1)).shape == (2, 32)
        assert spectrum.error((1, 1)).isfinite().all()
    single = tagging.spectrum(images[1:], design=ChebyshevGrid(), estimate_error=True)
    torch.testing.assert_close(both[1].error((1, 1))[1:], single[1].error((1, 1)))


def test_the_tunnel_estimates_errors():
    network = Rectifiers()
    plain = network.spectrum(ChebyshevGrid(), estimate_error=True)
    through = FrequencyTunnel(LayerActivation(network.model, network.model[5])).spectrum(
        network.inputs, tag_mask=torch.arange(6) % 2, design=ChebyshevGrid(), estimate_error=True
    )
    torch.testing.assert_close(through.error((2, 1)), plain.error((2, 1)), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("design", [TaggingDesign(), ChebyshevGrid()], ids=str)
def test_errors_go_with_their_spectrum(tmp_path, design):
    network = Rectifiers()
    network.inputs = torch.cat([network.inputs * scale for scale in (1.0, -1.0, 0.5)])
    spectrum = network.spectrum(design, estimate_error=True, n_neighbors=2)
    error = spectrum.error((1, 1))
    assert error.shape == (3, 100)
    for index in (1, -2, np.int64(1), slice(1, 2), torch.tensor([1])):
        assert torch.equal(spectrum[index].error((1, 1)), error[1:2])
    assert torch.equal(spectrum.to("cpu").error((1, 1)), error)
    assert spectrum.to("meta").deviations.device.type == "meta"
    spectrum.save(tmp_path / "spectrum.npz")
    loaded = TaggedSpectrum.load(tmp_path / "spectrum.npz")
    assert torch.equal(loaded.error((1, 1)), error)
    torch.testing.assert_close((spectrum + spectrum).error((1, 1)), 2 * error)


def test_deviations_add_with_their_signs():
    first, second = (
        Rectifiers(seed).spectrum(ChebyshevGrid(), estimate_error=True) for seed in (0, 1)
    )
    total = first + second
    assert torch.equal(total.deviations, first.deviations + second.deviations)
    assert (total.error((2, 2)) < first.error((2, 2)) + second.error((2, 2))).any()
    with_none = first + Rectifiers(1).spectrum(ChebyshevGrid())
    assert with_none.deviations is None


def test_errors_have_to_be_asked_for(tmp_path):
    spectrum = Rectifiers().spectrum(ChebyshevGrid())
    with pytest.raises(ValueError, match="estimate_error=True"):
        spectrum.error((1, 1))
    spectrum.save(tmp_path / "spectrum.npz")
    with pytest.raises(ValueError, match="estimate_error=True"):
        TaggedSpectrum.load(tmp_path / "spectrum.npz").error((1, 1))


def test_an_absent_component_has_no_error():
    spectrum = Rectifiers().spectrum(ChebyshevGrid(), components=[(1, 1)], estimate_error=True)
    with pytest.raises(ValueError, match="it holds f1 \\+ f2"):
        spectrum.error((1, 0))


def test_noise_is_not_taken_for_error():
    with pytest.raises(ValueError, match="`estimate_error` without `noise_std`"):
        Rectifiers().spectrum(TaggingDesign(), noise_std=0.1, estimate_error=True)


def test_an_incoherent_design_has_no_errors():
    with pytest.warns(UserWarning, match="whole cycles"):
        design = TaggingDesign((6.0, 7.3), strict=False)
    network = Rectifiers()
    network.model[0].register_forward_hook(lambda *_: pytest.fail("the model ran"))
    with pytest.raises(ValueError, match=r"whole cycles.*\(6\.0, 7\.3\) with strict=False"):
        network.spectrum(design, estimate_error=True)


def test_a_loose_design_that_is_coherent_has_errors():
    loose, strict = (
        Rectifiers().spectrum(TaggingDesign(strict=s), estimate_error=True) for s in (False, True)
    )
    assert torch.equal(loose.error((1, 1)), strict.error((1, 1)))


def test_a_triangle_wave_has_aliases_of_its_own():
    """Its harmonics reach far: 16 f2 and others fall on f2 in the paper's record."""
    design = TaggingDesign(waveform="triangle")
    fine = TaggingDesign((4, 5), 4001, 4001, waveform="triangle")
    spectrum, truth = (
        spectrum_of(lambda x, y: x + 2 * y, d, components="harmonics") for d in (design, fine)
    )
    for component in [(1, 0), (0, 1), (3, 0), (0, 3)]:
        true = (spectrum.amplitude(component) - truth.amplitude(component)).abs().item()
        assert true > 1e-4
        assert 0.4 < spectrum.error(component).item() / true < 2.5


def test_aliases_are_seen_with_many_parts():
    """The shortest alias of a part beyond the third turns too."""
    design = choose_design(8, 3, kind="time")
    replicate, _ = design.replicate()
    shifts = np.subtract(replicate.phases, design.phases)
    assert (np.abs(shifts) > 0.1).all()


def test_a_line_on_the_nyquist_frequency_has_no_estimate():
    design = TaggingDesign((4, 5), 40, 40, phases=COSINE)
    with pytest.warns(UserWarning, match="mirror image"):
        spectrum = spectrum_of(lambda x, y: torch.cos(4 * y.acos()), design, max_order=4)
    with pytest.raises(ValueError, match="below the Nyquist frequency, but 4f2"):
        spectrum.error((0, 4))


def test_infinities_of_a_replicate_are_refused():
    def response(x, y):
        return torch.where((x > 0.96) & (x < 0.97), torch.inf, x)  # a node of 6, not of 5

    assert spectrum_of(lambda x, y: x, ChebyshevGrid()).error((1, 0)).item() < 1e-12
    with pytest.raises(ValueError, match="to be finite"):
        spectrum_of(response, ChebyshevGrid())
