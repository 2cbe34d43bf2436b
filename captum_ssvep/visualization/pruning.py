"""Pictures of what a network can do without some of its filters."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._checks import choice, instance, shown
from ..pruning.curves import PruningCurve
from .style import INTERMODULATION_COLOR, NOISE_GRAY, PART_COLORS, figure_and_axes, legend_beside

# None of them gray, which is what random draws have.
COLORS = [INTERMODULATION_COLOR, *PART_COLORS]
# Of curves that share a color.
MARKERS = "o^sDv"

Measure = Literal["accuracy", "loss"]


def plot_pruning_curves(
    curves: Mapping[str, PruningCurve | Sequence[PruningCurve]],
    *,
    measure: Measure = "accuracy",
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw how accuracy falls, or the loss rises, with the share of removed filters.

    Args:
        curves (mapping): For the name of each score, its `PruningCurve`, or those of several random
            draws, which are drawn in gray as their mean, with a band of one standard deviation to
            each side.
        measure (str, optional): ``"accuracy"`` or ``"loss"``. Default: ``"accuracy"``
        ax (Axes, optional): Axes to draw on. Default: a new figure

    Returns:
        tuple: The figure and its axes.

    Raises:
        ValueError: If there is no curve, draws have different ratios, or the measure is unknown.
        TypeError: If something else than curves is given.

    Examples::

        >>> from captum_ssvep.pruning import PruningCurve
        >>> curve = PruningCurve((0.1, 0.3), (0.92, 0.7), (0.3, 1.1))
        >>> figure, ax = plot_pruning_curves({"relevance": curve})
        >>> ax.get_ylabel()
        'Accuracy (%)'
    """
    choice(measure, "measure", get_args(Measure))
    expected = "a mapping from names to curves; `pruning_curve` makes them"
    named = {name: _draws(c) for name, c in instance(curves, Mapping, "curves", expected).items()}
    if not named:
        raise ValueError("Expected `curves` to hold at least one curve, but got none")
    figure, ax = figure_and_axes(ax, 7, 4)
    scale = 100 if measure == "accuracy" else 1
    singles = [name for name, draws in named.items() if len(draws) == 1]
    places = {name: place for place, name in enumerate(singles)}
    for name, draws in named.items():
        shares = 100 * np.array(draws[0].ratios)
        values = scale * np.array([getattr(draw, measure) for draw in draws])
        mean, label, place = values.mean(0), name, places.get(name)
        color = NOISE_GRAY if place is None else COLORS[place % len(COLORS)]
        marker = MARKERS[(place or 0) // len(COLORS) % len(MARKERS)]
        style: dict[str, Any] = {"marker": marker, "markersize": 4, "color": color}
        if len(draws) > 1:
            spread = values.std(0, ddof=1)
            ax.fill_between(shares, mean - spread, mean + spread, color=color, alpha=0.3, lw=0)
            style |= {"linestyle": "--"}
            label = f"{name} (mean, s.d. of {len(draws)})"
        ax.plot(shares, mean, label=label, **style)
    ax.set_xlabel("Filters removed (%)")
    ax.set_ylabel("Accuracy (%)" if measure == "accuracy" else "Cross-entropy (nats)")
    ax.set_ylim(bottom=0)
    ax.spines[["top", "right"]].set_visible(False)
    legend_beside(ax)
    return figure, ax


def _draws(curves: Any) -> list[PruningCurve]:
    """One or several curves as a list.

    Raises:
        ValueError: If their ratios differ, or there are none.
        TypeError: If they are something else.
    """
    draws = list(curves) if isinstance(curves, (list, tuple)) else [curves]
    for draw in draws:
        instance(draw, PruningCurve, "curves", "what `pruning_curve` returns, or a list of these")
    if not draws:
        raise ValueError("Expected `curves` with at least one for each name, but got an empty list")
    if len({draw.ratios for draw in draws}) > 1:
        raise ValueError(
            "Expected `curves` of one name to have the same ratios, but got "
            f"{shown([draw.ratios for draw in draws])}"
        )
    return draws
