"""What it costs to know how parts combine: calls of the model and errors, ours and those of peers.

Parts of this script: `toy` (ReLU networks with random weights and nine inputs), `four`, `nine` and
`sixteen` (ResNet-32 on CIFAR-10 with so many patches on black: 64 channels of the last block and
ten logits), `groups` (groups of channels inside ResNet-32 flicker) and `front` (time that is saved
if only what lies behind the flickering layer runs).

Every method is judged by its own exact target, named in the tables:

- Banzhaf: the mean over all corners (every part shown or not) of what a part adds, and of the
  interaction of a pair.
- Shapley: Shapley values and the Shapley interaction index, from all corners. Two-level designs
  are read as these too, as far as their components go.
- Chebyshev: coefficients of the response to contrasts between 0 and 1, at a fundamental and at a
  sum or difference of two; exact from a far finer design.
- Sobol: shares of the variance that a part explains alone, and a pair together, with contrasts
  uniform between 0 and 1; exact by quadrature.

An error is the root mean square over neurons and parts (or pairs), relative to that of the target,
for the channels and for the logits, averaged over both. It is given as mean and standard deviation
over images or networks. Calls are frames that go through the model for one image. Peers answer for
one output at a time. To know all outputs, they ask for the same frames again and again, unless one
keeps the answers; their seconds for all outputs are with kept answers. Seconds are of the processor
on one thread.

    pip install shapiq==1.4.1 SALib
    CAPTUM_SSVEP_DATA=... python benchmarks/interactions.py [parts] [--out interactions.png]

Twenty minutes in all on one core, of which `sixteen` takes half, mostly for the 65,536 corners of
each image; `--corners corners.npz` keeps these in a file and takes them from there next time.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from captum.attr import ShapleyValueSampling
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    TaggedSpectrum,
    TwoLevelDesign,
    black,
    channel_groups,
    choose_design,
    layer_mean,
    tiles,
)
from captum_ssvep.design.base import Design
from captum_ssvep.evaluation.objectives import margin

sys.path.append(str(Path(__file__).parents[1] / "tutorials"))
from cifar import CLASS_NAMES, MEAN, STD, load_resnet, load_test_images

Array = NDArray[np.float64]
LAYERS = ["layer3.4", "linear"]
FULL = (0.0, 1.0)
ROWS_PER_PASS = 128
N_DRAWS = 3
TWO_LEVEL, RANDOM_MASKS = "two-level design", "random masks, least squares"
KERNEL, PAIRED, INCONSISTENT = (
    "KernelSHAPIQ",
    "KernelSHAPIQ, pairs of masks",
    "InconsistentKernelSHAPIQ",
)
SAMPLING = "ShapleyValueSampling"
TAGS, TRIANGLE, GRID = "tags in time", "tags in time, triangle", "Chebyshev grid"
RANDOM_CONTRASTS, SALIB = "random contrasts, least squares", "SALib, Sobol"


EXACT = 5e-5  # errors below are due to rounding
NO_PEER = "At as many calls, no peer errs less, even for one output."


@dataclass
class Row:
    """A method with a budget: what it got wrong, for each image or network."""

    method: str
    target: str
    calls: int
    all_outputs: bool
    singles: list[float] = field(default_factory=list)
    pairs: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    seconds_of_all: list[float] = field(default_factory=list)


class Table:
    """Rows by method, target and calls, in the order in which they came."""

    def __init__(self, title: str, outputs: Sequence[slice]) -> None:
        self.title, self.outputs = title, outputs
        self.rows: dict[tuple[str, str, int], Row] = {}
        self.n_outputs = max(part.stop for part in outputs)

    def error(self, estimate: Array, truth: Array) -> float:
        """Relative root mean square, mean over the layers; values are ``(parts, outputs)``."""
        errors = [
            np.sqrt(np.square((estimate - truth)[:, part]).sum() / np.square(truth[:, part]).sum())
            for part in self.outputs
        ]
        return float(np.mean(errors))

    def add(
        self,
        method: str,
        target: str,
        calls: int,
        estimates: Sequence[Array | None],
        truths: Sequence[Array],
        seconds: tuple[float, float],
        all_outputs: bool = False,
    ) -> None:
        """Errors of single effects and of pairs, seconds for one output and for all."""
        new = Row(method, target, calls, all_outputs)
        row = self.rows.setdefault((method, target, calls), new)
        for errors, estimate, truth in zip(
            (row.singles, row.pairs), estimates, truths, strict=True
        ):
            if estimate is not None:
                errors.append(self.error(estimate, truth))
        row.seconds.append(seconds[0])
        row.seconds_of_all.append(seconds[1])

    def show(self) -> None:
        print(f"\n### {self.title}\n")
        print(
            "| method | target | calls | single effects | pairs | outputs per sweep "
            "| seconds, one output | seconds, all |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for row in self.rows.values():
            n_outputs = self.n_outputs if row.all_outputs else 1
            print(
                f"| {row.method} | {row.target} | {row.calls:,} | {spread(row.singles)} "
                f"| {spread(row.pairs)} | {n_outputs} | {np.mean(row.seconds):.2f} "
                f"| {np.mean(row.seconds_of_all):.2f} |"
            )
        print(flush=True)

    def show_where_peers_win(self) -> None:
        """For each of our rows the best peer, if for one output it errs less at as many calls."""
        found = []
        for ours in [row for row in self.rows.values() if row.method == TWO_LEVEL]:
            peers = [
                row
                for row in self.rows.values()
                if not row.all_outputs and 0.9 * ours.calls < row.calls <= 1.02 * ours.calls
            ]
            for what, name in (("singles", "single effects"), ("pairs", "pairs")):
                errors = {row.method: np.mean(e) for row in peers if (e := getattr(row, what))}
                mine = float(np.mean(getattr(ours, what)))
                if not errors or mine < EXACT:
                    continue
                best = min(errors, key=errors.__getitem__)
                if errors[best] < mine:
                    found.append(
                        f"- {name}, {ours.calls:,} calls: {best} {number(errors[best])} (Shapley), "
                        f"{TWO_LEVEL} {number(mine)} ({ours.target})"
                    )
        print("For one output, at as many calls, a peer errs less:" if found else NO_PEER)
        print("\n".join(found), flush=True)


def number(value: float) -> str:
    """Without the leading zero, 0 for what rounding makes."""
    if value < EXACT:
        return "0"
    digits = 3 if value < 0.1 else 2
    return f"{value:.{digits}f}".removeprefix("0") if value < 1 else f"{value:.1f}"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    if not values:
        return "-"
    mean = float(np.mean(values))
    if mean < EXACT or len(values) == 1:
        return number(mean)
    return f"{number(mean)} ± {number(statistics.stdev(values))}"


# Games: what all combinations of parts are answered.


@cache
def masks_of(n_parts: int) -> NDArray[np.int64]:
    """All combinations of parts: bit ``i`` of row ``m`` says whether part ``i`` is shown."""
    return np.arange(2**n_parts)[:, None] >> np.arange(n_parts) & 1


def walsh(answers: Array) -> Array:
    """Mean of answers and products of signs, one row for each subset of the parts."""
    n_parts = len(answers).bit_length() - 1
    values = answers[::-1]  # now a set bit is a part that is hidden, whose sign is -1
    for part in range(n_parts):
        values = values.reshape(-1, 2, 2**part, answers.shape[1])
        values = np.stack(
            [values[:, 0] + values[:, 1], values[:, 0] - values[:, 1]],
            axis=1,
        )
    return values.reshape(answers.shape) / len(answers)


def pairs_of(n_parts: int) -> list[tuple[int, int]]:
    return list(combinations(range(n_parts), 2))


def banzhaf(coefficients: Array, n_parts: int) -> tuple[Array, Array]:
    """Main effects and interactions, from the coefficients of all subsets."""
    singles = [2 * coefficients[1 << i] for i in range(n_parts)]
    pairs = [4 * coefficients[1 << i | 1 << j] for i, j in pairs_of(n_parts)]
    return np.array(singles), np.array(pairs)


def shapley(coefficients: Array, n_parts: int) -> tuple[Array, Array]:
    """Shapley values and interactions, from the coefficients of all subsets."""
    masks = masks_of(n_parts)
    orders = masks.sum(1)
    odd = np.where(orders % 2 == 1, 2 / np.maximum(orders, 1), 0)[:, None] * coefficients
    even = np.where(orders % 2 == 0, 4 / np.maximum(orders - 1, 1), 0)[:, None] * coefficients
    singles = [odd[masks[:, i] == 1].sum(0) for i in range(n_parts)]
    pairs = [even[(masks[:, i] & masks[:, j]) == 1].sum(0) for i, j in pairs_of(n_parts)]
    return np.array(singles), np.array(pairs)


class Game:
    """The answers of all outputs to all combinations, and the seconds of a frame."""

    def __init__(self, answers: Array, seconds_per_frame: float) -> None:
        self.answers, self.seconds_per_frame = answers, seconds_per_frame
        self.n_parts = len(answers).bit_length() - 1
        self.n_outputs = answers.shape[1]
        coefficients = walsh(answers)
        self.banzhaf = banzhaf(coefficients, self.n_parts)
        self.shapley = shapley(coefficients, self.n_parts)

    def rows(self, masks: Any) -> Any:
        """Rows of the answers to masks of zeros and ones (booleans, numbers or a tensor)."""
        weights = 2 ** np.arange(self.n_parts)
        if isinstance(masks, Tensor):
            return (masks.round().long() * torch.from_numpy(weights)).sum(-1)
        return np.asarray(masks).astype(np.int64) @ weights


def random_masks(table: Table, game: Game, n_calls: int) -> None:
    """Independent random masks, and least squares for all effects up to pairs."""
    for draw in range(N_DRAWS):
        start = time.process_time()
        masks = np.random.default_rng(draw).integers(0, 2, (n_calls, game.n_parts))
        signs = 2.0 * masks - 1
        products = [signs[:, i] * signs[:, j] for i, j in pairs_of(game.n_parts)]
        design = np.column_stack([np.ones(n_calls), signs, *products])
        found = np.linalg.lstsq(design, game.answers[game.rows(masks)], rcond=None)[0][1:]
        seconds = time.process_time() - start + n_calls * game.seconds_per_frame
        estimates = 2 * found[: game.n_parts], 4 * found[game.n_parts :]
        table.add(
            RANDOM_MASKS, "Banzhaf", n_calls, estimates, game.banzhaf, (seconds, seconds), True
        )


def kernel_shapiq(table: Table, game: Game, n_calls: int) -> None:
    """The regression of shapiq for Shapley values and interactions, a game for each output."""
    from shapiq.approximator import InconsistentKernelSHAPIQ, KernelSHAPIQ

    for name, kind, paired in (
        (KERNEL, KernelSHAPIQ, False),
        (PAIRED, KernelSHAPIQ, True),
        (INCONSISTENT, InconsistentKernelSHAPIQ, False),
    ):
        start = time.process_time()
        singles, pairs = [], []
        asked: list[int] = []
        for output in range(game.n_outputs):

            def answer(masks: Any, output: int = output, asked: list[int] = asked) -> Array:
                asked.append(len(masks))
                return game.answers[game.rows(masks), output]

            approximator = kind(
                game.n_parts, max_order=2, index="SII", pairing_trick=paired, random_state=0
            )
            found = approximator.approximate(n_calls, answer)
            singles.append(found.get_n_order_values(1))
            matrix = found.get_n_order_values(2)
            pairs.append([matrix[pair] for pair in pairs_of(game.n_parts)])
        own = time.process_time() - start
        n_asked = sum(asked) // game.n_outputs
        frames = n_asked * game.seconds_per_frame
        table.add(
            name,
            "Shapley",
            n_asked,
            (np.array(singles).T, np.array(pairs).T),
            game.shapley,
            (frames + own / game.n_outputs, frames + own),
        )


def shapley_value_sampling(table: Table, game: Game, n_calls: int) -> None:
    """Captum's permutations, the same for each output: outputs are the examples of a batch."""
    answers = torch.from_numpy(game.answers)
    n_samples = (n_calls - 2) // game.n_parts
    asked = [0]

    def answer(masks: Tensor, outputs: Tensor) -> Tensor:
        asked[0] += 1
        return answers[game.rows(masks), outputs]

    def sample(outputs: Tensor) -> tuple[Array, float]:
        start = time.process_time()
        torch.manual_seed(0)
        found = ShapleyValueSampling(answer).attribute(
            torch.ones(len(outputs), game.n_parts, dtype=torch.float64),
            baselines=0.0,
            additional_forward_args=outputs,
            n_samples=n_samples,
        )
        return found.numpy().T, time.process_time() - start

    singles, own_of_all = sample(torch.arange(game.n_outputs))
    calls, (_, own) = asked[0], sample(torch.zeros(1, dtype=torch.int64))
    frames = calls * game.seconds_per_frame
    table.add(
        SAMPLING,
        "Shapley",
        calls,
        (singles, None),
        game.shapley,
        (frames + own, frames + own_of_all),
    )


