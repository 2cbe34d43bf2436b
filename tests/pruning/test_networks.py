"""Networks without some filters: silenced, masked for good, and both alike."""

import copy

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.nn.utils import prune as torch_prune
from torchvision.ops import FrozenBatchNorm2d

from captum_ssvep import layers_of
from captum_ssvep.pruning import masks_of, prune, pruned

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))


def masks_for(model, layers, ratio=0.3):
    generator = torch.Generator().manual_seed(0)
    sizes = {layer: len(model.get_submodule(layer).weight) for layer in layers}
    scores = {layer: torch.rand(n, generator=generator) for layer, n in sizes.items()}
    return masks_of(scores, ratio=ratio)


@pytest.mark.parametrize(
    "name", ["resnet18", "squeezenet1_1", "mobilenet_v2", "vgg11_bn", "densenet121"]
)
@torch.no_grad()
def test_masked_weights_and_silent_filters_agree(name, with_random_norms):
    model = with_random_norms(torchvision.models.get_model(name))
    masks = masks_for(model, layers_of(model, nn.Conv2d))
    whole = model(IMAGES)
    with pruned(model, masks):
        silent = model(IMAGES)
    assert torch.equal(model(IMAGES), whole)
    masked = prune(copy.deepcopy(model), masks)(IMAGES)
    torch.testing.assert_close(masked, silent, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(silent, whole, rtol=0.01)


@pytest.mark.data
@torch.no_grad()
def test_real_weights_agree(resnet32, cifar_images):
    masks = masks_for(resnet32, [n for n in layers_of(resnet32, nn.Conv2d) if ".conv1" in n])
    with pruned(resnet32, masks):
        silent = resnet32(cifar_images)
    masked = prune(copy.deepcopy(resnet32), masks)(cifar_images)
    torch.testing.assert_close(masked, silent, rtol=1e-5, atol=1e-5)


def test_scale_and_shift_of_the_norm_go_with_the_filter(small_network):
    mask = torch.tensor([True, False, True, True, False, True])
    assert prune(small_network, {"0": mask}) is small_network
    convolution, norm = small_network[:2]
    for parameter in (convolution.weight, convolution.bias, norm.weight, norm.bias):
        assert parameter.reshape(6, -1).any(1).tolist() == mask.tolist()
    assert not small_network[:2](torch.rand(1, 3, 8, 8))[:, ~mask].any()


def test_training_leaves_masked_filters_at_zero(small_network):
    mask = torch.tensor([True, False, True, True, False, True])
    prune(small_network, {"0": mask})
    optimizer = torch.optim.SGD(small_network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        small_network(torch.rand(4, 3, 8, 8)).square().sum().backward()
        optimizer.step()
    small_network(torch.rand(4, 3, 8, 8))
    assert not small_network[0].weight[~mask].any()
    torch_prune.remove(small_network[0], "weight")
    assert isinstance(small_network[0].weight, nn.Parameter)


def test_masks_add_up(small_network):
    first, second = torch.tensor([True, False] * 3), torch.tensor([True, True, False] * 2)
    prune(prune(small_network, {"0": first}), {"0": second})
    silent = ~small_network[0].weight.flatten(1).any(1)
    assert silent.tolist() == (~(first & second)).tolist()


def test_a_norm_can_be_named_itself(small_network):
    mask = torch.tensor([True, False, True, True, False, True])
    images = torch.rand(1, 3, 8, 8)
    with pruned(small_network, {"1": mask}):
        expected = small_network(images)
    torch.testing.assert_close(prune(small_network, {"1": mask})(images), expected)


@pytest.mark.parametrize("groups", [1, 2])
def test_filters_of_transposed_and_grouped_convolutions(groups):
    for kind in (nn.ConvTranspose2d, nn.Conv2d):
        model = nn.Sequential(kind(4, 6, 3, groups=groups))
        mask = torch.tensor([True, False, True, True, False, True])
        images = torch.rand(2, 4, 8, 8)
        with pruned(model, {"0": mask}):
            expected = model(images)
        torch.testing.assert_close(prune(model, {"0": mask})(images), expected)


def test_a_norm_over_tokens_is_left_alone(with_random_norms):
    model = with_random_norms(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(5)))
    mask, tokens = torch.tensor([True, False, True, True]), torch.rand(2, 5, 3)
    with pruned(model, {"0": mask}):
        expected = model(tokens)
    torch.testing.assert_close(prune(model, {"0": mask})(tokens), expected)


def test_a_norm_after_what_hands_on_the_same_tensor_is_masked_as_silenced(
    with_random_norms,
):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.dropout = nn.Conv2d(3, 4, 3), nn.Dropout2d()
            self.norm = nn.BatchNorm2d(4)

        def forward(self, x):
            given = F.dropout(self.dropout(self.conv(x)), training=False)
            return self.norm(input=given.contiguous().to(torch.float32))

    model = with_random_norms(Model())
    with pruned(model, {"conv": FOUR}):
        expected = model(IMAGES)
    assert not expected[:, 1].any()
    torch.testing.assert_close(prune(model, {"conv": FOUR})(IMAGES), expected)


@pytest.mark.parametrize(("channel_dim", "shape"), [(1, (2, 3)), (-1, (2, 4, 3))])
def test_whether_a_norm_is_over_tokens_has_to_be_told(channel_dim, shape, with_random_norms):
    model = with_random_norms(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
    values = torch.rand(shape)
    with pruned(model, {"0": FOUR}, channel_dim=channel_dim):
        expected = model(values)
    with pytest.raises(ValueError, match=r"`channel_dim` to say whether .* for layer '0'"):
        prune(model, {"0": FOUR})
    pruned_for_good = prune(model, {"0": FOUR}, channel_dim=channel_dim)
    torch.testing.assert_close(pruned_for_good(values), expected)


def test_channels_can_be_told():
    class Swapped(nn.Module):
        def forward(self, x):
            return x.transpose(1, 2)

    values = torch.rand(2, 3, 4) + 1
    model = nn.Sequential(Swapped())
    with pruned(model, {"0": FOUR}, channel_dim=1):
        assert (model(values) == 0).all((0, 2)).tolist() == (~FOUR).tolist()


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True)])
def test_other_norms_send_a_constant_unless_they_are_named_as_well(norm):
    nn.init.ones_(norm.bias)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), norm).eval()
    with pruned(model, {"0": FOUR}):
        assert model(IMAGES)[:, 1].any()
    with pruned(model, {"0": FOUR, "1": FOUR}):
        assert not model(IMAGES)[:, 1].any()
    assert prune(copy.deepcopy(model), {"0": FOUR})(IMAGES)[:, 1].any()


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.conv(x)) if x.sum() > 0 else x


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.first(x)) + self.norm(self.second(x))


