"""How fast: ResNet-18 at 224 x 224, one image, the default design.

Peers, in one process, interleaved, medians: the pipeline a Captum user would write
(`LayerActivation` over the 240 frames in batches, stack, `numpy.fft.rfft`), and the bare forward
passes of the same distinct frames up to the layer.

    python benchmarks/speed.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
import torchvision
from captum.attr import LayerActivation
from torch import Tensor, nn

from captum_ssvep import FrequencyTaggingAttribution, TaggingDesign, tagged_sequence

DESIGN = TaggingDesign()
BATCH = 16


def naive(model: nn.Module, layer: nn.Module, image: Tensor) -> np.ndarray:
    """SNR at both tags as one writes it with Captum and NumPy."""
    frames = tagged_sequence(image, DESIGN)[:, 0]
    activation = LayerActivation(model, layer)
    series = torch.cat([activation.attribute(batch) for batch in frames.split(BATCH)]).numpy()
    amplitude = 2 * np.abs(np.fft.rfft(series, axis=0)) / DESIGN.n_frames
    ratios = []
    for line in DESIGN.bins:
        noise = amplitude[[line - 2, line - 1, line + 1, line + 2]].mean(axis=0)
        ratios.append(amplitude[line] / np.maximum(noise, 1e-6))
    return np.mean(ratios, axis=0)


def bare(stem: nn.Module, batches: list[Tensor]) -> None:
    """The forward passes alone."""
    with torch.no_grad():
        for batch in batches:
            stem(batch)


def distinct_batches(image: Tensor) -> list[Tensor]:
    """The distinct frames, in the batches in which the package runs them."""
    _, first_moments = np.unique(DESIGN.schedule().moments, return_index=True)
    distinct = tagged_sequence(image, DESIGN)[:, 0][first_moments]
    bounds = [0, *range(1, len(distinct), BATCH), len(distinct)]
    return [distinct[start:stop] for start, stop in pairwise(bounds)]


def medians(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each, run in turn after one warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None).eval()
    image = torch.rand(1, 3, 224, 224)
    batches = distinct_batches(image)
    stages = list(model.children())
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    print(f"ResNet-18, 224 x 224, {torch.get_num_threads()} threads, medians of {repeats}")
    print(f"{'layer':<20} {'seconds':>8} {'naive / ours':>13} {'ours / bare':>12}")
    for name, n_children in (("layer4", 8), ("layer1", 5)):
        layer = model.get_submodule(name)
        stem = nn.Sequential(*stages[:n_children])
        tagging = FrequencyTaggingAttribution(model, layer)
        seconds = medians(
            {
                "ours": lambda tagging=tagging: tagging.attribute(image),
                "bare": lambda stem=stem: bare(stem, batches),
                "naive": lambda layer=layer: naive(model, layer, image),
            },
            repeats,
        )
        print(
            f"{name:<20} {seconds['ours']:>8.2f} {seconds['naive'] / seconds['ours']:>13.1f} "
            f"{seconds['ours'] / seconds['bare']:>12.2f}"
        )
    tagging = FrequencyTaggingAttribution(model, convolutions)
    seconds = medians(
        {"ours": lambda: tagging.attribute(image), "bare": lambda: bare(model, batches)}, repeats
    )
    print(
        f"{f'all {len(convolutions)} convolutions':<20} {seconds['ours']:>8.2f} {'':>13} "
        f"{seconds['ours'] / seconds['bare']:>12.2f}"
    )


if __name__ == "__main__":
    main()