# Ours, through the package.


class Scene:
    """A network, an image and its parts; the outputs are channels and logits, or all there is."""

    def __init__(
        self, model: nn.Module, layers: list[str], image: Tensor, mask: Tensor, baseline: Any
    ) -> None:
        self.model, self.image, self.mask, self.baseline = model, image, mask, baseline
        self.n_parts = int(mask.max()) + 1
        self.tagging = FrequencyTaggingAttribution(model, layers)

    def spectra(self, design: Design, max_order: int | None) -> tuple[list[TaggedSpectrum], float]:
        """Of each layer, and the seconds it took."""
        start = time.process_time()
        spectra = self.tagging.spectrum(
            self.image,
            baselines=self.baseline,
            feature_mask=self.mask,
            perturbations_per_eval=ROWS_PER_PASS,
            design=design,
            max_order=max_order,
            pooling="channel",
            n_neighbors=0,
        )
        return spectra, time.process_time() - start

    def frames(self, contrasts: Tensor) -> Tensor:
        """The image with parts at contrasts, shape ``(frames, parts)``."""
        spatial = contrasts[:, self.mask.expand_as(self.image)[0]]
        return self.baseline + spatial * (self.image - self.baseline)

    @torch.no_grad()
    def answers(self, contrasts: Array) -> Array:
        """What the outputs answer to contrasts, without the package, shape (frames, outputs)."""
        found: list[Tensor] = []
        handles = [
            self.model.get_submodule(name).register_forward_hook(
                lambda _, args, out: found.append(out.mean((2, 3)) if out.dim() == 4 else out)
            )
            for name in self.tagging.layer
        ]
        rows = []
        for part in torch.from_numpy(contrasts).float().split(ROWS_PER_PASS):
            found.clear()
            self.model(self.frames(part))
            rows.append(torch.cat(found, 1))
        for handle in handles:
            handle.remove()
        return torch.cat(rows).double().numpy()

    def game(self) -> Game:
        """All corners."""
        start = time.process_time()
        answers = self.answers(masks_of(self.n_parts).astype(float))
        return Game(answers, (time.process_time() - start) / len(answers))


