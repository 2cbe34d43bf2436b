"""Which neurons work together?"""

from .patches import Patch, concept_patches, crops

__all__ = ["Patch", "concept_patches", "crops"]
