"""Wide tables and Datasets of xarray."""

import json
import sys

import mne
import numpy as np
import pytest
import torch
from torch import nn

from captum_ssvep import (
    ChebyshevGrid,
    Design,
    FrequencyTaggingAttribution,
    TaggedSpectrum,
    TaggingDesign,
)
from captum_ssvep.spectrum.statistics import STATISTICS

DESIGN = TaggingDesign((6.0, 7.5), 250, 1000)


def make_eeg():
    generator = np.random.default_rng(0)
    info = mne.create_info(["Oz", "Pz", "Größe"], 250, "eeg", verbose="error")
    epochs = mne.EpochsArray(1e-6 * generator.normal(size=(4, 3, 1000)), info, verbose="error")
    return TaggedSpectrum.from_mne(epochs, DESIGN, max_order=2)


def make_layer(name, pooling=None, design=None):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.Linear(24, 5), nn.Unflatten(2, (5, 1, 1, 1))
    ).eval()
    images = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    tagging = FrequencyTaggingAttribution(model, name)
    return tagging.spectrum(images, design=design, pooling=pooling, max_order=2)


SPECTRA = {
    "eeg": (make_eeg, ("channel",)),
    "sum": (lambda: make_eeg() + make_eeg(), ("channel",)),
    "maps": (lambda: make_layer("0"), ("channel", "height", "width")),
    "grid": (lambda: make_layer("0", design=ChebyshevGrid()), ("channel", "height", "width")),
    "pooled": (lambda: make_layer("0", "channel"), ("channel",)),
    "own pooling": (lambda: make_layer("0", lambda a: a.amax((2, 3))), ("pooled_value",)),
    "tokens": (lambda: make_layer("2"), ("position", "channel")),
    "unknown": (
        lambda: make_layer("3"),
        ("dimension_1", "dimension_2", "dimension_3", "dimension_4", "dimension_5"),
    ),
    "one number": (lambda: TaggedSpectrum.from_series(torch.rand(1000, 2), DESIGN), ()),
}


@pytest.fixture(params=SPECTRA)
def case(request):
    make, dimensions = SPECTRA[request.param]
    return make(), dimensions


def test_a_wide_table_has_a_record_for_each_image_and_neuron(case):
    spectrum, _ = case
    statistics = ["amplitude", "snr_db"] if spectrum.design.in_time else ["coefficient"]
    records = spectrum.wide_table(statistics)
    places = list(np.ndindex(*spectrum.mean.shape))
    assert len(records) == len(places)
    for (image, *neuron), record in zip(places, records, strict=True):
        assert record["image"] == image
        assert record["layer"] == spectrum.layer
        names = spectrum.neuron_names
        index = neuron[0] if len(neuron) == 1 else tuple(neuron)
        assert record["neuron"] == (index if names is None else names[index])
        assert record["unit"] == spectrum.unit
    labels = [spectrum.design.label(component) for component in spectrum.components]
    columns = [f"{statistic} {label}" for statistic in statistics for label in labels]
    assert list(records[0]) == ["image", "layer", "neuron", "unit", *columns]
    for statistic in statistics:
        for component, label in zip(spectrum.components, labels, strict=True):
            found = [record[f"{statistic} {label}"] for record in records]
            assert found == spectrum.reduce([component], statistic).flatten().tolist()


def test_one_statistic_needs_no_list():
    spectrum = make_eeg()
    for name in STATISTICS:
        assert spectrum.wide_table(name) == spectrum.wide_table((name,))


def test_long_and_wide_tables_hold_the_same():
    pandas = pytest.importorskip("pandas")
    spectrum = make_eeg()
    long, wide = pandas.DataFrame(spectrum.table()), pandas.DataFrame(spectrum.wide_table())
    pivoted = long.pivot(index=["image", "neuron"], columns="component", values="amplitude")
    indexed = wide.set_index(["image", "neuron"]).sort_index()
    for label in pivoted:
        assert (pivoted[label] == indexed[f"amplitude {label}"]).all()


@pytest.mark.parametrize(
    ("statistics", "error", "words"),
    [
        ("power", ValueError, "`statistics` to be one of snr, snr_db"),
        (["amplitude", 3], ValueError, "`statistics` to be one of .* but got 3"),
        (3, TypeError, "`statistics` to be the name of a statistic or a list of such, but got 3"),
    ],
)
def test_other_statistics_are_refused(statistics, error, words):
    with pytest.raises(error, match=words):
        make_eeg().wide_table(statistics)


def test_a_statistic_that_needs_time_is_refused_of_a_grid():
    with pytest.raises(ValueError, match="Expected a design in time for statistic='zscore'"):
        SPECTRA["grid"][0]().wide_table("zscore")


def test_a_dataset_holds_what_the_spectrum_does(case):
    pytest.importorskip("xarray")
    spectrum, dimensions = case
    dataset = spectrum.to_xarray()
    for name in ("amplitude", "phase", "coefficient", "snr"):
        assert dataset[name].dims == ("component", "image", *dimensions)
        for component in spectrum.components:
            found = dataset[name].sel(component=spectrum.design.label(component))
            assert np.array_equal(found, getattr(spectrum, name)(component))
    assert dataset["mean"].dims == ("image", *dimensions)
    assert np.array_equal(dataset["mean"], spectrum.mean)
    assert dataset["multiples"].values.tolist() == list(map(list, spectrum.components))
    assert dataset["order"].values.tolist() == [c.order for c in spectrum.components]
    assert ("frequency" in dataset.coords) == spectrum.design.in_time
    assert Design.from_dict(json.loads(dataset.attrs["design"])) == spectrum.design
    assert dataset.attrs.get("layer") == spectrum.layer
    assert dataset.attrs["neurons"] == spectrum.neurons


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_a_round_trip_through_netcdf_is_equal(case, engine, tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip(engine)
    dataset = case[0].to_xarray()
    dataset.to_netcdf(tmp_path / "spectrum.nc", engine=engine)
    with xarray.open_dataset(tmp_path / "spectrum.nc", engine=engine) as loaded:
        xarray.testing.assert_identical(loaded.load(), dataset)
    again = json.loads(loaded.attrs["design"])
    assert Design.from_dict(again) == case[0].design


def test_channels_have_their_names_and_units_in_a_dataset():
    pytest.importorskip("xarray")
    dataset = make_eeg().to_xarray()
    assert dataset["channel"].values.tolist() == ["Oz", "Pz", "Größe"]
    assert dataset["unit"].values.tolist() == ["V"] * 3
    assert dataset["amplitude"].attrs["units"] == dataset["mean"].attrs["units"] == "V"
    one = dataset["amplitude"].sel(channel="Pz", component="f1 + f2", image=2).item()
    assert one == make_eeg().amplitude((1, 1))[2, 1].item()
    assert dataset.swap_dims(component="frequency")["amplitude"].sel(frequency=13.5).shape == (4, 3)


def test_without_xarray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r"pip install captum-ssvep\[xarray\]"):
        make_eeg().to_xarray()
