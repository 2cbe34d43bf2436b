"""Which neurons work together?"""

from .clusters import Clusters, cluster
from .groups import NeuronGroups, neuron_groups, patch_groups
from .relevance import CoreNeurons, core_neurons
from .targets import Channel, Target

__all__ = [
    "Channel",
    "Clusters",
    "CoreNeurons",
    "NeuronGroups",
    "Target",
    "cluster",
    "core_neurons",
    "neuron_groups",
    "patch_groups",
]
