"""How is a network recorded and left as it was? Only this folder adds hooks."""

from .layers import layers_of
from .silence import ablated, keep_only

__all__ = ["ablated", "keep_only", "layers_of"]
