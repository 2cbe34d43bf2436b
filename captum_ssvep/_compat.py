"""The one place that touches Captum's private modules, with the types Captum does not ship."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from captum._utils.common import (
    _expand_additional_forward_args,
    _expand_target,
    _format_additional_forward_args,
    _run_forward,
)
from captum._utils.gradient import _gather_distributed_tensors
from captum.attr._utils.attribution import GradientAttribution
from captum.log import log_usage as _log_usage
from torch import Tensor, device

__all__ = [
    "GradientAttribution",
    "expand_forward_args",
    "expand_target",
    "format_forward_args",
    "gather_devices",
    "log_usage",
    "run_forward",
]

Function = TypeVar("Function", bound=Callable[..., Any])


class _LogUsage(Protocol):
    def __call__(self, *, part_of_slo: bool) -> Callable[[Function], Function]: ...


# NoiseTunnel, TCAV and others call `method.attribute.__wrapped__`, which this decorator makes.
log_usage = cast(_LogUsage, _log_usage)


def format_forward_args(additional_forward_args: object) -> tuple[Any, ...]:
    """Additional arguments of the forward function as a tuple."""
    return _format_additional_forward_args(additional_forward_args) or ()


def expand_forward_args(forward_args: tuple[Any, ...], n_frames: int) -> tuple[Any, ...]:
    """Repeat the tensors among the arguments along their batch dimension, once per frame."""
    return cast(tuple[Any, ...], _expand_additional_forward_args(forward_args, n_frames))


def expand_target(target: Any, n_frames: int) -> Any:
    """Repeat a target with one entry per example, once per frame."""
    return _expand_target(target, n_frames)


def run_forward(
    forward_func: Callable[..., Any], inputs: tuple[Tensor, ...], forward_args: tuple[Any, ...]
) -> None:
    """Call the forward function as Captum does."""
    _run_forward(forward_func, inputs, additional_forward_args=forward_args)


def gather_devices(
    saved: dict[device, tuple[Tensor, ...]], device_ids: list[int] | None
) -> tuple[Tensor, ...]:
    """Join along the batch what the replicas of a layer gave, in the order of the devices."""
    if len(saved) == 1:
        return next(iter(saved.values()))
    return tuple(_gather_distributed_tensors(saved, device_ids))
