"""Which neurons work together?"""

from .relevance import CoreNeurons, core_neurons
from .targets import Channel, Target

__all__ = ["Channel", "CoreNeurons", "Target", "core_neurons"]
