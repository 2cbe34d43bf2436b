"""Pictures of scores over a data set, after the figures of Böge et al. (arXiv 2411.10084)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ..design import ComponentSelection
from ..design.components import COMPONENT_GROUPS, in_group
from ..scores.result import NeuronScores
from ..scores.significance import Test
from ..spectrum.statistics import STATISTICS
from .maps import to_pixels
from .style import component_colors, figure_of, neuron_index, simplest_components

# Bars above so many times the third quartile are cut off, so that the others can be seen.
CUT_QUARTILES = 4
# Ratios below this are as good as none in a heat map.
LOWEST_RATIO = 1e-3


def plot_filters(
    scores: NeuronScores,
    layer: str,
    components: ComponentSelection | None = None,
    *,
    threshold: float | None = None,
    cut: float | None = None,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw what each filter of a layer answers at some components (the paper's Fig. 4).

    A group of bars for every filter, red at f1, green at f2, blue at intermodulations. The axis is
    cut where few bars would dwarf the others; a triangle marks those that go on above.

    Args:
        scores (NeuronScores): With one index per neuron, as of ``pooling="channel"``.
        layer (str): Name of the layer.
        components (str or sequence, optional): Among those scored. Default: of the fundamentals and
            the sums of two of them those that were, or else the first three.
        threshold (float, optional): Where to draw a line. Default: None
        cut (float, optional): Where to cut the axis. Default: at 4 times the third quartile of the
            bars, where any are above it.
        ax (Axes, optional): Where to draw. Default: a new figure.

    Returns:
        tuple: The figure and its axes.

    Raises:
        ValueError: If the layer or a component was not scored, or its neurons have several
            indices.
    """
    shown = simplest_components(scores.components) if components is None else components
    rows = scores.rows(shown)
    heights = _of_layer(scores, layer, scores.by_component)[rows].numpy()
    if heights.ndim != 2:
        raise ValueError(
            f"Expected scores of filters, but those of layer {layer!r} have neurons of shape "
            f"{heights.shape[1:]}; score with pooling='channel'"
        )
    chosen = tuple(scores.components[row] for row in rows)
    n_filters = heights.shape[1]
    if ax is None:
        _, ax = plt.subplots(figsize=(min(16, 3 + 0.3 * n_filters), 3.8), layout="constrained")
    highest = CUT_QUARTILES * float(np.quantile(heights, 0.75)) if cut is None else cut
    is_cut = 0 < highest < heights.max()
    width = 0.8 / len(chosen)
    for row, (component, color) in enumerate(zip(chosen, component_colors(chosen), strict=True)):
        places = np.arange(n_filters) + (row - (len(chosen) - 1) / 2) * width
        name = scores.design.title(component)
        ax.bar(places, heights[row], width, color=color, label=name)
        if is_cut:
            above = heights[row] > highest
            ax.plot(
                places[above],
                np.full(above.sum(), 1.03 * highest),
                "^",
                color=color,
                markersize=5,
                clip_on=False,
            )
    title = f"{layer}, mean over {scores.n_images} images"
    if is_cut:
        ax.set_ylim(top=highest)
        title += f" (triangles: beyond, up to {heights.max():.3g})"
    ax.set_title(title, pad=12)
    if threshold is not None:
        ax.axhline(threshold, color="0.3", linestyle="--", linewidth=1, label=f"{threshold:g}")
    step = max(1, n_filters // 16)
    ax.set_xticks(range(0, n_filters, step))
    ax.set(
        xlabel="Filter",
        ylabel=STATISTICS[scores.statistic].axis_label,
        xlim=(-0.7, n_filters - 0.3),
    )
    columns = 1 + len(chosen) // 12
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, ncols=columns)
    return figure_of(ax), ax


