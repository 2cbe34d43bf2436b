"""Figures 4 and 5 of Böge et al. (arXiv 2411.10084) on the network and the data that they used.

ResNet-32 on 100 CIFAR-10 test images; the filters of all 31 convolutions (means over space), halves
at 6 and 7.5 Hz, 240 frames at 120 Hz. What an SNR means depends on what the neighboring bins
hold, which the paper leaves open. Three settings:

- no noise: these bins are empty by construction, and the rounding floor takes their place;
- pixel noise: Gaussian, with a standard deviation of 0.2 where that of the normalised images is
  about 1, new for every frame; the one setting in which thresholds are those of EEG. How many
  filters pass depends on it: with 0.05 almost all do;
- leaky sampling: 240 frames over two seconds with both ends, as `numpy.linspace` has them, so that
  tags make no whole cycles and leak into their neighbors.

A filter counts as important where its mean SNR over images exceeds 2.33 (without noise 1, the
floor). Writes fig4_*.png, fig5.png, counts.json and the scores. Two minutes.

    CAPTUM_SSVEP_DATA=... python benchmarks/paper.py --out paper [--noise 0.2]
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import (
    FrequencyTaggingAttribution,
    NeuronScores,
    TaggingDesign,
    black,
    layers_of,
    score_neurons,
)
from captum_ssvep.visualization import plot_filters, plot_important

sys.path.append(str(Path(__file__).parents[1] / "tutorials"))
from cifar import MEAN, STD, load_resnet, load_test_images

N_IMAGES = 100
# Of the paper's Fig. 4: the first convolution, and one of each stage.
SHOWN_LAYERS = ("conv1", "layer1.2.conv1", "layer2.2.conv1", "layer3.2.conv1")
SHOWN = [(1, 0), (0, 1), (1, 1)]
GROUPS: dict[str, Any] = {
    "f1, f2": "fundamentals",
    "2f1, 2f2": [(2, 0), (0, 2)],
    "f1 + f2": [(1, 1)],
}


def settings(noise_std: float) -> dict[str, tuple[float, dict[str, Any]]]:
    """Threshold of the SNR, and arguments, of each setting."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tells of the leakage
        leaky = TaggingDesign(sampling_rate=119.5, strict=False)
    return {
        "no noise": (1.0, {}),
        f"pixel noise {noise_std:g}": (2.33, {"noise_std": noise_std}),
        "leaky sampling": (2.33, {"design": leaky}),
    }


def draw_filters(scores: NeuronScores, name: str, threshold: float, path: Path) -> None:
    """The paper's Fig. 4: SNR of the filters of some layers."""
    figure, axes = plt.subplots(len(SHOWN_LAYERS), 1, figsize=(13, 13), layout="constrained")
    for ax, layer in zip(axes, SHOWN_LAYERS, strict=True):
        plot_filters(scores, layer, SHOWN, threshold=threshold, ax=ax)
    figure.suptitle(f"ResNet-32, {name}")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    """Score, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures and numbers")
    parser.add_argument("--noise", type=float, default=0.2, help="standard deviation")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    model = load_resnet(32)
    tagging = FrequencyTaggingAttribution(model, layers_of(model, (nn.Conv2d,)))
    data = TensorDataset(load_test_images(N_IMAGES)[0])
    chosen = settings(options.noise)
    plt.rcParams["font.size"] = 14
    figure, axes = plt.subplots(len(chosen), 1, figsize=(15, 15), layout="constrained")
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for ax, (name, (threshold, arguments)) in zip(axes, chosen.items(), strict=True):
        scores = score_neurons(
            tagging, data, statistic="snr", baselines=black(MEAN, STD), **arguments
        )
        slug = name.replace(" ", "_")
        scores.save(out / f"scores_{slug}.npz")
        draw_filters(scores, name, threshold, out / f"fig4_{slug}.png")
        plot_important(scores, tuple(GROUPS.values()), threshold=threshold, ax=ax)
        ax.set_title(f"{name}: mean SNR over {N_IMAGES} images above {threshold:g}")
        counts[name] = {
            label: scores.count_important(threshold, components=group)
            for label, group in GROUPS.items()
        }
    figure.savefig(out / "fig5.png", dpi=80)
    (out / "counts.json").write_text(json.dumps(counts, indent=1), encoding="utf-8")
    heads = [f"{name}: {label}" for name, groups in counts.items() for label in groups]
    print(f"{'layer':<18}{'filters':>8}" + "".join(f"{head:>30}" for head in heads))
    for layer, mean in scores.mean.items():
        row = [groups[label][layer] for groups in counts.values() for label in groups]
        print(f"{layer:<18}{len(mean):>8}" + "".join(f"{count:>30}" for count in row))


if __name__ == "__main__":
    main()
