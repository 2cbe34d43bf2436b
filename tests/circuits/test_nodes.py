"""Fidelity of single neurons, and NeurFlow's measures, in a linear network with known answers."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum_ssvep.circuits import (
    core_neurons,
    node_fidelity,
    optimality,
    relevance_correlation,
)

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = torch.rand(30, 8, generator=torch.Generator().manual_seed(6))
DATA = TensorDataset(IMAGES)
WEIGHTS = torch.tensor([[4.0, 0, 0, 0, 0.5, 0, 0, 0.1], [0, 3, 0, 2, 0, 0, 1, 0], [0.0] * 8])
TARGETS = [("1", 0), ("1", 1), ("1", 2)]
QUIET = {"show_progress": False}


@pytest.fixture(scope="module")
def model():
    model = nn.Sequential(nn.Identity(), nn.Linear(8, 3, bias=False)).eval()
    with torch.no_grad():
        model[1].weight.copy_(WEIGHTS)
    return model


@pytest.mark.parametrize("baseline", ["mean", "zero"])
def test_relative_changes_are_those_of_the_formula(model, baseline):
    channels = [[0, 4], [1, 3], [0, 1]]
    found = node_fidelity(model, TARGETS, "0", channels, DATA, baseline=baseline, **QUIET)
    fill = IMAGES.mean(0) if baseline == "mean" else torch.zeros(8)
    for row, chosen in enumerate(channels):
        kept, masked = fill.repeat(30, 1), IMAGES.clone()
        kept[:, chosen], masked[:, chosen] = IMAGES[:, chosen], fill[chosen]
        whole = IMAGES @ WEIGHTS[row]
        for changed, value in ((kept, found.keep[row]), (masked, found.mask[row])):
            expected = (changed @ WEIGHTS[row] - whole).abs().sum() / whole.abs().sum().clamp(1e-9)
            assert value.item() == pytest.approx(expected.item(), abs=1e-6)
    assert found.keep[2] == found.mask[2] == 0  # a dead target
    assert found.random_keep.shape == (20, 3)
    assert (found.random_keep[:, 0] >= found.keep[0]).all()


def test_channels_are_those_of_core_neurons_and_loaders_change_nothing(model):
    core = core_neurons(model, TARGETS, "0", DATA, **QUIET)
    top = core.top(2)
    assert top[0].tolist() == [0, 4]
    one = node_fidelity(model, TARGETS, "0", top, DATA, **QUIET)
    other = node_fidelity(model, TARGETS, "0", top, DataLoader(DATA, batch_size=7), **QUIET)
    torch.testing.assert_close(one.keep, other.keep)
    torch.testing.assert_close(one.random_mask, other.random_mask)


def test_images_that_drive_a_neuron_go_with_its_channels(model):
    found = optimality(model, TARGETS, "0", [[0], [2], [0]], DATA, k=5, **QUIET)
    whole, without = IMAGES @ WEIGHTS[0], IMAGES[:, 1:] @ WEIGHTS[0, 1:]
    stay = set(whole.topk(5).indices.tolist()) & set(without.topk(5).indices.tolist())
    assert found.overlap[0].item() == pytest.approx(len(stay) / 5)
    assert found.overlap[1] == found.overlap[2] == 1  # a channel that does nothing, a dead target
    assert found.gap[0] > 0 >= found.gap[1]
    assert found.share_beaten[0] == 1
    assert found.random.shape == (100, 3)


def test_relevant_sets_leave_less(model):
    core = core_neurons(model, TARGETS, "0", DATA, **QUIET)
    found = relevance_correlation(model, core, DATA, k=5, **QUIET)
    assert found[0] < -0.8
    assert found[1] < -0.8
    assert found[2] == 0


@pytest.mark.parametrize("function", [node_fidelity, optimality])
@pytest.mark.parametrize(
    ("channels", "words"),
    [([[8]] * 3, "`channels` of '0' from 0 to 7, but got 8"), ([[0]], "each of 3 targets")],
)
def test_channels_that_do_not_fit_are_refused(model, function, channels, words):
    with pytest.raises(ValueError, match=words):
        function(model, TARGETS, "0", channels, DATA, **QUIET)


def test_as_many_images_as_are_compared_are_too_few(model):
    with pytest.raises(ValueError, match="less than the number of images, 30, but got 30"):
        optimality(model, TARGETS, "0", [[0]] * 3, DATA, k=30, **QUIET)
