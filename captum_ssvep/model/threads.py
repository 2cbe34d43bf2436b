"""Hooks that act in one thread only, so that others can use the same model meanwhile."""

import threading
from collections.abc import Callable
from typing import Any

from torch import nn

from .._compat import is_replica

Hook = Callable[..., Any]


def in_this_thread(hook: Hook) -> Hook:
    """Let a hook of a module act only in the thread that calls this function.

    Replicas under DataParallel run in threads of their own; they count as this thread's.

    Examples::

        >>> import torch
        >>> model, seen = nn.Linear(2, 2), []
        >>> with model.register_forward_pre_hook(in_this_thread(lambda *_: seen.append(1))):
        ...     other = threading.Thread(target=model, args=(torch.ones(1, 2),))
        ...     other.start()
        ...     other.join()
        ...     output = model(torch.ones(1, 2))
        >>> len(seen)
        1
    """
    owner = threading.get_ident()

    # If a hook is removed while another thread calls it, torch calls it without `kwargs`. What it
    # is called with is therefore looked at only in its own thread.
    def guarded(module: nn.Module, *call: Any) -> Any:
        if threading.get_ident() == owner or is_replica(module):
            return hook(module, *call)
        return None

    return guarded
