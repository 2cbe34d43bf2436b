"""The part of a data set that one of several processes scores."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from .._checks import warn_user
from .checkpoint import Checkpoint, digest
from .data import Batch, Data, as_loader, batches_of, length_of


@dataclass(frozen=True)
class Share:
    """The part of the data that this process scores: of W processes, r takes r, r + W, ..."""

    data: Data
    rank: int
    n_processes: int

    @classmethod
    def of_this_process(cls, data: Data) -> Share:
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

    def checkpoint(self, path: str | Path, owner: dict[str, str]) -> Checkpoint:
        """Where this process keeps its scores.

        Raises:
            ValueError: If the data come in another order every time.
        """
        owner = {
            **owner,
            "data": _digest_of_data(self.data, _order(self.data)),
            "processes": f"{self.rank} of {self.n_processes}",
        }
        return Checkpoint(Path(f"{path}.{self.rank}" if self.rank else path), owner)


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
    """Items in the order of a loader; None where it has none to choose.

    Raises:
        ValueError: If it is another one every time.
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


def _digest_of_data(data: Data, order: list[Any] | None) -> str:
    """Of the length, the order and the first item, as far as there are any."""
    dataset = data.dataset if isinstance(data, DataLoader) else data
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        return digest(None)
    if not len(dataset) or order == []:
        return digest(len(dataset))
    first = 0 if order is None else order[0]
    with torch.random.fork_rng(devices=[]):
        # What is drawn at random, as an augmentation, then is the same every time, or is left out.
        torch.manual_seed(0)
        item = digest(dataset[first])
        torch.manual_seed(0)
        again = digest(dataset[first])
    return digest(len(dataset), order, item if item == again else None)
