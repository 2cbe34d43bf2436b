"""Pictures of what one neuron answers."""

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .._checks import example_index
from ..design import Component, Design
from ..spectrum.plan import neighbors_of
from ..spectrum.statistics import STATISTICS, Statistic
from ..spectrum.tagged import TaggedSpectrum
from .style import (
    INTERMODULATION_COLOR,
    figure_of,
    neuron_index,
    neuron_title,
    part_color,
    part_name,
)

INTERMODULATION_LABEL = "intermodulations"


def plot_spectrum(
    spectrum: TaggedSpectrum,
    neuron: int | Sequence[int],
    example: int | None = None,
    statistic: Statistic = "amplitude",
    *,
    n_labels: int = 6,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw what one neuron or filter answers at each component (colours of the paper's Fig. 4).

    Args:
        spectrum (TaggedSpectrum): From ``spectrum`` of the attribution; with
            ``pooling="channel"`` a neuron is a filter.
        neuron (int or sequence of int): Index of the neuron behind the batch dimension.
        example (int, optional): Which image of the batch; not needed for a batch of one.
        statistic (str, optional): One of `statistics.STATISTICS`. Default: ``"amplitude"``
        n_labels (int, optional): The strongest components to name, as far as names do not cover
            each other. Default: 6
        ax (Axes, optional): Where to draw. Default: a new figure.

    Returns:
        tuple: The figure and its axes.
    """
    index = _index(spectrum, neuron, example)
    design = spectrum.design
    heights = [
        float(spectrum.reduce([component], statistic, "sum")[index])
        for component in spectrum.components
    ]
    places = _places(spectrum)
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
    kinds = [_kind(component, design) for component in spectrum.components]
    for (kind, color), place, height in zip(kinds, places, heights, strict=True):
        ax.vlines(place, 0, height, color=color, linewidth=2.5)
        ax.plot(place, height, "o", color=color, markersize=5, label=kind)
    # Without frequencies to show, the axis names every component.
    if design.in_time:
        sizes = np.abs(heights)
        strongest = [r for r in np.argsort(-sizes)[:n_labels] if sizes[r] > 0.01 * sizes.max()]
        _label_lines(
            ax,
            [design.label(spectrum.components[row]) for row in strongest],
            [(places[row], heights[row]) for row in strongest],
            [kinds[row][1] for row in strongest],
        )
    ax.axhline(0, color="0.3", linewidth=0.8)
    ax.margins(x=0.04, y=0.14)
    if min(heights) >= 0:
        ax.set_ylim(bottom=0)
    if not design.in_time:
        names = [design.label(component) for component in spectrum.components]
        ax.set_xticks(places, names, rotation=60, ha="right", fontsize=8)
    ax.set(
        xlabel="Frequency (Hz)" if design.in_time else "Component",
        ylabel=STATISTICS[statistic].axis_label,
        title=neuron_title(spectrum, index),
    )
    handles, names = ax.get_legend_handles_labels()
    # One entry of a kind, as they appear, but intermodulations last.
    entries = sorted(
        dict(zip(names, handles, strict=True)).items(),
        key=lambda entry: entry[0] == INTERMODULATION_LABEL,
    )
    ax.legend([handle for _, handle in entries], [name for name, _ in entries], frameon=False)
    return figure_of(ax), ax


def plot_neighbors(
    spectrum: TaggedSpectrum,
    neuron: int | Sequence[int],
    component: Sequence[int],
    example: int | None = None,
    *,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw a component's line among the neighbors that are its noise (the paper's Fig. 3).

    Args:
        spectrum (TaggedSpectrum): With neighbors: computed with ``noise_std``, or from a series.
        neuron (int or sequence of int): Index of the neuron behind the batch dimension.
        component (sequence of int): The component.
        example (int, optional): Which image of the batch; not needed for a batch of one.
        ax (Axes, optional): Where to draw. Default: a new figure.

    Returns:
        tuple: The figure and its axes. The SNR is the line's height over the dashed mean's.

    Raises:
        ValueError: If the spectrum has no neighbors.
    """
    design = spectrum.design
    (wanted,) = design.components([component])
    place = design.line_frequency(design.line(wanted))
    if not spectrum.n_neighbors or design.sampling_rate is None or place is None:
        raise ValueError(
            "Expected a spectrum with neighboring bins, but got one without; compute it with "
            "noise_std above 0, or from a series"
        )
    index = _index(spectrum, neuron, example)
    bins = neighbors_of(wanted, spectrum.components, design, spectrum.n_neighbors)
    noise = spectrum.neighbor_amplitudes(wanted).movedim(0, -1)[index].cpu().numpy()
    height = float(spectrum.amplitude(wanted)[index])
    if ax is None:
        _, ax = plt.subplots(figsize=(6.2, 3.4), layout="constrained")
    resolution = design.sampling_rate / design.n_frames
    frequencies = np.array(bins) * resolution
    ax.bar(frequencies, noise, 0.6 * resolution, color="0.65", label="neighbors")
    color = _kind(wanted, design)[1]
    ax.bar(place, height, 0.6 * resolution, color=color, label=design.title(wanted))
    ax.axhline(noise.mean(), color="0.2", linestyle="--", linewidth=1.2, label="their mean")
    ax.set_xticks(np.sort(np.append(frequencies, place)))
    ax.set(
        xlabel="Frequency (Hz)",
        ylabel=STATISTICS["amplitude"].axis_label,
        title=f"SNR = {float(spectrum.snr(wanted)[index]):.3g}",
    )
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure_of(ax), ax


def plot_contrast_response(
    spectrum: TaggedSpectrum,
    neuron: int | Sequence[int],
    parts: tuple[int, int] | None = None,
    example: int | None = None,
    *,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw how a neuron's activation depends on the contrast of each part (a sweep VEP).

    Args:
        spectrum (TaggedSpectrum): As in `plot_spectrum`.
        neuron (int or sequence of int): Index of the neuron behind the batch dimension.
        parts (tuple[int, int], optional): Two parts whose contrasts to vary together, for a
            surface. Default: None, a curve for every part, averaged over the flicker of the others.
        example (int, optional): Which image of the batch; not needed for a batch of one.
        ax (Axes, optional): Where to draw. Default: a new figure.

    Returns:
        tuple: The figure and its axes.
    """
    index = _index(spectrum, neuron, example)
    if ax is None:
        _, ax = plt.subplots(figsize=(5.2, 4), layout="constrained")
    ax.set_title(neuron_title(spectrum, index))
    if parts is None:
        answered = {c.parts[0] for c in spectrum.components if c.is_harmonic}
        for part in sorted(answered):
            contrasts, response = spectrum.contrast_response(part)
            curve = response.movedim(0, -1)[index].cpu()
            ax.plot(
                contrasts.cpu(),
                curve,
                color=part_color(part),
                label=part_name(part, spectrum.design),
            )
        ax.set(xlabel="Contrast of the part", ylabel="Mean activation")
        ax.legend(frameon=False)
        return figure_of(ax), ax
    if np.size(parts) != 2:
        raise ValueError(f"Expected `parts` to be two for a surface, but got {parts}")
    contrasts, response = spectrum.contrast_response(parts)
    levels, surface = contrasts.cpu(), response.movedim((0, 1), (-2, -1))[index].cpu()
    # Rows of a picture are the vertical axis: the second part's contrast.
    filled = ax.contourf(levels, levels, surface.T, levels=12, cmap="viridis")
    figure_of(ax).colorbar(filled, ax=ax, label="Activation")
    first, second = (part_name(part, spectrum.design) for part in parts)
    ax.set(xlabel=f"Contrast of {first}", ylabel=f"Contrast of {second}")
    ax.set_aspect("equal")
    return figure_of(ax), ax


def plot_contrasts(
    spectrum: TaggedSpectrum,
    neuron: int | Sequence[int],
    parts: tuple[int, int] = (0, 1),
    example: int | None = None,
) -> tuple[Figure, NDArray[np.object_]]:
    """Draw how a neuron follows the contrast of each part, and of two together.

    Args:
        spectrum (TaggedSpectrum): As in `plot_spectrum`.
        neuron (int or sequence of int): Index of the neuron behind the batch dimension.
        parts (tuple[int, int], optional): The two parts. Default: (0, 1)
        example (int, optional): Which image of the batch; not needed for a batch of one.

    Returns:
        tuple: The figure, and its axes: the curves, then the surface.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    plot_contrast_response(spectrum, neuron, None, example, ax=axes[0])
    plot_contrast_response(spectrum, neuron, parts, example, ax=axes[1])
    return figure, axes


def _index(
    spectrum: TaggedSpectrum, neuron: int | Sequence[int], example: int | None
) -> tuple[int, ...]:
    """Where a neuron of an image stands in the tensors of a spectrum."""
    place = neuron_index(neuron, spectrum.mean.shape[1:])
    return example_index(example, len(spectrum)), *place


def _places(spectrum: TaggedSpectrum) -> list[float]:
    """Where to draw each component: at its line's frequency, or one beside the other.

    A line is not at the component's own frequency if that lies above Nyquist.
    """
    lines = map(spectrum.design.line, spectrum.components)
    frequencies = map(spectrum.design.line_frequency, lines)
    return [place if f is None else f for place, f in enumerate(frequencies)]


def _kind(component: Component, design: Design) -> tuple[str, str]:
    """Legend entry and colour of a component."""
    if component.is_intermodulation:
        return INTERMODULATION_LABEL, INTERMODULATION_COLOR
    (part,) = component.parts
    return f"harmonics of {part_name(part, design)}", part_color(part)


def _label_lines(
    ax: Axes, names: Sequence[str], tips: Sequence[tuple[float, float]], colors: Sequence[str]
) -> None:
    """Write a name at the tip of each line, but for those that an earlier name would cover."""
    per_frequency = ax.bbox.width / ax.figure.dpi * 72 / np.ptp(ax.get_xlim())
    per_unit = ax.bbox.height / ax.figure.dpi * 72 / np.ptp(ax.get_ylim())
    written: list[tuple[float, float, int]] = []
    for name, (place, height), color in zip(names, tips, colors, strict=True):
        x, y = place * per_frequency, height * per_unit
        # The tags' own names, f1 and f2, always; a letter of 9 points is about 5 points wide.
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
