"""What it takes to compute a spectrum: the frames to run and the lines to sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import integer, number, warn_user
from ..design import Component, ComponentSelection, Design
from ..design.base import Line
from ..design.distinct import merge_equal_frames
from ..stimulus.frames import design_or_default
from .statistics import STATISTICS, Statistic
from .sums import FourierSums, RecordSums
from .whole import lattice_bins, power_of_lines

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class SpectrumPlan:
    """Which frames to run and which lines to compute for a spectrum.

    Args:
        design (Design): The stimulus.
        components (tuple[Component, ...]): The lines wanted.
        n_neighbors (int, optional): Noise bins on each side; 0 for none. Default: 0
        distinct (bool, optional): Whether equal frames run only once, as is right unless noise
            makes every frame different. Default: True
        with_error (bool, optional): Whether the frames of the design's replicate run as well.
            Default: False
        with_lattice (bool, optional): Whether the variance at all combinations of the tags is
            summed as well. Default: False
        whole (bool, optional): Whether all responses are kept, for the whole spectrum.
            Default: False
    """

    design: Design
    components: tuple[Component, ...]
    n_neighbors: int = 0
    distinct: bool = True
    with_error: bool = False
    with_lattice: bool = False
    whole: bool = False

    # Whether lines between those of components hold something even without noise.
    has_real_neighbors: ClassVar[bool] = False

    @classmethod
    def build(
        cls,
        design: Design | None,
        components: ComponentSelection,
        max_order: int | None,
        n_neighbors: int,
        noise_std: float,
        estimate_error: bool = False,
        whole: bool = False,
    ) -> Self:
        """The plan for what the user asked for; warns if components collide.

        Without noise, equal frames are shown only once, and the neighbors of a line could hold only
        components of higher order. They are not computed then, unless the design leaks.

        Args:
            design: The stimulus. None: the paper's
            components, max_order: As in `Design.components`.
            n_neighbors: Noise bins on each side, if there is noise.
            noise_std: Standard deviation of the noise on the frames.
            estimate_error: As ``with_error``.
            whole: Whether the whole spectrum is kept, for which all frames run in order.

        Raises:
            ValueError, TypeError: If the components do not fit the design, ``noise_std`` is
                negative or not finite, or noise is combined with a grid or an estimate of the
                error.
        """
        design = design_or_default(design)
        wanted = design.components(components, max_order)
        n_neighbors = integer(n_neighbors, "n_neighbors", at_least=0)
        warn_of_collisions(design, wanted)
        noise_std = number(noise_std, "noise_std", at_least=0)
        if noise_std and not design.in_time:
            raise without_time(design, "`noise_std`", "`choose_design` with kind='time'")
        if noise_std and estimate_error:
            raise ValueError(
                "Expected `estimate_error` without `noise_std`, but got both, and noise would "
                "count as error; read the effect of noise from the neighbors, as the SNR does"
            )
        if whole and estimate_error:
            raise ValueError(
                "Expected `estimate_error` without `whole`, but got both; the error is estimated "
                "for components alone, so compute it in a call of its own"
            )
        if whole and not design.in_time:
            raise without_time(design, "`whole`", "`choose_design` with kind='time'")
        if not (noise_std or design.leaks or cls.has_real_neighbors):
            n_neighbors = 0
        distinct = not (noise_std or whole)
        return cls(design, wanted, n_neighbors, distinct, estimate_error, whole=whole)

    @cached_property
    def contrasts(self) -> NDArray[np.float64]:
        """Contrast of each part in each frame to run, shape ``(n_run, n_parts)``."""
        return self._frames[0]

    @property
    def first_summed(self) -> int:
        """The frame with which the sums begin, and their reference."""
        return 0

    @cached_property
    def neighbor_bins(self) -> tuple[int, ...]:
        """Neighbors of all components, without duplicates."""
        wanted = self.components
        lists = [neighbors_of(c, wanted, self.design, self.n_neighbors) for c in wanted]
        return tuple(sorted({line for lines in lists for line in lines}))

    @cached_property
    def _lines(self) -> tuple[Line, ...]:
        """All lines to read, without duplicates."""
        of_components = map(self.design.line, self.components)
        return tuple(dict.fromkeys([*of_components, *self.neighbor_bins, *self._lattice]))

    @cached_property
    def _lattice(self) -> tuple[int, ...]:
        """Bins of all combinations of the tags, if there are others."""
        design = self.design
        repeats = design.in_time and not design.leaks and design.period < design.n_frames
        return lattice_bins(design) if self.with_lattice and repeats else ()

    @cached_property
    def _replicate(self) -> tuple[Design, float]:
        return self.design.replicate()

    @cached_property
    def _replicate_lines(self) -> tuple[Line, ...]:
        return tuple(dict.fromkeys(map(self._replicate[0].line, self.components)))

    @cached_property
    def _frames(self) -> tuple[NDArray[np.float64], NDArray[np.complex128], NDArray[np.float64]]:
        """Contrasts, weights and shares of the frames to run."""
        contrasts = self.design.contrasts
        weights = self.design.line_weights(self._lines)
        shares = np.full(len(contrasts), 1 / len(contrasts))
        if self.with_error:
            # Each design's lines are read from its own frames, and the mean from the first's.
            replicate, _ = self._replicate
            contrasts = np.concatenate([contrasts, replicate.contrasts])
            others = replicate.line_weights(self._replicate_lines)
            weights = np.pad(weights, [(0, size) for size in others.shape])
            weights[-len(others) :, len(shares) :] = others
            shares = np.pad(shares, (0, len(replicate.contrasts)))
        weights = np.concatenate([weights, shares[None]])
        if self.distinct:
            contrasts, weights = merge_equal_frames(contrasts, weights)
            # First the one that is shown again: in the dark there is little to compare, and what
            # depends on the largest of a batch does not change for the brightest.
            bright = contrasts.sum(axis=1).argsort(kind="stable")[2 * len(contrasts) // 3]
            order = [bright, *np.delete(np.arange(len(contrasts)), bright)]
            contrasts, weights = contrasts[order], weights[:, order]
        return contrasts, weights[:-1], weights[-1].real

    def new_sums(self, reference: Tensor, eps: float) -> FourierSums:
        """Sums for one recorded tensor, given its reference frame ``(N, *neuron)``."""
        _, weights, shares = self._frames
        return FourierSums(weights, shares, reference, eps)

    def sums_of_record(self, record: Tensor) -> FourierSums | RecordSums:
        """Sums over a whole record ``(n_frames, N, *neuron)``, transformed if it is in time."""
        eps = torch.finfo(record.dtype).eps
        if self.design.in_time:
            return RecordSums(record, self._lines, eps)  # type: ignore[arg-type]  # bins, in time
        sums = self.new_sums(record[0], eps)
        sums.add(0, record)
        return sums

    def read_of(self, start: int, frames: Tensor) -> Tensor:
        """Of the responses to frames ``start, start + 1, ...``, those that belong to the record."""
        return frames

    def judge(self, layer: str, sums: FourierSums) -> None:
        """Warn of what the sums of a layer show to be wrong."""

    def lattice_variance(self, sums: Tensor) -> Tensor | None:
        """Variance at all combinations of the tags; None if these are all frequencies."""
        if not self._lattice:
            return None
        rows = {line: row for row, line in enumerate(self._lines)}
        lines = sums[[rows[line] for line in self._lattice]]
        return power_of_lines(lines, np.array(self._lattice), self.design.n_frames)

    def separate(self, sums: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Separate the Fourier sums of components, of neighbors and of the replicate.

        Args:
            sums (Tensor): The lines of `new_sums`, shape ``(lines, N, *neuron)``.

        Returns:
            tuple: The lines of the components; those of the neighbors; and an estimate of what
            aliases add to the lines of the components, None without ``with_error``.
        """
        rows = {line: row for row, line in enumerate(self._lines)}
        lines = sums[[rows[self.design.line(component)] for component in self.components]]
        neighbors = sums[[rows[line] for line in self.neighbor_bins]]
        if not self.with_error:
            return lines, neighbors, None
        other, excess = self._replicate
        other_rows = {line: len(rows) + row for row, line in enumerate(self._replicate_lines)}
        deviations = torch.empty_like(lines)
        for row, component in enumerate(self.components):
            # In cosine phase, the lines of both designs differ only by aliases.
            ratio = other.scale(component) / self.design.scale(component)
            line = sums[other_rows[other.line(component)]] * other.turn(component) * ratio
            deviations[row] = (lines[row] * self.design.turn(component) - line) / excess
        return lines, neighbors, deviations


