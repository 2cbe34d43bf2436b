"""What a network can still do as more and more of its filters go."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .._checks import choice, finite_floats, integer, network
from ..evaluation.objectives import correct, loss
from ..model.untouched import undisturbed
from ..scores.batches import Data, as_loader, batches_of, device_of
from ..scores.lowest import Normalization, Scope, filter_scores
from .masks import FilterScores, filter_values, masks_of
from .networks import pruned
from .recalibration import recalibrate

Order = Literal["lowest", "highest"]


@dataclass(frozen=True)
class PruningCurve:
    """What `pruning_curve` returns: one entry per ratio.

    Args:
        ratios (tuple[float, ...]): Shares of the filters that were removed.
        accuracy (tuple[float, ...]): Share of the images that are classified correctly.
        loss (tuple[float, ...]): Mean cross-entropy.
    """

    ratios: tuple[float, ...]
    accuracy: tuple[float, ...]
    loss: tuple[float, ...]


def pruning_curve(
    model: nn.Module,
    scores: FilterScores,
    data: Data,
    ratios: Sequence[float] = (0.1, 0.2, 0.3, 0.5),
    *,
    order: Order = "lowest",
    scope: Scope = "layer",
    normalize: Normalization | None = None,
    protect: Sequence[str] = (),
    recalibrate_on: Data | None = None,
    batch_size: int = 100,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> PruningCurve:
    """Accuracy and loss without a share of the filters, for several shares.

    Nothing is trained, and the model is afterwards as it was.

    Args:
        model (Module): A classifier that returns logits, in eval mode.
        scores (NeuronScores, FilterDamage or mapping): As in `masks_of`.
        data (Dataset or DataLoader): (input, label) pairs to judge by. Take other images than those
            of the scores.
        ratios (sequence of float, optional): Shares of the filters to remove. Default: 10, 20, 30
            and 50 %
        order (str, optional): Which go first: those with the ``"lowest"`` or with the
            ``"highest"`` scores. Scores that tell what matters keep the accuracy up in the first
            case and bring it down in the second. Default: ``"lowest"``
        scope, normalize, protect: As in `masks_of`.
        recalibrate_on (Dataset or DataLoader, optional): Training images on which to `recalibrate`
            each pruned network. Default: None, keep its statistics
        batch_size, num_workers: As in `recalibrate`.
        channel_dim (int, optional): As in `pruned`. Default: None
        show_progress (bool, optional): Progress bar over ratios. Default: True

    Returns:
        PruningCurve: Accuracy and loss for each ratio.

    Raises:
        ValueError: If a ratio is out of range or leaves a layer without filters, or the data have
            no labels.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> from torch.utils.data import TensorDataset
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> data = TensorDataset(torch.rand(8, 4), torch.tensor([0, 1] * 4))
        >>> scores = {"0": torch.tensor([0.1, 0.5, 0.2])}
        >>> len(pruning_curve(model, scores, data, [0, 0.3], show_progress=False).accuracy)
        2
    """
    network(model)
    choice(order, "order", get_args(Order))
    values = filter_scores(filter_values(scores))
    if order == "highest":
        values = {layer: -value for layer, value in values.items()}
    shares = finite_floats(ratios, "ratios")
    if not shares:
        raise ValueError("Expected `ratios` to hold at least one share, but got none")
    # All of them first, so that a bad ratio does not come out after minutes.
    every = [
        masks_of(values, ratio=share, scope=scope, normalize=normalize, protect=protect)
        for share in shares
    ]
    found = []
    for masks in tqdm(every, desc="pruning", disable=not show_progress):
        with ExitStack() as stack:
            stack.enter_context(undisturbed(model, warn=False))  # puts statistics back
            stack.enter_context(pruned(model, masks, channel_dim=channel_dim))
            if recalibrate_on is not None:
                recalibrate(
                    model,
                    recalibrate_on,
                    batch_size=batch_size,
                    num_workers=num_workers,
                    show_progress=False,
                )
            trace = stack.enter_context(undisturbed(model))
            stack.enter_context(trace.draws)
            found.append(_accuracy_and_loss(model, data, batch_size, num_workers))
    return PruningCurve(shares, tuple(a for a, _ in found), tuple(mean for _, mean in found))


@torch.no_grad()
def _accuracy_and_loss(
    model: nn.Module, data: Data, batch_size: int, num_workers: int
) -> tuple[float, float]:
    hits, losses = [], []
    for batch in batches_of(as_loader(data, batch_size, num_workers), device_of(model)):
        labels = batch.required_classes("accuracy")
        outputs = model(*batch.tensors)
        hits.append(correct(outputs, labels).double().cpu())
        losses.append(loss(outputs, labels).double().cpu())
    if not hits:
        raise ValueError("Expected `data` to hold at least one image, but got none")
    return torch.cat(hits).mean().item(), torch.cat(losses).mean().item()


def random_scores(scores: FilterScores, *, seed: int = 0) -> dict[str, Tensor]:
    """Random scores for the same filters: the bar that every score has to clear.

    Args:
        scores (NeuronScores, FilterDamage or mapping): As in `masks_of`.
        seed (int, optional): Seed of the draw. Default: 0

    Returns:
        dict[str, Tensor]: For each layer, shape ``(filters,)``.

    Raises:
        ValueError, TypeError: As `masks_of`, for scores.

    Examples::

        >>> random_scores({"conv1": torch.ones(3)})["conv1"].shape
        torch.Size([3])
    """
    generator = torch.Generator().manual_seed(integer(seed, "seed", at_least=0))
    return {
        layer: torch.rand(len(value), generator=generator)
        for layer, value in filter_scores(filter_values(scores)).items()
    }
