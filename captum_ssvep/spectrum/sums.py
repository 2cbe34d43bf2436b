"""Fourier lines: streaming sums over the frames that were run, or transforms of a whole record."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Rounding errors of a few operations: anything below this many units in the last place is noise.
FLOOR_ROUNDINGS = 4
# Of a record, so many bytes are transformed at once.
BLOCK_BYTES = 8 * 2**20


def dtype_of_squares(dtype: torch.dtype, largest: Tensor) -> torch.dtype:
    """The type in which squares of activations neither overflow nor vanish.

    They are to be held down to the square of the rounding floor.

    Args:
        dtype: Type of the activations, at least single precision.
        largest: Largest absolute activation of each example. Zero and what is not finite fit.

    Returns:
        torch.dtype: ``dtype`` if it suffices, otherwise double precision.

    Raises:
        ValueError: If double precision does not suffice, or the device lacks it.

    Examples::

        >>> dtype_of_squares(torch.float32, torch.tensor([1.0, 1e-24]))
        torch.float64
    """
    limits = torch.finfo(dtype)
    lowest = 4 * math.sqrt(limits.tiny) / (FLOOR_ROUNDINGS * limits.eps)
    highest = math.sqrt(limits.max) / 16
    too_small, too_large = (largest < lowest) & (largest > 0), largest > highest
    outside = (too_small | too_large) & largest.isfinite()
    if not outside.any():
        return dtype
    if dtype == torch.float64 or largest.device.type == "mps":
        raise ValueError(
            f"Expected activations between {lowest:.0e} and {highest:.0e}, whose squares can be "
            f"held, but the largest of an example is {largest[outside][0].item():.3g}; multiply "
            "them by a constant, on which shares and SNRs do not depend"
        )
    return dtype_of_squares(torch.float64, largest)


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
        self._dtype = dtype = torch.promote_types(reference.dtype, torch.float32)
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

        Raises:
            ValueError: If not even double precision holds squares of the activations.
        """
        ordered = activations.permute(0, *(d + 1 for d in self._order))
        values = ordered.flatten(1).to(self._reference.dtype)
        # The floor is a fact about the numbers: no gradient goes through it.
        by_example = values.detach().view(len(values), len(self._largest), -1)
        # Both extremes: a norm would be twenty times slower, and abs() would copy everything.
        largest = torch.maximum(by_example.amax(dim=2), -by_example.amin(dim=2))
        # Frames without a share belong to a replicate. Times zero, NaN and inf still come through.
        counts = self._weights[-1, start : start + len(values), None] > 0
        self._largest = torch.maximum(self._largest, (largest * counts).amax(dim=0))
        # Squares are taken of all frames, and those without a share may come first.
        seen = torch.maximum(self._largest, largest.amax(dim=0))
        self._convert(dtype_of_squares(self._reference.dtype, seen))
        weights = self._weights[:, start : start + len(values)]
        values = values.to(self._reference.dtype) - self._reference
        self._sums.addmm_(weights, values)
        self._squares.addmv_(values.square_().T, weights[-1])

    def _convert(self, dtype: torch.dtype) -> None:
        for name in ("_weights", "_reference", "_sums", "_squares", "_largest"):
            setattr(self, name, getattr(self, name).to(dtype))

    def reference(self) -> Tensor:
        """The reference frame, at least in single precision, shape ``(N, *neuron)``."""
        return self._arranged(self._reference)

    def lines(self) -> Tensor:
        """Fourier sums, complex, shape ``(lines, N, *neuron)``."""
        real, *imaginary = torch.split(self._sums[:-1], len(self._totals))
        lines = torch.complex(real, *(imaginary or [torch.zeros_like(real)]))
        for row in torch.nonzero(self._totals).flatten().tolist():
            lines[row] += self._totals[row].item() * self._reference
        return self._arranged(lines)

    def mean(self) -> Tensor:
        """Mean over the record, shape ``(N, *neuron)``, in the type of the activations."""
        return self._arranged(self._reference + self._sums[-1]).to(self._dtype)

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


class RecordSums:
    r"""What `FourierSums` gives, of a whole record in time, by fast Fourier transforms.

    Memory holds the lines that are read, and the transforms of a few neurons.

    Args:
        record (Tensor): Activations in all frames, shape ``(n_frames, N, *neuron)``.
        bins (sequence of int): Different lines to read.
        eps (float): Relative rounding of the activations.

    Raises:
        ValueError: If not even double precision holds squares of the activations.
    """

    def __init__(self, record: Tensor, bins: Sequence[int], eps: float) -> None:
        self._shape, self._eps = record.shape[1:], eps
        self._dtype = torch.promote_types(record.dtype, torch.float32)
        others = [dim for dim in range(record.dim()) if dim != 1]
        largest = torch.maximum(record.amax(dim=others), -record.amin(dim=others))
        dtype = dtype_of_squares(self._dtype, largest.to(self._dtype))
        self._largest = largest.to(dtype)
        # One row per neuron; whichever of both comes first in memory, this copies nothing.
        rows = record.movedim(0, -1).flatten(0, -2)
        n_rows, n_frames = rows.shape
        self._reference = rows[:, 0].to(dtype, copy=True)
        self._lines = rows.new_empty(len(bins), n_rows, dtype=dtype.to_complex())
        self._shift = torch.empty_like(self._reference)
        self._squares = torch.empty_like(self._reference)
        at_once = min(n_rows, max(1, BLOCK_BYTES // (n_frames * dtype.itemsize)))
        # Memory is taken once: to get it anew for every block costs as much as the transforms.
        buffer = rows.new_empty(at_once, n_frames, dtype=dtype)
        transforms = rows.new_empty(at_once, n_frames // 2 + 1, dtype=dtype.to_complex())
        for start in range(0, n_rows, at_once):
            block = slice(start, min(start + at_once, n_rows))
            values, spectra = buffer[: block.stop - start], transforms[: block.stop - start]
            torch.sub(rows[block], self._reference[block, None], out=values)
            torch.fft.rfft(values, out=spectra)
            self._lines[:, block] = spectra[:, list(bins)].T
            self._shift[block] = spectra[:, 0].real / n_frames
            self._squares[block] = torch.linalg.vecdot(values, values) / n_frames
        if 0 in bins:
            self._lines[bins.index(0)] += n_frames * self._reference

    def lines(self) -> Tensor:
        """Fourier sums, complex, shape ``(lines, N, *neuron)``."""
        return self._lines.view(-1, *self._shape)

    def mean(self) -> Tensor:
        """Mean over the record, shape ``(N, *neuron)``, in the type of the activations."""
        return (self._reference + self._shift).to(self._dtype).view(self._shape)

    def variance(self) -> Tensor:
        """Variance over the record, shape ``(N, *neuron)``."""
        return (self._squares - self._shift.square()).clamp(min=0).view(self._shape)

    @property
    def is_finite(self) -> bool:
        """Whether all activations are finite."""
        return bool(self._largest.isfinite().all())

    def floor(self) -> Tensor:
        """Amplitude that rounding alone can cause, per example, shape ``(N,)``."""
        return FLOOR_ROUNDINGS * self._eps * self._largest
