"""Which score to prune by: accuracy without the filters that it ranks lowest.

Filters of the first convolutions of all blocks of the CIFAR-10 ResNets are removed in one shot, and
nothing is retrained. Scores come from 200 training images, accuracy from the 500 test images. Rows
and columns are those of Torch-Pruning's benchmark of importance criteria. Each cell is the
accuracy in % and the cross-entropy; the size of the network follows for each ratio: the same for
all scores if every layer loses the same share, and that of the score at hand if filters of all
layers compete (their scores divided by the layer's l2 norm). About an hour on one core.

    CAPTUM_SSVEP_DATA=... python benchmarks/pruning.py [--depths 32 20] [--figure curves.png]
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch_pruning
from captum.attr import LayerActivation, LayerGradientXActivation
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from captum_ssvep import black
from captum_ssvep.evaluation import loss
from captum_ssvep.pruning import (
    PruningCurve,
    masks_of,
    pruning_curve,
    random_scores,
    score_for_pruning,
)
from captum_ssvep.visualization import plot_pruning_curves

sys.path.append(str(Path(__file__).parents[1] / "tutorials"))
from cifar import MEAN, STD, load_resnet, load_test_images

RATIOS = (0.1, 0.2, 0.3, 0.5)
N_SCORED, N_DRAWS = 200, 5
DARK = black(MEAN, STD)
Scores = dict[str, Tensor]


def load_training_images() -> tuple[Tensor, Tensor]:
    """The first training images in the folder, normalized, and their labels."""
    with np.load(Path(os.environ["CAPTUM_SSVEP_DATA"]) / "cifar10_train_3000.npz") as arrays:
        images, labels = arrays["images"][:N_SCORED], arrays["labels"][:N_SCORED]
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std, torch.from_numpy(labels).long()


class Case:
    """A network, the images for its scores and those for their judgement."""

    def __init__(self, depth: int) -> None:
        self.model = load_resnet(depth).to(memory_format=torch.channels_last)
        self.images, self.labels = load_training_images()
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


def print_tables(depth: int) -> dict[str, list[PruningCurve]]:
    """All scores of a network; returns the curves of the first table."""
    case = Case(depth)
    found = {name: [scores] for name, scores in case.scores().items()}
    any_scores = next(iter(found.values()))[0]
    found["random"] = [random_scores(any_scores, seed=seed) for seed in range(N_DRAWS)]
    whole = pruning_curve(case.model, any_scores, case.judged, [0], show_progress=False)
    macs, parameters = case.size(any_scores, 0)
    print(
        f"\nResNet-{depth}: {100 * whole.accuracy[0]:.1f} % and {whole.loss[0]:.2f} with all "
        f"filters, {macs / 1e6:.1f} M MACs, {parameters / 1e3:.0f} k parameters"
    )
    first: dict[str, list[PruningCurve]] = {}
    for recalibrated in (False, True):
        for scope, normalize in (("layer", None), ("global", "l2")):
            choice = {"scope": scope, "normalize": normalize}
            kind = "the same share of every layer" if scope == "layer" else "of all layers together"
            how = "BatchNorms recalibrated" if recalibrated else "nothing recalibrated"
            print(f"\nResNet-{depth}, {kind}, {how}; accuracy (%) and loss at {RATIOS}")
            for name, draws in found.items():
                curves = [
                    pruning_curve(
                        case.model,
                        scores,
                        case.judged,
                        RATIOS,
                        recalibrate_on=case.scored if recalibrated else None,
                        show_progress=False,
                        **choice,
                    )
                    for scores in draws
                ]
                first.setdefault(name, curves)
                sizes = [case.size(draws[0], ratio, **choice) for ratio in RATIOS]
                shown = ", ".join(f"{m / 1e6:.1f} M {p / 1e3:.0f} k" for m, p in sizes)
                print(f"{name:<23} {row(curves)} | {shown}", flush=True)
    return first


def main() -> None:
    """Print the tables, and draw the curves without recalibration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depths", type=int, nargs="+", default=[32, 20])
    parser.add_argument("--figure", help="where to save the curves of the last network")
    arguments = parser.parse_args()
    for depth in arguments.depths:
        curves = print_tables(depth)
        if arguments.figure:
            figure, ax = plot_pruning_curves(curves)
            ax.set_title(f"ResNet-{depth}, first convolutions, one shot")
            figure.savefig(arguments.figure, dpi=120)


if __name__ == "__main__":
    main()
