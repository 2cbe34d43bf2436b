"""What training with FrequencyTaggingLoss does to a network, and what it costs.

A trained ResNet-20 is trained further on 3 000 CIFAR-10 images, for two epochs of 64 images a step,
with the share of the variance that the halves of an image explain together as a penalty or as a
reward. BatchNorm keeps its statistics, but in the rows that say so. Shares are those of channel
means, from the four corners (both halves, one, none on black), of 16 of the 64 images. Prints one
line per training and seed, a minute and a half each on one core that does nothing else; accuracies
are those of 500 test images, shares those of 250.

    CAPTUM_SSVEP_DATA=... python benchmarks/loss.py --rows plain penalty reward --seeds 3
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_ssvep import FrequencyTaggingAttribution, TaggedSpectrum, TwoLevelDesign, black, tiles
from captum_ssvep.losses import FrequencyTaggingLoss, Share

sys.path.insert(0, str(Path(__file__).parent.parent / "tutorials"))
from cifar import MEAN, STD, load_resnet, load_test_images, load_training_images

DARK = black(MEAN, STD)
HALVES, QUARTERS = TwoLevelDesign(2), TwoLevelDesign(4, max_order=4)
TOGETHER = Share((0, 1), at_most=0.0)
N_BATCH, N_TAGGED, N_EPOCHS = 64, 16, 2
RATE, MOMENTUM, DECAY = 3e-3, 0.9, 1e-4
N_SHARES = 250  # test images on which shares are measured
GAP = slice(12, 20)  # columns


@dataclass(frozen=True)
class Row:
    """One training.

    Args:
        weight: Factor of the loss; 0 for none.
        objective: What the loss wants.
        layer: Where.
        quarters: Whether quarters flicker instead of halves.
        gap: Whether a black strip of 8 pixels separates the halves.
        mode: How frames are shown.
        n_tagged: Images of a batch that are tagged.
        hides: Whether a random half of every second image is black, without a loss.
        training: Whether the network is in train mode, so that BatchNorm takes those of the batch.
    """

    weight: float = 0.0
    objective: Callable[[TaggedSpectrum], Tensor] = TOGETHER
    layer: str = "layer3"
    quarters: bool = False
    gap: bool = False
    mode: str = "eval"
    n_tagged: int = N_TAGGED
    hides: bool = False
    training: bool = False


def mean_of_ratios(spectrum: TaggedSpectrum) -> Tensor:
    """Each channel of each image counts the same, however little it varies."""
    return spectrum.interaction((0, 1)).mean()


RAISED = Share((0, 1), at_least=1.0)
ROWS = {
    "plain": Row(),
    "penalty": Row(2.0),
    "reward": Row(1.0, RAISED),
    "hidden halves in training": Row(hides=True),
    "penalty, weight 8": Row(8.0),
    "reward, weight 0.25": Row(0.25, RAISED),
    "penalty, gap": Row(2.0, gap=True),
    "reward, gap": Row(1.0, RAISED, gap=True),
    "penalty, layer2": Row(2.0, layer="layer2"),
    "reward, layer2": Row(1.0, RAISED, layer="layer2"),
    "plain, train mode": Row(training=True),
    "penalty, train mode": Row(2.0, training=True),
    "reward, train mode": Row(1.0, RAISED, training=True),
    "penalty, batch statistics": Row(2.0, mode="train", training=True),
    "reward, batch statistics": Row(1.0, RAISED, mode="train", training=True),
    "penalty, mean of ratios": Row(2.0, mean_of_ratios),
    "penalty, quarters": Row(2.0, Share("intermodulations", at_most=0.0), quarters=True),
    "reward, quarters": Row(1.0, Share("intermodulations", at_least=1.0), quarters=True),
    "band .15 to .25": Row(2.0, Share((0, 1), at_least=0.15, at_most=0.25)),
    "penalty, all 64 images": Row(2.0, n_tagged=N_BATCH),
}


def hidden(images: Tensor, columns: slice) -> Tensor:
    """The images with some columns in black."""
    covered = images.clone()
    covered[..., columns] = DARK
    return covered


def shifted(images: Tensor) -> Tensor:
    """The right half moved down by 8 pixels; what leaves below comes in above."""
    moved = images.clone()
    moved[..., 16:] = images[..., 16:].roll(8, dims=2)
    return moved


def with_hidden_halves(images: Tensor, generator: torch.Generator) -> Tensor:
    """Every second image without its left or its right half, by chance."""
    covered = images.clone()
    for image in covered[::2]:
        start = 16 * int(torch.randint(2, (), generator=generator))
        image[:, :, start : start + 16] = DARK[0]
    return covered


def tagging_loss(model: nn.Module, row: Row) -> Callable[[Tensor], Tensor]:
    """The loss of a row, of images."""
    loss = FrequencyTaggingLoss(
        model,
        row.layer,
        design=QUARTERS if row.quarters else HALVES,
        objective=row.objective,
        pooling="channel",
        mode=row.mode,  # type: ignore[arg-type]
    )
    mask = tiles((1, 3, 32, 32), 2, 2) if row.quarters else None

    def of_images(images: Tensor) -> Tensor:
        shown = hidden(images, GAP) if row.gap else images
        return loss(shown, baselines=DARK, feature_mask=mask)

    return of_images


def train(row: Row, images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """The trained network, trained further as the row says."""
    model = load_resnet(20).train(row.training)
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY)
    tagging = tagging_loss(model, row)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(N_EPOCHS):
        for batch in torch.randperm(len(images), generator=generator).split(N_BATCH):
            shown = images[batch]
            if row.hides:
                shown = with_hidden_halves(shown, generator)
            loss = F.cross_entropy(model(shown), labels[batch])
            if row.weight:
                loss = loss + row.weight * tagging(images[batch[: row.n_tagged]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """In percent."""
    correct = [
        (model(part).argmax(1) == expected).float()
        for part, expected in zip(images.split(100), labels.split(100), strict=True)
    ]
    return 100 * torch.cat(correct).mean().item()


def shares(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Shares of the variance that parts explain together, of channel means."""
    found = {}
    stages = FrequencyTaggingAttribution(model, ["layer2", "layer3", "linear"])
    for name, shown in (("", images), (", gap", hidden(images, GAP))):
        spectra = stages.spectrum(shown, DARK, design=HALVES, pooling="channel")
        second, third, logits = (TOGETHER(spectrum).item() for spectrum in spectra)
        found[f"layer3{name}"] = third
        if not name:
            found |= {"layer3, mean of ratios": mean_of_ratios(spectra[1]).item()}
            found |= {"layer2": second, "logits": logits}
    of_quarters = FrequencyTaggingAttribution(model, "layer3").spectrum(
        images[:60],
        DARK,
        feature_mask=tiles((1, 3, 32, 32), 2, 2),
        design=QUARTERS,
        pooling="channel",
    )
    found["layer3, quarters"] = Share("intermodulations", at_most=0.0)(of_quarters).item()
    return found


