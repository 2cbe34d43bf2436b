"""Core neurons: the channels of a layer on which targets depend."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .._checks import count, integer, network, number, warn_user
from .._typing import Layer
from ..scores.batches import Batch, Data, as_loader, batches_of, device_of
from .methods import Method, relevance, validate_method
from .prepared import Baseline, named_layer, prepared
from .targets import ParsedTarget, Target, as_targets


@dataclass(frozen=True, eq=False, repr=False)
class CoreNeurons:
    """How relevant the channels of a layer are to some targets.

    Args:
        layer (str): Name of the layer.
        targets (tuple): The targets; channels as `Channel`.
        signed (Tensor): Mean relevance over images, shape ``(targets, channels)``: positive where
            a channel supports a target.
        absolute (Tensor): Mean of the absolute relevance of the images, which ranks channels, shape
            ``(targets, channels)``: effects of both signs do not cancel.
    """

    layer: str
    targets: tuple[ParsedTarget, ...]
    signed: Tensor
    absolute: Tensor

    @property
    def n_channels(self) -> int:
        """How many channels the layer has."""
        return self.absolute.shape[1]

    def top(self, n: int = 16, *, fraction: float | None = None) -> Tensor:
        """The most relevant channels of each target, most relevant first.

        Args:
            n (int, optional): How many; all if the layer has fewer. Default: 16
            fraction (float, optional): Share of the layer's channels instead of a number, rounded
                up. Default: None

        Returns:
            Tensor: Indices, shape ``(targets, n)``.

        Raises:
            ValueError, TypeError: If the number or share does not fit.

        Examples::

            >>> relevance = torch.tensor([[0.1, -2.0, 1.0]])
            >>> core = CoreNeurons("conv1", (0,), relevance, relevance.abs())
            >>> core.top(2)
            tensor([[1, 2]])
        """
        n = integer(n, "n")
        if fraction is not None:
            n = math.ceil(number(fraction, "fraction", 0, 1) * self.n_channels)
        return self.absolute.argsort(dim=1, descending=True, stable=True)[:, :n]

    def __repr__(self) -> str:
        sizes = f"{count(len(self.targets), 'target')}, {count(self.n_channels, 'channel')}"
        return f"CoreNeurons({self.layer!r}, {sizes})"


def core_neurons(
    model: nn.Module,
    target: Target | list[Target],
    layer: Layer,
    data: Data,
    *,
    method: Method = "ablation",
    baseline: Baseline = "mean",
    batch_size: int = 64,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> CoreNeurons:
    """Find the channels of a layer on which targets depend.

    With ablation, the network up to the layer runs once, the rest once for each channel, whatever
    the number of targets. If the data have labels, images of a class and all others together each
    make up half of its relevance, so mix both: what a class needs not to be taken for another is
    seen on its own images, what keeps others from being taken for it on theirs. Without labels, and
    for other targets, all images count the same.

    A layer method of Captum is given as its class, or as a function that makes it from a forward
    function and the layer (those of DeepLift for classes and functions alone). Methods that take
    ``internal_batch_size``, as ``LayerConductance``, run two of their steps at a time, so that they
    need the memory of two batches, not of 50; others may need a lower ``batch_size``. A subclass
    fixes further arguments::

        class Conductance(LayerConductance):
            def attribute(self, inputs, internal_batch_size=None):
                return super().attribute(
                    inputs, n_steps=20, internal_batch_size=internal_batch_size
                )

        core = core_neurons(model, 3, "layer3", data, method=Conductance)

    Args:
        model (Module): The model, in eval mode.
        target (int, Channel, tuple, callable or list): A class, read by its margin (the log-odds);
            a channel of a layer behind, as ``("layer3", 5)``, read by its mean over positions, not
            where it is strongest; a function of what the model returns that gives one number per
            image; or several of these.
        layer (Module or str): The layer, or its name.
        data (Dataset or DataLoader): Tensors, or (input, label) pairs. Gone through twice with
            ``baseline="mean"``.
        method (str or callable, optional): One of these, or a layer method of Captum, see above.
            Default: ``"ablation"``

            - ``"ablation"``: What the target loses without the channel. One pass through what lies
              behind the layer for each channel. Take it for the final list.
            - ``"activation_gradient"``: A first-order estimate of that, from one pass forward and
              one backward for each target, whatever the width. Take it to look around in wide
              layers.
            - ``"ig"``: Integrated gradients from the baseline, in 8 steps of that cost.
            - ``"tagged"``: Activation x gradient while the halves of the image flicker, hundreds of
              passes for each target. Its absolute relevance is the energy of intermodulations, that
              is, how much the target needs the channel to combine the halves.
        baseline (str, optional): What replaces a channel: its ``"mean"`` over data and positions,
            or ``"zero"``, as in `ablated`. ``"tagged"`` and methods of Captum, as
            ``LayerGradientXActivation`` and ``LayerConductance``, measure against zero instead.
            Default: ``"mean"``
        batch_size (int, optional): Images in a batch of a Dataset. Default: 64
        num_workers (int, optional): Processes that load the images of a Dataset. Default: 0
        channel_dim (int, optional): Channel dimension of the layers, if the modules of the network
            do not determine it. Default: None
        show_progress (bool, optional): Progress bar over batches. Default: True

    Returns:
        CoreNeurons: Relevance of every channel to every target.

    Raises:
        ValueError: If a layer is not in the model, a target does not lie behind it or does not
            exist, the data are empty, or relevance is not finite.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> from torch.utils.data import TensorDataset
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> data = TensorDataset(torch.rand(8, 4), torch.tensor([0, 1] * 4))
        >>> core = core_neurons(model, [0, 1, ("2", 1)], "1", data, show_progress=False)
        >>> core.signed.shape, core.top(2).shape
        (torch.Size([3, 3]), torch.Size([3, 2]))
    """
    network(model)
    targets = as_targets(target)
    layer = named_layer(model, layer)
    validate_method(method)
    loader = as_loader(data, batch_size, num_workers)
    sums = ClassSums(targets)
    with prepared(model, [layer], loader, baseline, channel_dim) as known:
        for batch in tqdm(
            batches_of(loader, device_of(model)), desc="core neurons", disable=not show_progress
        ):
            found = relevance(model, layer, targets, batch, known, method)
            sums.add(found, batch)
    return CoreNeurons(layer, targets, *sums.mean())


class ClassSums:
    """Sums over images, those of a class and all others apart.

    Args:
        targets: The targets, on dimension 2 of what is added.
    """

    def __init__(self, targets: tuple[ParsedTarget, ...]) -> None:
        self.targets = targets
        self.sums: Tensor | None = None  # (of the class or not, readings, targets, channels)
        self.n_images = torch.zeros(2, len(targets), dtype=torch.float64)
        self.is_labeled = False

    def add(self, values: Tensor, batch: Batch) -> None:
        """Add values of shape ``(readings, N, targets, *what)``."""
        is_own = torch.ones(len(batch), len(self.targets), dtype=torch.bool)
        classes = [place for place, target in enumerate(self.targets) if isinstance(target, int)]
        if batch.labels is not None and classes:
            self.is_labeled = True
            labels = batch.required_classes("a class as target").cpu()
            of_target = torch.tensor([self.targets[place] for place in classes])
            is_own[:, classes] = labels[:, None] == of_target
        shares = torch.stack([is_own, ~is_own]).double()
        self.n_images += shares.sum(1)
        added = torch.einsum("gnt,rnt...->grt...", shares, values.detach().cpu().double())
        self.sums = added if self.sums is None else self.sums + added

    def mean(self, warns: bool = True) -> Tensor:
        """Half of each class's own images and half of the others, ``(readings, targets, *what)``.

        Where there are only images of one kind, their mean, and a warning says so.

        Args:
            warns: Whether to warn; not where it has been said of the same data. Default: True
        """
        if self.sums is None:
            raise ValueError("Expected `data` to hold at least one image, but got none")
        classes = [place for place, target in enumerate(self.targets) if isinstance(target, int)]
        missing = [self.targets[p] for p in classes if (self.n_images[:, p] == 0).any()]
        if warns and self.is_labeled and missing:
            warn_user(
                "Relevance to a class should be seen on its images and on others, but the data do "
                f"not hold both for class {', '.join(map(str, dict.fromkeys(missing)))}; mix them"
            )
        shape = [2, 1, len(self.targets), *[1] * (self.sums.dim() - 3)]
        means = self.sums / self.n_images.clamp(min=1).view(shape)
        if not means.isfinite().all():
            raise ValueError(
                "Expected `data` for which relevance is finite, but it holds NaN or infinity; "
                "leave out the images that cause them"
            )
        n_kinds = (self.n_images > 0).sum(0).clamp(min=1)
        return (means.sum(0) / n_kinds.view(shape[1:])).float()
