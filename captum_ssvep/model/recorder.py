"""Forward hooks that record layers while frames run, and leave the model as it was."""

from __future__ import annotations

import difflib
import inspect
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import warn_user
from .._compat import format_forward_args, gather_devices, run_forward
from .untouched import undisturbed

Layer = nn.Module | str
ForwardFunction = Callable[..., Any]
Receiver = Callable[[int, tuple[Tensor, ...]], None]


class EarlyExit(BaseException):
    """Every recorded layer has fired; not an Exception, so that no model code swallows it."""


class LayerRecorder:
    """Context manager that runs a forward function and hands over what some of its layers give.

    The first forward runs whole and counts how often each layer is called; later ones stop as soon
    as all layers have been called as often. Hooks, buffers and the random state are restored on
    leaving.

    Args:
        forward_func: The model, or a function around it.
        layers: Modules, or their names in the model.
        layer_inputs (bool, optional): Record what goes into the layers. Default: False
        device_ids (list[int], optional): Order of the devices under DataParallel.

    Raises:
        ValueError: If a layer is not in the model, is never called or the model is jitted.
        TypeError: If a layer is neither module nor name, or gives no floating tensor.

    Examples::

        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU()).eval()
        >>> with LayerRecorder(model, ["0"]) as recorder:
        ...     recorder.record(
        ...         (torch.ones(4, 2),), (), lambda index, tensors: print(index, tensors[0].shape)
        ...     )
        0 torch.Size([4, 3])
    """

    def __init__(
        self,
        forward_func: ForwardFunction,
        layers: Sequence[Layer],
        *,
        layer_inputs: bool = False,
        device_ids: list[int] | None = None,
    ) -> None:
        self.forward_func = forward_func
        self.layer_inputs = layer_inputs
        self.root = root_module(forward_func)
        if not layers:
            raise ValueError("Expected `layer` to hold at least one layer, but got an empty list")
        self.layers = [resolve_layer(layer, self.root) for layer in layers]
        self.names = [repr(_name(layer, self.root)) for layer in self.layers]
        self.device_ids = device_ids or getattr(forward_func, "device_ids", None)
        # Bytes of the largest activation in the complete forward, per row of the batch.
        self.bytes_per_row = 1
        self._lock = threading.Lock()
        self._expected: list[int] | None = None
        self._begin(0, lambda index, tensors: None)

    def __enter__(self) -> LayerRecorder:
        with ExitStack() as stack:
            stack.enter_context(undisturbed())
            for index, layer in enumerate(self.layers):
                handle = (
                    layer.register_forward_pre_hook(self._pre_hook(index), with_kwargs=True)
                    if self.layer_inputs
                    else layer.register_forward_hook(self._hook(index))
                )
                stack.callback(handle.remove)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def record(
        self, inputs: tuple[Tensor, ...], forward_args: tuple[Any, ...], receive: Receiver
    ) -> None:
        """Run the forward function once.

        Args:
            inputs: Inputs, batch first.
            forward_args: Further arguments of the forward function.
            receive: Called once per layer with its index and the floating tensors of its last
                call, batch first. They belong to the model: to be read at once, not kept or
                changed.
        """
        self._begin(len(inputs[0]), receive)
        if self._expected is None:
            with _largest_activation(inputs) as largest:
                run_forward(self.forward_func, inputs, forward_args)
            self._expected = self._count_calls()
            self.bytes_per_row = max(1, largest[0] // self._n_rows)
        else:
            with suppress(EarlyExit):
                run_forward(self.forward_func, inputs, forward_args)
        for index, held in enumerate(self._held):
            if held:
                self._hand_over(index, gather_devices(held, self.device_ids))
        if not all(self._received):
            raise self._uneven_calls(self._received.index(False))

    def _begin(self, n_rows: int, receive: Receiver) -> None:
        self._n_rows = n_rows
        self._receive = receive
        self._received = [False] * len(self.layers)
        self._calls: list[Counter[torch.device]] = [Counter() for _ in self.layers]
        self._held: list[dict[torch.device, tuple[Tensor, ...]]] = [{} for _ in self.layers]

    def _count_calls(self) -> list[int]:
        """Calls per layer in the whole forward, the same on every device."""
        calls = [max(counter.values(), default=0) for counter in self._calls]
        silent = [name for name, count in zip(self.names, calls, strict=True) if count == 0]
        if silent:
            raise ValueError(
                f"Expected every layer to be called in the forward pass, but {', '.join(silent)} "
                "never was; modules whose weights are only read (as MultiheadAttention does with "
                "`out_proj`) are not called, choose their parent"
            )
        for name, count in zip(self.names, calls, strict=True):
            if count > 1:
                warn_user(
                    f"Layer {name} is called {count} times in one forward pass; the last call "
                    "counts. Give each use a module of its own to read the others"
                )
        return calls

    def _hook(self, index: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self._save(index, module, output)

        return hook

    def _pre_hook(self, index: int) -> Callable[[nn.Module, Any, dict[str, Any]], None]:
        def hook(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            self._save(index, module, args if floating_tensors(args) else kwargs)

        return hook

    def _save(self, index: int, module: nn.Module, value: Any) -> None:
        tensors = floating_tensors(value)
        if not tensors or any(tensor.dim() == 0 for tensor in tensors):
            raise TypeError(
                f"Expected layer {self.names[index]} to give a floating tensor, batch first, but "
                f"got {'a single number' if tensors else type(value).__name__}"
            )
        device = tensors[0].device
        with self._lock:
            self._calls[index][device] += 1
            # A replica under DataParallel is another module, on a thread that must not be left.
            if self._expected is None or module is not self.layers[index]:
                # Copies, which no in-place operation behind the layer can reach.
                self._held[index][device] = tuple(tensor.clone() for tensor in tensors)
            elif self._received[index]:
                raise self._uneven_calls(index)
            elif self._calls[index][device] == self._expected[index]:
                self._hand_over(index, tensors)
                if all(self._received):
                    raise EarlyExit

    def _uneven_calls(self, index: int) -> ValueError:
        return ValueError(
            f"Expected layer {self.names[index]} to be called as often for every frame as for the "
            "first, but it was not; tagging cannot follow a network that branches so"
        )

    def _hand_over(self, index: int, tensors: tuple[Tensor, ...]) -> None:
        validate_rows(tensors, self._n_rows, f"layer {self.names[index]}")
        self._received[index] = True
        self._receive(index, tensors)


@contextmanager
def _largest_activation(inputs: tuple[Tensor, ...]) -> Iterator[list[int]]:
    """Bytes of the largest tensor among the inputs and what modules give, in a list of one."""
    largest = [max(map(_n_bytes, inputs))]

    def measure(module: nn.Module, args: Any, output: Any) -> None:
        largest[0] = max([*largest, *map(_n_bytes, floating_tensors(output))])

    handle = nn.modules.module.register_module_forward_hook(measure)
    try:
        yield largest
    finally:
        handle.remove()


def _n_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()  # which, other than nbytes, sparse ones have


def validate_rows(tensors: tuple[Tensor, ...], n_rows: int, source: str) -> None:
    """Check that tensors have the batch on dimension 0.

    Raises:
        ValueError: If one does not; the message names the source.
    """
    for tensor in tensors:
        if tensor.dim() == 0 or len(tensor) != n_rows:
            raise ValueError(
                f"Expected {source} to keep the batch of {n_rows} on dimension 0, but it gave "
                f"shape {tuple(tensor.shape)}; choose a layer behind or in front of it that does"
            )


def floating_tensors(value: Any) -> tuple[Tensor, ...]:
    """The floating tensors of a tuple, list or mapping, in order; of deeper ones if it has none.

    Examples::

        >>> state = (torch.zeros(2, 3), (torch.zeros(1, 2), None))  # as of an LSTM
        >>> [tensor.shape for tensor in floating_tensors(state)]
        [torch.Size([2, 3])]
        >>> [len(tensor) for tensor in floating_tensors({"a": None, "b": (torch.zeros(5),)})]
        [5]
    """
    if isinstance(value, Tensor):
        return (value,) if value.is_floating_point() else ()
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if not isinstance(value, (tuple, list)):
        return ()
    tensors = tuple(t for t in value if isinstance(t, Tensor) and t.is_floating_point())
    return tensors or tuple(tensor for item in value for tensor in floating_tensors(item))


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


def layer_names(forward_func: ForwardFunction, layers: Sequence[Layer]) -> list[str]:
    """Names of layers in the model behind a forward function; of types where it cannot be told.

    Raises:
        ValueError, TypeError: As `resolve_layer`.
    """
    root = root_module(forward_func)
    return [_name(resolve_layer(layer, root), root) for layer in layers]


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
    inside = {full.replace("_orig_mod.", ""): module for full, module in inner}
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
        elif isinstance(compiled := getattr(root, "_orig_mod", None), nn.Module):
            root = compiled
        else:
            return root


def _name(layer: nn.Module, root: nn.Module | None) -> str:
    names = {} if root is None else {id(module): name for name, module in root.named_modules()}
    return names.get(id(layer)) or type(layer).__name__
