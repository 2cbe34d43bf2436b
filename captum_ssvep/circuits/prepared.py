"""What is known of a network before its channels are replaced: where they lie, and their means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .._checks import choice, warn_user
from .._typing import Layer
from ..model.channels import ChannelDims, mean_of_channels
from ..model.layers import layer_name, resolve_layer
from ..model.recorder import LayerRecorder
from ..model.untouched import undisturbed
from ..scores.batches import batches_of, device_of

# What replaces a channel that is removed.
Baseline = Literal["mean", "zero"]


@dataclass(frozen=True)
class Prepared:
    """What is known of some layers.

    Args:
        dims: Where channels lie.
        fill: For each layer, what replaces its channels: one number each, or None for silence as
            in `ablated`.
        n_channels: How many channels each layer has.
    """

    dims: ChannelDims
    fill: dict[str, Tensor | None]
    n_channels: dict[str, int]


def named_layer(model: nn.Module, layer: Layer, argument: str = "layer") -> str:
    """The name of a layer, if it is in the model.

    Raises:
        ValueError, TypeError: If it is not, or neither a name nor a module.
    """
    module = resolve_layer(layer, model, argument)
    return layer if isinstance(layer, str) else layer_name(module, model)


@contextmanager
def prepared(
    model: nn.Module,
    layers: Sequence[str],
    loader: DataLoader[Any],
    baseline: Baseline = "zero",
    channel_dim: int | None = None,
) -> Iterator[Prepared]:
    """Leave the model as it is within the context, and learn what is known of layers.

    Args:
        model: The model.
        layers: Names of layers.
        loader: Images; all of them are gone through for ``baseline="mean"``, else the first batch.
        baseline: What replaces a channel. Default: ``"zero"``
        channel_dim: As in `core_neurons`. Default: None

    Raises:
        ValueError: If the data are empty, or a layer is not called or not finite.
        TypeError: If a layer does not give one tensor.
    """
    choice(baseline, "baseline", ["mean", "zero"])
    with undisturbed(model, warn=False) as trace:
        yield _learned(model, layers, loader, baseline, channel_dim, trace)


@torch.no_grad()
def _learned(
    model: nn.Module,
    layers: Sequence[str],
    loader: DataLoader[Any],
    baseline: Baseline,
    channel_dim: int | None,
    trace: Any,
) -> Prepared:
    sums: dict[str, Tensor] = {}
    n_images = 0

    def receive(index: int, tensors: tuple[Tensor | None, ...]) -> None:
        name, (activations, *others) = layers[index], tensors
        if activations is None or others:
            raise TypeError(
                f"Expected `layer` {name!r} to give one tensor, but it gives {len(tensors)}; take "
                "a layer in it, or behind it, that does"
            )
        dim = recorder.learned.dims.of(recorder.layers[index], name, activations)
        means = mean_of_channels(activations, dim)
        # In double precision, where the device has it.
        wide = torch.float32 if means.device.type == "mps" else torch.float64
        sums[name] = sums.get(name, 0) + means.sum(0, dtype=wide)

    with LayerRecorder(model, layers, channel_dim=channel_dim) as recorder:
        for batch in batches_of(loader, device_of(model)):
            with nullcontext() if n_images else trace.draws:
                recorder.record(batch.tensors, (), receive)
            n_images += len(batch)
            if baseline == "zero":
                break
    if not n_images:
        raise ValueError("Expected `data` to hold at least one image, but got none")
    if trace.draws.any and not trace.in_train_mode:
        warn_user(
            "The network drew random numbers, and what it does without a channel holds their "
            "noise; call `model.eval()`, and write functional dropout with `training=self.training`"
        )
    if not all(total.isfinite().all() for total in sums.values()):
        raise ValueError(
            "Expected `data` for which the layer is finite, but it holds NaN or infinity; leave "
            "out the images that cause them"
        )
    is_mean = baseline == "mean"
    return Prepared(
        recorder.learned.dims,
        {name: total / n_images if is_mean else None for name, total in sums.items()},
        {name: len(total) for name, total in sums.items()},
    )
