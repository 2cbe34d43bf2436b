"""Interaction effects over images: AND-like and OR-like filters, with tests."""

import itertools

import pytest
import torch
from scipy import stats
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    NeuronScores,
    TaggingDesign,
    TwoLevelDesign,
    halves,
    score_neurons,
    tiles,
)

pytestmark = pytest.mark.usefixtures("one_thread")


class Gates(nn.Module):
    """Product, larger, sum, smaller with a minus, and noise of the two halves' means."""

    def forward(self, x):
        a, b = x[..., :4].mean((1, 2, 3)), x[..., 4:].mean((1, 2, 3))
        odd = (1000 * x[:, 0, 0, 0]).sin()  # of either sign, by image
        return torch.stack(
            [a * b, torch.maximum(a, b), a + b, -torch.minimum(a, b), odd * a * b], dim=1
        )


IMAGES = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double() + 0.1
MODEL = nn.Sequential(nn.Identity(), Gates()).eval()
DESIGNS = [
    TwoLevelDesign(2),
    ChebyshevGrid(contrast=(0.0, 1.0)),
    TaggingDesign(contrast=(0.0, 1.0)),
]


def scores_of(design, images=IMAGES, **arguments):
    tagging = FrequencyTaggingAttribution(MODEL, "1")
    return score_neurons(
        tagging, TensorDataset(images), design=design, show_progress=False, pooling="neuron",
        **arguments,
    )  # fmt: skip


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_effects_and_tests_are_those_of_the_spectra(design):
    scores = scores_of(design, batch_size=7, keep_coefficients=True)
    spectrum = FrequencyTaggingAttribution(MODEL, "1").spectrum(IMAGES, design=design)
    effects = spectrum.interaction_effect((0, 1))
    for parts in ((0, 1), (1, 0)):
        torch.testing.assert_close(scores.interaction_effect(parts)["1"], effects.mean(0))
        expected = stats.ttest_1samp(effects.numpy(), 0).pvalue
        found = scores.interaction_p_values(parts)["1"].numpy()
        # Where the effect is rounding, as of the sum, its p-value is that of rounding.
        assert found[[0, 1, 3, 4]] == pytest.approx(expected[[0, 1, 3, 4]], rel=1e-6)
        flipped = scores.interaction_p_values(parts, "sign_flip")["1"]
        assert (flipped[[0, 1, 3]] <= 1e-3).all()
        assert flipped[4] > 0.05


@pytest.mark.parametrize("design", DESIGNS, ids=str)
@pytest.mark.parametrize("test", ["t", "sign_flip"])
def test_filters_are_and_like_or_or_like_beyond_chance(design, test):
    scores = scores_of(design, keep_coefficients=True)
    # A response that falls only where both parts are shown needs both, too.
    assert scores.and_like((0, 1), test=test)["1"].tolist() == [True, False, False, True, False]
    assert scores.or_like((0, 1), test=test)["1"].tolist() == [False, True, False, False, False]


def test_the_index_is_that_of_the_mean_response():
    scores = scores_of(TwoLevelDesign(2))
    index = scores.and_or_index((0, 1))["1"]
    assert index[0] == pytest.approx(1)
    assert index[2] == pytest.approx(0, abs=1e-9)
    spectrum = FrequencyTaggingAttribution(MODEL, "1").spectrum(IMAGES, design=TwoLevelDesign(2))
    table = spectrum.corners((0, 1)).mean(2)
    total, effect = table[1, 1] - table[0, 0], table[1, 1] - table[1, 0] - table[0, 1] + table[0, 0]
    length = ((table[1] - table[0]).abs().sum(0) + (table[:, 1] - table[:, 0]).abs().sum(0)) / 2
    torch.testing.assert_close(index[:4], (total.sign() * effect / length)[:4])


@pytest.mark.parametrize("keep", [False, True])
def test_shards_files_and_classes_keep_the_effects(tmp_path, keep):
    design, pair = TwoLevelDesign(2), (0, 1)
    whole = scores_of(design, keep_coefficients=keep)
    parts = [scores_of(design, IMAGES[:10], keep_coefficients=keep)]
    parts.append(scores_of(design, IMAGES[10:], keep_coefficients=keep))
    merged = parts[0].merge(parts[1])
    merged.save(tmp_path / "scores.npz")
    loaded = NeuronScores.load(tmp_path / "scores.npz")
    data = TensorDataset(IMAGES, torch.arange(24) % 3)
    by_class = score_neurons(
        FrequencyTaggingAttribution(MODEL, "1"), data, design=design, show_progress=False,
        pooling="neuron", by_class=True,
    )  # fmt: skip
    for scores in (merged, loaded, by_class):
        torch.testing.assert_close(
            scores.interaction_effect(pair)["1"], whole.interaction_effect(pair)["1"]
        )
        torch.testing.assert_close(
            scores.interaction_p_values(pair)["1"][:2], whole.interaction_p_values(pair)["1"][:2]
        )
    assert by_class.of_class(1).interaction_effect(pair)["1"].shape == (5,)


def test_every_pair_of_a_fraction():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).double().eval()
    design, mask = TwoLevelDesign(6), tiles((1, 3, 8, 8), 2, 3)
    tagging = FrequencyTaggingAttribution(model, "1")
    scores = score_neurons(
        tagging, TensorDataset(IMAGES), design=design, feature_mask=mask, show_progress=False
    )
    spectrum = tagging.spectrum(IMAGES, design=design, feature_mask=mask, pooling="channel")
    for pair in itertools.combinations(range(6), 2):
        effects = spectrum.interaction_effect(pair).mean(0)
        torch.testing.assert_close(scores.interaction_effect(pair)["1"], effects)
        p_values = scores.interaction_p_values(pair)["1"]
        assert ((p_values >= 0) & (p_values <= 1)).all()


def test_no_more_discoveries_than_the_rate_allows_by_chance():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(20, 2, generator=generator).double()

    class Chance(nn.Module):
        def forward(self, x):
            signs = torch.where(torch.sin(1e6 * images_of(x)) > 0, 1.0, -1.0)
            return signs * x[:, :1] * x[:, 1:]

    def images_of(x):
        # The image behind a frame: pseudo-random by image and neuron, whatever the contrast.
        return (images[:, :1] * torch.arange(1, 201)).repeat(len(x) // len(images), 1)

    model = nn.Sequential(nn.Identity(), Chance()).eval()
    scores = score_neurons(
        FrequencyTaggingAttribution(model, "1"), TensorDataset(images), batch_size=20,
        design=TwoLevelDesign(2), feature_mask=halves((1, 2)), pooling="neuron",
        show_progress=False,
    )  # fmt: skip
    p_values = scores.interaction_p_values((0, 1))["1"]
    assert 0.01 <= (p_values <= 0.05).double().mean() <= 0.1
    found = scores.and_like((0, 1))["1"] | scores.or_like((0, 1))["1"]
    assert found.sum() <= 2


def test_scores_without_the_components_are_refused():
    scores = scores_of(ChebyshevGrid(), components="fundamentals")
    for read in (
        scores.interaction_effect, scores.and_or_index, scores.interaction_p_values,
        scores.and_like, scores.or_like,
    ):  # fmt: skip
        with pytest.raises(ValueError, match="components of each and of both"):
            read((0, 1))
    with pytest.raises(ValueError, match="keep_coefficients=True"):
        scores_of(TwoLevelDesign(2)).interaction_p_values((0, 1), "sign_flip")
