"""Which BatchNorms take what a layer gives."""

from collections.abc import Iterable
from typing import Any

import torch.fx
import torch.nn.functional as F
from torch import nn

from .._compat import Convolution
from .channels import is_batch_norm
from .layers import layer_name, n_filters_of, resolve_layer, unwrapped
from .untouched import undisturbed

# What hands on the very same tensor in eval mode, or its values in another type or place.
_PASSING_MODULES = (
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)
_PASSING_FUNCTIONS = (
    F.dropout,
    F.dropout1d,
    F.dropout2d,
    F.dropout3d,
    F.alpha_dropout,
    F.feature_alpha_dropout,
)
_PASSING_METHODS = ("contiguous", "to", "float", "double", "half", "bfloat16", "cpu", "cuda")


def norms_after(
    model: nn.Module, layers: Iterable[str], *, alone: bool = False
) -> dict[str, list[nn.Module]]:
    """The BatchNorms directly after convolutions and linear layers, as ``torch.fx`` traces them.

    Only Identity, dropout and changes of type, place or memory format may come between. Other
    layers have none. Nothing has to be shown to the model, and nothing is traced if there is no
    BatchNorm or no convolution or linear layer to look after. A BatchNorm after a linear layer
    may normalize tokens, if there are as many as filters: a trace does not show it.

    Args:
        model (Module): The model.
        layers (iterable of str): Names of layers.
        alone (bool, optional): Leave out a BatchNorm if anything else takes what the layer gives.
            Default: False

    Raises:
        ValueError: If a layer is not in the model, the model cannot be traced, or a BatchNorm is
            shared by several layers.

    Examples::

        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3))
        >>> norms_after(model, ["0", "2"])["0"][0] is model[1]
        True
    """
    modules = {name: resolve_layer(name, model) for name in layers}
    found: dict[str, list[nn.Module]] = {name: [] for name in modules}
    searched = {m: name for name, m in modules.items() if isinstance(m, (Convolution, nn.Linear))}
    if not searched or not any(map(is_batch_norm, model.modules())):
        return found
    root = unwrapped(model)
    called: list[nn.Module] = []
    takers: dict[str, list[nn.Module | None]] = {name: [] for name in modules}
    for node in _traced(root, searched).nodes:
        if node.op == "call_module":
            module = root.get_submodule(str(node.target))
            called.append(module)
            if module in searched:
                takers[searched[module]] += _takers(node, root)
    for name, modules_after in takers.items():
        if not alone or len(modules_after) == 1:
            found[name] = [m for m in modules_after if m and _fits(m, modules[name])]
    for name, norms in found.items():
        for norm in norms:
            if called.count(norm) > 1:
                raise ValueError(
                    f"Expected the BatchNorm after layer {name!r} to serve it alone, but "
                    f"{layer_name(norm, model)!r} is called several times; leave out the layer"
                )
    return found


def _fits(module: nn.Module, layer: nn.Module) -> bool:
    """Whether a module is a norm whose channels are the filters of a layer, and not tokens."""
    return is_batch_norm(module) and n_filters_of(module) in (None, n_filters_of(layer))


def _takers(node: torch.fx.Node, model: nn.Module) -> list[nn.Module | None]:
    """The modules that are called on the result of a node, and None for any other use of it."""
    found: list[nn.Module | None] = []
    for user in node.users:
        module = model.get_submodule(str(user.target)) if user.op == "call_module" else None
        # `other.to(result)` takes only its type.
        method = user.op == "call_method" and user.all_input_nodes[0] is node
        if (
            isinstance(module, _PASSING_MODULES)
            or user.target in _PASSING_FUNCTIONS
            or (method and user.target in _PASSING_METHODS)
        ):
            found += _takers(user, model)
        else:
            found.append(module)
    return found


class _Tracer(torch.fx.Tracer):
    """Looks into modules, except the layers in question and BatchNorms."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = set(layers)

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        known = module in self.layers or is_batch_norm(module)
        wrapper = unwrapped(module) is not module  # DataParallel would be a leaf
        return known or (not wrapper and super().is_leaf_module(module, qualified_name))

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        # Neither hooks nor compiled code know what to do with a proxy.
        return super().call_module(m, unwrapped(m).forward, args, kwargs)


def _traced(model: nn.Module, layers: Iterable[nn.Module]) -> torch.fx.Graph:
    try:
        with undisturbed(model, warn=False):
            return _Tracer(layers).trace(model)
    except Exception as error:  # whatever the forward of a user's model raises on a proxy
        raise ValueError(
            "Expected a model that `torch.fx` can trace, to find the BatchNorms after layers, but "
            f"it cannot ({(str(error) or repr(error)).splitlines()[0][:200]}); "
            "name the BatchNorms instead of the layers in front of them"
        ) from error
