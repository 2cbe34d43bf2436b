import linecache
import math

import numpy as np
import pytest
import torch

from captum_ssvep._checks import (
    choice,
    contrast_range,
    example_index,
    file_path,
    finite_floats,
    image_batch,
    instance,
    integer,
    number,
    position,
    refuse_unknown_arguments,
    shown,
    tensor,
    unknown_choice,
    warn_user,
    warning_once,
)


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_integers_of_any_kind_become_plain_ones(value):
    assert integer(value, "n") == 3
    assert type(integer(value, "n")) is int


@pytest.mark.parametrize("value", [3.0, "3", None, True, np.True_, np.float64(3), np.array([3])])
def test_what_is_no_integer_is_refused(value):
    with pytest.raises(TypeError, match="`n` to be an integer, but got "):
        integer(value, "n")


def test_integers_have_to_be_large_enough():
    assert integer(0, "n", at_least=0) == 0
    assert integer(1, "n") == 1
    for value, at_least in ((0, 1), (-1, 0), (2, 3)):
        with pytest.raises(ValueError, match=f"`n` to be at least {at_least}, but got {value}"):
            integer(value, "n", at_least)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.5, "2.5"),
        ("layer1", "'layer1'"),
        (torch.tensor(3), "tensor(3)"),
        (torch.zeros(2, 3), "Tensor of shape (2, 3)"),
        (np.zeros((9, 9)), "ndarray of shape (9, 9)"),
        (list(range(99)), "list"),
        (torch.nn.Sequential(torch.nn.ReLU()), "Sequential"),
    ],
)
def test_what_came_fits_into_a_sentence(value, text):
    assert shown(value) == text


def test_values_of_another_type_are_refused():
    assert instance("a", str, "layer", "a name") == "a"
    with pytest.raises(TypeError, match=r"`layer` to be a name, but got 3; list them$"):
        instance(3, str, "layer", "a name; list them")
    with pytest.raises(TypeError, match=r"`x` to be a tensor, but got 3; `torch.as_tensor`"):
        tensor(3, "x")
    with pytest.raises(TypeError, match="`path` to be the path of a file, but got 3"):
        file_path(3)


def test_images_have_four_dimensions():
    images = torch.rand(2, 3, 4, 4)
    assert image_batch(images, "x") is images
    with pytest.raises(ValueError, match=r"got \(3, 4, 4\); make a batch: `x\[None\]`"):
        image_batch(images[0], "x")
    with pytest.raises(ValueError, match="`x` to be finite"):
        image_batch(images / 0, "x")


@pytest.mark.parametrize("value", [3, np.float32(3), torch.tensor([3]), np.int8(3)])
def test_one_number_becomes_a_plain_one(value):
    assert number(value, "x") == 3.0
    assert type(number(value, "x")) is float


@pytest.mark.parametrize("value", ["3", True, None, [3], torch.ones(2), np.ones(2), 3j])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="`x` to be a number, but got"):
        number(value, "x")
    with pytest.raises(ValueError, match="`x` to be finite, but got nan"):
        number(math.nan, "x")


@pytest.mark.parametrize("value", ["fast", None, 3, ["auto"], np.ones(2)])
def test_what_is_no_choice_is_refused(value):
    choice("auto", "kind", iter(["auto", "grid"]))
    with pytest.raises(ValueError, match="`kind` to be one of auto, grid, but got"):
        choice(value, "kind", ("auto", "grid"))


def test_positions_count_from_either_end():
    assert [position(i, 3, "channel") for i in (0, 2, -1, -3)] == [0, 2, 2, 0]
    for index in (3, -4):
        with pytest.raises(ValueError, match="`channel` to be between 0 and 2, but got"):
            position(index, 3, "channel")
    with pytest.raises(TypeError, match="`channel` to be an integer"):
        position("0", 3, "channel")


@pytest.mark.parametrize("kind", [list, tuple, iter, np.array, torch.tensor])
def test_numbers_become_plain_floats(kind):
    floats = finite_floats(kind([1, 2.5]), "x")
    assert floats == (1.0, 2.5)
    assert [type(value) for value in floats] == [float, float]


@pytest.mark.parametrize(
    "values",
    ["ab", 3.0, None, [[1, 2]], [1j], [None], {1: 2}, np.ones((2, 2)), torch.ones(2, 2)],
)
def test_what_holds_no_numbers_is_refused(values):
    with pytest.raises(TypeError, match="`x` to hold numbers, but got"):
        finite_floats(values, "x")
    with pytest.raises(TypeError, match=r"; give two$"):
        finite_floats(values, "x", "give two")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_have_to_be_finite(value):
    with pytest.raises(ValueError, match="`x` to be finite, but got"):
        finite_floats([1.0, value], "x")


