"""How the parts flicker: the designs of the command line."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from .._checks import count, warn_user
from ..design import Design, TaggingDesign, choose_design
from ..design.choose import DesignKind
from ..design.tags import tag_complaints

KINDS: tuple[DesignKind, ...] = get_args(DesignKind)
# Records are made longer for tags that do not fit, up to so many times.
MOST_RECORDS = 20


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
        return _of_frequencies(frequencies)
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


def _of_frequencies(frequencies: Sequence[float]) -> Design:
    """The design with tags in the default record."""
    rate, n_frames = TaggingDesign.sampling_rate, TaggingDesign.n_frames
    if max(frequencies) >= rate / 2:
        raise ValueError(
            f"Expected --frequencies below {rate / 2:g} Hz, half of the {rate:g} frames in a "
            f"second, but got {max(frequencies):g} Hz; below {rate / 4:g} Hz their sums fit, too"
        )
    try:
        design = TaggingDesign(frequencies)
    except ValueError as error:
        lengths = range(n_frames, MOST_RECORDS * n_frames + 1, n_frames)
        fitting = [n for n in lengths if not tag_complaints(frequencies, rate, n)]
        if not fitting:
            raise
        record = json.dumps({"frequencies": [*frequencies], "n_frames": fitting[0]})
        raise ValueError(f"{error}; or give --design a JSON file that holds {record}") from None
    _tell_of_folding(design)
    return design


def _tell_of_folding(design: Design) -> None:
    """Warn if a sum of two tags lies above half of the sampling rate."""
    if not isinstance(design, TaggingDesign):
        return
    for component in design.components("all", max_order=2):
        frequency = design.frequency(component)
        is_sum = set(component) <= {0, 1}
        if is_sum and frequency is not None and 2 * frequency > design.sampling_rate:
            warn_user(
                f"{design.title(component)}: it lies above half of the {design.sampling_rate:g} "
                f"frames in a second and folds; tags below {design.sampling_rate / 4:g} Hz avoid "
                "that"
            )
            return


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
    _tell_of_folding(design)
    return replace(design)  # type: ignore[type-var]  # every design is a dataclass


def _refuse_other_number(n_tags: int, n_parts: int, option: str) -> None:
    if n_tags != n_parts:
        raise ValueError(
            f"Expected {option} to have a tag for each of the {count(n_parts, 'part')} of --mask, "
            f"but got {n_tags}; add or leave out tags, or take another --mask"
        )
