"""Pictures of what parts do together: AND or OR, and interactions of many parts."""

import math
from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from .._checks import count, example_index, image_batch, instance, shown, tensor
from .._typing import Baselines, FeatureMask
from ..scores.result import LEAST_INDEX, NeuronScores
from ..spectrum.corners import as_pair
from ..spectrum.tagged import TaggedSpectrum
from ..stimulus.frames import Stimulus
from ..stimulus.masks import UNTAGGED
from .maps import to_pixels
from .style import (
    ALL_GRAY,
    BORDER_GRAY,
    GUIDE_GRAY,
    NOISE_GRAY,
    figure_and_axes,
    legend_beside,
    neuron_index,
    neuron_title,
    new_figure,
    on_lines,
    one_spectrum,
)

Color = tuple[float, float, float, float]
# Red above zero (AND), blue below (OR); also told apart by people who see no red or no green.
SIGNED_COLORS = "RdBu_r"
# Diameter of the node with the largest value in points, and the strongest edge's share of it.
LARGEST_NODE, WIDEST_EDGE = 29.0, 0.27
# Pieces of a bar from left to right: sign and strength of the AND/OR index (see `and_or_shares`),
# name, and color. OR begins at the left end and AND at the right, so that layers can be compared.
AND_OR_KINDS: tuple[tuple[float, str, float | str], ...] = (
    (-2, "OR-like: below -0.5", -1.0),
    (-1, "weakly OR", -0.4),
    (0, "additive: -0.1 to 0.1", ALL_GRAY),
    (math.nan, "undefined", NOISE_GRAY),
    (1, "weakly AND", 0.4),
    (2, "AND-like: above 0.5", 1.0),
)
# More part numbers along an axis would run together.
MOST_TICKS = 16
# Narrower pieces of a bar have no room for a number, in percent.
NARROWEST_WITH_NUMBER = 5


