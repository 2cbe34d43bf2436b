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
) -> Tensor:
    r"""Sum the components of some parts to a function of their contrasts.

    A component with :math:`q` parts has :math:`2^{q - 1}` equal lines, its sums and differences;
    the mean of those that are given stands for each of them.

    Args:
        mean (Tensor): Mean response, shape ``(N, *neuron)``.
        coefficients (mapping): Signed coefficient of each component, in the same shape; at least
            one.
        parts (sequence of int): The parts that vary. The components have no others.
        phases (Array): Phase in radians of every contrast.

    Returns:
        Tensor: Shape ``(len(phases), ..., N, *neuron)``, one leading dimension per part.

    Examples::

        >>> half = {Component((1, 0)): torch.tensor([0.5])}
        >>> response_surface(torch.ones(1), half, (0,), np.array([0, np.pi])).flatten().tolist()
        [1.5, 0.5]
    """
    same: dict[tuple[int, ...], list[Tensor]] = {}
    for component, coefficient in coefficients.items():
        same.setdefault(_multiples(component), []).append(coefficient)
    surface = mean.expand(*[len(phases)] * len(parts), *mean.shape).clone()
    for multiples, equal in same.items():
        shape = reduce(np.multiply.outer, [np.cos(multiples[part] * phases) for part in parts])
        n_lines = 2 ** (sum(map(bool, multiples)) - 1)
        strength = n_lines * torch.stack(equal).mean(dim=0)
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


def _multiples(component: Component) -> tuple[int, ...]:
    """How often each part enters, whatever the sign."""
    return tuple(map(abs, component))
