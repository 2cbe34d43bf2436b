"""How accurate: designs against one far finer, and estimated errors against the true ones.

ResNet-32 with trained weights on five CIFAR-10 test images (three with 4 parts, one with 5); in
each of four layers the responses are the filters, averaged over space, and 200 single neurons. The
truth is a Chebyshev grid of more nodes. Errors are root mean squares over images, layers, responses
and components, relative to those of the amplitudes. Two minutes or three.

    CAPTUM_SSVEP_DATA=... python benchmarks/accuracy.py [--out accuracy.png]
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from torch import Tensor, nn

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    TaggedSpectrum,
    TaggingDesign,
    black,
    choose_design,
    tiles,
)
from captum_ssvep.design.base import Design
from captum_ssvep.design.collisions import collision_free_bins

sys.path.append(str(Path(__file__).parents[1] / "tutorials"))
from cifar import MEAN, STD, load_resnet, load_test_images

LAYERS = ["relu", "layer1", "layer2", "layer3"]
MAX_ORDER = 4
N_NEURONS = 200
COSINE = math.pi / 2
PAPER = TaggingDesign()
# The scene with so many parts: images, rows and columns of parts, nodes of the true grid.
SCENES = {2: (5, 1, 2, 24), 3: (5, 1, 3, 13), 4: (3, 2, 2, 9), 5: (1, 1, 5, 7)}
TIME, GRID, OF_PAPER = "tags in time", "Chebyshev grid", "the paper's design"
KIND_LOOKS: dict[str, dict[str, Any]] = {
    TIME: {"color": "#d95f02", "marker": "o", "markersize": 8, "linewidth": 2},
    GRID: {"color": "#1b6ca8", "marker": "o", "markersize": 8, "linewidth": 2},
    OF_PAPER: {"color": "black", "marker": "*", "markersize": 20, "linewidth": 0},
}
ORDER_LOOKS: dict[int, dict[str, Any]] = {
    1: {"linestyle": "-"},
    3: {"linestyle": "--", "markerfacecolor": "white"},
}
FRAME_TICKS = (10, 20, 50, 100, 200, 500)


def lattices(n_parts: int, orders: Iterable[int]) -> dict[str, Design]:
    """Records as short as a greedy search finds, collision-free to each of some orders."""
    found = {m: collision_free_bins(n_parts, m) for m in orders}
    return {
        f"greedy tags to order {m}": TaggingDesign(bins, period, period, phases=COSINE)
        for m, (bins, period) in found.items()
    }


def in_time(n_parts: int, orders: Iterable[int]) -> dict[str, Design]:
    """Records that are collision-free to each of some orders."""
    return {f"tags to order {m}": choose_design(n_parts, m, "time") for m in orders}


def grids(n_parts: int, nodes: Iterable[int]) -> dict[str, Design]:
    """Chebyshev grids of each of some numbers of nodes per part."""
    return {f"grid, {n} nodes": ChebyshevGrid(n_parts, n) for n in nodes}


NAMED: dict[str, Design] = {
    "paper, 6 / 7.5 Hz": PAPER,
    "paper, cosine phase": TaggingDesign(phases=COSINE),
    "5 / 5.5 Hz, cosine phase": TaggingDesign((5, 5.5), phases=COSINE),
}
TABLE: dict[int, dict[str, Design]] = {
    2: NAMED | lattices(2, range(4, 7)) | in_time(2, range(4, 8)) | grids(2, range(4, 9)),
    3: in_time(3, range(3, 7)) | grids(3, range(4, 7)),
    4: in_time(4, range(3, 6)) | grids(4, range(3, 6)),
    5: in_time(5, range(3, 5)) | grids(5, range(3, 5)),
}
CALIBRATED: dict[int, dict[str, Design]] = {
    2: NAMED | in_time(2, (4, 5)) | grids(2, range(4, 8)),
    3: in_time(3, (3, 4)) | grids(3, (4,)),
    4: in_time(4, (3,)) | grids(4, (3,)),
}
CURVES: dict[int, dict[str, dict[str, Design]]] = {
    2: {TIME: in_time(2, range(3, 10)), GRID: grids(2, range(3, 11)), OF_PAPER: {"": PAPER}},
    3: {TIME: in_time(3, range(3, 7)), GRID: grids(3, range(3, 7))},
    4: {TIME: in_time(4, range(3, 6)), GRID: grids(4, range(3, 6))},
}


@cache
def chosen(n_units: int) -> Tensor:
    """Indices of the single neurons that are read, the same for layers of a size."""
    generator = torch.Generator().manual_seed(0)
    return torch.randperm(n_units, generator=generator)[:N_NEURONS]


def responses(activations: Tensor) -> Tensor:
    """Means of the filters, then single neurons."""
    flat = activations.flatten(1)
    return torch.cat([activations.mean((2, 3)), flat[:, chosen(flat.shape[1])]], 1)


class Scene:
    """Images with a number of flickering parts, and what the layers truly answer."""

    def __init__(self, model: nn.Module, n_parts: int) -> None:
        n_images, rows, columns, nodes = SCENES[n_parts]
        self.images = load_test_images(n_images)[0]
        self.mask = tiles(self.images.shape, rows, columns)
        self.tagging = FrequencyTaggingAttribution(model, LAYERS)
        self.truth = self.spectra(ChebyshevGrid(n_parts, nodes))
        self.errors = cache(self._errors)

    def spectra(self, design: Design, estimate_error: bool = False) -> list[TaggedSpectrum]:
        """One spectrum per layer, to the highest order that the design can read."""
        return self.tagging.spectrum(
            self.images,
            baselines=black(MEAN, STD),
            feature_mask=self.mask,
            perturbations_per_eval=64,
            design=design,
            components="all",
            max_order=min(MAX_ORDER, design.collision_free_order),
            pooling=responses,
            estimate_error=estimate_error,
        )

    def _errors(self, design: Design) -> list[float]:
        return errors_by_order(self.spectra(design), self.truth)


def of_order(spectrum: TaggedSpectrum, order: int, read: Callable[..., Tensor]) -> Tensor:
    """What is read of all components of an order, shape ``(components, images, responses)``."""
    return torch.stack([read(c) for c in spectrum.components if c.order == order])


def rms(values: Tensor) -> Tensor:
    """Root mean square over components and responses, shape ``(images,)``."""
    return values.square().mean((0, 2)).sqrt()


def errors_by_order(estimates: list[TaggedSpectrum], truths: list[TaggedSpectrum]) -> list[float]:
    """Relative error of the amplitudes at each order, NaN where none are read."""
    errors = [math.nan] * MAX_ORDER
    for order in range(1, max(c.order for c in estimates[0].components) + 1):
        squares, scale = 0.0, 0.0
        for estimate, truth in zip(estimates, truths, strict=True):
            true = of_order(truth, order, truth.amplitude)
            error = of_order(estimate, order, estimate.amplitude) - true
            squares += error.square().sum().item()
            scale += true.square().sum().item()
        errors[order - 1] = math.sqrt(squares / scale)
    return errors


def print_errors(n_parts: int, scene: Scene) -> None:
    """The table of designs."""
    print(f"\n{n_parts} parts: relative error of the amplitudes at order")
    print(f"{'':<26} {'frames':>7}" + "".join(f"{o:>9}" for o in range(1, MAX_ORDER + 1)))
    for name, design in TABLE[n_parts].items():
        errors = "".join(
            f"{'-':>9}" if math.isnan(e) else f"{e:>9.4f}" for e in scene.errors(design)
        )
        print(f"{name:<26} {design.n_distinct_frames:>7}{errors}", flush=True)


@contextmanager
def counted_rows(model: nn.Module) -> Iterator[list[int]]:
    """Sizes of the batches that go through the first convolution meanwhile."""
    rows: list[int] = []
    handle = model.conv1.register_forward_hook(lambda _, args, out: rows.append(len(out)))
    try:
        yield rows
    finally:
        handle.remove()


def calibration(estimates: list[TaggedSpectrum], truths: list[TaggedSpectrum]) -> list[Tensor]:
    """Estimated over true error: of amplitudes, of coefficients, of single neurons' amplitudes.

    The first two are ratios of root mean squares, one per image, layer and order. Neurons count
    where the true error is above what rounding can make.
    """
    ratios: list[list[Tensor]] = [[], [], []]
    orders = sorted({component.order for component in estimates[0].components})
    for (spectrum, truth), order in product(zip(estimates, truths, strict=True), orders):
        estimated = of_order(spectrum, order, spectrum.error)
        wrong = [
            (of_order(spectrum, order, read) - of_order(truth, order, true)).abs()
            for read, true in (
                (spectrum.amplitude, truth.amplitude),
                (spectrum.coefficient, truth.coefficient),
            )
        ]
        for values, true_error in zip(ratios, wrong, strict=False):
            values.append(rms(estimated) / rms(true_error))
        ratios[2].append((estimated / wrong[0])[wrong[0] > spectrum.floor[:, None]])
    return [torch.cat(values) for values in ratios]


def share_in_range(ratios: Tensor) -> float:
    """Share of the ratios within a factor of 2 of 1."""
    return ((ratios >= 0.5) & (ratios <= 2)).float().mean().item()


def print_ratios(name: str, n_frames: str, ratios: list[Tensor]) -> None:
    """A row of the table of estimated errors."""
    widths = (12, 13, 12)
    shares = "".join(
        f"{share_in_range(values):>{width}.2f}"
        for values, width in zip(ratios, widths, strict=True)
    )
    print(f"{name:<34} {n_frames:>14} {ratios[0].median().item():>7.2f}{shares}", flush=True)


def print_calibration(model: nn.Module, scenes: dict[int, Scene]) -> None:
    """The table of estimated errors."""
    print("\nEstimated / true error: median, and share of cases within a factor of 2")
    heads = f"{'amplitudes':>12}{'coefficients':>13}{'neurons':>12}"
    print(f"{'':<34} {'frames':>14} {'median':>7}{heads}")
    rows = []
    for n_parts, designs in CALIBRATED.items():
        scene = scenes[n_parts]
        for name, design in designs.items():
            with counted_rows(model) as counts:
                spectra = scene.spectra(design, estimate_error=True)
            n_frames = f"{design.n_distinct_frames} -> {sum(counts) // len(scene.images)}"
            rows.append(calibration(spectra, scene.truth))
            print_ratios(f"{n_parts} parts, {name}", n_frames, rows[-1])
    print_ratios("all", "", [torch.cat(values) for values in zip(*rows, strict=True)])


def print_half_precision(scene: Scene) -> None:
    """What bfloat16 adds to the error of a grid."""
    design = ChebyshevGrid(2, 5)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = scene.spectra(design)
    errors = errors_by_order(rounded, scene.spectra(design))
    print(
        "\nbfloat16 (autocast) against float32, 5 x 5 grid, at order 1 to 4: "
        + ", ".join(f"{error:.4f}" for error in errors)
    )


def draw(scenes: dict[int, Scene], path: Path) -> None:
    """Errors over frames, a panel for each number of parts."""
    plt.rcParams["font.size"] = 17
    figure, axes = plt.subplots(1, len(CURVES), figsize=(15, 6), sharey=True, layout="constrained")
    for ax, (n_parts, curves) in zip(axes, CURVES.items(), strict=True):
        scene = scenes[n_parts]
        for (kind, designs), order in product(curves.items(), ORDER_LOOKS):
            n_frames = [design.n_distinct_frames for design in designs.values()]
            errors = [scene.errors(design)[order - 1] for design in designs.values()]
            ax.plot(n_frames, errors, **KIND_LOOKS[kind], **ORDER_LOOKS[order])
        ax.set(title=f"{n_parts} parts", xlabel="distinct frames", xscale="log", yscale="log")
        limits = ax.get_xlim()
        ax.minorticks_off()
        ax.set_xticks(FRAME_TICKS, FRAME_TICKS)
        ax.set_xlim(limits)
        ax.yaxis.set_major_formatter("{x:g}")
        ax.grid(color="0.9")
    axes[0].set_ylabel("relative error of amplitudes")
    figure.legend(handles=legend_handles(), loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, dpi=100)


def legend_handles() -> list[Line2D]:
    """One entry per kind of design, then one per order."""
    kinds = [Line2D([], [], label=kind, **look) for kind, look in KIND_LOOKS.items()]
    neutral = KIND_LOOKS[TIME] | {"color": "0.4"}
    return kinds + [
        Line2D([], [], label=f"order {order}", **neutral, **look)
        for order, look in ORDER_LOOKS.items()
    ]


def main() -> None:
    """Print the tables and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="picture of errors over frames")
    path = parser.parse_args().out
    model = load_resnet(32)
    scenes = {n_parts: Scene(model, n_parts) for n_parts in SCENES}
    for n_parts, scene in scenes.items():
        print_errors(n_parts, scene)
    print_calibration(model, scenes)
    print_half_precision(scenes[2])
    if path:
        draw(scenes, path)


if __name__ == "__main__":
    main()
