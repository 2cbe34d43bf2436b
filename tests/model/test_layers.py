from collections import OrderedDict

import pytest
import torch
from torch import nn

from captum_ssvep.model.layers import layers_of, n_filters_of
from captum_ssvep.model.recorder import LayerRecorder

IMAGES = torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    parts = {
        "conv": nn.Conv2d(3, 4, 3),
        "relu": nn.ReLU(),
        "norm": nn.BatchNorm2d(4),
        "flat": nn.Flatten(),
        "head": nn.Linear(64, 2),
    }
    return nn.Sequential(OrderedDict(parts)).eval()


def record(recorder, inputs):
    """What every layer gave in one forward pass."""
    recorded = []
    recorder.record((inputs,), (), lambda index, tensors: recorded.append(tensors))
    return recorded


def n_hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_layers_that_can_be_read_are_listed(model):
    assert layers_of(model) == ["conv", "head"]
    assert layers_of(model, types=(nn.BatchNorm2d, nn.ReLU)) == ["relu", "norm"]

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(6, 2), nn.Linear(6, 2)
            self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

        def forward(self, x, scale=1.0):
            return self.used(self.attention(x, x, x)[0] * scale)

    branching = Branching().train()
    assert layers_of(branching) == ["used", "unused", "attention"]
    inputs = torch.rand(1, 3, 6)
    assert layers_of(branching, inputs=inputs) == ["used", "attention"]
    assert layers_of(branching, inputs=inputs, additional_forward_args=2.0) == ["used", "attention"]
    assert n_hooks(branching) == 0
    with LayerRecorder(branching.eval(), layers_of(branching, inputs=inputs)) as recorder:
        assert len(record(recorder, inputs)) == 2


def test_names_reach_into_wrapped_models(model):
    wrapped = nn.DataParallel(model) if not torch.cuda.is_available() else model
    with LayerRecorder(wrapped, ["conv"]) as recorder:
        ((tensor,),) = record(recorder, IMAGES)
    assert tensor.shape == (5, 4, 4, 4)
    bound = LayerRecorder(model.forward, ["conv"])
    assert bound.layers == [model.conv]


def test_a_part_that_is_called_module_is_not_mistaken_for_a_wrapper():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 2)
            self.module = nn.Sequential()
            self.module.add_module("fc", nn.Linear(2, 3))

        def forward(self, x):
            return self.module(self.fc(x))

    net = Net().eval()
    for model in (net, nn.DataParallel(net)):
        assert LayerRecorder(model, ["fc"]).layers == [net.fc]
    assert LayerRecorder(net, ["module.fc"]).layers == [net.module.fc]


def test_only_layers_with_filters_have_a_number_of_them():
    other = nn.ReLU()
    other.out_features, other.num_features = 3, 4
    layers = nn.ConvTranspose1d(2, 6, 1), nn.Linear(2, 5), nn.BatchNorm1d(4), other
    assert [n_filters_of(layer) for layer in layers] == [6, 5, 4, None]
