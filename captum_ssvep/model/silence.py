"""Silence filters of a network for a while, and run it again from there on."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

from .channels import BATCH_NORMS, ChannelDims, channel_dims
from .recorder import EarlyExit, resolve_layer
from .untouched import uncompiled

Filters = Mapping[str, int | Sequence[int]]


def ablated(model: nn.Module, filters: Filters) -> AbstractContextManager[None]:
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
    return silenced(model, filters)


def keep_only(model: nn.Module, filters: Filters) -> AbstractContextManager[None]:
    """Silence all filters of the given layers but these: the mirror image of `ablated`.

    Args:
        model (Module): The model.
        filters (mapping): For the name of each layer, the filters to keep. Layers that are not
            named stay whole.

    Raises:
        ValueError, TypeError: As `ablated`.

    Examples::

        >>> model = nn.Sequential(nn.Linear(2, 3))
        >>> with keep_only(model, {"0": 1}):
        ...     (model(torch.ones(1, 2)) == 0).tolist()
        [[True, False, True]]
    """
    return silenced(model, filters, keep=True)


@contextmanager
def silenced(
    model: nn.Module, filters: Filters, keep: bool = False, dims: ChannelDims | None = None
) -> Iterator[None]:
    """Zero the named channels of some layers, or all but these.

    Args:
        model: The model.
        filters: As in `ablated`.
        keep: Whether to zero all others.
        dims: Where the layers have their channels, learned from whole passes. Default: None, to be
            learned from those within.
    """
    with ExitStack() as stack:
        stack.enter_context(uncompiled())
        silencer = _Silencer(keep, dims or stack.enter_context(channel_dims(model)))
        for name, channels in filters.items():
            layer, named = resolve_layer(name, model), _indices(name, channels)
            stack.callback(silencer.attach(layer, name, named).close)
        for module in model.modules():
            if isinstance(module, BATCH_NORMS):
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
                cast(OrderedDict[int, Any], module._forward_hooks).move_to_end(note.id)

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
        self.given[output] = self._silent(named, output, 1), output._version
        return output

    def _silent(self, named: Tensor, output: Tensor, dim: int) -> Tensor:
        every = torch.arange(output.shape[dim])
        return every[torch.isin(every, named, invert=self.keep)].to(output.device)

    def follow(self, norm: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor:
        taken = (*args, *kwargs.values())[0]
        silent, version = self.given.get(taken, (None, 0))
        # What was written to, as by a residual that is added in place, is another layer's output.
        if silent is None or taken._version != version:
            return output
        return output.index_fill(1, silent, 0)


def silent_filters(layer: nn.Module) -> list[tuple[Tensor, bool]]:
    """The filters that contexts name of a layer at the moment, and whether they keep just these."""
    hooks: list[Any] = [h for h in layer._forward_hooks.values() if isinstance(h, partial)]
    return [
        (hook.args[1], hook.func.__self__.keep)
        for hook in hooks
        if getattr(hook.func, "__func__", None) is _Silencer.silence
    ]


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


@contextmanager
def replayed(model: nn.Module, layer: str, run: Callable[[], Any]) -> Iterator[Any]:
    """Run only what comes behind a layer: all up to it gives again what it gave once.

    What it is for: one batch, shown many times to a model that is changed behind the layer, or in
    hooks on it.

    Args:
        model (Module): The model, in eval mode.
        layer (str): Name of the layer; of several calls in a pass the first counts.
        run (callable): Runs the model on the batch.

    Yields:
        What the layer gave.

    Raises:
        ValueError: If the layer is not in the model, or not called.

    Examples::

        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> batch = torch.rand(4, 2)
        >>> expected = model(batch)
        >>> with replayed(model, "0", lambda: model(batch)):
        ...     torch.equal(model(torch.zeros(4, 2)), expected)
        True
    """
    with ExitStack() as stack:
        stack.enter_context(uncompiled())
        outputs = _outputs_to(model, layer, run)
        (*_, of_layer) = outputs.values()
        replays = {module: _Replay(module, given) for module, given in outputs.items()}

        def rewind(module: nn.Module, args: Any) -> None:
            for replay in replays.values():
                replay.rewind()

        stack.callback(model.register_forward_pre_hook(rewind).remove)
        for module, replay in replays.items():
            stack.enter_context(_shadowed_forward(module, replay))
        yield of_layer[0]


def _outputs_to(model: nn.Module, layer: str, run: Callable[[], Any]) -> dict[nn.Module, list[Any]]:
    """What modules gave, call by call, up to a layer; of nested ones the outermost that ended."""
    wanted = resolve_layer(layer, model)
    calls: list[tuple[nn.Module, Any]] = []
    began: list[int] = []

    def enter(module: nn.Module, args: Any) -> None:
        began.append(len(calls))

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        del calls[began.pop() :]
        calls.append((module, _copies(output)))
        if module is wanted:
            raise EarlyExit

    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(module.register_forward_pre_hook(enter).remove)
            # Before other hooks, which see what is replayed, too.
            stack.callback(module.register_forward_hook(leave, prepend=True).remove)
        try:
            run()
        except EarlyExit:
            outputs: dict[nn.Module, list[Any]] = defaultdict(list)
            for module, output in calls:
                outputs[module].append(output)
            return outputs
    raise ValueError(
        f"Expected layer {layer!r} to be called in the forward pass, but it never was; modules "
        "whose weights are only read are not called, choose their parent"
    )


class _Replay:
    """In place of a module's forward: gives what its first calls gave, and only then runs.

    Copies, for what is behind may work in place.
    """

    def __init__(self, module: nn.Module, outputs: list[Any]) -> None:
        self.forward = module.forward
        self.outputs = outputs
        self.n_calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = self.n_calls
        self.n_calls += 1
        if call >= len(self.outputs):
            return self.forward(*args, **kwargs)
        return _copies(self.outputs[call])

    def rewind(self) -> None:
        """Begin a new pass."""
        self.n_calls = 0


def _copies(output: Any) -> Any:
    """Copies of all tensors, which no in-place operation behind the module can reach."""
    return tree_map_only(Tensor, torch.clone, output)


@contextmanager
def _shadowed_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    attributes = vars(module)
    own = {"forward": attributes["forward"]} if "forward" in attributes else {}
    attributes["forward"] = forward
    try:
        yield
    finally:
        del attributes["forward"]
        attributes.update(own)
