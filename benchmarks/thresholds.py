"""What chance makes of the SNR: its critical values in white noise, for the windows in use.

Forty million lines of simulated Gaussian noise for each window; MNE's ratio of powers beside its
exact quantile, that of F(2, 2 K) with K neighbours. A minute.

    python benchmarks/thresholds.py
"""

from __future__ import annotations

import torch
from scipy import stats

from captum_ssvep.statistics import neighbour_ratio

LEVELS = (0.05, 0.01, 0.001)
N_SAMPLES, N_RUNS = 2**21, 40
# Exponent of the amplitude, bins on each side, bins skipped next to the line.
WINDOWS = {
    "here and in the paper: amplitude, 2 + 2 bins": (1, 2, 0),
    "MNE's tutorial: power, 3 + 3 bins, 1 skipped": (2, 3, 1),
    "Letswave: amplitude, 4 + 4 bins, 1 skipped": (1, 4, 1),
}


def ratios(exponent: int, n_neighbors: int, n_skip: int) -> torch.Tensor:
    """SNR of every bin of white noise."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(N_RUNS):
        noise = torch.randn(N_SAMPLES, generator=generator, dtype=torch.float64)
        spectrum = torch.fft.rfft(noise)[1:-1].abs() ** exponent
        ratio = neighbour_ratio(spectrum, n_neighbors, n_skip)
        found.append(ratio[ratio.isfinite()])
    return torch.cat(found).sort().values


def main() -> None:
    """Print the critical values."""
    print(f"{'':<48}" + "".join(f"{100 * level:>8g} %" for level in LEVELS))
    for name, (exponent, n_neighbors, n_skip) in WINDOWS.items():
        found = ratios(exponent, n_neighbors, n_skip)
        values = [float(found[int((1 - level) * len(found))]) for level in LEVELS]
        print(f"{name:<48}" + "".join(f"{value:10.2f}" for value in values))
    exact = [stats.f.isf(level, 2, 12) for level in LEVELS]
    print(f"{'F(2, 12)':<48}" + "".join(f"{value:10.2f}" for value in exact))


if __name__ == "__main__":
    main()
