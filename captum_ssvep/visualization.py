"""Pictures of stimuli and spectra; each returns its figure and shows nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from . import statistics
from .components import Component
from .design import TaggingDesign
from .layout import Layout, channel_maps, guess_layout
from .spectrum import TaggedSpectrum
from .statistics import Statistic
from .stimulus import Baselines, FeatureMask, Stimulus

# The paper's Fig. 4: red f1, green f2, blue intermodulations; further parts follow.
PART_COLORS = (
    "#d62728",
    "#2ca02c",
    "#ff7f0e",
    "#9467bd",
    "#8c564b",
    "#e377c2",
    "#bcbd22",
    "#17becf",
)
INTERMODULATION_COLOR = "#1f4fd6"
INTERMODULATION_LABEL = "intermodulations"
STATISTIC_LABELS: dict[Statistic, str] = {
    "snr": "SNR",
    "snr_db": "SNR (dB)",
    "amplitude": "Amplitude (activation)",
    "coefficient": "Coefficient (activation)",
    "baseline_corrected": "Baseline-corrected amplitude",
    "zscore": "z-score",
    "variance_share": "Share of variance",
}
# Flashes above three a second can trigger seizures (WCAG 2.3.1): the fastest tag plays below two.
GIF_FLICKER_RATE = 1.875
GIF_FRAMES_PER_SECOND = 20
GIF_MOST_FRAMES = 120


def plot_stimulus(
    inputs: Tensor,
    design: TaggingDesign | None = None,
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
        design (TaggingDesign, optional): Default: the paper's.
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
    # Two cycles of the slowest tag tell the curves apart without crowding them.
    shown = min(design.n_frames, 2 * -(-design.n_frames // min(design.bins)))
    moments = np.linspace(0, shown - 1, n_shown).round().astype(int)
    pixels = to_pixels(_frames(inputs, design, feature_mask, baselines, moments), mean, std)
    figure = plt.figure(figsize=(1.5 * n_shown, 3.6), layout="constrained")
    layout = figure.add_gridspec(2, n_shown, height_ratios=(1.5, 1.2))
    axes: list[Axes] = []
    for column, moment in enumerate(moments):
        axis = figure.add_subplot(layout[0, column])
        axis.imshow(pixels[column], vmin=0, vmax=1, cmap="gray")
        axis.set_title(f"{1000 * moment / design.sampling_rate:.0f} ms", fontsize=10)
        axis.set_axis_off()
        axes.append(axis)
    curve = figure.add_subplot(layout[1, :])
    seconds = np.arange(shown) / design.sampling_rate
    for part, frequency in enumerate(design.frequencies):
        curve.plot(
            1000 * seconds,
            design.contrasts[:shown, part],
            color=_part_color(part),
            label=f"part {part}: f{part + 1} = {frequency:g} Hz",
        )
    for moment in moments:
        curve.axvline(1000 * moment / design.sampling_rate, color="0.8", linewidth=0.8, zorder=0)
    curve.set(xlabel="Time (ms)", ylabel="Contrast", xlim=(0, 1000 * seconds[-1]))
    curve.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    axes.append(curve)
    return figure, np.array(axes, dtype=object)


def save_stimulus_gif(
    path: str | Path,
    inputs: Tensor,
    design: TaggingDesign | None = None,
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
        n_labels (int, optional): The strongest components to name. Default: 6
        ax (Axes, optional): Where to draw. Default: a new figure.

    Returns:
        tuple: The figure and its axes.
    """
    index = (example, *(neuron if isinstance(neuron, Sequence) else (neuron,)))
    design = spectrum.design
    heights = [
        float(spectrum.reduce([component], statistic, "sum")[index])
        for component in spectrum.components
    ]
    # Where the line lies, which is not the component's own frequency if that is above Nyquist.
    resolution = design.sampling_rate / design.n_frames
    places = [design.bin(component) * resolution for component in spectrum.components]
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
    kinds = [_kind(component, design) for component in spectrum.components]
    for (kind, color), place, height in zip(kinds, places, heights, strict=True):
        ax.vlines(place, 0, height, color=color, linewidth=2.5)
        ax.plot(place, height, "o", color=color, markersize=5, label=kind)
    strongest = np.argsort(-np.abs(heights))[:n_labels]
    for row in strongest:
        ax.annotate(
            design.label(spectrum.components[row]),
            (places[row], heights[row]),
            textcoords="offset points",
            xytext=(0, 6 if heights[row] >= 0 else -14),
            ha="center",
            fontsize=9,
            color=kinds[row][1],
        )
    ax.axhline(0, color="0.3", linewidth=0.8)
    ax.margins(x=0.04, y=0.14)
    if min(heights) >= 0:
        ax.set_ylim(bottom=0)
    ax.set(
        xlabel="Frequency (Hz)",
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


def to_map(
    result: Tensor,
    size: tuple[int, int],
    *,
    example: int = 0,
    channel: int | None = None,
    reduction: statistics.Reduction = "max",
    decibels: bool = False,
    layout: Layout | None = None,
) -> NDArray[np.float32]:
    """Turn a layer's result into the map that Captum's image visualisers take.

    Args:
        result (Tensor): What ``attribute`` returns for a layer: ``(N, channels, height, width)``,
            ``(N, height, width, channels)`` as in Swin, or tokens ``(N, tokens, channels)`` as in
            ViT, whose class token is left out.
        size (tuple[int, int]): Height and width of the image.
        example (int, optional): Index in the batch. Default: 0
        channel (int, optional): The one channel to show. Default: None, all, combined.
        reduction (str, optional): How channels combine: ``"max"``, ``"mean"``, ``"sum"`` or
            ``"energy"``. Default: ``"max"``
        decibels (bool, optional): Show ``20 log10``, with 0 for values of 1 and below: for SNR
            in noise. Without noise every neuron that answers lies far above 0 dB, and the map is
            flat. Default: False
        layout (str, optional): ``"channels_first"``, ``"channels_last"`` or ``"tokens"``.
            Default: None, as `guess_layout` says.

    Returns:
        Array: Shape ``(height, width, 1)``, float32, finite, contiguous; bilinearly enlarged.

    Raises:
        ValueError: If the result has no spatial layout, or nothing in it is above zero (in
            decibels: above 1), of which Captum can draw no picture.

    Examples::

        >>> import torch
        >>> to_map(torch.rand(1, 197, 768), (224, 224)).shape
        (224, 224, 1)
    """
    maps = channel_maps(result, layout or guess_layout(result), size)[example].float()
    combined = maps[channel] if channel is not None else statistics.reduce(maps, reduction)
    if decibels:
        combined = statistics.decibels(combined.clamp(min=1))
    if not combined.any():
        raise ValueError(
            "Expected `result` to hold values above "
            f"{'1, which is 0 dB' if decibels else 'zero'}, but got none: nothing to draw"
        )
    enlarged = F.interpolate(combined[None, None], size, mode="bilinear", align_corners=False)
    array: NDArray[np.float32] = enlarged[0, 0, :, :, None].cpu().numpy()
    return np.ascontiguousarray(array)


def to_pixels(
    images: Tensor, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """Images as pictures: in [0, 1], colours last, and without that dimension if grey.

    Args:
        images (Tensor): Shape ``(n, channels, height, width)``.
        mean, std (sequence of float, optional): Normalisation to undo. Default: none

    Examples::

        >>> import torch
        >>> to_pixels(torch.zeros(2, 3, 4, 5)).shape
        (2, 4, 5, 3)
    """
    if mean is not None and std is not None:
        images = images * images.new_tensor(std).reshape(-1, 1, 1)
        images = images + images.new_tensor(mean).reshape(-1, 1, 1)
    pixels: NDArray[np.float32] = images.detach().float().clamp(0, 1).cpu().numpy()
    return pixels[:, 0] if pixels.shape[1] == 1 else pixels.transpose(0, 2, 3, 1)


def _kind(component: Component, design: TaggingDesign) -> tuple[str, str]:
    """Legend entry and colour of a component."""
    if component.is_intermodulation:
        return INTERMODULATION_LABEL, INTERMODULATION_COLOR
    (part,) = component.parts
    frequency = design.frequencies[part]
    return f"harmonics of f{part + 1} = {frequency:g} Hz", _part_color(part)


def _part_color(part: int) -> str:
    return PART_COLORS[part % len(PART_COLORS)]


def _frames(
    inputs: Tensor,
    design: TaggingDesign,
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
