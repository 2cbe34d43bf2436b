"""Where filters lie, against layers whose output is silent just there."""

import pytest
import torch
import torchvision
from torch import nn

from captum_ssvep import ablated
from captum_ssvep.model.channels import ChannelDims, channel_dims

pytestmark = pytest.mark.usefixtures("one_thread")


class Swapped(nn.Module):
    """Channels last, of a network whose maps have them first."""

    def forward(self, x):
        return x.movedim(1, -1)


MODELS = {
    "signal": (nn.Sequential(nn.Conv1d(3, 4, 3), nn.Tanh()), (3, 12), 1),
    "signal with a head": (
        nn.Sequential(nn.BatchNorm1d(3), nn.Conv1d(3, 4, 3), nn.GELU(), nn.Flatten(),
                      nn.Linear(40, 4)), (3, 12), 1),
    "tokens": (nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.LayerNorm(4)), (12, 3), -1),
    "as many rows as channels": (
        nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.Tanh(), nn.MaxPool2d(1)), (3, 16, 32), 1),
    "normalised tokens": (nn.Sequential(nn.RMSNorm(4), nn.GELU()), (12, 4), -1),
    "maps with channels last": (nn.Sequential(nn.Linear(3, 16), nn.Tanh()), (8, 12, 3), -1),
    "volumes": (nn.Sequential(nn.Conv3d(2, 5, 1), nn.GroupNorm(1, 5), nn.Tanh()), (2, 3, 4, 5), 1),
}  # fmt: skip


def silenced_output(model, name, shape):
    outputs = []
    with ablated(model.eval(), {name: 2}):
        layer = model.get_submodule(name)
        handle = layer.register_forward_hook(lambda module, args, output: outputs.append(output))
        model(torch.rand(2, *shape))
        handle.remove()
    return outputs[0]


@pytest.mark.parametrize("kind", MODELS)
def test_the_type_of_layers_tells_where_filters_are(kind):
    model, shape, dim = MODELS[kind]
    for name, _ in model.named_children():
        output = silenced_output(model, name, shape)
        along = dim if output.dim() > 2 else 1
        assert (output.select(along, 2) == 0).all()
        assert (output.select(along, 1) != 0).any()


def test_dimensions_in_another_order_are_not_taken_for_those_before():
    model = nn.Sequential(nn.Conv2d(3, 9, 1), Swapped(), nn.Linear(9, 5), nn.Tanh())
    for name in ("1", "2", "3"):
        assert (silenced_output(model, name, (3, 6, 5))[..., 2] == 0).all()


class Joined(nn.Module):
    """More channels than any convolution gave."""

    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Joined(nn.Conv2d(3, 4, 1), nn.Conv2d(3, 5, 1)), (3, 6, 8)),
        (Joined(nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)), (3, 8, 8)),
        (Joined(nn.Conv1d(3, 4, 1), nn.Conv1d(3, 6, 1)), (3, 7)),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Upsample(scale_factor=2)), (3, 6, 8)),
        (Joined(nn.Conv3d(3, 4, 1), nn.Conv3d(3, 4, 1)), (3, 4, 5, 6)),
    ],
    ids=["maps", "cube", "signals", "upsampled", "volumes"],
)
def test_what_joins_channels_or_enlarges_maps_has_them_where_these_came_from(model, shape):
    outer = nn.Sequential(model)
    for name in ("0", "0.1") if isinstance(model, nn.Sequential) else ("0",):
        output = silenced_output(outer, name, shape)
        assert (output[:, 2] == 0).all()
        assert (output[:, 1] != 0).any()


def test_filters_of_a_layer_stay_where_they_are():
    """A linear layer behind gives the same shape, with its channels last."""
    model = nn.Sequential(nn.Conv1d(3, 16, 1), nn.Tanh(), nn.Linear(16, 16)).eval()
    batch = torch.rand(2, 3, 16)
    with ablated(model, {"1": 3}):
        assert torch.equal(model(batch), model(batch))


def test_a_norm_over_whole_maps_does_not_tell():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.LayerNorm([4, 6, 8]), nn.ReLU())
    for name in ("1", "2"):
        output = silenced_output(model, name, (3, 6, 8))
        assert (output[:, 2] == 0).all()
        assert (output[..., 2] != 0).any()


