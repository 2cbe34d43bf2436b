"""FrequencyTaggingLoss against tagging itself, literal formulas and finite differences."""

import copy
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    TaggedSpectrum,
    TaggingDesign,
    TwoLevelDesign,
    halves,
    tiles,
)
from captum_ssvep.losses import FrequencyTaggingLoss, Profile, Share

pytestmark = pytest.mark.usefixtures("one_thread")

CORNERS = TwoLevelDesign(2)
BINDING = Share((0, 1), at_most=0.0)
LABELS = torch.tensor([0, 1, 2, 0, 1])


def network(dtype=torch.float64, inplace=False):
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=inplace),
        nn.Conv2d(4, 5, 3),
        nn.Softplus(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(5, 3),
    )
    nn.init.normal_(model[1].bias)
    return model.to(dtype).eval()


def pictures(dtype=torch.float64):
    return torch.randn(5, 3, 7, 8, generator=torch.Generator().manual_seed(1), dtype=dtype)


def loss_of(model, layer="4", *, design=CORNERS, objective=BINDING, **options):
    return FrequencyTaggingLoss(model, layer, design=design, objective=objective, **options)


def gradients(model, value):
    return torch.autograd.grad(value, [*model.parameters()], allow_unused=True)


def assert_equal_gradients(found, expected, rtol=1e-9):
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=rtol, atol=rtol * 1e-2)


def corners_share(model, images, baseline=0.0):
    """The share of the interaction of the halves in channel means, from four forward passes."""
    answers = {}
    for left in (0, 1):
        for right in (0, 1):
            shown = images.clone()
            shown[..., :4] = shown[..., :4] if left else baseline
            shown[..., 4:] = shown[..., 4:] if right else baseline
            answers[left, right] = model[:5](shown).mean(dim=(2, 3))
    together = (answers[1, 1] - answers[1, 0] - answers[0, 1] + answers[0, 0]) / 4
    variance = torch.stack([*answers.values()]).var(dim=0, correction=0)
    return together.square().sum() / variance.sum()


@pytest.mark.parametrize("per_pass", [None, 1, 3])
@pytest.mark.parametrize("pooling", [None, "channel", lambda x: x.amax((2, 3))])
@pytest.mark.parametrize(
    "design",
    [CORNERS, ChebyshevGrid(2, nodes=4), TaggingDesign(), TwoLevelDesign(4, max_order=2)],
    ids=str,
)
def test_the_spectrum_is_that_of_tagging(design, pooling, per_pass):
    model, images = network(torch.float32), pictures(torch.float32)
    mask = tiles(images.shape, 2, 2) if design.n_parts == 4 else halves(images.shape)
    loss = loss_of(
        model,
        design=design,
        objective=lambda spectrum: spectrum.mean.mean(),
        pooling=pooling,
        perturbations_per_eval=per_pass,
    )
    (found,) = loss.spectra(images, 0.3, feature_mask=mask)
    tagging = FrequencyTaggingAttribution(model, "4")
    expected = tagging.spectrum(images, 0.3, feature_mask=mask, design=design, pooling=pooling)
    assert found.components == expected.components
    scale = 1e-6 * expected.lines.abs().max().item()
    torch.testing.assert_close(found.lines.detach(), expected.lines, rtol=1e-6, atol=scale)
    torch.testing.assert_close(found.variance.detach(), expected.variance, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.mean.detach(), expected.mean, rtol=1e-6, atol=1e-6)
    assert found.lines.requires_grad
    assert not found.floor.requires_grad


def test_share_and_gradients_are_those_of_the_four_corners():
    model, images = network(), pictures()
    value = loss_of(model, pooling="channel")(images, 0.3)
    expected = corners_share(model, images, 0.3)
    torch.testing.assert_close(value, expected)
    assert_equal_gradients(gradients(model, value), gradients(model, expected))


