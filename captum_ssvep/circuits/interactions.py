"""Interactions of channels: what two do together beyond what each does alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .._checks import choice, count, integer, network, shown
from .._typing import Layer
from ..scores.batches import Data, as_loader, batches_of, device_of
from .behind import Behind, behind
from .methods import gradient_relevance
from .prepared import Baseline, named_layer, prepared
from .relevance import ClassSums
from .targets import ParsedTarget, Target, as_targets

# Up to so many channels or groups, every pair is ablated.
MOST_ABLATED = 16


@dataclass(frozen=True, eq=False, repr=False)
class NeuronInteractions:
    """How channels of a layer act together on some targets.

    Args:
        layer (str): Name of the layer.
        targets (tuple): The targets; channels as `Channel`.
        members (tuple[tuple[int, ...], ...]): The channels of each group; single ones by default.
        signed (Tensor): Mean interaction over images, shape ``(targets, groups, groups)``, zero on
            the diagonal. Positive: together they raise the target by more than one by one.
        absolute (Tensor): Mean of the absolute interaction of the images, which ranks pairs, of the
            same shape.
    """

    layer: str
    targets: tuple[ParsedTarget, ...]
    members: tuple[tuple[int, ...], ...]
    signed: Tensor
    absolute: Tensor

    def top(self, k: int = 10) -> list[list[tuple[int, int]]]:
        """For each target the pairs of groups that interact most, by their places in ``members``.

        Args:
            k (int, optional): How many pairs; all if there are fewer. Default: 10

        Examples::

            >>> matrix = torch.tensor([[[0.0, 0.5, -2.0], [0.5, 0.0, 0.1], [-2.0, 0.1, 0.0]]])
            >>> members = ((0,), (1,), (2,))
            >>> NeuronInteractions("conv1", (0,), members, matrix, matrix.abs()).top(2)
            [[(0, 2), (0, 1)]]
        """
        k = integer(k, "k")
        n_groups = len(self.members)
        rows, columns = torch.triu_indices(n_groups, n_groups, offset=1)
        order = self.absolute[:, rows, columns].argsort(dim=1, descending=True, stable=True)
        return [
            [*zip(rows[best].tolist(), columns[best].tolist(), strict=True)]
            for best in order[:, :k]
        ]

    def __repr__(self) -> str:
        sizes = f"{count(len(self.targets), 'target')}, {count(len(self.members), 'group')}"
        return f"NeuronInteractions({self.layer!r}, {sizes})"


def neuron_interactions(
    model: nn.Module,
    target: Target | list[Target],
    layer: Layer,
    data: Data,
    *,
    channels: Sequence[int] | Sequence[Sequence[int]] | None = None,
    method: Literal["ablation", "gradient"] | None = None,
    baseline: Baseline = "mean",
    batch_size: int = 64,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> NeuronInteractions:
    r"""How much the effect of a channel on targets depends on another channel.

    With :math:`t_S` the target without the channels in :math:`S`, it is

    .. math:: t - t_i - t_j + t_{ij}

    Ablating every pair of n channels takes :math:`1 + n (n + 1) / 2` passes. Ablating one and
    reading activation x gradient of all others, with and without it, estimates all pairs from n + 1
    passes forward and backward (the mean of both orders of a pair). The Hessian does not serve: in
    a ReLU network it is zero.

    Args:
        model (Module): The model, in eval mode.
        target (int, Channel, tuple, callable or list): As in `core_neurons`.
        layer (Module or str): The layer, or its name.
        data (Dataset or DataLoader): As in `core_neurons`: for a class with labeled data, its own
            images and all others count one half each.
        channels (sequence of int, or of sequences, optional): The channels, or groups of them that
            are removed together. Default: all channels
        method (str, optional): ``"ablation"`` of every pair, exact, or ``"gradient"``. Default:
            ablation for up to 16 channels or groups, gradient for more
        baseline (str, optional): What replaces a channel, as in `core_neurons`. Default: ``"mean"``
        batch_size (int, optional): Images in a batch of a Dataset. A batch holds the interactions
            of all pairs in all of its images. Default: 64
        num_workers, channel_dim, show_progress: As in `core_neurons`.

    Returns:
        NeuronInteractions: A symmetric matrix for each target.

    Raises:
        ValueError, TypeError: As `core_neurons`, or if channels are not those of the layer, or in
            two groups.

    Examples::

        >>> from torch.utils.data import TensorDataset
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> data = TensorDataset(torch.rand(8, 4), torch.tensor([0, 1] * 4))
        >>> found = neuron_interactions(model, [0, 1], "1", data, show_progress=False)
        >>> found.signed.shape
        torch.Size([2, 3, 3])
    """
    network(model)
    targets = as_targets(target)
    layer = named_layer(model, layer)
    if method is not None:
        choice(method, "method", ["ablation", "gradient"])
    loader = as_loader(data, batch_size, num_workers)
    sums = ClassSums(targets)
    with prepared(model, [layer], loader, baseline, channel_dim) as known:
        members = groups_of(channels, known.n_channels[layer])
        is_exact = len(members) <= MOST_ABLATED if method is None else method == "ablation"
        interact = _by_ablation if is_exact else _by_gradient
        for batch in tqdm(
            batches_of(loader, device_of(model)), desc="interactions", disable=not show_progress
        ):
            with behind(model, layer, targets, batch, known.dims) as segment:
                found = interact(segment, members, known.fill[layer])
            sums.add(torch.stack([found, found.abs()]), batch)
    return NeuronInteractions(layer, targets, members, *sums.mean())


def groups_of(channels: Any, n_channels: int) -> tuple[tuple[int, ...], ...]:
    """Channels, or groups of them, as groups; each channel alone by default.

    Raises:
        ValueError, TypeError: If they are not different channels of the layer.

    Examples::

        >>> groups_of([2, 0], 3), groups_of([[0, 1], [2]], 3)
        (((2,), (0,)), ((0, 1), (2,)))
    """
    if isinstance(channels, Tensor):
        channels = channels.tolist()
    items: Any = range(n_channels) if channels is None else channels
    if not isinstance(items, (list, tuple, range)):
        raise TypeError(
            "Expected `channels` to be a list of channels or of groups of channels, as "
            f"[[0, 3], [5]], but got {shown(channels)}"
        )
    groups = [item if isinstance(item, (list, tuple, range)) else [item] for item in items]
    members = tuple(tuple(integer(c, "channels", at_least=0) for c in group) for group in groups)
    flat = [channel for group in members for channel in group]
    if not all(members) or not flat or len(set(flat)) < len(flat) or max(flat) >= n_channels:
        raise ValueError(
            f"Expected `channels` to be different channels from 0 to {n_channels - 1}, none of "
            f"them in two groups, but got {shown(channels)}"
        )
    return members


@torch.no_grad()
def _by_ablation(
    segment: Behind, members: tuple[tuple[int, ...], ...], fill: Tensor | None
) -> Tensor:
    """Interaction of every pair in every image, ``(N, targets, groups, groups)``."""
    whole = segment.values()
    alone = [segment.values(removed=group, fill=fill) for group in members]
    found = whole.new_zeros(*whole.shape, len(members), len(members))
    for (i, one), (j, other) in combinations(enumerate(members), 2):
        both = segment.values(removed=one + other, fill=fill)
        found[..., i, j] = found[..., j, i] = whole - alone[i] - alone[j] + both
    return found


def _by_gradient(
    segment: Behind, members: tuple[tuple[int, ...], ...], fill: Tensor | None
) -> Tensor:
    """The same from the relevance of each group without another."""

    def of_groups(removed: tuple[int, ...] = ()) -> Tensor:
        relevance = gradient_relevance(segment, fill, removed)
        return torch.stack([relevance[..., [*group]].sum(-1) for group in members], dim=-1)

    whole = of_groups()
    found = torch.stack([whole - of_groups(group) for group in members], dim=-2)
    found = (found + found.mT) / 2
    found.diagonal(dim1=-2, dim2=-1).zero_()
    return found
