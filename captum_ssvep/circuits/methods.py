"""Relevance of a layer's channels to targets, image by image, by one method or another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, Literal, cast, get_args

import torch
from captum.attr import LayerGradientXActivation
from torch import Tensor, nn

from .._checks import choice, shown
from ..attr.tunnel import FrequencyTunnel
from ..model.channels import ChannelDims, widened
from ..model.layers import resolve_layer
from ..model.recorder import LayerRecorder
from ..scores.batches import Batch
from ..spectrum import TaggedSpectrum
from .behind import Behind, behind, channel_means, value_of
from .prepared import Prepared
from .targets import Channel, ParsedTarget

MethodName = Literal["ablation", "ig", "activation_gradient", "tagged"]
METHODS: tuple[MethodName, ...] = get_args(MethodName)
# A class of Captum, or another function of a forward function and a layer.
Method = MethodName | Callable[[Callable[..., Tensor], nn.Module], Any]
# Midpoints of the path of integrated gradients.
IG_STEPS = 8


def relevance(
    model: nn.Module,
    layer: str,
    targets: tuple[ParsedTarget, ...],
    batch: Batch,
    known: Prepared,
    method: Method,
) -> Tensor:
    """Signed and absolute relevance of each channel in each image, shape ``(2, N, targets, C)``.

    Args:
        model: The model.
        layer: Name of the layer.
        targets: What the channels are relevant to.
        batch: The images.
        known: Where channels lie, how many there are, and what replaces one.
        method: As in `core_neurons`.
    """
    if callable(method):
        signed = attributed(model, layer, targets, batch, known, method)
    elif method == "tagged":
        return tagged(model, layer, targets, batch, known.dims)
    else:
        with behind(model, layer, targets, batch, known.dims) as segment:
            signed = _BEHIND[method](segment, known.fill[layer])
    return torch.stack([signed, signed.abs()])


def validate_method(method: Any) -> None:
    """Refuse what is no method.

    Raises:
        ValueError: If it is neither a known name nor a function.
    """
    if not callable(method):
        choice(method, "method", METHODS)


@torch.no_grad()
def ablation(segment: Behind, fill: Tensor | None) -> Tensor:
    """What each target loses without each channel, ``(N, targets, channels)``."""
    whole = segment.values()
    losses = [
        whole - segment.values(removed=[channel], fill=fill)
        for channel in range(segment.n_channels)
    ]
    return torch.stack(losses, dim=2)


def gradient_relevance(segment: Behind, fill: Tensor | None, removed: Sequence[int] = ()) -> Tensor:
    r"""First-order estimate of `ablation`.

    .. math:: \sum_p (a_{cp} - b_c) \, \partial t / \partial a_{cp}

    Args:
        segment: What lies behind the layer.
        fill: The baseline :math:`b`, one number per channel.
        removed: Channels that are replaced meanwhile. Default: none
    """
    change = widened(segment.activations) - _along(segment, fill)
    return _gradient_times(segment, segment.activations, change, removed=removed, fill=fill)


def integrated_gradients(segment: Behind, fill: Tensor | None) -> Tensor:
    """The same with the gradient's mean over the way from the baseline, in `IG_STEPS` steps."""
    base = _along(segment, fill)
    change = widened(segment.activations) - base
    parts = [
        _gradient_times(segment, base + (step + 0.5) / IG_STEPS * change, change)
        for step in range(IG_STEPS)
    ]
    return torch.stack(parts).mean(0)


_BEHIND = {
    "ablation": ablation,
    "ig": integrated_gradients,
    "activation_gradient": gradient_relevance,
}


def _along(segment: Behind, fill: Tensor | None) -> Tensor:
    """One number per channel, shaped to fit the activations."""
    if fill is None:
        return torch.zeros((), device=segment.activations.device)
    shape = [1] * segment.activations.dim()
    shape[segment.channel_dim] = -1
    return fill.to(segment.activations).view(shape)


def _gradient_times(
    segment: Behind,
    at: Tensor,
    change: Tensor,
    removed: Sequence[int] = (),
    fill: Tensor | None = None,
) -> Tensor:
    """Gradient of each target, times the change and summed over positions: ``(N, targets, C)``."""
    with torch.enable_grad():
        leaf = at.detach().to(segment.activations, copy=True).requires_grad_()
        values = segment.values(leaf, removed=removed, fill=fill)
        found = []
        for column in values.unbind(1):
            (gradient,) = torch.autograd.grad(
                column.sum(), leaf, retain_graph=True, allow_unused=True
            )
            gradient = torch.zeros_like(leaf) if gradient is None else gradient
            found.append(_sum_of_channels(gradient * change, segment.channel_dim))
    return torch.stack(found, dim=1).detach()


