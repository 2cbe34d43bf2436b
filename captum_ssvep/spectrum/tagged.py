"""The spectrum of a layer: what each neuron answers at the components of a design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .. import _npz as archive
from ..design.base import ComponentSelection, Design
from ..design.components import Component, in_group
from . import statistics
from .contrast import response_surface, without_shared_lines
from .plan import SpectrumPlan, neighbours_of, validate_statistic, warn_of_collisions
from .statistics import Reduction, Statistic
from .sums import FourierSums


@dataclass(frozen=True, eq=False)
class TaggedSpectrum:
    r"""What each neuron answers at the components of a tagging design.

    Args:
        lines (Tensor): Complex Fourier sums, shape ``(components, N, *neuron)``: in time
            :math:`X_k = \sum_t y_t e^{-2 \pi i k t / T}`, as ``numpy.fft.rfft`` gives them; for
            a grid see `ChebyshevGrid`.
        components (tuple[Component, ...]): What the lines are.
        design (Design): The stimulus, a `TaggingDesign` or its ``grid``.
        mean (Tensor): Mean over the record, shape ``(N, *neuron)``.
        variance (Tensor or None): Variance over the record, likewise; None for a sum of spectra,
            which does not determine it.
        floor (Tensor): Amplitude that rounding alone can make, shape ``(N,)``.
        n_neighbors (int): Bins on each side of a line that count as its noise; 0 without noise,
            where all that they could hold is components of higher order.
        neighbour_bins (tuple[int, ...]): All neighbours of the components.
        neighbour_lines (Tensor): Their Fourier sums, shape ``(neighbour_bins, N, *neuron)``.
        deviations (Tensor or None): What aliases are estimated to add to the lines, likewise;
            None if that was not asked for. Default: None

    Examples::

        >>> from captum_ssvep import TaggingDesign
        >>> design = TaggingDesign()
        >>> left, right = torch.as_tensor(design.contrasts).T
        >>> spectrum = TaggedSpectrum.from_series((left * right)[:, None], design)
        >>> [round(spectrum.amplitude(c).item(), 4) for c in ((1, 0), (2, 0))]
        [0.1875, 0.0]
        >>> spectrum.interaction((0, 1))
        tensor([0.0270], dtype=torch.float64)
    """

    lines: Tensor
    components: tuple[Component, ...]
    design: Design
    mean: Tensor
    variance: Tensor | None
    floor: Tensor
    n_neighbors: int
    neighbour_bins: tuple[int, ...]
    neighbour_lines: Tensor
    deviations: Tensor | None = None

    @classmethod
    def from_series(
        cls,
        series: Tensor | ArrayLike,
        design: Design,
        components: ComponentSelection = "all",
        max_order: int = 4,
        n_neighbors: int = 2,
    ) -> TaggedSpectrum:
        """Analyse a time series recorded elsewhere: a recurrent network's, a video model's, an EEG.

        Args:
            series (Tensor or array): Responses to `tagged_sequence` in order, shape
                ``(n_frames, N, *neuron)``.
            design (Design): The stimulus that was shown.
            components (str or sequence, optional): As in `Design.components`.
                Default: ``"all"``
            max_order (int, optional): Highest order of a group. Default: 4
            n_neighbors (int, optional): Noise bins on each side of a line; a grid has none.
                Default: 2

        Raises:
            ValueError: If the series is not finite or does not have one row per frame.
            TypeError: If the series is not real numbers.
        """
        series = torch.as_tensor(series).detach()
        if not series.is_floating_point():
            raise TypeError(f"Expected `series` of a floating dtype, but got {series.dtype}")
        if series.dim() < 2 or len(series) != design.n_frames or not series.isfinite().all():
            raise ValueError(
                f"Expected `series` to be finite, of shape (n_frames, N, ...) with n_frames = "
                f"{design.n_frames}, but got shape {tuple(series.shape)}"
            )
        wanted = design.components(components, max_order)
        warn_of_collisions(design, wanted)
        plan = SpectrumPlan(design, wanted, n_neighbors, distinct=False)
        sums = plan.new_sums(series[0], torch.finfo(series.dtype).eps)
        sums.add(0, series)
        return cls.from_sums(plan, [sums])

    @classmethod
    def from_sums(cls, plan: SpectrumPlan, blocks: Sequence[FourierSums]) -> TaggedSpectrum:
        """The spectrum of a plan's sums over successive blocks of examples."""
        sums = torch.cat([block.lines() for block in blocks], dim=1)
        lines, neighbour_lines, deviations = plan.separate(sums)
        return cls(
            lines=lines,
            components=plan.components,
            design=plan.design,
            mean=torch.cat([block.mean() for block in blocks]),
            variance=torch.cat([block.variance() for block in blocks]),
            floor=torch.cat([block.floor() for block in blocks]),
            n_neighbors=plan.n_neighbors,
            neighbour_bins=plan.neighbour_bins,
            neighbour_lines=neighbour_lines,
            deviations=deviations,
        )

    def reduce(
        self,
        components: ComponentSelection = "fundamentals",
        statistic: Statistic = "snr",
        reduction: Reduction = "mean",
    ) -> Tensor:
        """One number per neuron: a statistic, combined over components.

        Args:
            components (str or sequence, optional): A group among the spectrum's components, or
                integer tuples. Default: ``"fundamentals"``
            statistic (str, optional): One of `statistics.STATISTICS`. Default: ``"snr"``
            reduction (str, optional): One of `statistics.REDUCTIONS`. Default: ``"mean"``

        Returns:
            Tensor: Shape ``(N, *neuron)``.

        Raises:
            ValueError: If a component is not in the spectrum, or a name is unknown.
        """
        validate_statistic(statistic, self.design)
        # Decibels come last: neither their sum nor their energy means anything.
        in_decibels = statistic == "snr_db"
        values = [
            self._statistic(component, "snr" if in_decibels else statistic)
            for component in self._select(components)
        ]
        reduced = statistics.reduce(torch.stack(values), reduction)
        return statistics.decibels(reduced) if in_decibels else reduced

    def amplitude(self, component: Sequence[int]) -> Tensor:
        """Peak amplitude of a component, in units of the activation, shape ``(N, *neuron)``."""
        return self._line(component).abs() * self.design.scale(component)

    def phase(self, component: Sequence[int]) -> Tensor:
        """Phase in radians of a line, as of ``numpy.fft.rfft``; shape ``(N, *neuron)``."""
        return self._line(component).angle()

    def coefficient(self, component: Sequence[int]) -> Tensor:
        r"""Amplitude with the sign of the response, shape ``(N, *neuron)``.

        The tensor-Chebyshev coefficient of the response to the parts' contrasts, in the convention
        of the amplitude: :math:`\mathrm{Re}(2 X_k / T \; e^{-i \sum n_i (\phi_i - \pi/2)})`.
        Positive at a fundamental: more contrast, more activation.
        """
        line, turn = self._line(component), self.design.turn(component)
        return (line.real * turn.real - line.imag * turn.imag) * self.design.scale(component)

    def error(self, component: Sequence[int]) -> Tensor:
        r"""Estimated error of a component's amplitude, shape ``(N, *neuron)``.

        What aliases, components of higher order, do to it. The difference from `Design.replicate`,
        which has other aliases, estimates their share :math:`\epsilon` of the line. Without memory
        the line, turned to cosine phase, would be real, so that its imaginary part is theirs alone:

        .. math:: \sqrt{(|\epsilon|^2 - \mathrm{Im}^2)_+ + (A - |\mathrm{Re}|)^2}

        On a grid, or with tags of phase pi/2, that is :math:`|\epsilon|`, and the coefficient's
        error too; elsewhere the coefficient's is smaller. Not included are rounding, which is
        `floor`, and how much images differ.

        With sine waves, a root mean square over the neurons of a layer is right within a factor of
        2 in 9 of 10 cases, the error of a single neuron in 6 of 10 (`benchmarks/accuracy.py`).

        Raises:
            ValueError: If the spectrum was computed without ``estimate_error=True``, or the
                component's line is its own mirror image, which turns with the aliases.
        """
        if self.deviations is None:
            raise ValueError(
                "Expected a spectrum with estimated errors, but got one without; compute it with "
                "`spectrum(..., estimate_error=True)`, which runs the frames of a second design"
            )
        if self.design.power_share(component) == 1:
            raise ValueError(
                f"Expected a component below the Nyquist frequency, but {Component(component)} "
                "lies on it, where its mirror image cannot be told from an alias; take another "
                "number of frames"
            )
        line = self._line(component) * self.design.turn(component)
        aliases = self.deviations[self._row(component)].abs().square() - line.imag.square()
        raised = line.abs() - line.real.abs()
        return (aliases.clamp(min=0) + raised.square()).sqrt() * self.design.scale(component)

    def contrast_response(
        self, parts: int | Sequence[int], n_contrasts: int = 33
    ) -> tuple[Tensor, Tensor]:
        r"""The activation as a function of the contrast of one part or of several.

        What remains of the response when it is averaged over the flicker of all other parts, up to
        the components that the spectrum holds; of several on one line the lowest order counts:

        .. math:: r(c) = \overline{r} + \sum_n C_n \prod_i \cos(n_i \theta(c_i))

        with :math:`C_n` the sum of the coefficients of all components ``(n1, +-n2, ...)`` of these
        parts; a sweep over contrasts, as in vision science, without a frame more.

        Args:
            parts (int or sequence of int): One part gives a curve, two a surface.
            n_contrasts (int, optional): Contrasts of each part, evenly spaced over the design's
                range. Default: 33

        Returns:
            tuple[Tensor, Tensor]: The contrasts, shape ``(n_contrasts,)``, and the activation,
            shape ``(n_contrasts, N, *neuron)``, with one leading dimension per part.

        Raises:
            ValueError: If the spectrum holds no component of these parts.

        Examples::

            >>> from captum_ssvep import TaggingDesign
            >>> design = TaggingDesign()
            >>> left, right = torch.as_tensor(design.contrasts).T
            >>> spectrum = TaggedSpectrum.from_series((left * right)[:, None], design)
            >>> contrasts, surface = spectrum.contrast_response((0, 1), n_contrasts=3)
            >>> contrasts.tolist()
            [0.5, 0.75, 1.0]
            >>> surface[:, :, 0]  # their product
            tensor([[0.2500, 0.3750, 0.5000],
                    [0.3750, 0.5625, 0.7500],
                    [0.5000, 0.7500, 1.0000]], dtype=torch.float64)
        """
        wanted = (int(parts),) if isinstance(parts, (int, np.integer)) else tuple(map(int, parts))
        apart = without_shared_lines(self.components, self.design)
        held = [c for c in apart if set(c.parts) <= set(wanted)]
        known = {part for component in self.components for part in component.parts}
        if not held or not known.issuperset(wanted) or len(set(wanted)) < len(wanted):
            raise ValueError(
                f"Expected `parts` to be different ones among {sorted(known)}, with components "
                f"in the spectrum, but got {parts}; it holds {', '.join(map(str, self.components))}"
            )
        if n_contrasts < 1:
            raise ValueError(f"Expected `n_contrasts` of at least 1, but got {n_contrasts}")
        contrasts = np.linspace(*self.design.contrast, n_contrasts)
        coefficients = {component: self.coefficient(component) for component in held}
        phases = self.design.phase_of(contrasts)
        surface = response_surface(self.mean, coefficients, wanted, phases)
        return torch.from_numpy(contrasts).to(self.mean), surface

    def snr(self, component: Sequence[int]) -> Tensor:
        """Signal-to-noise ratio of a component (see `statistics.snr`), shape ``(N, *neuron)``."""
        return statistics.snr(
            self.amplitude(component), self.neighbour_amplitudes(component), self.floor_of_neurons
        )

    def first_order(self, part: int) -> Tensor:
        """Share of the variance that the part explains alone: its first-order Sobol index."""
        return self._share([c for c in self.components if c.parts == (part,)], part)

    def interaction(self, parts: Sequence[int]) -> Tensor:
        """Share of the variance that exactly these parts explain together."""
        if isinstance(parts, int):
            raise TypeError(
                f"Expected `parts` to be several, as in (0, 1), but got {parts}; what one part "
                "explains alone is `first_order`"
            )
        wanted = tuple(sorted(parts))
        return self._share([c for c in self.components if c.parts == wanted], parts)

    def total_order(self, part: int) -> Tensor:
        """Share of the variance in which the part takes any part: its total Sobol index."""
        return self._share([c for c in self.components if part in c.parts], part)

    @property
    def explained_variance(self) -> Tensor:
        """Share of the variance in all components; above 1 where collisions count lines twice."""
        return self.reduce(self.components, "variance_share", "sum")

    def _share(self, components: Sequence[Component], parts: int | Sequence[int]) -> Tensor:
        if not components:
            raise ValueError(
                f"Expected different parts among 0 to {self.design.n_parts - 1}, as in (0, 1), "
                f"but got {parts}, for which the spectrum holds no component; of parts there are, "
                "compute it with components='all' and a `max_order` of at least their number"
            )
        return self.reduce(components, "variance_share", "sum")

    def _select(self, components: ComponentSelection) -> tuple[Component, ...]:
        if not isinstance(components, str):
            return self.design.components(components)
        held = tuple(component for component in self.components if in_group(component, components))
        if not held:
            raise ValueError(
                f"Expected the spectrum to hold {components}, but it has only "
                f"{', '.join(map(str, self.components))}"
            )
        return held

    def _statistic(self, component: Component, statistic: Statistic) -> Tensor:
        match statistic:
            case "snr":
                return self.snr(component)
            case "amplitude":
                return self.amplitude(component)
            case "coefficient":
                return self.coefficient(component)
            case "baseline_corrected":
                return statistics.baseline_corrected(
                    self.amplitude(component), self.neighbour_amplitudes(component)
                )
            case "zscore":
                return statistics.zscore(
                    self.amplitude(component),
                    self.neighbour_amplitudes(component),
                    self.floor_of_neurons,
                )
            case "variance_share":
                return self._variance_share(component)
        raise statistics.unknown_choice("statistic", statistic, statistics.STATISTICS)

    def _variance_share(self, component: Component) -> Tensor:
        if self.variance is None:
            raise ValueError(
                "Expected a spectrum with its variance, but this is a sum of spectra, which does "
                "not determine it; take shares before summing"
            )
        power = self.amplitude(component).square() * self.design.power_share(component)
        return statistics.variance_share(power, self.variance, self.floor_of_neurons)

    def _row(self, component: Sequence[int]) -> int:
        (wanted,) = self.design.components([component])
        if wanted not in self.components:
            raise ValueError(
                f"Expected a component of the spectrum, but got {wanted}; it holds "
                f"{', '.join(map(str, self.components))}"
            )
        return self.components.index(wanted)

    def _line(self, component: Sequence[int]) -> Tensor:
        return self.lines[self._row(component)]

    def neighbour_amplitudes(self, component: Sequence[int]) -> Tensor:
        """Amplitudes of the line's neighbours, shape ``(2 * n_neighbors, N, *neuron)``."""
        bins = neighbours_of(component, self.components, self.design, self.n_neighbors)
        rows = [self.neighbour_bins.index(line) for line in bins]
        return self.neighbour_lines[rows].abs() * 2 / self.design.n_frames

    @property
    def floor_of_neurons(self) -> Tensor:
        """The floor in a shape that broadcasts to ``(N, *neuron)``."""
        return self.floor.reshape(-1, *[1] * (self.mean.dim() - 1))

    def __repr__(self) -> str:
        highest = max(component.order for component in self.components)
        return (
            f"TaggedSpectrum({len(self.components)} components to order {highest}, {self.design}, "
            f"shape {tuple(self.mean.shape)}, {self.mean.dtype}, {self.mean.device})"
        )

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, examples: int | np.integer[Any] | slice | Tensor) -> TaggedSpectrum:
        """The spectrum of some examples; a single index keeps the batch dimension, of size 1."""
        if isinstance(examples, (int, np.integer)):
            example = range(len(self))[int(examples)]  # negative from the end; IndexError beyond
            examples = slice(example, example + 1)
        return replace(
            self,
            lines=self.lines[:, examples],
            mean=self.mean[examples],
            variance=None if self.variance is None else self.variance[examples],
            floor=self.floor[examples],
            neighbour_lines=self.neighbour_lines[:, examples],
            deviations=None if self.deviations is None else self.deviations[:, examples],
        )

    def __add__(self, other: TaggedSpectrum) -> TaggedSpectrum:
        """The spectrum of the sum of two responses (the coherent or "evoked" sum of EEG)."""
        if not isinstance(other, TaggedSpectrum):
            return NotImplemented
        for name in ("design", "components", "n_neighbors", "neighbour_bins"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"Expected spectra with the same {name} to add, but got "
                    f"{getattr(self, name)} and {getattr(other, name)}"
                )
        if self.mean.shape != other.mean.shape:
            raise ValueError(
                f"Expected spectra of the same shape to add, but got {tuple(self.mean.shape)} and "
                f"{tuple(other.mean.shape)}"
            )
        return replace(
            self,
            lines=self.lines + other.lines,
            mean=self.mean + other.mean,
            variance=None,
            floor=self.floor + other.floor,
            neighbour_lines=self.neighbour_lines + other.neighbour_lines,
            deviations=(
                None
                if self.deviations is None or other.deviations is None
                else self.deviations + other.deviations
            ),
        )

    def __radd__(self, other: object) -> TaggedSpectrum:
        # The start value of the built-in sum().
        return self if other == 0 else NotImplemented

    def to(self, device: torch.device | str) -> TaggedSpectrum:
        """Move all tensors to a device."""
        moved: dict[str, Any] = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)

    def save(self, path: str | Path) -> None:
        """Write everything to an ``.npz`` file of plain arrays, readable without this package.

        The arrays bear the names of the attributes; ``design`` is JSON.
        """
        archive.write(path, vars(self))

    @classmethod
    def load(cls, path: str | Path) -> TaggedSpectrum:
        """Read what `save` wrote, to the CPU.

        Raises:
            ValueError: If the file lacks an array that `save` writes.
        """
        return cls(**archive.read(path, {field.name for field in fields(cls)}))
