"""The filters with the lowest scores."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ssvep import score_neurons
from captum_ssvep.scores.lowest import lowest_filters, normalized

LAYERS = st.dictionaries(
    st.sampled_from("abcd"),
    # Few values, so that there are ties.
    st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=2, max_size=9).map(torch.tensor),
    min_size=1,
)


@given(LAYERS, st.floats(0, 0.5))
def test_each_layer_loses_its_share_and_of_equal_scores_the_first(scores, ratio):
    for layer, filters in lowest_filters(scores, ratio).items():
        values = scores[layer].tolist()
        expected = sorted(range(len(values)), key=lambda index: (values[index], index))
        assert filters == sorted(expected[: round(ratio * len(values))])


@given(LAYERS, st.floats(0, 0.5))
def test_layers_together_lose_their_share_exactly(scores, ratio):
    pairs = [(value, n, i) for n, v in enumerate(scores.values()) for i, value in enumerate(v)]
    lowest = sorted(pairs)[: round(ratio * len(pairs))]
    expected = {
        layer: [i for _, number, i in sorted(lowest, key=lambda pair: pair[2]) if number == n]
        for n, layer in enumerate(scores)
    }
    if any(len(expected[layer]) == len(values) for layer, values in scores.items()):
        with pytest.raises(ValueError, match="leave every layer a filter"):
            lowest_filters(scores, ratio, scope="global")
    else:
        assert lowest_filters(scores, ratio, scope="global") == expected


def test_normalization_makes_layers_comparable():
    scores = {"loud": torch.tensor([30.0, 40.0]), "quiet": torch.tensor([0.4, 0.3])}
    l2, rank = (normalized(scores, kind) for kind in ("l2", "rank"))
    torch.testing.assert_close(l2["loud"], torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(l2["quiet"], torch.tensor([0.8, 0.6]))
    torch.testing.assert_close(rank["quiet"], torch.tensor([0.75, 0.25]))
    for kind in ("l2", "rank"):
        found = lowest_filters(scores, 0.5, scope="global", normalize=kind)
        assert found == {"loud": [0], "quiet": [1]}
    with pytest.raises(ValueError, match="all 2 of layer 'quiet'"):
        lowest_filters(scores, 0.5, scope="global")


def test_a_silent_layer_can_be_normalized():
    assert normalized({"a": torch.zeros(3)}, "l2")["a"].tolist() == [0, 0, 0]


def test_protected_layers_keep_all_and_do_not_count():
    scores = {"a": torch.arange(4.0), "b": torch.arange(4.0) + 10}
    assert lowest_filters(scores, 0.5, protect=["a"]) == {"a": [], "b": [0, 1]}
    found = lowest_filters(scores, 0.5, scope="global", protect=("a",))
    assert found == {"a": [], "b": [0, 1]}
    assert lowest_filters(scores, 0.5, scope="global", protect=["a", "b"]) == {"a": [], "b": []}


@pytest.mark.parametrize(
    ("scores", "arguments", "message"),
    [
        ({"a": torch.ones(4)}, {"ratio": -0.1}, "`ratio` to be at least 0"),
        ({"a": torch.ones(4)}, {"ratio": 1.5}, "`ratio` to be at most 1"),
        ({"a": torch.ones(4)}, {"ratio": 1}, "takes all 4 of layer 'a'"),
        ({"a": torch.ones(1)}, {"ratio": 0.6}, "takes all 1 of layer 'a'"),
        ({"a": torch.tensor([1, torch.nan])}, {"ratio": 0.5}, r"filters \[1\] of layer 'a'"),
        ({"a": torch.tensor([1, -torch.inf])}, {"ratio": 0.5}, "to be finite"),
        ({"a": torch.ones(4, 2)}, {"ratio": 0.5}, r"shape \(4, 2\)"),
        ({}, {"ratio": 0.5}, "at least one layer"),
        ({"a": torch.ones(4)}, {"ratio": 0.5, "scope": "net"}, "`scope` to be one of"),
        ({"a": torch.ones(4)}, {"ratio": 0.5, "normalize": "l1"}, "`normalize` to be one of"),
        ({"a": torch.ones(4)}, {"ratio": 0.5, "protect": ["b"]}, "`protect` to be one of a"),
    ],
)
def test_bad_values_are_named(scores, arguments, message):
    with pytest.raises(ValueError, match=message):
        lowest_filters(scores, **arguments)


@pytest.mark.parametrize(
    ("scores", "arguments"),
    [
        ([torch.ones(4)], {"ratio": 0.5}),
        ({"a": [1.0, 2.0]}, {"ratio": 0.5}),
        ({"a": torch.ones(4)}, {"ratio": "half"}),
        ({"a": torch.ones(4)}, {"ratio": 0.5, "protect": "a"}),
    ],
)
def test_bad_types_are_refused(scores, arguments):
    with pytest.raises(TypeError, match="Expected `"):
        lowest_filters(scores, **arguments)


def test_the_lowest_of_scores_are_not_among_the_highest(digits_scores):
    lowest = digits_scores.lowest(0.25)
    for layer, filters in lowest.items():
        mean = digits_scores.mean[layer]
        kept = [i for i in range(len(mean)) if i not in filters]
        assert len(filters) == round(0.25 * len(mean))
        assert mean[filters].max() <= mean[kept].min()


@pytest.fixture
def digits_scores():
    from captum_ssvep import FrequencyTaggingAttribution
    from captum_ssvep.demo.digits import example_images, load_network

    tagging = FrequencyTaggingAttribution(load_network(), ["layer1", "layer2"])
    data = torch.utils.data.TensorDataset(*example_images())
    return score_neurons(tagging, data, show_progress=False)
