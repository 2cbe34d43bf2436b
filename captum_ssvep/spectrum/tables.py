"""Spectra as tables and labeled arrays, for pandas, R and xarray."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .._checks import choice, instance
from ..design import Component
from .plan import validate_statistic
from .statistics import STATISTICS, Statistic

if TYPE_CHECKING:
    import xarray

    from .tagged import TaggedSpectrum

# Columns of the long table that are read from the spectrum, and the methods that give them.
RECORDED = {
    "amplitude": "amplitude",
    "coefficient": "coefficient",
    "snr": "snr",
    "share": "variance_share",
}
# Names of the dimensions beside that of the channels, by their number.
SPACE = {1: ("position",), 2: ("height", "width")}


def long_table(spectrum: TaggedSpectrum) -> list[dict[str, Any]]:
    """One record per image, neuron and component, as `TaggedSpectrum.table` describes."""
    return [record for c in spectrum.components for record in _records(spectrum, c)]


def _records(spectrum: TaggedSpectrum, component: Component) -> Iterator[dict[str, Any]]:
    missing = {"share": None} if spectrum.variance is None else {}  # of sums
    read = {name: method for name, method in RECORDED.items() if name not in missing}
    columns = [getattr(spectrum, method)(component).flatten().tolist() for method in read.values()]
    for place, *numbers in zip(_places(spectrum), *columns, strict=True):
        yield {
            **place,
            "component": spectrum.design.label(component),
            "order": component.order,
            "frequency": spectrum.design.frequency(component),
            **dict(zip(read, numbers, strict=True)),
            **missing,
        }


def wide_table(
    spectrum: TaggedSpectrum, statistics: Statistic | Sequence[Statistic]
) -> list[dict[str, Any]]:
    """One record per image and neuron, as `TaggedSpectrum.wide_table` describes.

    Raises:
        ValueError: If a statistic is unknown, or the design has none.
        TypeError: If ``statistics`` is no sequence.
    """
    expected = "the name of a statistic or a list of such"
    named = [statistics] if isinstance(statistics, str) else statistics
    names: Sequence[Statistic] = instance(named, (list, tuple), "statistics", expected)
    for name in names:
        choice(name, "statistics", STATISTICS)
        validate_statistic(name, spectrum.design)
    columns = {
        f"{name} {spectrum.design.label(c)}": spectrum.reduce([c], name).flatten().tolist()
        for name in names
        for c in spectrum.components
    }
    rows = zip(*columns.values(), strict=True) if columns else [()] * spectrum.mean.numel()
    return [
        {**place, **dict(zip(columns, numbers, strict=True))}
        for place, numbers in zip(_places(spectrum), rows, strict=True)
    ]


def _places(spectrum: TaggedSpectrum) -> Iterator[dict[str, Any]]:
    """Image, layer, neuron and unit of every number of a spectrum."""
    names, units = spectrum.neuron_names, spectrum.neuron_units
    for image, *neuron in np.ndindex(*spectrum.mean.shape):
        index = neuron[0] if len(neuron) == 1 else tuple(neuron)
        yield {
            "image": image,
            "layer": spectrum.layer,
            "neuron": index if names is None else names[neuron[0]],
            "unit": None if units is None else units[neuron[0]],
        }


def labeled(spectrum: TaggedSpectrum) -> xarray.Dataset:
    """The spectrum as a Dataset of xarray, as `TaggedSpectrum.to_xarray` describes.

    Raises:
        ImportError: If xarray is not installed.
    """
    try:
        import xarray
    except ImportError:
        raise ImportError(
            "Expected xarray to be installed, but it is not; `pip install captum-ssvep[xarray]`"
        ) from None
    design, components, dimensions = spectrum.design, spectrum.components, _dimensions(spectrum)
    coordinates: dict[str, Any] = {
        "component": list(map(design.label, components)),
        "image": np.arange(len(spectrum)),
        "order": ("component", [component.order for component in components]),
        "multiples": (("component", "part"), np.array(components)),
    }
    if design.in_time:
        frequencies = list(map(design.frequency, components))
        coordinates["frequency"] = ("component", frequencies, {"units": "Hz"})
    if spectrum.neuron_names is not None:
        coordinates[dimensions[0]] = list(spectrum.neuron_names)
    if spectrum.neuron_units is not None:
        coordinates["unit"] = (dimensions[0], list(spectrum.neuron_units))
    unit = {} if spectrum.unit is None else {"units": spectrum.unit}
    units = {"amplitude": unit, "phase": {"units": "rad"}, "coefficient": unit, "snr": {}}
    variables: dict[str, Any] = {
        "mean": (("image", *dimensions), spectrum.mean.cpu().numpy(), unit)
    }
    for name, about in units.items():
        values = torch.stack([getattr(spectrum, name)(component) for component in components])
        variables[name] = (("component", "image", *dimensions), values.cpu().numpy(), about)
    attributes = {
        "design": json.dumps(design.to_dict()),
        "neurons": spectrum.neurons,
        "n_neighbors": spectrum.n_neighbors,
    }
    if spectrum.layer is not None:
        attributes["layer"] = spectrum.layer
    return xarray.Dataset(variables, coordinates, attributes)


def _dimensions(spectrum: TaggedSpectrum) -> tuple[str, ...]:
    """Names of the dimensions behind the images."""
    n_dims, channel_dim = spectrum.mean.dim() - 1, spectrum.channel_dim
    if n_dims == 1:
        return (spectrum.neurons.replace(" ", "_"),)
    if channel_dim is None or n_dims - 1 not in SPACE:
        return tuple(f"dimension_{dim}" for dim in range(1, n_dims + 1))
    names = list(SPACE[n_dims - 1])
    names.insert(channel_dim - 1, "channel")
    return tuple(names)
