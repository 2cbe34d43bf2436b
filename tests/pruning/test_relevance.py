"""The score for pruning, against a literal version of its formula."""

import copy

import cifar
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import ChebyshevGrid, halves, layers_of
from captum_ssvep.evaluation import margin
from captum_ssvep.pruning import (
    pruned,
    pruning_curve,
    random_scores,
    score_for_pruning,
)

pytestmark = pytest.mark.usefixtures("one_thread")

GENERATOR = torch.Generator().manual_seed(3)
IMAGES = torch.randn(3, 3, 8, 8, generator=GENERATOR)
LABELS = torch.tensor([4, 0, 2])
DATA = TensorDataset(IMAGES, LABELS)


def contribution(model, split, images, labels):
    """Activation behind module `split` times the gradient of the margin, summed over space."""
    with torch.no_grad():
        activation = model[: split + 1](images)
    activation.requires_grad_()
    margin(model[split + 1 :](activation), labels).sum().backward()
    return (activation.detach() * activation.grad).sum((2, 3))


@pytest.mark.parametrize(("layer", "read_at"), [("0", 1), ("1", 1), ("3", 3)])
def test_the_score_is_the_mean_over_frames_and_images(small_network, layer, read_at):
    design = ChebyshevGrid(nodes=3, contrast=(0.2, 0.9))
    mask = halves(IMAGES.shape)
    frames = [
        torch.where(mask == 0, float(left), float(right)) * (IMAGES - 0.5) + 0.5
        for left, right in design.contrasts
    ]
    found = score_for_pruning(
        small_network, DATA, [layer], design=design, baselines=0.5, show_progress=False
    )
    expected = [contribution(small_network, read_at, frame, LABELS) for frame in frames]
    torch.testing.assert_close(found[layer], expected_score(expected))


def expected_score(by_frame):
    return torch.stack(by_frame).double().abs().mean((0, 1))


def test_images_alone(small_network):
    found = score_for_pruning(small_network, DATA, ["3"], design=None, show_progress=False)
    expected = contribution(small_network, 3, IMAGES, LABELS)
    torch.testing.assert_close(found["3"], expected_score([expected]))


def test_a_relu_in_place_does_not_matter(with_random_norms):
    images = torch.randn(2, 3, 32, 32, generator=GENERATOR)
    data = TensorDataset(images, torch.tensor([1, 2]))
    model = with_random_norms(torchvision.models.resnet18(num_classes=5))
    plain = copy.deepcopy(model)
    for module in plain.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    layers = layers_of(model, nn.Conv2d)
    one, other = (score_for_pruning(m, data, layers, show_progress=False) for m in (model, plain))
    for layer in layers:
        torch.testing.assert_close(one[layer], other[layer])
    # Behind the norm or behind the ReLU: activation x gradient is the same.
    behind = score_for_pruning(model, data, ["layer1.0.bn1"], show_progress=False)
    torch.testing.assert_close(behind["layer1.0.bn1"], one["layer1.0.conv1"])


def test_batches_do_not_matter_and_the_model_is_as_before(small_network):
    small_network.zero_grad()
    before = copy.deepcopy(small_network.state_dict())
    one, other = (
        score_for_pruning(small_network, DATA, ["0", "3"], batch_size=n, show_progress=False)
        for n in (1, 3)
    )
    for layer in ("0", "3"):
        torch.testing.assert_close(one[layer], other[layer])
    assert all(torch.equal(v, before[n]) for n, v in small_network.state_dict().items())
    assert all(parameter.grad is None for parameter in small_network.parameters())
    assert not any(module._forward_hooks for module in small_network.modules())


def test_silent_filters_have_no_score(small_network):
    mask = torch.tensor([True, False, True, True, False, True])
    with pruned(small_network, {"0": mask}):
        scores = score_for_pruning(small_network, DATA, ["0"], show_progress=False)
    assert not scores["0"][~mask].any()
    assert scores["0"][mask].all()


def test_a_layer_whose_output_goes_elsewhere_too_is_read_itself(with_random_norms):
    class Shortcut(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
            self.head = nn.Linear(6, 5)

        def behind(self, given):
            return self.head((self.norm(given).relu() + given).mean((2, 3)))

        def forward(self, x):
            return self.behind(self.stem(x))

    model = with_random_norms(Shortcut())
    found = score_for_pruning(model, DATA, ["stem"], design=None, show_progress=False)
    given = model.stem(IMAGES).detach().requires_grad_()
    margin(model.behind(given), LABELS).sum().backward()
    torch.testing.assert_close(
        found["stem"], expected_score([(given.detach() * given.grad).sum((2, 3))])
    )


def test_a_linear_layer_that_gives_tokens_is_read_itself(with_random_norms):
    model = with_random_norms(
        nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(16, 5))
    )
    tokens = torch.randn(3, 4, 8, generator=GENERATOR)
    data = TensorDataset(tokens, LABELS)
    found = score_for_pruning(model, data, ["0"], design=None, show_progress=False)
    given = model[0](tokens).detach().requires_grad_()
    margin(model[1:](given), LABELS).sum().backward()
    torch.testing.assert_close(found["0"], expected_score([(given.detach() * given.grad).sum(1)]))


