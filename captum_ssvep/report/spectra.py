"""What the page shows of a spectrum: lines, contrast responses, AND or OR, and maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import to_hex, to_rgb
from torch import Tensor

from .._checks import count
from ..design import Component, Design, TwoLevelDesign
from ..model.channels import channel_maps
from ..spectrum.corners import corner_tables
from ..spectrum.statistics import snr_threshold
from ..spectrum.tagged import TaggedSpectrum
from ..visualization.interactions import AND_OR_KINDS, and_or_shares, signed_color
from ..visualization.spectra import kind_of
from ..visualization.style import (
    PART_COLORS,
    amplitude_label,
    component_color,
    part_name,
    simplest_components,
)
from .encode import overlay, packed, rounded

# More would make the page large and slow. What is left out is said on the page.
MOST_EXAMPLES, MOST_COLUMNS, MOST_CURVES = 4, 4, 8
MOST_PAIRS, MOST_CHOICES = 300, 28
# Numbers of a result, each of which takes about 9 bytes.
MOST_NUMBERS = 220_000
# Bytes of the maps of single channels, and their largest side.
MOST_MAP_BYTES, MAP_SIDES = 400_000, (28, 14, 7)
N_CONTRASTS = 13
# Below this absolute monotonicity a response is neither AND nor OR; its name and color.
LEAST_RISING, MIXED = 0.5, ("mixed: raised and lowered", "#c9a227")


def spectrum_data(
    spectrum: TaggedSpectrum, size: tuple[int, int] | None, image_names: Sequence[str]
) -> dict[str, Any]:
    """All numbers of a spectrum that the page shows.

    Args:
        spectrum: Of a layer or a recording.
        size: Height and width of the images; None if there are none.
        image_names: What they are called.
    """
    notes: list[str] = []
    spectrum = spectrum.to("cpu")
    shown = spectrum[:MOST_EXAMPLES]
    is_recording = spectrum.example_kind == "trial"
    if is_recording:
        shown = _mean_of_trials(spectrum)
        if len(spectrum) > 1:
            notes.append(f"Numbers are of the mean over {len(spectrum)} trials.")
    elif len(spectrum) > MOST_EXAMPLES:
        notes.append(f"The page shows the first {MOST_EXAMPLES} of {len(spectrum)} images.")
    channels = by_channel(shown)
    design = spectrum.design
    # Latency turns the signs of a recording, so that AND, OR and contrasts cannot be read from it.
    pairs = [] if is_recording else [*corner_tables(spectrum.components, design)]
    if len(pairs) > MOST_PAIRS:
        notes.append(f"Pairs of parts: the first {MOST_PAIRS} of {len(pairs)}.")
    with_curves = _parts_with_curves(spectrum)
    n_lines = len(spectrum.components) * (3 if spectrum.n_neighbors else 1)
    choices = _strongest_pairs(channels, pairs)
    n_numbers = n_lines + N_CONTRASTS * len(with_curves) + min(len(pairs), MOST_PAIRS)
    n_numbers += 2 * len(choices)
    names, rows = _rows(shown, channels, most_rows(n_numbers * len(shown)), notes)
    return {
        "kind": "spectrum",
        "layer": spectrum.layer or "recorded series",
        "heading": f"How {spectrum.layer or 'the recorded series'} responds",
        "row_kind": _row_kind(shown),
        "names": names,
        "image_names": [*image_names[: len(shown)]],
        "finding": _finding(channels, image_names, choices),
        "choices": [_choice(channels, pair) for pair in choices],
        "components": component_facts(spectrum.components, design),
        "columns": _columns(spectrum, bool(pairs)),
        "statistics": [
            {"key": "amplitude", "label": amplitude_label(spectrum), "signed": False},
            {
                "key": "coefficient",
                "label": amplitude_label(spectrum, "coefficient"),
                "signed": True,
            },
            {"key": "snr", "label": _snr_label(spectrum), "signed": False, "decibels": True},
        ],
        "threshold": round(snr_threshold(spectrum.n_neighbors), 2) if spectrum.n_neighbors else 1.0,
        "curves": [part_name(part, design) for part in with_curves],
        "unit": spectrum.unit or "activation",
        "in_time": design.in_time,
        "range": list(design.contrast),
        "examples": [
            _example(channels[row], rows, pairs[:MOST_PAIRS], choices, with_curves)
            for row in range(len(shown))
        ],
        "maps": None if size is None else maps_of(shown, size, rows),
        "notes": notes,
        # Of scores alone.
        "group_names": [],
        "counts": [],
        "and_or_of_layers": [],
    }


def most_rows(n_numbers: int) -> int:
    """So many rows of a table, each with some numbers, keep a page below three megabytes."""
    return max(1, MOST_NUMBERS // n_numbers)


def by_channel(spectrum: TaggedSpectrum) -> TaggedSpectrum:
    """The spectrum of each channel's mean over positions; of neurons, where channels are unknown.

    A Fourier sum is linear, so that this is what ``pooling="channel"`` gives, without the variance.

    Examples::

        >>> from captum_ssvep import FrequencyTaggingAttribution
        >>> from captum_ssvep.demo.digits import example_images, load_network
        >>> tagging = FrequencyTaggingAttribution(load_network(), "layer3")
        >>> by_channel(tagging.spectrum(example_images()[0])).mean.shape
        torch.Size([2, 48])
    """
    if spectrum.mean.dim() == 2:
        return spectrum

    def pooled(values: Tensor, first: int) -> Tensor:
        if values.dim() == first:  # a single neuron
            return values[..., None]
        if spectrum.channel_dim is None:
            return values.flatten(first)
        return values.movedim(first + spectrum.channel_dim - 1, first).flatten(first + 1).mean(-1)

    return replace(
        spectrum,
        lines=pooled(spectrum.lines, 2),
        mean=pooled(spectrum.mean, 1),
        neighbor_lines=pooled(spectrum.neighbor_lines, 2),
        variance=None,
        deviations=None,
        whole_lines=None,
        lattice_variance=None,
        neurons="channel",
        channel_dim=1,
    )


def _mean_of_trials(spectrum: TaggedSpectrum) -> TaggedSpectrum:
    """The spectrum of the mean over trials: what does not follow the stimulus averages out."""
    return replace(
        spectrum,
        lines=spectrum.lines.mean(1, keepdim=True),
        neighbor_lines=spectrum.neighbor_lines.mean(1, keepdim=True),
        mean=spectrum.mean.mean(0, keepdim=True),
        floor=spectrum.floor.amax(0, keepdim=True),
        variance=None,
        deviations=None,
        whole_lines=None,
        lattice_variance=None,
    )


def _row_kind(spectrum: TaggedSpectrum) -> str:
    """What a row of the table is."""
    has_channels = spectrum.mean.dim() > 2 and spectrum.channel_dim is not None
    return "channel" if has_channels else spectrum.neurons


def _rows(
    spectrum: TaggedSpectrum, channels: TaggedSpectrum, most: int, notes: list[str]
) -> tuple[list[str], Tensor]:
    """Names and places of the rows of the table: those that respond most, if there are many."""
    n_rows = channels.mean.shape[1]
    rows = torch.arange(n_rows)
    if n_rows > most:
        energy = channels.reduce(channels.components, "amplitude", "energy").amax(0)
        rows = energy.topk(most).indices.sort().values
        kind = _row_kind(spectrum)
        notes.append(f"The table has the {count(most, kind)} of {n_rows} that respond most.")
    if spectrum.neuron_names is not None:
        return [spectrum.neuron_names[row] for row in rows], rows
    if spectrum.mean.dim() > 2 and spectrum.channel_dim is None:
        shape = spectrum.mean.shape[1:]
        places = zip(*np.unravel_index(rows.numpy(), shape), strict=True)
        return [", ".join(map(str, place)) for place in places], rows
    return [str(row) for row in rows.tolist()], rows


def component_facts(components: Sequence[Component], design: Design) -> list[dict[str, Any]]:
    """Name, place and kind of each component, in the order given."""
    facts = []
    for place, component in enumerate(components):
        frequency = design.line_frequency(design.line(component))
        facts.append(
            {
                "label": design.label(component),
                "title": design.title(component),
                "place": place if frequency is None else round(frequency, 6),
                "order": component.order,
                "mark": mark_of(component),
                "kind": kind_of(component, design)[0],
            }
        )
    return facts


def mark_of(component: Component) -> str:
    """What gives a component its color and shape: its part, or that it is an intermodulation."""
    return "im" if component.is_intermodulation else str(component.parts[0] % len(PART_COLORS))


def _columns(spectrum: TaggedSpectrum, has_pairs: bool) -> list[dict[str, str]]:
    """The columns of the table behind the name."""
    columns = [_column(spectrum, component) for component in _simplest(spectrum)]
    if any(component.is_intermodulation for component in spectrum.components):
        hint = "Share of intermodulations in the variance at all components that were read"
        columns.append({"key": "together", "label": "Together", "hint": hint, "format": "percent"})
    if has_pairs:
        hint = "1: needs both parts (AND); 0: adds them up; -1: needs either (OR)"
        columns.append({"key": "and_or", "label": "AND/OR", "hint": hint, "format": "index"})
    return columns


def _column(spectrum: TaggedSpectrum, component: Component) -> dict[str, str]:
    return {
        "key": f"c{spectrum.components.index(component)}",
        "label": spectrum.design.label(component),
        "hint": f"Amplitude at {spectrum.design.title(component)}",
        "format": "number",
        "mark": mark_of(component),
    }


def _simplest(spectrum: TaggedSpectrum) -> list[Component]:
    return simplest_components(spectrum.components)[:MOST_COLUMNS]


def _snr_label(spectrum: TaggedSpectrum) -> str:
    below = "neighbors" if spectrum.n_neighbors else "rounding floor"
    return f"SNR (dB above {below})"


def _parts_with_curves(spectrum: TaggedSpectrum) -> list[int]:
    """Parts whose contrast response the components give."""
    if isinstance(spectrum.design, TwoLevelDesign) or spectrum.example_kind == "trial":
        return []
    return sorted({c.parts[0] for c in spectrum.components if c.is_harmonic})[:MOST_CURVES]


def _example(
    channels: TaggedSpectrum,
    rows: Tensor,
    pairs: Sequence[tuple[int, int]],
    choices: Sequence[tuple[int, int]],
    with_curves: Sequence[int],
) -> dict[str, Any]:
    """The numbers of one image."""
    amplitude, coefficient = (
        torch.stack([read(component)[0, rows] for component in channels.components])
        for read in (channels.amplitude, channels.coefficient)
    )
    found: dict[str, Any] = {
        "coefficient": rounded(coefficient),
        "together": rounded(share_together(channels)[0, rows]),
        "pairs": [_pair(channels, pair, rows, len(pairs) == 1) for pair in pairs],
        "choices": [_of_pair(channels, pair, rows) for pair in choices],
        "floor": None if channels.n_neighbors else rounded(channels.floor[0]),
    }
    # Without memory and noise, the amplitude is the coefficient without its sign.
    if not torch.allclose(amplitude, coefficient.abs(), rtol=1e-3, atol=0):
        found["amplitude"] = rounded(amplitude)
    if channels.n_neighbors:
        snr = torch.stack([channels.snr(component)[0, rows] for component in channels.components])
        found["snr"] = rounded(snr)
    curves = [channels.contrast_response(part, N_CONTRASTS) for part in with_curves]
    if curves:
        found["contrasts"] = rounded(curves[0][0])
        found["responses"] = [rounded(response[:, 0, rows].T) for _, response in curves]
    return found


def share_together(spectrum: TaggedSpectrum) -> Tensor:
    """Share of intermodulations in the variance at all components that were read.

    Of a channel's mean, whose variance over all lines the spectrum of its neurons does not hold.
    With all components read it comes close to ``interaction`` of ``pooling="channel"``.

    Returns:
        Tensor: Shape ``(N, *neuron)``; NaN where there is no response beyond rounding.

    Examples::

        >>> from captum_ssvep import TaggingDesign
        >>> design = TaggingDesign()
        >>> product = design.contrasts.prod(axis=1)[:, None, None]
        >>> share_together(TaggedSpectrum.from_series(product, design)).item()
        0.027...
    """
    power = torch.stack([spectrum.power(component).double() for component in spectrum.components])
    together = torch.tensor([component.is_intermodulation for component in spectrum.components])
    total = power.sum(0)
    return torch.where(
        total > spectrum.floor_of_neurons.double().square(),
        power[together].sum(0) / total,
        torch.nan,
    )


def _pair(
    spectrum: TaggedSpectrum, parts: tuple[int, int], rows: Tensor, with_corners: bool
) -> dict[str, Any]:
    """What two parts do together, for each row."""
    found = {
        "parts": list(parts),
        "effect": rounded(spectrum.interaction_effect(parts)[0, rows]),
    }
    if with_corners:
        found["corners"] = rounded(spectrum.corners(parts)[:, :, 0, rows])
    return found


def _finding(
    channels: TaggedSpectrum, image_names: Sequence[str], pairs: Sequence[tuple[int, int]]
) -> str | None:
    """The result of the first image in a sentence; None if nothing combines parts."""
    together = [component for component in channels.components if component.is_intermodulation]
    kind = channels.neurons
    if not together or channels.mean.shape[1] < 2:
        return None
    energy = channels.reduce(together, "amplitude", "energy")[0]
    best = int(energy.argmax())
    if energy[best] <= channels.floor_of_neurons.flatten()[0]:
        return f"No {kind} responds at intermodulations beyond rounding."
    names = channels.neuron_names
    what = f"{kind} {best if names is None else names[best]}"
    where = f" for image {image_names[0]}" if len(channels) > 1 else ""
    layer = channels.layer or "Recorded series"
    said = f"{layer}: {what} responds most at all intermodulations together{where}"
    if not pairs:
        return f"{said}."
    percent = [kind["percent"] for kind in _of_pair(channels[:1], pairs[0], [0])["kinds"]]
    one, two = pairs[0]
    return (
        f"{said}; of all {kind}s, {percent[5]:.0f} % are AND-like, {percent[0]:.0f} % OR-like and "
        f"{percent[-1]:.0f} % mixed in how they respond to parts {one} and {two}."
    )


def _strongest_pairs(
    channels: TaggedSpectrum, pairs: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Pairs that readers may choose, those with the most energy at intermodulations first."""
    energy = {
        pair: float(
            channels.reduce(_of_parts(channels, pair), "amplitude", "energy").square().sum()
        )
        for pair in pairs
    }
    return sorted(pairs, key=lambda pair: -energy[pair])[:MOST_CHOICES]


