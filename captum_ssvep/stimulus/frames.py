"""The frames of a flickering stimulus."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import finite_floats, instance, shown, warn_user
from .._typing import Baselines, FeatureMask, Inputs
from ..design import Design, TaggingDesign
from .masks import UNTAGGED, halves

INTEGER_DTYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def black(mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """What black looks like after ``torchvision.transforms.Normalize(mean, std)``.

    Pass it as ``baselines``, so that zero contrast is a black image, as in the paper. Captum's
    default of 0 would be the data set's mean color in a normalized image.

    Returns:
        Tensor: ``(0 - mean) / std``, shape ``(1, channels, 1, 1)``.

    Raises:
        TypeError, ValueError: If the two are not as many numbers, or a ``std`` is not above 0.

    Examples::

        >>> black((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).flatten().tolist()
        [-2.0, -2.0, -2.0]
    """
    means, stds = normalization(mean, std)
    return torch.tensor([-m / s for m, s in zip(means, stds, strict=True)]).reshape(1, -1, 1, 1)


def normalization(
    mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Means and standard deviations of the channels, checked.

    Raises:
        TypeError, ValueError: If they are not as many numbers, or a deviation is not above 0.
    """
    remedy = "give one number per channel, as to `transforms.Normalize`"
    means, stds = finite_floats(mean, "mean", remedy), finite_floats(std, "std", remedy)
    if len(means) != len(stds) or min(stds, default=0) <= 0:
        raise ValueError(
            "Expected `mean` and `std` to be one number per channel, with each `std` above 0, but "
            f"got {shown(mean)} and {shown(std)}"
        )
    return means, stds


@dataclass(frozen=True)
class Stimulus:
    """Inputs with their masks and baselines, checked and ready to flicker.

    Args:
        inputs: Float tensors, batch first.
        masks: Part of every element, one per input, with as many dimensions as the input.
        baselines: What zero contrast looks like, one per input, with as many dimensions.
    """

    inputs: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    baselines: tuple[Tensor, ...]

    @classmethod
    def build(
        cls,
        inputs: Inputs,
        design: Design,
        feature_mask: FeatureMask,
        baselines: Baselines,
        prefix: Literal["", "tag_"] = "",
        of_layer: bool = False,
    ) -> Stimulus:
        """Check what the user gave and fill in the defaults.

        Args:
            inputs, feature_mask, baselines: As in `FrequencyTaggingAttribution.attribute`.
            design: The design, with one part per id of the mask.
            prefix: ``"tag_"`` if the arguments' names begin with it, as in `FrequencyTunnel`.
                Default: ``""``
            of_layer: Whether the inputs are those of the rest of a network, which a layer gave.
                Default: False

        Raises:
            TypeError, ValueError: If inputs, mask or baselines do not fit each other or the design.
        """
        tensors = validated_batch(inputs)
        source = "the output of `tag_layer`" if of_layer else "`inputs`"
        for tensor in tensors:
            _validate_floats(tensor, source)
        mask_name = "tag_mask" if prefix else "feature_mask"
        if feature_mask is None:
            feature_mask = tuple(_default_mask(t, design, mask_name, source) for t in tensors)
        masks = _for_each_input(_checked_mask, feature_mask, tensors, mask_name)
        _validate_parts(masks, design, mask_name)
        dark = 0 if baselines is None else baselines
        return cls(
            tensors, masks, _for_each_input(_checked_baseline, dark, tensors, f"{prefix}baselines")
        )

    @property
    def n_examples(self) -> int:
        """Size of the batch."""
        return len(self.inputs[0])

    def examples(self, rows: slice) -> Stimulus:
        """The stimulus for some examples of the batch."""

        def select(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(t[rows] if len(t) == self.n_examples else t for t in tensors)

        return Stimulus(select(self.inputs), select(self.masks), select(self.baselines))

    def frames(self, contrasts: NDArray[np.float64]) -> tuple[Tensor, ...]:
        r"""Show the inputs at given contrasts: ``baseline + c * (input - baseline)``.

        Args:
            contrasts: Contrast of each part, shape ``(n, n_parts)``.

        Returns:
            tuple[Tensor, ...]: One per input, shape ``(n * n_examples, ...)``: all examples of the
            first contrast, then of the second, as Captum repeats inputs.
        """
        # The id -1 of the untagged background picks the last column.
        levels = torch.from_numpy(np.pad(contrasts, ((0, 0), (0, 1)), constant_values=1))
        shown = []
        for tensor, mask, baseline in zip(self.inputs, self.masks, self.baselines, strict=True):
            gain = levels.to(tensor.dtype).to(tensor.device)[:, mask]
            frames = torch.addcmul(baseline, gain, tensor - baseline).reshape(-1, *tensor.shape[1:])
            shown.append(frames.contiguous(memory_format=_memory_format(tensor)))
        return tuple(shown)


class FrameNoise:
    """Independent Gaussian noise for every frame, which does not depend on the batch.

    The generator of an example is seeded by ``seed`` and by the example's own values. Different
    images get different noise, and one image always gets the same.
    """

    def __init__(self, inputs: tuple[Tensor, ...], std: float, seed: int) -> None:
        self.std = std
        self.generators = [
            torch.Generator(inputs[0].device).manual_seed(_example_seed(example, seed))
            for example in zip(*inputs, strict=True)
        ]

    def add_to(self, frames: tuple[Tensor, ...]) -> None:
        """Add the noise of the next frames, in place."""
        for row in range(len(frames[0])):
            generator = self.generators[row % len(self.generators)]
            for tensor in frames:
                noise = tensor.new_empty(tensor.shape[1:]).normal_(generator=generator)
                tensor[row].add_(noise, alpha=self.std)


def tagged_sequence(
    inputs: Inputs,
    design: Design | None = None,
    feature_mask: FeatureMask = None,
    baselines: Baselines = None,
) -> Inputs:
    """The whole stimulus in order, to look at or to show to networks with memory.

    Args:
        inputs (Tensor or tuple[Tensor, ...]): Inputs, batch first.
        design (Design, optional): Default: the paper's.
        feature_mask (Tensor or tuple[Tensor, ...], optional): Part of every element, -1 where
            nothing flickers. Default: left half and right half.
        baselines (Tensor, scalar or tuple, optional): What zero contrast looks like. Default: 0

    Returns:
        Tensor or tuple[Tensor, ...]: Shape ``(n_frames, N, ...)``. Pass the responses to
        `TaggedSpectrum.from_series`. The frames of a grid have no order in time.

    Raises:
        TypeError, ValueError: If the arguments do not fit each other.

    Examples::

        >>> tagged_sequence(torch.ones(2, 3, 8, 8)).shape
        torch.Size([240, 2, 3, 8, 8])
    """
    design = design_or_default(design)
    stimulus = Stimulus.build(inputs, design, feature_mask, baselines)
    shape = stimulus.inputs[0].shape
    if len(shape) == 3 and shape[0] == 3 and shape[1] == shape[2]:
        warn_user(
            f"`inputs` of shape {tuple(shape)} are shown as 3 examples; if they are one picture, "
            "make a batch: `inputs[None]`"
        )
    frames = tuple(
        frame.reshape(design.n_frames, stimulus.n_examples, *frame.shape[1:])
        for frame in stimulus.frames(design.contrasts)
    )
    return frames if isinstance(inputs, tuple) else frames[0]


def design_or_default(design: Design | None) -> Design:
    """The design, or the paper's if there is none.

    Raises:
        TypeError: If it is something else.
    """
    if design is None:
        return TaggingDesign()
    return instance(design, Design, "design", "a design, as `TaggingDesign()` or `ChebyshevGrid()`")


def _memory_format(tensor: Tensor) -> torch.memory_format:
    """Channels last if the input has them there, as the model then expects."""
    for layout in (torch.contiguous_format, torch.channels_last, torch.channels_last_3d):
        if tensor.is_contiguous(memory_format=layout):
            return layout
    return torch.contiguous_format


def validated_batch(inputs: Inputs) -> tuple[Tensor, ...]:
    """Inputs as a tuple of tensors with the same number of examples.

    Raises:
        TypeError, ValueError: If they are none.
    """
    tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"Expected `inputs` to be a tensor or a tuple of tensors, but got "
                f"{type(tensor).__name__}; the model's preprocessing turns images into tensors"
            )
        if tensor.dim() == 0 or len(tensor) == 0:
            raise ValueError(
                "Expected `inputs` to hold at least one example, but got shape "
                f"{tuple(tensor.shape)}"
            )
    if len({len(tensor) for tensor in tensors}) != 1:
        raise ValueError(
            "Expected all `inputs` to hold the same number of examples, but got "
            f"{[len(tensor) for tensor in tensors]}"
        )
    return tensors


def _validate_floats(tensor: Tensor, source: str) -> None:
    if not tensor.is_floating_point():
        raise TypeError(
            f"Expected {source} of a floating dtype, since contrast scales values, but got "
            f"{tensor.dtype}; convert them, or pass the embedding that takes them as `tag_layer`"
        )
    if not tensor.isfinite().all():
        raise ValueError(f"Expected {source} to be finite, but got NaN or infinity; replace them")


def _for_each_input(
    check: Callable[[Any, Tensor, str], Tensor], value: Any, tensors: tuple[Tensor, ...], name: str
) -> tuple[Tensor, ...]:
    """Check what was given for each input; one number is for all of them."""
    if isinstance(value, (int, float)):
        value = (value,) * len(tensors)
    values = value if isinstance(value, tuple) else (value,)
    if len(values) != len(tensors):
        raise ValueError(
            f"Expected `{name}` to be a tuple with one entry per input ({len(tensors)}), but got "
            f"{len(values)}"
        )
    return tuple(check(entry, tensor, name) for entry, tensor in zip(values, tensors, strict=True))


def _default_mask(tensor: Tensor, design: Design, name: str, source: str) -> Tensor:
    if design.n_parts > 2:
        raise ValueError(
            f"Expected `{name}` for a design with {design.n_parts} parts, but got None, which "
            "means left and right half; `tiles`, `sectors` and `channel_groups` make more"
        )
    if design.n_parts == 1:
        return torch.tensor(0)
    if tensor.dim() < 2 or tensor.shape[-1] < 2:
        raise ValueError(
            f"Expected `{name}` for {source} of shape {tuple(tensor.shape)}, without a left and a "
            "right half, but got None"
        )
    return halves(tensor.shape)


def _checked_mask(mask: Any, tensor: Tensor, name: str) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype not in INTEGER_DTYPES:
        raise TypeError(
            f"Expected `{name}` to be an integer tensor of part ids, but got "
            f"{mask.dtype if isinstance(mask, Tensor) else type(mask).__name__}; "
            "`torch.as_tensor(mask).long()` makes one, with parts 0 and 1 for False and True"
        )
    return _aligned(mask.to(tensor.device).long(), tensor, name)


def _checked_baseline(baseline: Any, tensor: Tensor, name: str) -> Tensor:
    if isinstance(baseline, bool) or not isinstance(baseline, (int, float, Tensor)):
        raise TypeError(
            f"Expected `{name}` to hold tensors or numbers, but got {type(baseline).__name__}; "
            "`torch.as_tensor` turns an array into a tensor"
        )
    if isinstance(baseline, Tensor) and not baseline.is_floating_point():
        raise TypeError(
            f"Expected `{name}` of a floating dtype, but got {baseline.dtype}; preprocess them as "
            "the inputs, and pass a mask of the parts by its own name"
        )
    # A number would be rounded to single precision on its way to double.
    values = torch.as_tensor(baseline, dtype=tensor.dtype, device=tensor.device)
    if not values.isfinite().all():
        raise ValueError(f"Expected `{name}` to be finite, but got NaN or infinity")
    return _aligned(values, tensor, name)


def _aligned(value: Tensor, tensor: Tensor, name: str) -> Tensor:
    """The value with the input's number of dimensions, if it broadcasts to the input."""
    if not _broadcasts(value, tensor):
        raise ValueError(
            f"Expected `{name}` to broadcast to the input, or the layer, that flickers, of shape "
            f"{tuple(tensor.shape)}, examples first, but got shape {tuple(value.shape)}"
            + _remedy(value, tensor)
        )
    return value.reshape([1] * (tensor.dim() - value.dim()) + list(value.shape))


def _broadcasts(value: Tensor, tensor: Tensor) -> bool:
    sizes = zip(reversed(value.shape), reversed(tensor.shape), strict=False)
    return value.dim() <= tensor.dim() and all(given in (1, size) for given, size in sizes)


def _remedy(value: Tensor, tensor: Tensor) -> str:
    """What to do about a mask or a baseline that does not fit the input."""
    if value.dim() == tensor.dim() + 1:
        return "; of a single example make a batch, `inputs[None]`"
    if value.dim() > 1 and _broadcasts(value.mT, tensor):
        return "; the last two dimensions are swapped, `.mT` swaps them"
    if value.dim() == 1 and len(value) == tensor.shape[1]:
        shape = (len(value), *[1] * (tensor.dim() - 2))
        return f"; for one entry for each along dimension 1 take shape {shape}"
    return "; it needs the same size, or 1, in each dimension"


def _validate_parts(masks: tuple[Tensor, ...], design: Design, name: str) -> None:
    expected = set(range(design.n_parts))
    for example in range(max(len(mask) for mask in masks)):
        shown = [mask[example % len(mask)] for mask in masks]
        present = {part for mask in shown for part in torch.unique(mask).tolist()} - {UNTAGGED}
        unknown, empty = sorted(present - expected), sorted(expected - present)
        problems = [f"ids {unknown} that the design lacks"] if unknown else []
        problems += [f"parts {empty} without a pixel"] if empty else []
        if problems:
            low, *others = sorted(present) or [0]
            remedy = "`choose_design` makes designs with any number of parts"
            if design.n_parts == 2 and len(others) == 1:  # as in a picture of 0 and 255
                remedy = f"`({name} > {low}).long()` makes parts 0 and 1"
            raise ValueError(
                f"Expected the ids of `{name}` to be 0 to {design.n_parts - 1}, one per part, or "
                f"-1 where nothing flickers, but got {' and '.join(problems)}; {remedy}"
            )


def _example_seed(example: tuple[Tensor, ...], seed: int) -> int:
    for tensor in example:
        seed = zlib.crc32(tensor.detach().float().cpu().numpy().tobytes(), seed)
    return seed
