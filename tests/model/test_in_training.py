"""A second pass within a training step, on copies of the buffers."""

import pytest
import torch
from torch import nn

from captum_ssvep.model.in_training import adopt, copied_buffers, on_buffers

IMAGES = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def sharing():
    """Two norms with the same running mean."""
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3)).train()
    model[1].running_mean = model[0].running_mean
    return model


def test_what_modules_share_has_one_copy():
    model = sharing()
    copies = copied_buffers(model)
    assert copies[model[0]]["running_mean"] is copies[model[1]]["running_mean"]
    assert copies[model[0]]["running_mean"] is not model[0].running_mean


def test_adopted_buffers_are_those_of_a_plain_pass():
    plain, model = sharing(), sharing()
    plain(IMAGES)
    copies, own = copied_buffers(model), dict(model.named_buffers())
    with on_buffers(model, copies, "train"):
        model(IMAGES)
    assert not own["0.running_mean"].any()
    adopt(copies)
    torch.testing.assert_close(dict(model.named_buffers()), dict(plain.named_buffers()))
    assert all(buffer is own[name] for name, buffer in model.named_buffers())


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_graph_survives_later_passes_in_train_mode(mode):
    model = sharing()
    model(IMAGES)
    with on_buffers(model, copied_buffers(model), mode):
        before = model(IMAGES)
    expected = torch.autograd.grad(before.square().sum(), model[0].weight, retain_graph=True)
    for _ in range(3):
        model(10 * IMAGES)
    found = torch.autograd.grad(before.square().sum(), model[0].weight)
    torch.testing.assert_close(found, expected)
