"""What does the network see?"""

from .frames import black, tagged_sequence
from .masks import disc, halves, ring, sectors, tiles

__all__ = ["black", "disc", "halves", "ring", "sectors", "tagged_sequence", "tiles"]
