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
