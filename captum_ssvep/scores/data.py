"""Data sets and loaders as batches of inputs, with labels where there are any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from ..stimulus.frames import Inputs

Data = Dataset[Any] | DataLoader[Any]


@dataclass(frozen=True)
class Batch:
    """Some examples, on the model's device.

    Args:
        inputs: A tensor, or a tuple of several, examples on dimension 0.
        labels: One integer per example, where the data have labels.
    """

    inputs: Inputs
    labels: Tensor | None

    def __len__(self) -> int:
        first = self.inputs[0] if isinstance(self.inputs, tuple) else self.inputs
        return len(first)

    def required_labels(self, purpose: str) -> Tensor:
        """The labels.

        Raises:
            ValueError: If the data have no tensors for labels; the message says what they are for.
        """
        if self.labels is None:
            raise ValueError(
                f"Expected `data` of (input, label) pairs for {purpose}, with numbers as labels, "
                "but got inputs alone, or other labels"
            )
        return self.labels

    def required_classes(self, purpose: str) -> Tensor:
        """The labels as classes, one integer per example.

        Raises:
            ValueError: If the data have none, or labels of another kind.
        """
        labels = self.required_labels(purpose)
        if labels.dim() != 1 or labels.is_floating_point():
            raise ValueError(
                f"Expected one integer per example as label for {purpose}, but got {labels.dtype} "
                f"of shape {tuple(labels.shape)}"
            )
        return labels


def as_loader(
    data: Data, batch_size: int, num_workers: int = 0, items: Sequence[int] | None = None
) -> DataLoader[Any]:
    """A loader that goes through a Dataset in order, or the loader that was given.

    Args:
        data: A Dataset of tensors or (input, label) pairs, or a DataLoader of batches of these.
        batch_size: Examples in a batch, of a Dataset.
        num_workers: Processes that load, of a Dataset.
        items: Indices of the items to take, of a Dataset. Default: all

    Raises:
        TypeError: If the data are neither.
    """
    if isinstance(data, DataLoader):
        return data
    length_of(data)
    chosen = data if items is None else Subset(data, items)
    # A generator of its own: a loader otherwise draws a seed from the global one.
    return DataLoader(chosen, batch_size, num_workers=num_workers, generator=torch.Generator())


def length_of(data: Dataset[Any]) -> int:
    """How many items a Dataset has.

    Raises:
        TypeError: If it is no Dataset with a length.
    """
    if not hasattr(data, "__len__") or isinstance(data, IterableDataset):
        raise TypeError(
            "Expected `data` to be a Dataset with a length, or a DataLoader, but got "
            f"{type(data).__name__}; with images in a tensor, `TensorDataset(images, labels)`"
        )
    return len(data)


def batches_of(loader: DataLoader[Any], device: torch.device | None) -> Iterator[Batch]:
    """Go once through a loader.

    Args:
        loader: Of tensors, or of inputs and labels.
        device: Where the batches go; None leaves them where they are.

    Raises:
        TypeError: If the batches hold no tensors.
    """
    for batch in loader:
        yield _batch(batch, device)


def _batch(batch: Any, device: torch.device | None) -> Batch:
    pair = batch if isinstance(batch, (list, tuple)) else [batch]
    inputs, labels = pair[0], pair[1] if len(pair) > 1 else None
    if isinstance(inputs, (list, tuple)):
        inputs = tuple(tensor.to(device) for tensor in inputs)
    elif isinstance(inputs, Tensor):
        inputs = inputs.to(device)
    else:
        raise TypeError(
            "Expected `data` to hold tensors, or pairs of these and labels, but got "
            f"{type(inputs).__name__}; `transforms.ToTensor()` makes tensors of pictures"
        )
    return Batch(inputs, labels.to(device) if isinstance(labels, Tensor) else None)


def device_of(model: nn.Module | None) -> torch.device | None:
    """Where a model's parameters are, None without any."""
    parameters = iter(()) if model is None else model.parameters()
    return next((parameter.device for parameter in parameters), None)
