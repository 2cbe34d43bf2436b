"""How accurate: designs against one far finer, and estimated errors against the true ones.

ResNet-32 with trained weights on five CIFAR-10 test images (three with 4 parts); in each of four
layers the responses are the filters, averaged over space, and 200 single neurons. The truth is a
Chebyshev grid of many more nodes. Errors are root mean squares over neurons and components,
relative to those of the amplitudes and averaged over images and layers. A minute or two.

    CAPTUM_SSVEP_DATA=... python benchmarks/accuracy.py [--out accuracy.png]
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from torch import Tensor, nn

from captum_ssvep import FrequencyTaggingAttribution, TaggedSpectrum, TaggingDesign, black, grid
from captum_ssvep.sampling import Design

sys.path.append(str(Path(__file__).parents[1] / "tutorials"))
from cifar import MEAN, STD, load_resnet, load_test_images

LAYERS = ["relu", "layer1", "layer2", "layer3"]
MAX_ORDER = 4
N_NEURONS = 200
COSINE = math.pi / 2
PAPER = TaggingDesign()
# The scene with so many parts: images, rows and columns of parts, nodes of the true grid.
SCENES = {2: (5, 1, 2, 24), 3: (5, 1, 3, 13), 4: (3, 2, 2, 9)}
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


def padua_like(m: int) -> TaggingDesign:
    """Tags ``m`` and ``m + 1`` in the record in which they visit the fewest points."""
    n_frames = 2 * m * (m + 1)
    return TaggingDesign((m, m + 1), sampling_rate=n_frames, n_frames=n_frames, phases=COSINE)


def in_time(n_parts: int, orders: Iterable[int]) -> dict[str, Design]:
    """Records that are collision-free to each of some orders."""
    return {f"tags to order {m}": TaggingDesign.for_parts(n_parts, m, "time") for m in orders}


def grids(n_parts: int, nodes: Iterable[int]) -> dict[str, Design]:
    """Chebyshev grids of each of some numbers of nodes per part."""
    return {f"grid, {n} nodes": TaggingDesign.grid(n_parts, n) for n in nodes}


NAMED: dict[str, Design] = {
    "paper, 6 / 7.5 Hz": PAPER,
    "paper, cosine phase": TaggingDesign(phases=COSINE),
    "5 / 5.5 Hz, cosine phase": TaggingDesign((5, 5.5), phases=COSINE),
}
TABLE: dict[int, dict[str, Design]] = {
    2: NAMED
    | {f"Padua-like {m}:{m + 1}": padua_like(m) for m in (4, 6, 8)}
    | in_time(2, range(4, 7))
    | grids(2, range(4, 9)),
    3: in_time(3, range(3, 7)) | grids(3, range(4, 7)),
    4: in_time(4, range(3, 6)) | grids(4, range(3, 6)),
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
        self.mask = grid(self.images.shape, rows, columns)
        self.tagging = FrequencyTaggingAttribution(model, LAYERS)
        self.truth = self.spectra(TaggingDesign.grid(n_parts, nodes))
        self.errors = cache(self._errors)

    def spectra(self, design: Design, estimate_error: bool = False) -> list[TaggedSpectrum]:
        """One spectrum per layer, to the highest order that the design can read."""
        with warnings.catch_warnings():
            # The Padua-like 4:5 reads 4 f2 at the Nyquist line, where it meets its own mirror image
            # and nothing else: with cosine phase both are real and equal, and half of the sum is
            # the amplitude.
            warnings.filterwarnings("ignore", message="Components share a line")
            return self.tagging.spectrum(
                self.images,
                baselines=black(MEAN, STD),
                feature_mask=self.mask,
                perturbations_per_eval=64,
                design=design,
                components="all",
                max_order=readable_order(design),
                pooling=responses,
                estimate_error=estimate_error,
            )

    def _errors(self, design: Design) -> list[float]:
        return errors_by_order(self.spectra(design), self.truth)


def readable_order(design: Design) -> int:
    """Highest order, of those to 4, at which no component meets another."""
    order = min(MAX_ORDER, design.collision_free_order)
    if order == MAX_ORDER or not isinstance(design, TaggingDesign):
        return order
    higher = design.collisions(design.components("all", order + 1))
    meets_only_itself = all(component == other for component, other in higher)
    return order + 1 if meets_only_itself else order


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
        ratios = []
        for estimate, truth in zip(estimates, truths, strict=True):
            true = of_order(truth, order, truth.amplitude)
            ratios.append(rms(of_order(estimate, order, estimate.amplitude) - true) / rms(true))
        errors[order - 1] = torch.cat(ratios).mean().item()
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
    """Estimated over true error: of lines, of amplitudes and of the lines of single neurons.

    The first two are ratios of root mean squares, one per image, layer and order. Neurons count
    where the true error is above what rounding can make.
    """
    ratios: list[list[Tensor]] = [[], [], []]
    orders = sorted({component.order for component in estimates[0].components})
    for (spectrum, truth), order in product(zip(estimates, truths, strict=True), orders):
        estimated = of_order(spectrum, order, spectrum.error)
        of_line = of_order(spectrum, order, partial(line_error, spectrum, truth))
        of_amplitude = of_order(spectrum, order, spectrum.amplitude) - of_order(
            truth, order, truth.amplitude
        )
        ratios[0].append(rms(estimated) / rms(of_line))
        ratios[1].append(rms(estimated) / rms(of_amplitude))
        ratios[2].append((estimated / of_line)[of_line > spectrum.floor[:, None]])
    return [torch.cat(values) for values in ratios]


def line_error(
    spectrum: TaggedSpectrum, truth: TaggedSpectrum, component: tuple[int, ...]
) -> Tensor:
    """Distance in the complex plane of a line from the true coefficient."""
    design = spectrum.design
    line = spectrum.lines[spectrum.components.index(component)]
    coefficient = line * design.turn(component) * design.scale(component)
    return (coefficient - truth.coefficient(component)).abs()


def share_in_range(ratios: Tensor) -> float:
    """Share of the ratios within a factor of 2 of 1."""
    return ((ratios >= 0.5) & (ratios <= 2)).float().mean().item()


def print_ratios(name: str, n_frames: str, ratios: list[Tensor]) -> None:
    """A row of the table of estimated errors."""
    shares = "".join(f"{share_in_range(values):>12.2f}" for values in ratios)
    print(f"{name:<34} {n_frames:>14} {ratios[0].median().item():>7.2f}{shares}", flush=True)


def print_calibration(model: nn.Module, scenes: dict[int, Scene]) -> None:
    """The table of estimated errors."""
    print("\nEstimated / true error: median, and share of cases within a factor of 2")
    print(f"{'':<34} {'frames':>14} {'median':>7}{'lines':>12}{'amplitudes':>12}{'neurons':>12}")
    rows = []
    for n_parts, scene in scenes.items():
        for name, design in CALIBRATED[n_parts].items():
            with counted_rows(model) as counts:
                spectra = scene.spectra(design, estimate_error=True)
            n_frames = f"{design.n_distinct_frames} -> {sum(counts) // len(scene.images)}"
            rows.append(calibration(spectra, scene.truth))
            print_ratios(f"{n_parts} parts, {name}", n_frames, rows[-1])
    print_ratios("all", "", [torch.cat(values) for values in zip(*rows, strict=True)])


def print_half_precision(scene: Scene) -> None:
    """What bfloat16 adds to the error of a grid."""
    design = TaggingDesign.grid(2, 5)
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
    figure, axes = plt.subplots(1, len(scenes), figsize=(15, 6), sharey=True, layout="constrained")
    for ax, (n_parts, scene) in zip(axes, scenes.items(), strict=True):
        for (kind, designs), order in product(CURVES[n_parts].items(), ORDER_LOOKS):
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
