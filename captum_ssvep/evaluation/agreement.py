"""Do two sets of scores rank the filters of a network in the same order?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..scores.result import NeuronScores


@dataclass(frozen=True)
class RankAgreement:
    """Spearman correlations between two sets of scores.

    Args:
        by_layer (dict[str, float]): Correlation within each layer; NaN where one set is constant.
        overall (float): Correlation over the filters of all layers together.
    """

    by_layer: dict[str, float]
    overall: float

    @property
    def mean(self) -> float:
        """Mean over the layers that have a correlation; NaN if none has."""
        found = [r for r in self.by_layer.values() if not math.isnan(r)]
        return float(np.mean(found)) if found else math.nan


def rank_agreement(
    first: NeuronScores | Mapping[str, Tensor], second: NeuronScores | Mapping[str, Tensor]
) -> RankAgreement:
    """Do two sets of scores, or scores and damage, rank filters in the same order?

    Args:
        first, second (NeuronScores or mapping): Scores, or a mapping with a tensor for each layer.

    Raises:
        ValueError: If the two differ in layers or shapes, or hold no layer.
        TypeError: If one is of another type.

    Examples::

        >>> scores = {"conv1": torch.tensor([1.0, 2.0, 3.0]), "conv2": torch.tensor([9.0, 8.0])}
        >>> damage = {"conv1": torch.tensor([0.1, 0.2, 0.9]), "conv2": torch.tensor([0.4, 0.7])}
        >>> agreement = rank_agreement(scores, damage)
        >>> round(agreement.by_layer["conv1"], 3), round(agreement.overall, 3)
        (1.0, 0.6)
    """
    for scores in (first, second):
        if not isinstance(scores, (NeuronScores, Mapping)):
            raise TypeError(
                "Expected scores, or a mapping from layers to tensors, but got "
                f"{type(scores).__name__}; of a damage pass `damage.mean_absolute`"
            )
    one, other = (dict(s.mean if isinstance(s, NeuronScores) else s) for s in (first, second))
    for layer, values in (*one.items(), *other.items()):
        if not isinstance(values, Tensor):
            raise TypeError(
                "Expected scores, or a mapping from layers to tensors, but got "
                f"{type(values).__name__} for layer {layer!r}; pass one number per filter"
            )
    shapes = [{layer: tuple(values.shape) for layer, values in s.items()} for s in (one, other)]
    if shapes[0] != shapes[1] or not one:
        raise ValueError(
            f"Expected scores of the same neurons, but got {shapes[0]} and {shapes[1]}"
        )
    return RankAgreement(
        {layer: _spearman(one[layer], other[layer]) for layer in one},
        _spearman(*(torch.cat([s[layer].flatten() for layer in one]) for s in (one, other))),
    )


def _spearman(first: Tensor, second: Tensor) -> float:
    from scipy import stats

    one, other = first.flatten().double().cpu().numpy(), second.flatten().double().cpu().numpy()
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    return float(stats.spearmanr(one, other).statistic)
