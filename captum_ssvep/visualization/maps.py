"""Pictures of where in an image neurons respond."""

import math
from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from captum.attr import visualization as captum_visualization
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from .._checks import example_index, image_batch, position
from ..attr.interop import layer_maps
from ..design import ComponentSelection, Design
from ..model.channels import Layout
from ..spectrum import statistics
from ..spectrum.tagged import TaggedSpectrum
from ..stimulus.frames import Stimulus, normalization
from .style import (
    BORDER_GRAY,
    component_colors,
    new_figure,
    on_lines,
    one_spectrum,
    simplest_components,
)

MOST_COLUMNS = 6
# What is said of layers that are pooled to a single place.
NO_PLACES = (
    "to have more than one place in height and width, but got a map of 1 x 1, which would be one "
    "color; choose a layer in front of the pooling"
)


def to_map(
    result: Tensor,
    size: tuple[int, int],
    *,
    layout: Layout | None = None,
    example: int | None = None,
    channel: int | None = None,
    reduction: statistics.Reduction = "max",
    decibels: bool = False,
) -> NDArray[np.float32]:
    """Turn a layer's result into a map for Captum's image visualizers.

    Args:
        result (Tensor): What ``attribute`` returns for a layer: ``(N, channels, height, width)``,
            ``(N, height, width, channels)`` as in Swin, or tokens ``(N, tokens, channels)`` as in
            ViT, without the class token.
        size (tuple[int, int]): Height and width of the image.
        layout (str): ``"channels_first"``, ``"channels_last"`` or ``"tokens"``; see
            `TaggedSpectrum.layout` and ``NeuronScores.layouts``.
        example (int, optional): Which image of the batch; not needed for a batch of one.
        channel (int, optional): A single channel to show. Default: None, all channels combined
        reduction (str, optional): How channels combine: ``"max"``, ``"mean"``, ``"sum"`` or
            ``"energy"``. Default: ``"max"``
        decibels (bool, optional): Show ``20 log10``, with 0 for values of 1 and below. Use it for
            the SNR in noise. Without noise, every neuron that responds lies far above 0 dB, and the
            map is flat. Default: False

    Returns:
        Array: Shape ``(height, width, 1)``, float32, finite, contiguous; interpolated bilinearly.

    Raises:
        ValueError: If the layout or the image is missing, the layer has no map or one of a single
            place, or no value is nonzero (in decibels: above 1), since Captum cannot draw an empty
            map.
        TypeError: If the result is not a tensor, or an index not an integer.

    Examples::

        >>> import torch
        >>> to_map(torch.rand(1, 197, 768), (224, 224), layout="tokens").shape
        (224, 224, 1)
    """
    all_maps = layer_maps(result, layout, size)
    if all_maps.shape[2:].numel() == 1:
        raise ValueError(f"Expected `result` {NO_PLACES}")
    maps = all_maps[example_index(example, len(all_maps))].float()
    if channel is None:
        combined = statistics.reduce(maps, reduction)
    else:
        combined = maps[position(channel, len(maps), "channel")]
    if decibels:
        combined = statistics.decibels(combined.clamp(min=1))
    if not combined.any():
        raise ValueError(
            "Expected `result` to hold values above "
            f"{'1, which is 0 dB, for `decibels`' if decibels else 'zero'}, but got none: there is "
            "nothing to draw"
        )
    enlarged = F.interpolate(combined[None, None], size, mode="bilinear", align_corners=False)
    array: NDArray[np.float32] = enlarged[0, 0, :, :, None].detach().cpu().numpy()
    return np.ascontiguousarray(array)


