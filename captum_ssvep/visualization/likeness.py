"""A network beside a brain: profiles over components, and how alike each layer is."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .._checks import instance
from ..evaluation.likeness import ProfileLikeness
from .style import GUIDE_GRAY, legend_above_lines, new_figure, on_lines

RECORDING = "recording"
# Layers from light to dark, but none so light that it is lost on white.
PALETTE, LIGHTEST = "viridis_r", 0.15


def plot_likeness(likeness: ProfileLikeness) -> tuple[Figure, NDArray[np.object_]]:
    """Draw profiles of layers and of a recording, and how alike they are.

    Args:
        likeness (ProfileLikeness): From `profile_likeness`.

    Returns:
        tuple: The figure and its two axes. Left: amplitudes at each component, relative to the root
        of the sum of their squares, those of the recording as bars. Right: likeness of each layer
        with its interval, the first layer on top.

    Raises:
        TypeError: If it is something else.

    Examples::

        >>> import torch
        >>> from captum_ssvep import TaggedSpectrum, TaggingDesign, profile_likeness
        >>> design = TaggingDesign()
        >>> product = torch.as_tensor(design.contrasts.prod(axis=1))[:, None, None]
        >>> noise = 0.01 * torch.randn(240, 9, 4)
        >>> recording = TaggedSpectrum.from_series(product + noise, design)
        >>> layer = TaggedSpectrum.from_series(product * torch.rand(5, 3), design)
        >>> figure, axes = plot_likeness(profile_likeness(layer, recording))
        >>> axes[0].get_ylabel(), axes[1].get_xlabel()
        ('Relative amplitude', 'Likeness to the recording')
    """
    expected = "the likeness of layers and a recording; `profile_likeness` gives it"
    likeness = instance(likeness, ProfileLikeness, "likeness", expected)
    layers = list(likeness.by_layer)
    widths = max(5.0, 0.32 * len(likeness.components)), 4.4
    figure = new_figure(sum(widths) + 1.8, max(4.4, 1.4 + 0.2 * len(layers)))
    axes = figure.subplots(1, 2, width_ratios=widths)
    colors = colormaps[PALETTE](np.linspace(LIGHTEST, 1, len(layers)))
    _draw_profiles(axes[0], likeness, colors)
    _draw_likeness(axes[1], likeness, colors)
    return figure, axes


def _draw_profiles(ax: Axes, likeness: ProfileLikeness, colors: NDArray[np.float64]) -> None:
    """Draw amplitudes of the recording as bars, and those of layers as lines."""
    places = np.arange(len(likeness.components))
    bars = ax.bar(places, likeness.recording_profile, color="0.8", width=0.8, label=RECORDING)
    for (layer, profile), color in zip(likeness.profiles.items(), colors, strict=True):
        ax.plot(places, profile, "o-", color=color, markersize=4, linewidth=1.2, label=layer)
    names = [likeness.design.label(component) for component in likeness.components]
    ax.set_xticks(places, names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    ax.margins(x=0.02)
    ax.set_ylim(bottom=0)
    ax.set(xlabel="Component", ylabel="Relative amplitude")
    # The layers have the same colors beside.
    legend_above_lines(ax, [bars], [RECORDING])


def _draw_likeness(ax: Axes, likeness: ProfileLikeness, colors: NDArray[np.float64]) -> None:
    """Draw the likeness of each layer with its interval."""
    intervals = likeness.intervals
    for place, (layer, value) in enumerate(likeness.by_layer.items()):
        low, high = intervals[layer]
        ax.hlines(place, low, high, color=colors[place], linewidth=2)
        ax.plot(value, place, "o", color=colors[place], markersize=6)
    names = [on_lines(name, 30) for name in likeness.by_layer]
    ax.set_yticks(range(len(names)), names)
    # Also where layers that do not respond, and have no likeness, would be.
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.axvline(1, color=GUIDE_GRAY, linewidth=0.8, linestyle=":")
    kind = "amplitudes" if likeness.latency is None else "amplitudes and phases"
    ax.set(
        xlabel="Likeness to the recording",
        title=f"{kind.capitalize()},\n{100 * likeness.confidence:g} % intervals",
    )
