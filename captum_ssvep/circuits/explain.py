"""What a circuit says about images: which groups respond, where, and what happens without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from tqdm.auto import tqdm

from .._checks import count, instance, integer, network, tensor
from ..model.channels import channel_maps, layout_of, mean_of_channels
from ..model.silence import silenced
from ..scores.batches import Batch, Data, as_loader, device_of
from ..scores.data import Shard
from .behind import behind
from .circuit import Circuit, Node
from .patches import in_order
from .prepared import Prepared, prepared


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """How a circuit takes images to its target.

    Args:
        target (Tensor): The target, shape ``(N,)``; a class is read by its margin.
        activity (dict[str, Tensor]): For each node, its activity, shape ``(N,)``: 0 is the mean
            over the data of the circuit, 1 a standard deviation above.
        maps (dict[str, Tensor]): For each node of a layer with two spatial dimensions, where it is
            active, shape ``(N, height, width)``.
        without (dict[str, Tensor]): For each node, the target with the channels of the node at
            their means, shape ``(N,)``.
    """

    target: Tensor
    activity: dict[str, Tensor]
    maps: dict[str, Tensor]
    without: dict[str, Tensor]

    @property
    def contributions(self) -> dict[str, Tensor]:
        """For each node, what the target loses without it, shape ``(N,)``.

        Each node is off by itself. Contributions of nodes in different layers do not add up, since
        what one layer holds goes through the next; nor do those of one layer, where nodes interact.
        """
        return {name: self.target - value for name, value in self.without.items()}

    def __repr__(self) -> str:
        sizes = f"{count(len(self.activity), 'node')}, {count(len(self.target), 'image')}"
        return f"Explanation({sizes})"


@dataclass(frozen=True, eq=False, repr=False)
class WhatIf:
    """What a target would be without some nodes of its circuit.

    Args:
        before (Tensor): The target of each image, in the order of the data, shape ``(N,)``.
        after (Tensor): The same with the channels of the nodes at their means.
        images (Tensor): The indices of the images in the data.
    """

    before: Tensor
    after: Tensor
    images: Tensor

    @property
    def change(self) -> Tensor:
        """What the target gains without the nodes, shape ``(N,)``."""
        return self.after - self.before

    def most_changed(self, n: int = 10) -> Tensor:
        """The indices of the images that change most, up or down, largest change first."""
        order = self.change.abs().argsort(descending=True, stable=True)
        return self.images[order[: integer(n, "n")]]

    def __repr__(self) -> str:
        return f"WhatIf({count(len(self.before), 'image')}, mean change {self.change.mean():.3g})"


@torch.no_grad()
def explain(
    model: nn.Module, circuit: Circuit, inputs: Tensor, *, channel_dim: int | None = None
) -> Explanation:
    """Read the nodes of a circuit for images, and the target without each node.

    Contributions of groups in different layers do not add up, see `Explanation.contributions`.

    Args:
        model (Module): The model, in eval mode.
        circuit (Circuit): A circuit of this model.
        inputs (Tensor): Images, on the model's device, batch first.
        channel_dim (int, optional): Dimension of the channels in the layers' outputs, if the
            modules of the network do not determine it. Default: None

    Returns:
        Explanation: Activities, maps, and the target without each node.

    Raises:
        ValueError: If the model lacks a layer or channel of the circuit, or the inputs are not
            finite.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> from captum_ssvep.circuits import Edge, Node
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
        >>> node = Node("1", (0, 1), (0.0, 0.0), (1.0, 1.0))
        >>> circuit = Circuit(1, ("1",), (node,), (Edge("1:0,1", "class 1", 1.0),))
        >>> found = explain(model, circuit, torch.rand(3, 2))
        >>> found, found.activity["1:0,1"].shape, found.contributions["1:0,1"].shape
        (Explanation(1 node, 3 images), torch.Size([3]), torch.Size([3]))
    """
    own = _circuit_of(model, circuit)
    if not tensor(inputs, "inputs").is_floating_point() or not inputs.dim() or not len(inputs):
        raise ValueError(
            f"Expected `inputs` to be a floating batch of images, but got {inputs.dtype} of shape "
            f"{tuple(inputs.shape)}"
        )
    if not inputs.isfinite().all():
        raise ValueError("Expected `inputs` to be finite, but got NaN or infinity; replace them")
    loader = as_loader(TensorDataset(inputs), len(inputs))
    batch = Batch(inputs, None)
    activity: dict[str, Tensor] = {}
    where: dict[str, Tensor] = {}
    without: dict[str, Tensor] = {}
    with ExitStack() as stack:
        with _for_one_image(inputs):
            known = stack.enter_context(prepared(model, own.layers, loader, "zero", channel_dim))
        for layer in own.layers:
            nodes = own.nodes_of(layer)
            held = _means(nodes, known)[layer]
            with behind(model, layer, (own.target,), batch, known.dims) as segment:
                target = segment.values()[:, 0].cpu()
                means = mean_of_channels(segment.activations, segment.channel_dim)
                maps = _maps(segment.activations, segment.channel_dim, inputs)
                for node in nodes:
                    activity[node.name] = node.activity(means).cpu()
                    if maps is not None:
                        where[node.name] = node.activity(maps).cpu()
                    off = segment.values(removed=node.channels, fill=held)
                    without[node.name] = off[:, 0].cpu()
    return Explanation(target, activity, where, without)


@contextmanager
def _for_one_image(inputs: Tensor) -> Iterator[None]:
    """Say in an error that inputs may lack their batch, as an image by itself does."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if inputs.dim() != 3:
            raise
        raise ValueError(
            f"Expected `inputs` to be a batch that the model takes, but with shape "
            f"{tuple(inputs.shape)} it fails ({error}); if this is a single image, add a batch "
            "dimension: `inputs[None]`"
        ) from error