def both(spectra: list[TaggedSpectrum], read: Callable[[TaggedSpectrum], Tensor]) -> Array:
    """What is read of the first image in all layers, shape ``(parts or pairs, outputs)``."""
    return torch.cat([read(spectrum)[:, 0] for spectrum in spectra], 1).double().numpy()


def unit(n_parts: int, *parts: int) -> Array:
    """The component with multiple 1 of some parts, as a row of integers."""
    return np.isin(np.arange(n_parts), parts).astype(int)


def coefficients(spectrum: TaggedSpectrum) -> tuple[Tensor, Tensor]:
    """At fundamentals, and at sums and differences of two, averaged."""
    n_parts = spectrum.design.n_parts
    singles = [spectrum.coefficient(unit(n_parts, i).tolist()) for i in range(n_parts)]
    pairs = []
    for i, j in pairs_of(n_parts):
        signed = unit(n_parts, i, j)
        found = [spectrum.coefficient(signed.tolist())]
        if spectrum.design.in_time:
            signed[j] = -1
            found.append(spectrum.coefficient(signed.tolist()))
        pairs.append(torch.stack(found).mean(0))
    return torch.stack(singles), torch.stack(pairs)


def two_level(table: Table, scene: Scene, game: Game, order: int) -> None:
    """A fraction of the corners, or all; read as Banzhaf's indices and as Shapley's."""
    design = TwoLevelDesign(scene.n_parts, order)
    spectra, seconds = scene.spectra(design, None)
    held = spectra[0].components
    found = np.zeros((2**scene.n_parts, game.n_outputs))
    for component in held:
        subset = sum(1 << part for part in component.parts)
        values = [spectrum.coefficient(component)[0] for spectrum in spectra]
        found[subset] = torch.cat(values).double().numpy()
    estimates = banzhaf(found, scene.n_parts), shapley(found, scene.n_parts)
    truths = game.banzhaf, game.shapley
    for target, estimate, truth in zip(("Banzhaf", "Shapley"), estimates, truths, strict=True):
        table.add(
            TWO_LEVEL, target, design.n_distinct_frames, estimate, truth, (seconds, seconds), True
        )


