"""Pictures of circuits: layer by layer, with the crops that drive each group of channels."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from .._checks import instance, integer
from ..circuits import Circuit, Node, crops
from ..circuits.patches import warn_of_other_images
from .maps import to_pixels
from .style import BORDER_GRAY, figure_and_axes, on_lines

RISES, FALLS = "tab:blue", "tab:red"
# In units of a crop's side: between columns, between nodes, and for the text below a node.
COLUMN_GAP, NODE_GAP, LINE_HEIGHT = 2.2, 0.45, 0.46
# The target's width and half of its height, and the room for the legend below it.
TARGET_WIDTH, TARGET_HALF, LEGEND_HEIGHT = 2.8, 0.6, 1.7
# A crop's side, in inches; the width of an edge of weight 1, in points; weights that are not drawn.
CROP_INCHES, FULL_WIDTH, LEAST_WEIGHT = 0.55, 11.0, 0.03
# Characters in a line below a node, per crop.
CHARACTERS = 6


class _Place(NamedTuple):
    """Where a node lies: its left and right, and the top and bottom of its crops."""

    left: float
    right: float
    top: float
    bottom: float

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


def plot_circuit(
    circuit: Circuit,
    data: Any = None,
    *,
    n_patches: int = 4,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    target_name: str | None = None,
    ax: Axes | None = None,
) -> tuple[Figure, Axes]:
    """Draw a circuit: a column for each layer, on each node the crops that drive it most.

    Lines are as wide as weights are large, blue where the target rises with the source and red
    where it falls. The weights into a node sum to 1; those below .03 are not drawn. Nodes that act
    more on the next layer are higher up.

    Args:
        circuit (Circuit): From `build_circuit`.
        data (Dataset or Tensor, optional): The images that the circuit was built from, as the
            network saw them, in the same order. A warning says if they are others. Default: None,
            nodes without crops
        n_patches (int, optional): Crops on a node. Default: 4
        mean, std (sequence of float, optional): Normalization of the images to undo. Default: none
        target_name (str, optional): What to write on the target. Default: the circuit's own name
        ax (Axes, optional): Axes to draw on. Default: a new figure

    Returns:
        tuple: The figure and its axes.

    Raises:
        ValueError: If the data are not those of the patches.
        TypeError: If an argument is of the wrong type.
    """
    instance(circuit, Circuit, "circuit", "a circuit; `build_circuit` makes one")
    n_shown = integer(n_patches, "n_patches")
    name = circuit.target_name if target_name is None else target_name
    instance(name, str, "target_name", "a text")
    per_row, n_rows = 3, 1
    if data is not None:
        warn_of_other_images(data, circuit.image_means)
        per_row = math.ceil(math.sqrt(n_shown))
        n_rows = math.ceil(n_shown / per_row)
    places = _places(circuit, per_row, n_rows)
    right = max(place.right for place in places.values())
    bottom = min(place.bottom for place in places.values()) - 3 * LINE_HEIGHT
    bottom = min(bottom, places[circuit.target_name].bottom - LEGEND_HEIGHT)
    figure, ax = figure_and_axes(ax, CROP_INCHES * (right + 1), CROP_INCHES * (1.6 - bottom))
    for edge in sorted(circuit.edges, key=lambda edge: abs(edge.weight)):
        if abs(edge.weight) >= LEAST_WEIGHT:
            _draw_edge(ax, places[edge.source], places[edge.target], edge.weight)
    for node in circuit.nodes:
        place = places[node.name]
        ax.add_patch(_box(place, "white"))
        if data is not None and node.patches:
            pictures = to_pixels(crops(data, node.patches[:n_shown]), mean, std)
            _draw_crops(ax, place, pictures, per_row)
        _write_caption(ax, place, _caption(node, per_row), below=data is not None)
    _draw_target(ax, places[circuit.target_name], name)
    for column, layer in enumerate(circuit.layers):
        center = column * (per_row + COLUMN_GAP) + per_row / 2
        title = on_lines(layer, 16)
        ax.text(center, 0.25, title, ha="center", va="bottom", fontsize=14, weight="bold")
    _legend(ax)
    ax.set(xlim=(-0.4, right + 0.4), ylim=(bottom, 1.2), aspect="equal")
    ax.set_axis_off()
    return figure, ax


def _places(circuit: Circuit, per_row: int, n_rows: int) -> dict[str, _Place]:
    """Where nodes and the target lie; the top of the picture is 0, units are crops."""
    columns = {layer: _in_order(circuit, layer) for layer in circuit.layers}
    pitch = n_rows + 2 * LINE_HEIGHT + NODE_GAP
    tallest = max(map(len, columns.values()))
    places = {}
    for number, nodes in enumerate(columns.values()):
        left = number * (per_row + COLUMN_GAP)
        # Shorter columns are centered.
        start = (tallest - len(nodes)) / 2 * pitch
        for row, node in enumerate(nodes):
            top = -start - row * pitch
            places[node.name] = _Place(left, left + per_row, top, top - n_rows)
    left = len(columns) * (per_row + COLUMN_GAP)
    middle = -(tallest * pitch - 2 * LINE_HEIGHT - NODE_GAP) / 2
    places[circuit.target_name] = _Place(
        left, left + TARGET_WIDTH, middle + TARGET_HALF, middle - TARGET_HALF
    )
    return places


def _in_order(circuit: Circuit, layer: str) -> list[Node]:
    """Nodes of a layer, those that act more on the next layer first."""
    influence: Mapping[str, float] = {
        node.name: sum(abs(edge.weight) for edge in circuit.edges if edge.source == node.name)
        for node in circuit.nodes
    }
    return sorted(circuit.nodes_of(layer), key=lambda node: -influence[node.name])


def _caption(node: Node, per_row: int) -> str:
    """What is written below a node: its label, or its channels, in two lines."""
    width = max(2, per_row) * CHARACTERS
    lines = [textwrap.shorten(node.label, width, placeholder=" …")] if node.label else []
    lines += textwrap.wrap(" ".join(map(str, node.channels)), width)
    if len(lines) > 2:
        lines = [lines[0], f"{lines[1][: width - 2]} …"]
    return "\n".join(lines)


def _write_caption(ax: Axes, place: _Place, text: str, below: bool) -> None:
    """Write a node's caption below it, or inside where it has no crops."""
    height = place.bottom - 0.12 if below else place.middle
    ax.text(
        (place.left + place.right) / 2,
        height,
        text,
        ha="center",
        va="top" if below else "center",
        fontsize=13,
        linespacing=1.1,
        zorder=4,
    )


