"""Show the frames of a plan to a network, and sum what it answers as it answers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..design.base import ComponentSelection
from ..model.recorder import Receiver
from ..stimulus.frames import FrameNoise, Stimulus
from ..visualization.maps import guess_layout, mean_of_channels
from .plan import SpectrumPlan
from .statistics import Reduction, Statistic
from .sums import FourierSums
from .tagged import TaggedSpectrum

Pooling = Literal["channel"] | Callable[[Tensor], Tensor] | None
# What a method gives: a tensor (or spectrum), a tuple of several, or a list over several layers.
LayerResult = Any
# Called with rows of the batch, their frames (one tensor per input; all examples of the first
# frame, then of the second), the number of frames, and a receiver for what was recorded.
Record = Callable[[slice, tuple[Tensor, ...], int, Receiver], None]


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
        for label, value in {name: n_frames, "internal_batch_size": max_rows}.items():
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int) or value < 1
            ):
                raise ValueError(f"Expected `{label}` to be a positive integer, but got {value!r}")
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


def stream_spectra(
    plan: SpectrumPlan,
    stimulus: Stimulus,
    record: Record,
    size: PassSize,
    *,
    describe: Callable[[int], str],
    fit: Callable[[], int] | None = None,
    pool: Callable[[Tensor], Tensor] | None = None,
    noise_std: float = 0.0,
    seed: int = 0,
    title: str | None = None,
) -> list[tuple[TaggedSpectrum, ...]]:
    """Run a plan over a batch; no recording outlives its pass.

    Args:
        plan: Frames to show and lines to sum.
        stimulus: What flickers.
        record: Runs the network.
        size: Frames and examples in a pass.
        describe: What a receiver's index stands for, for messages.
        fit: Frames that suit the memory, asked after the first. Default: those of ``size``
        pool: Applied to every recorded tensor. Default: nothing
        noise_std: Standard deviation of noise on the frames. Default: 0.0
        seed: Of that noise. Default: 0
        title: Of a progress bar. Default: none is shown

    Returns:
        list[tuple[TaggedSpectrum, ...]]: For each index, a spectrum per tensor.

    Raises:
        ValueError: If what was recorded is not finite.
    """
    n_rows = stimulus.n_examples * len(plan.contrasts)
    blocks = []
    with tqdm(desc=title, total=n_rows, unit="frame", disable=title is None) as bar:
        for first in range(0, stimulus.n_examples, size.examples):
            rows = slice(first, first + size.examples)
            block = stimulus.examples(rows)
            noise = FrameNoise(block.inputs, noise_std, seed) if noise_std else None
            show = partial(record, rows)
            blocks.append(_stream_block(plan, block, show, size.frames, fit, pool, noise, bar))
    for index, block_sums in enumerate(zip(*blocks, strict=True)):
        if not all(sums.is_finite for block in block_sums for sums in block):
            raise ValueError(
                f"Expected {describe(index)} to be finite, but got NaN or infinity; find the "
                "operation that makes them and read in front of it"
            )
    return [
        tuple(TaggedSpectrum.from_sums(plan, sums) for sums in zip(*block_sums, strict=True))
        for block_sums in zip(*blocks, strict=True)
    ]


def _stream_block(
    plan: SpectrumPlan,
    stimulus: Stimulus,
    show: Callable[[tuple[Tensor, ...], int, Receiver], None],
    frames_per_pass: int,
    fit: Callable[[], int] | None,
    pool: Callable[[Tensor], Tensor] | None,
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
        # Half precision would lose what differs between frames already in the mean.
        pooled = tensors if pool is None else tuple(pool(_at_least_single(t)) for t in tensors)
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


def _at_least_single(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def reduce_spectra(
    spectra: LayerResult,
    components: ComponentSelection,
    statistic: Statistic,
    reduction: Reduction,
) -> LayerResult:
    """Reduce every spectrum of a result, keeping the arrangement; see `TaggedSpectrum.reduce`."""
    if isinstance(spectra, (list, tuple)):
        return type(spectra)(
            reduce_spectra(item, components, statistic, reduction) for item in spectra
        )
    return spectra.reduce(components, statistic, reduction).contiguous()


def pooling_function(pooling: Pooling) -> Callable[[Tensor], Tensor] | None:
    """What `spectrum` applies to every recorded tensor.

    Raises:
        ValueError: If ``pooling`` is neither None, ``"channel"`` nor a function.
    """
    if pooling is None:
        return None
    if callable(pooling):
        return partial(_pooled, pooling)
    if pooling != "channel":
        raise ValueError(
            f"Expected `pooling` to be None, 'channel' or a function, but got {pooling!r}"
        )
    return _mean_of_channels


def _pooled(pooling: Callable[[Tensor], Tensor], activations: Tensor) -> Tensor:
    pooled = pooling(activations)
    if not isinstance(pooled, Tensor) or pooled.shape[:1] != activations.shape[:1]:
        raise ValueError(
            f"Expected `pooling` to keep the batch of {len(activations)} on dimension 0, but it "
            f"gave {tuple(pooled.shape) if isinstance(pooled, Tensor) else type(pooled).__name__}"
        )
    return pooled


def _mean_of_channels(activations: Tensor) -> Tensor:
    if activations.dim() == 3 or guess_layout(activations) == "channels_last":
        raise ValueError(
            "Expected a layer whose channels are dimension 1 for pooling='channel', but with shape "
            f"{tuple(activations.shape)} they may be last, as in transformers; pass a function, "
            "such as pooling=lambda x: x.flatten(1, -2).mean(1), or .flatten(2).mean(2) if they "
            "are not"
        )
    return mean_of_channels(activations, "channels_first")
