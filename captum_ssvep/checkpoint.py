"""Unfinished scores on disk, and how to tell whose they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
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
            owner, n_done = dict(about["owner"]), int(about["n_done"])
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
        scores = NeuronScores.from_arrays(arrays, self.path)
        if scores.n_examples != n_done:
            raise ValueError(
                f"Expected a checkpoint of `score_neurons`, but {self.path} is damaged: it counts "
                f"{n_done} images and holds {scores.n_examples}"
            )
        return scores, n_done


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
        sha.update(f"{value.dtype}{tuple(value.shape)}".encode())
        if not value.is_meta:
            dense = value.detach().to_dense() if value.layout != torch.strided else value.detach()
            plain = dense.resolve_conj().resolve_neg().cpu().contiguous()
            sha.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    elif isinstance(value, (np.ndarray, np.generic)):
        sha.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
    elif isinstance(value, nn.Module):
        sha.update(repr(value).encode())
        _add(sha, dict(value.named_parameters()))
        _add(sha, dict(value.named_buffers()))
    elif isinstance(value, Mapping):
        sha.update(f"{len(value)} keys".encode())
        for key in sorted(value, key=repr):
            sha.update(f"{key!r}:".encode())
            _add(sha, value[key])
    elif isinstance(value, (list, tuple)):
        sha.update(f"{len(value)} of".encode())
        for item in value:
            _add(sha, item)
    elif isinstance(value, (str, int, float, bool, type(None), Design)):
        sha.update(repr(value).encode() + b";")
    elif isinstance(value, FunctionType):
        _add_function(sha, value)
    else:
        # Other objects by type alone: their address differs from run to run.
        sha.update(getattr(value, "__qualname__", type(value).__qualname__).encode() + b";")


def _add_function(sha: Any, function: FunctionType) -> None:
    """What a function does, as far as it can be seen: its code, and the values it holds on to."""
    code = function.__code__
    sha.update(function.__qualname__.encode() + code.co_code + repr(code.co_names).encode())
    plain = (str, int, float, bool, type(None))
    _add(sha, [constant for constant in code.co_consts if isinstance(constant, plain)])
    _add(sha, function.__defaults__)
    for cell in function.__closure__ or ():
        # Functions within functions by name, lest one that holds itself never end.
        held = cell.cell_contents
        _add(sha, held.__qualname__ if isinstance(held, FunctionType) else held)
