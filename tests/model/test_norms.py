"""Which BatchNorm follows a layer."""

import pytest
import torch
import torchvision
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from captum_ssvep.model.norms import norms_after

CONVOLUTION = nn.Conv2d(3, 4, 3)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), FrozenBatchNorm2d(4)])
@pytest.mark.parametrize(
    ("between", "follows"), [([], True), ([nn.Identity()], True), ([nn.ReLU()], False)]
)
def test_directly_behind_is_what_takes_the_same_tensor(norm, between, follows):
    model = nn.Sequential(CONVOLUTION, *between, norm)
    assert norms_after(model, ["0"])["0"] == ([norm] if follows else [])


def test_a_norm_has_none_after_itself():
    model = nn.Sequential(CONVOLUTION, nn.BatchNorm2d(4), nn.BatchNorm2d(4))
    assert norms_after(model, ["1"]) == {"1": []}


def test_registration_does_not_matter_but_what_is_called():
    class Crossed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm_b, self.norm_a = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
            self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.norm_a(self.a(x)) + self.norm_b(self.b(x))

    model = Crossed()
    assert norms_after(model, ["a", "b"]) == {"a": [model.norm_a], "b": [model.norm_b]}


def test_all_convolutions_of_a_resnet_have_the_norm_of_their_name():
    model = torchvision.models.resnet50()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    names = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    found = norms_after(model, names)
    for name in names:
        norm = name.replace("conv", "bn").replace("downsample.0", "downsample.1")
        assert found[name] == [model.get_submodule(norm)]
    assert model.training
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_nothing_is_traced_without_norms():
    class Untraceable(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x):
            return self.linear(x) if x.sum() > 0 else x

    assert norms_after(Untraceable(), ["linear"]) == {"linear": []}
