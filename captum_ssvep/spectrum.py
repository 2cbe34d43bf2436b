"""The spectrum of a layer: what each neuron answers at the components of a design."""

from __future__ import annotations

import cmath
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from . import statistics
from .components import Component, in_group
from .design import ComponentSelection, TaggingDesign
from .fourier import FourierSums
from .plan import SpectrumPlan, neighbours_of, warn_of_collisions
from .statistics import Reduction, Statistic


@dataclass(frozen=True, eq=False)
class TaggedSpectrum:
    r"""What each neuron answers at the components of a tagging design.

    Args:
        lines (Tensor): Complex Fourier sums
            :math:`X_k = \sum_t y_t e^{-2 \pi i k t / T}`, as ``numpy.fft.rfft`` gives them, shape
            ``(components, N, *neuron)``.
        components (tuple[Component, ...]): What the lines are.
        design (TaggingDesign): The stimulus.
        mean (Tensor): Mean over the record, shape ``(N, *neuron)``.
        variance (Tensor or None): Variance over the record, likewise; None for a sum of spectra,
            which does not determine it.
        floor (Tensor): Amplitude that rounding alone can make, shape ``(N,)``.
        n_neighbors (int): Bins on each side of a line that count as its noise; 0 without noise,
            where all that they could hold is components of higher order.
        neighbour_bins (tuple[int, ...]): All neighbours of the components.
        neighbour_lines (Tensor): Their Fourier sums, shape ``(neighbour_bins, N, *neuron)``.

    Examples::

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
    design: TaggingDesign
    mean: Tensor
    variance: Tensor | None
    floor: Tensor
    n_neighbors: int
    neighbour_bins: tuple[int, ...]
    neighbour_lines: Tensor

    @classmethod
    def from_series(
        cls,
        series: Tensor | ArrayLike,
        design: TaggingDesign,
        components: ComponentSelection = "all",
        max_order: int = 4,
        n_neighbors: int = 2,
    ) -> TaggedSpectrum:
        """Analyse a time series recorded elsewhere: a recurrent network's, a video model's, an EEG.

        Args:
            series (Tensor or array): Responses to `tagged_sequence` in order, shape
                ``(n_frames, N, *neuron)``.
            design (TaggingDesign): The stimulus that was shown.
            components (str or sequence, optional): As in `TaggingDesign.components`.
                Default: ``"all"``
            max_order (int, optional): Highest order of a group. Default: 4
            n_neighbors (int, optional): Noise bins on each side of a line. Default: 2

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
        lines = torch.cat([block.lines() for block in blocks], dim=1)
        n_components = len(plan.components)
        return cls(
            lines=lines[:n_components],
            components=plan.components,
            design=plan.design,
            mean=torch.cat([block.mean() for block in blocks]),
            variance=torch.cat([block.variance() for block in blocks]),
            floor=torch.cat([block.floor() for block in blocks]),
            n_neighbors=plan.n_neighbors,
            neighbour_bins=plan.neighbour_bins,
            neighbour_lines=lines[n_components:],
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
        return self._line(component).abs() * self._scale(component)

    def phase(self, component: Sequence[int]) -> Tensor:
        """Phase in radians of a line, as of ``numpy.fft.rfft``; shape ``(N, *neuron)``."""
        return self._line(component).angle()

    def coefficient(self, component: Sequence[int]) -> Tensor:
        r"""Amplitude with the sign of the response, shape ``(N, *neuron)``.

        The tensor-Chebyshev coefficient of the response to the parts' contrasts, in the convention
        of the amplitude: :math:`\mathrm{Re}(2 X_k / T \; e^{-i \sum n_i (\phi_i - \pi/2)})`.
        Positive at a fundamental: more contrast, more activation.
        """
        (wanted,) = self.design.components([component])
        line = self._line(wanted)
        if self.design.signed_bin(wanted) < 0:
            line = line.conj()
        turn = cmath.exp(-1j * self.design.angle(wanted))
        return (line.real * turn.real - line.imag * turn.imag) * self._scale(wanted)

    def snr(self, component: Sequence[int]) -> Tensor:
        """Signal-to-noise ratio of a component (see `statistics.snr`), shape ``(N, *neuron)``."""
        return statistics.snr(
            self.amplitude(component), self._neighbours(component), self._broadcast_floor
        )

    def first_order(self, part: int) -> Tensor:
        """Share of the variance that the part explains alone: its first-order Sobol index."""
        return self._share([c for c in self.components if c.parts == (part,)])

    def interaction(self, parts: Sequence[int]) -> Tensor:
        """Share of the variance that exactly these parts explain together."""
        if isinstance(parts, int):
            raise TypeError(
                f"Expected `parts` to be several, as in (0, 1), but got {parts}; what one part "
                "explains alone is `first_order`"
            )
        wanted = tuple(sorted(parts))
        return self._share([c for c in self.components if c.parts == wanted])

    def total_order(self, part: int) -> Tensor:
        """Share of the variance in which the part takes any part: its total Sobol index."""
        return self._share([c for c in self.components if part in c.parts])

    @property
    def explained_variance(self) -> Tensor:
        """Share of the variance in all components; above 1 where collisions count lines twice."""
        return self._share(self.components)

    def _share(self, components: Sequence[Component]) -> Tensor:
        if not components:
            raise ValueError(
                "Expected parts for which the spectrum holds components, but got none among "
                f"{', '.join(map(str, self.components))}; compute it with components='all'"
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
                    self.amplitude(component), self._neighbours(component)
                )
            case "zscore":
                return statistics.zscore(
                    self.amplitude(component), self._neighbours(component), self._broadcast_floor
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
        line = self.design.bin(component)
        # A line at the Nyquist frequency has no mirror image that holds the other half of its
        # power; one at zero holds the mean, which does not vary.
        halving = 2 if self._has_mirror(line) else 1
        power = self.amplitude(component).square() / halving * (line > 0)
        return statistics.variance_share(power, self.variance, self._broadcast_floor)

    def _line(self, component: Sequence[int]) -> Tensor:
        (wanted,) = self.design.components([component])
        if wanted not in self.components:
            raise ValueError(
                f"Expected a component of the spectrum, but got {wanted}; it holds "
                f"{', '.join(map(str, self.components))}"
            )
        return self.lines[self.components.index(wanted)]

    def _has_mirror(self, line: int) -> bool:
        return 0 < line < self.design.n_frames / 2

    def _scale(self, component: Sequence[int]) -> float:
        """Factor from Fourier sum to peak amplitude."""
        return (2 if self._has_mirror(self.design.bin(component)) else 1) / self.design.n_frames

    def _neighbours(self, component: Sequence[int]) -> Tensor:
        """Amplitudes of the line's neighbours, shape ``(2 * n_neighbors, N, *neuron)``."""
        bins = neighbours_of(component, self.components, self.design, self.n_neighbors)
        rows = [self.neighbour_bins.index(line) for line in bins]
        return self.neighbour_lines[rows].abs() * 2 / self.design.n_frames

    @property
    def _broadcast_floor(self) -> Tensor:
        return self.floor.reshape(-1, *[1] * (self.mean.dim() - 1))

    def __repr__(self) -> str:
        tags = ", ".join(f"{frequency:g}" for frequency in self.design.frequencies)
        highest = max(component.order for component in self.components)
        return (
            f"TaggedSpectrum({len(self.components)} components to order {highest}, tags {tags} Hz, "
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
        )

    def __radd__(self, other: object) -> TaggedSpectrum:
        # The start value of the built-in sum().
        return self if other == 0 else NotImplemented

    def to(self, device: torch.device | str) -> TaggedSpectrum:
        """Move all tensors to a device."""
        held = {name: getattr(self, name) for name in _TENSORS}
        return replace(self, **{n: t.to(device) for n, t in held.items() if t is not None})

    def save(self, path: str | Path) -> None:
        """Write everything to an ``.npz`` file of plain arrays, readable without this package.

        The arrays bear the names of the attributes; ``design`` is JSON.
        """
        arrays = {name: getattr(self, name) for name in _TENSORS}
        with Path(path).open("wb") as file:
            np.savez(
                file,
                components=np.array(self.components),
                design=np.array(json.dumps(asdict(self.design))),
                n_neighbors=np.array(self.n_neighbors),
                neighbour_bins=np.array(self.neighbour_bins, dtype=np.int64),
                **{
                    name: value.cpu().numpy() for name, value in arrays.items() if value is not None
                },
            )

    @classmethod
    def load(cls, path: str | Path) -> TaggedSpectrum:
        """Read what `save` wrote, to the CPU.

        Raises:
            ValueError: If the file lacks an array that `save` writes.
        """
        with np.load(path, allow_pickle=False) as archive:
            written = {"components", "design", "n_neighbors", "neighbour_bins", *_TENSORS}
            missing = written - {"variance"} - set(archive)
            if missing:
                raise ValueError(
                    f"Expected a file written by `TaggedSpectrum.save`, but {path} lacks "
                    f"{', '.join(sorted(missing))}"
                )
            tensors = {n: torch.from_numpy(archive[n]) if n in archive else None for n in _TENSORS}
            return cls(
                components=tuple(map(Component, archive["components"].tolist())),
                design=TaggingDesign(**json.loads(str(archive["design"]))),
                n_neighbors=int(archive["n_neighbors"]),
                neighbour_bins=tuple(archive["neighbour_bins"].tolist()),
                **tensors,  # type: ignore[arg-type]  # only `variance` may be None
            )


_TENSORS = ("lines", "mean", "variance", "floor", "neighbour_lines")
