"""How fast: ResNet-18 at 224 x 224, one image, in time and on a grid.

Peers, in one process, interleaved, medians:

- naive: the pipeline a Captum user would write (`LayerActivation` over the 240 frames in batches,
  stack, `numpy.fft.rfft`);
- published: one frame a forward pass, a hook on every convolution that appends the mean of every
  filter to a Python list, one FFT per filter;
- bare: the forward passes of the same distinct frames up to the layer, in the same batches.

Then what the user can choose: channels last, bfloat16, frames per pass, a compiled model.

    python benchmarks/speed.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torchvision
from captum.attr import LayerActivation
from torch import Tensor, nn

from captum_ssvep import ChebyshevGrid, FrequencyTaggingAttribution, TaggingDesign, tagged_sequence
from captum_ssvep.design.base import Design

PAPER = TaggingDesign()
DESIGNS: dict[str, Design] = {"6 / 7.5 Hz": PAPER, "5 x 5 grid": ChebyshevGrid()}
BATCH = 16
# Children of ResNet-18 to run for a layer.
STEMS = {"layer4": 8, "layer1": 5}


def naive(model: nn.Module, layer: nn.Module, image: Tensor) -> np.ndarray:
    """SNR at both tags as one writes it with Captum and NumPy."""
    frames = tagged_sequence(image, PAPER)[:, 0]
    activation = LayerActivation(model, layer)
    series = torch.cat([activation.attribute(batch) for batch in frames.split(BATCH)]).numpy()
    amplitude = 2 * np.abs(np.fft.rfft(series, axis=0)) / PAPER.n_frames
    return np.mean([paper_snr(amplitude, line) for line in PAPER.bins], axis=0)


def published(model: nn.Module, convolutions: list[nn.Module], image: Tensor) -> list[float]:
    """SNR of every filter of every convolution, frame by frame and filter by filter."""
    series: list[list[list[float]]] = [
        [[] for _ in range(module.out_channels)] for module in convolutions
    ]

    def hook(module: nn.Module, args: object, output: Tensor, lists: list[list[float]]) -> None:
        for values, activation in zip(lists, output[0], strict=True):
            values.append(activation.mean().item())

    handles = [
        module.register_forward_hook(partial(hook, lists=lists))
        for module, lists in zip(convolutions, series, strict=True)
    ]
    with torch.no_grad():
        for frame in tagged_sequence(image, PAPER):
            model(frame)
    for handle in handles:
        handle.remove()
    ratios = []
    for lists in series:
        for values in lists:
            amplitude = 2 * np.abs(np.fft.rfft(values)) / PAPER.n_frames
            ratios.append(float(np.mean([paper_snr(amplitude, line) for line in PAPER.bins])))
    return ratios


def paper_snr(amplitude: np.ndarray, line: int) -> np.ndarray:
    """Amplitude over the mean of the two bins on each side, which is zero but for rounding."""
    noise = amplitude[[line - 2, line - 1, line + 1, line + 2]].mean(axis=0)
    return amplitude[line] / np.maximum(noise, 1e-6)


def bare(stem: nn.Module, batches: list[Tensor]) -> None:
    """The forward passes alone."""
    with torch.no_grad():
        for batch in batches:
            stem(batch)


def batches_of(model: nn.Module, layer: nn.Module, image: Tensor, design: Design) -> list[Tensor]:
    """The frames that the package runs for a layer, in its batches."""
    batches: list[Tensor] = []
    handle = model.register_forward_pre_hook(lambda _, args: batches.append(args[0].clone()))
    FrequencyTaggingAttribution(model, layer).attribute(image, design=design)
    handle.remove()
    return batches


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


def against_peers(model: nn.Module, image: Tensor, repeats: int) -> None:
    """Print the table of single layers."""
    print(f"{'layer':<10} {'design':<12} {'seconds':>8} {'naive / ours':>13} {'ours / bare':>12}")
    for name, n_children in STEMS.items():
        layer = model.get_submodule(name)
        stem = nn.Sequential(*list(model.children())[:n_children])
        tagging = FrequencyTaggingAttribution(model, layer)
        functions: dict[str, Callable[[], object]] = {"naive": partial(naive, model, layer, image)}
        for label, design in DESIGNS.items():
            functions[label] = partial(tagging.attribute, image, design=design)
            functions[f"bare {label}"] = partial(
                bare, stem, batches_of(model, layer, image, design)
            )
        seconds = medians(functions, repeats)
        for label in DESIGNS:
            print(
                f"{name:<10} {label:<12} {seconds[label]:>8.2f} "
                f"{seconds['naive'] / seconds[label]:>13.1f} "
                f"{seconds[label] / seconds[f'bare {label}']:>12.2f}"
            )


def all_convolutions(model: nn.Module, image: Tensor, repeats: int) -> None:
    """Print the table of all convolutions at once: every neuron, and every filter's mean."""
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    tagging = FrequencyTaggingAttribution(model, convolutions)
    functions: dict[str, Callable[[], object]] = {}
    for label, design in DESIGNS.items():
        batches = batches_of(model, model.get_submodule("fc"), image, design)
        functions[f"bare {label}"] = partial(bare, model, batches)
        functions[label] = partial(tagging.attribute, image, design=design)
        functions[f"filters {label}"] = partial(
            tagging.spectrum, image, design=design, components="fundamentals", pooling="channel"
        )
    seconds = medians(functions, repeats)
    slow = medians({"published": partial(published, model, convolutions, image)}, 1)["published"]
    print(f"\nall {len(convolutions)} convolutions")
    print(f"{'':<10} {'design':<12} {'seconds':>8} {'published / ours':>17} {'ours / bare':>12}")
    for label in DESIGNS:
        for kind, prefix in (("neurons", ""), ("filters", "filters ")):
            ours = seconds[prefix + label]
            against = f"{slow / ours:.1f}" if kind == "filters" else ""
            print(
                f"{kind:<10} {label:<12} {ours:>8.2f} {against:>17} "
                f"{ours / seconds[f'bare {label}']:>12.2f}"
            )


