"""Where a layer's result has its channels, and what to average to get one number for each."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

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
