"""Where the channels of a layer lie: the one rule for pooling, scores, ablation and maps."""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from .._checks import unknown_choice

# Arrangement of a layer's result: (N, channels, ...), (N, ..., channels) or (N, tokens, channels).
Layout = Literal["channels_first", "channels_last", "tokens"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


def _of_1_2_and_3_dimensions(*kinds: str) -> tuple[type[nn.Module], ...]:
    names = [f"{kind}{n}d" for kind in kinds for n in (1, 2, 3)]
    return tuple(getattr(nn, name) for name in names if hasattr(nn, name))


CONVOLUTIONS = _of_1_2_and_3_dimensions("Conv", "ConvTranspose")
BATCH_NORMS = (*_of_1_2_and_3_dimensions("BatchNorm"), nn.SyncBatchNorm)
POOLS = ("MaxPool", "AvgPool", "LPPool", "FractionalMaxPool", "AdaptiveMaxPool", "AdaptiveAvgPool")
CHANNELS_FIRST = (
    *CONVOLUTIONS,
    *BATCH_NORMS,
    *_of_1_2_and_3_dimensions("InstanceNorm", *POOLS),
    nn.GroupNorm,
)
CHANNELS_LAST = (nn.Linear, nn.Embedding, nn.MultiheadAttention, nn.RNNBase)


def is_batch_norm(module: nn.Module) -> bool:
    """Whether a module scales and shifts each channel, and makes a constant of a silent one."""
    # Looked up, not imported: torchvision takes a second.
    loaded = sys.modules.get("torchvision.ops.misc")
    frozen = (loaded.FrozenBatchNorm2d,) if loaded else ()
    return isinstance(module, (*BATCH_NORMS, *frozen))


class ChannelDims:
    """Where channels lie, learned while the network runs from modules whose type says it.

    A ReLU or a block has its channels where a convolution or a linear layer has them that gave, or
    took, the same shape, the same height and width (a concatenation has other channels), or as
    many dimensions. A shape alone says nothing: (N, channels, length) and (N, tokens, channels)
    look alike, and so do maps with as many rows as channels.

    Args:
        channel_dim (int, optional): The answer for every layer, where the user gives it.
            Default: None, as modules say.
    """

    def __init__(self, channel_dim: int | None = None) -> None:
        self.channel_dim = channel_dim
        # Whether channels came first, for shapes without the batch, and for numbers of dimensions.
        self.given: dict[torch.Size | int, set[bool]] = defaultdict(set)
        self.taken: dict[torch.Size, set[bool]] = defaultdict(set)
        self.extents: set[torch.Size] = set()
        self.decided: dict[tuple[nn.Module | None, int], bool] = {}

    def see(self, module: nn.Module, args: Any, output: Any) -> None:
        """A forward hook of any module; those whose type says nothing are passed over."""
        for first in _by_type(module):
            if isinstance(output, Tensor):
                self.given[output.shape[1:]].add(first)
                self.given[output.dim()].add(first)
                self.extents.add(_extent(output.shape, first))
            if args and isinstance(args[0], Tensor):
                self.taken[args[0].shape[1:]].add(first)

    def find(self, layer: nn.Module | None, shape: torch.Size) -> int | None:
        """Dimension of the channels in a layer's result of some shape, None where nothing says it.

        Raises:
            ValueError: If the user's ``channel_dim`` is not a dimension behind the batch.
        """
        if len(shape) <= 2:
            return 1 if len(shape) == 2 else None
        if self.channel_dim is not None:
            if not -len(shape) < self.channel_dim < len(shape) or self.channel_dim == 0:
                raise ValueError(
                    f"Expected `channel_dim` to be a dimension behind the batch of shape "
                    f"{tuple(shape)}, but got {self.channel_dim}"
                )
            return self.channel_dim % len(shape)
        # One activation may be called on maps and on tokens.
        call = layer, len(shape)
        if call not in self.decided:
            first = self._come_first(layer, shape)
            if first is None:
                return None
            self.decided[call] = first
        return 1 if self.decided[call] else len(shape) - 1

    def of(self, layer: nn.Module | None, name: str, output: Tensor) -> int:
        """As `find`, where there has to be an answer.

        Raises:
            ValueError: If nothing says it, or there is no such dimension; the message names the
                layer.
        """
        shape = output.shape
        is_convolution = isinstance(layer, CONVOLUTIONS)
        n_of_space = layer.weight.dim() - 2 if is_convolution else 0  # type: ignore[union-attr, operator]
        if len(shape) < 2 + n_of_space:
            raise ValueError(
                f"Expected layer {name!r} to give shape (N, channels, ...), but got {tuple(shape)}"
            )
        dim = self.find(layer, shape)
        if dim is None:
            raise ValueError(
                f"Expected to find where the channels of layer {name!r} lie, but in its shape "
                f"{tuple(shape)} they may be dimension 1 or the last; pass `channel_dim=1` or "
                "`channel_dim=-1`, or name the convolution, the norm or the linear layer before it"
            )
        return dim

    def _come_first(self, layer: nn.Module | None, shape: torch.Size) -> bool | None:
        inner = shape[1:]
        fitting = {first for first in (True, False) if _extent(shape, first) in self.extents}
        evidence = (
            _by_type(layer), self.given[inner], fitting, self.taken[inner], self.given[len(shape)]
        )  # fmt: skip
        return next((True in firsts for firsts in evidence if len(firsts) == 1), None)


@contextmanager
def channel_dims(model: nn.Module, channel_dim: int | None = None) -> Iterator[ChannelDims]:
    """Learn from all passes of a model within the context.

    Examples::

        >>> model = nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU())
        >>> with channel_dims(model) as dims:
        ...     output = model(torch.rand(2, 3, 9))
        >>> dims.of(model[1], "1", output)
        1
    """
    dims = ChannelDims(channel_dim)
    with ExitStack() as stack:
        for module in model.modules():
            if _by_type(module):
                stack.callback(module.register_forward_hook(dims.see).remove)
        yield dims


@contextmanager
def watched(watch: Callable[[nn.Module, Any, Any], None]) -> Iterator[None]:
    """Call a forward hook for every module that runs, whatever model it is part of."""
    handle = nn.modules.module.register_module_forward_hook(watch)
    try:
        yield
    finally:
        handle.remove()


def _by_type(module: nn.Module | None) -> set[bool]:
    """Whether the channels come first, as far as a module's type says."""
    if isinstance(module, CHANNELS_FIRST) or (module is not None and is_batch_norm(module)):
        return {True}
    if isinstance(module, CHANNELS_LAST):
        return {False}
    # Norms of maps that descend from LayerNorm, as ConvNeXt's, have the channels first, and those
    # over several dimensions anywhere among these.
    if type(module) is nn.LayerNorm or isinstance(module, nn.RMSNorm):
        return {False} if len(module.normalized_shape) == 1 else set()
    return set()


def _extent(shape: torch.Size, first: bool) -> torch.Size:
    """Height and width, or number of tokens, if channels come first, or last."""
    return shape[2:] if first else shape[1:-1]


def mean_of_channels(activations: Tensor, channel_dim: int) -> Tensor:
    """Mean of every channel over all other dimensions but the batch, shape ``(N, channels)``.

    Examples::

        >>> mean_of_channels(torch.ones(2, 7, 7, 96), 3).shape
        torch.Size([2, 96])
    """
    if activations.dim() == 2:
        return activations
    return activations.movedim(channel_dim, -1).flatten(1, -2).mean(dim=1)


def layout_of(n_dims: int, channel_dim: int | None) -> Layout | None:
    """Name of the arrangement of a result with some number of dimensions.

    Examples::

        >>> layout_of(4, 1), layout_of(4, 3), layout_of(3, 2)
        ('channels_first', 'channels_last', 'tokens')
    """
    if channel_dim is None:
        return None
    if channel_dim == 1:
        return "channels_first"
    return "tokens" if n_dims == 3 else "channels_last"


def channel_maps(result: Tensor, layout: Layout | None, size: tuple[int, int]) -> Tensor:
    """A layer's result as maps, shape ``(N, channels, height, width)``, at its own resolution.

    Args:
        result (Tensor): Three or four dimensions, batch first.
        layout (str): What they are. Of tokens, a first one for the class is left out.
        size (tuple[int, int]): Height and width of the image, whose proportions tokens have.

    Raises:
        ValueError: If the layout is missing or unknown, there are no two spatial dimensions, or
            tokens do not fill a grid.

    Examples::

        >>> channel_maps(torch.empty(1, 197, 768), "tokens", (224, 224)).shape
        torch.Size([1, 768, 14, 14])
    """
    if layout is None:
        raise ValueError(
            "Expected `layout` to say where the channels are: 'channels_first' as after "
            "convolutions, 'channels_last' as in Swin, 'tokens' as in ViT, but got None; a "
            "spectrum knows it (`spectrum.layout`), and so do scores (`scores.layouts[layer]`)"
        )
    if layout not in LAYOUTS:
        raise unknown_choice("layout", layout, LAYOUTS)
    if result.dim() != (3 if layout == "tokens" else 4):
        raise ValueError(
            "Expected `result` of shape (N, channels, height, width), (N, height, width, channels) "
            f"or (N, tokens, channels), but got {tuple(result.shape)} for layout={layout!r}; a "
            "layer without two spatial dimensions has no map"
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
        "token or none, but they do not; cut off the tokens that are not patches"
    )
