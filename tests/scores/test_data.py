"""Data come as batches, whatever holds them, and each process takes its shard."""

import pytest
import torch
from score_worker import DRAWS, Augmented, Images, seed_all
from torch import distributed
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from captum_ssvep.scores.data import (
    Batch,
    Shard,
    as_loader,
    batches_of,
    description_of,
    first_item,
    length_of,
)

N_IMAGES = 7
IMAGES = torch.arange(N_IMAGES * 3.0).reshape(N_IMAGES, 3)
LABELS = torch.arange(N_IMAGES) % 3
DATA = TensorDataset(IMAGES, LABELS)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(DATA)


class CountedStream(Stream):
    def __len__(self):
        return N_IMAGES


class Endless(Dataset):
    """Without a length."""

    def __getitem__(self, index):
        return IMAGES[index % N_IMAGES]


class ShufflesItself(Sampler):
    """In an order of its own every time, which its type does not tell."""

    def __iter__(self):
        return iter(torch.randperm(N_IMAGES).tolist())

    def __len__(self):
        return N_IMAGES


def numbers_of(batches):
    """Which images each batch holds, as those of `IMAGES` tell."""
    return [(batch.inputs[:, 0] / 3).int().tolist() for batch in batches]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (None, [[0, 1, 2], [3, 4, 5], [6]]),
        ([6, 0, 2, 2], [[6, 0, 2], [2]]),
        (range(1, 7, 3), [[1, 4]]),
        ([], []),
    ],
)
def test_a_dataset_is_gone_through_in_order_or_in_that_of_the_items_asked_for(items, expected):
    for _ in range(2):
        assert numbers_of(batches_of(as_loader(DATA, 3, items=items), None)) == expected


def test_a_loader_stays_as_it_is():
    loader = DataLoader(DATA, batch_size=2, shuffle=True)
    assert as_loader(loader, 3) is loader


def test_processes_that_load_are_passed_on():
    assert as_loader(DATA, 3, num_workers=2).num_workers == 2


def test_going_through_a_dataset_does_not_move_the_random_state():
    seed_all(5)
    assert len(list(as_loader(DATA, 3))) == 3
    drawn = [draw() for draw in DRAWS.values()]
    seed_all(5)
    assert drawn == [draw() for draw in DRAWS.values()]


@pytest.mark.parametrize("data", [DATA, IMAGES, list(IMAGES)], ids=["dataset", "tensor", "list"])
def test_data_have_a_length(data):
    assert length_of(data) == N_IMAGES


@pytest.mark.parametrize("make", [Stream, CountedStream, Endless, lambda: iter(IMAGES)])
@pytest.mark.parametrize("ask", [length_of, lambda data: as_loader(data, 3)])
def test_data_without_a_length_are_refused_and_the_remedy_is_told(make, ask):
    data = make()
    words = rf"a length, or a DataLoader, but got {type(data).__name__}; .* `TensorDataset\("
    with pytest.raises(TypeError, match=words):
        ask(data)


def only_batch(data, device=None):
    (batch,) = batches_of(DataLoader(data, batch_size=len(data)), device)
    return batch


@pytest.mark.parametrize("data", [IMAGES, list(IMAGES), TensorDataset(IMAGES)])
def test_inputs_alone_have_no_labels(data):
    batch = only_batch(data)
    assert torch.equal(batch.inputs, IMAGES)
    assert batch.labels is None
    assert len(batch) == N_IMAGES


@pytest.mark.parametrize("labels", [LABELS, LABELS.tolist()], ids=["tensors", "integers"])
def test_pairs_are_inputs_and_labels(labels):
    batch = only_batch(list(zip(IMAGES, labels, strict=True)))
    assert torch.equal(batch.inputs, IMAGES)
    assert torch.equal(batch.labels, LABELS)


def test_several_inputs_are_a_tuple():
    pairs = list(zip(IMAGES, IMAGES[:, :2] + 1, strict=True))
    batch = only_batch(list(zip(pairs, LABELS, strict=True)))
    assert isinstance(batch.inputs, tuple)
    assert torch.equal(batch.inputs[0], IMAGES)
    assert torch.equal(batch.inputs[1], IMAGES[:, :2] + 1)
    assert torch.equal(batch.labels, LABELS)
    assert len(batch) == N_IMAGES


def test_labels_that_are_no_tensors_are_none():
    batch = only_batch([(image, "a word") for image in IMAGES])
    assert torch.equal(batch.inputs, IMAGES)
    assert batch.labels is None


