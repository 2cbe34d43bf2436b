"""Bad input is refused with what was expected, what came and what to do (design.md, section 8)."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    TaggedSpectrum,
    TaggingDesign,
    choose_design,
    halves,
    tiles,
)
from captum_ssvep.spectrum.statistics import neighbor_ratio


class Silent(nn.Module):
    """A model with a layer it never calls and one that gives no tensor."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.unused = nn.Linear(2, 2)
        self.nothing = Nothing()
        self.transposed = Transposed()
        self.broken = Broken()

    def forward(self, x):
        self.nothing(x)
        self.transposed(x)
        self.broken(x)
        return self.conv(x)


class Nothing(nn.Module):
    def forward(self, x):
        return None


class Broken(nn.Module):
    def forward(self, x):
        return torch.cat([x, x.log() * math.inf])[: len(x)].where(x > 0.5, x * math.nan)


class Transposed(nn.Module):
    def forward(self, x):
        return x.transpose(0, 1)


IMAGE = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
MODEL = Silent().eval()


def attribute(inputs=IMAGE, layer="conv", model=MODEL, **arguments):
    return FrequencyTaggingAttribution(model, layer).attribute(inputs, **arguments)


def traced():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and still met
        return torch.jit.trace(nn.Sequential(nn.Conv2d(3, 2, 3)).eval(), IMAGE)


BAD_DESIGNS = {
    "above nyquist": (dict(frequencies=(6, 61)), ValueError, r"Nyquist.*got 61 Hz; nearest: 59\.5"),
    "at nyquist": (dict(frequencies=(6, 60)), ValueError, "below the Nyquist frequency"),
    "negative tag": (dict(frequencies=(-6, 7.5)), ValueError, "above 0 Hz per part"),
    "part cycles": (
        dict(frequencies=(6, 7.3)),
        ValueError,
        r"whole cycles in 240 frames at 120 Hz, but 7\.3 Hz makes 14\.6; nearest: 7 or 7\.5",
    ),
    "equal tags": (dict(frequencies=(6, 6)), ValueError, "differ from part to part"),
    "no tags": (dict(frequencies=()), ValueError, "one tag above 0 Hz per part, but got none"),
    "text tags": (dict(frequencies=("6", "x")), TypeError, "`frequencies` to hold numbers"),
    "reversed contrast": (dict(contrast=(1, 0.5)), ValueError, "lowest < highest"),
    "infinite contrast": (dict(contrast=(0, math.inf)), ValueError, "`contrast` to be finite"),
    "phases": (dict(phases=(0, 0, 0)), ValueError, r"one per tag \(2\), but got 3"),
    "waveform": (dict(waveform="square"), ValueError, "'sine' or 'triangle', but got 'square'"),
    "frames": (dict(n_frames=2.5), TypeError, "`n_frames` to be an integer"),
    "rate": (dict(sampling_rate=0), ValueError, "`sampling_rate` to be above 0 Hz"),
}


@pytest.mark.parametrize("name", BAD_DESIGNS)
def test_bad_designs(name):
    arguments, error, words = BAD_DESIGNS[name]
    with pytest.raises(error, match=words):
        TaggingDesign(**arguments)