def test_a_contrast_range_rises():
    assert contrast_range([0, 1]) == (0.0, 1.0)
    assert contrast_range(np.array([-0.5, 1.5])) == (-0.5, 1.5)
    for values in ([1, 0.5], [0.5, 0.5], [1.0], [0, 0.5, 1], []):
        with pytest.raises(ValueError, match=r"\(lowest, highest\) with lowest < highest, but got"):
            contrast_range(values)
    with pytest.raises(ValueError, match="`contrast` to be finite"):
        contrast_range([0, math.inf])
    with pytest.raises(TypeError, match="`contrast` to hold numbers"):
        contrast_range(0.5)


@pytest.mark.parametrize(
    ("example", "n_examples", "row"),
    [(None, 1, 0), (0, 1, 0), (-1, 1, 0), (2, 3, 2), (-1, 3, 2), (-3, 3, 0)],
)
def test_an_example_is_an_index_from_either_end(example, n_examples, row):
    assert example_index(example, n_examples) == row


@pytest.mark.parametrize(("example", "n_examples"), [(None, 2), (1, 1), (3, 3), (-4, 3), (None, 0)])
def test_an_example_has_to_be_there(example, n_examples):
    with pytest.raises(ValueError, match=f"which of the {n_examples} images .* got {example};"):
        example_index(example, n_examples)


@pytest.mark.parametrize("example", [0.0, "0", [0]])
def test_an_example_is_an_integer(example):
    with pytest.raises(TypeError, match="`example` to be an integer"):
        example_index(example, 2)


def test_unknown_arguments_are_refused_with_the_nearest_name():
    known = ["inputs", "baselines", "design"]
    refuse_unknown_arguments(["design", "inputs"], known, "f")
    refuse_unknown_arguments([], known, "f")
    with pytest.raises(TypeError, match="of f, but got `desing`; did you mean `design`"):
        refuse_unknown_arguments(["inputs", "desing"], known, "f")
    with pytest.raises(TypeError, match=r"`zzz`; it takes inputs, baselines, design$"):
        refuse_unknown_arguments(["zzz"], known, "f")
    with pytest.raises(TypeError, match=r"`zzz`; do without$"):
        refuse_unknown_arguments(["zzz"], known, "f", hint="do without")
    with pytest.raises(TypeError, match="`baseline`; did you mean `baselines`"):
        refuse_unknown_arguments(["baseline"], known, "f", hint="do without")


def test_an_unknown_choice_names_those_there_are():
    error = unknown_choice("kind", "fast", ("auto", "grid"))
    assert isinstance(error, ValueError)
    assert str(error) == "Expected `kind` to be one of auto, grid, but got 'fast'"


def calls_through(modules):
    """`warn_user`, called by a function of the first module, that by one of the second, ..."""
    function = warn_user
    for module in modules:
        names = {"__name__": module, "inner": function}
        exec("def function(message): inner(message)", names)
        function = names["function"]
    return function


@pytest.mark.parametrize(
    "modules",
    [
        ["captum_ssvep.attr.tagging"],
        ["captum_ssvep", "captum.attr", "captum_ssvep.spectrum.run", "torch.nn.modules.module"],
        ["captum_ssvep.design.tags", "dataclasses"],
        ["captum_ssvep.model.untouched", "contextlib", "captum_ssvep.model.recorder"],
    ],
)
def test_warnings_point_at_the_callers_own_line(modules):
    with pytest.warns(UserWarning, match="^beware$") as caught:
        calls_through(modules)("beware")
    (warning,) = caught
    assert warning.filename == __file__
    line = linecache.getline(warning.filename, warning.lineno)
    assert line.strip() == 'calls_through(modules)("beware")'


@pytest.mark.parametrize("module", ["captum_ssvep_of_mine", "torchlike", "__main__", "mine.torch"])
def test_modules_of_similar_names_are_the_users(module):
    with pytest.warns(UserWarning, match="beware") as caught:
        calls_through(["captum_ssvep.design", "torch", module, "captum_ssvep"])("beware")
    assert [warning.filename for warning in caught] == ["<string>"]


@pytest.mark.parametrize("values", [(50, 100), (0, 100.0), (20, 80)])
def test_contrasts_in_percent_are_refused(values):
    low, high = values
    with pytest.raises(ValueError, match=rf"percent; write \({low / 100}, {high / 100}\)"):
        contrast_range(values)


def test_each_message_is_given_once_within_a_call():
    @warning_once()
    def call():
        for message in ("one", "two", "one", "two"):
            warn_user(message)

    for _ in range(2):  # each call by itself
        with pytest.warns(UserWarning, match="one|two") as caught:
            call()
        assert [str(warning.message) for warning in caught] == ["one", "two"]
        assert {warning.filename for warning in caught} == {__file__}
