"""Fourier lines as streaming sums over the frames that were run."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Rounding errors of a few operations: anything below this many units in the last place is noise.
FLOOR_ROUNDINGS = 4


class FourierSums:
    r"""Weighted sums over frames of one recorded tensor, chunk by chunk.

    A line :math:`X = \sum_u w_u y_u` is a fixed linear functional of the activations :math:`y_u` of
    the frames. Memory does not grow with their number. A reference frame is subtracted from every
    frame before summing, so that a large constant activation does not swallow the signal.

    Args:
        weights (Array): Weight of each frame in each line, shape ``(lines, frames)``.
        shares (Array): Share of each frame in the mean, shape ``(frames,)``; they sum to 1.
        reference (Tensor): Activations of any one frame, shape ``(N, *neuron)``.
        eps (float): Relative rounding of the activations, before any pooling.
    """

    def __init__(
        self,
        weights: NDArray[np.complex128],
        shares: NDArray[np.float64],
        reference: Tensor,
        eps: float,
    ) -> None:
        # At least single precision: half precision would lose the sums.
        dtype = torch.promote_types(reference.dtype, torch.float32)
        # Examples first, then the order in memory (such as channels last): flattening is free.
        strides = reference.stride()
        inner = sorted(range(1, reference.dim()), key=strides.__getitem__, reverse=True)
        self._order = [0, *inner]
        self._shape = reference.permute(self._order).shape
        self._eps = eps
        # Real weights, such as a grid's, need no imaginary sums.
        rows = [weights.real, weights.imag] if weights.imag.any() else [weights.real]
        stacked = torch.from_numpy(np.concatenate([*rows, shares[None]]))
        self._weights = stacked.to(dtype).to(reference.device)
        # What a constant contributes to each line: nothing, unless the line holds the mean.
        totals = torch.from_numpy(weights.sum(axis=1))
        self._totals = totals.where(totals.abs() > 1e-9 * np.abs(weights).sum(), 0)
        self._reference = reference.permute(self._order).flatten().to(dtype, copy=True)
        self._sums = self._reference.new_zeros(len(stacked), len(self._reference))
        self._squares = torch.zeros_like(self._reference)
        self._largest = self._reference.new_zeros(len(reference))

    def add(self, start: int, activations: Tensor) -> None:
        """Add the activations of frames ``start, start + 1, ...``.

        Args:
            start (int): Column of the weights of the first frame.
            activations (Tensor): Shape ``(frames, N, *neuron)``.
        """
        ordered = activations.permute(0, *(d + 1 for d in self._order))
        values = ordered.flatten(1).to(self._reference.dtype)
        by_example = values.view(len(values), len(self._largest), -1)
        weights = self._weights[:, start : start + len(values)]
        # Both extremes: a norm would be twenty times slower, and abs() would copy everything.
        largest = torch.maximum(by_example.amax(dim=2), -by_example.amin(dim=2))
        # Frames without a share belong to a replicate. Times zero, NaN and inf still come through.
        counts = weights[-1, :, None] > 0
        self._largest = torch.maximum(self._largest, (largest * counts).amax(dim=0))
        values = values - self._reference
        self._sums.addmm_(weights, values)
        self._squares.addmv_(values.square_().T, weights[-1])

    def lines(self) -> Tensor:
        """Fourier sums, complex, shape ``(lines, N, *neuron)``."""
        real, *imaginary = torch.split(self._sums[:-1], len(self._totals))
        lines = torch.complex(real, *(imaginary or [torch.zeros_like(real)]))
        for row in torch.nonzero(self._totals).flatten().tolist():
            lines[row] += self._totals[row].item() * self._reference
        return self._arranged(lines)

    def mean(self) -> Tensor:
        """Mean over the record, shape ``(N, *neuron)``."""
        return self._arranged(self._reference + self._sums[-1])

    def variance(self) -> Tensor:
        """Variance over the record, shape ``(N, *neuron)``."""
        return self._arranged((self._squares - self._sums[-1].square()).clamp(min=0))

    @property
    def is_finite(self) -> bool:
        """Whether all activations were finite."""
        return bool(self._largest.isfinite().all())

    def floor(self) -> Tensor:
        """Amplitude that rounding alone can cause, per example, shape ``(N,)``."""
        return FLOOR_ROUNDINGS * self._eps * self._largest

    def _arranged(self, values: Tensor) -> Tensor:
        """Unflatten the last dimension into the shape of a frame's activations."""
        n_dims = len(self._shape)
        shaped = torch.unflatten(values, -1, self._shape)
        return shaped.movedim([*range(-n_dims, 0)], [dim - n_dims for dim in self._order])