def measure(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy on test images as they are and damaged, and shares."""
    left, right = hidden(images, slice(0, 16)), hidden(images, slice(16, 32))
    damaged = {
        "whole": images,
        "left hidden": left,
        "right hidden": right,
        "shifted": shifted(images),
    }
    found = {name: accuracy(model, shown, labels) for name, shown in damaged.items()}
    return found | shares(model, images[:N_SHARES])


def print_header(names: list[str]) -> None:
    """Names of the columns."""
    print(f"{'row':28}{'seed':>5}  " + "  ".join(names), flush=True)


def print_row(name: str, seed: str, found: dict[str, float]) -> None:
    """Accuracies in percent, shares with three digits."""
    cells = []
    for key, value in found.items():
        digits = 3 if key.startswith(("layer", "logits")) else 1
        cells.append(f"{value:.{digits}f}".rjust(len(key)))
    print(f"{name:28}{seed:>5}  " + "  ".join(cells), flush=True)


def time_steps(images: Tensor, labels: Tensor, repeats: int) -> None:
    """Time of a step with the loss as a multiple of one without, in turns."""
    model = load_resnet(20).train()
    batch, classes = images[:N_BATCH], labels[:N_BATCH]

    def loss_with(**options: object) -> FrequencyTaggingLoss:
        return FrequencyTaggingLoss(
            model, "layer3", design=HALVES, objective=TOGETHER, pooling="channel", **options
        )

    plain, by_frame = loss_with(), loss_with(perturbations_per_eval=1)
    checked = loss_with(perturbations_per_eval=1, checkpoint=True)
    cases: dict[str, tuple[FrequencyTaggingLoss | None, int]] = {
        "without": (None, 0),
        "all images": (plain, N_BATCH),
        "all images, frame by frame": (by_frame, N_BATCH),
        "all images, frame by frame, checkpoint": (checked, N_BATCH),
        "a quarter of the images": (plain, N_TAGGED),
    }
    times = defaultdict(list)
    for _ in range(repeats):
        for name, (loss, n_images) in cases.items():
            start = time.perf_counter()
            total = F.cross_entropy(model(batch), classes)
            if loss:
                total = total + loss(batch[:n_images], baselines=DARK)
            total.backward()
            times[name].append(time.perf_counter() - start)
    for name in cases:
        ratio = statistics.median(times[name]) / statistics.median(times["without"])
        print(f"{name:40}{ratio:6.2f}", flush=True)


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--time", action="store_true", help="time of a step instead of rows")
    arguments = parser.parse_args()
    images, labels = load_training_images()
    if arguments.time:
        time_steps(images, labels, repeats=9)
        return
    test_images, test_labels = load_test_images()
    before = measure(load_resnet(20), test_images, test_labels)
    print_header(list(before))
    print_row("before", "", before)
    for name in arguments.rows:
        found = []
        for seed in range(arguments.seeds):
            model = train(ROWS[name], images, labels, seed)
            found.append(measure(model, test_images, test_labels))
            print_row(name, str(seed), found[-1])
        if len(found) > 1:
            mean = {key: statistics.mean(each[key] for each in found) for key in before}
            spread = {key: statistics.stdev(each[key] for each in found) for key in before}
            print_row(name, "mean", mean)
            print_row(name, "SD", spread)


if __name__ == "__main__":
    main()
