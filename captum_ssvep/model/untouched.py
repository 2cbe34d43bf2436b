"""Run a user's model and leave it, and everything around it, as it was."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from .._checks import warn_user
from .._compat import is_replica, uncompiled
from .draws import RandomDraws
from .state import Undo, state_of
from .threads import in_this_thread


class Trace:
    """What is noticed of a model while it runs.

    Args:
        model: The model; None if it is not known.
    """

    def __init__(self, model: nn.Module | None) -> None:
        self.draws = RandomDraws()
        self.parts = None if model is None else set(model.modules())
        self.ran: set[nn.Module] = set()
        self._model = model

    @property
    def in_train_mode(self) -> bool:
        """Whether a module of the model ran in train mode."""
        ran = self.ran if self.parts is None else self.ran & self.parts
        return any(map(_trains, ran))

    def what_trains(self) -> str:
        """What is in train mode, in words: some modules of the model, or all of it."""
        names = [
            repr(name)
            for name, module in (() if self._model is None else self._model.named_modules())
            if module in self.ran and _trains(module)
        ]
        if self._model is None or self._model.training or not names:
            return "The model is"
        rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
        listed = ", ".join(names[:3]) + rest
        return f"The module {listed} is" if len(names) == 1 else f"The modules {listed} are"


def _trains(module: nn.Module) -> bool:
    """Whether a module is in train mode and has no children.

    A wrapper such as DataParallel starts in train mode, whatever it wraps.
    """
    return module.training and not list(module.children())


@contextmanager
def undisturbed(model: nn.Module | None, warn: bool = True) -> Iterator[Trace]:
    """Run a model without leaving a trace in it.

    Buffers, train flags and plain attributes are put back (see `state_of`): those of the model, and
    of all modules that run in this thread. Random generators are put back if the network drew from
    them within ``trace.draws``. Other threads can use this model and others meanwhile.

    Compiled modules run as plain Python, since their graphs do not know our hooks, and transformer
    encoders without their fast path, which skips hooks and drops padding.

    Args:
        model (Module or None): The model.
        warn (bool, optional): Warn if a module ran in train mode. Default: True

    Yields:
        Trace: What is noticed of the model.

    Examples::

        >>> import torch
        >>> norm = nn.BatchNorm1d(2).train()
        >>> with undisturbed(norm, warn=False):
        ...     _ = norm(torch.randn(8, 2))
        >>> norm.num_batches_tracked.item()
        0
    """
    trace = Trace(model)
    undo: dict[nn.Module, Undo] = {}

    def notice(module: nn.Module, args: Any) -> None:
        # Replicas live for one pass; their buffers are those of the modules in DataParallel.
        if module in trace.ran or is_replica(module):
            return
        trace.ran.add(module)
        # Also those that the model holds in a plain list, and all if it is not known.
        undo.update((part, state_of(part)) for part in module.modules() if part not in undo)

    undo.update((part, state_of(part)) for part in trace.parts or ())
    with ExitStack() as stack:
        stack.enter_context(uncompiled())
        stack.enter_context(_without_fast_path(model))
        hook = nn.modules.module.register_module_forward_pre_hook(in_this_thread(notice))
        stack.enter_context(hook)
        try:
            yield trace
        finally:
            trace.draws.put_back()
            what_trains = trace.what_trains() if warn and trace.in_train_mode else None
            for put_back in undo.values():
                put_back()
            if what_trains:
                warn_user(
                    f"{what_trains} in train mode: BatchNorm mixes the rows of a batch and dropout "
                    "adds noise; call `model.eval()` first"
                )


class _PassOn(TorchFunctionMode):
    """Changes nothing, but transformer encoders see that torch is watched in this thread."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


def _without_fast_path(model: nn.Module | None) -> AbstractContextManager[object]:
    """Run transformer encoders in this thread without their fast path."""
    encoders = (nn.TransformerEncoder, nn.TransformerEncoderLayer)
    if model is None or any(isinstance(module, encoders) for module in model.modules()):
        return _PassOn()
    return nullcontext()


def initialize_lazy(model: nn.Module | None, run: Callable[[], object]) -> None:
    """Let modules that do not know their sizes yet see an input once, as Captum's methods do.

    Args:
        model (Module or None): The model.
        run (callable): Runs it.
    """
    if model is not None and any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        with undisturbed(model, warn=False):
            run()
