import itertools
import re

import pytest

from captum_ssvep import ChebyshevGrid, TaggingDesign, choose_design
from captum_ssvep.design import choose
from captum_ssvep.design.components import integer_vectors, n_vectors
from captum_ssvep.design.distinct import merge_equal_frames


@pytest.mark.filterwarnings("ignore:Responses to parts")  # of tags for order 1
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


@pytest.mark.parametrize(("n_parts", "max_order"), [(1, 5), (3, 4), (5, 2), (2, 7)])
def test_integer_vectors_are_counted(n_parts, max_order):
    assert n_vectors(n_parts, max_order) == len(integer_vectors(n_parts, max_order))


@pytest.mark.parametrize("kind", ["auto", "grid", "time"])
def test_designs_are_found_in_seconds_or_refused_with_what_is_affordable(kind, monkeypatch):
    """For all numbers of parts and orders. What a message proposes would be accepted."""
    monkeypatch.setattr(choose, "collision_free_bins", lambda *_: ((1, 5, 23), 101))
    refused = 0
    for n_parts, max_order in itertools.product([*range(1, 30), 60, 200], range(1, 11)):
        cost = n_parts * n_vectors(n_parts, max_order + (kind == "auto"))
        try:
            choose_design(n_parts, max_order, kind)
        except ValueError as error:
            refused += 1
            message = str(error)
            assert kind == "grid" or cost > 100_000
            assert re.search(rf"{n_parts} parts? to order {max_order} take", message)
            if lower := re.search(r"max_order=(\d+)", message):
                choose_design(n_parts, int(lower[1]), kind)
            if "kind='time'" in message:
                choose_design(n_parts, max_order, "time")
            if fewer := re.search(r"at most (\d+) parts", message):
                choose_design(int(fewer[1]), max_order, kind)
            assert lower or fewer or "kind='time'" in message
        else:
            assert n_parts <= 4 or kind == "grid" or cost <= 100_000
    assert refused > 50


def test_twenty_five_parts_are_refused_to_order_two_but_found_in_time():
    with pytest.raises(ValueError, match=r"at least 22,151 frames.*max_order=1 or kind='time'"):
        choose_design(25, 2)
    design = choose_design(25, 2, kind="time")
    assert design.collision_free_order == 2


@pytest.mark.parametrize("numbers", [(12, 4), (10**6, 3), (3, 10**9), (10**5, 10**5)])
def test_a_grid_that_cannot_be_run_is_refused(numbers):
    with pytest.raises(ValueError, match=r"1,000,000 frames, but got \d+ \*\* \d+; take fewer"):
        ChebyshevGrid(numbers[0], numbers[1] + 1)
    for kind in ("auto", "grid", "time"):
        if kind != "time":
            with pytest.raises(ValueError, match=r"found in seconds, but .* take .* frames"):
                choose_design(*numbers, kind=kind)


REFUSALS = {
    "triangle": (
        lambda: choose_design(2, kind="grid", waveform="triangle"),
        ValueError,
        "'sine' for kind='grid'.*got 'triangle'",
    ),
    "kind": (lambda: choose_design(2, kind="fast"), ValueError, "time, two-level, but got 'fast'"),
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
