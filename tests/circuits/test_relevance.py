"""Core neurons, against networks changed by hand."""

import copy
import warnings
from typing import ClassVar

import pytest
import torch
from captum.attr import (
    IntegratedGradients,
    LayerConductance,
    LayerDeepLift,
    LayerGradCam,
    LayerGradientXActivation,
)
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum_ssvep import ablated
from captum_ssvep.circuits import Channel, core_neurons
from captum_ssvep.evaluation import margin

pytestmark = pytest.mark.usefixtures("one_thread")

N_IMAGES = 6
IMAGES = torch.randn(N_IMAGES, 3, 8, 8, generator=torch.Generator().manual_seed(3)).double()
LABELS = torch.tensor([0, 2, 1, 1, 0, 2])
DATA = TensorDataset(IMAGES, LABELS)
METHODS = ["ablation", "ig", "activation_gradient", "tagged", LayerConductance]


class Residual(nn.Module):
    """A shortcut around the second convolution, which the layer in front of it feeds."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(5, 5, 3, padding=1)
        self.join = nn.ReLU()
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        out = self.relu(self.first(x))
        out = self.join(self.second(out) + out)
        return self.head(out.mean((2, 3)))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(7)
    return Residual().double().eval()


def find(model, target, layer="relu", data=DATA, **arguments):
    return core_neurons(model, target, layer, data, show_progress=False, **arguments)


def literal(model, images, channel, fill):
    """Margins and the means of `join` with a channel of the layer replaced."""
    out = model.relu(model.first(images)).clone()
    out[:, channel] = fill
    out = (model.second(out) + out).relu()
    logits = model.head(out.mean((2, 3)))
    margins = [margin(logits, torch.full((len(images),), label)) for label in range(3)]
    return torch.stack(margins, 1), out.mean((2, 3))


@pytest.mark.parametrize("baseline", ["mean", "zero"])
@torch.no_grad()
def test_ablation_is_what_targets_lose_without_a_channel(model, baseline):
    targets = [0, 2, Channel("join", 3), ("join", 0), lambda logits: logits[:, 1]]
    core = find(model, targets, baseline=baseline, batch_size=4)
    activations = model.relu(model.first(IMAGES))
    for channel in range(5):
        fill = activations[:, channel].mean() if baseline == "mean" else 0.0
        margins, means = literal(model, IMAGES, channel, fill)
        whole_margins, whole_means = literal(model, IMAGES, channel, activations[:, channel])
        lost = [
            *(whole_margins - margins)[:, [0, 2]].T,
            *(whole_means - means)[:, [3, 0]].T,
        ]
        for row, (target, change) in enumerate(zip(targets[:4], lost, strict=True)):
            if isinstance(target, int):
                own = target == LABELS
                half = (change[own].mean() + change[~own].mean()) / 2
                absolute = (change[own].abs().mean() + change[~own].abs().mean()) / 2
            else:
                half, absolute = change.mean(), change.abs().mean()
            assert core.signed[row, channel].item() == pytest.approx(half.item(), abs=1e-6)
            assert core.absolute[row, channel].item() == pytest.approx(absolute.item(), abs=1e-6)


def test_a_norm_behind_the_layer_is_silent_too_as_in_ablated():
    torch.manual_seed(0)
    chain = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    ).double().eval()  # fmt: skip
    nn.init.normal_(chain[1].bias)
    core = find(chain, lambda out: out[:, 1], "0", baseline="zero")
    for channel in range(4):
        with torch.no_grad(), ablated(chain, {"0": channel}):
            without = chain(IMAGES)[:, 1]
        lost = chain(IMAGES)[:, 1] - without
        assert core.signed[0, channel].item() == pytest.approx(lost.mean().item(), abs=1e-6)


def test_a_function_of_the_output_is_a_target(model):
    one, other = find(model, [lambda out: out[:, 1], lambda out: 3 * out[:, 1]]).signed
    torch.testing.assert_close(3 * one, other)


def test_integrated_gradients_add_up_to_the_change_of_a_target(model):
    core = find(model, [("join", c) for c in range(5)], method="ig", baseline="zero")
    with torch.no_grad():
        whole = literal(model, IMAGES, slice(None), model.relu(model.first(IMAGES)))[1]
        nothing = literal(model, IMAGES, slice(None), 0.0)[1]
    torch.testing.assert_close(
        core.signed.sum(1).double(), (whole - nothing).mean(0), rtol=0.1, atol=0.02
    )


def test_activation_gradient_is_that_of_captum(model):
    core = find(model, ("join", 2), method="activation_gradient", baseline="zero")
    with_captum = find(model, ("join", 2), method=LayerGradientXActivation)
    torch.testing.assert_close(core.absolute, with_captum.absolute)
    inputs = IMAGES.clone()
    out = model.relu(model.first(inputs)).detach().requires_grad_()
    value = model.join(model.second(out) + out).mean((2, 3))[:, 2].sum()
    (gradient,) = torch.autograd.grad(value, out)
    expected = (gradient * out).sum((2, 3)).detach().mean(0, keepdim=True)
    torch.testing.assert_close(core.signed, expected.float())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [1, ("join", 2)])
def test_relevance_does_not_depend_on_the_scale_of_the_layer(model, method, target):
    factors = torch.tensor([3.0, 0.5, 7.0, 1.0, 0.1]).double()
    first, second = (copy.deepcopy(model.get_submodule(name)) for name in ("first", "second"))
    with torch.no_grad():
        first.weight.mul_(factors.view(-1, 1, 1, 1))
        first.bias.mul_(factors)
        second.weight.div_(factors.view(1, -1, 1, 1))
    chain = nn.Sequential(model.first, nn.ReLU(), model.second, nn.ReLU(), *head(model)).eval()
    other = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), *head(model)).eval()
    target = target if target == 1 else ("3", 2)
    one, two = (find(network, target, "1", method=method) for network in (chain, other))
    torch.testing.assert_close(one.absolute, two.absolute)
    torch.testing.assert_close(one.signed, two.signed)


def head(model):
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.head


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("baseline", ["mean", "zero"])
def test_a_dead_channel_has_no_relevance(model, method, baseline):
    dead = Residual().double().eval()
    dead.load_state_dict(model.state_dict())
    with torch.no_grad():
        dead.first.weight[3] = 0
        dead.first.bias[3] = -1
    core = find(dead, [0, ("join", 1)], method=method, baseline=baseline)
    assert core.absolute.isfinite().all()
    assert not core.absolute[:, 3].any()
    assert core.top(5)[:, -1].tolist() == [3, 3]


@pytest.mark.parametrize("method", ["ablation", "activation_gradient"])
def test_batches_loaders_and_other_targets_change_nothing(model, method):
    together = find(model, [0, 1, ("join", 2)], method=method)
    loader = DataLoader(DATA, batch_size=4)
    for row, target in enumerate([0, 1, ("join", 2)]):
        alone = find(model, target, data=loader, method=method)
        torch.testing.assert_close(alone.signed[0], together.signed[row])
        torch.testing.assert_close(alone.absolute[0], together.absolute[row])


def test_without_labels_all_images_count_the_same(model):
    core = find(model, [0], data=TensorDataset(IMAGES))
    margins = find(model, [lambda logits: margin(logits, torch.zeros(N_IMAGES).long())])
    torch.testing.assert_close(core.signed, margins.signed)


def test_images_of_one_class_alone_are_warned_of(model):
    with pytest.warns(UserWarning, match="do not hold both for class 0; mix them"):
        find(model, [0], data=TensorDataset(IMAGES, torch.zeros(N_IMAGES).long()))


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_left_as_it_was(model, method):
    state, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    find(model, [0, ("join", 1)], method=method)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any("forward" in vars(m) for m in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (("first", 0), r"`target` to lie behind `layer` 'relu', but 'first' does not"),
        (("relu", 0), r"'relu' does not"),
        (("join", 5), r"`target` to be a channel of 'join' below 5, but got 5"),
        (3, r"`target` to be a class from 0 to 2, but got 3"),
        ([], "at least one target"),
        (lambda logits: logits, r"one number per image, shape \(6,\), but got shape \(6, 3\)"),
    ],
)
def test_targets_that_cannot_be_read_are_refused(model, target, words):
    with pytest.raises(ValueError, match=words):
        find(model, target)


@pytest.mark.parametrize("method", ["ablation", "activation_gradient"])
def test_an_in_place_relu_behind_a_linear_target_changes_nothing(method):
    torch.manual_seed(0)
    chain = nn.Sequential(
        nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(inplace=True), nn.Linear(6, 3)
    ).eval()
    data = TensorDataset(torch.randn(12, 4), torch.arange(12) % 3)
    alone = find(chain, ("2", 0), "1", data, method=method)
    with_a_class = find(chain, [("2", 0), 1], "1", data, method=method)
    torch.testing.assert_close(alone.absolute[0], with_a_class.absolute[0])


@pytest.mark.parametrize("method", ["ablation", "ig", "activation_gradient"])
def test_half_precision_rounds_what_the_network_computes_alone(model, method):
    """The network itself rounds to a share of 2 ** -8; differences of its targets are not."""
    half = copy.deepcopy(model).bfloat16()
    data = TensorDataset(IMAGES.bfloat16(), LABELS)
    same = TensorDataset(IMAGES.bfloat16().double(), LABELS)
    found = find(half, [0, ("join", 2)], data=data, method=method).signed
    exact = find(copy.deepcopy(half).double(), [0, ("join", 2)], data=same, method=method).signed
    assert ((found - exact).norm(dim=1) < 0.1 * exact.norm(dim=1)).all()


class Counted(LayerConductance):
    """Notes how many images its forward function gets at a time."""

    sizes: ClassVar[list[int]] = []

    def __init__(self, forward, layer):
        def counted(inputs):
            self.sizes.append(len(inputs))
            return forward(inputs)

        super().__init__(counted, layer)


class Coarse(LayerConductance):
    """Fixes arguments as the docstring of `core_neurons` says."""

    def attribute(self, inputs, internal_batch_size=None):
        return super().attribute(inputs, n_steps=4, internal_batch_size=internal_batch_size)


def test_steps_of_a_method_of_captum_run_two_at_a_time(model):
    Counted.sizes.clear()
    few = find(model, 0, method=Counted).signed
    assert max(Counted.sizes) == 2 * N_IMAGES
    at_once = LayerConductance(
        lambda x: margin(model(x), torch.zeros(len(x), dtype=torch.long)), model.relu
    ).attribute(IMAGES)
    expected = at_once.sum((2, 3)).detach()
    is_own = LABELS == 0
    expected = (expected[is_own].mean(0) + expected[~is_own].mean(0)) / 2
    torch.testing.assert_close(few[0], expected.float())


def test_a_subclass_fixes_arguments_of_a_method_of_captum(model):
    coarse, fine = (find(model, 0, method=method).signed for method in (Coarse, LayerConductance))
    assert not torch.allclose(coarse, fine, rtol=1e-4)
    assert torch.corrcoef(torch.cat([coarse, fine]))[0, 1] > 0.9


def test_a_label_of_a_data_set_is_a_target(model):
    core = find(model, LABELS[1])
    assert core.targets == (2,)
    torch.testing.assert_close(core.signed, find(model, 2).signed)
    with pytest.raises(TypeError, match="`target` to be a class"):
        find(model, LABELS)
    with pytest.raises(TypeError, match="`target` to be a class"):
        find(model, torch.tensor(2.0))


@pytest.mark.parametrize("method", [LayerGradCam, IntegratedGradients])
def test_a_method_that_does_not_attribute_to_channels_is_refused(model, method):
    with pytest.raises(ValueError, match="each of 5 channels of 'relu', but got shape"):
        find(model, 0, method=method)


def test_a_layer_is_a_module_or_its_name(model):
    by_module = find(model, 0, model.relu)
    assert by_module.layer == "relu"
    torch.testing.assert_close(by_module.signed, find(model, 0, "relu").signed)


def test_a_model_in_train_mode_and_a_missing_class_are_mentioned_once(model):
    training = copy.deepcopy(model).train()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        find(training, [0, 1, 0], batch_size=2, data=TensorDataset(IMAGES, LABELS * 0 + 1))
    messages = [str(warning.message) for warning in caught]
    assert sum("train mode" in message for message in messages) == 1
    assert sum("for class 0, 1; mix" in message for message in messages) == 1
    assert len(messages) == 2


def test_a_target_that_is_never_called_is_refused_in_words_of_circuits(model):
    class Idle(Residual):
        def __init__(self):
            super().__init__()
            self.idle = nn.Linear(5, 5)

    with pytest.raises(ValueError, match="or the `layer` that is replaced, but 'idle' was not"):
        find(Idle().double().eval(), ("idle", 0))


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_methods_that_rewrite_the_network_run_too():
    torch.manual_seed(0)
    chain = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(5, 3),
    ).double().eval()  # fmt: skip
    by_rescale, by_path = (
        find(chain, 1, "1", method=method).signed for method in (LayerDeepLift, LayerConductance)
    )
    assert torch.corrcoef(torch.cat([by_rescale, by_path]))[0, 1] > 0.99
