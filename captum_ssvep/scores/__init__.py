"""What holds over a data set?"""

from . import significance
from .result import NeuronScores
from .sweep import score_neurons

__all__ = ["NeuronScores", "score_neurons", "significance"]
