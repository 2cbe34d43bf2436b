import matplotlib
import numpy as np
import pytest
import torch
from captum.attr import visualization as captum_visualization
from matplotlib import pyplot as plt
from torch import nn
from torchvision.transforms.functional import normalize

from captum_ssvep import ChebyshevGrid, FrequencyTaggingAttribution, tiles, to_map
from captum_ssvep.visualization import plot_maps, to_pixels

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


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
        (torch.ones(8, 4, 4), "channels_first", r"make a batch: `result\[None\]`"),
        (torch.full((1, 8, 4, 4), torch.nan), "channels_first", "`result` to be finite"),
    ],
)
def test_maps_that_cannot_be_are_refused(result, layout, words):
    with pytest.raises(ValueError, match=words):
        to_map(result, (16, 16), layout=layout)


def test_maps_are_of_one_layer():
    spectrum = spectrum_of(torch.rand(1, 3, 8, 8))
    for result, name in ((spectrum, "TaggedSpectrum"), ([torch.ones(1, 8, 4, 4)], "list")):
        with pytest.raises(TypeError, match=f"the tensor of one layer, but got {name}; of a list"):
            to_map(result, (8, 8), layout="channels_first")


@pytest.mark.parametrize("options", [dict(mean=(0.5,)), dict(std=(0.5,)), dict(mean=(0, 0), std=1)])
def test_a_normalization_is_given_as_a_whole(options):
    with pytest.raises(TypeError, match=r"to hold numbers, but got .*; give one number"):
        to_pixels(torch.rand(1, 3, 4, 4), **options)
    with pytest.raises(ValueError, match="`mean` and `std` for 3 channels, but got 2"):
        to_pixels(torch.rand(1, 3, 4, 4), (0, 0), (1, 1))


def test_what_is_no_picture_is_not_drawn():
    for images in (torch.ones(1, 3, 4, 4, dtype=torch.uint8), torch.rand(1, 5, 4, 4)):
        with pytest.raises(ValueError, match="`images` of a floating dtype with 1 or 3 channels"):
            to_pixels(images)


def test_a_map_of_what_carries_gradients():
    result = torch.rand(1, 4, 2, 2, requires_grad=True)
    assert to_map(result, (8, 8), layout="channels_first").shape == (8, 8, 1)


def test_pictures_are_within_zero_and_one_and_have_their_colours_last():
    images = torch.rand(2, 3, 4, 5)
    np.testing.assert_array_equal(to_pixels(images), images.permute(0, 2, 3, 1))
    np.testing.assert_array_equal(to_pixels(images[:, :1]), images[:, 0])  # grey
    wide = 4 * images - 2
    np.testing.assert_array_equal(to_pixels(wide), wide.clamp(0, 1).permute(0, 2, 3, 1))
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    normalised = normalize(images, mean, std).requires_grad_()
    np.testing.assert_allclose(to_pixels(normalised, mean, std), to_pixels(images), atol=1e-6)


@pytest.fixture
def images():
    return torch.rand(2, 3, 8, 8)


def spectrum_of(images, **arguments):
    """Of neurons that see a pixel each, and so one part alone."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1)).eval()
    return FrequencyTaggingAttribution(model, "0").spectrum(images, max_order=2, **arguments)


def test_an_image_is_drawn_with_a_map_for_each_component(images):
    figure, axes = plot_maps(spectrum_of(images), images, example=1)
    assert axes[0].get_figure() is figure
    titles = [axis.get_title() for axis in axes[1:]]
    assert titles == ["f1 = 6 Hz", "f2 = 7.5 Hz", "f1 + f2 = 13.5 Hz: absent"]
    np.testing.assert_allclose(axes[0].images[0].get_array(), images[1].permute(1, 2, 0))
    left, right = (np.asarray(axis.images[-1].get_array()) for axis in axes[1:3])
    assert left[:, :4].mean() > 1000 * left[:, 4:].mean()
    assert right[:, 4:].mean() > 1000 * right[:, :4].mean()
    assert not axes[3].images
    borders = [path for lines in axes[0].collections for path in lines.get_paths()]
    assert {x for path in borders for x in path.vertices[:, 0]} == {3.5}


def test_maps_of_parts_and_components_of_ones_own(images):
    mask = tiles(images.shape, 2, 2)
    spectrum = spectrum_of(images, feature_mask=mask, design=ChebyshevGrid(4, 3))
    component = (0, 0, 2, 0), (0, 0, 1, 0)
    _, axes = plot_maps(spectrum, images, component, feature_mask=mask, example=0)
    assert [axis.get_title() for axis in axes[1:]] == ["2f3: absent", "f3"]
    drawn = np.asarray(axes[2].images[-1].get_array())
    assert drawn[4:, :4].sum() > 0.999 * drawn.sum()
    grey = torch.rand(1, 1, 8, 8)
    model = nn.Sequential(nn.Conv2d(1, 4, 1)).eval()
    _, axes = plot_maps(FrequencyTaggingAttribution(model, "0").spectrum(grey), grey)
    np.testing.assert_allclose(axes[0].images[0].get_array(), grey[0].expand(3, 8, 8).movedim(0, 2))


def test_layers_without_a_map_are_refused(images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).eval()
    spectrum = FrequencyTaggingAttribution(model, "1").spectrum(images)
    with pytest.raises(ValueError, match="is no map; compute it without `pooling`"):
        plot_maps(spectrum, images, example=0)
    with pytest.raises(ValueError, match="which of the 2 images"):
        plot_maps(spectrum_of(images), images)


def test_maps_need_more_than_one_value_per_channel(images):
    for pooling in ("channel", lambda activations: activations.amax(dim=(2, 3))):
        with pytest.raises(ValueError, match="one value per channel, which is no map"):
            plot_maps(spectrum_of(images, pooling=pooling), images, example=0)
