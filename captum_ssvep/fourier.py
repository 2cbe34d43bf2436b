"""Fourier lines as streaming sums over the frames that were run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Rounding errors of a few operations: below this many units in the last place nothing is signal.
FLOOR_ROUNDINGS = 4


@dataclass(frozen=True)
class FrameSchedule:
    """Which frames to run, and what each moment of the record shows.

    Args:
        contrasts: Contrast of each part in each frame, shape ``(n_run, n_parts)``.
        moments: Row of ``contrasts`` shown at each moment, shape ``(n_frames,)``.
    """

    contrasts: NDArray[np.float64]
    moments: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """At how many moments each frame is shown, shape ``(n_run,)``."""
        return np.bincount(self.moments, minlength=len(self.contrasts))

    def fourier_weights(self, bins: Sequence[int]) -> NDArray[np.complex128]:
        r"""Weights that turn the frames' activations into Fourier sums.

        A line :math:`X_k = \sum_t y_t e^{-2 \pi i k t / T}` is a fixed linear functional of the
        activations of the frames that were run: the exponentials of the moments that show the
        same frame add up.

        Returns:
            Array: Shape ``(len(bins), n_run)``. Exact zeros where the sum vanishes identically.
        """
        n_frames = len(self.moments)
        # Reduced modulo n_frames in integers, so that the phase is exact however long the record.
        turns = np.outer(bins, np.arange(n_frames)) % n_frames / n_frames
        weights = np.zeros((len(bins), len(self.contrasts)), dtype=np.complex128)
        np.add.at(weights.T, self.moments, np.exp(-2j * np.pi * turns).T)
        weights[np.abs(weights) < 1e-12 * n_frames] = 0
        return weights


class FourierSums:
    """Weighted sums over frames of one recorded tensor, chunk by chunk.

    Memory does not grow with the number of frames. A reference frame is subtracted from every
    frame before summing, so that a large constant activation does not eat the signal.

    Args:
        bins (sequence of int): Lines to sum, as in ``numpy.fft.rfft``.
        weights (Tensor): Real parts, then imaginary parts of the lines' weights, then the share of
            the record that shows each frame; shape ``(2 * len(bins) + 1, frames)``, double.
        n_frames (int): Frames in the record.
        reference (Tensor): Activations of any one frame, shape ``(N, *neuron)``.
        eps (float): Relative rounding of the activations, before any pooling.
    """

    def __init__(
        self, bins: Sequence[int], weights: Tensor, n_frames: int, reference: Tensor, eps: float
    ) -> None:
        # Half precision would lose the sums; double is kept.
        dtype = torch.promote_types(reference.dtype, torch.float32)
        self.bins = tuple(bins)
        self.n_frames = n_frames
        self._shape = reference.shape
        self._eps = eps
        self._weights = weights.to(dtype).to(reference.device)
        self._reference = reference.to(dtype, copy=True).flatten()
        self._sums = self._reference.new_zeros(len(weights), len(self._reference))
        self._squares = torch.zeros_like(self._reference)
        self._largest = self._reference.new_zeros(len(reference))

    def add(self, start: int, activations: Tensor) -> None:
        """Take in the activations of frames ``start, start + 1, ...``.

        Args:
            start (int): Column of the weights of the first frame.
            activations (Tensor): Shape ``(frames, N, *neuron)``.
        """
        values = activations.to(self._reference.dtype).flatten(1)
        by_example = values.view(len(values), len(self._largest), -1)
        # Extremes of both signs: a norm or abs() would be twenty times slower or copy everything.
        for extreme in (by_example.amax(dim=(0, 2)), -by_example.amin(dim=(0, 2))):
            self._largest = torch.maximum(self._largest, extreme)
        values = values - self._reference
        weights = self._weights[:, start : start + len(values)]
        self._sums.addmm_(weights, values)
        self._squares.addmv_(values.square_().T, weights[-1])

    def lines(self) -> Tensor:
        """Fourier sums, complex, shape ``(len(bins), N, *neuron)``."""
        n_lines = len(self.bins)
        lines = torch.complex(self._sums[:n_lines], self._sums[n_lines : 2 * n_lines])
        # The weights of every other line sum to zero, so that the reference drops out.
        for row, line in enumerate(self.bins):
            if line == 0:
                lines[row] += self.n_frames * self._reference
        return lines.reshape(n_lines, *self._shape)

    def mean(self) -> Tensor:
        """Mean over the record, shape ``(N, *neuron)``."""
        return (self._reference + self._sums[-1]).reshape(self._shape)

    def variance(self) -> Tensor:
        """Variance over the record, shape ``(N, *neuron)``."""
        return (self._squares - self._sums[-1].square()).clamp(min=0).reshape(self._shape)

    @property
    def is_finite(self) -> bool:
        """Whether all activations were."""
        return bool(self._largest.isfinite().all())

    def floor(self) -> Tensor:
        """Amplitude that rounding alone can make, per example, shape ``(N,)``."""
        return FLOOR_ROUNDINGS * self._eps * self._largest
