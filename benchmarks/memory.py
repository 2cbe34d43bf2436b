"""How much memory: peak resident size of child processes, ResNet-18 at 224 x 224, one image.

Each child reads `layer1` with noise, so that every frame runs; the peer is the pipeline that stacks
all activations before `numpy.fft.rfft`. The size of a child that only runs one frame is taken off.

    python benchmarks/memory.py
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

import torch
import torchvision
from speed import naive

from captum_ssvep import FrequencyTaggingAttribution, TaggingDesign


def child(task: str, n_frames: int) -> None:
    """Do one task and print the peak resident size of this process in MiB."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None).eval()
    image = torch.rand(1, 3, 224, 224)
    if task == "ours":
        design = TaggingDesign(n_frames=n_frames)
        FrequencyTaggingAttribution(model, "layer1").attribute(image, design=design, noise_std=0.1)
    elif task == "naive":
        naive(model, model.layer1, image)
    else:
        with torch.no_grad():
            model(image.expand(16, -1, -1, -1).contiguous())
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def peak(task: str, n_frames: int = 240) -> float:
    """Peak of a fresh process."""
    command = [sys.executable, __file__, "--child", task, "--frames", str(n_frames)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child")
    parser.add_argument("--frames", type=int, default=240)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.frames)
        return
    bare = peak("bare")
    ours = {n_frames: peak("ours", n_frames) for n_frames in (240, 480, 960)}
    stacked = peak("naive")
    print(f"{'':<36} {'peak MiB':>9} {'above bare':>11}")
    print(f"{'one forward pass of 16 frames':<36} {bare:>9.0f}")
    for n_frames, size in ours.items():
        print(f"{f'ours, {n_frames} frames with noise':<36} {size:>9.0f} {size - bare:>11.0f}")
    print(f"{'naive, 240 frames':<36} {stacked:>9.0f} {stacked - bare:>11.0f}")
    print(f"960 frames / 240 frames: {ours[960] / ours[240]:.2f}")
    print(f"naive / ours, 240 frames: {stacked / ours[240]:.2f}")


if __name__ == "__main__":
    main()
