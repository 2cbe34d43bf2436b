"""Which score to prune by: accuracy without the filters that it ranks lowest.

Filters of the first convolutions of all blocks of the CIFAR-10 ResNets are removed in one shot, and
nothing is retrained. Scores come from 200 training images, accuracy from the 500 test images. Rows
and columns are those of Torch-Pruning's benchmark of importance criteria. Each cell is the
accuracy in % and the cross-entropy; the size of the network follows for each ratio: the same for
all scores if every layer loses the same share, and that of the score at hand if filters of all
layers compete (their scores divided by the layer's l2 norm). The last tables take the score
apart: its frames, its objective, how signs are treated, and new scores after every tenth. About an
hour on one core.

    CAPTUM_SSVEP_DATA=... python benchmarks/pruning.py [--depths 32 20] [--tables layer]
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path

import numpy as np
import torch
import torch_pruning
from captum.attr import LayerActivation, LayerGradientXActivation
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from captum_ssvep import ChebyshevGrid, FrequencyTaggingAttribution, black, score_neurons
from captum_ssvep.evaluation import loss, margin
from captum_ssvep.evaluation.objectives import Objective
from captum_ssvep.pruning import (
    PruningCurve,
    masks_of,
    pruned,
    pruning_curve,
    random_scores,
    score_for_pruning,
)
from captum_ssvep.stimulus.frames import Stimulus
from captum_ssvep.visualization import plot_pruning_curves

sys.path.append(str(Path(__file__).parents[1] / "tutorials"))
from cifar import MEAN, STD, load_resnet, load_test_images, load_training_images

RATIOS = (0.1, 0.2, 0.3, 0.5)
N_SCORED, N_DRAWS = 200, 5
DARK = black(MEAN, STD)
Scores = dict[str, Tensor]
TOGETHER = {"scope": "global", "normalize": "l2"}
# Title, whether BatchNorms are recalibrated, and arguments of `masks_of`.
TABLES = {
    "layer": ("the same share of every layer", False, {}),
    "recalibrated": ("the same share of every layer, BatchNorms recalibrated", True, {}),
    "global": ("of all layers together", False, TOGETHER),
    "global-recalibrated": ("of all layers together, BatchNorms recalibrated", True, TOGETHER),
    "parts": ("parts of the relevance", False, {}),
}


class Case:
    """A network, the images for its scores and those for their judgement."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.model = load_resnet(depth).to(memory_format=torch.channels_last)
        self.images, self.labels = load_training_images(N_SCORED)
        self.scored = TensorDataset(self.images, self.labels)
        self.judged = TensorDataset(*load_test_images(500))
        blocks = [f"layer{s}.{b}" for s in (1, 2, 3) for b in range((depth - 2) // 6)]
        self.layers = [f"{block}.conv1" for block in blocks]
        self.weights = {n: self.model.get_submodule(n).weight.detach() for n in self.layers}
        self.norms = [self.model.get_submodule(f"{block}.bn1") for block in blocks]
        self.relus = [self.model.get_submodule(f"{block}.relu1") for block in blocks]

    def scores(self) -> dict[str, Scores]:
        """All scores but the random ones."""

        def by_layer(values: list[Tensor]) -> Scores:
            return dict(zip(self.layers, values, strict=True))

        def of_weights(read) -> Scores:
            return {layer: read(weight.flatten(1)) for layer, weight in self.weights.items()}

        def lost(inputs: Tensor, labels: Tensor) -> Tensor:
            return loss(self.model(inputs), labels)

        common = {"layers": self.layers, "baselines": DARK, "show_progress": False}
        taylor = LayerGradientXActivation(lost, self.norms).attribute(
            self.images.clone().requires_grad_(), additional_forward_args=self.labels
        )
        activations = LayerActivation(self.model, self.relus).attribute(self.images)
        amplitudes = score_neurons(
            FrequencyTaggingAttribution(self.model, self.relus),
            self.scored,
            baselines=DARK,
            design=ChebyshevGrid(),
            show_progress=False,
        )
        return {
            "relevance, frames": score_for_pruning(self.model, self.scored, **common),
            "relevance, images": score_for_pruning(self.model, self.scored, design=None, **common),
            "loss gradient (Taylor)": by_layer(
                [t.detach().sum((2, 3)).abs().mean(0) for t in taylor]
            ),
            "L1 norm": of_weights(lambda w: w.abs().sum(1)),
            "L2 norm": of_weights(lambda w: w.norm(dim=1)),
            "FPGM": of_weights(lambda w: torch.cdist(w, w).sum(1)),
            "BatchNorm scale": by_layer([norm.weight.detach().abs() for norm in self.norms]),
            "mean activation": by_layer([a.detach().mean((0, 2, 3)) for a in activations]),
            "tagged amplitude": by_layer([*amplitudes.mean.values()]),
        }

    def size(self, scores: Scores, ratio: float, **arguments) -> tuple[float, int]:
        """Multiplications and parameters of the network that is left, as removed for real."""
        smaller, image = copy.deepcopy(self.model), self.images[:1]
        graph = torch_pruning.DependencyGraph().build_dependency(smaller, image)
        for layer, mask in masks_of(scores, ratio=ratio, **arguments).items():
            filters = (~mask).nonzero().flatten().tolist()
            if filters:
                convolution: nn.Module = smaller.get_submodule(layer)
                remove = torch_pruning.prune_conv_out_channels
                graph.get_pruning_group(convolution, remove, filters).prune()
        return torch_pruning.utils.count_ops_and_params(smaller, image)


def row(curves: list[PruningCurve]) -> str:
    """Accuracy and loss at each ratio; of several draws the mean, and the spread of accuracy."""
    cells = []
    for place in range(len(RATIOS)):
        accuracy = [100 * curve.accuracy[place] for curve in curves]
        lost = np.mean([curve.loss[place] for curve in curves])
        spread = f"+-{np.std(accuracy, ddof=1):4.1f}" if len(curves) > 1 else ""
        cells.append(f"{np.mean(accuracy):5.1f}{spread:<6} {lost:5.2f}")
    return " | ".join(cells)


def curves_of(case: Case, draws: list[Scores], **arguments) -> list[PruningCurve] | None:
    """A curve for each draw; None if a layer would be left without filters."""
    try:
        return [
            pruning_curve(case.model, scores, case.judged, RATIOS, show_progress=False, **arguments)
            for scores in draws
        ]
    except ValueError as error:
        print(error)
        return None


def print_table(
    case: Case, title: str, found: dict[str, list[Scores]], recalibrated: bool, **choice
) -> dict[str, list[PruningCurve]]:
    """Accuracy, loss and size for all scores; returns the curves."""
    print(f"\nResNet-{case.depth}, {title}; accuracy (%) and loss at {RATIOS}, size")
    arguments = choice | {"recalibrate_on": case.scored if recalibrated else None}
    kept = {}
    for name, draws in found.items():
        curves = curves_of(case, draws, **arguments)
        if curves is not None:
            kept[name] = curves
            sizes = [case.size(draws[0], ratio, **choice) for ratio in RATIOS]
            shown = ", ".join(f"{m / 1e6:.1f} M {p / 1e3:.0f} k" for m, p in sizes)
            print(f"{name:<27} {row(curves)} | {shown}", flush=True)
    return kept


def rescored(case: Case, **arguments) -> PruningCurve:
    """A tenth of the filters at a time, with new scores for those that are left."""
    points = {}
    scores = score_for_pruning(case.model, case.scored, case.layers, **arguments)
    for tenths in range(1, 6):
        ratio = tenths / 10
        curve = pruning_curve(case.model, scores, case.judged, [ratio], show_progress=False)
        points[ratio] = curve.accuracy[0], curve.loss[0]
        with pruned(case.model, masks_of(scores, ratio=ratio)):
            scores = score_for_pruning(case.model, case.scored, case.layers, **arguments)
    accuracy, lost = zip(*(points[ratio] for ratio in RATIOS), strict=True)
    return PruningCurve(RATIOS, accuracy, lost)


def contributions(case: Case, objective: Objective, design: ChebyshevGrid | None) -> list[Tensor]:
    """Activation x gradient for each layer: (signed and absolute sums over space, rows, filters).

    Rows are all frames of the first image batch, then of the next.
    """

    def forward(inputs: Tensor, labels: Tensor) -> Tensor:
        return objective(case.model(inputs), labels)

    method, found = LayerGradientXActivation(forward, case.norms), []
    for images, labels in DataLoader(case.scored, 50):
        contrasts = np.ones((1, 2)) if design is None else design.contrasts
        (frames,) = Stimulus.build(images, ChebyshevGrid(), None, DARK).frames(contrasts)
        repeated = labels.repeat(len(contrasts))
        values = method.attribute(frames.requires_grad_(), additional_forward_args=repeated)
        sums = [torch.stack([v.sum((2, 3)), v.abs().sum((2, 3))]).detach() for v in values]
        found.append([s.unflatten(1, (len(contrasts), -1)) for s in sums])
    return [torch.cat(parts, dim=2) for parts in zip(*found, strict=True)]


def variants(case: Case) -> dict[str, list[Scores]]:
    """The parts of the score taken one by one."""
    grid, full = ChebyshevGrid(nodes=3), ChebyshevGrid(nodes=3, contrast=(0.0, 1.0))

    def scores(values: list[Tensor], read) -> list[Scores]:
        return [dict(zip(case.layers, map(read, values), strict=True))]

    def logit(number: int) -> Objective:
        return lambda outputs, labels: outputs[:, number]

    at_frames = contributions(case, margin, grid)
    at_images = contributions(case, margin, None)
    logits = zip(*(contributions(case, logit(k), None) for k in range(10)), strict=True)
    centered = [torch.stack(v)[:, 0] for v in logits]  # (classes, 1, images, filters)
    return {
        "frames": scores(at_frames, lambda v: v[0].abs().mean((0, 1))),
        "frames, contrasts 0 to 1": scores(
            contributions(case, margin, full), lambda v: v[0].abs().mean((0, 1))
        ),
        "images alone": scores(at_images, lambda v: v[0].abs().mean((0, 1))),
        "loss, frames": scores(contributions(case, loss, grid), lambda v: v[0].abs().mean((0, 1))),
        "loss, images alone": scores(
            contributions(case, loss, None), lambda v: v[0].abs().mean((0, 1))
        ),
        "all logits, images alone": scores(
            centered, lambda v: (v - v.mean(0)).square().sum(0).sqrt().mean((0, 1))
        ),
        "frames averaged, then abs": scores(at_frames, lambda v: v[0].mean(0).abs().mean(0)),
        "abs of every place": scores(at_frames, lambda v: v[1].mean((0, 1))),
        "root mean square": scores(at_frames, lambda v: v[0].square().mean((0, 1)).sqrt()),
        "signed mean over images": scores(at_frames, lambda v: v[0].mean((0, 1)).abs()),
    }


def main() -> None:
    """Print the tables, and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depths", type=int, nargs="+", default=[32, 20])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--figure", help="where to save curves of the first network, no suffix")
    arguments = parser.parse_args()
    cases = [Case(depth) for depth in arguments.depths]
    found = {}
    for case in cases:
        scores = {name: [values] for name, values in case.scores().items()}
        some = next(iter(scores.values()))[0]
        scores["random"] = [random_scores(some, seed=seed) for seed in range(N_DRAWS)]
        found[case] = scores
        whole = pruning_curve(case.model, some, case.judged, [0], show_progress=False)
        macs, parameters = case.size(some, 0)
        print(
            f"ResNet-{case.depth}: {100 * whole.accuracy[0]:.1f} % and {whole.loss[0]:.2f} with "
            f"all filters, {macs / 1e6:.1f} M MACs, {parameters / 1e3:.0f} k parameters"
        )
    if "parts" in arguments.tables:
        for case in cases:
            print_table(case, "parts of the relevance", variants(case), False)
            common = {"baselines": DARK, "show_progress": False}
            print(f"{'images alone, rescored':<27} {row([rescored(case, design=None, **common)])}")
            print(f"{'frames, rescored':<27} {row([rescored(case, **common)])}", flush=True)
    for name in [table for table in TABLES if table in arguments.tables and table != "parts"]:
        title, recalibrated, choice = TABLES[name]
        for case in cases:
            curves = print_table(case, title, found[case], recalibrated, **choice)
            if arguments.figure and case is cases[0]:
                figure, ax = plot_pruning_curves(curves)
                ax.set_title(f"ResNet-{case.depth}, first convolutions, one shot")
                figure.savefig(f"{arguments.figure}-{name}.png", dpi=120)


if __name__ == "__main__":
    main()
