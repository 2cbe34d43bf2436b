"""A network beside a brain: against NumPy, and on responses whose generators are known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from simulated_eeg import simulated_eeg

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    TaggedSpectrum,
    TaggingDesign,
    TwoLevelDesign,
    profile_likeness,
)
from captum_ssvep.evaluation.moments import resampling_weights

pytestmark = pytest.mark.usefixtures("one_thread")

DESIGN = TaggingDesign(contrast=(0.0, 1.0))
RECORDED = TaggingDesign((6.0, 7.5), 250, 1000, contrast=(0.0, 1.0))
RESPONSES = {
    "adds": lambda first, second: first + second,
    "multiplies": lambda first, second: first * second,
    "min": np.minimum,
    "max": np.maximum,
}


def layer(response, n_images=4, design=DESIGN, max_order=4):
    """A layer of six neurons with one response, of different strengths and signs."""
    strengths = np.random.default_rng(0).normal(size=(n_images, 6))
    series = RESPONSES[response](*design.contrasts.T)[:, None, None] * strengths
    return TaggedSpectrum.from_series(series, design, max_order=max_order, n_neighbors=0)


def recorded(response, noise=1e-3, design=RECORDED, n_trials=6, n_electrodes=5, n_late=0, seed=1):
    """Electrodes that see one response with different signs, late by some frames, in noise."""
    generator = np.random.default_rng(seed)
    late = np.roll(RESPONSES[response](*design.contrasts.T), n_late)
    series = late[:, None, None] * np.linspace(-1, 1.5, n_electrodes)
    noise = noise * generator.normal(size=(design.n_frames, n_trials, n_electrodes))
    return TaggedSpectrum.from_series(series + noise, design, n_neighbors=5)


def literal(network, brain, components, phases, delay, images, trials):
    """The likeness for some images and trials, from sums over NumPy's transform, with loops."""
    (series, design), (record, other) = network, brain
    scale, late = 2 / design.n_frames, 2 / other.n_frames
    lines = scale * np.fft.rfft(series, axis=0)[:, images]
    evoked = late * np.fft.rfft(record[:, trials].mean(axis=1), axis=0)
    ours, theirs = [], []
    for component in components:
        # A sine of phase 0 has the angle -pi/2; f1 - f2 is negative.
        angle = -np.pi / 2 * sum(component)
        sign = np.sign(np.dot(component, design.frequencies))
        for found, spectrum, of in ((ours, lines, design), (theirs, evoked, other)):
            line = spectrum[of.bin(component)].ravel() * np.exp(-1j * sign * angle)
            found.append(line if sign > 0 else line.conj())
    ours, theirs = np.array(ours), np.array(theirs)
    frequencies = np.array([np.dot(c, other.frequencies) for c in components])
    theirs = theirs * np.exp(2j * np.pi * frequencies * delay)[:, None]
    first, second = ours @ ours.conj().T, theirs @ theirs.conj().T
    for place, component in enumerate(components):
        around = list(other.neighbors(component, 5))
        second[place, place] -= (np.abs(evoked[around]) ** 2).sum() / len(around)
        second[place, place] = max(second[place, place].real, 0)
    if not phases:
        first, second = np.sqrt(first.diagonal().real), np.sqrt(second.diagonal().real)
    return (first.conj() * second).sum().real / np.linalg.norm(first) / np.linalg.norm(second)