def plot_important(
    scores: NeuronScores,
    groups: Sequence[ComponentSelection] | None = None,
    *,
    threshold: float | None = None,
    alpha: float | None = None,
    test: Test | None = None,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw how many filters of each layer are important (the paper's Fig. 5).

    Args:
        scores (NeuronScores): From `score_neurons`.
        groups (sequence of str or of components, optional): A bar for each; what a filter has to
            answer. Default: of fundamentals, harmonics and intermodulations those that were scored.
        threshold, alpha, test: As in `NeuronScores.important`.
        ax (Axes, optional): Where to draw. Default: a new figure.

    Returns:
        tuple: The figure and its axes. Grey behind the bars: all filters of the layer.
    """
    layers = scores.layers
    if groups is None:
        groups = [
            group
            for group in COMPONENT_GROUPS
            if group != "all" and any(in_group(c, group) for c in scores.components)
        ]
    if ax is None:
        _, ax = plt.subplots(figsize=(min(16, 4 + 0.42 * len(layers)), 4), layout="constrained")
    totals = [scores.mean[layer].numel() for layer in layers]
    ax.bar(range(len(layers)), totals, 0.9, color="0.9", label="all")
    width = 0.8 / len(groups)
    for number, group in enumerate(groups):
        counts = scores.count_important(threshold, alpha, group, test)
        places = np.arange(len(layers)) + (number - (len(groups) - 1) / 2) * width
        ax.bar(
            places,
            [counts[layer] for layer in layers],
            width,
            color=plt.get_cmap("viridis")(number / max(1, len(groups) - 1) * 0.85),
            label=group if isinstance(group, str) else ", ".join(map(scores.design.label, group)),
        )
    ax.set_xticks(range(len(layers)), layers, rotation=60, ha="right", rotation_mode="anchor")
    criteria = (
        [] if threshold is None else [f"{STATISTICS[scores.statistic].axis_label} > {threshold:g}"]
    )
    if alpha is not None or threshold is None:
        criteria.append(f"false discovery rate {0.05 if alpha is None else alpha:g}")
    ax.set(ylabel="Important neurons", xlim=(-0.7, len(layers) - 0.3))
    ax.set_title(f"{', '.join(criteria)}; {scores.n_images} images")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure_of(ax), ax


def plot_components(scores: NeuronScores, *, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw which components a layer answers, relative to its strongest, as a heat map.

    Args:
        scores (NeuronScores): From `score_neurons`, with a statistic that is not negative.
        ax (Axes, optional): Where to draw. Default: a new figure.

    Returns:
        tuple: The figure and its axes: layers by components, means over neurons and images.

    Raises:
        ValueError: If the statistic can be negative.
    """
    if STATISTICS[scores.statistic].signed:
        raise ValueError(
            "Expected scores by a statistic that is not negative, as 'amplitude' or 'snr', but got "
            f"{scores.statistic!r}"
        )
    means = np.stack([v.flatten(1).mean(1).numpy() for v in scores.by_component.values()])
    largest = means.max(axis=1, keepdims=True)
    ratios = np.divide(means, largest, out=np.zeros_like(means), where=largest > 0)
    n_layers, n_components = ratios.shape
    if ax is None:
        size = (4.5 + 0.32 * n_components, 2.2 + 0.24 * n_layers)
        _, ax = plt.subplots(figsize=size, layout="constrained")
    image = ax.imshow(
        ratios.clip(min=LOWEST_RATIO), norm=LogNorm(LOWEST_RATIO, 1), cmap="viridis", aspect="auto"
    )
    names = [scores.design.label(component) for component in scores.components]
    ax.set_xticks(range(n_components), names, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(n_layers), scores.layers)
    ax.set_xlabel("Component")
    bar = ax.figure.colorbar(image, ax=ax, extend="min")
    bar.set_label(f"{STATISTICS[scores.statistic].axis_label} / layer's largest")
    return figure_of(ax), ax


def plot_top_images(
    scores: NeuronScores,
    layer: str,
    neuron: int | Sequence[int],
    images: Any,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> tuple[Figure, NDArray[np.object_]]:
    """Show the images that drive a filter most.

    Args:
        scores (NeuronScores): From `score_neurons`.
        layer (str): Name of the layer.
        neuron (int or sequence of int): Index of the filter.
        images (Dataset or Tensor): What was scored: items or rows are images, or pairs with one.
        mean, std (sequence of float, optional): Normalisation to undo. Default: none

    Returns:
        tuple: The figure, and its axes: one per image, the score above.

    Raises:
        ValueError: If the layer was not scored, or its neurons have more or fewer indices.
    """
    tally = _of_layer(scores, layer, scores.overall)
    index = neuron_index(neuron, tally.top_images.shape[1:])
    chosen = tally.top_images[(slice(None), *index)].tolist()
    values = tally.top_scores[(slice(None), *index)].tolist()
    figure, grid = plt.subplots(
        1, len(chosen), figsize=(1.3 * len(chosen) + 0.3, 2.0), squeeze=False, layout="constrained"
    )
    for axis, place, value in zip(grid[0], chosen, values, strict=True):
        item = images[place]
        image: Tensor = item[0] if isinstance(item, (tuple, list)) else item
        axis.imshow(to_pixels(image[None], mean, std)[0], cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"{value:.3g}", fontsize=10)
        axis.set_xlabel(f"image {place}", fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle(
        f"Filter {neuron} of {layer}: {STATISTICS[scores.statistic].axis_label.lower()}"
    )
    return figure, grid[0]


def _of_layer(scores: NeuronScores, layer: str, values: Any) -> Any:
    if layer not in scores.layers:
        raise ValueError(f"Expected a layer among {list(scores.layers)}, but got {layer!r}")
    return values[layer]