def choices(model: nn.Module, image: Tensor, repeats: int) -> None:
    """Print what the user's own settings change, on the grid."""
    design = DESIGNS["5 x 5 grid"]
    last = torchvision.models.resnet18(weights=None).eval().to(memory_format=torch.channels_last)
    last.load_state_dict(model.state_dict())
    compiled = torch.compile(model)

    def halved(network: nn.Module, layer: str) -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return FrequencyTaggingAttribution(network, layer).attribute(image, design=design)

    print(f"\n5 x 5 grid, seconds as a share of the plain call's\n{'':<34} layer4 layer1")
    columns = []
    for layer in STEMS:
        ours = partial(FrequencyTaggingAttribution(model, layer).attribute, image, design=design)
        in_last = FrequencyTaggingAttribution(last, layer).attribute
        batches = batches_of(model, model.get_submodule("fc"), image, design)
        seconds = medians(
            {
                "plain": ours,
                "16 frames per pass": partial(ours, perturbations_per_eval=16),
                "all frames in one pass": partial(ours, perturbations_per_eval=64),
                "channels last": partial(in_last, image, design=design),
                "bfloat16": partial(halved, model, layer),
                "channels last and bfloat16": partial(halved, last, layer),
                "whole forward passes": partial(bare, model, batches),
                "whole forward passes, compiled": partial(bare, compiled, batches),
            },
            repeats,
        )
        columns.append({name: value / seconds["plain"] for name, value in seconds.items()})
    for name in columns[0]:
        print(f"{name:<34} " + " ".join(f"{column[name]:6.2f}" for column in columns))


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None).eval()
    image = torch.rand(1, 3, 224, 224)
    print(f"ResNet-18, 224 x 224, {torch.get_num_threads()} threads, medians of {repeats}")
    against_peers(model, image, repeats)
    all_convolutions(model, image, repeats)
    choices(model, image, repeats)


if __name__ == "__main__":
    main()
