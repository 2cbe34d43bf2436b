"""Silence filters of a network for a while."""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from .._compat import run_last, times_written, uncompiled
from .channels import ChannelDims, channel_dims, is_batch_norm
from .layers import resolve_layer

# For the name of each layer, one or several of its filters.
Filters = Mapping[str, int | Sequence[int]]


def ablated(
    model: nn.Module, filters: Filters, *, channel_dim: int | None = None
) -> AbstractContextManager[None]:
    """Silence filters: within the context, what they give is zero.

    A BatchNorm that takes the layer's output, as it is, would turn the zeros into a constant: its
    channel is silenced, too, as if its scale and shift were zero. A module that is called several
    times is silent in every call. Contexts nest, and filters that one silences stay so in another.
    Weights are not touched; hooks are gone on leaving, however that happens. A compiled model runs
    as plain Python.

    Args:
        model (Module): The model.
        filters (mapping): For the name of each layer, the filters to silence: one or several
            indices along dimension 1 of convolutions, norms and pooling, along the last of linear
            layers and LayerNorm. A ReLU or a block has them where such a layer has them that gave
            the same shape.
        channel_dim (int, optional): Dimension of the filters in what the layers give, where no
            module says it. Default: None

    Raises:
        ValueError: If a layer is not in the model, or, once the model runs, lacks the filter or
            does not tell where its filters are.
        TypeError: If filters are no integers, or, once the model runs, a layer gives no tensor.

    Examples::

        >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval()
        >>> _ = nn.init.ones_(model[1].bias)
        >>> with ablated(model, {"0": [0, 2]}):
        ...     (model(torch.ones(1, 2)) == 0).tolist()
        [[True, False, True]]
    """
    return silenced(model, filters, channel_dim=channel_dim)


def keep_only(
    model: nn.Module, filters: Filters, *, channel_dim: int | None = None
) -> AbstractContextManager[None]:
    """Silence all filters of the given layers but these: the mirror image of `ablated`.

    Args:
        model (Module): The model.
        filters (mapping): For the name of each layer, the filters to keep. Layers that are not
            named stay whole.
        channel_dim (int, optional): As in `ablated`. Default: None

    Raises:
        ValueError, TypeError: As `ablated`.

    Examples::

        >>> model = nn.Sequential(nn.Linear(2, 3))
        >>> with keep_only(model, {"0": 1}):
        ...     (model(torch.ones(1, 2)) == 0).tolist()
        [[True, False, True]]
    """
    return silenced(model, filters, keep=True, channel_dim=channel_dim)


@contextmanager
def silenced(
    model: nn.Module,
    filters: Filters,
    *,
    keep: bool = False,
    channel_dim: int | None = None,
    dims: ChannelDims | None = None,
) -> Iterator[None]:
    """Zero the named channels of some layers, or all but these.

    Args:
        model: The model.
        filters: As in `ablated`.
        keep: Whether to zero all others.
        channel_dim: As in `ablated`.
        dims: Where the layers have their channels, learned from whole passes. Default: None, to be
            learned from those within.
    """
    with ExitStack() as stack:
        stack.enter_context(uncompiled())
        silencer = _Silencer(keep, dims or stack.enter_context(channel_dims(model, channel_dim)))
        for name, channels in filters.items():
            layer, named = resolve_layer(name, model), _indices(name, channels)
            stack.callback(silencer.attach(layer, name, named).close)
        for module in model.modules():
            if is_batch_norm(module):
                hook = module.register_forward_hook(silencer.follow, with_kwargs=True)
                stack.callback(hook.remove)
        yield


class _Silencer:
    """Hooks that silence filters, and the channels of the BatchNorm that takes what they give."""

    def __init__(self, keep: bool, dims: ChannelDims) -> None:
        self.keep = keep
        self.dims = dims
        # What layers gave: its silent channels, and how often it had been written to.
        self.given: MutableMapping[Tensor, tuple[Tensor, int]] = WeakTensorKeyDictionary()

    def attach(self, layer: nn.Module, name: str, named: Tensor) -> ExitStack:
        """Silence filters of a layer until what this returns is closed."""
        with ExitStack() as stack:
            silence = partial(self.silence, name, named)
            stack.callback(layer.register_forward_hook(silence).remove)
            note = layer.register_forward_hook(partial(self.note, name, named))
            stack.callback(note.remove)

            def come_last(module: nn.Module, args: Any) -> None:
                # Behind hooks that came later, whose result is what the BatchNorm takes.
                run_last(module, note)

            stack.callback(layer.register_forward_pre_hook(come_last).remove)
            return stack.pop_all()

    def silence(self, name: str, named: Tensor, layer: nn.Module, args: Any, output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise TypeError(
                f"Expected layer {name!r} to give one tensor, but got {type(output).__name__}"
            )
        dim = self.dims.of(layer, name, output)
        n_channels = output.shape[dim]
        if not torch.isin(named, torch.arange(n_channels)).all():
            raise ValueError(
                f"Expected filters of layer {name!r} to be 0 to {n_channels - 1}, but got "
                f"{named.tolist()}"
            )
        return output.index_fill(dim, self._silent(named, output, dim), 0)

    def note(self, name: str, named: Tensor, layer: nn.Module, args: Any, output: Any) -> Any:
        if not isinstance(output, Tensor) or self.dims.of(layer, name, output) != 1:
            return output
        if output.is_inference():
            # Such tensors do not count how often they are written to; others do even there.
            with torch.inference_mode(False):
                output = output.clone()
        self.given[output] = self._silent(named, output, 1), times_written(output)
        return output

    def _silent(self, named: Tensor, output: Tensor, dim: int) -> Tensor:
        every = torch.arange(output.shape[dim])
        return every[torch.isin(every, named, invert=self.keep)].to(output.device)

    def follow(self, norm: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor:
        taken = (*args, *kwargs.values())[0]
        silent, version = self.given.get(taken, (None, 0))
        # What was written to, as by a residual that is added in place, is another layer's output.
        if silent is None or times_written(taken) != version:
            return output
        return output.index_fill(1, silent, 0)


def _indices(name: str, channels: int | Sequence[int]) -> Tensor:
    try:
        indices = torch.as_tensor(channels).reshape(-1)
    except (RuntimeError, TypeError, ValueError):
        raise TypeError(
            f"Expected filters of layer {name!r} to be an index or a sequence of indices, but got "
            f"{channels!r}"
        ) from None
    whole = not (indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool)
    if indices.numel() and not whole:
        raise TypeError(
            f"Expected filters of layer {name!r} to be integers, but got {channels!r}; the "
            "indices of a mask are `mask.nonzero().flatten()`"
        )
    return indices.long().cpu()
