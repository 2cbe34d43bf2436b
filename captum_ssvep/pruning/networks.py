"""Networks without some of their filters, for a while or for good."""

import sys
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import custom_from_mask

from .._checks import integer, network
from .._compat import BatchNorm, Convolution
from ..model.layers import layer_name, resolve_layer
from ..model.norms import norms_after
from ..model.silence import ablated
from .masks import Masks, validate_length, validated_masks


def pruned(
    model: nn.Module, masks: Masks, *, channel_dim: int | None = None
) -> AbstractContextManager[None]:
    """Silence all filters that masks do not keep, within the context.

    As in `ablated`, a BatchNorm directly after a layer is silent in the same channels, and nothing
    in the model is changed. A GroupNorm, or an InstanceNorm with scale and shift, after it is not:
    a silent filter leaves a constant there. Name these norms as well to silence them.

    Args:
        model (Module): The model.
        masks (mapping): For the name of each layer, booleans of shape ``(filters,)``; True is kept,
            as `masks_of` returns them.
        channel_dim (int, optional): As in `ablated`. Default: None

    Raises:
        ValueError: If a layer is unknown or has another number of filters, or would keep none; or
            as in `ablated`.
        TypeError: If the masks are not boolean tensors, or as in `ablated`.

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
    filters = {layer: indices for layer, indices in silent.items() if indices}
    return ablated(model, filters, channel_dim=channel_dim)


def prune(model: nn.Module, masks: Masks, *, channel_dim: int | None = None) -> nn.Module:
    """Set the weights of all filters that masks do not keep to zero, for good.

    Weights, biases, and scale and shift of a BatchNorm directly after the layer get masks of
    ``torch.nn.utils.prune``, so that training leaves them at zero. Without the BatchNorm, a silent
    convolution would still send a constant, as it does through a GroupNorm, or an InstanceNorm with
    scale and shift, which cannot be masked. ``torch.nn.utils.prune.remove(module, name)`` turns a
    masked parameter into a plain one. The network keeps its size; Torch-Pruning with
    `FrequencyTaggingImportance` makes it smaller.

    Args:
        model (Module): The model. It is changed.
        masks (mapping): As in `pruned`, for convolutions, linear layers and BatchNorms.
        channel_dim (int, optional): What linear layers with a BatchNorm after them give: 1 for
            ``(N, filters)``, -1 for ``(N, tokens, filters)``, where the norm is left alone. Needed
            for such layers alone. Default: None

    Returns:
        Module: The same model.

    Raises:
        ValueError: If masks do not fit, as in `pruned`; if a layer has no weights to mask, or it
            cannot be found out which BatchNorm follows it. The model is not changed then.
        TypeError: If the masks are not boolean tensors.

    Examples::

        >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval()
        >>> _ = nn.init.ones_(model[1].bias)
        >>> smaller = prune(model, {"0": torch.tensor([True, False, True])}, channel_dim=1)
        >>> smaller(torch.ones(1, 2))[0, 1].item(), smaller[1].bias.tolist()
        (0.0, [1.0, 0.0, 1.0])
    """
    network(model)
    if channel_dim is not None:
        integer(channel_dim, "channel_dim", at_least=-sys.maxsize)
    kept = validated_masks(masks)
    norms = norms_after(model, kept)
    steps: list[tuple[nn.Module, str, Tensor]] = []
    for layer, mask in kept.items():
        owner = resolve_layer(layer, model)
        if isinstance(owner, nn.Linear) and norms[layer]:
            norms[layer] = _norms_of_filters(layer, norms[layer], channel_dim)
        for module in (owner, *norms[layer]):
            steps += _masked_parameters(layer_name(module, model), module, mask)
    with torch.no_grad():  # for parameters without a graph, which can be copied
        for module, name, parameter_mask in steps:
            custom_from_mask(module, name, parameter_mask)  # type: ignore[no-untyped-call]
    return model


def _norms_of_filters(
    layer: str, norms: list[nn.Module], channel_dim: int | None
) -> list[nn.Module]:
    """The norms after a linear layer, unless they normalize tokens."""
    if channel_dim not in (1, -1):
        raise ValueError(
            "Expected `channel_dim` to say whether the BatchNorm after a linear layer normalizes "
            f"its filters or tokens, but got {channel_dim} for layer {layer!r}; pass 1 if it gives "
            "(N, filters), -1 if it gives (N, tokens, filters)"
        )
    return norms if channel_dim == 1 else []


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
