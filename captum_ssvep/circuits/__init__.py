"""Which neurons work together?"""

from .build import build_circuit
from .circuit import Circuit, Edge, Node
from .clusters import Clusters, cluster
from .explain import Explanation, WhatIf, explain, what_if
from .faithfulness import CircuitFidelity, FidelityRow, Measured, fidelity
from .groups import NeuronGroups, neuron_groups, patch_groups
from .interactions import NeuronInteractions, neuron_interactions
from .labels import EmbeddingLabeler, Labeler, label_nodes, soft_wpmi
from .nodes import NodeFidelity, Optimality, node_fidelity, optimality, relevance_correlation
from .patches import Patch, concept_patches, crops
from .relevance import CoreNeurons, core_neurons
from .targets import Channel, Target

__all__ = [
    "Channel",
    "Circuit",
    "CircuitFidelity",
    "Clusters",
    "CoreNeurons",
    "Edge",
    "EmbeddingLabeler",
    "Explanation",
    "FidelityRow",
    "Labeler",
    "Measured",
    "NeuronGroups",
    "NeuronInteractions",
    "Node",
    "NodeFidelity",
    "Optimality",
    "Patch",
    "Target",
    "WhatIf",
    "build_circuit",
    "cluster",
    "concept_patches",
    "core_neurons",
    "crops",
    "explain",
    "fidelity",
    "label_nodes",
    "neuron_groups",
    "neuron_interactions",
    "node_fidelity",
    "optimality",
    "patch_groups",
    "relevance_correlation",
    "soft_wpmi",
    "what_if",
]
