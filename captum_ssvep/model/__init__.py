"""How is a network listened to, and left as it was? The only room that hooks networks."""

from .layers import layers_of
from .silence import ablated, keep_only

__all__ = ["ablated", "keep_only", "layers_of"]
