"""The figure of an SSVEP paper: the whole spectrum of a neuron or an electrode."""

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .._checks import integer, number
from ..design import Component, Design
from ..scores.significance import SNR_THRESHOLDS
from ..spectrum.tagged import TaggedSpectrum
from .spectra import kind_of, label_lines
from .style import (
    GUIDE_GRAY,
    MOMENT_GRAY,
    NOISE_GRAY,
    component_color,
    legend_beside,
    neuron_index,
    one_spectrum,
)


def plot_whole_spectrum(
    spectrum: TaggedSpectrum,
    neuron: int | Sequence[int],
    *,
    highest: float | None = None,
    unit: str = "activation",
    n_labels: int = 8,
) -> tuple[Figure, NDArray[np.object_]]:
    """Draw amplitude and SNR over all frequencies: mean and standard deviation over images.

    Lines of components are colored, those of the strongest are named. The SNR compares every bin
    with two free neighbors on each side; a dashed line marks what noise alone exceeds in 5 % of
    bins of a single image.

    Args:
        spectrum (TaggedSpectrum): Computed with ``whole=True``; images are those of a network, or
            the trials of a recording.
        neuron (int or sequence of int): Index of the neuron or electrode, without the batch.
        highest (float, optional): Highest frequency in Hz. Default: somewhat above the highest
            component
        unit (str, optional): Unit of the amplitude, such as ``"V"``. Default: ``"activation"``
        n_labels (int, optional): How many components to name. Default: 8

    Returns:
        tuple: The figure and its two axes, amplitude above and SNR below.

    Raises:
        ValueError: If the spectrum has no whole, or a number is out of range.
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
        >>> plt.close(figure)
    """
    whole = one_spectrum(spectrum).whole
    n_labels = integer(n_labels, "n_labels", at_least=0)
    place = neuron_index(neuron, spectrum.mean.shape[1:])
    frequencies = whole.frequencies.numpy()
    lines = {component: whole.design.bin(component) for component in spectrum.components}
    highest = (
        min(frequencies[-1], 1.1 * frequencies[max(lines.values())])
        if highest is None
        else number(highest, "highest", at_least=frequencies[1])
    )
    # The mean itself, at 0 Hz, would dwarf everything.
    shown = slice(1, int(np.searchsorted(frequencies, highest, side="right")))
    figure, axes = plt.subplots(2, 1, figsize=(8.4, 5.4), sharex=True, layout="constrained")
    row = int(np.ravel_multi_index(place, spectrum.mean.shape[1:])) if place else 0
    amplitude, snr, noise = (
        values.reshape(len(frequencies), len(spectrum), -1)[:, :, row].cpu().numpy()
        for values in (whole.amplitude, whole.snr(), whole.noise())
    )
    for ax, of_images in zip(axes, (amplitude, snr), strict=True):
        _draw(ax, frequencies, of_images, shown, lines, whole.design)
    axes[0].plot(
        frequencies[shown], noise.mean(axis=1)[shown], color=GUIDE_GRAY, linewidth=1, label="noise"
    )
    axes[1].axhline(
        SNR_THRESHOLDS[0.05], color=GUIDE_GRAY, linestyle="--", linewidth=1, label="5 % by chance"
    )
    strongest = sorted(lines, key=lambda c: -amplitude[lines[c]].mean())[:n_labels]
    tips = [
        (
            spectrum.design.label(component),
            float(frequencies[lines[component]]),
            float(amplitude[lines[component]].mean()),
            component_color(component),
        )
        for component in strongest
        if frequencies[lines[component]] <= highest
    ]
    axes[0].margins(x=0.02, y=0.16)
    axes[0].set_ylim(bottom=0)
    label_lines(axes[0], tips)
    axes[1].set_ylim(bottom=0)
    n_images = len(spectrum)
    spread = f"mean and standard deviation of {n_images} images" if n_images > 1 else "one image"
    axes[0].set(ylabel=f"Amplitude ({unit})", title=f"{_name(spectrum, place)}: {spread}")
    axes[1].set(xlabel="Frequency (Hz)", ylabel="SNR")
    for ax in axes:
        legend_beside(ax)
    return figure, axes


def _name(spectrum: TaggedSpectrum, place: tuple[int, ...]) -> str:
    index = place[0] if len(place) == 1 else place
    layer = "" if spectrum.layer is None else f"{spectrum.layer}, "
    return f"{layer}{spectrum.neurons} {index}" if place else layer.removesuffix(", ")


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
        line, kind = lines[component], kind_of(component, design)
        if not shown.start <= line < shown.stop:
            continue
        label = None if kind in named else kind
        named.add(kind)
        color = component_color(component)
        ax.vlines(frequencies[line], 0, mean[line], color=color, linewidth=2.2)
        ax.plot(frequencies[line], mean[line], "o", color=color, markersize=4, label=label)
