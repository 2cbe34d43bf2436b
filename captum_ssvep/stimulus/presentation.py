"""How frames reach a network that lives in time: as one sequence, or step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .._checks import integer, shown
from ..design import TaggingDesign
from ..design.base import Design


@dataclass(frozen=True)
class InSequence:
    """Show the record as one sequence, along a new dimension of the model's input.

    Inputs have no time axis, as everywhere: a picture ``(N, 3, H, W)`` becomes a film
    ``(N, 3, T, H, W)`` with ``time_dim=2``, features ``(N, C)`` a sequence ``(N, T, C)`` with
    ``time_dim=1``, or ``(T, N, C)`` with ``time_dim=0``, as of ``nn.LSTM`` without ``batch_first``.

    A layer's series is read along its own time dimension; or from its calls, if it is called once
    for every moment. A layer that gives fewer moments, by its strides, has a lower sampling rate.
    Nyquist frequency, collisions and neighbors are then those of its rate.

    Args:
        time_dim (int, optional): Where the new dimension lies in the model's input. Default: 1
        warmup (int, optional): Periods that are shown before the record and not read. Default: 1
        cooldown (int, optional): Periods that are shown after it, for networks that look ahead.
            Default: 0
        layer_time_dim (int, optional): Where time lies in the layers' outputs. Default: None, as in
            the input

    Raises:
        TypeError, ValueError: If a number is no integer, or negative.

    Examples::

        >>> InSequence(time_dim=2, cooldown=1)  # for a video network that looks ahead
        InSequence(time_dim=2, warmup=1, cooldown=1, layer_time_dim=None)
    """

    time_dim: int = 1
    warmup: int = 1
    cooldown: int = 0
    layer_time_dim: int | None = None

    def __post_init__(self) -> None:
        for name in ("time_dim", "warmup", "cooldown"):
            integer(getattr(self, name), name, at_least=0)
        if self.layer_time_dim is not None:
            integer(self.layer_time_dim, "layer_time_dim", at_least=0)


@dataclass(frozen=True)
class StepByStep:
    """Show one frame after the other, each by a forward pass of its own.

    For networks whose state lives in their modules, or is handed from call to call. Memory does not
    grow with the record.

    Args:
        warmup (int, optional): Periods that are shown before the record and not read. Default: 1
        reset (callable, optional): Called without arguments before every batch, to bring the
            network into its first state. Default: None, the state in which it is
        carry (callable, optional): Takes what the model returned and gives the keyword arguments of
            its next call, a dictionary. Default: None, no further arguments

    Raises:
        TypeError, ValueError: If ``warmup`` is no integer or negative, or a function is none.

    Examples::

        >>> presentation = StepByStep(carry=lambda output: {"hidden": output[1]})
        >>> presentation.warmup
        1
    """

    warmup: int = 1
    reset: Callable[[], object] | None = None
    carry: Callable[[Any], Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        integer(self.warmup, "warmup", at_least=0)
        for name in ("reset", "carry"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise TypeError(f"Expected `{name}` to be a function, but got {shown(value)}")


Presentation = InSequence | StepByStep


def design_in_time(presentation: Any, design: Design) -> TaggingDesign:
    """The design, if frames can be shown in its order.

    Raises:
        TypeError, ValueError: If it has no order in time, or the presentation is none.
    """
    if not isinstance(presentation, Presentation):
        raise TypeError(
            "Expected `presentation` to be an InSequence or a StepByStep, but got "
            f"{shown(presentation)}; None shows every frame by itself"
        )
    if not isinstance(design, TaggingDesign):
        raise ValueError(
            f"Expected a design in time for a `presentation`, but got a {design}; take "
            "`TaggingDesign()` or `choose_design` with kind='time'"
        )
    return design