OBJECTIVES = {
    "lower the interaction": BINDING,
    "raise the interaction": Share((0, 1), at_least=1.0),
    "keep it above a band": Share((0, 1), at_least=0.9, at_most=0.95),
    "keep it below a band": Share((0, 1), at_least=1e-6, at_most=2e-6),
    "one part alone": Share(1, at_least=1.0),
    "all interactions": Share("intermodulations", at_most=0.0),
    "a mapping": Profile({(1, 0): 1.0, (0, 1): 2.0, (1, 1): 0.5}),
    "a vector": Profile([1.0, 2.0, 0.5]),
    "their own, of shares": lambda spectrum: spectrum.interaction((0, 1)).mean(),
    "their own, of effects": lambda spectrum: spectrum.interaction_effect((0, 1)).square().mean(),
}


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
@pytest.mark.parametrize("pooling", [None, "channel"])
def test_gradients_are_those_of_finite_differences(objective, pooling):
    model, images = network(), pictures()[:2]
    model[2] = nn.Tanh()  # smooth
    loss = loss_of(model, "3", objective=objective, pooling=pooling)
    read = [*model[:4].parameters()]
    assert torch.autograd.gradcheck(lambda *_: loss(images, 0.3), read, fast_mode=True)
    assert loss(images, 0.3) != 0  # not where nothing changes


def test_gradients_of_a_design_in_time_are_those_of_finite_differences():
    model, images = network(), pictures()[:1]
    model[2] = nn.Tanh()
    profile = Profile({"f1": 1.0, "2f1": 0.5, "f1 - f2": 1.0})
    loss = loss_of(model, "3", design=TaggingDesign(), objective=profile, pooling="channel")
    read = [*model[:4].parameters()]
    assert torch.autograd.gradcheck(lambda *_: loss(images, 0.3), read, fast_mode=True)


@pytest.mark.parametrize("objective", [BINDING, Share(0, at_least=1.0), Profile([1.0, 1.0, 0.0])])
@pytest.mark.parametrize("dead", ["one channel", "all"])
def test_silent_channels_get_finite_gradients(objective, dead):
    model = network(torch.float32)
    with torch.no_grad():
        kept = slice(0, 1) if dead == "one channel" else slice(None)
        model[3].weight[kept] = 0
    value = loss_of(model, objective=objective, pooling="channel")(pictures(torch.float32))
    found = [gradient for gradient in gradients(model, value) if gradient is not None]
    assert value.isfinite()
    assert all(gradient.isfinite().all() for gradient in found)
    if dead == "all":
        assert value == (0 if objective is BINDING else 1)
        assert not any(gradient.any() for gradient in found)


def test_a_silent_channel_counts_nothing():
    model, images = network(), pictures()
    without = copy.deepcopy(model)
    without[3] = nn.Conv2d(4, 4, 3).double()
    without[3].weight.data, without[3].bias.data = model[3].weight[1:], model[3].bias[1:]
    with torch.no_grad():
        model[3].weight[0] = 0
    whole, part = (loss_of(each, "3", pooling="channel")(images) for each in (model, without[:4]))
    torch.testing.assert_close(whole, part)


def state(model):
    flags = [module.training for module in model.modules()]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    generators = random.getstate()[1], np.random.get_state()[1].tolist()  # noqa: NPY002
    hooks = [len(module._forward_hooks) for module in model.modules()]
    return flags, hooks, generators, buffers, torch.get_rng_state()


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("training", [False, True])
def test_nothing_is_left_in_the_model(mode, training, checkpoint):
    model = network().train(training)
    model[3].eval()
    before = state(model)
    value = loss_of(model, ["4", "7"], mode=mode, checkpoint=checkpoint)(pictures())
    value.backward()
    torch.testing.assert_close(state(model), before, rtol=0, atol=0)


