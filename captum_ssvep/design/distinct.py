"""Distinct frames: equal frames get equal responses, so each runs once."""

import numpy as np
from numpy.typing import NDArray


def merge_equal_frames(
    contrasts: NDArray[np.float64], weights: NDArray[np.complex128]
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Distinct frames, each with the summed weights of all frames equal to it.

    Contrasts that agree to 1e-12 of the largest count as equal. Merging is exact for a
    deterministic network.

    Args:
        contrasts: Contrast of each part in each frame, shape ``(n_frames, n_parts)``.
        weights: Weights of the frames, shape ``(lines, n_frames)``.

    Returns:
        tuple: Contrasts of the distinct frames, and their weights, which are exactly zero where
        the sum only leaves a rounding error.

    Examples::

        >>> frames, weights = merge_equal_frames(np.array([[0.5], [1.0], [0.5]]), np.ones((1, 3)))
        >>> frames.ravel().tolist(), weights.real.tolist()
        ([0.5, 1.0], [[2.0, 1.0]])
    """
    # np.unique would keep -0.0 and 0.0 apart; adding zero makes both 0.0.
    rounded = np.round(contrasts / np.abs(contrasts).max(), 12) + 0.0
    _, first, shown = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    merged = np.zeros((len(weights), len(first)), dtype=np.complex128)
    np.add.at(merged.T, shown.reshape(-1), weights.T)
    rounding = 1e-12 * np.abs(weights).sum(axis=1, keepdims=True)
    for values in (merged.real, merged.imag):
        values[np.abs(values) < rounding] = 0
    return contrasts[first], merged
