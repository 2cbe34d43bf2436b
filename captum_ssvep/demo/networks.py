"""Find the network that is meant, with its preprocessing."""

import difflib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import functional

from .._checks import shown
from .weights import load_weights

Preprocess = Callable[[Any], Any]


@dataclass(frozen=True)
class Network:
    """A network and what turns pictures into its inputs.

    Args:
        name (str): What the user calls it.
        model (Module): In eval mode.
        preprocess (callable): From a picture to a tensor of shape ``(channels, height, width)``.
        note (str): What the user should know about its weights and inputs; may be empty.
    """

    name: str
    model: nn.Module
    preprocess: Preprocess
    note: str = ""


def load_network(name: str, weights: str = "default", seed: int = 0) -> Network:
    """A torchvision classifier, or the network that a function of the user's gives.

    Args:
        name (str): As torchvision calls it, or ``path/to/file.py:function``. The function takes no
            argument and returns a model, or a model and its preprocessing: any function from a
            picture of PIL to a tensor. Without one, pictures come as they are, from 0 to 1.
        weights (str, optional): ``"default"``, those of torchvision or of the function; ``"none"``,
            random ones; or the path of a state dict (see `load_weights`). Default: ``"default"``
        seed (int, optional): Seed of random weights. Default: 0

    Raises:
        ValueError: If there is no such network, the weights do not fit it, or torch takes no such
            seed.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"Expected --seed to be from 0 to 2^64 - 1, but got {seed}; try 0")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        of_file = ":" in name or name.endswith(".py")
        network = _of_file(name, weights) if of_file else _of_torchvision(name, weights)
    if weights in ("default", "none"):
        return network
    notes = (network.note, load_weights(network.model, Path(weights)))
    return replace(network, note=" ".join(filter(None, notes)))


def _of_torchvision(name: str, weights: str) -> Network:
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        close = ", ".join(difflib.get_close_matches(name, names) or ["resnet18"])
        raise ValueError(
            "Expected --model to name a torchvision classifier or path/to/file.py:function, but "
            f"got {name}; try {close} (`torchvision.models.list_models()` lists all)"
        )
    pretrained = torchvision.models.get_model_weights(name).DEFAULT
    chosen = pretrained if weights == "default" else None
    try:
        model = torchvision.models.get_model(name, weights=chosen, progress=sys.stderr.isatty())
    except URLError as error:
        raise ValueError(
            f"Expected to download {pretrained.url}, but could not ({error.reason}); give a state "
            "dict with --weights PATH, or --weights none for random weights"
        ) from None
    note = "Random weights." if weights == "none" else ""
    return Network(name, model.eval(), pretrained.transforms(), note)


def _of_file(name: str, weights: str) -> Network:
    if weights == "none":
        raise ValueError(
            f"Expected --weights PATH with --model {name}, but got none; its function decides "
            "whether weights are random"
        )
    path, _, function = name.rpartition(":")
    if not path:
        raise ValueError(
            f"Expected --model path/to/file.py:function, but got {name}; add a colon and the name "
            "of a function that returns a model"
        )
    with _importable(Path(path)):
        module = _executed(Path(path))
        if not hasattr(module, function):
            known = [key for key, value in vars(module).items() if callable(value)]
            near = ", ".join(difflib.get_close_matches(function, known) or known) or "no function"
            raise ValueError(
                f"Expected --model to name a function of {path}, but it has no {function!r}; it "
                f"has {near}"
            )
        given = getattr(module, function)
        if not isinstance(given, nn.Module):
            given = told(f"{function}() of {path}", given)
    model, preprocess = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    if not isinstance(model, nn.Module) or not (preprocess is None or callable(preprocess)):
        raise ValueError(
            f"Expected {function}() of {path} to return a model, or a model and its preprocessing, "
            f"but got {_described(given)}; end it with `return model, preprocess`"
        )
    if preprocess is None:
        note = f"{function}() gives no preprocessing: pixels are shown from 0 to 1, as they are."
        return Network(name, model.eval(), _pixels, note)
    return Network(name, model.eval(), _of_pictures(preprocess, name))


def told(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of the user's, and say in one sentence what it raised.

    Raises:
        ValueError: If it raised something.
    """
    try:
        return function(*arguments)
    except Exception as error:  # of any kind
        words = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")
        raise ValueError(
            f"Expected {what} to run, but it raised {words}; try it in Python by itself"
        ) from error


@contextmanager
def _importable(path: Path) -> Iterator[None]:
    """Find the modules that lie beside a file, as Python does when it runs it."""
    folder = str(path.parent.resolve())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _executed(path: Path) -> ModuleType:
    """The module of a file."""
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(
            f"Expected --model path/to/file.py:function, but there is no Python file {path}; try "
            "its whole path, or the name of a torchvision classifier"
        )
    spec = importlib.util.spec_from_file_location(f"_of_the_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"Expected --model to name a file of Python, but got {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as dataclasses and pickle expect
    told(str(path), spec.loader.exec_module, module)
    return module


def _pixels(picture: Image.Image | Tensor) -> Tensor:
    """A picture as a tensor from 0 to 1."""
    if isinstance(picture, Tensor):
        return picture
    pixels: Tensor = functional.to_tensor(picture)
    return pixels


def _of_pictures(preprocess: Preprocess, name: str) -> Preprocess:
    """The user's preprocessing, for deep pictures, too, which are tensors."""

    def of_picture(picture: Image.Image | Tensor) -> Any:
        if isinstance(picture, Tensor):
            picture = functional.to_pil_image(picture)
        return told(f"the preprocessing of {name}", preprocess, picture)

    return of_picture


def _described(given: Any) -> str:
    if isinstance(given, tuple):
        return f"a tuple of {', '.join(type(item).__name__ for item in given) or 'nothing'}"
    return shown(given)
