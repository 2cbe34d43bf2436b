"""What scoring costs: ResNet-32, all 31 convolutions, filters, 100 images of 32 x 32.

Time as a ratio to the bare forward passes of the same distinct frames, in passes of the same size,
interleaved, medians; peak memory of fresh processes over the number of images. Weights are random
and images noise, which cost what real ones cost.

    python benchmarks/scoring.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    TaggingDesign,
    layers_of,
    score_neurons,
)
from captum_ssvep.design.base import Design
from captum_ssvep.spectrum.plan import SpectrumPlan
from captum_ssvep.stimulus.frames import Stimulus

sys.path.append(str(Path(__file__).parents[1] / "tutorials"))
from cifar import CifarResNet

N_IMAGES, BATCH, FRAMES_PER_PASS = 100, 32, 16
DESIGNS: dict[str, Design] = {"6 / 7.5 Hz": TaggingDesign(), "5 x 5 grid": ChebyshevGrid()}


class Noise(Dataset[Tensor]):
    """Images made as they are asked for."""

    def __init__(self, n_images: int) -> None:
        self.n_images = n_images

    def __len__(self) -> int:
        return self.n_images

    def __getitem__(self, index: int) -> Tensor:
        return torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(index))


def score(model: nn.Module, design: Design, n_images: int = N_IMAGES) -> None:
    """Ours."""
    tagging = FrequencyTaggingAttribution(model, layers_of(model, (nn.Conv2d,)))
    score_neurons(tagging, Noise(n_images), batch_size=BATCH, design=design, show_progress=False)


@torch.no_grad()
def bare(model: nn.Module, design: Design) -> None:
    """The forward passes of the same distinct frames, and nothing else."""
    images = Noise(N_IMAGES)
    contrasts = SpectrumPlan.build(design, "all", 4, 0, 0.0).contrasts
    for first in range(0, N_IMAGES, BATCH):
        batch = torch.stack([images[i] for i in range(first, min(first + BATCH, N_IMAGES))])
        stimulus = Stimulus.build(batch, design, None, None)
        for start in range(0, len(contrasts), FRAMES_PER_PASS):
            model(stimulus.frames(contrasts[start : start + FRAMES_PER_PASS])[0])


def seconds(run: Callable[[], None]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak(n_images: int) -> float:
    """Peak resident size in MiB of a fresh process that scores so many images."""
    command = [sys.executable, __file__, "--child", str(n_images)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Print ratios and sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = CifarResNet(32).eval()
    if options.child:
        score(model, ChebyshevGrid(), options.child)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    for name, design in DESIGNS.items():
        ours, passes = [], []
        for _ in range(options.repeats + 1):  # the first round warms up
            ours.append(seconds(lambda design=design: score(model, design)))
            passes.append(seconds(lambda design=design: bare(model, design)))
        ratio = statistics.median(ours[1:]) / statistics.median(passes[1:])
        ratios = sorted(one / other for one, other in zip(ours[1:], passes[1:], strict=True))
        print(f"{name}: {ratio:.2f} times the bare passes ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    sizes = {n: peak(n) for n in (100, 200, 400)}
    for n, size in sizes.items():
        print(f"{n} images: peak {size:.0f} MiB, {size / sizes[100]:.2f} of that of 100")


if __name__ == "__main__":
    main()
