"""What chance makes of SNR and z-score: critical values in white noise, for the windows in use.

Forty million lines of simulated Gaussian noise for each window; MNE's ratio of powers beside its
exact quantile, that of F(2, 2 K) with K neighbors, and `snr_threshold`, that of amplitudes.
Z-scores exceed the quantiles of a normal distribution far more often than these promise. Six
minutes.

    python benchmarks/thresholds.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from scipy import stats
from torch import Tensor

from captum_ssvep.spectrum.statistics import neighbor_ratio, snr_threshold, zscore

LEVELS = (0.05, 0.01, 0.001)
N_SAMPLES, N_RUNS = 2**21, 40
# Exponent of the amplitude, bins on each side, bins skipped next to the line.
WINDOWS = {
    "here and in the paper: amplitude, 2 + 2 bins": (1, 2, 0),
    "here, n_neighbors=10: amplitude, 10 + 10 bins": (1, 10, 0),
    "MNE's tutorial: power, 3 + 3 bins, 1 skipped": (2, 3, 1),
    "Letswave: amplitude, 4 + 4 bins, 1 skipped": (1, 4, 1),
}
# Bins on each side, bins skipped next to the line, lowest and highest bins dropped.
Z_WINDOWS = {
    "here, n_neighbors=2": (2, 0, 0),
    "here, n_neighbors=10": (10, 0, 0),
    "here in sum_harmonics: the same without extremes": (10, 0, 1),
    "Letswave, 4 + 4 bins, 1 skipped": (4, 1, 0),
}


def critical_values(statistic: Callable[[Tensor], Tensor]) -> list[float]:
    """Of a statistic of every bin of the amplitude spectrum of white noise."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(N_RUNS):
        noise = torch.randn(N_SAMPLES, generator=generator, dtype=torch.float64)
        values = statistic(torch.fft.rfft(noise)[1:-1].abs())
        found.append(values[values.isfinite()])
    ranked = torch.cat(found).sort().values
    return [float(ranked[int((1 - level) * len(ranked))]) for level in LEVELS]


def ratio(amplitude: Tensor, exponent: int, n_neighbors: int, n_skip: int) -> Tensor:
    """SNR of every bin."""
    return neighbor_ratio(amplitude**exponent, n_neighbors, n_skip)


def standardised(amplitude: Tensor, n_neighbors: int, n_skip: int, n_dropped: int) -> Tensor:
    """Z-score of every bin that has all of its neighbors."""
    reach = n_neighbors + n_skip
    windows = amplitude.unfold(0, 2 * reach + 1, 1).T
    neighbors = torch.cat([windows[:n_neighbors], windows[-n_neighbors:]])
    if n_dropped:
        neighbors = neighbors.sort(dim=0).values[n_dropped:-n_dropped]
    return zscore(windows[reach], neighbors, torch.zeros(1, dtype=amplitude.dtype))


def print_row(name: str, values: Iterable[float]) -> None:
    """One line of the table."""
    print(f"{name:<50}" + "".join(f"{value:10.2f}" for value in values), flush=True)


def main() -> None:
    """Print the critical values."""
    print(f"{'SNR':<50}" + "".join(f"{100 * level:>8g} %" for level in LEVELS))
    for name, window in WINDOWS.items():
        print_row(name, critical_values(lambda amplitude, window=window: ratio(amplitude, *window)))
    for n_neighbors in (2, 10, 4):
        exact = (snr_threshold(n_neighbors, level) for level in LEVELS)
        print_row(f"snr_threshold({n_neighbors}), exact", exact)
    print_row("F(2, 12)", (stats.f.isf(level, 2, 12) for level in LEVELS))
    print("z-score")
    for name, window in Z_WINDOWS.items():
        print_row(
            name, critical_values(lambda amplitude, window=window: standardised(amplitude, *window))
        )
    print_row("normal distribution", (stats.norm.isf(level) for level in LEVELS))


if __name__ == "__main__":
    main()
