"""Pooling, scores, ablation and maps find the same channels, whatever the network."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torchvision
from captum.attr import LayerActivation
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    ablated,
    ablation_damage,
    score_neurons,
    to_map,
)

pytestmark = pytest.mark.usefixtures("one_thread")
DESIGN = ChebyshevGrid(nodes=3)


class Spectrogram(nn.Module):
    """As many filters as frequency bands, and as many again as moments."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 16, 3, padding=1)
        self.activation = nn.ReLU()
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.activation(self.convolution(x)).mean((2, 3)))


class Case(NamedTuple):
    make: object
    layer: str
    size: tuple[int, ...]
    dim: int
    layout: str


def torchvision_model(name, **options):
    return lambda: torchvision.models.get_model(name, weights=None, num_classes=4, **options)


def signal_network():
    return nn.Sequential(
        nn.Conv1d(2, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 4)
    )


CASES = {
    "Swin, not square": Case(
        torchvision_model("swin_t"), "features.1", (3, 64, 128), 3, "channels_last"
    ),
    "video Swin": Case(
        lambda: torchvision.models.video.swin3d_t(weights=None, num_classes=4),
        "features.0",
        (3, 4, 32, 64),
        4,
        "channels_last",
    ),
    "Conv1d": Case(signal_network, "0", (2, 12), 1, "channels_first"),
    "behind Conv1d": Case(signal_network, "1", (2, 12), 1, "channels_first"),
    "ViT, mlp.0": Case(
        torchvision_model("vit_b_16", image_size=32),
        "encoder.layers.encoder_layer_0.mlp.0",
        (3, 32, 32),
        2,
        "tokens",
    ),
    "ViT, block": Case(
        torchvision_model("vit_b_16", image_size=32),
        "encoder.layers.encoder_layer_0",
        (3, 32, 32),
        2,
        "tokens",
    ),
    "spectrogram": Case(Spectrogram, "activation", (1, 16, 24), 1, "channels_first"),
    "cube": Case(Spectrogram, "activation", (1, 16, 16), 1, "channels_first"),
}


@cache
def network(name):
    torch.manual_seed(0)
    return CASES[name].make().eval()


@pytest.fixture(params=CASES)
def case(request):
    found = CASES[request.param]
    images = torch.rand(2, *found.size)
    model = network(request.param)
    return found, model, images, FrequencyTaggingAttribution(model, found.layer)


def literal(activations, dim):
    """The mean of each channel, channel by channel."""
    n_channels = activations.shape[dim]
    return torch.stack(
        [activations.select(dim, c).flatten(1).mean(1) for c in range(n_channels)], dim=1
    )


def test_pooling_averages_channels(case):
    found, model, images, tagging = case
    spectrum = tagging.spectrum(images, design=DESIGN, pooling="channel")
    by_hand = tagging.spectrum(images, design=DESIGN, pooling=lambda x: literal(x, found.dim))
    torch.testing.assert_close(spectrum.lines, by_hand.lines)
    activations = LayerActivation(model, model.get_submodule(found.layer)).attribute(images)
    assert spectrum.mean.shape == (2, activations.shape[found.dim])
    assert spectrum.neurons == "channel"


def test_neurons_know_their_layout(case):
    found, _, images, tagging = case
    spectrum = tagging.spectrum(images, design=DESIGN, components="fundamentals")
    assert spectrum.channel_dim == found.dim
    assert spectrum.layout == found.layout


def test_scores_are_those_of_channels(case):
    found, _, images, tagging = case
    data = TensorDataset(images)
    scores = score_neurons(tagging, data, design=DESIGN, show_progress=False)
    spectrum = tagging.spectrum(images, design=DESIGN, pooling="channel")
    expected = spectrum.reduce("all", "amplitude").mean(0)
    torch.testing.assert_close(scores.mean[found.layer], expected.double())
    single = score_neurons(
        tagging, data, design=DESIGN, pooling="neuron", components=[(1, 0)], show_progress=False
    )
    assert single.layouts == {found.layer: found.layout}


def test_the_filter_that_is_silenced_is_the_channel_that_is_scored(case):
    found, model, images, tagging = case
    with ablated(model, {found.layer: 2}):
        spectrum = tagging.spectrum(images, design=DESIGN, pooling="channel")
        activations = tagging.spectrum(images, design=DESIGN, components=[(1, 0)]).mean
    assert not spectrum.mean[:, 2].any()
    assert (spectrum.mean[:, [1, 3]] != 0).any()
    silent = activations.movedim(found.dim, 1)
    assert not silent[:, 2].any()
    assert (silent[:, [1, 3]] != 0).any()


@pytest.mark.parametrize("name", ["Conv1d", "spectrogram"])
def test_damage_has_one_column_for_each_channel(name):
    found, model = CASES[name], network(name)
    data = TensorDataset(torch.rand(2, *found.size), torch.tensor([0, 1]))
    damage = ablation_damage(model, data, [found.layer], show_progress=False)
    n_channels = 6 if name == "Conv1d" else 16
    assert damage.changes[found.layer].shape == (2, n_channels)


@pytest.mark.parametrize("name", ["Swin, not square", "ViT, mlp.0", "ViT, block", "spectrogram"])
def test_maps_show_one_channel_where_it_is(name):
    found, model = CASES[name], network(name)
    image = torch.rand(1, *found.size)
    tagging = FrequencyTaggingAttribution(model, found.layer)
    spectrum = tagging.spectrum(image, design=DESIGN, components=[(1, 0)])
    amplitude = spectrum.amplitude((1, 0))
    by_place = amplitude.movedim(found.dim, -1)[0]
    strongest = int(by_place.flatten(0, -2).sum(0).argmax())
    channel = by_place[..., strongest]
    if found.layout == "tokens":
        channel = channel[1:].unflatten(0, (2, 2))
    drawn = to_map(amplitude, tuple(channel.shape), layout=spectrum.layout, channel=strongest)
    np.testing.assert_array_equal(drawn[..., 0], channel.numpy())
