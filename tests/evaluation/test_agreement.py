"""Rank agreement, against SciPy's correlations."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import FrequencyTaggingAttribution, rank_agreement, score_neurons
from captum_ssvep.evaluation import FilterDamage

pytestmark = pytest.mark.usefixtures("one_thread")


def test_agreement_is_spearmans():
    first = {"a": torch.rand(9), "b": torch.rand(2, 3)}
    second = {"b": torch.rand(2, 3), "a": torch.rand(9)}
    found = rank_agreement(first, second)
    correlations = {
        layer: stats.spearmanr(first[layer].flatten(), second[layer].flatten()).statistic
        for layer in first
    }
    assert found.by_layer == pytest.approx(correlations)
    assert found.mean == pytest.approx(np.mean(list(correlations.values())))
    together = [torch.cat([s["a"], s["b"].flatten()]) for s in (first, second)]
    assert found.overall == pytest.approx(stats.spearmanr(*together).statistic)


def test_a_layer_that_does_not_vary_has_no_agreement():
    varying = {"a": torch.arange(4.0), "b": torch.arange(3.0)}
    found = rank_agreement({**varying, "b": torch.ones(3)}, varying)
    assert math.isnan(found.by_layer["b"])
    assert found.mean == found.by_layer["a"] == pytest.approx(1)
    assert math.isnan(rank_agreement({"b": torch.ones(3)}, {"b": torch.ones(3)}).mean)


def test_scores_and_mappings_agree():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    scores = score_neurons(
        FrequencyTaggingAttribution(model, ["0", "1"]),
        TensorDataset(torch.rand(3, 3, 8, 10)),
        show_progress=False,
    )
    assert rank_agreement(scores, scores.mean).mean == pytest.approx(1)
    with pytest.raises(ValueError, match="scores of the same neurons"):
        rank_agreement(scores, {"0": scores.mean["0"]})
    with pytest.raises(ValueError, match="scores of the same neurons"):
        rank_agreement({"0": torch.ones(3)}, {"0": torch.ones(4)})


@pytest.mark.parametrize("values", [[1.0, 2.0], np.ones(2), 1.0])
def test_what_is_no_tensor_is_refused(values):
    words = f"got {type(values).__name__} for layer 'b'; pass one number per filter"
    with pytest.raises(TypeError, match=words):
        rank_agreement({"b": torch.ones(2)}, {"b": values})


def test_a_damage_has_to_be_read_first():
    damage = FilterDamage({"0": torch.rand(3, 4)})
    with pytest.raises(TypeError, match="mean_absolute"):
        rank_agreement({"0": torch.rand(4)}, damage)
    assert rank_agreement(damage.mean_absolute, damage.mean_absolute).overall == pytest.approx(1)
