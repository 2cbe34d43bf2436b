"""The frames of a flickering stimulus."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._typing import Baselines, FeatureMask, Inputs
from ..design import Design, TaggingDesign
from .masks import UNTAGGED, halves

INTEGER_DTYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def black(mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """What black looks like after ``torchvision.transforms.Normalize(mean, std)``.

    Pass it as ``baselines``, so that zero contrast is a black image, as in the paper, and not the
    data set's mean colour, which is what Captum's default of 0 means for a normalised image.

    Returns:
        Tensor: ``(0 - mean) / std``, shape ``(1, channels, 1, 1)``.

    Examples::

        >>> black((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).flatten().tolist()
        [-2.0, -2.0, -2.0]
    """
    channels = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)])
    return channels.reshape(1, -1, 1, 1)


@dataclass(frozen=True)
class Stimulus:
    """Inputs with their masks and baselines, checked and ready to flicker.

    Args:
        inputs: Float tensors, batch first.
        masks: Part of every element, one per input, as many dimensions as the input.
        baselines: What zero contrast looks like, one per input, likewise.
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
    ) -> Stimulus:
        """Check what the user gave and fill in the defaults.

        Args:
            inputs, feature_mask, baselines: As in `FrequencyTaggingAttribution.attribute`.
            design: The tags, one per part.
            prefix: That of the arguments' names: ``"tag_"`` for `FrequencyTunnel`. Default: ``""``

        Raises:
            TypeError, ValueError: If inputs, mask or baselines do not fit each other or the design.
        """
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        for tensor in tensors:
            _validate_input(tensor)
        if len({len(tensor) for tensor in tensors}) != 1:
            raise ValueError(
                "Expected all `inputs` to hold the same number of examples, but got "
                f"{[len(tensor) for tensor in tensors]}"
            )
        mask_name = "tag_mask" if prefix else "feature_mask"
        if feature_mask is None:
            masks = tuple(_default_mask(tensor, design, mask_name) for tensor in tensors)
        else:
            given = _one_per_input(feature_mask, tensors, mask_name)
            masks = tuple(
                _validated_mask(mask, tensor, mask_name)
                for mask, tensor in zip(given, tensors, strict=True)
            )
        _validate_parts(masks, design, mask_name)
        name = f"{prefix}baselines"
        values = _one_per_input(0 if baselines is None else baselines, tensors, name)
        shown = (
            _validated_baseline(value, tensor, name)
            for value, tensor in zip(values, tensors, strict=True)
        )
        return cls(tensors, masks, tuple(shown))

    @property
    def n_examples(self) -> int:
        """Size of the batch."""
        return len(self.inputs[0])

    def examples(self, rows: slice) -> Stimulus:
        """The stimulus of some examples of the batch."""

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
        shown = []
        for tensor, mask, baseline in zip(self.inputs, self.masks, self.baselines, strict=True):
            # The last column stands for the untagged background, found by its id of -1.
            levels = np.concatenate([contrasts, np.ones((len(contrasts), 1))], axis=1)
            gain = torch.from_numpy(levels).to(tensor.dtype).to(tensor.device)[:, mask]
            frames = torch.addcmul(baseline, gain, tensor - baseline)
            by_row = frames.reshape(-1, *tensor.shape[1:])
            shown.append(by_row.contiguous(memory_format=_memory_format(tensor)))
        return tuple(shown)


class FrameNoise:
    """Independent Gaussian noise for every frame, the same for an example whatever its batch.

    The generator of an example is seeded by ``seed`` and by the example's own values, so that
    different images see different noise and one image always the same.
    """

    def __init__(self, inputs: tuple[Tensor, ...], std: float, seed: int) -> None:
        self.std = std
        self.generators = [
            torch.Generator(inputs[0].device).manual_seed(_example_seed(example, seed))
            for example in zip(*inputs, strict=True)
        ]

    def add_to(self, frames: tuple[Tensor, ...]) -> None:
        """Add the noise of the next frames, in place."""
        n_examples = len(self.generators)
        for row in range(len(frames[0])):
            generator = self.generators[row % n_examples]
            for tensor in frames:
                noise = torch.randn(
                    tensor.shape[1:], generator=generator, dtype=tensor.dtype, device=tensor.device
                )
                tensor[row].add_(noise, alpha=self.std)


def tagged_sequence(
    inputs: Inputs,
    design: Design | None = None,
    feature_mask: FeatureMask = None,
    baselines: Baselines = None,
) -> Inputs:
    """The whole stimulus in order, for networks with memory or to look at.

    Args:
        inputs (Tensor or tuple[Tensor, ...]): Inputs, batch first.
        design (Design, optional): Default: the paper's.
        feature_mask (Tensor or tuple[Tensor, ...], optional): Part of every element, -1 where
            nothing flickers. Default: left half and right half.
        baselines (Tensor, scalar or tuple, optional): What zero contrast looks like. Default: 0

    Returns:
        Tensor or tuple[Tensor, ...]: Shape ``(n_frames, N, ...)``. Its responses go to
        `TaggedSpectrum.from_series`. The frames of a grid are in no order of time.

    Raises:
        TypeError, ValueError: If the arguments do not fit each other.

    Examples::

        >>> tagged_sequence(torch.ones(2, 3, 8, 8)).shape
        torch.Size([240, 2, 3, 8, 8])
    """
    design = design or TaggingDesign()
    stimulus = Stimulus.build(inputs, design, feature_mask, baselines)
    frames = tuple(
        frame.reshape(design.n_frames, stimulus.n_examples, *frame.shape[1:])
        for frame in stimulus.frames(design.contrasts)
    )
    return frames if isinstance(inputs, tuple) else frames[0]


