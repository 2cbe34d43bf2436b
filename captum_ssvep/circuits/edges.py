"""The edges of circuits: what each group does to those of the next layer, by removing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ..model.channels import mean_of_channels
from ..scores.batches import batches_of, device_of
from .behind import Behind, behind
from .circuit import Circuit, Edge, normalized
from .prepared import Baseline, Prepared, prepared
from .relevance import ClassSums
from .targets import Channel, ParsedTarget


@torch.no_grad()
def with_edges(
    model: nn.Module,
    drafts: Sequence[Circuit],
    loader: DataLoader[Any],
    baseline: Baseline,
    channel_dim: int | None,
    show_progress: bool,
) -> list[Circuit]:
    """The circuits with edges, found by removing each group."""
    layers = drafts[0].layers
    steps = [_Step(*pair, drafts) for pair in zip(layers, [*layers[1:], None], strict=True)]
    with prepared(model, layers, loader, baseline, channel_dim) as known:
        for batch in tqdm(
            batches_of(loader, device_of(model)), desc="edges", disable=not show_progress
        ):
            for step in steps:
                wanted = tuple(step.wanted)
                with behind(model, step.layer, wanted, batch, known.dims) as segment:
                    for effects, sums in zip(step.effects(segment, known), step.sums, strict=True):
                        sums.add(effects[None], batch)
    return [
        replace(draft, edges=tuple(edge for step in steps for edge in step.edges(place)))
        for place, draft in enumerate(drafts)
    ]


class _Step:
    """The effects of the groups of a layer on those of the next, or on the targets.

    Args:
        layer: The layer.
        above: The next; None behind the last.
        drafts: Circuits without edges.
    """

    def __init__(self, layer: str, above: str | None, drafts: Sequence[Circuit]) -> None:
        self.layer = layer
        self.children = [draft.nodes_of(layer) for draft in drafts]
        # What is read of parents: weights of channels of the layer above, or of targets.
        self.parents: list[dict[str, dict[ParsedTarget, float]]] = []
        self.sums = []
        for draft in drafts:
            parents: dict[str, dict[ParsedTarget, float]] = {draft.target_name: {draft.target: 1.0}}
            if above is not None:
                parents = {
                    node.name: {Channel(above, c): w for c, w in node.readout.items()}
                    for node in draft.nodes_of(above)
                }
            self.parents.append(parents)
            # Images count as for the target of the circuit.
            self.sums.append(ClassSums((draft.target,) * len(parents)))
        read = [weights for parents in self.parents for weights in parents.values()]
        self.wanted = [*dict.fromkeys(target for weights in read for target in weights)]

    def effects(self, segment: Behind, known: Prepared) -> list[Tensor]:
        """For each circuit, the effects of children on parents, ``(N, parents, children)``."""
        fill = known.fill[self.layer]
        means = mean_of_channels(segment.activations, segment.channel_dim).cpu().double()
        removed_means = torch.zeros(means.shape[1]) if fill is None else fill.cpu()
        whole = segment.values()
        found = []
        for nodes, parents in zip(self.children, self.parents, strict=True):
            weights = torch.tensor(
                [[read.get(target, 0.0) for target in self.wanted] for read in parents.values()]
            )
            columns = []
            for node in nodes:
                lost = whole - segment.values(removed=node.channels, fill=fill)
                moved = node.activity(means) - node.activity(removed_means[None].double())
                columns.append((lost.cpu() @ weights.T.to(lost.dtype)) * moved.sign()[:, None])
            found.append(torch.stack(columns, dim=2))
        return found

    def edges(self, place: int) -> list[Edge]:
        """The edges into the parents of a circuit."""
        weights = normalized(self.sums[place].mean(warns=False)[0])  # `core_neurons` has warned
        return [
            Edge(child.name, parent, weight)
            for parent, row in zip(self.parents[place], weights.tolist(), strict=True)
            for child, weight in zip(self.children[place], row, strict=True)
            if weight
        ]
