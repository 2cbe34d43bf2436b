"""What is written about an image: what the network sees, and how a layer responds."""

import math
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from .. import visualization
from ..attr.interop import layer_maps
from ..design import Component, Design, TwoLevelDesign
from ..spectrum.tagged import TaggedSpectrum
from .examples import Example
from .tables import shown_components, strongest_channel

DOTS_PER_INCH = 120
MOST_FRAMES_SHOWN = 8


def write_stimulus(folder: Path, example: Example, design: Design) -> None:
    """Write a film strip and, of a design in time, a film."""
    shown = (example.image, design, example.mask, example.baselines)
    strip, _ = visualization.plot_stimulus(
        *shown, mean=example.mean, std=example.std, n_shown=_n_shown(design)
    )
    _save(strip, folder / "stimulus.png")
    if design.in_time:
        film = folder / "stimulus.gif"
        visualization.save_stimulus_gif(film, *shown, mean=example.mean, std=example.std)


def _n_shown(design: Design) -> int:
    """Frames of the film strip: fewer if there are not so many, or the slowest tag is fast."""
    n_frames = design.n_frames
    if design.sampling_rate is not None:
        n_frames = min(n_frames, math.ceil(design.sampling_rate / min(design.frequencies)))
    return min(MOST_FRAMES_SHOWN, n_frames)


def write_layer(
    folder: Path, example: Example, channels: TaggedSpectrum, neurons: TaggedSpectrum
) -> str:
    """Write the spectrum of a layer's channels, pictures of one channel, and maps.

    Args:
        folder (Path): Where to write.
        example (Example): What was shown.
        channels (TaggedSpectrum): The layer's response, pooled to channels.
        neurons (TaggedSpectrum): That of single neurons.

    Returns:
        str: Why there are no maps; empty if there are.
    """
    channels.save(folder / "spectrum.npz")
    channel, component = strongest_channel(channels)
    spectrum, _ = visualization.plot_spectrum(channels, channel, component=component)
    figures = {"spectrum.png": spectrum}
    if not isinstance(channels.design, TwoLevelDesign):  # whose contrasts are only two
        figures["contrast.png"] = _contrasts(channels, channel, component)
    without_maps = _why_no_maps(neurons, example)
    if not without_maps:
        maps, _ = visualization.plot_maps(
            neurons,
            example.image,
            shown_components(channels),
            feature_mask=example.mask,
            mean=example.mean,
            std=example.std,
        )
        maps.suptitle(f"{neurons.layer}, {example.name}")
        figures["maps.png"] = maps
    for name, drawn in figures.items():
        _save(drawn, folder / name)
    return without_maps


def _contrasts(channels: TaggedSpectrum, channel: int, component: Component | None) -> Figure:
    """How a channel follows the contrast of each part, and of the two parts of a component."""
    if channels.design.n_parts == 1:
        return visualization.plot_contrast_response(channels, channel)[0]
    parts = component.parts if component is not None and len(component.parts) == 2 else (0, 1)
    return visualization.plot_contrasts(channels, channel, (parts[0], parts[1]))[0]


def _why_no_maps(neurons: TaggedSpectrum, example: Example) -> str:
    """Why a layer's response is no picture; empty if it is one."""
    size = (example.image.shape[2], example.image.shape[3])
    try:
        layer_maps(neurons.mean, neurons.layout, size)
    except ValueError:  # tokens need not fill a grid, either
        return f"No maps: {neurons.layer} has no two spatial dimensions."
    if not visualization.has_maps(neurons):
        return f"No maps: {neurons.layer} has a single place for the whole image."
    return ""


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=DOTS_PER_INCH)
    plt.close(figure)  # which does nothing to figures that pyplot does not hold
