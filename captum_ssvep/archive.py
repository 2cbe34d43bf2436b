"""Spectra as files: ``.npz`` archives of plain arrays, readable without this package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .chebyshev import ChebyshevGrid
from .components import Component
from .design import TaggingDesign
from .sampling import Design

DESIGNS: dict[str, type[Design]] = {"time": TaggingDesign, "grid": ChebyshevGrid}
# What a spectrum may lack: a sum has no variance, and errors are estimated on demand.
OPTIONAL = frozenset({"variance", "deviations"})


def write(path: str | Path, fields: Mapping[str, Any]) -> None:
    """Write the fields of a spectrum: tensors, integers, and a design as JSON."""
    arrays: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Tensor):
            arrays[name] = value.cpu().numpy()
        elif isinstance(value, Design):
            (kind,) = (kind for kind, made in DESIGNS.items() if isinstance(value, made))
            arrays[name] = np.array(json.dumps({"kind": kind, **asdict(value)}))  # type: ignore[call-overload]
        elif value is not None:
            arrays[name] = np.array(value, dtype=np.int64)
    with Path(path).open("wb") as file:
        np.savez(file, **arrays)


def read(path: str | Path, names: set[str]) -> dict[str, Any]:
    """Read the fields of a spectrum, to the CPU.

    Raises:
        ValueError: If the file lacks one of the names.
    """
    with np.load(path, allow_pickle=False) as archive:
        missing = names - OPTIONAL - set(archive)
        if missing:
            raise ValueError(
                f"Expected a file written by `TaggedSpectrum.save`, but {path} lacks "
                f"{', '.join(sorted(missing))}"
            )
        fields: dict[str, Any] = {name: archive[name] for name in names & set(archive)}
    design = json.loads(str(fields.pop("design")))
    components = fields.pop("components").tolist()
    n_neighbors, neighbour_bins = fields.pop("n_neighbors"), fields.pop("neighbour_bins")
    return {
        "variance": None,
        **{name: torch.from_numpy(array) for name, array in fields.items()},
        "design": DESIGNS[design.pop("kind", "time")](**design),
        "components": tuple(map(Component, components)),
        "n_neighbors": int(n_neighbors),
        "neighbour_bins": tuple(neighbour_bins.tolist()),
    }
