"""Masks, against literal loops over the pixels."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ssvep import disc, halves, ring, sectors, tiles

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
# Quarters of a pixel: squares of distances and radii are then exact, and so is what lies where.
quarters = st.integers(-8, 40).map(lambda n: n / 4)
radii = st.integers(0, 40).map(lambda n: n / 4)
centers = st.none() | st.tuples(quarters, quarters)
counts = st.integers(1, 12)


def literal(size, part_of, center=None):
    """The part of every pixel, by its rows and columns from the center."""
    height, width = size
    row, column = ((height - 1) / 2, (width - 1) / 2) if center is None else center
    return [[part_of(r - row, c - column) for c in range(width)] for r in range(height)]


def sector_of(row, column, n):
    turns = math.atan2(-column, -row) / (2 * math.pi) % 1
    return math.floor(n * turns + 1e-9) % n


def assert_mask_is(expected, n_parts, make, size, *arguments, **options):
    """Pixel by pixel, or an error where a part has no pixel."""
    shape = (2, 3, *size)
    if not set(range(n_parts)) <= set(itertools.chain(*expected)):
        with pytest.raises(ValueError, match="every part to have a pixel"):
            make(shape, *arguments, **options)
        return
    mask = make(shape, *arguments, **options)
    assert mask.shape == (1, 1, *size)
    assert mask.dtype == torch.int64
    assert mask[0, 0].tolist() == expected


def test_masks_divide_as_they_say():
    assert halves((1, 3, 4, 6), dim=2).flatten().tolist() == [0, 0, 1, 1]
    assert halves((1, 5)).tolist() == [[0, 0, 1, 1, 1]]
    mask = tiles((1, 3, 7, 5), 3, 2)
    assert mask.shape == (1, 1, 7, 5)
    assert mask.unique().tolist() == list(range(6))


@given(sizes, radii, centers)
def test_a_disc_holds_the_pixels_within_its_radius(size, radius, center):
    expected = literal(size, lambda r, c: int(r**2 + c**2 > radius**2), center)
    assert_mask_is(expected, 2, disc, size, radius, center)


@given(sizes, st.lists(radii, min_size=2, max_size=4, unique=True).map(sorted), centers)
def test_rings_lie_between_their_radii(size, bounds, center):
    def ring_of(row, column):
        distance = row**2 + column**2
        if distance == bounds[0] == 0:
            return 0
        between = [a**2 < distance <= b**2 for a, b in itertools.pairwise(bounds)]
        return between.index(True) if any(between) else -1

    assert_mask_is(literal(size, ring_of, center), len(bounds) - 1, ring, size, bounds, center)


@given(sizes, counts, centers, st.none() | radii)
def test_sectors_are_equal_angles_counterclockwise_from_the_top(size, n, center, radius):
    def part_of(row, column):
        inside = radius is None or row**2 + column**2 <= radius**2
        return sector_of(row, column, n) if inside else -1

    assert_mask_is(literal(size, part_of, center), n, sectors, size, n, center, radius)


@given(sizes, counts, counts)
def test_tiles_are_numbered_in_reading_order(size, rows, columns):
    height, width = size
    if rows > height or columns > width:
        with pytest.raises(ValueError, match=f"divide {height} x {width} .* {rows} x {columns}"):
            tiles((1, 1, *size), rows, columns)
        return
    mask = tiles((1, 1, *size), rows, columns)[0, 0]
    for row, column in itertools.product(range(height), range(width)):
        tile = math.floor(row * rows / height) * columns + math.floor(column * columns / width)
        assert mask[row, column] == tile
    # As equal as whole pixels can be, and none empty.
    areas = mask.flatten().bincount()
    assert len(areas) == rows * columns
    assert areas.min() >= (height // rows) * (width // columns) > 0


@given(st.integers(1, 9), st.integers(1, 5))
def test_two_sectors_are_halves_of_an_even_width(height, half_width):
    shape = (1, 1, height, 2 * half_width)
    assert torch.equal(sectors(shape, 2), halves(shape).expand(shape))


@given(st.integers(1, 6), st.sampled_from([4, 8, 12]))
def test_turning_the_picture_turns_its_sectors(half_size, n):
    shape = (1, 1, 2 * half_size, 2 * half_size)
    try:
        mask = sectors(shape, n)[0, 0]
    except ValueError:
        assert half_size <= 2  # too few pixels
        return
    assert torch.equal(mask.rot90(), (mask - n // 4) % n)


@given(sizes, radii.filter(bool))
def test_a_ring_from_the_center_is_a_disc(size, radius):
    shape = (1, 1, *size)
    try:
        within = disc(shape, radius) == 0
    except ValueError:  # as large as the picture, or smaller than a pixel
        return
    assert torch.equal(ring(shape, (0, radius)) == 0, within)


@given(sizes, st.sampled_from([(1, 2), (0, 3), (2, 0)]))
def test_what_is_drawn_moves_with_its_center(size, by):
    """Parts of a larger picture, the one shifted against the other."""
    shape = (1, 1, size[0] + 9, size[1] + 9)
    middle = (size[0] + 8) / 2, (size[1] + 8) / 2
    there = tuple(m + b for m, b in zip(middle, by, strict=True))
    for make, argument in ((disc, 2.5), (ring, (1, 2, 3.5)), (sectors, 5)):
        still, moved = make(shape, argument)[0, 0], make(shape, argument, center=there)[0, 0]
        assert torch.equal(make(shape, argument, center=middle)[0, 0], still)
        shifted = still[: shape[2] - by[0], : shape[3] - by[1]]
        assert torch.equal(moved[by[0] :, by[1] :], shifted)
        assert not torch.equal(moved, still)


SHAPE = (1, 3, 6, 6)
REFUSALS = {
    "disc without a pixel": (lambda: disc(SHAPE, 0.5), ValueError, "radius=0.5 .*6 x 6.* part 0"),
    "disc without a surround": (lambda: disc(SHAPE, 9), ValueError, "radius=9 .*part 1 has none"),
    "ring without a pixel": (
        lambda: ring(SHAPE, (1, 1.1, 3)),
        ValueError,
        r"radii=\(1, 1.1, 3\).* part 0 has none",
    ),
    "sector without a pixel": (
        lambda: sectors(SHAPE, 4, radius=0.5),
        ValueError,
        "n=4, radius=0.5 .*part 0 has none",
    ),
    "falling radii": (lambda: ring(SHAPE, (2, 1)), ValueError, "two or more rising numbers"),
    "equal radii": (lambda: ring(SHAPE, (1, 1, 2)), ValueError, "rising"),
    "one radius": (lambda: ring(SHAPE, (2,)), ValueError, "two or more"),
    "a negative radius": (lambda: ring(SHAPE, (-1, 2)), ValueError, r"\(-1, 2\)"),
    "half a sector": (lambda: sectors(SHAPE, 2.5), TypeError, "`n` to be an integer, but got 2.5"),
    "true sectors": (lambda: sectors(SHAPE, True), TypeError, "`n` to be an integer"),
    "no sector": (lambda: sectors(SHAPE, 0), ValueError, "`n` to be at least 1, but got 0"),
    "no row": (lambda: tiles(SHAPE, 0, 2), ValueError, "`rows` to be at least 1, but got 0"),
    "halves of the batch": (lambda: halves((4, 6), dim=0), ValueError, "dimension 0 of shape"),
    "halves of one pixel": (lambda: halves((4, 1)), ValueError, "dimension -1 of shape"),
    "halves of a number": (lambda: halves(5), TypeError, "got 5; pass `inputs.shape`"),
    "disc in a tensor": (
        lambda: disc(torch.zeros(SHAPE), 2),
        TypeError,
        r"got Tensor of shape \(1, 3, 6, 6\); pass `inputs.shape`",
    ),
    "disc around a number": (
        lambda: disc(SHAPE, 2, center=3),
        TypeError,
        "`center` to hold numbers, but got 3; give its row and column",
    ),
    "disc around three": (
        lambda: disc(SHAPE, 2, center=(1, 2, 3)),
        ValueError,
        "`center` to be a row and a column",
    ),
    "endless disc": (lambda: disc(SHAPE, math.inf), ValueError, "`radius` to be finite"),
    "radii as two arguments": (
        lambda: ring(SHAPE, 1, 3),
        TypeError,
        r"`radii` to hold numbers, but got 1; one ring is \(10, 20\)",
    ),
    "sectors of a signal": (
        lambda: sectors((1, 1, 8), 4),
        ValueError,
        "signals are divided by `tiles` with 1 row",
    ),
    "rows of a signal": (lambda: tiles((1, 1, 8), 2, 2), ValueError, "signals .* take 1 row"),
    "text as tiles": (lambda: tiles(SHAPE, "2", "2"), TypeError, "`rows` to be an integer"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_no_mask_is_refused(name):
    call, error, words = REFUSALS[name]
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("n_dims", [0, 1, 2])
def test_pictures_have_a_batch_dimension(n_dims):
    shape = (6,) * n_dims
    for make in (
        lambda: tiles(shape, 1, 1),
        lambda: disc(shape, 2),
        lambda: ring(shape, (0, 2)),
        lambda: sectors(shape, 2),
    ):
        with pytest.raises(ValueError, match="examples first and height and width last"):
            make()


def test_masks_broadcast_to_inputs_of_any_number_of_dimensions():
    for shape in ((2, 6, 6), (2, 3, 6, 6), (2, 3, 4, 6, 6)):
        for mask in (disc(shape, 2), ring(shape, (1, 2)), sectors(shape, 3), tiles(shape, 2, 3)):
            assert mask.shape == (*[1] * (len(shape) - 2), 6, 6)


@pytest.mark.parametrize("dim", [-4, 4, 7, 0])
def test_halves_need_a_dimension_behind_the_batch(dim):
    with pytest.raises(ValueError, match=f"but got dimension {dim} of shape"):
        halves((1, 3, 8, 8), dim)


@pytest.mark.parametrize("rows", [1.5, True, "2"])
def test_tiles_are_counted_in_integers(rows):
    with pytest.raises(TypeError, match="`rows` to be an integer"):
        tiles((1, 3, 8, 8), rows, 2)
