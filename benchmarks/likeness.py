"""Is a network beside a brain judged rightly, where the generator of the recording is known?

Recordings are EEGs with one kind of source: it adds the halves' contrasts, multiplies them, takes
the smaller (AND) or the larger one (OR). A network has a layer of each kind. The first tables have
the likeness of every layer to every recording, of amplitudes and with phases: of one recording in
noise, and without noise for two ranges of contrasts, which gives the true values. The last repeats
recordings and images: how far the likeness is from the true one, and how many of the 95 % intervals
hold it, over the recordings' signal-to-noise ratio.

    python benchmarks/likeness.py
"""

import argparse
import warnings
from dataclasses import replace

import numpy as np

from captum_ssvep import TaggedSpectrum, TaggingDesign, profile_likeness
from captum_ssvep.evaluation.moments import highest_snr

NETWORK = TaggingDesign(contrast=(0.0, 1.0))
RECORDED = TaggingDesign((6.0, 7.5), 100, 400, contrast=(0.0, 1.0))
RESPONSES = {
    "adds": lambda first, second: first + second,
    "multiplies": lambda first, second: first * second,
    "min": np.minimum,
    "max": np.maximum,
}
LATE = 10  # frames, 0.1 s
N_ELECTRODES, N_TRIALS = 16, 20


def responses(design):
    return np.stack([response(*design.contrasts.T) for response in RESPONSES.values()], axis=1)


def layer(strengths, design=NETWORK):
    """A layer whose neurons mix the kinds of responses, strengths (images, kinds, neurons)."""
    series = np.einsum("tk,nkm->tnm", responses(design), strengths)
    return TaggedSpectrum.from_series(series, design, max_order=3, n_neighbors=0)


def recording(strengths, noise, seed, design=RECORDED):
    """Electrodes that mix the kinds, strengths (kinds, electrodes), in noise mixed in space."""
    generator = np.random.default_rng(seed)
    signal = np.roll(responses(design), LATE, axis=0) @ strengths
    mixture = generator.normal(size=(N_ELECTRODES, N_ELECTRODES)) / np.sqrt(N_ELECTRODES)
    white = generator.normal(size=(design.n_frames, N_TRIALS, N_ELECTRODES))
    series = signal[:, None] + noise * white @ mixture
    return TaggedSpectrum.from_series(series, design, max_order=3, n_neighbors=8)


def print_likeness():
    """Print the likeness of layers to recordings of each kind."""
    generator = np.random.default_rng(0)
    one = np.eye(len(RESPONSES))
    layers = {
        name: layer(one[place][None, :, None] * generator.normal(size=(10, 1, 20)))
        for place, name in enumerate(RESPONSES)
    }
    for components in ("all", "intermodulations"):
        for phases in (False, True):
            print(f"\n{components}, {'amplitudes and phases' if phases else 'amplitudes'}")
            print(f"{'recording':12s}" + "".join(f"{name:>12s}" for name in layers) + "   latency")
            for place, name in enumerate(RESPONSES):
                strengths = one[place][:, None] * generator.normal(size=N_ELECTRODES)
                brain = recording(strengths, 1.0, seed=place)
                found = profile_likeness(layers, brain, components, phases, n_resamples=200)
                values = "".join(f"{value:12.3f}" for value in found.by_layer.values())
                delay = "" if found.latency is None else f"{found.latency:10.3f}"
                print(f"{name:12s}{values}{delay}", flush=True)


def print_without_noise():
    """Print the true likeness of amplitudes, and with phases, for two ranges of contrasts."""
    one = np.eye(len(RESPONSES))
    for contrast in ((0.0, 1.0), (0.5, 1.0)):
        shown, recorded = (replace(design, contrast=contrast) for design in (NETWORK, RECORDED))
        layers = {
            name: layer(np.tile(one[place][None, :, None], (2, 1, 1)), shown)
            for place, name in enumerate(RESPONSES)
        }
        print(f"\nwithout noise, contrasts from {contrast[0]:g} to 1: amplitudes, with phases")
        for place, name in enumerate(RESPONSES):
            brain = recording(one[place][:, None] * np.ones(N_ELECTRODES), 1e-6, place, recorded)
            for phases in (False, True):
                found = profile_likeness(
                    layers, brain, phases=phases, latency=(0.1, 0.1), n_resamples=2
                )
                values = "".join(f"{value:12.3f}" for value in found.by_layer.values())
                print(f"{name:12s}{values}", flush=True)


def print_coverage(n_repeats):
    """Print how often intervals hold the true likeness, over noise."""
    print(f"\n95 % intervals, {n_repeats} repeats of 20 images and {N_TRIALS} trials")
    print("phases   noise   SNR    true   mean   hold")
    generator = np.random.default_rng(1)
    strengths = generator.normal(size=(len(RESPONSES), N_ELECTRODES)) * [[0], [1], [1], [0]]
    kinds = np.array([[1.0], [0.5], [0.0], [0.5]])
    arguments = {"latency": (0.1, 0.1), "n_resamples": 200}
    for phases in (False, True):
        many = layer(np.random.default_rng(2).normal(kinds, size=(1000, 4, 20)))
        quiet = recording(strengths, 1e-6, seed=0)
        truth = profile_likeness(many, quiet, phases=phases, **arguments).by_layer["network"]
        for noise in (0.5, 2, 4, 8, 16, 32):
            values, snrs, held = [], [], []
            for seed in range(n_repeats):
                images = layer(np.random.default_rng(100 + seed).normal(kinds, size=(20, 4, 20)))
                brain = recording(strengths, noise, seed)
                found = profile_likeness(images, brain, phases=phases, seed=seed, **arguments)
                low, high = found.intervals["network"]
                values.append(found.by_layer["network"])
                snrs.append(highest_snr(brain, found.components))
                held.append(low <= truth <= high)
            print(
                f"{phases!s:6s}{noise:8g}{np.mean(snrs):7.1f}{truth:8.3f}{np.nanmean(values):7.3f}"
                f"{np.mean(held):7.2f}",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=100)
    repeats = parser.parse_args().repeats
    # Of noise, which is what is looked at.
    warnings.filterwarnings("ignore", message=".*highest signal-to-noise ratio")
    warnings.filterwarnings("ignore", message="The latency that fits best")
    print_likeness()
    print_without_noise()
    print_coverage(repeats)