def of_contrasts(
    table: Table, scene: Scene, method: str, design: Design, truth: tuple[Array, Array]
) -> None:
    """Tags or a grid, with contrasts between 0 and 1."""
    spectra, seconds = scene.spectra(design, 2)
    estimates = [both(spectra, lambda s, k=k: coefficients(s)[k]) for k in (0, 1)]
    table.add(
        method,
        "Chebyshev",
        design.n_distinct_frames,
        estimates,
        truth,
        (seconds, seconds),
        True,
    )


def random_contrasts(table: Table, scene: Scene, n_calls: int, truth: tuple[Array, Array]) -> None:
    """Contrasts as often near 0 and 1 as those of a wave; least squares to order 2."""
    start = time.process_time()
    angles = np.random.default_rng(0).uniform(0, np.pi, (n_calls, scene.n_parts))
    first, second = np.cos(angles), np.cos(2 * angles)
    # A pair's coefficient at f1 + f2 is half that of the product of cosines.
    products = [2 * first[:, i] * first[:, j] for i, j in pairs_of(scene.n_parts)]
    design = np.column_stack([np.ones(n_calls), first, second, *products])
    found = np.linalg.lstsq(design, scene.answers((1 + first) / 2), rcond=None)[0][1:]
    seconds = time.process_time() - start
    estimates = found[: scene.n_parts], found[2 * scene.n_parts :]
    table.add(RANDOM_CONTRASTS, "Chebyshev", n_calls, estimates, truth, (seconds, seconds), True)


# The toy networks.


def toy_network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(9, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
    )
    for layer in model[::2]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.normal_(layer.bias, std=0.3)
    return model.eval()


def means_over_others(values: Tensor, weights: Tensor) -> dict[tuple[int, ...], Array]:
    """Weighted means of a grid of answers over all parts but one or two, or over all.

    Args:
        values: Shape ``(nodes, ..., nodes, outputs)``.
        weights: Those of the nodes.
    """

    def reduce(values: Tensor, axis: int, kept: tuple[int, ...]) -> dict[tuple[int, ...], Array]:
        if axis < 0:
            return {kept: values.double().numpy()}
        found = reduce(torch.tensordot(weights, values, ([0], [axis])), axis - 1, kept)
        if len(kept) < 2:
            found |= reduce(values, axis - 1, (axis, *kept))
        return found

    return reduce(values, values.dim() - 2, ())


@torch.no_grad()
def on_grid(model: nn.Sequential, nodes: Array) -> Tensor:
    """Answers of a toy network to all combinations of nodes, shape (nodes, ..., outputs)."""
    weight, bias = model[0].weight, model[0].bias
    levels = torch.from_numpy(nodes).float()
    halves = []
    for inputs in (range(5), range(5, 9)):
        total = torch.zeros(1, 32)
        for i in inputs:
            total = (total[:, None] + levels[None, :, None] * weight[:, i]).reshape(-1, 32)
        halves.append(total)
    rows = [model[1:](first + halves[1] + bias) for first in halves[0]]
    return torch.stack(rows).reshape(*[len(nodes)] * 9, -1)


def exact_coefficients(model: nn.Sequential, nodes: int) -> tuple[Array, Array]:
    """Chebyshev coefficients of the response, as `coefficients` reads them."""
    cosines = np.cos(np.pi * (2 * np.arange(nodes) + 1) / (2 * nodes))
    weights = torch.full((nodes,), 1 / nodes)
    means = means_over_others(on_grid(model, (1 + cosines) / 2), weights)
    singles = [2 / nodes * np.tensordot(cosines, means[(i,)], 1) for i in range(9)]
    product = np.multiply.outer(cosines, cosines)
    pairs = [2 / nodes**2 * np.tensordot(product, means[pair], 2) for pair in pairs_of(9)]
    return np.array(singles), np.array(pairs)


