"""Where a layer's result has its channels, and how results and images become pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..spectrum import statistics

Layout = Literal["channels_first", "channels_last", "tokens"]


def guess_layout(result: Tensor) -> Layout:
    """Arrangement of a layer's result, as far as its shape tells.

    Two dimensions and five have the channels first; three are taken for tokens, and four for
    channels last where the two dimensions before are equal and the last two are not.

    Raises:
        ValueError: If the result has less than two dimensions.

    Examples::

        >>> import torch
        >>> guess_layout(torch.empty(1, 56, 56, 96)), guess_layout(torch.empty(1, 64, 56, 56))
        ('channels_last', 'channels_first')
    """
    if result.dim() < 2:
        raise ValueError(
            f"Expected a result of shape (N, channels, ...), but got {tuple(result.shape)}"
        )
    if result.dim() == 3:
        return "tokens"
    if result.dim() == 4 and result.shape[1] == result.shape[2] != result.shape[3]:
        return "channels_last"
    return "channels_first"


def mean_of_channels(activations: Tensor, layout: Layout) -> Tensor:
    """Mean of every channel over space or tokens, shape ``(N, channels)``.

    Examples::

        >>> import torch
        >>> mean_of_channels(torch.ones(2, 7, 7, 96), "channels_last").shape
        torch.Size([2, 96])
    """
    if activations.dim() == 2:
        return activations
    if layout == "channels_first":
        return activations.flatten(2).mean(dim=2)
    return activations.flatten(1, -2).mean(dim=1)


def channel_maps(result: Tensor, layout: Layout, size: tuple[int, int]) -> Tensor:
    """A layer's result as maps, shape ``(N, channels, height, width)``, at its own resolution.

    Args:
        result (Tensor): Three or four dimensions, batch first.
        layout (str): What they are. Of tokens, a first one for the class is left out.
        size (tuple[int, int]): Height and width of the image, whose proportions tokens have.

    Raises:
        ValueError: If there are no two spatial dimensions, or tokens do not fill a grid.

    Examples::

        >>> import torch
        >>> channel_maps(torch.empty(1, 197, 768), "tokens", (224, 224)).shape
        torch.Size([1, 768, 14, 14])
    """
    if result.dim() != (3 if layout == "tokens" else 4):
        raise ValueError(
            "Expected `result` of shape (N, channels, height, width), (N, height, width, channels) "
            f"or (N, tokens, channels), but got {tuple(result.shape)}; a layer without two spatial "
            "dimensions has no map"
        )
    if layout == "channels_first":
        return result
    if layout == "channels_last":
        return result.movedim(-1, 1)
    n_tokens = result.shape[1]
    for n_class_tokens in (0, 1):
        n_patches = n_tokens - n_class_tokens
        rows = round((n_patches * size[0] / size[1]) ** 0.5)
        if rows and n_patches % rows == 0 and rows * size[1] == n_patches // rows * size[0]:
            patches = result[:, n_class_tokens:].transpose(1, 2)
            return patches.reshape(len(result), -1, rows, n_patches // rows)
    raise ValueError(
        f"Expected {n_tokens} tokens to fill a grid of the proportions of {size}, with one class "
        "token or none, but they do not; cut off the tokens that are no patches"
    )


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
    array: NDArray[np.float32] = enlarged[0, 0, :, :, None].detach().cpu().numpy()
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


def neuron_index(neuron: int | Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Where a neuron stands among neurons of some shape.

    Raises:
        ValueError: If it has more or fewer indices than the shape has dimensions.
    """
    index = tuple(neuron) if isinstance(neuron, Sequence) else (neuron,)
    if len(index) != len(shape):
        raise ValueError(
            f"Expected `neuron` to have an index for each dimension of the neurons, "
            f"{tuple(shape)}, but got {neuron}; with pooling='channel' one, its channel, is enough"
        )
    return index