def test_batches_go_to_the_device():
    meta = torch.device("meta")
    batch = only_batch(DATA, meta)
    assert (batch.inputs.device, batch.labels.device) == (meta, meta)
    batch = only_batch([((image, image), 1) for image in IMAGES], meta)
    assert [tensor.device for tensor in batch.inputs] == [meta, meta]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (["a picture", "another"], "str"),
        ([("a picture", 0), ("another", 1)], "str"),
        ([{"image": image} for image in IMAGES], "dict"),
        ([({"image": image}, 0) for image in IMAGES], "dict"),
    ],
    ids=["words", "words with labels", "mappings", "mappings with labels"],
)
def test_batches_without_tensors_are_refused_and_the_remedy_is_told(data, kind):
    words = rf"hold tensors, or pairs of these and labels, but got .*{kind}.*ToTensor\(\)"
    with pytest.raises(TypeError, match=words):
        only_batch(data)


def test_labels_that_are_there_are_given():
    batch = Batch(IMAGES, LABELS)
    assert batch.required_labels("a purpose") is LABELS
    assert batch.required_classes("a purpose") is LABELS
    margins = Batch(IMAGES, LABELS / 2)
    assert margins.required_labels("a purpose") is margins.labels


def test_labels_that_are_missing_are_asked_for_with_the_purpose():
    batch = Batch(IMAGES, None)
    for ask in (batch.required_labels, batch.required_classes):
        with pytest.raises(ValueError, match=r"^Expected `data` of \(input, label\) pairs for a p"):
            ask("a purpose")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LABELS / 2, r"torch\.float32 of shape \(7,\)"),
        (LABELS[:, None], r"torch\.int64 of shape \(7, 1\)"),
        (LABELS[:3], r"torch\.int64 of shape \(3,\)"),
    ],
)
def test_labels_that_are_no_classes_are_refused_with_what_they_are(labels, words):
    with pytest.raises(ValueError, match=f"one integer .* label for a purpose, but got {words}"):
        Batch(IMAGES, labels).required_classes("a purpose")


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
    assert shard.indices(2, 3).tolist() == [2, 3, 4]
    assert Shard(DATA, 1, 3).n_items == 2
    assert Shard(DATA, 1, 3).indices(1, 1).tolist() == [4]


@pytest.mark.parametrize("n_processes", [1, 2, 3, 7, 9])
@pytest.mark.parametrize("n_done", [0, 1, 2, 4])
def test_indices_are_those_of_the_images_that_are_left(n_processes, n_done):
    seen = []
    for rank in range(n_processes):
        shard = Shard(DATA, rank, n_processes)
        numbers = numbers_of(shard.batches(2, 0, None, n_done))
        done = n_done
        for images in numbers:
            assert shard.indices(done, len(images)).tolist() == images
            done += len(images)
        assert done == max(n_done, shard.n_items)
        seen += [image for images in numbers for image in images]
    assert sorted(seen) == list(range(n_done * n_processes, N_IMAGES))


@pytest.mark.parametrize(
    ("n_done", "left"),
    [(0, [[0, 1, 2], [3, 4, 5], [6]]), (3, [[3, 4, 5], [6]]), (6, [[6]]), (7, []), (9, [])],
)
@pytest.mark.parametrize("rank", [0, 2])
def test_a_loader_goes_on_behind_the_batches_that_are_done(rank, n_done, left):
    """Its batches are as they come, whatever the process and the batch size asked for."""
    loader = DataLoader(DATA, batch_size=3)
    assert numbers_of(Shard(loader, rank, 3).batches(2, 0, None, n_done)) == left


@pytest.mark.parametrize("n_done", [1, 2, 4, 5])
def test_a_loader_whose_batch_would_be_done_in_part_is_refused(n_done):
    shard = Shard(DataLoader(DATA, batch_size=3), 0, 1)
    with pytest.raises(ValueError, match=r"batches of the checkpoint.*set its batch size back"):
        list(shard.batches(3, 0, None, n_done))


def test_batches_of_a_shard_hold_labels_and_go_to_the_device():
    (batch,) = Shard(DATA, 1, 3).batches(4, 0, None, 0)
    assert torch.equal(batch.labels, LABELS[1::3])
    (batch,) = Shard(DATA, 1, 3).batches(4, 0, torch.device("meta"), 0)
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
