"""Every entry of Captum's own test configuration that names a layer.

None of them has integer inputs, a single column or `attribute_to_layer_input`: nothing is cast, and
the layers' inputs are read in all of them besides. Captum's neuron entries lose their selector.
"""

import copy
import functools
import importlib
import itertools
import random
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from captum.attr import LayerActivation, NoiseTunnel
from torch import Tensor, nn

from captum_ssvep import FrequencyTaggingAttribution, TaggingDesign
from captum_ssvep.model.recorder import LayerRecorder
from captum_ssvep.stimulus.frames import Stimulus

pytestmark = pytest.mark.usefixtures("one_thread")

CAPTUMS_MODULE = "captum.testing.attr.helpers.test_config"
N_ENTRIES, N_MISFIT_BASELINES = 45, 9
CAPTUMS_ARGUMENTS = {"neuron_selector", "n_samples"}  # what tagging has no use for
HOOKS = [name for name in vars(nn.Module()) if name.endswith("_hooks")]
N_FRAMES = 7


def import_config():
    """Captum's configuration, whose import seeds all generators and makes cuDNN deterministic."""
    cudnn = torch.backends.cudnn
    flags = cudnn.deterministic, cudnn.benchmark
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):  # an accelerator is left asleep
        try:
            return pytest.importorskip(CAPTUMS_MODULE).config
        finally:
            cudnn.deterministic, cudnn.benchmark = flags
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def layer_entries(config):
    return {entry["name"]: entry for entry in config if "layer" in entry}


def tensors_of(nested):
    """The tensors of a tensor, tuple or list of these, in order."""
    if isinstance(nested, Tensor):
        return [nested]
    return [tensor for item in nested for tensor in tensors_of(item)]


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


def misfit(baselines, inputs):
    """Whether baselines are a distribution and not one per example or for all."""
    pairs = zip(as_tuple(baselines), as_tuple(inputs), strict=True)
    return any(len(baseline) not in (1, len(tensor)) for baseline, tensor in pairs)


ENTRIES = layer_entries(import_config())
MISFITS = [
    name
    for name, entry in ENTRIES.items()
    if "baselines" in (given := entry["attribute_args"])
    and misfit(given["baselines"], given["inputs"])
]
LISTS = [name for name, entry in ENTRIES.items() if isinstance(entry["layer"], list)]


@dataclass
class Case:
    """A model of its own, a layer or layers of it, and what `attribute` is called with."""

    model: nn.Module
    names: str | list[str]
    inputs: Tensor | tuple[Tensor, ...]
    arguments: dict

    @classmethod
    def of(cls, entry):
        model, arguments = copy.deepcopy((entry["model"], entry["attribute_args"]))
        inputs = arguments.pop("inputs")
        for name in CAPTUMS_ARGUMENTS & set(arguments):
            del arguments[name]
        if isinstance(inputs, tuple):  # single ones are halved by default
            arguments["feature_mask"] = tuple(
                torch.tensor([index % 2]) for index in range(len(inputs))
            )
        return cls(model.eval(), entry["layer"], inputs, arguments)

    @property
    def layer(self):
        if isinstance(self.names, str):
            return self.model.get_submodule(self.names)
        return [self.model.get_submodule(name) for name in self.names]

    @property
    def layers(self):
        return self.layer if isinstance(self.layer, list) else [self.layer]

    @property
    def n_examples(self):
        return len(as_tuple(self.inputs)[0])

    @property
    def forward_args(self):
        return as_tuple(self.arguments.get("additional_forward_args", ()))

    def attribute(self, **changes):
        tagging = FrequencyTaggingAttribution(self.model, self.layer)
        return tagging.attribute(self.inputs, **{**self.arguments, **changes})

    def activations(self, inputs, forward_args, layer_inputs):
        return LayerActivation(self.model, self.layer).attribute(
            inputs,
            additional_forward_args=forward_args or None,
            attribute_to_layer_input=layer_inputs,
        )

    def n_hooks(self):
        return sum(len(vars(m)[name] or ()) for m in self.model.modules() for name in HOOKS)


@pytest.fixture
def case(request):
    """The case of an entry; without its baselines where they are a distribution."""
    case = Case.of(ENTRIES[request.param])
    if request.param in MISFITS:
        del case.arguments["baselines"]
    return case


every_entry = pytest.mark.parametrize("case", ENTRIES, indirect=True)
outputs_and_inputs = pytest.mark.parametrize("layer_inputs", [False, True], ids=["output", "input"])


def assert_same_arrangement(actual, expected):
    assert type(actual) is type(expected)
    if isinstance(expected, Tensor):
        assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
        return
    for item, expected_item in zip(actual, expected, strict=True):
        assert_same_arrangement(item, expected_item)


def assert_equal(actual, expected):
    assert_same_arrangement(actual, expected)
    assert all(map(torch.equal, tensors_of(actual), tensors_of(expected)))


def assert_close(actual, expected):
    """Equal to rounding, by the largest value of each tensor."""
    assert_same_arrangement(actual, expected)
    for tensor, other in zip(tensors_of(actual), tensors_of(expected), strict=True):
        torch.testing.assert_close(tensor, other, rtol=0, atol=1e-5 * other.abs().max().item())


def test_no_entry_is_lost():
    entries = [entry for entry in import_config() if "layer" in entry]
    assert len(entries) == len(ENTRIES) == N_ENTRIES
    assert len(MISFITS) == N_MISFIT_BASELINES
    assert all(len(as_tuple(e["attribute_args"]["inputs"])[0]) > 1 for e in entries)


