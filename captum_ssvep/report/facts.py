"""How a result came about: its design, the versions, and the warnings that came up."""

import platform
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import captum
import torch

from .. import __version__
from .._checks import count, instance
from ..design import Component, Design
from ..spectrum.plan import warn_of_collisions

Made = TypeVar("Made")
# What fields of designs are called on the page, with their units.
NAMES = {
    "frequencies": "Tags (Hz)",
    "sampling_rate": "Frames per second",
    "n_frames": "Frames",
    "n_parts": "Parts",
    "nodes": "Contrasts of each part",
    "max_order": "Highest order",
    "contrast": "Contrast, lowest and highest",
    "phases": "Phases (radians)",
    "waveform": "Waveform",
}


def design_facts(design: Design) -> list[tuple[str, str]]:
    """Names and values of all that a design says.

    Examples::

        >>> from captum_ssvep import TaggingDesign
        >>> design_facts(TaggingDesign())[1]
        ('Tags (Hz)', '6, 7.5')
    """
    about = design.to_dict()
    facts = [("Design", str(design))]
    facts += [(NAMES[name], _written(about[name])) for name in NAMES if name in about]
    facts.append(("Distinct frames", str(design.n_distinct_frames)))
    highest = str(design.collision_free_order)
    facts.append(("Highest order up to which no two components share a line", highest))
    return facts


def versions() -> list[tuple[str, str]]:
    """The versions of what computed and made the page."""
    return [
        ("captum_ssvep", __version__),
        ("torch", torch.__version__),
        ("captum", captum.__version__),
        ("Python", platform.python_version()),
    ]


def given_facts(facts: Any) -> list[tuple[str, str]]:
    """What the user knows and results do not hold, such as the network and the seed.

    Raises:
        TypeError: If they are no mapping.
    """
    if facts is None:
        return []
    instance(facts, Mapping, "facts", "a mapping, as {'network': 'resnet18', 'seed': 0}")
    return [(str(name), _written(value)) for name, value in facts.items()]


def given_warnings(caught: Any) -> list[str] | None:
    """The messages of warnings that were caught before, each once; None if nobody caught any.

    Raises:
        TypeError: If they are neither texts nor what `warnings.catch_warnings` records.
    """
    if caught is None:
        return None
    expected = "a list of warnings; `warnings.catch_warnings(record=True)` gives one"
    kinds = (str, Warning, warnings.WarningMessage)
    items = instance(caught, (list, tuple), "caught", expected)
    return _messages(instance(item, kinds, "caught", expected) for item in items)


def of_design(design: Design, components: tuple[Component, ...]) -> list[str]:
    """The warnings that making a design and reading its components give."""

    def again() -> None:
        replace(design)  # type: ignore[type-var]  # all designs are dataclasses
        warn_of_collisions(design, components)

    return recorded(again)[1]


def recorded(make: Callable[[], Made]) -> tuple[Made, list[str]]:
    """What a function returns, and the messages of its warnings, each once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = make()
    return made, _messages(caught)


def _messages(caught: Iterable[Any]) -> list[str]:
    return [*dict.fromkeys(str(getattr(warning, "message", warning)) for warning in caught)]


def _written(value: Any) -> str:
    """A value as people write it."""
    if isinstance(value, (list, tuple)):
        if len(value) > 12:
            return count(len(value), "number")
        return ", ".join(map(_written, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