def to_pixels(
    images: Tensor, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """Images as pictures: in [0, 1], colors last, and without a color dimension if gray.

    Args:
        images (Tensor): Shape ``(n, channels, height, width)``.
        mean, std (sequence of float, optional): Normalization to undo. Default: none

    Raises:
        TypeError, ValueError: If the images or the normalization are of another kind.

    Examples::

        >>> import torch
        >>> to_pixels(torch.zeros(2, 3, 4, 5)).shape
        (2, 4, 5, 3)
    """
    n_channels = image_batch(images, "images").shape[1]
    if not images.is_floating_point() or n_channels not in (1, 3):
        raise ValueError(
            "Expected `images` of a floating dtype with 1 or 3 channels, but got "
            f"{n_channels} of {images.dtype}; values in [0, 1] are pixels"
        )
    if mean is not None or std is not None:
        means, stds = normalization(mean, std)
        if len(means) not in (1, n_channels):
            raise ValueError(
                f"Expected `mean` and `std` for {n_channels} channels, but got {len(means)}"
            )
        images = images * images.new_tensor(stds).reshape(-1, 1, 1)
        images = images + images.new_tensor(means).reshape(-1, 1, 1)
    pixels: NDArray[np.float32] = images.detach().float().clamp(0, 1).cpu().numpy()
    return pixels[:, 0] if pixels.shape[1] == 1 else pixels.transpose(0, 2, 3, 1)


def plot_maps(
    spectrum: TaggedSpectrum,
    inputs: Tensor,
    components: ComponentSelection | None = None,
    *,
    feature_mask: Tensor | None = None,
    example: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> tuple[Figure, NDArray[np.object_]]:
    """Draw an image, and where in it the neurons of a layer respond at some components.

    Args:
        spectrum (TaggedSpectrum): The spectrum of single neurons, computed without ``pooling``.
        inputs (Tensor): The images that were tagged, shape ``(N, channels, height, width)``.
        components (str or sequence, optional): Among those of the spectrum. Default: the
            fundamentals and the sums of two of them
        feature_mask (Tensor, optional): The mask of the spectrum, whose borders are drawn.
            Default: left and right half
        example (int, optional): Which image of the batch; not needed for a batch of one.
        mean, std (sequence of float, optional): Normalization to undo. Default: none

    Returns:
        tuple: The figure and its axes: the image, then one map per component. A map shows
        amplitudes, combined over channels as the root of the sum of squares.

    Raises:
        ValueError: If the layer has no map, or one of a single place, or it is unknown where its
            channels lie.
        TypeError: If an argument is of the wrong type.
    """
    design = one_spectrum(spectrum).design
    if components is None:
        components = simplest_components(spectrum.components)
    shown = spectrum.select(components)
    if spectrum.mean.dim() == 2:
        raise ValueError(
            "Expected `spectrum` of neurons at several places, but got one value per channel, "
            "which is no map; compute it without `pooling`, or take a layer before the linear ones"
        )
    if spectrum.layout is not None and not has_maps(spectrum):
        raise ValueError(f"Expected `spectrum` {NO_PLACES}")
    row = example_index(example, len(image_batch(inputs, "inputs")))
    size, of_image = (inputs.shape[2], inputs.shape[3]), spectrum[row]
    (mask,) = Stimulus.build(inputs, design, feature_mask, None).masks
    picture = to_pixels(inputs[row : row + 1], mean, std)[0]
    if picture.ndim == 2:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    maps = [
        None
        if of_image.snr(component).max() <= 1
        else to_map(of_image.amplitude(component), size, layout=spectrum.layout, reduction="energy")
        for component in shown
    ]
    n_rows = math.ceil((len(shown) + 1) / MOST_COLUMNS)
    n_columns = math.ceil((len(shown) + 1) / n_rows)
    figure = new_figure(3 * n_columns, 3.4 * n_rows + 0.6)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    _draw_parts(axes[0], picture, mask.expand(inputs.shape)[row, 0].cpu().numpy())
    axes[0].set_title(_parts_title(design, feature_mask))
    for axis in axes:
        axis.set_axis_off()
    for axis, component, drawn, color in zip(
        axes[1:], shown, maps, component_colors(shown), strict=False
    ):
        title = design.title(component)
        if drawn is None:
            axis.set_title(f"{title}: absent")
            continue
        captum_visualization.visualize_image_attr(
            drawn,
            picture,
            method="blended_heat_map",
            sign="positive",
            plt_fig_axis=(figure, axis),
            cmap=LinearSegmentedColormap.from_list(title, [(1.0, 1.0, 1.0), color]),
            alpha_overlay=0.7,
            title=title,
            use_pyplot=False,
        )
    layer = "" if spectrum.layer is None else f"{spectrum.layer}, "
    figure.suptitle(on_lines(f"{layer}{spectrum.example_kind} {row}", 30 * n_columns))
    note = "amplitude, root of summed squares over channels; each map has its own scale"
    figure.supxlabel(on_lines(note, 30 * n_columns))
    return figure, axes[: len(shown) + 1]


def has_maps(spectrum: TaggedSpectrum) -> bool:
    """Whether a layer's neurons lie at several places of an image, so that `plot_maps` can draw.

    Args:
        spectrum (TaggedSpectrum): The spectrum of single neurons, computed without ``pooling``.

    Returns:
        bool: False after a pooling to 1 x 1, after a linear layer, and where it is unknown which
        dimension holds the channels.

    Raises:
        TypeError: If it is no spectrum.

    Examples::

        >>> from captum_ssvep import FrequencyTaggingAttribution
        >>> from captum_ssvep.demo.digits import example_images, load_network
        >>> tagging = FrequencyTaggingAttribution(load_network(), ["layer3", "fc"])
        >>> [has_maps(spectrum) for spectrum in tagging.spectrum(example_images()[0])]
        [True, False]
    """
    shape, layout = one_spectrum(spectrum).mean.shape, spectrum.layout
    if layout == "tokens":
        return shape[1] > 1
    places = {"channels_first": shape[2:], "channels_last": shape[1:-1]}
    return layout is not None and places[layout].numel() > 1


def _parts_title(design: Design, feature_mask: Tensor | None) -> str:
    """Which part is where, as far as it fits above a picture."""
    if design.n_parts == 2 and feature_mask is None:
        return "left: part 0 (f1)\nright: part 1 (f2)"
    if design.n_parts > 4:
        return f"{design.n_parts} parts"
    return on_lines(", ".join(f"part {part} (f{part + 1})" for part in range(design.n_parts)), 30)


def _draw_parts(axis: Axes, picture: NDArray[np.float32], mask: NDArray[np.int64]) -> None:
    """Draw the image, with a dashed line where one part meets another."""
    axis.imshow(picture)
    for part in np.unique(mask):
        if not (mask == part).all():
            axis.contour(mask == part, [0.5], colors=BORDER_GRAY, linestyles="--", linewidths=1)
