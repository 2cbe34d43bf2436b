"""Each process takes its shard of the data, and knows which images it holds."""

import numpy as np
import pytest
import torch
from score_worker import DRAWS, Augmented, Images, seed_all
from seven_images import DATA, IMAGES, LABELS, N_IMAGES, CountedStream, Endless, Stream
from torch import distributed
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Sampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    default_collate,
)

from captum_ssvep.scores.data import NOWHERE, Shard, description_of, first_item


class ShufflesOnce(Sampler):
    """Takes the order that it drew first in every pass."""

    def __init__(self):
        self.order = None

    def __iter__(self):
        if self.order is None:
            self.order = torch.randperm(N_IMAGES).tolist()
        return iter(self.order)

    def __len__(self):
        return N_IMAGES


class ShufflesItself(Sampler):
    """In an order of its own every time, which its type does not tell."""

    def __iter__(self):
        return iter(torch.randperm(N_IMAGES).tolist())

    def __len__(self):
        return N_IMAGES


def numbers_of(batches):
    """Which images each batch holds, as those of `IMAGES` tell; their indices say the same."""
    found = []
    for batch, images in batches:
        found.append((batch.inputs[:, 0] / 3).int().tolist())
        assert images.tolist() == found[-1]
    return found


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
def test_shards_of_ones_own_are_not_told_of():
    # Warnings are errors here.
    Shard.of_this_process(DATA)
    Shard.of_this_process(DataLoader(Subset(DATA, range(1, 7, 3))))
    for kind in ("in batches", "a sampler"):
        Shard.of_this_process(DataLoader(DATA, **WHOLE[kind]))


def test_one_process_takes_all():
    shard = Shard.of_this_process(DATA)
    assert (shard.rank, shard.n_processes, shard.n_items) == (0, 1, 7)
    assert Shard(DATA, 1, 3).n_items == 2


@pytest.mark.parametrize("n_processes", [1, 2, 3, 7, 9])
@pytest.mark.parametrize("n_done", [0, 1, 2, 4])
def test_indices_are_those_of_the_images_that_are_left(n_processes, n_done):
    seen = []
    for rank in range(n_processes):
        numbers = numbers_of(Shard(DATA, rank, n_processes).batches(2, 0, None, n_done))
        seen += [image for images in numbers for image in images]
    assert sorted(seen) == list(range(n_done * n_processes, N_IMAGES))


@pytest.mark.parametrize(
    ("n_done", "left"),
    [(0, [[0, 1, 2], [3, 4, 5], [6]]), (3, [[3, 4, 5], [6]]), (6, [[6]]), (7, []), (9, [])],
)
@pytest.mark.parametrize("rank", [0, 2])
def test_a_loader_goes_on_behind_the_batches_that_are_done(rank, n_done, left):
    """Its batches are as they come, whatever the process and the batch size asked for."""
    loader = DataLoader(DATA, batch_size=3, sampler=range(N_IMAGES))
    assert numbers_of(Shard(loader, rank, 3).batches(2, 0, None, n_done)) == left


@pytest.mark.parametrize("n_done", [1, 2, 4, 5])
def test_a_loader_whose_batch_would_be_done_in_part_is_refused(n_done):
    shard = Shard(DataLoader(DATA, batch_size=3), 0, 1)
    with pytest.raises(ValueError, match=r"batches of the checkpoint.*set its batch size back"):
        list(shard.batches(3, 0, None, n_done))


def test_batches_of_a_shard_hold_labels_and_go_to_the_device():
    ((batch, _),) = Shard(DATA, 1, 3).batches(4, 0, None, 0)
    assert torch.equal(batch.labels, LABELS[1::3])
    ((batch, _),) = Shard(DATA, 1, 3).batches(4, 0, torch.device("meta"), 0)
    assert batch.inputs.is_meta


