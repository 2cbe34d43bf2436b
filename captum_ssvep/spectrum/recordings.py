"""Recordings of MNE: their series, and spectra as MNE's own objects."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._checks import instance, shown
from ..design import Design, TaggingDesign

if TYPE_CHECKING:
    from .tagged import TaggedSpectrum

# Codes of the FIF format, in which MNE keeps the units of channels.
UNITS = {6: "M", 7: "rad", 107: "V", 112: "T", 201: "T/m", 202: "V/m²"}
# What MNE calls channels with these units.
CHANNEL_TYPES = {"V": "eeg", "T": "mag", "T/m": "grad", "V/m²": "csd"}
# Rates are kept in single precision in files.
RATE_TOLERANCE = 1e-6


def _mne() -> Any:
    """MNE, which is imported only where it is used.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import mne
    except ImportError:
        raise ImportError(
            "Expected MNE to be installed, but it is not; `pip install captum-ssvep[mne]`"
        ) from None
    return mne


def read_recording(
    recording: Any, design: Design, picks: Any
) -> tuple[NDArray[Any], tuple[str, ...], tuple[str, ...], TaggingDesign]:
    """The series of a recording, and the names and units of its channels.

    Args:
        recording: Epochs, Evoked or Raw of MNE.
        design: The stimulus that was shown.
        picks: The channels, as MNE takes them; None for all good data channels.

    Returns:
        tuple: The series, shape ``(n_frames, epochs, channels)``; names; units; and the design,
        with the phases at which the recording begins.

    Raises:
        ValueError: If the recording does not fit the design, or has no such channels.
        TypeError: If it is no recording of MNE, or the design is none in time.
    """
    mne = _mne()
    kinds = (mne.BaseEpochs, mne.Evoked, mne.io.BaseRaw)
    expected = "Epochs, Evoked or Raw of MNE; `from_series` takes arrays"
    recording = instance(recording, kinds, "recording", expected)
    design = instance(design, TaggingDesign, "design", "a `TaggingDesign`, the one shown")
    _validate_times(recording, design, is_raw=isinstance(recording, mne.io.BaseRaw))
    chosen = _pick(mne, recording.info, picks)
    # Raw and Evoked always give a copy.
    copied = {"copy": False} if isinstance(recording, mne.BaseEpochs) else {}
    with mne.utils.use_log_level("error"):
        values = recording.get_data(picks=chosen["ch_names"], **copied)
    series = np.moveaxis(values, -1, 0)[: design.n_frames]
    if series.ndim == 2:
        series = series[:, None]
    if not series.size:
        raise ValueError(
            "Expected `recording` to hold at least one epoch, but got none; see `epochs.drop_log`"
        )
    units = tuple(UNITS.get(int(channel["unit"]), "AU") for channel in chosen["chs"])
    return series, tuple(chosen["ch_names"]), units, _from_moment(design, recording.times[0])


def _from_moment(design: TaggingDesign, seconds: float) -> TaggingDesign:
    """The same stimulus, some time after its beginning."""
    n_late = round(seconds * design.sampling_rate)
    turns = np.array(design.bins) * n_late % design.n_frames / design.n_frames
    phases = tuple((np.array(design.phases) + 2 * np.pi * turns).tolist())
    return replace(design, phases=phases)


def _validate_times(recording: Any, design: TaggingDesign, is_raw: bool) -> None:
    """Refuse a recording that is not the record of the design."""
    rate, wanted = float(recording.info["sfreq"]), design.sampling_rate
    if not math.isclose(rate, wanted, rel_tol=RATE_TOLERANCE):
        remedy = f"use `recording.resample({wanted:g})`"
        n_frames = round(design.n_frames * rate / wanted)
        with suppress(ValueError):
            replace(design, sampling_rate=rate, n_frames=n_frames)
            remedy = f"give the design sampling_rate={rate:g} and n_frames={n_frames}, or {remedy}"
        raise ValueError(
            f"Expected `recording` at the design's {wanted:g} Hz, but got {rate:g} Hz; {remedy}"
        )
    start, n_samples, n_frames = recording.times[0], len(recording.times), design.n_frames
    end = start + n_frames / rate
    if start < -0.5 / rate:
        raise ValueError(
            f"Expected `recording` to begin with the tagged stimulus, but got one from {start:g} s "
            f"on; `recording.crop(0, {n_frames / rate:g}, include_tmax=False)` cuts off what is "
            "before"
        )
    if n_frames <= n_samples <= n_frames + 1:
        return
    remedies = []
    if n_samples > n_frames:
        remedies.append(f"`recording.crop(tmax={end:g}, include_tmax=False)` cuts it")
        if is_raw:
            records = f"`mne.make_fixed_length_epochs(recording, {n_frames / rate:g})`"
            remedies.append(f"{records} makes epochs of records in a row")
    fitting = n_samples // design.period * design.period
    if fitting >= 3:
        remedies.append(f"n_frames={fitting} in the design fits")
    raise ValueError(
        f"Expected `recording` of the design's {n_frames} samples, or one more as MNE includes the "
        f"last moment, but got {n_samples}; {', or '.join(remedies) or 'record for longer'}"
    )


