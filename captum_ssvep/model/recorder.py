"""Record layers with forward hooks while frames run, and leave the model as it was."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import warn_user
from .._typing import ForwardFunction, Layer
from .arguments import run_forward
from .channels import ChannelDims, watched
from .layers import layer_name, resolve_layer, root_module
from .untouched import undisturbed

# Called with the index of a layer and the floating tensors that it returned, batch first.
Receiver = Callable[[int, tuple[Tensor, ...]], None]


class EarlyExit(BaseException):
    """All recorded layers have run; not an Exception, so that no model code swallows it."""


class LayerRecorder:
    """Context manager that runs a forward function and passes on what some of its layers return.

    The first forward pass runs to its end and counts how often each layer is called. Later ones
    stop as soon as every layer has been called that often. On exit the hooks are removed, and
    buffers and the random state are restored.

    Args:
        forward_func: The model, or a function around it.
        layers: Modules, or their names in the model.
        layer_inputs (bool, optional): Record the layers' inputs instead. Default: False
        device_ids (list[int], optional): Order of the devices under DataParallel. Default: that of
            the model, or of their indices
        channel_dim (int, optional): Dimension of the channels in all layers. Default: None, what
            the modules show

    Raises:
        ValueError: If the model is jitted, or a layer is not in it, is never called, is not called
            equally often in every pass or does not keep the batch.
        TypeError: If a layer is neither module nor name, or returns no floating tensor.

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
        channel_dim: int | None = None,
    ) -> None:
        self.forward_func = forward_func
        self.layer_inputs = layer_inputs
        self.root = root_module(forward_func)
        if not layers:
            raise ValueError("Expected `layer` to hold at least one layer, but got an empty list")
        self.layers = [resolve_layer(layer, self.root) for layer in layers]
        self.names = [layer_name(layer, self.root) for layer in self.layers]
        self.dims = ChannelDims(channel_dim)
        self.device_ids = device_ids or getattr(forward_func, "device_ids", None)
        # Bytes of the largest activation in the complete forward pass, per row of the batch.
        self.bytes_per_row = 1
        self._lock = threading.Lock()
        self._expected: list[int] | None = None
        self._begin(0, lambda index, tensors: None)

    def __enter__(self) -> LayerRecorder:
        with ExitStack() as stack:
            stack.enter_context(undisturbed())
            for index, layer in enumerate(self.layers):
                if self.layer_inputs:
                    hook = partial(self._save_input, index)
                    stack.enter_context(layer.register_forward_pre_hook(hook, with_kwargs=True))
                else:
                    stack.enter_context(layer.register_forward_hook(partial(self._save, index)))
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
                call, batch first. They belong to the model: read them at once, and neither keep
                nor change them.
        """
        self._begin(len(inputs[0]), receive)
        if self._expected is None:
            self._measure(inputs)
            with watched(self._observe):
                run_forward(self.forward_func, inputs, forward_args)
            self._expected = self._count_calls()
        else:
            with suppress(EarlyExit):
                run_forward(self.forward_func, inputs, forward_args)
        for index, held in enumerate(self._held):
            if held:
                self._hand_over(index, _gathered(held, self.device_ids))
        if not all(self._received):
            raise self._uneven_calls(self._received.index(False))

    def _begin(self, n_rows: int, receive: Receiver) -> None:
        self._n_rows = n_rows
        self._receive = receive
        self._received = [False] * len(self.layers)
        self._calls: list[Counter[torch.device]] = [Counter() for _ in self.layers]
        self._held: list[dict[torch.device, tuple[Tensor, ...]]] = [{} for _ in self.layers]

    def _observe(self, module: nn.Module, args: Any, output: Any) -> None:
        """Note where a module has its channels, and how large its output is."""
        self.dims.see(module, args, output)
        self._measure(floating_tensors(output))

    def _measure(self, tensors: tuple[Tensor, ...]) -> None:
        for tensor in tensors:
            n_bytes = tensor.numel() * tensor.element_size()  # sparse tensors have no nbytes
            self.bytes_per_row = max(self.bytes_per_row, n_bytes // self._n_rows)

    def _count_calls(self) -> list[int]:
        """Calls per layer in a complete forward pass, the same on every device."""
        calls = [max(counter.values(), default=0) for counter in self._calls]
        silent = [repr(name) for name, count in zip(self.names, calls, strict=True) if count == 0]
        if silent:
            raise ValueError(
                f"Expected every layer to be called in the forward pass, but {', '.join(silent)} "
                "never was; take the parent of a module that only holds weights, as `out_proj` does"
            )
        for name, count in zip(self.names, calls, strict=True):
            if count > 1:
                warn_user(
                    f"Layer {name!r} is called {count} times in one forward pass, and only the "
                    "last call is read; to read the others, give each a module of its own"
                )
        return calls

    def _save_input(self, index: int, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._save(index, module, args, args if floating_tensors(args) else kwargs)

    def _save(self, index: int, module: nn.Module, args: Any, value: Any) -> None:
        tensors = floating_tensors(value)
        if not tensors or any(tensor.dim() == 0 for tensor in tensors):
            raise TypeError(
                f"Expected layer {self.names[index]!r} to give a floating tensor, batch first, but "
                f"got {'a single number' if tensors else type(value).__name__}"
            )
        device = tensors[0].device
        with self._lock:
            self._calls[index][device] += 1
            # A replica under DataParallel is another module; its thread must run to the end.
            if self._expected is None or module is not self.layers[index]:
                # Copies, so that in-place operations of later layers cannot change them.
                self._held[index][device] = tuple(tensor.clone() for tensor in tensors)
            elif self._received[index]:
                raise self._uneven_calls(index)
            elif self._calls[index][device] == self._expected[index]:
                self._hand_over(index, tensors)
                if all(self._received):
                    raise EarlyExit

    def _uneven_calls(self, index: int) -> ValueError:
        return ValueError(
            f"Expected layer {self.names[index]!r} to be called as often for every frame as for "
            "the first, but it was not; tagging needs a network that does not branch on its input"
        )

    def _hand_over(self, index: int, tensors: tuple[Tensor, ...]) -> None:
        validate_rows(tensors, self._n_rows, f"layer {self.names[index]!r}")
        self._received[index] = True
        self._receive(index, tensors)


def _gathered(
    held: dict[torch.device, tuple[Tensor, ...]], device_ids: list[int] | None
) -> tuple[Tensor, ...]:
    """Join the outputs of a layer's replicas along the batch, in the order of the devices."""
    if len(held) == 1:
        return next(iter(held.values()))
    by_index = {device.index: tensors for device, tensors in held.items()}
    in_order = [by_index[index] for index in device_ids or sorted(by_index) if index in by_index]
    first = in_order[0][0].device
    return tuple(
        torch.cat([part.to(first) for part in parts]) for parts in zip(*in_order, strict=True)
    )


def validate_rows(tensors: tuple[Tensor, ...], n_rows: int, source: str) -> None:
    """Check that tensors have the batch on dimension 0.

    Raises:
        ValueError: If one does not; the message names the source.
    """
    for tensor in tensors:
        if tensor.shape[:1] != (n_rows,):
            raise ValueError(
                f"Expected {source} to keep the batch of {n_rows} on dimension 0, but it gave "
                f"shape {tuple(tensor.shape)}; choose a layer before or after it that does"
            )


def floating_tensors(value: Any) -> tuple[Tensor, ...]:
    """The floating tensors of a tuple, list or mapping, in order.

    Tensors of nested tuples, lists and mappings count only if there are none on the level above.

    Examples::

        >>> state = (torch.zeros(2, 3), (torch.zeros(1, 2), None))  # as an LSTM returns it
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
