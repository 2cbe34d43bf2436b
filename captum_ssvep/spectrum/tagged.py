"""The spectrum of a layer: the response of each neuron at the components of a design."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .. import _npz
from .._checks import count, instance, integer, shown, warn_user
from ..design import Component, ComponentSelection, Design, TaggingDesign, TwoLevelDesign
from ..design.components import in_group
from ..model.channels import Layout, layout_of
from . import corners, recordings, shapley, statistics, tables
from .contrast import response_surface, without_shared_lines
from .plan import (
    SpectrumPlan,
    neighbors_of,
    validate_statistic,
    warn_of_collisions,
    without_time,
)
from .statistics import STATISTICS, Reduction, Statistic
from .sums import FourierSums, RecordSums
from .whole import WholeSpectrum, whole_of

if TYPE_CHECKING:
    import xarray

# What one number of a spectrum belongs to: an element of the layer's output, a whole channel, or
# whatever the user's own pooling returns.
NeuronKind = Literal["neuron", "channel", "pooled value"]
# And so much of the power at the tags may be out of phase with the contrasts.
MOST_LAG = 0.1
# Of a table of corners, so many rounding floors are no response: it sums several components.
CORNER_FLOORS = 8
# Tensors with examples on dimension 1, and on dimension 0. Variance and deviations may be None.
PER_LINE = ("lines", "neighbor_lines", "deviations", "whole_lines")
PER_NEURON = ("mean", "variance", "floor", "lattice_variance")
# Facts about the channels of a recording.
PER_CHANNEL = ("neuron_names", "neuron_units")
# These may be None. Variances of a sum are not the sum of variances.
OPTIONAL = frozenset({"variance", "deviations", "whole_lines", "lattice_variance"})
VARIANCES = frozenset({"variance", "lattice_variance"})


@dataclass(frozen=True, eq=False)
class TaggedSpectrum:
    r"""The response of each neuron at the components of a tagging design.

    Args:
        lines (Tensor): Complex Fourier sums, shape ``(components, N, *neuron)``: in time
            :math:`X_k = \sum_t y_t e^{-2 \pi i k t / T}`, as `numpy.fft.rfft` gives them; for
            a grid see `ChebyshevGrid`.
        components (tuple[Component, ...]): The component of each line.
        design (Design): The stimulus, such as a `TaggingDesign` or a `TwoLevelDesign`.
        mean (Tensor): Mean over the record, shape ``(N, *neuron)``.
        variance (Tensor or None): Variance over the record, in the same shape; None for a sum of
            spectra, which does not determine it.
        floor (Tensor): Amplitude that rounding alone can cause, shape ``(N,)``.
        n_neighbors (int): Bins on each side of a line that count as its noise; 0 without noise,
            where they could hold only components of higher order.
        neighbor_bins (tuple[int, ...]): All neighbors of the components.
        neighbor_lines (Tensor): Their Fourier sums, shape ``(neighbor_bins, N, *neuron)``.
        deviations (Tensor or None): Estimate of what aliases add to the lines, in the shape of
            ``lines``; None if it was not requested. Default: None
        whole_lines (Tensor or None): Fourier sums at every bin, shape ``(bins, N, *neuron)``; None
            if they were not requested. Default: None
        lattice_variance (Tensor or None): Variance at all combinations of the tags, shape
            ``(N, *neuron)``; None where only these can occur. Default: None
        layer (str or None): Name of the layer, or of the method whose attributions these are; None
            for a series recorded elsewhere. Default: None
        neurons (str): What a number belongs to: ``"neuron"``, ``"channel"`` or
            ``"pooled value"``. Default: ``"neuron"``
        channel_dim (int or None): Dimension of ``mean`` along which the channels lie; None if it is
            not known. Default: None
        neuron_names (tuple[str, ...] or None): Names of a recording's channels; None for a network.
            Default: None
        neuron_units (tuple[str, ...] or None): Their units, as ``"V"``. Default: None

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
    neighbor_bins: tuple[int, ...]
    neighbor_lines: Tensor
    deviations: Tensor | None = None
    whole_lines: Tensor | None = None
    lattice_variance: Tensor | None = None
    layer: str | None = None
    neurons: NeuronKind = "neuron"
    channel_dim: int | None = None
    neuron_names: tuple[str, ...] | None = None
    neuron_units: tuple[str, ...] | None = None

    @classmethod
    def from_series(
        cls,
        series: Tensor | ArrayLike,
        design: Design,
        components: ComponentSelection = "all",
        max_order: int | None = None,
        n_neighbors: int = 2,
        whole: bool = False,
    ) -> TaggedSpectrum:
        """Analyze a series recorded elsewhere: of a recurrent network, a video model or an EEG.

        Args:
            series (Tensor or array): Responses to the frames of `tagged_sequence`, in order, shape
                ``(n_frames, N, *neuron)``. A pandas ``DataFrame`` has electrodes as examples.
            design (Design): The stimulus that was shown.
            components (str or sequence, optional): As in `Design.components`.
                Default: ``"all"``
            max_order (int, optional): Highest order of a group. Default: None,
                `Design.default_order`
            n_neighbors (int, optional): Noise bins on each side of a line; a grid has none.
                Default: 2
            whole (bool, optional): Keep every frequency, for `whole`. Default: False

        Raises:
            ValueError: If the series is not finite or does not have one row per frame.
            TypeError: If the series does not hold floating-point numbers.
        """
        instance(design, Design, "design", "the design shown")
        record = _as_record(series, design.n_frames)
        if whole and not design.in_time:
            raise without_time(design, "`whole`", "`choose_design` with kind='time'")
        wanted = design.components(components, max_order)
        n_neighbors = integer(n_neighbors, "n_neighbors", at_least=0)
        warn_of_collisions(design, wanted)
        plan = SpectrumPlan(design, wanted, n_neighbors, distinct=False, with_lattice=True)
        sums = plan.sums_of_record(record)
        if not sums.is_finite:
            place = torch.nonzero(~record.isfinite())[0].tolist()
            what = "NaN" if record[tuple(place)].isnan() else "infinity"
            raise ValueError(
                f"Expected `series` to be finite, but got {what} at frame {place[0]} of example "
                f"{place[1]}; leave that example out or interpolate"
            )
        return cls.from_sums(plan, [sums], whole_lines=whole_of([record]) if whole else None)

    @classmethod
    def from_mne(
        cls,
        recording: Any,
        design: TaggingDesign,
        components: ComponentSelection = "all",
        max_order: int | None = None,
        n_neighbors: int = 2,
        picks: Any = None,
        whole: bool = False,
    ) -> TaggedSpectrum:
        """Analyze a recording of MNE: epochs are images, channels are neurons.

        Evoked and Raw are a single image. The recording has the design's sampling rate and
        ``n_frames`` samples, or one more: MNE includes the last moment. It may begin after the
        stimulus, which does not begin before time 0, as ``epochs.crop(1, 5)`` leaves out the first
        second. The phases of the design are then those at its beginning.

        Args:
            recording (Epochs, Evoked or Raw): Responses to the tagged stimulus. A trigger starts
                the stimulus of each epoch.
            design (TaggingDesign): The stimulus that was shown, at the sampling rate of the
                recording.
            components, max_order, n_neighbors, whole: As in `from_series`.
            picks (str, list or slice, optional): Names, indices or types of channels, as MNE takes
                them. Default: None, all good data channels

        Returns:
            TaggedSpectrum: Of shape ``(epochs, channels)``, with ``neuron_names`` and
            ``neuron_units`` of the channels.

        Raises:
            ValueError: If the recording does not fit the design, or has no such channels; the
                message says what fits.
            TypeError: If it is no recording of MNE.
            ImportError: If MNE is not installed.

        Examples::

            >>> import mne
            >>> from captum_ssvep import TaggingDesign
            >>> design = TaggingDesign(sampling_rate=500, n_frames=5000)
            >>> info = mne.create_info(["Oz", "Pz"], 500, "eeg")
            >>> volts = np.random.default_rng(0).normal(size=(20, 2, 5001)) * 1e-6
            >>> epochs = mne.EpochsArray(volts, info, verbose="error")
            >>> spectrum = TaggedSpectrum.from_mne(epochs, design)
            >>> spectrum.mean.shape, spectrum.neuron_names, spectrum.neuron_units
            (torch.Size([20, 2]), ('Oz', 'Pz'), ('V', 'V'))
        """
        series, names, units, design = recordings.read_recording(recording, design, picks)
        spectrum = cls.from_series(
            series, design, components, max_order, n_neighbors=n_neighbors, whole=whole
        )
        return replace(
            spectrum, neurons="channel", channel_dim=1, neuron_names=names, neuron_units=units
        )

    @classmethod
    def from_sums(
        cls, plan: SpectrumPlan, blocks: Sequence[FourierSums | RecordSums], **origin: Any
    ) -> TaggedSpectrum:
        """The spectrum of successive blocks of examples.

        Args:
            plan: The plan of the sums.
            blocks: The sums of each block.
            **origin: ``layer``, ``neurons``, ``channel_dim`` and ``whole_lines``.
        """
        sums = torch.cat([block.lines() for block in blocks], dim=1)
        lines, neighbor_lines, deviations = plan.separate(sums)
        return cls(
            lines=lines,
            components=plan.components,
            design=plan.design,
            mean=torch.cat([block.mean() for block in blocks]),
            variance=torch.cat([block.variance() for block in blocks]),
            floor=torch.cat([block.floor() for block in blocks]),
            n_neighbors=plan.n_neighbors,
            neighbor_bins=plan.neighbor_bins,
            neighbor_lines=neighbor_lines,
            deviations=deviations,
            lattice_variance=plan.lattice_variance(sums),
            **origin,
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
        statistics.validate_choices(statistic, reduction)
        validate_statistic(statistic, self.design)
        values = [self._read(statistic, component) for component in self.select(components)]
        reduced = inspect.unwrap(statistics.reduce)(torch.stack(values), reduction)
        # The type of the activations, also where their squares took a wider one.
        finished: Tensor = inspect.unwrap(STATISTICS[statistic].finish)(reduced)
        return finished.to(self.mean.dtype)

    def _read(self, statistic: Statistic, component: Sequence[int]) -> Tensor:
        info = STATISTICS[statistic]
        taken = (getattr(self, name) for name in info.takes)
        function = inspect.unwrap(info.function)  # without checks, which would wait for the device
        values = (value(component) if callable(value) else value for value in taken)
        read: Tensor = function(*values)
        return read

    def amplitude(self, component: Sequence[int]) -> Tensor:
        """Peak amplitude of a component, in units of the activation, shape ``(N, *neuron)``."""
        return self._line(component).abs() * self.design.scale(component)

    def phase(self, component: Sequence[int]) -> Tensor:
        """Phase of a line in radians, as in `numpy.fft.rfft`, shape ``(N, *neuron)``."""
        return self._line(component).angle()

    def coefficient(self, component: Sequence[int]) -> Tensor:
        r"""Amplitude with the sign of the response, shape ``(N, *neuron)``.

        This is the tensor-Chebyshev coefficient of the response to the parts' contrasts, scaled as
        the amplitude is: :math:`\mathrm{Re}(2 X_k / T \; e^{-i \sum n_i (\phi_i - \pi/2)})`.
        At a fundamental, a positive sign means that more contrast gives more activation.
        """
        line, turn = self._line(component), self.design.turn(component)
        return (line.real * turn.real - line.imag * turn.imag) * self.design.scale(component)

    def error(self, component: Sequence[int]) -> Tensor:
        r"""Estimated error of a component's amplitude, shape ``(N, *neuron)``.

        The error is due to aliases, which are components of higher order on the same line. Their
        share :math:`\epsilon` of the line is estimated from the difference to `Design.replicate`,
        which has other aliases. The line of a network without memory, turned to cosine phase, is
        real except for aliases, so that its imaginary part comes from them alone:

        .. math:: \sqrt{(|\epsilon|^2 - \mathrm{Im}^2)_+ + (A - |\mathrm{Re}|)^2}

        On a grid, or with tags of phase pi/2, this is :math:`|\epsilon|`, and also the error of the
        coefficient; otherwise the error of the coefficient is smaller. Neither rounding, which is
        ``floor``, nor differences between images are included.

        With sine waves, the root mean square over the neurons of a layer is right within a factor
        of 2 in 9 of 10 cases, the error of a single neuron in 6 of 10 (``benchmarks/accuracy.py``).

        Raises:
            ValueError: If the spectrum was computed without ``estimate_error=True``, or the
                component lies on the Nyquist frequency, where its mirror image counts as an alias.
        """
        if self.deviations is None:
            raise ValueError(
                "Expected a spectrum with estimated errors, but got one without; compute it with "
                "`spectrum(..., estimate_error=True)`, which runs the frames of a second design"
            )
        if self.design.in_time and self.design.power_share(component) == 1:
            raise ValueError(
                f"Expected a component below the Nyquist frequency, but {Component(component)} "
                "lies on it, where its mirror image looks like an alias; change `n_frames`"
            )
        # A power of two, which rounds nothing, keeps squares of sums over many frames in range.
        unit = 2.0 ** -self.design.n_frames.bit_length()
        line = self._line(component) * self.design.turn(component) * unit
        deviation = self.deviations[self._row(component)] * unit
        aliases = deviation.abs().square() - line.imag.square()
        raised = line.abs() - line.real.abs()
        return (aliases.clamp(min=0) + raised.square()).sqrt() * (
            self.design.scale(component) / unit
        )

    def contrast_response(
        self, parts: int | Sequence[int], n_contrasts: int = 33
    ) -> tuple[Tensor, Tensor]:
        r"""The activation as a function of the contrast of one part or of several.

        This is the response averaged over the flicker of all other parts, as far as the spectrum
        holds its components. If several share a line, the one of lowest order counts:

        .. math:: r(c) = \overline{r} + \sum_n C_n \prod_i \cos(n_i \theta(c_i))

        with :math:`C_n` the sum of the coefficients of all components ``(n1, +-n2, ...)`` of these
        parts. It replaces a sweep over contrasts, as in vision science, and takes no more frames.

        Args:
            parts (int or sequence of int): One part gives a curve, two give a surface.
            n_contrasts (int, optional): Contrasts of each part, evenly spaced over the design's
                range. Default: 33

        Returns:
            tuple[Tensor, Tensor]: The contrasts, shape ``(n_contrasts,)``, and the activation,
            shape ``(n_contrasts, N, *neuron)``, with one leading dimension per part.

        Raises:
            ValueError: If the spectrum holds no component of these parts, a part is named twice, or
                the design shows only two contrasts.

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
        wanted = _as_parts(parts)
        if isinstance(self.design, TwoLevelDesign):
            raise ValueError(
                f"Expected a design with more than two contrasts, but got a {self.design}; "
                "`corners` gives the answers to its two, a `ChebyshevGrid` or tags more"
            )
        self._warn_of_lag()
        distinct = without_shared_lines(self.components, self.design)
        held = [c for c in distinct if set(c.parts) <= set(wanted)]
        known = {part for component in self.components for part in component.parts}
        if not held or not known.issuperset(wanted) or len(set(wanted)) < len(wanted):
            raise ValueError(
                f"Expected `parts` to be different ones among {sorted(known)}, with components "
                f"in the spectrum, but got {parts}; it holds {', '.join(map(str, self.components))}"
            )
        contrasts = np.linspace(*self.design.contrast, integer(n_contrasts, "n_contrasts"))
        coefficients = {component: self.coefficient(component) for component in held}
        phases = self.design.phase_of(contrasts)
        surface = response_surface(self.mean, coefficients, wanted, phases, self.design)
        return torch.from_numpy(contrasts).to(self.mean), surface

    def corners(self, parts: Sequence[int]) -> Tensor:
        """The activation with two parts at their lowest and highest contrast.

        This is the response averaged over the contrasts of all other parts, as in
        `contrast_response`. On a two-level design it is the mean over the frames of each corner.
        From components to some order, kinks of the response are rounded off: interaction effects of
        a real network come out somewhat wrong, more for contrasts from 0 to 1 than from 0.5 to 1.

        Args:
            parts (sequence of int): Two parts.

        Returns:
            Tensor: Shape ``(2, 2, N, *neuron)``: lowest and highest contrast of the first part,
            then of the second.

        Raises:
            ValueError: If these are not two parts, or the spectrum lacks components of one of them
                or of both together.

        Examples::

            >>> from captum_ssvep import TwoLevelDesign
            >>> design = TwoLevelDesign(2)
            >>> left, right = torch.as_tensor(design.contrasts).T
            >>> both = torch.stack([left * right, torch.maximum(left, right)], dim=1)
            >>> spectrum = TaggedSpectrum.from_series(both, design)
            >>> spectrum.corners((0, 1))[:, :, 1]
            tensor([[0., 1.],
                    [1., 1.]], dtype=torch.float64)
            >>> spectrum.and_or_index((0, 1)).tolist()
            [1.0, -1.0]
        """
        return self._corner_changes(parts) + self.mean

    def main_effects(self, parts: Sequence[int]) -> Tensor:
        r"""What each of two parts adds, averaged over the contrasts of the other.

        From lowest to highest contrast, with its sign; Banzhaf's values if contrasts are 0 and 1.

        Args:
            parts (sequence of int): As in `corners`.

        Returns:
            Tensor: In units of the activation, shape ``(2, N, *neuron)``.
        """
        return corners.main_effects(self._corner_changes(parts))

    def interaction_effect(self, parts: Sequence[int]) -> Tensor:
        r"""By how much the answer to two parts exceeds what each adds alone.

        .. math:: D = r_{hh} - r_{hl} - r_{lh} + r_{ll}

        with :math:`r` of `corners`. This is Banzhaf's interaction index if contrasts are 0 and 1.

        Args:
            parts (sequence of int): As in `corners`.

        Returns:
            Tensor: In units of the activation, shape ``(N, *neuron)``.
        """
        return corners.interaction_effect(self._corner_changes(parts))

    def and_or_index(self, parts: Sequence[int]) -> Tensor:
        r"""Whether a neuron needs both parts (AND, 1), adds them up (0), or needs either (OR, -1).

        .. math:: \kappa = \mathrm{sign}(T) D / S

        with :math:`D` of `interaction_effect`, :math:`T = r_{hh} - r_{ll}` and :math:`S` half the
        sum of the absolute differences along the four edges of `corners`. On contrasts 0 and 1:
        a b 1, min(a, b) 1, a + b 0, max(a, b) -1. It holds for the design's range of contrasts: a
        threshold between 0 and 0.5 makes an AND on [0, 1] that a flicker in [0.5, 1] cannot see.

        Args:
            parts (sequence of int): As in `corners`.

        Returns:
            Tensor: Between -1 and 1, shape ``(N, *neuron)``; NaN where the absolute
            `monotonicity` is below 0.1, since the sign then means nothing (XOR, but also a - b),
            and where the neuron does not respond beyond rounding.
        """
        return self._where_responding(parts, corners.and_or_index)

    def monotonicity(self, parts: Sequence[int]) -> Tensor:
        r"""Whether more contrast always raises the answer (1) or lowers it (-1): :math:`T / S`.

        Args:
            parts (sequence of int): As in `corners`.

        Returns:
            Tensor: Between -1 and 1, shape ``(N, *neuron)``; NaN where the neuron does not respond
            beyond rounding.
        """
        return self._where_responding(parts, corners.monotonicity)

    def _corner_changes(self, parts: Sequence[int]) -> Tensor:
        """`corners` without the mean, in which small differences would be lost."""
        self._warn_of_lag()
        rows, weights = corners.corner_weights(self.components, self.design, parts)
        coefficients = torch.stack([self.coefficient(self.components[row]) for row in rows])
        changes: Tensor = torch.tensordot(weights.to(coefficients), coefficients, dims=1)
        return changes

    def _warn_of_lag(self) -> None:
        """Warn where responses do not follow the contrasts at once, and signs mean little."""
        tags = [component for component in self.components if component.order == 1]
        if not (self.design.in_time and tags):
            return
        # In double precision, in which squares of small numbers are not 0.
        amplitudes = torch.stack([self.amplitude(tag) for tag in tags]).double()
        followed = torch.stack([self.coefficient(tag) for tag in tags]).double()
        total = amplitudes.square().sum()
        if followed.square().sum() < (1 - MOST_LAG) * total:
            warn_user(
                "Contrast responses and readings of AND and OR assume that neurons follow the "
                "contrasts without delay, but the phases at the tags say otherwise: memory, "
                "latency or noise. A delay of a tenth of a second turns an AND into an OR. Read "
                "amplitudes, `sum_over_difference` and `apparent_latency` instead; "
                "`epochs.shift_time(-latency)` of MNE undoes a known latency"
            )

    def _where_responding(self, parts: Sequence[int], read: Callable[[Tensor], Tensor]) -> Tensor:
        table = self._corner_changes(parts)
        responds = corners.path_length(table) > CORNER_FLOORS * self.floor_of_neurons
        return read(table).where(responds, torch.nan)

    def shapley_values(self) -> Tensor:
        r"""What each part is worth to each neuron: the Shapley values of the parts.

        The parts play a game whose payoff is the activation; those outside of a coalition are at
        the lowest contrast. Exact, since all coalitions are shown.

        .. math:: \phi_i = \sum_{T \ni i, \, |T| \text{ odd}} 2 c_T / |T|

        Returns:
            Tensor: In units of the activation, shape ``(parts, N, *neuron)``. They sum to the
            activation with all parts at the highest contrast, minus that with all at the lowest.

        Raises:
            ValueError: If the spectrum does not hold all components of all corners.

        Examples::

            >>> from captum_ssvep import TwoLevelDesign
            >>> design = TwoLevelDesign(3, max_order=3)
            >>> a, b, c = torch.as_tensor(design.contrasts).T
            >>> spectrum = TaggedSpectrum.from_series((a * b + c)[:, None], design)
            >>> spectrum.shapley_values()[:, 0].tolist()
            [0.5, 0.5, 1.0]
            >>> spectrum.shapley_interactions()[:, 0].tolist()
            [1.0, 0.0, 0.0]
        """
        return self._sum_over_corners(shapley.value_weights)

    def shapley_interactions(self) -> Tensor:
        r"""What two parts are worth together beyond their single worths, for every pair.

        The Shapley interaction index of Grabisch and Roubens (1999), exact:

        .. math:: \phi_{ij} = \sum_{T \ni i, j, \, |T| \text{ even}} 4 c_T / (|T| - 1)

        Returns:
            Tensor: In units of the activation, shape ``(pairs, N, *neuron)``, pairs in the order
            of ``itertools.combinations(range(n_parts), 2)``.

        Raises:
            ValueError: As in `shapley_values`.
        """
        return self._sum_over_corners(shapley.interaction_weights)

    def _sum_over_corners(
        self, weigh: Callable[[Sequence[Component], int], NDArray[np.float64]]
    ) -> Tensor:
        n_parts = self.design.n_parts
        is_complete = len(self.components) == 2**n_parts - 1
        shows_all = isinstance(self.design, TwoLevelDesign) and self.design.n_frames == 2**n_parts
        if not (is_complete and shows_all):
            raise ValueError(
                "Expected the components of all corners for Shapley values, but got "
                f"{count(len(self.components), 'component')} of a {self.design} with "
                f"{self.design.n_frames} frames; take `TwoLevelDesign({n_parts}, "
                f"max_order={n_parts})`, and group parts if there are more than 12"
            )
        turns = [self.design.turn(c) * self.design.scale(c) for c in self.components]
        weights = torch.from_numpy(weigh(self.components, n_parts) * turns)
        summed: Tensor = torch.tensordot(weights.to(self.lines.real), self.lines.real, dims=1)
        return summed

    @property
    def whole(self) -> WholeSpectrum:
        """The spectrum at every frequency, with amplitude, phase, SNR and z.

        Raises:
            ValueError: If the spectrum was computed without ``whole=True``.
        """
        if self.whole_lines is None:
            raise ValueError(
                "Expected a spectrum with every frequency, but got one of components alone; "
                "compute it with `spectrum(..., whole=True)` or `from_series(..., whole=True)`"
            )
        return WholeSpectrum(
            self.whole_lines,
            cast(TaggingDesign, self.design),
            self.floor,
            self.n_neighbors or 2,
            max(4, *(component.order for component in self.components)),
        )

    @property
    def frequencies(self) -> Tensor:
        """Every frequency of `whole`, in Hz, shape ``(bins,)``."""
        return self.whole.frequencies

    @property
    def off_lattice(self) -> Tensor:
        """Share of the variance at frequencies that no combination of the tags reaches.

        Subharmonics, own rhythms, noise and what has not settled; 0 for a network without memory.
        Tags may hide some of it: 6 and 7.5 Hz reach 3 Hz, half of 6, as 2 (f2 - f1).

        Returns:
            Tensor: Shape ``(N, *neuron)``.

        Raises:
            ValueError: If the frames were not shown in time, or every frequency of the record is a
                combination of the tags.
        """
        if self.lattice_variance is None:
            raise ValueError(
                "Expected frequencies between the combinations of the tags, but got frames that "
                "were shown by themselves, or a record in which every frequency is a combination "
                "of some order; pass `presentation`, and a design of two periods, as by "
                f"`dataclasses.replace(design, n_frames={2 * self.design.n_frames})`"
            )
        others = (self.known_variance - self.lattice_variance).clamp(min=0)
        return statistics.variance_share(others, self.known_variance, self.floor_of_neurons)

    def sum_over_difference(self, parts: Sequence[int]) -> Tensor:
        """Amplitude at ``f1 + f2`` over that at ``f1 - f2``, of two parts.

        It is 1 without memory, and where memory lies only in front of the nonlinearity; a leak
        behind it weakens the higher of the two.

        Args:
            parts (sequence of int): Two parts.

        Returns:
            Tensor: Shape ``(N, *neuron)``; NaN where neither has an SNR that noise alone exceeds in
            less than 5 % of lines (`statistics.snr_threshold`, 2.33 with two neighbors per side).

        Raises:
            ValueError: If the spectrum does not hold both components.
        """
        first, second = corners.as_pair(parts)
        if max(first, second) >= self.design.n_parts:
            raise ValueError(
                f"Expected `parts` among 0 to {self.design.n_parts - 1}, but got {shown(parts)}"
            )
        at_sum, at_difference = [0] * self.design.n_parts, [0] * self.design.n_parts
        at_sum[first] = at_sum[second] = at_difference[first] = 1
        at_difference[second] = -1
        ratio = self.amplitude(at_sum) / self.amplitude(at_difference)
        threshold = statistics.snr_threshold(self.n_neighbors or 2)
        responds = torch.maximum(self.snr(at_sum), self.snr(at_difference)) > threshold
        return ratio.where(responds, torch.nan)

    def apparent_latency(self) -> Tensor:
        r"""Delay that the phases of the tags' fundamentals suggest, in seconds.

        The slope of phase over frequency, :math:`-\frac{1}{2 \pi} d\phi / df`, by least squares
        over the fundamentals, whose phases are taken from one frequency to the next the short way
        round. It assumes that all parts act with the same sign. Delays beyond half the inverse of
        the tags' spacing look shorter.

        Returns:
            Tensor: Shape ``(N, *neuron)``; NaN where a fundamental does not exceed the rounding
            floor.

        Raises:
            ValueError: If the design has no two tags, or the spectrum lacks a fundamental.
        """
        frequencies = torch.tensor(self.design.frequencies, dtype=torch.float64)
        if len(frequencies) < 2:
            raise ValueError(
                "Expected a design in time with at least two tags for a latency, but got a "
                f"{self.design}; take `TaggingDesign()`"
            )
        order = frequencies.argsort()
        tags = [[int(i == part) for i in range(len(frequencies))] for part in order]
        phases = [(self._line(tag) * self.design.turn(tag)).angle().double() for tag in tags]
        steps = [torch.zeros_like(phases[0])]
        for lower, higher in pairwise(phases):
            turned = torch.remainder(higher - lower + torch.pi, 2 * torch.pi) - torch.pi
            steps.append(steps[-1] + turned)
        centered = frequencies[order] - frequencies.mean()
        slope = torch.tensordot(centered, torch.stack(steps), dims=1) / centered.square().sum()
        responds = torch.stack([self.amplitude(tag) > self.floor_of_neurons for tag in tags])
        latency: Tensor = -slope / (2 * torch.pi)
        return latency.where(responds.all(0), torch.nan)

    def snr(self, component: Sequence[int]) -> Tensor:
        """Signal-to-noise ratio of a component (see `statistics.snr`), shape ``(N, *neuron)``."""
        return self._read("snr", component)

    def variance_share(self, component: Sequence[int]) -> Tensor:
        """Share of the variance over the record in a component, shape ``(N, *neuron)``.

        Raises:
            ValueError: If the spectrum is a sum, which does not determine its variance.
        """
        return self._read("variance_share", component)

    def power(self, component: Sequence[int]) -> Tensor:
        """Variance over the record in a component, shape ``(N, *neuron)``."""
        return self.amplitude(component).square() * self.design.power_share(component)

    @property
    def known_variance(self) -> Tensor:
        """The variance.

        Raises:
            ValueError: If the spectrum is a sum, which does not determine its variance.
        """
        if self.variance is None:
            raise ValueError(
                "Expected a spectrum with its variance, but got a sum of spectra, which does not "
                "determine it; take shares before summing"
            )
        return self.variance

    def first_order(self, part: int) -> Tensor:
        """Share of the variance that this part alone explains: its first-order Sobol index."""
        wanted = (integer(part, "part", -sys.maxsize),)
        return self._share([c for c in self.components if c.parts == wanted], part)

    def interaction(self, parts: Sequence[int]) -> Tensor:
        """Share of the variance that exactly these parts explain together."""
        if not isinstance(parts, (tuple, list)):
            raise TypeError(
                f"Expected `parts` to be several, as in (0, 1), but got {shown(parts)}; "
                "`first_order` gives what one part explains"
            )
        wanted = tuple(sorted(_as_parts(parts)))
        return self._share([c for c in self.components if c.parts == wanted], parts)

    def total_order(self, part: int) -> Tensor:
        """Share of the variance that involves this part in any way: its total Sobol index."""
        wanted = integer(part, "part", -sys.maxsize)
        return self._share([c for c in self.components if wanted in c.parts], part)

    @property
    def explained_variance(self) -> Tensor:
        """Share of the variance in all components; above 1 if collisions count lines twice."""
        return self.reduce(self.components, "variance_share", "sum")

    def _share(self, components: Sequence[Component], parts: int | Sequence[int]) -> Tensor:
        if not components:
            raise ValueError(
                f"Expected different parts among 0 to {self.design.n_parts - 1}, as in (0, 1), "
                f"but got {parts}, for which the spectrum holds no component; compute it with "
                "components='all' and a `max_order` of at least their number"
            )
        return self.reduce(components, "variance_share", "sum")

    def select(self, components: ComponentSelection) -> tuple[Component, ...]:
        """The components of the spectrum in a group, or those given as integer tuples.

        Raises:
            ValueError: If the spectrum holds none of the group, or tuples do not fit the design.
        """
        if not isinstance(components, str):
            return self.design.components(components)
        held = tuple(component for component in self.components if in_group(component, components))
        if not held:
            raise ValueError(
                f"Expected the spectrum to hold {components}, but it has only "
                f"{', '.join(map(str, self.components))}"
            )
        return held

    @cached_property
    def _rows(self) -> dict[Component, int]:
        return {component: row for row, component in enumerate(self.components)}

    def _row(self, component: Sequence[int]) -> int:
        is_checked = isinstance(component, Component)
        (wanted,) = [component] if is_checked else self.design.components([component])
        if wanted not in self._rows:
            raise ValueError(
                f"Expected a component of the spectrum, but got {wanted}; it holds "
                f"{', '.join(map(str, self.components))}"
            )
        return self._rows[wanted]

    def _line(self, component: Sequence[int]) -> Tensor:
        return self.lines[self._row(component)]

    def neighbor_amplitudes(self, component: Sequence[int]) -> Tensor:
        """Amplitudes of the line's neighbors, shape ``(2 * n_neighbors, N, *neuron)``."""
        bins = neighbors_of(component, self.components, self.design, self.n_neighbors)
        rows = np.searchsorted(self.neighbor_bins, bins)
        return self.neighbor_lines[rows].abs() * 2 / self.design.n_frames

    @property
    def floor_of_neurons(self) -> Tensor:
        """The floor in a shape that broadcasts to ``(N, *neuron)``."""
        return self.floor.reshape(-1, *[1] * (self.mean.dim() - 1))

    @property
    def unit(self) -> str | None:
        """Unit of all amplitudes, as ``"V"``; None for a network, and if channels differ."""
        units = set(self.neuron_units or ())
        return units.pop() if len(units) == 1 else None

    @property
    def example_kind(self) -> str:
        """What the first dimension counts; ``"trial"`` of a recording whose channels have names."""
        return "image" if self.neuron_names is None else "trial"

    @property
    def layout(self) -> Layout | None:
        """How the layer's output is arranged, as `to_map` takes it; None if it is not known."""
        return layout_of(self.mean.dim(), self.channel_dim)

    def table(self) -> list[dict[str, Any]]:
        """One record per image, neuron and component, in the form that ``pandas.DataFrame`` takes.

        Each has ``image``, ``layer``, ``neuron`` (its name in a recording; an integer in a network,
        or a tuple if neurons have several indices), ``unit`` (None for a network), ``component``,
        ``order``, ``frequency`` in Hz (None without time; what lies above half the sampling rate is
        seen folded, as ``design.title`` says), ``amplitude``, ``coefficient``, ``snr`` and
        ``share`` of the variance (None for a sum of spectra).

        Examples::

            >>> from captum_ssvep import TaggingDesign
            >>> design = TaggingDesign()
            >>> series = torch.as_tensor(design.contrasts.prod(axis=1))[:, None]
            >>> record = TaggedSpectrum.from_series(series, design).table()[3]
            >>> record["component"], record["order"], record["frequency"]
            ('f1 + f2', 2, 13.5)
        """
        return tables.long_table(self)

    def wide_table(
        self, statistics: Statistic | Sequence[Statistic] = "amplitude"
    ) -> list[dict[str, Any]]:
        """One record per image and neuron, with a column for each component and statistic.

        Each has ``image``, ``layer``, ``neuron`` and ``unit``, as in `table`, and columns such as
        ``"amplitude f1 + f2"``.

        Args:
            statistics (str or list of str, optional): One or several of `statistics.STATISTICS`.
                Default: ``"amplitude"``

        Raises:
            ValueError: If a statistic is unknown, or the design has none.

        Examples::

            >>> from captum_ssvep import TaggingDesign
            >>> design = TaggingDesign()
            >>> series = torch.as_tensor(design.contrasts.prod(axis=1))[:, None]
            >>> spectrum = TaggedSpectrum.from_series(series, design, [(1, 0), (1, 1)])
            >>> list(spectrum.wide_table(["amplitude", "snr"])[0])[-4:]
            ['amplitude f1', 'amplitude f1 + f2', 'snr f1', 'snr f1 + f2']
        """
        return tables.wide_table(self, statistics)

    def to_xarray(self) -> xarray.Dataset:
        """The spectrum as a ``Dataset`` of xarray, which ``to_netcdf`` writes as it is.

        Dimensions are ``component``, ``image`` and those of the neurons, with the channels' names
        as coordinates. Variables are ``amplitude``, ``phase``, ``coefficient``, ``snr`` and
        ``mean``; the attribute ``design`` is the design as JSON (see `Design.from_dict`).

        Raises:
            ImportError: If xarray is not installed.
        """
        return tables.labeled(self)

    def to_mne(self, info: Any = None) -> Any:
        """The spectrum as `mne.time_frequency.EpochsSpectrumArray`: images are epochs.

        Values are complex: their modulus is the peak amplitude in the channel's unit, their angle
        the phase. Frequencies are those of the components, or all if the spectrum is ``whole``.
        MNE's plots square the values and label them as power per Hz, which they are not.

        Args:
            info (mne.Info, optional): Of the channels, with their positions: ``recording.info``.
                Default: None, made of names and units

        Raises:
            ValueError: If there is no time, neurons have several dimensions, or the channels are
                not known or do not fit.
            TypeError: If ``info`` is none of MNE.
            ImportError: If MNE is not installed.

        Examples::

            >>> import mne
            >>> from captum_ssvep import TaggingDesign
            >>> design = TaggingDesign(sampling_rate=500, n_frames=5000)
            >>> info = mne.create_info(["Oz", "Pz"], 500, "eeg")
            >>> series = torch.rand(5000, 8, 2, dtype=torch.float64)
            >>> spectrum = TaggedSpectrum.from_series(series, design, [(1, 0), (1, 1)])
            >>> spectrum.to_mne(info).get_data("Oz", return_freqs=True)[1]
            array([ 6. , 13.5])
        """
        return recordings.write_spectrum(self, info)

    def __repr__(self) -> str:
        highest = max(component.order for component in self.components)
        shape = " x ".join(map(str, self.mean.shape[1:])) or "1"
        return (
            f"TaggedSpectrum({'' if self.layer is None else self.layer + ', '}"
            f"{shape} {self.neurons}{'' if shape == '1' else 's'}{self._named()}, {self.design}, "
            f"{count(len(self.components), 'component')} to order {highest}, "
            f"{count(len(self), self.example_kind)})"
        )

    def _named(self) -> str:
        """What is known about the channels of a recording, for `__repr__`."""
        names, units = self.neuron_names, sorted(set(self.neuron_units or ()))
        known = "" if names is None else f" {names[0]}"
        known += f" to {names[-1]}" if names is not None and len(names) > 1 else ""
        return known + (f" in {' and '.join(units)}" if units else "")

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, examples: int | np.integer[Any] | slice | Tensor) -> TaggedSpectrum:
        """The spectrum of some examples; a single index keeps the batch dimension, of size 1."""
        if isinstance(examples, (int, np.integer)):
            example = range(len(self))[int(examples)]  # handles negative and too large ones
            examples = slice(example, example + 1)
        picked = {name: value[:, examples] for name, value in self._tensors(PER_LINE).items()}
        picked |= {name: value[examples] for name, value in self._tensors(PER_NEURON).items()}
        return replace(self, **picked)

    def _tensors(self, names: Sequence[str] = PER_LINE + PER_NEURON) -> dict[str, Any]:
        """The tensors that the spectrum has, by field."""
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def __add__(self, other: TaggedSpectrum) -> TaggedSpectrum:
        """The spectrum of the sum of two responses (the coherent or "evoked" sum of EEG)."""
        if not isinstance(other, TaggedSpectrum):
            return NotImplemented
        names = ("design", "components", "n_neighbors", "neighbor_bins", *PER_CHANNEL)
        facts = [(name, getattr(self, name), getattr(other, name)) for name in names]
        facts.append(("shape", tuple(self.mean.shape), tuple(other.mean.shape)))
        for name, one, another in facts:
            if one != another:
                raise ValueError(
                    f"Expected spectra with the same {name} to add, but got {one} and {another}"
                )
        ours, theirs = self._tensors(), other._tensors()
        # The variance of a sum is not the sum of variances.
        both = (ours.keys() & theirs.keys()) - VARIANCES
        added: dict[str, Any] = dict.fromkeys(PER_LINE + PER_NEURON)
        added |= {name: ours[name] + theirs[name] for name in both}
        return replace(self, **added, layer=self.layer if self.layer == other.layer else None)

    def __radd__(self, other: object) -> TaggedSpectrum:
        # 0 is the start value of the built-in sum().
        return self if other == 0 else NotImplemented

    def to(self, device: torch.device | str) -> TaggedSpectrum:
        """Move all tensors to a device.

        Raises:
            TypeError, ValueError: If it is no device of torch.
        """
        instance(device, (str, torch.device), "device", "a device, such as 'cpu' or 'cuda'")
        try:
            torch.device(device)
        except RuntimeError:
            raise ValueError(
                f"Expected `device` to be one of torch, such as 'cpu' or 'cuda', but got {device!r}"
            ) from None
        return replace(self, **{name: t.to(device) for name, t in self._tensors().items()})

    def save(self, path: str | Path) -> None:
        """Write everything to an ``.npz`` file of plain arrays, readable without this package.

        The arrays have the names of the attributes; attributes that are not tensors are JSON in the
        array ``about``.
        """
        tensors = self._tensors()
        names = {field.name for field in fields(self)} - tensors.keys()
        about = {name: getattr(self, name) for name in names}
        about["design"] = self.design.to_dict()
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        _npz.save(path, {**arrays, "about": np.array(json.dumps(about))})

    @classmethod
    def load(cls, path: str | Path) -> TaggedSpectrum:
        """Read a file that `save` wrote, to the CPU.

        Raises:
            ValueError: If the file is damaged, or lacks an array that `save` always writes.
        """
        required = {*PER_LINE, *PER_NEURON, "about"} - OPTIONAL
        arrays = _npz.load(path, required, "`TaggedSpectrum.save`")
        about = json.loads(str(arrays.pop("about")))
        about["design"] = Design.from_dict(about["design"])
        about["components"] = tuple(map(Component, about["components"]))
        about["neighbor_bins"] = tuple(about["neighbor_bins"])
        about |= {name: tuple(about[name]) for name in PER_CHANNEL if about.get(name)}
        about |= {name: torch.from_numpy(array) for name, array in arrays.items()}
        return cls(**{"variance": None, **about})


