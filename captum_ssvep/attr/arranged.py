"""Results in Captum's arrangement: one tensor, a tuple of tensors, or a list over layers."""

from typing import Any, TypeAlias, TypeVar

from captum.attr import LayerAttribution
from torch import Tensor, nn

from ..design import ComponentSelection
from ..model.layers import layer_name, resolve_layer, root_module
from ..spectrum.statistics import Reduction, Statistic
from ..spectrum.tagged import TaggedSpectrum

Item = TypeVar("Item")
Arranged: TypeAlias = Item | tuple[Item, ...] | list[Item | tuple[Item, ...]]


def reduce_spectra(
    spectra: Arranged[TaggedSpectrum],
    components: ComponentSelection,
    statistic: Statistic,
    reduction: Reduction,
) -> Arranged[Tensor]:
    """Reduce each spectrum of a result (see `TaggedSpectrum.reduce`), keeping the arrangement."""
    if isinstance(spectra, TaggedSpectrum):
        return spectra.reduce(components, statistic, reduction).contiguous()
    reduced = (reduce_spectra(item, components, statistic, reduction) for item in spectra)
    return type(spectra)(reduced)  # type: ignore[arg-type, return-value]  # lists hold no lists


def layers_read(method: Any) -> tuple[list[str], list[nn.Module | None]]:
    """Names and modules of the layers that a method attributes to.

    Args:
        method (Attribution): A method of Captum or of this package, or a tunnel around one.

    Returns:
        tuple: One name and one module per layer; names that occur twice get a number. ``"inputs"``
        and None for a method that attributes to the inputs.
    """
    while hasattr(method, "attribution_method"):
        method = method.attribution_method
    if not isinstance(method, LayerAttribution):
        return ["inputs"], [None]
    root = root_module(method.forward_func)
    layers = method.layer if isinstance(method.layer, list) else [method.layer]
    # Captum's methods may know layers that this package cannot find in the model.
    modules = [x if isinstance(x, nn.Module) else resolve_layer(x, root) for x in layers]
    names = [layer_name(module, root) for module in modules]
    numbered = [
        name if names.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(names)
    ]
    return numbered, [*modules]
