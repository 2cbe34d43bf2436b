"""Coherent sampling: which tags a record of so many frames can tell apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Cycles by which a tag may miss an integer and still count as coherent (typed decimals: 7.142857).
CYCLE_TOLERANCE = 1e-6


def tag_complaints(frequencies: Sequence[float], sampling_rate: float, n_frames: int) -> list[str]:
    """What keeps tags from being told apart, a sentence each, with the nearest that can be.

    Args:
        frequencies: Tags in Hz.
        sampling_rate: Frames per second.
        n_frames: Frames in the record.

    Examples::

        >>> tag_complaints((6.0, 7.5), 120.0, 240)
        []
        >>> tag_complaints((6.0, 6.0), 120.0, 240)[0].split("; ")[1]
        '0.5 Hz is free'
    """
    resolution = sampling_rate / n_frames
    highest = (n_frames - 1) // 2
    complaints = []
    for frequency in frequencies:
        cycles = frequency / resolution
        if cycles >= n_frames / 2:
            complaints.append(
                f"Expected `frequencies` to lie below the Nyquist frequency "
                f"({sampling_rate / 2:g} Hz at {sampling_rate:g} Hz), but got "
                f"{frequency:g} Hz; nearest: {highest * resolution:g}"
            )
        elif abs(cycles - round(cycles)) > CYCLE_TOLERANCE:
            nearest = sorted({max(1, math.floor(cycles)), min(highest, math.ceil(cycles))})
            complaints.append(
                f"Expected `frequencies` to complete whole cycles in {n_frames} frames at "
                f"{sampling_rate:g} Hz, but {frequency:g} Hz makes {cycles:g}; nearest: "
                + " or ".join(f"{n * resolution:g}" for n in nearest)
            )
    bins = {round(frequency / resolution) for frequency in frequencies}
    if not complaints and len(bins) < len(frequencies):
        free = next(n for n in range(1, highest + 2) if n not in bins)
        complaints.append(
            f"Expected `frequencies` to differ from part to part, but got {tuple(frequencies)}: "
            f"equal tags cannot be told apart; {free * resolution:g} Hz is free"
        )
    return complaints
