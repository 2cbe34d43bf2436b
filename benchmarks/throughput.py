"""How many images a second, on a GPU where there is one: the last layers of three networks.

Images go through `FrequencyTaggingAttribution` in batches, filter by filter (`pooling`), with the
5 x 5 grid. The peer are the bare forward passes of the same frames, in the same batches, in turn.

    python benchmarks/throughput.py [--images 32] [--batch 8] [--repeats 5] [--models resnet18]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn

from captum_ssvep import ChebyshevGrid, FrequencyTaggingAttribution

LAYERS = {"resnet18": "layer4", "resnet50": "layer4", "vit_b_16": "encoder.layers.encoder_layer_11"}
DESIGN = ChebyshevGrid()


def pool(activations: Tensor) -> Tensor:
    """Mean over space, or over tokens."""
    return activations.mean(1) if activations.dim() == 3 else activations.mean((2, 3))


def seconds_of(function: Callable[[], object], device: torch.device) -> float:
    """Seconds until the device is done."""
    synchronize(device)
    start = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(name: str, device: torch.device, options: argparse.Namespace) -> None:
    """Print a row for one network."""
    model: nn.Module = torchvision.models.get_model(name, weights=None).eval().to(device)
    images = torch.rand(options.images, 3, 224, 224, device=device)
    tagging = FrequencyTaggingAttribution(model, LAYERS[name])
    frames: list[Tensor] = []

    def ours() -> None:
        for batch in images.split(options.batch):
            tagging.spectrum(batch, design=DESIGN, pooling=pool)

    def bare() -> None:
        with torch.no_grad():
            for _ in images.split(options.batch):
                for block in frames:
                    model(block)

    handle = model.register_forward_pre_hook(lambda _, args: frames.append(args[0].clone()))
    tagging.spectrum(images[: options.batch], design=DESIGN, pooling=pool)
    handle.remove()
    ours(), bare()
    peaks = []
    for function in (bare, ours):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            function()
            peaks.append(torch.cuda.max_memory_allocated(device) / 2**30)
    rounds = [(seconds_of(ours, device), seconds_of(bare, device)) for _ in range(options.repeats)]
    mine, theirs = (statistics.median(column) for column in zip(*rounds, strict=True))
    memory = f"{peaks[1]:>9.2f} {peaks[1] / peaks[0]:>14.2f}" if peaks else f"{'-':>9} {'-':>14}"
    print(f"{name:<10} {options.images / mine:>9.1f} {mine / theirs:>12.2f} {memory}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models", nargs="+", choices=LAYERS, default=list(LAYERS))
    options = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU: on the CPU")
    print(f"{'':<10} {'images/s':>9} {'ours / bare':>12} {'peak GiB':>9} {'peak / bare':>14}")
    for name in options.models:
        measure(name, device, options)


if __name__ == "__main__":
    main()