def test_nothing_is_left_in_a_model_that_fails():
    calls = []

    class Failing(nn.Module):
        def forward(self, x):
            calls.append(len(x))
            if len(x) > 2:  # not in the pass that only looks at the layers
                raise RuntimeError("out of luck")
            return x

    model = network().train()
    model.insert(0, Failing())
    before = state(model)
    with pytest.raises(RuntimeError, match="out of luck"):
        loss_of(model, "5", mode="train")(pictures())
    assert calls == [2, 20]
    torch.testing.assert_close(state(model), before, rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["eval", "train", "update"])
@pytest.mark.parametrize("first", ["task", "tagging"])
def test_gradients_of_a_step_are_the_sum_of_both(mode, first):
    images = pictures()

    def step(model, parts):
        model.train()
        model[7].eval()
        values = {
            "task": lambda: F.cross_entropy(model(images), LABELS),
            "tagging": lambda: loss_of(model, mode=mode)(images, 0.3),
        }
        sum(values[part]() for part in parts).backward()
        return [parameter.grad for parameter in model.parameters()]

    parts = [first, *{"task", "tagging"} - {first}]
    both = step(network(), parts)
    if mode == "eval":  # the second sees the running statistics that the first left
        alone = [step(network(), [first])]
        model = network().train()
        if first == "task":
            model(images)
        alone.append(step(model, parts[1:]))
        expected = [
            sum(g for g in pair if g is not None) if any(g is not None for g in pair) else None
            for pair in zip(*alone, strict=True)
        ]
        assert_equal_gradients(both, expected)
    assert all(gradient.isfinite().all() for gradient in both)


def test_batch_statistics_are_those_of_all_rows_of_a_pass():
    model, images = network().train(), pictures()
    model[7].eval()
    loss = loss_of(model, "1", mode="train", objective=lambda spectrum: spectrum.mean.mean())
    (found,) = loss.spectra(images)
    frames = [images.clone() for _ in range(4)]
    for frame, (left, right) in zip(frames, [(1, 1), (0, 1), (1, 0), (0, 0)], strict=True):
        frame[..., :4] *= left
        frame[..., 4:] *= right
    answers = copy.deepcopy(model[:2])(torch.cat(frames)).unflatten(0, (4, 5))
    torch.testing.assert_close(found.mean, answers.mean(dim=0))
    torch.testing.assert_close(found.variance, answers.var(dim=0, correction=0))


def test_running_statistics_take_in_frames_only_if_asked_to():
    images = pictures()
    left, updated = {}, None
    for mode in ("eval", "train", "update"):
        model = network().train()
        loss_of(model, "1", mode=mode)(images)
        left[mode], updated = copy.deepcopy(model[1]), model
    fresh = network()[1]
    for mode in ("eval", "train"):
        assert torch.equal(left[mode].running_mean, fresh.running_mean)
        assert left[mode].num_batches_tracked == fresh.num_batches_tracked
    assert left["update"].num_batches_tracked == fresh.num_batches_tracked + 1
    assert not torch.equal(left["update"].running_mean, fresh.running_mean)
    assert updated[1].running_mean is dict(updated.named_buffers())["1.running_mean"]


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("per_pass", [None, 1])
@pytest.mark.parametrize("layer", ["0", "4", ["1", "7"]])
def test_checkpointing_changes_no_number(layer, per_pass, mode):
    images, found = pictures(), []
    for checkpoint in (False, True):
        model = network().train()
        torch.manual_seed(5)
        options = {"mode": mode, "perturbations_per_eval": per_pass, "checkpoint": checkpoint}
        value = loss_of(model, layer, **options)(images, 0.3)
        found.append([value, *gradients(model, value)])
    assert_equal_gradients(*found)


