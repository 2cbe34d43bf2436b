"""Where the channels of a layer lie: the one rule for pooling, scores, ablation and maps."""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from .._checks import integer, unknown_choice
from .._compat import POOLS, BatchNorm, Convolution, InstanceNorm
from .threads import in_this_thread

# Arrangement of a layer's result: (N, channels, ...), (N, ..., channels) or (N, tokens, channels).
Layout = Literal["channels_first", "channels_last", "tokens"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
CHANNELS_FIRST = (Convolution, BatchNorm, InstanceNorm, nn.GroupNorm, *POOLS)
CHANNELS_LAST = (nn.Linear, nn.Embedding, nn.MultiheadAttention, nn.RNNBase)


def is_batch_norm(module: nn.Module | None) -> bool:
    """Whether a module scales and shifts each channel, which makes a silent one constant."""
    # Looked up, not imported: importing torchvision takes a second.
    frozen = getattr(sys.modules.get("torchvision.ops.misc"), "FrozenBatchNorm2d", ())
    return isinstance(module, (BatchNorm, frozen))


class ChannelDims:
    """Where channels lie, learned while the network runs from modules whose type shows it.

    The type of a convolution or a linear layer shows where its channels lie; that of a ReLU or a
    block does not. Such a layer is taken to have its channels where a module with a known type has
    them that, in this order of preference, returned the same shape, returned the same height and
    width (a concatenation has a different number of channels), took the same shape, or returned as
    many dimensions (if more than three). A shape alone shows nothing: (N, channels, length) and
    (N, tokens, channels) look alike, and so do maps with as many rows as channels. Nor does it show
    that a user's own module moved the channels, if channels, height and width are all equal.

    Args:
        channel_dim (int, optional): The user's answer for every layer but convolutions and others
            whose channels are always first. Default: None, what the modules show.

    Raises:
        TypeError: If ``channel_dim`` is not an integer.
    """

    def __init__(self, channel_dim: int | None = None) -> None:
        self.channel_dim = channel_dim
        if channel_dim is not None:
            integer(channel_dim, "channel_dim", at_least=-sys.maxsize)
        # The dimensions (1 or -1) where modules of known type had their channels: by what they
        # returned (a shape without the batch, or a number of dimensions), and by what they took.
        self.given: dict[torch.Size | int, set[int]] = defaultdict(set)
        self.taken: dict[torch.Size, set[int]] = defaultdict(set)
        self.extents: set[torch.Size] = set()
        self.decided: dict[tuple[nn.Module | None, torch.Size], int] = {}

    def see(self, module: nn.Module, args: Any, output: Any) -> None:
        """Learn from a module, as its forward hook; a type that shows nothing is skipped."""
        for dim in _by_type(module):
            # An LSTM or attention returns its states or weights as well.
            output = output[0] if isinstance(output, tuple) and output else output
            if isinstance(output, Tensor):
                self.given[output.shape[1:]].add(dim)
                self.given[output.dim()].add(dim)
                self.extents.add(_extent(output.shape, dim))
            if args and isinstance(args[0], Tensor):
                self.taken[args[0].shape[1:]].add(dim)

    def find(self, layer: nn.Module | None, shape: torch.Size) -> int | None:
        """Dimension of the channels in a layer's result of this shape; None if nothing shows it.

        Raises:
            ValueError: If the user's ``channel_dim`` is not a dimension after the batch.
        """
        if len(shape) <= 2:
            return 1 if len(shape) == 2 else None
        if self.channel_dim is not None and 1 not in _by_type(layer):
            if not -len(shape) < self.channel_dim < len(shape) or self.channel_dim == 0:
                raise ValueError(
                    f"Expected `channel_dim` to be a dimension after the batch of shape "
                    f"{tuple(shape)}, but got {self.channel_dim}"
                )
            return self.channel_dim % len(shape)
        call = layer, shape[1:]  # one activation may be called on both maps and tokens
        if call not in self.decided:
            given, taken = self.given[shape[1:]], self.taken[shape[1:]]
            fitting = {dim for dim in (1, -1) if _extent(shape, dim) in self.extents}
            rank = self.given[len(shape)] if len(shape) > 3 else set()
            evidence = (_by_type(layer), given, fitting, taken, rank)
            dim = next((dim for dims in evidence if len(dims) == 1 for dim in dims), None)
            if dim is None:
                return None
            self.decided[call] = dim % len(shape)
        return self.decided[call]

    def of(self, layer: nn.Module | None, name: str, output: Tensor) -> int:
        """Dimension of the channels in a layer's output, as `find`, but it must be known.

        Raises:
            ValueError: If nothing shows the dimension, or it does not exist; the message names the
                layer.
        """
        shape = tuple(output.shape)
        fewest = 2 + len(layer.kernel_size) if isinstance(layer, Convolution) else 2
        if len(shape) < fewest:
            raise ValueError(
                f"Expected layer {name!r} to give shape (N, channels, ...), but got {shape}"
            )
        dim = self.find(layer, output.shape)
        if dim is None:
            raise ValueError(
                f"Expected to find where the channels of layer {name!r} lie, but in its shape "
                f"{shape} they may be dimension 1 or the last; pass `channel_dim=1` or "
                "`channel_dim=-1`, or name the convolution, norm or linear layer before it"
            )
        return dim


@contextmanager
def channel_dims(model: nn.Module, channel_dim: int | None = None) -> Iterator[ChannelDims]:
    """Learn from all forward passes of a model within the context.

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
                stack.enter_context(module.register_forward_hook(dims.see))
        yield dims


@contextmanager
def watched(
    watch: Callable[[nn.Module, Any, Any], None],
    before: Callable[[nn.Module, Any], None] | None = None,
) -> Iterator[None]:
    """Call a hook for every module that runs in this thread within the context.

    Args:
        watch: Called as a forward hook.
        before: Called as a forward pre-hook. Default: None
    """
    hooks = nn.modules.module
    with ExitStack() as stack:
        if before is not None:
            stack.enter_context(hooks.register_module_forward_pre_hook(in_this_thread(before)))
        stack.enter_context(hooks.register_module_forward_hook(in_this_thread(watch)))
        yield


def _by_type(module: nn.Module | None) -> set[int]:
    """The dimension of the channels, 1 or -1, if a module's type shows it."""
    if isinstance(module, CHANNELS_FIRST) or is_batch_norm(module):
        return {1}
    if isinstance(module, CHANNELS_LAST):
        return {-1}
    # Subclasses of LayerNorm for maps, such as ConvNeXt's, have the channels first; norms over
    # several dimensions have them anywhere among these.
    if type(module) is nn.LayerNorm or isinstance(module, nn.RMSNorm):
        return {-1} if len(module.normalized_shape) == 1 else set()
    return set()


def _extent(shape: torch.Size, channel_dim: int) -> torch.Size:
    """Height and width, or number of tokens: what is left without batch and channels."""
    return shape[2:] if channel_dim == 1 else shape[1:-1]


def widened(values: Tensor) -> Tensor:
    """Values in float32 at least.

    Examples::

        >>> widened(torch.ones(2).half()).dtype, widened(torch.ones(2).double()).dtype
        (torch.float32, torch.float64)
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


def mean_of_channels(activations: Tensor, channel_dim: int) -> Tensor:
    """Mean of every channel over all other dimensions except the batch, ``(N, channels)``.

    It is computed in float32 at least. Without other dimensions these are the activations
    themselves, which the network may still change.

    Examples::

        >>> mean_of_channels(torch.ones(2, 7, 7, 96), 3).shape
        torch.Size([2, 96])
    """
    activations = widened(activations)
    if activations.dim() == 2:
        return activations
    return activations.movedim(channel_dim, -1).flatten(1, -2).mean(dim=1)


def layout_of(n_dims: int, channel_dim: int | None) -> Layout | None:
    """Name of the layout of a result with this number of dimensions; two of them have none.

    Examples::

        >>> layout_of(4, 1), layout_of(4, 3), layout_of(3, 2), layout_of(2, 1)
        ('channels_first', 'channels_last', 'tokens', None)
    """
    if channel_dim not in (1, n_dims - 1) or n_dims == 2:
        return None
    if channel_dim == 1:
        return "channels_first"
    return "tokens" if n_dims == 3 else "channels_last"


def channel_maps(result: Tensor, layout: Layout | None, size: tuple[int, int]) -> Tensor:
    """A layer's result as maps, shape ``(N, channels, height, width)``, at its own resolution.

    Args:
        result (Tensor): Three or four dimensions, batch first.
        layout (str): How the result is arranged. A class token before the others is dropped.
        size (tuple[int, int]): Height and width of the image; tokens fill a grid of its
            proportions.

    Raises:
        ValueError: If the layout is missing or unknown, there are no two spatial dimensions, or
            the tokens do not fill a grid.

    Examples::

        >>> channel_maps(torch.empty(1, 197, 768), "tokens", (224, 224)).shape
        torch.Size([1, 768, 14, 14])
    """
    if layout not in (None, *LAYOUTS):
        raise unknown_choice("layout", layout, LAYOUTS)
    n_dims = {None: (3, 4), "tokens": (3,)}.get(layout, (4,))
    if result.dim() not in n_dims:
        raise ValueError(
            "Expected `result` of shape (N, channels, height, width), (N, height, width, channels) "
            f"or (N, tokens, channels), but got {tuple(result.shape)} for layout={layout!r}; a "
            "layer without two spatial dimensions has no map"
        )
    if layout is None:
        raise ValueError(
            "Expected `layout` to say where the channels are: 'channels_first' as after "
            "convolutions, 'channels_last' as in Swin, 'tokens' as in ViT, but got None; a "
            "spectrum (`spectrum.layout`) and scores (`scores.layouts[layer]`) know it if the "
            "modules show it, or if they were computed with `channel_dim=`"
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
            return torch.unflatten(result[:, n_class_tokens:].transpose(1, 2), 2, (rows, -1))
    raise ValueError(
        f"Expected {n_tokens} tokens to fill a grid of the proportions of {size}, with one class "
        "token or none, but they do not; cut off the tokens that are not patches"
    )
