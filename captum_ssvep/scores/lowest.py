"""Which filters have the lowest scores, in each layer or of all layers together."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from .._checks import choice, instance, number, shown

Scope = Literal["layer", "global"]
Normalization = Literal["l2", "rank"]


def lowest_filters(
    scores: Mapping[str, Tensor],
    ratio: float,
    scope: Scope = "layer",
    normalize: Normalization | None = None,
    protect: Sequence[str] = (),
) -> dict[str, list[int]]:
    """The filters with the lowest scores, in rising order of their indices.

    Args:
        scores: For each layer, one number per filter.
        ratio: Share of the filters, from 0 to below 1, rounded to whole filters as `round` does.
        scope: ``"layer"``: this share of each layer; ``"global"``: of all layers together.
        normalize: How scores are made comparable between layers, as in `normalized`.
        protect: Layers without such filters. They do not count for the share either.

    Raises:
        ValueError: If a number is out of range or not finite, a layer is unknown, or one would be
            left without filters.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> lowest_filters({"conv1": torch.tensor([3.0, 1.0, 1.0, 2.0])}, 0.25)
        {'conv1': [1]}
    """
    values = filter_scores(scores)
    ratio = number(ratio, "ratio", at_least=0, at_most=1)
    choice(scope, "scope", get_args(Scope))
    if not isinstance(protect, (list, tuple, set, frozenset)):
        raise TypeError(f"Expected `protect` to be a list of layers, but got {shown(protect)}")
    for layer in protect:
        choice(layer, "protect", values)
    compared = normalized(values, normalize)
    free = [layer for layer in values if layer not in protect]
    found: dict[str, list[int]] = {layer: [] for layer in values}
    for layers in [free] if scope == "global" and free else [[layer] for layer in free]:
        places = [(layer, index) for layer in layers for index in range(len(values[layer]))]
        order = torch.cat([compared[layer] for layer in layers]).argsort(stable=True)
        for row in order[: round(ratio * len(places))].tolist():
            layer, index = places[row]
            found[layer].append(index)
    for layer, filters in found.items():
        if len(filters) == len(values[layer]):
            raise ValueError(
                f"Expected `ratio` to leave every layer a filter, but {ratio:g} with "
                f"scope={scope!r} takes all {len(filters)} of layer {layer!r}; lower it, or name "
                "the layer in `protect`"
                + ("; normalize='rank' makes layers comparable" if scope == "global" else "")
            )
    return {layer: sorted(filters) for layer, filters in found.items()}


def filter_scores(scores: Any) -> dict[str, Tensor]:
    """Scores in double precision on the CPU, if there is one finite number per filter.

    Raises:
        ValueError: If there is not; the message names the layer.
        TypeError: If the scores are no mapping from names to tensors.
    """
    expected = "a mapping from names of layers to tensors, as {'conv1': scores_of_its_filters}"
    instance(scores, Mapping, "scores", expected)
    if not scores:
        raise ValueError("Expected `scores` to hold at least one layer, but got none")
    values = {}
    for layer, value in scores.items():
        if not isinstance(layer, str) or not isinstance(value, Tensor) or value.is_complex():
            raise TypeError(f"Expected `scores` to be {expected}, but got {shown(value)}")
        if value.dim() != 1 or not len(value):
            raise ValueError(
                f"Expected `scores` with one number per filter, but layer {layer!r} has shape "
                f"{tuple(value.shape)}; score with pooling='channel', or take a mean per filter"
            )
        # Leave out devices without double precision.
        values[layer] = value.detach().cpu().double()
        if not values[layer].isfinite().all():
            filters = (~values[layer].isfinite()).nonzero().flatten().tolist()
            raise ValueError(
                f"Expected `scores` to be finite, but those of filters {shown(filters)} of layer "
                f"{layer!r} are NaN or infinite; replace them, by 0 for filters that never respond"
            )
    return values


def normalized(values: Mapping[str, Tensor], normalize: Normalization | None) -> dict[str, Tensor]:
    """Scores that can be compared between layers.

    Args:
        values: For each layer, one finite number per filter.
        normalize: ``"l2"``: divided by the root of their sum of squares in the layer, as Molchanov
            et al. (2017) do; ``"rank"``: the rank in the layer, from 0 to 1, equal scores ranked by
            index; None: as they are.

    Raises:
        ValueError: If the normalization is unknown.

    Examples::

        >>> normalized({"conv1": torch.tensor([3.0, 4.0])}, "l2")["conv1"]
        tensor([0.6000, 0.8000])
    """
    if normalize is None:
        return dict(values)
    choice(normalize, "normalize", get_args(Normalization))
    return {layer: _normalized(value, normalize) for layer, value in values.items()}


def _normalized(value: Tensor, normalize: Normalization) -> Tensor:
    if normalize == "l2":
        norm = value.norm()
        return value / norm if norm > 0 else value
    ranks = torch.empty_like(value)
    ranks[value.argsort(stable=True)] = torch.arange(len(value)).to(value)
    return (ranks + 0.5) / len(value)
