"""Pictures become inputs, and black and white show how."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.models import ResNet18_Weights

from captum_ssvep import black, tiles
from captum_ssvep.demo.examples import load_example
from captum_ssvep.demo.networks import Network
from captum_ssvep.demo.parts import parts_of
from captum_ssvep.visualization import to_pixels

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def example(path, preprocess, mask="halves"):
    network = Network("net", nn.Identity(), preprocess)
    return load_example(path, "photo", network, parts_of(mask.split()), "cpu")


def as_hundreds(picture):
    """From 0 to 255, blue first, with a border that no picture fills."""
    pixels = transforms.functional.pil_to_tensor(picture).flip(0).float()
    return nn.functional.pad(pixels, (4, 4, 2, 2), value=114.0)


def test_the_normalization_of_torchvision_is_found(photo):
    found = example(photo, ResNet18_Weights.DEFAULT.transforms())
    assert found.image.shape == (1, 3, 224, 224)
    assert found.mean == pytest.approx(MEAN, abs=1e-5)
    assert found.std == pytest.approx(STD, abs=1e-5)
    torch.testing.assert_close(
        found.baselines, black(MEAN, STD).expand_as(found.image), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(
    ("preprocess", "picture"),
    [
        (transforms.ToTensor(), slice(None)),
        (
            transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)]),
            slice(None),
        ),
        (as_hundreds, (slice(2, -2), slice(4, -4), [2, 1, 0])),
    ],
    ids=["plain", "normalized", "to 255 with a border"],
)
def test_pictures_are_recovered_whatever_the_preprocessing(photo, preprocess, picture):
    found = example(photo, preprocess)
    pixels = to_pixels(found.image, found.mean, found.std)[0]
    shown = pixels[picture] if isinstance(picture, slice) else pixels[picture[:2]][..., [2, 1, 0]]
    np.testing.assert_allclose(shown, np.asarray(Image.open(photo)) / 255, atol=1e-5)
    dark = to_pixels(found.baselines, found.mean, found.std)[0]
    inside = dark if isinstance(picture, slice) else dark[picture[:2]]
    np.testing.assert_allclose(inside, 0, atol=1e-6)


def test_a_border_stays_as_it_is(photo):
    found = example(photo, as_hundreds)
    assert (found.baselines[..., :2, :] == 114).all()
    assert (found.image[..., :2, :] == 114).all()


def test_gray_inputs_have_one_channel(photo):
    gray = transforms.Compose(
        [transforms.Grayscale(), transforms.ToTensor(), transforms.Normalize([0.1307], [0.3081])]
    )
    found = example(photo, gray, "tiles 2x2")
    assert found.mean == pytest.approx([0.1307], abs=1e-6)
    assert torch.equal(found.mask, tiles(found.image.shape, 2, 2))


def standardized(picture):
    pixels = transforms.functional.to_tensor(picture)
    return (pixels - pixels.mean()) / (pixels.std() + 1e-6)


def inverted(picture):
    return 1 - transforms.functional.to_tensor(picture)


def by_brightness(picture):
    pixels = transforms.functional.to_tensor(picture)
    return pixels[:, : 5 + int(5 * pixels.mean())]


@pytest.mark.parametrize(
    ("preprocess", "words"),
    [
        (standardized, "no larger values for white than for black; divide by fixed numbers"),
        (inverted, "no larger values for white than for black"),
        (by_brightness, r"shapes \(3, 5, 40\) and \(3, 10, 40\)"),
        (transforms.PILToTensor(), "floating tensor .* of torch.uint8"),
        (lambda picture: picture, "floating tensor"),
        (lambda picture: transforms.functional.to_tensor(picture)[None], r"\(1, 3, 30, 40\)"),
    ],
)
def test_what_gives_no_image_or_treats_pictures_differently_is_refused(photo, preprocess, words):
    with pytest.raises(ValueError, match=words) as caught:
        example(photo, preprocess)
    assert str(caught.value).startswith("Expected the preprocessing of net to ")
