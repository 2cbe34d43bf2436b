"""Run a network a second time within a training step, and leave it to the first."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .._compat import own_buffers
from .untouched import undisturbed

# Whether modules are in eval mode, or as they are, and whether their buffers take in what they see.
Mode = Literal["eval", "train", "update"]
MODES: tuple[Mode, ...] = ("eval", "train", "update")
# By module and name. A buffer that two modules share has one copy.
Buffers = Mapping[nn.Module, Mapping[str, Tensor]]


def copied_buffers(model: nn.Module) -> Buffers:
    """Copies of all buffers of a model that have values, for `on_buffers`."""
    copies: dict[int, Tensor] = {}
    found = {}
    for module in model.modules():
        buffers = own_buffers(module).items()
        own = {name: b for name, b in buffers if b is not None and not is_lazy(b)}
        found[module] = {name: copies.setdefault(id(b), b.clone()) for name, b in own.items()}
    return found


@contextmanager
def on_buffers(model: nn.Module, buffers: Buffers, mode: Mode) -> Iterator[None]:
    """Let a model run on other buffers, so that its graph and its state keep nothing of it.

    The graph of a pass holds the buffers that it read. If they were the model's own, the next pass
    in train mode would change them below it. Train flags, attributes and random generators are put
    back as well.

    Args:
        model (Module): The model.
        buffers (Buffers): What `copied_buffers` gave.
        mode (str): ``"eval"`` puts the model in eval mode; the others leave it in its own.

    Examples::

        >>> import torch
        >>> norm = nn.BatchNorm1d(2).train()
        >>> copies = copied_buffers(norm)
        >>> with on_buffers(norm, copies, "train"):
        ...     _ = norm(torch.randn(8, 2))
        >>> norm.num_batches_tracked.item(), copies[norm]["num_batches_tracked"].item()
        (0, 1)
    """
    with undisturbed(model, warn=False) as trace, trace.draws:
        for module, own in buffers.items():
            own_buffers(module).update(own)
        if mode == "eval":
            model.eval()
        yield


def adopt(buffers: Buffers) -> None:
    """Write what passes left in copies of buffers into the buffers of their modules."""
    for module, own in buffers.items():
        for name, copy in own.items():
            buffer = own_buffers(module)[name]
            if buffer is not None:
                # Through `data`: batch statistics do not read the running ones, so that the graphs
                # of earlier passes, which hold them, are still right.
                buffer.data.copy_(copy)