def test_blocks_can_be_silent_meanwhile(small_network):
    model = nn.Sequential(small_network[:3], small_network[3:])
    mask = torch.tensor([True, False, True, True, False, True])
    with pruned(model, {"0": mask}):
        scores = score_for_pruning(model, DATA, ["0.0"], show_progress=False)["0.0"]
    assert (scores > 0).tolist() == mask.tolist()


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_wrappers_do_not_matter(wrap, small_network):
    expected = score_for_pruning(small_network, DATA, ["0"], show_progress=False)
    found = score_for_pruning(wrap(small_network), DATA, ["0"], show_progress=False)
    torch.testing.assert_close(found["0"], expected["0"])


class Odd(nn.Module):
    """Branches on its input, draws, calls a layer twice, and does not use what another gives."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU()
        self.unused = nn.ReLU()

    def forward(self, x):
        self.unused(x)
        if x.isnan().any():
            return x
        given = F.dropout(self.relu(self.norm(self.relu(self.conv(x)))), training=True)
        return given.mean((2, 3))


def test_other_layers_of_untraceable_networks_can_be_scored_at_their_last_call():
    with pytest.warns(UserWarning, match="'relu' is called 2 times .* only the last call"):
        scores = score_for_pruning(Odd().eval(), DATA, ["relu"], channel_dim=1, show_progress=False)
    assert scores["relu"].shape == (5,)


def test_random_generators_are_put_back():
    model = Odd().eval()
    before = torch.get_rng_state()
    score_for_pruning(model, DATA, ["norm"], show_progress=False)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("unused", "depend on all of the layers 'unused'"),
        ("conv", "it cannot .*; name the BatchNorms"),
    ],
)
def test_layers_that_cannot_be_scored_are_named(layer, message):
    with pytest.raises(ValueError, match=message):
        score_for_pruning(Odd().eval(), DATA, [layer], show_progress=False)


def test_layers_have_to_be_called(small_network):
    small_network[7].idle = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"called in the forward pass, but '7.idle' never was"):
        score_for_pruning(small_network, DATA, ["7.idle"], show_progress=False)


def test_there_have_to_be_gradients(small_network):
    with torch.inference_mode(), pytest.raises(ValueError, match="Expected gradients"):
        score_for_pruning(small_network, DATA, ["0"], show_progress=False)
    with torch.no_grad():
        assert score_for_pruning(small_network, DATA, ["0"], show_progress=False)["0"].any()


@pytest.mark.parametrize(
    ("layers", "arguments", "error", "message"),
    [
        (["9"], {}, ValueError, "has no '9'"),
        ([], {}, ValueError, "at least one layer"),
        ("0", {}, TypeError, "list of names"),
        (["0"], {"design": "grid"}, TypeError, "`design` to be a design"),
        (["0"], {"data": TensorDataset(IMAGES)}, ValueError, "pairs for the margin"),
        (["0"], {"data": TensorDataset(IMAGES[:0], LABELS[:0])}, ValueError, "at least one image"),
        (["0"], {"data": TensorDataset(IMAGES, LABELS + 5)}, ValueError, "labels from 0 to 4"),
    ],
)
def test_bad_arguments_are_named(small_network, layers, arguments, error, message):
    data = arguments.pop("data", DATA)
    with pytest.raises(error, match=message):
        score_for_pruning(small_network, data, layers, show_progress=False, **arguments)


@pytest.mark.data
@pytest.mark.slow
def test_a_real_network_keeps_far_more_than_at_random_and_less_if_the_best_go(resnet32):
    images, labels = cifar.load_test_images(260)
    scored = TensorDataset(images[:60], labels[:60])
    judged = TensorDataset(images[60:], labels[60:])
    layers = [name for name in layers_of(resnet32, nn.Conv2d) if ".conv1" in name]
    scores = score_for_pruning(resnet32, scored, layers, show_progress=False)
    relevance, random, best_first = (
        pruning_curve(resnet32, of, judged, [0.3], order=order, show_progress=False).accuracy[0]
        for of, order in (
            (scores, "lowest"),
            (random_scores(scores), "lowest"),
            (scores, "highest"),
        )
    )
    assert relevance > random + 0.3
    assert best_first < random + 0.05