def neighbors_of(
    component: Sequence[int], components: Sequence[Component], design: Design, n_neighbors: int
) -> tuple[int, ...]:
    """Noise bins of a component: they hold no component that is read or of order 4 or less."""
    if not (n_neighbors and design.in_time):
        return ()
    return design.neighbors(component, n_neighbors, max(4, *(c.order for c in components)))


def validate_statistic(statistic: Statistic, design: Design | None) -> None:
    """Refuse a statistic that compares lines with their neighbors if the design has none.

    The SNR is never refused: without noise, its denominator is the rounding floor.

    Raises:
        ValueError: If the statistic needs a design in time, and this one is not.
    """
    design = design_or_default(design)
    if STATISTICS[statistic].needs_neighbors and not design.in_time:
        raise without_time(design, f"statistic={statistic!r}", "statistic='snr'")


def without_time(design: Design, purpose: str, remedy: str) -> ValueError:
    """The error for a design without time, where one in time is needed."""
    return ValueError(
        f"Expected a design in time for {purpose}, but got a {design}, whose components have no "
        f"neighboring lines to measure noise at; take `TaggingDesign()` or {remedy}"
    )


def warn_of_collisions(design: Design, components: Sequence[Component]) -> None:
    """Warn once if components share lines with others of the same or a lower order."""
    collisions = design.collisions(components)
    if not collisions:
        return
    shown = []
    for component, other in collisions[:3]:
        partner = "the mean" if other is None else design.label(other)
        if other == component:
            partner = "its own mirror image at the Nyquist frequency"
        shown.append(f"{design.label(component)} with {partner}")
    more = f" and {len(collisions) - 3} more" if len(collisions) > 3 else ""
    warn_user(
        "Components share a line with another of the same or a lower order and cannot be separated "
        f"from it: {', '.join(shown)}{more}. The design is collision-free to order "
        f"{design.collision_free_order}; lower `max_order` to that, or make a design for a higher "
        "order with `choose_design`"
    )