def bytes_kept(model, images, **options):
    """Bytes that the graph of a loss keeps, apart from what checkpointing computes again."""
    kept = {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss_of(model, "4", pooling="channel", **options)(images)
    return sum(kept.values())


def test_checkpointing_keeps_less():
    model, images = network(), torch.randn(5, 3, 32, 32, dtype=torch.float64)
    plain = bytes_kept(model, images)
    assert bytes_kept(model, images, perturbations_per_eval=1, checkpoint=True) < 0.4 * plain


@pytest.mark.parametrize("checkpoint", [False, True])
def test_autocast_is_for_the_network_alone(checkpoint):
    model, images = network(torch.float32), pictures(torch.float32)
    seen = []

    def objective(spectrum):
        table = spectrum.corners((0, 1))  # a product of matrices, which autocast would round
        seen.append((table.dtype, torch.is_autocast_enabled("cpu")))
        return BINDING(spectrum)

    loss = loss_of(model, objective=objective, pooling="channel", checkpoint=checkpoint)
    exact = loss(images)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(images)
    value.backward()
    assert seen == [(torch.float32, False)] * 2
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, exact, rtol=0.2, atol=0.01)
    assert not torch.equal(value, exact)
    assert model[0].weight.grad.isfinite().all()


def test_the_loss_of_several_layers_is_their_mean():
    model, images = network(), pictures()
    raised = Share((0, 1), at_least=1.0)
    single = [loss_of(model, "1")(images), loss_of(model, "4", objective=raised)(images)]
    both = loss_of(model, ["1", model[4]], objective=[BINDING, raised])(images)
    torch.testing.assert_close(both, (single[0] + single[1]) / 2)
    shared = loss_of(model, ["1", "4"])(images)
    torch.testing.assert_close(shared, (single[0] + loss_of(model, "4")(images)) / 2)


def test_operations_in_place_behind_a_layer_change_nothing():
    images = pictures()
    for layer in ("1", ["1", "4"]):
        values = []
        for inplace in (False, True):
            model = network(inplace=inplace)
            value = loss_of(model, layer)(images, 0.3)
            values.append([value, *gradients(model, value)])
        assert_equal_gradients(*values)


def test_arguments_of_the_model_are_repeated_for_every_frame():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, images, factors):
            return self.inner(images * factors[:, None, None, None])

    model, images, factors = Scaled(), pictures(), torch.arange(1.0, 6).double()
    found = loss_of(model, "inner.4")(images, additional_forward_args=factors)
    expected = loss_of(model.inner, "4")(images * factors[:, None, None, None])
    torch.testing.assert_close(found, expected)


def test_without_gradients_it_is_a_number():
    model = network()
    with torch.no_grad():
        value = loss_of(model)(pictures())
    assert not value.requires_grad
    assert value.shape == ()


def test_inputs_get_gradients():
    images = pictures().requires_grad_()
    loss_of(network())(images, 0.3).backward()
    assert images.grad.abs().amax(dim=(1, 2, 3)).gt(0).all()


@pytest.mark.parametrize(("objective", "sign"), [(BINDING, -1), (Share((0, 1), at_least=1.0), 1)])
def test_training_moves_the_share_in_the_wanted_direction(objective, sign):
    model, images = network().train(), pictures()
    loss = loss_of(model, objective=objective, pooling="channel")
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    before = corners_share(copy.deepcopy(model).eval(), images)
    for _ in range(20):
        optimizer.zero_grad()
        loss(images).backward()
        optimizer.step()
    after = corners_share(model.eval(), images)
    assert sign * (after - before) > 0.3 * before


def test_lazy_modules_learn_their_sizes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU()).double().train()
    loss_of(model, "2")(pictures()).backward()
    assert model[0].weight.grad.isfinite().all()
    assert model[1].num_batches_tracked == 0


def test_compiled_networks_are_read_as_plain_python():
    model, images = network(), pictures()
    expected = loss_of(model)(images)
    torch.testing.assert_close(loss_of(torch.compile(model, backend="eager"))(images), expected)


