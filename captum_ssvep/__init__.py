"""Frequency tagging (SSVEP) for neural networks, as a Captum layer method."""

from . import statistics as statistics
from . import stimulus as stimulus
from . import visualization as visualization
from .attribution import FrequencyTaggingAttribution
from .components import Component
from .design import TaggingDesign
from .spectrum import TaggedSpectrum
from .stimulus import black, grid, halves, tagged_sequence
from .visualization import to_map

__version__ = "0.1.0"

__all__ = [
    "Component",
    "FrequencyTaggingAttribution",
    "TaggedSpectrum",
    "TaggingDesign",
    "black",
    "grid",
    "halves",
    "tagged_sequence",
    "to_map",
]
