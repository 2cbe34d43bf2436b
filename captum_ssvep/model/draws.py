"""Notice the random numbers that a network draws, and put the generators back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .._compat import DispatchMode, draws


class RandomDraws(DispatchMode):  # type: ignore[no-untyped-call]
    """Context manager that notices random numbers drawn in this thread.

    Only a generator that the network drew from is put back. A generator that is global belongs to
    other threads as well: what they draw between the network's first draw and `put_back` is drawn
    again.

    Examples::

        >>> before = torch.get_rng_state()
        >>> with RandomDraws() as draws:
        ...     _ = torch.nn.functional.dropout(torch.ones(2), p=0.5)
        >>> draws.put_back()
        >>> draws.any, torch.equal(before, torch.get_rng_state())
        (True, True)
    """

    def __init__(self) -> None:
        super().__init__()
        # The state of each generator before its first draw.
        self.before: dict[torch.Generator, Tensor] = {}

    @property
    def any(self) -> bool:
        """Whether the network has drawn random numbers."""
        return bool(self.before)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation of torch."""
        kwargs = kwargs or {}
        if not draws(func, args, kwargs):
            return func(*args, **kwargs)
        generators = [g for g in _generators(args, kwargs) if g not in self.before]
        states = [generator.get_state() for generator in generators]
        output = func(*args, **kwargs)
        for generator, state in zip(generators, states, strict=True):
            if not torch.equal(state, generator.get_state()):
                self.before[generator] = state
        return output

    def put_back(self) -> None:
        """Put all generators back to where they were."""
        for generator, state in self.before.items():
            generator.set_state(state)


def _generators(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[torch.Generator]:
    """The generator that an operation was given, or all global ones."""
    given = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Generator)]
    if given:
        return given
    # Do not initialize an accelerator that nobody has used yet.
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return [torch.default_generator, *(torch.cuda.default_generators if used else ())]
