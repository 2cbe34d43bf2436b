"""Pictures of pruning curves."""

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt

from captum_ssvep.pruning import PruningCurve
from captum_ssvep.visualization import plot_pruning_curves

matplotlib.use("Agg")

ONE = PruningCurve((0.1, 0.3), (0.9, 0.7), (0.3, 1.2))
DRAWS = [PruningCurve((0.1, 0.3), (0.5 + 0.1 * n, 0.1 * n), (2.0, 2.0 + n)) for n in range(5)]


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def test_lines_are_curves_and_the_mean_and_spread_of_draws():
    figure, ax = plot_pruning_curves({"relevance": ONE, "random": DRAWS})
    assert ax.figure is figure
    single, random = ax.get_lines()
    np.testing.assert_allclose(single.get_xydata(), [[10, 90], [30, 70]])
    np.testing.assert_allclose(random.get_xydata(), [[10, 70], [30, 20]])
    spread = np.std([0, 10, 20, 30, 40], ddof=1)
    edges = ax.collections[0].get_paths()[0].vertices
    at_first = edges[edges[:, 0] == 10][:, 1]
    np.testing.assert_allclose([at_first.min(), at_first.max()], [70 - spread, 70 + spread])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["relevance", "random (mean, s.d. of 5)"]


def test_the_loss():
    _, ax = plt.subplots()
    assert plot_pruning_curves({"random": DRAWS}, measure="loss", ax=ax)[1] is ax
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), [2, 4])
    assert ax.get_ylabel() == "Cross-entropy (nats)"


@pytest.mark.parametrize(
    ("curves", "error", "message"),
    [
        ({}, ValueError, "at least one curve"),
        ({"a": []}, ValueError, "an empty list"),
        ({"a": [ONE, PruningCurve((0.1,), (0.9,), (0.3,))]}, ValueError, "same ratios"),
        ({"a": 0.9}, TypeError, "what `pruning_curve` returns"),
        (ONE, TypeError, "a mapping from names to curves"),
    ],
)
def test_what_are_no_curves_is_refused(curves, error, message):
    with pytest.raises(error, match=message):
        plot_pruning_curves(curves)