def _maps(activations: Tensor, channel_dim: int, inputs: Tensor) -> Tensor | None:
    """What a layer returned as maps ``(N, channels, height, width)``, if it has two dimensions."""
    layout = layout_of(activations.dim(), channel_dim)
    has_maps = activations.dim() == 4 or layout == "tokens"
    if layout is None or inputs.dim() != 4 or not has_maps:
        return None
    return channel_maps(activations, layout, (inputs.shape[2], inputs.shape[3]))


@torch.no_grad()
def what_if(
    model: nn.Module,
    circuit: Circuit,
    nodes: str | Node | Sequence[str | Node],
    data: Data,
    *,
    batch_size: int = 100,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> WhatIf:
    """What the target of a circuit would be without some of its nodes, for every image.

    Args:
        model (Module): The model, in eval mode.
        circuit (Circuit): A circuit of this model.
        nodes (str, Node or sequence of these): The nodes to turn off together, or their names:
            their channels stay at their means.
        data (Dataset or DataLoader): Tensors, or (input, label) pairs. A loader must not shuffle.
        batch_size (int, optional): Images in a batch of a Dataset. Default: 100
        num_workers (int, optional): Processes that load the images of a Dataset. Default: 0
        channel_dim (int, optional): As in `explain`. Default: None
        show_progress (bool, optional): Progress bar over images. Default: True

    Returns:
        WhatIf: The target of each image with and without the nodes.

    Raises:
        ValueError: If a node is not in the circuit, the model lacks its layer or channels, or the
            data are empty or shuffle.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> from torch.utils.data import TensorDataset
        >>> from captum_ssvep.circuits import Edge, Node
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
        >>> node = Node("1", (0, 1), (0.0, 0.0), (1.0, 1.0))
        >>> circuit = Circuit(1, ("1",), (node,), (Edge("1:0,1", "class 1", 1.0),))
        >>> data = TensorDataset(torch.rand(8, 2))
        >>> change = what_if(model, circuit, "1:0,1", data, show_progress=False)
        >>> change.before.shape, change.most_changed(3).shape
        (torch.Size([8]), torch.Size([3]))
    """
    own = _circuit_of(model, circuit)
    given = [nodes] if isinstance(nodes, (str, Node)) else nodes
    instance(given, (list, tuple), "nodes", "nodes of the circuit or their names; see its `nodes`")
    off = [own.node(node) for node in given]
    if not off:
        raise ValueError("Expected `nodes` to name at least one node, but got none")
    shard = Shard(in_order(data), 0, 1)
    loader = as_loader(data, batch_size, num_workers)
    first = min((node.layer for node in off), key=own.layers.index)
    channels = {
        node.layer: [c for n in off if n.layer == node.layer for c in n.channels] for node in off
    }
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    with (
        prepared(model, own.layers, loader, "zero", channel_dim) as known,
        tqdm(total=shard.n_items, desc="what if", unit="image", disable=not show_progress) as bar,
    ):
        held = _means(off, known)
        for batch, places in shard.batches(batch_size, num_workers, device_of(model), 0):
            with behind(model, first, (own.target,), batch, known.dims) as segment:
                before = segment.values()[:, 0].cpu()
                with silenced(model, channels, dims=known.dims, values=held):
                    rows.append((before, segment.values()[:, 0].cpu(), places))
            bar.update(len(batch))
    before, after, images = (torch.cat(column) for column in zip(*rows, strict=True))
    return WhatIf(before, after, images)


def _circuit_of(model: nn.Module, circuit: Circuit) -> Circuit:
    """The circuit, if both are what they should be."""
    network(model)
    own = instance(circuit, Circuit, "circuit", "a circuit; `build_circuit` makes one")
    bare = [layer for layer in own.layers if not own.nodes_of(layer)]
    if bare:
        raise ValueError(
            f"Expected a `circuit` with nodes in each of its layers, but it has none in "
            f"{', '.join(bare)}; leave these layers out"
        )
    return own


def _means(nodes: Sequence[Node], known: Prepared) -> dict[str, Tensor]:
    """For the layers of some nodes, the means of the nodes' channels, at their places."""
    found = {node.layer: torch.zeros(known.n_channels[node.layer]) for node in nodes}
    for node in nodes:
        n_channels = known.n_channels[node.layer]
        if max(node.channels) >= n_channels:
            raise ValueError(
                f"Expected a `circuit` of this model, but its channel {max(node.channels)} of "
                f"{node.layer!r} is not among {n_channels}; pass the model that it was built from"
            )
        found[node.layer][list(node.channels)] = torch.tensor(node.means)
    return found
