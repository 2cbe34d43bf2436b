"""At which components layers respond, relative to their strongest: one row for each layer."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..design import Component, Design
from ..scores.result import NeuronScores
from ..spectrum.statistics import STATISTICS
from ..spectrum.tagged import TaggedSpectrum
from .spectra import by_channel, component_facts

# Shares of a layer's largest value below this all look alike.
LOWEST_SHARE = 1e-3


def layers_of_spectra(spectra: Sequence[TaggedSpectrum]) -> dict[str, Any] | None:
    """Mean amplitudes over channels and images; None unless several layers share components."""
    if len(spectra) < 2 or len({(s.components, str(s.design)) for s in spectra}) > 1:
        return None
    means = {}
    for number, spectrum in enumerate(spectra):
        channels = by_channel(spectrum.to("cpu"))
        amplitudes = [
            channels.amplitude(component).double().mean() for component in channels.components
        ]
        means[spectrum.layer or f"series {number}"] = torch.stack(amplitudes)
    if len(means) < 2:
        return None
    return _table(means, spectra[0].components, spectra[0].design, "Amplitude")


def layers_of_scores(scores: NeuronScores) -> dict[str, Any] | None:
    """Means of the statistic over neurons and images; None for one that can be negative."""
    info = STATISTICS[scores.statistic]
    if info.signed:
        return None
    means = {layer: values.flatten(1).mean(1) for layer, values in scores.by_component.items()}
    return _table(means, scores.components, scores.design, info.label)


def _table(
    means: Mapping[str, Tensor], components: tuple[Component, ...], design: Design, label: str
) -> dict[str, Any]:
    rows = []
    for layer, values in means.items():
        largest = float(values.max())
        shares = (values / largest if largest > 0 else values).tolist()
        rows.append({"layer": layer, "cells": [*map(_cell, shares)]})
    return {"components": component_facts(components, design), "rows": rows, "label": label}


def _cell(share: float) -> dict[str, Any]:
    """A share in percent as text, and its shade from 0 to 1, which is logarithmic."""
    shade = 1 - math.log10(max(share, LOWEST_SHARE)) / math.log10(LOWEST_SHARE)
    percent = 100 * share
    text = f"{percent:.0f}" if percent >= 10 else f"{percent:.1f}"
    return {"text": text, "shade": round(shade, 3)}
