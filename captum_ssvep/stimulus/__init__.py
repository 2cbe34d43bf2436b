"""What does the network see?"""

from .frames import black, tagged_sequence
from .masks import channel_groups, disc, halves, ring, sectors, tiles

__all__ = [
    "black",
    "channel_groups",
    "disc",
    "halves",
    "ring",
    "sectors",
    "tagged_sequence",
    "tiles",
]