@pytest.mark.parametrize(
    ("loader", "n_items"),
    [
        (DataLoader(DATA, batch_size=3), 7),
        (DataLoader(DATA, sampler=[3, 1]), 2),
        (DataLoader(Subset(DATA, [4]), batch_size=3), 1),
        (DataLoader(DATA, batch_sampler=BatchSampler([3, 1], 3, drop_last=False)), 2),
        (DataLoader(DATA, batch_sampler=[[5, 2], [4]]), None),
        (DataLoader(Stream(), batch_size=3), None),
    ],
    ids=["whole", "sampler", "subset", "batches", "list of batches", "stream"],
)
def test_a_loader_has_as_many_items_as_its_sampler(loader, n_items):
    assert Shard(loader, 1, 3).n_items == n_items


DESCRIBED = {
    "dataset": (lambda: DATA, [7, None], 0),
    "list": (lambda: list(DATA), [7, None], 0),
    "loader": (lambda: DataLoader(DATA, batch_size=3), [7, [0, 1, 2, 3, 4, 5, 6]], 0),
    "sampler": (lambda: DataLoader(DATA, sampler=[3, 1], batch_size=3), [7, [3, 1]], 3),
    "batches": (lambda: DataLoader(DATA, batch_sampler=[[5, 2], [4]]), [7, [5, 2, 4]], 5),
    "items": (lambda: DataLoader(DATA, sampler=[6, 1], batch_size=None), [7, [6, 1]], 6),
    "subset": (lambda: DataLoader(Subset(DATA, [4, 5])), [2, [0, 1]], 4),
    "no item": (lambda: Subset(DATA, []), [0, None], None),
    "no item in a loader": (lambda: DataLoader(DATA, sampler=[]), [7, []], None),
    "stream": (lambda: DataLoader(Stream()), [], None),
    "stream of known length": (lambda: DataLoader(CountedStream()), [], None),
    "no length": (lambda: DataLoader(Endless(), sampler=[3, 1]), [], None),
}


@pytest.mark.parametrize("kind", DESCRIBED)
def test_data_are_described_by_length_and_order(kind):
    make, expected, _ = DESCRIBED[kind]
    assert description_of(make()) == expected


@pytest.mark.parametrize("kind", DESCRIBED)
def test_the_first_item_is_the_one_that_comes_first(kind):
    make, _, number = DESCRIBED[kind]
    item = first_item(make())
    if number is None:
        assert item is None
    else:
        assert torch.equal(item[0], IMAGES[number])
        assert torch.equal(item[1], LABELS[number])


def test_an_order_that_is_shuffled_once_is_kept():
    sampler = DistributedSampler(DATA, num_replicas=2, rank=1, shuffle=True, seed=3)
    _, order = description_of(DataLoader(DATA, sampler=sampler))
    assert order == list(sampler) != sorted(order)


@pytest.mark.parametrize(
    "arguments",
    [
        dict(shuffle=True),
        dict(sampler=RandomSampler(DATA, generator=torch.Generator())),
        dict(sampler=SubsetRandomSampler([3, 1])),
        dict(sampler=WeightedRandomSampler([0.5] * 7, 7)),
        dict(sampler=ShufflesItself()),
        dict(batch_sampler=BatchSampler(RandomSampler(DATA), 3, drop_last=False)),
        dict(batch_sampler=BatchSampler(ShufflesItself(), 3, drop_last=False)),
    ],
    ids=["shuffle", "sampler", "subset", "weighted", "own", "batches", "own batches"],
)
@pytest.mark.parametrize("ask", [description_of, first_item])
def test_an_order_that_changes_every_time_is_refused_and_the_remedy_is_told(arguments, ask):
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match=r"fixed order with `checkpoint`.*shuffles; pass its D"):
        ask(DataLoader(DATA, **arguments))
    assert torch.equal(torch.get_rng_state(), state)


def test_no_other_item_is_fetched_than_the_first():
    data = Images(N_IMAGES)
    description_of(data)
    assert data.fetched == []
    first_item(data)
    first_item(DataLoader(data, sampler=[3, 1]))
    assert data.fetched == [0, 3]


