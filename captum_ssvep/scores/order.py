"""The order in which a DataLoader goes through its Dataset, if it is the same every time."""

import copy
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

# How often a sampler is asked for its order, if that is short.
MOST_LISTINGS = 20


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Seed the global random generators of the CPU, and restore their states afterwards."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def sampler_of(loader: DataLoader[Any]) -> Any:
    """What chooses the items of a loader one by one, or in batches if nothing else does."""
    choice = _choice(loader)
    return getattr(choice, "sampler", choice)


def goes_through_all(loader: DataLoader[Any]) -> bool:
    """Whether a loader visits all of its Dataset, and the Dataset is not a part of another."""
    whole = type(sampler_of(loader)) in (SequentialSampler, RandomSampler)
    return whole and not isinstance(loader.dataset, Subset)


def keeps_order(loader: DataLoader[Any]) -> bool:
    """Whether batches come in the order in which a loader asks its workers for them."""
    return loader.num_workers < 2 or getattr(loader, "in_order", True)  # torch.__version__ >= 2.6


def batches_of_indices(loader: DataLoader[Any]) -> Iterator[list[Any]] | None:
    """What a loader asks its Dataset for, batch by batch; None if it differs from time to time."""
    sampler, choice = sampler_of(loader), _choice(loader)
    shuffles = isinstance(sampler, (RandomSampler, SubsetRandomSampler, WeightedRandomSampler))
    if shuffles or not keeps_order(loader):
        return None
    known = type(sampler) in (SequentialSampler, DistributedSampler)
    if not known or type(choice) not in (BatchSampler, type(sampler)):
        choice = _listed(choice, loader.dataset)
    return None if choice is None else (i if isinstance(i, list) else [i] for i in choice)


def _choice(loader: DataLoader[Any]) -> Any:
    """Where a loader gets the order of its items from, in batches or one by one."""
    return loader.sampler if loader.batch_sampler is None else loader.batch_sampler


def _listed(choice: Iterable[Any], dataset: Any) -> list[Any] | None:
    """What a sampler gives, if that is always the same. Copies are asked, to leave it as it is."""
    listing, n_listings = None, 2
    for number in range(MOST_LISTINGS):
        try:
            copied = copy.deepcopy(choice, {id(dataset): dataset})
        except Exception:  # generators, locks and open files cannot be copied
            return None
        # Some shuffle every time, others once.
        with seeded(number):
            listings = [list(map(_plain, copied)) for _ in range(2)]
        listing = listings[0] if listing is None else listing
        if any(other != listing for other in listings):
            return None
        # Few items often come in the same order by chance.
        n_listings = max(2, MOST_LISTINGS // max(1, len(listing)))
        if number + 1 >= n_listings:
            break
    return listing


def _plain(item: Any) -> Any:
    """An index, or a list of several, without tensors, arrays and tuples."""
    if isinstance(item, (list, tuple)):
        return list(map(_plain, item))
    return item.tolist() if isinstance(item, (torch.Tensor, np.ndarray, np.generic)) else item
