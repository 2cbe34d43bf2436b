"""Pictures of the stimulus: a film strip, and a film."""

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

from .._typing import Baselines, FeatureMask
from ..design import Design, TaggingDesign
from ..stimulus.frames import Stimulus
from .maps import to_pixels
from .style import part_color, part_name

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
            label=part_name(part, design),
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
    if design.sampling_rate is None:
        raise ValueError(
            f"Expected a design in time to make a film of, but got a {design}, whose frames have "
            "no order; `plot_stimulus` shows them"
        )
    slowing = max(1.0, max(design.frequencies) / GIF_FLICKER_RATE)
    step = max(1, round(design.sampling_rate / slowing / GIF_FRAMES_PER_SECOND))
    moments = np.arange(0, design.period, step)[:GIF_MOST_FRAMES]
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


def _timeline(design: Design) -> tuple[int, float, str, str]:
    """How many frames to draw, their pace, what to write above a frame and below the axis."""
    if design.sampling_rate is None:
        return design.n_frames, 1.0, "frame {:.0f}", "Frame"
    # Two cycles of the slowest tag tell the curves apart without crowding them.
    slowest = math.ceil(design.sampling_rate / min(design.frequencies))
    shown = min(design.n_frames, 2 * slowest)
    return shown, 1000 / design.sampling_rate, "{:.0f} ms", "Time (ms)"


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
