"""Curves of accuracy without filters."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import TensorDataset

from captum_ssvep.pruning import (
    masks_of,
    prune,
    pruning_curve,
    random_scores,
    recalibrate,
)

IMAGES = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(2))
SCORES = {"0": torch.tensor([0.3, 0.1, 0.6, 0.2, 0.5, 0.4]), "3": torch.tensor([3.0, 1, 2, 4])}


@pytest.fixture
def data(small_network):
    with torch.no_grad():
        labels = small_network(IMAGES).argmax(1)
    labels[::3] = (labels[::3] + 1) % 5
    return TensorDataset(IMAGES, labels)


@pytest.mark.parametrize("order", ["lowest", "highest"])
@pytest.mark.parametrize("recalibrated", [False, True])
def test_each_point_is_that_of_a_masked_network(small_network, data, order, recalibrated):
    before = copy.deepcopy(small_network.state_dict())
    curve = pruning_curve(
        small_network,
        SCORES,
        data,
        [0.25, 0.5],
        order=order,
        recalibrate_on=data if recalibrated else None,
        batch_size=16,
        show_progress=False,
    )
    assert all(torch.equal(v, before[n]) for n, v in small_network.state_dict().items())
    ranked = {layer: value if order == "lowest" else -value for layer, value in SCORES.items()}
    for place, ratio in enumerate(curve.ratios):
        masked = prune(copy.deepcopy(small_network), masks_of(ranked, ratio=ratio))
        if recalibrated:
            recalibrate(masked, data, batch_size=16, show_progress=False)
        with torch.no_grad():
            logits = masked(IMAGES)
        labels = data.tensors[1]
        accuracy = (logits.argmax(1) == labels).double().mean().item()
        assert curve.accuracy[place] == pytest.approx(accuracy)
        assert curve.loss[place] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)


def test_nothing_removed_is_the_whole_network(small_network, data):
    curve = pruning_curve(small_network, SCORES, data, [0], show_progress=False)
    assert curve.accuracy[0] == pytest.approx(26 / 40)


def test_layers_can_compete(small_network, data):
    arguments = {"scope": "global", "normalize": "rank", "protect": ["3"]}
    curve = pruning_curve(small_network, SCORES, data, [0.5], show_progress=False, **arguments)
    alone = pruning_curve(small_network, {"0": SCORES["0"]}, data, [0.5], show_progress=False)
    assert curve == alone


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratios": [0.2, 1.2]}, "`ratio` to be at most 1"),
        ({"order": "up"}, "`order` to be one of lowest, highest"),
        ({"data": TensorDataset(IMAGES)}, "pairs for accuracy"),
        ({"data": TensorDataset(IMAGES[:0], IMAGES[:0, 0, 0, 0].long())}, "at least one image"),
    ],
)
def test_bad_arguments_are_named(small_network, data, arguments, message):
    with pytest.raises(ValueError, match=message):
        pruning_curve(
            **{"model": small_network, "scores": SCORES, "data": data, "ratios": [0.2]} | arguments,
            show_progress=False,
        )


def test_random_scores_are_drawn_by_the_seed():
    one, same, other = (random_scores(SCORES, seed=seed) for seed in (1, 1, 2))
    assert [len(value) for value in one.values()] == [6, 4]
    assert all(torch.equal(one[layer], same[layer]) for layer in one)
    assert not any(torch.equal(one[layer], other[layer]) for layer in one)
