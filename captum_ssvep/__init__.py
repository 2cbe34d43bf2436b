"""Frequency tagging (SSVEP) for neural networks, as a Captum layer method."""

from .attr.interop import as_explanation, to_inputs, top_neurons
from .attr.tagging import FrequencyTaggingAttribution
from .attr.tunnel import FrequencyTunnel
from .design.components import Component
from .design.tags import TaggingDesign
from .evaluation.agreement import rank_agreement
from .evaluation.damage import ablation_damage, interaction_damage, margin_of
from .model.recorder import layers_of
from .model.silence import ablated, keep_only
from .scores.result import NeuronScores
from .scores.sweep import score_neurons
from .spectrum.tagged import TaggedSpectrum
from .stimulus.frames import black, grid, halves, tagged_sequence
from .visualization import to_map

__version__ = "0.1.0"

__all__ = [
    "Component",
    "FrequencyTaggingAttribution",
    "FrequencyTunnel",
    "NeuronScores",
    "TaggedSpectrum",
    "TaggingDesign",
    "ablated",
    "ablation_damage",
    "as_explanation",
    "black",
    "grid",
    "halves",
    "interaction_damage",
    "keep_only",
    "layers_of",
    "margin_of",
    "rank_agreement",
    "score_neurons",
    "tagged_sequence",
    "to_inputs",
    "to_map",
    "top_neurons",
]
