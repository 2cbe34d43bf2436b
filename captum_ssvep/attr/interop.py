"""What Captum's other tools need to work with a layer method's results."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from captum.attr import Attribution
from torch import Tensor

from .._checks import example_index
from ..model.channels import Layout, channel_maps
from ..spectrum import statistics


def top_neurons(result: Tensor, k: int, example: int | None = None) -> list[tuple[int, ...]]:
    """The neurons of a layer that a result puts first, as Captum's neuron methods select them.

    Args:
        result (Tensor): One number per neuron, shape ``(N, *neuron)``.
        k (int): How many.
        example (int, optional): Which image of the batch; not needed for a batch of one.

    Returns:
        list[tuple[int, ...]]: Indices behind the batch dimension, the largest value first: a
        ``neuron_selector`` each.

    Raises:
        ValueError: If ``k`` is not between 1 and the number of neurons.
        TypeError: If the result is that of several layers or tensors.

    Examples::

        >>> import torch
        >>> top_neurons(torch.tensor([[[1.0, 5.0], [7.0, 2.0]]]), k=2)
        [(1, 0), (0, 1)]
    """
    if not isinstance(result, Tensor):
        raise TypeError(
            f"Expected `result` to be the tensor of one layer, but got {type(result).__name__}; "
            "pick the layer, as in `result[0]`"
        )
    row = example_index(example, len(result))
    if result.dim() < 2 or not 1 <= k <= result[row].numel():
        raise ValueError(
            "Expected `result` of shape (N, *neuron) and `k` between 1 and the number of neurons, "
            f"but got {tuple(result.shape)} and {k}"
        )
    values = result[row]
    places = values.flatten().argsort(descending=True, stable=True)[:k]
    indices = torch.unravel_index(places, values.shape)
    return list(zip(*(index.tolist() for index in indices), strict=True))


def as_explanation(method: Attribution, **arguments: Any) -> Callable[..., tuple[Tensor, ...]]:
    """A method as ``captum.metrics.sensitivity_max`` takes it: a function that gives a tuple.

    Captum's metric iterates over the examples of a single tensor, and fails, for every layer method
    that returns one.

    Args:
        method (Attribution): Any method of Captum or of this package.
        **arguments (Any, optional): Arguments of its ``attribute`` that hold for all examples.
            Those with one entry per example, such as ``target``, go to the metric, which expands
            them.

    Returns:
        callable: ``explain(inputs, **kwargs) -> tuple[Tensor, ...]``, which takes the inputs as a
        tensor or a tuple.

    Examples::

        >>> import torch
        >>> from captum.attr import LayerActivation
        >>> model = torch.nn.Linear(2, 3)
        >>> explain = as_explanation(LayerActivation(model, model))
        >>> [tensor.shape for tensor in explain(torch.ones(4, 2))]
        [torch.Size([4, 3])]
    """

    def explain(inputs: Tensor | tuple[Tensor, ...], **kwargs: Any) -> tuple[Tensor, ...]:
        given = inputs[0] if isinstance(inputs, tuple) and len(inputs) == 1 else inputs
        result = method.attribute(given, **{**arguments, **kwargs})
        return result if isinstance(result, tuple) else (result,)

    return explain


def to_inputs(
    result: Tensor,
    inputs: Tensor,
    reduction: statistics.Reduction = "energy",
    *,
    layout: Layout | None = None,
) -> Tensor:
    """A layer's result as a map of the input's shape, as ``captum.metrics.infidelity`` takes it.

    Args:
        result (Tensor): Shape as for `to_map`: convolutional, channels last or tokens.
        inputs (Tensor): Images, shape ``(N, channels, height, width)``.
        reduction (str, optional): How the layer's channels combine. Default: ``"energy"``
        layout (str): As in `to_map`.

    Returns:
        Tensor: Shape of ``inputs``, the same for every channel of the input; bilinearly enlarged.

    Raises:
        ValueError: If the result has no map, or the inputs are no images.

    Examples::

        >>> import torch
        >>> maps = torch.rand(2, 8, 4, 4)
        >>> to_inputs(maps, torch.rand(2, 3, 16, 16), layout="channels_first").shape
        torch.Size([2, 3, 16, 16])
    """
    if inputs.dim() != 4 or len(inputs) != len(result):
        raise ValueError(
            "Expected `inputs` of shape (N, channels, height, width) with an example for each of "
            f"the result's {len(result)}, but got {tuple(inputs.shape)}"
        )
    size = (inputs.shape[2], inputs.shape[3])
    maps = channel_maps(result, layout, size)
    combined = statistics.reduce(maps.movedim(1, 0), reduction)[:, None]
    enlarged = F.interpolate(combined, size, mode="bilinear", align_corners=False)
    return enlarged.expand(inputs.shape).contiguous()
