"""Which contrasts are shown, and how are components read from them? NumPy only."""

from .base import Design
from .choose import choose_design
from .components import Component
from .grids import ChebyshevGrid
from .tags import TaggingDesign

__all__ = ["ChebyshevGrid", "Component", "Design", "TaggingDesign", "choose_design"]
