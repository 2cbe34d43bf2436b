"""Archives of plain arrays, ``.npz``, which NumPy can read without this package."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import file_path


def save(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays to an archive, all or nothing: if the process is killed, the old file stays."""
    target = file_path(path)
    with unfinished(target).open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    unfinished(target).replace(target)


def unfinished(path: Path) -> Path:
    """Where an archive is written before it moves to its place."""
    return Path(f"{path}.unfinished")


def load(path: str | Path, required: set[str], writer: str) -> dict[str, NDArray[Any]]:
    """Read all arrays of an archive.

    Args:
        path: Path of the file.
        required: Names of the arrays that it has to hold.
        writer: What writes such files, for messages.

    Raises:
        ValueError: If the file is damaged, or lacks an array.
    """
    content = file_path(path).read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive}
    except Exception as error:  # zip archives can be damaged in many ways
        raise ValueError(
            f"Expected a file written by {writer}, but {path} is not one, or is damaged ({error})"
        ) from None
    missing = required - set(arrays)
    if missing:
        raise ValueError(
            f"Expected a file written by {writer}, but {path} lacks {', '.join(sorted(missing))}"
        )
    return arrays
