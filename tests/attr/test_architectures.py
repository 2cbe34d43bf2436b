"""Real architectures, untrained: what is read, whatever a layer gives, on whatever input."""

import math
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pytest
import torch
import torchvision.models as zoo
from captum import attr as captum
from torch import Tensor, nn

from captum_ssvep import FrequencyTaggingAttribution, TaggingDesign
from captum_ssvep.visualization import to_map

# 10 distinct frames, collision-free to order 2.
DESIGN = TaggingDesign((3.0, 4.0), sampling_rate=24.0, n_frames=24, phases=math.pi / 2)


def convnext():
    model = zoo.convnext_tiny(weights=None)
    for name, parameter in model.named_parameters():
        if name.endswith("layer_scale"):  # 1e-6 before training: a block would change nothing
            nn.init.ones_(parameter)
    return model


class LSTMClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 8, 3, padding=1)
        self.lstm = nn.LSTM(8, 6, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 2)

    def forward(self, x):
        return self.head(self.lstm(self.conv(x.mT).mT)[0][:, -1])


class TextClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.project = nn.Linear(16, 16)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, ids):
        return self.from_embeddings(self.embedding(ids))

    def from_embeddings(self, embedded):
        return self.head(self.encoder(self.project(embedded)).mean(dim=1))


def convolutions(conv, norm, n_in, n_flat):
    first, second = conv(n_in, 8, 5, padding=2), conv(8, 8, 3, stride=3)
    head = nn.Linear(n_flat, 3)
    return nn.Sequential(first, norm(8), nn.ReLU(inplace=True), second, nn.Flatten(), head)


conv1d = partial(convolutions, nn.Conv1d, nn.BatchNorm1d, 4, 8 * 10)
video = partial(convolutions, nn.Conv3d, nn.BatchNorm3d, 3, 8 * 8)


@dataclass(frozen=True)
class Case:
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]  # of one example
    linear: str  # a layer in front of any non-linearity; most have an in-place one behind them
    mixing: tuple[str, ...]  # layers behind one
    mask: Tensor | None = None
    unreadable: str = ""  # for Captum 0.9, as it gives (tensor, None) or (tensor, (tensor, tensor))
    forward: str = ""

    @property
    def layers(self):
        return [self.linear, *self.mixing]


IMAGE, VIDEO = (3, 64, 64), (3, 8, 8, 8)
# Two of four pixels of every 4 x 4 patch: a normalised patch with one tag alone would not flicker.
STRIPES = torch.arange(64) // 2 % 2
TURNS = (torch.arange(10) % 2)[:, None]
ROWS = torch.tensor([0, 0, 0, 1, 1, 1, -1, -1])[:, None]
RESNET = ("layer1.0.conv2", "layer2", "avgpool", "fc")
BLOCK = "encoder.layers.encoder_layer_1"
ATTENTION = f"{BLOCK}.self_attention"
VIT = (BLOCK, ATTENTION, f"{BLOCK}.mlp")
SWIN = ("features.1", "features.1.1.attn", "features.3")
CONVNEXT = ("features.1", "features.1.0.block.3", "features.3")
TEXT = ("encoder", "encoder.self_attn", "encoder.linear2", "head")

CASES = {
    "resnet18": Case(lambda: zoo.resnet18(weights=None), IMAGE, "bn1", RESNET),
    "vit_b_16": Case(
        lambda: zoo.vit_b_16(weights=None, image_size=64), IMAGE, "conv_proj", VIT, None, ATTENTION
    ),
    "swin_t": Case(lambda: zoo.swin_t(weights=None), IMAGE, "features.0.0", SWIN, STRIPES),
    "convnext_tiny": Case(convnext, IMAGE, "features.0.0", CONVNEXT, STRIPES),
    "conv1d over time": Case(conv1d, (4, 32), "1", ("2", "3", "5"), STRIPES[:32]),
    "lstm over time": Case(LSTMClassifier, (10, 3), "conv", ("lstm", "head"), TURNS, "lstm"),
    "video over time": Case(video, VIDEO, "1", ("2", "3", "5"), TURNS[:8, None]),
    "video over space": Case(video, VIDEO, "1", ("2", "3", "5"), ROWS),
    "text from embeddings": Case(
        TextClassifier, (10, 16), "project", TEXT, TURNS, "encoder.self_attn", "from_embeddings"
    ),
}
MAPS = [
    ("resnet18", "layer2", "channels_first"),
    ("vit_b_16", BLOCK, "tokens"),
    ("vit_b_16", ATTENTION, "tokens"),
    ("vit_b_16", f"{BLOCK}.mlp", "tokens"),
    ("swin_t", "features.3", "channels_last"),
    ("convnext_tiny", "features.1", "channels_first"),
    ("convnext_tiny", "features.1.0.block.3", "channels_last"),
]
each_case = pytest.mark.parametrize("name", CASES)


