"""Harmonics and intermodulations of tag frequencies, as integer vectors.

A component ``(n1, ..., nP)`` is the part of a response that combines ``n1`` times the first tag,
``n2`` times the second, and so on. It lies at the frequency ``abs(n1 f1 + ... + nP fP)``. This file
works with integers alone and knows nothing about hertz, frames or networks.
"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .._checks import integer, shown

ComponentGroup = Literal["fundamentals", "harmonics", "intermodulations", "all"]
COMPONENT_GROUPS: tuple[ComponentGroup, ...] = get_args(ComponentGroup)

# More integer vectors than these are not listed for components or aliases.
MOST_VECTORS = 1_000_000


class Component(tuple[int, ...]):
    """One line of a tagged response: how often each tag enters it.

    A tuple of integers whose first non-zero entry is positive, since ``n`` and ``-n`` name the same
    line of a real signal. It equals the plain tuple and has the same hash.

    Args:
        multiples (iterable of int): One integer per part, not all zero.

    Raises:
        TypeError: If an entry is not an integer.
        ValueError: If every entry is zero (which is the mean, not a component).

    Examples::

        >>> Component((-1, 1))
        Component(f1 - f2)
        >>> Component((2, 1)).order, Component((2, 1)).is_intermodulation
        (3, True)
        >>> Component((0, 2)) == (0, 2)
        True
    """

    __slots__ = ()

    def __new__(cls, multiples: Iterable[int]) -> Component:  # noqa: D102
        if isinstance(multiples, Component):
            return multiples
        try:
            entries = tuple(multiples)
        except TypeError:  # also of a tensor without dimensions
            entries = (None,)  # type: ignore[assignment]
        if any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) for n in entries):
            raise TypeError(
                "Expected a component's multiples to be one integer per part, but got "
                f"{shown(multiples)}; (1, 1) is f1 + f2, (2, 0) the second harmonic of f1"
            )
        if not any(entries):
            raise ValueError(
                f"Expected a component with a non-zero integer, but got {entries}; "
                "that is the mean, which `TaggedSpectrum.mean` gives"
            )
        sign = 1 if next(filter(None, entries)) > 0 else -1
        return super().__new__(cls, (sign * int(n) for n in entries))

    @property
    def order(self) -> int:
        """Sum of the absolute integers; 1 for a fundamental."""
        return sum(map(abs, self))

    @property
    def parts(self) -> tuple[int, ...]:
        """Indices of the parts with a non-zero integer."""
        return tuple(part for part, n in enumerate(self) if n)

    @property
    def is_harmonic(self) -> bool:
        """Whether exactly one part has a non-zero integer."""
        return len(self.parts) == 1

    @property
    def is_intermodulation(self) -> bool:
        """Whether several parts have a non-zero integer."""
        return len(self.parts) > 1

    def __str__(self) -> str:
        return label(self)

    def __repr__(self) -> str:
        return f"Component({label(self)})"


def label(multiples: Sequence[int]) -> str:
    """Write integer multiples as neuroscientists do, positive terms first.

    Examples::

        >>> label((1, 0)), label((2, -1)), label((-1, 1))
        ('f1', '2f1 - f2', 'f2 - f1')
    """
    terms = [(n, f"{'' if abs(n) == 1 else abs(n)}f{part}") for part, n in enumerate(multiples, 1)]
    positive = [term for n, term in terms if n > 0]
    negative = [term for n, term in terms if n < 0]
    return " + ".join(positive) + "".join(f" - {term}" for term in negative)


def component_of(text: str, n_parts: int) -> Component:
    """Read what `label` wrote.

    Args:
        text: The label of a component.
        n_parts: Number of parts.

    Raises:
        ValueError: If it is no label of a component of these parts.

    Examples::

        >>> component_of("2f1 - f2", n_parts=3) == (2, -1, 0)
        True
    """
    compact = re.sub(r"\s", "", text)
    terms = re.findall(r"([+-]?)(\d*)f(\d+)", compact)
    multiples = [0] * n_parts
    for sign, times, part in terms:
        if 0 < int(part) <= n_parts:
            multiples[int(part) - 1] += int(sign + (times or "1"))
    is_whole = re.fullmatch(r"[+-]?\d*f\d+([+-]\d*f\d+)*", compact)
    if not is_whole or not all(0 < int(part) <= n_parts for *_, part in terms):
        raise ValueError(
            f"Expected the label of a component of {n_parts} part(s), as 'f1' or '2f1 - f2', but "
            f"got {shown(text)}"
        )
    return Component(multiples)


@lru_cache(maxsize=64)
def integer_vectors(n_parts: int, max_order: int) -> NDArray[np.int64]:
    """All integer vectors of ``n_parts`` entries whose absolute values sum to at most an order.

    Shape ``(n_vectors, n_parts)``, with zero and both signs. The array is cached and read-only.

    Examples::

        >>> integer_vectors(2, 1).tolist()
        [[-1, 0], [0, -1], [0, 0], [0, 1], [1, 0]]
    """
    if n_parts == 1:
        vectors = np.arange(-max_order, max_order + 1)[:, None]
    else:
        blocks = []
        for first in range(-max_order, max_order + 1):
            rest = integer_vectors(n_parts - 1, max_order - abs(first))
            blocks.append(np.insert(rest, 0, first, axis=1))
        vectors = np.concatenate(blocks)
    vectors.setflags(write=False)
    return vectors


def n_vectors(n_parts: int, max_order: int) -> int:
    """How many `integer_vectors` there are; of more than 1e30, only so many as are beyond doubt.

    Examples::

        >>> n_vectors(2, 1), n_vectors(25, 3)
        (5, 22151)
    """
    total = 0
    for j in range(min(n_parts, max_order) + 1):
        total += 2**j * math.comb(n_parts, j) * math.comb(max_order, j)
        if total > 10**30:
            break
    return total


def listed_order(max_order: int, n_parts: int) -> int:
    """An order whose components are few enough to be listed.

    Raises:
        ValueError: If they are not; the message gives the highest order that can be.
        TypeError: If the order is not an integer.
    """
    max_order = integer(max_order, "max_order", at_least=0)
    if n_vectors(n_parts, max_order) > MOST_VECTORS:
        highest = bisect.bisect_left(
            range(1, max_order), True, key=lambda m: n_vectors(n_parts, m) > MOST_VECTORS
        )
        raise ValueError(
            f"Expected `max_order` of at most {highest} for {n_parts} parts, but got {max_order}, "
            f"to which there are more than {MOST_VECTORS:,} components; name those you want"
        )
    return max_order


def in_group(component: Component, group: ComponentGroup) -> bool:
    """Whether a component belongs to a group, such as ``"fundamentals"`` (order 1).

    Raises:
        ValueError: If the group is unknown.
    """
    if group not in COMPONENT_GROUPS:
        raise ValueError(
            f"Expected `components` to be one of {', '.join(COMPONENT_GROUPS)} or a sequence of "
            f"integer tuples, but got {group!r}"
        )
    return (
        group == "all"
        or (group == "fundamentals" and component.order == 1)
        or (group == "harmonics" and component.is_harmonic)
        or (group == "intermodulations" and component.is_intermodulation)
    )


def enumerate_components(
    group: ComponentGroup, n_parts: int, max_order: int = 4
) -> tuple[Component, ...]:
    """List the components of a group, by order, then by tag.

    Args:
        group (str): ``"fundamentals"`` (order 1), ``"harmonics"`` (one part),
            ``"intermodulations"`` (several parts) or ``"all"``.
        n_parts (int): Number of tags.
        max_order (int, optional): Highest order. Default: 4

    Returns:
        tuple[Component, ...]: Never both a component and its negative.

    Raises:
        ValueError: If the group is unknown or holds nothing.

    Examples::

        >>> [str(c) for c in enumerate_components("all", 2, max_order=2)]
        ['f1', 'f2', '2f1', 'f1 + f2', 'f1 - f2', '2f2']
    """
    n_parts = integer(n_parts, "n_parts")
    max_order = listed_order(integer(max_order, "max_order"), n_parts)
    vectors = integer_vectors(n_parts, 1 if group == "fundamentals" else max_order).tolist()
    found = {c for c in map(Component, filter(any, vectors)) if in_group(c, group)}
    if not found:
        raise ValueError(
            f"Expected `components={group!r}` to name at least one component, but {n_parts} "
            f"part(s) to order {max_order} have none; intermodulations need two parts and order 2"
        )
    return tuple(sorted(found, key=lambda c: (c.order, tuple(-n for n in c))))
