"""The real thing: ResNet-32, trained on CIFAR-10, and its test images."""

import math

import numpy as np
import pytest
import torch
from captum.attr import LayerActivation
from cifar import MEAN, STD, load_test_images
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    TaggingDesign,
    black,
    score_neurons,
    tagged_sequence,
)
from captum_ssvep.spectrum.statistics import STATISTICS

pytestmark = pytest.mark.data
BLACK = black(MEAN, STD)


@pytest.fixture(scope="module")
def convolutions(resnet32):
    return [module for module in resnet32.modules() if isinstance(module, nn.Conv2d)]


def test_the_spectrum_is_that_of_all_240_frames_at_every_convolution(
    resnet32, convolutions, cifar_images
):
    """Distinct frames, streamed, against the pipeline that a Captum user would write."""
    image = cifar_images[:1]
    assert len(convolutions) == 31
    design = TaggingDesign()
    spectra = FrequencyTaggingAttribution(resnet32, convolutions).spectrum(image, baselines=BLACK)
    frames = tagged_sequence(image, design, baselines=BLACK)[:, 0]
    activation = LayerActivation(resnet32, convolutions)
    batches = [activation.attribute(batch) for batch in frames.split(60)]
    for spectrum, series in zip(spectra, zip(*batches, strict=True), strict=True):
        lines = np.fft.rfft(torch.cat(series).double().numpy(), axis=0)
        largest = np.abs(lines[1:]).max()
        for component in design.components("all"):
            expected = lines[design.bin(component)]
            ours = spectrum.lines[spectrum.components.index(component), 0].numpy()
            assert np.abs(ours - expected).max() <= 1e-5 * largest
            amplitude = 2 * np.abs(expected) / 240
            error = np.abs(spectrum.amplitude(component)[0].numpy() - amplitude)
            assert error.max() <= 1e-5 * 2 * largest / 240
        mean, variance = (f(torch.cat(series).double(), 0) for f in (torch.mean, torch.var))
        torch.testing.assert_close(spectrum.mean[0].double(), mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            spectrum.variance[0].double(), variance * 239 / 240, rtol=1e-3, atol=1e-6
        )


def test_attributions_look_like_captums_and_are_finite(resnet32, convolutions, cifar_images):
    images = cifar_images[:2]
    tagging = FrequencyTaggingAttribution(resnet32, convolutions)
    expected = LayerActivation(resnet32, convolutions).attribute(images)
    results = tagging.attribute(images, baselines=BLACK)
    for result, activation in zip(results, expected, strict=True):
        assert result.shape == activation.shape
        assert result.dtype == activation.dtype
        assert result.device == activation.device
        assert result.is_contiguous()
        assert result.isfinite().all()
    for spectrum in tagging.spectrum(images, baselines=BLACK):
        for statistic in STATISTICS:
            assert spectrum.reduce("all", statistic).isfinite().all()


def test_snr_tells_present_components_from_absent_ones(resnet32, cifar_images):
    """The first convolution is linear: it answers 6 Hz and cannot answer 12 Hz."""
    spectrum = FrequencyTaggingAttribution(resnet32, "conv1").spectrum(
        cifar_images, baselines=BLACK
    )
    absent = [c for c in spectrum.components if c.order > 1]
    for component in absent:
        assert spectrum.snr(component).max() < 1
    for component, half in (((1, 0), slice(0, 15)), ((0, 1), slice(17, 32))):
        # A black pixel does not flicker: what answers is every filter somewhere in its half.
        strongest = spectrum.snr(component)[..., half].amax(dim=(2, 3))
        assert strongest.median() > 1e3
        assert spectrum.snr(component)[..., half].median() > 1e3
        other = slice(17, 32) if half.start == 0 else slice(0, 15)
        assert spectrum.snr(component)[..., other].max() < 1


@pytest.mark.parametrize(("phases", "n_passes"), [(0.0, 49), (math.pi / 2, 35)])
def test_the_papers_record_costs_few_forward_passes(resnet32, cifar_images, phases, n_passes):
    rows = []
    handle = resnet32.conv1.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    design = TaggingDesign(phases=phases)
    tagging = FrequencyTaggingAttribution(resnet32, "layer3")
    tagging.attribute(cifar_images[:1], baselines=BLACK, design=design)
    assert sum(rows) == n_passes + 1  # one frame is shown again
    rows.clear()
    tagging.attribute(cifar_images[:3], perturbations_per_eval=1, design=design)
    assert rows == [3] * (n_passes + 1)
    handle.remove()


def test_snr_in_noise_follows_the_null_distribution(resnet32, cifar_images):
    """2f1 is absent from the linear first convolution: 5 % of SNRs exceed 2.33."""
    tagging = FrequencyTaggingAttribution(resnet32, "conv1")
    snr = tagging.attribute(cifar_images, baselines=BLACK, components=[(2, 0)], noise_std=0.05)
    assert snr.shape == (20, 16, 32, 32)
    assert (snr > 2.33).float().mean().item() == pytest.approx(0.05, abs=0.015)
    present = tagging.attribute(cifar_images, baselines=BLACK, components=[(1, 0)], noise_std=0.05)
    assert (present[..., :15] > 2.33).float().mean().item() > 0.5


