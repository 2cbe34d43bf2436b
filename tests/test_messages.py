"""Whatever is passed for an argument: a right result comes, or a sentence that names the argument.

Goes through the signatures of all that is public. One argument at a time is replaced by what
newcomers pass. A new callable is tried as well: give a value for each of its parameters below.
"""

import copy
import inspect
import math
import re
import traceback
import warnings
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path

import matplotlib
import mne
import numpy as np
import pytest
import torch
from captum.attr import LayerActivation, LayerGradientXActivation
from matplotlib import pyplot as plt
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import captum_ssvep
from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    FrequencyTunnel,
    TaggingDesign,
    TwoLevelDesign,
    ablated,
    ablation_damage,
    as_explanation,
    halves,
    keep_only,
    layers_of,
    margin_of,
    score_neurons,
    to_inputs,
    to_map,
    top_neurons,
    visualization,
)
from captum_ssvep.circuits import (
    Circuit,
    Edge,
    EmbeddingLabeler,
    Node,
    Patch,
    core_neurons,
    fidelity,
    neuron_interactions,
    what_if,
)
from captum_ssvep.losses import FrequencyTaggingLoss, Share
from captum_ssvep.pruning import PruningCurve, prune, pruned
from captum_ssvep.scores.significance import line_f_test

matplotlib.use("Agg")
pytestmark = pytest.mark.usefixtures("one_thread")

PACKAGE = str(Path(captum_ssvep.__file__).parent)
NET = nn.Sequential(
    nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
).eval()
NORMED = nn.Sequential(
    nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
).eval()
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.rand(2, 3, 8, 8, generator=GENERATOR)
LABELS = torch.tensor([0, 1])
CALLED = NET(IMAGES[:1]).argmax().item()
AMPLITUDES = torch.rand(5, generator=GENERATOR)
NOISE = torch.rand(4, 5, generator=GENERATOR)
TAGGING = FrequencyTaggingAttribution(NET, "0")
BINDING = Share((0, 1), at_most=0.0)
LOSS = FrequencyTaggingLoss(NET, "0", design=TwoLevelDesign(), objective=BINDING)
TUNNEL = FrequencyTunnel(LayerActivation(NET, NET[0]))
ELECTRODES = mne.create_info(["Oz", "Pz"], 120, "eeg", verbose="error")
EVOKED = mne.EvokedArray(np.random.default_rng(0).normal(size=(2, 240)), ELECTRODES)

# Made by the package and not by its users: results, and what is known about a statistic.
NOT_CONSTRUCTED = {
    "Circuit", "CircuitFidelity", "Clusters", "CoreNeurons", "Edge", "Explanation", "FidelityRow",
    "FilterDamage", "HarmonicSum", "Labeler", "Measured", "NeuronGroups", "NeuronInteractions",
    "NeuronScores", "Node", "NodeFidelity", "Optimality", "Patch", "ProfileLikeness",
    "PruningCurve", "RankAgreement", "TaggedSpectrum", "WhatIf", "significance.LineTest",
    "statistics.StatisticInfo",
}  # fmt: skip
# Between parts of the package; their arguments are not the user's.
INTERNAL = {
    "NeuronScores.from_arrays", "Node.activity", "Profile.select", "Share.select",
    "TaggedSpectrum.from_sums",
    "statistics.StatisticInfo.finish",
}  # fmt: skip
# Handed on as they are, to the user's own model.
HANDED_ON = {
    "FrequencyTaggingAttribution.attribute(target)", "FrequencyTaggingAttribution.spectrum(target)",
    "additional_forward_args", "layers_of(inputs)",
}  # fmt: skip
# Words that a message may use for an argument instead of its name.
OTHER_WORDS = {
    "data": "input",
    "groups": "component",
    "label": "class",
    "multiples": "component",
    "n_frames": "frame",
    "sampling_rate": "Hz",
    "selection": "component",
    "core": "core_neurons",
    "path": "file",
    "recalibrate_on": "data",
    "forward_func": "model",
    "filters": "layer",
    "frequencies": "tag",
    "other": "to merge",
    "first": "scores",
    "second": "scores",
}


