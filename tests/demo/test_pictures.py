"""Pictures are read as a person sees them, whatever their format."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from captum_ssvep.demo.pictures import load_picture, short_names

RAMP = np.linspace(0, 1, 12 * 16).reshape(12, 16)


def levels(picture):
    """From 0 to 1, as an array of shape (height, width, 3)."""
    if isinstance(picture, Tensor):
        return picture.permute(1, 2, 0).numpy()
    assert picture.mode == "RGB"
    return np.asarray(picture) / 255


def read(made, path, **options):
    made.save(path, **options)
    return levels(load_picture(path))


DEEP = {
    "16 bits": ("png", (RAMP * 65535).astype(np.uint16)),
    "16 bits in TIFF": ("tiff", (RAMP * 65535).astype(np.uint16)),
    "16 bits, the other way round": ("tiff", (RAMP * 65535).astype(">u2")),
    "32 bits that hold 8": ("tiff", (RAMP * 255).astype(np.int32)),
    "32 bits that hold 16": ("tiff", (RAMP * 65535).astype(np.int32)),
    "floats": ("tiff", RAMP.astype(np.float32)),
    "floats beyond 1": ("tiff", (RAMP * 3000).astype(np.float32)),
    "floats below 0": ("tiff", (RAMP * 3000 - 1000).astype(np.float32)),
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_pictures_keep_their_depth(tmp_path, kind):
    extension, array = DEEP[kind]
    found = read(Image.fromarray(array), tmp_path / f"deep.{extension}")
    assert found.shape == (12, 16, 3)
    step = 1 / 255 if kind == "32 bits that hold 8" else 1 / 65535
    np.testing.assert_allclose(found, np.repeat(RAMP[..., None], 3, axis=2), atol=step)


@pytest.mark.parametrize(("white", "dtype"), [(65535, np.uint16), (1, np.float32)])
def test_a_dark_picture_stays_dark(tmp_path, white, dtype):
    dark = Image.fromarray((RAMP * white / 50).astype(dtype))
    np.testing.assert_allclose(read(dark, tmp_path / "dark.tiff").max(), 0.02, rtol=0.01)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_photographs_are_upright(tmp_path, orientation, mode):
    turns = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
        5: lambda a: a.T, 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).T,
        8: np.rot90,
    }  # fmt: skip
    array = (RAMP * (65535 if mode == "I;16" else 255)).astype(np.uint16 if "16" in mode else "u1")
    stored = Image.fromarray(array) if mode != "RGB" else Image.fromarray(array).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = read(stored, tmp_path / "photo.png", exif=exif)
    np.testing.assert_allclose(found[..., 0], turns[orientation](RAMP), atol=1 / 255)


def clear(mode):
    """Left half red, right half clear, in front of a black that nobody sees."""
    picture = Image.new("RGBA", (16, 12), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 8, 12))
    if mode == "half":
        picture.putalpha(128)
    return picture if mode in ("RGBA", "half") else picture.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA", "half"])
def test_what_is_clear_is_seen_on_white(tmp_path, mode):
    found = read(clear(mode), tmp_path / "clear.png")
    left = {"LA": [76 / 255] * 3, "half": [1, 127 / 255, 127 / 255]}.get(mode, [1, 0, 0])
    right = [127 / 255] * 3 if mode == "half" else [1, 1, 1]
    np.testing.assert_allclose(found[6, 2], left, atol=1 / 255)
    np.testing.assert_allclose(found[6, 13], right, atol=1 / 255)


def test_a_color_that_is_declared_clear_is_seen_on_white(tmp_path):
    picture = Image.new("L", (16, 12), 10)
    picture.paste(200, (0, 0, 8, 12))
    found = read(picture, tmp_path / "clear.png", transparency=10)
    np.testing.assert_allclose(found[6, [2, 13], 0], [200 / 255, 1], atol=1e-6)


@pytest.mark.parametrize("mode", ["P", "1", "CMYK", "L", "RGB"])
def test_colors_are_those_of_the_palette_or_the_inks(tmp_path, mode):
    picture = Image.new("RGB", (16, 12), "white")
    picture.paste("black" if mode in "1L" else "red", (0, 0, 8, 12))
    found = read(picture.convert(mode), tmp_path / "colors.tiff")
    np.testing.assert_allclose(found[6, 2], [0] * 3 if mode in "1L" else [1, 0, 0], atol=0.02)
    np.testing.assert_allclose(found[6, 13], 1)


@pytest.mark.parametrize("content", [b"words", b"", b"\x89PNG\r\n\x1a\n but no more"])
def test_a_file_that_is_no_picture_is_refused(tmp_path, content):
    path = tmp_path / "notes.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"--image to be a picture, but {path} cannot be .*PNG or"):
        load_picture(path)


def test_deep_pictures_are_tensors_of_single_precision(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray((RAMP * 65535).astype(np.uint16)).save(path)
    assert load_picture(path).dtype == torch.float32


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["x/cat.png", "y/dog.jpg"], ["cat", "dog"]),
        (["088_macaw/1.jpg", "096/1.jpg", "096/2.jpg"], ["088_macaw_1", "096_1", "2"]),
        (["a/x/1.jpg", "b/x/1.jpg"], ["a_x_1", "b_x_1"]),
        (["a/1.jpg", "b/1.jpg", "c/a_1.jpg"], ["a_1", "b_1", "a_1-2"]),
        (["cat.png", "cat.jpg", "cat.png"], ["cat", "cat-2", "cat-3"]),
    ],
)
def test_names_of_pictures_differ_by_their_folders(files, names):
    assert short_names([Path(file) for file in files]) == names
