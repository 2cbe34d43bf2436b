"""Data come as batches, whatever holds them; what is no batch is refused with a remedy."""

from collections import UserDict, namedtuple
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from score_worker import DRAWS, seed_all
from seven_images import DATA, IMAGES, LABELS, N_IMAGES, CountedStream, Endless, Stream
from torch import nn
from torch.utils.data import (
    ChainDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
    get_worker_info,
)

from captum_ssvep.scores.batches import (
    Batch,
    as_loader,
    batches_of,
    described,
    device_of,
    length_of,
)

# From Python 3.12 on, workers are forked with a warning.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


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
    words = rf"hold tensors, or pairs of these and labels, but got .*{kind}.*ToTensor\(\).*collate"
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
        (torch.eye(3)[LABELS], r"torch\.float32 of shape \(7, 3\); .*argmax\(1\)"),
        (LABELS.to(torch.complex64), r"torch\.complex64 of shape \(7,\)"),
    ],
)
def test_labels_that_are_no_classes_are_refused_with_what_they_are(labels, words):
    with pytest.raises(ValueError, match=f"one integer .* label for a purpose, but got {words}"):
        Batch(IMAGES, labels).required_classes("a purpose")


@pytest.mark.parametrize("labels", [LABELS.int(), LABELS.byte(), LABELS > 0])
def test_classes_are_long_integers(labels):
    classes = Batch(IMAGES, labels).required_classes("a purpose")
    assert classes.dtype == torch.int64
    assert torch.equal(classes, labels.long())


@pytest.mark.parametrize("labels", [LABELS.tolist(), tuple(LABELS), LABELS.numpy()])
def test_labels_that_a_loader_does_not_stack_are_stacked(labels):
    (batch,) = batches_of(
        DataLoader(DATA, batch_size=7, collate_fn=lambda _: (IMAGES, labels)), None
    )
    assert torch.equal(batch.labels, LABELS)


@pytest.mark.parametrize(
    "data",
    [
        "photos", Path("photos"), b"photos", IMAGES.numpy(), (IMAGES, LABELS), {"x": IMAGES},
        pandas.DataFrame({"x": [1, 2]}), TensorDataset, {1, 2},
    ],
    ids=lambda data: type(data).__name__,
)  # fmt: skip
def test_what_is_no_dataset_is_refused_with_what_to_make_of_it(data):
    words = rf"`data` to be .* got {type(data).__name__}; .*ImageFolder\(.*TensorDataset\(images"
    with pytest.raises(TypeError, match=words):
        as_loader(data, 3)


Sample = namedtuple("Sample", "name image label")
Numbered = namedtuple("Numbered", "index image label")
Pair = namedtuple("Pair", "image label")


@dataclass
class Record:
    image: torch.Tensor
    label: int


def unequal(number):
    return torch.rand(3, 8 + number, 8)


def joined(make):
    """A loader of two items, whose `collate_fn` makes something of them."""
    return lambda: DataLoader([unequal(0), unequal(1)], batch_size=2, collate_fn=make)


NO_BATCHES = {
    "dictionary": (lambda: [{"pixel_values": IMAGES[0], "labels": 0}], "dict with pixel_values, l"),
    "as transformers has it": (joined(lambda _: UserDict(a=1, b=2)), "UserDict with a, b"),
    "named tuple": (lambda: [Sample("a", IMAGES[0], 1)] * 2, "Sample with name, image, label"),
    "numbered": (lambda: [Numbered(3, IMAGES[0], 1)] * 2, "Numbered with index, image, label"),
    "dataclass": (lambda: [Record(IMAGES[0], 1)], "do not stack .*Record"),
    "batch in a dataclass": (joined(lambda _: Record(IMAGES, 1)), "Record with image, label"),
    "picture": (lambda: [(Image.new("RGB", (4, 4)), 1)], "do not stack .*PIL"),
    "None": (lambda: [None, None], "do not stack .*NoneType"),
    "unequal": (lambda: [(unequal(0), 0), (unequal(1), 1)], "do not stack .*equal size"),
    "tensor and labels": (lambda: [IMAGES, LABELS], "do not stack .*(equal size|resiz)"),
    "unequal lists": (lambda: [[1.0, 2.0], [3.0]], "do not stack .*equal size"),
    "list of unequal": (joined(list), "list of a tensor of shape .3, 8, 8., a tensor of .*3, 9"),
    "list with labels": (joined(lambda items: (items, [0, 1])), "list of a tensor of shape"),
    "array": (joined(lambda _: (np.ones((2, 3)), [0, 1])), "got ndarray"),
    "nothing": (joined(lambda _: []), "got list of nothing"),
    "different numbers": (joined(lambda _: ((IMAGES, IMAGES[:2]), LABELS)), "tuple of a tensor"),
    "a number": (joined(lambda _: torch.tensor(1.0)), r"a tensor of shape \(\)"),
    "single examples": (lambda: DataLoader([(IMAGES, 1)], batch_size=None), "no `batch_size`"),
    "with tensors": (lambda: DataLoader([(IMAGES, LABELS[0])], batch_size=None), "no `batch_size`"),
    "one number": (lambda: DataLoader(DATA, collate_fn=lambda _: torch.tensor(1.0)), r"\(\)"),
}


