"""What a module holds beside its parameters is put back."""

from collections import OrderedDict, defaultdict, deque

import numpy as np
import pytest
import torch
from torch import nn

from captum_ssvep import FrequencyTaggingAttribution, FrequencyTunnel
from captum_ssvep.model.state import state_of


def list_of(module):
    return list(module.held)


CHANGES = {
    "list": ([1, 2], lambda held: held.append(3)),
    "list of tensors": ([torch.ones(2)], lambda held: held[0].mul_(2)),
    "dictionary": ({"a": 1}, lambda held: held.update(b=2)),
    "ordered dictionary": (OrderedDict(a=1, b=2), lambda held: held.move_to_end("a")),
    "dictionary of lists": (defaultdict(list, a=[1]), lambda held: held["a"].append(2)),
    "set": ({1, 2}, lambda held: held.add(3)),
    "queue": (deque([1, 2], maxlen=2), lambda held: held.append(3)),
    "tuple of tensors": ((torch.ones(2), None), lambda held: held[0].zero_()),
    "array": (np.ones(3), lambda held: np.add(held, 1, out=held)),
    "tensor": (torch.ones(3), lambda held: held.add_(1)),
    "integer tensor": (torch.zeros(1, dtype=torch.long), lambda held: held.add_(1)),
}


def plain(value):
    """The value as lists and numbers, to compare."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return value.tolist()
    if isinstance(value, dict):
        return [(key, plain(held)) for key, held in value.items()]
    return [plain(held) for held in value] if hasattr(value, "__iter__") else value


@pytest.mark.parametrize("kind", CHANGES)
def test_what_attributes_hold_is_put_back_in_place(kind):
    held, change = CHANGES[kind]
    module = nn.Identity()
    module.held = held
    before = plain(held)
    put_back = state_of(module)
    change(module.held)
    assert plain(held) != before
    put_back()
    assert module.held is held
    assert plain(held) == before


def test_attributes_that_were_replaced_added_or_deleted_are_put_back():
    module = nn.Identity()
    module.memory, module.gone = None, "here"
    put_back = state_of(module)
    module.memory, module.new = torch.ones(2), 1
    del module.gone
    put_back()
    assert module.memory is None
    assert module.gone == "here"
    assert not hasattr(module, "new")


def test_a_list_that_holds_itself_is_no_trap():
    module = nn.Identity()
    module.loop = []
    module.loop.append(module.loop)
    state_of(module)()
    assert module.loop[0] is module.loop


def test_what_became_a_child_or_a_parameter_is_left_alone():
    module = nn.Identity()
    vars(module).update(child=None, weight=None)
    put_back = state_of(module)
    del module.child, module.weight
    module.child, module.weight = nn.ReLU(), nn.Parameter(torch.ones(2))
    put_back()
    assert isinstance(module.child, nn.ReLU)
    assert isinstance(module.weight, nn.Parameter)


def test_a_norm_in_a_plain_list_is_put_back():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.norms = [nn.BatchNorm1d(4)]
            self.linear = nn.Linear(4, 2)

        def forward(self, x):
            return self.linear(self.norms[0](x))

    model = Hidden().eval()
    with pytest.warns(UserWarning, match="Equal frames got different answers"):
        FrequencyTaggingAttribution(model, "linear").attribute(torch.rand(3, 4))
    assert model.norms[0].num_batches_tracked == 0


def test_hooks_that_came_meanwhile_stay():
    module = nn.Identity()
    put_back = state_of(module)
    handle = module.register_forward_hook(lambda *_: None)
    put_back()
    assert len(module._forward_hooks) == 1
    handle.remove()


class Leaky(nn.Module):
    """As of a spiking network: the membrane potential lives in a plain attribute."""

    def __init__(self):
        super().__init__()
        self.membrane = None
        self.spikes = []

    def forward(self, x):
        self.membrane = x if self.membrane is None else 0.9 * self.membrane.mean() + x
        self.spikes.append(self.membrane > 0.5)
        return self.membrane.clone()


class TrainsItself(nn.Module):
    """Switches its own flag, as a few networks do around a sampled step."""

    def forward(self, x):
        self.train(not self.training)
        return 2 * x


class CountsCalls(nn.Module):
    """A child whose methods are called, but which never runs as a module."""

    def __init__(self):
        super().__init__()
        self.cell = nn.Identity()
        self.cell.calls = 0

    def forward(self, x):
        self.cell.calls += 1
        return x + 1


def attributes_of(model):
    return [
        {name: value for name, value in vars(m).items() if not name.startswith("_")}
        for m in model.modules()
    ]


@pytest.mark.filterwarnings("ignore:Equal frames:UserWarning", "ignore:The module '1' is in train")
@pytest.mark.parametrize("stateful", [Leaky, TrainsItself, CountsCalls])
@pytest.mark.parametrize("around", [FrequencyTaggingAttribution, FrequencyTunnel])
def test_a_tagged_model_keeps_its_attributes(stateful, around):
    from captum.attr import LayerActivation

    model = nn.Sequential(nn.Linear(4, 3), stateful(), nn.Linear(3, 2)).eval()
    before = attributes_of(model)
    if around is FrequencyTunnel:
        FrequencyTunnel(LayerActivation(model, model[2])).attribute(torch.rand(1, 4))
    else:
        FrequencyTaggingAttribution(model, "2").attribute(torch.rand(1, 4))
    assert attributes_of(model) == before
