"""What was answered?"""

from . import statistics
from .tagged import TaggedSpectrum

__all__ = ["TaggedSpectrum", "statistics"]
