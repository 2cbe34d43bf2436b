"""Harmonics of a tag that rise above the noise, and the amplitude in all of them together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._checks import count, instance, integer, number, warn_user
from ..design import Component, TaggingDesign
from .statistics import zscore
from .tagged import TaggedSpectrum

# With so many neighbors on each side, the two extremes dropped, noise exceeds this z in 5 % of
# spectra (and 1.64, the quantile of a normal distribution, in 12 %): benchmarks/thresholds.py.
N_NEIGHBORS = 10
THRESHOLD = 2.47


@dataclass(frozen=True, eq=False)
class HarmonicSum:
    """What a tag evokes in all of its harmonics together, and why in these.

    Args:
        components (tuple[Component, ...]): The harmonics that are summed.
        amplitude (Tensor): Their baseline-corrected amplitudes, summed, shape ``(N, *neuron)``.
        zscores (dict[Component, float]): Of the grand average, at every harmonic that was looked
            at.
        threshold (float): What the last of ``components`` exceeds.
        shared (tuple[Component, ...]): Harmonics that were left out, since they lie on a lower
            harmonic of another tag.
    """

    components: tuple[Component, ...]
    amplitude: Tensor
    zscores: dict[Component, float]
    threshold: float
    shared: tuple[Component, ...]

    def __repr__(self) -> str:
        return (
            f"HarmonicSum({', '.join(map(str, self.components)) or 'no harmonic'} of "
            f"{len(self.zscores)}, z above {self.threshold:g})"
        )


def sum_harmonics(spectrum: TaggedSpectrum, part: int, threshold: float = THRESHOLD) -> HarmonicSum:
    """Baseline-corrected amplitude of a tag's harmonics, summed over one list for all.

    The list is chosen on the grand average, the mean amplitude over images and neurons (Retter,
    Rossion and Schiltz 2021, doi 10.1162/jocn_a_01763): all harmonics up to the last one whose
    z-score exceeds the threshold. Its noise is that of the neighbors without their lowest and
    highest. A harmonic on a lower harmonic of another tag is left out, as every fifth of 1.2 Hz is
    beside 6 Hz; so is what lies above the Nyquist frequency.

    Args:
        spectrum (TaggedSpectrum): With harmonics of the tag, and ten neighbors or more on each
            side: ``components="harmonics", max_order=12, n_neighbors=10``.
        part (int): The part with this tag.
        threshold (float, optional): Lowest z-score of the last harmonic. Default: 2.47, which the
            amplitude of a line in white noise exceeds by chance in 5 %, means over images and
            neurons in 4 %. That is per line, so that a long list often has one too many

    Returns:
        HarmonicSum: The harmonics, their summed amplitude, and the z-scores. No harmonic and
        amplitudes of 0 if none exceeds the threshold.

    Raises:
        ValueError: If the spectrum holds no harmonics of this tag, too few neighbors, or neurons
            with different units.

    Examples::

        >>> from captum_ssvep import TaggingDesign
        >>> design = TaggingDesign((5.5, 7.5), sampling_rate=500, n_frames=5000)
        >>> turns = 11 * torch.pi * torch.arange(5000, dtype=torch.float64) / 500
        >>> noise = torch.randn(5000, 8, generator=torch.Generator().manual_seed(1))
        >>> eeg = (torch.sin(turns) + torch.sin(3 * turns) / 2)[:, None] + noise
        >>> harmonics = [(n, 0) for n in range(1, 13)]
        >>> spectrum = TaggedSpectrum.from_series(eeg, design, harmonics, n_neighbors=10)
        >>> sum_harmonics(spectrum, 0)
        HarmonicSum(f1, 2f1, 3f1 of 12, z above 2.47)
    """
    spectrum = instance(spectrum, TaggedSpectrum, "spectrum", "a `TaggedSpectrum`")
    design, threshold = spectrum.design, number(threshold, "threshold")
    if not isinstance(design, TaggingDesign) or spectrum.n_neighbors < N_NEIGHBORS:
        raise ValueError(
            f"Expected a `spectrum` in time with {N_NEIGHBORS} or more neighbors on each side, but "
            f"got {count(spectrum.n_neighbors, 'neighbor')} in a {design}; read a recording with "
            f"n_neighbors={N_NEIGHBORS}, a network with noise_std as well"
        )
    units = sorted(set(spectrum.neuron_units or ()))
    if len(units) > 1:
        raise ValueError(
            f"Expected a `spectrum` in one unit, but got {', '.join(units)}; read one type of "
            "channels with `picks`"
        )
    wanted = (integer(part, "part", at_least=0),)
    held = sorted((c for c in spectrum.components if c.parts == wanted), key=sum)
    held = [c for c in held if 2 * c[part] * design.bins[part] < design.n_frames]
    if not held:
        raise ValueError(
            f"Expected `part` to be one whose harmonics the spectrum holds, but got {part}; it "
            f"holds {', '.join(map(str, spectrum.components))}"
        )
    shared = tuple(c for c in held if _is_shared(c, part, design))
    zscores = {c: _grand_zscore(spectrum, c) for c in held if c not in shared}
    last = max((c[part] for c, z in zscores.items() if z > threshold), default=0)
    if last == max((c[part] for c in zscores), default=-1):
        _warn_of_more(last, part, design)
    chosen = tuple(c for c in zscores if c[part] <= last)
    amplitude = torch.zeros_like(spectrum.mean)
    if chosen:
        amplitude = spectrum.reduce(chosen, "baseline_corrected", "sum")
    return HarmonicSum(chosen, amplitude, zscores, threshold, shared)


def _is_shared(component: Component, part: int, design: TaggingDesign) -> bool:
    """Whether a harmonic lies on a lower harmonic of another tag."""
    line = component[part] * design.bins[part]
    return any(line % other == 0 and other > design.bins[part] for other in design.bins)


def _grand_zscore(spectrum: TaggedSpectrum, component: Component) -> float:
    """The z-score of the mean amplitude over images and neurons, without extreme neighbors."""
    amplitude = spectrum.amplitude(component).mean()
    neighbors = spectrum.neighbor_amplitudes(component).flatten(1).mean(dim=1).sort().values
    return zscore(amplitude, neighbors[1:-1], amplitude.new_zeros(())).item()


def _warn_of_more(last: int, part: int, design: TaggingDesign) -> None:
    if 2 * (last + 1) * design.bins[part] < design.n_frames:
        warn_user(
            f"The last harmonic that the spectrum holds, {last}f{part + 1}, still rises above the "
            "noise, so that higher ones may, too; read the spectrum with a higher `max_order`"
        )
