"""Run again only what comes after a layer."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from torch import nn

from .._compat import copies, uncompiled
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
        outputs = outputs_to(model, resolve_layer(layer, model), run)
        (*_, of_layer) = outputs.values()
        with replaying(model, {module: Replay(module, given) for module, given in outputs.items()}):
            yield of_layer[0]


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
            vars(module)["forward"] = replay
        yield


def outputs_to(
    model: nn.Module, layer: nn.Module, run: Callable[[], Any]
) -> dict[nn.Module, list[Any]]:
    """What modules return up to a layer, call by call.

    Of nested modules, only the outermost that have returned by then are kept.

    Raises:
        ValueError: If the layer is not called.
    """
    calls: list[tuple[nn.Module, Any]] = []
    began: list[int] = []

    def enter(module: nn.Module, args: Any) -> None:
        began.append(len(calls))

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        del calls[began.pop() :]
        calls.append((module, copies(output)))
        if module is layer:
            raise EarlyExit

    with ExitStack() as stack, suppress(EarlyExit):
        for module in model.modules():
            stack.enter_context(module.register_forward_pre_hook(in_this_thread(enter)))
            # Before other hooks, so that these also act on what is replayed.
            hook = in_this_thread(leave)
            stack.enter_context(module.register_forward_hook(hook, prepend=True))
        run()
        raise ValueError(
            f"Expected layer {layer_name(layer, model)!r} to be called in the forward pass, but it "
            "never was; take the parent of a module that only holds weights, as `out_proj` does"
        )
    outputs: dict[nn.Module, list[Any]] = defaultdict(list)
    for module, output in calls:
        outputs[module].append(output)
    return outputs


class Replay:
    """Stands in for a module's forward: repeats the outputs of its first calls, then runs it.

    Args:
        module: The module.
        outputs: What its first calls return.
        copied: Makes what is returned, which later layers may change in place. Default: a copy
    """

    def __init__(
        self, module: nn.Module, outputs: list[Any], copied: Callable[[Any], Any] = copies
    ) -> None:
        self.forward = module.forward
        self.outputs = outputs
        self.copied = copied
        self.thread = threading.get_ident()
        self.rewind()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The next of the outputs, if there is one left in this pass."""
        if self.left and self.is_own_thread:
            return self.copied(self.left.pop())
        return self.forward(*args, **kwargs)

    @property
    def is_own_thread(self) -> bool:
        """Whether it is called in the thread that replays; others run the module."""
        return threading.get_ident() == self.thread

    def rewind(self) -> None:
        """Begin a new pass."""
        self.left = self.outputs[::-1]
