"""Where filters lie, against layers whose output is silent just there."""

import pytest
import torch
import torchvision
from torch import nn

from captum_ssvep import ablated
from captum_ssvep.channels import ChannelDims, channel_dims

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
    for name in ("2", "3"):
        assert (silenced_output(model, name, (3, 6, 5))[..., 2] == 0).all()
    with pytest.raises(ValueError, match="layer '1' to tell where its filters are"):
        silenced_output(model, "1", (3, 6, 5))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", {"layer1": 1, "relu": 1, "layer2.0.relu": 1, "avgpool": 1, "fc": 1}),
        ("densenet121", {"features.denseblock1.denselayer2": 1, "features.norm5": 1}),
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
    options = {"image_size": 64} if name == "vit_b_16" else {}
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


def test_where_nothing_tells_square_maps_do():
    dims, layer = ChannelDims(), nn.ReLU()
    assert dims.of(layer, "relu", torch.empty(2, 5)) == 1
    assert dims.of(layer, "relu", torch.empty(2, 64, 7, 7)) == 1
    assert dims.of(layer, "relu", torch.empty(2, 7, 7, 64)) == 3
    for shape in ((2, 7, 7, 7), (2, 4, 6, 8), (2, 10, 10), (2, 4, 8)):
        with pytest.raises(ValueError, match=r"may be dimension 1 or the last; name the conv"):
            dims.of(layer, "relu", torch.empty(shape))
    with pytest.raises(ValueError, match=r"to give shape \(N, channels, ...\), but got \(5,\)"):
        dims.of(layer, "relu", torch.empty(5))


def test_hooks_are_gone():
    model = nn.Sequential(nn.Linear(2, 2))
    with channel_dims(model):
        assert model[0]._forward_hooks
    assert not model[0]._forward_hooks
