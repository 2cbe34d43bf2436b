"""Checks of arguments, and warnings that point at the user's own line."""

from __future__ import annotations

import difflib
import math
import sys
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

Kind = TypeVar("Kind")

_SKIPPED = ("captum_ssvep", "captum", "torch", "contextlib", "dataclasses")
# What has been said within `warning_once`; None outside.
_said: ContextVar[set[str] | None] = ContextVar("said", default=None)


@contextmanager
def warning_once() -> Iterator[None]:
    """Within this context, `warn_user` gives each message once.

    For functions that call others of this package several times, which would each say the same.
    """
    token = _said.set(set())
    try:
        yield
    finally:
        _said.reset(token)


def warn_user(message: str) -> None:
    """Warn with the stack level of the first caller outside this package, Captum and torch."""
    said = _said.get()
    if said is not None and message in said:
        return
    if said is not None:
        said.add(message)
    frame = sys._getframe(1)
    level = 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _SKIPPED:
        frame = frame.f_back
        level += 1
    warnings.warn(message, UserWarning, stacklevel=level)


def shown(value: object) -> str:
    """A value in a message: itself if that is short, otherwise its type and shape.

    Examples::

        >>> shown("conv1"), shown(np.zeros((2, 3, 8, 8)))
        ("'conv1'", 'ndarray of shape (2, 3, 8, 8)')
    """
    text = repr(value)
    if len(text) <= 60 and "\n" not in text:
        return text
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" of shape {tuple(shape)}" if isinstance(shape, tuple) else "")


def instance(
    value: Any, kinds: type[Kind] | tuple[type[Kind], ...], name: str, expected: str
) -> Kind:
    """The value, if it is of one of these types.

    Raises:
        TypeError: If it is not. The message is ``name``, ``expected``, what came, and after a
            semicolon in ``expected`` what to do.

    Examples::

        >>> instance(3, str, "layer", "a name; `layers_of(model)` lists some")
        Traceback (most recent call last):
        TypeError: Expected `layer` to be a name, but got 3; `layers_of(model)` lists some
    """
    if isinstance(value, kinds):
        return value
    what, semicolon, remedy = expected.partition(";")
    raise TypeError(f"Expected `{name}` to be {what}, but got {shown(value)}{semicolon}{remedy}")


def tensor(value: Any, name: str, remedy: str = "`torch.as_tensor` makes one of numbers") -> Tensor:
    """The value, if it is a tensor.

    Raises:
        TypeError: If it is not.
    """
    from torch import Tensor  # not above: designs need no torch

    return instance(value, Tensor, name, f"a tensor; {remedy}")


def network(value: Any) -> nn.Module:
    """The value, if it is a model.

    Raises:
        TypeError: If it is not.
    """
    from torch import nn

    expected = "a module; build or load it, as `torchvision.models` does"
    return instance(value, nn.Module, "model", expected)


def image_batch(value: Any, name: str) -> Tensor:
    """The value, if it is a batch of images.

    Raises:
        TypeError, ValueError: If it is no tensor, not of shape (N, channels, height, width), or not
            finite.
    """
    found = tensor(value, name, "`transforms.ToTensor()` turns a picture into one")
    if found.dim() != 4:
        remedy = f"; make a batch: `{name}[None]`" if found.dim() == 3 else ""
        raise ValueError(
            f"Expected `{name}` of shape (N, channels, height, width), but got "
            f"{tuple(found.shape)}{remedy}"
        )
    if not found.isfinite().all():
        raise ValueError(f"Expected `{name}` to be finite, but got NaN or infinity; replace them")
    return found


def file_path(value: Any, name: str = "path") -> Path:
    """The value as a path.

    Raises:
        TypeError: If it is neither a string nor a path.
    """
    instance(value, (str, Path), name, "the path of a file")
    return Path(value)


def choice(value: Any, name: str, valid: Iterable[str]) -> None:
    """Refuse what is not one of the valid strings.

    Raises:
        ValueError: If it is not; the message lists the valid ones.
    """
    valid = tuple(valid)
    if not isinstance(value, str) or value not in valid:
        raise unknown_choice(name, value, valid)


def number(value: Any, name: str, at_least: float = -math.inf, at_most: float = math.inf) -> float:
    """The value as a plain float, if it is one finite number within these bounds.

    Raises:
        TypeError, ValueError: If it is not.

    Examples::

        >>> number(np.float32(0.5), "radius")
        0.5
    """
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        found = float(value)
    except (RuntimeError, TypeError, ValueError):
        raise TypeError(f"Expected `{name}` to be a number, but got {shown(value)}") from None
    if not math.isfinite(found):
        raise ValueError(f"Expected `{name}` to be finite, but got {found}")
    if found < at_least:
        raise ValueError(f"Expected `{name}` to be at least {at_least:g}, but got {found}")
    if found > at_most:
        raise ValueError(f"Expected `{name}` to be at most {at_most:g}, but got {found}")
    return found