def _of_parts(spectrum: TaggedSpectrum, parts: tuple[int, ...]) -> list[Component]:
    return [component for component in spectrum.components if component.parts == parts]


def _choice(channels: TaggedSpectrum, pair: tuple[int, int]) -> dict[str, Any]:
    """A pair of parts with its columns: the lowest order of each, and the largest together."""
    lowest = [min(_of_parts(channels, (part,)), key=lambda c: c.order) for part in pair]
    together = max(
        _of_parts(channels, pair), key=lambda c: float(channels.amplitude(c).double().mean())
    )
    return {
        "parts": list(pair),
        "columns": [_column(channels, component) for component in (*lowest, together)],
    }


def _of_pair(
    channels: TaggedSpectrum, pair: tuple[int, int], rows: Sequence[int] | Tensor
) -> dict[str, Any]:
    """AND or OR of a pair of parts, for each row, and how many of all there are."""
    index, rising = channels.and_or_index(pair), channels.monotonicity(pair)
    return {
        "and_or": rounded(index[0, rows]),
        "mixed": is_mixed(rising)[0, rows].int().tolist(),
        "kinds": and_or_kinds(index, rising),
    }


def is_mixed(rising: Tensor) -> Tensor:
    """Where more contrast both raises and lowers the response, and AND or OR cannot be said.

    Below an absolute `TaggedSpectrum.monotonicity` of 0.5, over a quarter of the changes between
    corners goes against the others.
    """
    return rising.abs() < LEAST_RISING


