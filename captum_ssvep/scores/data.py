"""Data sets and loaders as batches of inputs, and the shard of them that a process scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from .._checks import warn_user
from .._typing import Inputs

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


@dataclass(frozen=True)
class Shard:
    """The part of the data that this process scores: process r of W takes items r, r + W, ..."""

    data: Data
    rank: int
    n_processes: int

    @classmethod
    def of_this_process(cls, data: Data) -> Shard:
        """All data, where there is but one process."""
        if not distributed.is_available() or not distributed.is_initialized():
            return cls(data, 0, 1)
        n_processes = distributed.get_world_size()
        if n_processes > 1 and isinstance(data, DataLoader) and _goes_through_all(data):
            warn_user(
                "A DataLoader is taken for the share of its process, but this one goes through all "
                f"of its Dataset: where all processes have the same, images count {n_processes} "
                "times; pass the Dataset, or give the loader a DistributedSampler"
            )
        return cls(data, distributed.get_rank(), n_processes)

    @property
    def n_items(self) -> int | None:
        """How many images that is, None if nobody can tell."""
        if not isinstance(self.data, DataLoader):
            return len(range(self.rank, length_of(self.data), self.n_processes))
        sampler = self.data.sampler
        return len(sampler) if isinstance(sampler, Sized) else None

    def indices(self, n_done: int, n_images: int) -> Tensor:
        """Indices in the data of the next images."""
        return self.rank + self.n_processes * torch.arange(n_done, n_done + n_images)

    def batches(
        self, batch_size: int, num_workers: int, device: torch.device | None, n_done: int
    ) -> Iterator[Batch]:
        """What is left after the first ``n_done`` images."""
        items = None
        if not isinstance(self.data, DataLoader):
            items = range(length_of(self.data))[self.rank :: self.n_processes][n_done:]
            n_done = 0
        for batch in batches_of(as_loader(self.data, batch_size, num_workers, items), device):
            if n_done >= len(batch):
                n_done -= len(batch)
            elif n_done:
                raise ValueError(
                    "Expected a DataLoader with the batches of the checkpoint, but these end "
                    "elsewhere; set its batch size back"
                )
            else:
                yield batch


def _choice(loader: DataLoader[Any]) -> Any:
    """The items of a loader, in batches or not."""
    return loader.sampler if loader.batch_sampler is None else loader.batch_sampler


def _sampler(loader: DataLoader[Any]) -> Any:
    """What chooses them, one by one."""
    choice = _choice(loader)
    return getattr(choice, "sampler", choice)


def _goes_through_all(loader: DataLoader[Any]) -> bool:
    """Whether a loader leaves out nothing of its Dataset, which is no part of another."""
    whole = type(_sampler(loader)) in (SequentialSampler, RandomSampler)
    return whole and not isinstance(loader.dataset, Subset)


def _order(data: Data) -> list[Any] | None:
    """Items in the order of a loader; None where it does not choose them.

    Raises:
        ValueError: If the order is another one every time.
    """
    if not isinstance(data, DataLoader) or isinstance(data.dataset, IterableDataset):
        return None
    random = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
    choice = _choice(data)
    shuffles = isinstance(_sampler(data), random)
    with torch.random.fork_rng(devices=[]):
        order = [] if shuffles else list(choice)
        if shuffles or order != list(choice):
            raise ValueError(
                "Expected data in a fixed order with `checkpoint`, but got a DataLoader that "
                "shuffles; pass its Dataset"
            )
    flat = [item if isinstance(item, (list, tuple)) else [item] for item in order]
    return [item for items in flat for item in items]


def description_of(data: Data) -> list[Any]:
    """Length of the data, and the order in which a loader brings them, as far as they have any.

    Raises:
        ValueError: If the data come in another order every time.
    """
    order = _order(data)
    dataset = data.dataset if isinstance(data, DataLoader) else data
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        return []
    return [len(dataset), order]


def first_item(data: Data) -> Any:
    """The first item in the order of the data, None where there is none to look at."""
    length, order = [*description_of(data), None, None][:2]
    if not length or order == []:
        return None
    dataset = data.dataset if isinstance(data, DataLoader) else data
    with torch.random.fork_rng(devices=[]):
        return dataset[0 if order is None else order[0]]
