"""Figures, axes, colors, legends and names that all pictures share."""

import math
import re
import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from .._checks import instance, position, shown
from ..design import Component, Design
from ..spectrum.statistics import STATISTICS, Statistic
from ..spectrum.tagged import TaggedSpectrum

# The paper's Fig. 4: red f1, green f2, blue intermodulations; further parts follow.
PART_COLORS = [
    f"tab:{name}" for name in ("red", "green", "orange", "purple", "brown", "pink", "olive", "cyan")
]
INTERMODULATION_COLOR = "#1f4fd6"
# Gray is what is not a response: zero lines and thresholds; borders of parts; noise; moments of the
# film strip; all neurons of a layer.
GUIDE_GRAY, BORDER_GRAY, NOISE_GRAY, MOMENT_GRAY, ALL_GRAY = "0.3", "0.5", "0.65", "0.8", "0.9"
# Components that a neuron does not respond to: not above rounding, nor above their neighbors.
ABSENT_GRAY, ABSENT = "0.6", "absent (SNR up to 1)"
# More entries of a legend stand in a further column.
LEGEND_ROWS = 13

# Backends that write files and show nothing: pyplot would keep figures that nobody sees or closes.
FILE_BACKENDS = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")
# Letters of a title, and of a legend inside axes, in an inch.
TITLE_LETTERS_PER_INCH, LEGEND_LETTERS_PER_INCH = 11, 16


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of some size in inches, which pyplot holds only where it can show it.

    Notebooks show pyplot's figures once, at the end of a cell, and then close them; windows show
    them until they are closed. Elsewhere the figure belongs to the caller alone.
    """
    if plt.get_backend().lower() not in FILE_BACKENDS:
        return plt.figure(figsize=(width, height), layout="constrained")
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def figure_and_axes(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """The given axes and their figure; new ones of some size in inches if none are given.

    Raises:
        TypeError: If ``ax`` is something else.
    """
    if ax is None:
        figure = new_figure(width, height)
        return figure, figure.subplots()
    instance(ax, Axes, "ax", "the axes to draw on; `figure, ax = plt.subplots()` makes some")
    return ax.get_figure(), ax  # type: ignore[return-value]  # not a subfigure


def one_spectrum(spectrum: Any) -> TaggedSpectrum:
    """The spectrum, if it is one.

    Raises:
        TypeError: If it is something else, such as the list of the spectra of several layers.
    """
    expected = "the spectrum of one layer; of a list of layers pick one, as in `spectrum[0]`"
    return instance(spectrum, TaggedSpectrum, "spectrum", expected)


def legend_beside(
    ax: Axes, handles: Sequence[Any] | None = None, labels: Sequence[str] | None = None
) -> None:
    """Put a legend to the right of the axes, where it covers nothing.

    Args:
        ax: The axes.
        handles, labels: What to list. Default: everything that has a label
    """
    if handles is None or labels is None:
        handles, labels = ax.get_legend_handles_labels()
    ax.legend(
        handles,
        labels,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        ncols=max(1, math.ceil(len(labels) / LEGEND_ROWS)),
    )


def title_axes(ax: Axes, title: str, pad: float | None = None) -> None:
    """Write a title above axes, on several lines if it is wider than they are."""
    inches = ax.bbox.width / ax.figure.dpi
    ax.set_title(on_lines(title, int(TITLE_LETTERS_PER_INCH * inches)), pad=pad)


def on_lines(text: str, width: int) -> str:
    r"""A text on lines of at most that many letters, also broken after the dots of a layer's name.

    Examples::

        >>> on_lines("encoder.layers.encoder_layer_3", 20)
        'encoder.layers.\nencoder_layer_3'
    """
    # The mark stands where a name may be broken.
    marked = re.sub(r"([.:])(?=[A-Za-z])", "\\1\0 ", text)
    wrapped = [textwrap.wrap(line, max(1, width)) for line in marked.split("\n")]
    lines = [line for paragraph in wrapped for line in paragraph]
    return "\n".join(lines).replace("\0 ", "").replace("\0", "")


def legend_above_lines(ax: Axes, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Put a legend inside axes of a user's figure, and raise the upper limit to make room for it.

    There may be no room beside them. The vertical axis has to be linear.

    Args:
        ax: The axes, with all that is drawn in them.
        handles, labels: What to list.
    """
    width = ax.bbox.width / ax.figure.dpi * LEGEND_LETTERS_PER_INCH
    n_columns = max(1, int(width / (max(map(len, labels)) + 6)))
    legend = ax.legend(
        handles, labels, loc="upper center", frameon=False, fontsize=8, ncols=n_columns
    )
    low, high = ax.get_ylim()
    share = min(0.6, 1.08 * legend.get_window_extent().height / ax.bbox.height)
    ax.set_ylim(low, low + (high - low) / (1 - share))


