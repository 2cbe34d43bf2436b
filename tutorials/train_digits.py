"""Train the demo's network again: about two minutes on one core.

Writes the two files that ``captum_ssvep.demo.digits`` reads: weights and test set. Nothing is
selected on the test set: the number of epochs is fixed beforehand, and the test set is read once,
at the end. Its digits are new, but the people who wrote them also wrote the training set. Other
processors and versions of PyTorch round differently and give other weights of about the same
accuracy.

    python tutorials/train_digits.py --out weights
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from captum_ssvep.demo import digits

try:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
except ImportError as error:
    raise ImportError(
        'The digits come with scikit-learn: pip install "captum-ssvep[tutorials]"'
    ) from error

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


def split_digits() -> tuple[Arrays, Arrays]:
    """Images and labels of the training and of the test set, with equal shares of each digit."""
    data = load_digits()
    # The pixels are counts from 0 to 16, float64 in scikit-learn. They fit into a byte.
    images, labels = data.images.astype(np.uint8), data.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0
    )
    return (images[train], labels[train]), (images[test], labels[test])


def shifted(images: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """Shift every image by up to ``reach`` pixels in either direction, and fill with black."""
    n, _, height, width = images.shape
    top, left = torch.randint(2 * reach + 1, (2, n, 1, 1), generator=generator)
    rows, columns = top + torch.arange(height)[:, None], left + torch.arange(width)
    padded = F.pad(images, [reach] * 4)[:, 0]
    return padded[torch.arange(n)[:, None, None], rows, columns][:, None]


def train(
    images: Tensor, labels: Tensor, epochs: int, batch_size: int, seed: int
) -> digits.DigitsResNet:
    """Train a network from scratch with AdamW and one cosine cycle of the learning rate."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = digits.DigitsResNet().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.05)
    n_batches = len(images) // batch_size
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * n_batches)
    started = time.perf_counter()
    for epoch in range(epochs):
        total, n_right = 0.0, 0
        # The last, incomplete batch is left out. Every epoch shuffles again.
        order = torch.randperm(len(images), generator=generator)[: n_batches * batch_size]
        for rows in order.split(batch_size):
            logits = network(shifted(images[rows], 3, generator))
            loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
            n_right += int((logits.argmax(dim=1) == labels[rows]).sum())
        print(
            f"epoch {epoch + 1:2d}/{epochs}  loss {total / n_batches:.4f}  "
            f"train accuracy {n_right / len(order):.4f}  {time.perf_counter() - started:4.0f} s",
            flush=True,
        )
    return network.eval()


def main() -> None:
    """Train, measure and save."""
    parser = argparse.ArgumentParser(description="Train the demo's digit network.")
    default_out = Path(digits.__file__).parent / "data"
    parser.add_argument("--out", type=Path, default=default_out, help="default: the package's data")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    (train_images, train_labels), (test_images, test_labels) = split_digits()
    inputs = digits.preprocess(train_images)
    labels = torch.from_numpy(train_labels)
    network = train(inputs, labels, args.epochs, args.batch_size, args.seed)
    test = torch.from_numpy(test_images), torch.from_numpy(test_labels)
    print(f"test accuracy {digits.accuracy(network, *test):.4f} on {len(test_labels)} digits")

    args.out.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), args.out / digits.WEIGHTS_FILE)
    np.savez_compressed(args.out / digits.TEST_SET_FILE, images=test_images, labels=test_labels)


if __name__ == "__main__":
    main()
