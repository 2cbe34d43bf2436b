"""Show the frames of a plan to a network, and sum its response as they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .._checks import shown
from ..model.channels import mean_of_channels
from ..model.recorder import Receiver, Recording
from ..stimulus.frames import FrameNoise, Stimulus
from .passes import Pass, PassSize, ShownFrames, company_of, passes_of
from .plan import SpectrumPlan
from .repetition import Repetition, most_floors
from .sums import FourierSums
from .tagged import NeuronKind, TaggedSpectrum
from .whole import validate_size, whole_of

Pooling = Literal["channel"] | Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class Source:
    """What runs the network and records from it.

    Args:
        record: Runs one pass. It takes the rows of the batch, their frames (one tensor per input;
            all examples of the first frame, then of the second), the number of frames, and a
            receiver, to which it passes what it recorded from each layer with the layer's index.
        kind: What is recorded, such as the activations of a layer.
        recording: The layers.
        fit: Frames that suit the memory; called after the first frame. Default: those of the pass
            size
        block: A context for the passes of a block of examples. Default: none
    """

    record: Callable[[slice, tuple[Tensor, ...], int, Receiver], None]
    kind: str
    recording: Recording
    fit: Callable[[], int] | None = None
    block: Callable[[], AbstractContextManager[object]] = nullcontext


def stream_spectra(
    plan: SpectrumPlan,
    stimulus: Stimulus,
    source: Source,
    size: PassSize,
    *,
    pooling: Pooling = None,
    noise_std: float = 0.0,
    seed: int = 0,
    title: str | None = None,
    repetition: Repetition | None = None,
) -> list[tuple[TaggedSpectrum, ...]]:
    """Show all frames of a plan to a network, block by block of the examples, and sum.

    A block's frames run in passes whose sums accumulate. Memory holds one pass, and one set of
    sums for each block; no recording outlives its pass.

    Args:
        plan: Frames to show and lines to sum.
        stimulus: What flickers.
        source: Runs the network.
        size: Frames and examples in a pass.
        pooling: As in `FrequencyTaggingAttribution.spectrum`. Default: None
        noise_std: Standard deviation of noise on the frames. Default: 0.0
        seed: Seed of the noise. Default: 0
        title: Title of the progress bar. Default: None, no bar
        repetition: Whether to show a frame again, and what to say of it. Default: None, not

    Returns:
        list[tuple[TaggedSpectrum, ...]]: For each layer, a spectrum per tensor.

    Raises:
        ValueError: If the pooling is neither None, ``"channel"`` nor a function or loses the
            batch, or what was recorded is not finite or has no channels to pool.
    """
    validate_pooling(pooling)
    n_layers = len(source.recording.names)
    layers = [
        LayerSums(plan, source, index, pooling, stimulus.n_examples) for index in range(n_layers)
    ]
    repeats = repetition is not None and repetition.is_due(len(plan.contrasts), stimulus.n_examples)

    n_rows = stimulus.n_examples * len(plan.contrasts)
    with tqdm(desc=title, total=n_rows, unit="frame", disable=title is None) as bar:
        for first in range(0, stimulus.n_examples, size.examples):
            rows = slice(first, first + size.examples)
            block = stimulus.examples(rows)
            noise = FrameNoise(block.inputs, float(noise_std), seed) if noise_std else None
            all_frames = ShownFrames(block, noise)
            with source.block():
                for part in passes_of(len(plan.contrasts), size.frames, source.fit, repeats):
                    frames = all_frames.of(part, plan.contrasts)
                    receive = partial(_receive, layers, part, block.n_examples)
                    source.record(rows, frames, part.n_new + part.again, receive)
                    bar.update(part.n_new * block.n_examples)
    if repeats and repetition:
        differences = [layer.difference() for layer in layers]
        limits = [layer.limit for layer in layers]
        repetition.judge(source.recording, differences, limits, company_of(part, size.examples))
    return [layer.spectra() for layer in layers if layer.tensors]


def validate_pooling(pooling: Any) -> None:
    """Refuse what does not pool.

    Raises:
        ValueError: If the pooling is neither None, ``"channel"`` nor a function.
    """
    is_function = callable(pooling) and not isinstance(pooling, type)
    if not (pooling is None or is_function or (isinstance(pooling, str) and pooling == "channel")):
        raise ValueError(
            f"Expected `pooling` to be None, 'channel' or a function, but got {shown(pooling)}"
        )


def _receive(
    layers: Sequence[LayerSums],
    part: Pass,
    n_examples: int,
    index: int,
    tensors: tuple[Tensor | None, ...],
) -> None:
    layers[index].add(part, n_examples, tensors)


@dataclass
class _TensorSums:
    """Sums of one tensor of a layer, and its answers to the frame that is shown twice."""

    plan: SpectrumPlan
    channel_dim: int | None
    # For each block of examples: its sums, and how far the two answers of each example differ.
    blocks: list[FourierSums] = field(default_factory=list)
    differences: list[Tensor] = field(default_factory=list)
    # All responses of each block, if the plan asks for them.
    records: list[list[Tensor]] = field(default_factory=list)

    def add(self, part: Pass, frames: Tensor, eps: float) -> None:
        """Take in what the layer returned in a pass, shape ``(frames, N, *neuron)``."""
        n_skipped = min(max(0, self.plan.first_summed - part.start), len(frames))
        start, frames = part.start + n_skipped, frames[n_skipped:]
        if not len(frames):
            return
        if start == self.plan.first_summed:
            self.blocks.append(self.plan.new_sums(frames[0], eps))
            self.records.append([])
        if not part.again:
            self._take(start, frames)
            return
        first = self.blocks[-1].reference()
        difference = (frames[part.place].to(first) - first).abs()
        difference = difference.reshape(len(difference), -1).amax(dim=1)
        if not part.n_new:
            difference[1::2] = 0  # these examples showed another frame
        self.differences.append(difference)
        before, after = frames[: part.place], frames[part.place + 1 :]
        for start, new in ((part.start, before), (part.start + part.place, after)):
            if len(new):
                self._take(start, new)

    def _take(self, start: int, frames: Tensor) -> None:
        """Sum the responses to frames ``start, start + 1, ...``, and keep them if asked to."""
        self.blocks[-1].add(start, frames)
        if self.plan.whole:
            self.records[-1].append(self.plan.read_of(start, frames).clone())

    def whole_lines(self) -> Tensor | None:
        """Fourier sums at every bin, if the plan asks for them."""
        return whole_of([torch.cat(block) for block in self.records]) if self.plan.whole else None

    def difference(self) -> float:
        """By how many rounding floors the answers differ in the worst example."""
        floors = torch.cat([sums.floor() for sums in self.blocks])
        differences = torch.cat(self.differences).to(floors)
        return (differences / floors).where(differences > 0, 0).max().item()


@dataclass
class LayerSums:
    """Sums of a layer's tensors, pooled first."""

    plan: SpectrumPlan
    source: Source
    index: int
    pooling: Pooling
    n_examples: int
    # By place among the tensors; those that turn out to have no batch are left out.
    tensors: dict[int, _TensorSums] | None = None
    # By how many rounding floors the answers to equal frames may differ.
    limit: float = 0.0

    def add(self, part: Pass, n_examples: int, tensors: tuple[Tensor | None, ...]) -> None:
        """Take in what the layer returned in a pass."""
        if self.tensors is None:
            self.tensors = {
                place: _TensorSums(self.plan, self._channel_dim(tensor))
                for place, tensor in enumerate(tensors)
                if tensor is not None
            }
        for place in [*self.tensors]:
            if place >= len(tensors):
                raise ValueError(
                    f"Expected layer {self.source.recording.names[self.index]!r} to give as many "
                    "tensors for every frame as for the first, but it gave fewer; choose a layer "
                    "that always gives the same"
                )
            tensor = tensors[place]
            if tensor is None:
                del self.tensors[place]
                continue
            eps = max(self.source.recording.eps[self.index], torch.finfo(tensor.dtype).eps)
            by_frame = torch.unflatten(self._pooled(tensor), 0, (-1, n_examples))
            if self.plan.whole:
                validate_size(self.plan.design.n_frames, by_frame[0], self.n_examples)
            self.tensors[place].add(part, by_frame, eps)
            self.limit = most_floors(eps, tensor.device)

    def _pooled(self, activations: Tensor) -> Tensor:
        if self.pooling is None:
            return activations
        # In half precision the mean would lose what differs between frames.
        wide = activations.to(torch.promote_types(activations.dtype, torch.float32))
        if self.pooling == "channel":
            return mean_of_channels(wide, self.source.recording.channel_dim_of(self.index, wide))
        pooled = self.pooling(wide)
        if not isinstance(pooled, Tensor) or pooled.shape[:1] != wide.shape[:1]:
            got = tuple(pooled.shape) if isinstance(pooled, Tensor) else type(pooled).__name__
            raise ValueError(
                f"Expected `pooling` to keep the batch of {len(wide)} on dimension 0, but it gave "
                f"{got}"
            )
        return pooled

    def _channel_dim(self, tensor: Tensor) -> int | None:
        if self.pooling is None:
            return self.source.recording.find_channel_dim(self.index, tensor)
        return 1 if self.pooling == "channel" else None

    @property
    def neurons(self) -> NeuronKind:
        """What the numbers of a spectrum belong to."""
        if self.pooling is None:
            return "neuron"
        return "channel" if self.pooling == "channel" else "pooled value"

    def difference(self) -> float:
        """By how many rounding floors the answers to the repeated frame differ."""
        return max((sums.difference() for sums in (self.tensors or {}).values()), default=0.0)

    def spectra(self) -> tuple[TaggedSpectrum, ...]:
        """A spectrum of all examples for each tensor."""
        name = self.source.recording.names[self.index]
        tensors = (self.tensors or {}).values()
        if not all(block.is_finite for sums in tensors for block in sums.blocks):
            raise ValueError(
                f"Expected the {self.source.kind} {name!r} to be finite, but got NaN or infinity; "
                "find the operation that makes them and read a layer before it"
            )
        # A network that draws random numbers never settles.
        for sums in [] if self.source.recording.drew[self.index] else tensors:
            for block in sums.blocks:
                self.plan.judge(name, block)
        origin = {"layer": name, "neurons": self.neurons}
        return tuple(
            TaggedSpectrum.from_sums(
                self.plan,
                sums.blocks,
                **origin,
                channel_dim=sums.channel_dim,
                whole_lines=sums.whole_lines(),
            )
            for sums in tensors
        )
