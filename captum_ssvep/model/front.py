"""What lies in front of a layer runs once; then the layer gives frames instead of its output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import shown
from .._compat import map_tensors, tensors_in
from .._typing import ForwardFunction, Layer
from .arguments import run_forward
from .channels import watched
from .layers import layer_name, resolve_layer, root_module
from .outputs import floating_tensors, has_rows, validate_rows
from .replay import Replay, outputs_to, replaying
from .threads import in_this_thread
from .untouched import initialize_lazy, undisturbed

# Inputs of a model and its further arguments.
Call = tuple[tuple[Tensor, ...], tuple[Any, ...]]


class Front:
    """The part of a network in front of a layer whose output flickers.

    It runs once. What its modules returned is then repeated for every frame, so that the rest of
    the network, with shortcuts around the layer, finds what it would find in a whole pass.

    Args:
        forward_func: The model, or a function that calls it.
        layer: The layer whose output flickers, or its name.

    Raises:
        ValueError, TypeError: If the layer is not in the model, or the model is not known or runs
            on several devices.

    Examples::

        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
        >>> front, images = Front(model, "0"), torch.ones(3, 2)
        >>> front.run([((images,), ())]).shape
        torch.Size([3, 2])
        >>> with front.replayed():
        ...     front.show(torch.zeros(6, 2), block=0, n_frames=2)
        ...     outputs = model(torch.cat([images] * 2))
        >>> torch.equal(outputs, model[2].bias.expand(6, 1))
        True
    """

    def __init__(self, forward_func: ForwardFunction, layer: Layer) -> None:
        model = root_module(forward_func)
        if model is None or isinstance(model, nn.DataParallel):
            raise _no_model(forward_func)
        self.forward_func = forward_func
        self.model = model
        self.layer = resolve_layer(layer, model, "tag_layer")
        self.name = layer_name(self.layer, model)
        # Modules that have returned before the layer.
        self.finished: set[nn.Module] = set()
        # Whether the layer has given its frames in this pass.
        self.is_reached = False
        self._blocks: list[_Block] = []
        self._replays: dict[nn.Module, Replay] = {}

    def run(self, calls: Sequence[Call]) -> Tensor:
        """Run the network up to the layer, and remember it.

        Args:
            calls: Inputs and further arguments, for each block of examples.

        Returns:
            Tensor: What the layer returned for all examples.

        Raises:
            ValueError: If the layer is never called.
            TypeError: If it does not return one floating tensor, examples first.
        """
        initialize_lazy(self.model, partial(run_forward, self.forward_func, *calls[0]))
        with undisturbed(self.model, warn=False) as trace, torch.no_grad(), trace.draws:
            self._blocks = [self._run_block(call) for call in calls]
        return torch.cat([self._flickering_in(block.of_layer) for block in self._blocks])

    def _run_block(self, call: Call) -> _Block:
        given: list[Tensor] | None = None

        def note_arguments(module: nn.Module, args: Any, kwargs: Any) -> None:
            nonlocal given
            given = [tensor.clone() for tensor in tensors_in((args, kwargs))]

        def note_finished(module: nn.Module, args: Any, output: Any) -> None:
            self.finished.add(module)

        hook = self.model.register_forward_pre_hook(
            in_this_thread(note_arguments), with_kwargs=True
        )
        with hook, watched(note_finished):
            run = partial(run_forward, self.forward_func, *call)
            outputs = outputs_to(self.model, self.layer, run)
        if given is None:  # a method of it, which hooks do not see
            raise _no_model(self.forward_func)
        self.finished.discard(self.layer)
        (of_layer,) = outputs.pop(self.layer)
        n_rows = len(call[0][0])
        validate_rows((self._flickering_in(of_layer),), n_rows, f"`tag_layer` {self.name!r}")
        return _Block(n_rows, given, outputs, of_layer)

    def _flickering_in(self, output: Any) -> Tensor:
        """The one floating tensor that a layer returned."""
        tensors = floating_tensors(output)
        if len(tensors) != 1 or not tensors[0].dim():
            got = f"{len(tensors)} of them" if len(tensors) != 1 else "a single number"
            raise TypeError(
                f"Expected `tag_layer` {self.name!r} to return one floating tensor, examples "
                f"first, but got {got}; take a layer in it, or behind it, that does"
            )
        return tensors[0]

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Put what was remembered in the place of what lies in front, and `show` it."""
        modules = dict.fromkeys(module for block in self._blocks for module in block.outputs)
        self._replays = {module: Replay(module, [], self._repeated) for module in modules}
        flickering = _Flickering(self)
        begin = in_this_thread(self._begin)
        with (
            self.model.register_forward_pre_hook(begin, with_kwargs=True),
            replaying(self.model, {**self._replays, self.layer: flickering}),
        ):
            yield

    def show(self, frames: Tensor, block: int, n_frames: int) -> None:
        """Choose what the next passes show: frames of a block, all examples of the first first."""
        self._frames, self._n_frames, self._shown = frames, n_frames, self._blocks[block]
        for module, replay in self._replays.items():
            replay.outputs = self._shown.outputs.get(module, [])

    def frames(self) -> Any:
        """What the layer returns in this pass, as new tensors.

        Raises:
            ValueError: If it has already been called in this pass.
        """
        if self.is_reached:
            raise ValueError(
                f"Expected `tag_layer` {self.name!r} to be called once in a forward pass, but it "
                "is called again; give each call a module of its own"
            )
        self.is_reached = True
        if torch.is_grad_enabled():
            self._frames.requires_grad_()  # as if there were something in front
        output = self._shown.of_layer
        flickers = self._flickering_in(output)

        def shown_or_repeated(tensor: Tensor) -> Tensor:
            return self._frames.clone() if tensor is flickers else self._repeat(tensor)

        return map_tensors(shown_or_repeated, output)

    def _repeated(self, output: Any) -> Any:
        return map_tensors(self._repeat, output)

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
                f"since what lies in front of `tag_layer` {self.name!r} is not run again, but it "
                "was called with others; of Captum's methods take one without baselines and "
                "steps, such as LayerGradientXActivation"
            )

    def _is_repetition(self, given: Tensor, once: Tensor) -> bool:
        repeated = self._repeat(once)
        if given.shape != repeated.shape:
            return False
        are_nan = (given != given) & (repeated != repeated)
        return bool(((given == repeated) | are_nan).all())


def _no_model(forward_func: ForwardFunction) -> ValueError:
    return ValueError(
        "Expected `forward_func` to be a model on one device for `tag_layer`, but got "
        f"{shown(forward_func)}; pass the model itself"
    )


@dataclass
class _Block:
    """What happened in front of the layer for a block of examples.

    Args:
        n_rows: Number of examples.
        given: Tensors that the model was called with.
        outputs: For each of the outermost modules that returned, what it returned in each call.
        of_layer: What the layer returned.
    """

    n_rows: int
    given: list[Tensor]
    outputs: dict[nn.Module, list[Any]]
    of_layer: Any


class _Flickering(Replay):
    """Stands in for the forward of the layer that flickers."""

    def __init__(self, front: Front) -> None:
        super().__init__(front.layer, [])
        self.front = front

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The frames, once in a pass."""
        return self.front.frames() if self.is_own_thread else self.forward(*args, **kwargs)
