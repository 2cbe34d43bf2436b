"""Do core neurons hold what moves a single neuron? Its activation, and its images, without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .._checks import instance, integer, network, shown
from .._typing import Layer
from ..scores.batches import Data, as_loader, batches_of, device_of
from .behind import behind
from .prepared import Baseline, named_layer, prepared
from .relevance import CoreNeurons
from .targets import ParsedTarget, Target, as_targets

# Sizes of random sets of channels for `relevance_correlation`.
SET_SIZES = (1, 5, 10, 20, 50)


@dataclass(frozen=True, eq=False)
class NodeFidelity:
    """How much targets change, relative to their mean size.

    Args:
        keep (Tensor): With all channels but the target's own replaced, shape ``(targets,)``; lower
            is better.
        mask (Tensor): With these replaced; higher is better.
        random_keep, random_mask (Tensor): The same for random channels, ``(n_random, targets)``.
    """

    keep: Tensor
    mask: Tensor
    random_keep: Tensor
    random_mask: Tensor


@dataclass(frozen=True, eq=False)
class Optimality:
    """How many of the images that drive a target most still do without some channels.

    Args:
        overlap (Tensor): Share of the images that stay among the k highest without the target's own
            channels, shape ``(targets,)``; lower is better.
        random (Tensor): Without random channels, shape ``(n_random, targets)``.
    """

    overlap: Tensor
    random: Tensor

    @property
    def gap(self) -> Tensor:
        """Mean over random channels minus the overlap, shape ``(targets,)``."""
        return self.random.mean(0) - self.overlap

    @property
    def share_beaten(self) -> Tensor:
        """Share of the random sets that leave no less overlap, shape ``(targets,)``."""
        return (self.random >= self.overlap).float().mean(0)


def node_fidelity(
    model: nn.Module,
    target: Target | list[Target],
    layer: Layer,
    channels: Tensor | Sequence[Sequence[int]],
    data: Data,
    *,
    baseline: Baseline = "mean",
    n_random: int = 20,
    seed: int = 0,
    batch_size: int = 64,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> NodeFidelity:
    r"""Whether a few channels hold what moves a target.

    .. math:: \sum_n |t'_n - t_n| / \sum_n |t_n|

    over images, with :math:`t'` the target when only these channels are kept, or when they are
    masked. A target that is always zero has not changed (0), or wholly (1).

    Args:
        model (Module): The model, in eval mode.
        target (int, Channel, tuple, callable or list): As in `core_neurons`.
        layer (Module or str): A layer in front of the targets, or its name.
        channels (Tensor or sequence): For each target its channels, as `CoreNeurons.top` gives.
        data (Dataset or DataLoader): Images that no score was computed from.
        baseline (str, optional): What replaces a channel, as in `core_neurons`. Default: ``"mean"``
        n_random (int, optional): Number of random sets, as large as the first target's. Default: 20
        seed (int, optional): Seed of these. Default: 0
        batch_size, num_workers, channel_dim, show_progress: As in `core_neurons`.

    Returns:
        NodeFidelity: Relative changes.

    Raises:
        ValueError, TypeError: As `core_neurons`, or if the channels do not fit the targets.

    Examples::

        >>> from torch.utils.data import TensorDataset
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1, bias=False)).eval()
        >>> _ = nn.init.ones_(model[1].weight)
        >>> data = TensorDataset(torch.rand(8, 2))
        >>> found = node_fidelity(model, ("1", 0), "0", [[0, 1]], data, show_progress=False)
        >>> found.keep
        tensor([0.])
    """
    targets = as_targets(target)
    layer, lists = named_layer(network(model), layer), _lists_of(channels, targets)
    n_random, seed = integer(n_random, "n_random"), integer(seed, "seed", at_least=0)
    loader = as_loader(data, batch_size, num_workers)

    def sets_of(n_channels: int) -> list[_Set]:
        every = lists + _random_sets(len(lists[0]), n_random, n_channels, seed)
        return [(chosen, keep) for chosen in every for keep in (True, False)]

    values = _values_with(
        model, targets, layer, loader, sets_of, baseline, channel_dim, show_progress
    )
    whole, changed = values[0], values[1:]
    size = whole.abs().sum(0)
    difference = (changed - whole).abs().sum(1)
    relative = torch.where(size > 0, difference / size.clamp(min=1e-300), (difference > 0).double())
    keep, mask = relative[::2].float(), relative[1::2].float()
    n_targets = len(targets)
    own = range(n_targets)
    return NodeFidelity(keep[own, own], mask[own, own], keep[n_targets:], mask[n_targets:])


def optimality(
    model: nn.Module,
    target: Target | list[Target],
    layer: Layer,
    channels: Tensor | Sequence[Sequence[int]],
    data: Data,
    *,
    k: int = 50,
    baseline: Baseline = "zero",
    n_random: int = 100,
    seed: int = 0,
    batch_size: int = 64,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> Optimality:
    """NeurFlow's optimality: whether a target's images change more than without random channels.

    Args:
        k (int, optional): How many of the images with the highest target are compared; fewer than
            there are images. Default: 50
        n_random (int, optional): Number of random sets. Default: 100
        model, target, layer, channels, data, baseline, seed: As in `node_fidelity`; channels are
            replaced by zero by default.
        batch_size, num_workers, channel_dim, show_progress: As in `core_neurons`.

    Returns:
        Optimality: Overlaps.

    Raises:
        ValueError, TypeError: As `node_fidelity`, or if there are no more than ``k`` images.

    Examples::

        >>> from torch.utils.data import TensorDataset
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> data = TensorDataset(torch.rand(8, 4))
        >>> found = optimality(model, ("2", 1), "1", [[0]], data, k=3, show_progress=False)
        >>> found.overlap.shape, found.gap.shape
        (torch.Size([1]), torch.Size([1]))
    """
    targets = as_targets(target)
    layer, lists = named_layer(network(model), layer), _lists_of(channels, targets)
    n_random, seed = integer(n_random, "n_random"), integer(seed, "seed", at_least=0)
    k = integer(k, "k")
    loader = as_loader(data, batch_size, num_workers)

    def sets_of(n_channels: int) -> list[_Set]:
        every = lists + _random_sets(len(lists[0]), n_random, n_channels, seed)
        return [(chosen, False) for chosen in every]

    values = _values_with(
        model, targets, layer, loader, sets_of, baseline, channel_dim, show_progress
    )
    overlaps = _overlaps(values, k)
    own = range(len(targets))
    return Optimality(overlaps[own, own], overlaps[len(own) :])


def relevance_correlation(
    model: nn.Module,
    core: CoreNeurons,
    data: Data,
    *,
    k: int = 50,
    baseline: Baseline = "zero",
    n_sets: int = 100,
    seed: int = 0,
    batch_size: int = 64,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> Tensor:
    """NeurFlow's correlation of the relevance of random channels with what they leave of a target.

    Sets of 1, 5, 10, 20 and 50 random channels, as far as the layer has as many, are replaced. The
    more relevant they are in sum, the fewer of the k images that drive the target most should stay
    among the k highest.

    Args:
        model (Module): The model, in eval mode.
        core (CoreNeurons): Relevance of the channels to the targets.
        data (Dataset or DataLoader): Images that no score was computed from.
        k (int, optional): As in `optimality`. Default: 50
        baseline (str, optional): As in `optimality`. Default: ``"zero"``
        n_sets (int, optional): Number of sets of each size. Default: 100
        seed (int, optional): Seed of the sets. Default: 0
        batch_size, num_workers, channel_dim, show_progress: As in `core_neurons`.

    Returns:
        Tensor: Pearson correlation for each target, shape ``(targets,)``; -1 is best. It is 0 where
        nothing changes, as of a dead target.

    Raises:
        ValueError, TypeError: As `optimality`.

    Examples::

        >>> from torch.utils.data import TensorDataset
        >>> from captum_ssvep.circuits import core_neurons
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> data = TensorDataset(torch.rand(8, 4))
        >>> core = core_neurons(model, [("2", 0), ("2", 1)], "1", data, show_progress=False)
        >>> relevance_correlation(model, core, data, k=3, show_progress=False).shape
        torch.Size([2])
    """
    instance(core, CoreNeurons, "core", "what `core_neurons` returns")
    k, n_sets = integer(k, "k"), integer(n_sets, "n_sets")
    seed = integer(seed, "seed", at_least=0)
    layer = named_layer(network(model), core.layer)
    sizes = [size for size in SET_SIZES if size < core.n_channels] or [core.n_channels]
    drawn = [
        chosen
        for size in sizes
        for chosen in _random_sets(size, n_sets, core.n_channels, seed + size)
    ]
    values = _values_with(
        model,
        core.targets,
        layer,
        as_loader(data, batch_size, num_workers),
        lambda n_channels: [(chosen, False) for chosen in drawn],
        baseline,
        channel_dim,
        show_progress,
    )
    overlaps = _overlaps(values, k)
    relevance = torch.stack([core.absolute[:, chosen].sum(1) for chosen in drawn]).double()
    one, other = (values - values.mean(0) for values in (relevance, overlaps.double()))
    scale = one.norm(dim=0) * other.norm(dim=0)
    return torch.where(scale > 0, (one * other).sum(0) / scale.clamp(min=1e-300), 0).float()


# Channels, and whether all others are replaced instead of them.
_Set = tuple[list[int], bool]


def _lists_of(channels: Any, targets: tuple[ParsedTarget, ...]) -> list[list[int]]:
    """The channels of each target.

    Raises:
        ValueError, TypeError: If they are not a list of indices for each.
    """
    listed: Any = channels.tolist() if isinstance(channels, Tensor) else channels
    kinds = (list, tuple, range)
    if not isinstance(listed, kinds) or not all(isinstance(items, kinds) for items in listed):
        raise TypeError(
            "Expected `channels` to be a list of channels for each target, as [[0, 3]], but got "
            f"{shown(channels)}"
        )
    if len(listed) != len(targets):
        raise ValueError(
            f"Expected `channels` for each of {len(targets)} targets, but got {len(listed)} lists"
        )
    rows: list[Any] = [*listed]
    return [[integer(channel, "channels", at_least=0) for channel in row] for row in rows]


def _random_sets(size: int, n_sets: int, n_channels: int, seed: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randperm(n_channels, generator=generator)[:size].tolist() for _ in range(n_sets)]


@torch.no_grad()
def _values_with(
    model: nn.Module,
    targets: tuple[ParsedTarget, ...],
    layer: str,
    loader: DataLoader[Any],
    sets_of: Callable[[int], list[_Set]],
    baseline: Baseline,
    channel_dim: int | None,
    show_progress: bool,
) -> Tensor:
    """The targets as they are, then with each set: ``(1 + sets, N, targets)``.

    ``sets_of`` makes the sets from the number of channels.
    """
    found = []
    with prepared(model, [layer], loader, baseline, channel_dim) as known:
        n_channels, fill = known.n_channels[layer], known.fill[layer]
        sets = sets_of(n_channels)
        for channels, _ in sets:
            if channels and max(channels) >= n_channels:
                raise ValueError(
                    f"Expected `channels` of {layer!r} from 0 to {n_channels - 1}, but got "
                    f"{max(channels)}"
                )
        for batch in tqdm(
            batches_of(loader, device_of(model)), desc="nodes", disable=not show_progress
        ):
            with behind(model, layer, targets, batch, known.dims) as segment:
                values = [segment.values()]
                values += [segment.values(removed=c, fill=fill, keep=keep) for c, keep in sets]
            found.append(torch.stack(values).cpu().double())
    return torch.cat(found, dim=1)


def _overlaps(values: Tensor, k: int) -> Tensor:
    """Share of the k images with the highest values that stay, ``(sets, targets)``."""
    n_images = values.shape[1]
    if k >= n_images:
        raise ValueError(
            f"Expected `k` to be less than the number of images, {n_images}, but got {k}"
        )
    ranks = values.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    is_high = ranks < k
    return (is_high[1:] & is_high[0]).float().sum(1) / k
