"""Groups of channels that do the same, and of images for which the same channels are relevant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .._checks import choice, count, integer, network
from .._typing import Layer
from ..attr import FrequencyTaggingAttribution
from ..evaluation.objectives import logits_in
from ..model.channels import mean_of_channels
from ..scores.batches import Batch, Data, as_loader, batches_of, described, device_of
from .behind import behind
from .clusters import Clusters, cluster
from .methods import gradient_relevance
from .prepared import Prepared, named_layer, prepared
from .targets import ParsedTarget, Target, as_targets, channel_list

Features = Literal["relevance", "activation", "tagged"]
FEATURES: tuple[Features, ...] = get_args(Features)
# With more classes, so many random projections of the logits stand for them: they preserve angles
# between profiles, to about one over the square root of their number.
MOST_CLASSES = 32


@dataclass(frozen=True, eq=False, repr=False)
class NeuronGroups:
    """Groups of a layer's channels.

    Args:
        layer (str): Name of the layer.
        members (tuple[tuple[int, ...], ...]): The channels of each group, the largest group first.
        left_out (tuple[int, ...]): Channels without a profile, such as dead ones; in no group.
        profiles (Tensor): What the channels were grouped by, ``(channels, features)``.
        clusters (Clusters): Scores of each number of groups, and what chance reaches; it counts
            rows of the profiles instead of channels.
    """

    layer: str
    members: tuple[tuple[int, ...], ...]
    left_out: tuple[int, ...]
    profiles: Tensor
    clusters: Clusters

    @property
    def scores(self) -> dict[int, float]:
        """Mean silhouette for each number of groups from two on."""
        return self.clusters.scores

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        n_channels = sum(map(len, self.members))
        sizes = f"{count(n_channels, 'channel')} in {count(len(self), 'group')}"
        return f"NeuronGroups({self.layer!r}, {sizes})"


def neuron_groups(
    model: nn.Module,
    layer: Layer,
    data: Data,
    target: Target | list[Target] | None = None,
    *,
    features: Features = "relevance",
    channels: Sequence[int] | None = None,
    n_groups: int | None = None,
    max_groups: int = 20,
    seed: int = 0,
    batch_size: int = 64,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> NeuronGroups:
    """Group the channels of a layer by what they do.

    A channel's profile is its activation x gradient towards each target in each image, and only its
    direction counts: two channels are alike if they move the same targets the same way in the same
    images, whatever their scale. Channels that respond to the same images often act differently.
    For a ResNet-32 (layer3.1, CIFAR-10), eight groups by relevance hold channels whose ablation has
    like effects on other images, 17 standard deviations above random groups; groups by activation
    lie 3 above, and by tagged response none (``benchmarks/circuits.py``).

    Args:
        model (Module): The model, in eval mode.
        layer (Module or str): The layer, or its name.
        data (Dataset or DataLoader): Tensors, or (input, label) pairs, of all kinds of images.
        target (int, Channel, tuple, callable or list, optional): As in `core_neurons`; several, as
            the channels of the layer above. Default: the logits; of more than 32 classes as many
            random projections, which preserve the angles between profiles
        features (str, optional): ``"relevance"``, or, without any target, ``"activation"``
            (channel means about their mean over images) or ``"tagged"`` (the lines of the response
            to flickering halves). Default: ``"relevance"``
        channels (sequence of int, optional): Group these alone. Default: all
        n_groups (int, optional): How many groups. Default: by silhouette, and one if the channels
            are a single cloud, see `cluster`
        max_groups (int, optional): Most groups that are tried. A warning says if the silhouette is
            highest there, since it may rise further. Default: 20
        seed (int, optional): Seed of clouds and projections. Default: 0
        batch_size, num_workers, channel_dim, show_progress: As in `core_neurons`.

    Returns:
        NeuronGroups: The groups, and scores of each number of groups.

    Raises:
        ValueError, TypeError: As `core_neurons`, or if features or channels are not known, or
            features do without the target.

    Examples::

        >>> from torch.utils.data import TensorDataset
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
        >>> data = TensorDataset(torch.rand(8, 4))
        >>> groups = neuron_groups(model, "0", data, n_groups=2, show_progress=False)
        >>> len(groups), groups.profiles.shape  # 8 images times 2 logits
        (2, torch.Size([6, 16]))
    """
    choice(features, "features", FEATURES)
    validate_numbers(n_groups, max_groups, seed)
    layer = named_layer(network(model), layer)
    targets = None if target is None else as_targets(target)
    if targets is not None and features != "relevance":
        raise ValueError(
            f"Expected no `target` for features={features!r}, which do not depend on one; leave it "
            "out, or take features='relevance'"
        )
    profiles = profiles_of(
        model,
        layer,
        data,
        _relevance_to(targets, seed) if features == "relevance" else _RESPONSES[features],
        batch_size=batch_size,
        num_workers=num_workers,
        channel_dim=channel_dim,
        show_progress=show_progress,
    ).flatten(0, 1)
    chosen = _chosen(channels, profiles.shape[1])
    rows = profiles.T[list(chosen)]
    if features == "activation":
        rows = rows - rows.mean(1, keepdim=True)
    clusters = cluster(rows, n_groups, max_groups, seed)
    return NeuronGroups(
        layer,
        tuple(tuple(chosen[row] for row in group) for group in clusters.members),
        tuple(chosen[row] for row in clusters.left_out),
        rows,
        clusters,
    )


def patch_groups(
    model: nn.Module,
    target: Target,
    layer: Layer,
    data: Data,
    *,
    n_groups: int | None = None,
    max_groups: int = 20,
    seed: int = 0,
    batch_size: int = 64,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> Clusters:
    """Group images, such as the patches that drive a neuron, by what moves the target in them.

    The profile of an image is the activation x gradient of each channel of the layer towards the
    target. A target that responds to one thing for one reason has one group.

    Args:
        model (Module): The model, in eval mode.
        target (int, Channel, tuple or callable): A single target, as in `core_neurons`.
        layer (Module or str): A layer in front of the target, or its name.
        data (Dataset or DataLoader): The images.
        n_groups, max_groups, seed: As in `neuron_groups`.
        batch_size, num_workers, channel_dim, show_progress: As in `core_neurons`.

    Returns:
        Clusters: Groups of the images, by their place in the data.

    Raises:
        ValueError, TypeError: As `core_neurons`.

    Examples::

        >>> from torch.utils.data import TensorDataset
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
        >>> patches = TensorDataset(torch.rand(8, 4))
        >>> groups = patch_groups(model, ("2", 1), "1", patches, n_groups=2, show_progress=False)
        >>> len(groups.members)
        2
    """
    targets = as_targets(target)
    if len(targets) > 1:
        raise ValueError(f"Expected `target` to be a single one, but got {len(targets)}; pick one")
    validate_numbers(n_groups, max_groups, seed)
    profiles = profiles_of(
        model,
        named_layer(network(model), layer),
        data,
        _relevance_to(targets, seed),
        batch_size=batch_size,
        num_workers=num_workers,
        channel_dim=channel_dim,
        show_progress=show_progress,
    )
    return cluster(profiles[:, 0], n_groups, max_groups, seed)


def validate_numbers(n_groups: int | None, max_groups: int, seed: int) -> None:
    """Refuse numbers that do not fit, before anything is run."""
    if n_groups is not None:
        integer(n_groups, "n_groups")
    integer(max_groups, "max_groups")
    integer(seed, "seed", at_least=0)


# From the model, a layer, a batch and what is known of the layer, ``(N, features, channels)``.
Profiler = Callable[[nn.Module, str, Batch, Prepared], Tensor]


def profiles_of(
    model: nn.Module,
    layer: str,
    data: Data,
    profile: Profiler,
    *,
    batch_size: int,
    num_workers: int,
    channel_dim: int | None,
    show_progress: bool,
) -> Tensor:
    """What the channels do in each image, ``(images, features, channels)``."""
    loader = as_loader(data, batch_size, num_workers)
    with prepared(model, [layer], loader, "zero", channel_dim) as known:
        batches = tqdm(
            batches_of(loader, device_of(model)), desc="profiles", disable=not show_progress
        )
        found = [profile(model, layer, batch, known).detach().cpu() for batch in batches]
    return torch.cat(found)


def _chosen(channels: Any, n_channels: int) -> list[int]:
    chosen = [*range(n_channels)] if channels is None else channel_list(channels)
    if max(chosen) >= n_channels:
        raise ValueError(
            f"Expected `channels` to be channels from 0 to {n_channels - 1}, but got {chosen}"
        )
    return chosen


def _relevance_to(targets: Sequence[ParsedTarget] | None, seed: int) -> Profiler:
    """Activation x gradient towards targets, or towards the logits."""

    def profile(model: nn.Module, layer: str, batch: Batch, known: Prepared) -> Tensor:
        aims = _logits(model, batch, seed) if targets is None else targets
        with behind(model, layer, aims, batch, known.dims) as segment:
            return gradient_relevance(segment, None)

    return profile


@torch.no_grad()
def _logits(model: nn.Module, batch: Batch, seed: int) -> list[Callable[[Any], Tensor]]:
    """Each logit as a target, or random projections of many."""
    logits = logits_in(model(*batch.tensors))
    if not isinstance(logits, Tensor) or logits.dim() != 2 or not logits.is_floating_point():
        raise ValueError(
            f"Expected a `target` for a network without logits of shape (N, classes), which gives "
            f"{described(logits)}; pass a function of its output that gives one number per image"
        )
    n_classes = logits.shape[1]
    weights = torch.eye(n_classes)
    if n_classes > MOST_CLASSES:
        generator = torch.Generator().manual_seed(seed)
        weights = torch.randn(MOST_CLASSES, n_classes, generator=generator)
    return [partial(_projected, row.to(logits)) for row in weights]


def _projected(weights: Tensor, output: Any) -> Tensor:
    """A weighted sum of the logits."""
    values: Tensor = logits_in(output) @ weights
    return values


@torch.no_grad()
def _activation(model: nn.Module, layer: str, batch: Batch, known: Prepared) -> Tensor:
    """The mean of each channel."""
    target: list[ParsedTarget] = []
    with behind(model, layer, target, batch, known.dims) as segment:
        return mean_of_channels(segment.activations, segment.channel_dim)[:, None]


def _tagged(model: nn.Module, layer: str, batch: Batch, known: Prepared) -> Tensor:
    """Real and imaginary part of each line of the response to flickering halves."""
    tagging = FrequencyTaggingAttribution(model, layer)

    def pool(activations: Tensor) -> Tensor:
        module = tagging.layer
        return mean_of_channels(activations, known.dims.of(module, layer, activations))

    spectrum = tagging.spectrum(batch.inputs, pooling=pool, n_neighbors=0)
    return torch.stack([spectrum.coefficient(c) for c in spectrum.components], dim=1)


_RESPONSES: dict[str, Profiler] = {"activation": _activation, "tagged": _tagged}
