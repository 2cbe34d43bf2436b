"""What each process takes of the data."""

import pytest
import torch
from torch import distributed
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, Subset, TensorDataset

from captum_ssvep.scores.data import Shard

DATA = TensorDataset(torch.rand(7, 3))
WHOLE = {
    "in order": dict(),
    "shuffled": dict(shuffle=True),
    "in batches": dict(batch_sampler=BatchSampler(range(7), 3, drop_last=False)),
    "a sampler": dict(sampler=DistributedSampler(DATA, num_replicas=3, rank=1)),
}


@pytest.fixture
def three_processes(monkeypatch):
    for name, value in (("is_initialized", True), ("get_rank", 1), ("get_world_size", 3)):
        monkeypatch.setattr(distributed, name, lambda value=value: value)


@pytest.mark.parametrize("kind", ["in order", "shuffled"])
def test_a_loader_that_leaves_out_nothing_is_told_of(kind, monkeypatch, three_processes):
    loader = DataLoader(DATA, **WHOLE[kind])
    with pytest.warns(UserWarning, match="images count 3 times; pass the Dataset, or .*Sampler"):
        assert Shard.of_this_process(loader) == Shard(loader, 1, 3)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 1)
    Shard.of_this_process(loader)


@pytest.mark.usefixtures("three_processes")
def test_shares_of_ones_own_are_not_told_of():
    # Warnings are errors here.
    Shard.of_this_process(DATA)
    Shard.of_this_process(DataLoader(Subset(DATA, range(1, 7, 3))))
    for kind in ("in batches", "a sampler"):
        Shard.of_this_process(DataLoader(DATA, **WHOLE[kind]))


def test_one_process_takes_all():
    share = Shard.of_this_process(DATA)
    assert (share.rank, share.n_processes, share.n_items) == (0, 1, 7)
    assert share.indices(2, 3).tolist() == [2, 3, 4]
    assert Shard(DATA, 1, 3).n_items == 2
    assert Shard(DATA, 1, 3).indices(1, 1).tolist() == [4]
