"""The crops of a data set that drive channels, or groups of channels, most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from tqdm.auto import tqdm

from .._checks import finite_floats, instance, integer, network, position, shown, warn_user
from .._typing import Layer
from ..model.channels import mean_of_channels
from ..model.recorder import LayerRecorder
from ..scores.batches import Data, batches_of, described, device_of, image_in
from ..scores.data import Shard
from ..scores.order import batches_of_indices
from .prepared import named_layer
from .targets import channel_list

Box = tuple[int, int, int, int]
# The weights of some channels of a layer, whose weighted sum of activations is read.
Readout = Mapping[int, float]


class Patch(NamedTuple):
    """A crop of an image, and how strongly it drives what was asked for.

    Args:
        image (int): Index of the image in the data.
        box (tuple[int, int, int, int]): Left, top, right and bottom in pixels, as PIL crops.
        activation (float): Mean activation over positions when the crop, enlarged to the size of
            the image, is shown.
    """

    image: int
    box: tuple[int, int, int, int]
    activation: float


def concept_patches(
    model: nn.Module,
    layer: Layer,
    channels: Sequence[int] | None,
    data: Data,
    k: int = 50,
    scales: Sequence[float] = (1.0, 0.5, 0.25),
    *,
    per_image: int = 1,
    batch_size: int = 32,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> dict[int, tuple[Patch, ...]]:
    """Find the crops of a data set that drive each of some channels most.

    Squares of each scale slide over every image in steps of half their side. Each crop is enlarged
    to the size of the image and shown to the network. A channel's activation is its mean over
    positions. Images stream through: memory does not grow with their number.

    Args:
        model (Module): The model, in eval mode. It takes images.
        layer (Module or str): The layer, or its name.
        channels (sequence of int or None): Channels of the layer; None for all.
        data (Dataset or DataLoader): Images, or (image, label) pairs. A loader must not shuffle.
        k (int, optional): How many crops to keep for each channel. Default: 50
        scales (sequence of float, optional): Sides of the crops as shares of the image's. Default:
            (1, 0.5, 0.25), which gives 1 + 9 + 49 crops
        per_image (int, optional): Most crops from one image. Default: 1
        batch_size (int, optional): Images in a batch of a Dataset. Default: 32
        num_workers (int, optional): Processes that load the images of a Dataset. Default: 0
        channel_dim (int, optional): Dimension of the channels in the layer's output, if the modules
            of the network do not determine it. Default: None
        show_progress (bool, optional): Progress bar over batches. Default: True

    Returns:
        dict[int, tuple[Patch, ...]]: The crops of each channel, strongest first; of equal ones the
        first in the data. Fewer than ``k`` if the data hold too few images. A channel that is
        silent for every crop gets the first images.

    Raises:
        ValueError: If a layer or channel does not exist, the data hold no images or shuffle, or a
            number is out of range.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> from torch.utils.data import TensorDataset
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU()).eval()
        >>> images = torch.zeros(4, 1, 8, 8)
        >>> images[2, :, :4, 4:] = 1  # the third image is bright at the top right
        >>> with torch.no_grad():
        ...     _ = model[0].weight.fill_(1), model[0].bias.zero_()
        >>> patches = concept_patches(model, "1", [0], TensorDataset(images), show_progress=False)
        >>> patches[0][0]
        Patch(image=2, box=(4, 0, 8, 4), activation=1.0)
    """
    network(model)
    layer = named_layer(model, layer)
    readouts = None if channels is None else [{c: 1.0} for c in channel_list(channels)]
    found = strongest_patches(
        model,
        {layer: readouts},
        data,
        k,
        scales,
        per_image=per_image,
        batch_size=batch_size,
        num_workers=num_workers,
        channel_dim=channel_dim,
        show_progress=show_progress,
    )[layer]
    names = range(len(found)) if readouts is None else [c for r in readouts for c in r]
    return dict(zip(names, found, strict=True))


@torch.no_grad()
def strongest_patches(
    model: nn.Module,
    readouts: Mapping[str, Sequence[Readout] | None],
    data: Data,
    k: int,
    scales: Sequence[float],
    *,
    per_image: int = 1,
    batch_size: int = 32,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> dict[str, list[tuple[Patch, ...]]]:
    """The crops that drive readouts of several layers most, from one pass over the data.

    Args:
        model, data, k, scales: As in `concept_patches`.
        readouts: For the name of each layer, what to read there; None for each of its channels.
        per_image, batch_size, num_workers, channel_dim, show_progress: As in `concept_patches`.

    Returns:
        dict[str, list[tuple[Patch, ...]]]: For each layer, the crops of each readout.
    """
    k, per_image = integer(k, "k"), integer(per_image, "per_image")
    shares, layers = _valid_scales(scales), list(readouts)
    kept = [_Kept(layer, readouts[layer], k, per_image) for layer in layers]
    shard = Shard(in_order(data), 0, 1)
    with (
        LayerRecorder(model, layers, channel_dim=channel_dim) as recorder,
        tqdm(total=shard.n_items, desc="patches", unit="image", disable=not show_progress) as bar,
    ):

        def receive(index: int, tensors: tuple[Tensor | None, ...]) -> None:
            held = next(found for found in tensors if found is not None)
            dim = recorder.learned.channel_dim_of(index, held)
            kept[index].read(mean_of_channels(held, dim))

        for batch, places in shard.batches(batch_size, num_workers, device_of(model), 0):
            images = _images(batch.inputs)
            boxes = sliding_boxes(images.shape[2], images.shape[3], shares)
            # One pass per box, so that a pass is as large as a batch of images.
            for box in boxes:
                recorder.record((enlarged(images, box),), (), receive)
            for found in kept:
                found.keep(places, boxes)
            bar.update(len(batch))
    return {found.layer: found.patches() for found in kept}


class _Kept:
    """The strongest crops so far, for each readout of a layer.

    Args:
        layer: The name of the layer, for messages.
        readouts: What to read; None for each channel.
        k: How many crops to keep.
        per_image: Most crops from one image.
    """

    def __init__(
        self, layer: str, readouts: Sequence[Readout] | None, k: int, per_image: int
    ) -> None:
        self.layer = layer
        self.readouts = readouts
        self.k = k
        self.per_image = per_image
        # Of the images that are shown: readouts of one crop after the other.
        self._read: list[Tensor] = []
        # Activations (crops, readouts), and what crops they are (crops, readouts, image and box).
        self._activations: Tensor | None = None
        self._crops: Tensor | None = None

    def read(self, means: Tensor) -> None:
        """Take in the mean activations of all channels, ``(N, channels)``, for one crop."""
        if not means.isfinite().all():
            raise ValueError(
                f"Expected `data` for which layer {self.layer!r} is finite, but it gives NaN or "
                "infinity; leave out the images that cause them"
            )
        weights = _weights(self.readouts, means.shape[1])
        self._read.append(means.float().cpu() @ weights)

    def keep(self, places: Tensor, boxes: Sequence[Box]) -> None:
        """Keep the strongest of what was read since the last call.

        Args:
            places: Indices of the images.
            boxes: What crops they were.
        """
        best, chosen = _largest(torch.stack(self._read), self.per_image)
        self._read = []
        images = places.reshape(1, -1, 1, 1).expand(*best.shape, 1)
        crops = torch.cat([images, torch.tensor(boxes)[chosen]], dim=-1)
        # Image by image, so that of equal crops the first in the data stays.
        activations, crops = (found.transpose(0, 1).flatten(0, 1) for found in (best, crops))
        if self._activations is not None and self._crops is not None:
            activations = torch.cat([self._activations, activations])
            crops = torch.cat([self._crops, crops])
        self._activations, order = _largest(activations, self.k)
        self._crops = crops.gather(0, order[:, :, None].expand(-1, -1, 5))

    def patches(self) -> list[tuple[Patch, ...]]:
        """The crops of each readout, strongest first."""
        if self._activations is None or self._crops is None:
            raise ValueError("Expected `data` to hold at least one image, but got none")
        columns = zip(
            self._activations.T.tolist(), self._crops.transpose(0, 1).tolist(), strict=True
        )
        return [
            tuple(
                Patch(image, (left, top, right, bottom), activation)
                for activation, (image, left, top, right, bottom) in zip(*column, strict=True)
            )
            for column in columns
        ]


def _largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The largest along the first dimension and their indices; of equal ones the first."""
    ordered, order = torch.sort(values, dim=0, descending=True, stable=True)
    return ordered[:k], order[:k]


