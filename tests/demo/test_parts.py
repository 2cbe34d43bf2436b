"""Masks of the command line are those of the package, or drawn by the user."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from captum_ssvep import disc, ring, sectors, tiles
from captum_ssvep.demo.parts import parts_of

SIZE = (40, 60)
SHAPE = (1, 1, *SIZE)


def mask_of(words, size=SIZE, of_picture=(80, 90), prepare=None):
    return parts_of(words.split(" ")).mask(size, of_picture, prepare)


@pytest.mark.parametrize(
    ("words", "mask", "n_parts"),
    [
        ("tiles 2x3", tiles(SHAPE, 2, 3), 6),
        ("tiles 2 3", tiles(SHAPE, 2, 3), 6),
        ("sectors 5", sectors(SHAPE, 5), 5),
        ("disc", disc(SHAPE, 10), 2),
        ("disc 7.5", disc(SHAPE, 7.5), 2),
        ("ring", ring(SHAPE, (0, 10, 20)), 2),
        ("ring 5 9 14 18", ring(SHAPE, (5, 9, 14, 18)), 3),
    ],
)
def test_masks_by_name(words, mask, n_parts):
    assert torch.equal(mask_of(words), mask)
    assert len(parts_of(words.split(" ")).names) == n_parts


def test_the_largest_radius_that_is_named_fits():
    assert torch.equal(mask_of("disc 35"), disc(SHAPE, 35))


def test_words_may_be_in_quotes(tmp_path):
    assert torch.equal(parts_of(["tiles 2x3"]).mask(SIZE, SIZE, None), tiles(SHAPE, 2, 3))
    np.save(tmp_path / "tiles 2x3.npy", IDS)  # unless they are the name of a file
    drawn = parts_of([str(tmp_path / "tiles 2x3.npy")]).mask(SIZE, SIZE, None)
    assert torch.equal(drawn, torch.from_numpy(IDS))


def test_halves_are_the_default_of_the_package():
    assert mask_of("halves") is None
    assert parts_of(["halves"]).names == ("left half", "right half")


IDS = np.zeros(SIZE, dtype=np.int64)
IDS[:10], IDS[:, 50:] = 1, 2
GAP = np.where(IDS == 2, -1, IDS)


def color(ids):
    """Gray levels of their own, darker for lower parts, clear where nothing flickers."""
    levels = (ids * 90).clip(0).astype(np.uint8)
    return np.stack([levels] * 3 + [np.where(ids < 0, 0, 255).astype(np.uint8)], axis=-1)


@pytest.mark.parametrize(
    ("name", "saved", "ids"),
    [
        ("ids.npy", IDS, IDS),
        ("gap.npy", GAP.astype(np.int8), GAP),
        ("bool.npy", IDS == 1, (IDS == 1).astype(int)),
        ("ids.png", IDS.astype(np.uint8), IDS),
        ("gray.png", (IDS * 100 + 20).astype(np.uint8), IDS),
        ("deep.png", (IDS * 20000).astype(np.uint16), IDS),
        ("black_and_white.png", IDS == 2, (IDS == 2).astype(int)),
        ("clear.png", color(GAP), GAP),
    ],
)
def test_a_drawn_mask_has_its_parts_in_rising_order(tmp_path, name, saved, ids):
    path = tmp_path / name
    np.save(path, saved) if path.suffix == ".npy" else Image.fromarray(saved).save(path)
    assert torch.equal(mask_of(str(path)), torch.from_numpy(ids))


def test_a_palette_counts_by_its_numbers_and_not_by_its_colors(tmp_path):
    picture = Image.fromarray(IDS.astype(np.uint8), mode="P")
    picture.putpalette([255, 255, 255, 0, 0, 0, 90, 90, 90])
    picture.save(tmp_path / "palette.png")
    assert torch.equal(mask_of(str(tmp_path / "palette.png")), torch.from_numpy(IDS))


def test_a_mask_as_large_as_the_picture_is_cropped_like_it(tmp_path):
    np.save(tmp_path / "gap.npy", GAP)
    prepare = transforms.Compose(
        [transforms.CenterCrop((20, 60)), transforms.Resize((10, 30)), transforms.ToTensor(),
         transforms.Normalize([0.4] * 3, [0.2] * 3)]
    )  # fmt: skip
    found = mask_of(str(tmp_path / "gap.npy"), (10, 30), SIZE, prepare)
    assert torch.equal(found, torch.from_numpy(GAP[10:30:2, ::2]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("halves 2", "tiles RxC"),
        ("tiles", "tiles RxC"),
        ("tiles 2", "tiles RxC"),
        ("tiles 0x2", "tiles RxC"),
        ("tiles 2x2 3", "tiles RxC"),
        ("disc wide", "tiles RxC"),
        ("disc 3 4", "tiles RxC"),
        ("ring 3", "tiles RxC"),
        ("sectors", "tiles RxC"),
        ("sectors 0", "tiles RxC"),
        ("halfs", "no file halfs"),
        ("disc 500", "500 leaves none in 40 x 60 pixels; take a smaller radius, up to 35"),
        ("ring 0 36 90", "36 leaves none .* up to 35"),
        ("ring 5 4", "rising"),
        ("FOLDER/floats.npy", "integers from -1 .* holds float64.*astype"),
        ("FOLDER/smooth.jpg", r"a JPEG of at most 2 flat colors, .* has \d+ colors; .* as a PNG"),
        ("FOLDER/flat.npy", r"holds int64 of shape \(3,\)"),
        ("FOLDER/words.npy", "holds none"),
        ("FOLDER/lacks.npy", "has no part 1"),
        ("FOLDER/none.npy", "has no part 0"),
        ("FOLDER/words.png", "cannot be read as a picture"),
        ("FOLDER/photo.png", r"at most 64 flat colors, .* has 2\d\d\d colors"),
        ("FOLDER/small.npy", "of 40 x 60 or 80 x 90 pixels .*small.npy has 2 x 2"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path, words, message):
    arrays = {
        "floats": np.zeros((2, 2)), "flat": np.arange(3), "lacks": np.array([[0, 2]]),
        "none": np.array([[-1, -1]]), "small": np.eye(2, dtype=int),
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    for name in ("words.npy", "words.png"):
        (tmp_path / name).write_text("words")
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    Image.fromarray(np.tri(40, 60, dtype=np.uint8) * 255).save(tmp_path / "smooth.jpg")
    with pytest.raises(ValueError, match=message) as caught:
        mask_of(words.replace("FOLDER", str(tmp_path)))
    assert str(caught.value).startswith("Expected ")
