"""Run again only what comes behind a layer."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from .._compat import copies, uncompiled
from .layers import resolve_layer
from .recorder import EarlyExit


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

        >>> import torch
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
        calls.append((module, copies(output)))
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
        return copies(self.outputs[call])

    def rewind(self) -> None:
        """Begin a new pass."""
        self.n_calls = 0


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
