"""The response to contrast: the components of a spectrum, summed up again."""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..design import Component, Design
from ..design.base import Line


def response_surface(
    mean: Tensor,
    coefficients: Mapping[Component, Tensor],
    parts: Sequence[int],
    phases: NDArray[np.float64],
    design: Design,
) -> Tensor:
    r"""Sum the components of some parts to a function of their contrasts.

    A component with :math:`q` parts has :math:`2^{q - 1}` equal lines, its sums and differences
    (one line in a two-level design); the mean of those that are given stands for each of them.

    Args:
        mean (Tensor): Mean response, shape ``(N, *neuron)``.
        coefficients (mapping): Signed coefficient of each component, in the same shape; at least
            one.
        parts (sequence of int): The parts that vary. The components have no others.
        phases (Array): Phase in radians of every contrast.
        design (Design): The stimulus.

    Returns:
        Tensor: Shape ``(len(phases), ..., N, *neuron)``, one leading dimension per part.

    Examples::

        >>> from captum_ssvep import TaggingDesign
        >>> half, phases = {Component((1, 0)): torch.tensor([0.5])}, np.array([0, np.pi])
        >>> response_surface(torch.ones(1), half, (0,), phases, TaggingDesign()).flatten().tolist()
        [1.5, 0.5]
    """
    same: dict[tuple[int, ...], list[Tensor]] = {}
    for component, coefficient in coefficients.items():
        same.setdefault(_multiples(component), []).append(coefficient)
    surface = mean.expand(*[len(phases)] * len(parts), *mean.shape).clone()
    for multiples, equal in same.items():
        shape = reduce(np.multiply.outer, [np.cos(multiples[part] * phases) for part in parts])
        strength = design.equal_lines(multiples) * torch.stack(equal).mean(dim=0)
        surface += torch.tensordot(torch.from_numpy(shape).to(strength), strength, dims=0)
    return surface


def without_shared_lines(components: Sequence[Component], design: Design) -> list[Component]:
    """The components that share no line with the mean or with a component of lower order.

    Examples::

        >>> from captum_ssvep import TaggingDesign
        >>> without_shared_lines([Component((5, 0)), Component((0, 4))], TaggingDesign())
        [Component(4f2)]
    """
    first: dict[Line, tuple[int, ...]] = {}
    for component in sorted(components, key=lambda c: c.order):
        first.setdefault(design.line(component), _multiples(component))
    alone = [c for c in components if first[design.line(c)] == _multiples(c)]
    return [component for component in alone if design.power_share(component)]


def by_parts(
    components: Sequence[Component], design: Design
) -> dict[tuple[int, ...], tuple[Component, ...]]:
    """The components that `without_shared_lines` leaves, by the parts they hold.

    Examples::

        >>> from captum_ssvep import TaggingDesign
        >>> by_parts((Component((1, 0)), Component((2, 0)), Component((1, 1))), TaggingDesign())
        {(0,): (Component(f1), Component(2f1)), (0, 1): (Component(f1 + f2),)}
    """
    groups: dict[tuple[int, ...], tuple[Component, ...]] = {}
    for component in without_shared_lines(components, design):
        groups[component.parts] = (*groups.get(component.parts, ()), component)
    return groups


def _multiples(component: Component) -> tuple[int, ...]:
    """How often each part enters, whatever the sign."""
    return tuple(map(abs, component))
