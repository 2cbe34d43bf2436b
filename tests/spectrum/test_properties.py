"""What holds for any small network and any design: laws of the spectrum, by hypothesis.

All in double precision. Weights come from a drawn seed; sizes, phases and designs are drawn.
"""

import itertools
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    TaggedSpectrum,
    TaggingDesign,
    choose_design,
)

few = settings(max_examples=20)

# The moments show every pair of 15 and 17 angles once (15 and 17 have no common factor): with
# cosine phases a grid symmetric in each angle by itself, whatever the network.
SYMMETRIC = TaggingDesign((15.0, 17.0), 255.0, 255, phases=math.pi / 2)
# Components collide from order 64 on.
FINE = dict(frequencies=(63.0, 65.0), sampling_rate=4095.0, n_frames=4095)

phases = st.tuples(*[st.floats(0, 2 * math.pi)] * 2)


class Square(nn.Module):
    def forward(self, x):
        return x.square()


class Network:
    """A random network, images for it and a mask in which every part has an element."""

    def __init__(self, seed, sizes, n_parts, n_examples, nonlinearity):
        generator = torch.Generator().manual_seed(seed)
        layers = []
        for before, after in itertools.pairwise(sizes):
            linear = nn.Linear(before, after).double()
            for parameter in linear.parameters():
                values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.data = values / before**0.5
            layers += [linear, nonlinearity()]
        self.layers = nn.Sequential(*layers[:-1], nn.Identity()).eval()
        self.inputs = torch.randn(n_examples, sizes[0], generator=generator, dtype=torch.float64)
        others = torch.randint(-1, n_parts, (sizes[0] - n_parts,), generator=generator)
        self.mask = torch.cat([torch.arange(n_parts), others])[None]

    def spectrum(self, model=None, inputs=None, mask=None, **arguments):
        tagging = FrequencyTaggingAttribution(model or self.layers, str(len(self.layers) - 1))
        return tagging.spectrum(
            self.inputs if inputs is None else inputs,
            feature_mask=self.mask if mask is None else mask,
            perturbations_per_eval=512,
            **arguments,
        )

    def followed_by(self, function):
        """The same network, its last layer's output changed."""

        class Changed(nn.Module):
            def forward(self, x):
                return function(x)

        return nn.Sequential(*self.layers[:-1], Changed()).eval()


def relu_networks(n_parts=2):
    return st.builds(
        Network,
        seed=st.integers(0, 2**32),
        sizes=st.tuples(st.integers(n_parts, 6), st.integers(2, 8), st.integers(1, 8)).map(
            lambda sizes: (*sizes, 3)
        ),
        n_parts=st.just(n_parts),
        n_examples=st.integers(1, 3),
        nonlinearity=st.just(nn.ReLU),
    )


def polynomial_networks():
    """Of degree 4 in the contrasts, which is how far the paper's design is collision-free."""
    return st.builds(
        Network,
        seed=st.integers(0, 2**32),
        sizes=st.tuples(st.integers(2, 6), st.integers(2, 6), st.integers(2, 6), st.just(3)),
        n_parts=st.just(2),
        n_examples=st.integers(1, 2),
        nonlinearity=st.just(Square),
    )