def exact_shares(model: nn.Sequential, nodes: int) -> tuple[Array, Array]:
    """Shares of the variance with uniform contrasts, by Gauss-Legendre quadrature."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    weights = weights / 2
    values = on_grid(model, (1 + points) / 2)
    total = values.reshape(-1, values.shape[-1])
    values -= total.mean(0)  # which changes no share, and keeps squares in range
    of_nodes = torch.from_numpy(weights).float()
    means = means_over_others(values, of_nodes)
    squares = values.square()
    for _ in range(9):
        squares = torch.tensordot(of_nodes, squares, 1)
    variance = squares.double().numpy() - np.square(means[()])

    def explained(kept: tuple[int, ...]) -> Array:
        found = np.square(means[kept])
        for _ in kept:
            found = np.tensordot(weights, found, 1)
        return found - np.square(means[()])

    singles = [explained((i,)) for i in range(9)]
    pairs = [explained((i, j)) - singles[i] - singles[j] for i, j in pairs_of(9)]
    return np.array(singles) / variance, np.array(pairs) / variance


def salib_sobol(table: Table, scene: Scene, n_base: int, truth: tuple[Array, Array]) -> None:
    """Saltelli's sample and the first and second order indices, an analysis for each output."""
    from SALib.analyze import sobol as analysis
    from SALib.sample import sobol as sample

    problem = {
        "num_vars": scene.n_parts,
        "names": [str(i) for i in range(scene.n_parts)],
        "bounds": [FULL] * scene.n_parts,
    }
    start = time.process_time()
    contrasts = sample.sample(problem, n_base, calc_second_order=True, seed=0)
    answers = scene.answers(contrasts)
    frames = time.process_time() - start
    singles, pairs = [], []
    for values in answers.T:
        found = analysis.analyze(problem, values, calc_second_order=True, num_resamples=2, seed=0)
        singles.append(found["S1"])
        pairs.append([found["S2"][pair] for pair in pairs_of(scene.n_parts)])
    own = time.process_time() - start - frames
    table.add(
        SALIB,
        "Sobol",
        len(contrasts),
        (np.array(singles).T, np.array(pairs).T),
        truth,
        (frames + own / len(singles), frames + own),
    )


def shares_of_tags(table: Table, scene: Scene, order: int, truth: tuple[Array, Array]) -> None:
    """Variance shares of triangle waves, whose contrasts are uniform."""
    design = choose_design(scene.n_parts, order, "time", FULL, "triangle")
    spectra, seconds = scene.spectra(design, order)

    def shares(spectrum: TaggedSpectrum, n: int) -> Tensor:
        if n == 1:
            return torch.stack([spectrum.first_order(i) for i in range(scene.n_parts)])
        return torch.stack([spectrum.interaction(pair) for pair in pairs_of(scene.n_parts)])

    estimates = [both(spectra, lambda s, n=n: shares(s, n)) for n in (1, 2)]
    calls = design.n_distinct_frames
    table.add(TRIANGLE, "Sobol", calls, estimates, truth, (seconds, seconds), True)


def of_corners(
    table: Table, scene: Scene, game: Game, orders: Sequence[int], budgets: Sequence[int]
) -> None:
    """All methods whose frames show every part or not."""
    for order in orders:
        two_level(table, scene, game, order)
    for method in (random_masks, kernel_shapiq, shapley_value_sampling):
        for n_calls in budgets:
            if method is not random_masks or n_calls < 2**game.n_parts:
                method(table, game, n_calls)


def toy() -> Table:
    """Five networks with random weights, nine inputs and ten outputs."""
    table = Table("ReLU networks with nine inputs", [slice(0, 10)])
    for seed in range(5):
        model = toy_network(seed)
        scene = Scene(model, ["4"], torch.ones(1, 9), torch.arange(9)[None], 0.0)
        of_corners(table, scene, scene.game(), (2, 3, 9), (64, 110, 128, 220, 256, 440, 512))
        truth = exact_coefficients(model, 5)
        for order in (2, 3):
            design = choose_design(9, order, "time", FULL)
            of_contrasts(table, scene, TAGS, design, truth)
            random_contrasts(table, scene, design.n_distinct_frames, truth)
        shares = exact_shares(model, 5)
        for order in (2, 3):
            shares_of_tags(table, scene, order, shares)
        for n_base in (8, 64, 512):
            salib_sobol(table, scene, n_base, shares)
    return table


# ResNet-32.


def patches(n_images: int, n_parts: int) -> Iterator[Scene]:
    """Images of different classes, with patches on black."""
    model = load_resnet(32).to(memory_format=torch.channels_last)
    images, labels = load_test_images()
    rows = math.isqrt(n_parts)
    dark = black(MEAN, STD)
    first = [int((labels == k).nonzero()[0]) for k in range(len(CLASS_NAMES))][:n_images]
    for index in first:
        image = images[index : index + 1]
        yield Scene(model, LAYERS, image, tiles(image.shape, rows, rows), dark)


