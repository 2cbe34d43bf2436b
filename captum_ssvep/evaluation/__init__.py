"""Are the scores true? Judge them by what a network does without its filters."""

from .agreement import RankAgreement, rank_agreement
from .damage import FilterDamage, ablation_damage, interaction_damage
from .likeness import ProfileLikeness, profile_likeness
from .objectives import correct, loss, margin, margin_of

__all__ = [
    "FilterDamage",
    "ProfileLikeness",
    "RankAgreement",
    "ablation_damage",
    "correct",
    "interaction_damage",
    "loss",
    "margin",
    "margin_of",
    "profile_likeness",
    "rank_agreement",
]