FOUR = choose_design(4, max_order=2)
BAD_CALLS = {
    "integer input": (dict(inputs=IMAGE.int()), TypeError, "floating dtype.*int32"),
    "bool input": (dict(inputs=IMAGE > 0), TypeError, "floating dtype.*bool"),
    "array input": (dict(inputs=IMAGE.numpy()), TypeError, "tuple of tensors.*ndarray"),
    "nan input": (dict(inputs=IMAGE * math.nan), ValueError, "`inputs` to be finite"),
    "infinite input": (dict(inputs=IMAGE / 0), ValueError, "`inputs` to be finite"),
    "empty batch": (dict(inputs=IMAGE[:0]), ValueError, "at least one example"),
    "uneven batch": (dict(inputs=(IMAGE, IMAGE[:1])), ValueError, "same number of examples"),
    "mask id": (
        dict(feature_mask=torch.tensor([0, 1, 2, 0, 0, 0, 0, 0])),
        ValueError,
        r"ids \[2\] that the design lacks",
    ),
    "mask of 0 and 255": (
        dict(feature_mask=torch.tensor([0, 255, 0, 0, 0, 0, 0, 0])),
        ValueError,
        r"ids \[255\] that the design lacks .*; `\(feature_mask > 0\).long\(\)` makes parts",
    ),
    "mask id below -1": (
        dict(feature_mask=torch.tensor([0, 1, -2, 0, 0, 0, 0, 0])),
        ValueError,
        r"ids \[-2\] that the design lacks",
    ),
    "tag without pixel": (
        dict(feature_mask=torch.zeros(1, 1, 8, 8, dtype=torch.int)),
        ValueError,
        r"parts \[1\] without a pixel",
    ),
    "float mask": (dict(feature_mask=IMAGE), TypeError, "integer tensor.*float32"),
    "mask shape": (
        dict(feature_mask=torch.zeros(1, 1, 8, 7, dtype=torch.int)),
        ValueError,
        r"`feature_mask` to broadcast.*\(2, 3, 8, 8\).*\(1, 1, 8, 7\)",
    ),
    "no mask for four parts": (dict(design=FOUR), ValueError, "`feature_mask`.*4 parts"),
    "masks per input": (
        dict(feature_mask=(torch.zeros(8), torch.zeros(8))),
        ValueError,
        "`feature_mask` to be a tuple with one entry per input",
    ),
    "baseline shape": (
        dict(baselines=torch.zeros(3)),
        ValueError,
        r"`baselines` to broadcast.*\(2, 3, 8, 8\).*\(3,\)",
    ),
    "baseline type": (dict(baselines="black"), TypeError, "`baselines` to hold tensors or numbers"),
    "nan baseline": (dict(baselines=math.nan), ValueError, "`baselines` to be finite"),
    "array mask": (
        dict(feature_mask=np.zeros((8, 8), dtype=int)),
        TypeError,
        r"got ndarray; `torch.as_tensor\(mask\).long\(\)`",
    ),
    "array baseline": (dict(baselines=np.zeros(8)), TypeError, "ndarray; `torch.as_tensor`"),
    "example without a batch": (
        dict(inputs=IMAGE[0], baselines=IMAGE[:1]),
        ValueError,
        r"of a single example make a batch, `inputs\[None\]`",
    ),
    "foreign layer": (dict(layer=nn.ReLU()), ValueError, "`layer` to be part of the model"),
    "unknown name": (dict(layer="cnov"), ValueError, "no 'cnov'; nearest: conv"),
    "no name alike": (dict(layer="zzz"), ValueError, "no 'zzz'; outermost: conv, "),
    "layer of a kind": (dict(layer=3), TypeError, "a module, its name.*int"),
    "no layer": (dict(layer=None), TypeError, "NoneType"),
    "empty list": (dict(layer=[]), ValueError, "at least one layer"),
    "silent layer": (dict(layer=["conv", "unused"]), ValueError, "'unused' never was"),
    "no tensor": (
        dict(layer="nothing"),
        TypeError,
        "'nothing' to give a floating tensor.*NoneType",
    ),
    "batch elsewhere": (dict(layer="transposed"), ValueError, "batch of 2 on dimension 0"),
    "name in a function": (
        dict(model=lambda x: MODEL(x)),
        ValueError,
        "plain function.*pass the module",
    ),
    "jitted": (dict(model=traced(), layer="0"), ValueError, "jitted"),
    "component group": (
        dict(components="odd"),
        ValueError,
        "fundamentals, harmonics, inter.*'odd'",
    ),
    "component length": (dict(components=[(1, 0, 0)]), ValueError, "tuples of 2 integers"),
    "component type": (dict(components=[(1.5, 0)]), TypeError, "one integer.* per part"),
    "zero component": (dict(components=[(0, 0)]), ValueError, "that is the mean"),
    "bare component": (dict(components=(1, 0)), TypeError, r"written \[\(1, 1\)\]"),
    "no component": (dict(components=[]), ValueError, "to hold .*, but got none"),
    "statistic": (dict(statistic="power"), ValueError, "snr, snr_db, amplitude.*'power'"),
    "reduction": (dict(reduction="median"), ValueError, "mean, sum, max, energy.*'median'"),
    "noise": (dict(noise_std=-1.0), ValueError, "`noise_std` to be at least 0"),
    "neighbors": (
        dict(n_neighbors=200, noise_std=0.1),
        ValueError,
        "`n_neighbors`.*720 frames",
    ),
    "endless noise": (dict(noise_std=math.nan), ValueError, "`noise_std` to be finite"),
    "nan activations": (dict(layer="broken"), ValueError, "layer 'broken' to be finite"),
    "bool mask": (
        dict(feature_mask=torch.tensor([False, True] * 4)),
        TypeError,
        "integer tensor.*bool",
    ),
    "mask of one example": (
        dict(feature_mask=torch.stack([torch.arange(8) % 2, torch.zeros(8)]).int()[:, None, None]),
        ValueError,
        r"parts \[1\] without a pixel",
    ),
    "no design": (dict(design=ChebyshevGrid), TypeError, "to be a design, as `TaggingDesign"),
    "frames per pass": (dict(perturbations_per_eval=0), ValueError, "to be at least 1, but got 0"),
    "rows per pass": (dict(internal_batch_size=-1), ValueError, "to be at least 1, but got -1"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls(name):
    arguments, error, words = BAD_CALLS[name]
    with pytest.raises(error, match=words):
        attribute(**arguments)


def spectrum():
    return FrequencyTaggingAttribution(MODEL, "conv").spectrum(IMAGE, components="fundamentals")


OTHER_CALLS = {
    "pooling": (
        lambda: FrequencyTaggingAttribution(MODEL, "conv").spectrum(IMAGE, pooling="space"),
        "`pooling` to be None, 'channel' or a function",
    ),
    "batch lost in pooling": (
        lambda: FrequencyTaggingAttribution(MODEL, "conv").spectrum(IMAGE, pooling=torch.sum),
        r"`pooling` to keep the batch of 2.*gave \(\)",
    ),
    "sum of unlike batches": (lambda: spectrum() + spectrum()[0], "same shape to add"),
    "order": (lambda: TaggingDesign().components("all", 0), "`max_order` to be at least 1"),
    "no intermodulations": (
        lambda: TaggingDesign((6.0,)).components("intermodulations"),
        "intermodulations need two parts",
    ),
    "parts": (lambda: choose_design(0), "`n_parts` to be at least 1"),
    "absent component": (lambda: spectrum().amplitude((1, 1)), "it holds f1, f2"),
    "absent group": (lambda: spectrum().reduce("intermodulations"), "has only f1, f2"),
    "a component for parts": (lambda: spectrum().interaction((1, 1)), r"got \(1, 1\), for which"),
    "a part too many": (lambda: spectrum().first_order(2), "0 to 1, .* got 2, for which"),
    "absent parts": (lambda: spectrum().interaction((0, 1)), "components='all'"),
    "sum without variance": (
        lambda: (spectrum() + spectrum()).first_order(0),
        "take shares before summing",
    ),
    "sum of unlike": (
        lambda: spectrum() + FrequencyTaggingAttribution(MODEL, "conv").spectrum(IMAGE),
        "same components",
    ),
    "series length": (
        lambda: TaggedSpectrum.from_series(torch.zeros(100, 1), TaggingDesign()),
        "n_frames = 240",
    ),
    "narrow image": (lambda: halves((1, 3, 8, 1)), "at least 2 elements"),
    "too many rows": (lambda: tiles((1, 3, 8, 8), 9, 1), "9 x 1"),
    "window": (lambda: neighbor_ratio(torch.zeros(4)), "window of 5 bins"),
}


@pytest.mark.parametrize("name", OTHER_CALLS)
def test_other_bad_input(name):
    call, words = OTHER_CALLS[name]
    with pytest.raises(ValueError, match=words):
        call()
