"""Which BatchNorms take what a layer gives."""

from collections.abc import Iterable, Iterator

import torch.fx
from torch import nn

from .._checks import shown
from .channels import is_batch_norm
from .layers import layer_name, n_filters_of, resolve_layer
from .untouched import undisturbed


def norms_after(model: nn.Module, layers: Iterable[str]) -> dict[str, list[nn.Module]]:
    """The BatchNorms directly after each layer, as ``torch.fx`` traces the model.

    A BatchNorm has none after itself. Nothing has to be shown to the model, and nothing is traced
    if it has no BatchNorm.

    Args:
        model (Module): The model.
        layers (iterable of str): Names of layers.

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
    searched = {m: name for name, m in modules.items() if not is_batch_norm(m)}
    if not searched or not any(map(is_batch_norm, model.modules())):
        return found
    called: list[nn.Module] = []
    for node in _traced(model, searched).nodes:
        if node.op != "call_module":
            continue
        module = model.get_submodule(str(node.target))
        called.append(module)
        if module in searched:
            takers = filter(is_batch_norm, _modules_taking(node, model))
            found[searched[module]] += [taker for taker in takers if _fits(taker, module)]
    for name, norms in found.items():
        for norm in norms:
            if called.count(norm) > 1:
                raise ValueError(
                    f"Expected the BatchNorm after layer {name!r} to serve it alone, but "
                    f"{layer_name(norm, model)!r} is called several times; leave out the layer"
                )
    return found


def _fits(norm: nn.Module, layer: nn.Module) -> bool:
    """Whether a norm's channels are the filters of a layer, which they are not over tokens."""
    numbers = {n_filters_of(norm), n_filters_of(layer)}
    return None in numbers or len(numbers) == 1


def _modules_taking(node: torch.fx.Node, model: nn.Module) -> Iterator[nn.Module]:
    """The modules that are called on the result of a node."""
    for user in node.users:
        if user.op == "call_module" and user.args[:1] == (node,):
            module = model.get_submodule(str(user.target))
            # It hands on the very same tensor.
            if isinstance(module, nn.Identity):
                yield from _modules_taking(user, model)
            else:
                yield module


class _Tracer(torch.fx.Tracer):
    """Looks into modules, except the layers in question and BatchNorms."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = set(layers)

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        known = module in self.layers or is_batch_norm(module)
        return known or super().is_leaf_module(module, qualified_name)


def _traced(model: nn.Module, layers: dict[nn.Module, str]) -> torch.fx.Graph:
    try:
        with undisturbed(model, warn=False):
            return _Tracer(layers).trace(model)
    except Exception as error:  # whatever the forward of a user's model raises on a proxy
        raise ValueError(
            "Expected a model that `torch.fx` can trace, to find the BatchNorms after layers, but "
            f"it cannot ({shown(str(error).splitlines()[0]) if str(error) else repr(error)}); "
            "name the BatchNorms instead of the layers in front of them"
        ) from error