def _as_parts(parts: Any) -> tuple[int, ...]:
    """One part or several, as a tuple of integers."""
    several = isinstance(parts, (tuple, list)) or getattr(parts, "ndim", 0) == 1
    return tuple(integer(part, "parts", -sys.maxsize) for part in (parts if several else [parts]))


def _as_record(series: Any, n_frames: int) -> Tensor:
    """The series as a tensor ``(n_frames, N, *neuron)`` of floating-point numbers.

    Raises:
        ValueError, TypeError: If it is none; the message says what to do.
    """
    record = series.detach() if isinstance(series, Tensor) else _as_tensor(series)
    if not record.is_floating_point():
        raise _not_floating(record)
    shape = tuple(record.shape)
    if len(shape) < 2 or shape[0] != n_frames or not record.numel():
        remedy = "give the design the `n_frames` of the record"
        if shape == (n_frames,):
            remedy = "`series[:, None]` makes a batch of one"
        elif n_frames in shape[1:]:
            place = -1 if shape[-1] == n_frames else shape.index(n_frames, 1)
            remedy = f"`np.moveaxis(series, {place}, 0)` puts time first"
        raise ValueError(
            "Expected `series` of shape (n_frames, N, ...), time first and at least one of each, "
            f"with n_frames = {n_frames}, but got shape {shape}; {remedy}"
        )
    return record


def _as_tensor(series: Any) -> Tensor:
    """An array, or what NumPy makes one of, as a tensor, without a copy where that is possible."""
    if np.ma.is_masked(series):
        raise ValueError(
            "Expected `series` without masked entries, but got some; leave them out or interpolate"
        )
    try:
        array = np.asarray(series)
    except (TypeError, ValueError):  # such as lists of unequal lengths
        array = np.array(None)
    if array.dtype.kind != "f":
        raise _not_floating(series if array.dtype.kind in "OUSV" else array)
    # Torch takes no other byte order, no extended precision, nothing read-only or reversed.
    dtype = float if array.dtype.char == "g" else array.dtype.newbyteorder("=")
    array = np.require(array, dtype, "W")
    return torch.from_numpy(array if min(array.strides, default=0) >= 0 else array.copy())


def _not_floating(series: Any) -> TypeError:
    got = getattr(series, "dtype", f"{type(series).__name__} without numbers")
    remedy = "convert it with `series.astype(float)`, or a tensor with `.double()`"
    if "complex" in str(got):
        remedy = "take `.real`, `.imag` or `abs()`"
    return TypeError(
        f"Expected `series` to be a tensor or an array of floating dtype, but got {got}; {remedy}"
    )
