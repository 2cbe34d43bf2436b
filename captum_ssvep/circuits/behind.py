"""Targets as functions of what a layer returns: only what lies behind the layer runs again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .._checks import shown
from ..evaluation.objectives import logits_in, margin
from ..model.channels import ChannelDims, mean_of_channels, widened
from ..model.front import Front
from ..model.layers import resolve_layer
from ..model.recorder import LayerRecorder
from ..model.silence import silenced
from ..scores.batches import Batch, described
from .targets import Channel, ParsedTarget


@dataclass
class Behind:
    """What lies behind a layer, for one batch of images.

    Args:
        model: The model.
        layers: Name of the layer, then those of the targets.
        targets: What is read.
        batch: The images.
        dims: Where channels lie.
        front: What lies in front of the layer.
        recorder: Reads the layers.
        activations: What the layer returns, images first.
    """

    model: nn.Module
    layers: Sequence[str]
    targets: Sequence[ParsedTarget]
    batch: Batch
    dims: ChannelDims
    front: Front
    recorder: LayerRecorder
    activations: Tensor
    _is_first: bool = field(default=True, init=False)

    @property
    def channel_dim(self) -> int:
        """Where the channels of the layer lie."""
        return self.dims.of(self.recorder.layers[0], self.layers[0], self.activations)

    @property
    def n_channels(self) -> int:
        """How many channels the layer has."""
        return self.activations.shape[self.channel_dim]

    def values(
        self,
        activations: Tensor | None = None,
        removed: Sequence[int] = (),
        fill: Tensor | None = None,
        keep: bool = False,
    ) -> Tensor:
        """The targets, shape ``(N, targets)``.

        Args:
            activations: What the layer returns instead. Gradients lead to it. Default: as it was
            removed: Channels of the layer that are replaced. Default: none
            fill: What replaces a channel, one number each. Default: zero
            keep: Whether all other channels are replaced instead. Default: False
        """
        self.front.show(self.activations if activations is None else activations, 0, 1)
        found: dict[int, Tensor] = {}

        def receive(index: int, tensors: tuple[Tensor | None, ...]) -> None:
            if index:
                module, name = self.recorder.layers[index], self.layers[index]
                means = channel_means(tensors, module, name, self.targets, self.dims)
                found[index] = means.clone()  # an in-place ReLU would write into a linear layer's

        learning = self.front.learning() if self._is_first else nullcontext()
        self._is_first = False
        replacing: AbstractContextManager[None] = nullcontext()
        if removed or keep:
            values = None if fill is None else {self.layers[0]: fill}
            filters = {self.layers[0]: [*removed]}
            replacing = silenced(self.model, filters, keep=keep, dims=self.dims, values=values)
        with learning, replacing:
            output = self.recorder.record(self.batch.tensors, (), receive)
        columns = [
            found[self.layers.index(target.layer, 1)][:, target.channel]
            if isinstance(target, Channel)
            else value_of(target, output, len(self.batch))
            for target in self.targets
        ]
        return torch.stack(columns, dim=1)


def channel_means(
    tensors: tuple[Tensor | None, ...],
    module: nn.Module,
    name: str,
    targets: Sequence[ParsedTarget],
    dims: ChannelDims,
) -> Tensor:
    """The mean of each channel of the layer of some targets, ``(N, channels)``.

    Args:
        tensors: What the layer returned.
        module: The layer.
        name: Its name.
        targets: Those of the layer are checked.
        dims: Where channels lie.

    Raises:
        ValueError: If it lacks the channel of a target.
        TypeError: If it gives not just one tensor.
    """
    if len(tensors) != 1 or tensors[0] is None:
        raise TypeError(
            f"Expected the layer {name!r} of a `target` to give one tensor, but it gives "
            f"{len(tensors)}; take a layer in it, or behind it, that does"
        )
    means = mean_of_channels(tensors[0], dims.of(module, name, tensors[0]))
    wanted = [t.channel for t in targets if isinstance(t, Channel) and t.layer == name]
    if max(wanted) >= means.shape[1]:
        raise ValueError(
            f"Expected `target` to be a channel of {name!r} below {means.shape[1]}, but got "
            f"{max(wanted)}"
        )
    return means


def value_of(target: ParsedTarget, output: object, n_images: int) -> Tensor:
    """A target that is read from the output, one number per image.

    Raises:
        ValueError: If the output holds no such class, or a function does not give these numbers.
    """
    if isinstance(target, int):
        logits = logits_in(output)
        if not isinstance(logits, Tensor) or logits.dim() != 2 or logits.shape[1] < 2:
            raise ValueError(
                "Expected logits of shape (N, classes) for a class as `target`, but the network "
                f"gives {described(logits)}; pass a function of the output that gives one number "
                "per image"
            )
        if target >= logits.shape[1]:
            raise ValueError(
                f"Expected `target` to be a class from 0 to {logits.shape[1] - 1}, but got {target}"
            )
        return margin(widened(logits), torch.full((n_images,), target))
    value = target(output) if callable(target) else None
    if not isinstance(value, Tensor) or value.shape != (n_images,) or value.is_complex():
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else shown(value)
        raise ValueError(
            f"Expected a `target` that is a function to give one number per image, shape "
            f"({n_images},), but got {got}"
        )
    return value if value.is_floating_point() else value.float()


@contextmanager
def behind(
    model: nn.Module,
    layer: str,
    targets: Sequence[ParsedTarget],
    batch: Batch,
    dims: ChannelDims,
) -> Iterator[Behind]:
    """What lies behind a layer, for one batch of images.

    Args:
        model: The model.
        layer: Name of the layer.
        targets: What is read.
        batch: The images.
        dims: Where channels lie, learned from a complete pass.

    Raises:
        ValueError: If a target does not lie behind the layer.
    """
    front = Front(model, layer, "layer")
    layers = [layer, *dict.fromkeys(t.layer for t in targets if isinstance(t, Channel))]
    with front.replayed([(batch.tensors, ())]) as activations:
        for name in layers[1:]:
            module = resolve_layer(name, model, "target")
            if module is front.layer or module in front.finished:
                raise ValueError(
                    f"Expected `target` to lie behind `layer` {layer!r}, but {name!r} does not; "
                    "take a layer in front of it"
                )
        recorder = LayerRecorder(
            model,
            layers,
            exits_early=all(isinstance(target, Channel) for target in targets),
            is_behind=lambda: front.is_reached,
            warns_of_train_mode=False,  # which was noticed before
        )
        with recorder:
            yield Behind(model, layers, targets, batch, dims, front, recorder, activations)
