"""Batches of data sets and loaders: inputs and labels, whatever holds them."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import chain, combinations, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, default_collate

from .._checks import integer, tensor, warn_user
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
                "but got inputs alone or labels of another type; number the classes from 0"
            )
        return self.labels

    def required_classes(self, purpose: str) -> Tensor:
        """The labels as classes, one integer per example.

        Raises:
            ValueError: If there are no labels, or not one integer per example.
        """
        labels = self.required_labels(purpose)
        if labels.shape != (len(self),) or labels.is_floating_point() or labels.is_complex():
            raise ValueError(
                f"Expected one integer per example as label for {purpose}, but got {labels.dtype} "
                f"of shape {tuple(labels.shape)}; give numbers of classes, such as "
                "`labels.argmax(1)` of one-hot labels"
            )
        return labels.long()

    def equals(self, other: Batch) -> bool:
        """Whether two batches hold the same."""
        pairs = [*zip(self.tensors, other.tensors, strict=False), (self.labels, other.labels)]
        return all(a is b or (a is not None and b is not None and a.equal(b)) for a, b in pairs)


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
        TypeError, ValueError: If the data are neither, or a number does not fit.
    """
    if isinstance(data, DataLoader):
        return data
    length_of(data)
    chosen = data if items is None else Subset(data, items)
    return DataLoader(
        chosen,
        integer(batch_size, "batch_size"),
        num_workers=integer(num_workers, "num_workers", at_least=0),
        # With its own, the loader does not draw a seed from the global one.
        generator=torch.Generator(),
    )


def length_of(data: Any) -> int:
    """How many items a Dataset has.

    Raises:
        TypeError: If the data are not a Dataset with a length.
    """
    has_items = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    # They have items, too, which are not images and labels.
    foreign = isinstance(
        data, (str, bytes, os.PathLike, np.ndarray, tuple, Mapping, type, IterableDataset)
    ) or (hasattr(data, "columns") and not isinstance(data, Dataset))
    is_number = isinstance(data, Tensor) and not data.dim()
    if foreign or is_number or not has_items:
        raise TypeError(
            "Expected `data` to be a Dataset with a length, or a DataLoader, but got "
            f"{type(data).__name__}; pass a folder of pictures as `ImageFolder(path, transform)`, "
            "and images in a tensor as `TensorDataset(images, labels)`"
        )
    return len(data)


def batches_of(loader: DataLoader[Any], device: torch.device | None) -> Iterator[Batch]:
    """Go through a loader once.

    Args:
        loader: A loader of inputs, or of inputs and labels.
        device: Where to move the batches; None leaves them where they are.

    Raises:
        TypeError: If the batches hold no tensors.
        ValueError: If several workers go through the same stream.
    """
    batches = (_as_batch(batch, loader, device) for batch in _collated(loader))
    has_workers = isinstance(loader.dataset, IterableDataset) and loader.num_workers > 1
    yield from _from_workers(batches, loader) if has_workers else batches


def _collated(loader: DataLoader[Any]) -> Iterator[Any]:
    """What a loader gives, with a remedy where it cannot make batches."""
    try:
        yield from loader
    except Exception as error:
        # In the main process or, as a text, in that of a worker.
        if "in default_collate" not in "".join(traceback.format_exception(error)):
            raise
        raise _no_batch(f"items that do not stack ({str(error).splitlines()[-1]})") from error


def _as_batch(batch: Any, loader: DataLoader[Any], device: torch.device | None) -> Batch:
    """A batch of a loader as inputs and labels on a device."""
    pair = batch if isinstance(batch, (list, tuple)) and batch else [batch]
    inputs, labels = (*pair, None)[:2]
    several = isinstance(inputs, (list, tuple))
    tensors = inputs if several else [inputs]
    is_named = hasattr(batch, "_fields")
    strange = is_named and isinstance(inputs, Tensor) and not inputs.is_floating_point()
    unequal = any(_are_unequal(values, loader) for values in (tensors, pair))
    if strange or unequal or not _hold_examples(tensors):
        raise _no_batch(described(batch if is_named or isinstance(inputs, Tensor) else inputs))
    is_one = isinstance(labels, (int, float, str)) or getattr(labels, "ndim", 1) == 0
    if loader.batch_sampler is None and is_one:
        raise _no_batch("single examples, since the DataLoader has no `batch_size`")
    if isinstance(labels, (list, tuple, np.ndarray)):
        try:
            labels = torch.as_tensor(labels)
        except (TypeError, ValueError, RuntimeError):  # words, boxes, ...
            labels = None
    moved = tuple(tensor.to(device) for tensor in tensors)
    labels = labels.to(device) if isinstance(labels, Tensor) else None
    return Batch(moved if several else moved[0], labels)


