import copy

import pytest
import torch
from captum.attr import LayerActivation
from torch import nn

from captum_ssvep.model.recorder import LayerRecorder, floating_tensors


class Network(nn.Module):
    """In-place ReLU behind a layer, a reused module, a tuple output and buffers that change."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.pair = Pair()
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 2)
        self.fail_at = None
        self.n_calls = 0

    def forward(self, x, offset=None):
        self.n_calls += 1
        if self.fail_at == self.n_calls:
            raise KeyError("the model's own error")
        out = self.relu(self.conv(x))
        first, second = self.pair(out)
        out = self.relu(self.norm(first + second) - 0.1)
        return self.head(out.mean(dim=(2, 3)))


class Pair(nn.Module):
    def forward(self, x):
        return x.sin(), x.cos()


@pytest.fixture
def model():
    return Network().eval()


IMAGES = torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def record(recorder, inputs):
    """Copies of what every layer gave in one forward pass."""
    recorded = {}

    def receive(index, tensors):
        recorded[index] = [tensor.clone() for tensor in tensors]

    recorder.record((inputs,), (), receive)
    return [recorded[index] for index in sorted(recorded)]


def n_hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("name", ["conv", "pair", "norm", "head", ""])
@pytest.mark.parametrize("layer_inputs", [False, True])
def test_recordings_are_captums(model, name, layer_inputs):
    layer = model.get_submodule(name)
    expected = LayerActivation(model, layer).attribute(
        IMAGES, attribute_to_layer_input=layer_inputs
    )
    with LayerRecorder(model, [name], layer_inputs=layer_inputs) as recorder:
        for _ in range(2):  # the whole forward, then one that stops early
            (tensors,) = record(recorder, IMAGES)
            expected_tensors = expected if isinstance(expected, tuple) else (expected,)
            assert len(tensors) == len(expected_tensors)
            assert all(map(torch.equal, tensors, expected_tensors))
    assert n_hooks(model) == 0


def test_the_forward_stops_once_all_layers_have_fired(model):
    ran = []
    model.norm.register_forward_hook(lambda *_: ran.append("norm"))
    model.head.register_forward_hook(lambda *_: ran.append("head"))
    with LayerRecorder(model, [model.conv, "norm"]) as recorder:
        record(recorder, IMAGES)
        assert ran == ["norm", "head"]
        record(recorder, IMAGES)
        assert ran == ["norm", "head", "norm"]


def test_the_last_call_of_a_reused_layer_counts_and_a_warning_says_so(model):
    expected = LayerActivation(model, model.relu).attribute(IMAGES)
    with LayerRecorder(model, ["relu"]) as recorder:
        with pytest.warns(UserWarning, match="'relu' is called 2 times") as caught:
            record(recorder, IMAGES)
        assert caught[0].filename == __file__
        ((relu,),) = record(recorder, IMAGES)
    torch.testing.assert_close(relu, expected)


@pytest.mark.parametrize("call", [1, 2])
def test_the_models_exceptions_pass_and_nothing_stays_hooked(model, call):
    model.fail_at = call

    def record_twice():
        with LayerRecorder(model, ["norm"]) as recorder:
            for _ in range(2):
                record(recorder, IMAGES)

    with pytest.raises(KeyError, match="own error"):
        record_twice()
    assert n_hooks(model) == 0


@pytest.mark.parametrize("n_later", [1, 3])
def test_a_layer_called_unevenly_is_refused(n_later):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.step = nn.Linear(2, 2)
            self.head = nn.Linear(2, 1)
            self.n_steps = 2

        def forward(self, x):
            for _ in range(self.n_steps):
                x = self.step(x)
            return self.head(x)

    branching = Branching().eval()
    with LayerRecorder(branching, ["step", "head"]) as recorder:
        with pytest.warns(UserWarning, match="called 2 times"):
            record(recorder, torch.ones(1, 2))
        branching.n_steps = n_later
        with pytest.raises(ValueError, match="'step' to be called as often for every frame"):
            record(recorder, torch.ones(1, 2))


def test_a_replica_is_recorded_and_not_left_early(model):
    """Under DataParallel replicas are copies that share the hooks, on threads of their own."""

    to_the_end = []

    class Replicated(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 3)

        def forward(self, x):
            out = copy.copy(self.layer)(x)
            to_the_end.append(True)
            return out

    replicated = Replicated().eval()
    inputs = torch.rand(4, 2)
    with LayerRecorder(replicated, ["layer"]) as recorder:
        for _ in range(2):
            ((recorded,),) = record(recorder, inputs)
            torch.testing.assert_close(recorded, replicated.layer.forward(inputs))
    assert len(to_the_end) == 2


def test_keywords_count_where_nothing_else_goes_into_a_layer():
    class Keywords(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = Scale()

        def forward(self, x):
            return self.layer(x=x, factor=2.0) + self.layer.forward(x, factor=x)

    class Scale(nn.Module):
        def forward(self, x, factor):
            return x * factor

    inputs = torch.rand(4, 2)
    with LayerRecorder(Keywords().eval(), ["layer"], layer_inputs=True) as recorder:
        ((into,),) = record(recorder, inputs)
    assert torch.equal(into, inputs)


def test_model_code_cannot_swallow_the_early_exit(model):
    def guarded(x):
        try:
            return model(x)
        except Exception:
            return None

    ran = []
    model.head.register_forward_hook(lambda *_: ran.append("head"))
    with LayerRecorder(guarded, [model.conv]) as recorder:
        record(recorder, IMAGES)
        record(recorder, IMAGES)
    assert ran == ["head"]


def test_floating_tensors_of_nests():
    a, b, c = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    ids = torch.zeros(4, dtype=torch.int)
    assert [len(t) for t in floating_tensors({"logits": a, "ids": ids, "states": (b, c)})] == [1]
    assert [len(t) for t in floating_tensors((None, ids, [b, (c,)]))] == [2]
    assert [len(t) for t in floating_tensors((b, None, c))] == [2, 3]
    assert floating_tensors("text") == ()