def part_color(part: int) -> str:
    """Color of a part's curves and harmonics."""
    return PART_COLORS[part % len(PART_COLORS)]


def component_color(component: Component) -> str:
    """Color of a component: that of its part, or that of intermodulations."""
    if component.is_intermodulation:
        return INTERMODULATION_COLOR
    return part_color(component.parts[0])


def component_colors(components: tuple[Component, ...]) -> list[tuple[float, float, float]]:
    """Colors of components side by side: those of one color get paler from one to the next.

    Examples::

        >>> len(set(component_colors((Component((1, 0)), Component((1, 1)), Component((1, -1))))))
        3
    """
    kinds = [component_color(component) for component in components]
    colors = []
    for place, kind in enumerate(kinds):
        paleness = 0.75 * kinds[:place].count(kind) / kinds.count(kind)
        red, green, blue = (level + (1 - level) * paleness for level in to_rgb(kind))
        colors.append((red, green, blue))
    return colors


def part_name(part: int, design: Design) -> str:
    """Name of a part, with its tag.

    Examples::

        >>> from captum_ssvep import ChebyshevGrid, TaggingDesign
        >>> part_name(0, TaggingDesign()), part_name(1, ChebyshevGrid())
        ('part 0 (f1 = 6 Hz)', 'part 1 (f2)')
    """
    return f"part {part} ({design.title([int(p == part) for p in range(design.n_parts)])})"


def curve_style(part: int, design: Design) -> dict[str, Any]:
    """Color and legend entry of a part's curve."""
    return {"color": part_color(part), "label": part_name(part, design)}


def simplest_components(components: Sequence[Component]) -> list[Component]:
    """Fundamentals and the sums of two of them; the first three components if there are none.

    Of more than four parts the fundamentals alone, if there are any: pairs would be too many.

    Examples::

        >>> simplest_components([Component((1, 0)), Component((2, 0)), Component((1, 1))])
        [Component(f1), Component(f1 + f2)]
    """
    simplest = [c for c in components if c.order <= 2 and set(c) <= {0, 1}]
    if components and len(components[0]) > 4:
        simplest = [c for c in simplest if c.order == 1] or simplest[:3]
    return simplest or list(components[:3])


def neuron_index(
    neuron: int | str | Sequence[int], shape: Sequence[int], names: Sequence[str] | None = None
) -> tuple[int, ...]:
    """The index of a neuron, one integer per dimension of the neurons' shape.

    A recording's channel may be given by its name.

    Raises:
        ValueError: If it has more or fewer indices than the shape has dimensions, or one is out of
            range.
        TypeError: If an index is not an integer.
    """
    if names is not None and neuron in names:
        return (names.index(neuron),)
    alone = isinstance(neuron, str) or not isinstance(neuron, Sequence)
    index = (neuron,) if alone else tuple(neuron)  # type: ignore[arg-type]  # a sequence
    if len(index) != len(shape):
        raise ValueError(
            "Expected `neuron` to have an index for each dimension of the neurons, "
            f"{tuple(shape)}, but got {shown(neuron)}; with pooling='channel' the channel is enough"
        )
    return tuple(position(i, size, "neuron") for i, size in zip(index, shape, strict=True))


def neuron_name(spectrum: TaggedSpectrum, neuron: tuple[int, ...]) -> str:
    """Name of a neuron, or of a recording's channel, to begin a title with."""
    if spectrum.neuron_names is not None:
        return spectrum.neuron_names[neuron[0]]
    index = neuron[0] if len(neuron) == 1 else neuron
    layer = "" if spectrum.layer is None else f" of {spectrum.layer}"
    return f"{spectrum.neurons.capitalize()} {index}{layer}"


def neuron_title(spectrum: TaggedSpectrum, index: tuple[int, ...]) -> str:
    """Title for a picture of one neuron; the first index is the image."""
    image, *neuron = index
    return f"{neuron_name(spectrum, tuple(neuron))}, {spectrum.example_kind} {image}"


def amplitude_label(spectrum: TaggedSpectrum, statistic: Statistic = "amplitude") -> str:
    """Label of an axis of amplitudes; a recording's are in its unit."""
    label, unit = STATISTICS[statistic].axis_label, spectrum.unit
    return label if unit is None else label.replace("(activation)", f"({unit})")
