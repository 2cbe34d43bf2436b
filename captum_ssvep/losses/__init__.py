"""What can be built on it? A loss that trains networks towards a tagged response."""

from .objectives import Share
from .profile import Profile
from .tagging import FrequencyTaggingLoss

__all__ = ["FrequencyTaggingLoss", "Profile", "Share"]
