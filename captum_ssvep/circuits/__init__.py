"""Which neurons work together?"""

from .circuit import Circuit, Edge, Node
from .labels import EmbeddingLabeler, Labeler, label_nodes, soft_wpmi
from .patches import Patch, concept_patches, crops
from .targets import Channel, Target

__all__ = [
    "Channel",
    "Circuit",
    "Edge",
    "EmbeddingLabeler",
    "Labeler",
    "Node",
    "Patch",
    "Target",
    "concept_patches",
    "crops",
    "label_nodes",
    "soft_wpmi",
]
