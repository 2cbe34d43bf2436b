"""How large a report is, and how long writing it takes beside the tagging call that it shows.

    python benchmarks/report.py

ResNet-18 with random weights at 224 x 224 pixels, one image, the default design and components,
without pooling. Medians of several rounds, in each of which both run; time as a ratio of the two.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision

from captum_ssvep import FrequencyTaggingAttribution
from captum_ssvep.report import write_report


def timed(call: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call(*args, **kwargs)
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", nargs="+", default=["layer1", "layer4"])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    network = torchvision.models.resnet18().eval()
    # Not noise, which no picture compresses less than, nor one color: a smooth scene.
    coarse = torch.rand(1, 3, 14, 14)
    image = torch.nn.functional.interpolate(coarse, (224, 224), mode="bicubic").clamp(0, 1)
    print("layer   bytes of the page   writing / tagging   seconds to write")
    for layer in options.layers:
        tagging = FrequencyTaggingAttribution(network, layer)
        size, ratio, seconds = measured(tagging, image, options.rounds)
        print(f"{layer:<7} {size:>18,} {ratio:>19.2f} {seconds:>18.2f}")


def measured(
    tagging: FrequencyTaggingAttribution, image: torch.Tensor, n_rounds: int
) -> tuple[int, float, float]:
    """Bytes of the page, time to write it over that to tag, and seconds to write it."""
    ratios, seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report.html")
        # The first page of a process also reads templates.
        small = image[..., :64, :64]
        write_report(path, tagging.spectrum(small), images=small)
        for _ in range(n_rounds):
            of_tagging, spectrum = timed(tagging.spectrum, image)
            of_writing, _ = timed(write_report, path, spectrum, images=image)
            ratios.append(of_writing / of_tagging)
            seconds.append(of_writing)
        size = path.stat().st_size
    return size, statistics.median(ratios), statistics.median(seconds)


if __name__ == "__main__":
    main()
