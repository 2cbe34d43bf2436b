"""From scores to masks: which filters of each layer are kept."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import instance, shown
from ..evaluation.damage import FilterDamage
from ..model.layers import n_filters_of
from ..scores.lowest import Normalization, Scope, lowest_filters
from ..scores.result import NeuronScores

# What ranks filters.
FilterScores = NeuronScores | FilterDamage | Mapping[str, Tensor]
# For the name of each layer a boolean per filter: whether it is kept.
Masks = Mapping[str, Tensor]


def masks_of(
    scores: FilterScores,
    *,
    ratio: float,
    scope: Scope = "layer",
    normalize: Normalization | None = None,
    protect: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Which filters to keep: all but those with the lowest scores.

    Of equal scores, those with the lower index go first. Filters that respond little are not those
    that a network can spare: take `score_for_pruning` rather than `score_neurons`.

    Args:
        scores (NeuronScores, FilterDamage or mapping): Of scores `NeuronScores.mean` counts, of
            damage `FilterDamage.absolute`. A mapping has a tensor of shape ``(filters,)`` for the
            name of each layer.
        ratio (float): Share of the filters to remove, from 0 to below 1. It is rounded to whole
            filters as Python's ``round`` does.
        scope (str, optional): ``"layer"``: remove this share of each layer; ``"global"``: of all
            layers together, whose scores then have to be comparable. Default: ``"layer"``
        normalize (str, optional): What makes scores comparable between layers: ``"l2"`` divides
            them by the root of their sum of squares in the layer, ``"rank"`` takes their ranks in
            the layer, from 0 to 1. Default: None, as they are
        protect (sequence of str, optional): Layers that keep all filters. They do not count for
            the share. Default: none

    Returns:
        dict[str, Tensor]: For each layer, booleans of shape ``(filters,)``; True is kept.

    Raises:
        ValueError: If the ratio is out of range, a layer would be left without filters, scores are
            NaN or infinite, or a layer is unknown.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> masks_of({"conv1": torch.tensor([3.0, 0.5, 2.0, 1.0])}, ratio=0.5)
        {'conv1': tensor([ True, False,  True, False])}
    """
    values = filter_values(scores)
    removed = lowest_filters(values, ratio, scope, normalize, protect)
    masks = {layer: torch.ones(len(value), dtype=torch.bool) for layer, value in values.items()}
    for layer, filters in removed.items():
        masks[layer][filters] = False
    return masks


def filter_values(scores: Any) -> Mapping[str, Tensor]:
    """What ranks filters, for the name of each layer.

    Raises:
        TypeError: If these are no scores.
    """
    expected = (
        "scores, damage or a mapping from names of layers to tensors; `score_for_pruning` makes one"
    )
    instance(scores, (NeuronScores, FilterDamage, Mapping), "scores", expected)
    if isinstance(scores, NeuronScores):
        return scores.mean
    return scores.absolute if isinstance(scores, FilterDamage) else scores


def validated_masks(masks: Any) -> dict[str, Tensor]:
    """The masks on the CPU, if these are some.

    Raises:
        ValueError: If one is not of shape ``(filters,)``, or keeps no filter.
        TypeError: If they are no mapping from names to boolean tensors.
    """
    expected = "a mapping from names of layers to boolean tensors; `masks_of` makes one"
    found = {}
    for layer, mask in instance(masks, Mapping, "masks", expected).items():
        if not isinstance(layer, str) or not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            raise TypeError(
                f"Expected `masks` to be a mapping from names of layers to boolean tensors, but "
                f"got {shown(mask)} for {shown(layer)}; `masks_of` makes one"
            )
        if mask.dim() != 1 or not mask.any():
            got = f"shape {tuple(mask.shape)}" if mask.dim() != 1 else "none that is kept"
            raise ValueError(
                f"Expected `masks` with one boolean per filter, True for those that are kept, but "
                f"got {got} for layer {layer!r}"
            )
        found[layer] = mask.cpu()
    return found


def validate_length(layer: str, module: nn.Module, values: Tensor, argument: str) -> None:
    """Check that there is one entry per filter, as far as the layer's type shows their number.

    Raises:
        ValueError: If there is not.
    """
    n_filters = n_filters_of(module)
    if n_filters not in (None, len(values)):
        raise ValueError(
            f"Expected `{argument}` with one entry for each of the {n_filters} filters of layer "
            f"{layer!r}, but got {len(values)}; take those of this model as it is now"
        )
