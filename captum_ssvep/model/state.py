"""Remember what a module holds beside its parameters, to put it back."""

from collections import deque
from collections.abc import Callable, Collection, MutableMapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from .._compat import own_buffers

Undo = Callable[[], None]

# Parameters, hooks and children, as every module has them, and what stands in for its forward.
# Buffers are looked at one by one.
_NOT_STATE = frozenset(vars(nn.Module())) - {"training"} | {"forward"}
_CONTAINERS = (list, deque, set, dict)
_SCALARS = (str, bytes, int, float, bool, type(None))


def state_of(module: nn.Module) -> Undo:
    """Remember a module's buffers, train flag and plain attributes.

    What tensors, arrays, lists, dictionaries and sets hold is remembered too; other objects are
    not looked into.

    Args:
        module: The module, without its children.

    Returns:
        callable: Puts everything back.

    Examples::

        >>> module = nn.Identity()
        >>> module.calls = [1]
        >>> put_back = state_of(module)
        >>> module.calls.append(2)
        >>> module.memory = torch.ones(2)
        >>> put_back()
        >>> module.calls, hasattr(module, "memory")
        ([1], False)
    """
    if isinstance(module, LazyModuleMixin):
        return lambda: None  # it becomes another kind of module
    buffers = _entries_of(own_buffers(module))
    attributes = _entries_of(vars(module), _NOT_STATE)

    def put_back() -> None:
        buffers()
        # What became a parameter or a child meanwhile is no attribute any more.
        parameters = dict(module.named_parameters(recurse=False))
        attributes({*parameters, *dict(module.named_children())})

    return put_back


def _entries_of(
    holder: MutableMapping[str, Any], skipped: Collection[str] = ()
) -> Callable[..., None]:
    """Remember the entries of a dictionary and what they hold."""
    before = {name: value for name, value in holder.items() if name not in skipped}
    seen: set[int] = set()
    steps = [step for value in before.values() for step in _contents_of(value, seen)]

    def put_back(moved: Collection[str] = ()) -> None:
        now = dict(holder.items())  # the buffers of jitted modules are not a plain dictionary
        for name in now.keys() - before.keys() - set(skipped):
            del holder[name]
        for name, value in before.items():
            if name not in moved and (name not in now or now[name] is not value):
                holder[name] = value
        for step in steps:
            step()

    return put_back


def _contents_of(value: Any, seen: set[int]) -> list[Undo]:
    """Remember what tensors and containers hold, at any depth."""
    if isinstance(value, _SCALARS) or id(value) in seen:
        return []
    seen.add(id(value))
    if isinstance(value, Tensor):
        return _values_of(value)
    if isinstance(value, np.ndarray):
        before = value.copy()
        return [lambda: np.copyto(value, before)]
    held = _held_by(value)
    inside = [
        step for item in held if not isinstance(item, _SCALARS) for step in _contents_of(item, seen)
    ]
    if not isinstance(value, _CONTAINERS):
        return inside
    items = dict(value) if isinstance(value, dict) else held

    def refill() -> None:
        now = _held_by(value)
        # Leave unchanged ones alone, since other threads may read them.
        if len(now) != len(held) or any(a is not b for a, b in zip(now, held, strict=True)):
            value.clear()
            (value.update if isinstance(value, (dict, set)) else value.extend)(items)

    return [refill, *inside]


def _held_by(container: Any) -> list[Any]:
    """What a container holds; nothing for other objects."""
    if isinstance(container, dict):
        return [*container, *container.values()]
    return list(container) if isinstance(container, (*_CONTAINERS, tuple)) else []


def _values_of(tensor: Tensor) -> list[Undo]:
    """Remember the values of a tensor that has some and is no parameter."""
    plain = tensor.layout == torch.strided and not tensor.is_nested
    if not plain or tensor.is_meta or isinstance(tensor, nn.Parameter) or is_lazy(tensor):
        return []
    before = tensor.detach().clone()

    def put_back() -> None:
        # Leave unchanged ones alone: writing would break a graph that saved them.
        if not torch.equal(tensor, before):
            with torch.inference_mode(tensor.is_inference()), torch.no_grad():
                tensor.copy_(before)

    return [put_back]