@pytest.mark.parametrize("phases", [False, True])
def test_the_likeness_is_that_of_a_literal_version(phases):
    generator = np.random.default_rng(0)
    first, second = DESIGN.contrasts.T
    products = np.stack([first, second, first * second, np.minimum(first, second)], axis=1)
    series = np.einsum("tk,knm->tnm", products, generator.normal(size=(4, 3, 7)))
    record = np.einsum("tk,ke->te", products, generator.normal(size=(4, 5)))[:, None]
    record = np.roll(record, 12, axis=0) + generator.normal(size=(240, 4, 5))
    network = TaggedSpectrum.from_series(series, DESIGN, max_order=3)
    brain = TaggedSpectrum.from_series(record, DESIGN, max_order=3, n_neighbors=5)
    found = profile_likeness(
        network, brain, phases=phases, latency=(0.1, 0.1), n_resamples=60, seed=3
    )
    for_images, for_trials = np.random.SeedSequence(3).spawn(2)
    chosen = []
    for images, trials in zip(
        (3 * resampling_weights(3, 60, for_images)).int(),
        (4 * resampling_weights(4, 60, for_trials)).int(),
        strict=True,
    ):
        rows = (np.repeat(range(len(counts)), counts) for counts in (images, trials))
        arguments = (series, DESIGN), (record, DESIGN), brain.components, phases, 0.1, *rows
        chosen.append(literal(*arguments))
    estimate, *resamples = chosen
    reflected = 2 * estimate - np.array(resamples)
    np.testing.assert_allclose(found.resamples["network"], reflected.clip(-1, 1), atol=1e-9)
    assert found.by_layer["network"] == pytest.approx(min(reflected.mean(), 1), abs=1e-9)
    limits = np.percentile(reflected.clip(-1, 1), [2.5, 97.5])
    assert found.intervals["network"] == pytest.approx(tuple(limits), abs=1e-9)


@pytest.mark.parametrize("phases", [False, True])
@pytest.mark.parametrize("response", ["adds", "multiplies"])
def test_the_generator_of_a_simulated_eeg_is_found(response, phases):
    strengths = {"adds": 0.0, "multiplies": 0.0, response: 15.0}
    epochs = simulated_eeg(RECORDED, noise=4.0, **strengths)
    eeg = TaggedSpectrum.from_mne(epochs, RECORDED, max_order=2, n_neighbors=10)
    layers = {name: layer(name) for name in ("adds", "multiplies")}
    found = profile_likeness(layers, eeg, phases=phases, n_resamples=200)
    (other,) = layers.keys() - {response}
    differences = found.resamples[response] - found.resamples[other]
    assert found.by_layer[response] > 0.99
    assert (differences > 0).mean() > 0.975
    assert found.intervals[response][0] > 0.95
    if phases:
        assert found.latency == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("response", ["min", "max"])
def test_phases_tell_and_from_or_where_amplitudes_cannot(response):
    brain, layers = recorded(response, n_late=30), {name: layer(name) for name in ("min", "max")}
    (other,) = layers.keys() - {response}
    alike = profile_likeness(layers, brain, n_resamples=20).by_layer
    assert alike[other] == pytest.approx(alike[response], abs=1e-4)
    assert alike[other] > 0.999
    found = profile_likeness(layers, brain, phases=True, n_resamples=20)
    assert found.latency == pytest.approx(30 / 250)
    assert found.by_layer[response] > 0.999
    assert found.by_layer[other] < 0.9
    # Twice the cosine of what is even in order is lost.
    gram = layers[other].lines.abs().square().sum((1, 2))
    odd = sum(p for p, c in zip(gram, layers[other].components, strict=True) if c.order % 2)
    share = (odd / gram.sum()).item()
    assert found.by_layer[other] == pytest.approx((2 * share - 1) ** 2, abs=1e-3)


def test_designs_may_differ_in_tags_rate_and_phases():
    """Also in which of two tags is higher, so that f1 - f2 is folded."""
    design = TaggingDesign((7.5, 5.5), 250, 1000, phases=(0.3, 2.0), contrast=(0.0, 1.0))
    brain = recorded("min", design=design, n_late=20)
    networks = {
        "tags": layer("min"),
        "grid": layer("min", design=ChebyshevGrid(nodes=24, contrast=(0.0, 1.0))),
    }
    found = profile_likeness(networks, brain, phases=True, n_resamples=10)
    assert found.latency == pytest.approx(20 / 250)
    assert all(value > 0.99 for value in found.by_layer.values())
    apart = profile_likeness({"max": layer("max")}, brain, phases=True, n_resamples=10)
    assert apart.by_layer["max"] < 0.9


