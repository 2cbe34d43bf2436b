"""Pictures of scores show what the scores hold."""

import matplotlib
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import ChebyshevGrid, FrequencyTaggingAttribution, TaggingDesign, score_neurons
from captum_ssvep.visualization import (
    plot_components,
    plot_filters,
    plot_important,
    plot_neighbors,
    plot_top_images,
)

matplotlib.use("Agg")
N_IMAGES = 6


@pytest.fixture(autouse=True)
def close_figures():
    yield
    matplotlib.pyplot.close("all")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU()).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(N_IMAGES, 3, 10, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def tagging(model):
    return FrequencyTaggingAttribution(model, ["0", "1", "3"])


@pytest.fixture(scope="module")
def scores(tagging, images):
    return score_neurons(tagging, TensorDataset(images), show_progress=False)


def bar_heights(ax):
    return [[patch.get_height() for patch in container] for container in ax.containers]


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


def test_filters_have_a_bar_for_each_component(scores):
    figure, ax = plot_filters(scores, "3", cut=1e9)
    expected = [scores.at([component])["3"].numpy() for component in ((1, 0), (0, 1), (1, 1))]
    np.testing.assert_allclose(bar_heights(ax), expected)
    red, green, blue = (container[0].get_facecolor()[:3] for container in ax.containers)
    assert [np.argmax(color) for color in (red, green, blue)] == [0, 1, 2]
    assert {"f1 = 6 Hz", "f2 = 7.5 Hz", "f1 + f2 = 13.5 Hz"} <= set(texts(figure))


def test_a_cut_marks_the_bars_that_go_on(scores):
    heights = scores.at([(1, 0)])["3"].numpy()
    cut = float(np.sort(heights)[-2:].mean())  # between the two highest
    _, ax = plot_filters(scores, "3", [(1, 0)], cut=cut, threshold=cut / 2)
    assert ax.get_ylim()[1] == pytest.approx(cut)
    (markers,) = [line for line in ax.lines if line.get_marker() == "^"]
    assert markers.get_xdata().tolist() == [heights.argmax()]
    (line,) = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert line.get_ydata()[0] == pytest.approx(cut / 2)


def test_the_axis_is_not_cut_without_need(scores):
    _, ax = plot_filters(scores, "1", "fundamentals", cut=1e9)
    assert not [line for line in ax.lines if line.get_marker() == "^"]
    assert ax.get_ylim()[1] < 2 * scores.at("fundamentals")["1"].max() * 2


@pytest.mark.parametrize("criterion", [{}, {"threshold": 0.01}, {"alpha": 0.2}])
def test_counts_of_important_filters(scores, criterion):
    groups = ("fundamentals", [(1, 1)])
    _, ax = plot_important(scores, groups, **criterion)
    totals, *bars = bar_heights(ax)
    assert totals == [5, 5, 4]
    for heights, group in zip(bars, groups, strict=True):
        assert heights == list(scores.count_important(components=group, **criterion).values())
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1", "3"]


def test_the_heat_map_is_relative_to_the_strongest(scores):
    figure, ax = plot_components(scores)
    (image,) = ax.images
    shown = np.asarray(image.get_array())
    means = scores.by_component["3"].mean(1).numpy()
    np.testing.assert_allclose(shown[2], np.clip(means / means.max(), 1e-3, 1))
    # The linear layer answers at the fundamentals alone.
    assert (shown[0, :2] > 0.1).all()
    assert image.get_array().mask[0, 2:].all()
    assert len(figure.axes) == 2


def test_the_top_images_are_shown_in_order(scores, images):
    _, axes = plot_top_images(scores, "3", 2, TensorDataset(images))
    shown = [axis.images[0].get_array() for axis in axes]
    order = scores.top_images["3"][:, 2].tolist()
    assert sorted(order) == list(range(N_IMAGES))
    for picture, place, axis in zip(shown, order, axes, strict=True):
        np.testing.assert_allclose(picture, images[place].permute(1, 2, 0))
        assert axis.get_xlabel() == f"image {place}"


def test_a_neuron_needs_an_index_for_each_dimension(scores, images, tagging):
    with pytest.raises(
        ValueError, match=r"each dimension of the neurons, \(\d+,\), but got \(2, 0\)"
    ):
        plot_top_images(scores, "3", (2, 0), images)
    spectrum = tagging.spectrum(images[:1], noise_std=0.1)[0]
    with pytest.raises(
        ValueError, match=r"dimension of the neurons, \(\d+, \d+, \d+\), but got 2;"
    ):
        plot_neighbors(spectrum, 2, (1, 0))


def test_grey_images_and_normalisation(scores, images):
    grey = (images[:, :1] - 0.5) / 0.25
    _, axes = plot_top_images(scores, "3", 0, grey, mean=[0.5], std=[0.25])
    place = int(scores.top_images["3"][0, 0])
    np.testing.assert_allclose(axes[0].images[0].get_array(), images[place, 0], atol=1e-6)


def test_a_line_among_its_neighbors(tagging, images):
    spectrum = tagging.spectrum(images[:1], pooling="channel", noise_std=0.1)[2]
    _, ax = plot_neighbors(spectrum, 1, (1, 0))
    neighbors, (line,) = bar_heights(ax)
    np.testing.assert_allclose(neighbors, spectrum.neighbor_amplitudes((1, 0))[:, 0, 1])
    assert line == pytest.approx(float(spectrum.amplitude((1, 0))[0, 1]))
    ratio = line / np.mean(neighbors)
    assert ax.get_title() == f"Channel 1 of 3, image 0: SNR = {ratio:.3g}"
    assert ax.get_xticks().tolist() == [5, 5.5, 6, 6.5, 7]


def test_what_cannot_be_drawn_is_refused(scores, tagging, images):
    with pytest.raises(ValueError, match="`layer` to be one of 0, 1, 3, but got '2'"):
        plot_filters(scores, "2")
    neurons = score_neurons(tagging, TensorDataset(images), pooling="neuron", show_progress=False)
    with pytest.raises(ValueError, match="score with pooling='channel'"):
        plot_filters(neurons, "1")
    signed = score_neurons(
        tagging, TensorDataset(images), statistic="coefficient", show_progress=False
    )
    with pytest.raises(ValueError, match="not negative"):
        plot_components(signed)
    without = tagging.spectrum(images[:1], pooling="channel", design=ChebyshevGrid())[0]
    with pytest.raises(ValueError, match="noise_std above 0"):
        plot_neighbors(without, 0, (1, 0))


@pytest.mark.parametrize(
    ("arguments", "groups", "n_components"),
    [
        (dict(design=TaggingDesign((6.0,))), ["fundamentals", "harmonics"], 1),
        (dict(components="fundamentals"), ["fundamentals", "harmonics"], 2),
        (dict(components=[(1, 1)]), ["intermodulations"], 1),
    ],
)
def test_by_default_what_was_scored_is_drawn(tagging, images, arguments, groups, n_components):
    scores = score_neurons(tagging, TensorDataset(images), show_progress=False, **arguments)
    _, ax = plot_important(scores)
    assert [container.get_label() for container in ax.containers] == ["all", *groups]
    counts = [list(scores.count_important(components=group).values()) for group in groups]
    assert bar_heights(ax)[1:] == counts
    _, ax = plot_filters(scores, "3")
    assert len(ax.containers) == n_components