@cache
def network(name):
    torch.manual_seed(1)
    return CASES[name].build().eval()


def two_inputs(name):
    return torch.randn(2, *CASES[name].shape, generator=torch.Generator().manual_seed(2))


def forward_of(name):
    return getattr(network(name), CASES[name].forward) if CASES[name].forward else network(name)


def tagging_of(name, layers=None):
    return FrequencyTaggingAttribution(forward_of(name), layers or CASES[name].layers)


def tag(name, inputs, layers=None, **limits):
    return tagging_of(name, layers).spectrum(
        inputs, feature_mask=CASES[name].mask, design=DESIGN, max_order=2, **limits
    )


@cache
def spectra(name):
    """Of every layer, for two examples."""
    return dict(zip(CASES[name].layers, tag(name, two_inputs(name)), strict=True))


def first_output(name, layer, inputs):
    """The first tensor that the layer gives in one forward pass."""
    outputs = []
    module = network(name).get_submodule(layer)
    handle = module.register_forward_hook(lambda _, __, output: outputs.append(output))
    forward_of(name)(inputs)
    handle.remove()
    return outputs[-1][0]


def assert_same_spectra(spectra, expected):
    for ours, theirs in zip(spectra, expected, strict=True):
        assert ours.lines.shape == theirs.lines.shape
        assert (ours.lines - theirs.lines).abs().amax() < 1e-4 * theirs.lines.abs().amax()


@each_case
def test_the_result_is_arranged_as_layer_activation_arranges_it(name):
    case, inputs = CASES[name], two_inputs(name)
    results = tagging_of(name).attribute(inputs, feature_mask=case.mask, design=DESIGN)
    assert isinstance(results, list)
    for layer, result in zip(case.layers, results, strict=True):
        if layer == case.unreadable:
            expected = first_output(name, layer, inputs)
        else:
            module = network(name).get_submodule(layer)
            expected = captum.LayerActivation(forward_of(name), module).attribute(inputs)
        assert isinstance(result, Tensor)
        assert (result.shape, result.dtype) == (expected.shape, expected.dtype), layer
        assert result.is_contiguous(), layer
        assert result.isfinite().all(), layer
        assert result.any(), layer


@each_case
def test_intermodulations_begin_behind_the_first_nonlinearity(name):
    for layer, spectrum in spectra(name).items():
        for fundamental in ((1, 0), (0, 1)):
            assert spectrum.snr(fundamental).amax() > 10, layer
        for component in ((1, 1), (1, -1)):
            strongest = spectrum.snr(component).amax().item()
            assert (strongest < 1) == (layer == CASES[name].linear), (layer, component, strongest)


@each_case
def test_a_row_of_a_batch_is_the_single_examples_result(name):
    for row in range(2):
        rows = slice(row, row + 1)
        alone = tag(name, two_inputs(name)[rows])
        assert_same_spectra(alone, [spectrum[rows] for spectrum in spectra(name).values()])


@each_case
@pytest.mark.parametrize(
    "limits",
    [dict(perturbations_per_eval=4), dict(internal_batch_size=1)],
    ids=["four frames at once", "one row at once"],
)
def test_rows_per_pass_and_the_order_of_layers_change_nothing(name, limits):
    layers = CASES[name].layers[::-1]
    limited = tag(name, two_inputs(name), layers, **limits)
    assert_same_spectra(limited, [spectra(name)[layer] for layer in layers])


