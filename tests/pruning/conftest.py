"""Networks whose BatchNorms matter."""

import pytest
import torch
from torch import nn


def _with_random_norms(model):
    """A model in eval mode whose norms and biases are not the ones of a new network."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(mean=1, generator=generator)
                module.running_mean.normal_(std=0.3, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
            elif isinstance(module, nn.Conv2d) and module.bias is not None:
                module.bias.normal_(generator=generator)
    return model.eval()


@pytest.fixture
def with_random_norms():
    return _with_random_norms


@pytest.fixture
def small_network():
    """Two convolutions, of which one has a norm, for five classes."""
    return _with_random_norms(
        nn.Sequential(
            nn.Conv2d(3, 6, 3),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 4, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 5),
        )
    )
