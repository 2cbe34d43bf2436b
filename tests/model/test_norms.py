"""Which BatchNorm follows a layer."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from captum_ssvep.model.norms import norms_after

CONVOLUTION = nn.Conv2d(3, 4, 3)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), FrozenBatchNorm2d(4)])
@pytest.mark.parametrize(
    ("between", "follows"),
    [
        ([], True),
        ([nn.Identity()], True),
        ([nn.Dropout(), nn.Dropout2d()], True),
        ([nn.ReLU()], False),
    ],
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


class Between(nn.Module):
    """A norm after a convolution and some code."""

    def __init__(self, code):
        super().__init__()
        self.conv, self.norm, self.code = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), code

    def forward(self, x):
        return self.code(self.norm, self.conv(x))


@pytest.mark.parametrize(
    ("code", "follows"),
    [
        (lambda norm, given: norm(input=given), True),
        (lambda norm, given: norm(F.dropout(given, training=False)), True),
        (lambda norm, given: norm(F.dropout2d(input=given)), True),
        (lambda norm, given: norm(given.contiguous().to(torch.float32).float()), True),
        (lambda norm, given: norm(given.relu()), False),
        (lambda norm, given: norm(torch.ones(1, 4, 6, 6).to(given)), False),
    ],
)
def test_code_that_hands_on_the_same_values_is_looked_through(code, follows):
    model = Between(code)
    assert norms_after(model, ["conv"])["conv"] == ([model.norm] if follows else [])


@pytest.mark.parametrize(
    ("code", "alone"),
    [
        (lambda norm, given: norm(given), True),
        (lambda norm, given: norm(given.contiguous()), True),
        (lambda norm, given: norm(given) + given, False),
        (lambda norm, given: (norm(given), given), False),
        (lambda norm, given: norm(F.dropout(given)) + given.contiguous().relu(), False),
    ],
)
def test_a_norm_is_alone_if_nothing_else_takes_what_the_layer_gives(code, alone):
    model = Between(code)
    assert norms_after(model, ["conv"]) == {"conv": [model.norm]}
    assert norms_after(model, ["conv"], alone=True) == {"conv": [model.norm] if alone else []}


def test_of_two_norms_none_is_alone():
    model = Between(lambda norm, given: norm(given))
    model.other = nn.BatchNorm2d(4)
    model.code = lambda norm, given: norm(given) + model.other(given)
    assert norms_after(model, ["conv"])["conv"] == [model.norm, model.other]
    assert norms_after(model, ["conv"], alone=True) == {"conv": []}


def test_hooks_of_blocks_are_not_traced():
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    block.register_forward_hook(lambda module, args, output: output if output.any() else None)
    assert norms_after(nn.Sequential(block), ["0.0"]) == {"0.0": [block[1]]}


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_wrapped_models_and_parts_are_looked_into(wrap):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert norms_after(wrap(model), ["0"]) == {"0": [model[1]]}
    part = nn.Sequential(wrap(model), nn.ReLU())
    name = next(name for name, module in part.named_modules() if module is model[0])
    assert norms_after(part, [name]) == {name: [model[1]]}


def branching(norm, given):
    if given.sum() > 0:
        return norm(given)
    return given


def test_an_untraceable_model_says_why():
    with pytest.raises(ValueError, match="symbolically traced variables cannot be used"):
        norms_after(Between(branching), ["conv"])


def test_only_convolutions_and_linear_layers_are_looked_after():
    model = Between(branching)
    model.relu = nn.ReLU()
    assert norms_after(model, ["relu", "norm"]) == {"relu": [], "norm": []}
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4))
    assert norms_after(model, ["1"]) == {"1": []}
