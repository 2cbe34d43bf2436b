"""Along which dimension the filters of a layer lie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import pooling
from torchvision.ops import FrozenBatchNorm2d

# They scale and shift each channel by itself, and make a constant of a silent one.
BATCH_NORMS = (nn.modules.batchnorm._BatchNorm, FrozenBatchNorm2d)
CHANNELS_FIRST = (
    *BATCH_NORMS,
    nn.modules.conv._ConvNd,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    pooling._MaxPoolNd,
    pooling._AvgPoolNd,
    pooling._LPPoolNd,
    pooling._AdaptiveMaxPoolNd,
    pooling._AdaptiveAvgPoolNd,
)
CHANNELS_LAST = (nn.Linear, nn.Embedding)


class ChannelDims:
    """Where channels lie, learned from modules whose type tells, while they run.

    A ReLU or a block has its filters where a convolution or a linear layer has them that gave the
    same shape, the same height and width (a concatenation has other channels), or as many
    dimensions: a shape alone tells neither (N, channels, length) from (N, tokens, channels), nor a
    map with as many rows as channels from one with the channels last.
    """

    def __init__(self) -> None:
        # Whether channels came first, for shapes and for numbers of dimensions.
        self.seen: dict[torch.Size | int, set[bool]] = defaultdict(set)
        self.extents: set[torch.Size] = set()
        self.decided: dict[tuple[nn.Module, int], bool] = {}

    def see(self, module: nn.Module, args: Any, output: Any) -> None:
        """A forward hook of modules whose type tells."""
        if isinstance(output, Tensor):
            (first,) = _told_by_type(module)
            self.seen[output.shape].add(first)
            self.seen[output.dim()].add(first)
            self.extents.add(_extent(output.shape, first))

    def of(self, layer: nn.Module, name: str, output: Tensor) -> int:
        """Dimension along which the filters of a layer lie that gave some output.

        Raises:
            ValueError: If nothing tells, or there is no such dimension; the message names the
                layer.
        """
        shape = output.shape
        n_of_space = len(layer.kernel_size) if isinstance(layer, nn.modules.conv._ConvNd) else 0
        if len(shape) < 2 + n_of_space:
            raise ValueError(
                f"Expected layer {name!r} to give shape (N, channels, ...), but got {tuple(shape)}"
            )
        if len(shape) == 2:
            return 1
        # One activation may be called on maps and on tokens.
        call = layer, len(shape)
        if call not in self.decided:
            self.decided[call] = self._come_first(layer, name, shape)
        return 1 if self.decided[call] else len(shape) - 1

    def _come_first(self, layer: nn.Module, name: str, shape: torch.Size) -> bool:
        fitting = {first for first in (True, False) if _extent(shape, first) in self.extents}
        rank = self.seen[len(shape)]
        for told in (
            _told_by_type(layer),
            self.seen[shape],
            fitting,
            rank,
            _told_by_squares(shape),
        ):
            if len(told) == 1:
                return True in told
        raise ValueError(
            f"Expected layer {name!r} to tell where its filters are, but of its shape "
            f"{tuple(shape)} they may be dimension 1 or the last; name the convolution, the norm "
            "or the linear layer in front of it"
        )


@contextmanager
def channel_dims(model: nn.Module) -> Iterator[ChannelDims]:
    """Learn from all passes of a model within the context.

    Examples::

        >>> model = nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU())
        >>> with channel_dims(model) as dims:
        ...     output = model(torch.rand(2, 3, 9))
        >>> dims.of(model[1], "1", output)
        1
    """
    dims = ChannelDims()
    with ExitStack() as stack:
        for module in model.modules():
            if _told_by_type(module):
                stack.callback(module.register_forward_hook(dims.see).remove)
        yield dims


def _told_by_type(module: nn.Module) -> set[bool]:
    """Whether the channels come first, as far as a module's type tells."""
    if isinstance(module, CHANNELS_FIRST):
        return {True}
    if isinstance(module, CHANNELS_LAST):
        return {False}
    # Norms of maps that descend from LayerNorm, as ConvNeXt's, have the channels first, and those
    # over several dimensions anywhere among these.
    if type(module) is nn.LayerNorm or isinstance(module, nn.RMSNorm):
        return {False} if len(module.normalized_shape) == 1 else set()
    return set()


def _told_by_squares(shape: torch.Size) -> set[bool]:
    """The same, of maps that are square, as most are."""
    extents = {first: _extent(shape, first) for first in (True, False)}
    return {
        first for first, extent in extents.items() if len(extent) == 2 and len(set(extent)) == 1
    }


def _extent(shape: torch.Size, first: bool) -> torch.Size:
    """Height and width, or number of tokens, if channels come first, or last."""
    return shape[2:] if first else shape[1:-1]
