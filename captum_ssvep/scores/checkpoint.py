"""Unfinished scores on disk, and how to tell whose they are."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import _npz as archive
from ..design.base import Design
from ..model.silence import silent_filters
from .result import NeuronScores

SCALARS = (str, int, float, bool, type(None))


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

    def validate_folder(self) -> None:
        """Refuse a place in which nothing can be written, before hours of work.

        Raises:
            OSError: As the system tells it.
        """
        if self.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.path))
        unfinished = archive.unfinished(self.path)
        unfinished.touch()
        unfinished.unlink()

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
        for module in value.modules():
            # Other hooks may but look on.
            _add(sha, [_plain_attributes(module), silent_filters(module)])
    elif isinstance(value, Mapping):
        sha.update(f"{len(value)} keys".encode())
        for key in sorted(value, key=repr):
            sha.update(f"{key!r}:".encode())
            _add(sha, value[key])
    elif isinstance(value, (list, tuple)):
        sha.update(f"{len(value)} of".encode())
        for item in value:
            _add(sha, item)
    elif isinstance(value, (*SCALARS, Design)):
        sha.update(repr(value).encode() + b";")
    elif isinstance(value, FunctionType):
        _add_function(sha, value)
    elif isinstance(value, partial):
        _add(sha, [value.func, value.args, value.keywords])
    elif isinstance(value, MethodType):
        _add(sha, [value.__func__, value.__self__])
    elif hasattr(value, "__qualname__"):
        sha.update(value.__qualname__.encode() + b";")
    else:
        # Other objects by type and plain values: their address differs from run to run.
        sha.update(type(value).__qualname__.encode() + b";")
        _add(sha, _settings(getattr(value, "__dict__", {})))


def _plain_attributes(module: nn.Module) -> dict[str, Any]:
    """What tells a module from others of its type and weights."""
    internal = vars(nn.Module()).keys() - {"training"}
    attributes = vars(module).items()
    return {name: held for name, held in attributes if name not in internal and _is_plain(held)}


def _settings(held: Mapping[str, Any]) -> dict[str, Any]:
    """Of what a function reads, or an object holds, the settings and the models."""
    return {
        n: value for n, value in held.items() if isinstance(value, nn.Module) or _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    """Whether a value is a setting; tensors and lists are what passes leave behind."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, (*SCALARS, np.generic))


def _add_function(sha: Any, function: FunctionType) -> None:
    """What a function does, as far as it can be seen: its code, and the values it holds on to."""
    sha.update(function.__qualname__.encode())
    _add_code(sha, function.__code__)
    read = function.__globals__.keys() & _names(function.__code__)
    _add(sha, _settings({name: function.__globals__[name] for name in read}))
    _add(sha, [function.__defaults__, function.__kwdefaults__])
    for cell in function.__closure__ or ():
        # Functions within functions by name, lest one that holds itself never end.
        held = cell.cell_contents
        _add(sha, held.__qualname__ if isinstance(held, FunctionType) else held)


def _add_code(sha: Any, code: CodeType) -> None:
    sha.update(code.co_code + repr(code.co_names).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add_code(sha, constant)
        else:
            # Of a set the order differs from run to run.
            plain = sorted(constant, key=repr) if isinstance(constant, frozenset) else constant
            sha.update(repr(plain).encode() + b";")


def _names(code: CodeType) -> set[str]:
    """Globals and attributes that some code reads, in the functions within, too."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*inner)
