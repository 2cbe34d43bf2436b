"""Which neurons work together?"""

from .circuit import Circuit, Edge, Node
from .explain import Explanation, WhatIf, explain, what_if
from .labels import EmbeddingLabeler, Labeler, label_nodes, soft_wpmi
from .patches import Patch, concept_patches, crops
from .relevance import CoreNeurons, core_neurons
from .targets import Channel, Target

__all__ = [
    "Channel",
    "Circuit",
    "CoreNeurons",
    "Edge",
    "EmbeddingLabeler",
    "Explanation",
    "Labeler",
    "Node",
    "Patch",
    "Target",
    "WhatIf",
    "concept_patches",
    "core_neurons",
    "crops",
    "explain",
    "label_nodes",
    "soft_wpmi",
    "what_if",
]
