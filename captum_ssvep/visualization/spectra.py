"""Pictures of the response of one neuron."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from .._checks import example_index, integer, shown
from ..design import Component, Design
from ..spectrum.plan import neighbors_of
from ..spectrum.statistics import Statistic
from ..spectrum.tagged import TaggedSpectrum
from .style import (
    ABSENT,
    ABSENT_GRAY,
    GUIDE_GRAY,
    NOISE_GRAY,
    PART_COLORS,
    amplitude_label,
    component_color,
    curve_style,
    figure_and_axes,
    legend_above_lines,
    legend_beside,
    neuron_index,
    neuron_title,
    new_figure,
    on_lines,
    one_spectrum,
    part_name,
    title_axes,
)

INTERMODULATION_LABEL = "intermodulations"
# More names of components, or frequencies of neighbors, would run together along the axis.
MOST_NAMES, MOST_TICKS = 50, 9


def plot_spectrum(
    spectrum: TaggedSpectrum,
    neuron: int | str | Sequence[int],
    example: int | None = None,
    statistic: Statistic = "amplitude",
    *,
    component: Sequence[int] | None = None,
    n_labels: int = 6,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw the response of one neuron or channel at each component (colors of the paper's Fig. 4).

    Lines that are not above the rounding floor, or in noise not above their neighbors, are gray.

    Args:
        spectrum (TaggedSpectrum): From ``spectrum`` of the attribution; with
            ``pooling="channel"``, a neuron is a channel.
        neuron (int, str or sequence of int): Index of the neuron, without the batch dimension, or
            the name of a recording's channel.
        example (int, optional): Which image of the batch; not needed for a batch of one.
        statistic (str, optional): One of `statistics.STATISTICS`. Default: ``"amplitude"``
        component (sequence of int, optional): One that the title names, with its height. Its line
            is always labeled. Default: None
        n_labels (int, optional): How many components to label: those of single tags first, then
            the highest. A label that would cover another is left out. Default: 6
        ax (Axes, optional): Axes to draw on. Default: a new figure

    Returns:
        tuple: The figure and its axes.

    Raises:
        ValueError: If a component or the statistic is unknown, or an index out of range.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> import torch
        >>> from captum_ssvep import TaggingDesign
        >>> design = TaggingDesign()
        >>> series = torch.as_tensor(design.contrasts.prod(axis=1))[:, None, None]
        >>> spectrum = TaggedSpectrum.from_series(series, design)
        >>> figure, ax = plot_spectrum(spectrum, 0, component=(1, 1))
        >>> print(ax.get_title())
        Neuron 0, image 0
        f1 + f2 = 13.5 Hz: 0.0312
        >>> sorted(text.get_text() for text in ax.texts)
        ['f1', 'f1 + f2', 'f2', 'f2 - f1']
    """
    index, n_labels = _index(spectrum, neuron, example), integer(n_labels, "n_labels", at_least=0)
    named = None if component is None else _held(spectrum, component)
    lines = _lines(spectrum, index, statistic)
    is_own = ax is None
    figure, ax = figure_and_axes(ax, 9, 3.6)
    for kind, alike in _by_kind(lines).items():
        places, heights = [line.place for line in alike], [line.height for line in alike]
        # Absent ones below the others.
        style: dict[str, Any] = {"color": alike[0].color, "zorder": 2 + alike[0].is_present}
        ax.vlines(places, 0, heights, linewidth=2.5, **style)
        ax.plot(places, heights, "o", markersize=5, label=kind, **style)
    ax.axhline(0, color=GUIDE_GRAY, linewidth=0.8)
    ax.margins(x=0.06, y=0.14)
    if all(line.height >= 0 for line in lines):
        ax.set_ylim(bottom=0)
    ax.set(
        xlabel="Frequency (Hz)" if spectrum.design.in_time else "Component",
        ylabel=amplitude_label(spectrum, statistic),
    )
    are_named = not spectrum.design.in_time and len(lines) <= MOST_NAMES
    # Without frequencies, the axis names the components, as far as they fit.
    if not spectrum.design.in_time:
        places, names = [line.place for line in lines], [line.name for line in lines]
        ticks = (places, names) if are_named else ([], [])
        ax.set_xticks(*ticks, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    title_axes(ax, _title(spectrum, index, lines, named))
    put_legend = legend_beside if is_own else legend_above_lines
    put_legend(ax, *ax.get_legend_handles_labels())
    if not are_named:
        label_lines(ax, _tips(lines, named, n_labels))
    return figure, ax


def plot_neighbors(
    spectrum: TaggedSpectrum,
    neuron: int | str | Sequence[int],
    component: Sequence[int],
    example: int | None = None,
    *,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw a component's line among the neighbors that serve as its noise (the paper's Fig. 3).

    Args:
        spectrum (TaggedSpectrum): With neighbors: computed with ``noise_std``, or from a series.
        neuron (int, str or sequence of int): Index of the neuron, without the batch dimension, or
            the name of a recording's channel.
        component (sequence of int): The component.
        example (int, optional): Which image of the batch; not needed for a batch of one.
        ax (Axes, optional): Axes to draw on. Default: a new figure

    Returns:
        tuple: The figure and its axes. The SNR is the height of the line over the dashed mean.

    Raises:
        ValueError: If the spectrum has no neighbors.
    """
    design = one_spectrum(spectrum).design
    (wanted,) = design.components([component])
    place = design.line_frequency(design.line(wanted))
    if not spectrum.n_neighbors or design.sampling_rate is None or place is None:
        raise ValueError(
            "Expected a `spectrum` with neighboring bins, but got one without; compute it with "
            "noise_std above 0, or from a series"
        )
    index = _index(spectrum, neuron, example)
    bins = neighbors_of(wanted, spectrum.components, design, spectrum.n_neighbors)
    noise = spectrum.neighbor_amplitudes(wanted).movedim(0, -1)[index].cpu().numpy()
    height = float(spectrum.amplitude(wanted)[index])
    figure, ax = figure_and_axes(ax, 6.2, 3.4)
    resolution = design.sampling_rate / design.n_frames
    frequencies = np.array(bins) * resolution
    ax.bar(frequencies, noise, 0.6 * resolution, color=NOISE_GRAY, label="neighbors")
    color = component_color(wanted)
    ax.bar(place, height, 0.6 * resolution, color=color, label=design.title(wanted))
    ax.axhline(noise.mean(), color=GUIDE_GRAY, linestyle="--", linewidth=1.2, label="their mean")
    if len(bins) < MOST_TICKS:
        ax.set_xticks(np.sort(np.append(frequencies, place)))
    ax.set(
        xlabel="Frequency (Hz)",
        ylabel=amplitude_label(spectrum),
    )
    legend_beside(ax)
    snr = float(spectrum.snr(wanted)[index])
    title_axes(ax, f"{neuron_title(spectrum, index)}: SNR = {snr:.3g}")
    return figure, ax


def plot_contrast_response(
    spectrum: TaggedSpectrum,
    neuron: int | str | Sequence[int],
    parts: tuple[int, int] | None = None,
    example: int | None = None,
    *,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw how a neuron's activation depends on the contrast of each part (a sweep VEP).

    Args:
        spectrum (TaggedSpectrum): As in `plot_spectrum`.
        neuron (int, str or sequence of int): Index of the neuron, without the batch dimension, or
            the name of a recording's channel.
        parts (tuple[int, int], optional): Two parts whose contrasts vary together, for a surface.
            Default: None, a curve for every part, averaged over the flicker of the others
        example (int, optional): Which image of the batch; not needed for a batch of one.
        ax (Axes, optional): Axes to draw on. Default: a new figure

    Returns:
        tuple: The figure and its axes.
    """
    index, design = _index(spectrum, neuron, example), spectrum.design
    if parts is None:
        curves = {
            part: spectrum.contrast_response(part)
            for part in sorted({c.parts[0] for c in spectrum.components if c.is_harmonic})
        }
        is_own = ax is None
        figure, ax = figure_and_axes(ax, 6.6, 4)
        for part, (contrasts, response) in curves.items():
            curve = response.movedim(0, -1)[index].cpu()
            ax.plot(contrasts.cpu(), curve, **curve_style(part, design))
        ax.set(xlabel="Contrast of the part", ylabel="Mean activation")
        title_axes(ax, neuron_title(spectrum, index))
        put_legend = legend_beside if is_own else legend_above_lines
        put_legend(ax, *ax.get_legend_handles_labels())
        return figure, ax
    if np.size(parts) != 2:
        raise ValueError(f"Expected `parts` to be two for a surface, but got {shown(parts)}")
    contrasts, response = spectrum.contrast_response(parts)
    levels, surface = contrasts.cpu(), response.movedim((0, 1), (-2, -1))[index].cpu()
    is_flat = float(surface.max() - surface.min()) <= float(spectrum.floor[index[0]])
    steps = float(surface.mean()) + np.array([-0.5, 0.5]) if is_flat else 12
    figure, ax = figure_and_axes(ax, 5.6, 4)
    title_axes(ax, neuron_title(spectrum, index))
    # Rows of the array are the vertical axis, the contrast of the second part.
    filled = ax.contourf(levels, levels, surface.T, levels=steps, cmap="viridis")
    figure.colorbar(filled, ax=ax, label="Activation")
    first, second = (part_name(part, design) for part in parts)
    ax.set(xlabel=f"Contrast of {first}", ylabel=f"Contrast of {second}", aspect="equal")
    return figure, ax


def plot_contrasts(
    spectrum: TaggedSpectrum,
    neuron: int | str | Sequence[int],
    parts: tuple[int, int] = (0, 1),
    example: int | None = None,
) -> tuple[Figure, NDArray[np.object_]]:
    """Draw how a neuron follows the contrast of each part, and of two parts together.

    Args:
        spectrum (TaggedSpectrum): As in `plot_spectrum`.
        neuron (int, str or sequence of int): Index of the neuron, without the batch dimension, or
            the name of a recording's channel.
        parts (tuple[int, int], optional): The two parts. Default: (0, 1)
        example (int, optional): Which image of the batch; not needed for a batch of one.

    Returns:
        tuple: The figure and its axes: the curves, then the surface.
    """
    index = _index(spectrum, neuron, example)
    spectrum.contrast_response(parts)  # refuses parts before a figure is made
    figure = new_figure(12, 4)
    axes = figure.subplots(1, 2)
    plot_contrast_response(spectrum, neuron, None, example, ax=axes[0])
    plot_contrast_response(spectrum, neuron, parts, example, ax=axes[1])
    for ax in axes:
        ax.set_title("")
    figure.suptitle(on_lines(neuron_title(spectrum, index), 100))
    return figure, axes


def _index(
    spectrum: TaggedSpectrum, neuron: int | str | Sequence[int], example: int | None
) -> tuple[int, ...]:
    """The index of an image and a neuron in the tensors of a spectrum."""
    shape = one_spectrum(spectrum).mean.shape[1:]
    place = neuron_index(neuron, shape, spectrum.neuron_names)
    return example_index(example, len(spectrum)), *place


class _Line(NamedTuple):
    """A component of one neuron as it is drawn."""

    component: Component
    name: str
    kind: str
    color: str
    place: float
    height: float
    is_present: bool


def _lines(spectrum: TaggedSpectrum, index: tuple[int, ...], statistic: Statistic) -> list[_Line]:
    """Components at the frequencies of their lines, or side by side without time.

    A line lies at a different frequency than its component if that is above Nyquist.
    """
    lines, design = [], spectrum.design
    for position, component in enumerate(spectrum.components):
        frequency = design.line_frequency(design.line(component))
        place = position if frequency is None else frequency
        height = float(spectrum.reduce([component], statistic, "sum")[index])
        is_present = bool(spectrum.snr(component)[index] > 1)
        kind, color = kind_of(component, design) if is_present else (ABSENT, ABSENT_GRAY)
        name = design.label(component)
        lines.append(_Line(component, name, kind, color, place, height, is_present))
    return lines


def _by_kind(lines: list[_Line]) -> dict[str, list[_Line]]:
    """Lines of each kind: harmonics of every part, intermodulations, and those that are absent."""
    last = (INTERMODULATION_LABEL, ABSENT)
    kinds = dict.fromkeys(line.kind for line in lines)
    order = sorted(kinds, key=lambda kind: last.index(kind) if kind in last else -1)
    return {kind: [line for line in lines if line.kind == kind] for kind in order}


def _held(spectrum: TaggedSpectrum, component: Sequence[int]) -> Component:
    """A component of the spectrum.

    Raises:
        ValueError: If the spectrum does not hold it.
    """
    spectrum.amplitude(component)  # refuses what is not held
    (held,) = spectrum.design.components([component])
    return held


def _title(
    spectrum: TaggedSpectrum, index: tuple[int, ...], lines: list[_Line], named: Component | None
) -> str:
    """Title of a spectrum: the neuron, and the height of the component to be named, if any."""
    title = neuron_title(spectrum, index)
    if named is not None:
        (line,) = (line for line in lines if line.component == named)
        height = f"{line.height:.3g}" if line.is_present else "absent"
        return f"{title}\n{spectrum.design.title(named)}: {height}"
    return title if any(line.is_present for line in lines) else f"{title}: all absent"


def _tips(
    lines: list[_Line], named: Component | None, n_labels: int
) -> list[tuple[str, float, float, str]]:
    """Name, place, height and color of lines to label, the most important first."""
    lowest = 0.01 * max(abs(line.height) for line in lines)
    others = [
        line
        for line in lines
        if line.is_present and abs(line.height) > lowest and line.component != named
    ]
    others.sort(key=lambda line: (line.component.order > 1, -abs(line.height)))
    chosen = [line for line in lines if line.component == named] + others[:n_labels]
    return [(line.name, line.place, line.height, line.color) for line in chosen]


def kind_of(component: Component, design: Design) -> tuple[str, str]:
    """Legend entry and color of a component: parts share one if there are more than colors."""
    color = component_color(component)
    if component.is_intermodulation:
        return INTERMODULATION_LABEL, color
    if design.n_parts > len(PART_COLORS):
        return "harmonics", PART_COLORS[0]
    return f"harmonics of {part_name(component.parts[0], design)}", color


def label_lines(ax: Axes, tips: Sequence[tuple[str, float, float, str]]) -> None:
    """Write the names of lines at their tips, unless they would cover earlier names or other tips.

    Args:
        ax: Axes with the lines, the legend and the titles, which decide where the lines lie.
        tips: Name, place, height and color of each line.
    """
    if isinstance(ax.figure, Figure):
        ax.figure.draw_without_rendering()
    points = [line.get_xydata() for line in ax.lines if line.get_marker() == "o"]
    ends = ax.transData.transform(np.concatenate(points))
    written: list[Bbox] = []
    for name, place, height, color in tips:
        text = ax.annotate(
            name,
            (place, height),
            textcoords="offset points",
            xytext=(0, 6 if height >= 0 else -14),
            ha="center",
            fontsize=9,
            color=color,
            zorder=5,
            # Legible where other lines pass behind it.
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
        for alignment in ("center", "left", "right"):
            text.set_horizontalalignment(alignment)
            box = text.get_window_extent()
            is_free = not any(map(box.overlaps, written)) and not box.count_contains(ends)
            if is_free:
                break
        else:
            text.set_horizontalalignment("center")
        # Always name the first, and the tags, as f1.
        if is_free or not written or len(name) == 2:
            written.append(text.get_window_extent())
        else:
            text.remove()
