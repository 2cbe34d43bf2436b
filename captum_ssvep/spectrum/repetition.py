"""Show one frame again in other company, and warn if it gets another answer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch

from .._checks import warn_user
from .._compat import multiplies_in_tf32
from ..model.recorder import Recording
from .sums import FLOOR_ROUNDINGS

# What shares the pass in which a frame is repeated: other frames, other images, or nothing.
Company = Literal["frames", "images", "nothing"]
# A record of fewer frames is checked once for each method, since one more would cost it much.
FEW_FRAMES = 20
# Equal frames may differ by this many rounding floors. In half precision that would be more than
# the activations themselves, so there it is this share of the largest one
# (`benchmarks/repetition.py`).
MOST_FLOORS = 1000.0
MOST_IN_HALF = 0.125
# The same where single precision multiplies in TF32, as convolutions on CUDA do by default.
MOST_IN_TF32 = 0.05


class Repetition:
    """When to show a frame again, and what to say of the answers.

    Tagging rests on two things: equal frames get equal answers, and the rows of a batch do not
    meet. So the first frame of a record is shown again at its end. Each attribution method holds
    one of these.

    Args:
        one_row: How the method is asked for passes of a single row.
        one_frame: How it is asked for passes of a single frame.
    """

    def __init__(
        self,
        one_row: str = "internal_batch_size=1",
        one_frame: str = "perturbations_per_eval=1",
    ) -> None:
        self.one_row, self.one_frame = one_row, one_frame
        self._checked = False
        self._warned = False
        # How many images a sweep over data has shown; None outside of sweeps.
        self._n_images: int | None = None

    @contextmanager
    def sparsely(self, n_done: int) -> Iterator[None]:
        """During a sweep over data: with the images 1, 2, 4, 8, ... until one is warned of.

        Args:
            n_done: Images shown before, so that a sweep goes on as if it had not been interrupted.
        """
        self._n_images, self._warned = n_done, False
        try:
            yield
        finally:
            self._n_images = None

    def is_due(self, n_frames: int, n_examples: int) -> bool:
        """Whether to show a frame again in the next record.

        Args:
            n_frames: Its frames.
            n_examples: Its examples.
        """
        if self._n_images is None:
            return n_frames >= FEW_FRAMES or not self._checked
        before, self._n_images = self._n_images, self._n_images + n_examples
        holds_power_of_two = before.bit_length() < self._n_images.bit_length()
        return holds_power_of_two and not self._warned

    def judge(
        self,
        recording: Recording,
        differences: Sequence[float],
        limits: Sequence[float],
        company: Company,
    ) -> None:
        """Warn if a layer answered differently when the frame was shown again.

        Args:
            recording: The layers.
            differences: How far the answers of each layer differ, in rounding floors.
            limits: How far they may (see `most_floors`).
            company: What shares the pass in which the frame was repeated.
        """
        found = [n > limit for n, limit in zip(differences, limits, strict=True)]
        is_clean = not (any(found) or any(recording.drew))
        self._checked = is_clean and not recording.in_train_mode
        # A model in train mode has a warning of its own.
        if is_clean or recording.in_train_mode:
            return
        self._warned = True
        worst = max(range(len(found)), key=lambda i: (found[i], recording.drew[i], differences[i]))
        name, n_floors = recording.names[worst], differences[worst]
        seen = (
            f"Equal frames got different answers in {name!r}: they differ by {n_floors:,.0f} times "
            f"the rounding floor, so that the spectrum is not that of the frames alone"
            if found[worst]
            else f"Random numbers were drawn up to {name!r}, and may change answers to equal frames"
        )
        warn_user(f"{seen}; {self._remedy(recording.drew[worst], company)}")

    def _remedy(self, drew: bool, company: Company) -> str:
        """What to do, from what is known of the cause."""
        if drew:
            return (
                "random numbers are drawn: call `model.eval()`, write functional dropout with "
                "`training=self.training`, and put no method that draws some into a tunnel"
            )
        memory = (
            "if the network keeps a state between calls, pass "
            "`presentation=StepByStep(reset=...)`, or clear the state, or a random generator, in "
            "each forward pass"
        )
        if company == "nothing":
            return memory
        if company == "images":
            return (
                f"if the examples of a batch meet, pass {self.one_row}, unless they make up one "
                f"whole, such as the nodes of a graph; {memory}"
            )
        return (
            f"if the rows of a batch meet, as in batch statistics, pass {self.one_row}, or "
            f"{self.one_frame} if the examples make up one whole, such as the nodes of a graph; "
            f"{memory}; if a part is left in train mode, call `model.eval()`"
        )


def most_floors(eps: float, device: torch.device) -> float:
    """By how many rounding floors the answers to equal frames may differ.

    Examples::

        >>> cpu, dtypes = torch.device("cpu"), (torch.float32, torch.bfloat16)
        >>> [most_floors(torch.finfo(dtype).eps, cpu) for dtype in dtypes]
        [1000.0, 4.0]
    """
    single, half = (torch.finfo(dtype).eps for dtype in (torch.float32, torch.float16))
    if eps >= half:
        return MOST_IN_HALF / (FLOOR_ROUNDINGS * eps)
    in_tf32 = device.type == "cuda" and multiplies_in_tf32() and eps >= single
    return MOST_IN_TF32 / (FLOOR_ROUNDINGS * eps) if in_tf32 else MOST_FLOORS