def _pick(mne: Any, info: Any, picks: Any) -> Any:
    """The `Info` of the chosen channels, in their order."""
    names = info["ch_names"]
    empty = mne.EvokedArray(np.zeros((len(names), 1)), info, verbose="error")
    try:
        chosen = empty.pick("data" if picks is None else picks, exclude="bads", verbose="error")
    except Exception:  # of many kinds
        some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise ValueError(
            "Expected `picks` to be names, indices or types of channels of the recording, as MNE "
            f"takes them, but got {shown(picks)}; it has {some}, and None takes good data channels"
        ) from None
    return chosen.info


def write_spectrum(spectrum: TaggedSpectrum, info: Any) -> Any:
    """A spectrum as MNE's `EpochsSpectrumArray`, with complex amplitudes.

    Args:
        spectrum: The spectrum, with one dimension of neurons.
        info: MNE's `Info` of the channels; None makes one of their names and units.

    Raises:
        ValueError: If there are no frequencies, or the channels are not known or do not fit.
        TypeError: If ``info`` is none of MNE.
    """
    mne = _mne()
    design = spectrum.design
    if not isinstance(design, TaggingDesign):
        raise ValueError(
            f"Expected a design in time for MNE, but got a {design}, whose components have no "
            "frequencies; `to_xarray` needs none"
        )
    if spectrum.mean.dim() != 2:
        raise ValueError(
            "Expected one dimension of neurons, which become channels of MNE, but got shape "
            f"{tuple(spectrum.mean.shape)}, images first; compute the spectrum with "
            "pooling='channel', or use `to_xarray`"
        )
    info = _info_of(mne, spectrum, design, info)
    if spectrum.whole_lines is not None:
        whole = spectrum.whole
        frequencies, values = whole.frequencies.numpy(), torch.polar(whole.amplitude, whole.phase)
    else:
        # In rising order, and components that share a line once.
        lines = {design.bin(component): component for component in reversed(spectrum.components)}
        frequencies = np.array([design.line_frequency(line) for line in sorted(lines)])
        held = [lines[line] for line in sorted(lines)]
        values = torch.stack([torch.polar(spectrum.amplitude(c), spectrum.phase(c)) for c in held])
    events = np.column_stack([np.arange(len(spectrum)), *np.tile([[0], [1]], len(spectrum))])
    try:
        return mne.time_frequency.EpochsSpectrumArray(
            values.movedim(0, -1).cpu().numpy(), info, frequencies, events, {"image": 1}
        )
    except ValueError:
        kinds = ", ".join(sorted(set(info.get_channel_types())))
        raise ValueError(
            f"Expected `info` of data channels, as EEG or MEG, but got {kinds}; MNE keeps no "
            "spectra of others"
        ) from None


def _info_of(mne: Any, spectrum: TaggedSpectrum, design: TaggingDesign, info: Any) -> Any:
    """The `Info` of the spectrum's neurons."""
    names, units, n_channels = spectrum.neuron_names, spectrum.neuron_units, len(spectrum.mean[0])
    if info is None:
        if names is None or units is None or not set(units) <= CHANNEL_TYPES.keys():
            kind = "without units" if units is None else f"in {', '.join(sorted(set(units)))}"
            raise ValueError(
                f"Expected `info` of the channels of a spectrum {kind}, but got None; pass "
                f"`recording.info`, or `mne.create_info({n_channels}, {design.sampling_rate:g}, "
                "'eeg')`"
            )
        kinds = [CHANNEL_TYPES[unit] for unit in units]
        return mne.create_info(list(names), design.sampling_rate, kinds, verbose="error")
    info = instance(info, mne.Info, "info", "an `Info` of MNE; `recording.info` is one")
    held = info["ch_names"]
    if names is None and len(held) != n_channels:
        raise ValueError(
            f"Expected `info` of {n_channels} channels, but got {len(held)}; `mne.pick_info` "
            "chooses some"
        )
    if missing := sorted(set(names or ()) - set(held)):
        raise ValueError(
            f"Expected `info` of all channels, but got one without {', '.join(missing[:5])}; pass "
            "that of the recording"
        )
    return mne.pick_info(info, [held.index(name) for name in names or held])
