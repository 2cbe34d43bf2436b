"""What it takes to analyze a record: time and memory, next to `numpy.fft.rfft` of the same array.

    python benchmarks/series.py

A minute at 2048 Hz, as an EEG has, with ten neighbors on each side. Each is a fresh process that
takes the first call, so that what is computed once counts. Medians; memory is the peak above that
before the call.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

from captum_ssvep import TaggedSpectrum, TaggingDesign

RATE, SECONDS = 2048, 60
RECORDS = {
    "64 channels": {},
    "64 channels, float32": {"dtype": "float32"},
    "256 channels": {"n_channels": 256},
    "64 channels, 3 tags": {"tags": (5.0, 7.0, 11.4)},
    "64 channels, leaking tags": {"tags": (6.003, 7.509)},
    "64 channels, time last in memory": {"time_last": True},
}


def child(
    task: str,
    n_channels: int = 64,
    dtype: str = "float64",
    tags: tuple[float, ...] = (6.0, 7.5),
    time_last: bool = False,
) -> None:
    """Do one task and print its seconds and MiB."""
    n_frames, random = RATE * SECONDS, np.random.default_rng(0)
    shape = (n_channels, n_frames) if time_last else (n_frames, n_channels)
    record = random.standard_normal(shape, dtype=np.dtype(dtype).type)
    record = record.T if time_last else record
    # The first transform loads what later ones use; both peers have had one.
    np.fft.rfft(record[:64, 0])
    few = TaggingDesign(n_frames=240)
    TaggedSpectrum.from_series(record[:240, :1], few)
    before, start = peak(), time.perf_counter()
    if task == "rfft":
        np.fft.rfft(record, axis=0)
    else:
        design = TaggingDesign(tags, RATE, n_frames, strict=False)
        TaggedSpectrum.from_series(record, design, n_neighbors=10)
    print(time.perf_counter() - start, peak() - before)


def peak() -> float:
    """Peak resident size of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(task: str, record: str) -> list[float]:
    """Seconds and MiB of a task in a fresh process."""
    command = [sys.executable, "-W", "ignore", __file__, "--child", task, "--record", record]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child")
    parser.add_argument("--record")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.child:
        child(options.child, **RECORDS[options.record])
        return
    print(f"{'':<34}  rfft s   MiB    ours s   MiB   time  memory")
    for record in RECORDS:
        rounds = [
            measured("rfft", record) + measured("ours", record) for _ in range(options.rounds)
        ]
        rfft_s, rfft_mib, ours_s, ours_mib = map(statistics.median, zip(*rounds, strict=True))
        print(
            f"{record:<34} {rfft_s:7.2f} {rfft_mib:5.0f} {ours_s:9.2f} {ours_mib:5.0f} "
            f"{ours_s / rfft_s:6.1f} {ours_mib / rfft_mib:7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
