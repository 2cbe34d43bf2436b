"""Run a user's model and leave it, and everything around it, as it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import warn_user
from .._compat import is_replica, own_buffers, uncompiled


@contextmanager
def undisturbed(warn: bool = True, model: nn.Module | None = None) -> Iterator[None]:
    """Run models without leaving a trace: buffers and the global random state are put back.

    Every module that runs is seen, however it is called. Compiled ones run as plain Python, since
    their graphs know nothing of hooks.

    Args:
        warn (bool, optional): Warn if a module ran in train mode. Default: True
        model (Module, optional): Of whose modules to warn. Default: None, of all that run.

    Examples::

        >>> norm = nn.BatchNorm1d(2).train()
        >>> with undisturbed(warn=False):
        ...     _ = norm(torch.randn(8, 2))
        >>> norm.num_batches_tracked.item()
        0
    """
    seen: dict[nn.Module, dict[str, tuple[Tensor | None, Tensor | None]]] = {}

    def remember(module: nn.Module, args: Any) -> None:
        # Replicas live for one pass; their buffers are those of the modules in DataParallel.
        replicated = isinstance(module, nn.DataParallel)
        for part in module.modules() if replicated else [module]:
            if part not in seen and not is_replica(part):
                seen[part] = {
                    name: (buffer, None if buffer is None else buffer.clone())
                    for name, buffer in own_buffers(part).items()
                }

    # An accelerator that nobody has used yet is left asleep.
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count() if used else 0)
    with torch.random.fork_rng(devices=devices), uncompiled():
        handle = nn.modules.module.register_module_forward_pre_hook(remember)
        try:
            yield
        finally:
            handle.remove()
            for module, buffers in seen.items():
                _restore_buffers(module, buffers)
            # Leaves alone: a wrapper such as DataParallel is born in train mode without caring.
            told = seen if model is None else seen.keys() & set(model.modules())
            if warn and any(m.training for m in told if not list(m.children())):
                warn_user(
                    "The model is in train mode: BatchNorm mixes the frames of a batch and dropout "
                    "adds noise to the spectrum; call `model.eval()` first"
                )


def _restore_buffers(
    module: nn.Module, buffers: dict[str, tuple[Tensor | None, Tensor | None]]
) -> None:
    for name, (buffer, before) in buffers.items():
        own_buffers(module)[name] = buffer
        # Untouched ones are left alone: writing would break a graph that saved them.
        if buffer is not None and before is not None and not torch.equal(buffer, before):
            with torch.no_grad():
                buffer.copy_(before)
