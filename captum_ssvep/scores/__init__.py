"""What holds over a data set?"""

from . import significance
from .mean import layer_mean
from .result import NeuronScores
from .sweep import score_neurons

__all__ = ["NeuronScores", "layer_mean", "score_neurons", "significance"]
