"""Which filters can a network spare?"""

from .curves import PruningCurve, pruning_curve, random_scores
from .masks import masks_of
from .networks import prune, pruned
from .recalibration import recalibrate
from .relevance import score_for_pruning
from .structural import FrequencyTaggingImportance

__all__ = [
    "FrequencyTaggingImportance",
    "PruningCurve",
    "masks_of",
    "prune",
    "pruned",
    "pruning_curve",
    "random_scores",
    "recalibrate",
    "score_for_pruning",
]