@pytest.mark.parametrize("source", DRAWS)
@pytest.mark.parametrize("of", [lambda data: data, DataLoader], ids=["dataset", "loader"])
def test_the_first_item_does_not_move_the_random_state(source, of):
    seed_all(5)
    first_item(of(Augmented(N_IMAGES, DRAWS[source])))
    drawn = [draw() for draw in DRAWS.values()]
    seed_all(5)
    assert drawn == [draw() for draw in DRAWS.values()]


class OfTensors(Sampler):
    """In the same order every time, from its own generator, as 0-dimensional tensors."""

    def __iter__(self):
        yield from torch.randperm(N_IMAGES, generator=torch.Generator().manual_seed(4))


class Epochs(Sampler):
    """Shuffled anew every time by a generator and a counter of its own."""

    def __init__(self):
        self.generator, self.epoch = torch.Generator().manual_seed(4), 0

    def __iter__(self):
        self.epoch += 1
        return iter(torch.randperm(N_IMAGES, generator=self.generator).tolist())


class Reversed(DataLoader):
    def __iter__(self):
        return reversed(list(super().__iter__()))


FIXED = {
    "in order": dict(),
    "drop last": dict(drop_last=True),
    "list": dict(sampler=[5, 3, 0]),
    "tensors": dict(sampler=OfTensors()),
    "array": dict(sampler=np.array([4, 1])),
    "batches": dict(batch_size=1, batch_sampler=[[5, 2], [4]]),
    "batches of tensors": dict(batch_size=1, batch_sampler=[torch.tensor([5, 2]), np.array([4])]),
    "distributed": dict(sampler=DistributedSampler(DATA, 2, 1, shuffle=False)),
    "distributed, shuffled": dict(sampler=DistributedSampler(DATA, 2, 1, seed=3)),
    "whole items": dict(batch_size=None, sampler=BatchSampler(range(7), 2, drop_last=False)),
    "workers": dict(num_workers=2),
}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # from Python 3.12 on
@pytest.mark.parametrize("kind", FIXED)
@pytest.mark.parametrize("rank", [0, 1])
def test_images_of_a_fixed_order_have_their_indices_in_the_dataset(kind, rank):
    loader = DataLoader(DATA, **{"batch_size": 2} | FIXED[kind])
    # Processes that go through all cannot share a loader.
    n_processes = 1 if kind in ("in order", "drop last", "workers") else 2
    seen = numbers_of(Shard(loader, rank, n_processes).batches(3, 0, None, 0))
    assert seen == [(images[:, 0] / 3).int().tolist() for images, _ in loader]


def test_images_of_a_subset_have_their_indices_in_it_or_in_the_data_that_processes_share():
    rows = [6, 1, 4]
    for n_processes, expected in ((1, [0, 1, 2]), (3, rows)):
        shard = Shard(DataLoader(Subset(DATA, rows), batch_size=2), 1, n_processes)
        found = torch.cat([images for _, images in shard.batches(1, 0, None, 0)])
        assert found.tolist() == expected
        assert shard.n_indexed == (3 if n_processes == 1 else N_IMAGES)
    sampler = DistributedSampler(Subset(DATA, rows), 3, 1, shuffle=False)
    shard = Shard(DataLoader(sampler.dataset, sampler=sampler), 1, 3)
    assert [images.tolist() for _, images in shard.batches(1, 0, None, 0)] == [[1]]


def sampled(sampler):
    return lambda: DataLoader(DATA, batch_size=3, sampler=sampler)


