"""Shares of the variance against exact integrals and other people's sensitivity analysis."""

from __future__ import annotations

import math
import warnings
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from captum_ssvep import FrequencyTaggingAttribution, TaggedSpectrum, TaggingDesign, choose_design

SUBSETS = [parts for size in (1, 2, 3) for parts in combinations(range(3), size)]


class Product(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.prod(dim=1, keepdim=True)


class Ishigami(nn.Module):
    """The benchmark of sensitivity analysis: x3 acts through x1 alone."""

    def forward(self, inputs: Tensor) -> Tensor:
        x1, x2, x3 = inputs.split(1, dim=1)
        return x1.sin() + 7 * x2.sin() ** 2 + 0.1 * x3**4 * x1.sin()


class RectifierNetwork(nn.Module):
    """Four neurons that mix three inputs through eight rectifiers."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.mix = torch.randn(3, 8, generator=generator, dtype=torch.float64)
        self.readout = torch.randn(8, 4, generator=generator, dtype=torch.float64)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(inputs @ self.mix) @ self.readout


def spectrum_of(layer: nn.Module, design: TaggingDesign, max_order: int) -> TaggedSpectrum:
    """Spectrum of a layer of the contrasts themselves: an input of ones over a baseline of 0."""
    return FrequencyTaggingAttribution(nn.Sequential(layer).eval(), "0").spectrum(
        torch.ones(1, design.n_parts, dtype=torch.float64),
        feature_mask=torch.arange(design.n_parts)[None],
        design=design,
        max_order=max_order,
        n_neighbors=0,
        perturbations_per_eval=10_000,
    )


def share(spectrum: TaggedSpectrum, parts: tuple[int, ...]) -> np.ndarray:
    """Share of exactly these parts, one number per neuron."""
    one = len(parts) == 1
    return (spectrum.first_order(parts[0]) if one else spectrum.interaction(parts))[0].numpy()


def exact_shares(layer: nn.Module, low: float, high: float) -> dict[tuple[int, ...], np.ndarray]:
    """ANOVA shares of three inputs under the arcsine law, by Gauss-Chebyshev quadrature.

    The decomposition as it is defined: the part of a subset is the mean over the other inputs, less
    the parts of all smaller subsets.
    """
    n_nodes = 48
    nodes = np.cos((np.arange(n_nodes) + 0.5) * np.pi / n_nodes)
    levels = torch.from_numpy((low + high) / 2 + (high - low) / 2 * nodes)
    grid = torch.cartesian_prod(levels, levels, levels)
    values = layer(grid).numpy().reshape(n_nodes, n_nodes, n_nodes, -1)

    parts: dict[tuple[int, ...], np.ndarray] = {(): values.mean(axis=(0, 1, 2), keepdims=True)}
    for subset in SUBSETS:
        others = tuple(axis for axis in range(3) if axis not in subset)
        smaller = [inner for size in range(len(subset)) for inner in combinations(subset, size)]
        parts[subset] = values.mean(axis=others, keepdims=True) - sum(parts[s] for s in smaller)
    variance = values.var(axis=(0, 1, 2))
    return {s: (parts[s] ** 2).mean(axis=(0, 1, 2)) / variance for s in SUBSETS}


def test_a_product_shares_its_variance_as_computed_by_hand():
    spectrum = spectrum_of(Product(), TaggingDesign(), max_order=4)
    m, a = 0.75, 0.25
    alone, together = a**2 * m**2 / 2, a**4 / 4
    variance = 2 * alone + together

    for part in (0, 1):
        assert spectrum.first_order(part).item() == pytest.approx(alone / variance, abs=1e-9)
        total = (alone + together) / variance
        assert spectrum.total_order(part).item() == pytest.approx(total, abs=1e-9)
    assert spectrum.interaction((0, 1)).item() == pytest.approx(together / variance, abs=1e-9)
    assert spectrum.explained_variance.item() == pytest.approx(1, abs=1e-9)
    # The decimals that the documentation quotes.
    assert spectrum.first_order(0).item() == pytest.approx(0.48649, abs=1e-5)
    assert spectrum.interaction((1, 0)).item() == pytest.approx(0.02703, abs=1e-5)


def test_one_record_gives_all_shares_of_a_rectifier_network():
    design = choose_design(3, max_order=8, kind="time", contrast=(-1.0, 1.0))
    layer = RectifierNetwork()
    spectrum = spectrum_of(layer, design, max_order=8)
    exact = exact_shares(layer, *design.contrast)
    # Every subset has a share in some neuron, or the comparison would be empty.
    assert min(shares.max() for shares in exact.values()) > 0.03

    for subset in SUBSETS:
        np.testing.assert_allclose(share(spectrum, subset), exact[subset], rtol=0, atol=0.005)
    for part in range(3):
        total = sum(exact[subset] for subset in SUBSETS if part in subset)
        np.testing.assert_allclose(spectrum.total_order(part)[0], total, rtol=0, atol=0.005)
    np.testing.assert_allclose(spectrum.explained_variance[0], 1, rtol=0, atol=0.005)


def test_uniform_contrasts_give_the_exact_indices_of_ishigami():
    # Triangle waves make slow harmonics: to order 9 they hold .9985 of the variance, and to the
    # usual order 4 half of the interaction.
    design = choose_design(3, max_order=9, contrast=(-math.pi, math.pi), waveform="triangle")
    spectrum = spectrum_of(Ishigami(), design, max_order=9)
    first = (1 + 0.1 * math.pi**4 / 5) ** 2 / 2
    second = 7**2 / 8
    together = 0.1**2 * math.pi**8 * (1 / 9 - 1 / 25) / 2
    variance = first + second + together

    exact = {(0,): first / variance, (1,): second / variance, (0, 2): together / variance}
    for subset in SUBSETS:
        wanted = exact.get(subset, 0.0)
        assert share(spectrum, subset).item() == pytest.approx(wanted, abs=0.01), subset
    for part in range(3):
        wanted = sum(index for subset, index in exact.items() if part in subset)
        assert spectrum.total_order(part).item() == pytest.approx(wanted, abs=0.01)
    # The decimals that the literature quotes.
    assert list(exact.values()) == pytest.approx([0.3139, 0.4424, 0.2437], abs=5e-5)


def test_salib_fast_finds_the_same_shares():
    fast_sampler = pytest.importorskip("SALib.sample.fast_sampler")
    fast = pytest.importorskip("SALib.analyze.fast")
    low, high = contrast = (-1.0, 1.0)
    layer = RectifierNetwork()
    design = choose_design(3, max_order=8, contrast=contrast, waveform="triangle")
    spectrum = spectrum_of(layer, design, max_order=8)

    problem = {"num_vars": 3, "names": ["x1", "x2", "x3"], "bounds": [[low, high]] * 3}
    samples = fast_sampler.sample(problem, 2049, seed=1)
    responses = layer(torch.from_numpy(samples)).numpy()
    for neuron in range(responses.shape[1]):
        with warnings.catch_warnings():
            # Of its confidence intervals, which are not read here.
            warnings.simplefilter("ignore")
            indices = fast.analyze(problem, responses[:, neuron], num_resamples=2)
        for part in range(3):
            ours = spectrum.first_order(part)[0, neuron].item()
            # Extended FAST leaks interactions into single inputs, however many samples it has.
            assert ours == pytest.approx(indices["S1"][part], abs=0.02)
            ours = spectrum.total_order(part)[0, neuron].item()
            assert ours == pytest.approx(indices["ST"][part], abs=0.02)
