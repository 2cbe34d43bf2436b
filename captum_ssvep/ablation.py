"""Silence filters of a network for a while, and run it again from there on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only
from torchvision.ops import FrozenBatchNorm2d

from .layout import guess_layout
from .recording import EarlyExit, resolve_layer

Filters = Mapping[str, int | Sequence[int]]
# They scale and shift each channel by itself, and make a constant of a silent one.
BATCH_NORMS = (nn.modules.batchnorm._BatchNorm, FrozenBatchNorm2d)


def ablated(model: nn.Module, filters: Filters) -> AbstractContextManager[None]:
    """Silence filters: within the context, what they give is zero.

    A BatchNorm that takes the layer's output would turn the zeros into a constant: its channel is
    silenced, too, as if its scale and shift were zero. Weights are not touched; hooks are gone on
    leaving, however that happens.

    Args:
        model (Module): The model.
        filters (mapping): For the name of each layer, the filters to silence: one or several
            indices along dimension 1, or along the last of tokens and channels-last layers.

    Raises:
        ValueError: If a layer is not in the model, or, once the model runs, lacks the filter.
        TypeError: If a filter is no integer, or, once the model runs, a layer gives no tensor.

    Examples::

        >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval()
        >>> _ = nn.init.ones_(model[1].bias)
        >>> with ablated(model, {"0": [0, 2]}):
        ...     (model(torch.ones(1, 2)) == 0).tolist()
        [[True, False, True]]
    """
    return _silenced(model, filters, keep=False)


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
    return _silenced(model, filters, keep=True)


@contextmanager
def _silenced(model: nn.Module, filters: Filters, keep: bool) -> Iterator[None]:
    """Zero the named channels of some layers, or all but these."""
    # What each layer gave last, and its silent channels, for the BatchNorm that takes it.
    given: dict[str, tuple[Tensor, Tensor]] = {}

    def silence(name: str, named: Tensor, module: nn.Module, args: Any, output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise TypeError(
                f"Expected layer {name!r} to give one tensor, but got {type(output).__name__}"
            )
        n_channels = output.shape[channel_dim(output)]
        every = torch.arange(n_channels)
        if not torch.isin(named, every).all():
            raise ValueError(
                f"Expected filters of layer {name!r} to be 0 to {n_channels - 1}, but got "
                f"{named.tolist()}"
            )
        silent = every[torch.isin(every, named, invert=keep)].to(output.device)
        given[name] = output.index_fill(channel_dim(output), silent, 0), silent
        return given[name][0]

    def follow(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        for tensor, silent in given.values():
            if args and args[0] is tensor:
                return output.index_fill(channel_dim(output), silent, 0)
        return output

    with ExitStack() as stack:
        for name, channels in filters.items():
            layer = resolve_layer(name, model)
            hook = partial(silence, name, _indices(name, channels))
            stack.callback(layer.register_forward_hook(hook).remove)
        for module in model.modules():
            if isinstance(module, BATCH_NORMS):
                stack.callback(module.register_forward_hook(follow).remove)
        yield


def _indices(name: str, channels: int | Sequence[int]) -> Tensor:
    indices = torch.as_tensor(channels).reshape(-1)
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        if indices.numel():
            raise TypeError(
                f"Expected filters of layer {name!r} to be integers, but got {channels!r}; the "
                "indices of a mask are `mask.nonzero().flatten()`"
            )
        indices = indices.long()
    return indices.cpu()


def channel_dim(output: Tensor) -> int:
    """Dimension of a layer's output along which its filters lie."""
    return 1 if guess_layout(output) == "channels_first" else output.dim() - 1


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
    outputs = _outputs_to(model, layer, run)
    (*_, of_layer) = outputs.values()
    replays = {module: _Replay(module, given) for module, given in outputs.items()}

    def rewind(module: nn.Module, args: Any) -> None:
        for replay in replays.values():
            replay.rewind()

    with ExitStack() as stack:
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
            stack.callback(module.register_forward_hook(leave).remove)
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

    Copies, for what is behind may work in place; but where the first pass left a copy untouched,
    later ones get the output itself.
    """

    def __init__(self, module: nn.Module, outputs: list[Any]) -> None:
        self.forward = module.forward
        self.outputs = outputs
        self.n_calls = 0
        self.copies: dict[int, Any] = {}
        self.untouched: set[int] = set()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = self.n_calls
        self.n_calls += 1
        if call >= len(self.outputs):
            return self.forward(*args, **kwargs)
        if call in self.untouched:
            return self.outputs[call]
        self.copies[call] = _copies(self.outputs[call])
        return self.copies[call]

    def rewind(self) -> None:
        """Begin a new pass."""
        self.n_calls = 0
        for call, copy in self.copies.items():
            tensors = [leaf for leaf in tree_leaves(copy) if isinstance(leaf, Tensor)]
            if not any(tensor.is_inference() or tensor._version for tensor in tensors):
                self.untouched.add(call)
        self.copies.clear()


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
