"""Colours and names that all pictures share."""

from __future__ import annotations

from matplotlib.colors import to_rgb

from ..design.components import Component
from ..spectrum.statistics import Statistic

# The paper's Fig. 4: red f1, green f2, blue intermodulations; further parts follow.
PART_COLORS = (
    "#d62728",
    "#2ca02c",
    "#ff7f0e",
    "#9467bd",
    "#8c564b",
    "#e377c2",
    "#bcbd22",
    "#17becf",
)
INTERMODULATION_COLOR = "#1f4fd6"
STATISTIC_LABELS: dict[Statistic, str] = {
    "snr": "SNR",
    "snr_db": "SNR (dB)",
    "amplitude": "Amplitude (activation)",
    "coefficient": "Coefficient (activation)",
    "baseline_corrected": "Baseline-corrected amplitude",
    "zscore": "z-score",
    "variance_share": "Share of variance",
}


def part_color(part: int) -> str:
    """Colour of a part's curves and harmonics."""
    return PART_COLORS[part % len(PART_COLORS)]


def component_colors(components: tuple[Component, ...]) -> list[tuple[float, float, float]]:
    """A colour for each: its part's, or that of intermodulations; paler from one to the next.

    Examples::

        >>> len(set(component_colors((Component((1, 0)), Component((1, 1)), Component((1, -1))))))
        3
    """
    kinds = [
        INTERMODULATION_COLOR if c.is_intermodulation else part_color(c.parts[0])
        for c in components
    ]
    colors = []
    for place, kind in enumerate(kinds):
        paleness = 0.75 * kinds[:place].count(kind) / kinds.count(kind)
        red, green, blue = (level + (1 - level) * paleness for level in to_rgb(kind))
        colors.append((red, green, blue))
    return colors
