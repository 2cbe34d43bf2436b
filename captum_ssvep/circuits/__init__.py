"""Which neurons work together?"""

from .targets import Channel, Target

__all__ = ["Channel", "Target"]
