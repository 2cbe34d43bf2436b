"""Two-level designs: every part is shown or not, in a fraction of all combinations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .._checks import count, integer, shown
from .base import Collision, ComponentSelection, Design, Line, integers
from .components import Component, in_group, label
from .fractions import (
    MOST_FRAMES,
    fewest_parts,
    find_columns,
    lowest_orders,
    n_products,
    rotation_to_other_words,
    shortest_words,
    signs,
)

# Frames times parts, or times components: weights of more take gigabytes.
MOST_WEIGHTS = 2**25


@dataclass(frozen=True, repr=False)
class TwoLevelDesign(Design):
    r"""Every part at its highest or lowest contrast, in a fraction of all combinations.

    With contrasts 0 and 1 every part is shown or not. Part ``i`` has a column :math:`g_i`, an
    integer below :math:`2^k`, and in frame ``u`` of :math:`2^k` the sign

    .. math:: s_i(u) = (-1)^{\mathrm{popcount}(u \wedge g_i)}

    with +1 for the highest contrast, so that frame 0 shows everything. No XOR of up to
    ``2 * max_order`` columns is zero (resolution ``2 * max_order + 1``; Box and Hunter 1961). So no
    two components up to ``max_order`` have the same product of signs, and each coefficient is the
    mean of the products of signs and answers, as in the Walsh transform. It is exact where the
    response has no components above ``max_order``. Components are subsets of the parts: entries
    are 0 or 1, and the effect of switching a pair, ``r(hh) - r(hl) - r(lh) + r(ll)``, is four times
    its coefficient.

    Frames are as few as in Sanchez and Sanchez (2005): for order 2, 5 parts take 16 frames, 6 take
    32, 8 take 64, 11 take 128, 17 take 256, 21 take 512, 29 take 1024, 52 take 4096 and 64 take
    8192. All combinations are shown once ``2 * max_order >= n_parts``. Among columns for as many
    frames, those are preferred that have few words, which make aliases.

    What it gives up: parts are on or off, so that there is no response to contrasts in between, and
    all odd orders of a part count as its first, all even ones as none.

    Args:
        n_parts (int, optional): Number of parts. Default: 2
        max_order (int, optional): Components up to this order can be told apart. Default: 2
        contrast (tuple of float, optional): Lowest and highest contrast. Default: (0.0, 1.0)
        mirrored (sequence of int, optional): Parts whose two contrasts change places; `replicate`
            sets it. Default: none
        rotation (int, optional): By how many places columns are shifted among the parts;
            `replicate` sets it. Default: 0

    Raises:
        ValueError: If a number is out of range, or there would be more than 65,536 frames.
        TypeError: If a number is of the wrong type.

    Examples::

        >>> design = TwoLevelDesign(9)
        >>> design
        TwoLevelDesign(9 parts at contrast 0 or 1, 128 frames, collision-free to order 2)
        >>> TwoLevelDesign(2).contrasts.tolist()
        [[1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
    """

    kind = "two-level"

    n_parts: int = 2
    max_order: int = 2
    contrast: tuple[float, float] = (0.0, 1.0)
    mirrored: Sequence[int] = ()
    rotation: int = 0

    def _validate(self) -> None:
        super()._validate()
        object.__setattr__(self, "n_parts", integer(self.n_parts, "n_parts"))
        object.__setattr__(self, "max_order", integer(self.max_order, "max_order"))
        mirrored = tuple(sorted(integers(self.mirrored, "mirrored", ()).tolist()))
        object.__setattr__(self, "mirrored", mirrored)
        object.__setattr__(self, "rotation", integer(self.rotation, "rotation", at_least=0))
        # The smallest power of two with a line for each component.
        n_frames = 2 ** (n_products(self.n_parts, self.max_order) - 1).bit_length()
        fits = n_frames <= MOST_FRAMES and self.n_parts * n_frames <= MOST_WEIGHTS
        if not fits or not self.columns:
            raise ValueError(
                "Expected `n_parts` and `max_order` of a two-level design of at most "
                f"{MOST_FRAMES:,} frames that fit into memory, but {count(self.n_parts, 'part')} "
                f"to order {self.max_order} take more; lower `max_order`, or group parts"
            )
        if len({*mirrored} & {*range(self.n_parts)}) < len(mirrored):
            raise ValueError(
                f"Expected `mirrored` to hold different parts among 0 to {self.n_parts - 1}, but "
                f"got {shown(mirrored)}; leave it out, as `replicate` sets it"
            )

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """Column of each part, an integer below the number of frames."""
        columns = find_columns(self.n_parts, min(2 * self.max_order, self.n_parts)) or ()
        first = -self.rotation % self.n_parts
        return columns[first:] + columns[:first]

    @property
    def n_frames(self) -> int:
        """Number of frames, a power of two."""
        return int(2 ** max(self.columns).bit_length())

    @cached_property
    def contrasts(self) -> NDArray[np.float64]:
        """Contrast of each part in each frame, shape ``(n_frames, n_parts)``."""
        low, high = self.contrast
        shown_high = signs(np.array(self.columns, dtype=np.int64), self.n_frames).T > 0
        shown_high[:, list(self.mirrored)] ^= True
        return np.where(shown_high, high, low)

    @cached_property
    def collision_free_order(self) -> int:
        """Highest order up to which every component has a line of its own.

        This is ``(d - 1) // 2`` with the shortest word of ``d`` parts, or the number of parts if
        all combinations are shown.
        """
        shortest = shortest_words(self.columns, self.n_frames)
        return self.n_parts if shortest is None else (shortest[0] - 1) // 2

    @property
    def default_order(self) -> int:
        """Highest order of the components in a group by default, which is `collision_free_order`.

        Lower where there would be too many components for the memory.
        """
        return min(self.collision_free_order, self._listed_order)

    @cached_property
    def _listed_order(self) -> int:
        """Highest order whose components are few enough to be listed."""
        total = 0
        for order in range(1, self.n_parts + 1):
            total += math.comb(self.n_parts, order)
            if total * self.n_frames > MOST_WEIGHTS:
                return order - 1
        return self.n_parts

    def components(
        self, selection: ComponentSelection = "all", max_order: int | None = None
    ) -> tuple[Component, ...]:
        """Like `Design.components`, but with entries 0 and 1 only: the subsets of the parts.

        Raises:
            ValueError: Also if a tuple has other entries, or a group too many components.
        """
        if not isinstance(selection, str):
            return super().components(selection, max_order)
        highest = self.default_order if max_order is None else integer(max_order, "max_order")
        highest = min(highest, self.n_parts)
        orders = [m for m in range(1, highest + 1) if in_group(Component([1] * m), selection)]
        if not orders:
            raise ValueError(
                f"Expected `components={selection!r}` to name at least one component, but "
                f"{count(self.n_parts, 'part')} to order {highest} have none; intermodulations "
                "need two parts and order 2"
            )
        if orders[-1] > self._listed_order:
            raise ValueError(
                f"Expected `max_order` of at most {self._listed_order} for a {self}, but got "
                f"{max_order}, to which weights take gigabytes; name the components you want"
            )
        return tuple(
            self._component(parts)
            for order in orders
            for parts in combinations(range(self.n_parts), order)
        )

    def _component(self, parts: Sequence[int]) -> Component:
        held = set(parts)
        return Component(int(part in held) for part in range(self.n_parts))

    def _multiples(self, component: Sequence[int]) -> tuple[int, ...]:
        multiples = super()._multiples(component)
        if not {0, 1}.issuperset(multiples):
            multiples = tuple(Component(multiples))  # -f1 - f2 is f1 + f2
        if not {0, 1}.issuperset(multiples):
            raise ValueError(
                "Expected `components` with entries 0 and 1, as two contrasts cannot tell "
                f"harmonics and differences apart, but got {label(multiples)}; take "
                "`ChebyshevGrid` or tags to read them"
            )
        return multiples

    def line(self, component: Sequence[int]) -> int:
        """The XOR of the columns of its parts.

        Examples::

            >>> TwoLevelDesign(5).columns, TwoLevelDesign(5).line((1, 0, 0, 0, 1))
            ((1, 2, 4, 8, 15), 14)
        """
        line = 0
        for multiple, column in zip(self._multiples(component), self.columns, strict=True):
            line ^= multiple * column
        return line

    def line_weights(self, lines: Sequence[Line]) -> NDArray[np.complex128]:
        """Products of signs, shape ``(len(lines), n_frames)``."""
        return signs(integers(lines, "lines", ()), self.n_frames).astype(np.complex128)

    def turn(self, component: Sequence[int]) -> complex:
        """-1 if an odd number of its parts are mirrored, otherwise 1."""
        multiples = self._multiples(component)
        return -1.0 if sum(multiples[part] for part in self.mirrored) % 2 else 1.0

    def power_share(self, component: Sequence[int]) -> float:
        """Variance of a component divided by its squared amplitude: 1; 0 at the mean's line."""
        return 1.0 if self.line(component) else 0.0

    def equal_lines(self, component: Sequence[int]) -> int:
        """1: there are no differences."""
        self._multiples(component)
        return 1

    def collisions(self, components: Sequence[Component]) -> list[Collision]:
        """Components that share their line with another of no higher order, and that other.

        Returns:
            list: Pairs of the component and the lowest-order one on the same line. None stands for
            the mean.

        Examples::

            >>> design = TwoLevelDesign(5)
            >>> design.collisions([(1, 1, 0, 0, 0), (1, 1, 1, 0, 0)])
            [(Component(f1 + f2 + f3), Component(f4 + f5))]
        """
        found: list[Collision] = []
        for component in self.components(components):
            if component.order <= self.collision_free_order:
                continue
            parts = self._lowest_other(component)
            if parts is not None:
                found.append((component, self._component(parts) if parts else None))
        return found

    def _lowest_other(self, component: Component) -> tuple[int, ...] | None:
        """Parts of the lowest-order other component on the line; None if all have higher orders."""
        line, orders = self.line(component), self._lowest_orders
        if orders[line] < component.order:
            return fewest_parts(line, self.columns, orders)
        # Another of equal order has a part that this one lacks.
        for part, column in enumerate(self.columns):
            if not component[part] and orders[line ^ column] < component.order:
                return part, *fewest_parts(line ^ column, self.columns, orders)
        return None

    @cached_property
    def _lowest_orders(self) -> NDArray[np.int64]:
        return lowest_orders(self.columns, self.n_frames)

    def replicate(self) -> tuple[Design, float]:
        r"""A fraction with other words, so that every component has other aliases.

        Columns are shifted among the parts, which makes other words of them: the difference of the
        two designs is then :math:`\sqrt 2` times the error. A single word of all parts stays as it
        is; then a part is mirrored, which turns its aliases around, and the difference is twice the
        error. All combinations together have no aliases.
        """
        n_words = 2 ** (self.n_parts - self.n_frames.bit_length() + 1) - 1
        if n_words == 0:
            return self, 1.0
        if n_words == 1:
            return replace(self, mirrored=tuple({*self.mirrored} ^ {0})), 2.0
        places, share_kept = rotation_to_other_words(self.columns, self.n_frames)
        rotation = (self.rotation + places) % self.n_parts
        return replace(self, rotation=rotation), math.sqrt(2 * (1 - share_kept))

    def __str__(self) -> str:
        return f"two-level design of {count(self.n_parts, 'part')}"

    def __repr__(self) -> str:
        low, high = self.contrast
        changes = f", mirrored {', '.join(map(str, self.mirrored))}" if self.mirrored else ""
        changes += f", rotated by {self.rotation}" if self.rotation else ""
        return (
            f"TwoLevelDesign({count(self.n_parts, 'part')} at contrast {low:g} or {high:g}, "
            f"{self.n_frames} frames, collision-free to order {self.collision_free_order}"
            f"{changes})"
        )
