"""Designs of the command line."""

import json

import pytest

from captum_ssvep import TaggingDesign, choose_design
from captum_ssvep.demo.designs import design_of


@pytest.mark.parametrize(
    ("kind", "frequencies", "n_parts", "design"),
    [
        (None, None, 2, TaggingDesign()),
        (None, None, 1, choose_design(1, 4, "time")),
        (None, None, 4, choose_design(4, 2, "time")),
        (None, [5, 9], 2, TaggingDesign([5, 9])),
        ("time", [7], 1, TaggingDesign([7])),
        ("time", None, 2, choose_design(2, 4, "time")),
        ("grid", None, 3, choose_design(3, 2, "grid")),
        ("auto", None, 2, choose_design(2, 4)),
        ("two-level", None, 9, choose_design(9, 2, "two-level")),
    ],
)
def test_what_is_asked_for_is_shown(kind, frequencies, n_parts, design):
    assert design_of(kind, frequencies, n_parts) == design


@pytest.mark.parametrize("design", [TaggingDesign([5.8, 7.2], 60, 600), choose_design(2)])
def test_a_design_comes_from_a_file(tmp_path, design):
    path = tmp_path / "design.json"
    path.write_text(json.dumps(design.to_dict()))
    assert design_of(str(path), None, 2) == design


def test_a_file_needs_no_more_than_tags_and_is_warned_about(tmp_path):
    path = tmp_path / "design.json"
    path.write_text('{"frequencies": [6, 7.5], "n_frames": 480}')
    assert design_of(str(path), None, 2) == TaggingDesign([6, 7.5], n_frames=480)
    path.write_text('{"frequencies": [6, 12]}')
    with pytest.warns(UserWarning, match="second harmonic"):
        design_of(str(path), None, 2)
    path.write_text('{"frequencies": [20, 27], "sampling_rate": 60, "n_frames": 600}')
    with pytest.warns(UserWarning, match=r"f1 \+ f2 = 47 Hz, seen at 13 Hz: it lies above"):
        design_of(str(path), None, 2)


def test_a_sum_of_tags_that_folds_is_told():
    with pytest.warns(UserWarning, match=r"f1 \+ f2 = 118.5 Hz, seen at 1.5 Hz: .* below 30 Hz"):
        design_of(None, [59, 59.5], 2)


@pytest.mark.parametrize(
    ("kind", "frequencies", "n_parts", "words"),
    [
        ("grid", [6, 7.5], 2, "--frequencies with --design time"),
        (None, [6, 7.5, 8], 2, "each of the 2 parts of --mask, but got 3"),
        (None, [6, 7.3], 2, "nearest: 7 or 7.5"),
        (None, [6, 7.3], 2, r'--design a JSON file that holds .*\[6, 7.3\], "n_frames": 1200'),
        (None, [6, 6], 2, "differ from part to part"),
        (None, [70, 80], 2, "--frequencies below 60 Hz, .* got 80 Hz; below 30 Hz their sums fit"),
        ("gird", None, 2, r"auto, grid, time, two-level or a JSON file .* got gird \(No such"),
        ("FILE", None, 3, "each of the 3 parts of --mask, but got 2"),
        ("WORDS", None, 2, "JSON file .*Expecting value"),
        ("LIST", None, 2, "JSON file"),
        ("UNKNOWN", None, 2, r"JSON file .* but got nframes \(nearest: n_frames\)"),
        ("time", None, 200, "200 parts take too many frames with --design time"),
        (None, None, 200, "200 parts take too many frames with --design time"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, kind, frequencies, n_parts, words):
    contents = {
        "FILE": '{"frequencies": [6, 7.5]}', "WORDS": "words", "LIST": "[6, 7.5]",
        "UNKNOWN": '{"frequencies": [6, 7.5], "nframes": 480}',
    }  # fmt: skip
    if kind in contents:
        (tmp_path / "design.json").write_text(contents[kind])
        kind = str(tmp_path / "design.json")
    with pytest.raises(ValueError, match=words) as caught:
        design_of(kind, frequencies, n_parts)
    assert str(caught.value).startswith("Expected ")
