"""Unfinished scores on disk, and what identifies the run that they belong to."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import _npz
from .._checks import file_path
from ..design import Design
from .data import Shard, description_of, first_item
from .result import NeuronScores

SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Checkpoint:
    """Where unfinished scores are saved, and which run they belong to.

    Args:
        path: Path of the file.
        owner: What must agree for a run to resume: the name of each setting and its digest.
    """

    path: Path
    owner: Mapping[str, str]

    @classmethod
    def of(cls, path: str | Path, shard: Shard, settings: Mapping[str, Any]) -> Checkpoint:
        """The checkpoint of a process, for its shard and some settings.

        Raises:
            ValueError: If the order of the data changes every time.
            TypeError: If the path is none.
        """
        file = file_path(path, "checkpoint")
        owner = {name: digest(value) for name, value in settings.items()}
        # If augmentation makes the first item differ every time, it is left out.
        items = {digest(first_item(shard.data)) for _ in range(2)}
        owner["data"] = digest([description_of(shard.data), *(items if len(items) == 1 else ())])
        owner["processes"] = f"{shard.rank} of {shard.n_processes}"
        return cls(Path(f"{file}.{shard.rank}") if shard.rank else file, owner)

    def save(self, scores: NeuronScores) -> None:
        """Write the scores so far, completely or not at all."""
        about = json.dumps({"n_done": scores.n_images, "owner": dict(self.owner)})
        _npz.save(self.path, {**scores.to_arrays(), "checkpoint": np.array(about)})

    def validate_folder(self) -> None:
        """Check that the file can be written, before hours of work.

        Raises:
            OSError: The error of the operating system, if it cannot.
        """
        if not self.path.parent.exists():
            raise FileNotFoundError(
                f"Expected `checkpoint` to lie in a folder that exists, but got {self.path}; make "
                f"the folder {self.path.parent.absolute()}"
            )
        if self.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.path))
        unfinished = _npz.unfinished(self.path)
        unfinished.touch()
        unfinished.unlink()

    def load(self) -> NeuronScores | None:
        """The scores so far, or None if there is no file.

        Raises:
            ValueError: If the file is damaged or belongs to another run. It is not changed.
        """
        if not self.path.exists():
            return None
        arrays = _npz.load(self.path, {"checkpoint", "scores"}, "`score_neurons` as its checkpoint")
        try:
            about = json.loads(str(arrays["checkpoint"]))
            owner, n_done = dict(about["owner"]), int(about["n_done"])
            differing = sorted({name for name, _ in owner.items() ^ self.owner.items()})
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(repr(error)) from None
        if differing:
            raise ValueError(
                f"Expected the checkpoint {self.path} to be of this very run, but it differs in "
                f"{', '.join(differing)}; name another file, or remove this one"
            )
        scores = NeuronScores.from_arrays(arrays, self.path)
        if scores.n_images != n_done:
            raise self._damaged(f"it counts {n_done} images and holds {scores.n_images}")
        return scores

    def _damaged(self, reason: str) -> ValueError:
        return ValueError(
            f"Expected a checkpoint of `score_neurons`, but {self.path} is damaged ({reason}); "
            "remove it"
        )


def digest(value: Any) -> str:
    """A short text that identifies a value: a tensor, a model, a design or a plain value.

    A model is identified by its layers, parameters and buffers; functions and other objects by
    their names alone.

    Examples::

        >>> digest({"a": torch.ones(2)}) == digest({"a": torch.ones(2)})
        True
        >>> digest(torch.ones(2)) == digest(torch.zeros(2))
        False
    """
    sha = hashlib.sha256()
    for piece in _pieces(value):
        sha.update(piece)
    return sha.hexdigest()[:16]


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        if not value.is_meta:
            dense = value.detach().to_dense() if value.layout != torch.strided else value.detach()
            plain = dense.resolve_conj().resolve_neg().cpu().contiguous()
            yield plain.flatten().view(torch.uint8).numpy().tobytes()
    elif isinstance(value, (np.ndarray, np.generic)):
        yield f"{value.dtype}{value.shape}".encode() + value.tobytes()
    elif isinstance(value, nn.Module):
        yield repr(value).encode()
        yield from _pieces([dict(value.named_parameters()), dict(value.named_buffers())])
    elif isinstance(value, Design):
        yield from _pieces(value.to_dict())
    elif isinstance(value, Mapping):
        yield b"mapping of "
        yield from _pieces([[name, value[name]] for name in sorted(value, key=repr)])
    elif isinstance(value, (list, tuple)):
        yield f"{len(value)} of".encode()
        for item in value:
            yield from _pieces(item)
    elif isinstance(value, SCALARS):
        yield repr(value).encode() + b";"
    else:
        named = value if hasattr(value, "__qualname__") else type(value)
        yield f"{getattr(named, '__module__', '')}.{named.__qualname__};".encode()
