"""What flickers: the inputs of a model, or what a layer of it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .._typing import Baselines, FeatureMask, ForwardFunction, Inputs, Layer
from ..design import Design
from ..model.arguments import repeat_forward_args
from ..model.front import Front
from ..spectrum.passes import PassSize
from ..stimulus.frames import Stimulus, validated_batch


class Parts(NamedTuple):
    """What belongs to which part, and how it flickers; see `Stimulus.build`."""

    design: Design
    feature_mask: FeatureMask
    baselines: Baselines
    prefix: Literal["", "tag_"] = ""


@dataclass(frozen=True)
class Flicker:
    """What flickers in a run, and what the model is called with to show it.

    Args:
        stimulus: What flickers.
        inputs_of: Given the rows of the batch, their frames and the number of frames, the inputs of
            the model that show them.
        front: What lies in front of the layer that flickers; None if the inputs do.
    """

    stimulus: Stimulus
    inputs_of: Callable[[slice, tuple[Tensor, ...], int], tuple[Tensor, ...]]
    front: Front | None = None

    def learning(self) -> AbstractContextManager[None]:
        """A context for every run of the model, in which the first one is learned from."""
        return nullcontext() if self.front is None else self.front.learning()

    @property
    def is_behind(self) -> Callable[[], bool] | None:
        """Whether a pass has come to what flickers; None if that is the input."""
        front = self.front
        return None if front is None else lambda: front.is_reached


@contextmanager
def flickering(
    forward_func: ForwardFunction,
    tag_layer: Layer | None,
    inputs: Inputs,
    forward_args: tuple[Any, ...],
    parts: Parts,
    size_of: Callable[[int], PassSize],
) -> Iterator[Flicker]:
    """Let the inputs flicker, or a layer, in front of which the network runs only once.

    Args:
        forward_func: The model, or a function around it.
        tag_layer: The layer whose output flickers; None for the inputs.
        inputs: Inputs of the model.
        forward_args: Further arguments of the model.
        parts: What belongs to which part.
        size_of: The size of the passes, given the number of examples.

    Raises:
        ValueError, TypeError: If the arguments do not fit each other.
    """
    if tag_layer is None:
        stimulus = Stimulus.build(inputs, *parts)
        yield Flicker(stimulus, lambda rows, frames, n_frames: frames)
        return
    tensors = validated_batch(inputs)
    n_examples = len(tensors[0])
    step = size_of(n_examples).examples
    blocks = [slice(first, first + step) for first in range(0, n_examples, step)]
    front = Front(forward_func, tag_layer)
    # Copies, since the model may work in place on its inputs.
    given = [
        (
            tuple(tensor[rows].clone() for tensor in tensors),
            repeat_forward_args(forward_args, n_examples, 1, rows),
        )
        for rows in blocks
    ]

    def inputs_of(rows: slice, frames: tuple[Tensor, ...], n_frames: int) -> tuple[Tensor, ...]:
        front.show(frames[0], blocks.index(rows), n_frames)
        return tuple(torch.cat([tensor[rows]] * n_frames) for tensor in tensors)

    with front.replayed(given) as activations:
        stimulus = Stimulus.build(activations, *parts, of_layer=True)
        yield Flicker(stimulus, inputs_of, front)