def _weights(readouts: Sequence[Readout] | None, n_channels: int) -> Tensor:
    """What takes the activations of all channels to the readouts, ``(channels, readouts)``."""
    if readouts is None:
        return torch.eye(n_channels)
    weights = torch.zeros(n_channels, len(readouts))
    for column, readout in enumerate(readouts):
        for channel, weight in readout.items():
            weights[position(channel, n_channels, "channels"), column] = weight
    return weights


def sliding_boxes(height: int, width: int, scales: Sequence[float]) -> list[Box]:
    """Boxes of each scale, in steps of half their side, to the border of the image.

    Examples::

        >>> sliding_boxes(4, 4, [1])
        [(0, 0, 4, 4)]
        >>> len(sliding_boxes(224, 224, [1, 0.5, 0.25]))
        59
    """
    boxes = []
    for scale in scales:
        rows, columns = (max(1, round(size * scale)) for size in (height, width))
        boxes += [
            (left, top, left + columns, top + rows)
            for top in _starts(height, rows)
            for left in _starts(width, columns)
        ]
    return boxes


def _starts(length: int, size: int) -> list[int]:
    """Where windows of a size begin."""
    return sorted({*range(0, length - size, max(1, size // 2)), length - size})


def enlarged(images: Tensor, box: Box) -> Tensor:
    """A crop of images, at the images' own size.

    Examples::

        >>> enlarged(torch.rand(2, 3, 8, 8), (0, 0, 4, 4)).shape
        torch.Size([2, 3, 8, 8])
    """
    left, top, right, bottom = box
    crop, size = images[:, :, top:bottom, left:right], images.shape[2:]
    if crop.shape == images.shape:
        return images
    return F.interpolate(crop, tuple(size), mode="bilinear", align_corners=False)


def crops(data: Any, patches: Sequence[Patch]) -> Tensor:
    """The pixels of patches, each at the size of its image, as the network saw them.

    Args:
        data (Dataset or Tensor): The images that the patches come from; of a DataLoader its
            ``dataset``.
        patches (sequence of Patch): From `concept_patches`, or of a node of a circuit.

    Returns:
        Tensor: Shape ``(patches, channels, height, width)``.

    Raises:
        ValueError: If the data lack an image, or the image lacks the box.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> images = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> crops(images, [Patch(0, (0, 0, 1, 1), 0.5)]).unique()
        tensor([0.])
    """
    patches = patch_list(patches)
    if not patches:
        raise ValueError("Expected `patches` to hold at least one, but got none")
    found = []
    for patch in patches:
        image = image_at(data, patch.image)
        left, top, right, bottom = patch.box
        if not (0 <= left < right <= image.shape[2] and 0 <= top < bottom <= image.shape[1]):
            raise ValueError(
                f"Expected `patches` of images of {image.shape[2]} x {image.shape[1]} pixels, but "
                f"got the box {patch.box}; pass the `data` that they come from"
            )
        found.append(enlarged(image[None], patch.box)[0])
    sizes = {tuple(image.shape) for image in found}
    if len(sizes) > 1:
        raise ValueError(f"Expected `data` with images of one size, but got {sorted(sizes)}")
    return torch.stack(found)


def image_at(data: Any, place: int) -> Tensor:
    """An image of a data set, without its label.

    Raises:
        ValueError: If there is no such image.
        TypeError: If the data have no items, or these are not images.
    """
    if isinstance(data, (type, str, Mapping, DataLoader)) or not hasattr(data, "__getitem__"):
        raise TypeError(
            f"Expected `data` to be a Dataset or a tensor of images, but got {shown(data)}; of a "
            "DataLoader pass its `dataset`"
        )
    image = image_in(data, place, "data", "the images that the patches come from")
    if image.dim() != 3 or not image.is_floating_point():
        raise ValueError(
            "Expected `data` of floating images of shape (channels, height, width), but got "
            f"{described(image)}"
        )
    return image


def mean_of_image(data: Any, place: int) -> float:
    """The mean pixel of an image of a data set, by which it is known again."""
    return image_at(data, place).cpu().double().mean().item()


def warn_of_other_images(data: Any, image_means: Sequence[tuple[int, float]]) -> None:
    """Warn if images are not those from which patches were made.

    Args:
        data: A data set, or a tensor of images.
        image_means: The index and mean pixel of some images that patches come from.
    """
    others = [
        place
        for place, mean in image_means
        if not math.isclose(mean_of_image(data, place), mean, rel_tol=1e-3, abs_tol=1e-3)
    ]
    if others:
        warn_user(
            f"The images of `data` are not those that the circuit was built from, as image "
            f"{others[0]} shows, and its patches are crops of those; pass the same images, as the "
            "network saw them, in the same order"
        )


def patch_list(patches: Any) -> list[Patch]:
    """The patches as a list, if they are some.

    Raises:
        TypeError: If they are not.
    """
    expected = "a sequence of Patch; `concept_patches(...)[channel]` is one"
    found = [*instance(patches, (list, tuple), "patches", expected)]
    if isinstance(patches, Patch) or not all(isinstance(patch, Patch) for patch in found):
        raise TypeError(f"Expected `patches` to be {expected.replace(';', ', but got {};', 1)}")
    return found


def _valid_scales(scales: Any) -> tuple[float, ...]:
    found = finite_floats(scales, "scales", "(1, 0.5, 0.25) takes the image, halves and quarters")
    if not found or not all(0 < scale <= 1 for scale in found):
        raise ValueError(
            f"Expected `scales` as shares of the image's side, above 0 and up to 1, but got "
            f"{shown(scales)}"
        )
    return found


def in_order(data: Data) -> Data:
    """The data, if an image can be found again by its index.

    Raises:
        ValueError: If they shuffle, or are a stream.
    """
    if isinstance(data, DataLoader) and (
        isinstance(data.dataset, IterableDataset) or batches_of_indices(data) is None
    ):
        raise ValueError(
            "Expected `data` whose images can be found again, but this DataLoader shuffles or is a "
            "stream; pass its Dataset, or shuffle=False"
        )
    return data


def validate_for_patches(data: Data, scales: Any, loader: DataLoader[Any]) -> None:
    """Refuse data and scales before anything else takes time.

    Raises:
        ValueError: If the data shuffle or hold no images, or a scale does not fit.
    """
    _valid_scales(scales)
    in_order(data)
    first = next(batches_of(loader, None), None)
    if first is not None:
        _images(first.inputs)


def _images(inputs: Any) -> Tensor:
    """The images of a batch."""
    if not isinstance(inputs, Tensor) or inputs.dim() != 4 or not inputs.is_floating_point():
        raise ValueError(
            "Expected `data` of images, whose batches are floating tensors of shape (N, channels, "
            f"height, width), but got {described(inputs)}; patches are crops of images, and "
            "`build_circuit` takes n_patches=0 for other data"
        )
    return inputs
