"""The picture of a network beside a brain shows what was found."""

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt

from captum_ssvep import TaggedSpectrum, TaggingDesign, profile_likeness
from captum_ssvep.visualization import plot_likeness

matplotlib.use("Agg")
pytestmark = pytest.mark.usefixtures("one_thread")

DESIGN = TaggingDesign()


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def likeness(n_layers, phases=False, components="all"):
    generator = np.random.default_rng(0)
    first, second = DESIGN.contrasts.T
    responses = [
        (1 - k) * (first + second) + k * first * second for k in np.linspace(0, 1, n_layers)
    ]
    layers = {
        f"layer{place}": TaggedSpectrum.from_series(
            response[:, None, None] * generator.normal(size=(3, 4)), DESIGN
        )
        for place, response in enumerate(responses)
    }
    noise = 0.01 * generator.normal(size=(240, 6, 4))
    recording = TaggedSpectrum.from_series(responses[-1][:, None, None] + noise, DESIGN)
    arguments = {"phases": phases, "latency": (0.0, 0.0), "n_resamples": 20, "confidence": 0.9}
    return profile_likeness(layers, recording, components, **arguments)


@pytest.mark.parametrize("n_layers", [1, 3, 10])
@pytest.mark.parametrize("phases", [False, True])
def test_profiles_and_intervals_are_those_found(n_layers, phases):
    found = likeness(n_layers, phases)
    _, (left, right) = plot_likeness(found)
    lines = {line.get_label(): line.get_ydata() for line in left.lines}
    assert list(lines) == list(found.by_layer)
    for name, profile in found.profiles.items():
        np.testing.assert_array_equal(lines[name], profile)
    heights = [bar.get_height() for bar in left.patches]
    np.testing.assert_array_equal(heights, found.recording_profile)
    names = [tick.get_text() for tick in left.get_xticklabels()]
    assert names == [DESIGN.label(component) for component in found.components]
    shown = [segments.get_segments()[0][:, 0] for segments in right.collections]
    np.testing.assert_array_equal(shown, list(found.intervals.values()))
    assert [tick.get_text() for tick in right.get_yticklabels()] == list(found.by_layer)
    kind = "Amplitudes and phases" if phases else "Amplitudes"
    assert right.get_title() == f"{kind},\n90 % intervals"


def test_names_do_not_cover_each_other():
    figure, axes = plot_likeness(likeness(10))
    figure.canvas.draw()
    components = [tick.get_window_extent().x1 for tick in axes[0].get_xticklabels()]
    layers = [tick.get_window_extent().y0 for tick in axes[1].get_yticklabels()]
    assert np.diff(components).min() > 10
    assert np.diff(layers).max() < -10


def test_layers_that_do_not_respond_are_left_out():
    found = likeness(3, components=[(1, 1), (1, -1)])
    _, (left, right) = plot_likeness(found)
    assert np.isnan(right.lines[0].get_xdata()).all()
    assert right.get_ylim() == (2.5, -0.5)
    assert (left.lines[0].get_ydata() == 0).all()


def test_something_else_is_refused():
    before = plt.get_fignums()
    with pytest.raises(TypeError, match="`profile_likeness` gives it"):
        plot_likeness({"layer": 0.9})
    assert plt.get_fignums() == before
