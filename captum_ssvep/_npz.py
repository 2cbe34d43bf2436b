"""Results as files: ``.npz`` archives of plain arrays, readable without this package."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .design.base import Design
from .design.components import Component
from .design.grids import ChebyshevGrid
from .design.tags import TaggingDesign

DESIGNS: dict[str, type[Design]] = {"time": TaggingDesign, "grid": ChebyshevGrid}
# What a spectrum may lack: a sum has no variance, and errors are estimated on demand.
OPTIONAL = frozenset({"variance", "deviations"})


def save_arrays(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays to an archive, whole or not at all: a killed process leaves the old file."""
    with unfinished(path).open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    unfinished(path).replace(path)


def unfinished(path: str | Path) -> Path:
    """Where an archive is written, before it takes its place."""
    return Path(f"{path}.unfinished")


def load_arrays(path: str | Path, required: set[str], writer: str) -> dict[str, NDArray[Any]]:
    """Read all arrays of an archive.

    Args:
        path: Of the file.
        required: Names that it has to hold.
        writer: What writes such files, for messages.

    Raises:
        ValueError: If the file is damaged, or lacks a name.
    """
    with Path(path).open("rb") as file:
        content = io.BytesIO(file.read())
    try:
        with np.load(content, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive}
    except Exception as error:  # zip archives can be damaged in many ways
        raise ValueError(
            f"Expected a file written by {writer}, but {path} is none, or damaged ({error})"
        ) from None
    missing = required - set(arrays)
    if missing:
        raise ValueError(
            f"Expected a file written by {writer}, but {path} lacks {', '.join(sorted(missing))}"
        )
    return arrays


def encode_design(design: Design) -> dict[str, Any]:
    """A design as JSON takes it."""
    (kind,) = (kind for kind, made in DESIGNS.items() if isinstance(design, made))
    return {"kind": kind, **asdict(design)}  # type: ignore[call-overload]


def decode_design(encoded: Mapping[str, Any]) -> Design:
    """The design that was encoded."""
    values = dict(encoded)
    return DESIGNS[values.pop("kind", "time")](**values)


def write(path: str | Path, fields: Mapping[str, Any]) -> None:
    """Write the fields of a spectrum: tensors, integers, and a design as JSON."""
    arrays: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Tensor):
            arrays[name] = value.cpu().numpy()
        elif isinstance(value, Design):
            arrays[name] = np.array(json.dumps(encode_design(value)))
        elif value is not None:
            arrays[name] = np.array(value, dtype=np.int64)
    save_arrays(path, arrays)


def read(path: str | Path, names: set[str]) -> dict[str, Any]:
    """Read the fields of a spectrum, to the CPU.

    Raises:
        ValueError: If the file is damaged, or lacks one of the names.
    """
    arrays = load_arrays(path, names - OPTIONAL, "`TaggedSpectrum.save`")
    fields: dict[str, Any] = {name: arrays[name] for name in names & set(arrays)}
    design = decode_design(json.loads(str(fields.pop("design"))))
    components = fields.pop("components").tolist()
    n_neighbors, neighbour_bins = fields.pop("n_neighbors"), fields.pop("neighbour_bins")
    return {
        "variance": None,
        **{name: torch.from_numpy(array) for name, array in fields.items()},
        "design": design,
        "components": tuple(map(Component, components)),
        "n_neighbors": int(n_neighbors),
        "neighbour_bins": tuple(neighbour_bins.tolist()),
    }
