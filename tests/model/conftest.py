"""Fixtures shared by the tests of silence and of replays."""

import pytest
import torch
import torchvision
from torch import nn


@pytest.fixture
def without_gradients():
    with torch.no_grad():
        yield


@pytest.fixture
def with_random_norms():
    """What an untrained BatchNorm does not do: shift, and scale every channel otherwise."""

    def randomized(model):
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias, mean=1.0)
                nn.init.normal_(module.running_mean, std=0.1)
        return model.eval()

    return randomized


@pytest.fixture
def resnet(with_random_norms):
    torch.manual_seed(2)
    return with_random_norms(torchvision.models.resnet18(weights=None))


@pytest.fixture
def hooks_of():
    """What hangs on the modules of a model."""

    def listed(model):
        return [
            (
                name,
                len(module._forward_hooks),
                len(module._forward_pre_hooks),
                "forward" in vars(module),
            )
            for name, module in model.named_modules()
        ]

    return listed
