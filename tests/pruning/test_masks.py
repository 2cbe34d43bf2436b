"""Masks from scores."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ssvep.evaluation import FilterDamage
from captum_ssvep.pruning import masks_of
from captum_ssvep.scores.lowest import lowest_filters


@given(
    st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=2, max_size=40),
    st.floats(0, 0.5),
    st.sampled_from(["layer", "global"]),
    st.sampled_from([None, "l2", "rank"]),
)
def test_exactly_the_share_goes_the_lowest_and_the_first_of_equals(values, ratio, scope, normalize):
    scores = {"conv": torch.tensor(values)}
    mask = masks_of(scores, ratio=ratio, scope=scope, normalize=normalize)["conv"]
    assert mask.dtype == torch.bool
    assert (~mask).sum() == round(ratio * len(values))
    removed = [(values[i], i) for i in range(len(values)) if not mask[i]]
    kept = [(values[i], i) for i in range(len(values)) if mask[i]]
    assert all(gone < left for gone in removed for left in kept)


def test_a_larger_ratio_keeps_no_filter_that_a_smaller_one_removes():
    scores = {"a": torch.rand(30).round(decimals=1), "b": torch.rand(12).round(decimals=1)}
    for scope in ("layer", "global"):
        fewer, more = (masks_of(scores, ratio=ratio, scope=scope) for ratio in (0.2, 0.4))
        assert all((fewer[layer] | ~more[layer]).all() for layer in scores)


def test_of_damage_the_absolute_change_of_the_set_counts():
    damage = FilterDamage({"conv": torch.tensor([[3.0, -1.0, 0.5], [-3.0, -1.0, 0.5]])})
    masks = masks_of(damage, ratio=1 / 3)
    assert masks["conv"].tolist() == [False, True, True]


def test_scores_of_any_dtype_and_with_gradients():
    scores = torch.nn.Parameter(torch.tensor([2.0, 1.0]))
    assert masks_of({"a": scores}, ratio=0.5)["a"].tolist() == [True, False]
    assert masks_of({"a": torch.tensor([2, 1])}, ratio=0.5)["a"].tolist() == [True, False]
    assert masks_of({"a": scores.bfloat16()}, ratio=0.5)["a"].tolist() == [True, False]


def test_masks_and_lowest_filters_are_the_same():
    scores = {"a": torch.rand(10), "b": torch.rand(7)}
    masks = masks_of(scores, ratio=0.3)
    silent = {layer: (~mask).nonzero().flatten().tolist() for layer, mask in masks.items()}
    assert silent == lowest_filters(scores, 0.3)


def test_what_are_no_scores_is_refused():
    with pytest.raises(TypeError, match="`score_for_pruning` makes one"):
        masks_of(torch.rand(4), ratio=0.5)