@pytest.mark.parametrize("kind", NO_BATCHES)
@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_is_no_batch_is_refused_with_what_it_is_and_a_remedy(kind, num_workers):
    make, words = NO_BATCHES[kind]
    loader = as_loader(make(), 2, num_workers)
    with pytest.raises(TypeError, match=f"Expected `data` to hold .*{words}.* `collate_fn`"):
        list(batches_of(loader, None))


def test_named_tuples_of_inputs_and_labels_are_pairs():
    (batch,) = batches_of(as_loader([Pair(image, 1) for image in IMAGES], 7), None)
    assert torch.equal(batch.inputs, IMAGES)
    assert batch.labels.tolist() == [1] * 7


@pytest.mark.parametrize("error", [TypeError("stack"), RuntimeError("size"), KeyError("key")])
def test_errors_of_the_data_stay_as_they_are(error):
    class Failing(Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            raise error

    with pytest.raises(type(error)) as raised:
        list(batches_of(as_loader(Failing(), 2), None))
    assert raised.value is error


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "int"),
        (Record(1, 2), "Record with image, label"),
        ([], "list of nothing"),
        (["a", "b", 1], "list of str, int"),
    ],
)
def test_values_are_described(value, words):
    assert described(value) == words


class OwnPart(Stream):
    """Every worker takes the items that are its own."""

    def __iter__(self):
        info = get_worker_info()
        return iter([DATA[number] for number in range(info.id, N_IMAGES, info.num_workers)])


class Drawn(Stream):
    """Other images in every worker, though not shared out."""

    def __iter__(self):
        return iter(torch.rand(3, 4))


class Listed(IterableDataset):
    """Of items that somebody else shares out."""

    items = range(N_IMAGES)

    def __iter__(self):
        return (DATA[number] for number in self.items)


def share_out(worker):
    get_worker_info().dataset.items = range(worker, N_IMAGES, 2)


@pytest.mark.parametrize("stream", [Stream(), CountedStream(), ChainDataset([Stream(), Stream()])])
@pytest.mark.parametrize("n_workers", [2, 3])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_stream_that_each_worker_goes_through_is_refused(stream, n_workers):
    loader = DataLoader(stream, batch_size=2, num_workers=n_workers)
    with pytest.raises(ValueError, match=r"each image once.*`get_worker_info`.*num_workers=1"):
        next(batches_of(loader, None))


def test_a_stream_that_each_worker_may_go_through_is_told_of():
    for stream in (Drawn(), ChainDataset([Drawn()])):
        loader = DataLoader(stream, batch_size=2, num_workers=2)
        with pytest.warns(UserWarning, match="count 2 times; .*`get_worker_info`") as warned:
            assert len(list(batches_of(loader, None))) == 4
        assert len(warned) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        dict(dataset=OwnPart(), num_workers=2),
        dict(dataset=Listed(), num_workers=2, worker_init_fn=share_out),
        dict(dataset=Drawn(), num_workers=1),
        dict(dataset=Stream(), num_workers=0),
        dict(dataset=DATA, num_workers=2),
        # A single batch comes from one worker.
        dict(dataset=OwnPart(), num_workers=2, batch_size=7),
    ],
    ids=["own part", "told from outside", "one worker", "no worker", "dataset", "one batch"],
)
def test_what_is_shared_out_is_no_cause_for_a_warning(arguments):
    n_images = sum(len(batch) for batch in batches_of(DataLoader(**arguments), None))
    assert n_images == (3 if isinstance(arguments["dataset"], Drawn) else N_IMAGES)


def test_parameters_that_are_offloaded_are_on_no_device():
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    assert device_of(network).type == "cpu"
    network[0].to("meta")
    assert device_of(network).type == "cpu"
    network[1].to("meta")
    assert device_of(network) is None
    assert device_of(nn.ReLU()) is device_of(None) is None