@pytest.mark.parametrize(("name", "layer", "layout"), MAPS)
def test_images_and_tokens_become_maps(name, layer, layout):
    spectrum = spectra(name)[layer]
    result, size = spectrum.amplitude((1, 1)) + spectrum.amplitude((1, 0)), IMAGE[1:]
    assert spectrum.layout == layout
    drawn = to_map(result, size, example=1, layout=layout)
    assert drawn.shape == (*size, 1)
    if layout == "channels_last":
        result = result.movedim(-1, 1)
    if layout == "tokens":
        result = result[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    np.testing.assert_array_equal(drawn, to_map(result, size, example=1, layout="channels_first"))


def test_a_reused_relu_of_a_resnet_is_read_at_its_last_call():
    """It is in place, and what a basic block returns."""
    with pytest.warns(UserWarning, match=r"'layer1\.0\.relu' is called 2 times"):
        relu, block = tag("resnet18", two_inputs("resnet18"), ["layer1.0.relu", "layer1.0"])
    assert torch.equal(relu.lines, block.lines)
    assert relu.lines.any()


def test_text_is_tagged_at_its_interpretable_embedding_layer():
    model, ids = network("text from embeddings"), torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 5, 3]])
    with pytest.warns(UserWarning, match="embedding layer"):  # Captum's: the model is changed
        interpretable = captum.configure_interpretable_embedding_layer(model, "embedding")
    try:
        embedded = interpretable.indices_to_embeddings(ids).detach()
        tagging = FrequencyTaggingAttribution(model, ["embedding", "encoder"])
        mask = CASES["text from embeddings"].mask
        embedding, encoder = tagging.spectrum(
            embedded, feature_mask=mask, design=DESIGN, max_order=2
        )
    finally:
        captum.remove_interpretable_embedding_layer(model, interpretable)
    for part, fundamental in enumerate(((1, 0), (0, 1))):
        expected = 0.25 * embedded.abs() * (mask == part)
        torch.testing.assert_close(embedding.amplitude(fundamental), expected)
    (direct,) = tag("text from embeddings", embedded, ["encoder"])
    torch.testing.assert_close(encoder.amplitude((1, 1)), direct.amplitude((1, 1)))


Outputs = namedtuple("Outputs", ["states", "squares"])
ODD_OUTPUTS = {
    "dict": (lambda a, b: {"ids": a.long(), "states": a, "cache": None}, 1),
    "dict of two": (lambda a, b: OrderedDict(states=a, squares=b), 2),
    "namedtuple": (Outputs, 2),
    "list": (lambda a, b: [a, b], 2),
    "tuple with None": (lambda a, b: (None, a), 1),
    "nested tuple": (lambda a, b: (a, (b, b)), 1),
    "nested deeper": (lambda a, b: (None, {"states": (a, b)}), 2),
}


class Odd(nn.Module):
    def __init__(self, arrange):
        super().__init__()
        self.arrange = arrange

    def forward(self, x):
        return self.arrange(x.relu(), x.square())


class CalledWithKeywords(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.linear, self.layer = nn.Linear(4, 3), layer

    def forward(self, x):
        return len(self.layer(x=self.linear(x)))


@pytest.mark.parametrize(("arrange", "n_tensors"), ODD_OUTPUTS.values(), ids=ODD_OUTPUTS)
def test_tensors_are_found_in_whatever_a_layer_gives_and_takes(arrange, n_tensors):
    model, inputs = CalledWithKeywords(Odd(arrange)).eval(), torch.randn(2, 4)
    arguments = dict(design=DESIGN, statistic="amplitude", components=[(1, 0), (1, 1)])
    plain = FrequencyTaggingAttribution(nn.Sequential(model.linear, nn.ReLU()).eval(), ["0", "1"])
    linear, rectified = plain.attribute(inputs, **arguments)
    tagging = FrequencyTaggingAttribution(model, "layer")
    result = tagging.attribute(inputs, **arguments)
    assert type(result) is (Tensor if n_tensors == 1 else tuple)
    tensors = result if n_tensors > 1 else (result,)
    assert [tensor.shape for tensor in tensors] == [rectified.shape] * n_tensors
    torch.testing.assert_close(tensors[0], rectified)
    into = tagging.attribute(inputs, attribute_to_layer_input=True, **arguments)
    torch.testing.assert_close(into, linear)
