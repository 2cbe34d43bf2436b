"""A circuit: groups of channels, layer by layer, and how each acts on those of the next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._checks import choice, count, file_path, instance, shown
from ..model.channels import widened
from .patches import Patch
from .targets import Channel, ParsedTarget, as_targets

if TYPE_CHECKING:
    import networkx

FORMAT = "captum_ssvep circuit 1"


@dataclass(frozen=True)
class Node:
    """A group of channels of a layer that act together.

    Its *activity* for an image is the mean over its channels of
    ``(activation - mean) / scale``, where a channel's activation is its mean over positions.

    Args:
        layer (str): Name of the layer.
        channels (tuple[int, ...]): The channels, strongest first.
        means (tuple[float, ...]): Mean activation of each channel over a data set.
        scales (tuple[float, ...]): Its standard deviation; 0 for a channel that never changes,
            which does not count.
        patches (tuple[Patch, ...], optional): The crops that drive the group most.
        label (str, optional): What the group stands for. Default: ``""``
    """

    layer: str
    channels: tuple[int, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    patches: tuple[Patch, ...] = ()
    label: str = ""

    @property
    def name(self) -> str:
        """The name of the node, made of its layer and channels."""
        return f"{self.layer}:{','.join(map(str, self.channels))}"

    @property
    def readout(self) -> dict[int, float]:
        """Weights of the channels' activations in the activity, up to a constant."""
        live = [scale for scale in self.scales if scale > 0]
        return {
            channel: 1 / scale / len(live) if scale > 0 else 0.0
            for channel, scale in zip(self.channels, self.scales, strict=True)
        }

    def activity(self, activations: Tensor) -> Tensor:
        """The activity, from the activations of all channels of the layer.

        Args:
            activations (Tensor): Shape ``(N, channels, ...)``.

        Returns:
            Tensor: Shape ``(N, ...)``.
        """
        channels, activations = list(self.readout), widened(activations)
        shape = [-1] + [1] * (activations.dim() - 2)
        weights = activations.new_tensor(list(self.readout.values())).reshape(shape)
        means = activations.new_tensor(self.means).reshape(shape)
        return ((activations[:, channels] - means) * weights).sum(1)


@dataclass(frozen=True)
class Edge:
    """How a node acts on a node of the next layer, or on the target.

    Args:
        source (str): Name of the node.
        target (str): Name of the node that it acts on, or `Circuit.target_name`.
        weight (float): Positive if the target rises with the source. The weights into a target sum
            to 1 in absolute value.
    """

    source: str
    target: str
    weight: float


