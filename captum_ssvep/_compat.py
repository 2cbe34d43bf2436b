"""The only file that uses private names of torch, and the types that Captum does not ship."""

import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar, cast

import torch
from captum.log import log_usage as _log_usage
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode as _DispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.hooks import RemovableHandle

Function = TypeVar("Function", bound=Callable[..., Any])


# NoiseTunnel, TCAV and others call `method.attribute.__wrapped__`, which this decorator sets.
log_usage: Callable[..., Callable[[Function], Function]] = _log_usage


class DispatchMode(_DispatchMode):
    """Sees every operation of torch in its thread."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]


def multiplies_in_tf32() -> bool:
    """Whether convolutions on CUDA may; torch refuses to say where its settings are mixed."""
    try:
        return bool(torch.backends.cudnn.allow_tf32)
    except RuntimeError:
        return True


def draws(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an operation of torch draws random numbers; attention does only with dropout."""
    if torch.Tag.nondeterministic_seeded not in operation.tags:
        return False
    names = [argument.name for argument in operation._schema.arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    return "dropout_p" not in names or bool(given.get("dropout_p", 0.0))


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


def has_hooks(module: nn.Module) -> bool:
    """Whether something runs after a module's own forward: hooks, or a forward put in its place."""
    replaced = "forward" in vars(module) and inside_compiled(module) is None
    return bool(module._forward_hooks) or replaced


def plain_name(name: str) -> str:
    """The name of a layer without what ``torch.compile`` adds to it."""
    return name.replace("_orig_mod.", "")


def run_last(module: nn.Module, hook: RemovableHandle) -> None:
    """Move a forward hook of a module, if it is still there, after those registered later."""
    hooks = cast(OrderedDict[int, Any], module._forward_hooks)
    if hook.id in hooks:
        hooks.move_to_end(hook.id)


def times_written(tensor: Tensor) -> int:
    """How often a tensor has been changed in place."""
    return tensor._version


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same nested tuples, lists and dictionaries, with a function of every tensor in them."""
    return tree_map_only(Tensor, function, value)


def tensors_in(value: Any) -> list[Tensor]:
    """All dense tensors of nested tuples, lists and dictionaries."""
    leaves = (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))
    return [leaf for leaf in leaves if leaf.layout == torch.strided]


def copies(value: Any) -> Any:
    """The same nested tuples, lists and dictionaries, with copies of all tensors."""
    return map_tensors(torch.clone, value)


class _Eager:
    """The number of contexts that run compiled code as plain Python, in all threads together."""

    lock = threading.Lock()
    n_contexts = 0
    stack = ExitStack()


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run compiled code as plain Python, because graphs compiled earlier would skip our hooks.

    The stance of the compiler is the same for all threads. The first context sets it and the last
    puts it back.
    """
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with _Eager.lock:
        if _Eager.n_contexts == 0:
            _Eager.stack.enter_context(torch.compiler.set_stance("force_eager"))
            # Compiled modules warn that global hooks fire twice, which does not harm ours. The
            # filter stays: to put all filters back would undo those of other threads.
            warnings.filterwarnings("ignore", message=".*when there are global hooks")
        _Eager.n_contexts += 1
    try:
        yield
    finally:
        with _Eager.lock:
            _Eager.n_contexts -= 1
            if _Eager.n_contexts == 0:
                _Eager.stack.close()
