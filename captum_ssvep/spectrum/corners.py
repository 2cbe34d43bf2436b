r"""The table of four corners: the answers with two parts at their highest or lowest contrast.

All functions take a table of shape ``(2, 2, ...)``: the first index is the contrast of one part,
the second that of the other, lowest first. They depend on differences alone, so that what is the
same in all corners need not be in the table.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from .._checks import integer, shown
from ..design import Component, Design
from .contrast import by_parts

# Below this share of the way up or down, AND and OR mean nothing: XOR, but also a - b.
LEAST_MONOTONICITY = 0.1


def corner_weights(
    components: tuple[Component, ...], design: Design, parts: Sequence[int]
) -> tuple[list[int], Tensor]:
    """How the signed coefficients of components add up to the table of two parts.

    Args:
        components: Those of a spectrum.
        design: Its stimulus.
        parts: Two parts.

    Returns:
        tuple: Rows of the components that count, and their weights, shape ``(2, 2, rows)``.

    Raises:
        ValueError: If there are not two parts, or no components of each and of both.
        TypeError: If the parts are no integers.

    Examples::

        >>> from captum_ssvep import TwoLevelDesign
        >>> design = TwoLevelDesign(2)
        >>> rows, weights = corner_weights(design.components(), design, (0, 1))
        >>> rows, weights[1, 0].tolist()  # the first part at its highest contrast
        ([0, 1, 2], [1.0, -1.0, -1.0])
    """
    first, second = pair = as_pair(parts)
    tables = corner_tables(components, design)
    if (min(pair), max(pair)) not in tables:
        remedy = "compute it with components='all' and a `max_order` of at least 2"
        if tables:
            remedy = f"it has those of {next(iter(tables))}, for example"
        raise ValueError(
            "Expected `parts` to be two with components of each and of both in the spectrum, but "
            f"got {pair}; {remedy}"
        )
    rows, weights = tables[min(pair), max(pair)]
    return rows, weights if first < second else weights.transpose(0, 1)


def as_pair(parts: Sequence[int]) -> tuple[int, int]:
    """Two different parts, as plain integers.

    Raises:
        ValueError, TypeError: If they are not.
    """
    if not isinstance(parts, (tuple, list)):
        raise TypeError(f"Expected `parts` to be two, as in (0, 1), but got {shown(parts)}")
    pair = tuple(integer(part, "parts", at_least=0) for part in parts)
    if len(pair) != 2 or pair[0] == pair[1]:
        raise ValueError(f"Expected `parts` to be two different ones, but got {shown(parts)}")
    return pair


@lru_cache(maxsize=16)
def corner_tables(
    components: tuple[Component, ...], design: Design
) -> dict[tuple[int, int], tuple[list[int], Tensor]]:
    r"""Rows and weights as `corner_weights` gives them, for every pair with components.

    .. math:: r(c_i, c_j) - \overline{r} = \sum_n C_n \cos n_i \theta_i \cos n_j \theta_j

    over the components of these parts alone, at :math:`\theta = \pi` (lowest contrast) and 0. A
    component stands for all its equal lines; of several that are given, each for a part of them.

    Examples::

        >>> from captum_ssvep import ChebyshevGrid
        >>> list(corner_tables(ChebyshevGrid(3).components("all", max_order=2), ChebyshevGrid(3)))
        [(0, 1), (0, 2), (1, 2)]
    """
    places = {component: row for row, component in enumerate(components)}
    # At the Nyquist frequency a component cannot be told from its mirror image.
    clear = [c for c in components if not (design.in_time and design.power_share(c) == 1)]
    held = by_parts(clear, design)
    tables = {}
    for i, j in combinations(range(design.n_parts), 2):
        groups = [held.get(parts, ()) for parts in ((i,), (j,), (i, j))]
        # Each of them begins with the lowest order. Without that, the others mean nothing.
        if not all(
            min((c.order - len(c.parts) for c in group), default=1) == 0 for group in groups
        ):
            continue
        counting = [component for group in groups for component in group]
        multiples = np.abs(np.array(counting))[:, [i, j]]
        equal = Counter(map(tuple, multiples.tolist()))
        lines = [
            design.equal_lines(component) / equal[n, m]
            for component, (n, m) in zip(counting, multiples.tolist(), strict=True)
        ]
        lowest = (-1.0) ** multiples
        signs = np.stack([lowest, np.ones_like(lowest)])
        weights = lines * signs[:, None, :, 0] * signs[None, :, :, 1]
        tables[i, j] = [places[component] for component in counting], torch.from_numpy(weights)
    return tables


def main_effects(table: Tensor) -> Tensor:
    r"""What each part adds to the answer, averaged over both contrasts of the other.

    Returns:
        Tensor: Shape ``(2, ...)``: :math:`(r_{hh} + r_{hl} - r_{lh} - r_{ll}) / 2` and the same of
        the other part; with contrasts 0 and 1, Banzhaf's values.

    Examples::

        >>> main_effects(torch.tensor([[0.0, 2.0], [1.0, 3.0]])).tolist()  # a + 2 b
        [1.0, 2.0]
    """
    first = table[1] - table[0]
    second = table[:, 1] - table[:, 0]
    return torch.stack([first.mean(dim=0), second.mean(dim=0)])


def interaction_effect(table: Tensor) -> Tensor:
    r"""By how much the answer to both parts exceeds what each adds alone.

    Returns:
        Tensor: Shape ``(...)``: :math:`D = r_{hh} - r_{hl} - r_{lh} + r_{ll}`; with contrasts 0
        and 1, Banzhaf's interaction index (Grabisch and Roubens 1999).

    Examples::

        >>> interaction_effect(torch.tensor([[0.0, 0.0], [0.0, 1.0]])).item()  # a b
        1.0
    """
    return (table[1, 1] - table[1, 0]) - (table[0, 1] - table[0, 0])


def monotonicity(table: Tensor) -> Tensor:
    r"""Whether more contrast raises the answer (1) or lowers it (-1), whatever the other part does.

    Returns:
        Tensor: Shape ``(...)``: :math:`\mu = T / S` with :math:`T = r_{hh} - r_{ll}` and
        :math:`S` half the sum of the absolute differences along the four edges of the table; NaN
        where all four are zero.

    Examples::

        >>> monotonicity(torch.tensor([[1.0, 1.0], [1.0, 0.0]])).item()  # 1 - a b
        -1.0
    """
    return (table[1, 1] - table[0, 0]) / path_length(table)


def path_length(table: Tensor) -> Tensor:
    """Half the sum of the absolute differences along the four edges of the table."""
    along_first, along_second = table[1] - table[0], table[:, 1] - table[:, 0]
    return (along_first.abs().sum(dim=0) + along_second.abs().sum(dim=0)) / 2


def and_or_index(table: Tensor) -> Tensor:
    r"""Whether both parts are needed (AND, 1), add up (0), or either will do (OR, -1).

    Returns:
        Tensor: Shape ``(...)``: :math:`\kappa = \mathrm{sign}(T) D / S`, with :math:`D` of
        `interaction_effect`, :math:`T` and :math:`S` of `monotonicity`; NaN where the absolute
        `monotonicity` is below 0.1.

    Examples::

        >>> and_or_index(torch.tensor([[0.0, 1.0], [1.0, 1.0]])).item()  # max(a, b)
        -1.0
    """
    rising = monotonicity(table)
    index = rising.sign() * interaction_effect(table) / path_length(table)
    return index.where(rising.abs() >= LEAST_MONOTONICITY, torch.nan)
