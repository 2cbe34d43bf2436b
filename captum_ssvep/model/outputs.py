"""What modules return: the floating tensors in it, and how finely they are rounded."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def floating_tensors(value: Any) -> tuple[Tensor, ...]:
    """The floating tensors of a tuple, list or mapping, in order.

    Tensors of nested tuples, lists and mappings count only if there are none on the level above.

    Examples::

        >>> state = (torch.zeros(2, 3), (torch.zeros(1, 2), None))  # as an LSTM returns it
        >>> [tensor.shape for tensor in floating_tensors(state)]
        [torch.Size([2, 3])]
        >>> [len(tensor) for tensor in floating_tensors({"a": None, "b": (torch.zeros(5),)})]
        [5]
    """
    if isinstance(value, Tensor):
        return (value,) if value.is_floating_point() else ()
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if not isinstance(value, (tuple, list)):
        return ()
    tensors = tuple(t for t in value if isinstance(t, Tensor) and t.is_floating_point())
    return tensors or tuple(tensor for item in value for tensor in floating_tensors(item))


def has_rows(tensor: Tensor, n_rows: int) -> bool:
    """Whether a tensor has the batch on dimension 0."""
    return tensor.shape[:1] == (n_rows,)


def validate_rows(tensors: tuple[Tensor, ...], n_rows: int, source: str) -> None:
    """Check that tensors have the batch on dimension 0.

    Raises:
        ValueError: If one does not; the message names the source.
    """
    for tensor in tensors:
        if not has_rows(tensor, n_rows):
            raise ValueError(
                f"Expected {source} to keep the batch of {n_rows} on dimension 0, but it gave "
                f"shape {tuple(tensor.shape)}; choose a layer before or after it that does"
            )


class ComputingPrecision:
    """The coarsest rounding of the modules that have run so far.

    A layer may return single precision although the ones before it compute in half precision, as
    norms do under ``torch.autocast``.

    Examples::

        >>> model, precision = nn.Linear(2, 2).bfloat16(), ComputingPrecision()
        >>> with model.register_forward_hook(precision.see):
        ...     output = model(torch.ones(1, 2, dtype=torch.bfloat16))
        >>> precision.eps == torch.finfo(torch.bfloat16).eps
        True
    """

    def __init__(self) -> None:
        self.eps = 0.0

    def see(self, module: nn.Module, args: Any, output: Any) -> None:
        """Take in a module, as its forward hook."""
        for tensor in floating_tensors(output):
            dtypes = [tensor.dtype]
            device = tensor.device.type
            if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
                dtypes.append(torch.get_autocast_dtype(device))
            self.eps = max(self.eps, *(torch.finfo(dtype).eps for dtype in dtypes))