def and_or_kinds(index: Tensor, rising: Tensor) -> list[dict[str, Any]]:
    """How many values of the AND/OR index are of each kind, from OR to AND.

    Args:
        index: `TaggedSpectrum.and_or_index`.
        rising: `TaggedSpectrum.monotonicity`, of the same shape; NaN without a response.

    Examples::

        >>> index, rising = torch.tensor([[0.9, -1.0, 0.0, torch.nan], [1.0, 0.2, 1.0, torch.nan]])
        >>> kinds = and_or_kinds(index, rising)
        >>> [kind["name"] for kind in kinds if kind["percent"] == 25.0]
        ['additive: -0.1 to 0.1', 'no response', 'AND-like: above 0.5', 'mixed: raised and lowered']
    """
    mixed = is_mixed(rising).flatten()
    share_mixed = 100 * float(mixed.double().mean())
    clear = index.flatten()[~mixed]
    shares = (len(clear) / len(mixed)) * and_or_shares(clear) if len(clear) else [0.0] * 6
    kinds = [
        (float(share), "no response" if math.isnan(wanted) else name, color)
        for share, (wanted, name, color) in zip(shares, AND_OR_KINDS, strict=True)
    ]
    return [
        {
            "name": name,
            "percent": round(share, 2),
            "color": to_hex(color if isinstance(color, str) else signed_color(color)),
        }
        for share, name, color in [*kinds, (share_mixed, *MIXED)]
    ]


