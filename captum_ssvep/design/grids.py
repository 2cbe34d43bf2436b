"""Tensor Chebyshev grids: designs without time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .._checks import integer
from .base import ComponentSelection, Design, Line, integers
from .components import Component

# With more, contrasts and weights alone take gigabytes.
MOST_FRAMES = 1_000_000


def can_be_run(n_parts: int, nodes: int) -> bool:
    """Whether a grid has no more than a million frames.

    Examples::

        >>> can_be_run(8, 5), can_be_run(12, 5)
        (True, False)
    """
    # The power itself could be too long a number.
    return n_parts * math.log(nodes) < math.log(MOST_FRAMES + 0.5)


@dataclass(frozen=True, repr=False)
class ChebyshevGrid(Design):
    r"""All combinations of a few contrasts per part, instead of a record in time.

    A network without memory responds to contrasts, not to time. A grid of ``nodes ** n_parts``
    frames samples its responses better than a flicker of as many frames: components mean the same
    and are more exact. A grid reads components up to the multiple ``nodes - 1`` of each part. It
    has nothing that needs time: no frequencies, no neighboring lines, no noise.

    The contrasts of a part are the Chebyshev nodes of the contrast range,

    .. math:: c_j = m + a \cos \theta_j, \quad \theta_j = \pi (2 j + 1) / (2 q), \quad j < q

    and a component's Fourier sum is the discrete cosine transform (type II) of the activations,
    :math:`X_n = \sum_u y_u \prod_i \cos n_i \theta_{ui}`. Like a record in time, it estimates the
    tensor-Chebyshev coefficient of the response. It is exact where the response is a polynomial of
    degree below ``2 q - n_i`` in the contrast of part ``i``.

    Args:
        n_parts (int, optional): Number of parts. Default: 2
        nodes (int, optional): Contrasts per part. Default: 5
        contrast (tuple of float, optional): Lowest and highest contrast. Default: (0.5, 1.0)

    Raises:
        ValueError: If a number is out of range, or there would be more than a million frames.
        TypeError: If a number is of the wrong type.

    Examples::

        >>> grid = ChebyshevGrid()
        >>> grid
        ChebyshevGrid(5 x 5 contrasts from 0.5 to 1, 25 frames, collision-free to order 4)
        >>> grid.contrasts[0].round(4).tolist()
        [0.9878, 0.9878]
    """

    kind = "grid"

    n_parts: int = 2
    nodes: int = 5
    contrast: tuple[float, float] = (0.5, 1.0)

    def _validate(self) -> None:
        super()._validate()
        object.__setattr__(self, "n_parts", integer(self.n_parts, "n_parts"))
        object.__setattr__(self, "nodes", integer(self.nodes, "nodes", at_least=2))
        if not can_be_run(self.n_parts, self.nodes):
            raise ValueError(
                f"Expected `nodes` ** `n_parts` of at most {MOST_FRAMES:,} frames, but got "
                f"{self.nodes} ** {self.n_parts}; take fewer nodes, group parts, or let "
                "`choose_design` choose tags with kind='time'"
            )

    @property
    def n_frames(self) -> int:
        """Number of frames, one for every combination of nodes."""
        return int(self.nodes**self.n_parts)

    @cached_property
    def _angles(self) -> NDArray[np.float64]:
        """Phase of each part in each frame, shape ``(n_frames, n_parts)``."""
        nodes = np.pi * (2 * np.arange(self.nodes) + 1) / (2 * self.nodes)
        return np.stack(np.meshgrid(*[nodes] * self.n_parts, indexing="ij"), -1).reshape(
            -1, self.n_parts
        )

    @cached_property
    def contrasts(self) -> NDArray[np.float64]:
        """Contrast of each part in each frame, shape ``(n_frames, n_parts)``."""
        low, high = self.contrast
        contrasts: NDArray[np.float64] = (low + high) / 2 + (high - low) / 2 * np.cos(self._angles)
        return contrasts

    @property
    def collision_free_order(self) -> int:
        """Highest order up to which every component can be read, one below the nodes per part."""
        return self.nodes - 1

    def components(
        self, selection: ComponentSelection = "all", max_order: int | None = None
    ) -> tuple[Component, ...]:
        """Like `Design.components`, but only with multiples below the number of nodes.

        Higher multiples look like lower ones at the nodes, so groups leave them out.

        Raises:
            ValueError: Also if a tuple holds a multiple that is not below the number of nodes.
        """
        components = super().components(selection, max_order)
        highest = max(abs(multiple) for component in components for multiple in component)
        if highest >= self.nodes and not isinstance(selection, str):
            raise ValueError(
                f"Expected `components` with multiples below {self.nodes}, the nodes per part of "
                f"the grid, but got {highest}; take `ChebyshevGrid({self.n_parts}, {highest + 1})`"
            )
        return tuple(c for c in components if max(map(abs, c)) < self.nodes)

    def line(self, component: Sequence[int]) -> Line:
        """The component without its signs: a grid cannot separate sums and differences."""
        return tuple(map(abs, self._multiples(component)))

    def line_weights(self, lines: Sequence[Line]) -> NDArray[np.complex128]:
        """Products of cosines, shape ``(len(lines), n_frames)``."""
        multiples = integers(lines, "lines", (self.n_parts,))[:, None]
        weights: NDArray[np.complex128] = np.cos(multiples * self._angles).prod(axis=2) + 0j
        return weights

    def replicate(self) -> tuple[Design, float]:
        """The grid with one more node per part, which has the smaller error of the two."""
        return ChebyshevGrid(self.n_parts, self.nodes + 1, self.contrast), 1.0

    def __str__(self) -> str:
        if self.n_parts == 1:
            return f"grid of {self.nodes} nodes"
        return " x ".join([str(self.nodes)] * self.n_parts) + " grid"

    def __repr__(self) -> str:
        low, high = self.contrast
        size = " x ".join([str(self.nodes)] * self.n_parts)
        return (
            f"ChebyshevGrid({size} contrasts from {low:g} to {high:g}, {self.n_frames} frames, "
            f"collision-free to order {self.collision_free_order})"
        )
