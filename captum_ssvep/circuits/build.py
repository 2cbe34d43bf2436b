"""Build circuits: core neurons of each layer, their groups, and how these act on each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .._checks import instance, integer, network, shown, warning_once
from .._typing import Layer
from ..model.channels import mean_of_channels
from ..model.recorder import LayerRecorder
from ..scores.batches import Data, as_loader, batches_of, device_of
from ..scores.tally import Moments
from .circuit import Circuit, Node, name_of_target
from .edges import with_edges
from .groups import neuron_groups
from .methods import Method
from .patches import mean_of_image, strongest_patches, validate_for_patches
from .prepared import Baseline, named_layer
from .relevance import CoreNeurons, core_neurons
from .targets import Target, as_targets

# A channel whose standard deviation is a smaller share of its mean does not change but by rounding.
ROUNDING = 1e-5


@overload
def build_circuit(
    model: nn.Module,
    target: list[Any],  # of targets; list[Target] would reject a list[int]
    layers: Sequence[Layer],
    data: Data,
    budget: int = 8,
    *,
    n_groups: int | None = 8,
    method: Method = "ablation",
    baseline: Baseline = "mean",
    n_patches: int = 20,
    scales: Sequence[float] = (1.0, 0.5, 0.25),
    batch_size: int = 100,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> list[Circuit]: ...


@overload
def build_circuit(
    model: nn.Module,
    target: Target,
    layers: Sequence[Layer],
    data: Data,
    budget: int = 8,
    *,
    n_groups: int | None = 8,
    method: Method = "ablation",
    baseline: Baseline = "mean",
    n_patches: int = 20,
    scales: Sequence[float] = (1.0, 0.5, 0.25),
    batch_size: int = 100,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> Circuit: ...


def build_circuit(
    model: nn.Module,
    target: Target | list[Any],
    layers: Sequence[Layer],
    data: Data,
    budget: int = 8,
    *,
    n_groups: int | None = 8,
    method: Method = "ablation",
    baseline: Baseline = "mean",
    n_patches: int = 20,
    scales: Sequence[float] = (1.0, 0.5, 0.25),
    batch_size: int = 100,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> Circuit | list[Circuit]:
    r"""Find which groups of channels work together, layer by layer, towards a target.

    1. In each layer, the channels on which the target depends most (`core_neurons`).
    2. Their groups: channels that act alike on the classes (`neuron_groups` of the layer).
    3. Edges: each group is removed by itself, and the change of each group of the next layer is
       read. With the activity :math:`a` of the child and what the parent loses without it,
       :math:`\Delta b`, the effect is the mean over images of :math:`\Delta b \,
       \operatorname{sign}(a - a_0)`, where :math:`a_0` is the child's activity when it is removed:
       positive where the parent rises with the child. Effects are divided by their absolute sum
       over the children of a parent. For a class, its images and all others count one half each.
    4. The crops that drive each group most, as in `concept_patches`.

    Args:
        model (Module): The model, in eval mode.
        target (int, Channel, tuple, callable or list): A class, a channel of a layer behind, a
            function of the output, as in `core_neurons`; or a list of these. Circuits for several
            targets take little longer than one.
        layers (sequence of Module or str): The layers, or their names, from the input to the
            output.
        data (Dataset or DataLoader): Tensors, or (input, label) pairs, with images of a class and
            others. A loader must not shuffle, unless ``n_patches=0``: patches are known by their
            images' places.
        budget (int, optional): Channels in a layer. Default: 8
        n_groups (int or None, optional): Groups of all channels of a layer, of which the circuit
            has those that hold core neurons; None chooses their number by silhouette, which is
            often one. Default: 8
        method, baseline (optional): As in `core_neurons`. Default: ``"ablation"``, ``"mean"``
        n_patches (int, optional): Crops for each group; 0 for none, as for data that are not
            images. Default: 20
        scales (sequence of float, optional): As in `concept_patches`. Default: (1, 0.5, 0.25)
        batch_size, num_workers, channel_dim, show_progress: As in `core_neurons`.

    Returns:
        Circuit: The circuit; a list of these for a list of targets.

    Raises:
        ValueError: If a layer is not in the model, layers are not in their order, the target does
            not depend on a layer, or the data are empty.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> from torch.utils.data import TensorDataset
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
        >>> data = TensorDataset(torch.rand(20, 4), torch.arange(20) % 3)
        >>> circuit = build_circuit(
        ...     model, 2, ["1"], data, budget=4, n_patches=0, show_progress=False
        ... )
        >>> round(sum(abs(weight) for weight in circuit.incoming("class 2").values()), 6)
        1.0
    """
    network(model)
    targets = as_targets(target)
    names = _layer_names(model, layers)
    budget, n_patches = integer(budget, "budget"), integer(n_patches, "n_patches", at_least=0)
    if n_groups is not None:
        integer(n_groups, "n_groups")
    loader = as_loader(data, batch_size, num_workers)
    with warning_once():
        if n_patches:
            validate_for_patches(data, scales, loader)
        _validate_order(model, names, loader)
        options: dict[str, Any] = {
            "batch_size": batch_size,
            "num_workers": num_workers,
            "channel_dim": channel_dim,
            "show_progress": show_progress,
        }
        drafts = [Circuit(target, names, (), ()) for target in targets]
        moments = channel_moments(model, names, loader, channel_dim)
        for layer in names:
            core = core_neurons(
                model, [*targets], layer, data, method=method, baseline=baseline, **options
            )
            chosen = [_relevant(core, place, budget) for place in range(len(drafts))]
            groups = neuron_groups(model, layer, data, n_groups=n_groups, **options).members
            drafts = [
                replace(draft, nodes=draft.nodes + _nodes(layer, channels, groups, moments[layer]))
                for draft, channels in zip(drafts, chosen, strict=True)
            ]
        drafts = with_edges(model, drafts, loader, baseline, channel_dim, show_progress)
        if n_patches:
            drafts = _with_patches(model, drafts, data, n_patches, scales, options)
    return drafts if isinstance(target, list) else drafts[0]


def _layer_names(model: nn.Module, layers: Any) -> tuple[str, ...]:
    expected = "a sequence of layers, from the input on; `layers_of(model)` names some"
    given = instance(layers, (list, tuple), "layers", expected)
    names = tuple(named_layer(model, layer, "layers") for layer in given)
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"Expected `layers` to name at least one, and each once, but got {shown(layers)}"
        )
    return names


@torch.no_grad()
def _validate_order(model: nn.Module, layers: Sequence[str], loader: DataLoader[Any]) -> None:
    """Refuse layers out of order, from one pass, before anything else takes time."""
    ran: list[str] = []
    # Another pass warns of train mode.
    with LayerRecorder(model, layers, every_call=True, warns_of_train_mode=False) as recorder:
        for batch in islice(batches_of(loader, device_of(model)), 1):
            recorder.record(batch.tensors, (), lambda index, tensors: ran.append(layers[index]))
    in_order = [*dict.fromkeys(ran)]
    if ran and in_order != [*layers]:
        raise ValueError(
            f"Expected `layers` from the input to the output, but got {', '.join(layers)}; they "
            f"run in the order {', '.join(in_order)}"
        )


def _relevant(core: CoreNeurons, place: int, budget: int) -> list[int]:
    """The core neurons of a target; those that change nothing are left out."""
    found = core.top(budget)[place]
    channels: list[int] = found[core.absolute[place, found] > 0].tolist()
    if not channels:
        raise ValueError(
            f"Expected `layers` on which the `target` depends, but {core.layer!r} has no channel "
            f"on which {name_of_target(core.targets[place])} depends; leave it out"
        )
    return channels


@torch.no_grad()
def channel_moments(
    model: nn.Module, layers: Sequence[str], loader: DataLoader[Any], channel_dim: int | None
) -> dict[str, Moments]:
    """Moments of the activations of channels, which are means over positions, by layer."""
    found: dict[str, Moments] = {}

    def receive(index: int, tensors: tuple[Tensor | None, ...]) -> None:
        held = next(given for given in tensors if given is not None)
        dim = recorder.learned.channel_dim_of(index, held)
        added = Moments.of(mean_of_channels(held, dim))
        name = layers[index]
        found[name] = found[name] + added if name in found else added

    with LayerRecorder(model, layers, channel_dim=channel_dim) as recorder:
        for batch in batches_of(loader, device_of(model)):
            recorder.record(batch.tensors, (), receive)
    if not found:
        raise ValueError("Expected `data` to hold at least one image, but got none")
    return found


def _nodes(
    layer: str, chosen: Sequence[int], groups: Sequence[Sequence[int]], moments: Moments
) -> tuple[Node, ...]:
    """The chosen channels as nodes: those of a group together, the strongest first."""
    deviations = (moments.deviations / moments.count).sqrt()
    deviations = torch.where(deviations > ROUNDING * moments.mean.abs(), deviations, 0.0)
    of_channel = {channel: group for group in groups for channel in group}
    members: dict[Any, list[int]] = {}
    for channel in chosen:
        members.setdefault(tuple(of_channel.get(channel, (channel,))), []).append(channel)
    return tuple(
        Node(
            layer,
            tuple(channels),
            tuple(moments.mean[channels].tolist()),
            tuple(deviations[channels].tolist()),
        )
        for channels in members.values()
    )


def _with_patches(
    model: nn.Module,
    drafts: Sequence[Circuit],
    data: Data,
    n_patches: int,
    scales: Sequence[float],
    options: dict[str, Any],
) -> list[Circuit]:
    """The circuits with the crops that drive each node most, from one pass over the data."""
    layers = drafts[0].layers
    nodes = {
        layer: [node for draft in drafts for node in draft.nodes_of(layer)] for layer in layers
    }
    readouts = {layer: [node.readout for node in of_layer] for layer, of_layer in nodes.items()}
    found = strongest_patches(model, readouts, data, n_patches, scales, **options)
    filled: dict[Node, Node] = {}
    for layer, of_layer in nodes.items():
        for node, patches in zip(of_layer, found[layer], strict=True):
            # Activities: 0 is the mean over the data.
            weighted = sum(w * m for w, m in zip(node.readout.values(), node.means, strict=True))
            moved = (p._replace(activation=p.activation - weighted) for p in patches)
            filled[node] = replace(node, patches=tuple(moved))
    circuits = [
        replace(draft, nodes=tuple(filled[node] for node in draft.nodes)) for draft in drafts
    ]
    return [replace(one, image_means=_image_means(one.nodes, data)) for one in circuits]


def _image_means(nodes: Sequence[Node], data: Data) -> tuple[tuple[int, float], ...]:
    """Index and mean pixel of the image of each node's first patch."""
    images = data.dataset if isinstance(data, DataLoader) else data
    places = sorted({node.patches[0].image for node in nodes})
    try:
        return tuple((place, mean_of_image(images, place)) for place in places)
    except (TypeError, ValueError):
        return ()  # items that a loader turns into images
