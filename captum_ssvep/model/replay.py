"""Run again only what comes after a layer."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from torch import nn

from .._compat import copies, uncompiled
from .layers import resolve_layer
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
    with _LOCK, uncompiled(), ExitStack() as stack:
        outputs = _outputs_to(model, layer, run)
        (*_, of_layer) = outputs.values()
        replays = {module: _Replay(module, given) for module, given in outputs.items()}

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
        yield of_layer[0]


def _outputs_to(model: nn.Module, layer: str, run: Callable[[], Any]) -> dict[nn.Module, list[Any]]:
    """What modules return up to a layer, call by call.

    Of nested modules, only the outermost that have returned by then are kept.
    """
    wanted = resolve_layer(layer, model)
    calls: list[tuple[nn.Module, Any]] = []
    began: list[int] = []

    def enter(module: nn.Module, args: Any) -> None:
        began.append(len(calls))

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        del calls[began.pop() :]
        calls.append((module, copies(output)))
        if module is wanted:
            raise EarlyExit

    with ExitStack() as stack, suppress(EarlyExit):
        for module in model.modules():
            stack.enter_context(module.register_forward_pre_hook(in_this_thread(enter)))
            # Before other hooks, so that these also act on what is replayed.
            hook = in_this_thread(leave)
            stack.enter_context(module.register_forward_hook(hook, prepend=True))
        run()
        raise ValueError(
            f"Expected layer {layer!r} to be called in the forward pass, but it never was; take "
            "the parent of a module that only holds weights, as `out_proj` does"
        )
    outputs: dict[nn.Module, list[Any]] = defaultdict(list)
    for module, output in calls:
        outputs[module].append(output)
    return outputs


class _Replay:
    """Stands in for a module's forward: repeats the outputs of its first calls, then runs it.

    It returns copies, since later layers may work in place.
    """

    def __init__(self, module: nn.Module, outputs: list[Any]) -> None:
        self.forward = module.forward
        self.outputs = outputs
        self.thread = threading.get_ident()
        self.rewind()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.left and threading.get_ident() == self.thread:
            return copies(self.left.pop())
        return self.forward(*args, **kwargs)

    def rewind(self) -> None:
        """Begin a new pass."""
        self.left = self.outputs[::-1]
