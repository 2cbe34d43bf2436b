import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_ssvep import Design, TaggingDesign, choose_design
from captum_ssvep.design.components import Component
from captum_ssvep.design.distinct import merge_equal_frames
from captum_ssvep.design.tags import tag_complaints


def test_the_default_is_the_papers():
    design = TaggingDesign()
    moments = np.arange(240) / 120
    for part, frequency in enumerate((6.0, 7.5)):
        expected = 0.75 + 0.25 * np.sin(2 * np.pi * frequency * moments)
        np.testing.assert_allclose(design.contrasts[:, part], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("phases", "waveform", "n_distinct"),
    [(0.0, "sine", 49), (math.pi / 2, "sine", 35), (0.0, "triangle", 49), (0.3, "sine", 80)],
)
def test_distinct_frames(phases, waveform, n_distinct):
    design = TaggingDesign(phases=phases, waveform=waveform)
    assert design.n_distinct_frames == n_distinct
    contrasts, shown = merge_equal_frames(design.contrasts, np.eye(240) + 0j)
    assert len(contrasts) == n_distinct
    # Every moment counts once, with the frame that has its contrasts.
    np.testing.assert_array_equal(shown.sum(axis=1), 1)
    np.testing.assert_allclose(shown.real @ contrasts, design.contrasts, atol=1e-12)


def test_a_contrast_range_around_zero_does_not_keep_signed_zeros_apart():
    design = TaggingDesign(contrast=(-1.0, 1.0))
    assert design.n_distinct_frames == 49


def test_the_triangle_visits_contrasts_equally_often():
    contrasts = TaggingDesign((1.0,), 1000.0, 1000, waveform="triangle").contrasts[:, 0]
    counts, _ = np.histogram(contrasts, bins=10, range=(0.5, 1.0))
    assert counts.min() >= 98
    assert counts.max() <= 102


