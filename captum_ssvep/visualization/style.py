"""Colors and names that all pictures share."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ..design import Component, Design
from ..spectrum.tagged import TaggedSpectrum

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


def part_name(part: int, design: Design) -> str:
    """A part and its tag, one thing under two names.

    Examples::

        >>> from captum_ssvep import ChebyshevGrid, TaggingDesign
        >>> part_name(0, TaggingDesign()), part_name(1, ChebyshevGrid())
        ('part 0 (f1 = 6 Hz)', 'part 1 (f2)')
    """
    return f"part {part} ({design.title([int(p == part) for p in range(design.n_parts)])})"


def simplest_components(components: Sequence[Component]) -> list[Component]:
    """Fundamentals, and the sums of two of them; without any, the first three.

    Examples::

        >>> simplest_components([Component((1, 0)), Component((2, 0)), Component((1, 1))])
        [Component(f1), Component(f1 + f2)]
    """
    simplest = [c for c in components if c.order <= 2 and set(c) <= {0, 1}]
    return simplest or list(components[:3])


def neuron_index(neuron: int | Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Where a neuron stands among neurons of some shape.

    Raises:
        ValueError: If it has more or fewer indices than the shape has dimensions.
    """
    index = tuple(neuron) if isinstance(neuron, Sequence) else (neuron,)
    if len(index) != len(shape):
        raise ValueError(
            f"Expected `neuron` to have an index for each dimension of the neurons, "
            f"{tuple(shape)}, but got {neuron}; with pooling='channel' one, its channel, is enough"
        )
    return index


def figure_of(ax: Axes) -> Figure:
    """The figure that some axes are part of."""
    figure = ax.get_figure()
    return figure  # type: ignore[return-value]  # not a subfigure


def neuron_title(spectrum: TaggedSpectrum, index: tuple[int, ...]) -> str:
    """What a picture of one neuron shows; the first index is the image."""
    image, *neuron = index
    name = neuron[0] if len(neuron) == 1 else tuple(neuron)
    layer = "" if spectrum.layer is None else f" of {spectrum.layer}"
    return f"{spectrum.neurons.capitalize()} {name}{layer}, image {image}"
