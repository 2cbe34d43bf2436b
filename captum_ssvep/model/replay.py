"""Run again only what comes after a layer."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from .._compat import copies, map_tensors, tensors_in, times_written, uncompiled
from .layers import layer_name, resolve_layer
from .recorder import EarlyExit
from .threads import in_this_thread

# Of several threads, one at a time puts replays in the place of forwards.
_LOCK = threading.RLock()


@contextmanager
def replayed(model: nn.Module, layer: str, run: Callable[[], Any]) -> Iterator[Any]:
    """Run only what comes after a layer; everything up to it repeats what it returned once.

    Use it to show one batch many times to a model that changes only after the layer, or in hooks
    on it. Other threads that use the model meanwhile run all of it.

    Args:
        model (Module): The model, in eval mode.
        layer (str): Name of the layer. If it is called several times in a pass, the first call
            counts.
        run (callable): Runs the model on the batch.

    Yields:
        What the layer returned.

    Raises:
        ValueError: If the layer is not in the model, or not called.

    Examples::

        >>> import torch
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> batch = torch.rand(4, 2)
        >>> expected = model(batch)
        >>> with replayed(model, "0", lambda: model(batch)):
        ...     torch.equal(model(torch.zeros(4, 2)), expected)
        True
    """
    with uncompiled():
        calls = calls_to(model, resolve_layer(layer, model), run)
        (*_, of_layer) = calls.values()
        with replaying(model, {module: Replay(module, made) for module, made in calls.items()}):
            yield of_layer[0].output


@contextmanager
def replaying(model: nn.Module, replays: Mapping[nn.Module, Replay]) -> Iterator[None]:
    """Put replays in the place of the forwards of modules; each pass of the model rewinds them."""
    with _LOCK, uncompiled(), ExitStack() as stack:

        def rewind(module: nn.Module, args: Any) -> None:
            for replay in replays.values():
                replay.rewind()

        stack.enter_context(model.register_forward_pre_hook(in_this_thread(rewind)))
        for module, replay in replays.items():
            # On exit, remove the replay, then put back a forward that was set on the module itself.
            own = {"forward": module.forward} if "forward" in vars(module) else {}
            stack.callback(vars(module).update, own)
            stack.callback(vars(module).pop, "forward")
            # Only now: before the lock, it could have been another thread's replay.
            replay.forward = module.forward
            vars(module)["forward"] = replay
        yield


@dataclass(frozen=True)
class Call:
    """What a call of a module did.

    Args:
        output: What it returned.
        written: What it wrote into tensors among its arguments, by their place among these.
        passed_on: Which tensors of the output are those of arguments, or views of them, by their
            places among both.
    """

    output: Any
    written: dict[int, Tensor]
    passed_on: dict[int, int]

    def again(
        self, args: Any, kwargs: Any, repeat: Callable[[Tensor], Tensor] = torch.clone
    ) -> Any:
        """Do the same to other arguments, with copies of what was returned and written.

        Args:
            args, kwargs: The arguments.
            repeat: Makes the copies. Default: as they are
        """
        given = tensors_in((args, kwargs))
        for place, value in self.written.items():
            # Torch cannot write to an expanded tensor: it stands for one that nothing reads.
            if 0 not in given[place].stride():
                given[place].copy_(repeat(value))
        places = count()

        def made(tensor: Tensor) -> Tensor:
            source = self.passed_on.get(next(places))
            if source is None:
                return repeat(tensor)
            return given[source].reshape(-1, *tensor.shape[1:])

        return map_tensors(made, self.output)


def calls_to(
    model: nn.Module, layer: nn.Module, run: Callable[[], Any]
) -> dict[nn.Module, list[Call]]:
    """What modules do up to a layer, call by call.

    Of nested modules, only the outermost that have returned by then are kept.

    Raises:
        ValueError: If the layer is not called.
    """
    calls: list[tuple[nn.Module, Call]] = []
    began: list[tuple[int, list[Tensor], list[Any]]] = []

    def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
        given = tensors_in((args, kwargs))
        began.append((len(calls), given, [*map(_state, given)]))

    def leave(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        place, given, before = began.pop()
        del calls[place:]
        calls.append((module, _call(output, given, before)))
        if module is layer:
            raise EarlyExit

    with ExitStack() as stack, suppress(EarlyExit):
        for module in model.modules():
            hook = in_this_thread(enter)
            stack.enter_context(module.register_forward_pre_hook(hook, with_kwargs=True))
            # Before other hooks, so that these also act on what is replayed.
            hook = in_this_thread(leave)
            stack.enter_context(module.register_forward_hook(hook, prepend=True, with_kwargs=True))
        run()
        raise ValueError(
            f"Expected layer {layer_name(layer, model)!r} to be called in the forward pass, but it "
            "never was; take the parent of a module that only holds weights, as `out_proj` does"
        )
    by_module: dict[nn.Module, list[Call]] = defaultdict(list)
    for module, call in calls:
        by_module[module].append(call)
    return by_module


def _call(output: Any, given: Sequence[Tensor], before: Sequence[Any]) -> Call:
    """What a call did, given its arguments and their states before it."""
    written = {
        place: tensor.clone()
        for place, (tensor, state) in enumerate(zip(given, before, strict=True))
        if _has_changed(tensor, state)
    }
    passed_on = {}
    for place, tensor in enumerate(tensors_in(output)):
        sources = (source for source, other in enumerate(given) if _is_view(tensor, other))
        source = next(sources, None)
        if source is not None and tensor.dim():
            passed_on[place] = source
    return Call(copies(output), written, passed_on)


def _state(tensor: Tensor) -> Any:
    """What tells later whether a tensor was written to."""
    return tensor.clone() if tensor.is_inference() else times_written(tensor)


def _has_changed(tensor: Tensor, state: Any) -> bool:
    if isinstance(state, Tensor):
        return not tensor.equal(state)
    return bool(times_written(tensor) != state)


def _is_view(tensor: Tensor, other: Tensor) -> bool:
    """Whether a tensor is another one, or holds all its elements in their order."""
    if tensor is other:
        return True
    same_place = tensor.data_ptr() == other.data_ptr() and tensor.numel() == other.numel()
    return same_place and tensor.is_contiguous() and other.is_contiguous()


class Replay:
    """Stands in for a module's forward: repeats its first calls, then runs it.

    Args:
        module: The module.
        calls: What its first calls did.
    """

    def __init__(self, module: nn.Module, calls: list[Call]) -> None:
        self.forward = module.forward
        self.calls = calls
        self.thread = threading.get_ident()
        self.rewind()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The next of the calls, if there is one left in this pass."""
        if self.left and self.is_own_thread:
            return self.left.pop().again(args, kwargs)
        return self.forward(*args, **kwargs)

    @property
    def is_own_thread(self) -> bool:
        """Whether it is called in the thread that replays; others run the module."""
        return threading.get_ident() == self.thread

    def rewind(self) -> None:
        """Begin a new pass."""
        self.left = self.calls[::-1]
