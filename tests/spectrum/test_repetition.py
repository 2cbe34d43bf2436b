"""One frame is shown again in other company; a network that answers it differently is warned of."""

import re
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import InputXGradient, LayerActivation, LayerGradientXActivation, NoiseTunnel
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    FrequencyTunnel,
    TaggingDesign,
    score_neurons,
    tagged_sequence,
)
from captum_ssvep._compat import multiplies_in_tf32
from captum_ssvep.spectrum.passes import passes_of
from captum_ssvep.spectrum.plan import SpectrumPlan
from captum_ssvep.spectrum.repetition import most_floors

pytestmark = pytest.mark.usefixtures("one_thread")

DIFFERENT = "Equal frames got different answers in"


class Dropout(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.1)


class StochasticDepth(nn.Module):
    """Skips itself for some rows, whatever the mode."""

    def forward(self, x):
        return x + x.sin() * torch.bernoulli(torch.full((len(x), 1), 0.5)).to(x)


class NumpyNoise(nn.Module):
    """Draws where torch does not notice."""

    def forward(self, x):
        noise = np.random.normal(size=tuple(x.shape))  # noqa: NPY002
        return x + torch.from_numpy(noise).to(x)


class BatchStatistics(nn.Module):
    def forward(self, x):
        return (x - x.mean(0)) / (x.std(0, correction=0) + 1)


class MinibatchDeviation(nn.Module):
    """As the last block of a GAN's discriminator."""

    def forward(self, x):
        return x + x.std(0, correction=0).mean()


class ExpertChoice(nn.Module):
    """Each of eight experts takes the rows that its router prefers (Zhou et al. 2022)."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(6, 8)

    def forward(self, x):
        kept = self.router(x).topk((len(x) + 1) // 2, dim=0).indices
        return x + torch.zeros(len(x), 8).to(x).scatter(0, kept, 1.0) @ self.router.weight


class FirstServed(nn.Module):
    """Passes on the first rows only, as an expert that is full (Fedus et al. 2022)."""

    def forward(self, x):
        return x * (torch.arange(len(x)) < 2)[:, None]


class LargestOfBatch(nn.Module):
    """Scales by the largest value of the batch, as a quantization by its range does."""

    def forward(self, x):
        return x / x.abs().max()


class LastRow(nn.Module):
    """Subtracts some of the last row."""

    def forward(self, x):
        return x - 0.2 * x[-1:]


class SoftmaxOverRows(nn.Module):
    """The wrong dimension."""

    def forward(self, x):
        return x.softmax(0)


class Graph(nn.Module):
    """Nodes on dimension 0: the second also gets what the first holds."""

    def forward(self, x):
        return x + torch.zeros_like(x).index_add(0, torch.tensor([1]), x[:1])


class Sequence(nn.Module):
    """A recurrent network that takes the batch for time."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRU(6, 6)

    def forward(self, x):
        return self.cell(x[:, None])[0][:, 0]


class Memory(nn.Module):
    memory = None

    def forward(self, x):
        if self.memory is None or self.memory.shape != x.shape:
            self.memory = torch.zeros_like(x)
        self.memory = 0.9 * self.memory + x
        return self.memory.clone()


class MeanMemory(nn.Module):
    """State without a batch, in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("memory", torch.zeros(6))

    def forward(self, x):
        self.memory = 0.9 * self.memory + x.mean(0)
        return x - self.memory


class Counter(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x * (1 + 0.01 * self.calls)


RANDOM = (Dropout, StochasticDepth, NumpyNoise)
ROWS_MEET = (
    *(BatchStatistics, MinibatchDeviation, ExpertChoice, FirstServed),
    *(LargestOfBatch, LastRow, SoftmaxOverRows, Graph, Sequence),
)
STATEFUL = (Memory, MeanMemory, Counter)


def network(fault=nn.Identity):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), fault(), nn.Linear(6, 4)).eval()


def tagging_of(fault=nn.Identity, layer="2"):
    return FrequencyTaggingAttribution(network(fault), layer)


X = torch.rand(4, 8, generator=torch.Generator().manual_seed(1))


def warned(run):
    """The messages that a call warns with."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("fault", [*RANDOM, *ROWS_MEET, *STATEFUL])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"perturbations_per_eval": 5},
        {"internal_batch_size": 12},
        {"noise_std": 0.1},
        {"design": ChebyshevGrid()},
    ],
    ids=str,
)
@pytest.mark.parametrize("n_examples", [1, 4])
def test_a_network_that_answers_equal_frames_differently_is_warned_of(fault, options, n_examples):
    if fault is Memory and options.get("perturbations_per_eval") != 5:
        pytest.skip("this state begins anew when the size of the batch changes")
    if fault is Graph and n_examples == 1:
        pytest.skip("no graph of one node")
    if fault is ExpertChoice and {"noise_std", "internal_batch_size"} & {*options}:
        pytest.skip("the experts happen to choose the frame both times")
    (message,) = warned(lambda: tagging_of(fault).attribute(X[:n_examples], **options))
    noticed = fault in (Dropout, StochasticDepth)
    assert noticed == ("random numbers are drawn" in message)
    assert noticed or re.match(
        rf"{DIFFERENT} '2': they differ by [\d,]+ times the rounding floor", message
    )