def _memory_format(tensor: Tensor) -> torch.memory_format:
    """Channels last where the input has them there, as the model then expects."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    channels_last = formats.get(tensor.dim(), torch.contiguous_format)
    if not tensor.is_contiguous() and tensor.is_contiguous(memory_format=channels_last):
        return channels_last
    return torch.contiguous_format


def _validate_input(tensor: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"Expected `inputs` to be a tensor or a tuple of tensors, but got "
            f"{type(tensor).__name__}; pictures become one by the model's preprocessing"
        )
    if not tensor.is_floating_point():
        raise TypeError(
            f"Expected `inputs` of a floating dtype, since contrast scales values, but got "
            f"{tensor.dtype}; convert them, or tag the output of the embedding that takes them"
        )
    if tensor.dim() == 0 or len(tensor) == 0:
        raise ValueError(
            f"Expected `inputs` to hold at least one example on dimension 0, but got shape "
            f"{tuple(tensor.shape)}"
        )
    if not tensor.isfinite().all():
        raise ValueError("Expected `inputs` to be finite, but got NaN or infinity; replace them")


def _one_per_input(value: object, tensors: tuple[Tensor, ...], name: str) -> tuple[object, ...]:
    if isinstance(value, (int, float)):
        return (value,) * len(tensors)
    values = value if isinstance(value, tuple) else (value,)
    if len(values) != len(tensors):
        raise ValueError(
            f"Expected `{name}` to be a tuple with one entry per input ({len(tensors)}), but got "
            f"{len(values)}"
        )
    return values


def _default_mask(tensor: Tensor, design: Design, name: str) -> Tensor:
    if design.n_parts == 1:
        return torch.zeros([1] * tensor.dim(), dtype=torch.long, device=tensor.device)
    if design.n_parts > 2:
        raise ValueError(
            f"Expected `{name}` for a design with {design.n_parts} parts, but got None, which "
            "means left and right half; `tiles`, `ring` and `sectors` make masks with more parts"
        )
    return halves(tensor.shape).to(tensor.device)


def _validated_mask(mask: object, tensor: Tensor, name: str) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype not in INTEGER_DTYPES:
        raise TypeError(
            f"Expected `{name}` to be an integer tensor of part ids, but got "
            f"{mask.dtype if isinstance(mask, Tensor) else type(mask).__name__}; "
            "`torch.as_tensor(mask).long()` makes one, with parts 0 and 1 of False and True"
        )
    return _aligned(mask.to(tensor.device).long(), tensor, name)


def _validated_baseline(baseline: object, tensor: Tensor, name: str) -> Tensor:
    if isinstance(baseline, bool) or not isinstance(baseline, (int, float, Tensor)):
        raise TypeError(
            f"Expected `{name}` to hold tensors or numbers, but got {type(baseline).__name__}; "
            "`torch.as_tensor` makes a tensor of an array"
        )
    values = torch.as_tensor(baseline).to(tensor)
    if not values.isfinite().all():
        raise ValueError(f"Expected `{name}` to be finite, but got NaN or infinity")
    return _aligned(values, tensor, name)


def _aligned(value: Tensor, tensor: Tensor, name: str) -> Tensor:
    """Give what broadcasts to the input the input's number of dimensions."""
    fits = value.dim() <= tensor.dim() and all(
        size in (1, full)
        for size, full in zip(reversed(value.shape), reversed(tensor.shape), strict=False)
    )
    if not fits:
        unbatched = value.dim() == tensor.dim() + 1
        raise ValueError(
            f"Expected `{name}` to broadcast to the input's shape {tuple(tensor.shape)}, examples "
            f"first, but got shape {tuple(value.shape)}"
            + ("; of a single example make a batch, `inputs[None]`" if unbatched else "")
        )
    return value.reshape([1] * (tensor.dim() - value.dim()) + list(value.shape))


def _validate_parts(masks: tuple[Tensor, ...], design: Design, name: str) -> None:
    expected = set(range(design.n_parts))
    for example in range(max(len(mask) for mask in masks)):
        shown = [mask[example % len(mask)] for mask in masks]
        present = {part for mask in shown for part in torch.unique(mask).tolist()} - {UNTAGGED}
        if present == expected:
            continue
        unknown, empty = sorted(present - expected), sorted(expected - present)
        raise ValueError(
            f"Expected the ids of `{name}` to be 0 to {design.n_parts - 1}, one per part, or "
            f"-1 where nothing flickers, but got "
            + " and ".join(
                ([f"ids {unknown} that the design lacks"] if unknown else [])
                + ([f"parts {empty} without a pixel"] if empty else [])
            )
            + "; `choose_design` makes designs with any number of parts"
        )


def _example_seed(example: tuple[Tensor, ...], seed: int) -> int:
    for tensor in example:
        seed = zlib.crc32(tensor.detach().float().cpu().numpy().tobytes(), seed)
    return seed
