import itertools
import math

import matplotlib
import numpy as np
import pytest
import torch
from captum.attr import visualization as captum_visualization
from matplotlib import pyplot as plt
from PIL import Image, ImageSequence

from captum_ssvep import ChebyshevGrid, TaggedSpectrum, TaggingDesign, choose_design, tiles, to_map
from captum_ssvep.visualization import (
    plot_contrast_response,
    plot_spectrum,
    plot_stimulus,
    save_stimulus_gif,
)

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


def product_spectrum():
    design = TaggingDesign()
    series = design.contrasts.prod(axis=1)[:, None, None] * np.array([[1.0, 2.0]])
    return TaggedSpectrum.from_series(series, design)


def test_the_film_strip_shows_the_frames_that_run():
    image = torch.full((1, 1, 4, 4), 0.8)
    figure, axes = plot_stimulus(image, n_shown=5)
    assert len(axes) == 6
    design = TaggingDesign()
    for axis in axes[:-1]:
        moment = round(float(axis.get_title().split()[0]) * 120 / 1000)
        shown = np.asarray(axis.images[0].get_array())
        assert shown[0, 0] == pytest.approx(0.8 * design.contrasts[moment, 0], abs=1e-6)
        assert shown[0, 3] == pytest.approx(0.8 * design.contrasts[moment, 1], abs=1e-6)
    curves = axes[-1].get_lines()[:2]
    drawn = curves[0].get_ydata()
    np.testing.assert_allclose(drawn, design.contrasts[: len(drawn), 0])
    assert "6 Hz" in axes[-1].get_legend().get_texts()[0].get_text()
    assert figure.canvas is not None


def test_normalised_images_are_shown_as_they_were():
    pixels = torch.rand(1, 3, 4, 4)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    normalised = (pixels - torch.tensor(mean).reshape(3, 1, 1)) / torch.tensor(std).reshape(3, 1, 1)
    full = TaggingDesign(phases=math.pi / 2)  # starts at full contrast
    _, axes = plot_stimulus(normalised, full, mean=mean, std=std)
    shown = np.asarray(axes[0].images[0].get_array())
    np.testing.assert_allclose(shown, pixels[0].permute(1, 2, 0).numpy(), atol=1e-6)


def test_the_gif_loops_over_one_period_below_three_flashes_a_second(tmp_path):
    path = save_stimulus_gif(tmp_path / "stimulus.gif", torch.rand(1, 3, 8, 8), size=32)
    with Image.open(path) as picture:
        frames = [frame.copy() for frame in ImageSequence.Iterator(picture)]
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(picture)]
        assert picture.size == (32, 32)
        assert picture.info["loop"] == 0
    assert len(frames) > 30
    # One period of the paper's record, 2/3 s, holds 5 cycles of the faster tag.
    assert 5 / (sum(durations) / 1000) < 2


def test_the_spectrum_has_three_colours_and_every_component():
    spectrum = product_spectrum()
    figure, axis = plot_spectrum(spectrum, 1)
    texts = {text.get_text() for text in axis.get_legend().get_texts()}
    assert texts == {
        "harmonics of part 0 (f1 = 6 Hz)",
        "harmonics of part 1 (f2 = 7.5 Hz)",
        "intermodulations",
    }
    tops = {round(line.get_xdata()[0], 3): line.get_ydata()[0] for line in axis.get_lines()[:-1]}
    assert len(tops) == 20
    assert tops[13.5] == pytest.approx(2 * 0.03125)
    assert tops[6.0] == pytest.approx(2 * 0.1875)
    assert {"f1", "f2", "f1 + f2", "f2 - f1"} <= {text.get_text() for text in axis.texts}
    assert axis.get_xlabel() == "Frequency (Hz)"
    same, given = plot_spectrum(spectrum, (0,), statistic="snr_db", ax=plt.figure().add_subplot())
    assert given.get_ylabel() == "SNR (dB)"
    assert same is given.get_figure()
    assert figure is axis.get_figure()