def plot_interactions(
    interactions: Tensor,
    values: Tensor | None = None,
    feature_mask: Tensor | None = None,
    image: Tensor | None = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw which parts work together, as a network of parts over the image.

    An edge is red where two parts together do more than the sum of both, and blue where they do
    less. Its width is proportional to the interaction. One that would cross the node of another
    part is curved.

    Args:
        interactions (Tensor): One number for each pair of parts, in units of the activation, shape
            ``(pairs,)``, in the order of ``itertools.combinations(range(n_parts), 2)``: of one
            image and neuron, as ``spectrum.shapley_interactions()[:, image, neuron]``.
        values (Tensor, optional): One number for each part, in the same units, shape ``(parts,)``,
            as of `TaggedSpectrum.shapley_values`. They give nodes their size and color.
            Default: None, equal nodes
        feature_mask (Tensor, optional): The mask that divides height and width into the parts; the
            nodes lie at their centers. Default: None, nodes on a circle, as for groups of channels
        image (Tensor, optional): The image below the nodes, of shape
            ``(1, channels, height, width)``. Default: None, borders of the parts alone
        mean, std (sequence of float, optional): Normalization to undo. Default: none
        ax (Axes, optional): Axes to draw on. Default: a new figure

    Returns:
        tuple: The figure and its axes.

    Raises:
        ValueError: If numbers of pairs, parts and mask do not fit each other, there is an image
            without a mask, or a number is not finite.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> import torch
        >>> from captum_ssvep import TaggedSpectrum, TwoLevelDesign
        >>> design = TwoLevelDesign(3, max_order=3)
        >>> a, b, c = torch.as_tensor(design.contrasts).T
        >>> spectrum = TaggedSpectrum.from_series((a * b - b * c)[:, None], design)
        >>> worths = spectrum.shapley_interactions()[:, 0], spectrum.shapley_values()[:, 0]
        >>> figure, ax = plot_interactions(*worths)
        >>> [text.get_text() for text in ax.texts]
        ['0', '1', '2']
    """
    edges, n_parts = _numbers_of_pairs(interactions)
    nodes = None if values is None else _numbers_of_parts(values, n_parts)
    picture = None if image is None else _picture(image, mean, std)
    if feature_mask is None:
        if picture is not None:
            raise ValueError(
                "Expected `feature_mask` with an image, to know where its parts are, but got None; "
                "leave both out to draw parts on a circle"
            )
        mask, places = None, _on_circle(n_parts)
    else:
        mask = _part_of_pixels(feature_mask, picture, n_parts)
        places = _centers(mask, n_parts)
    figure, ax = figure_and_axes(ax, 7.0, 4.4)
    if mask is None:
        ax.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))
    else:
        _draw_dimmed(ax, mask, picture)
    ax.set(aspect="equal", anchor="W", xticks=[], yticks=[])
    ax.spines[:].set_visible(mask is not None)
    spacing = min(math.dist(one, other) for one, other in combinations(places, 2))
    largest = _largest_node(ax, spacing)
    _draw_edges(ax, edges, places, spacing, WIDEST_EDGE * largest)
    _draw_nodes(ax, nodes, places, largest)
    _add_scales(ax, edges, nodes, largest)
    return figure, ax


def plot_interaction_matrix(
    interactions: Tensor, values: Tensor | None = None, *, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """Draw the interactions of all pairs of parts as a matrix, with values on its diagonal.

    Args:
        interactions, values: As in `plot_interactions`. Values are written, without a color of
            their own: they may be many times larger.
        ax (Axes, optional): Axes to draw on. Default: a new figure

    Returns:
        tuple: The figure and its axes. Colors are centered at zero.

    Raises:
        ValueError, TypeError: As `plot_interactions`.

    Examples::

        >>> import torch
        >>> figure, ax = plot_interaction_matrix(torch.tensor([0.5, 0.0, -0.2]))
        >>> ax.images[0].get_array().filled(torch.nan)
        array([[ nan,  0.5,  0. ],
               [ 0.5,  nan, -0.2],
               [ 0. , -0.2,  nan]])
    """
    pairs, n_parts = _numbers_of_pairs(interactions)
    diagonal = None if values is None else _numbers_of_parts(values, n_parts)
    matrix = np.full((n_parts, n_parts), np.nan)
    rows, columns = np.triu_indices(n_parts, 1)
    matrix[rows, columns] = matrix[columns, rows] = pairs
    largest = np.abs(pairs).max() or 1.0
    figure, ax = figure_and_axes(ax, 5.4, 4.2)
    colors = colormaps[SIGNED_COLORS].with_extremes(bad=ALL_GRAY)
    image = ax.imshow(np.ma.masked_invalid(matrix), cmap=colors, vmin=-largest, vmax=largest)
    label = "Interaction (activation)"
    if diagonal is not None and n_parts <= MOST_TICKS:
        label += "\non the diagonal: value of the part"
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9}
        for part, value in enumerate(diagonal):
            ax.text(part, part, f"{value:.2g}", **style)
    figure.colorbar(image, ax=ax, label=label)
    step = math.ceil(n_parts / MOST_TICKS)
    ticks = range(0, n_parts, step)
    ax.set(xticks=ticks, yticks=ticks, xlabel="Part", ylabel="Part")
    return figure, ax


def plot_corners(
    spectrum: TaggedSpectrum,
    inputs: Tensor,
    parts: tuple[int, int] = (0, 1),
    neuron: int | Sequence[int] = 0,
    example: int = 0,
    *,
    feature_mask: FeatureMask = None,
    baselines: Baselines = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> tuple[Figure, NDArray[np.object_]]:
    """Draw the frames with two parts at their lowest and highest contrast, and the answers to them.

    Args:
        spectrum (TaggedSpectrum): Of parts of the input, with components of each and of both.
        inputs (Tensor): The images that were tagged, shape ``(N, channels, height, width)``.
        parts (tuple[int, int], optional): The two parts. Default: (0, 1)
        neuron (int or sequence of int, optional): Index of the neuron, without the batch dimension.
            Default: 0
        example (int, optional): Which image of the batch. Default: 0
        feature_mask, baselines: As in `FrequencyTaggingAttribution.attribute`.
        mean, std (sequence of float, optional): Normalization to undo. Default: none

    Returns:
        tuple: The figure and its axes, shape ``(2, 2)``: the first part is shown at its lowest
        contrast above and at its highest below, the second at its lowest on the left and at its
        highest on the right, other parts at their highest. Activations are averaged over the
        contrasts of other parts, as in `TaggedSpectrum.corners`.

    Raises:
        ValueError: If the spectrum lacks components of the parts, a number is out of range, or the
            inputs, the mask and the spectrum do not fit each other.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> from captum_ssvep import FrequencyTaggingAttribution, TwoLevelDesign
        >>> from captum_ssvep.demo.digits import example_images, load_network
        >>> images, labels = example_images()
        >>> tagging = FrequencyTaggingAttribution(load_network(), "fc")
        >>> spectrum = tagging.spectrum(images, design=TwoLevelDesign(2))
        >>> figure, axes = plot_corners(spectrum, images, neuron=3)
        >>> axes[0, 1].get_title()  # of the right half alone
        'mean activation 1.21'
    """
    design = one_spectrum(spectrum).design
    if len(image_batch(inputs, "inputs")) != len(spectrum):
        raise ValueError(
            f"Expected `inputs` to be the {count(len(spectrum), 'image')} of the spectrum, but got "
            f"{len(inputs)}; pass those that were tagged"
        )
    row = example_index(example, len(spectrum))
    place = 0, *neuron_index(neuron, spectrum.mean.shape[1:])
    pair, of_image = as_pair(parts), spectrum[row]
    table = of_image.corners(pair).movedim((0, 1), (-2, -1))[place].tolist()
    stimulus = Stimulus.build(inputs, design, feature_mask, baselines).examples(slice(row, row + 1))
    contrasts = np.full((4, design.n_parts), design.contrast[1])
    contrasts[:, pair] = [*product(design.contrast, repeat=2)]
    frames = to_pixels(stimulus.frames(contrasts)[0], mean, std)
    mask = stimulus.masks[0].expand(stimulus.inputs[0].shape)[0, 0].cpu().numpy()
    figure = new_figure(5.6, 6.6)
    axes = figure.subplots(2, 2)
    for axis, frame, activation in zip(axes.flat, frames, np.ravel(table), strict=True):
        axis.imshow(frame, cmap="gray", vmin=0, vmax=1)
        _draw_borders(axis, mask, pair)
        axis.set_title(f"mean activation {activation:.3g}", fontsize=11)
        axis.set(xticks=[], yticks=[])
    for level, contrast in enumerate(design.contrast):
        axes[level, 0].set_ylabel(f"part {pair[0]} at contrast {contrast:g}")
        axes[1, level].set_xlabel(f"part {pair[1]} at contrast {contrast:g}")
    others = "\nactivations are means over other parts' contrasts" if design.n_parts > 2 else ""
    figure.suptitle(
        f"{on_lines(neuron_title(spectrum, (row, *place[1:])), 46)}\n"
        f"AND/OR index {_as_text(of_image.and_or_index(pair)[place])}, "
        f"monotonicity {_as_text(of_image.monotonicity(pair)[place])}\n"
        f"interaction effect {float(of_image.interaction_effect(pair)[place]):.3g}, "
        f"{_contrasts(design.contrast)}{others}"
    )
    return figure, axes


def plot_and_or(
    results: NeuronScores | Sequence[TaggedSpectrum],
    parts: tuple[int, int] = (0, 1),
    *,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw how many neurons of each layer need both of two parts, or either, by the AND/OR index.

    Args:
        results (NeuronScores or sequence of TaggedSpectrum): From `score_neurons`, one index for
            each filter's mean response; or the spectra of several layers, one index for each
            neuron and image.
        parts (tuple[int, int], optional): The two parts. Default: (0, 1)
        ax (Axes, optional): Axes to draw on. Default: a new figure

    Returns:
        tuple: The figure and its axes. A layer is a bar: blue, from the left, for an index below
        -0.5 (OR-like) and down to -0.1 (weakly OR); red, from the right, for AND; between them
        what is additive, and what has no index (see `TaggedSpectrum.and_or_index`).

    Raises:
        ValueError: If components of the parts are missing, or spectra differ in their contrasts.
        TypeError: If the results are of another kind.

    Examples::

        >>> from captum_ssvep import FrequencyTaggingAttribution, TwoLevelDesign
        >>> from captum_ssvep.demo.digits import example_images, load_network
        >>> tagging = FrequencyTaggingAttribution(load_network(), ["layer1", "fc"])
        >>> spectra = tagging.spectrum(
        ...     example_images()[0], design=TwoLevelDesign(2), pooling="channel"
        ... )
        >>> figure, ax = plot_and_or(spectra)
        >>> ax.get_title()
        'AND/OR index of parts 0 and 1, contrasts 0 to 1'
    """
    first, second = as_pair(parts)
    if isinstance(results, NeuronScores):
        contrast, indices = results.design.contrast, [*results.and_or_index(parts).items()]
        what = f"{results.neurons}s, by the mean over {count(results.n_images, 'image')}"
    else:
        contrast, kind, n_images = _facts(results)
        indices = [(s.layer or f"series {i}", s.and_or_index(parts)) for i, s in enumerate(results)]
        what = f"{kind}s, counted in {count(n_images, 'image')}"
    names, values = zip(*indices, strict=True)
    figure, ax = figure_and_axes(ax, 7.6, min(16, 1.5 + 0.36 * len(names)))
    starts = np.zeros(len(names))
    shares = np.stack([and_or_shares(value) for value in values], axis=1)
    for widths, (_, kind, color) in zip(shares, AND_OR_KINDS, strict=True):
        fill = color if isinstance(color, str) else signed_color(color)
        bars = ax.barh(range(len(names)), widths, 0.8, starts, color=fill, label=kind)
        numbers = [f"{width:.0f}" if width >= NARROWEST_WITH_NUMBER else "" for width in widths]
        ax.bar_label(bars, numbers, label_type="center", color=_readable_on(fill))
        starts += widths
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set(
        xlim=(0, 100),
        xlabel=f"Share of {what} (%)",
        title=f"AND/OR index of parts {first} and {second}, {_contrasts(contrast)}",
    )
    legend_beside(ax)
    return figure, ax


def _numbers_of_pairs(interactions: Tensor) -> tuple[NDArray[np.float64], int]:
    """The interactions as an array, and the number of parts."""
    pairs = _numbers(interactions, "interactions")
    n_parts = (1 + math.isqrt(1 + 8 * pairs.size)) // 2
    if pairs.shape != (n_parts * (n_parts - 1) // 2,) or not pairs.size:
        raise ValueError(
            "Expected `interactions` of shape (pairs,), with 1, 3, 6, 10, ... pairs of 2, 3, 4, "
            f"5, ... parts, but got {pairs.shape}; take one image and neuron, as in "
            "`spectrum.shapley_interactions()[:, image, neuron]`"
        )
    return pairs, n_parts


def _numbers_of_parts(values: Tensor, n_parts: int) -> NDArray[np.float64]:
    """The values of the parts as an array."""
    numbers = _numbers(values, "values")
    if numbers.shape != (n_parts,):
        raise ValueError(
            f"Expected `values` of shape ({n_parts},), one for each part that `interactions` has "
            f"pairs of, but got {numbers.shape}; take one image and neuron, as in "
            "`spectrum.shapley_values()[:, image, neuron]`"
        )
    return numbers


def _numbers(value: Tensor, name: str) -> NDArray[np.float64]:
    found = tensor(value, name)
    if not found.is_floating_point():
        raise TypeError(
            f"Expected `{name}` of a floating dtype, but got {found.dtype}; `.double()` converts it"
        )
    if not found.isfinite().all():
        raise ValueError(
            f"Expected `{name}` to be finite, but got NaN or infinity; choose another neuron"
        )
    numbers: NDArray[np.float64] = found.detach().double().cpu().numpy()
    return numbers


def _picture(
    image: Tensor, mean: Sequence[float] | None, std: Sequence[float] | None
) -> NDArray[np.float32]:
    """One image as a picture."""
    if len(image_batch(image, "image")) != 1:
        raise ValueError(
            "Expected `image` to be one of shape (1, channels, height, width), but got "
            f"{tuple(image.shape)}; pass `image[:1]`"
        )
    picture: NDArray[np.float32] = to_pixels(image, mean, std)[0]
    return picture


def _part_of_pixels(
    feature_mask: Tensor, picture: NDArray[np.float32] | None, n_parts: int
) -> NDArray[np.int64]:
    """The part of every pixel, shape ``(height, width)``."""
    remedy = "`tiles(image.shape, rows, columns)` makes one"
    mask = np.atleast_2d(tensor(feature_mask, "feature_mask", remedy).cpu().numpy())
    if mask.dtype.kind not in "iu" or not mask.size:
        raise TypeError(
            f"Expected `feature_mask` to hold integers, but got {mask.dtype} of shape "
            f"{mask.shape}; {remedy}"
        )
    layers = mask.reshape(-1, *mask.shape[-2:])
    if (layers != layers[0]).any():
        raise ValueError(
            "Expected `feature_mask` to divide height and width, but its parts differ between "
            "images or channels; leave it out to draw parts on a circle"
        )
    # A size of 1 stands for any; without a picture, the other size makes a square.
    size = tuple(max(mask.shape[-2:]) if n == 1 else n for n in mask.shape[-2:])
    height, width = size if picture is None else picture.shape[:2]
    if any(given not in (1, n) for given, n in zip(mask.shape[-2:], (height, width), strict=True)):
        raise ValueError(
            f"Expected `feature_mask` of the image's {height} x {width} pixels, but got "
            f"{mask.shape[-2]} x {mask.shape[-1]}; {remedy}"
        )
    found = sorted({*np.unique(layers[0]).tolist()} - {UNTAGGED})
    if found != [*range(n_parts)]:
        raise ValueError(
            f"Expected `feature_mask` with the parts 0 to {n_parts - 1} that `interactions` has "
            f"pairs of, but got {shown(found)}; pass the mask of the spectrum"
        )
    return np.broadcast_to(layers[0], (height, width)).astype(np.int64)


def _centers(mask: NDArray[np.int64], n_parts: int) -> NDArray[np.float64]:
    """Column and row of each part's center, inside the part, shape ``(parts, 2)``."""
    centers = []
    for part in range(n_parts):
        row, column = (indices.mean() for indices in np.nonzero(mask == part))
        if mask[round(row), round(column)] != part:
            # Such as a ring: where it is widest.
            depths = distance_transform_edt(np.pad(mask == part, 1))[1:-1, 1:-1]
            row, column = np.unravel_index(depths.argmax(), depths.shape)
        centers.append((column, row))
    return np.array(centers, dtype=np.float64)


def _on_circle(n_parts: int) -> NDArray[np.float64]:
    """Places on the unit circle, clockwise from the top, shape ``(parts, 2)``."""
    turns = 2 * np.pi * np.arange(n_parts) / n_parts
    return np.stack([np.sin(turns), np.cos(turns)], axis=1)


def _draw_dimmed(ax: Axes, mask: NDArray[np.int64], picture: NDArray[np.float32] | None) -> None:
    """Draw the borders of the parts over a pale image, or over nothing."""
    pale: NDArray[Any] = np.ones(mask.shape)
    if picture is not None:
        # Gray, so that the colors of edges can be told.
        pale = 0.5 + 0.5 * (picture if picture.ndim == 2 else picture.mean(axis=2))
    ax.imshow(pale, cmap="gray", vmin=0, vmax=1)
    _draw_borders(ax, mask, range(mask.max() + 1))


def _draw_borders(ax: Axes, mask: NDArray[np.int64], parts: Sequence[int]) -> None:
    """Draw lines around parts."""
    for part in parts:
        if not (mask == part).all():
            ax.contour(mask == part, [0.5], colors=BORDER_GRAY, linewidths=0.8)


def _largest_node(ax: Axes, spacing: float) -> float:
    """Diameter in points of the largest node, so that neighbors do not touch."""
    points = 72 / ax.figure.dpi * np.array([ax.bbox.width, ax.bbox.height])
    ranges = np.abs([np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())])
    return min(LARGEST_NODE, 0.65 * spacing * float((points / ranges).min()))


def _draw_edges(
    ax: Axes,
    values: NDArray[np.float64],
    places: NDArray[np.float64],
    spacing: float,
    widest: float,
) -> None:
    """Draw a line between the nodes of every pair, the strongest on top."""
    pairs, shares = np.array([*combinations(places, 2)]), _shares_of_largest(values)
    order = np.argsort(np.abs(shares))
    edges = PathCollection(
        [_edge(start, end, places, spacing) for start, end in pairs[order]],
        facecolors="none",
        edgecolors=[_edge_color(share) for share in shares[order]],
        linewidths=widest * np.abs(shares[order]),
        zorder=2,
    )
    ax.add_collection(edges, autolim=False)


def _edge(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    places: NDArray[np.float64],
    spacing: float,
) -> Path:
    """A line between two nodes; one that would cross another node is curved around it."""
    length = math.dist(start, end)
    along = (end - start) / length
    across = np.array([-along[1], along[0]])
    ways, asides = (places - start) @ along, (places - start) @ across
    # A quarter of the spacing to neither end, which are nodes themselves.
    crossed = (np.abs(2 * ways - length) < length - spacing / 2) & (np.abs(asides) < spacing / 4)
    bend = 0.7 * spacing * crossed.any() * (-1 if asides[crossed].sum() > 0 else 1)
    codes = [Path.MOVETO, Path.CURVE3, Path.CURVE3]
    return Path(np.stack([start, (start + end) / 2 + bend * across, end]), codes)


def _edge_color(share: float) -> Color:
    """Color of an edge, the more opaque the stronger."""
    red, green, blue, _ = signed_color(math.copysign(1, share))
    return red, green, blue, 0.2 + 0.8 * abs(share)


def _draw_nodes(
    ax: Axes, values: NDArray[np.float64] | None, places: NDArray[np.float64], largest: float
) -> None:
    """Draw a numbered circle for each part; equal ones if there are no values."""
    shares = np.zeros(len(places)) if values is None else _shares_of_largest(values)
    colors = [signed_color(share) for share in shares]
    x, y = places.T
    ax.scatter(x, y, s=_diameter(shares, largest) ** 2, c=colors, edgecolors=GUIDE_GRAY, zorder=3)
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": min(10, 0.35 * largest)}
    for part, color in enumerate(colors):
        ax.text(x[part], y[part], str(part), color=_readable_on(color), zorder=4, **style)


def _diameter(shares: Any, largest: float) -> Any:
    """Diameter of nodes; that of zero has room for its number."""
    return largest * (1 + np.abs(shares)) / 2


def _add_scales(
    ax: Axes, edges: NDArray[np.float64], nodes: NDArray[np.float64] | None, largest: float
) -> None:
    """Add a legend beside the axes: what sign and size of edges and nodes stand for."""
    title = "Interaction (activation):\nabove (+) or below (-)\nthe sum of both"
    entries = []
    for share, number in _scale(edges):
        width = WIDEST_EDGE * largest * abs(share)
        entries.append((Line2D([], [], color=_edge_color(share), linewidth=width), number))
    if nodes is not None:
        title += "\nCircles: value of a part"
        circles = []
        style: dict[str, Any] = {"linestyle": "", "marker": "o", "markeredgecolor": GUIDE_GRAY}
        for share, number in _scale(nodes):
            size, color = _diameter(share, largest), signed_color(share)
            circles.append((Line2D([], [], color=color, markersize=size, **style), number))
        # Two columns, which have to be equally long.
        blank = [(Line2D([], [], linestyle=""), "")]
        entries += blank * (len(circles) - len(entries))
        entries += circles + blank * (len(entries) - len(circles))
    handles, labels = zip(*entries, strict=True)
    ax.legend(
        handles,
        labels,
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        alignment="left",
        labelspacing=1.7,
        columnspacing=1.5,
        ncols=1 if nodes is None else 2,
        frameon=False,
    )


def _scale(values: NDArray[np.float64]) -> list[tuple[float, str]]:
    """The largest absolute value and half of it, with signs that occur: as shares, and written."""
    largest = np.abs(values).max()
    shares = [s for s in (1.0, 0.5, -0.5, -1.0) if (s * values).max() > 0] or [0.0]
    return [(share, f"{share * largest:+.2g}") for share in shares]


def _shares_of_largest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values divided by the largest absolute one."""
    return values / (np.abs(values).max() or 1.0)


def signed_color(share: float) -> Color:
    """Red for 1, white for 0, blue for -1; not as far as black, which has no hue."""
    red, green, blue, opacity = colormaps[SIGNED_COLORS](0.5 + 0.4 * share)
    return red, green, blue, opacity


def _readable_on(color: Any) -> str:
    """White or black, for text on a color."""
    red, green, blue = to_rgb(color)
    return "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else "black"


def _facts(spectra: Sequence[TaggedSpectrum]) -> tuple[tuple[float, float], str, int]:
    """Range of contrasts, kind of neurons and number of images of all spectra.

    Raises:
        TypeError, ValueError: If they are no spectra, or not alike.
    """
    expected = "scores, or the spectra of several layers; of one layer pass `[spectrum]`"
    for spectrum in instance(spectra, (list, tuple), "results", expected):
        instance(spectrum, TaggedSpectrum, "results", expected)
    facts = {(s.design.contrast, str(s.neurons), len(s)) for s in spectra}
    if len(facts) != 1:
        raise ValueError(
            "Expected `results` to be spectra with the same contrasts, kind of neurons and number "
            f"of images, but got {shown(facts or spectra)}; `spectrum` of several layers makes such"
        )
    return facts.pop()


def and_or_shares(index: Tensor) -> NDArray[np.float64]:
    """Percentages of the kinds in `AND_OR_KINDS` among values of the AND/OR index."""
    kappa = index.flatten().cpu().numpy()
    size = np.abs(kappa)
    strengths = np.sign(kappa) * ((size > LEAST_INDEX).astype(int) + (size > 0.5))
    same = [np.isnan(kappa) if math.isnan(s) else strengths == s for s, *_ in AND_OR_KINDS]
    percentages: NDArray[np.float64] = 100 * np.mean(same, axis=1)
    return percentages


def _as_text(index: Tensor) -> str:
    """An index with two digits."""
    return "undefined" if index.isnan() else f"{float(index):.2f}"


def _contrasts(contrast: tuple[float, float]) -> str:
    low, high = contrast
    return f"contrasts {low:g} to {high:g}"
