"""Arguments of a forward function: passed and repeated as Captum does it."""

import inspect
from typing import Any

import torch
from torch import Tensor

from .._typing import ForwardFunction


def run_forward(
    forward_func: ForwardFunction, inputs: tuple[Tensor, ...], forward_args: tuple[Any, ...]
) -> None:
    """Call a forward function; one without parameters is called without arguments."""
    takes_arguments = inspect.signature(forward_func).parameters
    forward_func(*(inputs + forward_args if takes_arguments else ()))


def format_forward_args(additional_forward_args: object) -> tuple[Any, ...]:
    """Additional arguments of the forward function as a tuple."""
    if isinstance(additional_forward_args, tuple):
        return additional_forward_args
    return () if additional_forward_args is None else (additional_forward_args,)


def repeat_forward_args(forward_args: tuple[Any, ...], n_frames: int) -> tuple[Any, ...]:
    """Repeat the tensors among the arguments along their batch dimension, once per frame."""
    return tuple(
        torch.cat([arg] * n_frames) if isinstance(arg, Tensor) and arg.dim() else arg
        for arg in forward_args
    )


def repeat_target(target: Any, n_frames: int) -> Any:
    """Repeat a target that has one entry per example, once per frame."""
    if isinstance(target, list):
        return target * n_frames
    if isinstance(target, Tensor) and target.numel() > 1:
        return torch.cat([target] * n_frames)
    return target