@pytest.mark.parametrize("phases", [False, True])
def test_scale_signs_and_mixtures_do_not_matter(phases):
    generator = np.random.default_rng(0)
    first, second = RECORDED.contrasts.T
    sources = np.stack([first + second, first * second, np.maximum(first, second)], axis=1)
    record = np.roll(sources, 15, axis=0)[:, None] + generator.normal(size=(1000, 5, 3))
    rotation = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    spectra = [
        TaggedSpectrum.from_series(values, RECORDED, n_neighbors=5)
        for values in (record, 1e-6 * record, record * [1, -1, 1], record @ rotation)
    ]
    networks = [layer("min"), layer("multiplies")]
    layers = dict(zip("ab", networks, strict=True))
    original, *others = (
        profile_likeness(layers, spectrum, phases=phases, n_resamples=50) for spectrum in spectra
    )
    for other in others:
        for name in layers:
            np.testing.assert_allclose(other.resamples[name], original.resamples[name], atol=1e-9)
        np.testing.assert_allclose(other.recording_profile, original.recording_profile, atol=1e-9)
    assert original.recording_profile @ original.recording_profile == pytest.approx(1)


@pytest.mark.parametrize("phases", [False, True])
def test_intervals_hold_the_truth_about_as_often_as_they_say(phases):
    """Images differ in how they combine parts; trials in noise."""
    design = TaggingDesign((6.0, 7.5), 60, 240, contrast=(0.0, 1.0))
    first, second = design.contrasts.T
    responses = np.stack([first + second, first * second, np.maximum(first, second)], axis=1)
    components = [(1, 0), (0, 1), (2, 0), (1, 1), (1, -1), (0, 2)]

    def likeness(seed, n_images, noise):
        generator = np.random.default_rng(seed)
        strengths = generator.normal([[0.5], [0.5], [0.0]], size=(n_images, 3, 10))
        network = np.einsum("tk,nkm->tnm", responses, strengths)
        brain = (responses[:, 1:] @ np.linspace(-1, 1, 16).reshape(2, 8))[:, None]
        brain = brain + noise * generator.normal(size=(240, 20, 8))
        return profile_likeness(
            TaggedSpectrum.from_series(network, design, components, n_neighbors=0),
            TaggedSpectrum.from_series(brain, design, components, n_neighbors=5),
            phases=phases,
            latency=(0.0, 0.0),
            n_resamples=150,
            confidence=0.9,
            seed=seed,
        )

    truth = likeness(1000, 1000, 1e-6).by_layer["network"]
    found = [likeness(seed, 20, 1.5) for seed in range(60)]
    limits = np.array([result.intervals["network"] for result in found])
    share = ((limits[:, 0] <= truth) & (truth <= limits[:, 1])).mean()
    mean = np.mean([result.by_layer["network"] for result in found])
    assert 0.8 <= share <= 0.98
    assert mean == pytest.approx(truth, abs=0.01)


def test_differences_between_layers_can_be_taken_resample_by_resample():
    """With the same images, a layer and its copy do not differ; resamples are the seed's."""
    layers = {"one": layer("min"), "copy": layer("min")}
    found, again, other = (
        profile_likeness(layers, recorded("adds", noise=1.0), n_resamples=30, seed=seed)
        for seed in (0, 0, 1)
    )
    assert (found.resamples["one"] == found.resamples["copy"]).all()
    assert (found.resamples["one"] == again.resamples["one"]).all()
    assert (found.resamples["one"] != other.resamples["one"]).all()


def test_layers_have_their_names():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.Conv2d(3, 2, 3))
    tagging = FrequencyTaggingAttribution(model.eval(), ["0", "2"])
    spectra = tagging.spectrum(torch.rand(3, 1, 8, 8) - 0.5, pooling="channel", design=DESIGN)
    brain = recorded("multiplies")
    found = profile_likeness(spectra, brain, n_resamples=5)
    assert list(found.by_layer) == list(found.profiles) == list(found.intervals) == ["0", "2"]
    assert [row["layer"] for row in found.table()] == ["0", "2"]
    assert list(found.table()[0]) == ["layer", "likeness", "low", "high"]
    alone = profile_likeness(spectra[1], brain, n_resamples=5)
    assert alone.by_layer == {"2": found.by_layer["2"]}
    with pytest.raises(ValueError, match=r"a name for each layer, but got \[None, None\]"):
        profile_likeness([layer("min"), layer("max")], brain)


