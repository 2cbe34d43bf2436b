"""Which frames go through the network together: the passes of a record."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import integer
from ..stimulus.frames import FrameNoise, Stimulus
from .repetition import Company

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
class Pass:
    """Frames ``start`` to ``stop - 1``, shown together.

    Args:
        start, stop: The frames.
        again: Whether the first frame of the record is shown again, in the last place but one.
    """

    start: int
    stop: int
    again: bool = False

    @property
    def place(self) -> int:
        """Where the first frame is shown again."""
        return max(0, self.n_new - 1)

    @property
    def n_new(self) -> int:
        """How many frames are shown for the first time."""
        return self.stop - self.start


def passes_of(
    n_frames: int, most_frames: int, fit: Callable[[], int] | None, repeats: bool
) -> Iterator[Pass]:
    """The frames of each pass.

    The first frame runs alone: it is the reference of the sums, and the one complete forward pass
    of a recorder that stops early. To be repeated, it comes again at the end of the last
    pass. Then all others are equally large but for one frame, the larger ones last: it has company
    there, and a state that begins anew when the size of the batch changes lasts until then.
    """
    yield Pass(0, 1)
    if fit:
        most_frames = min(most_frames, fit())
    if not repeats:
        for start in range(1, n_frames, most_frames):
            yield Pass(start, min(start + most_frames, n_frames))
        return
    n_passes = math.ceil(n_frames / most_frames)
    size, n_larger = divmod(n_frames, n_passes)
    starts = [1 + i * size + max(0, i - n_passes + n_larger) for i in range(n_passes)]
    for start, stop in pairwise(starts):
        yield Pass(start, stop)
    yield Pass(starts[-1], n_frames, again=True)


@dataclass
class ShownFrames:
    """The frames of a block of examples, pass by pass."""

    block: Stimulus
    noise: FrameNoise | None
    # The rows of the first frame.
    first: tuple[Tensor, ...] = ()

    def of(self, part: Pass, contrasts: NDArray[np.float64]) -> tuple[Tensor, ...]:
        """The frames of a pass, one tensor per input."""
        if not part.n_new:
            return self._mixed(contrasts)
        frames = self.block.frames(contrasts[part.start : part.stop])
        if self.noise:
            self.noise.add_to(frames)
        if part.start == 0:
            self.first = tuple(tensor.clone() for tensor in frames)
        if part.again:
            rows = part.place * self.block.n_examples
            frames = tuple(
                torch.cat([tensor[:rows], first, tensor[rows:]])
                for tensor, first in zip(frames, self.first, strict=True)
            )
        return frames

    def _mixed(self, contrasts: NDArray[np.float64]) -> tuple[Tensor, ...]:
        """The first frame alone; for other company, every second example shows the darkest."""
        darkest = contrasts[contrasts.sum(axis=1).argmin()]
        for tensor, other in zip(self.first, self.block.frames(darkest[None]), strict=True):
            tensor[1::2] = other[1::2]
        return self.first


def company_of(last: Pass, n_examples: int) -> Company:
    """What shares the pass in which a frame is repeated."""
    if last.n_new:
        return "frames"
    return "images" if n_examples > 1 else "nothing"
