"""Networks of several kinds go through all measures: where channels lie is found by one rule."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import ablated
from captum_ssvep.circuits import (
    core_neurons,
    fidelity,
    neuron_groups,
    neuron_interactions,
    node_fidelity,
)

pytestmark = pytest.mark.usefixtures("one_thread")
QUIET = {"show_progress": False}


class Case(NamedTuple):
    make: Callable[[], nn.Module]
    layer: str
    above: str
    size: int
    n_channels: int


def torchvision_model(name):
    return lambda: torchvision.models.get_model(name, weights=None, num_classes=4)


def vit():
    model = torchvision.models.VisionTransformer(32, 16, 2, 3, 48, 64, num_classes=4)
    nn.init.normal_(model.heads.head.weight)  # zero before it is trained
    return model


def swin():
    return torchvision.models.SwinTransformer(
        [4, 4], 24, [1, 2], [2, 4], [4, 4], stochastic_depth_prob=0.0, num_classes=4
    )


CASES = {
    "ResNet": Case(torchvision_model("resnet18"), "layer1.1", "layer3.0", 32, 64),
    "SqueezeNet": Case(torchvision_model("squeezenet1_1"), "features.3", "features.7", 64, 128),
    "Swin": Case(swin, "features.1", "features.3.0", 32, 24),
    "ViT": Case(vit, "encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1", 32, 48),
}


@cache
def network(name):
    torch.manual_seed(0)
    return CASES[name].make().eval()


@pytest.fixture(params=CASES)
def case(request):
    found = CASES[request.param]
    images = torch.randn(4, 3, found.size, found.size)
    model = network(request.param)
    with torch.no_grad():
        called = model(images).argmax(1)
    # A class and, with labels by turns, others.
    return found, model, TensorDataset(images, (called[0] + torch.arange(4) % 2) % 4), called[0]


def test_all_measures(case):
    found, model, data, label = case
    targets = [label.item(), (found.above, 1), (found.above, 5)]
    core = core_neurons(model, targets, found.layer, data, method="activation_gradient", **QUIET)
    assert core.absolute.shape == (3, found.n_channels)
    chosen = core.top(4)
    interactions = neuron_interactions(
        model, targets, found.layer, data, channels=chosen[0], **QUIET
    )
    groups = neuron_groups(model, found.layer, data, n_groups=3, max_groups=4, **QUIET)
    assert len(groups) == 3
    nodes = node_fidelity(model, targets[1:], found.layer, chosen[1:], data, n_random=2, **QUIET)
    for values in (core.absolute, interactions.signed, nodes.keep, groups.profiles):
        assert values.isfinite().all()
    circuit = {found.layer: chosen[0], found.above: range(3)}
    with torch.no_grad():
        calls_all_the_same = len(model(data.tensors[0]).argmax(1).unique()) == 1
    with (
        pytest.warns(UserWarning, match="calls all images") if calls_all_the_same else nullcontext()
    ):
        proof = fidelity(model, circuit, data, targets[0], n_random=2, **QUIET)
    assert [row.layers for row in proof.rows[::2]] == [found.layer, found.above, "all"]


def test_what_a_channel_is_relevant_for_is_lost_without_it(case):
    found, model, data, label = case
    images = data.tensors[0][:2]

    def target(output):
        return output[:, label]

    core = core_neurons(model, target, found.layer, TensorDataset(images), baseline="zero", **QUIET)
    assert core.signed.shape == (1, found.n_channels)
    for channel in (0, found.n_channels - 1):
        with torch.no_grad():
            whole = target(model(images))
            with ablated(model, {found.layer: channel}):
                lost = whole - target(model(images))
        assert core.signed[0, channel].item() == pytest.approx(lost.mean().item(), abs=1e-5)


@pytest.mark.data
@pytest.mark.slow
def test_a_trained_network_with_dead_channels():
    folder = os.environ.get("CAPTUM_SSVEP_DATA")
    if not folder:
        pytest.skip("CAPTUM_SSVEP_DATA is not set: no SqueezeNet weights")
    path = Path(folder) / "squeezenet1_1_imagenet.pt"
    model = torchvision.models.squeezenet1_1(weights=None).eval()
    model.load_state_dict(torch.load(path, weights_only=True))
    images = torch.rand(4, 3, 96, 96)
    core = core_neurons(
        model, [0, ("features.12", 0)], "features.10", TensorDataset(images), **QUIET
    )
    groups = neuron_groups(model, "features.10", TensorDataset(images), n_groups=4, **QUIET)
    assert core.absolute.isfinite().all()
    dead = (core.absolute[0] == 0).nonzero().flatten().tolist()
    assert dead
    assert set(groups.left_out) <= set(dead)
