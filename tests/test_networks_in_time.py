"""The networks of notebook 08 are what it says, and are left as they were."""

import math
import warnings

import in_time
import pytest
import torch
from snntorch import utils

from captum_ssvep import FrequencyTaggingAttribution, StepByStep
from captum_ssvep.demo import digits

pytestmark = pytest.mark.usefixtures("one_thread")

STATEFUL = [
    "leak behind a ReLU",
    "LIF spikes",
    "Kuramoto, natural frequency 0",
    "Kuramoto, natural frequency 0.3",
]


def spectrum_of(network, reset=None):
    tagging = FrequencyTaggingAttribution(network, str(len(network) - 1))
    presentation = StepByStep(warmup=2, reset=reset or network.forget)
    with warnings.catch_warnings():
        # Some fire or turn in a rhythm of their own.
        warnings.filterwarnings("ignore", message=".*has not settled")
        return tagging.spectrum(in_time.LAMPS, presentation=presentation, design=in_time.DESIGN)


@pytest.mark.parametrize(
    ("name", "ratio", "off_lattice"),
    [
        ("static ReLU", (0.98, 1.02), (0, 1e-6)),
        ("ReLU behind a leak", (0.98, 1.02), (0, 1e-6)),
        ("leak behind a ReLU", (0.21, 0.23), (0, 1e-6)),
        ("LIF spikes", (2, 8), (0, 0.1)),
        ("Kuramoto, natural frequency 0", (0.2, 0.4), (0, 0.01)),
        ("Kuramoto, natural frequency 0.3", (0.3, 2), (0.3, 0.7)),
    ],
)
def test_sum_over_difference_and_what_lies_off_the_lattice(name, ratio, off_lattice):
    spectrum = spectrum_of(in_time.toy_networks()[name])
    median = spectrum.sum_over_difference((0, 1)).nanmedian()
    assert ratio[0] <= median <= ratio[1]
    assert off_lattice[0] <= spectrum.off_lattice.mean() <= off_lattice[1]


def states(network):
    found = [getattr(module, "state", None) for module in network.modules()]
    return [s for s in [*found, *network.buffers()] if s is not None and s.dim()]


@pytest.mark.parametrize("name", STATEFUL)
def test_what_ran_before_makes_no_difference_and_the_state_is_put_back(name):
    network = in_time.toy_networks()[name]
    first = spectrum_of(network)
    with torch.no_grad():
        network(3 * torch.rand(5, 2).double())
    before = [state.clone() for state in states(network)]
    assert any(len(state) == 5 for state in before)
    second = spectrum_of(network)
    assert torch.equal(first.lines, second.lines)
    for state, expected in zip(states(network), before, strict=True):
        assert torch.equal(state, expected)


def test_snntorchs_own_reset_is_as_good():
    network = in_time.toy_networks()["LIF spikes"]
    first = spectrum_of(network)
    with torch.no_grad():
        network(torch.rand(1, 2).double())
    membrane = network[1].mem.clone()
    second = spectrum_of(network, reset=lambda: utils.reset(network))
    assert torch.equal(first.lines, second.lines)
    assert torch.equal(network[1].mem, membrane)


@pytest.mark.parametrize("natural_frequency", [0.0, 0.3])
def test_oscillators_take_a_step_of_the_kuramoto_model(natural_frequency):
    oscillators = in_time.Oscillators(5, natural_frequency, coupling=0.7, step=0.2).double()
    stimulus = torch.randn(2, 5, 2).double()
    found = oscillators(stimulus)
    for example in range(2):
        for i, phase in enumerate(oscillators.first.tolist()):
            x, y = stimulus[example, i].tolist()
            turn = math.hypot(x, y) * math.sin(math.atan2(y, x) - phase)
            turn += 0.7 / 5 * sum(math.sin(p - phase) for p in oscillators.first.tolist())
            after = phase + natural_frequency + 0.2 * turn
            expected = [math.cos(after), math.sin(after)]
            assert found[example, i].tolist() == pytest.approx(expected, abs=1e-9)


def test_the_recurrent_network_learns_and_remembers():
    """On few digits; the notebook trains on all."""
    images, labels = digits.load_test_set()
    inputs = digits.preprocess(images)
    network = in_time.train(inputs[:240], labels[:240], epochs=20, n_frames=4, noise=0.5)
    of_frames = in_time.accuracy(network, inputs[240:], labels[240:], 6, noise=0.5)
    assert of_frames[-1] > 0.5
    assert of_frames[-1] > of_frames[0]
    assert network.layer1.state is None