@cache
def spectrum(noise_std=0.0, pooling="channel"):
    return TAGGING.spectrum(
        IMAGES, pooling=pooling, noise_std=noise_std, estimate_error=noise_std == 0
    )


@cache
def corners():
    return TAGGING.spectrum(IMAGES, design=TwoLevelDesign())


@cache
def scores():
    return score_neurons(
        FrequencyTaggingAttribution(NET, ["0", "1"]),
        TensorDataset(IMAGES.repeat(2, 1, 1, 1), LABELS.repeat(2)),
        by_class=True,
        n_top_images=1,
        keep_coefficients=True,
        show_progress=False,
    )


@cache
def likeness():
    noise = 0.1 * np.random.default_rng(0).normal(size=(240, 4, 2))
    series = TaggingDesign().contrasts[:, None] + noise
    recording = captum_ssvep.TaggedSpectrum.from_series(series, TaggingDesign())
    return captum_ssvep.profile_likeness(spectrum(), recording, n_resamples=9)


@cache
def damage():
    return ablation_damage(NET, TensorDataset(IMAGES, LABELS), ["0", "1"], show_progress=False)


@cache
def core():
    return core_neurons(NET, 0, "1", TensorDataset(IMAGES, LABELS), show_progress=False)


PATCHES = tuple(Patch(place, (0, 0, 4, 4), 1.0) for place in range(2))
NODES = (
    Node("0", (0, 2), (0.0, 0.0), (1.0, 1.0), PATCHES),
    Node("0", (1,), (0.0,), (1.0,), PATCHES),
)
CIRCUIT = Circuit(0, ("0",), NODES, (Edge("0:1", "class 0", 1.0),))
LABELER = EmbeddingLabeler(["red", "green"], torch.eye(2, 3), lambda crops: crops.mean((2, 3)))


# The object whose methods are called.
INSTANCES = {
    "Circuit": lambda: CIRCUIT,
    "EmbeddingLabeler": lambda: LABELER,
    "WhatIf": lambda: what_if(
        NET, CIRCUIT, "0:1", TensorDataset(IMAGES, LABELS), show_progress=False
    ),
    "CircuitFidelity": lambda: fidelity(
        NET, {"1": [0]}, TensorDataset(IMAGES), CALLED, n_random=2, show_progress=False
    ),
    "ChebyshevGrid": ChebyshevGrid,
    "CoreNeurons": core,
    "FilterDamage": damage,
    "FrequencyTaggingAttribution": lambda: TAGGING,
    "FrequencyTaggingLoss": lambda: LOSS,
    "FrequencyTunnel": lambda: TUNNEL,
    "NeuronInteractions": lambda: neuron_interactions(
        NET, 0, "1", TensorDataset(IMAGES, LABELS), show_progress=False
    ),
    "NeuronScores": scores,
    "ProfileLikeness": likeness,
    "TaggedSpectrum": spectrum,
    "TaggedSpectrum.shapley_interactions": corners,
    "TaggedSpectrum.shapley_values": corners,
    "TaggedSpectrum.to_mne": lambda: captum_ssvep.TaggedSpectrum.from_mne(EVOKED, TaggingDesign()),
    "TaggingDesign": TaggingDesign,
    "TwoLevelDesign": TwoLevelDesign,
    "significance.LineTest": lambda: line_f_test(AMPLITUDES, NOISE),
}


def within(silence):
    def call(model, filters, channel_dim):
        with silence(model, filters, channel_dim=channel_dim):
            return NET(IMAGES)

    return call


def without(model, masks, channel_dim):
    with pruned(model, masks, channel_dim=channel_dim):
        return NET(IMAGES)


def pruned_for_good(model, masks, channel_dim):
    # Weights with masks do not fit the tests that follow.
    own = copy.deepcopy(model) if isinstance(model, nn.Module) else model
    return prune(own, masks, channel_dim=channel_dim)


