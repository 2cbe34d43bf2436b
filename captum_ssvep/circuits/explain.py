"""What a circuit says about images: which groups respond, where, and what happens without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .._checks import count, instance, integer, network, tensor
from ..model.channels import channel_maps, layout_of, mean_of_channels
from ..model.recorder import LayerRecorder
from ..model.silence import silenced
from ..scores.batches import Data, device_of
from ..scores.data import Shard
from .behind import value_of
from .circuit import Circuit, Node
from .patches import in_order
from .targets import Channel


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
        """For each node, what the target loses without it, shape ``(N,)``."""
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
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
        >>> node = Node("1", (0, 1), (0.0, 0.0), (1.0, 1.0))
        >>> circuit = Circuit(1, ("1",), (node,), (Edge("1:0,1", "class 1", 1.0),))
        >>> found = explain(model, circuit, torch.rand(3, 2))
        >>> found, found.activity["1:0,1"].shape, found.contributions["1:0,1"].shape
        (Explanation(1 node, 3 images), torch.Size([3]), torch.Size([3]))
    """
    reader = _Reader(model, circuit, channel_dim)
    if not tensor(inputs, "inputs").is_floating_point() or not inputs.dim() or not len(inputs):
        raise ValueError(
            f"Expected `inputs` to be a floating batch of images, but got {inputs.dtype} of shape "
            f"{tuple(inputs.shape)}"
        )
    if not inputs.isfinite().all():
        raise ValueError("Expected `inputs` to be finite, but got NaN or infinity; replace them")
    activity: dict[str, Tensor] = {}
    maps: dict[str, Tensor] = {}
    with reader.recording() as recorder:
        target = reader.target((inputs,), recorder)
        for node in reader.circuit.nodes:
            found, dim = reader.activations[node.layer]
            activity[node.name] = node.activity(mean_of_channels(found, dim))
            layout = layout_of(found.dim(), dim)
            if layout is not None and inputs.dim() == 4 and (found.dim() == 4 or dim == 2):
                size = inputs.shape[2], inputs.shape[3]
                maps[node.name] = node.activity(channel_maps(found, layout, size))
        without = {}
        for node in reader.circuit.nodes:
            with reader.off([node], recorder):
                without[node.name] = reader.target((inputs,), recorder)
    return Explanation(target, activity, maps, without)


@torch.no_grad()
def what_if(
    model: nn.Module,
    circuit: Circuit,
    nodes: str | Sequence[str],
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
        nodes (str or sequence of str): Names of the nodes to turn off together: their channels
            stay at their means.
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
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
        >>> node = Node("1", (0, 1), (0.0, 0.0), (1.0, 1.0))
        >>> circuit = Circuit(1, ("1",), (node,), (Edge("1:0,1", "class 1", 1.0),))
        >>> data = TensorDataset(torch.rand(8, 2))
        >>> change = what_if(model, circuit, "1:0,1", data, show_progress=False)
        >>> change.before.shape, change.most_changed(3).shape
        (torch.Size([8]), torch.Size([3]))
    """
    reader = _Reader(model, circuit, channel_dim)
    names = [nodes] if isinstance(nodes, str) else nodes
    instance(names, (list, tuple), "nodes", "names of nodes; `circuit.nodes` have them")
    off = [reader.circuit.node(name) for name in names]
    if not off:
        raise ValueError("Expected `nodes` to name at least one node, but got none")
    shard = Shard(in_order(data), 0, 1)
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    with (
        reader.recording() as recorder,
        tqdm(total=shard.n_items, desc="what if", unit="image", disable=not show_progress) as bar,
    ):
        for batch, places in shard.batches(batch_size, num_workers, device_of(model), 0):
            before = reader.target(batch.tensors, recorder)
            with reader.off(off, recorder):
                rows.append((before, reader.target(batch.tensors, recorder), places))
            bar.update(len(batch))
    if not rows:
        raise ValueError("Expected `data` to hold at least one image, but got none")
    before, after, images = (torch.cat(column) for column in zip(*rows, strict=True))
    return WhatIf(before, after, images)


class _Reader:
    """Reads the layers and the target of a circuit, with some of its nodes off."""

    def __init__(self, model: nn.Module, circuit: Circuit, channel_dim: int | None) -> None:
        self.model = network(model)
        expected = "a circuit; `build_circuit` makes one"
        self.circuit = instance(circuit, Circuit, "circuit", expected)
        self.channel_dim = channel_dim
        own = circuit.target
        behind = [own.layer] if isinstance(own, Channel) else []
        self.layers = [*dict.fromkeys([*circuit.layers, *behind])]
        # What each layer returned, and where its channels lie.
        self.activations: dict[str, tuple[Tensor, int]] = {}

    @contextmanager
    def recording(self) -> Iterator[LayerRecorder]:
        options: dict[str, Any] = {"channel_dim": self.channel_dim, "exits_early": False}
        with LayerRecorder(self.model, self.layers, **options) as recorder:
            yield recorder

    def target(self, inputs: tuple[Tensor, ...], recorder: LayerRecorder) -> Tensor:
        """The target of images, on the CPU, and the layers' activations on the way."""

        def receive(index: int, tensors: tuple[Tensor | None, ...]) -> None:
            found = next(held for held in tensors if held is not None)
            dim = recorder.learned.channel_dim_of(index, found)
            self.activations[self.layers[index]] = found.clone(), dim
            self._refuse_missing(self.layers[index], found.shape[dim])

        output = recorder.record(inputs, (), receive)
        target = self.circuit.target
        if isinstance(target, Channel):
            means = mean_of_channels(*self.activations[target.layer])
            return means[:, target.channel].cpu()
        return value_of(target, output, len(inputs[0])).cpu()

    @contextmanager
    def off(self, nodes: Sequence[Node], recorder: LayerRecorder) -> Iterator[None]:
        """Hold the channels of nodes at their means. The layers must have been read once."""
        channels: dict[str, list[int]] = {node.layer: [] for node in nodes}
        values = {}
        for layer in channels:
            found, dim = self.activations[layer]
            values[layer] = found.new_zeros(found.shape[dim])
        for node in nodes:
            channels[node.layer] += node.channels
            values[node.layer][list(node.channels)] = values[node.layer].new_tensor(node.means)
        dims = recorder.learned.dims
        with silenced(self.model, channels, dims=dims, values=values):
            yield

    def _refuse_missing(self, layer: str, n_channels: int) -> None:
        own = self.circuit.target
        wanted = [*self.circuit.channels.get(layer, ())]
        wanted += [own.channel] if isinstance(own, Channel) and own.layer == layer else []
        if max(wanted) >= n_channels:
            raise ValueError(
                f"Expected a `circuit` of this model, but its channel {max(wanted)} of {layer!r} "
                f"is not among {n_channels}; pass the model that it was built from"
            )