def _sum_of_channels(values: Tensor, channel_dim: int) -> Tensor:
    """Sum over all positions, ``(N, channels)``."""
    return values.movedim(channel_dim, 1).flatten(2).sum(2) if values.dim() > 2 else values


def attributed(
    model: nn.Module,
    layer: str,
    targets: tuple[ParsedTarget, ...],
    batch: Batch,
    known: Prepared,
    method: Callable[..., Any],
) -> Tensor:
    """Attributions of a method of Captum, summed over positions: ``(N, targets, channels)``.

    Raises:
        ValueError, TypeError: If the method does not attribute to the layer's output.
    """
    module = resolve_layer(layer, model)
    found = []
    for target in targets:
        method_of_target = method(_Reading(model, target, known.dims), module)
        attribute = getattr(method_of_target, "attribute", None)
        if not callable(attribute):
            raise TypeError(
                "Expected `method` to make a method of Captum from a forward function and a "
                f"layer, as LayerConductance does, but it gave {shown(method_of_target)}"
            )
        result = attribute(batch.inputs, **_limits(attribute, len(batch)))
        if not isinstance(result, Tensor) or len(result) != len(batch):
            raise TypeError(
                "Expected `method` to give one tensor shaped like the layer, but got "
                f"{shown(result)}; choose a layer method"
            )
        sums = _sum_of_channels(result.detach(), known.dims.of(module, layer, result))
        if sums.shape[1] != known.n_channels[layer]:
            raise ValueError(
                f"Expected `method` to attribute to each of {known.n_channels[layer]} channels of "
                f"{layer!r}, but got shape {tuple(result.shape)}; choose a layer method that does, "
                "as LayerGradCam does not"
            )
        found.append(sums)
    return torch.stack(found, dim=1)


def _limits(attribute: Callable[..., Any], n_images: int) -> dict[str, int]:
    """What keeps a method from running all steps along its path at once.

    Two steps at a time, since methods that take differences between steps need as many.
    """
    limit = signature(attribute).parameters.get("internal_batch_size")
    return {"internal_batch_size": 2 * n_images} if limit and limit.default is None else {}


def tagged(
    model: nn.Module,
    layer: str,
    targets: tuple[ParsedTarget, ...],
    batch: Batch,
    dims: ChannelDims,
) -> Tensor:
    """Activation x gradient while the halves of the image flicker.

    Its mean over frames, and the energy of its intermodulations: how much a target depends on a
    channel for combining the halves.
    """
    module = resolve_layer(layer, model)

    def pool(values: Tensor) -> Tensor:
        return _sum_of_channels(values, dims.of(module, layer, values))

    signed, absolute = [], []
    for target in targets:
        method = LayerGradientXActivation(_Reading(model, target, dims), module)
        spectrum = FrequencyTunnel(method).spectrum(
            batch.inputs, components="intermodulations", n_neighbors=0, pooling=pool
        )
        spectrum = cast(TaggedSpectrum, spectrum)  # one tensor was returned
        signed.append(spectrum.mean)
        absolute.append(spectrum.reduce("intermodulations", "amplitude", "energy"))
    return torch.stack([torch.stack(signed, dim=1), torch.stack(absolute, dim=1)])


class _Reading(nn.Module):
    """The network up to a target, one number per image.

    A module, since methods of Captum that rewrite networks, as DeepLift, take no function.
    """

    def __init__(self, model: nn.Module, target: ParsedTarget, dims: ChannelDims) -> None:
        super().__init__()
        self.model, self.target, self.dims = model, target, dims

    def forward(self, *inputs: Tensor) -> Tensor:
        """Read the target."""
        target = self.target
        if not isinstance(target, Channel):
            return value_of(target, self.model(*inputs), len(inputs[0]))
        found: list[Tensor] = []
        with LayerRecorder(self.model, [target.layer]) as recorder:
            module = recorder.layers[0]
            recorder.record(
                inputs,
                (),
                lambda index, tensors: found.append(
                    channel_means(tensors, module, target.layer, [target], self.dims)
                ),
            )
        return found[0][:, target.channel]
