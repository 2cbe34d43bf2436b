"""Silence filters of a network for a while."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakTensorKeyDictionary

from .._checks import instance, shown
from .._compat import run_last, times_written, uncompiled
from .channels import ChannelDims, channel_dims, is_batch_norm
from .layers import resolve_layer
from .threads import Hook, in_this_thread

# For the name of each layer, one or several of its filters.
Filters = Mapping[str, int | Sequence[int]]


def ablated(
    model: nn.Module, filters: Filters, *, channel_dim: int | None = None
) -> AbstractContextManager[None]:
    """Silence filters: within the context, their output is zero.

    A BatchNorm directly after the layer would turn the zeros into a constant, so that its channel
    is silenced as well, as if its scale and shift were zero. A module that is called several times
    is silent in every call. Contexts nest: a filter is silent if any of them silences it. Weights
    are not touched, and the hooks are removed on exit, whatever happens. The filters are silent in
    all threads. A compiled model runs as plain Python.

    Args:
        model (Module): The model.
        filters (mapping): For the name of each layer, the filters to silence: one or several
            indices along its channel dimension, which is 1 for convolutions, norms and pooling and
            the last for linear layers and LayerNorm. A ReLU or a block has it where such a layer
            of the same output shape has it.
        channel_dim (int, optional): Channel dimension of the layers' outputs; needed if no module
            shows it. Default: None

    Raises:
        ValueError: If a layer is not in the model. Once the model runs: if a layer lacks the
            filter, or nothing shows where its filters are.
        TypeError: If the filters are not a mapping from names to integers. Once the model runs: if
            a layer does not return a tensor.

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
    """Silence all filters of the given layers except these: the opposite of `ablated`.

    Args:
        model (Module): The model.
        filters (mapping): For the name of each layer, the filters to keep. Other layers keep all.
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
    values: Mapping[str, Tensor] | None = None,
) -> Iterator[None]:
    """Silence the named filters of some layers, or all others.

    Args:
        model: The model.
        filters: As in `ablated`.
        keep: Whether to silence all others instead.
        channel_dim: As in `ablated`.
        dims: Where the layers have their channels, learned from complete passes. The filters are
            then silent in this thread alone. Default: None, to learn it from the passes within the
            context, and silent for all threads.
    """
    instance(model, nn.Module, "model", "a module; a function that runs it has no layers")
    if not isinstance(filters, Mapping) or not all(isinstance(name, str) for name in filters):
        raise TypeError(
            "Expected `filters` to be a mapping from names of layers to indices of filters, as "
            f"{{'layer1': [0, 3]}}, but got {shown(filters)}"
        )
    with uncompiled(), ExitStack() as stack:
        guard: Callable[[Hook], Hook] = in_this_thread if dims else lambda hook: hook
        dims = dims or stack.enter_context(channel_dims(model, channel_dim))
        silencer = _Silencer(keep, dims, guard, values)
        for name, channels in filters.items():
            layer, named = resolve_layer(name, model), _indices(name, channels)
            for handle in silencer.attach(layer, name, named):
                stack.enter_context(handle)
        for module in model.modules():
            if is_batch_norm(module) and values is None:
                follow = guard(silencer.follow)
                stack.enter_context(module.register_forward_hook(follow, with_kwargs=True))
        yield


class _Silencer:
    """Hooks that silence filters, and their channels in a BatchNorm directly after the layer."""

    def __init__(
        self,
        keep: bool,
        dims: ChannelDims,
        guard: Callable[[Hook], Hook],
        values: Mapping[str, Tensor] | None,
    ) -> None:
        self.keep = keep
        self.dims = dims
        self.guard = guard
        self.values = values
        # For each output: its silent channels, and how often it had been written to.
        self.given: MutableMapping[Tensor, tuple[Tensor, int]] = WeakTensorKeyDictionary()

    def attach(self, layer: nn.Module, name: str, named: Tensor) -> Iterator[RemovableHandle]:
        """Silence filters of a layer until these handles are removed."""
        yield layer.register_forward_hook(self.guard(partial(self.silence, name, named)))
        if self.values is not None:
            return
        note = layer.register_forward_hook(self.guard(partial(self.note, name, named)))
        yield note
        # After hooks registered later, since the BatchNorm takes their result.
        last = self.guard(lambda module, args: run_last(module, note))
        yield layer.register_forward_pre_hook(last)

    def silence(self, name: str, named: Tensor, layer: nn.Module, args: Any, output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise TypeError(
                f"Expected layer {name!r} to give one tensor, but got {type(output).__name__}; "
                "take a layer in it, or behind it, that does"
            )
        dim = self.dims.of(layer, name, output)
        n_channels = output.shape[dim]
        if not torch.isin(named, torch.arange(n_channels)).all():
            raise ValueError(
                f"Expected filters of layer {name!r} to be 0 to {n_channels - 1}, but got "
                f"{named.tolist()}"
            )
        silent = self._silent(named, output, dim)
        if self.values is None:
            return output.index_fill(dim, silent, 0)
        shape = [-1 if place == dim else 1 for place in range(output.dim())]
        is_silent = torch.zeros(n_channels, dtype=torch.bool, device=output.device)
        is_silent[silent] = True
        values = self.values[name].to(output)
        return torch.where(is_silent.view(shape), values.view(shape), output)

    def note(self, name: str, named: Tensor, layer: nn.Module, args: Any, output: Any) -> Any:
        if not isinstance(output, Tensor) or self.dims.of(layer, name, output) != 1:
            return output
        if output.is_inference():
            # Inference tensors do not count how often they are written to; copies made here do.
            with torch.inference_mode(False):
                output = output.clone()
        self.given[output] = self._silent(named, output, 1), times_written(output)
        return output

    def _silent(self, named: Tensor, output: Tensor, dim: int) -> Tensor:
        every = torch.arange(output.shape[dim])
        return every[torch.isin(every, named, invert=self.keep)].to(output.device)

    def follow(self, norm: nn.Module, args: Any, *rest: Any) -> Any:
        # Without keywords if another thread has removed this hook in the middle of the call.
        *keywords, output = rest
        taken = [*args, *(value for given in keywords for value in given.values())][0]
        silent, version = self.given.get(taken, (None, 0))
        # If it was written to, as by a residual added in place, it is another layer's output.
        if silent is None or times_written(taken) != version:
            return output
        return output.index_fill(1, silent, 0)


def _indices(name: str, channels: int | Sequence[int]) -> Tensor:
    try:
        indices = torch.as_tensor(channels).reshape(-1)
    except (RuntimeError, TypeError, ValueError):
        raise TypeError(
            f"Expected filters of layer {name!r} to be an index or a sequence of indices, but got "
            f"{shown(channels)}"
        ) from None
    whole = not (indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool)
    if indices.numel() and not whole:
        raise TypeError(
            f"Expected filters of layer {name!r} to be integers, but got {shown(channels)}; the "
            "indices of a mask are `mask.nonzero().flatten()`"
        )
    return indices.long().cpu()
