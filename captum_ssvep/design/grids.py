"""Tensor Chebyshev grids: designs without time."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .._checks import contrast_range, integer, one_line
from .base import ComponentSelection, Design, Line
from .components import Component


@dataclass(frozen=True, repr=False)
class ChebyshevGrid(Design):
    r"""All combinations of a few contrasts of each part, instead of a record in time.

    A network without memory answers contrasts, not time, and a grid of ``nodes ** n_parts``
    frames samples its answers better than a flicker of as many frames: components mean the same
    and are nearer to the truth. They reach up to the multiple ``nodes - 1`` of each part. What
    needs time, a grid does not have: frequencies, neighboring lines, noise.

    The contrasts of a part are the Chebyshev nodes of the contrast range,

    .. math:: c_j = m + a \cos \theta_j, \quad \theta_j = \pi (2 j + 1) / (2 q), \quad j < q

    and a component's Fourier sum is the discrete cosine transform (type II) of the activations,
    :math:`X_n = \sum_u y_u \prod_i \cos n_i \theta_{ui}`. It estimates what a record in time
    does, the tensor-Chebyshev coefficient of the response, and is exact where the response is a
    polynomial of degree below ``2 q - n_i`` in the contrast of part ``i``.

    Args:
        n_parts (int, optional): Number of parts. Default: 2
        nodes (int, optional): Contrasts per part. Default: 5
        contrast (tuple of float, optional): Lowest and highest contrast. Default: (0.5, 1.0)

    Raises:
        ValueError: If a number is out of range.
        TypeError: If one is of the wrong kind.

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_parts", integer(self.n_parts, "n_parts"))
        object.__setattr__(self, "nodes", integer(self.nodes, "nodes", at_least=2))
        object.__setattr__(self, "contrast", contrast_range(self.contrast))

    @property
    def n_frames(self) -> int:
        """Frames: every combination of nodes once."""
        return int(self.nodes**self.n_parts)

    @cached_property
    def _angles(self) -> NDArray[np.float64]:
        """Phase of each part in each frame, shape ``(n_frames, n_parts)``."""
        nodes = np.pi * (2 * np.arange(self.nodes) + 1) / (2 * self.nodes)
        return np.array(list(itertools.product(nodes, repeat=self.n_parts)))

    @cached_property
    def contrasts(self) -> NDArray[np.float64]:
        """Contrast of each part in each frame, shape ``(n_frames, n_parts)``."""
        low, high = self.contrast
        contrasts: NDArray[np.float64] = (low + high) / 2 + (high - low) / 2 * np.cos(self._angles)
        return contrasts

    @property
    def collision_free_order(self) -> int:
        """Highest order to which every component can be read, one less than the nodes."""
        return self.nodes - 1

    def components(
        self, selection: ComponentSelection = "all", max_order: int | None = None
    ) -> tuple[Component, ...]:
        """As `Design.components`, with multiples that the nodes tell from lower ones.

        Groups hold the components to an order that the grid can read.

        Raises:
            ValueError: Also if a tuple holds a multiple that is not below the number of nodes.
        """
        components = super().components(selection, max_order)
        readable = tuple(c for c in components if max(map(abs, c)) < self.nodes)
        if isinstance(selection, str) or len(readable) == len(components):
            return readable
        highest = max(abs(multiple) for component in components for multiple in component)
        raise ValueError(
            f"Expected `components` with multiples below {self.nodes}, the nodes per part of the "
            f"grid, but got {highest}; take `ChebyshevGrid(nodes={highest + 1})`"
        )

    def line(self, component: Sequence[int]) -> Line:
        """The component without its signs: a grid reads sums and differences alike."""
        return tuple(map(abs, component))

    def line_weights(self, lines: Sequence[Line]) -> NDArray[np.complex128]:
        """Products of cosines, shape ``(len(lines), n_frames)``."""
        multiples = np.reshape(lines, (-1, 1, self.n_parts))
        weights: NDArray[np.complex128] = np.cos(multiples * self._angles).prod(axis=2) + 0j
        return weights

    def turn(self, component: Sequence[int]) -> complex:
        """1: the Fourier sums are real."""
        return 1.0

    def power_share(self, component: Sequence[int]) -> float:
        """1/2: below the number of nodes, no component is its own mirror image."""
        return 0.5

    def phase_of(self, contrasts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Phases in radians at which a part has the given contrasts: the arc cosine."""
        return arc_cosine(contrasts, self.contrast)

    def replicate(self) -> tuple[Design, float]:
        """The grid with one more node per part, whose own error is the smaller one."""
        return ChebyshevGrid(self.n_parts, self.nodes + 1, self.contrast), 1.0

    def __str__(self) -> str:
        if self.n_parts == 1:
            return f"grid of {self.nodes} nodes"
        return " x ".join([str(self.nodes)] * self.n_parts) + " grid"

    def __repr__(self) -> str:
        low, high = self.contrast
        return one_line(
            "ChebyshevGrid",
            f"{' x '.join([str(self.nodes)] * self.n_parts)} contrasts from {low:g} to {high:g}",
            f"{self.n_frames} frames",
            f"collision-free to order {self.collision_free_order}",
        )


def arc_cosine(
    contrasts: NDArray[np.float64], contrast: tuple[float, float]
) -> NDArray[np.float64]:
    """Phases at which a cosine through a contrast range has the given contrasts.

    Examples::

        >>> arc_cosine(np.array([1.0, 0.75, 0.5]), (0.5, 1.0)) / np.pi
        array([0. , 0.5, 1. ])
    """
    low, high = contrast
    level = (2 * contrasts - low - high) / (high - low)
    phases: NDArray[np.float64] = np.arccos(np.clip(level, -1, 1))
    return phases
