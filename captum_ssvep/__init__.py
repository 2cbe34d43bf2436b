"""Frequency tagging (SSVEP) for neural networks, as a Captum layer method."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import (
        attr,
        circuits,
        demo,
        design,
        evaluation,
        losses,
        model,
        pruning,
        report,
        scores,
        spectrum,
        stimulus,
        visualization,
    )  # fmt: skip
    from .attr import *
    from .design import *
    from .evaluation import *
    from .model import *
    from .scores import *
    from .spectrum import *
    from .stimulus import *
    from .visualization import to_map

__version__ = "0.1.0"

# In the order in which they import each other.
_ROOMS = (
    "design", "stimulus", "model", "spectrum", "attr", "scores", "evaluation", "losses", "pruning",
    "circuits",
    "visualization", "report", "demo",
)  # fmt: skip

# The rooms, and the names in them that most people need.
__all__ = [
    "ChebyshevGrid", "Component", "Design", "FrequencyTaggingAttribution", "FrequencyTunnel",
    "InSequence", "NeuronScores", "StepByStep", "TaggedSpectrum", "TaggingDesign",
    "TwoLevelDesign", "ablated", "ablation_damage", "as_explanation", "attr", "black",
    "channel_groups", "choose_design", "circuits", "demo", "design", "disc", "evaluation", "halves",
    "interaction_damage", "keep_only", "layer_mean", "layers_of", "losses", "margin_of", "model",
    "profile_likeness", "pruning", "rank_agreement", "report", "ring", "score_neurons", "scores",
    "sectors", "spectrum", "stimulus", "tagged_sequence", "tiles", "to_inputs", "to_map",
    "top_neurons", "visualization",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a room when it is first used, so that `captum-ssvep --help` runs without torch."""
    if name in _ROOMS:
        return import_module(f".{name}", __name__)
    if name in __all__:
        for room in _ROOMS:
            module = import_module(f".{room}", __name__)
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
