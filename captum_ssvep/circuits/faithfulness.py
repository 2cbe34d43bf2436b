"""Is a circuit what the network uses? Keep it alone, or take it away, beside random ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .._checks import choice, count, integer, network, shown, warn_user
from ..evaluation.objectives import logits_in
from ..model.silence import silenced
from ..scores.batches import Data, as_loader, batches_of, device_of
from .behind import Behind, behind, value_of
from .prepared import Baseline, Prepared, named_layer, prepared
from .targets import as_targets

Mode = Literal["keep", "mask"]
Channels = dict[str, list[int]]


@dataclass(frozen=True)
class Measured:
    """A share of images for a circuit, and for others of equal size.

    Args:
        value (float): Of the circuit.
        error (float): Standard error of it, from the number of images; see `fidelity`.
        empty (float): Of the circuit without any channel.
        random (tuple[float, ...]): Of each random circuit with as many channels in each layer.
    """

    value: float
    error: float
    empty: float
    random: tuple[float, ...]

    @property
    def random_mean(self) -> float:
        """Mean over the random circuits."""
        return fmean(self.random)

    @property
    def random_spread(self) -> float:
        """Standard deviation over the random circuits."""
        return pstdev(self.random)


@dataclass(frozen=True)
class FidelityRow:
    """The fidelity of a circuit in one layer, or in all.

    Args:
        layers (str): Name of the layer, or ``"all"``.
        mode (str): Whether all other channels are replaced, ``"keep"``, or those of the circuit,
            ``"mask"``.
        raw (Measured): Share of the class's images that are still called the class.
        balanced (Measured): The same minus the share of all other images that are called the class.
    """

    layers: str
    mode: Mode
    raw: Measured
    balanced: Measured


@dataclass(frozen=True, repr=False)
class CircuitFidelity:
    """How well a circuit stands for a network.

    Args:
        target (int): The class.
        baseline (str): What replaced channels.
        n_own (int): Number of images that the network calls the class.
        n_others (int): Number of all others.
        rows (tuple[FidelityRow, ...]): For each layer, then for all together, keep and mask.
    """

    target: int
    baseline: Baseline
    n_own: int
    n_others: int
    rows: tuple[FidelityRow, ...]

    def at(self, layers: str = "all", mode: Mode = "keep") -> FidelityRow:
        """The row of a layer, or of all.

        Args:
            layers (str, optional): Name of a layer, or ``"all"``. With a single layer, both are
                the same. Default: ``"all"``
            mode (str, optional): ``"keep"`` or ``"mask"``. Default: ``"keep"``
        """
        known = [row.layers for row in self.rows]
        choice(layers, "layers", dict.fromkeys([*known, "all"]))
        choice(mode, "mode", ["keep", "mask"])
        wanted = layers if layers in known else known[0]
        return next(row for row in self.rows if (row.layers, row.mode) == (wanted, mode))

    def table(self) -> list[dict[str, Any]]:
        """A record for each row, for ``pandas.DataFrame``."""
        return [
            {"layers": row.layers, "mode": row.mode, "baseline": self.baseline}
            | {
                f"{name}{part}": value
                for name in ("raw", "balanced")
                for part, value in _parts(getattr(row, name)).items()
            }
            for row in self.rows
        ]

    def __repr__(self) -> str:
        images = f"{count(self.n_own, 'image')} of the class, {count(self.n_others, 'other')}"
        return f"CircuitFidelity(target={self.target}, {self.baseline!r}, {images})"


def _parts(measured: Measured) -> dict[str, float]:
    return {
        "": measured.value,
        "_error": measured.error,
        "_empty": measured.empty,
        "_random": measured.random_mean,
        "_random_spread": measured.random_spread,
    }


def fidelity(
    model: nn.Module,
    circuit: Mapping[str, Sequence[int]] | Any,
    data: Data,
    target: int | None = None,
    *,
    baseline: Baseline = "mean",
    n_random: int = 20,
    seed: int = 0,
    batch_size: int = 64,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> CircuitFidelity:
    r"""Whether a circuit does in a network what the network does for a class.

    The images of the class are those that the whole network calls it, whatever their labels. Of
    these, the raw measure counts how many are still called the class if only the circuit is kept,
    or if it is masked. A network that calls *everything* the class keeps all of them, and so may
    the empty circuit. The balanced measure therefore subtracts the share of all other images that
    are called the class: it is 1 for the whole network, and 0 for one that does not look.

    The standard error of a share of k among n images is

    .. math:: \sqrt{p (1 - p) / (n + 2)}, \quad p = (k + 1/2) / (n + 1)

    the standard deviation of what is known of the share when nothing was known before: a beta
    distribution from Jeffreys' prior. Unlike that of p = k / n, it is not 0 where no image or all
    of a few are called the class. (Brown, Cai and DasGupta, Interval estimation for a binomial
    proportion, Statistical Science 16, 2001.) Errors of the two shares of the balanced measure add
    as squares.

    Args:
        model (Module): A classifier, in eval mode.
        circuit (mapping or object): For the name of each layer its channels, as `keep_only` takes
            them; or an object with such ``channels``.
        data (Dataset or DataLoader): Images that no score was computed from, of the class and
            others. Gone through twice with ``baseline="mean"``.
        target (int, optional): The class. Default: ``circuit.target``
        baseline (str, optional): What replaces a channel: its ``"mean"`` over these data, or
            ``"zero"``. Default: ``"mean"``
        n_random (int, optional): Number of random circuits. Default: 20
        seed (int, optional): Seed of these. Default: 0
        batch_size, num_workers, channel_dim, show_progress: As in `core_neurons`.

    Returns:
        CircuitFidelity: For each layer alone and for all together.

    Raises:
        ValueError: If a layer is not in the model or lacks a channel, or the network calls no image
            the class.
        TypeError: If the circuit is no mapping from names to channels, or an argument of the wrong
            type.

    Examples::

        >>> from torch.utils.data import TensorDataset
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)).eval()
        >>> for layer in (model[0], model[2]):
        ...     _ = nn.init.eye_(layer.weight), nn.init.zeros_(layer.bias)
        >>> data = TensorDataset(torch.eye(3))
        >>> circuit = {"1": [0, 1]}
        >>> found = fidelity(model, circuit, data, 1, baseline="zero", show_progress=False)
        >>> found.at("1", "keep").raw.value, found.at("1", "mask").raw.value
        (1.0, 0.0)
    """
    network(model)
    kept, target = _as_channels(circuit), _class_of(circuit, target)
    for layer in kept:
        named_layer(model, layer, "circuit")
    n_random = integer(n_random, "n_random")
    generator = torch.Generator().manual_seed(integer(seed, "seed", at_least=0))
    loader = as_loader(data, batch_size, num_workers)
    with prepared(model, [*kept], loader, baseline, channel_dim) as known:
        _validate_channels(kept, known)
        tried: list[Channels] = [kept, {layer: [] for layer in kept}]
        tried += [_random_like(kept, known, generator) for _ in range(n_random)]
        counts = _counts(model, target, tried, loader, known, show_progress)
    return _result(target, baseline, [*kept], counts)


def _as_channels(circuit: Any) -> Channels:
    """The channels of each layer of a circuit."""
    channels = getattr(circuit, "channels", circuit)
    if not isinstance(channels, Mapping) or not all(isinstance(k, str) for k in channels):
        raise TypeError(
            "Expected `circuit` to be a mapping from names of layers to channels, as "
            f"{{'layer3': [0, 5]}}, but got {shown(circuit)}"
        )
    if not channels:
        raise ValueError("Expected `circuit` to hold at least one layer, but got none")
    found = {}
    for layer, items in channels.items():
        listed = items.tolist() if isinstance(items, Tensor) else items
        listed = [listed] if isinstance(listed, int) else listed
        if not isinstance(listed, (list, tuple, range, set, frozenset)):
            raise TypeError(
                f"Expected channels of `circuit` to be a list of indices, but got {shown(items)}"
            )
        found[layer] = sorted({integer(c, "circuit", at_least=0) for c in listed})
    return found


def _class_of(circuit: Any, target: Any) -> int:
    target = getattr(circuit, "target", None) if target is None else target
    (found, *others) = as_targets(target)
    if others or not isinstance(found, int):
        raise TypeError(
            f"Expected `target` to be a class, but got {shown(target)}; `node_fidelity` is for "
            "channels and functions"
        )
    return found


def _validate_channels(kept: Channels, known: Prepared) -> None:
    for layer, channels in kept.items():
        if channels and channels[-1] >= known.n_channels[layer]:
            raise ValueError(
                f"Expected channels of `circuit` in {layer!r} to be 0 to "
                f"{known.n_channels[layer] - 1}, but got {channels[-1]}"
            )


def _random_like(kept: Channels, known: Prepared, generator: torch.Generator) -> Channels:
    """As many random channels in each layer."""
    return {
        layer: torch.randperm(known.n_channels[layer], generator=generator)[: len(c)].tolist()
        for layer, c in kept.items()
    }


class _Key(NamedTuple):
    layers: str
    mode: Mode


class _Counts:
    """How many images are called the class: own ones and others, by row and by circuit."""

    def __init__(self) -> None:
        self.n = torch.zeros(2)
        self.called: dict[_Key, list[Tensor]] = {}

    def add(self, key: _Key, place: int, is_called: Tensor, is_own: Tensor) -> None:
        """Add the images of a batch."""
        found = torch.stack([(is_called & is_own).sum(), (is_called & ~is_own).sum()]).cpu()
        circuits = self.called.setdefault(key, [])
        if place == len(circuits):
            circuits.append(torch.zeros(2))
        circuits[place] += found


@torch.no_grad()
def _counts(
    model: nn.Module,
    target: int,
    tried: list[Channels],
    loader: DataLoader[Any],
    known: Prepared,
    show_progress: bool,
) -> _Counts:
    """Go through the data once, with every circuit in every layer and in all."""

    def is_called(output: Any) -> Tensor:
        value_of(target, output, len(logits_in(output)))  # for what it says of other outputs
        called: Tensor = logits_in(output).argmax(1) == target
        return called

    counts, layers = _Counts(), [*tried[0]]
    first: str | None = None
    for batch in tqdm(
        batches_of(loader, device_of(model)), desc="fidelity", disable=not show_progress
    ):
        for layer in layers:
            with behind(model, layer, [is_called], batch, known.dims) as segment:
                is_own = segment.values()[:, 0] > 0
                if layer == layers[0]:
                    counts.n += torch.stack([is_own.sum(), (~is_own).sum()]).cpu()
                in_front = [name for name in layers if _is_in_front(segment, name)]
                first = layer if first is None and not in_front else first
                _count(counts, layer, segment, tried, known, is_own, [layer])
                if layer == first and len(layers) > 1:
                    _count(counts, "all", segment, tried, known, is_own, layers)
    return counts


def _is_in_front(segment: Behind, layer: str) -> bool:
    return segment.model.get_submodule(layer) in segment.front.finished


def _count(
    counts: _Counts,
    name: str,
    segment: Behind,
    tried: list[Channels],
    known: Prepared,
    is_own: Tensor,
    layers: list[str],
) -> None:
    """Keep and mask every circuit in some layers, of which the segment begins with one."""
    begin = segment.layers[0]
    values = {layer: f for layer, f in known.fill.items() if f is not None} or None
    for keep in (True, False):
        for place, channels in enumerate(tried):
            others = {layer: channels[layer] for layer in layers if layer != begin}
            replaced = silenced(segment.model, others, keep=keep, dims=known.dims, values=values)
            with replaced if others else nullcontext():
                called = segment.values(removed=channels[begin], fill=known.fill[begin], keep=keep)
            key = _Key(name, "keep" if keep else "mask")
            counts.add(key, place, called[:, 0] > 0, is_own)


def _result(target: int, baseline: Baseline, layers: list[str], counts: _Counts) -> CircuitFidelity:
    n_own, n_others = (int(n) for n in counts.n)
    if not n_own:
        raise ValueError(
            f"Expected `data` with images that the network calls class {target}, the `target`, but "
            "it calls none so"
        )
    if not n_others:
        warn_user(
            f"The network calls all images class {target}: with no others to be taken for it, "
            "balanced fidelity is the raw one"
        )
    rows = [
        _row(name, mode, counts.called[_Key(name, mode)], n_own, n_others)
        for name in (*layers, *["all"] * (len(layers) > 1))
        for mode in _MODES
    ]
    return CircuitFidelity(target, baseline, n_own, n_others, tuple(rows))


_MODES: tuple[Mode, ...] = ("keep", "mask")


def _squared_error(n_called: float, n_images: int) -> float:
    """Of a share: the variance of its beta distribution, from Jeffreys' prior."""
    share = (n_called + 0.5) / (n_images + 1)
    return share * (1 - share) / (n_images + 2)


def _row(layers: str, mode: Mode, called: list[Tensor], n_own: int, n_others: int) -> FidelityRow:
    own = [float(c[0]) / n_own for c in called]
    others = [float(c[1]) / max(n_others, 1) for c in called]
    balanced = [one - other for one, other in zip(own, others, strict=True)]
    variance = _squared_error(float(called[0][0]), n_own)
    of_others = _squared_error(float(called[0][1]), n_others) if n_others else 0.0
    return FidelityRow(
        layers,
        mode,
        Measured(own[0], variance**0.5, own[1], tuple(own[2:])),
        Measured(balanced[0], (variance + of_others) ** 0.5, balanced[1], tuple(balanced[2:])),
    )
