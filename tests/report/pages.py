"""Results for pages, each made once, and a reader of HTML."""

from functools import cache
from html.parser import HTMLParser

import torch
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    TaggedSpectrum,
    TaggingDesign,
    TwoLevelDesign,
    score_neurons,
    tiles,
)
from captum_ssvep.circuits import Circuit, Edge, Node, Patch
from captum_ssvep.demo.digits import example_images, load_network, load_test_set, preprocess

VOID = {"br", "circle", "hr", "img", "input", "link", "meta", "path", "rect"}
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class Page(HTMLParser):
    """The elements of a page, with attributes and texts; complains about what is not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append({"tag": tag, "text": "", **dict(attrs)})

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop()["tag"] == tag, tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag):
        return [element for element in self.elements if element["tag"] == tag]


@cache
def digits():
    return load_network(), example_images()[0]


@cache
def spectrum(n_images=1):
    network, images = digits()
    return FrequencyTaggingAttribution(network, "layer3").spectrum(images[:n_images])


def odd_spectra():
    """Spectra that lack something that others have, one for each word."""
    network, images = digits()
    series = torch.as_tensor(TaggingDesign().contrasts.prod(axis=1))
    layer3 = FrequencyTaggingAttribution(network, "layer3")
    fc = FrequencyTaggingAttribution(network, "fc")
    one_part = TaggingDesign(frequencies=(6.0,))
    return {
        "a single neuron": TaggedSpectrum.from_series(series[:, None], TaggingDesign()),
        "neurons without channels": TaggedSpectrum.from_series(
            series[:, None, None, None] * torch.rand(1, 2, 3), TaggingDesign()
        ),
        "a silent neuron": TaggedSpectrum.from_series(0 * series[:, None, None], TaggingDesign()),
        "one part": fc.spectrum(images[:1], design=one_part),
        "fundamentals": layer3.spectrum(images[:1], components="fundamentals"),
        "grid": fc.spectrum(images[:1], design=ChebyshevGrid(nodes=3)),
        "noise": fc.spectrum(images[:1], noise_std=0.1),
        "sum": spectrum()[0] + spectrum()[0],
    }


@cache
def several_layers():
    network, images = digits()
    tagging = FrequencyTaggingAttribution(network, ["layer1", "layer3", "fc"])
    return tagging.spectrum(images[:1], pooling="channel")


@cache
def nine_parts():
    network, images = digits()
    mask = tiles(images[:1].shape, 3, 3)
    tagging = FrequencyTaggingAttribution(network, "layer3")
    design = TwoLevelDesign(9)
    spectrum = tagging.spectrum(images[:1], design=design, feature_mask=mask, pooling="channel")
    return spectrum, mask


@cache
def some_data():
    images, labels = load_test_set()
    return TensorDataset(preprocess(images[:12]), labels[:12])


@cache
def scores():
    tagging = FrequencyTaggingAttribution(load_network(), ["layer1", "layer3"])
    return score_neurons(
        tagging, some_data(), components="all", statistic="amplitude", show_progress=False
    )


def circuit():
    patches = tuple(Patch(image, (4, 4, 20, 20), 1.0) for image in range(4))
    nodes = (
        Node("layer1", (2, 5), (0.1, 0.2), (1.0, 1.0), patches, label="upper <b>bows</b>"),
        Node("layer1", (7,), (0.1,), (1.0,), patches),
        Node("layer3", (1,), (0.0,), (1.0,), patches),
    )
    edges = (
        Edge("layer1:2,5", "layer3:1", 0.7),
        Edge("layer1:7", "layer3:1", -0.3),
        Edge("layer3:1", "class 3", 1.0),
    )
    return Circuit(3, ("layer1", "layer3"), nodes, edges)


@cache
def dark_then_digit():
    """The spectrum of two images, the first of them black."""
    network, images = digits()
    images = torch.cat([torch.zeros_like(images[:1]), images[:1]])
    return FrequencyTaggingAttribution(network, "layer3").spectrum(images), images


class Named(nn.Module):
    """A network whose layer has a name that a page must not run."""

    def __init__(self):
        super().__init__()
        self.add_module(EVIL.replace(".", ""), nn.Conv2d(1, 4, 3))
        self.last = nn.Flatten()

    def forward(self, x):
        for module in self.children():
            x = module(x)
        return x


@cache
def evil_spectrum():
    network = Named().eval()
    name = next(name for name, _ in network.named_children())
    images = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    return FrequencyTaggingAttribution(network, name).spectrum(images), images


@cache
def three_parts():
    """A spectrum in time of three parts, of which the last two do most together."""
    design = TaggingDesign(frequencies=(6.0, 7.5, 9.2), n_frames=1200)
    one, two, three = torch.as_tensor(design.contrasts).T
    quiet = one * two / 10 + two * three
    return TaggedSpectrum.from_series(
        torch.stack([quiet, 2 * two.minimum(three), one], 1)[:, None], design
    )
