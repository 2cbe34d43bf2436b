"""What a spectrum needs to be computed: the frames to run and the lines to sum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ._warnings import warn_user
from .components import Component
from .design import ComponentSelection, TaggingDesign
from .fourier import FourierSums, FrameSchedule


@dataclass(frozen=True)
class SpectrumPlan:
    """Which frames to run and which lines to compute for a spectrum.

    Args:
        design (TaggingDesign): The stimulus.
        components (tuple[Component, ...]): The lines wanted.
        n_neighbors (int): Noise bins on each side; 0 for none.
        distinct (bool): Whether moments with equal contrasts share a frame: so in a deterministic
            network, not where noise makes every frame different.
    """

    design: TaggingDesign
    components: tuple[Component, ...]
    n_neighbors: int
    distinct: bool

    @classmethod
    def build(
        cls,
        design: TaggingDesign | None,
        components: ComponentSelection,
        max_order: int,
        n_neighbors: int,
        noise_std: float,
    ) -> SpectrumPlan:
        """The plan for what the user asked for; warns of components that collide.

        Without noise equal frames are shown once, and all that neighbours of a line could hold is
        components of higher order: there are none to compute.

        Args:
            design: Default: the paper's.
            components, max_order: As in `TaggingDesign.components`.
            n_neighbors: Noise bins on each side, if there is noise.
            noise_std: Standard deviation of the noise on the frames.

        Raises:
            ValueError, TypeError: If the components do not fit the design, or ``noise_std`` is
                negative or not finite.
        """
        design = design or TaggingDesign()
        wanted = design.components(components, max_order)
        warn_of_collisions(design, wanted)
        if not 0 <= noise_std < math.inf:
            raise ValueError(f"Expected a finite `noise_std` of at least 0, but got {noise_std}")
        return cls(design, wanted, n_neighbors if noise_std else 0, distinct=not noise_std)

    @cached_property
    def schedule(self) -> FrameSchedule:
        """The frames to run."""
        return self.design.schedule(self.distinct)

    @cached_property
    def neighbour_bins(self) -> tuple[int, ...]:
        """Neighbours of all components."""
        nearby = (
            neighbours_of(component, self.components, self.design, self.n_neighbors)
            for component in self.components
        )
        return tuple(sorted({line for bins in nearby for line in bins}))

    @cached_property
    def _bins(self) -> tuple[int, ...]:
        return (*map(self.design.bin, self.components), *self.neighbour_bins)

    @cached_property
    def _weights(self) -> Tensor:
        lines = self.schedule.fourier_weights(self._bins)
        share = self.schedule.counts[None] / self.design.n_frames
        return torch.from_numpy(np.concatenate([lines.real, lines.imag, share]))

    def new_sums(self, reference: Tensor, eps: float) -> FourierSums:
        """Sums for one recorded tensor, of which a frame ``(N, *neuron)`` is at hand."""
        return FourierSums(self._bins, self._weights, self.design.n_frames, reference, eps)


def neighbours_of(
    component: Sequence[int],
    components: Sequence[Component],
    design: TaggingDesign,
    n_neighbors: int,
) -> tuple[int, ...]:
    """Noise bins of a component, free of all others that are read and of those to order 4."""
    if not n_neighbors:
        return ()
    return design.neighbours(component, n_neighbors, max(4, *(c.order for c in components)))


def warn_of_collisions(design: TaggingDesign, components: Sequence[Component]) -> None:
    """Warn once if components share lines with others of no higher order, naming both."""
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
        f"Components share a line with another of no higher order and cannot be told apart: "
        f"{', '.join(shown)}{more}. The design is collision-free to order "
        f"{design.collision_free_order}: ask for components to that `max_order`, or make a design "
        "for a higher one with `TaggingDesign.for_parts`"
    )
