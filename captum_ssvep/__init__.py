"""Frequency tagging (SSVEP) for neural networks, as a Captum layer method."""

from . import evaluation as evaluation
from . import significance as significance
from . import statistics as statistics
from . import stimulus as stimulus
from . import visualization as visualization
from .ablation import ablated, keep_only
from .agreement import rank_agreement
from .attribution import FrequencyTaggingAttribution
from .combining import as_explanation, to_inputs, top_neurons
from .components import Component
from .design import TaggingDesign
from .evaluation import ablation_damage, interaction_damage, margin_of
from .importance import score_neurons
from .recording import layers_of
from .scores import NeuronScores
from .spectrum import TaggedSpectrum
from .stimulus import black, grid, halves, tagged_sequence
from .tunnel import FrequencyTunnel
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
