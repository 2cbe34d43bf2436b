"""The shard of the data that a process scores, and which images its batches hold."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler, Subset

from .._checks import warn_user
from .batches import Batch, Data, as_loader, batches_of, length_of, mentions
from .order import batches_of_indices, goes_through_all, keeps_order, sampler_of, seeded

# The index of an image that cannot be found again.
NOWHERE = -1


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
                f"{n_processes} times; pass the Dataset, or give the loader a DistributedSampler "
                "(a stream shares out its images by `torch.distributed.get_rank` itself)"
            )
        return cls(data, distributed.get_rank(), n_processes)

    @property
    def n_items(self) -> int | None:
        """How many images the shard holds; None if that is unknown."""
        if not isinstance(self.data, DataLoader):
            return len(range(self.rank, length_of(self.data), self.n_processes))
        sampler = sampler_of(self.data)
        chooses_items = sampler is not self.data.batch_sampler
        return len(sampler) if chooses_items and isinstance(sampler, Sized) else None

    @property
    def indexed(self) -> Any:
        """What indices of images refer to, which is the Dataset, also that of a loader.

        Subsets that processes go through are parts of one Dataset, and this is meant.
        """
        if not isinstance(self.data, DataLoader):
            return self.data
        dataset = self.data.dataset
        ordered = type(sampler_of(self.data)) is SequentialSampler
        if self.n_processes > 1 and ordered and isinstance(dataset, Subset):
            return dataset.dataset
        return dataset

    @property
    def n_indexed(self) -> int:
        """How many items these data have; 0 if that is unknown."""
        is_stream = isinstance(self.indexed, IterableDataset)
        return len(self.indexed) if hasattr(self.indexed, "__len__") and not is_stream else 0

    def batches(
        self, batch_size: int, num_workers: int, device: torch.device | None, n_done: int
    ) -> Iterator[tuple[Batch, Tensor]]:
        """The batches that are left after the first ``n_done`` images.

        Each comes with the indices of its images in the data. Where images cannot be found again,
        these are `NOWHERE`, and a warning says so.
        """
        loader, n_seen, warned = self.data, 0, False
        if not isinstance(loader, DataLoader):
            items = range(length_of(loader))[self.rank :: self.n_processes][n_done:]
            loader, n_done = as_loader(loader, batch_size, num_workers, items), 0
        is_stream = isinstance(loader.dataset, IterableDataset)
        asked = self._asked(loader)
        for batch in batches_of(loader, device):
            n_before, n_seen = n_seen, n_seen + len(batch)
            places = range(n_before, n_seen) if is_stream else next(asked, ())
            if n_before < n_done < n_seen:
                raise ValueError(
                    "Expected a DataLoader with the batches of the checkpoint, but these end at "
                    "other images; set its batch size back"
                )
            if n_seen <= n_done:
                continue
            images = _as_indices(places if self._finds(loader) else (), len(batch))
            if not warned and NOWHERE in images:
                warned = True
                warn_user(
                    "The images of this DataLoader cannot be found again, since it shuffles, or "
                    "its batches are not those of its sampler. The mean scores hold, but there "
                    "are no `top_images`; pass its Dataset, or shuffle=False"
                )
            yield batch, images

    def _finds(self, loader: DataLoader[Any]) -> bool:
        """Whether the batches of a loader are those that it asks for, of data common to all."""
        if type(loader).__iter__ is not DataLoader.__iter__ or not keeps_order(loader):
            return False
        if self.n_processes == 1 or loader is not self.data:
            return True
        return not isinstance(loader.dataset, IterableDataset) and not goes_through_all(loader)

    def _asked(self, loader: DataLoader[Any]) -> Iterator[Sequence[Any]]:
        """The indices of the images that a loader asks for, batch by batch, as far as known."""
        dataset = loader.dataset
        asked = None if isinstance(dataset, IterableDataset) else batches_of_indices(loader)
        if isinstance(dataset, Subset) and dataset is not self.indexed:
            return ([dataset.indices[place] for place in places] for places in asked or ())
        return iter(asked or ())


def _as_indices(places: Sequence[Any], n_images: int) -> Tensor:
    """Places in a Dataset as a tensor; `NOWHERE` if they are no numbers, or one is missing."""
    try:
        indices = [operator.index(place) for place in places]
    except TypeError:
        indices = []
    if len(indices) != n_images:
        return torch.full((n_images,), NOWHERE)
    return torch.tensor(indices).clamp(min=NOWHERE)


def _goes_through_all(loader: DataLoader[Any]) -> bool:
    """Whether a loader would give the same images in every process, as far as can be seen."""
    if isinstance(loader.dataset, IterableDataset):
        return not mentions("get_rank", loader.dataset)
    return goes_through_all(loader)


def description_of(data: Data) -> list[Any]:
    """Length of the data and the order in which a loader visits them, if they have any.

    Raises:
        ValueError: If the order changes every time.
    """
    dataset, asked = data, None
    if isinstance(data, DataLoader):
        dataset = data.dataset
        is_stream = isinstance(dataset, IterableDataset)
        asked = iter(()) if is_stream and keeps_order(data) else batches_of_indices(data)
        if asked is None:
            raise ValueError(
                "Expected data in a fixed order with `checkpoint`, but got a DataLoader that "
                "shuffles; pass its Dataset"
            )
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        return []
    order = None if asked is None else [place for places in asked for place in places]
    return [len(dataset), order]


def first_item(data: Data) -> Any:
    """The first item in the order of the data; None if there is none.

    Augmentation that uses the global random generators gives the same item every time.
    """
    length, order = (*description_of(data), None, None)[:2]
    if not length or order == []:
        return None
    dataset = data.dataset if isinstance(data, DataLoader) else data
    with seeded():
        return dataset[0 if order is None else order[0]]
