"""Pictures of stimuli and spectra; each returns its figure and shows nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..design.base import Design
from ..design.components import Component
from ..design.tags import TaggingDesign
from ..spectrum.plan import neighbours_of
from ..spectrum.statistics import Statistic
from ..spectrum.tagged import TaggedSpectrum
from ..stimulus.frames import Baselines, FeatureMask, Stimulus
from .maps import neuron_index, to_pixels
from .style import INTERMODULATION_COLOR, STATISTIC_LABELS, part_color

INTERMODULATION_LABEL = "intermodulations"
# Flashes above three a second can trigger seizures (WCAG 2.3.1): the fastest tag plays below two.
GIF_FLICKER_RATE = 1.875
GIF_FRAMES_PER_SECOND = 20
GIF_MOST_FRAMES = 120


def plot_stimulus(
    inputs: Tensor,
    design: Design | None = None,
    feature_mask: FeatureMask = None,
    baselines: Baselines = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    n_shown: int = 8,
) -> tuple[Figure, NDArray[np.object_]]:
    """Draw the stimulus as a film strip over the contrast of each part (the paper's Fig. 1).

    Args:
        inputs (Tensor): One image, shape ``(1, channels, height, width)``.
        design (Design, optional): Default: the paper's.
        feature_mask, baselines: As in `FrequencyTaggingAttribution.attribute`.
        mean, std (sequence of float, optional): Normalisation to undo. Default: none, values are
            in [0, 1].
        n_shown (int, optional): Frames in the strip, evenly spaced over the time shown. Default: 8

    Returns:
        tuple: The figure, and its axes: one per frame, then the curve.

    Raises:
        ValueError: If the input is not one image.
    """
    design = design or TaggingDesign()
    shown, pace, unit, axis_label = _timeline(design)
    moments = np.linspace(0, shown - 1, n_shown).round().astype(int)
    pixels = to_pixels(_frames(inputs, design, feature_mask, baselines, moments), mean, std)
    figure = plt.figure(figsize=(1.5 * n_shown, 3.6), layout="constrained")
    layout = figure.add_gridspec(2, n_shown, height_ratios=(1.5, 1.2))
    axes: list[Axes] = []
    for column, moment in enumerate(moments):
        axis = figure.add_subplot(layout[0, column])
        axis.imshow(pixels[column], vmin=0, vmax=1, cmap="gray")
        axis.set_title(unit.format(pace * moment), fontsize=10)
        axis.set_axis_off()
        axes.append(axis)
    curve = figure.add_subplot(layout[1, :])
    for part in range(design.n_parts):
        curve.plot(
            pace * np.arange(shown),
            design.contrasts[:shown, part],
            color=part_color(part),
            label=f"part {part}: {_tag(part, design)}",
        )
    for moment in moments:
        curve.axvline(pace * moment, color="0.8", linewidth=0.8, zorder=0)
    curve.set(xlabel=axis_label, ylabel="Contrast", xlim=(0, pace * (shown - 1)))
    curve.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    axes.append(curve)
    return figure, np.array(axes, dtype=object)


def save_stimulus_gif(
    path: str | Path,
    inputs: Tensor,
    design: Design | None = None,
    feature_mask: FeatureMask = None,
    baselines: Baselines = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int = 160,
) -> Path:
    """Write one period of the stimulus as a looping GIF, in slow motion.

    The fastest tag flickers 1.9 times a second (a quarter of its speed for the paper's 7.5 Hz),
    below the three flashes that the accessibility guidelines allow; long periods are cut.

    Args:
        path (str or Path): Where to write.
        inputs, design, feature_mask, baselines, mean, std: As in `plot_stimulus`.
        size (int, optional): Height of the picture in pixels. Default: 160

    Returns:
        Path: The file written.
    """
    design = design or TaggingDesign()
    if not isinstance(design, TaggingDesign):
        raise ValueError(
            f"Expected a design in time to make a film of, but got a {design}, whose frames have "
            "no order; `plot_stimulus` shows them"
        )
    period = design.n_frames // int(np.gcd.reduce([design.n_frames, *design.bins]))
    slowing = max(1.0, max(design.frequencies) / GIF_FLICKER_RATE)
    step = max(1, round(design.sampling_rate / slowing / GIF_FRAMES_PER_SECOND))
    moments = np.arange(0, period, step)[:GIF_MOST_FRAMES]
    frames = _frames(inputs, design, feature_mask, baselines, moments)
    height, width = frames.shape[-2:]
    pixels = (255 * to_pixels(frames, mean, std)).round().astype(np.uint8)
    images = [
        Image.fromarray(frame).resize((size * width // height, size), Image.Resampling.NEAREST)
        for frame in pixels
    ]
    duration = 10 * math.ceil(100 * slowing * step / design.sampling_rate)  # GIF counts in 10 ms
    images[0].save(path, save_all=True, append_images=images[1:], duration=duration, loop=0)
    return Path(path)


def plot_spectrum(
    spectrum: TaggedSpectrum,
    neuron: int | Sequence[int],
    example: int = 0,
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
        example (int, optional): Index in the batch. Default: 0
        statistic (str, optional): One of `statistics.STATISTICS`. Default: ``"amplitude"``
        n_labels (int, optional): The strongest components to name, as far as names do not cover
            each other. Default: 6
        ax (Axes, optional): Where to draw. Default: a new figure.

    Returns:
        tuple: The figure and its axes.
    """
    index = (example, *neuron_index(neuron, spectrum.mean.shape[1:]))
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
    in_time = isinstance(design, TaggingDesign)
    # Without frequencies to show, the axis names every component.
    if in_time:
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
    if not in_time:
        names = [design.label(component) for component in spectrum.components]
        ax.set_xticks(places, names, rotation=60, ha="right", fontsize=8)
    ax.set(
        xlabel="Frequency (Hz)" if in_time else "Component",
        ylabel=STATISTIC_LABELS[statistic],
        title=f"Neuron {index[1:] if len(index) > 2 else index[1]}, example {example}",
    )
    handles, names = ax.get_legend_handles_labels()
    # One entry of a kind, as they appear, but intermodulations last.
    entries = sorted(
        dict(zip(names, handles, strict=True)).items(),
        key=lambda entry: entry[0] == INTERMODULATION_LABEL,
    )
    ax.legend([handle for _, handle in entries], [name for name, _ in entries], frameon=False)
    figure = ax.get_figure()
    return figure, ax  # type: ignore[return-value]  # the axes are on a figure


def plot_neighbours(
    spectrum: TaggedSpectrum,
    neuron: int | Sequence[int],
    component: Sequence[int],
    example: int = 0,
    *,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw a component's line among the neighbours that are its noise (the paper's Fig. 3).

    Args:
        spectrum (TaggedSpectrum): With neighbours: computed with ``noise_std``, or from a series.
        neuron (int or sequence of int): Index of the neuron behind the batch dimension.
        component (sequence of int): The component.
        example (int, optional): Index in the batch. Default: 0
        ax (Axes, optional): Where to draw. Default: a new figure.

    Returns:
        tuple: The figure and its axes. The SNR is the line's height over the dashed mean's.

    Raises:
        ValueError: If the spectrum has no neighbours.
    """
    design = spectrum.design
    if not spectrum.n_neighbors or not isinstance(design, TaggingDesign):
        raise ValueError(
            "Expected a spectrum with neighbouring bins, but got one without; compute it with "
            "noise_std above 0, or from a series"
        )
    index = (example, *neuron_index(neuron, spectrum.mean.shape[1:]))
    (wanted,) = design.components([component])
    bins = neighbours_of(wanted, spectrum.components, design, spectrum.n_neighbors)
    noise = spectrum.neighbour_amplitudes(wanted).movedim(0, -1)[index].cpu().numpy()
    height = float(spectrum.amplitude(wanted)[index])
    if ax is None:
        _, ax = plt.subplots(figsize=(6.2, 3.4), layout="constrained")
    resolution = design.sampling_rate / design.n_frames
    frequencies = np.array(bins) * resolution
    ax.bar(frequencies, noise, 0.6 * resolution, color="0.65", label="neighbours")
    place = design.bin(wanted) * resolution
    color = _kind(wanted, design)[1]
    ax.bar(place, height, 0.6 * resolution, color=color, label=design.title(wanted))
    ax.axhline(noise.mean(), color="0.2", linestyle="--", linewidth=1.2, label="their mean")
    ax.set_xticks(np.sort(np.append(frequencies, place)))
    ax.set(
        xlabel="Frequency (Hz)",
        ylabel=STATISTIC_LABELS["amplitude"],
        title=f"SNR = {float(spectrum.snr(wanted)[index]):.3g}",
    )
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure = ax.get_figure()
    return figure, ax  # type: ignore[return-value]  # the axes are on a figure


def plot_contrast_response(
    spectrum: TaggedSpectrum,
    neuron: int | Sequence[int],
    parts: tuple[int, int] | None = None,
    example: int = 0,
    *,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw how a neuron's activation depends on the contrast of each part (a sweep VEP).

    Args:
        spectrum (TaggedSpectrum): As in `plot_spectrum`.
        neuron (int or sequence of int): Index of the neuron behind the batch dimension.
        parts (tuple[int, int], optional): Two parts whose contrasts to vary together, for a
            surface. Default: None, a curve for every part, averaged over the flicker of the others.
        example (int, optional): Index in the batch. Default: 0
        ax (Axes, optional): Where to draw. Default: a new figure.

    Returns:
        tuple: The figure and its axes.
    """
    index = (example, *neuron_index(neuron, spectrum.mean.shape[1:]))
    if ax is None:
        _, ax = plt.subplots(figsize=(5.2, 4), layout="constrained")
    figure = ax.get_figure()
    ax.set_title(f"Neuron {index[1:] if len(index) > 2 else index[1]}, example {example}")
    if parts is None:
        answered = {c.parts[0] for c in spectrum.components if c.is_harmonic}
        for part in sorted(answered):
            contrasts, response = spectrum.contrast_response(part)
            curve = response.movedim(0, -1)[index].cpu()
            ax.plot(contrasts.cpu(), curve, color=part_color(part), label=f"part {part}")
        ax.set(xlabel="Contrast of the part", ylabel="Mean activation")
        ax.legend(frameon=False)
        return figure, ax  # type: ignore[return-value]  # the axes are on a figure
    if np.size(parts) != 2:
        raise ValueError(f"Expected `parts` to be two for a surface, but got {parts}")
    contrasts, response = spectrum.contrast_response(parts)
    levels, surface = contrasts.cpu(), response.movedim((0, 1), (-2, -1))[index].cpu()
    # Rows of a picture are the vertical axis: the second part's contrast.
    filled = ax.contourf(levels, levels, surface.T, levels=12, cmap="viridis")
    ax.figure.colorbar(filled, ax=ax, label="Activation")
    ax.set(xlabel=f"Contrast of part {parts[0]}", ylabel=f"Contrast of part {parts[1]}")
    ax.set_aspect("equal")
    return figure, ax  # type: ignore[return-value]  # the axes are on a figure


def _timeline(design: Design) -> tuple[int, float, str, str]:
    """How many frames to draw, their pace, what to write above a frame and below the axis."""
    if not isinstance(design, TaggingDesign):
        return design.n_frames, 1.0, "frame {:.0f}", "Frame"
    # Two cycles of the slowest tag tell the curves apart without crowding them.
    shown = min(design.n_frames, 2 * -(-design.n_frames // min(design.bins)))
    return shown, 1000 / design.sampling_rate, "{:.0f} ms", "Time (ms)"


def _places(spectrum: TaggedSpectrum) -> list[float]:
    """Where to draw each component: at its line's frequency, or one beside the other."""
    design = spectrum.design
    if not isinstance(design, TaggingDesign):
        return list(map(float, range(len(spectrum.components))))
    # Where the line lies, which is not the component's own frequency if that is above Nyquist.
    resolution = design.sampling_rate / design.n_frames
    return [design.bin(component) * resolution for component in spectrum.components]


def _kind(component: Component, design: Design) -> tuple[str, str]:
    """Legend entry and colour of a component."""
    if component.is_intermodulation:
        return INTERMODULATION_LABEL, INTERMODULATION_COLOR
    (part,) = component.parts
    return f"harmonics of {_tag(part, design)}", part_color(part)


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


def _tag(part: int, design: Design) -> str:
    """Name of a part's fundamental, with its frequency if it has one."""
    return design.title([int(p == part) for p in range(design.n_parts)])


def _frames(
    inputs: Tensor,
    design: Design,
    feature_mask: FeatureMask,
    baselines: Baselines,
    moments: NDArray[np.int64],
) -> Tensor:
    """Frames of one image at some moments, shape ``(len(moments), channels, height, width)``."""
    if not isinstance(inputs, Tensor) or inputs.dim() != 4 or len(inputs) != 1:
        shape = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise ValueError(
            f"Expected `inputs` to be one image of shape (1, channels, height, width), but got "
            f"{shape}; take `inputs[:1]`"
        )
    stimulus = Stimulus.build(inputs, design, feature_mask, baselines)
    return stimulus.frames(design.contrasts[moments])[0]