REFUSED = {
    "no layer of the model": (
        lambda model: loss_of(model, "layer3"),
        "`layer` to name a module of the model, but it has no 'layer3'",
    ),
    "a design of one part": (
        lambda model: loss_of(model, design=TaggingDesign((6.0,))),
        r"`parts` with components among those of the loss, but got \(0, 1\)",
    ),
    "fundamentals alone": (
        lambda model: loss_of(model, components="fundamentals"),
        "components='all' to an order of at least their number",
    ),
    "an unknown part": (
        lambda model: loss_of(model, objective=Share(2, at_most=0.1)),
        "`parts` with components among those of the loss, but got 2",
    ),
    "too short a profile": (
        lambda model: loss_of(model, objective=Profile([1.0, 1.0])),
        "`target` to hold one amplitude for each component of the loss, f1, f2, f1 \\+ f2, but got "
        "2 for 3",
    ),
    "a profile with harmonics on two levels": (
        lambda model: loss_of(model, objective=Profile({"2f1": 1.0, "f1": 1.0})),
        "`target` with components of the loss, but got 2f1 for f1, f2, f1 \\+ f2 of two-level",
    ),
    "a profile whose components collide": (
        lambda model: loss_of(
            model,
            design=TaggingDesign(),
            components=[(1, 0), (5, -4)],
            objective=Profile({"f1": 1.0, "5f1 - 4f2": 1.0}),
        ),
        "components that the design can tell apart, but 5f1 - 4f2 lies on the line of the mean",
    ),
    "an objective per layer too many": (
        lambda model: loss_of(model, ["1", "4"], objective=[BINDING] * 3),
        "`objective` to be one for all layers or one for each of 2, but got 3",
    ),
    "no objective": (
        lambda model: loss_of(model, objective="binding"),
        "`objective` to be a `Share`, a `Profile` or a function",
    ),
    "an objective of many numbers": (
        lambda model: loss_of(model, objective=TaggedSpectrum.snr.__get__)(pictures()),
        "`objective` to give one floating number as a tensor",
    ),
    "no design": (
        lambda model: loss_of(model, design=None),
        r"`design` to be a design, as `TwoLevelDesign\(2\)`, but got None",
    ),
    "an unknown mode": (
        lambda model: loss_of(model, mode="test"),
        "`mode` to be one of eval, train, update, but got 'test'",
    ),
    "a function for a model": (
        lambda model: loss_of(lambda x: model(x)),
        "`model` to be a module",
    ),
    "parts that the design lacks": (
        lambda model: loss_of(model)(pictures(), feature_mask=tiles((5, 3, 7, 8), 2, 2)),
        r"`feature_mask`.*ids \[2, 3\]",
    ),
}


@pytest.mark.filterwarnings("ignore:Components share a line")
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(case):
    call, words = REFUSED[case]
    with pytest.raises((ValueError, TypeError), match=words):
        call(network())


@pytest.mark.parametrize(
    "objective",
    [Share((0, 1), at_most=0.0), Profile({"f1": 1.0, "f2": 1.0, "f1 + f2": 0.5})],
    ids=["share", "profile"],
)
def test_in_bfloat16_the_gradient_is_that_of_single_precision(objective):
    torch.manual_seed(0)
    images = torch.randn(8, 3, 16, 16)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU())
    loss = FrequencyTaggingLoss(model, "3", design=ChebyshevGrid(nodes=3), objective=objective)
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = loss(images)
        value.backward()
        gradients.append(model[0].weight.grad.clone())
    single, half = gradients
    assert single.norm() > 0
    assert (single - half).norm() < 0.2 * single.norm()


def test_a_loss_without_gradient_is_told():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).requires_grad_(False)
    loss = FrequencyTaggingLoss(
        model, "1", design=TwoLevelDesign(2), objective=Share((0, 1), at_most=0.0)
    )
    with pytest.warns(UserWarning, match="The loss has no gradient"):
        loss(torch.rand(2, 3, 8, 8))
