"""Objectives to judge a network by: one number per image, from outputs and labels."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._typing import Inputs

Objective = Callable[[Tensor, Tensor], Tensor]


def loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of every image, from logits ``(N, classes)`` and classes ``(N,)``."""
    return F.cross_entropy(outputs, labels, reduction="none")


def margin(outputs: Tensor, labels: Tensor) -> Tensor:
    r"""How far the true class leads: its log-odds.

    .. math:: z_y - \log \sum_{k \ne y} e^{z_k}

    Unlike the loss, it does not level off for images that the network is sure about.

    Args:
        outputs (Tensor): Logits, shape ``(N, classes)``.
        labels (Tensor): True classes, shape ``(N,)``.

    Returns:
        Tensor: Shape ``(N,)``.

    Examples::

        >>> margin(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), torch.tensor([0, 1]))
        tensor([-2.,  2.])
    """
    true = labels[:, None]
    others = outputs.scatter(1, true, -torch.inf)
    return outputs.gather(1, true)[:, 0] - others.logsumexp(1)


def margin_of(model: nn.Module) -> Callable[[Inputs, Tensor], Tensor]:
    """The forward function ``(inputs, labels) -> margin`` of a classifier, for Captum's methods.

    Layers keep their names in the model.

    Args:
        model (Module): A classifier that returns logits.

    Returns:
        callable: The function; pass the labels as ``additional_forward_args``.

    Examples::

        >>> from captum.attr import LayerGradientXActivation
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> relevance = LayerGradientXActivation(margin_of(model), model[1])
        >>> labels = torch.tensor([0, 1])
        >>> relevance.attribute(torch.rand(2, 4), additional_forward_args=labels).shape
        torch.Size([2, 3])
    """

    def forward(inputs: Inputs, labels: Tensor) -> Tensor:
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        return margin(model(*given), labels)

    # As `functools.wraps` does; `LayerRecorder` uses it to find the names of layers.
    vars(forward)["__wrapped__"] = model
    return forward
