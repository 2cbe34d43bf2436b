"""The one place that uses private names of torch, and the types that Captum does not ship."""

import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, cast

import torch
from captum.log import log_usage as _log_usage
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from torch.utils.hooks import RemovableHandle

Function = TypeVar("Function", bound=Callable[..., Any])


class _LogUsage(Protocol):
    def __call__(self, *, part_of_slo: bool) -> Callable[[Function], Function]: ...


# NoiseTunnel, TCAV and others call `method.attribute.__wrapped__`, which this decorator makes.
log_usage = cast(_LogUsage, _log_usage)


def own_buffers(module: nn.Module) -> dict[str, Tensor | None]:
    """The buffers of a module itself, to read and to write, with those that are None."""
    return module._buffers


def is_replica(module: nn.Module) -> bool:
    """Whether DataParallel made the module for one pass on another device."""
    return bool(getattr(module, "_is_replica", False))


def inside_compiled(module: nn.Module) -> nn.Module | None:
    """The module that ``torch.compile`` wrapped, None for a plain one."""
    inner = getattr(module, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else None


def plain_name(name: str) -> str:
    """The name of a layer without what ``torch.compile`` puts into it."""
    return name.replace("_orig_mod.", "")


def run_last(module: nn.Module, hook: RemovableHandle) -> None:
    """Move a forward hook of a module behind those that were registered later."""
    cast(OrderedDict[int, Any], module._forward_hooks).move_to_end(hook.id)


def times_written(tensor: Tensor) -> int:
    """How often a tensor was changed in place."""
    return tensor._version


def copies(value: Any) -> Any:
    """The same nested tuples, lists and dictionaries, with copies of all tensors."""
    return tree_map_only(Tensor, torch.clone, value)


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run compiled code as plain Python: graphs made earlier know nothing of our hooks."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        # Compiled modules warn of global hooks. Ours may fire twice.
        warnings.filterwarnings("ignore", message=".*when there are global hooks")
        yield
