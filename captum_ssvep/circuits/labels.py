"""Name the groups of a circuit, by embeddings of their crops or by a function of the user's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, overload, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import instance, number, shown, tensor
from .circuit import Circuit
from .patches import crops, warn_of_other_images

# How surely the strongest and the weakest crop show what a group stands for (CLIP-Dissect's).
MEMBERSHIP = (0.998, 0.97)


@runtime_checkable
class Labeler(Protocol):
    """Names groups of channels from their crops: any function with these arguments.

    It is called once, with the crops of all nodes: a list of one tensor ``(n, 3, height, width)``
    per node. It returns a list of one text per node. A language model is asked in such a function:
    show it the crops of each node, return what it answers.
    """

    def __call__(self, crops: Sequence[Tensor], /) -> Sequence[str]:
        """Labels of groups.

        Args:
            crops (sequence of Tensor): The crops of each group, strongest first, shape ``(crops,
                channels, height, width)``, as the network saw them.

        Returns:
            sequence of str: One label for each group.
        """
        ...


def soft_wpmi(similarities: Tensor, *, sharpness: float = 10.0, weight: float = 1.0) -> Tensor:
    r"""Score how well texts describe groups, by CLIP-Dissect's soft-WPMI.

    The pointwise mutual information of a text :math:`t` and a group with the crops :math:`x_1,
    \ldots, x_k`, of which the crop :math:`i` belongs to it with probability :math:`p_i`:

    .. math:: \log p(t \mid B) - \lambda \log p(t),
        \quad \log p(t \mid B) = \sum_i \log (1 + p_i (p(t \mid x_i) - 1))

    Here :math:`p(t \mid x)` is the softmax over texts of ``sharpness`` times the similarity,
    :math:`p_i` falls linearly from .998 to .97, and :math:`p(t)` is the mean of :math:`p(t \mid B)`
    over groups. So a text that fits every group scores low for each. (Oikarinen and Weng,
    CLIP-Dissect, ICLR 2023, arXiv 2204.10965.)

    Args:
        similarities (Tensor): Cosines between crops and texts, shape ``(groups, crops, texts)``,
            crops from the strongest on.
        sharpness (float, optional): Default: 10
        weight (float, optional): :math:`\lambda`, how much common texts are held back. Default: 1

    Returns:
        Tensor: Shape ``(groups, texts)``; the best text has the highest score.

    Raises:
        ValueError, TypeError: If the similarities have another shape or are not finite.

    Examples::

        >>> crops = torch.tensor([[[0.9, 0.1], [0.8, 0.1]], [[0.2, 0.9], [0.8, 0.9]]])
        >>> soft_wpmi(crops).argmax(1)
        tensor([0, 1])
    """
    if tensor(similarities, "similarities").dim() != 3 or 0 in similarities.shape:
        raise ValueError(
            "Expected `similarities` of shape (groups, crops, texts), but got "
            f"{tuple(similarities.shape)}"
        )
    if not similarities.is_floating_point() or not similarities.isfinite().all():
        raise ValueError("Expected `similarities` to be finite floating numbers, but got others")
    sharpness, weight = number(sharpness, "sharpness"), number(weight, "weight")
    n_crops = similarities.shape[1]
    first, last = MEMBERSHIP
    belongs = first - (first - last) * torch.arange(n_crops, dtype=torch.double) / n_crops
    fits = F.softmax(sharpness * similarities.cpu().double(), dim=2)
    of_group = torch.log1p(belongs[:, None] * (fits - 1)).sum(1)
    of_all = of_group.logsumexp(0) - math.log(len(of_group))
    return of_group - weight * of_all


@dataclass(frozen=True, eq=False)
class EmbeddingLabeler:
    """A `Labeler` that chooses among texts by soft-WPMI, with embeddings of any model.

    With CLIP, from ``open_clip`` (``pip install open_clip_torch``)::

        clip, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", "openai")
        texts = ["a cat", "grass", "stripes"]
        with torch.no_grad():
            embeddings = clip.encode_text(open_clip.get_tokenizer("ViT-B-32")(texts))

        def embed(crops):  # undo the network's normalization and apply CLIP's
            return clip.encode_image(resize_and_normalize(crops * std + mean))

        circuit = label_nodes(circuit, data, EmbeddingLabeler(texts, embeddings, embed))

    Args:
        texts (sequence of str): What to choose from.
        embeddings (Tensor): Their embeddings, shape ``(texts, dimensions)``.
        embed (callable): Takes crops ``(n, channels, height, width)`` to embeddings ``(n,
            dimensions)`` in the same space.
        sharpness (float, optional): As in `soft_wpmi`. Default: 10
        weight (float, optional): As in `soft_wpmi`. Default: 1

    Raises:
        ValueError, TypeError: If texts and embeddings do not fit.

    Examples::

        >>> colors = EmbeddingLabeler(
        ...     ["red", "green"], torch.eye(2), lambda crops: crops.mean((2, 3))[:, :2]
        ... )
        >>> red, green = torch.zeros(2, 3, 3, 4, 4)
        >>> red[:, 0], green[:, 1] = 1, 1
        >>> colors([green, red])
        ['green', 'red']
    """

    texts: Sequence[str]
    embeddings: Tensor
    embed: Callable[[Tensor], Tensor]
    sharpness: float = 10.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        given = instance(self.texts, (list, tuple), "texts", "a list of texts")
        if not given or not all(isinstance(text, str) for text in given):
            raise TypeError(f"Expected `texts` to be a list of texts, but got {shown(self.texts)}")
        found = tensor(self.embeddings, "embeddings")
        numeric = found.is_floating_point() and bool(found.isfinite().all())
        if not numeric or found.dim() != 2 or len(found) != len(given):
            raise ValueError(
                f"Expected `embeddings` to be finite and of shape ({len(given)}, dimensions), one "
                f"for each text, but got {found.dtype} of shape {tuple(found.shape)}"
            )
        if not callable(self.embed):
            raise TypeError(
                f"Expected `embed` to be a function of crops, but got {shown(self.embed)}"
            )
        number(self.sharpness, "sharpness")
        number(self.weight, "weight")

    def scores(self, crops: Sequence[Tensor]) -> Tensor:
        """Soft-WPMI of each group and text, shape ``(groups, texts)``.

        Args:
            crops (sequence of Tensor): The crops of each group, as many for each.

        Raises:
            ValueError: If there are fewer than two groups, which have nothing to differ from, or
                embeddings do not fit.
        """
        sizes = {
            len(tensor(group, "crops"))
            for group in instance(
                crops, (list, tuple), "crops", "a list of tensors, one for each group"
            )
        }
        if len(crops) < 2 or len(sizes) != 1:
            raise ValueError(
                "Expected `crops` of two groups or more, with as many crops for each, since labels "
                f"say how groups differ, but got {len(crops)} of sizes "
                f"{sorted(sizes)}"
            )
        texts = F.normalize(self.embeddings.cpu().double(), dim=1)
        similarities = []
        for group in crops:
            with torch.no_grad():
                images = tensor(self.embed(group), "embed(crops)")
            if images.shape != (len(group), texts.shape[1]):
                raise ValueError(
                    f"Expected `embed` to give shape {(len(group), texts.shape[1])}, as the "
                    f"embeddings of texts have, but got {shown(images)}"
                )
            similarities.append(F.normalize(images.cpu().double(), dim=1) @ texts.T)
        return soft_wpmi(torch.stack(similarities), sharpness=self.sharpness, weight=self.weight)

    def __call__(self, crops: Sequence[Tensor], /) -> list[str]:
        """The best text for each group."""
        return [self.texts[best] for best in self.scores(crops).argmax(1).tolist()]


@overload
def label_nodes(circuit: Circuit, data: Any, labeler: Labeler) -> Circuit: ...


@overload
def label_nodes(circuit: list[Circuit], data: Any, labeler: Labeler) -> list[Circuit]: ...


def label_nodes(
    circuit: Circuit | list[Circuit], data: Any, labeler: Labeler
) -> Circuit | list[Circuit]:
    """Label the nodes of circuits by their crops.

    Soft-WPMI says how a group differs from others. So pass the circuits of several classes
    together: the groups of a single one may all stand for the same.

    Args:
        circuit (Circuit or list of Circuit): Circuits whose nodes have patches.
        data (Dataset or Tensor): The images that the circuit was built from, as the network saw
            them, in the same order. A warning says if they are others.
        labeler (Labeler): Takes the crops of all nodes to their labels, such as an
            `EmbeddingLabeler`.

    Returns:
        Circuit: The same with labels; a list of these for a list.

    Raises:
        ValueError: If a node has no patches, or labels are missing.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> from captum_ssvep.circuits import Edge, Node, Patch
        >>> node = Node("0", (2,), (0.1,), (1.0,), (Patch(0, (0, 0, 4, 4), 1.0),))
        >>> circuit = Circuit(7, ("0",), (node,), (Edge("0:2", "class 7", 1.0),))
        >>> images = torch.rand(1, 3, 8, 8)
        >>> bright = label_nodes(
        ...     circuit, images, lambda crops: [f"{c.mean() > 0.3}" for c in crops]
        ... )
        >>> bright.nodes[0].label
        'True'
    """
    expected = "a circuit or a list of circuits; `build_circuit` makes them"
    circuits = [
        instance(one, Circuit, "circuit", expected)
        for one in (circuit if isinstance(circuit, list) else [circuit])
    ]
    if not callable(labeler):
        raise TypeError(
            f"Expected `labeler` to be a function of crops, but got {shown(labeler)}; "
            "`EmbeddingLabeler` makes one"
        )
    nodes = [node for one in circuits for node in one.nodes]
    bare = [node.name for node in nodes if not node.patches]
    if bare or not nodes:
        raise ValueError(
            f"Expected a `circuit` whose nodes have patches, but {', '.join(bare) or 'it'} has "
            "none; build it with `n_patches=20`"
        )
    for one in circuits:
        warn_of_other_images(data, one.image_means)
    labels = labeler([crops(data, node.patches) for node in nodes])
    if not isinstance(labels, (list, tuple)) or len(labels) != len(nodes):
        raise ValueError(
            f"Expected `labeler` to give a list of {len(nodes)} texts, one for each node, but got "
            f"{shown(labels)}"
        )
    strange = [label for label in labels if not isinstance(label, str)]
    if strange:
        raise TypeError(
            f"Expected `labeler` to give texts, but got {shown(strange[0])} of type "
            f"{type(strange[0]).__name__}; return `str` of it"
        )
    rest = iter(labels)
    labeled = [one.labeled({node.name: next(rest) for node in one.nodes}) for one in circuits]
    return labeled if isinstance(circuit, list) else labeled[0]
