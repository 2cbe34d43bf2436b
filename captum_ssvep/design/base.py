"""What every design is: contrasts to show, and weights that turn answers into components."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .components import Component, ComponentGroup, enumerate_components, label

# A group's name, or integer tuples.
ComponentSelection = ComponentGroup | Sequence[Sequence[int]]
# A DFT bin of a record in time, or the component itself where there is no time.
Line = int | tuple[int, ...]


HIGHEST_DEFAULT_ORDER = 8


class Design(ABC):
    r"""A set of frames, each with a contrast for every part, and how to read components from them.

    A network without memory answers contrasts, not time. With the contrast of part ``i`` written
    as :math:`m + a \cos \theta_i`, its answer is an even function of the phases :math:`\theta`,
    whose Fourier coefficient at a component ``n`` is

    .. math:: X_n = \sum_u w_{nu} \, y_u

    over the activations :math:`y_u` of the frames ``u``. Designs differ in where they sample the
    phases: `TaggingDesign` along the path that the tags take through a record in time,
    `ChebyshevGrid` on a grid.
    """

    # What `choose_design` calls designs of this class.
    kind: ClassVar[str]
    # Whether the frames follow each other, with lines between those of the components.
    in_time: ClassVar[bool] = False

    contrast: tuple[float, float]
    # Tag of each part in Hz, and frames per second; none without time.
    frequencies: Sequence[float] = ()
    sampling_rate: float | None = None

    @property
    def leaks(self) -> bool:
        """Whether components spill over into neighboring lines, which then are not empty."""
        return False

    @property
    @abstractmethod
    def n_parts(self) -> int:
        """Number of parts."""

    @property
    @abstractmethod
    def n_frames(self) -> int:
        """Frames of one whole showing, equal ones included."""

    @property
    @abstractmethod
    def contrasts(self) -> NDArray[np.float64]:
        """Contrast of each part in each frame, shape ``(n_frames, n_parts)``."""

    @property
    @abstractmethod
    def collision_free_order(self) -> int:
        """Highest order to which every component has a line of its own."""

    @property
    def default_order(self) -> int:
        """Order to which groups of components are read unless told otherwise.

        The highest that the design resolves, so that no line counts twice, but at most 8: a long
        record resolves thousands of components, which leave no bins for the noise.
        """
        return max(1, min(self.collision_free_order, HIGHEST_DEFAULT_ORDER))

    @property
    def period(self) -> int:
        """Frames after which the stimulus repeats."""
        return self.n_frames

    @abstractmethod
    def line(self, component: Sequence[int]) -> Line:
        """Where a component is read."""

    @abstractmethod
    def line_weights(self, lines: Sequence[Line]) -> NDArray[np.complex128]:
        """Weights of the frames in the Fourier sums, shape ``(len(lines), n_frames)``."""

    @abstractmethod
    def turn(self, component: Sequence[int]) -> complex:
        """Factor that makes a memoryless network's Fourier sum real, with the answer's sign."""

    @abstractmethod
    def power_share(self, component: Sequence[int]) -> float:
        """Variance in a component over its squared amplitude.

        1/2, as of any wave; 1 at a line which is its own mirror image, 0 at that of the mean.
        """

    @abstractmethod
    def phase_of(self, contrasts: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Phases :math:`\theta` in radians at which a part has the given contrasts."""

    @abstractmethod
    def replicate(self) -> tuple[Design, float]:
        """A design with other aliases, which tells how wrong this one is.

        Returns:
            tuple: The design, and how many times the error of this one the difference of both is.
        """

    def scale(self, component: Sequence[int]) -> float:
        """Factor from a Fourier sum to the peak amplitude."""
        return (2 if self.power_share(component) == 0.5 else 1) / self.n_frames

    def neighbors(
        self, component: Sequence[int], n_neighbors: int = 2, max_order: int = 4
    ) -> tuple[int, ...]:
        """Lines around a component's that hold no component: its noise. None without time."""
        return ()

    def collisions(
        self, components: Sequence[Component]
    ) -> list[tuple[Component, Component | None]]:
        """Components whose line also holds another of no higher order, with that other."""
        return []

    @cached_property
    def n_distinct_frames(self) -> int:
        """Frames that a deterministic network has to see: the cost of the design."""
        return len(merge_equal_frames(self.contrasts, self.line_weights([]))[0])

    def components(
        self, selection: ComponentSelection = "all", max_order: int | None = None
    ) -> tuple[Component, ...]:
        """Resolve a group's name, or integer tuples, to components of this design.

        Args:
            selection (str or sequence of tuple[int, ...], optional): ``"fundamentals"``,
                ``"harmonics"``, ``"intermodulations"``, ``"all"``, or integer tuples.
                Default: ``"all"``
            max_order (int, optional): Highest order of a group. Default: None, `default_order`

        Raises:
            ValueError: If the group is unknown, empty or a tuple does not have one integer per
                part.
            TypeError: If an entry is not an integer.
        """
        if isinstance(selection, str):
            order = self.default_order if max_order is None else max_order
            return enumerate_components(selection, self.n_parts, order)
        if any(isinstance(entries, int) for entries in selection):
            raise TypeError(
                "Expected `components` to be a group's name or a sequence of integer tuples, but "
                f"got {selection!r}; a single component is written [(1, 1)]"
            )
        components = tuple(map(Component, selection))
        wrong = [component for component in components if len(component) != self.n_parts]
        if not components or wrong:
            raise ValueError(
                f"Expected `components` to hold tuples of {self.n_parts} integers, one per part, "
                f"but got {[tuple(entries) for entries in selection]}"
            )
        return components

    def frequency(self, component: Sequence[int]) -> float | None:
        """Frequency of a component in Hz; None without time."""
        return None

    def line_frequency(self, line: Line) -> float | None:
        """Frequency in Hz at which a line lies; None without time."""
        return None

    def label(self, component: Sequence[int]) -> str:
        """Name of a component."""
        return label(component)

    def title(self, component: Sequence[int]) -> str:
        """Name of a component, and its frequency if the design has any."""
        return self.label(component)

    def to_dict(self) -> dict[str, Any]:
        """The design's kind and arguments, as JSON takes them."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Design:
        """The design of which `to_dict` gave kind and arguments."""
        arguments = dict(values)
        kind = arguments.pop("kind")
        (made,) = (design for design in Design.__subclasses__() if design.kind == kind)
        return made(**arguments)


def merge_equal_frames(
    contrasts: NDArray[np.float64], weights: NDArray[np.complex128]
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Frames that differ, with the weights of equal ones added up.

    Contrasts that agree to 1e-12 of the largest count as equal, which is exact for a deterministic
    network.

    Args:
        contrasts: Contrast of each part in each frame, shape ``(n_frames, n_parts)``.
        weights: Weights of the frames, shape ``(lines, n_frames)``.

    Returns:
        tuple: Contrasts of the distinct frames, and their weights. Exact zeros where a sum of
        weights vanishes identically.

    Examples::

        >>> frames, weights = merge_equal_frames(np.array([[0.5], [1.0], [0.5]]), np.ones((1, 3)))
        >>> frames.ravel().tolist(), weights.real.tolist()
        ([0.5, 1.0], [[2.0, 1.0]])
    """
    # Adding zero turns -0.0 into 0.0, which np.unique would keep apart.
    rounded = np.round(contrasts / np.abs(contrasts).max(), 12) + 0.0
    _, first, shown = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    merged = np.zeros((len(weights), len(first)), dtype=np.complex128)
    np.add.at(merged.T, shown.reshape(-1), weights.T)
    rounding = 1e-12 * np.abs(weights).sum(axis=1, keepdims=True)
    for values in (merged.real, merged.imag):
        values[np.abs(values) < rounding] = 0
    return contrasts[first], merged
