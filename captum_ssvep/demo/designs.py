"""How the parts flicker: the designs of the command line."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from .._checks import count
from ..design import Design, TaggingDesign, choose_design
from ..design.choose import DesignKind

KINDS: tuple[DesignKind, ...] = get_args(DesignKind)


def design_of(kind: str | None, frequencies: Sequence[float] | None, n_parts: int) -> Design:
    """The design that the user asks for.

    Without ``kind``, it is in time: the paper's tags for two parts, those of `choose_design` for
    another number. Components of two parts are separate up to order 4, those of more parts up to
    order 2, which needs fewer frames.

    Args:
        kind (str or None): A kind of `choose_design`, or the path of a JSON file with the arguments
            of a design, as `Design.to_dict` gives them.
        frequencies (sequence of float or None): A tag in Hz for each part.
        n_parts (int): Number of parts.

    Raises:
        ValueError: If the two do not fit each other or the parts.
    """
    if frequencies is not None and kind not in (None, "time"):
        raise ValueError(
            f"Expected --frequencies with --design time, but got --design {kind}; leave out one"
        )
    if kind is not None and kind not in KINDS:
        return _of_file(Path(kind), n_parts)
    if frequencies is not None:
        _refuse_other_number(len(frequencies), n_parts, "--frequencies")
        return TaggingDesign(frequencies)
    if kind is None and n_parts == 2:
        return TaggingDesign()
    try:
        return choose_design(n_parts, 4 if n_parts <= 2 else 2, kind or "time")
    except ValueError:
        raise ValueError(
            f"Expected --mask of parts whose design is found in seconds, but {n_parts} parts take "
            f"too many frames with --design {kind or 'time'}; take fewer parts or another --design "
            "(two-level needs the fewest)"
        ) from None


def _of_file(path: Path, n_parts: int) -> Design:
    """The design in a JSON file, in time if it does not say its kind."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        design = Design.from_dict({"kind": "time", **values})
    except (OSError, TypeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(
            f"Expected --design to be {', '.join(KINDS)} or a JSON file such as "
            f'{{"frequencies": [6, 7.5], "n_frames": 480}}, but got {path} ({reason})'
        ) from None
    _refuse_other_number(design.n_parts, n_parts, "--design")
    # Made again, it warns of what might be wrong.
    return replace(design)  # type: ignore[type-var]  # every design is a dataclass


def _refuse_other_number(n_tags: int, n_parts: int, option: str) -> None:
    if n_tags != n_parts:
        raise ValueError(
            f"Expected {option} to have a tag for each of the {count(n_parts, 'part')} of --mask, "
            f"but got {n_tags}; add or leave out tags, or take another --mask"
        )
