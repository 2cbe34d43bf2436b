"""Which channels respond most: a table to read and one for programs."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from ..design import Component
from ..spectrum.tagged import TaggedSpectrum

N_STRONGEST = 8
# Of more components, those with the largest amplitudes are shown.
MOST_SHOWN = 10
COLUMNS_BESIDE = 3
BELOW_ROUNDING = "-"


def shown_components(channels: TaggedSpectrum) -> list[Component]:
    """Each part by itself, and two together; if those are too many, the strongest of them.

    Args:
        channels (TaggedSpectrum): Of one image, pooled to channels.
    """
    components = channels.components
    simplest = [c for c in components if c.order <= 2 and set(c) <= {0, 1}] or components[:3]
    ranked = sorted(simplest, key=lambda c: (c.order, -float(channels.amplitude(c).max())))
    chosen = set(ranked[:MOST_SHOWN])
    return [component for component in simplest if component in chosen]


def strongest_channel(channels: TaggedSpectrum) -> tuple[int, Component | None]:
    """The channel that is worth a look: the strongest where parts act together, if one does.

    Args:
        channels (TaggedSpectrum): Of one image, pooled to channels.

    Returns:
        tuple: The channel, and the component at which it is the strongest. Without any combination
        above rounding that is a response to one part; None if there is no response at all.
    """
    present = [c for c in shown_components(channels) if channels.snr(c).max() > 1]
    if not present:
        return 0, None
    together = [component for component in present if component.is_intermodulation] or present
    component = max(together, key=lambda c: float(channels.amplitude(c).max()))
    return int(channels.amplitude(component)[0].argmax()), component


def strongest_channels(channels: TaggedSpectrum, names: Sequence[str]) -> str:
    """Table of the channels with the largest amplitude at each shown component.

    Args:
        channels (TaggedSpectrum): Of one image, pooled to channels.
        names (sequence of str): What the parts are called.
    """
    components = shown_components(channels)
    columns = [_column(channels, component, names) for component in components]
    n_rows = len(columns[0]) - 2
    frames = f"{channels.design.n_distinct_frames} frames"
    lines = [
        f"The {n_rows} channels of {channels.mean.shape[1]} that answer most (amplitude of the "
        "channel's mean activation,",
        f"share of its variance; {BELOW_ROUNDING} is below rounding; {frames}):",
    ]
    for first in range(0, len(columns), COLUMNS_BESIDE):
        beside = columns[first : first + COLUMNS_BESIDE]
        lines += ["   |  ".join(row).rstrip() for row in zip(*beside, strict=True)]
    return "\n".join(lines)


def _column(channels: TaggedSpectrum, component: Component, names: Sequence[str]) -> list[str]:
    """Title, heading and rows of one component."""
    amplitude = channels.amplitude(component)[0]
    share = channels.reduce([component], "variance_share")[0]
    present = channels.snr(component)[0] > 1
    title = f"{channels.design.title(component)} ({_where(component, names)})"
    column = [f"{title:^26}", "channel  amplitude   share"]
    for c in amplitude.topk(min(N_STRONGEST, len(amplitude))).indices.tolist():
        row = f"{c:>7} {amplitude[c]:>10.4g} {share[c]:>7.1%}"
        column.append(row if present[c] else f"{BELOW_ROUNDING:>26}")
    width = max(map(len, column))
    return [cell.ljust(width) for cell in column]


def _where(component: Component, names: Sequence[str]) -> str:
    """What flickers at the tags of a component."""
    return names[component.parts[0]] if component.is_harmonic else "both"


def write_table(path: Path, spectra: Mapping[str, Iterable[TaggedSpectrum]]) -> None:
    """Write every number as comma-separated values: a row per image, layer, channel, component.

    Args:
        path (Path): Where to write.
        spectra (mapping): The spectra of each image's layers, by the name of the image.
    """
    records = (
        {**record, "image": image}
        for image, layers in spectra.items()
        for spectrum in layers
        for record in spectrum.table()
    )
    first = next(records)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(first))
        writer.writeheader()
        writer.writerows(chain([first], records))