def tag(**arguments):
    return FrequencyTaggingAttribution(**arguments).attribute(IMAGES)


def train(**arguments):
    return FrequencyTaggingLoss(**arguments)(IMAGES)


def read_back(load):
    """Load a file that is written first; values that are no path are passed on."""

    def call(path):
        results = {"Circuit": lambda: CIRCUIT, "TaggedSpectrum": spectrum, "NeuronScores": scores}
        results[load.__self__.__name__]().save("saved.npz")
        return load(path)

    return call


# What is done with a result whose arguments are looked at later.
THEN = {
    "ablated": within(ablated),
    "keep_only": within(keep_only),
    "prune": pruned_for_good,
    "pruned": without,
    "as_explanation": lambda method: as_explanation(method)(IMAGES),
    "margin_of": lambda model: margin_of(model)(IMAGES, LABELS),
    "FrequencyTaggingAttribution": tag,
    "FrequencyTaggingLoss": train,
    "TaggedSpectrum.load": read_back(captum_ssvep.TaggedSpectrum.load),
    "NeuronScores.load": read_back(captum_ssvep.NeuronScores.load),
    "Circuit.load": read_back(Circuit.load),
}

# A value for each parameter; those that are missing have a default that serves.
VALUES = {
    "alpha": 0.05,
    "amplitude": AMPLITUDES,
    "at_least": 0.2,
    "at_most": 0.5,
    "attribution": TAGGING,
    "attribution_method": LayerActivation(NET, NET[0]),
    "band": (5.0, 15.0),
    "baselines": 0.0,
    "batch_size": 2,
    "caught": ["a warning"],
    "center": (3.0, 3.0),
    "channels": [0, 1],
    "circuit": CIRCUIT,
    "crops": [IMAGES, IMAGES],
    "channel": 1,
    "channel_dim": 1,
    "coefficients": NOISE,
    "columns": 2,
    "component": (1, 1),
    "components": "fundamentals",
    "core": core,
    "contrasts": np.array([0.5, 0.75, 1.0]),
    "curves": {"score": PruningCurve((0.1, 0.2), (0.9, 0.8), (0.3, 0.4))},
    "data": TensorDataset(IMAGES, LABELS),
    "design": TaggingDesign(),
    "device": "cpu",
    "example": 0,
    "facts": {"seed": 0},
    "feature_mask": halves(IMAGES.shape),
    "filters": {"0": [1, 2]},
    "first": {"0": torch.rand(4), "1": torch.rand(4)},
    "floor": torch.tensor(1e-6),
    "forward_func": NET,
    "image": IMAGES[:1],
    "images": IMAGES,
    "info": ELECTRODES,
    "inputs": IMAGES,
    "interactions": torch.tensor([0.5]),
    "k": 2,
    "label": 0,
    "layer": "0",
    "layers": ["0"],
    "layout": "channels_first",
    "likeness": likeness,
    "line": 12,
    "lines": [12, 15],
    "max_order": 2,
    "masks": {"0": torch.tensor([True, False, True, True])},
    "mean": (0.5, 0.5, 0.5),
    "mean_surprise": AMPLITUDES,
    "method": LayerActivation(NET, NET[0]),
    "model": NET,
    "multiples": (1, 1),
    "n": 4,
    "n_groups": 1,
    "n_images": 4,
    "n_parts": 2,
    "neighbors": NOISE,
    "networks": spectrum,
    "neuron": 1,
    "other": scores,
    "outputs": torch.rand(2, 3),
    "p_values": AMPLITUDES,
    "part": 0,
    "parts": (0, 1),
    "path": "saved.npz",
    "picks": "eeg",
    "power": AMPLITUDES,
    "profiles": NOISE,
    "radii": (1, 3),
    "radius": 3.0,
    "ratio": AMPLITUDES,
    "ratios": [0.0, 0.25],
    "embed": lambda: LABELER.embed,
    "embeddings": torch.eye(2, 3),
    "labeler": lambda: LABELER,
    "labels": LABELS,
    "name": "0:1",
    "patches": PATCHES,
    "similarities": torch.rand(2, 3, 4),
    "texts": ["red", "green"],
    "title": "Flicker",
    "recording": EVOKED,
    "reduction": "mean",
    "result": torch.rand(2, 4, 6, 6),
    "results": scores,
    "rows": 2,
    "scores": scores,
    "second": {"0": torch.rand(4), "1": torch.rand(4)},
    "selection": "all",
    "series": torch.rand(240, 2),
    "shape": (2, 3, 8, 8),
    "show_progress": False,
    "size": (8, 8),
    "spectrum": spectrum,
    "statistic": "amplitude",
    "statistics": "amplitude",
    "std": (0.25, 0.25, 0.25),
    "target": 0,
    "types": (nn.Conv2d, nn.Linear),
    "values": NOISE,
    "variance": AMPLITUDES,
}
# Values for some callables alone.
SPECIAL = {
    "ChebyshevGrid.line_frequency(line)": (1, 1),
    "channel_groups(groups)": [[0, 1], [2]],
    "ChebyshevGrid.line_weights(lines)": [(1, 1)],
    "FrequencyTaggingLoss(components)": "all",
    "FrequencyTaggingLoss(design)": TwoLevelDesign(),
    "FrequencyTaggingLoss(objective)": BINDING,
    "ChebyshevGrid.from_dict(values)": ChebyshevGrid().to_dict(),
    "TaggingDesign.from_dict(values)": TaggingDesign().to_dict(),
    "TwoLevelDesign.from_dict(values)": TwoLevelDesign().to_dict(),
    "TaggingDesign.collisions(components)": TaggingDesign().components("all", 5),
    "plot_interaction_matrix(values)": torch.tensor([0.3, -0.6]),
    "plot_interactions(values)": torch.tensor([0.3, -0.6]),
    "plot_maps(spectrum)": lambda: spectrum(pooling=None),
    "plot_neighbors(spectrum)": lambda: spectrum(noise_std=0.1),
    "plot_top_images(images)": IMAGES.repeat(2, 1, 1, 1),
    "plot_whole_spectrum(spectrum)": lambda: TAGGING.spectrum(
        IMAGES, pooling="channel", whole=True
    ),
    "profile_likeness(n_resamples)": 9,
    "profile_likeness(recording)": lambda: captum_ssvep.TaggedSpectrum.from_mne(
        EVOKED, TaggingDesign()
    ),
    "plot_stimulus(n_shown)": 2,
    "plot_stimulus(inputs)": IMAGES[:1],
    "save_stimulus_gif(frames_per_second)": 8,
    "save_stimulus_gif(inputs)": IMAGES[:1],
    "save_stimulus_gif(path)": "film.gif",
    "save_stimulus_gif(size)": 16,
    "significance.hotelling_test(coefficients)": torch.polar(NOISE, 7 * NOISE),
    "significance.t2circ_test(coefficients)": torch.polar(NOISE, 7 * NOISE),
    "significance.t_test(mean)": AMPLITUDES,
    "statistics.neighbor_ratio(spectrum)": AMPLITUDES,
    "sum_harmonics(spectrum)": lambda: TAGGING.spectrum(
        IMAGES, pooling="channel", noise_std=0.1, n_neighbors=10
    ),
    "statistics.decibels(ratio)": AMPLITUDES,
    "Circuit.from_dict(values)": CIRCUIT.to_dict(),
    "Circuit.labeled(labels)": {"0:1": "stripes"},
    "build_circuit(baseline)": "mean",
    "build_circuit(method)": LayerGradientXActivation,
    "concept_patches(k)": 2,
    "core_neurons(baseline)": "mean",
    "core_neurons(layer)": "1",
    "fidelity(baseline)": "mean",
    "fidelity(circuit)": {"1": [0, 1]},
    "fidelity(n_random)": 2,
    "fidelity(target)": CALLED,
    "CircuitFidelity.at(layers)": "1",
    "CircuitFidelity.at(mode)": "mask",
    "neuron_groups(channels)": [0, 1, 2],
    "neuron_interactions(baseline)": "mean",
    "neuron_interactions(channels)": [0, 1],
    "neuron_interactions(layer)": "1",
    "neuron_interactions(method)": "gradient",
    "neuron_groups(features)": "relevance",
    "neuron_groups(layer)": "1",
    "node_fidelity(channels)": [[0]],
    "node_fidelity(layer)": "1",
    "node_fidelity(n_random)": 2,
    "node_fidelity(baseline)": "mean",
    "optimality(channels)": [[0]],
    "optimality(k)": 1,
    "optimality(layer)": "1",
    "optimality(n_random)": 2,
    "optimality(baseline)": "mean",
    "patch_groups(layer)": "1",
    "relevance_correlation(baseline)": "mean",
    "relevance_correlation(k)": 1,
    "relevance_correlation(n_sets)": 2,
    "core_neurons(method)": LayerGradientXActivation,
    "top_neurons(k)": 2,
    "Profile(target)": [1.0, 0.5, 0.25],
    "FrequencyTaggingImportance(scores)": {"0": torch.rand(4, generator=GENERATOR)},
    "NeuronScores.lowest(ratio)": 0.25,
    "masks_of(ratio)": 0.25,
    "masks_of(scores)": lambda: scores().mean,
    "pruning_curve(model)": NORMED,
    "pruning_curve(recalibrate_on)": TensorDataset(IMAGES, LABELS),
    "pruning_curve(scores)": lambda: scores().mean,
    "random_scores(scores)": lambda: scores().mean,
    "report_section(results)": spectrum,
    "write_report(path)": "page.html",
    "write_report(results)": spectrum,
    "recalibrate(model)": NORMED,
    "what_if(nodes)": "0:1",
}


