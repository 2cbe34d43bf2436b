"""Frequency tagging as a Captum layer method."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar, cast, overload

import torch
from captum.attr import LayerAttribution
from torch import Tensor

from .._compat import log_usage
from .._typing import Baselines, FeatureMask, ForwardFunction, Inputs, Layer
from ..design import ComponentSelection, Design
from ..model.arguments import (
    format_forward_args,
    repeat_forward_args,
    warn_of_square_args,
)
from ..model.recorder import LayerRecorder, Receiver
from ..spectrum.in_time import Asked
from ..spectrum.passes import PassSize, frames_that_fit
from ..spectrum.plan import SpectrumPlan, validate_statistic
from ..spectrum.repetition import Repetition
from ..spectrum.run import Pooling, Source, stream_spectra
from ..spectrum.statistics import STATISTICS, Reduction, Statistic, validate_choices
from ..spectrum.tagged import TaggedSpectrum
from ..stimulus.frames import design_or_default
from ..stimulus.presentation import InSequence, Presentation, design_in_time
from .arranged import reduce_spectra
from .flicker import Flicker, Parts, flickering
from .in_time import spectra_in_time

# What `attribute` and `spectrum` return: the result of one layer, or a list for several layers.
Attributions = TypeVar("Attributions", bound=Tensor | list[Tensor])
Spectra = TypeVar("Spectra", bound=TaggedSpectrum | list[TaggedSpectrum])


class FrequencyTaggingAttribution(LayerAttribution, Generic[Attributions, Spectra]):
    r"""Steady-state response of every neuron of a layer to flickering parts of the input.

    Each part of the input flickers at its own frequency. The spectrum of a neuron then shows how
    much of its response comes from each part (harmonics ``n f1``, ``n f2``) and how much from their
    nonlinear combination (intermodulations ``n1 f1 + n2 f2``). The method follows Böge, Gunindi,
    Aptoula, Alp and Ozkan, "Adapting the Biological SSVEP Response to Artificial Neural Networks",
    arXiv 2411.10084.

    Args:
        forward_func (callable): The model, or any function that runs it.
        layer (Module, str or list of these): The layer to read: a module, its name as in
            ``model.named_modules()``, or a list of either, read in one pass.
        device_ids (list[int], optional): Order of the devices, for a function that applies a
            DataParallel model. Default: None

    For a type checker, one layer gives one tensor and one spectrum, and a list of layers gives a
    list. A layer with several tensors gives tuples, which need a ``typing.cast``.

    Examples::

        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
        >>> tagging = FrequencyTaggingAttribution(model, "1")
        >>> image = torch.rand(1, 3, 16, 16)
        >>> tagging.attribute(image).shape
        torch.Size([1, 4, 14, 14])
        >>> spectrum = tagging.spectrum(image, pooling="channel")
        >>> spectrum.amplitude((1, 1)).shape  # response of each channel at f1 + f2
        torch.Size([1, 4])
    """

    @overload
    def __init__(
        self: FrequencyTaggingAttribution[Tensor, TaggedSpectrum],
        forward_func: ForwardFunction,
        layer: Layer | None,
        device_ids: list[int] | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: FrequencyTaggingAttribution[list[Tensor], list[TaggedSpectrum]],
        forward_func: ForwardFunction,
        layer: list[Any],  # of layers; list[Layer] would reject a list[str]
        device_ids: list[int] | None = None,
    ) -> None: ...

    def __init__(
        self,
        forward_func: ForwardFunction,
        layer: Layer | list[Any] | None,
        device_ids: list[int] | None = None,
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self.repetition = Repetition()

    @property
    def multiplies_by_inputs(self) -> bool:
        """False, since responses are not multiplied by the inputs."""
        return False

    def has_convergence_delta(self) -> bool:
        """False, since responses do not sum to the output."""
        return False

    @log_usage(part_of_slo=True)
    @torch.no_grad()
    def attribute(
        self,
        inputs: Inputs,
        baselines: Baselines = None,
        target: object = None,
        additional_forward_args: object = None,
        feature_mask: FeatureMask = None,
        attribute_to_layer_input: bool = False,
        perturbations_per_eval: int | None = None,
        internal_batch_size: int | None = None,
        show_progress: bool = False,
        *,
        design: Design | None = None,
        components: ComponentSelection = "fundamentals",
        statistic: Statistic = "snr",
        reduction: Reduction = "mean",
        n_neighbors: int = 2,
        noise_std: float = 0.0,
        seed: int = 0,
        tag_layer: Layer | None = None,
        presentation: Presentation | None = None,
    ) -> Attributions:
        r"""One number per neuron: how strongly it responds to the tags.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): Input of the model, examples on dimension 0; of a
                floating dtype if it flickers.
            baselines (scalar, Tensor or tuple, optional): What zero contrast looks like; broadcasts
                to the input. For a normalized image, ``stimulus.black(mean, std)`` is black.
                Default: 0
            target (optional): Accepted for Captum's combinators but not used, since neurons are
                read and not the output. Default: None
            additional_forward_args (Any, optional): Further arguments of the forward function.
                Tensors hold one entry per example on dimension 0 and are repeated for every frame.
                Default: None
            feature_mask (Tensor or tuple[Tensor, ...], optional): The part that each element
                belongs to: integers that broadcast to the input. Part ``p`` flickers at tag ``p``
                of the design; -1 stays at full contrast. Default: the left half of the last
                dimension is 0 and the right half 1 (all 0 for a design with one tag).
            attribute_to_layer_input (bool, optional): Read the layer's input instead of its output.
                Default: False
            perturbations_per_eval (int, optional): Frames per forward pass, each with all examples.
                Default: None, as many as fit in memory, judged by the activations of the first
                frame.
            internal_batch_size (int, optional): Maximum number of rows in one forward pass; also
                splits the examples. Default: None
            show_progress (bool, optional): Progress bar over forward passes. Default: False
            design (Design, optional): A `TaggingDesign`; a `ChebyshevGrid`, which needs fewer
                frames; or a `TwoLevelDesign`, which shows parts or does not. Default: the paper's
                tags, 6 and 7.5 Hz in 240 frames at 120 Hz.
            components (str or sequence of tuple[int, ...], optional): ``"fundamentals"``,
                ``"harmonics"``, ``"intermodulations"``, ``"all"`` (up to the order that the design
                resolves, `Design.default_order`), or integer tuples: (1, 1) is f1 + f2.
                Default: ``"fundamentals"``
            statistic (str, optional): ``"snr"``, ``"snr_db"``, ``"amplitude"``,
                ``"coefficient"`` (signed), ``"baseline_corrected"``, ``"zscore"`` or
                ``"variance_share"``; see `spectrum.statistics`. Default: ``"snr"``
            reduction (str, optional): ``"mean"``, ``"sum"``, ``"max"`` or ``"energy"`` over the
                components. Default: ``"mean"``
            n_neighbors (int, optional): Bins on each side of a line that serve as its noise, if
                there is noise. Default: 2
            noise_std (float, optional): Standard deviation of Gaussian noise added to every
                element of every frame, in units of what flickers. Without noise, the SNR is the
                amplitude in units of the rounding floor. With noise, all ``n_frames`` run, and the
                SNR of a single component has the null distribution of EEG (2.33, 3.26 and 4.78 at
                5, 1 and 0.1 %). Default: 0.0
            seed (int, optional): Seed of that noise. Default: 0
            tag_layer (Module or str, optional): A layer whose output flickers instead of the
                inputs: one floating tensor, examples first. ``feature_mask`` and ``baselines`` then
                broadcast to it (`channel_groups` makes masks of channels, `layer_mean` baselines),
                and the layers read lie behind it. The modules in front of it run once, and what
                they returned is repeated for every frame. Default: None, the inputs flicker
            presentation (InSequence or StepByStep, optional): How the frames reach a network that
                lives in time. Inputs have no time axis; the presentation makes one. All frames are
                shown in their order, after a warm-up. Default: None, every frame by itself

        Returns:
            Tensor, tuple or list: Arranged as the result of `LayerActivation`: a tensor of the
            layer's output shape, a tuple for a layer with several tensors, a list for a list of
            layers. Values are finite, tensors contiguous, and half-precision layers give float32.

        Raises:
            ValueError, TypeError: If an argument does not fit; the message says what to do.

        Examples::

            >>> from torch import nn
            >>> model = nn.Sequential(nn.Linear(2, 2, bias=False)).eval()
            >>> _ = nn.init.constant_(model[0].weight, 0.5)
            >>> tagging = FrequencyTaggingAttribution(model, model[0])
            >>> ones = torch.ones(1, 2)
            >>> tagging.attribute(ones, components=[(0, 1)], statistic="amplitude")
            tensor([[0.1250, 0.1250]])
        """
        validate_choices(statistic, reduction)
        validate_statistic(statistic, design)
        spectra: Any = self.spectrum(
            inputs,
            baselines,
            target,
            additional_forward_args,
            feature_mask,
            attribute_to_layer_input,
            perturbations_per_eval,
            internal_batch_size,
            show_progress,
            design=design,
            components=components,
            n_neighbors=n_neighbors if STATISTICS[statistic].reads_neighbors else 0,
            noise_std=noise_std,
            seed=seed,
            tag_layer=tag_layer,
            presentation=presentation,
        )
        return cast(Attributions, reduce_spectra(spectra, components, statistic, reduction))

    @torch.no_grad()
    def spectrum(
        self,
        inputs: Inputs,
        baselines: Baselines = None,
        target: object = None,
        additional_forward_args: object = None,
        feature_mask: FeatureMask = None,
        attribute_to_layer_input: bool = False,
        perturbations_per_eval: int | None = None,
        internal_batch_size: int | None = None,
        show_progress: bool = False,
        *,
        design: Design | None = None,
        components: ComponentSelection = "all",
        max_order: int | None = None,
        pooling: Pooling = None,
        channel_dim: int | None = None,
        n_neighbors: int = 2,
        noise_std: float = 0.0,
        seed: int = 0,
        estimate_error: bool = False,
        tag_layer: Layer | None = None,
        presentation: Presentation | None = None,
        whole: bool = False,
    ) -> Spectra:
        r"""The full response of the neurons: lines, amplitudes, signs, shares of the variance.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): This, the arguments up to ``show_progress``, and
                ``design``, ``noise_std``, ``seed``, ``tag_layer`` and ``presentation`` are as in
                `attribute`.
            n_neighbors (int, optional): As in `attribute`; 0 leaves the neighbors out. Default: 2
            components (str or sequence of tuple[int, ...], optional): As in `attribute`.
                Default: ``"all"``
            max_order (int, optional): Highest order of a group of components. Default: None, the
                highest that the design resolves (4 for the default design), at most 8.
            pooling (str or callable, optional): ``"channel"`` averages each channel over space or
                tokens before the Fourier sums; a function maps the activations to any tensor with
                the batch first. Default: None
            channel_dim (int, optional): Dimension of the channels in the layer's output. Needed
                only if the modules of the network do not determine it. Default: None
            whole (bool, optional): Keep every frequency of the record, for
                `TaggedSpectrum.whole`; all frames run, and memory grows with their number. Pool
                layers with many neurons. Default: False
            estimate_error (bool, optional): Estimate how much components of higher order distort
                these, for `TaggedSpectrum.error`. This runs more frames: for a grid those of the
                grid with one more node per part (61 instead of 25 for 5 x 5), in time those of
                other phases (114 instead of 49 for the default, at most three times as many).
                Default: False

        Returns:
            TaggedSpectrum, tuple or list: One spectrum per tensor, arranged as in `attribute`.

        Raises:
            ValueError, TypeError: If an argument does not fit; the message says what to do.

        Examples::

            >>> from torch import nn
            >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
            >>> tagging = FrequencyTaggingAttribution(model, ["0", "1"])
            >>> before, after = tagging.spectrum(torch.rand(2, 4))
            >>> bool((before.amplitude((1, 1)) < before.floor[:, None]).all())  # linear: none
            True
        """
        design = design_or_default(design)
        show: Callable[..., list[tuple[TaggedSpectrum, ...]]]
        if presentation is None:
            plan = SpectrumPlan.build(
                design, components, max_order, n_neighbors, noise_std, estimate_error, whole
            )
            show = partial(self._one_by_one, plan, perturbations_per_eval)
        else:
            in_time = design_in_time(presentation, design)
            _refuse_out_of_time(perturbations_per_eval, estimate_error)
            asked = Asked(in_time, components, max_order, n_neighbors, whole, noise_std)
            show = partial(spectra_in_time, presentation, asked)
        forward_args = format_forward_args(additional_forward_args)

        def size_of(n_examples: int) -> PassSize:
            name = "perturbations_per_eval"
            return PassSize.within(n_examples, perturbations_per_eval, internal_batch_size, name)

        with flickering(
            self.forward_func,
            tag_layer,
            inputs,
            forward_args,
            Parts(design, feature_mask, baselines),
            size_of,
        ) as flicker:
            n_examples = flicker.stimulus.n_examples
            warn_of_square_args(forward_args, n_examples)
            recorder = LayerRecorder(
                self.forward_func,
                self.layer if isinstance(self.layer, list) else [self.layer],
                layer_inputs=attribute_to_layer_input,
                device_ids=self.device_ids,
                channel_dim=channel_dim,
                every_call=isinstance(presentation, InSequence),
                exits_early=presentation is None,
                is_behind=flicker.is_behind,
            )
            results = show(
                flicker,
                recorder,
                forward_args,
                size_of(n_examples),
                pooling=pooling,
                noise_std=noise_std,
                seed=seed,
                title=self.get_name() if show_progress else None,
            )
        arranged = [spectra if len(spectra) > 1 else spectra[0] for spectra in results]
        return cast(Spectra, arranged if isinstance(self.layer, list) else arranged[0])

    def _one_by_one(
        self,
        plan: SpectrumPlan,
        most_frames: int | None,
        flicker: Flicker,
        recorder: LayerRecorder,
        forward_args: tuple[Any, ...],
        size: PassSize,
        **options: Any,
    ) -> list[tuple[TaggedSpectrum, ...]]:
        """Show every frame by itself, in any order.

        Args:
            most_frames: The frames per pass that the user wants; None for as many as fit.
            **options: As in `stream_spectra`.
        """
        n_examples, device = flicker.stimulus.n_examples, flicker.stimulus.inputs[0].device

        def record(
            rows: slice, frames: tuple[Tensor, ...], n_frames: int, receive: Receiver
        ) -> None:
            shown = flicker.inputs_of(rows, frames, n_frames)
            given = repeat_forward_args(forward_args, n_examples, n_frames, rows)
            with flicker.learning():
                recorder.record(shown, given, receive)

        def fit() -> int:
            return frames_that_fit(size.examples * recorder.bytes_per_row, device)

        of_memory = fit if most_frames is None else None
        source = Source(record, "activations of layer", recorder.learned, of_memory)
        with recorder:
            return stream_spectra(
                plan, flicker.stimulus, source, size, repetition=self.repetition, **options
            )


def _refuse_out_of_time(perturbations_per_eval: int | None, estimate_error: bool) -> None:
    """Refuse what makes no sense for frames in their order."""
    if perturbations_per_eval is not None:
        raise ValueError(
            "Expected no `perturbations_per_eval` with a `presentation`, which shows frames in "
            f"their order, but got {perturbations_per_eval}; `internal_batch_size` limits examples"
        )
    if estimate_error:
        raise ValueError(
            "Expected `estimate_error` without a `presentation`, but got both; the error is "
            "estimated from frames that are shown by themselves"
        )
