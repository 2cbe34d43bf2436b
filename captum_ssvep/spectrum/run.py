"""Show the frames of a plan to a network, and sum its response as they run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .._checks import integer
from ..model.channels import ChannelDims, mean_of_channels
from ..model.recorder import Receiver
from ..stimulus.frames import FrameNoise, Stimulus
from .plan import SpectrumPlan
from .sums import FourierSums
from .tagged import NeuronKind, TaggedSpectrum

Pooling = Literal["channel"] | Callable[[Tensor], Tensor] | None


# glibc returns larger blocks to the system at once. Faulting them in again for every pass makes a
# ResNet-18 slower by 12 to 33 % (`benchmarks/speed.py`, all frames in one pass).
CPU_BYTES = 32 * 2**20
# Inputs, outputs, shortcuts and workspace, all as large as the largest activation.
LIVE_ACTIVATIONS = 8


@dataclass(frozen=True)
class PassSize:
    """How many frames and examples go through the network at once.

    Args:
        frames: Most frames of each example.
        examples: Examples of the batch.
    """

    frames: int
    examples: int

    @classmethod
    def within(
        cls, n_examples: int, n_frames: int | None, max_rows: int | None, name: str
    ) -> PassSize:
        """The largest pass of at most ``n_frames`` frames, and ``max_rows`` rows if given.

        Args:
            n_examples: Size of the batch.
            n_frames: Most frames. None: no limit
            max_rows: Most frames times examples. None: no limit
            name: What the user calls ``n_frames``.

        Raises:
            ValueError: If ``n_frames`` or ``max_rows`` is not positive.
            TypeError: If either is not an integer.
        """
        frames = sys.maxsize if n_frames is None else integer(n_frames, name)
        if max_rows is None:
            return cls(frames, n_examples)
        rows = integer(max_rows, "internal_batch_size")
        examples = min(rows, n_examples)
        return cls(min(frames, rows // examples), examples)


def frames_that_fit(bytes_per_frame: int, device: torch.device) -> int:
    """Frames whose largest activation suits the memory of a device.

    Args:
        bytes_per_frame: Size of the largest activation of a frame, of all examples.
        device: Where the network runs.

    Examples::

        >>> frames_that_fit(3 * 2**20, torch.device("cpu"))
        10
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # PyTorch can also use the memory that it holds in reserve.
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return max(1, free // (LIVE_ACTIVATIONS * bytes_per_frame))
    return max(1, CPU_BYTES // bytes_per_frame)


@dataclass(frozen=True)
class Source:
    """What runs the network and records from it.

    Args:
        record: Runs one pass. It takes the rows of the batch, their frames (one tensor per input;
            all examples of the first frame, then of the second), the number of frames, and a
            receiver, to which it passes what it recorded from each layer with the layer's index.
        kind: What is recorded, such as the activations of a layer.
        names: Names of the layers, by index.
        modules: The layers themselves; None for inputs.
        dims: Where channels lie, known once the first frame has run.
        fit: Frames that suit the memory; called after the first frame. Default: those of the pass
            size
    """

    record: Callable[[slice, tuple[Tensor, ...], int, Receiver], None]
    kind: str
    names: Sequence[str]
    modules: Sequence[nn.Module | None]
    dims: ChannelDims
    fit: Callable[[], int] | None = None


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

    Returns:
        list[tuple[TaggedSpectrum, ...]]: For each layer, a spectrum per tensor.

    Raises:
        ValueError: If the pooling is neither None, ``"channel"`` nor a function or loses the
            batch, or what was recorded is not finite or has no channels to pool.
    """
    if not (pooling is None or callable(pooling) or pooling == "channel"):
        raise ValueError(
            f"Expected `pooling` to be None, 'channel' or a function, but got {pooling!r}"
        )
    layers = [_LayerSums(plan, source, index, pooling) for index in range(len(source.names))]

    def receive(start: int, n_examples: int, index: int, tensors: tuple[Tensor, ...]) -> None:
        layers[index].add(start, n_examples, tensors)

    n_rows = stimulus.n_examples * len(plan.contrasts)
    with tqdm(desc=title, total=n_rows, unit="frame", disable=title is None) as bar:
        for first in range(0, stimulus.n_examples, size.examples):
            rows = slice(first, first + size.examples)
            block = stimulus.examples(rows)
            noise = FrameNoise(block.inputs, noise_std, seed) if noise_std else None
            for start, stop in _passes(len(plan.contrasts), size.frames, source.fit):
                frames = block.frames(plan.contrasts[start:stop])
                if noise:
                    noise.add_to(frames)
                to_layers = partial(receive, start, block.n_examples)
                source.record(rows, frames, stop - start, to_layers)
                bar.update(len(frames[0]))
    return [layer.spectra() for layer in layers if layer.blocks]


def _passes(
    n_frames: int, frames_per_pass: int, fit: Callable[[], int] | None
) -> Iterator[tuple[int, int]]:
    """The frames of each pass, as start and stop.

    The first frame runs alone: it is the reference of the sums, and the one complete forward pass
    of a recorder that stops early.
    """
    yield 0, 1
    if fit:
        frames_per_pass = min(frames_per_pass, fit())
    for start in range(1, n_frames, frames_per_pass):
        yield start, min(start + frames_per_pass, n_frames)


@dataclass
class _LayerSums:
    """Sums of a layer's tensors, pooled first, for each block of examples."""

    plan: SpectrumPlan
    source: Source
    index: int
    pooling: Pooling
    blocks: list[list[FourierSums]] = field(default_factory=list)
    channel_dims: list[int | None] = field(default_factory=list)

    def add(self, start: int, n_examples: int, tensors: tuple[Tensor, ...]) -> None:
        """Take in what the layer returned in the pass that begins with frame ``start``."""
        pooled = map(self._pooled, tensors)
        by_frame = [torch.unflatten(tensor, 0, (-1, n_examples)) for tensor in pooled]
        if start == 0:
            self.channel_dims = [self._channel_dim(tensor.shape) for tensor in tensors]
            self.blocks.append(
                [
                    self.plan.new_sums(frames[0], torch.finfo(tensor.dtype).eps)
                    for frames, tensor in zip(by_frame, tensors, strict=True)
                ]
            )
        for sums, frames in zip(self.blocks[-1], by_frame, strict=True):
            sums.add(start, frames)

    def _pooled(self, activations: Tensor) -> Tensor:
        if self.pooling is None:
            return activations
        # In half precision the mean would lose what differs between frames.
        wide = activations.to(torch.promote_types(activations.dtype, torch.float32))
        if self.pooling == "channel":
            module, name = self.source.modules[self.index], self.source.names[self.index]
            return mean_of_channels(wide, self.source.dims.of(module, name, wide))
        pooled = self.pooling(wide)
        if not isinstance(pooled, Tensor) or pooled.shape[:1] != wide.shape[:1]:
            got = tuple(pooled.shape) if isinstance(pooled, Tensor) else type(pooled).__name__
            raise ValueError(
                f"Expected `pooling` to keep the batch of {len(wide)} on dimension 0, but it gave "
                f"{got}"
            )
        return pooled

    def _channel_dim(self, shape: torch.Size) -> int | None:
        if self.pooling is None:
            return self.source.dims.find(self.source.modules[self.index], shape)
        return 1 if self.pooling == "channel" else None

    @property
    def neurons(self) -> NeuronKind:
        """What the numbers of a spectrum belong to."""
        if self.pooling is None:
            return "neuron"
        return "channel" if self.pooling == "channel" else "pooled value"

    def spectra(self) -> tuple[TaggedSpectrum, ...]:
        """A spectrum of all examples for each tensor."""
        name = self.source.names[self.index]
        if not all(sums.is_finite for block in self.blocks for sums in block):
            raise ValueError(
                f"Expected the {self.source.kind} {name!r} to be finite, but got NaN or infinity; "
                "find the operation that makes them and read a layer before it"
            )
        tensors = zip(zip(*self.blocks, strict=True), self.channel_dims, strict=True)
        origin = {"layer": name, "neurons": self.neurons}
        return tuple(
            TaggedSpectrum.from_sums(self.plan, sums, **origin, channel_dim=channel_dim)
            for sums, channel_dim in tensors
        )
