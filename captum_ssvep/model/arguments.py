"""Arguments of a forward function: passed and repeated as Captum does it."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .._checks import warn_user
from .._typing import ForwardFunction


def run_forward(
    forward_func: ForwardFunction,
    inputs: tuple[Tensor, ...],
    forward_args: tuple[Any, ...],
    forward_kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """Call a forward function; one without parameters is called without arguments."""
    takes_arguments = inspect.signature(forward_func).parameters
    given = inputs + forward_args if takes_arguments else ()
    return forward_func(*given, **(forward_kwargs or {}))


def format_forward_args(additional_forward_args: object) -> tuple[Any, ...]:
    """Additional arguments of the forward function as a tuple."""
    if isinstance(additional_forward_args, tuple):
        return additional_forward_args
    return () if additional_forward_args is None else (additional_forward_args,)


def warn_of_square_args(forward_args: tuple[Any, ...], n_examples: int) -> None:
    """Warn of arguments that may be for all examples, but have as many rows as there are examples.

    Args:
        forward_args: The arguments.
        n_examples: Size of the batch.
    """
    for argument in forward_args:
        is_square = isinstance(argument, Tensor) and argument.shape == (n_examples, n_examples)
        if is_square and n_examples > 1:
            warn_user(
                f"A forward argument of shape {tuple(argument.shape)} is taken to hold one row for "
                f"each of the {n_examples} examples; if it is one matrix for all, such as an "
                "adjacency or a mask, pass it as `matrix[None]`"
            )


def repeat_forward_args(
    forward_args: tuple[Any, ...], n_examples: int, n_frames: int, rows: slice = slice(None)
) -> tuple[Any, ...]:
    """Repeat the arguments that hold one entry per example, once per frame.

    Others are passed on as they are: a mask, an adjacency or positions for all examples.

    Args:
        forward_args: The arguments.
        n_examples: Size of the batch. A tensor of this length holds one entry per example.
        n_frames: Number of frames.
        rows: Examples to take. Default: all

    Examples::

        >>> labels, adjacency = torch.tensor([3, 8]), torch.eye(5)
        >>> repeated = repeat_forward_args((labels, adjacency), n_examples=2, n_frames=2)
        >>> repeated[0].tolist(), repeated[1] is adjacency
        ([3, 8, 3, 8], True)
    """

    def repeated(argument: Any) -> Any:
        per_example = isinstance(argument, Tensor) and argument.dim() > 0
        if not per_example or len(argument) != n_examples:
            return argument
        return torch.cat([argument[rows]] * n_frames)

    return tuple(map(repeated, forward_args))


def repeat_target(target: Any, n_frames: int) -> Any:
    """Repeat a target that has one entry per example, once per frame."""
    if isinstance(target, list):
        return target * n_frames
    if isinstance(target, Tensor) and target.numel() > 1:
        return torch.cat([target] * n_frames)
    return target
