"""Show the frames of a plan to a network, and sum what it answers as it answers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

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


# glibc gives larger blocks back to the system at once, and faulting them in again for every pass
# makes a ResNet-18 slower by 12 to 33 % (`benchmarks/speed.py`, all frames in one pass).
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
        """The largest pass of at most ``n_frames`` frames, and ``max_rows`` rows where given.

        Raises:
            ValueError: If a number, ``name`` being that of ``n_frames``, is not a positive integer.
        """
        n_frames = None if n_frames is None else integer(n_frames, name)
        max_rows = None if max_rows is None else integer(max_rows, "internal_batch_size")
        if max_rows is None:
            return cls(n_frames or sys.maxsize, n_examples)
        examples = min(max_rows, n_examples)
        return cls(min(n_frames or sys.maxsize, max_rows // examples), examples)


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
        # What PyTorch holds in reserve is free to it.
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return max(1, free // (LIVE_ACTIVATIONS * bytes_per_frame))
    return max(1, CPU_BYTES // bytes_per_frame)


@dataclass(frozen=True)
class Source:
    """What runs the network, and knows what it recorded.

    Args:
        record: Runs rows of the batch, of which it takes the frames (one tensor per input; all
            examples of the first frame, then of the second) and their number, and hands to a
            receiver what it recorded, under an index.
        kind: What is recorded, as the activations of a layer.
        names: Names of the layers, by index.
        modules: The layers themselves; None for inputs.
        dims: Where channels lie, as the network's modules say once the first frame ran.
        fit: Frames that suit the memory, asked after the first. Default: those of the pass size
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

    A block's frames run in passes whose sums accumulate, so that memory holds one pass and one set
    of sums for each batch; no recording outlives its pass.

    Args:
        plan: Frames to show and lines to sum.
        stimulus: What flickers.
        source: Runs the network.
        size: Frames and examples in a pass.
        pooling: As in `FrequencyTaggingAttribution.spectrum`. Default: None
        noise_std: Standard deviation of noise on the frames. Default: 0.0
        seed: Of that noise. Default: 0
        title: Of a progress bar. Default: none is shown

    Returns:
        list[tuple[TaggedSpectrum, ...]]: For each index, a spectrum per tensor.

    Raises:
        ValueError: If what was recorded is not finite, or has no channels to pool.
    """
    pool = _Pool(pooling, source)
    n_rows = stimulus.n_examples * len(plan.contrasts)
    blocks = []
    with tqdm(desc=title, total=n_rows, unit="frame", disable=title is None) as bar:
        for first in range(0, stimulus.n_examples, size.examples):
            rows = slice(first, first + size.examples)
            block = stimulus.examples(rows)
            noise = FrameNoise(block.inputs, noise_std, seed) if noise_std else None
            show = partial(source.record, rows)
            sums = _stream_block(plan, block, show, size.frames, source.fit, pool, noise, bar)
            blocks.append(sums)
    spectra = []
    for index, of_blocks in enumerate(zip(*blocks, strict=True)):
        if not all(sums.is_finite for block in of_blocks for sums in block):
            raise ValueError(
                f"Expected the {source.kind} {source.names[index]!r} to be finite, but got NaN or "
                "infinity; find the operation that makes them and read before it"
            )
        spectra.append(
            tuple(
                TaggedSpectrum.from_sums(
                    plan,
                    sums,
                    layer=source.names[index],
                    neurons=pool.neurons,
                    channel_dim=channel_dim,
                )
                for sums, channel_dim in zip(
                    zip(*of_blocks, strict=True), pool.channel_dims[index], strict=True
                )
            )
        )
    return spectra


def _stream_block(
    plan: SpectrumPlan,
    stimulus: Stimulus,
    show: Callable[[tuple[Tensor, ...], int, Receiver], None],
    frames_per_pass: int,
    fit: Callable[[], int] | None,
    pool: _Pool,
    noise: FrameNoise | None,
    bar: tqdm[Any],
) -> list[list[FourierSums]]:
    """Sums over all frames of one block of examples, for each recorded tensor.

    The first frame runs alone: it is the reference of the sums, and the one complete forward of a
    recorder that stops early.
    """
    contrasts = plan.contrasts
    sums: dict[int, list[FourierSums]] = {}

    def add(start: int, n_frames: int, index: int, tensors: tuple[Tensor, ...]) -> None:
        pooled = pool(index, tensors)
        shape = (n_frames, stimulus.n_examples)
        by_frame = [torch.unflatten(tensor, 0, shape) for tensor in pooled]
        if index not in sums:
            sums[index] = [
                plan.new_sums(frames[0], torch.finfo(tensor.dtype).eps)
                for frames, tensor in zip(by_frame, tensors, strict=True)
            ]
        for tensor_sums, frames in zip(sums[index], by_frame, strict=True):
            tensor_sums.add(start, frames)

    start, stop = 0, 1
    while start < len(contrasts):
        frames = stimulus.frames(contrasts[start:stop])
        if noise:
            noise.add_to(frames)
        show(frames, stop - start, partial(add, start, stop - start))
        bar.update(len(frames[0]))
        if start == 0 and fit:
            frames_per_pass = min(frames_per_pass, fit())
        start, stop = stop, min(stop + frames_per_pass, len(contrasts))
    return [tensor_sums for _, tensor_sums in sorted(sums.items())]


class _Pool:
    """What becomes of recorded tensors before they are summed, and where their channels lie.

    Raises:
        ValueError: If the pooling is neither None, ``"channel"`` nor a function.
    """

    def __init__(self, pooling: Pooling, source: Source) -> None:
        if not (pooling is None or callable(pooling) or pooling == "channel"):
            raise ValueError(
                f"Expected `pooling` to be None, 'channel' or a function, but got {pooling!r}"
            )
        self.pooling = pooling
        self.source = source
        self.channel_dims: dict[int, list[int | None]] = {}

    @property
    def neurons(self) -> NeuronKind:
        """What the numbers of a spectrum belong to."""
        if self.pooling is None:
            return "neuron"
        return "channel" if self.pooling == "channel" else "pooled value"

    def __call__(self, index: int, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        dims, module = self.source.dims, self.source.modules[index]
        if self.pooling is None:
            if index not in self.channel_dims:
                self.channel_dims[index] = [dims.find(module, tensor.shape) for tensor in tensors]
            return tensors
        self.channel_dims[index] = [1 if self.pooling == "channel" else None] * len(tensors)
        # Half precision would lose what differs between frames already in the mean.
        wide = [tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors]
        if self.pooling == "channel":
            name = self.source.names[index]
            return tuple(mean_of_channels(t, dims.of(module, name, t)) for t in wide)
        return tuple(_pooled(self.pooling, tensor) for tensor in wide)


def _pooled(pooling: Callable[[Tensor], Tensor], activations: Tensor) -> Tensor:
    pooled = pooling(activations)
    if not isinstance(pooled, Tensor) or pooled.shape[:1] != activations.shape[:1]:
        raise ValueError(
            f"Expected `pooling` to keep the batch of {len(activations)} on dimension 0, but it "
            f"gave {tuple(pooled.shape) if isinstance(pooled, Tensor) else type(pooled).__name__}"
        )
    return pooled