def _draw_edge(ax: Axes, source: _Place, target: _Place, weight: float) -> None:
    start, end = (source.right, source.middle), (target.left, target.middle)
    half = (start[0] + end[0]) / 2
    curve = Path(
        [start, (half, start[1]), (half, end[1]), end],
        [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
    )
    ax.add_patch(PathPatch(curve, fill=False, zorder=1, **_line(weight)))


def _line(weight: float) -> dict[str, Any]:
    """Color and width of an edge."""
    size = abs(weight)
    return {
        "color": RISES if weight > 0 else FALLS,
        "linewidth": max(0.8, FULL_WIDTH * size),
        "alpha": 0.35 + 0.5 * size,
        "capstyle": "butt",
    }


def _box(place: _Place, color: str) -> Rectangle:
    return Rectangle(
        (place.left, place.bottom),
        place.right - place.left,
        place.top - place.bottom,
        facecolor=color,
        edgecolor=BORDER_GRAY,
        linewidth=1,
        zorder=2,
    )


def _draw_crops(ax: Axes, place: _Place, pictures: Any, per_row: int) -> None:
    for number, picture in enumerate(pictures):
        row, column = divmod(number, per_row)
        left, top = place.left + column, place.top - row
        extent = (left + 0.04, left + 0.96, top - 0.96, top - 0.04)
        ax.imshow(picture, extent=extent, cmap="gray", vmin=0, vmax=1, zorder=3)


def _draw_target(ax: Axes, place: _Place, name: str) -> None:
    ax.add_patch(_box(place, "0.93"))
    ax.text(
        (place.left + place.right) / 2,
        place.middle,
        on_lines(name, 13),
        ha="center",
        va="center",
        fontsize=13,
        zorder=4,
    )


def _legend(ax: Axes) -> None:
    entries = {
        "raises, weight .5": 0.5,
        "lowers, weight .5": -0.5,
        "weight .1": 0.1,
    }
    lines = []
    for name, weight in entries.items():
        style = _line(weight)
        del style["capstyle"]
        lines.append(Line2D([], [], label=name, **style))
    ax.legend(
        handles=lines,
        loc="lower right",
        fontsize=12,
        frameon=False,
        handlelength=2.5,
    )
