"""Networks that live in time: shown as one sequence, or step by step."""

import copy
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
import torchvision
from captum.attr import LayerActivation
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    FrequencyTunnel,
    InSequence,
    StepByStep,
    TaggedSpectrum,
    TaggingDesign,
    TwoLevelDesign,
    score_neurons,
    tagged_sequence,
)

pytestmark = pytest.mark.usefixtures("one_thread")

DESIGN = TaggingDesign()
FEATURES = torch.rand(3, 4, generator=torch.Generator().manual_seed(0)).double()


class Leak(nn.Module):
    """A leaky integrator that keeps its state: y_t = decay y_(t-1) + x_t."""

    def __init__(self, decay=0.9):
        super().__init__()
        self.decay, self.state = decay, None

    def forward(self, x):
        self.state = x if self.state is None else self.decay * self.state + x
        return self.state

    def forget(self):
        self.state = None


class LeakOverTime(nn.Module):
    """The same, over a dimension of its input."""

    def __init__(self, decay=0.9, time_dim=1):
        super().__init__()
        self.decay, self.time_dim = decay, time_dim

    def forward(self, x):
        state, states = torch.zeros_like(x.select(self.time_dim, 0)), []
        for moment in x.unbind(self.time_dim):
            state = self.decay * state + moment
            states.append(state)
        return torch.stack(states, self.time_dim)


def gain(design, component, decay):
    turns = design.bin(component) / design.n_frames
    return 1 / (1 - decay * np.exp(-2j * np.pi * turns))


@pytest.mark.parametrize("decay", [0.5, 0.9])
@pytest.mark.parametrize(
    "design",
    [DESIGN, TaggingDesign((5.0, 5.5), phases=(0.3, 1.0)), TaggingDesign((6.0, 7.5), 120.0, 80)],
    ids=["default", "phases", "one period"],
)
def test_gain_and_phase_of_a_leaky_integrator_are_its_closed_form(design, decay):
    """Alone, by both presentations and by hand."""
    leak = Leak(decay)
    kept = nn.Sequential(leak, nn.Identity()).eval()
    whole = nn.Sequential(LeakOverTime(decay)).eval()
    last = nn.Sequential(LeakOverTime(decay, time_dim=0)).eval()
    frames = tagged_sequence(FEATURES, design).repeat(3, 1, 1)
    with torch.no_grad():
        series = whole(frames.transpose(0, 1)).transpose(0, 1)[-design.n_frames :]
    warmup = 4
    spectra = [
        FrequencyTaggingAttribution(kept, "0").spectrum(
            FEATURES, presentation=StepByStep(warmup, reset=leak.forget), design=design
        ),
        FrequencyTaggingAttribution(whole, "0").spectrum(
            FEATURES, presentation=InSequence(1, warmup), design=design
        ),
        FrequencyTaggingAttribution(last, "0").spectrum(
            FEATURES, presentation=InSequence(0, warmup), design=design
        ),
        TaggedSpectrum.from_series(series, design),
    ]
    stimulus = TaggedSpectrum.from_series(tagged_sequence(FEATURES, design), design)
    for part, component in enumerate(((1, 0), (0, 1))):
        columns = slice(2 * part, 2 * part + 2)  # of this half
        row = stimulus.components.index(component)
        expected = stimulus.lines[row][:, columns] * gain(design, component, decay)
        for spectrum in spectra:
            found = spectrum.lines[spectrum.components.index(component)][:, columns]
            assert ((found - expected).abs() / expected.abs()).max() <= 1e-5
            assert spectrum.mean.shape == FEATURES.shape


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_a_leak_behind_convolutions(decay):
    torch.manual_seed(0)
    pictures = torch.rand(2, 3, 8, 8).double()
    front = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Conv2d(4, 2, 3, padding=1))
    leak = Leak(decay)
    model = nn.Sequential(front, leak).double().eval()
    still = FrequencyTaggingAttribution(model, "0").spectrum(pictures)
    spectrum = FrequencyTaggingAttribution(model, "1").spectrum(
        pictures, presentation=StepByStep(4, leak.forget)
    )
    assert spectrum.lines.shape[1:] == (2, 2, 8, 8)
    for component in ((1, 0), (0, 1)):
        row = still.components.index(component)
        expected = still.lines[row] * gain(DESIGN, component, decay)
        found = spectrum.lines[spectrum.components.index(component)]
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_rectifier_and_a_leak_in_either_order():
    """Sum over difference, and what lies off the combinations of the tags."""
    torch.manual_seed(0)
    weights = torch.rand(4, 50).double()

    class Rectifier(nn.Module):
        def forward(self, x):
            y = (x - x.mean(1, keepdim=True)) @ weights
            return y.relu()

    def medians(*layers):
        model = nn.Sequential(*layers).double().eval()
        spectrum = FrequencyTaggingAttribution(model, str(len(layers) - 1)).spectrum(
            torch.ones(1, 4).double(), presentation=InSequence(1, warmup=5)
        )
        ratio = spectrum.sum_over_difference((0, 1))
        assert ratio.isfinite().float().mean() > 0.9
        return ratio.nanmedian().item(), spectrum.off_lattice.max().item()

    assert medians(Rectifier()) == pytest.approx((1, 0), abs=1e-3)
    # Of other phases, aliases differ between the two lines.
    assert medians(LeakOverTime(), Rectifier()) == pytest.approx((1, 0), abs=0.1)
    expected = abs(gain(DESIGN, (1, 1), 0.9) / gain(DESIGN, (1, -1), 0.9))
    ratio, off_lattice = medians(Rectifier(), LeakOverTime())
    assert ratio == pytest.approx(expected, rel=0.1)
    assert off_lattice <= 1e-6


