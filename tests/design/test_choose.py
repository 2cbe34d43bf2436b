import pytest

from captum_ssvep import ChebyshevGrid, TaggingDesign, choose_design
from captum_ssvep.design.distinct import merge_equal_frames


@pytest.mark.parametrize("n_parts", [1, 2, 3, 4])
@pytest.mark.parametrize("max_order", [1, 4])
def test_few_parts_get_a_grid(n_parts, max_order):
    assert choose_design(n_parts, max_order) == ChebyshevGrid(n_parts, max_order + 1)
    assert choose_design(n_parts, max_order, "grid", (0.0, 1.0)) == ChebyshevGrid(
        n_parts, max_order + 1, (0.0, 1.0)
    )
    time = choose_design(n_parts, max_order, "time", (0.0, 1.0))
    assert isinstance(time, TaggingDesign)
    assert time.contrast == (0.0, 1.0)
    assert max_order <= time.collision_free_order


@pytest.mark.parametrize("n_parts", [5, 6])
def test_many_parts_get_tags_free_to_one_order_more(n_parts):
    auto = choose_design(n_parts, 2)
    assert isinstance(auto, TaggingDesign)
    assert auto.collision_free_order >= 3
    assert auto == choose_design(n_parts, 3, kind="time")
    assert choose_design(n_parts, 2, kind="grid") == ChebyshevGrid(n_parts, 3)


def test_a_triangle_wave_needs_time():
    design = choose_design(2, 3, waveform="triangle")
    assert isinstance(design, TaggingDesign)
    assert design.waveform == "triangle"


@pytest.mark.parametrize("max_order", range(1, 9))
def test_two_tags_visit_the_padua_points(max_order):
    """As many points as polynomials of one degree more have coefficients."""
    design = choose_design(2, max_order, kind="time")
    assert design.collision_free_order == max_order
    assert design.n_distinct_frames == (max_order + 2) * (max_order + 3) // 2


@pytest.mark.parametrize("n_parts", range(1, 9))
def test_designs_for_parts_leave_room_for_noise(n_parts):
    design = choose_design(n_parts, max_order=2, kind="time")
    assert design.n_parts == n_parts
    assert design.collision_free_order >= 2
    components = design.components("all", 2)
    lines = {design.bin(component) for component in components}
    assert len(lines) == len(components)
    for component in components:
        assert not lines & set(design.neighbors(component))
        # One record is three periods, so that only every third bin can answer.
        weights = design.line_weights(design.neighbors(component))
        assert not merge_equal_frames(design.contrasts, weights)[1].any()


REFUSALS = {
    "triangle": (
        lambda: choose_design(2, kind="grid", waveform="triangle"),
        ValueError,
        "'sine' for kind='grid'.*got 'triangle'",
    ),
    "kind": (lambda: choose_design(2, kind="fast"), ValueError, "auto, grid, time, but got 'fast'"),
    "part": (lambda: choose_design(0), ValueError, "`n_parts` to be at least 1, but got 0"),
    "half an order": (
        lambda: choose_design(2, 1.5),
        TypeError,
        "`max_order` to be an integer, but got 1.5",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_chosen_is_refused(name):
    call, error, words = REFUSALS[name]
    with pytest.raises(error, match=words):
        call()
