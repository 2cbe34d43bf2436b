"""Numbers and pictures as texts that a page can hold."""

import base64
import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

SIGNIFICANT_DIGITS = 4
# Smaller pictures are kept exactly, as PNG: JPEG would blur their few pixels.
LEAST_JPEG_SIDE = 96
JPEG_QUALITY = 88


def rounded(values: Tensor) -> Any:
    """Numbers as nested lists for JSON, to four digits; None where they are not finite.

    Examples::

        >>> import torch
        >>> rounded(torch.tensor([[0.123456, float("nan")]]))
        [[0.1235, None]]
    """
    array = values.detach().double().cpu().numpy()
    numbers = np.empty(array.size, dtype=object)
    numbers[:] = [_rounded(value) for value in array.ravel().tolist()]
    return numbers.reshape(array.shape).tolist()


def _rounded(value: float) -> float | None:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None


def packed(values: Tensor) -> str:
    """Values from 0 to 1 as bytes from 0 to 255, in base64."""
    levels: NDArray[np.uint8] = (255 * values).round().cpu().numpy().astype(np.uint8)
    return base64.b64encode(levels.tobytes()).decode("ascii")


def picture(pixels: NDArray[np.float32]) -> str:
    """An image as a ``data:`` address.

    Args:
        pixels: Values from 0 to 1, shape ``(height, width)`` or ``(height, width, 3)``.
    """
    levels = (255 * pixels).round().astype(np.uint8)
    image = Image.fromarray(levels).convert("RGB")
    return address(image, "JPEG" if min(image.size) >= LEAST_JPEG_SIDE else "PNG")


def overlay(strength: Tensor, color: tuple[float, float, float]) -> str:
    """A map as a ``data:`` address: one color, the more opaque the stronger.

    Args:
        strength: Values from 0 to 1, shape ``(height, width)``.
        color: Red, green and blue from 0 to 1.
    """
    levels = np.empty((*strength.shape, 4), dtype=np.uint8)
    levels[..., :3] = np.round(255 * np.array(color))
    levels[..., 3] = (255 * strength).round().cpu().numpy()
    return address(Image.fromarray(levels), "PNG")


def address(image: Image.Image, kind: str) -> str:
    """A picture as a ``data:`` address, as PNG or JPEG."""
    file = io.BytesIO()
    options = {"quality": JPEG_QUALITY} if kind == "JPEG" else {"optimize": True}
    image.save(file, kind, **options)
    text = base64.b64encode(file.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{text}"