def maps_of(spectrum: TaggedSpectrum, size: tuple[int, int], rows: Tensor) -> dict[str, Any] | None:
    """Maps at the simplest components, of all channels together and of each; None without space."""
    if spectrum.layout is None:
        return None
    shown = _simplest(spectrum)
    amplitudes = torch.stack(
        [channel_maps(spectrum.amplitude(c), spectrum.layout, size) for c in shown]
    ).float()
    height, width = amplitudes.shape[-2:]
    if height * width == 1:
        return None
    snr = torch.stack([channel_maps(spectrum.snr(c), spectrum.layout, size) for c in shown])
    is_absent = (snr <= 1).all(-1).all(-1)
    energy = amplitudes.square().sum(2).sqrt()
    return {
        "components": [spectrum.components.index(component) for component in shown],
        "examples": [
            [
                {
                    "picture": _overlay(energy[place, row], component),
                    "largest": rounded(energy[place, row].max()),
                    "is_absent": bool(is_absent[place, row].all()),
                }
                for place, component in enumerate(shown)
            ]
            for row in range(len(spectrum))
        ],
        "channels": _maps_of_channels(amplitudes[:, :, rows], is_absent[:, :, rows]),
    }


def _overlay(map_of_all: Tensor, component: Component) -> str:
    return overlay(_relative(map_of_all, (0, 1)), to_rgb(component_color(component)))


def _maps_of_channels(amplitudes: Tensor, is_absent: Tensor) -> dict[str, Any] | None:
    """The map of every channel, as bytes; None if they would make the page too large."""
    amplitudes = amplitudes.where(~is_absent[..., None, None], 0)
    n_components, n_examples, n_rows, height, width = amplitudes.shape
    for side in MAP_SIDES:
        smaller = min(height, side), min(width, side)
        if n_components * n_examples * n_rows * math.prod(smaller) <= MOST_MAP_BYTES:
            pooled = F.adaptive_avg_pool2d(amplitudes.flatten(0, 1), smaller)
            return {
                "height": smaller[0],
                "width": smaller[1],
                "bytes": packed(_relative(pooled, (2, 3))),
                "largest": rounded(pooled.amax((2, 3)).reshape(n_components, n_examples, n_rows)),
            }
    return None


def _relative(maps: Tensor, dims: tuple[int, int]) -> Tensor:
    """Maps divided by their largest value."""
    largest = maps.amax(dims, keepdim=True)
    return torch.where(largest > 0, maps / largest, 0)
