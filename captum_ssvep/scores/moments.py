"""Mean and variance of what comes in pieces."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Moments:
    r"""Count, mean and squared deviations of examples, which add up over disjoint sets of them.

    .. math::
        \bar x = \bar x_a + \delta \frac{n_b}{n}, \quad
        S = S_a + S_b + \delta^2 \frac{n_a n_b}{n}, \quad \delta = \bar x_b - \bar x_a

    (Welford 1962; Chan, Golub and LeVeque 1983). Any order and any pieces give the same to
    rounding, and a large mean costs far less precision than with sums of squares.

    Args:
        count (int): Number of examples.
        mean (Tensor): Their mean, float64.
        deviations (Tensor): Sum of the squared deviations from it, likewise.

    Examples::

        >>> values = torch.tensor([1.0, 2.0, 6.0])
        >>> both = Moments.of(values[:2]) + Moments.of(values[2:])
        >>> both.count, both.mean.item(), both.variance.item()
        (3, 3.0, 7.0)
    """

    count: int
    mean: Tensor
    deviations: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Moments:
        """The moments of examples along dimension 0, of which there is at least one."""
        doubles = values.to("cpu", torch.float64)
        mean = doubles.mean(0)
        return cls(len(doubles), mean, (doubles - mean).square().sum(0))

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        delta = other.mean - self.mean
        return Moments(
            count,
            self.mean + delta * (other.count / count),
            self.deviations
            + other.deviations
            + delta.square() * (self.count * other.count / count),
        )

    @property
    def variance(self) -> Tensor:
        """Unbiased variance over examples; NaN for a single one."""
        if self.count == 1:
            return torch.full_like(self.mean, torch.nan)
        return self.deviations / (self.count - 1)
