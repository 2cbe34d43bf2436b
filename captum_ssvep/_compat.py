"""The only file that uses private names of torch, and the types that Captum does not ship."""

import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from captum.log import log_usage as _log_usage
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from torch.utils.hooks import RemovableHandle

Function = TypeVar("Function", bound=Callable[..., Any])


# NoiseTunnel, TCAV and others call `method.attribute.__wrapped__`, which this decorator sets.
log_usage: Callable[..., Callable[[Function], Function]] = _log_usage


# What torch's layers inherit from, and users' own layers too.
Convolution = nn.modules.conv._ConvNd
BatchNorm = nn.modules.batchnorm._BatchNorm
InstanceNorm = nn.modules.instancenorm._InstanceNorm
_POOLS = ("_MaxPoolNd", "_AvgPoolNd", "_LPPoolNd", "_AdaptiveMaxPoolNd", "_AdaptiveAvgPoolNd")
POOLS: tuple[type[nn.Module], ...] = tuple(getattr(nn.modules.pooling, name) for name in _POOLS)


def own_buffers(module: nn.Module) -> dict[str, Tensor | None]:
    """A module's own buffers, to read and to write, including those that are None."""
    return module._buffers


def is_replica(module: nn.Module) -> bool:
    """Whether DataParallel copied the module for one pass on another device."""
    return bool(getattr(module, "_is_replica", False))


def inside_compiled(module: nn.Module) -> nn.Module | None:
    """The module that ``torch.compile`` wrapped, None for a plain one."""
    inner = getattr(module, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else None


def plain_name(name: str) -> str:
    """The name of a layer without what ``torch.compile`` adds to it."""
    return name.replace("_orig_mod.", "")


def run_last(module: nn.Module, hook: RemovableHandle) -> None:
    """Move a forward hook of a module after those that were registered later."""
    cast(OrderedDict[int, Any], module._forward_hooks).move_to_end(hook.id)


def times_written(tensor: Tensor) -> int:
    """How often a tensor has been changed in place."""
    return tensor._version


def copies(value: Any) -> Any:
    """The same nested tuples, lists and dictionaries, with copies of all tensors."""
    return tree_map_only(Tensor, torch.clone, value)


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run compiled code as plain Python, because graphs compiled earlier would skip our hooks."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        # Compiled modules warn that global hooks fire twice, which does not harm ours.
        warnings.filterwarnings("ignore", message=".*when there are global hooks")
        yield
