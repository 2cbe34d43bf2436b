import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_ssvep import TaggingDesign
from captum_ssvep.design.components import Component
from captum_ssvep.design.distinct import merge_equal_frames


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
