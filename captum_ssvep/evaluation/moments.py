"""Second moments over components: how strongly neurons or electrodes respond at each, and at two.

For a layer they are means over images, for a recording those of the mean over trials. Both can be
had for any weights of the images or trials, as of resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..design import Component, TaggingDesign
from ..spectrum.plan import neighbors_of
from ..spectrum.tagged import TaggedSpectrum

# Moments for weightings of images or trials, shape (weightings, n): real of shape
# (weightings, components), or with phases complex of shape (weightings, components, components).
Moments = Callable[[Tensor], Tensor]


def resampling_weights(n: int, n_resamples: int, seed: np.random.SeedSequence) -> Tensor:
    """Weights of images or trials in their mean, shape ``(1 + n_resamples, n)``.

    Those of the first row are equal. Each other row draws ``n`` with replacement.

    Examples::

        >>> resampling_weights(4, 1, np.random.SeedSequence(0))
        tensor([[0.2500, 0.2500, 0.2500, 0.2500],
                [0.2500, 0.0000, 0.0000, 0.7500]], dtype=torch.float64)
    """
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), n_resamples)
    return torch.from_numpy(np.concatenate([np.ones((1, n)), counts]) / n)


def image_moments(
    spectrum: TaggedSpectrum, components: Sequence[Component], phases: bool
) -> Moments:
    """The moments of a layer: weighted means of those of its images.

    Args:
        spectrum: The layer's.
        components: At which.
        phases: Whether moments of two components are wanted, besides the power at each.
    """
    noise_weights = _noise_weights(spectrum, components)
    of_each = []
    # One by one: the lines of a whole layer in double precision would take much memory.
    for image in range(len(spectrum)):
        one = spectrum[image]
        noise = _power(_double(one.neighbor_lines)) @ noise_weights
        of_each.append(_moments(_relative_lines(one, components), noise, phases))
    of_images = torch.cat(of_each)

    def weighted(weights: Tensor) -> Tensor:
        return _with_positive_power(torch.tensordot(weights.to(of_images), of_images, dims=1))

    return weighted


def trial_moments(
    spectrum: TaggedSpectrum, components: Sequence[Component], phases: bool
) -> Moments:
    """The moments of a recording: those of the weighted mean over its trials.

    The noise at a component is the power at its neighbors, in the mean over the same trials. A
    resample of trials has more noise in its mean than all of them, and more is subtracted.

    Args:
        spectrum: The recording's, of shape ``(trials, electrodes)``.
        components, phases: As in `image_moments`.
    """
    noise_weights = _noise_weights(spectrum, components)
    lines, neighbors = _relative_lines(spectrum, components), _double(spectrum.neighbor_lines)

    def weighted(weights: Tensor) -> Tensor:
        noise = _power(_mean(neighbors, weights)) @ noise_weights
        return _with_positive_power(_moments(_mean(lines, weights), noise, phases))

    return weighted


def highest_snr(spectrum: TaggedSpectrum, components: Sequence[Component]) -> float:
    """Highest signal-to-noise ratio at a component, of all electrodes in the mean over trials.

    The root of the power over that at its neighbors; 0 where both are 0.
    """
    weights = torch.full((1, len(spectrum)), 1 / len(spectrum), dtype=torch.float64)
    power = _power(_mean(_relative_lines(spectrum, components), weights))
    noise = _power(_mean(_double(spectrum.neighbor_lines), weights))
    return float(
        (power / (noise @ _noise_weights(spectrum, components))).nan_to_num(0).max().sqrt()
    )


def amplitudes(moments: Tensor) -> Tensor:
    """Roots of the power at each component, shape ``(weightings, components)``."""
    return _power_of(moments).sqrt()


def _double(lines: Tensor) -> Tensor:
    """Lines in double precision, shape ``(N, lines, neurons)``."""
    rows, n = lines.shape[:2]
    return (
        lines.reshape(rows, n, math.prod(lines.shape[2:])).cpu().to(torch.complex128).movedim(1, 0)
    )


def _relative_lines(spectrum: TaggedSpectrum, components: Sequence[Component]) -> Tensor:
    """Complex amplitudes relative to the tags' phases, shape ``(N, components, neurons)``.

    They belong to the signed frequency ``sum n_i f_i``, which designs may fold differently. What
    rounding alone can cause is 0.
    """
    design = spectrum.design
    rows = [spectrum.components.index(component) for component in components]
    factors = torch.tensor([[design.turn(c) * design.scale(c)] for c in components])
    lines = _double(spectrum.lines[rows]) * factors.to(torch.complex128)
    lines = lines.where(_squared(lines) > spectrum.floor.cpu().double()[:, None, None] ** 2, 0)
    if isinstance(design, TaggingDesign):
        mirrored = torch.tensor([[design.signed_bin(component) < 0] for component in components])
        lines = torch.where(mirrored, lines.conj(), lines)
    return lines


def _noise_weights(spectrum: TaggedSpectrum, components: Sequence[Component]) -> Tensor:
    """Weights of the power in neighbors' sums in the noise, shape ``(neighbor_bins, components)``.

    All are 0 without neighbors.
    """
    design = spectrum.design
    weights = torch.zeros(len(spectrum.neighbor_bins), len(components), dtype=torch.float64)
    scale = (2 / design.n_frames) ** 2
    for column, component in enumerate(components):
        bins = neighbors_of(component, spectrum.components, design, spectrum.n_neighbors)
        weights[np.searchsorted(spectrum.neighbor_bins, bins), column] = scale / max(len(bins), 1)
    return weights


def _mean(lines: Tensor, weights: Tensor) -> Tensor:
    """Weighted means of complex lines over dimension 0."""
    return torch.view_as_complex(
        torch.tensordot(weights, torch.view_as_real(lines.resolve_conj()), dims=1)
    )


def _squared(lines: Tensor) -> Tensor:
    """Squared absolute values, without the roots that ``abs`` takes."""
    return lines.real.square() + lines.imag.square()


def _power(lines: Tensor) -> Tensor:
    """Summed over neurons, the last dimension."""
    return _squared(lines).sum(-1)


def _moments(lines: Tensor, noise: Tensor, phases: bool) -> Tensor:
    """Sums over neurons of products of two components, without the power of noise.

    Noise at two lines is independent, so that it adds nothing to products of two.
    """
    if phases:
        return lines @ lines.mH - torch.diag_embed(noise)
    return _power(lines) - noise


def _power_of(moments: Tensor) -> Tensor:
    return moments.diagonal(dim1=-2, dim2=-1).real if moments.is_complex() else moments


def _with_positive_power(moments: Tensor) -> Tensor:
    """The moments with a power of 0 where there was less than noise."""
    excess = (-_power_of(moments)).clamp(min=0)
    return moments + (torch.diag_embed(excess) if moments.is_complex() else excess)
