"""Which neurons work together?"""

from .clusters import Clusters, cluster
from .groups import NeuronGroups, neuron_groups, patch_groups
from .interactions import NeuronInteractions, neuron_interactions
from .relevance import CoreNeurons, core_neurons
from .targets import Channel, Target

__all__ = [
    "Channel",
    "Clusters",
    "CoreNeurons",
    "NeuronGroups",
    "NeuronInteractions",
    "Target",
    "cluster",
    "core_neurons",
    "neuron_groups",
    "neuron_interactions",
    "patch_groups",
]
