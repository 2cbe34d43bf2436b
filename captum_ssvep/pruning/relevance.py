"""The score that knows which filters a network can spare."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from captum.attr import LayerGradientXActivation
from torch import Tensor, nn
from tqdm.auto import tqdm

from .._checks import instance, network, tensor, warn_user
from .._typing import Baselines, FeatureMask
from ..design import ChebyshevGrid, Design
from ..design.distinct import merge_equal_frames
from ..evaluation.damage import validate_layers
from ..evaluation.objectives import margin_of
from ..model.channels import channel_dims
from ..model.norms import norms_after
from ..model.recorder import LayerRecorder
from ..model.untouched import undisturbed
from ..scores.batches import Batch, Data, as_loader, batches_of, device_of
from ..stimulus.frames import Stimulus

# Nine frames: both halves at low, middle and high contrast.
GRID = ChebyshevGrid(nodes=3)


def score_for_pruning(
    model: nn.Module,
    data: Data,
    layers: Sequence[str],
    *,
    design: Design | None = GRID,
    feature_mask: FeatureMask = None,
    baselines: Baselines = None,
    batch_size: int = 32,
    num_workers: int = 0,
    channel_dim: int | None = None,
    show_progress: bool = True,
) -> dict[str, Tensor]:
    r"""How much each filter contributes to the lead of the true class: the score to prune by.

    .. math:: s_c = \frac{1}{N U} \sum_{n, u} \Bigl| \sum_x
        a_c(x) \, \frac{\partial m}{\partial a_c(x)} \Bigr|

    with the activations :math:`a_c(x)` of filter c at places x, for image n at contrasts u of its
    parts, and the margin m: the logit of the true class minus the log-sum-exp of the others
    (`evaluation.margin`). To first order, the sum over places is what the margin loses when the
    filter is silent. Signs must not cancel over images: a filter that helps one and harms another
    matters to both. Unlike that of the loss, the gradient of the margin does not vanish for images
    that the network is sure about, and low contrasts show which filters it depends on when less
    is there to see. ``benchmarks/pruning.py`` prints what each of these is worth.

    To score again what is left of a network, call it within `pruned`: silent filters score 0.

    Args:
        model (Module): A classifier that returns logits, in eval mode.
        data (Dataset or DataLoader): (input, label) pairs; 200 training images are enough.
        layers (sequence of str): Names of convolutions, or of other layers. If all that takes what
            a convolution or linear layer gives is a BatchNorm, its output is read, which is silent
            in a pruned network. Of a layer that is called several times, the last call is read.
        design (Design, optional): The contrasts at which the parts are shown; None shows the
            images as they are, nine times as fast. Default: ``ChebyshevGrid(nodes=3)``, nine frames
        feature_mask (Tensor or tuple[Tensor, ...], optional): The parts, as in
            `FrequencyTaggingAttribution.attribute`. Default: left and right half
        baselines (scalar, Tensor or tuple, optional): What zero contrast looks like. Default: 0
        batch_size (int, optional): Images of a Dataset in a pass, one frame at a time. Default: 32
        num_workers (int, optional): Processes that load the images of a Dataset. Default: 0
        channel_dim (int, optional): Dimension of the filters in the layers' outputs, if no module
            shows it. Default: None
        show_progress (bool, optional): Progress bar over batches. Default: True

    Returns:
        dict[str, Tensor]: For each layer the scores, shape ``(filters,)``, in double precision on
        the CPU, for `masks_of`.

    Raises:
        ValueError: If a layer is not in the model or not called, the margin does not depend on it,
            the BatchNorm after it cannot be found out, the data are empty or without labels, or
            there are no gradients, as in ``torch.inference_mode``.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> from torch.utils.data import TensorDataset
        >>> model = nn.Sequential(
        ...     nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
        ... ).eval()
        >>> data = TensorDataset(torch.rand(8, 3, 8, 8), torch.tensor([0, 1] * 4))
        >>> scores = score_for_pruning(model, data, ["0"], show_progress=False)
        >>> scores["0"].shape
        torch.Size([4])
    """
    if design is not None:
        instance(design, Design, "design", "a design, as `ChebyshevGrid(nodes=3)`, or None")
    validate_layers(layers, network(model))
    if torch.is_inference_mode_enabled():
        raise ValueError(
            "Expected gradients, but got `torch.inference_mode`, which has none; score outside it"
        )
    norms = norms_after(model, layers, alone=True)
    modules: dict[str, nn.Module] = {}
    totals = {layer: torch.zeros(()).double() for layer in layers}
    n_images = 0
    batches = batches_of(as_loader(data, batch_size, num_workers), device_of(model))
    with undisturbed(model) as trace, channel_dims(model, channel_dim) as dims:
        for batch in tqdm(batches, desc="relevance", disable=not show_progress):
            labels = batch.required_classes("the margin")
            for weight, frame in _frames(batch, design, feature_mask, baselines):
                modules = modules or _read_modules(model, norms, frame)
                with trace.draws:
                    found = _relevance(model, modules, frame, labels)
                for layer, values in zip(layers, found, strict=True):
                    dim = dims.of(modules[layer], layer, tensor(values, layer))
                    by_image = _of_filters(values.detach(), dim)
                    totals[layer] = totals[layer] + weight * by_image.abs().sum(0)
            n_images += len(batch)
    if not n_images:
        raise ValueError("Expected `data` to hold at least one image, but got none")
    return {layer: total / n_images for layer, total in totals.items()}


def _read_modules(
    model: nn.Module, norms: Mapping[str, list[nn.Module]], frame: tuple[Tensor, ...]
) -> dict[str, nn.Module]:
    """What is read of each layer: the BatchNorm that alone takes what it gives, or itself.

    Raises:
        ValueError: If a layer is not called.
    """
    calls: Counter[tuple[int, torch.device]] = Counter()
    n_dims = {}

    def receive(index: int, tensors: tuple[Tensor | None, ...]) -> None:
        given = next(found for found in tensors if found is not None)
        calls[index, given.device] += 1
        n_dims[index] = given.dim()

    names = list(norms)
    recorder = LayerRecorder(model, names, every_call=True, warns_of_train_mode=False)
    with torch.no_grad(), recorder:
        recorder.record(frame, (), receive)
    for (index, _), count in calls.items():
        if count > 1:
            warn_user(
                f"Layer {names[index]!r} is called {count} times in one forward pass, and "
                "only the last call is read; to read the others, give each a module of its own"
            )
    read: dict[str, nn.Module] = {}
    for index, (name, layer) in enumerate(zip(names, recorder.layers, strict=True)):
        # Where a linear layer gives tokens, the BatchNorm normalizes these.
        over_tokens = isinstance(layer, nn.Linear) and n_dims[index] > 2
        read[name] = norms[name][0] if norms[name] and not over_tokens else layer
    return read


def _relevance(
    model: nn.Module, modules: Mapping[str, nn.Module], frame: tuple[Tensor, ...], labels: Tensor
) -> Any:
    """Activation times gradient of the margin, for what is read of each layer.

    Raises:
        ValueError: If the margin does not depend on one of them.
    """
    method = LayerGradientXActivation(margin_of(model), list(modules.values()))
    try:
        return method.attribute(frame, additional_forward_args=labels)
    except RuntimeError as error:
        if not any(cause in str(error) for cause in ("used in the graph", "does not require grad")):
            raise
        raise ValueError(
            f"Expected logits that depend on all of the layers {', '.join(map(repr, modules))}, "
            "but they do not; leave out a layer whose output the network does not use or detaches"
        ) from error


def _frames(
    batch: Batch, design: Design | None, feature_mask: FeatureMask, baselines: Baselines
) -> Iterator[tuple[float, tuple[Tensor, ...]]]:
    """The images of a batch at one contrast after the other, ready for gradients, with weights."""
    weights: list[float] = [1.0]
    shown: Iterable[tuple[Tensor, ...]]
    if design is None:
        shown = [tuple(given.clone() for given in batch.tensors)]
    else:
        stimulus = Stimulus.build(batch.inputs, design, feature_mask, baselines)
        share = np.full((1, design.n_frames), 1 / design.n_frames, complex)
        contrasts, (merged,) = merge_equal_frames(design.contrasts, share)
        weights, shown = merged.real.tolist(), map(stimulus.frames, contrasts[:, None])
    for weight, tensors in zip(weights, shown, strict=True):
        yield weight, tuple(t.requires_grad_() if t.is_floating_point() else t for t in tensors)


def _of_filters(relevance: Tensor, channel_dim: int) -> Tensor:
    """What each filter contributes at all places together, shape ``(N, filters)``."""
    others = [dim for dim in range(1, relevance.dim()) if dim != channel_dim]
    return (relevance.sum(others) if others else relevance).cpu().double()