def callables_of(name, value):
    """The functions, the constructor and the methods behind a public name."""
    if inspect.isfunction(value):
        return {name: value}
    if inspect.ismodule(value):
        own = {key: item for key, item in vars(value).items() if not key.startswith("_")}
        own = {k: v for k, v in own.items() if getattr(v, "__module__", "") == value.__name__}
        found = [callables_of(f"{name}.{key}", item) for key, item in own.items()]
        return {key: item for items in found for key, item in items.items()}
    if not inspect.isclass(value) or inspect.isabstract(value):
        return {}
    found = {} if name in NOT_CONSTRUCTED else {name: value}
    for key in dir(value):
        member = inspect.getattr_static(value, key)
        ours = getattr(getattr(value, key), "__module__", None) or ""
        if not key.startswith("_") and ours.startswith("captum_ssvep"):
            if inspect.isfunction(member):
                instance = INSTANCES.get(f"{name}.{key}", INSTANCES.get(name))
                found[f"{name}.{key}"] = instance and _method(instance, key, member)
            elif isinstance(member, (classmethod, staticmethod)):
                found[f"{name}.{key}"] = getattr(value, key)
    return found


def _method(instance, key, function):
    def call(**arguments):
        return getattr(instance(), key)(**arguments)

    signature = inspect.signature(function)
    call.__signature__ = signature.replace(parameters=[*signature.parameters.values()][1:])
    return call


