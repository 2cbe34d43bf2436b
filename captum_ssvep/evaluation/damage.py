"""Judge scores of filters by what happens to a network without them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .._checks import choice, count, integer, network, shown, warn_user
from .._typing import Baselines, FeatureMask
from ..design import TaggingDesign
from ..model.channels import ChannelDims, channel_dims
from ..model.layers import resolve_layer
from ..model.replay import replayed
from ..model.silence import silenced
from ..model.untouched import undisturbed
from ..scores.batches import Batch, Data, as_loader, batches_of, device_of
from ..stimulus.frames import Stimulus
from .agreement import RankAgreement, rank_agreement
from .objectives import Objective, loss, margin

DamageReading = Literal["signed", "absolute", "mean_absolute"]
READINGS: tuple[DamageReading, ...] = get_args(DamageReading)


@dataclass(frozen=True, eq=False, repr=False)
class FilterDamage:
    """How an objective changes when each filter is silenced, image by image.

    Args:
        changes (dict[str, Tensor]): For each layer, shape ``(images, filters)``.
    """

    changes: dict[str, Tensor]

    @property
    def signed(self) -> dict[str, Tensor]:
        """Mean change over images, shape ``(filters,)``, which is the effect on the whole set."""
        return {layer: change.mean(0) for layer, change in self.changes.items()}

    @property
    def absolute(self) -> dict[str, Tensor]:
        """Absolute value of `signed`, the oracle of Molchanov et al. (2017); images may cancel."""
        return {layer: change.abs() for layer, change in self.signed.items()}

    @property
    def mean_absolute(self) -> dict[str, Tensor]:
        """Mean of the absolute changes of the images, which do not cancel."""
        return {layer: change.abs().mean(0) for layer, change in self.changes.items()}

    def reliability(
        self, read: DamageReading = "mean_absolute", n_splits: int = 10, seed: int = 0
    ) -> RankAgreement:
        r"""How well these images determine the order of the filters.

        Spearman correlation :math:`r` between random halves of the images, averaged over splits and
        extrapolated to all images, :math:`2 r / (1 + r)` (Spearman and Brown). Even a perfect score
        is not expected to agree with the damage better than the square root of the reliability. The
        formula does not hold for an :math:`r` of zero or less: then the order is not determined at
        all, and the reliability is :math:`r`.

        Args:
            read (str, optional): The property to correlate: ``"signed"``, ``"absolute"`` or
                ``"mean_absolute"``. Default: ``"mean_absolute"``
            n_splits (int, optional): Number of random splits. Default: 10
            seed (int, optional): Seed of the splits. Default: 0

        Raises:
            ValueError: If there is only one image, or the property is unknown.
        """
        choice(read, "read", READINGS)
        n_images = len(next(iter(self.changes.values())))
        if n_images < 2:
            raise ValueError(f"Expected at least 2 images to split, but got {n_images}")
        generator = torch.Generator().manual_seed(integer(seed, "seed", at_least=0))
        found = []
        for _ in range(integer(n_splits, "n_splits")):
            order = torch.randperm(n_images, generator=generator)
            halves = (
                FilterDamage({layer: c[half] for layer, c in self.changes.items()})
                for half in order.tensor_split(2)
            )
            found.append(rank_agreement(*(getattr(half, read) for half in halves)))

        def stepped_up(values: Sequence[float]) -> float:
            r = float(np.mean(values))
            return 2 * r / (1 + r) if r > 0 else r

        by_layer = {
            layer: stepped_up([agreement.by_layer[layer] for agreement in found])
            for layer in self.changes
        }
        return RankAgreement(by_layer, stepped_up([agreement.overall for agreement in found]))

    def __repr__(self) -> str:
        n_images = len(next(iter(self.changes.values())))
        n_filters = sum(change.shape[1] for change in self.changes.values())
        sizes = {"filter": n_filters, "layer": len(self.changes), "image": n_images}
        return f"FilterDamage({', '.join(count(n, noun) for noun, n in sizes.items())})"


def ablation_damage(
    model: nn.Module,
    data: Data,
    layers: Sequence[str],
    *,
    objective: Objective = loss,
    batch_size: int = 100,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> FilterDamage:
    """Silence one filter at a time and measure how the loss changes.

    The network up to a layer runs once for all filters of the layer, the rest once for each filter.
    Where the change is positive, the loss rises without the filter: the filter is useful.

    Args:
        model (Module): A classifier, in eval mode.
        data (Dataset or DataLoader): (input, label) pairs.
        layers (sequence of str): Names of the layers whose filters to silence, as `ablated` does.
            If a BatchNorm follows a convolution, name either. You can also name the ReLU, or the
            BatchNorm that ends a branch, whose output is what the filter passes on. A module that
            is called several times, such as the ReLUs of torchvision's ResNets, is silenced in
            every call, while scores are those of its last call.
        objective (callable, optional): Takes outputs and labels and returns one number per image.
            Losses of ``torch.nn`` need ``reduction="none"``; booleans (is the class right?) count
            as 1 and 0. It gets what the model returns; `loss` and `margin` understand logits and
            objects with ``logits``. Default: `loss`
        batch_size (int, optional): Images in a batch of a Dataset. Default: 100
        num_workers (int, optional): Processes that load the images of a Dataset. Default: 0
        channel_dim (int, optional): Dimension of the filters in the layers' outputs, if the modules
            of the network do not determine it. Default: None
        show_progress (bool, optional): Progress bar over batches and layers. Default: True

    Returns:
        FilterDamage: Changes of the objective.

    Raises:
        ValueError: If a layer is not in the model or not called, the data have no labels, or the
            objective does not return one number per image.
        TypeError: If the layers are not given by name, or another argument is of the wrong type.

    Examples::

        >>> from torch.utils.data import TensorDataset
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> data = TensorDataset(torch.rand(8, 4), torch.tensor([0, 1] * 4))
        >>> damage = ablation_damage(model, data, ["1"], show_progress=False)
        >>> damage.changes["1"].shape, damage.signed["1"].shape
        (torch.Size([8, 3]), torch.Size([3]))
    """

    def show(batch: Batch) -> tuple[Tensor, ...]:
        return batch.tensors

    loader = as_loader(data, batch_size, num_workers)
    return _damage(model, loader, layers, objective, show, [1.0], channel_dim, show_progress)


def interaction_damage(
    model: nn.Module,
    data: Data,
    layers: Sequence[str],
    *,
    feature_mask: FeatureMask = None,
    baselines: Baselines = None,
    contrast: tuple[float, float] = (0.5, 1.0),
    objective: Objective = margin,
    batch_size: int = 100,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> FilterDamage:
    r"""How much each filter makes two parts act together: a 2 x 2 x 2 ablation.

    Let :math:`D(S)` be the change of the objective when the filter is silenced while the parts in S
    are shown at high contrast and the others at low contrast. The interaction

    .. math:: D(\{0, 1\}) - D(\{0\}) - D(\{1\}) + D(\emptyset)

    is zero if the effects of the parts through the filter add up. It uses no tagging, so it can
    judge scores that claim to show which filters combine the parts.

    Args:
        model, data, layers: As in `ablation_damage`.
        feature_mask (Tensor or tuple[Tensor, ...], optional): Parts 0 and 1, and -1 for elements
            that stay at full contrast. Default: left and right half.
        baselines (scalar, Tensor or tuple, optional): What zero contrast looks like. Default: 0
        contrast (tuple of float, optional): The low and the high contrast. Default: (0.5, 1.0)
        objective (callable, optional): As in `ablation_damage`. Default: `margin`
        batch_size, num_workers, channel_dim, show_progress: As in `ablation_damage`.

    Returns:
        FilterDamage: Interactions; `FilterDamage.mean_absolute` ranks filters by them.

    Raises:
        ValueError, TypeError: As in `ablation_damage`, or if the mask does not fit.
    """
    design = TaggingDesign(contrast=contrast)
    low, high = design.contrast
    corners = np.array([[high, high], [high, low], [low, high], [low, low]])

    def show(batch: Batch) -> tuple[Tensor, ...]:
        return Stimulus.build(batch.inputs, design, feature_mask, baselines).frames(corners)

    loader = as_loader(data, batch_size, num_workers)
    weights = [1.0, -1.0, -1.0, 1.0]
    return _damage(model, loader, layers, objective, show, weights, channel_dim, show_progress)


@torch.no_grad()
def _damage(
    model: nn.Module,
    loader: DataLoader[Any],
    layers: Sequence[str],
    objective: Objective,
    show: Callable[[Batch], tuple[Tensor, ...]],
    weights: Sequence[float],
    channel_dim: int | None,
    show_progress: bool,
) -> FilterDamage:
    """How the objective, as a weighted sum over frames, changes for each filter and image."""
    validate_layers(layers, network(model))
    if not callable(objective):
        raise TypeError(
            "Expected `objective` to be a function of outputs and labels, as `loss`, but got "
            f"{shown(objective)}"
        )
    warned = False
    changes: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    # Streams may have no length.
    n_steps = len(loader) * len(layers) if hasattr(loader.dataset, "__len__") else None
    with tqdm(desc="ablation", total=n_steps, unit="layer", disable=not show_progress) as bar:
        for batch in batches_of(loader, device_of(model)):
            frames = show(batch)
            labels = batch.required_classes("damage").repeat(len(weights))
            judge = partial(_judge, model, objective, frames, labels, weights)
            with undisturbed(model) as trace:
                with channel_dims(model, channel_dim) as dims, trace.draws:
                    whole = judge()
                # A model in train mode has a warning of its own.
                if trace.draws.any and not (warned or trace.in_train_mode):
                    warned = True
                    warn_user(
                        "The network drew random numbers, and the damage holds their noise; call "
                        "`model.eval()`, and write functional dropout with `training=self.training`"
                    )
                for layer in layers:
                    changes[layer].append(_changes(model, layer, dims, judge, whole))
                    bar.update()
    if not all(changes.values()):
        raise ValueError("Expected `data` to hold at least one image, but got none")
    return FilterDamage({layer: torch.cat(found) for layer, found in changes.items()})


def validate_layers(layers: Sequence[str], model: nn.Module) -> None:
    """Check the layers before anything is shown or run.

    Raises:
        ValueError: If one is not in the model, or named twice.
        TypeError: If they are no list of names.
    """
    is_list = isinstance(layers, (list, tuple))
    if not is_list or not all(isinstance(layer, str) for layer in layers):
        raise TypeError(
            f"Expected `layers` to be a list of names of layers, but got {shown(layers)}; "
            "`layers_of(model)` lists some"
        )
    if not layers or len(set(layers)) < len(layers):
        raise ValueError(
            "Expected `layers` to name at least one layer and each but once, but got "
            f"{shown(layers)}"
        )
    for layer in layers:
        resolve_layer(layer, model)


def _judge(
    model: nn.Module,
    objective: Objective,
    frames: tuple[Tensor, ...],
    labels: Tensor,
    weights: Sequence[float],
) -> Tensor:
    """The objective of each image, as a weighted sum over its frames."""
    values = objective(model(*frames), labels)
    if not isinstance(values, Tensor) or values.shape != labels.shape:
        got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else repr(values)
        raise ValueError(
            f"Expected `objective` to give one number per image, shape {tuple(labels.shape)}, but "
            f"got {got}; a loss of torch.nn takes reduction='none'"
        )
    # Booleans and integers are objectives too, such as whether the class is right.
    values = values if values.is_floating_point() else values.float()
    return values.new_tensor(weights) @ values.reshape(len(weights), -1)


def _changes(
    model: nn.Module, layer: str, dims: ChannelDims, judge: Callable[[], Tensor], whole: Tensor
) -> Tensor:
    """Change of the objective without each filter of a layer, shape ``(images, filters)``."""
    found = []
    with replayed(model, layer, judge) as output:
        if not isinstance(output, Tensor):
            raise TypeError(
                f"Expected layer {layer!r} to give a tensor, but got {type(output).__name__}"
            )
        for channel in range(output.shape[dims.of(resolve_layer(layer, model), layer, output)]):
            with silenced(model, {layer: channel}, dims=dims):
                found.append(judge() - whole)
    return torch.stack(found, dim=1).cpu()
