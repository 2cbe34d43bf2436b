"""What can a network be trained for? Losses on its response to tagged parts."""

from .objectives import Share
from .profile import Profile
from .tagging import FrequencyTaggingLoss

__all__ = ["FrequencyTaggingLoss", "Profile", "Share"]
