"""What lies in front of a layer runs once; then the layer gives frames instead of its output."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import shown
from .._compat import DispatchMode, map_tensors, tensors_in
from .._typing import ForwardFunction, Layer
from .arguments import run_forward
from .channels import watched
from .layers import layer_name, resolve_layer, root_module
from .outputs import floating_tensors, has_rows, validate_rows
from .replay import Call, Replay, calls_to, replaying
from .threads import in_this_thread
from .untouched import initialize_lazy, undisturbed

# Inputs of a model may differ from those that were remembered by this share of the largest.
INPUT_TOLERANCE = 1e-3
# Inputs of a model and its further arguments.
Inputs = tuple[tuple[Tensor, ...], tuple[Any, ...]]
# A module, and which of its calls in a pass.
_Place = tuple[nn.Module, int]


class Front:
    """The part of a network in front of a layer whose output flickers.

    It runs once. What its modules returned is then repeated for every frame, so that the rest of
    the network, with shortcuts around the layer, finds what it would find in a whole pass.

    Args:
        forward_func: The model, or a function that calls it.
        layer: The layer whose output flickers, or its name.
        argument: What the user calls the layer. Default: ``"tag_layer"``

    Raises:
        ValueError, TypeError: If the layer is not in the model, or the model is not known or runs
            on several devices.

    Examples::

        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
        >>> front, images = Front(model, "0"), torch.ones(3, 2)
        >>> with front.replayed([((images,), ())]) as activations:
        ...     front.show(torch.zeros(6, 2), block=0, n_frames=2)
        ...     outputs = model(torch.cat([images] * 2))
        >>> activations.shape, torch.equal(outputs, model[2].bias.expand(6, 1))
        (torch.Size([3, 2]), True)
    """

    def __init__(
        self, forward_func: ForwardFunction, layer: Layer, argument: str = "tag_layer"
    ) -> None:
        model = root_module(forward_func)
        if model is None or isinstance(model, nn.DataParallel):
            raise _no_model(forward_func, argument)
        self.forward_func = forward_func
        self.model = model
        self.argument = argument
        self.layer = resolve_layer(layer, model, argument)
        self.name = layer_name(self.layer, model)
        # Modules that have returned before the layer.
        self.finished: set[nn.Module] = set()
        # Whether the layer has given its frames in this pass.
        self.is_reached = False
        self._blocks: list[_Block] = []
        self._replays: dict[nn.Module, _Repeating] = {}
        # What is read behind what was remembered; None while that is not known.
        self._read: set[_Place] | None = None
        self._reads: _Reads | None = None

    @contextmanager
    def replayed(self, inputs: Sequence[Inputs]) -> Iterator[Tensor]:
        """Run the network up to the layer, and put what that did in its place.

        The state that this leaves in modules stays until the end, for what lies behind.

        Args:
            inputs: Inputs and further arguments of the model, for each block of examples.

        Yields:
            What the layer returned for all examples.

        Raises:
            ValueError: If the layer is never called, or modules in front of it keep activations.
            TypeError: If it does not return one floating tensor, examples first.
        """
        initialize_lazy(self.model, partial(run_forward, self.forward_func, *inputs[0]))
        with undisturbed(self.model, warn=False) as trace:
            with torch.no_grad(), trace.draws:
                self._blocks = [self._run_block(given) for given in inputs]
            activations = [self._flickering_in(block.of_layer.output) for block in self._blocks]
            modules = dict.fromkeys(module for block in self._blocks for module in block.calls)
            self._replays = {module: _Repeating(module, self) for module in modules}
            self.show(activations[0], block=0, n_frames=1)
            begin = in_this_thread(self._begin)
            with (
                self.model.register_forward_pre_hook(begin, with_kwargs=True),
                replaying(self.model, {**self._replays, self.layer: _Flickering(self)}),
            ):
                try:
                    yield torch.cat(activations)
                finally:
                    # They hold the front, and with it all that was remembered.
                    self._replays = {}

    def _run_block(self, inputs: Inputs) -> _Block:
        given: list[Tensor] | None = None
        n_rows = len(inputs[0][0])

        def note_arguments(module: nn.Module, args: Any, kwargs: Any) -> None:
            nonlocal given
            given = [tensor.clone() for tensor in tensors_in((args, kwargs))]

        def note_finished(module: nn.Module, args: Any, output: Any) -> None:
            self.finished.add(module)

        hook = self.model.register_forward_pre_hook(
            in_this_thread(note_arguments), with_kwargs=True
        )
        held = {module: dict(vars(module)) for module in self.model.modules()}
        with hook, watched(note_finished):
            run = partial(run_forward, self.forward_func, *inputs)
            calls = calls_to(self.model, self.layer, run)
        if given is None:  # a method of it, which hooks do not see
            raise _no_model(self.forward_func, self.argument)
        self._refuse_kept_activations(held, n_rows)
        self.finished.discard(self.layer)
        (of_layer,) = calls.pop(self.layer)
        layer = f"`{self.argument}` {self.name!r}"
        validate_rows((self._flickering_in(of_layer.output),), n_rows, layer)
        return _Block(n_rows, given, calls, of_layer)

    def _refuse_kept_activations(self, held: dict[nn.Module, dict[str, Any]], n_rows: int) -> None:
        for module, before in held.items():
            for name, value in vars(module).items():
                is_new = isinstance(value, Tensor) and value is not before.get(name)
                if is_new and has_rows(value, n_rows):
                    raise ValueError(
                        f"Expected modules in front of `{self.argument}` that keep no "
                        f"activations, but {layer_name(module, self.model)!r} keeps some as "
                        f"`{name}`, which would not be repeated for every frame; take a layer in "
                        "front of it"
                    )

    def _flickering_in(self, output: Any) -> Tensor:
        """The one floating tensor that a layer returned."""
        tensors = floating_tensors(output)
        if len(tensors) != 1 or not tensors[0].dim():
            got = f"{len(tensors)} of them" if len(tensors) != 1 else "a single number"
            raise TypeError(
                f"Expected `{self.argument}` {self.name!r} to return one floating tensor, examples "
                f"first, but got {got}; take a layer in it, or behind it, that does"
            )
        return tensors[0]

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Around a complete pass: learn which outputs are read by what is run again.

        Others, as of the first convolutions, need not be repeated for every frame.
        """
        if self._read is not None:
            yield
            return
        reads = _Reads()
        with reads:
            self._reads = reads
            yield
        self._read, self._reads = reads.found, None

    def show(self, frames: Tensor, block: int, n_frames: int) -> None:
        """Choose what the next passes show: frames of a block, all examples of the first first."""
        self._frames, self._n_frames, self._shown = frames, n_frames, self._blocks[block]
        for module, replay in self._replays.items():
            replay.calls = self._shown.calls.get(module, [])

    def repeated(self, call: Call, place: _Place, args: Any, kwargs: Any) -> Any:
        """Do for all frames of this pass what a module in front did for each example.

        Args:
            call: What it did.
            place: The module, and which of its calls this is.
            args, kwargs: Its arguments in this pass.
        """
        if self._read is not None and place not in self._read:
            return map_tensors(self._blank, call.output)
        repeated = self._again(call, args, kwargs)
        if self._reads is not None:
            self._reads.watch(tensors_in(repeated), place)
        return repeated

    def _again(self, call: Call, args: Any, kwargs: Any) -> Any:
        with nullcontext() if self._reads is None else self._reads.paused():
            return call.again(args, kwargs, self._repeat)

    def _blank(self, tensor: Tensor) -> Tensor:
        """A tensor of the right shape that takes no memory; NaN, should it be read after all."""
        is_for_all = not has_rows(tensor, self._shown.n_rows)
        n_rows = tensor.shape[:1] if is_for_all else [len(tensor) * self._n_frames]
        value = torch.nan if tensor.is_floating_point() else 0
        return tensor.new_full((), value).expand(*n_rows, *tensor.shape[1:])

    def frames(self, args: Any, kwargs: Any) -> Any:
        """What the layer returns in this pass, as new tensors.

        Args:
            args, kwargs: Its arguments in this pass.

        Raises:
            ValueError: If it has already been called in this pass.
        """
        if self.is_reached:
            raise ValueError(
                f"Expected `{self.argument}` {self.name!r} to be called once in a forward pass, "
                "but it is called again; give each call a module of its own"
            )
        self.is_reached = True
        if torch.is_grad_enabled():
            self._frames.requires_grad_()  # as if there were something in front
        of_layer = self._shown.of_layer
        flickers = self._flickering_in(of_layer.output)
        if of_layer.written:
            self._again(of_layer, args, kwargs)

        def shown_or_repeated(tensor: Tensor) -> Tensor:
            return self._frames.clone() if tensor is flickers else self._repeat(tensor)

        return map_tensors(shown_or_repeated, of_layer.output)

    def _repeat(self, tensor: Tensor) -> Tensor:
        is_for_all = not has_rows(tensor, self._shown.n_rows)
        return tensor.clone() if is_for_all else torch.cat([tensor] * self._n_frames)

    def _begin(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Begin a pass, if the model is called as it was when it was remembered."""
        self.is_reached = False
        given = tensors_in((args, kwargs))
        wanted = self._shown.given
        if len(given) != len(wanted) or not all(map(self._is_repetition, given, wanted)):
            raise ValueError(
                "Expected the model to be called with the inputs alone, once for every frame, "
                f"since what lies in front of `{self.argument}` {self.name!r} is not run again, "
                "but it was called with others; inside a tunnel take a method without baselines "
                "and steps, such as LayerGradientXActivation"
            )

    def _is_repetition(self, given: Tensor, once: Tensor) -> bool:
        """Whether a tensor repeats another for every frame, but for what rounding may change."""
        n_rows = self._shown.n_rows
        if has_rows(once, n_rows):
            if given.shape != (n_rows * self._n_frames, *once.shape[1:]):
                return False
            given = torch.unflatten(given, 0, (-1, n_rows))
        elif given.shape != once.shape:
            return False
        if not once.is_floating_point():
            return bool((given == once).all())
        largest = once.abs().nan_to_num(0, 0).max().item() if once.numel() else 0.0
        limit = INPUT_TOLERANCE * largest
        return bool(torch.isclose(given, once, rtol=0, atol=limit, equal_nan=True).all())


def _no_model(forward_func: ForwardFunction, argument: str) -> ValueError:
    return ValueError(
        f"Expected `forward_func` to be a model on one device for `{argument}`, but got "
        f"{shown(forward_func)}; pass the model itself"
    )


@dataclass(frozen=True)
class _Block:
    """What happened in front of the layer for a block of examples.

    Args:
        n_rows: Number of examples.
        given: Tensors that the model was called with.
        calls: What the outermost of the modules that returned did.
        of_layer: What the layer did.
    """

    n_rows: int
    given: list[Tensor]
    calls: dict[nn.Module, list[Call]]
    of_layer: Call


class _Reads(DispatchMode):  # type: ignore[no-untyped-call]
    """Which outputs are read by the operations of torch that run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[_Place] = set()
        self._is_paused = False
        self._places: dict[int, set[_Place]] = defaultdict(set)
        # Held, so that nothing else is put where they were.
        self._held: list[Tensor] = []

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A context whose operations do not count."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def watch(self, tensors: Sequence[Tensor], place: _Place) -> None:
        """Note what reads some tensors, or views of them."""
        self._held += tensors
        for tensor in tensors:
            self._places[tensor.untyped_storage().data_ptr()].add(place)

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation of torch."""
        for tensor in [] if self._is_paused else tensors_in((args, kwargs)):
            self.found |= self._places.get(tensor.untyped_storage().data_ptr(), set())
        return operation(*args, **(kwargs or {}))


class _Repeating(Replay):
    """Stands in for the forward of a module in front of the layer."""

    def __init__(self, module: nn.Module, front: Front) -> None:
        super().__init__(module, [])
        self.module, self.front = module, front

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the module did, for all frames; behind the layer it runs."""
        if not (self.left and self.is_own_thread):
            return self.forward(*args, **kwargs)
        place = self.module, len(self.calls) - len(self.left)
        return self.front.repeated(self.left.pop(), place, args, kwargs)


class _Flickering(Replay):
    """Stands in for the forward of the layer that flickers."""

    def __init__(self, front: Front) -> None:
        super().__init__(front.layer, [])
        self.front = front

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The frames, once in a pass."""
        if self.is_own_thread:
            return self.front.frames(args, kwargs)
        return self.forward(*args, **kwargs)
