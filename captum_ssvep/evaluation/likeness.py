"""How alike are a network and a brain in how strongly they respond at each component?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from .._checks import finite_floats, instance, integer, number, shown, warn_user
from ..design import Component, ComponentSelection, TaggingDesign, TwoLevelDesign
from ..design.components import in_group
from ..spectrum.tagged import TaggedSpectrum
from .moments import (
    Moments,
    amplitudes,
    highest_snr,
    image_moments,
    resampling_weights,
    trial_moments,
)

# Delays are tried in steps of half a millisecond, which turn a phase at 20 Hz by 4 degrees.
DELAY_STEP = 0.0005
LONGEST_DELAY = 10.0
# So many resamples at a time, since each may have a matrix over components.
CHUNK = 50
# Below it, intervals miss the truth more often than they say (benchmarks/likeness.py).
LEAST_SNR = 2.0
EXPECTED_NETWORKS = "spectra of layers, in a list or a mapping from names; `ft.spectrum` gives them"

# From moments of layers and a recording to likeness, shape (layers, weightings), and delays.
Compare = Callable[[Sequence[Tensor], Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class ProfileLikeness:
    """How alike the layers of a network and a recording are, as `profile_likeness` found.

    Args:
        by_layer (dict[str, float]): Likeness of each layer, 1 for profiles that are the same up to
            a factor; NaN where the layer or the recording does not respond at these components.
        resamples (dict[str, array]): The same for resamples of images and trials, shape
            ``(n_resamples,)``. They are the same ones for all layers with as many images, so that
            layers can be compared resample by resample. NaN with a single image or trial.
        confidence (float): Share of the resamples between the limits of `intervals`.
        components (tuple[Component, ...]): What the profiles go over.
        design (TaggingDesign): The design of the recording.
        profiles (dict[str, array]): Amplitudes of each layer at the components, divided by the
            root of their sum of squares.
        recording_profile (array): The same of the recording, without its noise.
        latency (float or None): Fitted delay of the recording behind the layers, in seconds; None
            without phases.
    """

    by_layer: dict[str, float]
    resamples: dict[str, NDArray[np.float64]]
    confidence: float
    components: tuple[Component, ...]
    design: TaggingDesign
    profiles: dict[str, NDArray[np.float64]]
    recording_profile: NDArray[np.float64]
    latency: float | None

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Lower and upper limit for each layer; NaN where there are no resamples."""
        return {layer: self._limits(values) for layer, values in self.resamples.items()}

    def _limits(self, resamples: NDArray[np.float64]) -> tuple[float, float]:
        finite = resamples[np.isfinite(resamples)]
        if not len(finite):
            return math.nan, math.nan
        tail = 50 * (1 - self.confidence)
        low, high = np.percentile(finite, (tail, 100 - tail)).tolist()
        return low, high

    def table(self) -> list[dict[str, Any]]:
        """One record per layer, in the form that ``pandas.DataFrame`` takes.

        Each has ``layer``, ``likeness``, and ``low`` and ``high`` of its interval.
        """
        intervals = self.intervals
        return [
            {
                "layer": layer,
                "likeness": likeness,
                "low": intervals[layer][0],
                "high": intervals[layer][1],
            }
            for layer, likeness in self.by_layer.items()
        ]

    def __repr__(self) -> str:
        layers = ", ".join(f"{layer} {value:.3f}" for layer, value in self.by_layer.items())
        kind = "amplitudes" if self.latency is None else "amplitudes and phases"
        return f"ProfileLikeness({layers}; {kind} of {len(self.components)} components)"


