"""Which neurons work together?"""

from .clusters import Clusters, cluster
from .faithfulness import CircuitFidelity, FidelityRow, Measured, fidelity
from .groups import NeuronGroups, neuron_groups, patch_groups
from .interactions import NeuronInteractions, neuron_interactions
from .nodes import NodeFidelity, Optimality, node_fidelity, optimality, relevance_correlation
from .relevance import CoreNeurons, core_neurons
from .targets import Channel, Target

__all__ = [
    "Channel",
    "CircuitFidelity",
    "Clusters",
    "CoreNeurons",
    "FidelityRow",
    "Measured",
    "NeuronGroups",
    "NeuronInteractions",
    "NodeFidelity",
    "Optimality",
    "Target",
    "cluster",
    "core_neurons",
    "fidelity",
    "neuron_groups",
    "neuron_interactions",
    "node_fidelity",
    "optimality",
    "patch_groups",
    "relevance_correlation",
]
