"""Networks without some of their filters, for a while or for good."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import custom_from_mask

from .._checks import network
from .._compat import BatchNorm, Convolution
from ..model.layers import layer_name, resolve_layer
from ..model.norms import norms_after
from ..model.silence import ablated
from .masks import Masks, validate_length, validated_masks


def pruned(model: nn.Module, masks: Masks) -> AbstractContextManager[None]:
    """Silence all filters that masks do not keep, within the context.

    As in `ablated`, a BatchNorm directly after a layer is silent in the same channels, and nothing
    in the model is changed.

    Args:
        model (Module): The model.
        masks (mapping): For the name of each layer, booleans of shape ``(filters,)``; True is kept,
            as `masks_of` returns them.

    Raises:
        ValueError: If a layer is unknown or has another number of filters, or would keep none.
        TypeError: If the masks are not boolean tensors.

    Examples::

        >>> model = nn.Sequential(nn.Linear(2, 3))
        >>> with pruned(model, {"0": torch.tensor([True, False, True])}):
        ...     (model(torch.ones(1, 2)) == 0).tolist()
        [[False, True, False]]
    """
    network(model)
    kept = validated_masks(masks)
    for layer, mask in kept.items():
        validate_length(layer, resolve_layer(layer, model), mask, "masks")
    silent = {layer: (~mask).nonzero().flatten().tolist() for layer, mask in kept.items()}
    return ablated(model, {layer: filters for layer, filters in silent.items() if filters})


def prune(model: nn.Module, masks: Masks) -> nn.Module:
    """Set the weights of all filters that masks do not keep to zero, for good.

    Weights, biases, and scale and shift of a BatchNorm directly after the layer get masks of
    ``torch.nn.utils.prune``, so that training leaves them at zero. Without the BatchNorm, a silent
    convolution would still send a constant. ``torch.nn.utils.prune.remove(module, name)`` turns a
    masked parameter into a plain one. The network keeps its size; Torch-Pruning with
    `FrequencyTaggingImportance` makes it smaller.

    Args:
        model (Module): The model. It is changed.
        masks (mapping): As in `pruned`, for convolutions, linear layers and BatchNorms.

    Returns:
        Module: The same model.

    Raises:
        ValueError: As `pruned`; or if a layer has no weights to mask, or it cannot be found out
            which BatchNorm follows it. The model is not changed then.
        TypeError: As `pruned`.

    Examples::

        >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval()
        >>> _ = nn.init.ones_(model[1].bias)
        >>> smaller = prune(model, {"0": torch.tensor([True, False, True])})
        >>> smaller(torch.ones(1, 2))[0, 1].item(), smaller[1].bias.tolist()
        (0.0, [1.0, 0.0, 1.0])
    """
    network(model)
    kept = validated_masks(masks)
    norms = norms_after(model, kept)
    steps: list[tuple[nn.Module, str, Tensor]] = []
    for layer, mask in kept.items():
        for module in (resolve_layer(layer, model), *norms[layer]):
            steps += _masked_parameters(layer_name(module, model), module, mask)
    with torch.no_grad():  # for parameters without a graph, which can be copied
        for module, name, parameter_mask in steps:
            custom_from_mask(module, name, parameter_mask)  # type: ignore[no-untyped-call]
    return model


def _masked_parameters(
    layer: str, module: nn.Module, mask: Tensor
) -> list[tuple[nn.Module, str, Tensor]]:
    """The parameters of a layer with their masks, shaped like them."""
    validate_length(layer, module, mask, "masks")
    # Under an earlier mask, the parameter has another name.
    own = {name.removesuffix("_orig") for name, _ in module.named_parameters(recurse=False)}
    if not isinstance(module, (Convolution, nn.Linear, BatchNorm)) or "weight" not in own:
        raise ValueError(
            f"Expected a layer with weights of its own to mask, but {layer!r} is a "
            f"{type(module).__name__} without; name the convolution, linear layer or BatchNorm "
            "with scale and shift in front of it, or silence it by `pruned`"
        )
    masks = {"weight": _of_weight(module, mask), "bias": mask}
    return [
        (module, name, masks[name].to(getattr(module, name).device))
        for name in masks
        if name in own
    ]


def _of_weight(module: nn.Module, mask: Tensor) -> Tensor:
    """A mask of filters, shaped like the weight."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    if getattr(module, "transposed", False):
        # Shape (inputs, filters per group, ...): a group of inputs makes a group of filters.
        groups: int = module.groups  # type: ignore[assignment]
        mask = mask.reshape(groups, 1, -1).expand(-1, len(weight) // groups, -1).flatten(0, 1)
    return mask.reshape(*mask.shape, *[1] * (weight.dim() - mask.dim())).expand_as(weight)