def profile_likeness(
    networks: TaggedSpectrum | Sequence[TaggedSpectrum] | Mapping[str, TaggedSpectrum],
    recording: TaggedSpectrum,
    components: ComponentSelection = "all",
    phases: bool = False,
    *,
    latency: tuple[float, float] = (0.0, 0.3),
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> ProfileLikeness:
    r"""How alike are layers of a network and a recording in their profiles over components?

    A profile says how strongly all neurons of a layer, or all electrodes, respond at each
    component. The likeness of amplitudes is the cosine between two profiles,

    .. math:: \frac{\sum_c a_c b_c}{|a| |b|}, \qquad a_c = \sqrt{\sum_k |X_{ck}|^2}

    over the lines :math:`X` of all neurons :math:`k` and images, and of all electrodes in the mean
    over trials. From the power that of the neighboring bins, the noise, is subtracted; where less
    than nothing would be left, it is 0.

    With phases, it is that of the sums over neurons of products of two components, which is linear
    CKA (Kornblith et al. 2019, arXiv 1905.00414) over components, without centering:

    .. math:: \frac{\mathrm{Re} \sum_{cd} \overline{G_{cd}} H_{cd}}{|G| |H|}, \qquad
              G_{cd} = \sum_k X_{ck} \overline{X_{dk}}

    Neither changes if neurons or electrodes are scaled together, change sign or are mixed by a
    rotation. A recording lags behind the stimulus. With phases, the delay :math:`\tau` at which all
    layers together are most alike is undone: :math:`H_{cd} e^{2 \pi i (f_c - f_d) \tau}`. It is
    fitted to pairs of components of odd, and pairs of even order alone. Across them, a delay of
    half a cycle of the tags looks like a change of sign, and a free fit would nearly hide the
    difference of AND (min) from OR (max).

    Noise makes profiles less alike. Resampled trials have twice the noise in their mean, so that
    the likeness of resamples falls by as much again. Both the likeness and its resamples are
    therefore reflected: :math:`2 \hat{r} - r^*`, the basic bootstrap (Davison and Hinkley 1997).

    The cosine of amplitudes is high for any two profiles whose fundamentals are large: .89 between
    a sum and a product for contrasts from 0 to 1, and .99 from 0.5 to 1, where it says nothing
    (``benchmarks/likeness.py``). So show contrasts from 0 to 1, and look at
    ``components="intermodulations"`` as well. Amplitudes cannot tell AND from OR, since these
    differ in signs alone; phases can, given fundamentals besides. What filters a signal behind the
    nonlinearity weakens high frequencies of the recording and makes it less alike. Large responses
    count most, of neurons, electrodes and components. Alike profiles say that both combine parts in
    the same way, not where, nor by the same means.

    Args:
        networks (TaggedSpectrum, list or mapping): Spectra of layers, as
            `FrequencyTaggingAttribution.spectrum` gives them for a list of layers; a mapping names
            them. Of tags in time or a grid.
        recording (TaggedSpectrum): Spectrum of a recording, of shape ``(trials, electrodes)``, with
            neighbors: ``TaggedSpectrum.from_mne(epochs, design, n_neighbors=10)``. Its tags and
            sampling rate may be others than the networks', its contrasts should not.
        components (str or sequence, optional): A group among those that all spectra hold, or
            integer tuples. Default: ``"all"``
        phases (bool, optional): Compare phases as well. Default: False
        latency (tuple of float, optional): Lowest and highest delay of the recording behind the
            networks in seconds, used with phases; two equal ones fix it. Layers with delays of
            their own are compared one by one. Default: (0.0, 0.3)
        n_resamples (int, optional): Resamples of images and of trials, drawn with replacement and
            independently. Default: 1000
        confidence (float, optional): Of the intervals. Default: 0.95
        seed (int, optional): Seed of the resamples. Default: 0

    Returns:
        ProfileLikeness: A number per layer and its interval, and the profiles. A single image or
        trial gives a warning, and intervals of NaN. A recording that hardly rises above its noise
        gives a warning, since its likeness is too low.

    Raises:
        ValueError: If spectra have no two components in common or different numbers of parts, or
            the recording has no neighbors or is not of shape ``(trials, electrodes)``.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> from captum_ssvep import TaggingDesign
        >>> design = TaggingDesign()
        >>> left, right = torch.as_tensor(design.contrasts).T
        >>> images = torch.tensor([1.0, 1.2, 0.9])
        >>> layers = {
        ...     "adds": TaggedSpectrum.from_series((left + right)[:, None] * images, design),
        ...     "multiplies": TaggedSpectrum.from_series((left * right)[:, None] * images, design),
        ... }
        >>> noise = torch.randn(240, 8, 4, generator=torch.Generator().manual_seed(0))
        >>> eeg = (left * right)[:, None, None] + 0.01 * noise
        >>> profile_likeness(layers, TaggedSpectrum.from_series(eeg, design))
        ProfileLikeness(adds 0.986, multiplies 1.000; amplitudes of 20 components)
    """
    layers = _named(networks)
    design = _validated_design(recording)
    for layer, spectrum in layers.items():
        _validate_layer(layer, spectrum, design)
    wanted = _common_components([recording, *layers.values()], components)
    delays = _delays(latency)
    compare: Compare = _compare_amplitudes
    if instance(phases, bool, "phases", "True or False"):
        compare = _comparison_with_phases(wanted, design, delays)
    n_resamples = integer(n_resamples, "n_resamples")
    confidence = number(confidence, "confidence", at_least=0, at_most=1)
    seeds = np.random.SeedSequence(integer(seed, "seed", at_least=0)).spawn(2)
    _warn_of_single(layers, recording)
    _warn_of_noise(highest_snr(recording, wanted))

    moments = [image_moments(spectrum, wanted, phases) for spectrum in layers.values()]
    brain = trial_moments(recording, wanted, phases)
    images = [resampling_weights(len(s), n_resamples, seeds[0]) for s in layers.values()]
    trials = resampling_weights(len(recording), n_resamples, seeds[1])
    likeness, delay = _compare_resamples(moments, brain, images, trials, compare)
    if phases:
        _warn_of_ends(delay[0], delays.numpy())
    names = list(layers)
    is_single = [min(len(spectrum), len(recording)) == 1 for spectrum in layers.values()]
    likeness[is_single, 1:] = math.nan
    return ProfileLikeness(
        by_layer={name: _corrected(values) for name, values in zip(names, likeness, strict=True)},
        resamples=dict(
            zip(names, (2 * likeness[:, :1] - likeness[:, 1:]).clip(-1, 1), strict=True)
        ),
        confidence=confidence,
        components=wanted,
        design=design,
        profiles={
            name: _profile(of(weights[:1]))
            for name, of, weights in zip(names, moments, images, strict=True)
        },
        recording_profile=_profile(brain(trials[:1])),
        latency=float(delay[0]) if phases else None,
    )


def _compare_resamples(
    moments: Sequence[Moments],
    brain: Moments,
    images: Sequence[Tensor],
    trials: Tensor,
    compare: Compare,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compare layers and a recording for each weighting of images and trials.

    Args:
        moments: Of each layer.
        brain: Of the recording.
        images: Weights of each layer's images, shape ``(weightings, N)``.
        trials: Weights of the trials, shape ``(weightings, trials)``.
        compare: From moments to likeness and delay.

    Returns:
        tuple: Likeness, shape ``(layers, weightings)``, and delay, shape ``(weightings,)``.
    """
    likeness, delays = [], []
    for start in range(0, len(trials), CHUNK):
        rows = slice(start, start + CHUNK)
        of_layers = [of(weights[rows]) for of, weights in zip(moments, images, strict=True)]
        alike, delay = compare(of_layers, brain(trials[rows]))
        likeness.append(alike)
        delays.append(delay)
    return torch.cat(likeness, dim=1).numpy(), torch.cat(delays).numpy()


def _corrected(likeness: NDArray[np.float64]) -> float:
    """The first value without the bias that noise gives it, which resamples show once more."""
    finite = likeness[1:][np.isfinite(likeness[1:])]
    bias = finite.mean() - likeness[0] if len(finite) else 0.0
    return float(np.clip(likeness[0] - bias, -1, 1))


def _named(networks: Any) -> dict[str, TaggedSpectrum]:
    """Spectra of layers by their names."""
    if isinstance(networks, TaggedSpectrum):
        return {networks.layer or "network": networks}
    if not isinstance(networks, Mapping):
        spectra = list(instance(networks, (list, tuple), "networks", EXPECTED_NETWORKS))
        names = [getattr(spectrum, "layer", None) for spectrum in spectra]
        if len(set(names)) < len(names) or (None in names and len(names) > 1):
            raise ValueError(
                f"Expected `networks` with a name for each layer, but got {shown(names)}; pass a "
                "mapping, as {'first': spectrum}"
            )
        networks = {name or "network": s for name, s in zip(names, spectra, strict=True)}
    for spectrum in networks.values():
        instance(spectrum, TaggedSpectrum, "networks", EXPECTED_NETWORKS)
    if not networks:
        raise ValueError("Expected `networks` of at least one layer, but got none")
    return {str(name): spectrum for name, spectrum in networks.items()}


def _validated_design(recording: TaggedSpectrum) -> TaggingDesign:
    """The design of a recording, which has trials, electrodes of one unit, and neighbors."""
    expected = "a spectrum; `TaggedSpectrum.from_mne(epochs, design)` makes one"
    shape = tuple(instance(recording, TaggedSpectrum, "recording", expected).mean.shape)
    if not isinstance(recording.design, TaggingDesign) or not recording.n_neighbors:
        raise ValueError(
            "Expected `recording` in time with neighbors, by which noise is known, but got one "
            "without; take `TaggedSpectrum.from_mne` or `from_series` with n_neighbors=10"
        )
    if len(shape) != 2:
        raise ValueError(
            f"Expected `recording` of shape (trials, electrodes), but got {shape}; of a series, "
            "time comes first, then trials, then electrodes: `series[:, None]` makes one trial"
        )
    if len(units := sorted(set(recording.neuron_units or ()))) > 1:
        raise ValueError(
            f"Expected `recording` of electrodes in one unit, but got {' and '.join(units)}; "
            "choose one kind with `from_mne(..., picks='eeg')`"
        )
    return recording.design


def _validate_layer(layer: str, spectrum: TaggedSpectrum, recorded: TaggingDesign) -> None:
    """Refuse a layer that saw other parts than the recording, and warn of other contrasts."""
    design = spectrum.design
    if design.n_parts != recorded.n_parts:
        raise ValueError(
            "Expected `networks` with as many parts as the recording, but got "
            f"{design.n_parts} for {layer} and {recorded.n_parts}; tag the same parts in both"
        )
    if isinstance(design, TwoLevelDesign):
        raise ValueError(
            f"Expected `networks` tagged in time or on a grid, but got a {design} for {layer}, "
            "which cannot tell sums from differences or harmonics; take `TaggingDesign()`"
        )
    shown_as = [(d.contrast, getattr(d, "waveform", "sine")) for d in (design, recorded)]
    if shown_as[0] != shown_as[1]:
        contrasts = " and ".join(f"{low:g} to {high:g} ({wave})" for (low, high), wave in shown_as)
        warn_user(
            f"{layer} and the recording saw different contrasts, {contrasts}, and respond "
            "differently even if they are alike: give both designs the same `contrast` and "
            "`waveform`"
        )


def _common_components(
    spectra: Sequence[TaggedSpectrum], components: ComponentSelection
) -> tuple[Component, ...]:
    """The components of a group that all spectra hold, or those given, which all have to hold."""
    common = [c for c in spectra[0].components if all(c in s.components for s in spectra)]
    if isinstance(components, str):
        wanted = [c for c in common if in_group(c, components)]
    else:
        wanted = list(dict.fromkeys(spectra[0].design.components(components)))
    missing = [c for c in wanted if c not in common]
    if missing or len(wanted) < 2:
        which = f"without {', '.join(map(str, missing))}" if missing else f"only {len(wanted)}"
        raise ValueError(
            "Expected `components` to be at least two that all spectra hold, but got "
            f"{shown(components)}, {which} in common; compute both with the same `components` "
            "and `max_order`"
        )
    return tuple(wanted)


def _warn_of_single(layers: Mapping[str, TaggedSpectrum], recording: TaggedSpectrum) -> None:
    """Warn if there is nothing to resample."""
    single = [layer for layer, spectrum in layers.items() if len(spectrum) == 1]
    what = "trial of the recording" if len(recording) == 1 else f"image of {', '.join(single)}"
    if single or len(recording) == 1:
        warn_user(
            f"A single {what} says nothing about others: there is no interval. Pass epochs instead "
            "of their mean, and several images"
        )


def _profile(moments: Tensor) -> NDArray[np.float64]:
    """Amplitudes divided by the root of their sum of squares; 0 where there is no response."""
    found: NDArray[np.float64] = normalize(amplitudes(moments)[0], dim=0).numpy()
    return found


def _compare_amplitudes(layers: Sequence[Tensor], brain: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines between profiles of amplitudes, and no delay."""
    profiles, other = [amplitudes(layer) for layer in layers], amplitudes(brain)
    norms = other.norm(dim=1)
    cosines = [(own * other).sum(1) / (own.norm(dim=1) * norms) for own in profiles]
    return torch.stack(cosines), torch.full_like(norms, torch.nan)


def _comparison_with_phases(
    components: Sequence[Component], design: TaggingDesign, delays: Tensor
) -> Compare:
    """The function that compares moments of two components, at the delay that fits best.

    Args:
        components: Those of the moments.
        design: The recording's.
        delays: Those to try, in seconds.
    """
    frequencies = torch.tensor(components, dtype=torch.float64) @ torch.tensor(
        design.frequencies, dtype=torch.float64
    )
    is_odd = torch.tensor([component.order % 2 == 1 for component in components])
    is_fitted = (is_odd[:, None] == is_odd).flatten()
    between = (frequencies[:, None] - frequencies).flatten()[is_fitted]
    # Many pairs are equally far apart.
    steps, step_of_pair = map(
        torch.from_numpy, np.unique(between.numpy().round(6), return_inverse=True)
    )
    if len(steps) == 1 and len(delays) > 1:
        raise ValueError(
            "Expected `components` with two of odd or two of even order, to which a latency is "
            f"fitted, but got {', '.join(map(str, components))}; take more, or fix the latency, as "
            "(0.1, 0.1)"
        )
    turns = torch.exp(2j * torch.pi * steps[:, None] * delays)

    def compare(layers: Sequence[Tensor], brain: Tensor) -> tuple[Tensor, Tensor]:
        norms = [layer.flatten(1).norm(dim=1) * brain.flatten(1).norm(dim=1) for layer in layers]
        products = torch.stack([layer.conj() * brain for layer in layers])
        products = products / torch.stack(norms)[:, :, None, None]
        # A layer that does not respond says nothing about the delay.
        together = products.nan_to_num(0).sum(0).flatten(1)[:, is_fitted]
        sums = torch.zeros(len(together), len(steps), dtype=together.dtype)
        sums.index_add_(1, step_of_pair, together)
        delay = delays[(sums @ turns).real.argmax(dim=1)]
        turn = torch.exp(2j * torch.pi * frequencies * delay[:, None])
        return torch.einsum("nc,lncd,nd->ln", turn, products, turn.conj()).real, delay

    return compare


def _warn_of_noise(snr: float) -> None:
    """Warn of a recording whose likeness to anything is near 0."""
    if snr < LEAST_SNR:
        warn_user(
            "In the mean over trials and electrodes, the recording's highest signal-to-noise ratio "
            f"at these components is {snr:.1f}: below {LEAST_SNR:g}, likeness is too low, and its "
            "intervals do not say so. Take more trials, electrodes that respond, or other "
            "components"
        )


def _warn_of_ends(delay: float, delays: NDArray[np.float64]) -> None:
    """Warn if the delay that fits best is an end of what was allowed, other than none at all."""
    if len(delays) > 1 and delay and delay in delays[[0, -1]]:
        warn_user(
            f"The latency that fits best, {delay:g} s, is an end of `latency`: the data do not "
            "determine it, or it lies beyond. Give a range around the known one, or fix it, as "
            "(0.1, 0.1)"
        )


def _delays(latency: Any) -> Tensor:
    """The delays that are tried, in seconds."""
    limits = finite_floats(latency, "latency", "give the lowest and the highest in seconds")
    if len(limits) != 2 or not -LONGEST_DELAY <= limits[0] <= limits[1] <= LONGEST_DELAY:
        raise ValueError(
            "Expected `latency` to be (lowest, highest) in seconds, between -10 and 10, but got "
            f"{limits}; the default is (0.0, 0.3)"
        )
    n_steps = math.ceil((limits[1] - limits[0]) / DELAY_STEP)
    return torch.linspace(*limits, n_steps + 1, dtype=torch.float64)
