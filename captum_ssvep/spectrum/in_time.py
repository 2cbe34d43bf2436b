"""Spectra of networks that live in time: the record is shown in order, after a warm-up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from .._checks import count, warn_user
from ..design import ComponentSelection, TaggingDesign
from ..stimulus.frames import FrameNoise, Stimulus
from ..stimulus.presentation import InSequence
from .passes import Pass
from .plan import SpectrumPlan
from .run import LayerSums, Pooling, Source
from .sums import FourierSums
from .tagged import TaggedSpectrum

# Of a response, so much may differ between the first period that is read and the last.
MOST_UNSETTLED = 0.01
# And so many rounding floors: the lines of a period average over its moments.
MOST_FLOORS = 1.0


@dataclass(frozen=True)
class PlanInTime(SpectrumPlan):
    """Lines of a record that is shown in order, between moments that are not read.

    The lines of two stretches that show the same are summed as well, to see whether the response
    has settled: of the first and the last period in the record. If it is a single one, of the last
    quarter of it and of the period before: where that one begins, a cold start does no harm.

    Args:
        before (int, optional): Moments that are shown before the record. Default: 0
        after (int, optional): Moments that are shown after it. Default: 0
        compares (bool, optional): Whether periods are compared, as makes no sense with noise.
            Default: True
    """

    before: int = 0
    after: int = 0
    compares: bool = True

    has_real_neighbors: ClassVar[bool] = True

    @property
    def first_summed(self) -> int:
        """The first moment that is read, or is compared with the last ones."""
        return self.before + min(0, self._compared[0] if self._compared else 0)

    @property
    def _compared(self) -> tuple[int, int] | None:
        """Where two stretches that show the same begin, from the record's start."""
        n_frames, period = self.design.n_frames, self.design.period
        is_single = n_frames == period
        starts = (-self._stretch if is_single else 0, n_frames - self._stretch)
        return starts if self.compares and self.before + starts[0] >= 0 else None

    @property
    def _stretch(self) -> int:
        """How many moments of a period are compared."""
        period = self.design.period
        return period if self.design.n_frames > period else -(-period // 4)

    @cached_property
    def _watched(self) -> tuple[Any, ...]:
        """The lines that are compared between two periods; the first is the mean."""
        return tuple(dict.fromkeys([0, *map(self.design.line, self.components)]))

    @cached_property
    def _frames(self) -> tuple[NDArray[np.float64], NDArray[np.complex128], NDArray[np.float64]]:
        """Contrasts, weights and shares of all moments."""
        design = self.design
        n_moments = self.before + design.n_frames + self.after
        moments = np.arange(n_moments) - self.before
        frames = moments % design.n_frames
        is_read = (moments >= 0) & (moments < design.n_frames)
        weights = [design.line_weights(self._lines)[:, frames] * is_read]
        if self._compared:
            watched = design.line_weights(self._watched)[:, frames]
            for start in self._compared:
                weights.append(watched * ((moments >= start) & (moments < start + self._stretch)))
        return design.contrasts[frames], np.concatenate(weights), is_read / design.n_frames

    def read_of(self, start: int, frames: Tensor) -> Tensor:
        """Of the responses to moments ``start, start + 1, ...``, those of the record."""
        first = max(0, self.before - start)
        return frames[first : max(first, self.before + self.design.n_frames - start)]

    def judge(self, layer: str, sums: FourierSums) -> None:
        """Warn if the response differs between two periods."""
        periods = sums.lines()[len(self._lines) :]
        if not len(periods):
            return
        n_lines, n_examples = len(self._watched), periods.shape[1]
        first, last = periods.reshape(2, n_lines, n_examples, -1)
        change, response = (last - first).abs(), last[1:].abs().square().sum((0, 2)).sqrt()
        share = change.square().sum((0, 2)).sqrt() / response
        floors = 2 * change.amax((0, 2)) / self._stretch / sums.floor()
        unsettled = share.where(floors > MOST_FLOORS, 0).max().item()
        if unsettled > MOST_UNSETTLED:
            warn_user(
                f"The response of layer {layer!r} has not settled: the first and the last period "
                f"that are read differ by {100 * unsettled:.1f} % of it. Raise `warmup`, or "
                "`cooldown` for a network that looks ahead; a network with a rhythm of its own "
                "never settles, and shows it at lines off the tags' combinations"
            )


@dataclass(frozen=True)
class Asked:
    """What is to be read of every layer, whatever its sampling rate.

    Args:
        design: The stimulus that is shown.
        components, max_order: As in `Design.components`.
        n_neighbors: Noise bins on each side of a line.
        whole: Whether the whole spectrum is kept.
        noise_std: Standard deviation of noise on the frames.
    """

    design: TaggingDesign
    components: ComponentSelection
    max_order: int | None
    n_neighbors: int
    whole: bool
    noise_std: float

    def plan(self, before: int, after: int, design: TaggingDesign | None = None) -> PlanInTime:
        """The plan for a record between some moments; of a layer, with its own design."""
        plan = PlanInTime.build(
            design or self.design,
            self.components,
            self.max_order,
            self.n_neighbors,
            self.noise_std,
            whole=self.whole,
        )
        return replace(
            plan, before=before, after=after, with_lattice=True, compares=not self.noise_std
        )


def sequence_spectra(
    presentation: InSequence,
    asked: Asked,
    stimulus: Stimulus,
    source: Source,
    n_at_once: int,
    *,
    pooling: Pooling = None,
    noise_std: float = 0.0,
    seed: int = 0,
    title: str | None = None,
) -> list[tuple[TaggedSpectrum, ...]]:
    """Show the record as one sequence, and sum what the layers return over their own time.

    Args:
        presentation: How the sequence is made.
        asked: What to read.
        stimulus: What flickers.
        source: Runs the network, and passes on what each call of a layer returns.
        n_at_once: Examples in a forward pass.
        pooling, noise_std, seed, title: As in `stream_spectra`.

    Returns:
        list[tuple[TaggedSpectrum, ...]]: For each layer, a spectrum per tensor.

    Raises:
        ValueError: If a layer gives no moments, or its rate does not fit the record or the tags.
    """
    n_layers = len(source.recording.names)
    fewest = min(tensor.dim() for tensor in stimulus.inputs)
    if presentation.time_dim > fewest:
        raise ValueError(
            f"Expected `time_dim` of at most {fewest} for inputs with {fewest} dimensions, in "
            f"which time is a new one, but got {presentation.time_dim}; films of pictures have 2"
        )
    period = asked.design.period
    plan = asked.plan(presentation.warmup * period, presentation.cooldown * period)
    series = [
        _LayerSeries(
            plan,
            asked,
            presentation,
            LayerSums(plan, source, index, pooling, stimulus.n_examples),
        )
        for index in range(n_layers)
    ]
    n_moments = len(plan.contrasts)

    def show(rows: slice, n_shown: int) -> list[list[tuple[Tensor | None, ...]]]:
        """What each call of each layer returned for a sequence of some examples."""
        block = stimulus.examples(rows)
        frames = block.frames(plan.contrasts[:n_shown])
        if noise_std:
            FrameNoise(block.inputs, float(noise_std), seed).add_to(frames)
        films = tuple(
            torch.unflatten(frame, 0, (n_shown, -1)).movedim(0, presentation.time_dim).contiguous()
            for frame in frames
        )
        calls: list[list[tuple[Tensor | None, ...]]] = [[] for _ in series]

        def receive(index: int, tensors: tuple[Tensor | None, ...]) -> None:
            calls[index].append(tuple(t if t is None else t.clone() for t in tensors))

        with source.block():
            source.record(rows, films, n_shown, receive)
        return calls

    with tqdm(desc=title, total=stimulus.n_examples, unit="sequence", disable=title is None) as bar:
        for first in range(0, stimulus.n_examples, n_at_once):
            rows = slice(first, min(first + n_at_once, stimulus.n_examples))
            calls = show(rows, n_moments)
            if first == 0 and any(map(_LayerSeries.looks_doubtful, series, calls)):
                try:
                    shorter = show(slice(0, 1), n_moments // 2)
                except Exception:  # a network that takes sequences of one length
                    shorter = []
                for layer, whole, half in zip(series, calls, shorter, strict=False):
                    layer.validate_lengths(whole, half)
            for layer, of_layer in zip(series, calls, strict=True):
                layer.add(of_layer, n_moments, rows.stop - first)
            bar.update(rows.stop - first)
    return [layer.spectra() for layer in series]


class _LayerSeries:
    """The series of a layer, taken from what it returned in a pass."""

    def __init__(
        self,
        plan: PlanInTime,
        asked: Asked,
        presentation: InSequence,
        sums: LayerSums,
    ) -> None:
        self.plan, self.asked, self.sums = plan, asked, sums
        self.recording, self.index = sums.source.recording, sums.index
        self.name = self.recording.names[sums.index]
        dim = presentation.layer_time_dim
        self.time_dim = presentation.time_dim if dim is None else dim

    def looks_doubtful(self, calls: Sequence[tuple[Tensor | None, ...]]) -> bool:
        """Whether what a layer gave may be no series: it is shorter, or has one dimension alone."""
        return any(
            tensor.dim() == 2 or tensor.shape[self.time_dim] != len(self.plan.contrasts)
            for tensor in self._with_time(calls)
        )

    def validate_lengths(
        self,
        whole: Sequence[tuple[Tensor | None, ...]],
        half: Sequence[tuple[Tensor | None, ...]],
    ) -> None:
        """Refuse what is as long for half of the moments: a width is no time.

        Args:
            whole: What each call gave for all moments.
            half: The same for the first half of them.
        """
        lengths = [tensor.shape[self.time_dim] for tensor in self._with_time(whole)]
        if lengths and lengths == [t.shape[self.time_dim] for t in self._with_time(half)]:
            raise ValueError(
                f"Expected layer {self.name!r} to give fewer moments for a shorter sequence, but "
                f"dimension {self.time_dim} of what it returns is {max(lengths)} long for "
                f"{len(self.plan.contrasts)} moments and for half of them: that is no time, as in "
                "a layer behind the last state. Read a layer that keeps time, let the model return "
                "what it says at every moment, or set `layer_time_dim`"
            )

    def _with_time(self, calls: Sequence[tuple[Tensor | None, ...]]) -> list[Tensor]:
        """What a layer gave in its only call, as far as it may have a dimension of time."""
        given = calls[0] if len(calls) == 1 else ()
        return [t for t in given if t is not None and t.dim() > self.time_dim]

    def add(
        self, calls: Sequence[tuple[Tensor | None, ...]], n_moments: int, n_examples: int
    ) -> None:
        """Sum what the layer returned for a block of examples, over its own time."""
        if len(calls) == 1:
            moved = [self._moved(tensor) for tensor in calls[0] if tensor is not None]
        elif len(calls) == n_moments:
            places = zip(*calls, strict=True)
            moved = [torch.stack(place) for place in places if None not in place]
        else:
            raise ValueError(
                f"Expected layer {self.name!r} to be called once in a sequence, or once for each "
                f"of its {n_moments} moments, but it was called {len(calls)} times; give each "
                "call a module of its own"
            )
        # Not last states, as GRU returns them as well.
        held = [t for t in moved if t is not None and t.shape[1:2] == (n_examples,)]
        series = [t for t in held if len(t) == max(map(len, held))]
        if not series:
            shapes = [tuple(t.shape) for t in calls[0] if t is not None]
            raise ValueError(
                f"Expected layer {self.name!r} to return {n_examples} examples with time along "
                f"dimension {self.time_dim}, but got {shapes}; set `layer_time_dim`, or read a "
                "layer that keeps time"
            )
        is_first = self.sums.tensors is None
        if len(series) < len(moved) and is_first:
            others = count(len(moved) - len(series), "tensor")
            warn_user(
                f"Layer {self.name!r} also gives {others} without time, such as last states, which "
                "the result leaves out"
            )
        if is_first:
            self.sums.plan = self._own_plan(n_moments, len(series[0]))
        part = Pass(0, len(series[0]))
        self.sums.add(part, n_examples, tuple(tensor.flatten(0, 1) for tensor in series))

    def _moved(self, tensor: Tensor) -> Tensor | None:
        """A tensor with time on dimension 0; None if it has no such dimension."""
        if tensor.dim() <= self.time_dim:
            return None
        self.recording.times.setdefault(self.index, (self.time_dim, tensor.shape[self.time_dim]))
        return tensor.movedim(self.time_dim, 0)

    def _own_plan(self, n_moments: int, n_own: int) -> PlanInTime:
        """The plan at the layer's own sampling rate."""
        plan, design = self.plan, self.asked.design
        stride, rest = divmod(n_moments, n_own)
        if stride == 1 and not rest:
            return plan
        if rest or any(n % stride for n in (plan.before, design.n_frames, plan.after)):
            raise ValueError(
                f"Expected layer {self.name!r} to give {n_moments} moments, or a whole fraction of "
                f"them in warm-up and record alike, but it gave {n_own} along dimension "
                f"{self.time_dim}; set `layer_time_dim`, pad in time, or change `warmup` or the "
                "design's `n_frames`"
            )
        values = asdict(design) | {
            "sampling_rate": design.sampling_rate / stride,
            "n_frames": design.n_frames // stride,
        }
        try:
            slower = cast(TaggingDesign, TaggingDesign._rebuilt(values))
        except ValueError as error:
            raise ValueError(
                f"Expected tags that layer {self.name!r} can follow, which gives "
                f"{design.sampling_rate / stride:g} moments per second along dimension "
                f"{self.time_dim}, but: {error}"
            ) from None
        return self.asked.plan(plan.before // stride, plan.after // stride, slower)

    def spectra(self) -> tuple[TaggedSpectrum, ...]:
        """A spectrum of all examples for each tensor."""
        return self.sums.spectra()
