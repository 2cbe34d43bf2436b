"""What a circuit explains: a class, a channel of a layer, or any function of the output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .._checks import instance, integer, shown
from ..stimulus.frames import INTEGER_DTYPES


@dataclass(frozen=True)
class Channel:
    """A channel of a layer as a target: its mean over positions.

    Args:
        layer (str): Name of the layer.
        channel (int): Index along its channel dimension.

    Raises:
        ValueError, TypeError: If the layer is not a name, or the channel not an index from 0.
    """

    layer: str
    channel: int

    def __post_init__(self) -> None:
        instance(self.layer, str, "layer", "the name of a layer; `layers_of(model)` lists some")
        object.__setattr__(self, "channel", integer(self.channel, "channel", at_least=0))


# A class, read by its margin; a channel of a layer; a function of what the model returns, `(N,)`.
Target = int | Channel | tuple[str, int] | Callable[[Any], Tensor]
ParsedTarget = int | Channel | Callable[[Any], Tensor]


def as_targets(target: Any, name: str = "target") -> tuple[ParsedTarget, ...]:
    """One target or a list of them as a tuple; pairs become `Channel`.

    Args:
        target: A target, or a list of targets.
        name: What the user calls it. Default: ``"target"``

    Raises:
        ValueError: If the list is empty.
        TypeError: If an item is no target.

    Examples::

        >>> import torch
        >>> as_targets(("layer3", 5))
        (Channel(layer='layer3', channel=5),)
        >>> as_targets([0, torch.tensor(1)])
        (0, 1)
    """
    items = target if isinstance(target, list) else [target]
    if not items:
        raise ValueError(f"Expected `{name}` to hold at least one target, but got an empty list")
    return tuple(_as_target(item, name) for item in items)


def channel_list(channels: Any) -> list[int]:
    """Channels as a list of integers, each once.

    Args:
        channels: A sequence of integers, or a tensor of them.

    Raises:
        ValueError: If there are none, or one is there twice or negative.
        TypeError: If they are no integers.

    Examples::

        >>> channel_list(range(2, 4))
        [2, 3]
    """
    items = channels.tolist() if isinstance(channels, Tensor) else channels
    expected = "a sequence of channels, as [0, 3]; None takes all"
    items = instance(items, (list, tuple, range), "channels", expected)
    found = [integer(channel, "channels", at_least=0) for channel in items]
    if not found or len(set(found)) < len(found):
        raise ValueError(
            f"Expected `channels` to name at least one, and each once, but got {shown(channels)}"
        )
    return found


def _as_target(item: Any, name: str) -> ParsedTarget:
    if isinstance(item, Channel):
        return item
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
        return Channel(item[0], integer(item[1], name, at_least=0))
    if callable(item) and not isinstance(item, type):
        return item  # type: ignore[no-any-return]
    if isinstance(item, Tensor) and item.dtype in INTEGER_DTYPES and not item.dim():
        item = item.item()  # a label of a data set
    if isinstance(item, bool) or not hasattr(type(item), "__index__") or hasattr(item, "dim"):
        raise TypeError(
            f"Expected `{name}` to be a class, a channel as ('layer3', 5), a function of the "
            f"output, or a list of these, but got {shown(item)}"
        )
    return integer(item, name, at_least=0)