CHANNELS_AND_LOGITS = [slice(0, 64), slice(64, 74)]


def four() -> Table:
    """Few enough parts for a grid."""
    table = Table("ResNet-32, 4 patches", CHANNELS_AND_LOGITS)
    for index, scene in enumerate(patches(8, 4)):
        of_corners(table, scene, scene.game(), (2,), (8, 12, 16))
        if index < 3:
            spectra, _ = scene.spectra(ChebyshevGrid(4, 9, FULL), 2)
            truth = tuple(both(spectra, lambda s, k=k: coefficients(s)[k]) for k in (0, 1))
            for order in (2, 3, 4):
                design = choose_design(4, order, "time", FULL)
                of_contrasts(table, scene, TAGS, design, truth)
                random_contrasts(table, scene, design.n_distinct_frames, truth)
            for nodes in (3, 4, 5):
                of_contrasts(table, scene, GRID, ChebyshevGrid(4, nodes, FULL), truth)
    return table


def nine() -> Table:
    """The Chebyshev target comes from tags that are collision-free to order 4."""
    table = Table("ResNet-32, 9 patches", CHANNELS_AND_LOGITS)
    for index, scene in enumerate(patches(8, 9)):
        of_corners(table, scene, scene.game(), (2, 3, 9), (64, 128, 256, 384, 512))
        if index < 2:
            spectra, _ = scene.spectra(choose_design(9, 4, "time", FULL), 2)
            truth = tuple(both(spectra, lambda s, k=k: coefficients(s)[k]) for k in (0, 1))
            for order in (2, 3):
                design = choose_design(9, order, "time", FULL)
                of_contrasts(table, scene, TAGS, design, truth)
                random_contrasts(table, scene, design.n_distinct_frames, truth)
    return table


def sixteen(kept: Path | None = None) -> Table:
    """Two images, 65,536 corners each."""
    table = Table("ResNet-32, 16 patches", CHANNELS_AND_LOGITS)
    known = dict(np.load(kept)) if kept and kept.exists() else {}
    for index, scene in enumerate(patches(2, 16)):
        name = f"answers{index}"
        masks = masks_of(16).astype(float)
        if name not in known:
            known[name] = scene.answers(masks)
            if kept:
                np.savez(kept, **known)
        start = time.process_time()
        scene.answers(masks[:512])
        game = Game(known[name], (time.process_time() - start) / 512)
        seconds = len(game.answers) * game.seconds_per_frame
        table.add(
            TWO_LEVEL,
            "Banzhaf",
            len(game.answers),
            game.banzhaf,
            game.banzhaf,
            (seconds, seconds),
            True,
        )
        of_corners(table, scene, game, (2, 3), (256, 512, 1024, 2048))
    return table


# Inside the network.

CLASSES = ("cat", "frog", "ship")
N_OF_CLASS, N_GROUPS, N_CORE = 8, 8, 16


class Inside:
    """ResNet-32 with groups of channels of a layer that flicker, read at the margin."""

    def __init__(self, layer: str) -> None:
        self.layer = layer
        self.model = load_resnet(32)
        images, labels = load_test_images()
        self.shown: dict[int, Tensor] = {}
        self.scored: dict[int, Tensor] = {}
        for name in CLASSES:
            label = CLASS_NAMES.index(name)
            of_class = images[labels == label]
            self.shown[label] = of_class[:N_OF_CLASS]
            self.scored[label] = of_class[N_OF_CLASS : 3 * N_OF_CLASS]
        data = TensorDataset(images[-400:])
        self.mean = layer_mean(self.model, layer, data, show_progress=False)
        self.tagging = FrequencyTaggingAttribution(self.model, "linear")

    def spectrum(
        self, images: Tensor, label: int, mask: Tensor, design: Design, max_order: int | None
    ) -> TaggedSpectrum:
        def lead(logits: Tensor) -> Tensor:
            return margin(logits, torch.full((len(logits),), label))

        return self.tagging.spectrum(
            images,
            self.mean,
            feature_mask=mask,
            tag_layer=self.layer,
            design=design,
            max_order=max_order,
            pooling=lead,
            n_neighbors=0,
        )

    @torch.no_grad()
    def core(self) -> list[int]:
        """The channels whose replacement by the mean changes margins of other images most."""
        module = self.model.get_submodule(self.layer)
        changes = []
        for channel in [None, *range(self.mean.shape[1])]:

            def replace(_: nn.Module, args: Any, out: Tensor, k: int | None = channel) -> Tensor:
                out = out.clone()
                if k is not None:
                    out[:, k] = self.mean[:, k]
                return out

            handle = module.register_forward_hook(replace)
            found = [
                margin(self.model(images), torch.full((len(images),), label))
                for label, images in self.scored.items()
            ]
            handle.remove()
            changes.append(torch.cat(found))
        damage = (torch.stack(changes[1:]) - changes[0]).abs().mean(1)
        return damage.argsort(descending=True)[:N_CORE].tolist()


def subsets(spectrum: TaggedSpectrum) -> Array:
    """Coefficients of a two-level design, a row for each subset; unknown ones are zero."""
    found = np.zeros((2**spectrum.design.n_parts, len(spectrum)))
    found[0] = spectrum.mean.numpy()
    for component in spectrum.components:
        found[sum(1 << part for part in component.parts)] = spectrum.coefficient(component)
    return found


