"""Objectives to judge a network by: one number per image, from outputs and labels."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import network, tensor
from .._typing import Inputs
from ..scores.batches import described
from ..stimulus.frames import INTEGER_DTYPES

Objective = Callable[[Any, Tensor], Tensor]


def loss(outputs: Any, labels: Tensor) -> Tensor:
    """Cross-entropy of every image.

    Args:
        outputs (Tensor or object): Logits, shape ``(N, classes)``, or an output with ``logits``.
        labels (Tensor): True classes, shape ``(N,)``.

    Returns:
        Tensor: Shape ``(N,)``.

    Raises:
        ValueError: If the outputs hold no such logits, or a label is none of their classes.
        TypeError: If the labels are no integers.
    """
    logits, classes = _logits_and_classes(outputs, labels)
    return F.cross_entropy(logits, classes, reduction="none")


def margin(outputs: Any, labels: Tensor) -> Tensor:
    r"""How far the true class leads: its log-odds.

    .. math:: z_y - \log \sum_{k \ne y} e^{z_k}

    Unlike the loss, it does not level off for images that the network is sure about.

    Args:
        outputs, labels: As in `loss`.

    Returns:
        Tensor: Shape ``(N,)``.

    Raises:
        ValueError, TypeError: As in `loss`.

    Examples::

        >>> margin(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), torch.tensor([0, 1]))
        tensor([-2.,  2.])
    """
    logits, classes = _logits_and_classes(outputs, labels)
    true = classes[:, None]
    others = logits.scatter(1, true, -torch.inf)
    return logits.gather(1, true)[:, 0] - others.logsumexp(1)


def correct(outputs: Any, labels: Tensor) -> Tensor:
    """Whether the true class has the highest logit: its mean over images is the accuracy.

    Args:
        outputs, labels: As in `loss`.

    Returns:
        Tensor: Booleans, shape ``(N,)``.

    Raises:
        ValueError, TypeError: As in `loss`.

    Examples::

        >>> correct(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), torch.tensor([0, 1]))
        tensor([False,  True])
    """
    logits, classes = _logits_and_classes(outputs, labels)
    return logits.argmax(1) == classes


def logits_in(outputs: Any) -> Any:
    """What a classifier returns, or the ``logits`` in it."""
    if isinstance(outputs, Mapping) and "logits" in outputs:
        return outputs["logits"]
    return getattr(outputs, "logits", outputs)


def _logits_and_classes(outputs: Any, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The logits among the outputs of a classifier, and the true class of each row.

    Raises:
        ValueError: If there are none, or a label is none of their classes.
        TypeError: If the labels are no integers.
    """
    if tensor(labels, "labels").dtype not in INTEGER_DTYPES or labels.dim() != 1:
        raise TypeError(
            f"Expected `labels` to be one integer per image, but got {labels.dtype} of shape "
            f"{tuple(labels.shape)}; `labels.argmax(1)` gives the classes of one-hot labels"
        )
    logits = logits_in(outputs)
    matrix = isinstance(logits, Tensor) and logits.is_floating_point() and logits.dim() == 2
    if not matrix or len(logits) != len(labels) or logits.shape[1] < 2:
        raise ValueError(
            f"Expected floating logits of shape ({len(labels)}, classes), two classes or more, for "
            f"`objective`, but the network gives {described(logits)}; pass an `objective` of "
            "your own, a function of the output and the labels that gives one number per image"
        )
    if logits.isnan().any():
        raise ValueError(
            "Expected logits that are numbers for `objective`, but the output of the network holds "
            "NaN; find the operation that makes it"
        )
    lowest, highest = labels.aminmax()
    if not 0 <= lowest <= highest < logits.shape[1]:
        raise ValueError(
            f"Expected labels from 0 to {logits.shape[1] - 1} for `objective`, as the network has "
            f"{logits.shape[1]} classes, but got labels from {lowest} to {highest}; number the "
            "classes as the network does"
        )
    return logits, labels.to(logits.device).long()


def margin_of(model: nn.Module) -> Callable[[Inputs, Tensor], Tensor]:
    """The forward function ``(inputs, labels) -> margin`` of a classifier, for Captum's methods.

    Layers keep their names in the model.

    Args:
        model (Module): A classifier that returns logits, or an output with ``logits``.

    Returns:
        callable: The function; pass the labels as ``additional_forward_args``.

    Raises:
        TypeError: If the model is not a module, or when the function is called without labels.

    Examples::

        >>> from captum.attr import LayerGradientXActivation
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> relevance = LayerGradientXActivation(margin_of(model), model[1])
        >>> labels = torch.tensor([0, 1])
        >>> relevance.attribute(torch.rand(2, 4), additional_forward_args=labels).shape
        torch.Size([2, 3])
    """
    network(model)

    def forward(inputs: Inputs, labels: Tensor | None = None) -> Tensor:
        if labels is None:
            raise TypeError(
                "Expected labels for `margin_of`, but got none; pass them as "
                "`additional_forward_args`, which score_neurons does with "
                "labels_as='additional_forward_args'"
            )
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        return margin(model(*given), labels)

    # As `functools.wraps` does; `LayerRecorder` uses it to find the names of layers.
    vars(forward)["__wrapped__"] = model
    return forward
