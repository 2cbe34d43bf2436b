"""Unfinished scores on disk, and how to tell whose they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import archive
from .sampling import Design
from .scores import NeuronScores


@dataclass(frozen=True)
class Checkpoint:
    """Where unfinished scores are kept, and what they belong to.

    Args:
        path: Of the file.
        owner: What has to agree for work to go on: a digest under each name.
    """

    path: Path
    owner: Mapping[str, str]

    def save(self, scores: NeuronScores, n_done: int) -> None:
        """Write the scores of the first ``n_done`` items, whole or not at all."""
        about = json.dumps({"n_done": n_done, "owner": dict(self.owner)})
        archive.save_arrays(self.path, {**scores.to_arrays(), "checkpoint": np.array(about)})

    def load(self) -> tuple[NeuronScores | None, int]:
        """The scores so far and the number of items in them; None and 0 without a file.

        Raises:
            ValueError: If the file is damaged, or of other work. It is left as it is.
        """
        if not self.path.exists():
            return None, 0
        arrays = archive.load_arrays(
            self.path, {"checkpoint", "scores"}, "`score_neurons` as its checkpoint"
        )
        try:
            about = json.loads(str(arrays["checkpoint"]))
            owner, n_done = about["owner"], int(about["n_done"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"Expected a checkpoint of `score_neurons`, but {self.path} is damaged ({error!r})"
            ) from None
        differing = sorted(
            name for name in {*owner, *self.owner} if owner.get(name) != self.owner.get(name)
        )
        if differing:
            raise ValueError(
                f"Expected the checkpoint {self.path} to be of this very run, but it differs in "
                f"{', '.join(differing)}; name another file, or remove this one"
            )
        return NeuronScores.from_arrays(arrays, self.path), n_done


def digest(*values: Any) -> str:
    """A short text that tells values apart: tensors, models, designs, functions, plain values.

    Examples::

        >>> digest(torch.ones(2), {"a": 1}) == digest(torch.ones(2), {"a": 1})
        True
        >>> digest(torch.ones(2)) == digest(torch.zeros(2))
        False
    """
    sha = hashlib.sha256()
    for value in values:
        _add(sha, value)
    return sha.hexdigest()[:16]


def _add(sha: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        dense = value.detach().cpu().contiguous()
        sha.update(f"{dense.dtype}{tuple(dense.shape)}".encode())
        sha.update(dense.flatten().view(torch.uint8).numpy().tobytes())
    elif isinstance(value, (np.ndarray, np.generic)):
        sha.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
    elif isinstance(value, nn.Module):
        sha.update(type(value).__qualname__.encode())
        _add(sha, dict(value.state_dict()))
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            sha.update(f"{key}:".encode())
            _add(sha, value[key])
    elif isinstance(value, (list, tuple)):
        sha.update(f"{len(value)} of".encode())
        for item in value:
            _add(sha, item)
    elif isinstance(value, (str, int, float, bool, type(None), Design)):
        sha.update(repr(value).encode() + b";")
    else:
        # Functions and other objects by name alone: their address differs from run to run.
        sha.update(getattr(value, "__qualname__", type(value).__qualname__).encode() + b";")