def _hold_examples(tensors: Sequence[Any]) -> bool:
    """Whether inputs are tensors with the same number of examples."""
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
        return False
    return all(tensor.dim() and len(tensor) == len(tensors[0]) for tensor in tensors)


def _are_unequal(values: Sequence[Any], loader: DataLoader[Any]) -> bool:
    """Whether a `collate_fn` gave a list of single examples, since their sizes differ."""
    return (
        loader.collate_fn is not default_collate
        and all(isinstance(value, Tensor) and value.dim() for value in values)
        and len(values) == loader.batch_size != len(values[0])
        and len({value.dim() for value in values}) == 1 < len({value.shape for value in values})
    )


def _no_batch(got: str) -> TypeError:
    return TypeError(
        f"Expected `data` to hold tensors, or pairs of these and labels, but got {got}; turn "
        "pictures into tensors of one size, as by `transforms.Resize` and `transforms.ToTensor()`, "
        "and anything else into tensors (inputs, labels) by the `collate_fn` of a DataLoader"
    )


def described(value: Any) -> str:
    """The type of a value and what it is made of, for messages.

    Examples::

        >>> described({"pixel_values": torch.ones(2), "labels": 1})
        'dict with pixel_values, labels'
        >>> described((torch.ones(2, 3), "a word"))
        'tuple of a tensor of shape (2, 3), str'
    """
    kind = type(value).__name__
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"{kind} with {', '.join(map(str, value))}"
    if is_dataclass(value) or hasattr(value, "_fields"):
        names = [f.name for f in fields(value)] if is_dataclass(value) else value._fields
        return f"{kind} with {', '.join(names)}"
    if isinstance(value, (list, tuple)):
        return f"{kind} of {', '.join(dict.fromkeys(map(described, value))) or 'nothing'}"
    return kind


def _from_workers(batches: Iterator[Batch], loader: DataLoader[Any]) -> Iterator[Batch]:
    """The batches of several workers, of which each takes its own part of a stream.

    Raises:
        ValueError: If workers start with the same batch.
    """
    first = list(islice(batches, loader.num_workers))
    remedy = "share them out by `get_worker_info` in its `__iter__`, or set num_workers=1"
    if any(one.equals(other) for one, other in combinations(first, 2)):
        raise ValueError(
            "Expected `data` to give each image once, but several workers of the DataLoader gave "
            f"the same images of its stream; {remedy}"
        )
    shared = mentions("get_worker_info", loader.dataset, loader.worker_init_fn)
    if len(first) > 1 and not shared:
        warn_user(
            "Each image of a stream should come from one worker of the DataLoader, but this one "
            f"has {loader.num_workers}. If each goes through the whole stream, images count "
            f"{loader.num_workers} times; {remedy}"
        )
    yield from chain(first, batches)


def mentions(name: str, dataset: Any, *functions: Any) -> bool:
    """Whether the code of a dataset's class, or that of a function, uses a name."""
    methods = [value for kind in type(dataset).__mro__ for value in vars(kind).values()]
    codes = [getattr(function, "__code__", None) for function in (*methods, *functions)]
    return any(name in code.co_names for code in codes if code)


def device_of(model: nn.Module | None) -> torch.device | None:
    """The device of a model's parameters; None where there are none, or all are offloaded."""
    parameters = iter(()) if model is None else model.parameters()
    return next((parameter.device for parameter in parameters if not parameter.is_meta), None)


def image_in(data: Any, place: int, name: str, origin: str) -> Tensor:
    """An image of a data set, without its label.

    Args:
        data: The data set, or a tensor.
        place: Which image.
        name: The argument's name, for messages.
        origin: What the data have to be, for messages.

    Raises:
        ValueError: If there is no such image.
        TypeError: If it is no tensor.
    """
    try:
        item = data[place]
    except (IndexError, KeyError) as error:
        raise ValueError(
            f"Expected `{name}` to be {origin}, but got {described(data)} without an image {place}"
        ) from error
    return tensor(item[0] if isinstance(item, (tuple, list)) else item, name)
