"""Silent filters, against networks whose weights are zeroed."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from captum_ssvep import ablated, keep_only
from captum_ssvep.model.replay import replayed
from captum_ssvep.model.silence import silenced

pytestmark = pytest.mark.usefixtures("one_thread", "without_gradients")

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))


def with_zeroed_weights(model, convolution, norm, channels):
    zeroed = copy.deepcopy(model)
    layer = zeroed.get_submodule(convolution)
    layer.weight[channels] = 0
    if layer.bias is not None:
        layer.bias[channels] = 0
    if norm is not None:
        zeroed.get_submodule(norm).weight[channels] = 0
        zeroed.get_submodule(norm).bias[channels] = 0
    return zeroed


@pytest.mark.parametrize(
    ("convolution", "norm"),
    [
        ("conv1", "bn1"),
        ("layer2.0.conv1", "layer2.0.bn1"),
        ("layer2.0.downsample.0", "layer2.0.downsample.1"),
        ("layer4.1.conv2", "layer4.1.bn2"),
    ],
)
@pytest.mark.parametrize("channels", [[3], [0, 7, 31]])
def test_a_silent_filter_is_one_without_weights_and_norm(resnet, convolution, norm, channels):
    expected = with_zeroed_weights(resnet, convolution, norm, channels)(IMAGES)
    plain = resnet(IMAGES)
    with ablated(resnet, {convolution: channels}):
        torch.testing.assert_close(resnet(IMAGES), expected)
    with ablated(resnet, {norm: channels}):  # the norm itself is a layer, too
        torch.testing.assert_close(resnet(IMAGES), expected)
    assert torch.equal(resnet(IMAGES), plain)
    assert not torch.allclose(expected, plain)


@pytest.mark.data
@pytest.mark.parametrize("block", ["layer1.2", "layer3.4"])
def test_real_filters(resnet32, cifar_images, block):
    expected = with_zeroed_weights(resnet32, f"{block}.conv1", f"{block}.bn1", [5])(cifar_images)
    for layer in ("conv1", "bn1", "relu1"):
        with ablated(resnet32, {f"{block}.{layer}": 5}):
            torch.testing.assert_close(resnet32(cifar_images), expected)


def test_layers_with_a_bias_and_without_a_norm():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 62 * 62, 5))
    for layer, channel in (("0", 2), ("3", 4)):
        expected = with_zeroed_weights(model, layer, None, [channel])(IMAGES)
        with ablated(model, {layer: channel}):
            torch.testing.assert_close(model(IMAGES), expected)


def test_a_frozen_norm():
    torch.manual_seed(0)
    norm = FrozenBatchNorm2d(4)
    norm.bias.normal_()
    model = nn.Sequential(nn.Conv2d(3, 4, 3), norm)
    with ablated(model, {"0": 1}):
        output = model(IMAGES)
    assert (output[:, 1] == 0).all()
    assert (output[:, 0] != 0).all()


@pytest.mark.parametrize(
    ("name", "layer"),
    [("swin_t", "features.1.0"), ("vit_b_16", "encoder.layers.encoder_layer_0")],
)
def test_channels_that_are_last(name, layer):
    torch.manual_seed(0)
    size = {"image_size": 64} if name == "vit_b_16" else {}
    model = torchvision.models.get_model(name, weights=None, **size).eval()
    seen = []
    module = model.get_submodule(layer)
    with ablated(model, {layer: [1, 3]}):
        handle = module.register_forward_hook(lambda module, args, output: seen.append(output))
        model(IMAGES)
        handle.remove()
    assert (seen[0][..., [1, 3]] == 0).all()
    assert (seen[0][..., [0, 2, 4]] != 0).any()


def test_several_layers_and_their_mirror_image(resnet):
    expected = with_zeroed_weights(resnet, "conv1", "bn1", [1, 2])
    expected = with_zeroed_weights(expected, "layer3.0.conv2", "layer3.0.bn2", [9])(IMAGES)
    with ablated(resnet, {"conv1": [1, 2], "layer3.0.conv2": 9}):
        torch.testing.assert_close(resnet(IMAGES), expected)
    with ablated(resnet, {"conv1": (1, 2)}), ablated(resnet, {"layer3.0.conv2": 9}):
        torch.testing.assert_close(resnet(IMAGES), expected)
    kept = [channel for channel in range(64) if channel not in (1, 2)]
    others = [channel for channel in range(256) if channel != 9]
    with keep_only(resnet, {"conv1": kept, "layer3.0.conv2": others}):
        torch.testing.assert_close(resnet(IMAGES), expected)


def test_contexts_on_one_layer_add_up(resnet):
    expected = with_zeroed_weights(resnet, "conv1", "bn1", [1, 2, 5])(IMAGES)
    others = [channel for channel in range(64) if channel != 5]
    with ablated(resnet, {"conv1": 1}), ablated(resnet, {"conv1": 2}):
        with keep_only(resnet, {"conv1": others}):
            torch.testing.assert_close(resnet(IMAGES), expected)
            with replayed(resnet, "conv1", lambda: resnet(IMAGES)):
                torch.testing.assert_close(resnet(IMAGES), expected)
        without_one = resnet(IMAGES)
    with ablated(resnet, {"conv1": [1, 2]}):
        assert torch.equal(resnet(IMAGES), without_one)


def test_a_norm_follows_what_other_hooks_make_of_silence(resnet):
    expected = with_zeroed_weights(resnet, "conv1", "bn1", [1, 2])(IMAGES)
    with ablated(resnet, {"conv1": [1, 2]}):
        # As Captum's methods do with the layer that they attribute to.
        handle = resnet.conv1.register_forward_hook(lambda module, args, output: output.clone())
        torch.testing.assert_close(resnet(IMAGES), expected)
        handle.remove()


def test_a_norm_that_takes_its_input_by_name(with_random_norms):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, x):
            return self.norm(input=self.convolution(x))

    model = with_random_norms(Named())
    with ablated(model, {"convolution": 2}):
        assert (model(IMAGES)[:, 2] == 0).all()


class PreActivation(nn.Module):
    """A block whose skip path is added in place, before the norm of the next one."""

    def __init__(self, n_channels):
        super().__init__()
        self.norm = nn.BatchNorm2d(n_channels)
        self.convolution = nn.Conv2d(n_channels, n_channels, 3, padding=1)

    def forward(self, x):
        out = self.convolution(torch.relu(self.norm(x)))
        out += x
        return out


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_a_norm_over_a_sum_in_place_is_left_alone(mode):
    torch.manual_seed(0)
    model = nn.Sequential(PreActivation(4), PreActivation(4), nn.BatchNorm2d(4)).eval()
    for norm in (model[0].norm, model[1].norm, model[2]):
        nn.init.normal_(norm.bias)
    without = copy.deepcopy(model)
    for parameter in without[0].convolution.parameters():
        parameter.data[2] = 0
    batch = torch.rand(2, 4, 6, 6)
    with mode():
        with ablated(model, {"0.convolution": 2}):
            silent = model(batch)
        assert torch.equal(silent, without(batch))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_an_operation_in_place_before_a_norm_is_as_any_other(mode):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    nn.init.normal_(model[2].bias)
    outputs = []
    for in_place in (False, True):
        model[1].inplace = in_place
        with mode(), ablated(model, {"0": 1}):
            outputs.append(model(torch.ones(1, 3, 5, 5)))
    assert torch.equal(*outputs)


def test_a_norm_over_something_else_than_the_filters_is_left_alone(with_random_norms):
    model = with_random_norms(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))).eval()
    nn.init.ones_(model[1].bias)
    with ablated(model, {"0": 2}):
        output = model(torch.rand(2, 4, 5))
    assert (output[:, 2] != 0).any()


def test_none_and_all(resnet):
    plain = resnet(IMAGES)
    every = list(range(64))
    with ablated(resnet, {"conv1": []}):
        assert torch.equal(resnet(IMAGES), plain)
    with keep_only(resnet, {"conv1": every}):
        assert torch.equal(resnet(IMAGES), plain)
    with ablated(resnet, {"conv1": every}):
        silent = resnet(IMAGES)
    with keep_only(resnet, {"conv1": []}):
        assert torch.equal(resnet(IMAGES), silent)
    assert torch.allclose(silent[0], silent[1])  # nothing of the images is left


def test_the_model_is_left_as_it_was(resnet, hooks_of):
    before, hooks, state = resnet(IMAGES), hooks_of(resnet), copy.deepcopy(resnet.state_dict())
    with pytest.raises(KeyError), ablated(resnet, {"layer1": 0}):
        {}[float(resnet(IMAGES).sum())]
    with pytest.raises(RuntimeError), ablated(resnet, {"layer1": 0}):
        resnet(IMAGES[:, :2])
    assert hooks_of(resnet) == hooks
    assert torch.equal(resnet(IMAGES), before)
    for name, value in resnet.state_dict().items():
        assert torch.equal(value, state[name])


def test_what_cannot_be_silenced_is_refused(resnet):
    with pytest.raises(ValueError, match="no 'layer5'"), ablated(resnet, {"layer5": 0}):
        pass
    for channels in ({1, 2}, None, "a", [[0, 1], [2]]):
        complaint = pytest.raises(TypeError, match="'layer1' to be an index or a sequence of ind")
        with complaint, ablated(resnet, {"layer1": channels}):
            pass
    for channels in ([0.5], torch.ones(64, dtype=torch.bool)):
        complaint = pytest.raises(TypeError, match=r"(?s)to be integers.*indices of a mask")
        with complaint, ablated(resnet, {"layer1": channels}):
            pass
    for channel in (64, -1):
        complaint = pytest.raises(ValueError, match="'layer1' to be 0 to 63")
        with complaint, ablated(resnet, {"layer1": [3, channel]}):
            resnet(IMAGES)
    lstm = nn.Sequential(nn.LSTM(4, 3, batch_first=True))
    complaint = pytest.raises(TypeError, match="to give one tensor, but got tuple")
    with complaint, ablated(lstm, {"0": 0}):
        lstm(torch.zeros(1, 2, 4))


@pytest.mark.parametrize("warm", [False, True])
def test_a_compiled_model(warm):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    x = torch.rand(2, 4)
    with ablated(model, {"0": [0, 2]}):
        expected = model(x)
    compiled = torch.compile(model, backend="eager")
    if warm:
        compiled(x)
    for target in (model, compiled):
        with ablated(target, {"0": [0, 2]}):
            assert torch.equal(compiled(x), expected)
    torch.testing.assert_close(compiled(x), model(x))
    torch._dynamo.reset()


@pytest.mark.parametrize("keep", [False, True])
def test_channels_may_give_a_value_of_their_own_instead(keep):
    """A BatchNorm behind takes these, and is not silenced."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    nn.init.normal_(model[1].weight)
    values = torch.tensor([0.5, -2.0, 3.0, 1.0])
    replaced = [1, 3] if keep else [0, 2]
    expected = model[0](IMAGES)
    expected[:, replaced] = values[replaced].view(1, -1, 1, 1)
    with silenced(model, {"0": [0, 2]}, keep=keep, values={"0": values}):
        torch.testing.assert_close(model(IMAGES), model[2](model[1](expected)))
    torch.testing.assert_close(model(IMAGES), model[2](model[1](model[0](IMAGES))))


def test_values_lie_where_the_channels_do():
    tokens = nn.Sequential(nn.Linear(3, 4))
    values = torch.arange(4.0)
    with silenced(tokens, {"0": [3]}, values={"0": values}):
        output = tokens(torch.rand(2, 5, 3))
    assert (output[..., 3] == 3).all()
    assert not (output[..., 2] == 2).any()
