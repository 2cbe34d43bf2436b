"""Batches of data sets and loaders, and the shard of the data that a process scores."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
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
        labels: One label per example; None if the data have none.
    """

    inputs: Inputs
    labels: Tensor | None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The inputs as a tuple."""
        return self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def required_labels(self, purpose: str) -> Tensor:
        """The labels.

        Raises:
            ValueError: If the data have no numeric labels; the message gives the purpose.
        """
        if self.labels is None:
            raise ValueError(
                f"Expected `data` of (input, label) pairs for {purpose}, with numbers as labels, "
                "but got inputs alone or labels of another type"
            )
        return self.labels

    def required_classes(self, purpose: str) -> Tensor:
        """The labels as classes, one integer per example.

        Raises:
            ValueError: If there are no labels, or not one integer per example.
        """
        labels = self.required_labels(purpose)
        if labels.shape != (len(self),) or labels.is_floating_point():
            raise ValueError(
                f"Expected one integer per example as label for {purpose}, but got {labels.dtype} "
                f"of shape {tuple(labels.shape)}"
            )
        return labels


def as_loader(
    data: Data, batch_size: int, num_workers: int = 0, items: Sequence[int] | None = None
) -> DataLoader[Any]:
    """A loader that goes through a Dataset in order; a DataLoader is returned as it is.

    The other arguments only apply to a Dataset.

    Args:
        data: A Dataset of tensors or (input, label) pairs, or a DataLoader of batches of these.
        batch_size: Examples in a batch.
        num_workers: Processes that load examples.
        items: Indices of the items to take. Default: all

    Raises:
        TypeError: If the data are neither.
    """
    if isinstance(data, DataLoader):
        return data
    length_of(data)
    chosen = data if items is None else Subset(data, items)
    # With its own generator, the loader does not draw a seed from the global one.
    return DataLoader(chosen, batch_size, num_workers=num_workers, generator=torch.Generator())


def length_of(data: Dataset[Any]) -> int:
    """How many items a Dataset has.

    Raises:
        TypeError: If the data are not a Dataset with a length.
    """
    if not hasattr(data, "__len__") or isinstance(data, IterableDataset):
        raise TypeError(
            "Expected `data` to be a Dataset with a length, or a DataLoader, but got "
            f"{type(data).__name__}; pass images in a tensor as `TensorDataset(images, labels)`"
        )
    return len(data)


def batches_of(loader: DataLoader[Any], device: torch.device | None) -> Iterator[Batch]:
    """Go through a loader once.

    Args:
        loader: A loader of inputs, or of inputs and labels.
        device: Where to move the batches; None leaves them where they are.

    Raises:
        TypeError: If the batches hold no tensors.
    """
    for batch in loader:
        pair = batch if isinstance(batch, (list, tuple)) else [batch]
        inputs, labels = (*pair, None)[:2]
        several = isinstance(inputs, (list, tuple))
        tensors = inputs if several else [inputs]
        if wrong := [type(value).__name__ for value in tensors if not isinstance(value, Tensor)]:
            raise TypeError(
                "Expected `data` to hold tensors, or pairs of these and labels, but got "
                f"{wrong[0]}; turn pictures into tensors with `transforms.ToTensor()`"
            )
        moved = tuple(tensor.to(device) for tensor in tensors)
        labels = labels.to(device) if isinstance(labels, Tensor) else None
        yield Batch(moved if several else moved[0], labels)


def device_of(model: nn.Module | None) -> torch.device | None:
    """The device of a model's parameters; None without a model or parameters."""
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
        """The shard of the current process; all data if there is only one process."""
        if not distributed.is_available() or not distributed.is_initialized():
            return cls(data, 0, 1)
        n_processes = distributed.get_world_size()
        if n_processes > 1 and isinstance(data, DataLoader) and _goes_through_all(data):
            warn_user(
                "A DataLoader should only hold the images of its process, but this one goes "
                "through its whole Dataset. If all processes do, images count "
                f"{n_processes} times; pass the Dataset, or give the loader a DistributedSampler"
            )
        return cls(data, distributed.get_rank(), n_processes)

    @property
    def n_items(self) -> int | None:
        """How many images the shard holds; None if that is unknown."""
        if not isinstance(self.data, DataLoader):
            return len(range(self.rank, length_of(self.data), self.n_processes))
        sampler = _sampler(self.data)
        chooses_items = sampler is not self.data.batch_sampler
        return len(sampler) if chooses_items and isinstance(sampler, Sized) else None

    def indices(self, n_done: int, n_images: int) -> Tensor:
        """Indices in the data of the next ``n_images`` images after the first ``n_done``."""
        return self.rank + self.n_processes * torch.arange(n_done, n_done + n_images)

    def batches(
        self, batch_size: int, num_workers: int, device: torch.device | None, n_done: int
    ) -> Iterator[Batch]:
        """The batches that are left after the first ``n_done`` images."""
        items = None
        if not isinstance(self.data, DataLoader):
            items = range(length_of(self.data))[self.rank :: self.n_processes][n_done:]
            n_done = 0
        for batch in batches_of(as_loader(self.data, batch_size, num_workers, items), device):
            if n_done >= len(batch):
                n_done -= len(batch)
            elif n_done:
                raise ValueError(
                    "Expected a DataLoader with the batches of the checkpoint, but these end at "
                    "other images; set its batch size back"
                )
            else:
                yield batch


@contextmanager
def _seeded() -> Iterator[None]:
    """Seed the global random generators of the CPU, and restore their states afterwards."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def _choice(loader: DataLoader[Any]) -> Any:
    """Where a loader gets the order of its items from, in batches or one by one."""
    return loader.sampler if loader.batch_sampler is None else loader.batch_sampler


def _sampler(loader: DataLoader[Any]) -> Any:
    """What chooses the items of a loader one by one, or in batches if nothing else does."""
    choice = _choice(loader)
    return getattr(choice, "sampler", choice)


def _goes_through_all(loader: DataLoader[Any]) -> bool:
    """Whether a loader visits all of its Dataset, and the Dataset is not a part of another."""
    whole = type(_sampler(loader)) in (SequentialSampler, RandomSampler)
    return whole and not isinstance(loader.dataset, Subset)


def _order(loader: DataLoader[Any]) -> list[Any]:
    """The indices of the items in the order of a loader.

    Raises:
        ValueError: If the order changes every time.
    """
    choice = _choice(loader)
    shuffles = isinstance(
        _sampler(loader), (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
    )
    with _seeded():
        order = [] if shuffles else list(choice)
        if shuffles or order != list(choice):
            raise ValueError(
                "Expected data in a fixed order with `checkpoint`, but got a DataLoader that "
                "shuffles; pass its Dataset"
            )
    flat = [item if isinstance(item, (list, tuple)) else [item] for item in order]
    return [item for items in flat for item in items]


def description_of(data: Data) -> list[Any]:
    """Length of the data and the order in which a loader visits them, if they have any.

    Raises:
        ValueError: If the order changes every time.
    """
    dataset = data.dataset if isinstance(data, DataLoader) else data
    if isinstance(dataset, IterableDataset):
        return []
    order = _order(data) if isinstance(data, DataLoader) else None
    return [len(dataset), order] if hasattr(dataset, "__len__") else []


def first_item(data: Data) -> Any:
    """The first item in the order of the data; None if there is none.

    Augmentation that uses the global random generators gives the same item every time.
    """
    length, order = (*description_of(data), None, None)[:2]
    if not length or order == []:
        return None
    dataset = data.dataset if isinstance(data, DataLoader) else data
    with _seeded():
        return dataset[0 if order is None else order[0]]