class MapsAndTokens(nn.Module):
    """One activation for both."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 1)
        self.linear = nn.Linear(4, 5)
        self.activation = nn.Sigmoid()

    def forward(self, x):
        maps = self.activation(self.convolution(x))
        return maps, self.activation(self.linear(maps.flatten(2).transpose(1, 2)))


def test_an_activation_of_maps_and_of_tokens():
    model = MapsAndTokens().eval()
    with ablated(model, {"activation": 2}):
        maps, tokens = model(torch.rand(2, 3, 6, 5))
    for channel in range(4):
        assert (maps[:, channel] == 0).all() == (channel == 2)
        assert (tokens[..., channel] == 0).all() == (channel == 2)


def test_of_a_cube_the_layer_itself_tells():
    """Both its first and its last dimension may hold the channels, as far as the shape goes."""
    model = nn.Sequential(nn.Conv2d(3, 6, 1), Swapped(), nn.LayerNorm(6))
    assert (silenced_output(model, "2", (3, 6, 6))[..., 2] == 0).all()


def test_of_two_dimensions_that_fit_a_layer_of_the_same_shape_tells():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU())
            self.tokens = nn.Linear(3, 8)

        def forward(self, x):
            self.tokens(torch.rand(2, 8, 6, 3))
            return self.maps(x)

    # If the channels of the maps were last, these would be 8 x 6, as the tokens are.
    output = silenced_output(Both(), "maps.1", (3, 6, 4))
    assert (output[:, 2] == 0).all()


def test_images_without_a_batch_are_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    with (
        pytest.raises(ValueError, match=r"to give shape \(N, channels, ...\), but got \(4, 8, 8\)"),
        ablated(model, {"0": 1}),
    ):
        model(torch.rand(3, 8, 8))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", {"layer1": 1, "relu": 1, "layer2.0.relu": 1, "avgpool": 1, "fc": 1}),
        (
            "densenet121",
            {"features.denseblock1": 1, "features.denseblock1.denselayer2": 1, "features.norm5": 1},
        ),
        ("googlenet", {"inception3a": 1, "inception3a.branch2": 1}),
        (
            "convnext_tiny",
            {"features.0": 1, "features.1.0": 1, "features.1.0.block.4": 3, "features.2.0": 1},
        ),
        (
            "swin_t",
            {"features.0": 3, "features.1.0": 3, "features.1.0.mlp.1": 3, "features.2": 3},
        ),
        (
            "vit_b_16",
            {"encoder.layers.encoder_layer_0": 2, "encoder.layers.encoder_layer_1.mlp": 2},
        ),
    ],
)
def test_layers_of_known_networks(name, expected):
    torch.manual_seed(0)
    size = (64, 64) if name == "vit_b_16" else (64, 96)
    options = {"vit_b_16": {"image_size": 64}, "googlenet": {"init_weights": False}}.get(name, {})
    model = torchvision.models.get_model(name, weights=None, **options).eval()
    outputs = {}
    for layer in expected:
        model.get_submodule(layer).register_forward_hook(
            lambda module, args, output, layer=layer: outputs.update({layer: output})
        )
    with torch.no_grad(), channel_dims(model) as dims:
        model(torch.rand(1, 3, *size))
    found = {n: dims.of(model.get_submodule(n), n, output) for n, output in outputs.items()}
    assert found == expected


def test_where_no_module_says_it_the_user_has_to():
    layer = nn.ReLU()
    assert ChannelDims().of(layer, "relu", torch.empty(2, 5)) == 1
    for shape in ((2, 64, 7, 7), (2, 7, 7, 64), (2, 4, 6, 8), (2, 10, 10), (2, 4, 8)):
        dims, result = ChannelDims(), torch.empty(shape)
        assert dims.find(layer, result.shape) is None
        with pytest.raises(ValueError, match=r"dimension 1 or the last; pass `channel_dim=1`"):
            dims.of(layer, "relu", result)
        assert ChannelDims(1).of(layer, "relu", result) == 1
        assert ChannelDims(-1).of(layer, "relu", result) == len(shape) - 1
        for wrong in (0, 5, -5):
            with pytest.raises(ValueError, match="dimension after the batch"):
                ChannelDims(wrong).of(layer, "relu", result)
    dims = ChannelDims()
    with pytest.raises(ValueError, match=r"to give shape \(N, channels, ...\), but got \(5,\)"):
        dims.of(layer, "relu", torch.empty(5))


def test_hooks_are_gone():
    model = nn.Sequential(nn.Linear(2, 2))
    with channel_dims(model):
        assert model[0]._forward_hooks
    assert not model[0]._forward_hooks


class Recurrent(nn.Module):
    """An LSTM behind a convolution, whose output is dropped out before it is read."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(1, 6, 3, padding=1)
        self.lstm = nn.LSTM(6, 5, batch_first=True)
        self.drop = nn.Dropout()

    def forward(self, x):
        return self.drop(self.lstm(self.convolution(x).transpose(1, 2))[0])


def test_the_tuple_of_an_lstm_shows_where_channels_lie():
    model = Recurrent().eval()
    with torch.no_grad(), channel_dims(model) as dims:
        output = model(torch.rand(2, 1, 12))
    assert dims.of(model.drop, "drop", output) == 2


def test_sequences_are_not_judged_by_other_sequences():
    """A convolution elsewhere gave three dimensions, too, but of another shape and length."""
    model = nn.Sequential(nn.Conv1d(1, 32, 3), nn.MaxPool1d(2)).eval()
    with torch.no_grad(), channel_dims(model) as dims:
        model(torch.rand(2, 1, 40))
    assert dims.find(nn.Dropout(), torch.Size((2, 64, 128))) is None


def test_one_activation_is_judged_shape_by_shape():
    activation = nn.ReLU()
    dims = ChannelDims()
    dims.see(nn.Conv2d(3, 4, 1), (), torch.empty(2, 4, 6, 5))
    dims.see(nn.Linear(4, 7), (), torch.empty(2, 8, 9, 7))
    assert dims.find(activation, torch.Size((2, 4, 6, 5))) == 1
    assert dims.find(activation, torch.Size((2, 8, 9, 7))) == 3


def test_layers_of_the_users_own_inherit_the_rule():
    class SynchronizedBatchNorm(nn.modules.batchnorm._BatchNorm):
        def _check_input_dim(self, x):
            pass

    model = nn.Sequential(nn.Conv2d(3, 4, 1), SynchronizedBatchNorm(4)).eval()
    nn.init.ones_(model[1].bias)
    with ablated(model, {"0": 2}), torch.no_grad():
        assert (model(torch.rand(2, 3, 5, 6))[:, 2] == 0).all()


def test_an_override_leaves_convolutions_alone():
    dims = ChannelDims(channel_dim=3)
    assert dims.find(nn.Conv2d(3, 4, 1), torch.Size((2, 4, 6, 5))) == 1
    assert dims.find(nn.ReLU(), torch.Size((2, 4, 6, 5))) == 3
    assert dims.find(nn.Linear(3, 4), torch.Size((2, 4, 6, 5))) == 3
    for wrong in (True, 1.5, {"0": 1}):
        with pytest.raises(TypeError, match="`channel_dim` to be an integer"):
            ChannelDims(channel_dim=wrong)
