"""The stimulus as pictures that the page mixes: an image, its baseline, and where the parts are."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .._typing import Baselines, FeatureMask
from ..design import Design
from ..stimulus.frames import Stimulus
from ..stimulus.masks import UNTAGGED
from ..visualization.maps import to_pixels
from ..visualization.stimuli import GIF_FLICKER_RATE
from ..visualization.style import part_name
from .encode import address, picture

# Larger images are shown smaller, which keeps the page small.
MOST_PIXELS = 320
# What stands for the untagged background in the picture of the parts, and more than their number.
NO_PART = 255
# Between moments, contrasts are interpolated. Long periods are cut.
MOMENTS_PER_SECOND, MOST_MOMENTS = 60, 480
# Seconds of the design whose curves are shown at a time: more would run into a block.
CURVE_SECONDS = 1.0
# Frames without time follow each other this slowly, so that nothing flashes; so many are shown.
SECONDS_PER_FRAME, MOST_FRAMES = 1.0, 60


def film(
    images: Tensor,
    design: Design,
    feature_mask: FeatureMask,
    baselines: Baselines,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    n_examples: int,
) -> dict[str, Any]:
    """All that the page needs to play the stimulus, for the first images of a batch.

    A frame is ``baseline + c * (image - baseline)`` in each part, so that one image, one baseline
    and the map of the parts make every frame.

    Raises:
        TypeError, ValueError: If images, mask and baselines do not fit each other or the design,
            or there are too many parts for a picture of them.
    """
    if design.n_parts > NO_PART:
        raise ValueError(
            f"Expected `images` with a design of at most {NO_PART} parts, but got "
            f"{design.n_parts}; leave out `images`"
        )
    pixels = to_pixels(images[:n_examples], mean, std)
    stimulus = Stimulus.build(images, design, feature_mask, baselines)
    (inputs,), (mask,), (baseline,) = stimulus.inputs, stimulus.masks, stimulus.baselines
    dark = to_pixels(baseline.expand(inputs.shape)[:n_examples].contiguous(), mean, std)
    parts = _as_colors(mask.expand(inputs.shape)[:n_examples].cpu().numpy())
    size = _shown_size(pixels.shape[2], pixels.shape[1])
    return {
        "width": size[0],
        "height": size[1],
        "examples": [
            {
                "image": picture(_resized(image, size)),
                "baseline": picture(_resized(darkest, size)),
                "mask": address(
                    Image.fromarray(part).resize(size, Image.Resampling.NEAREST), "PNG"
                ),
            }
            for image, darkest, part in zip(pixels, dark, parts, strict=True)
        ],
        **_course(design),
    }


def _course(design: Design) -> dict[str, Any]:
    """How contrasts go: their values at evenly spaced moments, slowed so that nothing flashes."""
    if design.sampling_rate is None:
        contrasts, slowing, seconds = _distinct(design.contrasts), None, SECONDS_PER_FRAME
        window = len(contrasts)
    else:
        slowing = max(1.0, max(design.frequencies) / GIF_FLICKER_RATE)
        step = max(1, round(design.sampling_rate / slowing / MOMENTS_PER_SECOND))
        contrasts = design.contrasts[: design.period : step][:MOST_MOMENTS]
        seconds = slowing * step / design.sampling_rate
        window = min(len(contrasts), max(2, round(CURVE_SECONDS * design.sampling_rate / step)))
    return {
        "parts": [part_name(part, design) for part in range(design.n_parts)],
        "range": list(design.contrast),
        "contrasts": np.round(contrasts, 4).tolist(),
        "seconds": seconds,
        "slowing": slowing,
        "window": window,
        "window_seconds": CURVE_SECONDS,
    }


def _distinct(contrasts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frames of a design without time, each once, in the order of the design."""
    _, first = np.unique(contrasts, axis=0, return_index=True)
    return contrasts[np.sort(first)][:MOST_FRAMES]


def _as_colors(parts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Ids of parts of each color, shape ``(n, height, width, 3)``."""
    ids = np.where(parts == UNTAGGED, NO_PART, parts).astype(np.uint8)
    return np.moveaxis(np.broadcast_to(ids, (len(ids), 3, *ids.shape[2:])), 1, -1).copy()


def _shown_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the pictures."""
    smaller = min(1.0, MOST_PIXELS / max(width, height))
    return max(1, math.floor(width * smaller)), max(1, math.floor(height * smaller))


def _resized(pixels: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    if pixels.shape[1::-1] == size:
        return pixels
    image = Image.fromarray((255 * pixels).round().astype(np.uint8))
    resized = np.asarray(image.resize(size, Image.Resampling.LANCZOS), dtype=np.float32)
    return resized / np.float32(255)