def public_callables():
    found = {}
    for room in captum_ssvep._ROOMS:
        module = getattr(captum_ssvep, room)
        for name in getattr(module, "__all__", ()):
            found |= callables_of(name, getattr(module, name))
    return {name: call for name, call in found.items() if name not in INTERNAL}


CALLABLES = public_callables()


def parameters_of(name):
    return {
        key: parameter
        for key, parameter in inspect.signature(CALLABLES[name]).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }


def valid_arguments(name):
    """An argument for every parameter."""
    arguments = {}
    for key, parameter in parameters_of(name).items():
        value = SPECIAL.get(f"{name}({key})", VALUES.get(key))
        made_later = inspect.isfunction(value) or hasattr(value, "cache_info")
        arguments[key] = value() if made_later else value
        if value is None:
            arguments[key] = parameter.default
    return arguments


def newcomers_values(valid):
    """What might be passed instead of a valid value."""
    values = {
        "None": None,
        "text": "text",
        "path": Path("missing.png"),
        "array": np.ones((2, 3)),
        "list of it": [valid],
        "True": True,
        "float": 2.5,
        "negative": -1,
        "zero": 0,
        "nan": math.nan,
        "inf": math.inf,
        "too large": 99,
        "empty list": [],
        "empty tuple": (),
        "empty dictionary": {},
        "dictionary": {"a": 1},
        "its class": type(valid),
        "tensor of one": torch.tensor([1.5]),
        "number in a tensor": torch.tensor(3),
        "tensor": torch.rand(2, 3, generator=torch.Generator().manual_seed(0)),
        "module": nn.ReLU(),
        "list of text": ["text"],
        "list of numbers": [1.5, 2],
    }
    try:
        import pandas
    except ImportError:
        pass
    else:
        values["DataFrame"] = pandas.DataFrame(np.zeros((2, 2)))
    if isinstance(valid, Tensor) and valid.dim():
        real = valid.real if valid.is_complex() else valid
        values |= {
            "its first item": valid[0],
            "as array": valid.numpy(),
            "as list": valid.tolist(),
            "as integers": (10 * real).int(),
            "as booleans": real > 0.5,
            "with nan": torch.where(real > 0.5, valid, torch.nan),
        }
    return values


