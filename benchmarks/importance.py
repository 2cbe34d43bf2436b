"""Which scores know what a filter is for: judged by ablation, on the CIFAR-10 ResNets.

Scores come from 40 test images, judgement from others: the damage of silencing a filter to the loss
from 400, its interaction with the contrasts of the two halves (`interaction_damage`) from the last
100 of them. Numbers are Spearman correlations, for the first / second convolutions of the blocks:
within layers (mean over layers), then over the filters of all layers. A filter is read behind the
ReLU (first convolutions) or the BatchNorm (second) that follows it. About ten minutes.

    CAPTUM_SSVEP_DATA=... python benchmarks/importance.py [--depths 32 20]
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import (
    LayerActivation,
    LayerConductance,
    LayerGradCam,
    LayerGradientXActivation,
)
from scipy import stats
from torch import Tensor
from torch.utils.data import TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    FrequencyTunnel,
    NeuronScores,
    TaggingDesign,
    ablation_damage,
    black,
    interaction_damage,
    margin_of,
    rank_agreement,
    score_neurons,
)
from captum_ssvep.design.components import ComponentGroup
from captum_ssvep.evaluation.damage import DamageReading, FilterDamage, loss

sys.path.append(str(Path(__file__).parents[1] / "tutorials"))
from cifar import MEAN, STD, load_resnet, load_test_images

N_SCORED, N_MORE, N_INTERACTION = 40, 100, 100
DARK = black(MEAN, STD)
LEAKY = {"sampling_rate": 119.5, "strict": False}  # 240 frames over two seconds, both ends included
GROUPS: tuple[ComponentGroup, ...] = ("fundamentals", "harmonics", "intermodulations", "all")
Scores = dict[str, Tensor]
PARTIALS = (
    ("tagged relevance, intermodulations", "tagged relevance, harmonics"),
    ("tagged relevance, harmonics", "tagged relevance, intermodulations"),
    ("tagged relevance, intermodulations", "activation x gradient (margin)"),
    ("activation x gradient (margin)", "tagged relevance, intermodulations"),
)


def spatial_sum(values: Tensor) -> Tensor:
    """Of every channel: what a filter contributes at all of its places together."""
    return values.flatten(2).sum(2)


class Case:
    """A network, the images for its scores and those for their judgement."""

    def __init__(self, depth: int) -> None:
        self.model = load_resnet(depth)
        images, labels = load_test_images(500)
        self.images, self.labels = images[:N_SCORED], labels[:N_SCORED]
        self.data = TensorDataset(self.images, self.labels)
        self.more_data = TensorDataset(images[:N_MORE], labels[:N_MORE])
        self.judged = TensorDataset(images[-400:], labels[-400:])
        self.last_judged = TensorDataset(images[-N_INTERACTION:], labels[-N_INTERACTION:])
        blocks = [f"layer{s}.{b}" for s in (1, 2, 3) for b in range((depth - 2) // 6)]
        self.kinds = {
            "first": [f"{block}.relu1" for block in blocks],
            "second": [f"{block}.bn2" for block in blocks],
        }
        self.layers = self.kinds["first"] + self.kinds["second"]
        self.modules = [self.model.get_submodule(name) for name in self.layers]

    def by_layer(self, values: list[Tensor]) -> Scores:
        """One tensor for each layer under its name."""
        return dict(zip(self.layers, values, strict=True))


def of_weights(case: Case) -> Iterator[tuple[str, Scores]]:
    """Scores for which nothing has to run."""
    generator = torch.Generator().manual_seed(0)
    norms = {layer: case.model.get_submodule(layer.replace("relu", "bn")) for layer in case.layers}
    convolutions = {
        layer: case.model.get_submodule(layer.replace("relu", "conv").replace("bn", "conv"))
        for layer in case.layers
    }
    yield (
        "random",
        {name: torch.rand(n.num_features, generator=generator) for name, n in norms.items()},
    )
    yield (
        "L1 norm",
        {name: c.weight.detach().abs().sum((1, 2, 3)) for name, c in convolutions.items()},
    )
    yield "BatchNorm scale", {name: norm.weight.detach().abs() for name, norm in norms.items()}


def untagged(case: Case) -> Iterator[tuple[str, Scores]]:
    """Scores of the images as they are; relevances are summed over space, for each image."""
    activation = LayerActivation(case.model, case.modules).attribute(case.images)
    yield "mean absolute activation", case.by_layer([a.abs().mean((0, 2, 3)) for a in activation])

    def lost(inputs: Tensor, labels: Tensor) -> Tensor:
        return loss(case.model(inputs), labels)

    margin = margin_of(case.model)
    arguments = {"additional_forward_args": case.labels}

    def relevance(values: list[Tensor]) -> Scores:
        return case.by_layer([spatial_sum(v.detach()).abs().mean(0) for v in values])

    taylor = LayerGradientXActivation(lost, case.modules)
    yield "Taylor (loss)", relevance(taylor.attribute(case.images, **arguments))
    conductance = [
        LayerConductance(margin, module)
        .attribute(
            case.images,
            DARK.expand_as(case.images),
            n_steps=16,
            internal_batch_size=160,
            **arguments,
        )
        .detach()
        for module in case.modules
    ]
    yield "LayerConductance (margin)", relevance(conductance)
    cams = [
        LayerGradCam(margin, module)
        .attribute(case.images, attr_dim_summation=False, **arguments)
        .detach()
        for module in case.modules
    ]
    yield "LayerGradCam (margin)", relevance(cams)
    gradient = LayerGradientXActivation(margin, case.modules)
    yield "activation x gradient (margin)", relevance(gradient.attribute(case.images, **arguments))


def tagged(case: Case) -> Iterator[tuple[str, Scores]]:
    """Scores of responses to the tags."""
    tagging = FrequencyTaggingAttribution(case.model, case.layers)

    def score(**arguments: Any) -> Any:
        return score_neurons(tagging, case.data, baselines=DARK, show_progress=False, **arguments)

    fundamentals = {"components": "fundamentals"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tells of the leakage
        leaky = TaggingDesign(**LEAKY)
    yield "SNR, leaky sampling", score(statistic="snr", design=leaky, **fundamentals).mean
    yield "SNR, pixel noise .02", score(statistic="snr", noise_std=0.02, **fundamentals).mean
    amplitudes = score()
    for group in GROUPS[1:3]:
        yield f"amplitude, {group}", amplitudes.at(group)
    neurons = score(pooling="neuron", **fundamentals).mean
    yield "amplitude per neuron", {name: mean.mean((1, 2)) for name, mean in neurons.items()}


def tunnelled(case: Case) -> Iterator[tuple[str, Scores]]:
    """Tagged relevance to the margin: its activation x gradient, summed over space."""
    tunnel = FrequencyTunnel(LayerGradientXActivation(margin_of(case.model), case.modules))

    def score(data: TensorDataset, **arguments: Any) -> NeuronScores:
        return score_neurons(
            tunnel,
            data,
            pooling=spatial_sum,
            labels_as="additional_forward_args",
            tag_baselines=DARK,
            show_progress=False,
            **arguments,
        )

    scores = score(case.data)
    for group in GROUPS:
        yield f"tagged relevance, {group}", scores.at(group)
    grid = score(case.data, design=ChebyshevGrid())
    yield "  intermodulations, 5 x 5 grid", grid.at("intermodulations")
    coefficients = score(case.data, statistic="coefficient")
    yield (
        "  intermodulations, signed mean",
        {
            name: values[coefficients.rows("intermodulations")].abs().mean(0)
            for name, values in coefficients.coefficient.items()
        },
    )
    more = score(case.more_data)
    for group in ("intermodulations", "all"):
        yield f"  {group}, {N_MORE} images", more.at(group)
    spectra = tunnel.spectrum(
        case.images,
        tag_baselines=DARK,
        components="fundamentals",
        pooling=spatial_sum,
        additional_forward_args=case.labels,
    )
    yield "relevance, mean over frames", case.by_layer([s.mean.abs().mean(0) for s in spectra])
    squares = [(s.mean.square() + s.variance).sqrt().mean(0) for s in spectra]
    yield "relevance, rms over frames", case.by_layer(squares)


def judge(case: Case) -> dict[str, tuple[FilterDamage, DamageReading]]:
    """What scores should know: damage to the loss of the set, of images, and interaction."""
    damage = ablation_damage(case.model, case.judged, case.layers)
    interaction = interaction_damage(case.model, case.last_judged, case.layers, baselines=DARK)
    return {
        "damage to the set": (damage, "absolute"),
        "damage to images": (damage, "mean_absolute"),
        "interaction": (interaction, "mean_absolute"),
    }


def correlations(case: Case, scores: Scores, truth: Scores) -> str:
    """Within layers and over all, for the first and the second convolutions."""
    found = []
    for layers in case.kinds.values():
        agreement = rank_agreement(*({name: of[name] for name in layers} for of in (scores, truth)))
        found.append(f"{agreement.mean:5.2f} {agreement.overall:5.2f}")
    return " / ".join(found)


def reliabilities(case: Case, damage: FilterDamage, reading: DamageReading) -> str:
    """The same of the judgement with itself."""
    found = []
    for layers in case.kinds.values():
        part = FilterDamage({name: damage.changes[name] for name in layers})
        reliability = part.reliability(reading)
        found.append(f"{reliability.mean:5.2f} {reliability.overall:5.2f}")
    return " / ".join(found)


def partial(case: Case, scores: Scores, given: Scores, truth: Scores) -> str:
    """Correlation of scores and truth that is not due to other scores, mean over layers."""
    found = []
    for layers in case.kinds.values():
        values = []
        for name in layers:
            ranks = [stats.rankdata(of[name]) for of in (scores, given, truth)]
            (_, mutual, direct), (_, _, other), _ = np.corrcoef(ranks)
            values.append((direct - mutual * other) / np.sqrt((1 - mutual**2) * (1 - other**2)))
        found.append(f"{np.mean(values):.2f}")
    return " / ".join(found)


def print_table(depth: int) -> None:
    """All scores of a network against all judgements."""
    case = Case(depth)
    judgements = judge(case)
    truths = {name: getattr(damage, reading) for name, (damage, reading) in judgements.items()}
    print(f"\nResNet-{depth}: first / second convolutions, each within layers and over all")
    print(f"{'':<34}" + "".join(f"{name:^27}" for name in truths))
    found: dict[str, Scores] = {}
    for scores in (of_weights, untagged, tagged, tunnelled):
        for name, values in scores(case):
            found[name] = values
            row = "".join(f"{correlations(case, values, truth):>27}" for truth in truths.values())
            print(f"{name:<34}{row}", flush=True)
    row = "".join(f"{reliabilities(case, *judgement):>27}" for judgement in judgements.values())
    print(f"{'reliability of the judgement':<34}{row}", flush=True)
    print("interaction, rank correlation within layers when another score is held fixed:")
    for name, given in PARTIALS:
        shares = partial(case, found[name], found[given], truths["interaction"])
        print(f"  {name} given {given}: {shares}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depths", type=int, nargs="+", default=[32, 20])
    for depth in parser.parse_args().depths:
        print_table(depth)


if __name__ == "__main__":
    main()
