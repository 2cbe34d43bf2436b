"""An EEG whose generators are known: one source adds the parts' contrasts, one multiplies them.

Simulated with MNE alone, in a spherical head, without any download.
"""

from __future__ import annotations

import mne
import numpy as np
from numpy.typing import NDArray

from captum_ssvep import TaggingDesign

# Places in meters from the center of the head (right, front, up) and directions: the source that
# adds lies in the left occipital cortex, the one that multiplies in the right parietal cortex.
PLACES = np.array([[-0.02, -0.06, 0.01], [0.03, -0.04, 0.04]])
DIRECTIONS = np.array([[-0.3, -0.9, 0.3], [0.5, -0.5, 0.7]])
# The background: sources all over the head, and the amplifier.
N_BACKGROUND = 60
AMPLIFIER_NOISE = 0.5e-6


def simulated_eeg(
    design: TaggingDesign,
    n_trials: int = 20,
    *,
    adds: float = 15.0,
    multiplies: float = 15.0,
    latency: float = 0.1,
    noise: float = 8.0,
    seed: int = 0,
) -> mne.EpochsArray:
    """Record trials of a tagged stimulus from a simulated head with 32 electrodes.

    Two dipoles follow the contrasts of the design's parts: one their sum, the other their product,
    both without their mean. Behind both is pink noise of 60 dipoles with random places, and white
    noise of the amplifier. The reference is the mean of all electrodes.

    Args:
        design: The stimulus; its sampling rate is that of the EEG.
        n_trials: Number of trials. Each has the design's frames.
        adds, multiplies: Standard deviations of the two sources over time, in nA m.
        latency: Delay of both sources behind the stimulus in seconds, rounded to frames.
        noise: Standard deviation of the noise in microvolts, over time and electrodes.
        seed: Seed of the noise.

    Returns:
        Epochs in volts, with the electrodes' names and positions.

    Examples::

        >>> epochs = simulated_eeg(TaggingDesign((6.0, 7.5), 250, 1000), n_trials=3)
        >>> epochs.get_data().shape
        (3, 32, 1000)
    """
    generator = np.random.default_rng(seed)
    montage = mne.channels.make_standard_montage("biosemi32")
    info = mne.create_info(montage.ch_names, design.sampling_rate, "eeg").set_montage(montage)
    late = np.roll(design.contrasts, round(latency * design.sampling_rate), axis=0)
    courses = _standardized(np.array([late.sum(axis=1), late.prod(axis=1)]))
    strengths = 1e-9 * np.array([[adds], [multiplies]])
    response = _lead_field(info, PLACES, DIRECTIONS) @ (strengths * courses)
    volts = response + _background(info, (n_trials, design.n_frames), 1e-6 * noise, generator)
    epochs = mne.EpochsArray(volts, info, proj=False, verbose="error")
    return epochs.set_eeg_reference("average", verbose="error")


def _lead_field(
    info: mne.Info, places: NDArray[np.float64], directions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Volts at each electrode for one A m of each dipole, shape ``(electrodes, dipoles)``."""
    head = mne.make_sphere_model("auto", "auto", info, verbose="error")
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    ones = np.ones(len(places))
    times = np.arange(len(places), dtype=float)
    dipoles = mne.Dipole(times, head["r0"] + places, ones, directions, 100 * ones)
    forward, _ = mne.make_forward_dipole(dipoles, head, info, verbose="error")
    return forward["sol"]["data"]


def _background(
    info: mne.Info, shape: tuple[int, int], volts: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Noise of the brain and the amplifier, shape ``(trials, electrodes, frames)``."""
    places = generator.normal(size=(N_BACKGROUND, 3))
    places *= 0.07 / np.linalg.norm(places, axis=1, keepdims=True)
    field = _lead_field(info, places, generator.normal(size=places.shape))
    n_trials, n_frames = shape
    white = np.fft.rfft(generator.normal(size=(n_trials, N_BACKGROUND, n_frames)))
    white[..., 0] = 0
    pink = white / np.sqrt(np.maximum(np.arange(white.shape[-1]), 1))
    brain = field @ np.fft.irfft(pink, n_frames)
    amplifier = generator.normal(size=brain.shape) * AMPLIFIER_NOISE
    return volts * brain / brain.std() + amplifier


def _standardized(courses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without mean, and with a standard deviation of 1."""
    centered = courses - courses.mean(axis=1, keepdims=True)
    return centered / centered.std(axis=1, keepdims=True)