def test_examples_are_independent(resnet32, cifar_images):
    images = cifar_images[:3]
    tagging = FrequencyTaggingAttribution(resnet32, "layer2")
    spectrum = tagging.spectrum(images, baselines=BLACK)
    scale = spectrum.lines.abs().max()
    for arguments in (
        dict(perturbations_per_eval=1),
        dict(perturbations_per_eval=100),
        dict(internal_batch_size=2),
        dict(internal_batch_size=7),
    ):
        other = tagging.spectrum(images, baselines=BLACK, **arguments)
        assert (other.lines - spectrum.lines).abs().max() < 1e-5 * scale
    for row in range(3):
        single = tagging.spectrum(images[row : row + 1], baselines=BLACK)
        assert (single.lines[:, 0] - spectrum.lines[:, row]).abs().max() < 1e-5 * scale


def test_sum_and_difference_intermodulations_are_equal_without_memory(resnet32, cifar_images):
    """With phases that separate all orders the two signs differ by aliasing alone."""
    tagging = FrequencyTaggingAttribution(resnet32, "layer3")

    def difference(order):
        # Tags whose intermodulations are alias-free to a higher and higher order.
        n_frames = 2 * order**2 + 2 * order + 1
        design = TaggingDesign((order, order + 1), n_frames, n_frames, phases=math.pi / 2)
        spectrum = tagging.spectrum(
            cifar_images[:1],
            baselines=BLACK,
            design=design,
            components=[(1, 1), (1, -1)],
            n_neighbors=0,
        )
        plus, minus = spectrum.amplitude((1, 1)), spectrum.amplitude((1, -1))
        return ((plus - minus).norm() / plus.norm()).item()

    assert difference(12) < 0.06
    assert difference(24) < 0.5 * difference(12)


def relative_errors(spectra, truths, order):
    """Of a layer's amplitudes at one order, in root mean square; one per layer."""
    errors = []
    for spectrum, truth in zip(spectra, truths, strict=True):
        components = [c for c in truth.components if c.order == order]
        ours, true = (
            torch.stack([s.amplitude(c) for c in components]).double() for s in (spectrum, truth)
        )
        errors.append(((ours - true).norm() / true.norm()).item())
    return errors


def test_grids_are_nearer_to_the_truth_than_records_of_as_many_frames(resnet32, cifar_images):
    tagging = FrequencyTaggingAttribution(resnet32, ["relu", "layer1", "layer2", "layer3"])

    def spectra(design):
        return tagging.spectrum(
            cifar_images[:2], baselines=BLACK, design=design, pooling="channel", n_neighbors=0
        )

    truths = spectra(ChebyshevGrid(nodes=20))
    designs = {
        "paper": TaggingDesign(),  # 49 frames
        "cosine": TaggingDesign(phases=math.pi / 2),  # 35 frames
        "grid": ChebyshevGrid(),  # 25 frames
        "larger grid": ChebyshevGrid(nodes=7),  # 49 frames
    }
    errors = {
        name: [np.mean(relative_errors(found, truths, order)) for order in range(1, 5)]
        for name, found in ((name, spectra(design)) for name, design in designs.items())
    }
    for order in range(4):
        assert errors["grid"][order] < errors["cosine"][order]
        assert errors["larger grid"][order] < 0.6 * errors["paper"][order]
    # With half the frames of the paper's: at order 2 as exact, at order 4 less.
    assert errors["grid"][0] < 0.8 * errors["paper"][0]
    assert errors["grid"][1] == pytest.approx(errors["paper"][1], rel=0.05)
    assert errors["grid"][2] < 0.3 * errors["paper"][2]


@pytest.mark.slow
def test_the_first_convolution_is_linear_and_deeper_layers_are_not(resnet32):
    """The paper's finding, over 100 images: the linear control."""
    images = load_test_images(100)[0]
    layers = ["conv1", "layer1.0.conv1", "layer2.2.conv2", "layer3.4.conv2"]
    scores = score_neurons(
        FrequencyTaggingAttribution(resnet32, layers),
        TensorDataset(images),
        statistic="snr",
        baselines=BLACK,
        show_progress=False,
    )
    assert scores.n_images == 100
    higher = [c for c in scores.components if c.is_harmonic and c.order > 1]
    floor = 1
    for group in (higher, "intermodulations"):
        linear, *deeper = scores.count_important(floor, components=group).values()
        assert linear == 0
        assert deeper == [16, 32, 64]
        # The same by a t-test of the signed coefficients, which may cancel over images.
        linear, *deeper = scores.count_important(alpha=0.01, components=group).values()
        assert linear == 0
        assert min(deeper) > 10
    assert scores.count_important(floor, components="fundamentals")["conv1"] >= 13
    assert max(scores.at(group)["conv1"].max() for group in (higher, "intermodulations")) < 0.5
