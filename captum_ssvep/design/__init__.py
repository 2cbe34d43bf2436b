"""Which contrasts are shown, and how are components read from them? NumPy only."""

from .base import ComponentSelection, Design
from .choose import choose_design
from .components import Component
from .grids import ChebyshevGrid
from .tags import TaggingDesign

__all__ = [
    "ChebyshevGrid",
    "Component",
    "ComponentSelection",
    "Design",
    "TaggingDesign",
    "choose_design",
]
