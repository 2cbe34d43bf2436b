import itertools

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from captum_ssvep import ChebyshevGrid, TaggedSpectrum, TaggingDesign
from captum_ssvep.visualization import plot_contrast_response, plot_contrasts, plot_spectrum

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


def product_spectrum():
    design = TaggingDesign()
    series = design.contrasts.prod(axis=1)[:, None, None] * np.array([[1.0, 2.0]])
    return TaggedSpectrum.from_series(series, design)


def test_the_spectrum_has_three_colours_and_every_component():
    spectrum = product_spectrum()
    figure, axis = plot_spectrum(spectrum, 1)
    texts = {text.get_text() for text in axis.get_legend().get_texts()}
    assert texts == {
        "harmonics of part 0 (f1 = 6 Hz)",
        "harmonics of part 1 (f2 = 7.5 Hz)",
        "intermodulations",
        "absent (SNR up to 1)",
    }
    heads = [line.get_xydata() for line in axis.get_lines() if line.get_marker() == "o"]
    tops = {round(x, 3): y for x, y in np.concatenate(heads)}
    assert len(tops) == 20
    assert tops[13.5] == pytest.approx(2 * 0.03125)
    assert tops[6.0] == pytest.approx(2 * 0.1875)
    assert {"f1", "f2", "f1 + f2", "f2 - f1"} <= {text.get_text() for text in axis.texts}
    assert axis.get_xlabel() == "Frequency (Hz)"
    same, given = plot_spectrum(spectrum, (0,), statistic="snr_db", ax=plt.figure().add_subplot())
    assert given.get_ylabel() == "SNR (dB)"
    assert same is given.get_figure()
    assert figure is axis.get_figure()


def test_contrast_curves_are_those_of_the_response():
    spectrum = product_spectrum()
    figure, ax = plot_contrast_response(spectrum, 1)
    assert ax.get_figure() is figure
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "part 0 (f1 = 6 Hz)",
        "part 1 (f2 = 7.5 Hz)",
    ]
    for line in ax.get_lines():
        contrasts, activation = line.get_data()
        np.testing.assert_allclose(activation, 2 * 0.75 * contrasts, atol=1e-6)
    assert "Contrast" in ax.get_xlabel()
    assert "activation" in ax.get_ylabel()


def test_the_contrast_surface_has_its_first_part_across():
    series = TaggingDesign().contrasts[:, 0, None, None] * np.ones((1, 2))
    spectrum = TaggedSpectrum.from_series(series, TaggingDesign())
    figure, axes = plt.subplots()
    drawn, ax = plot_contrast_response(spectrum, 0, (0, 1), ax=axes)
    assert drawn is figure
    assert ax is axes
    # The activation is the first part's contrast: level lines run upwards.
    figure.canvas.draw()
    (filled,) = [c for c in ax.collections if hasattr(c, "levels")]
    middle = filled.get_paths()[len(filled.levels) // 2].vertices
    assert np.ptp(middle[:, 1]) == pytest.approx(0.5, abs=1e-6)
    assert np.ptp(middle[:, 0]) < 0.1
    assert ax.get_xlabel() == "Contrast of part 0 (f1 = 6 Hz)"
    assert ax.get_ylabel() == "Contrast of part 1 (f2 = 7.5 Hz)"


def test_grids_are_drawn_without_frequencies():
    design = ChebyshevGrid()
    series = design.contrasts.prod(axis=1)[:, None, None] * np.array([[1.0, 2.0]])
    spectrum = TaggedSpectrum.from_series(series, design, max_order=2)
    _, ax = plot_spectrum(spectrum, 1)
    names = [tick.get_text() for tick in ax.get_xticklabels()]
    assert names == ["f1", "f2", "2f1", "f1 + f2", "f1 - f2", "2f2"]
    assert ax.get_xlabel() == "Component"
    assert {t.get_text() for t in ax.get_legend().get_texts()} >= {"harmonics of part 0 (f1)"}


@pytest.mark.parametrize("neuron", [3, (0, 1), (0, 0, 0, 0)])
@pytest.mark.parametrize("plot", [plot_spectrum, plot_contrast_response])
def test_a_neuron_with_the_wrong_number_of_indices_is_refused(plot, neuron):
    series = torch.rand(240, 1, 2, 3, 4)
    spectrum = TaggedSpectrum.from_series(series, TaggingDesign())
    with pytest.raises(ValueError, match=r"each dimension of the neurons, \(2, 3, 4\)"):
        plot(spectrum, neuron)


@pytest.mark.parametrize(
    ("neuron", "error", "words"),
    [
        (2, ValueError, "`neuron` to be between 0 and 1, but got 2"),
        (-3, ValueError, "but got -3"),
        (0.0, TypeError, "`neuron` to be an integer, but got 0.0"),
        ("0", TypeError, "`neuron` to be an integer, but got '0'"),
        (None, TypeError, "`neuron` to be an integer, but got None"),
    ],
)
@pytest.mark.parametrize("plot", [plot_spectrum, plot_contrasts])
def test_a_neuron_that_is_not_there_is_refused(plot, neuron, error, words):
    spectrum = TaggedSpectrum.from_series(torch.rand(240, 1, 2), TaggingDesign())
    with pytest.raises(error, match=words):
        plot(spectrum, neuron)
    assert not plt.get_fignums()


def test_pictures_are_of_one_spectrum_on_axes():
    spectrum = TaggedSpectrum.from_series(torch.rand(240, 1, 2), TaggingDesign())
    with pytest.raises(TypeError, match=r"spectrum of one layer, but got list.*`spectrum\[0\]`"):
        plot_spectrum([spectrum, spectrum], 0)
    with pytest.raises(TypeError, match="`ax` to be the axes to draw on"):
        plot_spectrum(spectrum, 0, ax=plt)


def test_names_of_lines_do_not_cover_each_other():
    left, right = TaggingDesign().contrasts.T
    response = torch.from_numpy((left * right - 0.4).clip(0))[:, None, None]
    spectrum = TaggedSpectrum.from_series(response, TaggingDesign())
    figure, ax = plot_spectrum(spectrum, 0, n_labels=20)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) >= 5
    for first, second in itertools.combinations(boxes, 2):
        assert not first.overlaps(second)