@dataclass(frozen=True)
class Circuit:
    """Groups of channels that work together towards a target, from `build_circuit`.

    Args:
        target (int, Channel or callable): What the circuit explains.
        layers (tuple[str, ...]): The layers, from the input to the target.
        nodes (tuple[Node, ...]): The groups of channels, layer by layer.
        edges (tuple[Edge, ...]): How they act on those of the next layer, and the last on the
            target.
        image_means (tuple[tuple[int, float], ...], optional): Index and mean pixel of the image of
            each node's first patch. By these `label_nodes` and `plot_circuit` notice other images.
            Default: none

    Examples::

        >>> nodes = [Node("0", (2, 5), (0.1, 0.2), (1.0, 1.0)), Node("3", (1,), (0.0,), (1.0,))]
        >>> edges = [Edge("0:2,5", "3:1", 1.0), Edge("3:1", "class 7", -1.0)]
        >>> circuit = Circuit(7, ("0", "3"), tuple(nodes), tuple(edges))
        >>> circuit
        Circuit(class 7, 2 layers, 2 nodes, 3 channels, 2 edges)
        >>> circuit.channels
        {'0': (2, 5), '3': (1,)}
        >>> Circuit.from_dict(circuit.to_dict()) == circuit
        True
    """

    target: ParsedTarget
    layers: tuple[str, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    image_means: tuple[tuple[int, float], ...] = ()

    @property
    def target_name(self) -> str:
        """What edges call the target."""
        return name_of_target(self.target)

    @property
    def channels(self) -> dict[str, tuple[int, ...]]:
        """The channels of each layer in rising order, as `keep_only` takes them."""
        return {
            layer: tuple(sorted(c for node in self.nodes_of(layer) for c in node.channels))
            for layer in self.layers
        }

    def nodes_of(self, layer: str) -> list[Node]:
        """The nodes of a layer.

        Raises:
            ValueError: If the circuit has no such layer.
        """
        choice(layer, "layer", self.layers)
        return [node for node in self.nodes if node.layer == layer]

    def node(self, name: str | Node) -> Node:
        """A node by its name, or by a node of that name.

        Raises:
            ValueError: If there is none.
        """
        nodes = {node.name: node for node in self.nodes}
        name = name.name if isinstance(name, Node) else name
        if not isinstance(name, str) or name not in nodes:
            raise ValueError(
                f"Expected the name of a node of the circuit, one of {', '.join(nodes)}, but got "
                f"{shown(name)}"
            )
        return nodes[name]

    def incoming(self, name: str | Node) -> dict[str, float]:
        """The weights of the edges into a node or the target, by the name of their source.

        Args:
            name (str or Node): The node, or its name, or `target_name`.

        Raises:
            ValueError: If there is no such node.
        """
        if not isinstance(name, str) or name != self.target_name:
            name = self.node(name).name
        return {edge.source: edge.weight for edge in self.edges if edge.target == name}

    def labeled(self, labels: Mapping[str, str]) -> Circuit:
        """The circuit with labels on its nodes.

        Args:
            labels (mapping): The labels, by the names of nodes. Other nodes keep theirs.

        Raises:
            ValueError: If there is no such node.
            TypeError: If the labels are not a mapping to texts.
        """
        instance(labels, Mapping, "labels", "a mapping from the names of nodes to texts")
        names = [node.name for node in self.nodes]
        for name, label in labels.items():
            instance(label, str, "labels", "a mapping from the names of nodes to texts")
            if name not in names:
                raise ValueError(
                    f"Expected `labels` of the nodes {', '.join(names)}, but got {shown(name)}"
                )
        nodes = (replace(node, label=labels.get(node.name, node.label)) for node in self.nodes)
        return replace(self, nodes=tuple(nodes))

    def to_dict(self) -> dict[str, Any]:
        """The circuit as plain lists, numbers and texts, for JSON.

        Raises:
            ValueError: If the target is a function.
        """
        if callable(self.target):
            raise ValueError(
                "Expected `target` to be a class or a channel, which can be written, but got a "
                "function; set it with `dataclasses.replace(circuit, target=0)`"
            )
        target = self.target if isinstance(self.target, int) else _pair(self.target)
        return {
            "format": FORMAT,
            "target": target,
            "layers": list(self.layers),
            "nodes": [
                {
                    "layer": node.layer,
                    "channels": list(node.channels),
                    "means": list(node.means),
                    "scales": list(node.scales),
                    "patches": [[p.image, list(p.box), p.activation] for p in node.patches],
                    "label": node.label,
                }
                for node in self.nodes
            ],
            "edges": [[edge.source, edge.target, edge.weight] for edge in self.edges],
            "image_means": [[place, mean] for place, mean in self.image_means],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Circuit:
        """A circuit from what `to_dict` gave.

        Raises:
            ValueError, TypeError: If the values are something else.
        """
        instance(values, Mapping, "values", "a dictionary; `to_dict` gives one")
        if values.get("format") != FORMAT:
            raise ValueError(
                f"Expected `values` with the format {FORMAT!r}, but got "
                f"{shown(values.get('format'))}; `Circuit.to_dict` gives them"
            )
        try:
            target = values["target"]
            (parsed,) = as_targets(tuple(target) if isinstance(target, list) else target)
            nodes = tuple(map(_node_of, values["nodes"]))
            edges = tuple(Edge(*edge) for edge in values["edges"])
            image_means = tuple((place, mean) for place, mean in values.get("image_means", ()))
            return cls(parsed, tuple(values["layers"]), nodes, edges, image_means)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"Expected `values` that `Circuit.to_dict` gave, but they lack or changed "
                f"something ({type(error).__name__}: {error}); build the circuit again"
            ) from error

    def save(self, path: str | Path) -> None:
        """Write the circuit to a JSON file."""
        text = json.dumps(self.to_dict(), indent=1)
        file_path(path).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Circuit:
        """Read a circuit from a file that `save` wrote.

        Raises:
            ValueError: If the file holds something else.
        """
        try:
            values = json.loads(file_path(path).read_text(encoding="utf-8"))
        except ValueError:
            raise ValueError(
                f"Expected `path` of a file that `Circuit.save` wrote, but {shown(str(path))} is "
                "not JSON"
            ) from None
        return cls.from_dict(values)

    def to_networkx(self) -> networkx.DiGraph[str]:
        """The circuit as a directed graph of NetworkX, which PyTorch brings.

        Nodes have the attributes ``layer``, ``channels`` and ``label``, edges ``weight``. The
        layer of the target is ``"target"``. Weights are signed, and many algorithms take none below
        zero: pass them absolute values, as for PageRank, or lengths made of these, as for shortest
        paths.
        """
        import networkx

        graph: networkx.DiGraph[str] = networkx.DiGraph()
        for node in self.nodes:
            graph.add_node(node.name, layer=node.layer, channels=node.channels, label=node.label)
        graph.add_node(self.target_name, layer="target", channels=(), label="")
        graph.add_weighted_edges_from((e.source, e.target, e.weight) for e in self.edges)
        return graph

    def __repr__(self) -> str:
        n_channels = sum(len(node.channels) for node in self.nodes)
        sizes = {
            "layer": len(self.layers),
            "node": len(self.nodes),
            "channel": n_channels,
            "edge": len(self.edges),
        }
        return f"Circuit({self.target_name}, " + (
            ", ".join(count(n, noun) for noun, n in sizes.items()) + ")"
        )


def name_of_target(target: ParsedTarget) -> str:
    """What edges and pictures call a target.

    Examples::

        >>> name_of_target(7), name_of_target(Channel("layer3", 12))
        ('class 7', 'layer3:12')
    """
    if isinstance(target, int):
        return f"class {target}"
    if isinstance(target, Channel):
        return f"{target.layer}:{target.channel}"
    return "target"


def _node_of(values: Mapping[str, Any]) -> Node:
    """A node from what `Circuit.to_dict` gave for it."""
    return Node(
        values["layer"],
        tuple(values["channels"]),
        tuple(values["means"]),
        tuple(values["scales"]),
        tuple(Patch(image, (*box,), value) for image, box, value in values["patches"]),
        values["label"],
    )


def _pair(target: Any) -> list[Any]:
    return [target.layer, target.channel]


def normalized(effects: Tensor) -> Tensor:
    """Effects on each target as weights that sum to 1 in absolute value.

    Args:
        effects (Tensor): Shape ``(targets, sources)``, in any unit.

    Returns:
        Tensor: Weights; all zero for a target on which nothing acts.

    Examples::

        >>> normalized(torch.tensor([[3.0, -1.0], [0.0, 0.0]]))
        tensor([[ 0.7500, -0.2500],
                [ 0.0000,  0.0000]])
    """
    total = effects.abs().sum(1, keepdim=True)
    return torch.where(total > 0, effects / total, 0.0)