LOST = {
    "shuffle": lambda: DataLoader(DATA, shuffle=True),
    "generator": sampled(RandomSampler(DATA, generator=torch.Generator())),
    "subset": sampled(SubsetRandomSampler([3, 1])),
    "weighted": sampled(WeightedRandomSampler([0.5] * 7, 7)),
    "own": sampled(ShufflesItself()),
    "epochs": sampled(Epochs()),
    "its first order": sampled(ShufflesOnce()),
    "once": sampled(iter([3, 1])),
    "cannot be copied": sampled(n for n in (3, 1)),
    "batches": lambda: DataLoader(
        DATA, batch_sampler=BatchSampler(RandomSampler(DATA), 3, drop_last=False)
    ),
    "left out": lambda: DataLoader(
        DATA, batch_size=3, collate_fn=lambda items: default_collate(items[:-1] or items * 2)
    ),
    "out of order": lambda: DataLoader(DATA, num_workers=2, in_order=False),
    "own loader": lambda: Reversed(DATA),
    "keys": lambda: DataLoader({"a": IMAGES[0], "b": IMAGES[1]}, sampler=["a", "b"]),
}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # from Python 3.12 on
@pytest.mark.parametrize("kind", LOST)
def test_images_that_cannot_be_found_again_have_no_index_and_one_warning_says_so(kind):
    shard = Shard(LOST[kind](), 0, 1)
    with pytest.warns(UserWarning, match=r"pass its Dataset, or shuffle=False") as warned:
        found = [images for _, images in shard.batches(1, 0, None, 0)]
    assert len(warned) == 1
    assert (torch.cat(found) == NOWHERE).all()


@pytest.mark.parametrize("make", [Epochs, OfTensors, ShufflesItself])
@pytest.mark.filterwarnings("ignore:The images of this DataLoader")
def test_to_list_a_sampler_moves_neither_its_state_nor_the_random_one(make):
    sampler, alone = make(), make()
    seed_all(5)
    expected = list(DataLoader(DATA, batch_size=3, sampler=alone))
    drawn = torch.rand(())
    seed_all(5)
    loader = DataLoader(DATA, batch_size=3, sampler=sampler)
    found = [batch.inputs for batch, _ in Shard(loader, 0, 1).batches(1, 0, None, 0)]
    assert all(torch.equal(one, other[0]) for one, other in zip(found, expected, strict=True))
    assert torch.equal(torch.rand(()), drawn)
    assert getattr(sampler, "epoch", 1) == getattr(alone, "epoch", 1) == 1


def test_a_dataset_is_not_copied_to_list_a_sampler():
    class Data(Images):
        def __deepcopy__(self, memo):
            pytest.fail("copied")

    class Every(Sampler):
        def __init__(self, data):
            self.data = data

        def __iter__(self):
            return iter(range(1, len(self.data), 2))

    data = Data(N_IMAGES)
    shard = Shard(DataLoader(data, sampler=Every(data)), 0, 1)
    assert [images.item() for _, images in shard.batches(1, 0, None, 0)] == [1, 3, 5]


@pytest.mark.parametrize("make", [Stream, CountedStream])
def test_images_of_a_stream_have_their_places_if_one_process_reads_it(make):
    shard = Shard(DataLoader(make(), batch_size=3), 0, 1)
    assert numbers_of(shard.batches(1, 0, None, 3)) == [[3, 4, 5], [6]]
    assert shard.n_indexed == 0
    with pytest.warns(UserWarning, match="cannot be found again"):
        ((_, images),) = Shard(DataLoader(make(), batch_size=7), 1, 2).batches(1, 0, None, 0)
    assert (images == NOWHERE).all()


class RankedStream(Stream):
    def __iter__(self):
        return iter(Subset(DATA, range(distributed.get_rank(), 7, 3)))


@pytest.mark.usefixtures("three_processes")
def test_a_stream_that_processes_do_not_share_out_is_told_of():
    for stream in (Stream(), CountedStream()):
        with pytest.warns(UserWarning, match=r"images count 3 times.*get_rank"):
            Shard.of_this_process(DataLoader(stream))
    Shard.of_this_process(DataLoader(RankedStream()))


def test_a_checkpoint_needs_batches_in_order():
    loader = DataLoader(Stream(), num_workers=2, in_order=False)
    with pytest.raises(ValueError, match="fixed order with `checkpoint`"):
        description_of(loader)