def position(value: Any, length: int, name: str) -> int:
    """An index from either end, counted from the start.

    Raises:
        TypeError, ValueError: If it is not an integer, or too large or too small.

    Examples::

        >>> position(-1, 4, "channel")
        3
    """
    index = integer(value, name, at_least=-sys.maxsize)
    if not -length <= index < length:
        raise ValueError(f"Expected `{name}` to be between 0 and {length - 1}, but got {value}")
    return range(length)[index]


def integer(value: Any, name: str, at_least: int = 1) -> int:
    """The value as a plain integer, if it is one and large enough.

    Raises:
        TypeError: If the value is not an integer; ``name`` is the argument in the message.
        ValueError: If it is too small.

    Examples::

        >>> integer(np.int64(3), "n_parts")
        3
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"Expected `{name}` to be an integer, but got {shown(value)}")
    if value < at_least:
        raise ValueError(f"Expected `{name}` to be at least {at_least}, but got {value}")
    return int(value)


def finite_floats(values: Any, name: str, remedy: str = "") -> tuple[float, ...]:
    """The values as plain floats, if all are finite numbers.

    Raises:
        TypeError, ValueError: If they are not; ``name`` is the argument in the message, ``remedy``
            what to do.
    """
    # Not the letters of a text, the keys of a mapping or the names of a table's columns.
    named = isinstance(values, (str, Mapping)) or getattr(values, "ndim", 1) > 1
    items: Iterable[Any] = [values] if named else values
    try:
        floats = tuple(map(float, items))
    except (RuntimeError, TypeError, ValueError):
        raise TypeError(
            f"Expected `{name}` to hold numbers, but got {shown(values)}"
            + (f"; {remedy}" if remedy else "")
        ) from None
    if not all(map(math.isfinite, floats)):
        raise ValueError(f"Expected `{name}` to be finite, but got {shown(values)}")
    return floats


def contrast_range(values: Iterable[Any]) -> tuple[float, float]:
    """The lowest and the highest contrast.

    Raises:
        TypeError, ValueError: If the values are not two finite numbers in rising order.
    """
    floats = finite_floats(values, "contrast")
    if len(floats) != 2 or not floats[0] < floats[1]:
        raise ValueError(
            "Expected `contrast` to be (lowest, highest) with lowest < highest, but got "
            f"{floats}; (0.5, 1.0) goes from half to full contrast"
        )
    if floats[0] >= 0 and 10 < floats[1] <= 100:
        raise ValueError(
            f"Expected `contrast` as shares of the input's own, but got {floats}, which looks like "
            f"percent; write {tuple(value / 100 for value in floats)}"
        )
    return floats[0], floats[1]


def unknown_choice(name: str, value: object, valid: Iterable[str]) -> ValueError:
    """The error for a string argument that is not one of the valid ones."""
    return ValueError(f"Expected `{name}` to be one of {', '.join(valid)}, but got {shown(value)}")


def refuse_unknown_arguments(
    given: Iterable[str], known: Collection[str], function: str, hint: str | None = None
) -> None:
    """Refuse keyword arguments that a function does not take, before anything runs.

    Raises:
        TypeError: If there is one; the message gives the nearest name that the function takes.

    Examples::

        >>> refuse_unknown_arguments(["baselinse"], ["inputs", "baselines"], "attribute")
        Traceback (most recent call last):
        TypeError: Expected arguments of attribute, but got `baselinse`; did you mean `baselines`?
    """
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            remedy = hint or f"it takes {', '.join(known)}"
            if close:
                remedy = f"did you mean `{close[0]}`?"
            raise TypeError(f"Expected arguments of {function}, but got `{name}`; {remedy}")


def example_index(example: int | None, n_examples: int) -> int:
    """Index of the example that is meant; a batch of one needs none.

    Raises:
        ValueError: If the batch has several and none is named, or there is no such example.
        TypeError: If the index is not an integer.
    """
    if example is None and n_examples == 1:
        return 0
    if example is not None:
        integer(example, "example", at_least=-sys.maxsize)
    if example is None or not -n_examples <= example < n_examples:
        raise ValueError(
            f"Expected `example` to say which of the {n_examples} images of the batch is meant, "
            f"but got {example}; the first is example=0"
        )
    return range(n_examples)[example]


def count(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is 1.

    Examples::

        >>> count(1, "image"), count(2, "layer")
        ('1 image', '2 layers')
    """
    return f"{number} {noun}" + ("" if number == 1 else "s")
