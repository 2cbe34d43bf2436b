"""Pictures of the response of one neuron."""

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .._checks import example_index, integer, shown
from ..design import Component, Design
from ..spectrum.plan import neighbors_of
from ..spectrum.statistics import Statistic
from ..spectrum.tagged import TaggedSpectrum
from .style import (
    GUIDE_GRAY,
    NOISE_GRAY,
    amplitude_label,
    component_color,
    curve_style,
    figure_and_axes,
    legend_beside,
    neuron_index,
    neuron_title,
    one_spectrum,
    part_name,
)

INTERMODULATION_LABEL = "intermodulations"


def plot_spectrum(
    spectrum: TaggedSpectrum,
    neuron: int | str | Sequence[int],
    example: int | None = None,
    statistic: Statistic = "amplitude",
    *,
    n_labels: int = 6,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw the response of one neuron or channel at each component (colors of the paper's Fig. 4).

    Args:
        spectrum (TaggedSpectrum): From ``spectrum`` of the attribution; with
            ``pooling="channel"``, a neuron is a channel.
        neuron (int, str or sequence of int): Index of the neuron, without the batch dimension, or
            the name of a recording's channel.
        example (int, optional): Which image of the batch; not needed for a batch of one.
        statistic (str, optional): One of `statistics.STATISTICS`. Default: ``"amplitude"``
        n_labels (int, optional): How many of the strongest components to name. A name that would
            cover another is left out. Default: 6
        ax (Axes, optional): Axes to draw on. Default: a new figure

    Returns:
        tuple: The figure and its axes.
    """
    index, n_labels = _index(spectrum, neuron, example), integer(n_labels, "n_labels", at_least=0)
    design, components = spectrum.design, spectrum.components
    heights = [float(spectrum.reduce([c], statistic, "sum")[index]) for c in components]
    places, names = _places(spectrum), [design.label(component) for component in components]
    figure, ax = figure_and_axes(ax, 8, 3.6)
    for component, place, height in zip(components, places, heights, strict=True):
        color, kind = component_color(component), kind_of(component, design)
        ax.vlines(place, 0, height, color=color, linewidth=2.5)
        ax.plot(place, height, "o", color=color, markersize=5, label=kind)
    if design.in_time:
        tips = zip(names, places, heights, map(component_color, components), strict=True)
        strongest = sorted(tips, key=lambda tip: -abs(tip[2]))[:n_labels]
        lowest = 0.01 * max(map(abs, heights))
        label_lines(ax, [tip for tip in strongest if abs(tip[2]) > lowest])
    else:
        # Without frequencies, the axis names every component.
        ax.set_xticks(places, names, rotation=60, ha="right", fontsize=8)
    ax.axhline(0, color=GUIDE_GRAY, linewidth=0.8)
    ax.margins(x=0.04, y=0.14)
    if min(heights) >= 0:
        ax.set_ylim(bottom=0)
    ax.set(
        xlabel="Frequency (Hz)" if design.in_time else "Component",
        ylabel=amplitude_label(spectrum, statistic),
        title=neuron_title(spectrum, index),
    )
    # One legend entry per kind, intermodulations last.
    handles, kinds = ax.get_legend_handles_labels()
    entries = dict(zip(kinds, handles, strict=True))
    kinds = sorted(entries, key=lambda kind: kind == INTERMODULATION_LABEL)
    ax.legend([entries[kind] for kind in kinds], kinds, frameon=False)
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
    ax.set_xticks(np.sort(np.append(frequencies, place)))
    ax.set(
        xlabel="Frequency (Hz)",
        ylabel=amplitude_label(spectrum),
        title=f"SNR = {float(spectrum.snr(wanted)[index]):.3g}",
    )
    legend_beside(ax)
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
    figure, ax = figure_and_axes(ax, 5.2, 4)
    ax.set_title(neuron_title(spectrum, index))
    if parts is None:
        for part in sorted({c.parts[0] for c in spectrum.components if c.is_harmonic}):
            contrasts, response = spectrum.contrast_response(part)
            curve = response.movedim(0, -1)[index].cpu()
            ax.plot(contrasts.cpu(), curve, **curve_style(part, design))
        ax.set(xlabel="Contrast of the part", ylabel="Mean activation")
        ax.legend(frameon=False)
        return figure, ax
    if np.size(parts) != 2:
        raise ValueError(f"Expected `parts` to be two for a surface, but got {shown(parts)}")
    contrasts, response = spectrum.contrast_response(parts)
    levels, surface = contrasts.cpu(), response.movedim((0, 1), (-2, -1))[index].cpu()
    # Rows of the array are the vertical axis, the contrast of the second part.
    filled = ax.contourf(levels, levels, surface.T, levels=12, cmap="viridis")
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
    _index(spectrum, neuron, example)  # before a figure is made
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    plot_contrast_response(spectrum, neuron, None, example, ax=axes[0])
    plot_contrast_response(spectrum, neuron, parts, example, ax=axes[1])
    return figure, axes


def _index(
    spectrum: TaggedSpectrum, neuron: int | str | Sequence[int], example: int | None
) -> tuple[int, ...]:
    """The index of an image and a neuron in the tensors of a spectrum."""
    shape = one_spectrum(spectrum).mean.shape[1:]
    place = neuron_index(neuron, shape, spectrum.neuron_names)
    return example_index(example, len(spectrum)), *place


def _places(spectrum: TaggedSpectrum) -> list[float]:
    """Where to draw each component: at the frequency of its line, or side by side without time.

    A line lies at a different frequency than its component if that is above Nyquist.
    """
    lines = map(spectrum.design.line, spectrum.components)
    frequencies = map(spectrum.design.line_frequency, lines)
    return [place if f is None else f for place, f in enumerate(frequencies)]


def kind_of(component: Component, design: Design) -> str:
    """Legend entry of a component."""
    if component.is_intermodulation:
        return INTERMODULATION_LABEL
    return f"harmonics of {part_name(component.parts[0], design)}"


def label_lines(ax: Axes, tips: Sequence[tuple[str, float, float, str]]) -> None:
    """Write the names of lines at their tips, unless an earlier name would cover them.

    Args:
        ax: Axes with the lines.
        tips: Name, place, height and color of each line.
    """
    per_frequency = ax.bbox.width / ax.figure.dpi * 72 / np.ptp(ax.get_xlim())
    per_unit = ax.bbox.height / ax.figure.dpi * 72 / np.ptp(ax.get_ylim())
    written: list[tuple[float, float, int]] = []
    for name, place, height, color in tips:
        x, y = place * per_frequency, height * per_unit
        # Always name the tags, f1 and f2. A letter of 9 points is about 5 points wide.
        if len(name) > 2 and any(
            abs(x - other_x) < 2.5 * (len(name) + length + 1) and abs(y - other_y) < 10
            for other_x, other_y, length in written
        ):
            continue
        written.append((x, y, len(name)))
        ax.annotate(
            name,
            (place, height),
            textcoords="offset points",
            xytext=(0, 6 if height >= 0 else -14),
            ha="center",
            fontsize=9,
            color=color,
        )
