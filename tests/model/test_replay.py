"""Replays, against whole passes."""

import copy

import pytest
import torch
import torch.nn.functional as F
import torchvision
from cifar import load_resnet
from torch import nn

from captum_ssvep import ablated
from captum_ssvep.model.replay import replayed

pytestmark = pytest.mark.usefixtures("one_thread", "without_gradients")

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet18", ["conv1", "layer1.0.bn1", "layer2.0.downsample.0", "layer4.1.conv2", "fc"]),
        ("squeezenet1_1", ["features.0", "features.3.expand1x1", "features.9.expand3x3"]),
        ("densenet121", ["features.denseblock1.denselayer2.conv1", "features.transition1.conv"]),
        ("googlenet", ["conv1.conv", "inception3a.branch3.1.conv"]),
        ("mobilenet_v3_small", ["features.1.block.1.fc1", "features.4.block.0.0"]),
        ("vit_b_16", ["encoder.layers.encoder_layer_3.mlp"]),
    ],
)
def test_a_replay_gives_what_the_whole_pass_gives(name, layers, with_random_norms):
    """With operations in place, shared activations, concatenations and gates behind the layer."""
    torch.manual_seed(0)
    options = {"image_size": 64} if name == "vit_b_16" else {}
    if name == "googlenet":
        options |= {"init_weights": False, "aux_logits": False}
    model = with_random_norms(torchvision.models.get_model(name, weights=None, **options))
    for layer in layers:
        whole = []
        for channel in range(2):
            with ablated(model, {layer: channel}):
                whole.append(model(IMAGES))
        with replayed(model, layer, lambda: model(IMAGES)):
            for channel, expected in enumerate(whole):
                with ablated(model, {layer: channel}):
                    # The batch is that of the recording, whatever is put in.
                    assert torch.equal(model(torch.zeros_like(IMAGES)), expected)
        assert torch.equal(model(IMAGES), model(IMAGES))


def test_operations_in_place_behind_a_replay_harm_nothing():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            shortcut = self.first(x)
            out = self.second(shortcut)
            shortcut += 1  # changes what `first` gave
            return out * shortcut

    model = InPlace()
    x = torch.rand(3, 4)
    expected = model(x)
    with replayed(model, "second", lambda: model(x)):
        for _ in range(4):
            assert torch.equal(model(x), expected)


def test_operations_in_place_behind_a_first_pass_without_a_filter_harm_nothing():
    model = nn.Sequential(nn.Linear(4, 4), Increment(), nn.Linear(4, 2))
    x = torch.rand(3, 4)
    expected = model(x)
    with replayed(model, "0", lambda: model(x)):
        with ablated(model, {"0": 0}):
            model(x)
        for _ in range(3):
            assert torch.equal(model(x), expected)


class Increment(nn.Module):
    def forward(self, x):
        x += 1
        return x


def test_hooks_of_the_user_act_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Tanh()), nn.Linear(4, 2))
    for module in model.modules():
        module.register_forward_hook(lambda module, args, output: 2 * output + 1)
    x = torch.rand(3, 4)
    for layer in ("0", "1", "2"):
        with ablated(model, {layer: 1}):
            expected = model(x)
        with replayed(model, layer, lambda: model(x)):
            with ablated(model, {layer: 1}):
                assert torch.equal(model(x), expected)
            silent = model(x)
        assert torch.equal(silent, model(x))


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
        with replayed(target, "0", lambda: target(x)), ablated(target, {"0": [0, 2]}):  # noqa: B023
            assert torch.equal(target(torch.zeros_like(x)), expected)
    torch.testing.assert_close(compiled(x), model(x))
    torch._dynamo.reset()


def test_nothing_up_to_the_layer_runs_again(resnet, monkeypatch):
    calls = []
    convolve = F.conv2d
    monkeypatch.setattr(F, "conv2d", lambda *args: calls.append(1) or convolve(*args))
    with replayed(resnet, "layer4.0.conv1", lambda: resnet(IMAGES)) as output:
        assert output.shape == (2, 512, 2, 2)
        calls.clear()
        resnet(IMAGES)
    assert len(calls) == 4  # conv2, downsample and the two of the last block
    resnet(IMAGES)
    assert len(calls) == 4 + 20


def test_modules_that_are_called_several_times():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.shared = nn.Linear(4, 4), nn.Sigmoid()

        def forward(self, x):
            return self.shared(self.linear(self.shared(self.linear(self.shared(x)))))

    model, x = Twice(), torch.rand(3, 4)
    expected = model(x)
    with replayed(model, "linear", lambda: model(x)):
        for _ in range(3):
            assert torch.equal(model(torch.zeros_like(x)), expected)


def test_a_forward_of_the_users_own_is_put_back(resnet):
    own = resnet.layer1.forward
    resnet.layer1.forward = own
    with replayed(resnet, "layer2", lambda: resnet(IMAGES)):
        assert resnet.layer1.forward is not own
    assert resnet.layer1.forward is own
    assert "forward" not in vars(resnet.layer2)


def test_the_model_is_left_as_it_was(resnet, hooks_of):
    before, hooks, state = resnet(IMAGES), hooks_of(resnet), copy.deepcopy(resnet.state_dict())
    with (
        pytest.raises(RuntimeError),
        replayed(resnet, "layer1", lambda: resnet(IMAGES)),
    ):
        resnet.fc(IMAGES)
    with pytest.raises(RuntimeError), replayed(resnet, "layer1", lambda: resnet(IMAGES[:, :2])):
        pass
    assert hooks_of(resnet) == hooks
    assert torch.equal(resnet(IMAGES), before)
    for name, value in resnet.state_dict().items():
        assert torch.equal(value, state[name])


def test_a_layer_that_is_not_called_cannot_be_replayed():
    model = nn.MultiheadAttention(4, 2)
    x = torch.rand(3, 1, 4)
    complaint = pytest.raises(ValueError, match="'out_proj' to be called")
    with complaint, replayed(model, "out_proj", lambda: model(x, x, x)):
        pass


@pytest.mark.data
def test_the_whole_of_a_real_network(cifar_images):
    model = load_resnet(20)
    for layer in ("conv1", "layer2.0.bn2", "layer3.2.relu1"):
        with ablated(model, {layer: 7}):
            expected = model(cifar_images)
            with replayed(model, layer, lambda: model(cifar_images)):
                for _ in range(2):
                    assert torch.equal(model(cifar_images), expected)
