"""Find layers in a user's model, and name them."""

import difflib
import inspect
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from .._compat import inside_compiled, plain_name
from .._typing import ForwardFunction, Layer
from .forward import format_forward_args, run_forward
from .untouched import undisturbed


def root_module(forward_func: ForwardFunction) -> nn.Module | None:
    """The model behind a forward function, where it can be told."""
    _refuse_jitted(forward_func)
    # Methods of a model, and functions that say what they wrap as `functools.wraps` does.
    root = inspect.unwrap(getattr(forward_func, "__self__", forward_func))
    _refuse_jitted(root)
    return root if isinstance(root, nn.Module) else None


def layers_of(
    model: nn.Module,
    types: tuple[type[nn.Module], ...] = (nn.Conv2d, nn.Linear, nn.MultiheadAttention),
    inputs: Tensor | tuple[Tensor, ...] | None = None,
    additional_forward_args: object = None,
) -> list[str]:
    """Names of a model's layers of some types, to pass on as ``layer``.

    Layers that are never called cannot be read and are left out: those inside of
    ``MultiheadAttention``, which only reads their weights, and, where inputs are given to try, all
    that the forward pass does not reach.

    Args:
        model (Module): The model.
        types (tuple of type, optional): Default: convolutions, linear layers and attention.
        inputs (Tensor or tuple[Tensor, ...], optional): An input to run once. Default: None
        additional_forward_args (Any, optional): Further arguments of the forward pass.

    Returns:
        list[str]: In the order of ``model.named_modules()``.

    Examples::

        >>> layers_of(nn.TransformerEncoderLayer(8, 2))
        ['self_attn', 'linear1', 'linear2']
    """
    _refuse_jitted(model)
    modules = dict(model.named_modules())
    inside_attention = {
        id(child)
        for module in modules.values()
        if isinstance(module, nn.MultiheadAttention)
        for child in module.children()
    }
    names = [
        name
        for name, module in modules.items()
        if isinstance(module, types) and id(module) not in inside_attention
    ]
    if inputs is None:
        return names
    called: set[str] = set()
    with ExitStack() as stack:
        stack.enter_context(undisturbed(warn=False))
        stack.enter_context(torch.no_grad())
        for name in names:
            handle = modules[name].register_forward_pre_hook(lambda *_, name=name: called.add(name))
            stack.callback(handle.remove)
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        run_forward(model, given, format_forward_args(additional_forward_args))
    return [name for name in names if name in called]


def _refuse_jitted(module: object) -> None:
    if isinstance(module, (torch.jit.ScriptModule, torch.ScriptMethod, torch.jit.ScriptFunction)):
        raise ValueError(
            "Expected a model with forward hooks, but got a jitted one (torch.jit), which has "
            "none; use the Python model it was made from"
        )


def resolve_layer(layer: Layer, root: nn.Module | None) -> nn.Module:
    """The module that is meant, checked to be part of the model where that is known.

    Raises:
        ValueError: If the layer is not in the model or jitted.
        TypeError: If it is neither module nor name.
    """
    if isinstance(layer, str):
        layer = _named_layer(layer, root)
    if not isinstance(layer, nn.Module):
        raise TypeError(
            "Expected `layer` to be a module, its name in the model or a list of these, but got "
            f"{type(layer).__name__}"
        )
    _refuse_jitted(layer)
    if root is not None and all(layer is not module for module in root.modules()):
        raise ValueError(
            f"Expected `layer` to be part of the model, but this {type(layer).__name__} is not "
            "in it; take it from the very model that runs, as in `model.layer4`"
        )
    return layer


def _named_layer(name: str, root: nn.Module | None) -> nn.Module:
    if root is None:
        raise ValueError(
            f"Expected a module for `layer`, but got the name {name!r} and a plain function as "
            "forward function, in which names cannot be looked up; pass the module itself"
        )
    known: dict[str, nn.Module] = dict(root.named_modules(remove_duplicate=False))
    inner = _unwrapped(root).named_modules(remove_duplicate=False)
    inside = {plain_name(full): module for full, module in inner}
    for names in (known, inside):
        if name in names:
            return names[name]
    close = difflib.get_close_matches(name, inside, n=3)
    children = [child for child, _ in _unwrapped(root).named_children()]
    raise ValueError(
        f"Expected `layer` to name a module of the model, but it has no {name!r}; "
        + (f"nearest: {', '.join(close)}" if close else f"outermost: {', '.join(children)}")
    )


def _unwrapped(root: nn.Module) -> nn.Module:
    """The model inside of DataParallel, its distributed kin and torch.compile."""
    while True:
        if isinstance(root, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            root = root.module
        elif compiled := inside_compiled(root):
            root = compiled
        else:
            return root


def layer_name(layer: nn.Module, root: nn.Module | None) -> str:
    """Name of a layer in its model; of its type where that is not known."""
    names = {} if root is None else {id(module): name for name, module in root.named_modules()}
    return names.get(id(layer)) or type(layer).__name__
