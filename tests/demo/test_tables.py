"""The tables name what is there, and nothing that is not."""

import csv

import pytest
import torch

from captum_ssvep import TaggedSpectrum, TaggingDesign, choose_design
from captum_ssvep.demo.tables import (
    shown_components,
    strongest_channel,
    strongest_channels,
    write_table,
)

NAMES = ("left half", "right half")


def channels_that(*responses, design=None):
    """Channels with responses to the contrasts of the parts, each a function."""
    design = design or TaggingDesign()
    contrasts = torch.as_tensor(design.contrasts).T
    series = torch.stack([response(*contrasts) for response in responses], dim=1)
    return TaggedSpectrum.from_series(series[:, None], design)


def left(a, b):
    return a


def right(a, b):
    return b


def product(a, b):
    return a * b


def nothing(a, b):
    return torch.ones_like(a)


@pytest.mark.parametrize(
    ("responses", "channel", "component"),
    [
        ((left, product, right), 1, (1, 1)),
        ((right, lambda a, b: 3 * a), 1, (1, 0)),
        ((nothing, right), 1, (0, 1)),
        ((nothing, nothing), 0, None),
    ],
)
def test_the_channel_shown_is_the_strongest_at_a_component_that_is_there(
    responses, channel, component
):
    assert strongest_channel(channels_that(*responses)) == (channel, component)


def test_what_is_below_rounding_is_a_dash():
    table = strongest_channels(channels_that(left, nothing, right), NAMES)
    heading = "f1 = 6 Hz (left half) f2 = 7.5 Hz (right half) f1 + f2 = 13.5 Hz (both)"
    lines = [[cell.split() for cell in line.split("|")] for line in table.splitlines()[3:]]
    assert [word for cell in lines[0] for word in cell] == heading.split()
    assert lines[2] == [["0", "0.25", "100.0%"], ["2", "0.25", "100.0%"], ["-"]]
    assert lines[3:] == [[["-"], ["-"], ["-"]]] * 2
    assert "3 channels of 3" in table
    assert "49 frames" in table


def test_a_missing_combination_is_told():
    with pytest.warns(UserWarning, match="second harmonic"):
        design = TaggingDesign([6, 12])
    with pytest.warns(UserWarning, match="share a line"):
        spectrum = channels_that(left, design=design)
    assert "f1 + f2 is missing" in strongest_channels(spectrum, NAMES)
    assert "missing" not in strongest_channels(channels_that(left), NAMES)


def test_of_many_components_the_strongest_are_shown_and_parts_come_first():
    design = choose_design(6, 2, "time")
    spectrum = channels_that(
        lambda *c: c[0] * c[4] + 0.1 * sum(c) + 0.2 * c[2] * c[3], design=design
    )
    shown = shown_components(spectrum)
    assert len(shown) == 10
    assert shown[:6] == list(design.components("fundamentals"))
    pairs = {component.parts for component in shown[6:]}
    assert {(0, 4), (2, 3)} <= pairs
    names = [f"part {part}" for part in range(6)]
    table = strongest_channels(spectrum, names)
    assert table.count("channel  amplitude   share") == 10
    assert "(part 5)" in table


def test_the_file_holds_every_number(tmp_path):
    spectra = {"cat": [channels_that(left, product)], "dog": [channels_that(right, nothing)]}
    write_table(tmp_path / "table.csv", spectra)
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    records = [
        {**record, "image": name}
        for name, layers in spectra.items()
        for spectrum in layers
        for record in spectrum.table()
    ]
    assert len(rows) == len(records) == 2 * 2 * len(spectra["cat"][0].components)
    for row, record in zip(rows, records, strict=True):
        assert row.keys() == record.keys()
        assert row["image"] == record["image"]
        assert row["component"] == record["component"]
        assert float(row["amplitude"]) == record["amplitude"]
        assert float(row["frequency"]) == record["frequency"]
