"""What does the network see?"""

from .frames import black, tagged_sequence
from .masks import channel_groups, disc, halves, ring, sectors, tiles
from .presentation import InSequence, StepByStep

__all__ = [
    "InSequence",
    "StepByStep",
    "black",
    "channel_groups",
    "disc",
    "halves",
    "ring",
    "sectors",
    "tagged_sequence",
    "tiles",
]
