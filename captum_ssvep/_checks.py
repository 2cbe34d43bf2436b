"""Checks of arguments, and warnings that point at the user's own line."""

import difflib
import math
import sys
import warnings
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

_SKIPPED = ("captum_ssvep", "captum", "torch", "contextlib", "dataclasses")


def warn_user(message: str) -> None:
    """Warn with the stack level of the first caller outside this package, Captum and torch."""
    frame = sys._getframe(1)
    level = 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _SKIPPED:
        frame = frame.f_back
        level += 1
    warnings.warn(message, UserWarning, stacklevel=level)


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
        raise TypeError(f"Expected `{name}` to be an integer, but got {value!r}")
    if value < at_least:
        raise ValueError(f"Expected `{name}` to be at least {at_least}, but got {value}")
    return int(value)


def finite_floats(values: Iterable[Any], name: str) -> tuple[float, ...]:
    """The values as plain floats, if all are finite numbers.

    Raises:
        TypeError, ValueError: If they are not; ``name`` is the argument in the message.
    """
    try:
        floats = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise TypeError(f"Expected `{name}` to hold numbers, but got {values!r}") from None
    if not all(map(math.isfinite, floats)):
        raise ValueError(f"Expected `{name}` to be finite, but got {values!r}")
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
            f"{floats}; the default is (0.5, 1.0)"
        )
    return floats[0], floats[1]


def unknown_choice(name: str, value: object, valid: Iterable[str]) -> ValueError:
    """The error for a string argument that is not one of the valid ones."""
    return ValueError(f"Expected `{name}` to be one of {', '.join(valid)}, but got {value!r}")


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
    """
    if example is None and n_examples == 1:
        return 0
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
