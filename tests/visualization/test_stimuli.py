import math

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image, ImageSequence

from captum_ssvep import ChebyshevGrid, TaggingDesign, choose_design, tiles
from captum_ssvep.visualization import plot_stimulus, save_stimulus_gif

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


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


def test_a_slower_film_takes_as_long_with_fewer_frames(tmp_path):
    durations = []
    for pace in (20, 8):
        path = tmp_path / f"{pace}.gif"
        save_stimulus_gif(path, torch.rand(1, 3, 8, 8), size=32, frames_per_second=pace)
        with Image.open(path) as picture:
            durations.append([frame.info["duration"] for frame in ImageSequence.Iterator(picture)])
    assert [len(each) for each in durations] == [40, 20]
    assert sum(durations[1]) == pytest.approx(sum(durations[0]), rel=0.05)


def test_a_film_shows_the_contrasts_of_each_half(tmp_path):
    path = save_stimulus_gif(tmp_path / "film.gif", torch.full((1, 1, 8, 8), 0.8), size=16)
    contrasts = TaggingDesign().contrasts[:80:2]
    with Image.open(path) as picture:
        for frame, (left, right) in zip(ImageSequence.Iterator(picture), contrasts, strict=True):
            shown = np.asarray(frame.convert("L"))
            assert shown[8, 0] == pytest.approx(255 * 0.8 * left, abs=4)
            assert shown[8, 15] == pytest.approx(255 * 0.8 * right, abs=4)


def test_a_film_smaller_than_its_image_is_smooth(tmp_path):
    lattice = torch.arange(64) % 2 == torch.arange(64)[:, None] % 2
    path = save_stimulus_gif(tmp_path / "film.gif", lattice[None, None].float(), size=16)
    with Image.open(path) as picture:
        assert np.asarray(picture.convert("L")).max() < 140  # not the white of single pixels


def test_pictures_of_several_images_are_refused():
    with pytest.raises(ValueError, match=r"one image.*\(2, 3, 4, 4\)"):
        plot_stimulus(torch.rand(2, 3, 4, 4))


def test_a_picture_without_its_batch_gets_one():
    image = torch.rand(3, 4, 4)
    for call in (plot_stimulus, lambda image: save_stimulus_gif("film.gif", image)):
        with pytest.raises(ValueError, match=r"got \(3, 4, 4\); make a batch: `inputs\[None\]`"):
            call(image)


def test_films_are_gifs_in_a_folder(tmp_path):
    for name in ("film.png", "missing/film.gif"):
        with pytest.raises(ValueError, match=r"`path` to end in \.gif and to lie in a folder"):
            save_stimulus_gif(tmp_path / name, torch.rand(1, 3, 8, 8))
    assert not list(tmp_path.iterdir())


def test_no_more_moments_than_frames():
    with pytest.raises(ValueError, match="`n_shown` to be at most 40 frames, but got 41"):
        plot_stimulus(torch.rand(1, 3, 8, 8), n_shown=41)


def test_four_parts_are_drawn():
    image = torch.rand(1, 3, 8, 8)
    design = choose_design(4, max_order=2)
    _, axes = plot_stimulus(image, design, tiles(image.shape, 2, 2))
    assert len(axes[-1].get_legend().get_texts()) == 4


def test_a_grid_makes_no_film(tmp_path):
    with pytest.raises(ValueError, match=r"`design` in time .* but got a 5 x 5 grid"):
        save_stimulus_gif(tmp_path / "film.gif", torch.rand(1, 3, 8, 8), ChebyshevGrid())
    assert not list(tmp_path.iterdir())


def test_the_frames_of_a_grid_have_numbers_and_no_time():
    design = ChebyshevGrid()
    _, axes = plot_stimulus(torch.rand(1, 3, 8, 8), design)
    assert axes[-1].get_xlabel() == "Frame"
    assert axes[1].get_title() == "frame 3"
    np.testing.assert_allclose(axes[-1].get_lines()[0].get_ydata(), design.contrasts[:, 0])
