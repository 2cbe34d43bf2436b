"""The figure of an SSVEP paper: the whole spectrum of a neuron or an electrode."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .._checks import instance, integer, number, shown
from ..design import Component, Design
from ..spectrum.statistics import snr_threshold
from ..spectrum.tagged import TaggedSpectrum
from .spectra import kind_of, label_lines
from .style import (
    GUIDE_GRAY,
    MOMENT_GRAY,
    NOISE_GRAY,
    amplitude_label,
    legend_above_lines,
    legend_beside,
    neuron_index,
    neuron_name,
    new_figure,
    one_spectrum,
    title_axes,
)


def plot_whole_spectrum(
    spectrum: TaggedSpectrum,
    neuron: int | str | Sequence[int],
    *,
    highest: float | None = None,
    n_labels: int = 8,
    axes: Sequence[Axes] | None = None,
) -> tuple[Figure, NDArray[np.object_]]:
    """Draw amplitude and SNR over all frequencies: mean and standard deviation over images.

    Lines of components are colored, those of the strongest are named, if in any image they are
    above the rounding floor and their neighbors. The SNR compares every bin
    with as many free neighbors as that of the spectrum, or two on each side if it has none; a
    dashed line marks what noise alone exceeds in 5 % of bins of a single image
    (`statistics.snr_threshold`).

    Args:
        spectrum (TaggedSpectrum): Computed with ``whole=True``; images are those of a network, or
            the trials of a recording.
        neuron (int, str or sequence of int): Index of the neuron, without the batch, or the name
            of a recording's channel.
        highest (float, optional): Highest frequency in Hz. Default: somewhat above the highest
            component
        n_labels (int, optional): How many components to name. Default: 8
        axes (sequence of Axes, optional): Two to draw on, as a column of
            ``plt.subplots(2, 2, sharex=True)`` for a recording beside a network. Default: a new
            figure

    Returns:
        tuple: The figure and its two axes, amplitude above and SNR below.

    Raises:
        ValueError: If the spectrum has no whole, a number is out of range, or there are not two
            axes.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> import torch
        >>> from captum_ssvep import TaggingDesign
        >>> design = TaggingDesign()
        >>> series = torch.as_tensor(design.contrasts.prod(axis=1))[:, None]
        >>> noise = 0.05 * torch.randn(240, 9, 1)
        >>> spectrum = TaggedSpectrum.from_series(series[:, None] + noise, design, whole=True)
        >>> figure, axes = plot_whole_spectrum(spectrum, 0)
        >>> [ax.get_ylabel() for ax in axes]
        ['Amplitude (activation)', 'SNR']
    """
    whole = one_spectrum(spectrum).whole
    n_labels = integer(n_labels, "n_labels", at_least=0)
    place = neuron_index(neuron, spectrum.mean.shape[1:], spectrum.neuron_names)
    frequencies = whole.frequencies.numpy()
    lines = {component: whole.design.bin(component) for component in spectrum.components}
    highest = (
        min(frequencies[-1], 1.1 * frequencies[max(lines.values())])
        if highest is None
        else number(highest, "highest", at_least=frequencies[1])
    )
    # The mean itself, at 0 Hz, would dwarf everything.
    shown_bins = slice(1, int(np.searchsorted(frequencies, highest, side="right")))
    figure, (above, below) = _figure(axes)
    row = int(np.ravel_multi_index(place, spectrum.mean.shape[1:])) if place else 0
    amplitude, snr, noise = (
        values.reshape(len(frequencies), len(spectrum), -1)[:, :, row].cpu().numpy()
        for values in (whole.amplitude, whole.snr(), whole.noise())
    )
    for ax, of_images in ((above, amplitude), (below, snr)):
        _draw(ax, frequencies, of_images, shown_bins, lines, whole.design)
    curve: dict[str, Any] = {"color": GUIDE_GRAY, "linewidth": 1}
    above.plot(frequencies[shown_bins], noise.mean(axis=1)[shown_bins], label="noise", **curve)
    threshold = snr_threshold(whole.n_neighbors)
    chance = below.axhline(threshold, linestyle="--", label="5 % by chance", **curve)
    above.margins(x=0.02, y=0.16)
    above.set_ylim(bottom=0)
    below.set_ylim(bottom=0)
    responds = {c: spectrum.snr(c).reshape(len(spectrum), -1)[:, row] > 1 for c in lines}
    tips = [
        (
            spectrum.design.label(component),
            float(frequencies[line]),
            float(amplitude[line].mean()),
            kind_of(component, whole.design)[1],
        )
        for component, line in lines.items()
        if line < shown_bins.stop and responds[component].any()
    ]
    kind, n_rows = spectrum.example_kind, len(spectrum)
    spread = f": mean and standard deviation of {n_rows} {kind}s" if n_rows > 1 else ""
    above.set_ylabel(amplitude_label(spectrum))
    title_axes(above, neuron_name(spectrum, place) + spread)
    below.set(xlabel="Frequency (Hz)", ylabel="SNR")
    put_legend = legend_beside if axes is None else legend_above_lines
    put_legend(above, *above.get_legend_handles_labels())
    # The components have the same colors below.
    put_legend(below, [chance], ["5 % by chance"])
    label_lines(above, sorted(tips, key=lambda tip: -tip[2])[:n_labels])
    return figure, np.array([above, below])


def _figure(axes: Sequence[Axes] | None) -> tuple[Figure, Sequence[Axes]]:
    """The figure, and two axes to draw on."""
    if axes is None:
        figure = new_figure(8.4, 5.4)
        return figure, figure.subplots(2, 1, sharex=True)
    if np.size(axes) != 2:  # type: ignore[arg-type]  # of any sequence
        raise ValueError(
            f"Expected `axes` to be two, for amplitude and SNR, but got {shown(axes)}; "
            "`figure, axes = plt.subplots(2, 1, sharex=True)` makes some"
        )
    for ax in axes:
        instance(ax, Axes, "axes", "two axes to draw on, as `plt.subplots(2, 1)` makes them")
    return axes[0].get_figure(), axes  # type: ignore[return-value]  # not a subfigure


def _draw(
    ax: Axes,
    frequencies: NDArray[np.float64],
    of_images: NDArray[np.float64],
    shown: slice,
    lines: dict[Component, int],
    design: Design,
) -> None:
    """Draw mean and standard deviation over images at every bin, and mark the components."""
    mean = of_images.mean(axis=1)
    if of_images.shape[1] > 1:
        spread = of_images.std(axis=1, ddof=1)
        low, high = np.maximum(mean - spread, 0)[shown], (mean + spread)[shown]
        ax.fill_between(frequencies[shown], low, high, color=MOMENT_GRAY, linewidth=0)
    ax.plot(frequencies[shown], mean[shown], color=NOISE_GRAY, linewidth=1)
    named: set[str] = set()
    # Intermodulations last in the legend.
    for component in sorted(lines, key=lambda c: c.is_intermodulation):
        line, (kind, color) = lines[component], kind_of(component, design)
        if not shown.start <= line < shown.stop:
            continue
        label = None if kind in named else kind
        named.add(kind)
        ax.vlines(frequencies[line], 0, mean[line], color=color, linewidth=2.2)
        ax.plot(frequencies[line], mean[line], "o", color=color, markersize=4, label=label)
