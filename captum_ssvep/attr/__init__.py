"""How do Captum users call it?"""

from .interop import as_explanation, to_inputs, top_neurons
from .tagging import FrequencyTaggingAttribution
from .tunnel import FrequencyTunnel

__all__ = [
    "FrequencyTaggingAttribution",
    "FrequencyTunnel",
    "as_explanation",
    "to_inputs",
    "top_neurons",
]
