"""Pass the results of a layer method on to Captum's other tools."""

import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from captum.attr import Attribution
from torch import Tensor

from .._checks import choice, example_index, image_batch, instance, integer, shown
from ..model.channels import LAYOUTS, Layout, channel_maps
from ..spectrum import statistics

ONE_LAYER = (
    "the tensor of one layer; of a list pick one, as in `result[0]`, of a spectrum a statistic, as "
    "in `spectrum.amplitude((1, 0))`"
)


def top_neurons(result: Tensor, k: int, example: int | None = None) -> list[tuple[int, ...]]:
    """The neurons with the largest values, as selectors for Captum's neuron methods.

    Args:
        result (Tensor): One number per neuron, shape ``(N, *neuron)``.
        k (int): How many neurons to return.
        example (int, optional): Which image of the batch; not needed for a batch of one.

    Returns:
        list[tuple[int, ...]]: One ``neuron_selector`` per neuron (its indices after the batch
        dimension), the largest value first.

    Raises:
        ValueError: If ``k`` is not between 1 and the number of neurons.
        TypeError: If the result holds several layers or tensors.

    Examples::

        >>> import torch
        >>> top_neurons(torch.tensor([[[1.0, 5.0], [7.0, 2.0]]]), k=2)
        [(1, 0), (0, 1)]
    """
    instance(result, Tensor, "result", ONE_LAYER)
    k = integer(k, "k", at_least=-sys.maxsize)
    if result.dim() < 2 or not 1 <= k <= result[:1].numel():
        raise ValueError(
            "Expected `result` of shape (N, *neuron) and `k` between 1 and the number of neurons, "
            f"but got {tuple(result.shape)} and {k}"
        )
    values = result[example_index(example, len(result))]
    places = values.flatten().argsort(descending=True, stable=True)[:k]
    indices = torch.stack(torch.unravel_index(places, values.shape), dim=1)
    return [tuple(index) for index in indices.tolist()]


def as_explanation(method: Attribution, **arguments: Any) -> Callable[..., tuple[Tensor, ...]]:
    """Wrap a method for ``captum.metrics.sensitivity_max``, which expects tuples.

    Given a single tensor, Captum's metric iterates over its examples and fails. This affects every
    layer method that returns one tensor.

    Args:
        method (Attribution): Any method of Captum or of this package.
        **arguments (Any, optional): Arguments of its ``attribute`` that are the same for all
            examples. Pass those with one entry per example, such as ``target``, to the metric,
            which expands them.

    Returns:
        callable: ``explain(inputs, **kwargs) -> tuple[Tensor, ...]``; the inputs may be a tensor or
        a tuple.

    Raises:
        TypeError: If the method is something else.

    Examples::

        >>> import torch
        >>> from captum.attr import LayerActivation
        >>> model = torch.nn.Linear(2, 3)
        >>> explain = as_explanation(LayerActivation(model, model))
        >>> [tensor.shape for tensor in explain(torch.ones(4, 2))]
        [torch.Size([4, 3])]
    """
    if isinstance(method, type) or not callable(getattr(method, "attribute", None)):
        raise TypeError(
            "Expected `method` to be an instance of a method, as `LayerActivation(model, layer)`, "
            f"but got {shown(method)}"
        )

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
    """Enlarge a layer's result to the shape of the input, for ``captum.metrics.infidelity``.

    Args:
        result (Tensor): As for `to_map`: channels first, channels last or tokens.
        inputs (Tensor): Images, shape ``(N, channels, height, width)``.
        reduction (str, optional): How the layer's channels combine. Default: ``"energy"``
        layout (str): As in `to_map`.

    Returns:
        Tensor: Shape of ``inputs``, interpolated bilinearly; all channels of the input get the same
        map.

    Raises:
        ValueError, TypeError: If the result has no map, or the inputs are not images.

    Examples::

        >>> import torch
        >>> maps = torch.rand(2, 8, 4, 4)
        >>> to_inputs(maps, torch.rand(2, 3, 16, 16), layout="channels_first").shape
        torch.Size([2, 3, 16, 16])
    """
    size = (image_batch(inputs, "inputs").shape[2], inputs.shape[3])
    maps = layer_maps(result, layout, size)
    maps = maps if maps.is_floating_point() else maps.float()
    if len(inputs) != len(maps):
        raise ValueError(
            f"Expected `inputs` with an image for each of the {len(maps)} of `result`, but got "
            f"{len(inputs)}; pass both for the same images"
        )
    combined = statistics.reduce(maps.movedim(1, 0), reduction)[:, None]
    enlarged = F.interpolate(combined, size, mode="bilinear", align_corners=False)
    return enlarged.expand(inputs.shape).contiguous()


def layer_maps(result: Tensor, layout: Layout | None, size: tuple[int, int]) -> Tensor:
    """A layer's result as maps, as `channel_maps` makes them, after a check of what users pass.

    Raises:
        ValueError, TypeError: If an argument is of the wrong type or lacks its batch, and as in
            `channel_maps`.
    """
    instance(result, Tensor, "result", ONE_LAYER)
    if layout is not None:
        choice(layout, "layout", LAYOUTS)
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise TypeError(f"Expected `size` to be (height, width), but got {shown(size)}")
    height, width = (integer(length, "size") for length in size)
    if layout is not None and result.dim() == (2 if layout == "tokens" else 3):
        raise ValueError(
            f"Expected `result` with examples first, but got shape {tuple(result.shape)} for "
            f"layout={layout!r}; if it is that of one image, make a batch: `result[None]`"
        )
    if not result.isfinite().all():
        raise ValueError("Expected `result` to be finite, but got NaN or infinity; replace them")
    return channel_maps(result, layout, (height, width))
