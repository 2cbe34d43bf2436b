"""Which contrasts are shown, and how are components read from them? NumPy only."""

from .base import ComponentSelection, Design
from .choose import choose_design
from .components import Component
from .grids import ChebyshevGrid
from .tags import TaggingDesign
from .two_level import TwoLevelDesign

__all__ = [
    "ChebyshevGrid",
    "Component",
    "ComponentSelection",
    "Design",
    "TaggingDesign",
    "TwoLevelDesign",
    "choose_design",
]