def ablated_in_pairs(coefficients: Array, n_parts: int) -> Array:
    """What ablating two parts does beyond ablating each, from the answers to all corners."""
    hidden = 1 - masks_of(n_parts)
    odd = (hidden @ masks_of(n_parts).T) % 2
    answers = (1.0 - 2 * odd) @ coefficients
    everything = 2**n_parts - 1
    found = []
    for i, j in pairs_of(n_parts):
        without = [everything & ~(1 << i), everything & ~(1 << j)]
        neither = without[0] & without[1]
        found.append(answers[everything] - answers[without].sum(0) + answers[neither])
    return np.array(found)


def rank_correlations(estimate: Array, truth: Array) -> tuple[list[float], float]:
    """Spearman's over pairs, of absolute interactions: of each image, and of means over images."""
    sizes = np.abs(estimate), np.abs(truth)
    of_images = [stats.spearmanr(*of).statistic for of in zip(*(s.T for s in sizes), strict=True)]
    return of_images, stats.spearmanr(*(s.mean(1) for s in sizes)).statistic


def groups() -> None:
    """Eight groups of channels; the truth is the mean over all states of the other groups."""
    print("\n### Eight groups of channels of a layer of ResNet-32, read at the margin\n")
    print("| layer, groups | passes | method | Spearman of an image | of the mean over images |")
    print("|---|---|---|---|---|")
    for layer in ("layer3.1", "layer2.4"):
        inside = Inside(layer)
        n_channels = inside.mean.shape[1]
        pools = {"random": list(range(n_channels)), "core": inside.core()}
        for kind, channels in pools.items():
            found: dict[tuple[int, str], tuple[list[float], list[float]]] = {}
            for draw in range(2):
                order = np.random.default_rng(draw).permutation(channels)
                members = [part.tolist() for part in np.array_split(order, N_GROUPS)]
                mask = channel_groups(inside.mean.shape, members)
                for label, images in inside.shown.items():
                    for key, (each, mean) in compare(inside, images, label, mask).items():
                        of_images, of_means = found.setdefault(key, ([], []))
                        of_images.extend(each)
                        of_means.append(mean)
            size = len(channels) // N_GROUPS
            for (passes, method), (of_images, of_means) in found.items():
                print(
                    f"| {layer}, {kind} groups of {size} | {passes} | {method} "
                    f"| {spread(of_images)} | {spread(of_means)} |",
                    flush=True,
                )


def compare(
    inside: Inside, images: Tensor, label: int, mask: Tensor
) -> dict[tuple[int, str], tuple[list[float], float]]:
    """Rank correlations of each method with interactions from all 256 corners."""
    full = TwoLevelDesign(N_GROUPS, N_GROUPS)
    corners = subsets(inside.spectrum(images, label, mask, full, None))
    truth = banzhaf(corners, N_GROUPS)[1]
    fraction = TwoLevelDesign(N_GROUPS)
    of_fraction = subsets(inside.spectrum(images, label, mask, fraction, 2))
    estimates = {
        (fraction.n_distinct_frames, TWO_LEVEL): banzhaf(of_fraction, N_GROUPS)[1],
    }
    for contrast in (FULL, (0.5, 1.0)):
        design = choose_design(N_GROUPS, 2, "time", contrast)
        spectrum = inside.spectrum(images, label, mask, design, 2)
        effects = [spectrum.interaction_effect(pair) for pair in pairs_of(N_GROUPS)]
        name = f"{TAGS}, contrasts {contrast[0]:g} to {contrast[1]:g}"
        estimates[design.n_distinct_frames, name] = torch.stack(effects).numpy()
    n_pairwise = 1 + N_GROUPS + math.comb(N_GROUPS, 2)
    estimates[n_pairwise, "pairwise ablation"] = ablated_in_pairs(corners, N_GROUPS)
    return {key: rank_correlations(values, truth) for key, values in estimates.items()}