@pytest.mark.filterwarnings("ignore:Responses to parts")
@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=2, unique=True),
    st.integers(122, 260),
    st.sampled_from(["sine", "triangle"]),
)
def test_weights_of_distinct_frames_give_the_whole_fft(bins, n_frames, waveform):
    design = TaggingDesign(bins, n_frames, n_frames, waveform=waveform)

    def response(contrasts):
        return np.maximum(contrasts[:, 0] - 0.6, 0) * contrasts[:, 1]

    expected = np.fft.rfft(response(design.contrasts))
    weights = design.line_weights(range(n_frames // 2 + 1))
    contrasts, merged = merge_equal_frames(design.contrasts, weights)
    np.testing.assert_allclose(merged @ response(contrasts), expected, atol=1e-9)


def test_neighbors_of_the_papers_tags_are_the_two_bins_on_each_side():
    design = TaggingDesign()
    assert design.neighbors((0, 1)) == (13, 14, 16, 17)
    assert design.neighbors((1, -1)) == (1, 2, 4, 5)
    assert design.neighbors((0, 1), 1) == (14, 16)


def test_neighbors_avoid_other_components_and_keep_their_number_at_the_edges():
    close = TaggingDesign((5.0, 5.5))  # bins 10 and 11, next to each other
    assert 11 not in close.neighbors((1, 0))
    design = TaggingDesign((0.5, 59.5))  # bins 1 and 119
    for component in [(1, 0), (0, 1)]:
        neighbors = design.neighbors(component, 3)
        assert len(set(neighbors)) == 6
        assert all(0 < k < 120 and k != design.bin(component) for k in neighbors)


def test_collisions_report_both_sides():
    with pytest.warns(UserWarning, match="second harmonic of 10 Hz"):
        design = TaggingDesign((10.0, 20.0))
    found = dict(design.collisions(design.components("all", 2)))
    assert found[Component((2, 0))] == (0, 1)
    assert found[Component((0, 1))] == (2, 0)  # a second harmonic on a tag
    assert TaggingDesign().collisions(TaggingDesign().components("all", 4)) == []


def test_a_component_on_the_nyquist_line_collides_with_itself():
    design = TaggingDesign((20.0, 7.5))
    assert dict(design.collisions(design.components([(3, 0)]))) == {(3, 0): Component((3, 0))}


def test_folded_components_are_read_where_they_alias():
    design = TaggingDesign((50.0, 7.5))
    assert design.frequency((2, 0)) == 100
    assert design.bin((2, 0)) == 40  # 100 Hz folds to 20 Hz
    assert design.signed_bin((2, 0)) == -40


def test_a_loose_design_warns_and_reads_the_nearest_bin():
    with pytest.warns(UserWarning, match=r"7\.3 Hz makes 14\.6"):
        design = TaggingDesign((6.0, 7.3), strict=False)
    assert design.bins == (12, 15)
    moments = np.arange(240) / 120
    expected = 0.75 + 0.25 * np.sin(2 * np.pi * 7.3 * moments)
    np.testing.assert_allclose(design.contrasts[:, 1], expected, atol=1e-9)


def test_the_scale_of_contrasts_does_not_change_which_frames_are_distinct():
    for contrast in ((-1e6, 1e6), (-1e-6, 1e-6)):
        assert TaggingDesign(contrast=contrast).n_distinct_frames == 49


def test_neighbors_avoid_components_of_the_order_asked_for():
    design = TaggingDesign((5.0, 5.5))
    lines = {design.bin(component) for component in design.components("all", 8)}
    assert lines & set(design.neighbors((1, 0)))
    assert not lines & set(design.neighbors((1, 0), max_order=8))


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_numbers_of_any_kind_are_taken(kind):
    design = TaggingDesign(kind([6.0, 7.5]), n_frames=np.int64(240), phases=kind([0.5, 0.25]))
    assert design == TaggingDesign(phases=(0.5, 0.25))
    assert type(design.n_frames) is int


def test_designs_compare_by_value():
    assert TaggingDesign() == TaggingDesign(frequencies=[6, 7.5], phases=[0, 0])
    assert TaggingDesign() != TaggingDesign(phases=math.pi / 2)


@pytest.mark.parametrize(
    ("design", "expected"),
    [
        (
            TaggingDesign(),
            "TaggingDesign(6, 7.5 Hz, 240 frames at 120 Hz, collision-free to order 4)",
        ),
        (
            TaggingDesign((6.0, 7.5), phases=(0, 0.5), contrast=(0, 0.25), waveform="triangle"),
            "TaggingDesign(6, 7.5 Hz, 240 frames at 120 Hz, collision-free to order 4, "
            "contrast 0 to 0.25, phases 0, 0.5, triangle wave)",
        ),
        (
            TaggingDesign(np.array([3.0]), phases=torch.tensor([0.25])),
            "TaggingDesign(3 Hz, 240 frames at 120 Hz, collision-free to order 19, phases 0.25)",
        ),
    ],
)
def test_a_design_prints_as_one_line_of_what_differs(design, expected):
    assert repr(design) == expected


def test_a_loose_design_prints_that_it_is_one():
    with pytest.warns(UserWarning, match="whole cycles"):
        design = TaggingDesign((6.0, 7.3), strict=False)
    assert repr(design).endswith(", not coherent)")
    assert "\n" not in repr(design)


def test_a_rounded_tag_is_taken_for_what_is_meant():
    exact = TaggingDesign((20 / 3, 8.0), 120, 360)
    for typed in (6.67, 6.667, 6.66667, np.float32(20 / 3), np.float32(6.67)):
        assert TaggingDesign((typed, 8.0), 120, 360) == exact
        assert TaggingDesign((typed, 8.0), 120, 360).bins == (20, 24)


@pytest.mark.parametrize(
    ("typed", "rate", "n_frames", "meant"),
    [
        (7.14286, 100.0, 700, 50 / 7),
        (7.14, 100.0, 140, 50 / 7),
        (8.57, 120.0, 280, 60 / 7),
        (3.33, 120.0, 360, 10 / 3),
        (5.994, 59.94, 600, 5.994),
        (5.994006, 59.94, 600, 5.994),  # of 60 / 1.001
        (11.988012, 119.88, 600, 11.988),
        (14.398, 143.98, 400, 14.398),
    ],
)
def test_whole_cycles_are_stored(typed, rate, n_frames, meant):
    (stored,) = TaggingDesign((typed,), rate, n_frames).frequencies
    assert stored == pytest.approx(meant, rel=1e-14)


REFUSED_TAGS = [
    (6.7, 120.0, 360),  # one decimal does not say 6.667
    (6.67, 120.0, 14400),  # nor do two in two minutes
    (6.6, 120.0, 361),
    (6.123456, 120.0, 77),
    (7.3, 120.0, 240),
    (6.0, 59.94, 240),
    (100.3, 2048.0, 2048 * 1000 + 1),
    (0.001, 120.0, 240),
    (59.9999999, 120.0, 240),
    (75.0, 120.0, 240),
    (1e308, 120.0, 240),
    (7.5, 1e-300, 240),
    (7.5, 1e308, 240),
]


@pytest.mark.parametrize(("frequency", "rate", "n_frames"), REFUSED_TAGS)
def test_proposals_are_never_refused(frequency, rate, n_frames):
    with pytest.raises(ValueError, match=r"nearest: ") as caught:
        TaggingDesign((frequency,), rate, n_frames)
    for proposal in str(caught.value).rsplit(": ", 1)[1].split(" or "):
        assert float(proposal) != frequency
        TaggingDesign((float(proposal),), rate, n_frames)


@settings(max_examples=200)
@given(
    st.floats(0.01, 100).map(lambda f: round(f, 2)),
    st.sampled_from([59.94, 60.0, 119.88, 120.0, 143.98, 500.0]),
    st.integers(3, 5000),
    st.integers(1, 2000),
)
def test_any_proposal_is_understood(frequency, rate, n_frames, other):
    other = other % ((n_frames - 1) // 2) + 1
    taken = other * rate / n_frames
    try:
        TaggingDesign((frequency,), rate, n_frames)
    except ValueError as error:
        for proposal in str(error).rsplit(": ", 1)[1].split(" or "):
            assert TaggingDesign((float(proposal),), rate, n_frames).bins
    complaints = tag_complaints((frequency, taken), rate, n_frames)
    if complaints and "nearest: " in complaints[0]:
        for proposal in complaints[0].rsplit(": ", 1)[1].split(" or "):
            assert round(float(proposal) * n_frames / rate) != other


def test_a_proposal_is_no_tag_of_another_part():
    with pytest.raises(ValueError, match=r"nearest: 7 or 8$"):
        TaggingDesign((7.5, 7.3))
    with pytest.raises(ValueError, match="; take more frames"):
        TaggingDesign((30.0, 40.0), 120, 3)


def test_loose_tags_are_left_as_they_are():
    with pytest.warns(UserWarning, match=r"6\.67 Hz makes 20\.01; nearest: 6\.66667 or 7$"):
        design = TaggingDesign((6.67, 8.0), 120, 360, strict=False)
    assert design.frequencies == (6.67, 8.0)
    assert design.leaks


@pytest.mark.parametrize(
    ("frequencies", "words"),
    [
        ((5.0, 10.0), "the second harmonic of 5 Hz falls on the tag 10 Hz"),
        ((5.0, 15.0), "the third harmonic of 5 Hz falls on the tag 15 Hz"),
        ((50.0, 20.0), "the second harmonic of 50 Hz falls on the tag 20 Hz"),
        ((6.5, 50.0, 30.0), "the third harmonic of 50 Hz falls on the tag 30 Hz"),
    ],
)
def test_harmonics_on_tags_are_told_once(frequencies, words):
    with pytest.warns(
        UserWarning, match=words + r".* by 0.5 Hz or more.*`choose_design`"
    ) as caught:
        design = TaggingDesign(frequencies)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    # Not again from inside the package: warnings are errors here.
    assert Design.from_dict(design.to_dict()) == design
    assert pickle.loads(pickle.dumps(design)) == design
    if design.collision_free_order:
        assert design.replicate()[0].frequencies == design.frequencies
    with pytest.warns(UserWarning, match=words):
        replace(design, contrast=(0.0, 1.0))


def test_of_many_harmonics_some_are_named():
    with pytest.warns(UserWarning, match=r"falls on the tag 6 Hz and 2 more\. Move") as caught:
        TaggingDesign((1, 2, 3, 6, 9))
    assert str(caught[0].message).count("falls on") == 3


def test_nearby_and_chosen_tags_have_no_harmonics_on_others():
    TaggingDesign((5.0, 10.5))
    TaggingDesign((5.0, 9.5))
    for n_parts in range(2, 7):
        for max_order in (2, 3):
            choose_design(n_parts, max_order, kind="time")


def test_a_loose_design_read_from_a_file_does_not_warn_again():
    with pytest.warns(UserWarning, match="whole cycles"):
        design = TaggingDesign((6.0, 7.3), strict=False)
    assert Design.from_dict(design.to_dict()) == design


def test_neighbors_are_those_of_a_literal_search():
    for frequencies, n_frames in (((5.0, 5.5), 240), ((0.5, 59.5), 240), ((6.0, 7.5), 2400)):
        design = TaggingDesign(frequencies, n_frames=n_frames)
        taken = {design.bin(component) for component in design.components("all", 4)}
        free = [k for k in range(1, n_frames // 2) if k not in taken]
        for component in design.components("all", 5):
            line = design.bin(component)
            others = [k for k in free if k != line]
            split = sum(k < line for k in others)
            start = min(max(split - 3, 0), len(others) - 6)
            assert design.neighbors(component, 3) == tuple(others[start : start + 6])


WRONG = {
    "strict": (lambda: TaggingDesign(strict="no"), TypeError, "`strict` to be True or False"),
    "waveform": (
        lambda: TaggingDesign(waveform=np.array(["sine"])),
        ValueError,
        "`waveform` to be 'sine' or 'triangle'",
    ),
    "endless": (lambda: TaggingDesign(n_frames=10**12), ValueError, "`n_frames` to be at most"),
    "component": (lambda: TaggingDesign().bin(5), TypeError, "one integer per part, but got 5"),
    "name": (lambda: TaggingDesign().frequency("f1"), TypeError, "got 'f1'"),
    "no component": (lambda: TaggingDesign().label(None), TypeError, "got None"),
    "length": (lambda: TaggingDesign().turn((1,)), ValueError, r"tuples of 2 integers.*got \(1,\)"),
    "half": (lambda: TaggingDesign().scale((1, 0.5)), TypeError, r"got \(1, 0.5\)"),
    "neighbors": (
        lambda: TaggingDesign().neighbors((1, 0), 1.5),
        TypeError,
        "`n_neighbors` to be an integer",
    ),
    "no neighbors": (
        lambda: TaggingDesign().neighbors((1, 0), 0),
        ValueError,
        "`n_neighbors` to be at least 1",
    ),
    "huge order": (
        lambda: TaggingDesign().neighbors((1, 0), 2, 10**6),
        ValueError,
        "`max_order` of at most 706 for 2 parts",
    ),
    "selection": (lambda: TaggingDesign().components(None), TypeError, "got None"),
    "array": (
        lambda: TaggingDesign().components(np.array([1, 1])),
        TypeError,
        r"single component is written \[\(1, 1\)\]",
    ),
    "none": (
        lambda: TaggingDesign().components([]),
        ValueError,
        "tuples of 2 integers, but got none",
    ),
    "order": (
        lambda: TaggingDesign().components("all", 10**6),
        ValueError,
        "`max_order` of at most 706 for 2 parts",
    ),
    "collisions": (lambda: TaggingDesign().collisions(3), TypeError, "`components` to be a group"),
    "contrasts": (lambda: TaggingDesign().phase_of("a"), TypeError, "`contrasts` to hold numbers"),
    "line": (lambda: TaggingDesign().line_frequency("a"), TypeError, "`line` to be an integer"),
    "from None": (lambda: Design.from_dict(None), ValueError, "a dictionary that `to_dict` gave"),
    "from nothing": (lambda: Design.from_dict({}), ValueError, r"`to_dict` gave, but got \{\}"),
    "from others": (
        lambda: Design.from_dict({"kind": "time", "nodes": 5}),
        ValueError,
        "but got nodes",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_argument_is_refused(name):
    call, error, words = WRONG[name]
    with pytest.raises(error, match=words):
        call()


def test_components_may_be_of_any_sequence():
    design = TaggingDesign()
    for component in ([1, 1], np.array([1, 1]), Component((1, 1))):
        assert design.bin(component) == 27
    assert design.signed_bin((-1, 1)) == 3
    assert design.components(np.array([[1, 1], [2, 0]])) == ((1, 1), (2, 0))
    np.testing.assert_allclose(design.phase_of([0.5, 1.0]), [np.pi, 0])


def test_a_title_says_where_a_folded_component_is_seen():
    design = TaggingDesign((8.1, 11.7, 14.4), sampling_rate=60, n_frames=600)
    assert design.title((0, 2, 2)) == "2f2 + 2f3 = 52.2 Hz, seen at 7.8 Hz"
    assert design.title((0, 1, 1)) == "f2 + f3 = 26.1 Hz"
    assert design.title((0, 5, 5)) == "5f2 + 5f3 = 130.5 Hz, seen at 10.5 Hz"
