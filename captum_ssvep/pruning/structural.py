"""Remove filters from a network with Torch-Pruning."""

from typing import Any

import torch
from torch import Tensor, nn

from .._checks import network
from .._compat import BatchNorm, Convolution
from ..model.layers import layer_name, n_filters_of, resolve_layer
from ..scores.lowest import Normalization, filter_scores, normalized
from .masks import FilterScores, filter_values, validate_length


class FrequencyTaggingImportance:
    """Scores as the ``importance`` of a pruner of Torch-Pruning, which removes filters for good.

    Torch-Pruning removes channels that hang together as one: those of all convolutions that a
    residual stage adds up, or of a depthwise convolution and the one before it. Their importance
    is the mean over the layers of this group that have scores. A group without scores stays whole.
    What a ResNet adds to a shortcut without parameters (as those for CIFAR-10 do) cannot be
    removed; score the first convolutions of its blocks alone.

    Layers that the pruner ignores keep their filters, whatever their scores: compare the number of
    parameters before and after. Torch-Pruning rounds down the number of filters that stay,
    `masks_of` what goes to the nearest number.

    Equal scores go in the order of layers and filters, since Torch-Pruning would remove all of
    them. Scores hold for the network that was scored: before a second step, score what is left.

    Args:
        model (Module): The model that is pruned.
        scores (NeuronScores, FilterDamage or mapping): As in `masks_of`, for convolutions, linear
            layers and BatchNorms.
        normalize (str, optional): As in `masks_of`; for ``global_pruning=True``. Default: None

    Raises:
        ImportError: If Torch-Pruning is not installed.
        ValueError: If scores are NaN or infinite, a layer is unknown or has another number of
            filters. While pruning: if the pruner has another model, filters were removed since, or
            a shortcut pads channels.
        TypeError: If a layer has no filters that can be removed.

    Examples::

        >>> import torch_pruning
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
        >>> scores = {"0": torch.tensor([3.0, 0.5, 2.0, 1.0])}
        >>> importance = FrequencyTaggingImportance(model, scores)
        >>> pruner = torch_pruning.pruner.BasePruner(
        ...     model, torch.rand(1, 3, 8, 8), importance, pruning_ratio=0.5
        ... )
        >>> pruner.step()
        >>> model[0].out_channels, model[2].in_channels, model[2].out_channels
        (2, 2, 2)
    """

    def __init__(
        self, model: nn.Module, scores: FilterScores, *, normalize: Normalization | None = None
    ) -> None:
        self._removers = _removers()
        self.model = network(model)
        self._scores: dict[nn.Module, Tensor] = {}
        for layer, value in normalized(filter_scores(filter_values(scores)), normalize).items():
            module = resolve_layer(layer, model)
            if not isinstance(module, (Convolution, nn.Linear, BatchNorm)):
                raise TypeError(
                    "Expected `scores` of convolutions, linear layers or BatchNorms, whose filters "
                    f"Torch-Pruning can remove, but {layer!r} is a {type(module).__name__}; name "
                    "the one in front of it"
                )
            if hasattr(module, "weight_orig"):
                raise ValueError(
                    f"Expected `model` without masks, but layer {layer!r} has one, as `prune` "
                    "makes; give a model that is not pruned, or make masks final by "
                    "`torch.nn.utils.prune.remove(module, 'weight')`"
                )
            validate_length(layer, module, value, "scores")
            self._scores[module] = value
        self._n_before = _filters_before(model)

    def __call__(self, group: Any) -> Tensor | None:
        """The importance of the channels of a group, as Torch-Pruning asks for it.

        Args:
            group (torch_pruning.Group): The layers that lose channels together.

        Returns:
            Tensor: One number per channel of the group's first layer; higher is kept. None if no
            layer of the group has scores.

        Raises:
            ValueError: As above.
        """
        root = group[0].dep.target.module
        if root not in self._n_before:
            raise ValueError(
                f"Expected the pruner to prune the `model` of the importance, but its "
                f"{type(root).__name__} is in another one; pass both the same model, not a copy"
            )
        n_channels = len(group[0].idxs)
        total, n_scored = torch.zeros(n_channels).double(), torch.zeros(n_channels)
        for item in group:
            scores = self._scores.get(item.dep.target.module)
            if scores is None or item.dep.handler not in self._removers:
                continue
            self._validate(item, group)
            places = torch.as_tensor(item.root_idxs)
            total.index_add_(0, places, scores[item.idxs])
            n_scored.index_add_(0, places, torch.ones(len(places)))
        if not n_scored.any():
            return None
        # Channels that no scored layer has any part in are kept.
        importance = torch.where(n_scored > 0, total / n_scored, torch.inf)
        return _without_ties(importance, self._n_before[root])

    def _validate(self, item: Any, group: Any) -> None:
        """Check that the channels of a layer are still those that were scored."""
        module = item.dep.target.module
        name = layer_name(module, self.model)
        validate_length(name, module, self._scores[module], "scores")
        sizes = {
            n_filters_of(other.dep.target.module)
            for other in group
            if other.dep.handler in self._removers
        }
        if len(sizes) > 1 and any("ConstantPad" in other.dep.target.name for other in group):
            raise ValueError(
                f"Expected layers whose filters can be removed, but those of {name!r} are added to "
                "a shortcut that pads channels; leave it out, and score the first convolutions of "
                "the blocks"
            )


def _removers() -> tuple[Any, ...]:
    """What removes filters in Torch-Pruning. Bound methods: equal, but not the same objects."""
    try:
        import torch_pruning
    except ImportError as error:
        raise ImportError(
            "Expected Torch-Pruning for a FrequencyTaggingImportance, but it is not installed; "
            "install it by `pip install captum-ssvep[pruning]`"
        ) from error
    return (
        torch_pruning.prune_conv_out_channels,
        torch_pruning.prune_depthwise_conv_out_channels,
        torch_pruning.prune_linear_out_channels,
        torch_pruning.prune_batchnorm_out_channels,
    )


def _filters_before(model: nn.Module) -> dict[nn.Module, int]:
    """For each module, how many filters those before it have."""
    found, n_filters = {}, 0
    for module in model.modules():
        found[module] = n_filters
        n_filters += n_filters_of(module) or 0
    return found


def _without_ties(values: Tensor, n_before: int) -> Tensor:
    """Values that differ by so much as rounding where they were equal, also between groups.

    Args:
        values: Importance of the channels of a group, in double precision.
        n_before: How many channels come before these.
    """
    places = torch.arange(n_before + 1, n_before + len(values) + 1).double()
    finite = values.isfinite()
    steps = places * (values.abs() * torch.finfo(values.dtype).eps + torch.finfo(values.dtype).tiny)
    return torch.where(finite, values + steps, values)
