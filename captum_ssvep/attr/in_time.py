"""Show a record in time: as one sequence, or step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import Tensor, nn

from .._checks import shown
from ..model.arguments import repeat_forward_args
from ..model.channels import watched
from ..model.recorder import LayerRecorder, Receiver
from ..model.untouched import undisturbed
from ..spectrum.in_time import Asked, sequence_spectra
from ..spectrum.passes import PassSize
from ..spectrum.run import Source, stream_spectra
from ..spectrum.tagged import TaggedSpectrum
from ..stimulus.presentation import InSequence, Presentation, StepByStep
from .flicker import Flicker


def spectra_in_time(
    presentation: Presentation,
    asked: Asked,
    flicker: Flicker,
    recorder: LayerRecorder,
    forward_args: tuple[Any, ...],
    size: PassSize,
    **options: Any,
) -> list[tuple[TaggedSpectrum, ...]]:
    """Show all moments of a record in their order, and sum what layers return.

    Args:
        presentation: How they are shown.
        asked: What to read.
        flicker: What flickers.
        recorder: Reads the layers, not yet entered.
        forward_args: Further arguments of the model.
        size: Its examples go through the model at once.
        **options: ``pooling``, ``noise_std``, ``seed`` and ``title``, as in `stream_spectra`.

    Returns:
        list[tuple[TaggedSpectrum, ...]]: For each layer, a spectrum per tensor.
    """
    stimulus = flicker.stimulus
    steps = _Steps(presentation, flicker, recorder, forward_args)
    source = Source(steps.record, "activations of layer", recorder.learned, block=steps.from_start)
    # The outer one puts back the state from before the first reset.
    with steps.put_back(), recorder:
        if isinstance(presentation, InSequence):
            return sequence_spectra(presentation, asked, stimulus, source, size.examples, **options)
        plan = asked.plan(presentation.warmup * asked.design.period, 0)
        return stream_spectra(plan, stimulus, source, PassSize(1, size.examples), **options)


class _Steps:
    """Runs the model, from its first state for each block of examples."""

    def __init__(
        self,
        presentation: Presentation,
        flicker: Flicker,
        recorder: LayerRecorder,
        forward_args: tuple[Any, ...],
    ) -> None:
        self.flicker, self.recorder, self.forward_args = flicker, recorder, forward_args
        self.in_sequence = isinstance(presentation, InSequence)
        steps = presentation if isinstance(presentation, StepByStep) else StepByStep()
        self.reset, self.carry = steps.reset, steps.carry
        self.carried: Mapping[str, Any] = {}

    @contextmanager
    def put_back(self) -> Iterator[None]:
        """Leave the model as it was, and what `reset` is a method of, if that is another module."""
        owner = getattr(self.reset, "__self__", None)
        known = [m for m in (self.recorder.root, owner) if isinstance(m, nn.Module)]
        # Together, since modules that are not known are noticed when they run, after a reset.
        with undisturbed(nn.ModuleList(known) if known else None, warn=False):
            yield

    @contextmanager
    def from_start(self) -> Iterator[None]:
        """Bring the model into its first state, and back afterwards."""
        with self.put_back():
            if self.reset:
                self.reset()
            self.carried = {}
            yield

    def record(
        self, rows: slice, frames: tuple[Tensor, ...], n_frames: int, receive: Receiver
    ) -> None:
        """Run the model once, on the frames of a moment or a whole sequence."""
        n_examples = self.flicker.stimulus.n_examples
        given = repeat_forward_args(self.forward_args, n_examples, 1, rows)
        inputs = self.flicker.inputs_of(rows, frames, 1)
        # Step by step, a moment may hold a sequence of another kind, such as words.
        checked = watched(partial(_validate_recurrent, n_frames))
        with checked if self.in_sequence else nullcontext():
            output = self.recorder.record(inputs, given, receive, self.carried)
        if self.carry:
            self.carried = self.carry(output)
            if not isinstance(self.carried, Mapping):
                raise TypeError(
                    "Expected `carry` to return the keyword arguments of the model's next call, "
                    f"as {{'hidden': output[1]}}, but got {shown(self.carried)}"
                )


def _validate_recurrent(n_moments: int, module: nn.Module, args: Any, output: Any) -> None:
    """Refuse a recurrent module that takes the examples for moments, and the moments for examples.

    Raises:
        ValueError: If it does.
    """
    if not (isinstance(module, nn.RNNBase) and args and args[0].dim() == 3):
        return
    as_moments, as_examples = args[0].shape[:2][:: -1 if module.batch_first else 1]
    if as_examples == n_moments != as_moments:
        kind, option = type(module).__name__, module.batch_first
        raise ValueError(
            f"Expected a sequence of {n_moments} moments in {kind}(batch_first={option}), but it "
            f"takes dimension {int(option)}, of length {as_moments}, for time; use "
            f"InSequence(time_dim={int(option)}), or batch_first={not option}"
        )
