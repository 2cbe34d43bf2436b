"""What a type checker and an editor know of results; `tests/test_types.py` runs mypy over it."""

from typing import Any, assert_type

from captum.attr import Attribution
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from captum_ssvep import (
    FrequencyTaggingAttribution,
    FrequencyTunnel,
    NeuronScores,
    TaggedSpectrum,
    ablation_damage,
    choose_design,
    score_neurons,
    to_map,
)
from captum_ssvep.circuits import Circuit, Labeler, build_circuit, label_nodes
from captum_ssvep.design import Design
from captum_ssvep.evaluation import FilterDamage


def of_one_layer(model: nn.Module, images: Tensor) -> None:
    for tagging in (
        FrequencyTaggingAttribution(model, "layer4"),
        FrequencyTaggingAttribution(model, model),
        FrequencyTaggingAttribution(model.forward, model),
    ):
        assert_type(tagging.attribute(images), Tensor)
        assert_type(tagging.attribute((images, images), statistic="amplitude"), Tensor)
        spectrum = tagging.spectrum(images, pooling="channel")
        assert_type(spectrum, TaggedSpectrum)
        assert_type(spectrum.amplitude((1, 1)), Tensor)
        assert_type(spectrum[0], TaggedSpectrum)
        assert_type(spectrum.table(), list[dict[str, Any]])


def of_circuits(model: nn.Module, data: TensorDataset, labeler: Labeler) -> None:
    circuit = build_circuit(model, 3, ["layer4"], data)
    assert_type(circuit, Circuit)
    assert_type(label_nodes(circuit, data, labeler), Circuit)
    classes = [3, 6]
    circuits = build_circuit(model, classes, ["layer4"], data)
    assert_type(circuits, list[Circuit])
    assert_type(label_nodes(circuits, data, labeler), list[Circuit])


def of_several_layers(model: nn.Module, images: Tensor, modules: list[nn.Module]) -> None:
    names = ["layer1", "layer2"]
    assert_type(FrequencyTaggingAttribution(model, names).attribute(images), list[Tensor])
    assert_type(FrequencyTaggingAttribution(model, modules).attribute(images), list[Tensor])
    spectra = FrequencyTaggingAttribution(model, ["layer1", model]).spectrum(images)
    assert_type(spectra, list[TaggedSpectrum])


def of_any_method(method: Attribution, images: Tensor) -> None:
    tunnel = FrequencyTunnel(method)
    attributions = tunnel.attribute(images)
    assert_type(attributions, Tensor | tuple[Tensor, ...] | list[Tensor | tuple[Tensor, ...]])


def of_a_data_set(model: nn.Module, data: Any) -> None:
    scores = score_neurons(FrequencyTaggingAttribution(model, ["layer1"]), data, batch_size=8)
    assert_type(scores, NeuronScores)
    assert_type(scores.mean, dict[str, Tensor])
    assert_type(score_neurons(FrequencyTaggingAttribution(model, "layer1"), data), NeuronScores)
    assert_type(ablation_damage(model, data, ["layer1"]), FilterDamage)


def of_choices(result: Tensor) -> None:
    assert_type(choose_design(3), Design)
    to_map(result, (8, 8), layout="rows")  # type: ignore[arg-type]
    choose_design(3, kind="fast")  # type: ignore[arg-type]
