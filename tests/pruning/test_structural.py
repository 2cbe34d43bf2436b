"""Filters removed by Torch-Pruning."""

import builtins
import copy

import pytest
import torch
import torch_pruning
import torchvision
from torch import nn

from captum_ssvep import layers_of
from captum_ssvep.pruning import FrequencyTaggingImportance, masks_of, pruned

pytestmark = pytest.mark.usefixtures("one_thread")

REMOVERS = (
    torch_pruning.prune_conv_out_channels,
    torch_pruning.prune_depthwise_conv_out_channels,
    torch_pruning.prune_batchnorm_out_channels,
)


def random_scores(model, layers):
    generator = torch.Generator().manual_seed(0)
    sizes = {layer: len(model.get_submodule(layer).weight) for layer in layers}
    return {layer: torch.rand(n, generator=generator) for layer, n in sizes.items()}


def removal(model, images, scores, ratio=0.25, normalize=None, **arguments):
    """A smaller copy of a model, and masks of what was removed."""
    smaller = copy.deepcopy(model)
    names = {module: name for name, module in smaller.named_modules()}
    importance = FrequencyTaggingImportance(smaller, scores, normalize=normalize)
    pruner = torch_pruning.pruner.BasePruner(
        smaller, images, importance, pruning_ratio=ratio, **arguments
    )
    masks = {}
    for group in pruner.step(interactive=True):
        for item in group:
            if item.dep.handler in REMOVERS:
                name = names[item.dep.target.module]
                whole = torch.ones(len(model.get_submodule(name).weight), dtype=torch.bool)
                masks.setdefault(name, whole)[item.idxs] = False
        group.prune()
    return smaller, masks


def assert_smaller_and_equal(model, smaller, masks, images):
    macs, parameters = torch_pruning.utils.count_ops_and_params(model, images)
    fewer_macs, fewer_parameters = torch_pruning.utils.count_ops_and_params(smaller, images)
    assert fewer_macs < 0.9 * macs
    assert fewer_parameters < 0.9 * parameters
    with torch.no_grad(), pruned(model, masks):
        expected = model(images)
    torch.testing.assert_close(smaller(images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_removed_and_silent_filters_agree(name, together, with_random_norms):
    model = with_random_norms(torchvision.models.get_model(name))
    images = torch.randn(1, 3, 64, 64)
    scores = random_scores(model, layers_of(model, nn.Conv2d))
    smaller, masks = removal(model, images, scores, 0.25, "l2", global_pruning=together)
    assert_smaller_and_equal(model, smaller, masks, images)


@pytest.mark.data
def test_first_convolutions_of_a_real_network_with_padded_shortcuts(resnet32, cifar_images):
    first = [name for name in layers_of(resnet32, nn.Conv2d) if ".conv1" in name]
    scores = random_scores(resnet32, first)
    smaller, masks = removal(resnet32, cifar_images[:1], scores)
    assert_smaller_and_equal(resnet32, smaller, masks, cifar_images[:1])
    # A quarter of 16, 32 and 64 is the same however it is rounded.
    expected = masks_of(scores, ratio=0.25)
    assert all(torch.equal(masks[layer], expected[layer]) for layer in first)


@pytest.mark.data
def test_layers_that_a_shortcut_pads_are_refused(resnet32, cifar_images):
    with pytest.raises(ValueError, match=r"'layer2.0.conv2' are added to a shortcut that pads"):
        removal(resnet32, cifar_images[:1], random_scores(resnet32, ["layer2.0.conv2"]))


def test_layers_that_add_up_count_with_their_mean():
    model = torchvision.models.resnet18()
    scores = random_scores(model, ["layer3.0.conv2", "layer3.0.downsample.0", "layer3.1.conv2"])
    importance = FrequencyTaggingImportance(model, scores)
    graph = torch_pruning.DependencyGraph().build_dependency(model, torch.rand(1, 3, 64, 64))
    for name in ("layer3.0.downsample.0", "layer3.1.conv2"):
        convolution = model.get_submodule(name)
        remove = torch_pruning.prune_conv_out_channels
        group = graph.get_pruning_group(convolution, remove, list(range(256)))
        expected = torch.stack([*scores.values()]).double().mean(0)
        torch.testing.assert_close(importance(group), expected, rtol=1e-9, atol=0)
    alone = model.layer3[0].conv1
    group = graph.get_pruning_group(alone, torch_pruning.prune_conv_out_channels, [*range(256)])
    assert importance(group) is None  # nothing of it has a score


def two_convolutions():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3)
    )


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
def test_of_equal_scores_no_more_go_than_asked_for(value):
    model, images = two_convolutions(), torch.rand(1, 3, 16, 16)
    scores = {
        "0": torch.tensor([value] * 6 + [9.0] * 2),
        "2": torch.tensor([value] * 6 + [9.0] * 2),
    }
    _, masks = removal(model, images, scores, 0.5, global_pruning=True)
    removed = {name: (~mask).nonzero().flatten().tolist() for name, mask in masks.items()}
    assert removed == {"0": [0, 1, 2, 3, 4, 5], "2": [0, 1]}
    _, masks = removal(model, images, scores, 0.5)
    assert all((~mask).nonzero().flatten().tolist() == [0, 1, 2, 3] for mask in masks.values())


def test_scores_of_the_norm_serve_as_well():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3)).eval()
    scores = {"1": torch.tensor([3.0, 0.5, 2.0, 1.0])}
    smaller, masks = removal(model, torch.rand(1, 3, 8, 8), scores, 0.5)
    assert masks["0"].tolist() == [True, False, True, False]
    assert smaller[1].num_features == 2


def test_scores_of_another_time_or_network_are_refused():
    model, images = two_convolutions(), torch.rand(1, 3, 16, 16)
    importance = FrequencyTaggingImportance(model, {"0": torch.rand(8), "2": torch.rand(8)})
    pruner = torch_pruning.pruner.BasePruner(
        model, images, importance, pruning_ratio=0.5, iterative_steps=2
    )
    pruner.step()
    with pytest.raises(ValueError, match=r"each of the 6 filters of layer .2., but got 8"):
        pruner.step()
    another = torch_pruning.pruner.BasePruner(
        two_convolutions(), images, importance, pruning_ratio=0.5
    )
    with pytest.raises(ValueError, match="pass both the same model"):
        another.step()


@pytest.mark.parametrize(
    ("scores", "error", "message"),
    [
        ({"9": torch.rand(8)}, ValueError, "has no '9'"),
        ({"0": torch.rand(7)}, ValueError, "each of the 8 filters of layer '0'"),
        ({"0": torch.full((8,), torch.nan)}, ValueError, "to be finite"),
        ({"1": torch.rand(8)}, TypeError, "'1' is a ReLU"),
        ([1, 2], TypeError, "`score_for_pruning` makes one"),
    ],
)
def test_bad_scores_are_named(scores, error, message):
    with pytest.raises(error, match=message):
        FrequencyTaggingImportance(two_convolutions(), scores)


def test_without_torch_pruning_the_extra_is_named(monkeypatch):
    def without(name, *rest):
        if name == "torch_pruning":
            raise ImportError
        return imported(name, *rest)

    imported = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"captum-ssvep\[pruning\]"):
        FrequencyTaggingImportance(two_convolutions(), {"0": torch.rand(8)})