@st.composite
def designs(draw):
    """Two tags, collision-free at least to order 2."""
    n_frames = draw(st.integers(24, 240))
    bins = draw(st.tuples(*[st.integers(1, (n_frames - 1) // 2)] * 2))
    assume(bins[0] != bins[1])
    design = TaggingDesign(bins, n_frames, n_frames, draw(phases), draw(contrasts()))
    assume(design.collision_free_order >= 2)
    return design


@st.composite
def contrasts(draw):
    low = draw(st.floats(-1, 0.8))
    return low, low + draw(st.floats(0.1, 1))


def close(actual, expected, scale):
    """Equal to rounding, seen against the size of what was summed."""
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-11 * float(scale.max() + 1))


MIXED = ((1, 1), (2, 1), (1, 2), (2, 2), (3, 1))


@few
@given(relu_networks(), polynomial_networks(), phases)
def test_amplitudes_of_sum_and_difference_are_equal(rectified, smooth, phases):
    """Tight, for any rectifier on a grid that is its own mirror image in either angle; and for a
    smooth network without components above order 4 in the paper's record, at any phases.
    """
    for spectrum in (
        rectified.spectrum(design=SYMMETRIC),
        smooth.spectrum(design=TaggingDesign(phases=phases)),
    ):
        for first, second in MIXED:
            close(
                spectrum.amplitude((first, second)),
                spectrum.amplitude((first, -second)),
                spectrum.mean.abs(),
            )


@settings(max_examples=15)
@given(relu_networks(), phases)
def test_amplitudes_of_sum_and_difference_are_equal_to_the_aliasing_level(network, phases):
    """Loose: a rectifier's kinks leave about 1/64**2 of its deviation at orders from 64 on."""
    spectrum = network.spectrum(design=TaggingDesign(**FINE, phases=phases))
    for first, second in MIXED:
        difference = spectrum.amplitude((first, second)) - spectrum.amplitude((first, -second))
        assert (difference.abs() <= 2e-3 * spectrum.variance.sqrt() + 1e-12).all()


@few
@given(relu_networks(), designs())
def test_renaming_the_parts_permutes_the_components(network, design):
    """Ids and tags swapped: the same stimulus, for any network."""
    swapped = TaggingDesign(
        design.frequencies[::-1], design.sampling_rate, design.n_frames, design.phases[::-1],
        design.contrast,
    )  # fmt: skip
    spectrum = network.spectrum(design=design, max_order=2)
    renamed = network.spectrum(design=swapped, max_order=2, mask=swap(network.mask))
    for first, second in spectrum.components:
        close(
            renamed.amplitude((second, first)),
            spectrum.amplitude((first, second)),
            spectrum.mean.abs(),
        )
    close(renamed.first_order(1), spectrum.first_order(0), spectrum.variance)
    close(renamed.interaction((0, 1)), spectrum.interaction((0, 1)), spectrum.variance)


@few
@given(polynomial_networks())
def test_swapping_the_tags_permutes_the_components(network):
    """Ids alone swapped: another stimulus, the same answers where nothing aliases."""
    spectrum = network.spectrum()
    swapped = network.spectrum(mask=swap(network.mask))
    for first, second in spectrum.components:
        for statistic in (TaggedSpectrum.amplitude, TaggedSpectrum.coefficient):
            close(
                statistic(swapped, (second, first)),
                statistic(spectrum, (first, second)),
                spectrum.mean.abs(),
            )


def swap(mask):
    return torch.where(mask < 0, mask, 1 - mask)


@few
@given(relu_networks(), designs())
def test_shares_sum_to_at_most_the_variance(network, design):
    order = min(design.collision_free_order, 6)
    spectrum = network.spectrum(design=design, max_order=order)
    assert (spectrum.explained_variance <= 1 + 1e-9).all()
    parts = spectrum.first_order(0) + spectrum.first_order(1) + spectrum.interaction((0, 1))
    torch.testing.assert_close(parts, spectrum.explained_variance)
    assert (spectrum.first_order(0) <= spectrum.total_order(0) + 1e-12).all()


@settings(max_examples=15)
@given(relu_networks(3), st.integers(2, 3))
def test_shares_sum_to_at_most_the_variance_with_three_parts(network, order):
    spectrum = network.spectrum(design=choose_design(3, order), max_order=order)
    assert (spectrum.explained_variance <= 1 + 1e-9).all()


grids = st.builds(ChebyshevGrid, st.just(2), st.integers(2, 12), contrasts())
chosen = st.builds(
    choose_design, st.just(2), st.integers(1, 5), st.sampled_from(["grid", "time"]), contrasts()
)


@settings(max_examples=30)
@given(relu_networks(), designs() | grids | chosen)
def test_no_line_counts_twice_unless_a_higher_order_is_asked_for(network, design):
    spectrum = network.spectrum(design=design)
    assert max(component.order for component in spectrum.components) == design.default_order
    assert (spectrum.explained_variance <= 1 + 1e-9).all()


@few
@given(polynomial_networks(), contrasts())
def test_shares_sum_to_the_variance_where_nothing_is_left_out(network, contrast):
    spectrum = network.spectrum(design=TaggingDesign(contrast=contrast))
    answers = spectrum.variance > 1e-18 * (1 + spectrum.mean.square())
    assert answers.any()
    explained = spectrum.explained_variance[answers]
    torch.testing.assert_close(explained, torch.ones_like(explained), rtol=1e-6, atol=0)


@settings(max_examples=15)
@given(relu_networks(), st.floats(1e-3, 1e3))
def test_scaling_a_layer_scales_amplitudes_and_no_ratio(network, scale):
    scaled = network.followed_by(lambda x: scale * x)
    plain, louder = (network.spectrum(model) for model in (None, scaled))
    noisy, louder_noisy = (network.spectrum(model, noise_std=0.1) for model in (None, scaled))
    answers = noisy.variance.sqrt() > 1e4 * noisy.floor[:, None]  # the rest is rounding
    for component in plain.components:
        close(louder.amplitude(component) / scale, plain.amplitude(component), plain.mean.abs())
        for statistic in ("snr", "variance_share"):
            before, after = (s.reduce([component], statistic) for s in (noisy, louder_noisy))
            torch.testing.assert_close(after[answers], before[answers], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(louder.explained_variance, plain.explained_variance)
    torch.testing.assert_close(louder.floor, scale * plain.floor)


@few
@given(polynomial_networks(), phases, phases)
def test_phases_change_no_magnitude_where_nothing_aliases(network, phases, others):
    first, second = (network.spectrum(design=TaggingDesign(phases=p)) for p in (phases, others))
    for component in first.components:
        for statistic in (TaggedSpectrum.amplitude, TaggedSpectrum.coefficient):
            close(statistic(first, component), statistic(second, component), first.mean.abs())
    close(first.variance, second.variance, first.mean.square())


@few
@given(relu_networks(), st.floats(-1e3, 1e3))
def test_a_constant_changes_nothing_but_the_mean(network, constant):
    plain = network.spectrum()
    raised = network.spectrum(network.followed_by(lambda x: x + constant))
    torch.testing.assert_close(raised.mean, plain.mean + constant)
    rounding = 1e-13 * (abs(constant) + float(plain.mean.abs().max()) + 1)
    for component in plain.components:
        torch.testing.assert_close(
            raised.amplitude(component), plain.amplitude(component), rtol=1e-9, atol=rounding
        )
    torch.testing.assert_close(raised.variance, plain.variance, rtol=1e-8, atol=rounding)


@settings(max_examples=15)
@given(relu_networks(), st.permutations(range(4)), st.sampled_from([0.0, 0.3]))
def test_permuting_examples_permutes_results(network, order, noise_std):
    images = torch.stack([network.inputs[0] * (1 + row) + row for row in range(4)])
    spectrum = network.spectrum(inputs=images, noise_std=noise_std)
    permuted = network.spectrum(inputs=images[list(order)], noise_std=noise_std)
    for name in ("lines", "mean", "variance", "floor", "neighbor_lines"):
        dimension = 1 if name.endswith("lines") else 0
        expected = getattr(spectrum, name).index_select(dimension, torch.tensor(order))
        torch.testing.assert_close(getattr(permuted, name), expected, rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return tmp_path_factory.mktemp("spectra") / "spectrum.npz"


@few
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    design=st.builds(TaggingDesign, phases=phases, contrast=contrasts()),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    n_neighbors=st.integers(0, 2),
    summed=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_a_spectrum_comes_back_from_its_file(
    archive, shape, design, dtype, n_neighbors, summed, seed
):
    generator = torch.Generator().manual_seed(seed)
    series = torch.randn(design.n_frames, *shape, generator=generator, dtype=dtype)
    spectrum = TaggedSpectrum.from_series(series, design, n_neighbors=n_neighbors)
    if summed:
        spectrum = spectrum + spectrum
    spectrum.save(archive)
    loaded = TaggedSpectrum.load(archive)
    for name in ("components", "design", "n_neighbors", "neighbor_bins"):
        assert getattr(loaded, name) == getattr(spectrum, name)
    assert (loaded.variance is None) == summed
    for name in ("lines", "mean", "variance", "floor", "neighbor_lines"):
        written, read = getattr(spectrum, name), getattr(loaded, name)
        assert written is read is None or (
            torch.equal(written, read) and written.dtype == read.dtype
        )
    assert torch.equal(loaded.reduce("all", "snr"), spectrum.reduce("all", "snr"))