def test_a_layer_that_does_not_respond_has_no_likeness():
    """A linear layer has rounding alone at intermodulations, which would have a profile, too."""
    layers = {"adds": layer("adds"), "multiplies": layer("multiplies")}
    found = profile_likeness(layers, recorded("multiplies"), [(1, 1), (1, -1)], n_resamples=20)
    assert math.isnan(found.by_layer["adds"])
    assert np.isnan(found.intervals["adds"]).all()
    assert (found.profiles["adds"] == 0).all()
    assert found.by_layer["multiplies"] > 0.99


@pytest.mark.parametrize(
    ("network", "brain", "words"),
    [
        (layer("min", n_images=1), recorded("min"), "single image of network says nothing"),
        (layer("min"), recorded("min", n_trials=1), "single trial of the recording says nothing"),
    ],
)
def test_a_single_image_or_trial_has_no_interval(network, brain, words):
    with pytest.warns(UserWarning, match=words):
        found = profile_likeness(network, brain, n_resamples=9)
    assert np.isnan(found.intervals["network"]).all()
    assert found.by_layer["network"] == pytest.approx(1, abs=1e-3)


def test_what_would_be_wrong_without_notice_is_warned_of():
    with pytest.warns(UserWarning, match=r"highest signal-to-noise ratio .* is 1\.\d: below 2"):
        profile_likeness(layer("min"), recorded("min", noise=30.0), n_resamples=2)
    other = layer("min", design=TaggingDesign())
    with pytest.warns(UserWarning, match=r"different contrasts, 0\.5 to 1 \(sine\) and 0 to 1"):
        profile_likeness(other, recorded("min"), n_resamples=2)
    late = recorded("min", n_late=30)
    with pytest.warns(UserWarning, match=r"The latency that fits best, 0\.1 s, is an end"):
        profile_likeness(layer("min"), late, phases=True, latency=(0.09, 0.1), n_resamples=2)


def mixed_units():
    return replace(recorded("min"), neuron_units=("V", "V", "V", "T", "T"))


@pytest.mark.parametrize(
    ("network", "brain", "arguments", "words"),
    [
        (layer("min"), layer("min"), {}, "in time with neighbors"),
        (
            layer("min"),
            TaggedSpectrum.from_series(torch.rand(1000, 3), RECORDED),
            {},
            r"shape \(trials, electrodes\), but got \(3,\)",
        ),
        (layer("min"), mixed_units(), {}, "electrodes in one unit, but got T and V"),
        (
            TaggedSpectrum.from_series(torch.rand(5, 2), ChebyshevGrid(1)),
            recorded("min"),
            {},
            "as many parts as the recording, but got 1 for network and 2",
        ),
        (
            TaggedSpectrum.from_series(torch.rand(4, 2), TwoLevelDesign(2)),
            recorded("min"),
            {},
            "in time or on a grid",
        ),
        (layer("min"), recorded("min"), {"components": [(1, 0)]}, "at least two that all"),
        (layer("min"), recorded("min"), {"components": [(1, 0), (9, 0)]}, "without 9f1"),
        (
            layer("min", max_order=1),
            recorded("min"),
            {"components": "intermodulations"},
            "got 'intermodulations', only 0",
        ),
        (layer("min"), recorded("min"), {"phases": True, "latency": (0.2, 0.1)}, "`latency` to be"),
        (
            layer("min"),
            recorded("min"),
            {"phases": True, "components": [(1, 0), (1, 1)]},
            "two of odd or two of even order",
        ),
        ({}, recorded("min"), {}, "at least one layer"),
    ],
)
def test_what_cannot_be_compared_is_refused(network, brain, arguments, words):
    with pytest.raises(ValueError, match=words):
        profile_likeness(network, brain, **arguments)
