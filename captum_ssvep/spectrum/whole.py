"""The whole spectrum of a record in time: every frequency, not only those of components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..design import Design, TaggingDesign
from ..design.tags import neighbors_of_bins
from . import statistics

# A whole spectrum may take so many bytes.
MOST_BYTES = 4 * 2**30


@dataclass(frozen=True, eq=False)
class WholeSpectrum:
    """Amplitude, phase, SNR and z of every neuron at every frequency of a record.

    Args:
        lines (Tensor): Complex Fourier sums as ``numpy.fft.rfft`` gives them, shape
            ``(bins, N, *neuron)``.
        design (TaggingDesign): The stimulus.
        floor (Tensor): Amplitude that rounding alone can cause, shape ``(N,)``.
        n_neighbors (int, optional): Noise bins on each side, unless asked for otherwise; those of
            the spectrum, or 2 if it has none. Default: 2
        max_order (int, optional): Bins of components up to this order are no noise bins; the
            highest order in the spectrum, at least 4. Default: 4

    Examples::

        >>> from captum_ssvep import TaggedSpectrum
        >>> design = TaggingDesign()
        >>> series = torch.as_tensor(design.contrasts[:, :1])
        >>> whole = TaggedSpectrum.from_series(series, design, whole=True).whole
        >>> whole.frequencies[12].item(), round(whole.amplitude[12].item(), 4)
        (6.0, 0.25)
    """

    lines: Tensor
    design: TaggingDesign
    floor: Tensor
    n_neighbors: int = 2
    max_order: int = 4

    @property
    def frequencies(self) -> Tensor:
        """Frequency of every bin in Hz, shape ``(bins,)``."""
        spacing = self.design.sampling_rate / self.design.n_frames
        return torch.arange(len(self.lines), dtype=torch.float64) * spacing

    @property
    def amplitude(self) -> Tensor:
        """Peak amplitudes, in units of the activation, shape ``(bins, N, *neuron)``."""
        n_frames = self.design.n_frames
        scale = self.lines.real.new_full((len(self.lines),), 2 / n_frames)
        scale[0] = 1 / n_frames
        if n_frames % 2 == 0:
            scale[-1] = 1 / n_frames
        return self.lines.abs() * scale.reshape(-1, *[1] * (self.lines.dim() - 1))

    @property
    def phase(self) -> Tensor:
        """Phases in radians, as in ``numpy.fft.rfft``, shape ``(bins, N, *neuron)``."""
        return self.lines.angle()

    def noise(self, n_neighbors: int | None = None, max_order: int | None = None) -> Tensor:
        """Mean amplitude of the neighbors of every bin: the noise floor.

        Neighbors are the nearest bins that hold no component, as in `TaggingDesign.neighbors`.

        Args:
            n_neighbors (int, optional): Bins on each side. Default: None, those of the spectrum
            max_order (int, optional): Bins of components up to this order are left out. Default:
                None, that of the spectrum, at least 4

        Returns:
            Tensor: In units of the activation, shape ``(bins, N, *neuron)``.

        Raises:
            ValueError: If fewer than ``2 * n_neighbors`` bins are free.
        """
        amplitude = self.amplitude
        places = self._neighbors(n_neighbors, max_order)
        # One after the other, since all neighbors at once would take many times the memory.
        total = torch.zeros_like(amplitude)
        for place in places:
            total += amplitude[place]
        return total / len(places)

    def snr(self, n_neighbors: int | None = None, max_order: int | None = None) -> Tensor:
        """Amplitude over the noise floor at every bin (see `statistics.snr`).

        Args:
            n_neighbors, max_order: As in `noise`.
        """
        noise = self.noise(n_neighbors, max_order)
        return statistics.snr(self.amplitude, noise[None], self._floor)

    def zscore(self, n_neighbors: int | None = None, max_order: int | None = None) -> Tensor:
        """Amplitude minus that of the neighbors, over their standard deviation, at every bin.

        Args:
            n_neighbors, max_order: As in `noise`. With few neighbors their standard deviation is
                a guess: take ten.
        """
        amplitude = self.amplitude
        neighbors = amplitude[self._neighbors(n_neighbors, max_order)]
        return statistics.zscore(amplitude, neighbors, self._floor)

    @property
    def _floor(self) -> Tensor:
        return self.floor.reshape(-1, *[1] * (self.lines.dim() - 2))

    def _neighbors(self, n_neighbors: int | None, max_order: int | None) -> Tensor:
        """Neighbors of every bin, shape ``(2 * n_neighbors, bins)``."""
        n_neighbors = self.n_neighbors if n_neighbors is None else n_neighbors
        max_order = self.max_order if max_order is None else max_order
        lines = np.arange(len(self.lines))
        found = neighbors_of_bins(self.design, lines, n_neighbors, max_order)
        return torch.from_numpy(found.T.copy()).to(self.lines.device)


def whole_of(records: Sequence[Tensor]) -> Tensor:
    """Fourier sums at every bin of blocks of examples.

    Args:
        records: Activations in all frames, shape ``(n_frames, N, *neuron)`` each.

    Returns:
        Tensor: Complex, shape ``(bins, N, *neuron)``.
    """
    # Half precision has no transform.
    wide = [record.to(torch.promote_types(record.dtype, torch.float32)) for record in records]
    transforms = [torch.fft.rfft(record - record[:1], dim=0) for record in wide]
    for transform, record in zip(transforms, wide, strict=True):
        transform[0] += len(record) * record[0]
    return torch.cat(transforms, dim=1)


def validate_size(n_frames: int, frame: Tensor, n_examples: int) -> None:
    """Refuse to keep more than fits into memory.

    Args:
        n_frames: Frames of the record.
        frame: Responses to one frame, examples first.
        n_examples: Examples in all.

    Raises:
        ValueError: If they do not fit; the message says what it would take.
    """
    n_neurons = n_examples * (frame.numel() // len(frame))
    n_bytes = 2 * n_frames * n_neurons * torch.promote_types(frame.dtype, torch.float32).itemsize
    if n_bytes > MOST_BYTES:
        raise ValueError(
            f"Expected `whole` spectra of at most {MOST_BYTES / 2**30:.0f} GiB, but {n_frames} "
            f"frames of {n_neurons:,} neurons take {n_bytes / 2**30:.1f} GiB; pool them with "
            "pooling='channel', or choose some with a function"
        )


def lattice_bins(design: Design) -> tuple[int, ...]:
    """Bins that combinations of the tags reach: the multiples of their greatest common divisor.

    Examples::

        >>> lattice_bins(TaggingDesign())[:4], len(lattice_bins(TaggingDesign()))
        ((3, 6, 9, 12), 40)
    """
    step = design.n_frames // design.period
    return tuple(range(step, design.n_frames // 2 + 1, step))


def power_of_lines(lines: Tensor, bins: NDArray[np.int64], n_frames: int) -> Tensor:
    """Variance over the record in some lines together, shape ``(N, *neuron)``."""
    amplitudes = lines.abs() / n_frames
    shares = torch.from_numpy(np.where(2 * bins == n_frames, 1.0, 2.0)).to(amplitudes)
    power: Tensor = torch.tensordot(shares, amplitudes.square(), dims=1)
    return power
