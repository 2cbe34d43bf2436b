"""What every design has: contrasts to show, and weights that turn responses into components."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._checks import contrast_range, shown, warn_user
from .components import Component, ComponentGroup, enumerate_components, label
from .distinct import merge_equal_frames

# The name of a group, or integer tuples.
ComponentSelection = ComponentGroup | Sequence[Sequence[int]]
# A DFT bin of a record in time, or the component itself where there is no time.
Line = int | tuple[int, ...]
# A component, and another on its line; None stands for the mean.
Collision = tuple[Component, Component | None]


class Design(ABC):
    r"""A set of frames, each with a contrast for every part, and how to read components from them.

    A network without memory responds to contrasts, not to time. Write the contrast of part ``i``
    as :math:`m + a \cos \theta_i`. The response is then an even function of the phases
    :math:`\theta`, and its Fourier coefficient at a component ``n`` is

    .. math:: X_n = \sum_u w_{nu} \, y_u

    over the activations :math:`y_u` of the frames ``u``. Designs differ in where they sample the
    phases: `TaggingDesign` along the path that the tags take through a record in time,
    `ChebyshevGrid` on a grid, `TwoLevelDesign` at 0 and :math:`\pi` alone.
    """

    # What `to_dict` calls designs of this class.
    kind: ClassVar[str]
    # Whether frames have an order in time, with empty lines between those of the components.
    in_time: ClassVar[bool] = False

    contrast: tuple[float, float]
    # Tag of each part in Hz, and frames per second; empty and None without time.
    frequencies: Sequence[float] = ()
    sampling_rate: float | None = None

    def __post_init__(self) -> None:
        self._validate()
        for caution in self._cautions():
            warn_user(caution)

    def _validate(self) -> None:
        """Bring the fields into their final form, and refuse what cannot be."""
        object.__setattr__(self, "contrast", contrast_range(self.contrast))

    def _cautions(self) -> list[str]:
        """What might be wrong, to be told once, when the user makes the design."""
        return []

    @classmethod
    def _rebuilt(cls, values: Mapping[str, Any]) -> Design:
        """A design like one that was made before: checked again, but without warnings."""
        names = {field.name for field in fields(cls)}  # type: ignore[arg-type]  # a dataclass
        if unknown := sorted(set(values) - names):
            near = difflib.get_close_matches(unknown[0], names, 1)
            nearest = f" (nearest: {near[0]})" if near else ""
            raise ValueError(
                f"Expected `values` of a {cls.__name__} as `to_dict` gives them, but got "
                f"{', '.join(unknown)}{nearest}; it takes {', '.join(sorted(names))}"
            )
        design = object.__new__(cls)
        for name, value in values.items():
            object.__setattr__(design, name, value)
        design._validate()
        return design

    @property
    def leaks(self) -> bool:
        """Whether components leak into neighboring lines, which are then not empty."""
        return False

    @property
    @abstractmethod
    def n_parts(self) -> int:
        """Number of parts."""

    @property
    @abstractmethod
    def n_frames(self) -> int:
        """Frames of the whole stimulus, including equal ones."""

    @property
    @abstractmethod
    def contrasts(self) -> NDArray[np.float64]:
        """Contrast of each part in each frame, shape ``(n_frames, n_parts)``."""

    @property
    @abstractmethod
    def collision_free_order(self) -> int:
        """Highest order up to which every component has a line of its own."""

    @property
    def default_order(self) -> int:
        """Highest order of the components in a group, by default.

        This is the highest order that the design resolves, so that no line counts twice, but at
        most 8: a long record resolves thousands of components, which leave no bins for the noise.
        """
        return max(1, min(self.collision_free_order, 8))

    @property
    def period(self) -> int:
        """Frames after which the stimulus repeats."""
        return self.n_frames

    @abstractmethod
    def line(self, component: Sequence[int]) -> Line:
        """The line at which a component is read."""

    @abstractmethod
    def line_weights(self, lines: Sequence[Line]) -> NDArray[np.complex128]:
        """Weights of the frames in the Fourier sums, shape ``(len(lines), n_frames)``."""

    def turn(self, component: Sequence[int]) -> complex:
        """Factor that makes a memoryless network's Fourier sum real, with the response's sign."""
        return 1.0

    def power_share(self, component: Sequence[int]) -> float:
        """Variance of a component divided by its squared amplitude.

        1/2, as for any wave; 1 on a line that is its own mirror image, 0 on the line of the mean.
        """
        return 0.5

    def phase_of(self, contrasts: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Phases :math:`\theta` in radians at which a part has the given contrasts.

        0 at the highest contrast, :math:`\pi` at the lowest.
        """
        low, high = self.contrast
        waves = (2 * numbers(contrasts, "contrasts") - low - high) / (high - low)
        return np.asarray(np.arccos(np.clip(waves, -1, 1)))

    @abstractmethod
    def replicate(self) -> tuple[Design, float]:
        """A design with other aliases, which shows how large the error of this one is.

        Returns:
            tuple: The design, and the factor by which the difference of the two exceeds the error
            of this one.
        """

    def scale(self, component: Sequence[int]) -> float:
        """Factor from a Fourier sum to the peak amplitude."""
        return (2 if self.power_share(component) == 0.5 else 1) / self.n_frames

    def equal_lines(self, component: Sequence[int]) -> int:
        """How many lines, its sums and differences, hold the same response.

        Examples::

            >>> from captum_ssvep import ChebyshevGrid
            >>> ChebyshevGrid(3).equal_lines((1, 2, 0))  # f1 + 2f2 and f1 - 2f2
            2
        """
        return int(2 ** (sum(map(bool, self._multiples(component))) - 1))

    def neighbors(
        self, component: Sequence[int], n_neighbors: int = 2, max_order: int = 4
    ) -> tuple[int, ...]:
        """Lines around a component's line that hold only noise; empty without time."""
        return ()

    def collisions(self, components: Sequence[Component]) -> list[Collision]:
        """Components that share their line with another of no higher order, and that other."""
        return []

    @cached_property
    def n_distinct_frames(self) -> int:
        """Frames that a deterministic network has to run, which is the cost of the design."""
        return len(merge_equal_frames(self.contrasts, self.line_weights([]))[0])

    def components(
        self, selection: ComponentSelection = "all", max_order: int | None = None
    ) -> tuple[Component, ...]:
        """Resolve the name of a group, or integer tuples, to components of this design.

        Args:
            selection (str or sequence of tuple[int, ...], optional): ``"fundamentals"``,
                ``"harmonics"``, ``"intermodulations"``, ``"all"``, or integer tuples.
                Default: ``"all"``
            max_order (int, optional): Highest order of a group. Default: None, `default_order`

        Raises:
            ValueError: If the group is unknown or empty, or a tuple does not have one integer per
                part.
            TypeError: If an entry is not an integer.
        """
        if isinstance(selection, str):
            order = self.default_order if max_order is None else max_order
            return enumerate_components(selection, self.n_parts, order)
        try:
            entries = tuple(selection)
        except TypeError:  # also of a tensor without dimensions
            entries = (0,)  # type: ignore[assignment]
        if not all(isinstance(n, Iterable) and not isinstance(n, str) for n in entries):
            raise TypeError(
                "Expected `components` to be a group's name or a sequence of integer tuples, but "
                f"got {shown(selection)}; a single component is written [(1, 1)]"
            )
        components = tuple(map(Component, entries))
        if not components:
            raise ValueError(
                f"Expected `components` to hold tuples of {self.n_parts} integers, but got none"
            )
        for component in components:
            self._multiples(component)
        return components

    def _multiples(self, component: Sequence[int]) -> tuple[int, ...]:
        """The integers of a component, with their signs, one for each part of this design."""
        checked = Component(component)
        if len(checked) != self.n_parts:
            raise ValueError(
                f"Expected `components` to hold tuples of {self.n_parts} integers, one per part, "
                f"but got {shown(tuple(component))}"
            )
        return tuple(component)

    def frequency(self, component: Sequence[int]) -> float | None:
        """Frequency of a component in Hz; None without time."""
        return None

    def line_frequency(self, line: Line) -> float | None:
        """Frequency of a line in Hz; None without time."""
        return None

    def label(self, component: Sequence[int]) -> str:
        """Name of a component."""
        return label(self._multiples(component))

    def title(self, component: Sequence[int]) -> str:
        """Name of a component, with its frequency if the design is in time.

        Examples::

            >>> from captum_ssvep import ChebyshevGrid, TaggingDesign
            >>> TaggingDesign().title((1, -1)), ChebyshevGrid().title((1, -1))
            ('f2 - f1 = 1.5 Hz', 'f1 - f2')
        """
        frequency = self.frequency(component)
        return self.label(component) + ("" if frequency is None else f" = {frequency:g} Hz")

    def to_dict(self) -> dict[str, Any]:
        """Kind and arguments of the design, ready for JSON."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Design:
        """The design with the kind and arguments that `to_dict` gave."""
        designs = {getattr(made, "kind", None): made for made in Design.__subclasses__()}
        kind = values.get("kind") if isinstance(values, Mapping) else None
        if not isinstance(kind, str) or kind not in designs:
            raise ValueError(
                f"Expected `values` to be a dictionary that `to_dict` gave, but got {shown(values)}"
            )
        return designs[kind]._rebuilt({k: v for k, v in values.items() if k != "kind"})


def numbers(values: Any, name: str) -> NDArray[np.float64]:
    """An array of finite numbers.

    Raises:
        TypeError, ValueError: If the values are none; ``name`` is the argument in the message.
    """
    array = _array(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"Expected `{name}` to hold numbers, but got {shown(values)}")
    if not np.isfinite(array).all():
        raise ValueError(f"Expected `{name}` to be finite, but got {shown(values)}")
    return array.astype(np.float64)


def integers(values: Any, name: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """An array of integers with any number of rows of a shape.

    Raises:
        TypeError: If the values are none; ``name`` is the argument in the message.
    """
    array = _array(values)
    if array.size and (array.dtype.kind not in "iu" or array.shape[1:] != shape or not array.ndim):
        entries = f"{shape[0]} integers each" if shape else "integers"
        raise TypeError(f"Expected `{name}` to hold {entries}, but got {shown(values)}")
    return array.astype(np.int64).reshape(-1, *shape)


def _array(values: Any) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (TypeError, ValueError):  # such as lists of unequal lengths
        return np.array(None)
