"""Pictures of scores over a data set, after the figures of Böge et al. (arXiv 2411.10084)."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from .._checks import count, instance, number
from ..design import ComponentSelection
from ..design.components import COMPONENT_GROUPS, in_group
from ..scores.batches import image_in
from ..scores.result import NeuronScores, neuron_scores
from ..scores.significance import Test
from ..spectrum.statistics import STATISTICS
from .maps import to_pixels
from .style import (
    ALL_GRAY,
    GUIDE_GRAY,
    component_colors,
    figure_and_axes,
    legend_beside,
    neuron_index,
    new_figure,
    on_lines,
    simplest_components,
    title_axes,
)

# Bars above this multiple of the third quartile are cut off, so that the others can be seen.
CUT_QUARTILES = 4
# The heat map does not distinguish ratios below this.
LOWEST_RATIO = 1e-3
# More filters get dots, since bars would be thinner than pixels; more layers stand in a column.
MOST_BARS, MOST_LAYERS_ACROSS = 400, 40
# Inches: a lower heat map has no room for the label of its color bar, a longer bar is no use.
LEAST_HEIGHT, LONGEST_BAR = 3.6, 4.0


def plot_filters(
    scores: NeuronScores,
    layer: str,
    components: ComponentSelection | None = None,
    *,
    threshold: float | None = None,
    cut: float | None = None,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw the response of each filter of a layer at some components (the paper's Fig. 4).

    Every filter has a group of bars: red at f1, green at f2, blue at intermodulations; dots if
    there are more than 400 filters. If a few bars would dwarf the others, the axis is cut, and
    triangles mark the bars that go beyond it.

    Args:
        scores (NeuronScores): With one index per neuron, as with ``pooling="channel"``.
        layer (str): Name of the layer.
        components (str or sequence, optional): Among those scored. Default: the fundamentals and
            the sums of two of them that were scored; the first three components if there are none
        threshold (float, optional): Where to draw a horizontal line. Default: None
        cut (float, optional): Where to cut the axis. Default: at 4 times the third quartile of the
            bars, if any bar is higher
        ax (Axes, optional): Axes to draw on. Default: a new figure

    Returns:
        tuple: The figure and its axes.

    Raises:
        ValueError: If the layer or a component was not scored, or neurons have several indices.
    """
    neuron_scores(scores)
    shown = simplest_components(scores.components) if components is None else components
    rows = scores.rows(shown)
    heights = scores.by_component[scores.known_layer(layer)][rows].numpy()
    is_absent = _is_absent(scores, layer)[rows].all()
    if heights.ndim != 2:
        raise ValueError(
            f"Expected scores of filters, but those of layer {layer!r} are of neurons of shape "
            f"{heights.shape[1:]}; score with pooling='channel'"
        )
    chosen = tuple(scores.components[row] for row in rows)
    n_filters = heights.shape[1]
    line = None if threshold is None else number(threshold, "threshold")
    highest = (
        CUT_QUARTILES * float(np.quantile(heights, 0.75)) if cut is None else number(cut, "cut")
    )
    figure, ax = figure_and_axes(ax, min(16, max(7, 3 + 0.3 * n_filters)), 3.8)
    colors, names = component_colors(chosen), [*map(scores.design.title, chosen)]
    places = _grouped(ax, heights, colors, names, as_dots=n_filters > MOST_BARS)
    if heights.min() >= 0:
        ax.set_ylim(bottom=0)
    title = f"{layer}, mean over {count(scores.n_images, 'image')}"
    if is_absent:
        title += ": all absent"
        ax.set_ylim(0, 1)
    elif 0 < highest < heights.max():
        for row, color in enumerate(colors):
            cut_off = places[row, heights[row] > highest]
            tips = np.full(len(cut_off), 1.03 * highest)
            ax.plot(cut_off, tips, "^", color=color, markersize=5, clip_on=False)
        ax.set_ylim(top=highest)
        title += f" (triangles: beyond, up to {heights.max():.3g})"
    title_axes(ax, title, pad=12)
    if line is not None:
        ax.axhline(line, color=GUIDE_GRAY, linestyle="--", linewidth=1, label=f"{line:g}")
    step = max(1, n_filters // 16)
    ax.set_xticks(range(0, n_filters, step))
    ax.set(xlabel="Filter", ylabel=STATISTICS[scores.statistic].axis_label)
    legend_beside(ax)
    return figure, ax


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
        groups (sequence of str or of components, optional): Groups of components. Each has a bar
            for the filters that respond to at least one of its components. Default: fundamentals,
            harmonics and intermodulations, as far as they were scored
        threshold, alpha, test: As in `NeuronScores.important`.
        ax (Axes, optional): Axes to draw on. Default: a new figure

    Returns:
        tuple: The figure and its axes. Gray bars show all filters of a layer. Layers stand side by
        side, or, if there are more than 40, in a column.
    """
    layers = neuron_scores(scores).layers
    if groups is None:
        groups = [
            group
            for group in COMPONENT_GROUPS
            if group != "all" and any(in_group(c, group) for c in scores.components)
        ]
    instance(groups, (list, tuple), "groups", "a list of groups, as ['harmonics', [(1, 1)]]")
    if not groups:
        raise ValueError("Expected `groups` to hold at least one group, but got none")
    counts = [[*scores.count_important(threshold, alpha, g, test).values()] for g in groups]
    is_column = len(layers) > MOST_LAYERS_ACROSS
    size = (9, 1.6 + 0.22 * len(layers)) if is_column else (max(6, 4 + 0.42 * len(layers)), 4)
    figure, ax = figure_and_axes(ax, *size)
    totals = [scores.mean[layer].numel() for layer in layers]
    draw_bars = ax.barh if is_column else ax.bar
    draw_bars(range(len(layers)), totals, 0.9, color=ALL_GRAY, label="all")
    colors = colormaps["viridis"](np.linspace(0, 0.85, len(groups)))
    names = [g if isinstance(g, str) else ", ".join(map(scores.design.label, g)) for g in groups]
    _grouped(ax, np.array(counts), colors, names, is_column=is_column)
    if is_column:
        ax.set_yticks(range(len(layers)), layers)
        ax.set_ylim(len(layers) - 0.3, -0.7)  # the first on top
        ax.set_xlabel("Important neurons")
    else:
        ax.set_xticks(range(len(layers)), layers, rotation=60, ha="right", rotation_mode="anchor")
        ax.set_ylabel("Important neurons")
    criteria = []
    if threshold is not None:
        criteria.append(f"{STATISTICS[scores.statistic].axis_label} > {float(threshold):g}")
    if alpha is not None or threshold is None:
        criteria.append(f"false discovery rate {0.05 if alpha is None else float(alpha):g}")
    title_axes(ax, f"{', '.join(criteria)}; {count(scores.n_images, 'image')}")
    legend_beside(ax)
    return figure, ax


def plot_components(scores: NeuronScores, *, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw at which components layers respond, relative to their strongest, as a heat map.

    Args:
        scores (NeuronScores): From `score_neurons`, with a statistic that is not negative.
        ax (Axes, optional): Axes to draw on. Default: a new figure

    Returns:
        tuple: The figure and its axes: layers by components, means over neurons and images. Gray
        is where no neuron responds above rounding to any image.

    Raises:
        ValueError: If the statistic can be negative.
    """
    if STATISTICS[neuron_scores(scores).statistic].signed:
        raise ValueError(
            "Expected scores by a statistic that is not negative, but got "
            f"{scores.statistic!r}; use 'amplitude' or 'snr'"
        )
    means = np.stack([v.flatten(1).mean(1).numpy() for v in scores.by_component.values()])
    is_absent = np.stack([_is_absent(scores, x).flatten(1).all(1).numpy() for x in scores.layers])
    means = np.where(is_absent, 0, means)
    largest = means.max(axis=1, keepdims=True)
    ratios = np.divide(means, largest, out=np.zeros_like(means), where=largest > 0)
    n_layers, n_components = ratios.shape
    height = max(LEAST_HEIGHT, 2.2 + 0.24 * n_layers)
    figure, ax = figure_and_axes(ax, 4.5 + 0.32 * n_components, height)
    shown = np.ma.masked_where(is_absent, ratios.clip(min=LOWEST_RATIO))
    colors = colormaps["viridis"].with_extremes(bad=ALL_GRAY)
    image = ax.imshow(shown, norm=LogNorm(LOWEST_RATIO, 1), cmap=colors, aspect="auto")
    names = [scores.design.label(component) for component in scores.components]
    ax.set_xticks(range(n_components), names, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(n_layers), scores.layers)
    ax.set_xlabel("Component (gray: absent)" if is_absent.any() else "Component")
    label = f"{STATISTICS[scores.statistic].axis_label}\nover the layer's largest"
    shrink = min(1, LONGEST_BAR / (ax.bbox.height / ax.figure.dpi))
    figure.colorbar(image, ax=ax, extend="min", label=label, shrink=shrink)
    return figure, ax


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
        images (Dataset or Tensor): The data that were scored: images, or tuples that begin with
            one.
        mean, std (sequence of float, optional): Normalization to undo. Default: none

    Returns:
        tuple: The figure and its axes: one per image, with the score above.

    Raises:
        ValueError: If the layer was not scored, its neurons have more or fewer indices, or it is
            unknown which images drive them.
        TypeError: If the images have no indices.
    """
    top_images = neuron_scores(scores).top_images[scores.known_layer(layer)]
    if not hasattr(images, "__getitem__") or isinstance(images, (type, IterableDataset)):
        raise TypeError(
            "Expected `images` to be the Dataset or Tensor that was scored, but got "
            f"{type(images).__name__}; of a DataLoader pass its `dataset`"
        )
    index = neuron_index(neuron, top_images.shape[1:])
    top_scores = scores.overall[layer].top_scores
    chosen, values = (t.movedim(0, -1)[index].tolist() for t in (top_images, top_scores))
    origin = "the data that were scored"
    pictures = [
        to_pixels(image_in(images, place, "images", origin)[None], mean, std)[0] for place in chosen
    ]
    figure = new_figure(max(4, 1.3 * len(chosen) + 0.3), 2.4)
    grid = figure.subplots(1, len(chosen), squeeze=False)
    for axis, picture, place, value in zip(grid[0], pictures, chosen, values, strict=True):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"{value:.3g}", fontsize=10)
        axis.set_xlabel(f"image {place}", fontsize=9)
        axis.set(xticks=[], yticks=[])
    title = f"Filter {neuron} of {layer}: {STATISTICS[scores.statistic].axis_label}"
    figure.suptitle(on_lines(title, max(40, 14 * len(chosen))))
    return figure, grid[0]


def _is_absent(scores: NeuronScores, layer: str) -> Tensor:
    """Where no image has a response above rounding, shape ``(components, *neuron)``.

    Without noise, tallies keep such coefficients as zeros.
    """
    coefficient = scores.overall[layer].coefficient
    return (coefficient.mean == 0) & (coefficient.deviations == 0)


def _grouped(
    ax: Axes,
    heights: NDArray[Any],
    colors: Iterable[Any],
    names: Iterable[str],
    *,
    as_dots: bool = False,
    is_column: bool = False,
) -> NDArray[np.float64]:
    """Draw bars of several kinds side by side at each place on an axis.

    Args:
        ax: Axes to draw on.
        heights: Heights of the bars, shape ``(kinds, places)``.
        colors, names: One for each kind.
        as_dots: Draw dots instead. Default: False
        is_column: The bars point to the right, and places lie below each other. Default: False

    Returns:
        ndarray: Where the bars are, shape of ``heights``.
    """
    n_kinds, n_places = heights.shape
    width = 0.8 / n_kinds
    offsets = (np.arange(n_kinds) - (n_kinds - 1) / 2) * width
    places: NDArray[np.float64] = np.arange(n_places) + offsets[:, None]
    draw_bars = ax.barh if is_column else ax.bar
    for x, y, color, name in zip(places, heights, colors, names, strict=True):
        if as_dots:
            ax.plot(x, y, "o", markersize=2.5, color=color, label=name)
        else:
            draw_bars(x, y, width, color=color, label=name)
    if not is_column:
        ax.set_xlim(-0.7, n_places - 0.3)
    return places
