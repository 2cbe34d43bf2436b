"""How much of the variance some components should hold, as a number to minimize."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .._checks import integer, number, shown
from ..design import Component, Design
from ..spectrum import TaggedSpectrum
from ..spectrum.contrast import without_shared_lines

# Any function of a spectrum that gives one number, to be minimized.
Objective = Callable[[TaggedSpectrum], Tensor]
# Groups of components that may stand for parts.
GROUPS = ("harmonics", "intermodulations")


@dataclass(frozen=True)
class Share:
    r"""Share of the variance that some parts explain, kept within bounds.

    .. math:: s = \frac{\sum_{i,k} \sum_{n} P_{ikn}}{\sum_{i,k} V_{ik}}, \qquad
        L = (a - s)_+ + (s - b)_+

    over images :math:`i` and neurons :math:`k`, with the power :math:`P` of the components
    :math:`n` of exactly these parts, the variance :math:`V` over the frames, and the bounds
    :math:`a` and :math:`b`. Sums come before the ratio: a neuron counts by its variance, and one
    that does not respond counts nothing and gets no gradient, where its own ratio would be zero
    over zero. If the whole layer varies by no more than rounding, the share is 0, without gradient.

    The value is the share itself for ``at_most=0``, and what is missing from all for
    ``at_least=1``.

    Args:
        parts (int, sequence of int or str): One part: what it explains alone. Several: what exactly
            these explain together, beyond what they add. ``"intermodulations"``: what any parts
            explain together; ``"harmonics"``: what all explain alone.
        at_least (float, optional): Lowest share that costs nothing. Default: 0.0
        at_most (float, optional): Highest share that costs nothing. Default: 1.0

    Raises:
        ValueError, TypeError: If parts or bounds are none, or the bounds exclude nothing or
            everything.

    Examples::

        >>> from captum_ssvep import TwoLevelDesign
        >>> design = TwoLevelDesign(2)
        >>> left, right = torch.as_tensor(design.contrasts).T
        >>> spectrum = TaggedSpectrum.from_series((left * right)[:, None], design)
        >>> together = Share((0, 1), at_most=0.0)(spectrum)  # as a penalty: the share itself
        >>> alone = Share(0, at_least=0.5)(spectrum)
        >>> round(together.item(), 4), round(alone.item(), 4)
        (0.3333, 0.1667)
    """

    parts: int | Sequence[int] | str
    at_least: float = 0.0
    at_most: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _checked_parts(self.parts))
        for name in ("at_least", "at_most"):
            value = number(getattr(self, name), name, at_least=0, at_most=1)
            object.__setattr__(self, name, value)
        if self.at_least > self.at_most or (self.at_least, self.at_most) == (0, 1):
            raise ValueError(
                "Expected `at_least` and `at_most` to leave out some shares but not all, but got "
                f"{self.at_least:g} and {self.at_most:g}; at_most=0 lowers the share, at_least=1 "
                "raises it, both keep it in a band"
            )

    def __call__(self, spectrum: TaggedSpectrum) -> Tensor:
        """How far the share is from its bounds."""
        held = self.select(spectrum.components, spectrum.design)
        power = torch.stack([spectrum.power(component).sum() for component in held]).sum()
        variance = spectrum.known_variance.sum()
        # Not beyond the rounding of neurons in half precision: sums over many are more exact.
        responds = variance > rounding_of_sums(spectrum).square().sum()
        share = torch.where(responds, power / variance.where(responds, 1.0), 0.0)
        return (self.at_least - share).relu() + (share - self.at_most).relu()

    def select(self, components: Sequence[Component], design: Design) -> list[Component]:
        """The components that belong to the parts, and share no line with one of lower order.

        Raises:
            ValueError: If there are none.
        """
        readable = without_shared_lines(components, design)
        if isinstance(self.parts, str):
            held = [c for c in readable if c.is_harmonic == (self.parts == "harmonics")]
        else:
            wanted = (self.parts,) if isinstance(self.parts, int) else self.parts
            held = [c for c in readable if c.parts == wanted]
        if not held:
            raise ValueError(
                f"Expected `parts` with components among those of the loss, but got {self.parts!r}"
                f" for {', '.join(map(str, components))} of {design}; several parts need a "
                "design for as many, and components='all' to an order of at least their number"
            )
        return held


def rounding_of_sums(spectrum: TaggedSpectrum) -> Tensor:
    """How exact Fourier sums of each neuron are, in units of the activation, without gradient."""
    mean = spectrum.mean.detach().abs()
    return 4 * torch.finfo(mean.dtype).eps * mean


def _checked_parts(parts: int | Sequence[int] | str) -> int | tuple[int, ...] | str:
    """A part, several in rising order, or the name of a group."""
    if isinstance(parts, str):
        if parts not in GROUPS:
            raise ValueError(
                "Expected `parts` to be a part, as 0, several, as (0, 1), or one of "
                f"{', '.join(GROUPS)}, but got {shown(parts)}"
            )
        return parts
    if not isinstance(parts, (tuple, list)):
        return integer(parts, "parts", at_least=0)
    found = tuple(sorted(integer(part, "parts", at_least=0) for part in parts))
    if not found or len(set(found)) < len(found):
        raise ValueError(
            f"Expected `parts` to be different ones, as (0, 1), but got {shown(parts)}"
        )
    return found if len(found) > 1 else found[0]
