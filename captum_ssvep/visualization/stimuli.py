"""Pictures of the stimulus: a film strip and a film."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .._checks import file_path, image_batch, integer
from .._typing import Baselines, FeatureMask
from ..design import Design
from ..stimulus.frames import Stimulus, design_or_default
from .maps import to_pixels
from .style import MOMENT_GRAY, curve_style, legend_beside

# More than three flashes a second can trigger seizures (WCAG 2.3.1); the fastest tag stays below 2.
GIF_FLICKER_RATE = 1.875
GIF_MOST_FRAMES = 120
# More colors make the file larger than they make the picture better.
GIF_COLORS = 64


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
        mean, std (sequence of float, optional): Normalization to undo. Default: none, values are
            in [0, 1].
        n_shown (int, optional): Frames in the strip, evenly spaced over the time shown. Default: 8

    Returns:
        tuple: The figure and its axes: one per frame, then the curves.

    Raises:
        ValueError: If the input is not one image, or there are not that many frames to show.
        TypeError: If an argument is of the wrong type.
    """
    design = design_or_default(design)
    shown, pace, unit, axis_label = design.n_frames, 1.0, "frame {:.0f}", "Frame"
    if design.sampling_rate is not None:
        # Two cycles of the slowest tag show how the curves differ without crowding them.
        shown = min(shown, 2 * math.ceil(design.sampling_rate / min(design.frequencies)))
        pace, unit, axis_label = 1000 / design.sampling_rate, "{:.0f} ms", "Time (ms)"
    if integer(n_shown, "n_shown") > shown:
        raise ValueError(f"Expected `n_shown` to be at most {shown} frames, but got {n_shown}")
    moments = np.linspace(0, shown - 1, n_shown).round().astype(int)
    pixels = to_pixels(_frames(inputs, design, feature_mask, baselines, moments), mean, std)
    rows: list[list[Any]] = [[*range(n_shown)], ["curves"] * n_shown]
    figure, axes = plt.subplot_mosaic(
        rows, height_ratios=(1.5, 1.2), figsize=(1.5 * n_shown, 3.6), layout="constrained"
    )
    curves = axes["curves"]
    times = pace * np.arange(shown)
    for part, contrasts in enumerate(design.contrasts[:shown].T):
        curves.plot(times, contrasts, **curve_style(part, design))
    for column, moment in enumerate(moments):
        axes[column].imshow(pixels[column], vmin=0, vmax=1, cmap="gray")
        axes[column].set_title(unit.format(times[moment]), fontsize=10)
        axes[column].set_axis_off()
        curves.axvline(times[moment], color=MOMENT_GRAY, linewidth=0.8, zorder=0)
    curves.set(xlabel=axis_label, ylabel="Contrast", xlim=(0, times[-1]))
    legend_beside(curves)
    return figure, np.array([*axes.values()], dtype=object)


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
    frames_per_second: int = 20,
) -> Path:
    """Write one period of the stimulus as a looping GIF, in slow motion.

    The fastest tag flickers 1.9 times a second (a quarter of its speed for the paper's 7.5 Hz).
    Accessibility guidelines allow three flashes. Long periods are cut. A photograph of 160 pixels
    at 20 frames per second takes about half a megabyte; ``size`` and ``frames_per_second`` make it
    smaller.

    Args:
        path (str or Path): Where to write the file.
        inputs, design, feature_mask, baselines, mean, std: As in `plot_stimulus`.
        size (int, optional): Height of the picture in pixels. Default: 160
        frames_per_second (int, optional): How often the picture changes. Default: 20

    Returns:
        Path: The file written.

    Raises:
        ValueError: If the input is not one image, the design is not in time, or the path is not
            that of a GIF in a folder that exists.
        TypeError: If an argument is of the wrong type.
    """
    design = design_or_default(design)
    if design.sampling_rate is None:
        raise ValueError(
            f"Expected a `design` in time to make a film of, but got a {design}, whose frames have "
            "no order; draw them with `plot_stimulus`"
        )
    path, size = file_path(path), integer(size, "size")
    pace = integer(frames_per_second, "frames_per_second")
    if path.suffix.lower() != ".gif" or not path.parent.is_dir():
        raise ValueError(
            f"Expected `path` to end in .gif and to lie in a folder that exists, but got {path}; "
            "`path.parent.mkdir()` makes the folder"
        )
    slowing = max(1.0, max(design.frequencies) / GIF_FLICKER_RATE)
    step = max(1, round(design.sampling_rate / slowing / pace))
    moments = np.arange(0, design.period, step)[:GIF_MOST_FRAMES]
    frames = _frames(inputs, design, feature_mask, baselines, moments)
    images = _film((255 * to_pixels(frames, mean, std)).round().astype(np.uint8), size)
    duration = 10 * math.ceil(100 * slowing * step / design.sampling_rate)  # GIF counts in 10 ms
    images[0].save(path, save_all=True, append_images=images[1:], duration=duration, loop=0)
    return path


def _film(frames: NDArray[np.uint8], height: int) -> list[Image.Image]:
    """Frames as pictures of that height, with one palette, so that colors do not jump."""
    rows, columns = frames.shape[1:3]
    shape = max(1, height * columns // rows), height
    # Enlarged pixels stay squares; a photograph that shrinks is smoothed.
    resampling = Image.Resampling.LANCZOS if height < rows else Image.Resampling.NEAREST
    images = [Image.fromarray(frame).resize(shape, resampling).convert("RGB") for frame in frames]
    together = Image.fromarray(np.concatenate([np.asarray(image) for image in images]))
    palette = together.quantize(GIF_COLORS, dither=Image.Dither.NONE)
    return [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]


def _frames(
    inputs: Tensor,
    design: Design,
    feature_mask: FeatureMask,
    baselines: Baselines,
    moments: NDArray[np.int64],
) -> Tensor:
    """Frames of one image at some moments, shape ``(len(moments), channels, height, width)``."""
    if len(image_batch(inputs, "inputs")) != 1:
        raise ValueError(
            "Expected `inputs` to be one image of shape (1, channels, height, width), but got "
            f"{tuple(inputs.shape)}; pass `inputs[:1]`"
        )
    stimulus = Stimulus.build(inputs, design, feature_mask, baselines)
    return stimulus.frames(design.contrasts[moments])[0]