def is_tried(parameter, valid, value):
    """Whether a value can be judged: not many processes, nor what is as valid as the valid one."""
    if parameter.name == "num_workers":
        return not isinstance(value, int) or value < 1
    if isinstance(parameter.default, bool):  # flags are true or false, whatever their type
        return isinstance(value, (str, int, float, list, dict, type(None)))
    # A function of the user's judges what it gets by its own rules.
    return not (callable(valid) and callable(value))


@cache
def right_result(name):
    """What comes of valid arguments."""
    return called(name, valid_arguments(name))


def called(name, arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return THEN.get(name, CALLABLES[name])(**arguments)


def all_finite(value):
    """Whether all numbers in a result are finite."""
    if isinstance(value, (Tensor, np.ndarray)):
        numeric = isinstance(value, Tensor) or value.dtype.kind in "fc"
        return not numeric or bool(torch.as_tensor(value).isfinite().all())
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(all_finite, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(all_finite, value))
    if is_dataclass(value):
        return all(all_finite(getattr(value, field.name)) for field in fields(value))
    return True


def names_argument(message, argument):
    words = [re.escape(argument), argument.replace("_", " ").removesuffix("s")]
    words += [OTHER_WORDS[argument]] if argument in OTHER_WORDS else []
    return any(re.search(rf"\b{word}s?\b", message) for word in words)


def fault_of_error(error, argument):
    """Why an error is no help; None if it is."""
    message, frames = str(error), traceback.extract_tb(error.__traceback__)
    if any("torch/nn/modules" in frame.filename for frame in frames):
        return None  # the network's own, which goes through unchanged
    if not isinstance(error, (TypeError, ValueError)):
        return "is neither TypeError nor ValueError"
    last = frames[-1]
    if not last.filename.startswith(PACKAGE):
        return f"comes from {last.filename}:{last.lineno}"
    if not message.startswith("Expected"):
        return "does not begin with what was expected"
    if not names_argument(message, argument):
        return f"does not name `{argument}`"
    if "\n" in message or len(message) > 600:
        return "is longer than a sentence"
    return None


def fault(name, argument, value):
    """What is wrong with how a callable takes a value; None if nothing."""
    try:
        result = called(name, {**valid_arguments(name), argument: value})
    except Exception as error:
        if isinstance(error, OSError) and isinstance(value, (str, Path)):
            return None  # of the file system, with the name of the file
        why = fault_of_error(error, argument)
        place = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in place if frame.filename.startswith(PACKAGE)]
        where = f"{ours[-1].filename}:{ours[-1].lineno}" if ours else "call"
        return why and f"{type(error).__name__}: {str(error)[:150]!r} {why} ({where})"
    finally:
        plt.close("all")
    right = right_result(name)
    several = isinstance(result, list) and argument in (
        "circuit",
        "layer",
        "target",
    )  # one for each
    if right is not None and not several and not isinstance(result, type(right)):
        return f"gives {type(result).__name__} instead of {type(right).__name__}"
    if all_finite(right) and not all_finite(result):
        return "gives what is not finite"
    return None