@pytest.mark.parametrize("fault", [*RANDOM, *STATEFUL])
def test_frames_one_by_one_show_states_and_random_numbers(fault):
    (message,) = warned(lambda: tagging_of(fault).spectrum(X[:1], perturbations_per_eval=1))
    assert DIFFERENT in message or "Random numbers were drawn" in message
    assert "internal_batch_size" not in message


@pytest.mark.parametrize("fault", [BatchStatistics, MinibatchDeviation, SoftmaxOverRows, Sequence])
def test_examples_that_meet_are_separated_by_internal_batch_size(fault):
    (message,) = warned(lambda: tagging_of(fault).spectrum(X, perturbations_per_eval=1))
    assert "pass internal_batch_size=1" in message
    assert not warned(lambda: tagging_of(fault).spectrum(X, internal_batch_size=1))


def test_a_graph_is_read_right_with_one_frame_in_a_pass():
    (message,) = warned(lambda: tagging_of(Graph).spectrum(X))
    assert "perturbations_per_eval=1 if the examples make up one whole" in message
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spectrum = tagging_of(Graph).spectrum(X, perturbations_per_eval=1)
    model, design = network(Graph), TaggingDesign()
    with torch.no_grad():
        series = torch.stack([model(frame) for frame in tagged_sequence(X)]).double()
    lines = torch.fft.rfft(series, dim=0) * 2 / design.n_frames
    for component in [(1, 0), (0, 1)]:
        expected = lines[design.bin(component)].abs().float()
        torch.testing.assert_close(spectrum.amplitude(component), expected, rtol=1e-4, atol=1e-6)


def test_the_worst_layer_is_named():
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), BatchStatistics(), nn.Linear(6, 4)).eval()
    tagging = FrequencyTaggingAttribution(model, ["0", "1", "2"])
    (message,) = warned(lambda: tagging.spectrum(X))
    assert f"{DIFFERENT} '2'" in message
    assert not warned(lambda: FrequencyTaggingAttribution(model, ["0", "1"]).spectrum(X))


def test_the_warning_points_at_the_users_line():
    with pytest.warns(UserWarning, match=DIFFERENT) as caught:
        tagging_of(BatchStatistics).attribute(X)
    assert caught[0].filename == __file__


def test_random_numbers_behind_the_layer_do_not_matter():
    assert not warned(lambda: tagging_of(Dropout, layer="0").spectrum(X))


def test_random_numbers_that_change_little_are_noticed_as_they_are_drawn():
    class Jitter(nn.Module):
        def forward(self, x):
            return x * (1 + 1e-6 * torch.rand(len(x), 1))

    (message,) = warned(lambda: tagging_of(Jitter).spectrum(X))
    assert message.startswith("Random numbers were drawn up to '2'")


def test_a_model_in_train_mode_has_one_warning():
    model = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)).train()
    (message,) = warned(lambda: FrequencyTaggingAttribution(model, "2").spectrum(X))
    assert "train mode" in message


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fault", [Dropout, StochasticDepth, FirstServed, Memory])
def test_faults_are_seen_in_half_precision(fault, dtype):
    model, x = network(fault).to(dtype), X.to(dtype)
    tagging = FrequencyTaggingAttribution(model, "2")
    (message,) = warned(lambda: tagging.spectrum(x, perturbations_per_eval=7))
    assert DIFFERENT in message or "Random numbers were drawn" in message


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_under_autocast_is_that_of_the_computing_precision(dtype):
    """The norm returns float32; linear networks have no intermodulations."""
    model = nn.Sequential(nn.Linear(8, 64), nn.Linear(64, 64), nn.LayerNorm(64)).eval()

    def run(x):
        with torch.autocast("cpu", dtype):
            return model(x)

    linear = FrequencyTaggingAttribution(run, model[1])
    normed = FrequencyTaggingAttribution(run, model[2])
    assert not warned(lambda: normed.spectrum(X))
    eps = torch.finfo(dtype).eps
    for tagging in (linear, normed):
        spectrum = tagging.spectrum(X)
        assert (spectrum.floor >= 4 * eps * spectrum.mean.abs().amax(1) * 0.5).all()
    assert (linear.spectrum(X).snr((1, 1)) < 1).all()


