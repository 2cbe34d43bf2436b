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
    """Run models without leaving a trace: restore buffers and the global random state.

    Every module that runs is noticed, however it is called. Compiled ones run as plain Python,
    since their graphs do not know our hooks.

    Args:
        warn (bool, optional): Warn if a module ran in train mode. Default: True
        model (Module, optional): Warn of this model's modules only. Default: None, all that run

    Examples::

        >>> norm = nn.BatchNorm1d(2).train()
        >>> with undisturbed(warn=False):
        ...     _ = norm(torch.randn(8, 2))
        >>> norm.num_batches_tracked.item()
        0
    """
    # The buffers of each module that ran, by name, and each of them with a copy.
    seen: dict[nn.Module, tuple[dict[str, Tensor | None], list[tuple[Tensor, Tensor]]]] = {}

    def remember(module: nn.Module, args: Any) -> None:
        # Replicas live for one pass; their buffers are those of the modules in DataParallel.
        replicated = isinstance(module, nn.DataParallel)
        for part in module.modules() if replicated else [module]:
            if part not in seen and not is_replica(part):
                buffers = dict(own_buffers(part))
                seen[part] = buffers, [(b, b.clone()) for b in buffers.values() if b is not None]

    # Do not initialize an accelerator that nobody has used yet.
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count() if used else 0)
    with torch.random.fork_rng(devices=devices), uncompiled():
        try:
            with nn.modules.module.register_module_forward_pre_hook(remember):
                yield
        finally:
            for module, (buffers, copies) in seen.items():
                for name, buffer in buffers.items():  # those of jitted modules have no `update`
                    own_buffers(module)[name] = buffer
                for kept, before in copies:
                    # Leave unchanged ones alone: writing would break a graph that saved them.
                    if not torch.equal(kept, before):
                        with torch.no_grad():
                            kept.copy_(before)
            # Only modules without children: a wrapper such as DataParallel starts in train mode.
            ran = seen if model is None else seen.keys() & set(model.modules())
            if warn and any(m.training for m in ran if not list(m.children())):
                warn_user(
                    "The model is in train mode: BatchNorm mixes the frames of a batch and dropout "
                    "adds noise to the spectrum; call `model.eval()` first"
                )