def test_importing_the_configuration_changes_no_global_state(monkeypatch):
    def global_state():
        cudnn = torch.backends.cudnn
        return (
            (cudnn.deterministic, cudnn.benchmark),
            random.getstate(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002
            torch.get_rng_state().tolist(),
        )

    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.delitem(sys.modules, CAPTUMS_MODULE)
    # The package's attribute is put back too, or it would be another module than the one imported.
    package, _, name = CAPTUMS_MODULE.rpartition(".")
    monkeypatch.delattr(importlib.import_module(package), name)
    before = global_state()
    assert len(layer_entries(import_config())) == N_ENTRIES
    assert global_state() == before


@outputs_and_inputs
@every_entry
def test_the_result_is_arranged_as_captum_arranges_activations(case, layer_inputs):
    expected = case.activations(case.inputs, case.forward_args, layer_inputs)
    result = case.attribute(attribute_to_layer_input=layer_inputs)
    assert_same_arrangement(result, expected)
    assert all(tensor.isfinite().all() for tensor in tensors_of(result))
    assert all(tensor.is_contiguous() for tensor in tensors_of(result))
    assert all(tensor.abs().max() > 1 for tensor in tensors_of(result))  # above rounding
    assert case.n_hooks() == 0
    by_name = FrequencyTaggingAttribution(case.model, case.names).attribute(
        case.inputs, attribute_to_layer_input=layer_inputs, **case.arguments
    )
    assert_equal(by_name, result)


@outputs_and_inputs
@every_entry
def test_recorded_frames_are_captums_bit_for_bit(case, layer_inputs):
    design = TaggingDesign()
    mask, baselines = (case.arguments.get(name) for name in ("feature_mask", "baselines"))
    stimulus = Stimulus.build(case.inputs, design, mask, baselines)
    frames = stimulus.frames(design.contrasts[:N_FRAMES])
    forward_args = tuple(
        torch.cat([argument] * N_FRAMES) if isinstance(argument, Tensor) else argument
        for argument in case.forward_args
    )
    activations = case.activations(frames, forward_args, layer_inputs)
    expected = activations if isinstance(activations, list) else [activations]
    with LayerRecorder(case.model, case.layers, layer_inputs=layer_inputs) as recorder:
        for _ in range(2):  # the whole forward, then one that stops early
            recorded = {}

            def receive(index, tensors, into=recorded):
                assert index not in into
                into[index] = [tensor.clone() for tensor in tensors]

            recorder.record(frames, forward_args, receive)
            assert sorted(recorded) == list(range(len(expected)))
            for index, activation in enumerate(expected):
                assert_equal(recorded[index], list(as_tuple(activation)))
    assert case.n_hooks() == 0


@pytest.mark.parametrize("where", ["model", "layer"])
@pytest.mark.parametrize("error_type", [LookupError, KeyboardInterrupt])
@every_entry
def test_nothing_stays_hooked_when_a_later_pass_fails(case, error_type, where):
    before = case.attribute()
    failing = case.model if where == "model" else case.layers[0]
    forward, error, calls = failing.forward, error_type("the model's own"), itertools.count()

    @functools.wraps(forward)
    def fail_in_the_third_pass(*args, **kwargs):
        if next(calls) == 2:
            assert case.n_hooks() > 0
            raise error
        return forward(*args, **kwargs)

    failing.forward = fail_in_the_third_pass
    with pytest.raises(error_type) as caught:
        case.attribute(perturbations_per_eval=16)
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None
    assert case.n_hooks() == 0
    del failing.forward
    assert_equal(case.attribute(), before)


@every_entry
def test_an_example_does_not_depend_on_its_batch(case):
    def example(value, row):
        if isinstance(value, tuple):
            return tuple(example(item, row) for item in value)
        has_examples = isinstance(value, (Tensor, list)) and len(value) == case.n_examples
        return value[row : row + 1] if has_examples else value

    together = case.attribute(statistic="amplitude")
    alone = []
    for row in range(case.n_examples):
        arguments = {name: example(value, row) for name, value in case.arguments.items()}
        single = Case(case.model, case.names, example(case.inputs, row), arguments)
        assert single.n_examples == 1
        alone.append(tensors_of(single.attribute(statistic="amplitude")))
    assert_close([torch.cat(rows) for rows in zip(*alone, strict=True)], tensors_of(together))


BATCHINGS = {
    "1-frame": {"perturbations_per_eval": 1},
    "7-frames": {"perturbations_per_eval": 7},
    "100-frames": {"perturbations_per_eval": 100},
    "1-row": {"internal_batch_size": 1},
    "3-rows": {"internal_batch_size": 3},
}


@pytest.mark.parametrize("batching", BATCHINGS.values(), ids=BATCHINGS)
@every_entry
def test_the_result_does_not_depend_on_passes(case, batching):
    expected = case.attribute(statistic="amplitude")
    assert_close(case.attribute(statistic="amplitude", **batching), expected)


@pytest.mark.parametrize("case", LISTS, indirect=True)
def test_the_result_does_not_depend_on_the_order_of_layers(case):
    expected = case.attribute()
    case.names = case.names[::-1]
    assert_equal(case.attribute(), expected[::-1])


@pytest.mark.parametrize("case", [n for n in ENTRIES if n not in LISTS], indirect=True)
def test_a_noise_tunnel_without_noise_changes_nothing(case):
    expected = case.attribute(statistic="amplitude")
    tunnel = NoiseTunnel(FrequencyTaggingAttribution(case.model, case.layer))
    result = tunnel.attribute(
        case.inputs, nt_samples=3, stdevs=0.0, statistic="amplitude", **case.arguments
    )
    assert_close(result, expected)
    assert case.n_hooks() == 0


@pytest.mark.parametrize("name", MISFITS)
def test_a_distribution_of_baselines_is_refused(name):
    with pytest.raises(ValueError, match="Expected `baselines` to broadcast to the input"):
        Case.of(ENTRIES[name]).attribute()