CASES = [
    (name, key)
    for name, call in CALLABLES.items()
    if call is not None
    for key in parameters_of(name)
    if not HANDED_ON & {key, f"{name}({key})"}
]


KNOWN = {
    "filters as a list": (
        lambda: within(ablated)(NET, ["3"], None),
        r"`filters` to be a mapping .* as \{'layer1': \[0, 3\]\}, but got \['3'\]",
    ),
    "kept filters as a list": (lambda: within(keep_only)(NET, ["3"], None), "got \\['3'\\]"),
    "modules for names": (
        lambda: within(ablated)(NET, {NET[0]: [0]}, None),
        "a mapping from names of layers",
    ),
    "a name for a model": (
        lambda: layers_of("resnet18"),
        "`model` to be a module, but got 'resnet18'; build or load it, as `torchvision.models`",
    ),
    "a name for a type": (
        lambda: layers_of(NET, "Conv2d"),
        "`types` to be a type or a tuple of types, as `nn.Conv2d`, but got 'Conv2d'",
    ),
    "a spectrum for a map": (lambda: to_map(spectrum(), (8, 8)), "of a spectrum a statistic"),
    "a list for a map": (lambda: to_map([IMAGES], (8, 8)), r"pick one, as in `result\[0\]`"),
    "a map without its batch": (
        lambda: to_map(TAGGING.attribute(IMAGES)[0], (8, 8), layout="channels_first"),
        r"make a batch: `result\[None\]`",
    ),
    "images without their batch": (
        lambda: to_inputs(torch.rand(1, 4, 6, 6), IMAGES[0], layout="channels_first"),
        r"make a batch: `inputs\[None\]`",
    ),
    "arrays for a map": (
        lambda: visualization.plot_maps(spectrum(pooling=None), IMAGES.numpy(), example=0),
        "`inputs` to be a tensor, but got ndarray of shape",
    ),
    "half a neuron": (lambda: top_neurons(IMAGES, 2.5, 0), "`k` to be an integer, but got 2.5"),
    "a class of a method": (
        lambda: as_explanation(LayerActivation),
        "`method` to be an instance of a method",
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_messages_say_what_to_do(name):
    call, words = KNOWN[name]
    with pytest.raises((TypeError, ValueError), match=words):
        call()


def test_a_single_type_of_layers_needs_no_tuple():
    assert layers_of(NET, nn.Conv2d) == layers_of(NET, (nn.Conv2d,)) == ["0"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_public_callable_has_its_entry():
    missing = [name for name, call in CALLABLES.items() if call is None]
    for name in CALLABLES.keys() - set(missing):
        arguments = valid_arguments(name)
        missing += [f"{name}({k})" for k, v in arguments.items() if v is inspect.Parameter.empty]
    assert not missing, "give them a value in VALUES, SPECIAL or INSTANCES"


@pytest.mark.parametrize("name", CALLABLES)
def test_valid_arguments_give_a_result(name):
    right_result(name)
    plt.close("all")


@pytest.mark.parametrize(
    ("name", "argument"),
    [pytest.param(name, key, id=f"{name}({key})") for name, key in CASES],
)
def test_what_newcomers_pass_is_taken_or_refused_in_a_sentence(name, argument):
    right_result(name)
    valid, parameter = valid_arguments(name)[argument], parameters_of(name)[argument]
    faults = {
        kind: why
        for kind, value in newcomers_values(valid).items()
        if is_tried(parameter, valid, value) and (why := fault(name, argument, value))
    }
    assert not faults, "".join(f"\n    {kind}: {why}" for kind, why in faults.items())
