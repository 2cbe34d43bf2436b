"""Which filters of ResNet-32 bind the halves of an image, and what they see.

Left: relevance to the margin at the intermodulations, from 40 images, against the interaction of
filter, left and right contrast that ablation measures on 100 others. Right: for the filter with
the largest relevance of each stage the images (of 100) in which it is largest, and where in them
its neurons answer at f1 + f2. Five minutes.

    CAPTUM_SSVEP_DATA=... python benchmarks/binding.py --out binding.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import torch
from captum.attr import LayerGradientXActivation
from importance import DARK, MEAN, STD, Case, spatial_sum
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from torch.utils.data import TensorDataset

from captum_ssvep import (
    FrequencyTaggingAttribution,
    FrequencyTunnel,
    NeuronScores,
    interaction_damage,
    margin_of,
    rank_agreement,
    score_neurons,
    to_map,
)
from captum_ssvep.evaluation.damage import FilterDamage
from captum_ssvep.visualization import to_pixels

N_SHOWN = 6
STAGE_COLORS = {"layer1": "#1b9e77", "layer2": "#d95f02", "layer3": "#7570b3"}


def score(case: Case, data: TensorDataset) -> NeuronScores:
    """Relevance at the intermodulations."""
    return score_neurons(
        FrequencyTunnel(LayerGradientXActivation(margin_of(case.model), case.modules)),
        data,
        components="intermodulations",
        pooling=spatial_sum,
        labels_as="additional_forward_args",
        n_top_images=N_SHOWN,
        tag_baselines=DARK,
    )


def draw_agreement(ax: Axes, scores: NeuronScores, damage: FilterDamage) -> None:
    """One dot for each filter."""
    interaction = damage.mean_absolute
    for stage, color in STAGE_COLORS.items():
        layers = [name for name in scores.layers if name.startswith(stage)]
        ax.scatter(
            torch.cat([scores.mean[name] for name in layers]),
            torch.cat([interaction[name] for name in layers]),
            s=9,
            alpha=0.6,
            color=color,
            label=f"stage {stage[-1]}",
        )
    agreement = rank_agreement(scores, interaction)
    ax.set(
        xscale="log",
        yscale="log",
        xlim=(1e-3, 1),  # a handful of silent filters lie beyond
        ylim=(1e-2, 10),
        xlabel="tagged relevance at the intermodulations",
        ylabel="interaction measured by ablation",
        title=f"filters of ResNet-32: rank correlation {agreement.overall:.2f}",
    )
    ax.legend(frameon=False, loc="lower right", markerscale=2)
    print(f"overall {agreement.overall:.3f}, within layers {agreement.mean:.3f}")


def draw_filter(figure: SubFigure, case: Case, layer: str, channel: int, places: list[int]) -> None:
    """The images of a filter, and where in them it answers both halves together."""
    images = case.more_data.tensors[0][places]
    tagging = FrequencyTaggingAttribution(case.model, layer)
    responses = tagging.attribute(
        images, baselines=DARK, components=[(1, 1)], statistic="amplitude"
    )
    axes = figure.subplots(1, N_SHOWN)
    for row, ax in enumerate(axes):
        picture = to_pixels(images[row : row + 1], MEAN, STD)[0]
        seen = to_map(responses, (32, 32), layout="channels_first", example=row, channel=channel)[
            :, :, 0
        ]
        # Full colour where the filter answers most, dark where it does not.
        ax.imshow(picture * (0.4 + 0.6 * np.sqrt(seen / seen.max())[:, :, None]))
        ax.axvline(15.5, color="white", linestyle="--", linewidth=0.8)
        ax.set_axis_off()
    figure.suptitle(f"filter {channel} of {layer}", fontsize=15)


def main() -> None:
    """Score, judge, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    path = parser.parse_args().out
    case = Case(32)
    scores = score(case, case.data)
    damage = interaction_damage(case.model, case.last_judged, case.layers, baselines=DARK)
    more = score(case, case.more_data)
    matplotlib.rcParams["font.size"] = 15
    figure = plt.figure(figsize=(15, 6.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.35))
    draw_agreement(left.subplots(), scores, damage)
    rows = right.subfigures(len(STAGE_COLORS), 1)
    for row, stage in zip(rows, STAGE_COLORS, strict=True):
        ranked = [record for record in more.top(2000) if record["layer"].startswith(stage)]
        layer, channel = ranked[0]["layer"], ranked[0]["neuron"]
        print(f"{stage}: filter {channel} of {layer}, {ranked[0]['score']:.3g}")
        draw_filter(row, case, layer, channel, more.top_images[layer][:, channel].tolist())
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
