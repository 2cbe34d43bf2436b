"""Damage by ablation, against networks without the filter, image by image."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cifar import MEAN, STD, load_resnet, load_test_images
from scipy import stats
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from captum_ssvep import (
    FrequencyTaggingAttribution,
    ablated,
    ablation_damage,
    black,
    interaction_damage,
    score_neurons,
)
from captum_ssvep.evaluation.damage import FilterDamage
from captum_ssvep.evaluation.objectives import loss, margin

pytestmark = pytest.mark.usefixtures("one_thread")

N_IMAGES = 7
IMAGES = torch.randn(N_IMAGES, 3, 8, 10, generator=torch.Generator().manual_seed(3))
LABELS = torch.tensor([0, 2, 1, 1, 0, 2, 2])
DATA = TensorDataset(IMAGES, LABELS)
LAYERS = ["0", "3"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(7)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 5, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 3),
    )
    nn.init.normal_(model[1].bias)
    return model.double().eval()


def without_filter(model, layer, channel):
    damaged = copy.deepcopy(model)
    with torch.no_grad():
        damaged.get_submodule(layer).weight[channel] = 0
        damaged.get_submodule(layer).bias[channel] = 0
        if layer == "0":
            damaged[1].weight[channel] = 0
            damaged[1].bias[channel] = 0
            damaged[1].running_mean[channel] = 0
    return damaged


def log_odds(model, image, label):
    probabilities = model(image[None]).softmax(1)[0]
    return (probabilities[label].log() - (1 - probabilities[label]).log()).item()


def cross_entropy(model, image, label):
    return -model(image[None]).log_softmax(1)[0, label].item()


def measure(function, data=DATA, **arguments):
    images, labels = data.tensors if isinstance(data, TensorDataset) else (None, None)
    if images is not None:
        data = TensorDataset(images.double(), labels)
    return lambda model, layers=LAYERS: function(
        model, data, layers, show_progress=False, **arguments
    )


@pytest.mark.parametrize("objective", [loss, margin])
def test_damage_is_what_the_network_loses_without_the_filter(model, objective):
    literal = {loss: cross_entropy, margin: log_odds}[objective]
    damage = measure(ablation_damage, objective=objective)(model)
    for layer, changes in damage.changes.items():
        expected = [
            [
                literal(without_filter(model, layer, channel), image, label)
                - literal(model, image, label)
                for channel in range(changes.shape[1])
            ]
            for image, label in zip(IMAGES.double(), LABELS, strict=True)
        ]
        np.testing.assert_allclose(changes, expected, atol=1e-10)


@pytest.mark.parametrize("function", [ablation_damage, interaction_damage])
def test_an_objective_gives_one_number_per_image(model, function):
    for objective, got in (
        (nn.CrossEntropyLoss(), r"shape \(\)"),
        (lambda outputs, labels: outputs, r"shape \(\d+, 3\)"),
        (lambda outputs, labels: 0.5, "0.5"),
    ):
        complaint = f"one number per image, shape .*but got {got}; .* takes reduction='none'"
        with pytest.raises(ValueError, match=complaint):
            measure(function, objective=objective)(model)


def test_a_loss_may_be_in_train_mode_and_the_model_may_not(model):
    # Warnings are errors here.
    found = measure(ablation_damage, objective=nn.CrossEntropyLoss(reduction="none"))(model)
    expected = measure(ablation_damage)(model)
    torch.testing.assert_close(found.changes["3"], expected.changes["3"])
    with pytest.warns(UserWarning, match="in train mode"):
        measure(ablation_damage)(copy.deepcopy(model).train())


class Middle(nn.Module):
    """A network with some function of its own between two layers."""

    def __init__(self, function):
        super().__init__()
        self.first, self.function = nn.Conv2d(3, 4, 3), function
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        tokens = self.first(x).flatten(2).mT  # (N, places, channels)
        return self.last(self.function(tokens).mean(1))


DRAWS = {
    "functional dropout": lambda x: F.dropout(x, 0.5),
    "noise": lambda x: x + torch.randn_like(x),
}


@pytest.mark.parametrize("function", [ablation_damage, interaction_damage])
@pytest.mark.parametrize("kind", DRAWS)
def test_a_network_that_draws_random_numbers_warns_once(function, kind):
    network = Middle(DRAWS[kind]).double()
    random = torch.get_rng_state()
    with pytest.warns(UserWarning, match="random numbers, and the damage holds") as caught:
        measure(function, batch_size=4)(network.eval(), ["first"])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert torch.equal(torch.get_rng_state(), random)
    with pytest.warns(UserWarning, match="in train mode") as caught:
        measure(function)(network.train(), ["first"])
    assert len(caught) == 1


@pytest.mark.parametrize("function", [ablation_damage, interaction_damage])
def test_attention_and_dropout_in_eval_mode_draw_nothing(function):
    def attend(x):
        return F.scaled_dot_product_attention(x, x, x)

    # Warnings are errors here.
    for middle in (attend, nn.Dropout(0.5)):
        measure(function, batch_size=4)(Middle(middle).double().eval(), ["first"])


@pytest.mark.parametrize("whole", [bool, int])
def test_whether_the_class_is_right_is_a_judgement(model, whole):
    def right(outputs, labels):
        return (outputs.argmax(1) == labels).to(torch.bool if whole is bool else torch.int64)

    def right_as_float(outputs, labels):
        return right(outputs, labels).float()

    counted, expected = (
        measure(ablation_damage, objective=objective)(model)
        for objective in (right, right_as_float)
    )
    for layer in LAYERS:
        assert torch.equal(counted.signed[layer], expected.signed[layer])


def test_layers_behind_tell_where_filters_are():
    """A single pass that silences them cannot know yet, the whole passes before do."""
    model = nn.Sequential(
        nn.Unflatten(1, (6, 4)), nn.Linear(4, 5), nn.Flatten(), nn.Linear(30, 3)
    ).eval()  # fmt: skip
    batch = torch.rand(3, 24)
    damage = ablation_damage(
        model, TensorDataset(batch, torch.tensor([0, 1, 2])), ["0"], show_progress=False
    )
    assert damage.changes["0"].shape == (3, 4)
    with (
        pytest.raises(ValueError, match="to find where the channels"),
        ablated(model, {"0": 1}),
    ):
        model(batch)


def test_the_loss_is_what_is_damaged_by_default(model):
    first, second = measure(ablation_damage)(model), measure(ablation_damage, objective=loss)(model)
    for layer in LAYERS:
        assert torch.equal(first.changes[layer], second.changes[layer])


@pytest.mark.parametrize("function", [ablation_damage, interaction_damage])
def test_batches_and_loaders_change_nothing(model, function):
    whole = measure(function)(model)
    batches = measure(function, batch_size=3)(model)
    loader = DataLoader(TensorDataset(IMAGES.double(), LABELS), batch_size=2)
    loaded = measure(function, data=loader)(model)
    for layer in LAYERS:
        torch.testing.assert_close(batches.changes[layer], whole.changes[layer])
        torch.testing.assert_close(loaded.changes[layer], whole.changes[layer])


def test_interaction_is_that_of_four_stimuli(model):
    """With a strip that does not flicker, against images made by hand."""
    mask = torch.tensor([0, 0, 0, 0, -1, -1, 1, 1, 1, 1])
    dark, low, high = 0.3, 0.2, 0.9
    damage = measure(interaction_damage, feature_mask=mask, baselines=dark, contrast=(low, high))(
        model
    )

    def margin_at(network, image, label, left, right):
        contrast = torch.tensor([left] * 4 + [1.0] * 2 + [right] * 4, dtype=torch.float64)
        return log_odds(network, dark + contrast * (image - dark), label)

    def change(damaged, image, label, left, right):
        return margin_at(damaged, image, label, left, right) - margin_at(
            model, image, label, left, right
        )

    for layer, changes in damage.changes.items():
        for channel in range(changes.shape[1]):
            damaged = without_filter(model, layer, channel)
            for number, (image, label) in enumerate(zip(IMAGES.double(), LABELS, strict=True)):
                expected = (
                    change(damaged, image, label, high, high)
                    - change(damaged, image, label, high, low)
                    - change(damaged, image, label, low, high)
                    + change(damaged, image, label, low, low)
                )
                assert changes[number, channel].item() == pytest.approx(expected, abs=1e-10)


def test_halves_that_add_up_do_not_interact_and_a_product_does():
    class Halves(nn.Module):
        """Filter 0 adds the means of both halves, filter 1 multiplies them."""

        def __init__(self):
            super().__init__()
            self.filters = nn.Identity()

        def forward(self, x):
            left, right = (half.mean((1, 2, 3)) for half in x.chunk(2, dim=3))
            features = self.filters(torch.stack([left + right, left * right], 1))
            score = features.sum(1)
            return torch.stack([score, torch.zeros_like(score)], 1)

    images = torch.rand(4, 1, 4, 6, dtype=torch.float64)
    labels = torch.zeros(4, dtype=torch.long)
    damage = measure(interaction_damage, data=TensorDataset(images, labels))(
        Halves().eval(), ["filters"]
    )
    left, right = (half.mean((1, 2, 3)) for half in images.chunk(2, dim=3))
    expected = torch.stack([torch.zeros(4).double(), -0.25 * left * right], 1)
    torch.testing.assert_close(damage.changes["filters"], expected)


def test_damage_of_a_network_that_is_pruned_already(model):
    pruned = without_filter(model, "0", 2)
    with ablated(model, {"0": 2}):
        damage = measure(ablation_damage)(model)
    for layer, expected in measure(ablation_damage)(pruned).changes.items():
        torch.testing.assert_close(damage.changes[layer], expected)


@pytest.mark.data
def test_real_filters_are_damaged_as_in_a_loop(cifar_images):
    model = load_resnet(20)
    images, labels = load_test_images(4)
    layer, halves = "layer3.0.relu1", cifar_images[:4].chunk(2, dim=3)
    data = TensorDataset(images, labels)
    damage = ablation_damage(model, data, [layer], show_progress=False)
    interaction = interaction_damage(
        model, data, [layer], baselines=black(MEAN, STD), show_progress=False
    )
    for channel in (0, 17, 63):
        damaged = copy.deepcopy(model)
        norm = damaged.get_submodule("layer3.0.bn1")
        with torch.no_grad():
            norm.weight[channel] = norm.bias[channel] = 0
            expected = F.cross_entropy(damaged(images), labels, reduction="none")
            expected -= F.cross_entropy(model(images), labels, reduction="none")
            together = 0
            for left, right in ((1, 1), (1, 0.5), (0.5, 1), (0.5, 0.5)):
                dark = black(MEAN, STD)
                shown = [dark + c * (h - dark) for c, h in zip((left, right), halves, strict=True)]
                frame = torch.cat(shown, 3)
                change = margin(damaged(frame), labels) - margin(model(frame), labels)
                together += change if left == right else -change
        torch.testing.assert_close(damage.changes[layer][:, channel], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(
            interaction.changes[layer][:, channel], together, atol=1e-4, rtol=0
        )


def test_three_readings():
    damage = FilterDamage({"layer": torch.tensor([[1.0, -2.0, 1.0], [3.0, -4.0, -1.0]])})
    assert damage.signed["layer"].tolist() == [2, -3, 0]
    assert damage.absolute["layer"].tolist() == [2, 3, 0]
    assert damage.mean_absolute["layer"].tolist() == [2, 3, 1]


def test_damage_prints_as_one_line():
    damage = FilterDamage({"a": torch.rand(6, 3), "b": torch.rand(6, 4)})
    assert repr(damage) == "FilterDamage(7 filters, 2 layers, 6 images)"
    damage = FilterDamage({"a": torch.rand(1, 1)})
    assert repr(damage) == "FilterDamage(1 filter, 1 layer, 1 image)"


def test_reliability_is_that_of_halves_stepped_up():
    generator = torch.Generator().manual_seed(1)
    true = torch.randn(40, generator=generator)
    noise = torch.randn(60, 40, generator=generator)
    damage = FilterDamage({"a": true + 3 * noise, "b": true.flip(0) + 9 * noise.flip(1)})
    found = damage.reliability("signed", n_splits=4, seed=11)
    halves = torch.Generator().manual_seed(11)
    correlations = {"a": [], "b": []}
    for _ in range(4):
        order = torch.randperm(60, generator=halves)
        for layer, changes in damage.changes.items():
            first, second = (changes[half].mean(0) for half in (order[:30], order[30:]))
            correlations[layer].append(stats.spearmanr(first, second).statistic)
    for layer, values in correlations.items():
        r = np.mean(values)
        assert found.by_layer[layer] == pytest.approx(2 * r / (1 + r))
    assert found.by_layer["a"] > found.by_layer["b"]
    certain = FilterDamage({"a": true.expand(8, -1)})
    assert certain.reliability("signed").mean == pytest.approx(1)
    # Of pure noise the mean over splits is near zero.
    nothing = FilterDamage({"a": torch.randn(60, 500, generator=generator)})
    assert abs(nothing.reliability("signed").mean) < 0.2
    with pytest.raises(ValueError, match="at least 2 images"):
        FilterDamage({"a": true[None]}).reliability()
    complaint = r"`read` to be one of signed, absolute, mean_absolute, but got 'sign'"
    with pytest.raises(ValueError, match=complaint):
        damage.reliability("sign")


def test_reliability_of_an_order_that_halves_contradict():
    opposite = FilterDamage({"a": torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])})
    assert opposite.reliability("signed").overall == pytest.approx(-1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        noise = FilterDamage({"a": torch.randn(4, 6, generator=generator)})
        assert -1 <= noise.reliability("signed").overall <= 1


class Stream(IterableDataset):
    def __iter__(self):
        return iter(TensorDataset(IMAGES.double(), LABELS))


@pytest.mark.parametrize("function", [ablation_damage, interaction_damage])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # from Python 3.12 on
def test_a_stream_is_gone_through_once(model, function):
    found = measure(function, data=DataLoader(Stream(), batch_size=4))(model)
    for layer, changes in measure(function)(model).changes.items():
        torch.testing.assert_close(found.changes[layer], changes)
    loader = DataLoader(Stream(), batch_size=4, num_workers=2)
    with pytest.raises(ValueError, match="each image once, but several workers"):
        measure(function, data=loader)(model)


OFFLOADED = {
    "to memory": lambda big, model, folder: big.cpu_offload(model, "cpu"),
    "to disk": lambda big, model, folder: big.disk_offload(model, folder, "cpu"),
    "first layer": lambda big, model, folder: big.dispatch_model(
        model,
        {name: "disk" if name == "0" else "cpu" for name, _ in model.named_children()},
        main_device="cpu",
        offload_dir=folder,
    ),
}


@pytest.mark.parametrize("kind", OFFLOADED)
def test_offloaded_parameters_are_no_obstacle(model, tmp_path, kind):
    accelerate = pytest.importorskip("accelerate")
    offloaded = OFFLOADED[kind](accelerate, copy.deepcopy(model), str(tmp_path))
    assert next(offloaded.parameters()).is_meta
    for function in (ablation_damage, interaction_damage):
        found, expected = (measure(function)(m).changes for m in (offloaded, model))
        for layer in LAYERS:
            torch.testing.assert_close(found[layer], expected[layer])
    scores, expected = (
        score_neurons(
            FrequencyTaggingAttribution(m, LAYERS),
            TensorDataset(IMAGES.double()),
            show_progress=False,
        )
        for m in (offloaded, model)
    )
    for layer in LAYERS:
        torch.testing.assert_close(scores.mean[layer], expected.mean[layer])


@pytest.mark.parametrize("function", [ablation_damage, interaction_damage])
def test_bad_data_and_layers_are_refused(model, function):
    with pytest.raises(ValueError, match=r"\(input, label\) pairs for damage"):
        measure(function, data=DataLoader(IMAGES.double(), batch_size=4))(model)
    with pytest.raises(ValueError, match="no '9'"):
        measure(function)(model, ["9"])
    for layers in ("0", [model[0]], ["0", 3]):
        with pytest.raises(TypeError, match="`layers` to be a list of names"):
            measure(function)(model, layers)
    for layers in ([], ["0", "3", "0"]):
        with pytest.raises(ValueError, match="at least one layer and each but once"):
            measure(function)(model, layers)
    empty = TensorDataset(IMAGES[:0], LABELS[:0])
    with pytest.raises(ValueError, match="at least one image"):
        measure(function, data=empty)(model)
    with pytest.raises(TypeError, match="Dataset with a length"):
        function(model, 3, LAYERS)


def test_the_network_and_the_random_state_are_left_alone(model):
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    damage = measure(ablation_damage)(model)
    assert torch.is_grad_enabled()
    assert not any(changes.requires_grad for changes in damage.changes.values())
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert "forward" not in vars(module)


def test_a_progress_bar_counts_layers(model, capsys):
    ablation_damage(model, TensorDataset(IMAGES.double(), LABELS), LAYERS, batch_size=4)
    assert "4/4" in capsys.readouterr().err
