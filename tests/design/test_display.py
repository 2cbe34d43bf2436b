"""Tags for a screen: what is promised, by the design's own methods and by brute force."""

import time
import warnings
from dataclasses import replace
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest

from captum_ssvep import Design, TaggedSpectrum, TaggingDesign
from captum_ssvep.design.display import MOST_FRAMES, display_bins, traded

for_display = TaggingDesign.for_display


def made(**arguments):
    """The design, and the warnings that came with it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        design = for_display(**arguments)
    return design, [str(warning.message) for warning in caught]


def all_vectors(n_parts, max_order):
    """One integer vector of each component, by brute force."""
    span = range(-max_order, max_order + 1)
    vectors = [v for v in product(span, repeat=n_parts) if 0 < sum(map(abs, v)) <= max_order]
    return [v for v in vectors if next(filter(None, v)) > 0]


def folded(cycles, n_frames):
    return min(cycles % n_frames, -cycles % n_frames)


def crowded(bins, n_frames, max_order, n_neighbors=10):
    """Components with fewer free bins than these on a side, by brute force."""
    vectors = all_vectors(len(bins), max_order)
    lines = [folded(np.dot(v, bins), n_frames) for v in vectors]
    free = {k for k in range(1, n_frames) if 2 * k < n_frames} - set(lines)
    sides = [(sum(k < line for k in free), sum(k > line for k in free)) for line in lines]
    return [v for v, side in zip(vectors, sides, strict=True) if min(side) < n_neighbors]


def order_of(bins, n_frames, at_most):
    """Highest order to which all lines differ from each other, the mean's and their mirror's."""
    for order in range(1, at_most + 1):
        vectors = all_vectors(len(bins), order)
        lines = [int(sign * np.dot(v, bins)) % n_frames for v in vectors for sign in (1, -1)]
        if len({0, *lines}) < len(lines) + 1:
            return order - 1
    return at_most


@pytest.mark.parametrize("rate", [60, 75, 120, 144])
@pytest.mark.parametrize("n_parts", [1, 2, 3, 4])
@pytest.mark.parametrize("subharmonics", [False, True])
def test_what_is_promised_holds_or_is_told(rate, n_parts, subharmonics):
    design, told = made(refresh_rate=rate, n_parts=n_parts, subharmonics=subharmonics)
    n_frames = 10 * rate
    assert (design.sampling_rate, design.n_frames, design.n_parts) == (rate, n_frames, n_parts)
    assert all(5 <= frequency <= 15 for frequency in design.frequencies)
    for frequency, line in zip(design.frequencies, design.bins, strict=True):
        assert frequency * 10 == pytest.approx(line, abs=1e-9)
    for lower, higher in combinations(design.bins, 2):
        assert higher % lower
    order = order_of(design.bins, n_frames, 4)
    assert min(design.collision_free_order, 4) == order
    assert (f"collision-free to order {order} only" in "".join(told)) == (order < 4)
    without_room = crowded(design.bins, n_frames, 4)
    assert len(told) == bool(order < 4 or without_room)
    if without_room:
        assert f"one side of {len(without_room)} of " in told[0]
        assert all(sum(map(abs, v)) > 1 for v in without_room)  # tags themselves have room
    for component in design.components("all", 4):
        around, line = design.neighbors(component, 10, 4), design.bin(component)
        n_below = sum(k < line for k in around)
        signs = (tuple(component), tuple(-n for n in component))
        assert len(around) == 20
        assert (n_below == 10) == (not {*signs} & {*without_room})
    if order == 4:
        assert design.collisions(design.components("all", 4)) == []
    if subharmonics:
        assert n_frames % 2 == 0
        reached = {folded(np.dot(v, design.bins), n_frames) for v in all_vectors(n_parts, 6)}
        assert {k % 2 for k in design.bins} == {0}
        assert not {k // 2 for k in design.bins} & reached
        # Of whatever order: no line of any combination is an odd bin.
        assert np.gcd.reduce([n_frames, *design.bins]) % 2 == 0
        assert all(k // 2 % 2 for k in design.bins)


@pytest.mark.parametrize("rate", [60, 75, 120, 144, 59.94, 240])
@pytest.mark.parametrize("n_parts", [1, 2])
def test_up_to_two_tags_have_everything_on_any_screen(rate, n_parts):
    design = for_display(rate, n_parts)  # warnings are errors here
    assert design.collision_free_order >= 4
    assert crowded(design.bins, design.n_frames, 4) == []


@pytest.mark.parametrize(
    ("rate", "n_parts", "seconds"), [(75, 3, 10), (120, 3, 10), (60, 3, 12), (60, 4, 20)]
)
def test_more_tags_have_everything_on_a_faster_screen_or_for_longer(rate, n_parts, seconds):
    design = for_display(rate, n_parts, seconds=seconds)
    assert order_of(design.bins, design.n_frames, 4) == 4
    assert crowded(design.bins, design.n_frames, 4) == []


def test_three_tags_for_ten_seconds_at_60_hz_cannot_have_everything():
    """Of all that there are in the band, none has ten free bins around all: what was told."""
    vectors = np.array(all_vectors(3, 4))
    tags = np.array(list(combinations(range(50, 151), 3)))
    lines = np.arange(600)
    lines = np.minimum(lines, 600 - lines)[tags @ vectors.T % 600]
    enough = (lines.min(axis=1) > 10) & (lines.max(axis=1) < 290)
    ranked = np.sort(lines[enough], axis=1)
    assert not (np.diff(ranked, axis=1) > 0).all(axis=1).any()
    design, told = made(n_parts=3)
    assert design.collision_free_order >= 4
    assert len(crowded(design.bins, 600, 4)) == 1
    assert "one side of 1 of 64 components to order 4" in told[0]


@pytest.mark.parametrize("band", [(5, 7), (8, 13), (6.05, 12.95), (1, 20), (20, 29.9), (13, 40)])
@pytest.mark.parametrize("n_parts", [1, 2, 3])
def test_tags_stay_within_the_band_and_below_the_nyquist_frequency(band, n_parts):
    design, _ = made(n_parts=n_parts, band=band)
    assert all(band[0] <= f <= min(band[1], 30) for f in design.frequencies)
    assert not any(b % a == 0 for a, b in combinations(design.bins, 2))
    assert order_of(design.bins, 600, 4) == 4


def test_a_tag_at_the_edge_of_the_band_is_in_it():
    for edge in (6.1, 7.3, 20 / 3):
        assert for_display(n_parts=1, band=(edge, edge), seconds=30).frequencies == (
            pytest.approx(edge),
        )


def test_a_long_record_keeps_its_promises():
    for seconds in (60, 300):
        design = for_display(144, 4, seconds=seconds)
        assert order_of(design.bins, design.n_frames, 4) == 4
        for component in design.components("all", 4):
            line = design.bin(component)
            assert sum(k < line for k in design.neighbors(component, 10, 4)) == 10


@pytest.mark.parametrize(("rate", "n_parts"), [(60, 2), (75, 3), (144, 3)])
@pytest.mark.parametrize("recorded", [250, 1000])
def test_a_recording_at_a_higher_rate_has_the_same_room(rate, n_parts, recorded):
    design = for_display(rate, n_parts)
    recording = replace(design, sampling_rate=recorded, n_frames=10 * recorded)
    assert recording.frequencies == pytest.approx(design.frequencies)
    assert recording.collision_free_order >= 4
    assert crowded(recording.bins, recording.n_frames, 4) == []


def test_half_of_a_tag_is_hidden_by_four_to_five_but_not_by_these():
    papers = TaggingDesign()  # 6 : 7.5 Hz
    assert papers.bins[0] / 2 == papers.bin((2, -2))
    design = for_display(120, seconds=4, subharmonics=True)
    seconds = np.arange(design.n_frames) / 120
    halves = np.cos(np.pi * np.outer(seconds, design.frequencies)).sum(axis=1)
    spectrum = TaggedSpectrum.from_series(halves[:, None], design, components=design.components())
    assert max(float(spectrum.amplitude(c).max()) for c in spectrum.components) < 1e-9


def test_an_odd_number_of_frames_is_made_even_for_subharmonics():
    design, _ = made(refresh_rate=75, seconds=5, subharmonics=True)
    assert design.n_frames == 376
    assert for_display(75, 1, seconds=5).n_frames == 375
    assert for_display(59.94).n_frames == 599


@pytest.mark.parametrize("n_parts", [1, 2, 3, 4])
@pytest.mark.parametrize("rate", [60, 144])
def test_the_search_is_quick_and_the_same(rate, n_parts):
    start = time.process_time()
    first, _ = made(refresh_rate=rate, n_parts=n_parts)
    assert time.process_time() - start < 5  # a fraction of a second on a quiet machine
    assert made(refresh_rate=rate, n_parts=n_parts)[0] == first
    assert Design.from_dict(first.to_dict()) == first  # without a warning


def test_higher_orders_are_preferred_where_they_cost_nothing():
    design = for_display()
    assert order_of(design.bins, 600, 6) == 6
    # Components lie below the Nyquist frequency where tags can.
    assert max(abs(np.dot(v, design.bins)) for v in all_vectors(2, 4)) < 300
    assert traded(design, 4) == []


def test_what_is_traded_is_told_once_with_what_to_do():
    with pytest.warns(UserWarning, match="Not all that was asked for fits") as caught:
        design = for_display(60, 4, subharmonics=True)
    (warning,) = caught
    message = str(warning.message)
    assert warning.filename == __file__
    assert message.startswith("Not all that was asked for fits: with the best tags found, ")
    assert "collision-free to order 3 only, since no tags were found that are to order 4" in message
    assert message.endswith("More `seconds`, a wider `band` or a lower `max_order` have more room")
    assert design.collision_free_order == 3
    with pytest.warns(UserWarning, match="fewer than 20 bins hold no component to order 4"):
        for_display(seconds=1)


def test_a_design_of_two_to_one_is_never_chosen():
    found = display_bins((5, 10), 60, 2, 1, subharmonics=False)
    assert found is not None
    assert all(Fraction(found[1], found[0]) != ratio for ratio in (2, 3))
    assert display_bins((5, 5), 60, 2, 1, subharmonics=False) is None
    assert display_bins((20, 20), 600, 1, 1, subharmonics=True) is None
    assert display_bins((5, 10), 60, 2, 1, subharmonics=True) == (6, 10)


REFUSED = {
    "narrow": (dict(band=(5, 5.05)), ValueError, r"no 2 from 5 to 5\.05 Hz in 600 frames; take"),
    "short": (dict(n_parts=3, band=(5, 6), seconds=1), ValueError, "more `seconds`, another"),
    "too fast": (dict(band=(30, 50)), ValueError, "below the Nyquist frequency, 30 Hz"),
    "halves": (
        dict(n_parts=1, band=(6, 6), subharmonics=True),
        ValueError,
        "half of whose cycles are an odd number",
    ),
    "reversed": (dict(band=(15, 5)), ValueError, r"0 < lowest <= highest, but got \(15.0, 5.0\)"),
    "one limit": (dict(band=(5,)), ValueError, "`band` to be"),
    "zero": (dict(band=(0, 5)), ValueError, "`band` to be"),
    "text": (dict(band="alpha"), TypeError, "`band` to hold numbers.*in Hz"),
    "no parts": (dict(n_parts=0), ValueError, "`n_parts` to be at least 1"),
    "many parts": (dict(n_parts=6), ValueError, "got 6 parts to order 4; take fewer parts"),
    "order": (dict(max_order=200), ValueError, "`max_order` of tags that are found in seconds"),
    "backwards": (dict(seconds=-1), ValueError, "`seconds` to be 3 to"),
    "still": (dict(refresh_rate=0), ValueError, "`refresh_rate` times"),
    "endless": (dict(seconds=MOST_FRAMES), ValueError, "show a shorter record"),
    "flag": (dict(subharmonics=1), TypeError, "`subharmonics` to be True or False"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_shown_is_refused(name):
    arguments, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        for_display(**arguments)