def front() -> None:
    """ResNet-18 at 224 with random weights, eight groups of channels in 64 frames."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None).eval()
    image = torch.rand(1, 3, 224, 224)
    head = [model.avgpool, nn.Flatten(1), model.fc]
    behind = {
        "layer3.1": nn.Sequential(model.layer4, *head),
        "layer4.0": nn.Sequential(model.layer4[1], *head),
    }
    print("\n### Only what lies behind the flickering layer runs: ResNet-18 at 224, 64 frames\n")
    print(
        "| flickering layer | seconds | of all frames through the network | of the bare forward |"
    )
    print("|---|---|---|---|")
    for layer, rest in behind.items():
        seconds = times(model, layer, rest, image)
        ours = seconds["spectrum"]
        ratios = [
            [a / b for a, b in zip(ours, seconds[other], strict=True)]
            for other in ("network", "behind")
        ]
        shown = " | ".join(
            f"{statistics.median(r):.2f} ({min(r):.2f} to {max(r):.2f})" for r in ratios
        )
        print(f"| {layer} | {statistics.median(ours):.2f} | {shown} |", flush=True)


@torch.no_grad()
def times(
    model: nn.Module, layer: str, rest: nn.Module, image: Tensor, n_repeats: int = 9
) -> dict[str, list[float]]:
    """Interleaved: the spectrum, the network with a hook, and what lies behind alone."""
    kept: list[Tensor] = []
    module = model.get_submodule(layer)
    handle = module.register_forward_hook(lambda _, args, out: kept.append(out))
    model(image)
    handle.remove()
    design = TwoLevelDesign(N_GROUPS)
    mask = channel_groups(kept[0].shape, N_GROUPS)
    contrasts = torch.from_numpy(design.contrasts).float()[:, mask.flatten(), None, None]
    passes = contrasts.split(32)
    shown = [kept[0] * part for part in passes]
    tagging = FrequencyTaggingAttribution(model, "fc")

    def spectrum() -> Tensor:
        found = tagging.spectrum(
            image,
            feature_mask=mask,
            tag_layer=layer,
            design=design,
            perturbations_per_eval=32,
            n_neighbors=0,
        )
        return found.mean

    def network() -> Tensor:
        found = []
        for part in passes:
            handle = module.register_forward_hook(lambda _, args, out, part=part: out * part)
            found.append(model(image.expand(len(part), -1, -1, -1)))
            handle.remove()
        return torch.cat(found).mean(0, keepdim=True)

    def alone() -> Tensor:
        return torch.cat([rest(part) for part in shown]).mean(0, keepdim=True)

    runs = {"spectrum": spectrum, "network": network, "behind": alone}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    expected = network()
    for run in runs.values():
        torch.testing.assert_close(run(), expected)
    for _ in range(n_repeats):
        for name, run in runs.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    return seconds


# The picture.

LOOKS: dict[tuple[str, str], dict[str, Any]] = {
    (TWO_LEVEL, "Banzhaf"): {"color": "#1b6ca8", "marker": "o", "linewidth": 4, "zorder": 3},
    (TWO_LEVEL, "Shapley"): {
        "color": "#1b6ca8",
        "marker": "o",
        "markerfacecolor": "white",
        "linestyle": "--",
    },
    (TAGS, "Chebyshev"): {"color": "#d95f02", "marker": "s"},
    (RANDOM_MASKS, "Banzhaf"): {"color": "0.55", "marker": "v"},
    (KERNEL, "Shapley"): {"color": "#7b3294", "marker": "^"},
    (INCONSISTENT, "Shapley"): {"color": "#e377c2", "marker": "D"},
    (SAMPLING, "Shapley"): {"color": "#2a9d3f", "marker": "P"},
}
LOWEST = 2e-3


def draw(tables: Sequence[Table], path: Path) -> None:
    """Errors over calls: a row for each network, single effects on the left, pairs on the right."""
    plt.rcParams["font.size"] = 19
    figure, axes = plt.subplots(
        len(tables),
        2,
        figsize=(15, 1.5 + 5 * len(tables)),
        sharex="row",
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for table, of_table in zip(tables, axes, strict=True):
        for what, name, ax in zip(
            ("singles", "pairs"), ("single effects", "pairs"), of_table, strict=True
        ):
            for (method, target), look in LOOKS.items():
                points = [
                    (row.calls, max(float(np.mean(getattr(row, what))), LOWEST))
                    for row in table.rows.values()
                    if (row.method, row.target) == (method, target) and getattr(row, what)
                ]
                ax.plot(
                    *np.array(sorted(points)).reshape(-1, 2).T,
                    label=f"{method} ({target})",
                    **{"markersize": 11, "linewidth": 2.5} | look,
                )
            ax.set(xscale="log", yscale="log", title=f"{table.title}: {name}")
            ax.minorticks_off()
            ticks = [2**k for k in range(5, 17) if ax.get_xlim()[0] <= 2**k <= ax.get_xlim()[1]]
            ticks = ticks[:: 1 + len(ticks) // 7]
            ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
            ax.set_yticks([LOWEST, 0.01, 0.1, 1], ["exact", "0.01", "0.1", "1"])
            ax.set_ylim(LOWEST * 0.8, 2)
            ax.grid(color="0.9")
        of_table[0].set_ylabel("relative error")
    for ax in axes[-1]:
        ax.set_xlabel("calls of the model for an image")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=100)


TABLES: dict[str, Callable[..., Table]] = {
    "toy": toy,
    "four": four,
    "nine": nine,
    "sixteen": sixteen,
}
OTHERS = {"groups": groups, "front": front}
DRAWN = ("nine", "sixteen")


def main() -> None:
    """Print the tables and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*TABLES, *OTHERS]
    parser.add_argument("parts", nargs="*", default="all", choices=[*names, "all"])
    parser.add_argument("--corners", type=Path, help="file that keeps the answers of `sixteen`")
    parser.add_argument("--out", type=Path, help="picture of errors over calls: nine and sixteen")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="shapiq")
    torch.set_num_threads(1)
    drawn = []
    for part in names if "all" in arguments.parts else arguments.parts:
        if part in OTHERS:
            OTHERS[part]()
            continue
        table = sixteen(arguments.corners) if part == "sixteen" else TABLES[part]()
        table.show()
        table.show_where_peers_win()
        if part in DRAWN:
            drawn.append(table)
    if arguments.out and drawn:
        draw(drawn, arguments.out)


if __name__ == "__main__":
    main()
