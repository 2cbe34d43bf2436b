"""Find layers in a user's model, and name them."""

import difflib
import inspect
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from .._checks import network, shown
from .._compat import BatchNorm, Convolution, inside_compiled, plain_name
from .._typing import ForwardFunction, Layer
from .arguments import format_forward_args, run_forward
from .threads import in_this_thread
from .untouched import initialize_lazy, undisturbed

WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def root_module(forward_func: ForwardFunction) -> nn.Module | None:
    """The model behind a forward function; None if it cannot be found.

    Raises:
        ValueError: If the model is jitted.
        TypeError: If what should run it cannot be called.
    """
    if not callable(forward_func):
        raise TypeError(
            "Expected `forward_func` to be a model or a function that runs it, but got "
            f"{shown(forward_func)}; build or load the model first"
        )
    root = model_of(forward_func)
    for candidate in (forward_func, root):
        _refuse_jitted(candidate)
    return root


def model_of(forward_func: ForwardFunction) -> nn.Module | None:
    """The model behind a forward function, jitted or not; None if it cannot be found."""
    # Look into methods of a model, and into wrappers that use `functools.wraps`.
    root = inspect.unwrap(getattr(forward_func, "__self__", forward_func))
    return root if isinstance(root, nn.Module) else None


def layers_of(
    model: nn.Module,
    types: type[nn.Module] | tuple[type[nn.Module], ...] = (
        nn.Conv2d,
        nn.Linear,
        nn.MultiheadAttention,
    ),
    inputs: Tensor | tuple[Tensor, ...] | None = None,
    additional_forward_args: object = None,
) -> list[str]:
    """Names of a model's layers of some types, to pass on as ``layer``.

    Layers that are never called cannot be read and are left out: those inside
    ``MultiheadAttention``, which only reads their weights, and, if inputs are given, all that the
    forward pass does not reach.

    Args:
        model (Module): The model.
        types (type or tuple of type, optional): Default: convolutions, linear layers and
            attention.
        inputs (Tensor or tuple[Tensor, ...], optional): An input to run once. Default: None
        additional_forward_args (Any, optional): Further arguments of the forward pass.

    Returns:
        list[str]: In the order of ``model.named_modules()``.

    Raises:
        ValueError: If the model is jitted.
        TypeError: If the model is not a module, or the types are not types.

    Examples::

        >>> layers_of(nn.TransformerEncoderLayer(8, 2))
        ['self_attn', 'linear1', 'linear2']
    """
    _refuse_jitted(model)
    network(model)
    try:
        isinstance(model, types)
    except TypeError:
        raise TypeError(
            f"Expected `types` to be a type or a tuple of types, as `nn.Conv2d`, but got "
            f"{shown(types)}"
        ) from None
    modules = dict(model.named_modules())
    attentions = [m for m in modules.values() if isinstance(m, nn.MultiheadAttention)]
    never_called = {child for attention in attentions for child in attention.children()}
    names = [n for n, m in modules.items() if isinstance(m, types) and m not in never_called]
    if inputs is None:
        return names
    called: set[str] = set()
    with torch.no_grad(), ExitStack() as stack:
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        run = partial(run_forward, model, given, format_forward_args(additional_forward_args))
        initialize_lazy(model, run)
        stack.enter_context(stack.enter_context(undisturbed(model, warn=False)).draws)
        for name in names:
            note = in_this_thread(lambda *_, name=name: called.add(name))
            stack.enter_context(modules[name].register_forward_pre_hook(note))
        run()
    return [name for name in names if name in called]


def _refuse_jitted(module: object) -> None:
    if isinstance(module, (torch.jit.ScriptModule, torch.ScriptMethod, torch.jit.ScriptFunction)):
        raise ValueError(
            "Expected a model with forward hooks, but got a jitted one (torch.jit), which has "
            "none; use the Python model it was made from"
        )


def resolve_layer(layer: Layer, root: nn.Module | None, argument: str = "layer") -> nn.Module:
    """The module that a layer or its name refers to.

    Args:
        layer: The layer.
        root: The model; None if it is not known.
        argument: What the user calls the layer. Default: ``"layer"``

    Raises:
        ValueError: If the layer is not in the model, where the model is known, or jitted.
        TypeError: If it is neither module nor name.
    """
    if isinstance(layer, str):
        layer = _named_layer(layer, root, argument)
    if not isinstance(layer, nn.Module):
        several = " or a list of these" if argument == "layer" else ""
        raise TypeError(
            f"Expected `{argument}` to be a module, its name in the model{several}, but got "
            f"{type(layer).__name__}"
        )
    _refuse_jitted(layer)
    if root is not None and all(layer is not module for module in root.modules()):
        raise ValueError(
            f"Expected `{argument}` to be part of the model, but this {type(layer).__name__} is "
            "not; take it from the model that runs, as in `model.layer4`"
        )
    return layer


def _named_layer(name: str, root: nn.Module | None, argument: str) -> nn.Module:
    if root is None:
        raise ValueError(
            f"Expected a module for `{argument}`, but got the name {name!r}, and names cannot be "
            "looked up in a plain function; pass the module itself"
        )
    inner = unwrapped(root)
    inside = {plain_name(full): m for full, m in inner.named_modules(remove_duplicate=False)}
    known: dict[str, nn.Module] = inside | dict(root.named_modules(remove_duplicate=False))
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, inside, n=3)
    children = [child for child, _ in inner.named_children()]
    raise ValueError(
        f"Expected `{argument}` to name a module of the model, but it has no {name!r}; "
        + (f"nearest: {', '.join(close)}" if close else f"outermost: {', '.join(children)}")
    )


def unwrapped(root: nn.Module) -> nn.Module:
    """The model inside DataParallel, DistributedDataParallel and torch.compile."""
    inner = root.module if isinstance(root, WRAPPERS) else inside_compiled(root)
    return root if inner is None else unwrapped(inner)


def layer_name(layer: nn.Module, root: nn.Module | None) -> str:
    """Name of a layer in its model, or of its type if the model is not known."""
    names = {} if root is None else {id(module): name for name, module in root.named_modules()}
    return names.get(id(layer)) or type(layer).__name__


def n_filters_of(module: nn.Module) -> int | None:
    """How many filters a convolution, linear layer or BatchNorm has; None for others.

    Examples::

        >>> n_filters_of(nn.Conv2d(3, 8, 3)), n_filters_of(nn.ReLU())
        (8, None)
    """
    if isinstance(module, Convolution):
        return module.out_channels
    if isinstance(module, nn.Linear):
        return module.out_features
    return module.num_features if isinstance(module, BatchNorm) else None
