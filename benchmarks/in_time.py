"""What time tells: networks that live in time, shown in order.

`networks` prints the ratio of the lines at f1 + f2 and f1 - f2 and the share of the variance at
frequencies that no combination of the tags reaches, for two lamps at 5.5 and 7.5 Hz. `video` reads
layers of torchvision's r3d_18 with and without a cooldown, `windows` shows a single tag to
swin3d_t, whose windows have a rhythm of their own, and `memory` compares peak memory of long and
short records. Networks are untrained, seed 0.

    python benchmarks/in_time.py        # `networks`
    python benchmarks/in_time.py all    # some minutes
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torchvision
from torch import Tensor

from captum_ssvep import (
    FrequencyTaggingAttribution,
    InSequence,
    StepByStep,
    TaggedSpectrum,
    TaggingDesign,
)

# In front of this folder, whose file has the same name.
sys.path.insert(0, str(Path(__file__).parents[1] / "tutorials"))
from in_time import (
    CURRENT,
    DESIGN,
    LAMPS,
    PUSH,
    InTime,
    Leak,
    Oscillators,
    lamps_to,
    toy_networks,
)

FRAMES = (480, 4800)
N_WIDE = 40_000


@contextmanager
def unsettled() -> Iterator[None]:
    """Without the warning that a response has not settled: the tables say so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*has not settled")
        yield


def off_lattice(spectrum: TaggedSpectrum) -> Tensor:
    """Share of the variance of all channels together."""
    return (spectrum.off_lattice * spectrum.variance).sum() / spectrum.variance.sum()


def networks() -> None:
    """The table of networks: each sees two lamps."""
    print("## Median sum/difference and off-lattice share\n")
    print(f"{DESIGN!r}, warmup of 2 periods, {LAMPS.shape[1]} lamps")
    print(f"decay of leaks and LIF {Leak().decay:g};", end=" ")
    print(f"LIF: threshold 1, current of sd {CURRENT:g} per lamp")
    print(f"Kuramoto: coupling {Oscillators(1).coupling:g}, step {Oscillators(1).step:g},", end=" ")
    print(f"push of sd {PUSH:g} per lamp; natural frequency in radians per frame (0.3 is 5.7 Hz)\n")
    print("| network | units with a line | median sum / difference | off-lattice, median | mean |")
    print("|---|---|---|---|---|")
    for name, network in toy_networks().items():
        with unsettled():
            spectrum = FrequencyTaggingAttribution(network, str(len(network) - 1)).spectrum(
                LAMPS, presentation=StepByStep(2, network.forget), design=DESIGN
            )
        ratio, share = spectrum.sum_over_difference((0, 1)), spectrum.off_lattice
        responding = f"{int(ratio.isfinite().sum())} of {ratio.numel()}"
        print(f"| {name} | {responding} | {ratio.nanmedian():.2f}", end=" ")
        print(f"| {share.median():.3f} | {share.mean():.3f} |", flush=True)


def video() -> None:
    """False off-lattice shares of a network that looks ahead, and each layer's own rate."""
    torch.manual_seed(0)
    model = torchvision.models.video.r3d_18(weights=None).eval()
    pictures = torch.rand(1, 3, 32, 32)
    tagging = FrequencyTaggingAttribution(model, ["layer1", "layer2", "layer3"])
    print("\n## r3d_18: off-lattice share of the channels' variance\n")
    print("| cooldown | " + " | ".join(["layer1", "layer2", "layer3"]) + " |")
    print("|---|---|---|---|")
    for cooldown in (0, 1):
        with unsettled():
            spectra = tagging.spectrum(
                pictures, presentation=InSequence(2, cooldown=cooldown), pooling="channel"
            )
        cells = [f"{off_lattice(spectrum):.2%}" for spectrum in spectra]
        print(f"| {cooldown} | " + " | ".join(cells) + " |", flush=True)
    rates = [f"{spectrum.design.sampling_rate:g} Hz" for spectrum in spectra]
    orders = [str(spectrum.design.collision_free_order) for spectrum in spectra]
    print("| own rate | " + " | ".join(rates) + " |")
    print("| collision-free order | " + " | ".join(orders) + " |")


def windows() -> None:
    """A single tag of 6 Hz and windows of 16 frames, which are 7.5 Hz at 120 frames a second."""
    torch.manual_seed(0)
    model = torchvision.models.video.swin3d_t(weights=None).eval()
    layers = ["patch_embed", "features.0.0", "features.0.1"]
    with unsettled():
        spectra = FrequencyTaggingAttribution(model, layers).spectrum(
            torch.rand(1, 3, 28, 28),
            feature_mask=torch.zeros(1, dtype=torch.long),
            design=TaggingDesign((6.0,), 120.0, 240),
            # A whole number of windows in front, too.
            presentation=InSequence(2, warmup=4, cooldown=4, layer_time_dim=1),
            whole=True,
        )
    print("\n## swin3d_t: lines of a single tag of 6 Hz, amplitude relative to that at 6 Hz\n")
    shown = (1.5, 4.5, 6.0, 7.5, 12.0, 13.5)
    columns = [f"{frequency:g} Hz" for frequency in shown]
    print("| layer | " + " | ".join(columns) + " | off-lattice |")
    print("|---" * (len(shown) + 2) + "|")
    for layer, spectrum in zip(layers, spectra, strict=True):
        amplitude = spectrum.whole.amplitude.flatten(1).square().mean(dim=1).sqrt()
        bins = [round(frequency / 0.5) for frequency in shown]
        cells = [f"{share:.4f}" for share in amplitude[bins] / amplitude[12]]
        print(f"| {layer} | " + " | ".join(cells) + f" | {off_lattice(spectrum):.3%} |")


def child(n_frames: int) -> None:
    """Show a record to many leaky units, and print the peak resident size in MiB."""
    torch.manual_seed(0)
    network = InTime(lamps_to(N_WIDE), Leak()).eval()
    FrequencyTaggingAttribution(network, "1").spectrum(
        torch.ones(1, 2),
        presentation=StepByStep(1, network.forget),
        design=TaggingDesign((5.5, 7.5), 120.0, n_frames),
        components="fundamentals",
    )
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory() -> None:
    """Peak memory step by step, of records of different lengths in child processes."""
    peaks = []
    for n_frames in FRAMES:
        command = [sys.executable, __file__, "--child", str(n_frames)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout))
    stored = Tensor.element_size(torch.zeros(1)) * N_WIDE * FRAMES[1] / 2**20
    print(f"\n## Peak memory step by step: {N_WIDE:,} leaky units\n")
    for n_frames, peak in zip(FRAMES, peaks, strict=True):
        print(f"{n_frames} frames: {peak:.0f} MiB")
    print(f"ratio {peaks[1] / peaks[0]:.3f}", end="; ")
    print(f"all responses to {FRAMES[1]} frames would take {stored:.0f} MiB")


PARTS = {"networks": networks, "video": video, "windows": windows, "memory": memory}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", default="networks", choices=[*PARTS, "all"])
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.child:
        child(options.child)
        return
    for name, part in PARTS.items():
        if options.part in (name, "all"):
            part()


if __name__ == "__main__":
    main()
