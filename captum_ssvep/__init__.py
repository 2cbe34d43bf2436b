"""Frequency tagging (SSVEP) for neural networks, as a Captum layer method."""

from . import statistics as statistics
from . import stimulus as stimulus
from . import visualization as visualization
from .attribution import FrequencyTaggingAttribution
from .combining import as_explanation, to_inputs, top_neurons
from .components import Component
from .design import TaggingDesign
from .recording import layers_of
from .spectrum import TaggedSpectrum
from .stimulus import black, grid, halves, tagged_sequence
from .tunnel import FrequencyTunnel
from .visualization import to_map

__version__ = "0.1.0"

__all__ = [
    "Component",
    "FrequencyTaggingAttribution",
    "FrequencyTunnel",
    "TaggedSpectrum",
    "TaggingDesign",
    "as_explanation",
    "black",
    "grid",
    "halves",
    "layers_of",
    "tagged_sequence",
    "to_inputs",
    "to_map",
    "top_neurons",
]