@pytest.mark.parametrize(
    ("shape", "layout", "size"),
    [
        ((1, 8, 7, 7), "channels_first", (28, 28)),
        ((1, 8, 6, 9), "channels_first", (24, 36)),
        ((1, 7, 7, 8), "channels_last", (28, 28)),  # as Swin
        ((1, 49, 8), "tokens", (28, 28)),
        ((1, 50, 8), "tokens", (28, 28)),  # with a class token, as ViT
        ((1, 24, 8), "tokens", (16, 24)),
    ],
)
def test_maps_are_what_captum_takes(shape, layout, size):
    result = 10 ** (6 * torch.rand(shape))
    array = to_map(result, size, layout=layout, decibels=True)
    assert array.shape == (*size, 1)
    assert array.dtype == np.float32
    assert array.flags["C_CONTIGUOUS"]
    assert np.isfinite(array).all()
    figure, _ = captum_visualization.visualize_image_attr(
        array,
        np.random.default_rng(0).random((*size, 3)),
        method="blended_heat_map",
        sign="positive",
        use_pyplot=False,
    )
    assert figure is not None


def test_maps_keep_their_place():
    result = torch.zeros(2, 5, 4, 4)
    result[1, 3, 0, 2] = 100.0
    for layout, arranged in (
        ("channels_first", result),
        ("channels_last", result.movedim(1, -1)),
        ("tokens", torch.cat([torch.ones(2, 1, 5), result.flatten(2).transpose(1, 2)], dim=1)),
    ):
        array = to_map(arranged, (16, 16), example=1, layout=layout, decibels=True)[..., 0]
        row, column = np.unravel_index(array.argmax(), array.shape)
        assert (row // 4, column // 4) == (0, 2)
        assert 30 < array.max() <= 40  # dB; smoothing takes the tip off
        assert array.min() == 0
    single = to_map(result, (4, 4), layout="channels_first", example=1, channel=3)
    assert single.max() == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("result", "layout", "words"),
    [
        (torch.ones(1, 10), "channels_first", "no map"),
        (torch.zeros(1, 8, 4, 4), "channels_first", "nothing to draw"),
        (torch.ones(1, 12, 8), "tokens", "12 tokens to fill a grid"),
        (torch.ones(1, 8, 4, 4), None, "`layout` to say where the channels are"),
        (torch.ones(1, 8, 4, 4), "rows", "`layout` to be one of channels_first, channels_last"),
        (torch.ones(2, 8, 4, 4), "channels_first", "`example` to say which of the 2 images"),
    ],
)
def test_maps_that_cannot_be_are_refused(result, layout, words):
    with pytest.raises(ValueError, match=words):
        to_map(result, (16, 16), layout=layout)


def test_pictures_of_several_images_are_refused():
    with pytest.raises(ValueError, match=r"one image.*\(2, 3, 4, 4\)"):
        plot_stimulus(torch.rand(2, 3, 4, 4))


def test_four_parts_are_drawn():
    image = torch.rand(1, 3, 8, 8)
    design = choose_design(4, max_order=2)
    _, axes = plot_stimulus(image, design, tiles(image.shape, 2, 2))
    assert len(axes[-1].get_legend().get_texts()) == 4


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
    _, axes = plot_stimulus(torch.rand(1, 3, 8, 8), design)
    assert axes[-1].get_xlabel() == "Frame"
    assert axes[1].get_title() == "frame 3"
    np.testing.assert_allclose(axes[-1].get_lines()[0].get_ydata(), design.contrasts[:, 0])


@pytest.mark.parametrize("neuron", [3, (0, 1), (0, 0, 0, 0)])
@pytest.mark.parametrize("plot", [plot_spectrum, plot_contrast_response])
def test_a_neuron_with_the_wrong_number_of_indices_is_refused(plot, neuron):
    series = torch.rand(240, 1, 2, 3, 4)
    spectrum = TaggedSpectrum.from_series(series, TaggingDesign())
    with pytest.raises(ValueError, match=r"each dimension of the neurons, \(2, 3, 4\)"):
        plot(spectrum, neuron)


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


def test_a_map_of_what_carries_gradients():
    result = torch.rand(1, 4, 2, 2, requires_grad=True)
    assert to_map(result, (8, 8), layout="channels_first").shape == (8, 8, 1)