def test_apparent_latency_is_the_delay_of_a_delay_line():
    class Delay(nn.Module):
        def forward(self, x):
            return x.roll(6, dims=1)

    model = nn.Sequential(Delay(), nn.Linear(4, 2, bias=False)).double().eval()
    nn.init.constant_(model[1].weight, 0.5)
    spectrum = FrequencyTaggingAttribution(model, "1").spectrum(
        FEATURES, presentation=InSequence(1)
    )
    assert spectrum.apparent_latency().flatten().tolist() == pytest.approx([0.05] * 6)
    still = FrequencyTaggingAttribution(model[1], model[1]).spectrum(FEATURES)
    assert still.apparent_latency().flatten().tolist() == pytest.approx([0] * 6, abs=1e-9)


@pytest.mark.parametrize("batch_first", [True, False])
def test_an_lstm_is_warm_by_default_whichever_dimension_is_time(batch_first):
    """Case 21: by hand, a cold start and `batch_first` both went unnoticed."""
    torch.manual_seed(0)
    lstm = nn.LSTM(4, 16, batch_first=batch_first).double().eval()
    time_dim = 1 if batch_first else 0
    frames = tagged_sequence(FEATURES, DESIGN).repeat(2, 1, 1)[160:]
    with torch.no_grad():
        series = lstm(frames.transpose(0, time_dim))[0].transpose(0, time_dim)[80:]
    expected = TaggedSpectrum.from_series(series, DESIGN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spectrum = FrequencyTaggingAttribution(lstm, lstm).spectrum(
            FEATURES, presentation=InSequence(time_dim), pooling=None
        )
    torch.testing.assert_close(spectrum.lines, expected.lines, rtol=1e-9, atol=1e-9)
    with pytest.warns(UserWarning, match="has not settled"):
        FrequencyTaggingAttribution(lstm, lstm).spectrum(
            FEATURES, presentation=InSequence(time_dim, warmup=0)
        )


@pytest.mark.parametrize("kind", [nn.GRU, nn.RNN])
@pytest.mark.parametrize("time_dim", [0, 1])
@pytest.mark.parametrize("n_examples", [1, 3])
def test_last_states_without_time_are_left_out(kind, time_dim, n_examples):
    torch.manual_seed(0)
    layer = kind(4, 6, batch_first=time_dim == 1).double().eval()
    features = FEATURES[:n_examples]
    with pytest.warns(UserWarning, match="1 tensor without time, such as last states"):
        spectrum = FrequencyTaggingAttribution(layer, layer).spectrum(
            features, presentation=InSequence(time_dim, warmup=2)
        )
    frames = tagged_sequence(features, DESIGN).repeat(2, 1, 1)[80:]
    with torch.no_grad():
        series = layer(frames.transpose(0, time_dim))[0].transpose(0, time_dim)[-240:]
    expected = TaggedSpectrum.from_series(series, DESIGN)
    torch.testing.assert_close(spectrum.lines, expected.lines, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("time_dim", [0, 1])
def test_channels_are_found_beside_time(time_dim):
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU()).double().eval()
    spectra = FrequencyTaggingAttribution(model, ["0", "1"]).spectrum(
        FEATURES, presentation=InSequence(time_dim), pooling="channel"
    )
    unpooled = FrequencyTaggingAttribution(model, "1").spectrum(
        FEATURES, presentation=InSequence(time_dim)
    )
    assert [spectrum.mean.shape for spectrum in spectra] == [(3, 5), (3, 5)]
    assert unpooled.channel_dim == 1
    torch.testing.assert_close(unpooled.lines, spectra[1].lines)


@pytest.mark.parametrize("presentation", [InSequence(1, warmup=3), StepByStep(warmup=3)], ids=str)
def test_a_record_far_from_where_it_began_keeps_its_variance(presentation):
    """A bright picture with a small flicker, behind a leak that starts from nothing."""
    found = []
    for dtype in (torch.float32, torch.float64):
        leak = LeakOverTime() if isinstance(presentation, InSequence) else Leak()
        model = nn.Sequential(leak).to(dtype).eval()
        mask = torch.tensor([0, 1, -1, -1])
        spectrum = FrequencyTaggingAttribution(model, "0").spectrum(
            torch.tensor([[0.01, 0.01, 1.0, 1.0]], dtype=dtype) + 10,
            baselines=10.0,
            feature_mask=mask,
            presentation=presentation,
        )
        found.append(spectrum)
    single, double = found
    for part in (0, 1):
        shares = [s.first_order(part)[0, part].item() for s in found]
        assert shares == pytest.approx([1, 1], abs=0.02)
    torch.testing.assert_close(
        single.off_lattice[:, :2].double(), double.off_lattice[:, :2], atol=0.02, rtol=0
    )


def test_noise_is_no_sign_of_what_has_not_settled():
    model = nn.Sequential(nn.Identity()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for presentation in (InSequence(1), StepByStep()):
            spectrum = FrequencyTaggingAttribution(model, "0").spectrum(
                FEATURES, presentation=presentation, noise_std=0.3
            )
            assert spectrum.n_neighbors == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_slow_leak_is_noticed_in_half_precision_too(dtype):
    leak = Leak(0.99)
    model = nn.Sequential(leak).to(dtype).eval()
    with pytest.warns(UserWarning, match="has not settled"):
        FrequencyTaggingAttribution(model, "0").spectrum(
            FEATURES.to(dtype), presentation=StepByStep(reset=leak.forget), whole=True
        )


def test_the_state_behind_a_function_is_put_back_after_its_reset():
    leak = Leak()
    model = nn.Sequential(leak, nn.Linear(4, 2)).double().eval()
    leak.state = torch.ones(3, 4).double()
    FrequencyTaggingAttribution(lambda x: model(x), model[1]).spectrum(
        FEATURES, presentation=StepByStep(3, reset=leak.forget)
    )
    assert torch.equal(leak.state, torch.ones(3, 4).double())


class Clearing(nn.Module):
    """Not a part of the model, but resets it."""

    def __init__(self, leak):
        super().__init__()
        self.leaks = (leak,)

    def clear(self):
        self.leaks[0].forget()


@pytest.mark.parametrize("way", ["function", "other module"])
def test_the_state_is_put_back_whatever_resets_it(way):
    leak = Leak()
    model = nn.Sequential(leak, nn.Linear(4, 2)).double().eval()
    leak.state = torch.ones(3, 4).double()
    reset = (lambda: leak.forget()) if way == "function" else Clearing(leak).clear
    spectrum = FrequencyTaggingAttribution(model, "1").spectrum(
        FEATURES, presentation=StepByStep(3, reset)
    )
    assert torch.equal(leak.state, torch.ones(3, 4).double())
    expected = FrequencyTaggingAttribution(model, "1").spectrum(
        FEATURES, presentation=StepByStep(3, leak.forget)
    )
    assert torch.equal(spectrum.lines, expected.lines)


class Steps(nn.Module):
    """An LSTM cell that is handed its state, or loops itself over time."""

    def __init__(self, loops):
        super().__init__()
        self.cell, self.head, self.loops = nn.LSTMCell(4, 5), nn.Linear(5, 2), loops

    def forward(self, x, state=None):
        for moment in x.unbind(1) if self.loops else [x]:
            state = self.cell(moment, state)
            output = self.head(state[0])
        return output, state


def test_a_state_that_is_carried_equals_a_loop_inside_the_model():
    """A layer that is called once for every moment is read from its calls."""
    torch.manual_seed(0)
    loop = Steps(True).double().eval()
    step = Steps(False).double().eval()
    step.load_state_dict(loop.state_dict())
    layers = ["head", "cell"]
    of_loop = FrequencyTaggingAttribution(loop, layers).spectrum(
        FEATURES, presentation=InSequence(1)
    )
    of_step = FrequencyTaggingAttribution(step, layers).spectrum(
        FEATURES, presentation=StepByStep(carry=lambda output: {"state": output[1]})
    )
    for one, other in zip(of_loop[1] + (of_loop[0],), of_step[1] + (of_step[0],), strict=True):
        torch.testing.assert_close(one.lines, other.lines, rtol=1e-9, atol=1e-9)


def leaky(reset=True):
    leak = Leak()
    model = nn.Sequential(leak, nn.Linear(4, 2)).double().eval()
    presentation = StepByStep(warmup=3, reset=leak.forget if reset else None)
    return model, leak, FrequencyTaggingAttribution(model, ["0", "1"]), presentation


def test_what_ran_before_makes_no_difference_and_the_state_is_put_back():
    model, leak, tagging, presentation = leaky()
    first = tagging.spectrum(FEATURES, presentation=presentation)
    assert leak.state is None
    model(100 * torch.rand(7, 4).double())
    state = leak.state.clone()
    second = tagging.spectrum(FEATURES, presentation=presentation)
    assert torch.equal(leak.state, state)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.lines, other.lines)
    hook = model[1].register_forward_pre_hook(raise_error)
    with pytest.raises(RuntimeError, match="of the user's"):
        tagging.spectrum(FEATURES, presentation=presentation)
    hook.remove()
    assert torch.equal(leak.state, state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def raise_error(module, args):
    raise RuntimeError("of the user's")


@pytest.mark.parametrize("internal_batch_size", [1, 2])
@pytest.mark.parametrize("reset", [True, False])
def test_examples_do_not_depend_on_their_batch(internal_batch_size, reset):
    """Every block begins in the first state, also where nothing resets it."""
    _, _, tagging, presentation = leaky(reset)
    whole = tagging.spectrum(FEATURES, presentation=presentation)
    blocks = tagging.spectrum(
        FEATURES, presentation=presentation, internal_batch_size=internal_batch_size
    )
    for one, other in zip(whole, blocks, strict=True):
        torch.testing.assert_close(one.lines, other.lines, rtol=1e-9, atol=1e-9)
    lstm = nn.LSTM(4, 3, batch_first=True).double().eval()
    tagging = FrequencyTaggingAttribution(lstm, lstm)
    one, other = (
        tagging.spectrum(FEATURES, presentation=InSequence(), internal_batch_size=size)
        for size in (None, internal_batch_size)
    )
    torch.testing.assert_close(one.lines, other.lines, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_a_video_network_is_read_at_the_rate_of_each_layer():
    torch.manual_seed(0)
    model = torchvision.models.video.r3d_18(weights=None).eval()
    pictures = torch.rand(1, 3, 16, 16)
    layers = ["layer1", "layer2", "layer3"]
    spectra = FrequencyTaggingAttribution(model, layers).spectrum(
        pictures, presentation=InSequence(2, cooldown=1), pooling="channel"
    )
    rates = [spectrum.design.sampling_rate for spectrum in spectra]
    assert rates == [120.0, 60.0, 30.0]
    orders = [max(c.order for c in spectrum.components) for spectrum in spectra]
    assert orders == [4, 3, 1]
    assert [spectrum.mean.shape[1] for spectrum in spectra] == [64, 128, 256]
    # By hand, of the film.
    frames = tagged_sequence(pictures, DESIGN)
    film = torch.cat([frames[160:], frames, frames[:80]]).movedim(0, 2)
    found = {}
    hook = model.layer2.register_forward_hook(
        lambda module, args, output: found.update(series=output[:, :, 40:160].mean((3, 4)))
    )
    with hook, torch.no_grad():
        model(film)
    expected = TaggedSpectrum.from_series(found["series"].movedim(2, 0), spectra[1].design)
    torch.testing.assert_close(
        spectra[1].amplitude((1, 0)), expected.amplitude((1, 0)), rtol=1e-3, atol=1e-6
    )
    fast = TaggingDesign((20.0, 31.0), 120.0, 120)
    with pytest.raises(ValueError, match=r"'layer2' can follow.* 60 moments .* got 31 Hz"):
        FrequencyTaggingAttribution(model, "layer2").spectrum(
            pictures, presentation=InSequence(2), design=fast
        )
    scored = dict(presentation=InSequence(2, cooldown=1), show_progress=False)
    tagging = FrequencyTaggingAttribution(model, ["layer1", "layer2"])
    with pytest.raises(ValueError, match="the same sampling rate"):
        score_neurons(tagging, TensorDataset(pictures), **scored)


class Strided(nn.Module):
    """Every other moment, from the first on."""

    def forward(self, x):
        return x[:, ::2]


def test_half_the_rate_starts_at_the_first_moment():
    model = nn.Sequential(Strided(), nn.Tanh()).eval()
    spectrum = FrequencyTaggingAttribution(model, "1").spectrum(
        FEATURES, presentation=InSequence(1)
    )
    assert (spectrum.design.sampling_rate, spectrum.design.n_frames) == (60.0, 120)
    still = FrequencyTaggingAttribution(model[1], model[1]).spectrum(FEATURES)
    for component in ((1, 0), (0, 1), (2, 0)):
        torch.testing.assert_close(
            spectrum.coefficient(component), still.coefficient(component), rtol=1e-3, atol=1e-6
        )


def test_attributions_and_scores_take_a_presentation():
    _, _, tagging, presentation = leaky()
    attributions = tagging.attribute(FEATURES, presentation=presentation, statistic="amplitude")
    assert [a.shape for a in attributions] == [(3, 4), (3, 2)]
    spectra = tagging.spectrum(FEATURES, presentation=presentation, components="fundamentals")
    scores = score_neurons(
        tagging, TensorDataset(FEATURES), presentation=presentation, batch_size=2,
        components="fundamentals", show_progress=False,
    )  # fmt: skip
    for name, spectrum, attribution in zip(("0", "1"), spectra, attributions, strict=True):
        torch.testing.assert_close(attribution, spectrum.reduce("fundamentals", "amplitude"))
        torch.testing.assert_close(scores.mean[name], attribution.mean(0), rtol=1e-6, atol=1e-9)


def test_the_whole_spectrum_is_the_transform_of_the_series():
    model, _, tagging, presentation = leaky()
    spectra = tagging.spectrum(FEATURES, presentation=presentation, whole=True)
    sequence = nn.Sequential(LeakOverTime(), model[1]).eval()
    frames = tagged_sequence(FEATURES, DESIGN).repeat(2, 1, 1)
    with torch.no_grad():
        series = sequence(frames.transpose(0, 1)).transpose(0, 1)[-240:].numpy()
    expected = np.fft.rfft(series, axis=0)
    spectrum = spectra[1]
    assert np.abs(spectrum.whole.lines.numpy() - expected).max() <= 1e-6
    assert spectrum.frequencies.tolist() == pytest.approx(np.fft.rfftfreq(240, 1 / 120))
    for component in spectrum.components:
        line = DESIGN.bin(component)
        torch.testing.assert_close(
            spectrum.amplitude(component), spectrum.whole.amplitude[line], rtol=1e-6, atol=1e-9
        )
    by_hand = TaggedSpectrum.from_series(series, DESIGN, whole=True)
    torch.testing.assert_close(by_hand.whole.lines, spectrum.whole.lines, rtol=1e-6, atol=1e-6)
    again = spectrum[1:].to("cpu")
    assert again.whole.lines.shape == (121, 2, 2)
    assert torch.equal((spectrum + spectrum).whole.lines, 2 * spectrum.whole.lines)


def test_every_frame_runs_for_the_whole_spectrum_of_a_network_without_memory():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).double().eval()
    spectrum = FrequencyTaggingAttribution(model, "1").spectrum(FEATURES, whole=True)
    with torch.no_grad():
        series = model(tagged_sequence(FEATURES, DESIGN))
    expected = np.fft.rfft(series.numpy(), axis=0)
    assert np.abs(spectrum.whole.lines.numpy() - expected).max() <= 1e-9


PEAK = """
import resource, sys, torch
from torch import nn
from captum_ssvep import FrequencyTaggingAttribution, StepByStep, TaggingDesign
model = nn.Linear(4, 20_000).eval()
FrequencyTaggingAttribution(model, model).spectrum(
    torch.rand(3, 4), design=TaggingDesign((6.0, 7.5), 120.0, int(sys.argv[1])),
    presentation=StepByStep(), components="fundamentals",
)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted otherwise elsewhere")
def test_memory_does_not_grow_with_the_record():
    """All responses to 4 800 frames would take 1.2 GB."""
    peaks = [
        int(subprocess.run([sys.executable, "-c", PEAK, n], capture_output=True, check=True).stdout)
        for n in ("480", "4800")
    ]
    assert peaks[1] <= 1.1 * peaks[0]


@pytest.mark.parametrize("n_neighbors", [1, 2, 5])
def test_snr_of_a_noisy_network_is_that_of_its_series(n_neighbors):
    generator = torch.Generator().manual_seed(0)
    series = torch.as_tensor(DESIGN.contrasts[:, :1]) + torch.randn(240, 3, generator=generator)
    spectrum = TaggedSpectrum.from_series(series, DESIGN, n_neighbors=n_neighbors, whole=True)
    amplitude = np.abs(np.fft.rfft(series.numpy(), axis=0)) / 120
    for component in spectrum.components:
        around = amplitude[list(DESIGN.neighbors(component, n_neighbors))]
        line = DESIGN.bin(component)
        for found in (spectrum.snr(component), spectrum.whole.snr(n_neighbors)[line]):
            assert found.numpy() == pytest.approx(amplitude[line] / around.mean(0))
        found = spectrum.whole.zscore(5)[line].numpy()
        around = amplitude[list(DESIGN.neighbors(component, 5))]
        assert found == pytest.approx((amplitude[line] - around.mean(0)) / around.std(0, ddof=1))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(presentation="sequence"), TypeError, "`presentation` to be an InSequence"),
        (dict(presentation=InSequence, design=DESIGN), TypeError, "`presentation` to be"),
        (dict(presentation=InSequence(), design=ChebyshevGrid()), ValueError, "design in time"),
        (dict(presentation=StepByStep(), design=TwoLevelDesign(2)), ValueError, "design in time"),
        (dict(presentation=InSequence(), perturbations_per_eval=4), ValueError, "no `pert"),
        (dict(presentation=InSequence(time_dim=5)), ValueError, "`time_dim`"),
        (dict(presentation=InSequence(layer_time_dim=7)), ValueError, "set `layer_time_dim`"),
        (
            dict(presentation=StepByStep(carry=lambda output: output)),
            TypeError,
            "`carry` to return the keyword arguments",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(arguments, error, message):
    model = nn.Sequential(nn.Identity()).eval()
    with pytest.raises(error, match=message):
        FrequencyTaggingAttribution(model, "0").attribute(FEATURES, **arguments)


def test_a_tunnel_refuses_it():
    model = nn.Sequential(nn.Linear(4, 2)).double().eval()
    tunnel = FrequencyTunnel(LayerActivation(model, model[0]))
    with pytest.raises(ValueError, match="no `presentation` in a FrequencyTunnel"):
        tunnel.attribute(FEATURES, presentation=InSequence())


def test_a_layer_whose_moments_do_not_fit_is_refused():
    class Odd(nn.Module):
        def forward(self, x):
            return x[:, : 7 * x.shape[1] // 320]

    tagging = FrequencyTaggingAttribution(nn.Sequential(Odd()).eval(), "0")
    with pytest.raises(ValueError, match="to give 320 moments, or a whole"):
        tagging.spectrum(FEATURES, presentation=InSequence(1))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_examples_taken_for_moments_are_told(kind, batch_first):
    model = nn.Sequential(kind(4, 3, batch_first=batch_first)).double().eval()
    tagging = FrequencyTaggingAttribution(model, "0")
    for n_examples in (1, 3):
        with pytest.raises(ValueError, match=rf"InSequence\(time_dim={int(batch_first)}\)"):
            tagging.spectrum(FEATURES[:n_examples], presentation=InSequence(int(not batch_first)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        right = tagging.spectrum(FEATURES, presentation=InSequence(int(batch_first)))
    assert right.mean.shape == (3, 3)


@pytest.mark.parametrize("batch_first", [False, True])
def test_step_by_step_a_moment_may_be_a_sequence_of_its_own(batch_first):
    """Of one example with five words, in which time does not lie."""
    shape = (1, 5, 4) if batch_first else (5, 1, 4)

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(4, 3, batch_first=batch_first)

        def forward(self, words):
            return self.rnn(words.reshape(shape))[0].reshape(1, 5, 3)

    model = Reader().double().eval()
    words = torch.rand(1, 5, 4, generator=torch.Generator().manual_seed(0)).double()
    tagging = FrequencyTaggingAttribution(model, model)
    spectrum = tagging.spectrum(words, presentation=StepByStep())
    with torch.no_grad():
        series = torch.stack([model(frame) for frame in tagged_sequence(words, DESIGN)])
    expected = TaggedSpectrum.from_series(series, DESIGN).amplitude((1, 0))
    torch.testing.assert_close(spectrum.amplitude((1, 0)), expected)


@pytest.mark.parametrize("delay", [0, 2, 8])
def test_readings_with_signs_warn_of_a_delay(delay):
    """Of eight frames, 67 ms, a product looks like a maximum."""
    product = np.roll(DESIGN.contrasts.prod(axis=1), delay)[:, None]
    spectrum = TaggedSpectrum.from_series(product, DESIGN)
    for read in (spectrum.and_or_index, spectrum.corners, spectrum.contrast_response):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read((0, 1))
        assert [str(w.message)[:18] for w in caught] == ["Contrast responses"] * (delay > 0)


@pytest.mark.parametrize(("decay", "is_settled"), [(0.9, True), (0.997, False)])
@pytest.mark.parametrize("n_frames", [80, 240], ids=["one period", "three"])
def test_a_cold_start_in_the_warm_up_alone_is_not_warned_of(decay, is_settled, n_frames):
    """Of 80 moments of warm-up, .9 ** 80 = 2e-4 and .997 ** 80 = .79 is left."""
    design, leak = TaggingDesign(n_frames=n_frames), Leak(decay)
    presentation = StepByStep(reset=leak.forget)
    tagging = FrequencyTaggingAttribution(nn.Sequential(leak).eval(), "0")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tagging.spectrum(FEATURES, presentation=presentation, design=design)
    assert [w for w in caught if "has not settled" in str(w.message)] == caught
    assert bool(caught) != is_settled


class Summary(nn.Module):
    """Of a sequence ``(N, T, 4)``, as many numbers as asked for, whatever its length."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, x):
        return x.mean((1, 2))[:, None].expand(-1, self.width)


@pytest.mark.parametrize("width", [10, 64, 80, 160, 320])
def test_a_width_that_divides_the_moments_is_not_taken_for_time(width):
    """320 moments are shown."""
    model = nn.Sequential(nn.Identity(), Summary(width)).eval()
    with pytest.raises(
        ValueError, match=f"{width} long for 320 moments and for half of them: that is no"
    ):
        FrequencyTaggingAttribution(model, ["0", "1"]).spectrum(
            FEATURES, presentation=InSequence(1)
        )


def test_a_network_for_sequences_of_one_length_is_read_at_its_own_rate():
    class Positions(nn.Module):
        def forward(self, x):
            return (x + torch.zeros(320, 1, dtype=x.dtype))[:, ::2]

    model = nn.Sequential(Positions()).eval()
    spectrum = FrequencyTaggingAttribution(model, "0").spectrum(
        FEATURES, presentation=InSequence(1)
    )
    assert spectrum.design.sampling_rate == 60


def test_errors_of_estimates_and_whole_spectra():
    tagging = FrequencyTaggingAttribution(nn.Sequential(nn.Identity()).eval(), "0")
    with pytest.raises(ValueError, match="without a `presentation`"):
        tagging.spectrum(FEATURES, presentation=InSequence(), estimate_error=True)
    with pytest.raises(ValueError, match="design in time for `whole`"):
        tagging.spectrum(FEATURES, design=ChebyshevGrid(), whole=True)
    with pytest.raises(ValueError, match="`estimate_error` without `whole`"):
        tagging.spectrum(FEATURES, whole=True, estimate_error=True)
    grid = ChebyshevGrid()
    with pytest.raises(ValueError, match="design in time for `whole`"):
        TaggedSpectrum.from_series(grid.contrasts[:, :1], grid, whole=True)
    with pytest.raises(ValueError, match="`parts` among 0 to 1"):
        tagging.spectrum(FEATURES).sum_over_difference((0, 5))
    with pytest.raises(ValueError, match="whole=True"):
        _ = tagging.spectrum(FEATURES).whole
    with pytest.raises(ValueError, match="pass `presentation`"):
        _ = tagging.spectrum(FEATURES).off_lattice
    wide = nn.Sequential(nn.Linear(4, 100_000)).eval()
    with pytest.raises(ValueError, match=r"take .* GiB; pool them"):
        FrequencyTaggingAttribution(wide, "0").spectrum(
            FEATURES.float().repeat(10, 1), presentation=InSequence(1), whole=True
        )


def test_subharmonics_and_own_rhythms_lie_off_the_lattice():
    class EveryOther(nn.Module):
        """Answers every other cycle of a tag: a period of two."""

        def forward(self, x):
            moments = torch.arange(x.shape[1])
            return x * (1 + torch.cos(2 * math.pi * moments / 160))[:, None]

    model = nn.Sequential(EveryOther()).eval()
    design = TaggingDesign((6.0, 7.5), 120.0, 480)
    with pytest.warns(UserWarning, match="rhythm of its own"):
        spectrum = FrequencyTaggingAttribution(model, "0").spectrum(
            FEATURES, presentation=InSequence(1, warmup=0), design=design, whole=True
        )
    assert (spectrum.off_lattice > 0.5).all()
    off = spectrum.whole.amplitude[:, 0, 0]
    assert off[[3, 21, 27]].min() > 0.05  # 0.75 Hz, and 6 Hz with it
    copied = copy.deepcopy(spectrum)
    assert torch.equal(copied.off_lattice, spectrum.off_lattice)
