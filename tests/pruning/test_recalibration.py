"""BatchNorm statistics, estimated anew."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep.pruning import recalibrate

IMAGES = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 3 + 1


def test_statistics_are_those_of_the_data(small_network):
    small_network.insert(1, nn.Dropout(0.5))
    recalibrate(small_network.eval(), TensorDataset(IMAGES), batch_size=6, show_progress=False)
    responses = small_network[0](IMAGES)
    norm = small_network[2]
    means = [batch.mean((0, 2, 3)) for batch in responses.split(6)]
    variances = [batch.var((0, 2, 3)) for batch in responses.split(6)]
    torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack(variances).mean(0))


def test_only_statistics_change_and_flags_are_restored(small_network):
    small_network.insert(1, nn.Dropout(0.5))
    small_network.eval()[3].train()
    flags = [module.training for module in small_network.modules()]
    before, momentum = copy.deepcopy(small_network.state_dict()), small_network[2].momentum
    random_state = torch.get_rng_state()
    recalibrate(small_network, TensorDataset(IMAGES), show_progress=False)
    assert [module.training for module in small_network.modules()] == flags
    assert small_network[2].momentum == momentum
    assert torch.equal(torch.get_rng_state(), random_state)
    changed = {n for n, v in small_network.state_dict().items() if not torch.equal(v, before[n])}
    assert changed == {"2.running_mean", "2.running_var", "2.num_batches_tracked"}


def test_after_an_error_the_statistics_are_the_old_ones(small_network):
    before = copy.deepcopy(small_network.state_dict())
    few_channels = IMAGES[0, :1]
    data = [IMAGES[0], IMAGES[1], few_channels, few_channels]
    with pytest.raises(RuntimeError):
        recalibrate(small_network, data, batch_size=2, show_progress=False)
    after = small_network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not small_network[1].training


def test_a_network_without_statistics_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    with pytest.raises(ValueError, match="running statistics"):
        recalibrate(model, TensorDataset(IMAGES), show_progress=False)


def test_batches_count_by_their_images(small_network):
    """Three images, then two."""
    recalibrate(small_network, TensorDataset(IMAGES[:5]), batch_size=3, show_progress=False)
    with torch.no_grad():
        expected = small_network[0](IMAGES[:5]).mean((0, 2, 3))
    torch.testing.assert_close(small_network[1].running_mean, expected)
    with pytest.raises(ValueError, match="one of a single image"):
        recalibrate(small_network, TensorDataset(IMAGES[:5]), batch_size=4, show_progress=False)


def test_no_images_are_refused(small_network):
    with pytest.raises(ValueError, match="at least one image"):
        recalibrate(small_network, TensorDataset(IMAGES[:0]), show_progress=False)