METHODS = {
    "activation": (lambda model: LayerActivation(model, model[2]), {}),
    "relevance": (lambda model: LayerGradientXActivation(model, model[1]), {"target": 1}),
    "attribution to inputs": (lambda model: InputXGradient(model), {"target": 1}),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fault", [Dropout, BatchStatistics, Counter])
def test_the_tunnel_repeats_a_frame_too(method, fault):
    make, options = METHODS[method]
    assert not warned(lambda: FrequencyTunnel(make(network())).spectrum(X, **options))
    (message,) = warned(lambda: FrequencyTunnel(make(network(fault))).spectrum(X, **options))
    assert DIFFERENT in message or "Random numbers were drawn" in message


def test_a_method_that_draws_random_numbers_is_noticed():
    model = network()
    method = NoiseTunnel(LayerGradientXActivation(model, model[2]))
    (message,) = warned(lambda: FrequencyTunnel(method).spectrum(X, target=1, stdevs=0.1))
    assert "random numbers" in message


def shown_by(tagging, **options):
    """How many rows a network was shown."""
    rows = []
    model = tagging.forward_func
    with model.register_forward_pre_hook(lambda module, args: rows.append(len(args[0]))):
        tagging.spectrum(X[:1], **options)
    return sum(rows)


def test_a_repetition_costs_one_frame_and_few_frames_are_checked_once():
    tagging, few = tagging_of(), ChebyshevGrid(nodes=2)
    assert [shown_by(tagging), shown_by(tagging)] == [50, 50]
    tagging = tagging_of()
    assert [shown_by(tagging, design=few) for _ in range(3)] == [5, 4, 4]


def test_a_record_that_was_warned_of_is_checked_again():
    tagging, few = tagging_of(BatchStatistics), ChebyshevGrid(nodes=3)
    for size in (None, 4):  # not the cure that was asked for
        (message,) = warned(
            lambda size=size: tagging.spectrum(X[:1], design=few, perturbations_per_eval=size)
        )
        assert DIFFERENT in message


def test_a_sweep_checks_sparsely_and_warns_once():
    data = TensorDataset(torch.rand(20, 8))
    rows = []
    tagging = tagging_of()
    with tagging.forward_func.register_forward_pre_hook(lambda m, args: rows.append(len(args[0]))):
        score_neurons(tagging, data, batch_size=2, design=ChebyshevGrid(), show_progress=False)
    assert sum(rows) == 20 * 25 + 2 * 4  # with batches 1, 2, 4 and 8 of 10
    messages = warned(
        lambda: score_neurons(tagging_of(Counter), data, batch_size=2, show_progress=False)
    )
    assert len(messages) == 1


@given(st.integers(2, 60), st.integers(1, 70), st.booleans())
def test_passes_show_every_frame_once_and_the_first_again_in_company(n, most, repeats):
    first, *others = passes_of(n, most, None, repeats)
    assert (first.start, first.stop, first.again) == (0, 1, False)
    shown = [frame for part in others for frame in range(part.start, part.stop)]
    assert shown == list(range(1, n))
    assert [part.again for part in others] == [False] * (len(others) - 1) + [repeats]
    sizes = [part.n_new + part.again for part in others]
    assert max(sizes) <= most
    if repeats:
        assert sizes == sorted(sizes)
        assert max(sizes) - min(sizes) <= 1
        assert others[-1].n_new or most == 1


def test_the_first_frame_is_bright_but_not_the_brightest():
    for design in (TaggingDesign(), ChebyshevGrid(), TaggingDesign(contrast=(0, 1))):
        contrasts = SpectrumPlan.build(design, "all", None, 2, 0.0).contrasts
        assert 0.55 < (contrasts.sum(axis=1) < contrasts[0].sum()).mean() < 0.75


def test_the_bound_is_coarser_where_products_are():
    single, double = (torch.finfo(dtype).eps for dtype in (torch.float32, torch.float64))
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert most_floors(single, cpu) == most_floors(double, cuda) == 1000
    allowed = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = True
        assert most_floors(single, cuda) * 4 * single == pytest.approx(0.05)
        torch.backends.cudnn.allow_tf32 = False
        assert most_floors(single, cuda) == 1000
    finally:
        torch.backends.cudnn.allow_tf32 = allowed


def test_settings_that_torch_refuses_to_report_count_as_coarse(monkeypatch):
    def refuse(*_):
        raise RuntimeError("mixed")

    monkeypatch.setattr(type(torch.backends.cudnn), "allow_tf32", property(refuse))
    assert multiplies_in_tf32()
