"""Load weights from a file, whatever was saved around them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import count

# So many names are listed in a message.
MOST_LISTED = 2


def load_weights(model: nn.Module, path: Path) -> str:
    """Load a state dict from a file into a model.

    The state dict may lie in a checkpoint, as in ``{"state_dict": ..., "epoch": 90}``, and all its
    names may begin with what a wrapper added, such as ``module.`` of DataParallel.

    Args:
        model (Module): The model.
        path (Path): A file that ``torch.save`` wrote.

    Returns:
        str: What was taken from the file if that was not all of it, otherwise empty.

    Raises:
        ValueError: If the file holds no state dict, or one that does not fit the model.
    """
    saved = _read(path)
    own = model.state_dict()
    found = {key: _without_prefix(tensors, own) for key, tensors in _state_dicts(saved).items()}
    if not found:
        raise ValueError(
            f"Expected --weights to be a state dict saved by torch.save, but {path} holds "
            f"{_described(saved)}; save `model.state_dict()`"
        )
    # A checkpoint may hold several, such as a running average of the weights.
    key = max(found, key=lambda key: len(found[key][0].keys() & own.keys()))
    tensors, prefix = found[key]
    try:
        model.load_state_dict(tensors)
    except RuntimeError:
        raise _misfit(tensors, own, path) from None
    notes = [f"{key!r}"] if key else []
    notes += [f"names without {prefix!r}"] if prefix else []
    return f"Taken from {path.name}: {', '.join(notes)}." if notes else ""


def _read(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(
            f"Expected --weights to be 'default', 'none' or a file, but {path} cannot be read "
            f"({error.strerror or error}); give the path of a state dict"
        ) from None
    except Exception:  # files can be anything
        raise ValueError(
            f"Expected --weights to be a state dict saved by torch.save, but {path} is not; save "
            "`model.state_dict()`, not the model"
        ) from None


def _state_dicts(saved: Any) -> dict[str, Mapping[str, Tensor]]:
    """The state dicts in what was saved, by their keys; the empty key stands for all of it."""
    if not isinstance(saved, Mapping):
        return {}
    if _is_state_dict(saved):
        return {"": saved}
    return {str(key): value for key, value in saved.items() if _is_state_dict(value)}


def _is_state_dict(value: Any) -> bool:
    named = isinstance(value, Mapping) and len(value) > 0 and all(isinstance(k, str) for k in value)
    return named and all(isinstance(tensor, Tensor) for tensor in value.values())


def _without_prefix(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[Mapping[str, Tensor], str]:
    """The tensors by their names in the model, and what all names began with before.

    Examples::

        >>> _without_prefix({"module.a": torch.zeros(1)}, {"a": torch.zeros(1)})
        ({'a': tensor([0.])}, 'module.')
    """
    prefix, rest = "", dict(tensors)
    while not rest.keys() & own.keys():
        words = {name.partition(".")[0] for name in rest}
        if len(words) > 1 or not all("." in name for name in rest):
            return tensors, ""
        prefix += f"{words.pop()}."
        rest = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return (rest if prefix else tensors), prefix


def _misfit(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> ValueError:
    """The error for tensors that the model does not have, or has in another shape."""
    kinds = {
        "lacks": [name for name in own if name not in tensors],
        "has unknown": [name for name in tensors if name not in own],
        "has another shape of": [
            f"{name} ({_size(tensors[name])} instead of {_size(own[name])})"
            for name in own
            if name in tensors and tensors[name].shape != own[name].shape
        ],
    }
    found = [f"{verb} {_listed(names)}" for verb, names in kinds.items() if names]
    return ValueError(
        f"Expected --weights to fit the {count(len(own), 'tensor')} of --model, but {path} "
        f"{' and '.join(found) or 'does not'}; give the network that they were saved from"
    )


def _size(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "1"


def _listed(names: Iterable[str]) -> str:
    first, *others = [*names]
    listed = [first, *others][:MOST_LISTED]
    more = len(others) + 1 - len(listed)
    return ", ".join(listed) + (f" and {more} more" if more else "")


def _described(saved: Any) -> str:
    """What was saved, in a few words."""
    if isinstance(saved, Mapping):
        return f"a dictionary of {_listed(map(repr, saved))}" if saved else "an empty dictionary"
    return f"a {type(saved).__name__}"
