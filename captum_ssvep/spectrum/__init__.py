"""How did the neurons respond?"""

from . import statistics
from .harmonics import HarmonicSum, sum_harmonics
from .tagged import TaggedSpectrum

__all__ = ["HarmonicSum", "TaggedSpectrum", "statistics", "sum_harmonics"]
