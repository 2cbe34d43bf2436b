"""Record layers with forward hooks while frames run, and leave the model as it was."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import instance, integer, warn_user
from .._compat import has_hooks
from .._typing import ForwardFunction, Layer
from .arguments import run_forward
from .channels import ChannelDims, watched
from .layers import layer_name, resolve_layer, root_module
from .outputs import ComputingPrecision, floating_tensors, has_rows, validate_rows
from .threads import in_this_thread
from .untouched import Trace, initialize_lazy, undisturbed

# Called with the index of a layer and the floating tensors that it returned, batch first; None for
# one without a batch.
Receiver = Callable[[int, tuple[Tensor | None, ...]], None]


@dataclass
class Recording:
    """Layers that are recorded, and what is learned of them while the first frame runs.

    Args:
        names: Their names, by index.
        modules: The layers themselves; None for inputs.
        dims: Where channels lie.
        eps: Relative rounding of what was computed up to each layer.
        drew: Whether the network drew random numbers up to each layer.
        in_train_mode: Whether a module is in train mode.
        times: Of layers whose time is taken out of what they return: where it was, and how long.
    """

    names: Sequence[str]
    modules: Sequence[nn.Module | None]
    dims: ChannelDims
    eps: list[float] = field(init=False)
    drew: list[bool] = field(init=False)
    in_train_mode: bool = False
    times: dict[int, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.eps = [0.0] * len(self.names)
        self.drew = [False] * len(self.names)

    def learn(self, eps: float, trace: Trace) -> None:
        """What is the same for all layers, as of a method around the network."""
        self.eps = [eps] * len(self.names)
        self.drew = [trace.draws.any] * len(self.names)
        self.in_train_mode = trace.in_train_mode

    def channel_dim_of(self, index: int, output: Tensor) -> int:
        """Where the channels of a layer's output lie.

        Raises:
            ValueError: If nothing shows it.
        """
        whole = self._with_time(index, output)
        return self._without_time(
            index, self.dims.of(self.modules[index], self.names[index], whole)
        )

    def find_channel_dim(self, index: int, output: Tensor) -> int | None:
        """The same; None if nothing shows it."""
        dim = self.dims.find(self.modules[index], self._with_time(index, output).shape)
        return None if dim is None else self._without_time(index, dim)

    def _with_time(self, index: int, output: Tensor) -> Tensor:
        if index not in self.times:
            return output
        dim, size = self.times[index]
        rows, *others = output.shape
        whole = [rows // size, *others]  # moments and examples lie on one dimension
        return torch.empty([*whole[:dim], size, *whole[dim:]], device="meta")

    def _without_time(self, index: int, channel_dim: int) -> int:
        return channel_dim - (index in self.times and channel_dim > self.times[index][0])


class EarlyExit(BaseException):
    """All recorded layers have run; not an Exception, so that no model code swallows it."""


class LayerRecorder:
    """Context manager that runs a forward function and passes on what some of its layers return.

    The first forward pass runs to its end and counts how often each layer is called. Later ones
    stop as soon as every layer has been called that often, unless this would skip hooks of the
    modules around them (FSDP puts its shards back in these). On exit the hooks are removed, and
    the state of the model and of random generators is put back.

    Args:
        forward_func: The model, or a function around it.
        layers: Modules, or their names in the model.
        layer_inputs (bool, optional): Record the layers' inputs instead. Default: False
        device_ids (list[int], optional): Order of the devices under DataParallel. Default: that of
            the model, or of their indices
        channel_dim (int, optional): Dimension of the channels in all layers. Default: None, what
            the modules show
        every_call (bool, optional): Pass on what every call of a layer returns, not only the last,
            without a check of its batch. Default: False
        exits_early (bool, optional): Whether later passes may stop at the last layer. Default: True
        is_behind (callable, optional): Whether the pass has come to where calls count. Default:
            all calls count
        warns_of_train_mode (bool, optional): Warn of a model in train mode. Default: True

    Raises:
        ValueError: If the model is jitted, or a layer is not in it, is never called, is not called
            equally often in every pass or does not keep the batch.
        TypeError: If a layer is neither module nor name, or returns no floating tensor.

    Examples::

        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU()).eval()
        >>> with LayerRecorder(model, ["0"]) as recorder:
        ...     _ = recorder.record(
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
        every_call: bool = False,
        exits_early: bool = True,
        is_behind: Callable[[], bool] | None = None,
        warns_of_train_mode: bool = True,
    ) -> None:
        self.forward_func = forward_func
        self.every_call = every_call
        self.is_behind = is_behind
        self.layer_inputs = layer_inputs
        self.root = root_module(forward_func)
        if not layers:
            raise ValueError("Expected `layer` to hold at least one layer, but got an empty list")
        self.layers = [resolve_layer(layer, self.root) for layer in layers]
        self.names = [layer_name(layer, self.root) for layer in self.layers]
        self.learned = Recording(self.names, self.layers, ChannelDims(channel_dim))
        if device_ids is not None:
            instance(device_ids, (list, tuple), "device_ids", "a list of indices, as [0, 1]")
            device_ids = [integer(index, "device_ids", at_least=0) for index in device_ids]
        self.device_ids = device_ids or getattr(forward_func, "device_ids", None)
        # Bytes of the largest activation in the complete forward pass, per row of the batch.
        self.bytes_per_row = 1
        self._lock = threading.Lock()
        self._precision = ComputingPrecision()
        self._trace = Trace(self.root)
        self._expected: list[int] | None = None
        self._exits_early = exits_early
        self._warns_of_train_mode = warns_of_train_mode
        # The modules that have begun and not returned, and those of them at the last recording.
        self._running: list[nn.Module] = []
        self._around: list[nn.Module] = []
        self._reported: set[tuple[int, int]] = set()
        self._begin(0, lambda index, tensors: None)

    def __enter__(self) -> LayerRecorder:
        with ExitStack() as stack:
            for index, layer in enumerate(self.layers):
                if self.layer_inputs:
                    hook = in_this_thread(partial(self._save_input, index))
                    stack.enter_context(layer.register_forward_pre_hook(hook, with_kwargs=True))
                else:
                    hook = in_this_thread(partial(self._save, index))
                    stack.enter_context(layer.register_forward_hook(hook))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def record(
        self,
        inputs: tuple[Tensor, ...],
        forward_args: tuple[Any, ...],
        receive: Receiver,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the forward function once.

        Args:
            inputs: Inputs, batch first.
            forward_args: Further arguments of the forward function.
            receive: Called once per layer with its index and the floating tensors of its last
                call, batch first. They belong to the model: read them at once, and neither keep
                nor change them.
            forward_kwargs: Arguments of the forward function by name. Default: none

        Returns:
            What the forward function returned; None if it was stopped early.
        """
        run = partial(run_forward, self.forward_func, inputs, forward_args, forward_kwargs)
        output = None
        if self._expected is None:
            output = self._first_pass(inputs, run, receive)
        else:
            self._begin(len(inputs[0]), receive)
            with suppress(EarlyExit):
                output = run()
        for index, held in enumerate(self._held):
            if held:
                self._hand_over(index, _gathered(held, self.device_ids))
        if not all(self._received):
            raise self._uneven_calls(self._received.index(False))
        return output

    def _first_pass(
        self, inputs: tuple[Tensor, ...], run: Callable[[], Any], receive: Receiver
    ) -> Any:
        initialize_lazy(self.root, run)
        context = undisturbed(self.root, warn=self._warns_of_train_mode)
        self._trace = self._stack.enter_context(context)
        self._begin(len(inputs[0]), receive)
        self._measure(inputs)
        with watched(self._observe, before=self._note_begin), self._trace.draws:
            output = run()
        self._expected = self._count_calls()
        self.learned.in_train_mode = self._trace.in_train_mode
        self._exits_early = self._exits_early and not any(map(has_hooks, self._around))
        return output

    def _begin(self, n_rows: int, receive: Receiver) -> None:
        self._n_rows = n_rows
        self._receive = receive
        self._received = [False] * len(self.layers)
        self._calls: list[Counter[torch.device]] = [Counter() for _ in self.layers]
        self._held: list[dict[torch.device, tuple[Tensor, ...]]] = [{} for _ in self.layers]

    def _note_begin(self, module: nn.Module, args: Any) -> None:
        self._running.append(module)

    def _observe(self, module: nn.Module, args: Any, output: Any) -> None:
        """Note where a module has its channels, and how large and how exact its output is."""
        self.learned.dims.see(module, args, output)
        self._precision.see(module, args, output)
        self._measure(floating_tensors(output))
        while self._running and self._running.pop() is not module:
            pass  # a module that raised an error, which the model caught

    def _measure(self, tensors: tuple[Tensor, ...]) -> None:
        for tensor in tensors:
            n_bytes = tensor.numel() * tensor.element_size()  # sparse tensors have no nbytes
            self.bytes_per_row = max(self.bytes_per_row, n_bytes // self._n_rows)

    def _count_calls(self) -> list[int]:
        """Calls per layer in a complete forward pass, the same on every device."""
        calls = [max(counter.values(), default=0) for counter in self._calls]
        silent = [repr(name) for name, count in zip(self.names, calls, strict=True) if count == 0]
        if silent and self.is_behind:
            raise ValueError(
                "Expected every layer to be called behind `tag_layer`, or the `layer` that is "
                f"replaced, but {', '.join(silent)} was not; only what lies behind changes"
            )
        if silent:
            raise ValueError(
                f"Expected every layer to be called in the forward pass, but {', '.join(silent)} "
                "never was; take the parent of a module that only holds weights, as `out_proj` does"
            )
        for name, count in zip(self.names, calls, strict=True):
            if count > 1 and not self.every_call:
                warn_user(
                    f"Layer {name!r} is called {count} times in one forward pass, and only the "
                    "last call is read; to read the others, give each a module of its own"
                )
        return calls

    def _save_input(self, index: int, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._save(index, module, args, args if floating_tensors(args) else kwargs)

    def _save(self, index: int, module: nn.Module, args: Any, value: Any) -> None:
        if self.is_behind and not self.is_behind():
            return
        tensors = floating_tensors(value)
        if not any(tensor.dim() for tensor in tensors):
            raise TypeError(
                f"Expected layer {self.names[index]!r} to give a floating tensor, batch first, but "
                f"got {_kind(value)}"
            )
        device = tensors[0].device
        with self._lock:
            self._calls[index][device] += 1
            if self.every_call:
                if self._expected is None:
                    self.learned.eps[index] = self._precision.eps
                    self.learned.drew[index] = self._trace.draws.any
                self._received[index] = True
                self._receive(index, tensors)
                return
            # A replica under DataParallel is another module; its thread must run to the end.
            if self._expected is None or module is not self.layers[index]:
                # Copies, so that in-place operations of later layers cannot change them.
                self._held[index][device] = tuple(tensor.clone() for tensor in tensors)
                self.learned.eps[index] = self._precision.eps
                self.learned.drew[index] = self._trace.draws.any
                self._around = [m for m in self._running if m is not module]
            elif self._received[index]:
                raise self._uneven_calls(index)
            elif self._calls[index][device] == self._expected[index]:
                self._hand_over(index, tensors)
                if self._exits_early and all(self._received):
                    raise EarlyExit

    def _uneven_calls(self, index: int) -> ValueError:
        return ValueError(
            f"Expected layer {self.names[index]!r} to be called as often for every frame as for "
            "the first, but it was not; tagging needs a network that does not branch on its input"
        )

    def _hand_over(self, index: int, tensors: tuple[Tensor, ...]) -> None:
        name, n_rows = self.names[index], self._n_rows
        with_batch = tuple(t if has_rows(t, n_rows) else None for t in tensors)
        if not any(tensor is not None for tensor in with_batch):
            validate_rows(tensors, n_rows, f"layer {name!r}")
        places = {(index, place) for place, t in enumerate(with_batch) if t is None}
        if places - self._reported:
            shapes = [tuple(tensors[place].shape) for _, place in sorted(places - self._reported)]
            self._reported |= places
            warn_user(
                f"Layer {name!r} also gives {', '.join(f'a tensor of shape {s}' for s in shapes)}, "
                f"without the batch of {n_rows} on dimension 0; it is left out of the result"
            )
        self._received[index] = True
        self._receive(index, with_batch)


def _kind(value: Any) -> str:
    """What a layer gave that cannot be read, in words."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    if value.is_floating_point():
        return "a single number"
    remedy = ", which has no amplitude; read a layer before it"
    if value.is_complex():
        remedy = "; read a layer before it, or one that gives `torch.view_as_real` of it"
    return f"a tensor of {value.dtype}{remedy}"


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