FOUR = torch.tensor([True, False, True, True])


@pytest.mark.parametrize(
    ("model", "masks", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3)), {"1": FOUR}, "has no '1'"),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), {"0": FOUR[:3]}, "each of the 4 filters of layer '0'"),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), {"0": ~FOUR[:1]}, "none that is kept for layer '0'"),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), {"0": FOUR[None]}, r"shape \(1, 4\) for layer '0'"),
    ],
)
def test_masks_that_do_not_fit_are_refused(model, masks, message):
    for act in (prune, pruned):
        with pytest.raises(ValueError, match=message):
            act(model, masks)


@pytest.mark.parametrize(
    ("model", "layer", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "1", "'1' is a ReLU without"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)), "0", "'1' is a Batch"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), FrozenBatchNorm2d(4)), "0", "'1' is a Frozen"),
        (Untraceable(), "conv", "name the BatchNorms instead"),
        (Shared(), "first", "'norm' is called several times"),
    ],
)
def test_what_cannot_be_masked_is_named_and_nothing_is_changed(model, layer, message):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        prune(model, {layer: FOUR})
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before | after)


def test_an_untraceable_network_is_pruned_at_its_norm(with_random_norms):
    model = with_random_norms(Untraceable())
    assert not prune(model, {"norm": FOUR})(torch.ones(1, 3, 8, 8))[:, 1].any()


def test_masks_have_to_be_boolean():
    with pytest.raises(TypeError, match="boolean tensors"):
        prune(nn.Sequential(nn.Linear(3, 4)), {"0": torch.tensor([1, 0, 1, 1])})
