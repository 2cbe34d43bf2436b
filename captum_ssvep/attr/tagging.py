"""Frequency tagging as a Captum layer method."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast, overload

import torch
from captum.attr import LayerAttribution
from torch import Tensor

from .._compat import log_usage
from .._typing import Baselines, FeatureMask, ForwardFunction, Inputs, Layer
from ..design import ComponentSelection, Design
from ..model.forward import format_forward_args, repeat_forward_args
from ..model.recorder import LayerRecorder, Receiver
from ..spectrum.plan import SpectrumPlan, validate_statistic
from ..spectrum.run import PassSize, Pooling, Source, frames_that_fit, stream_spectra
from ..spectrum.statistics import STATISTICS, Reduction, Statistic, validate_choices
from ..spectrum.tagged import TaggedSpectrum
from ..stimulus.frames import Stimulus
from .arranged import reduce_spectra

# What `attribute` and `spectrum` return: of one layer, or a list of several layers'.
Attributions = TypeVar("Attributions", bound=Tensor | list[Tensor])
Spectra = TypeVar("Spectra", bound=TaggedSpectrum | list[TaggedSpectrum])


class FrequencyTaggingAttribution(LayerAttribution, Generic[Attributions, Spectra]):
    r"""Steady-state response of every neuron of a layer to flickering parts of the input.

    Each part of the input flickers at its own frequency; the spectrum of a neuron
    says what it owes to which part (harmonics ``n f1``, ``n f2``) and to their non-linear
    combination (intermodulations ``n1 f1 + n2 f2``). After Böge, Gunindi, Aptoula, Alp
    and Ozkan, "Adapting the Biological SSVEP Response to Artificial Neural Networks", arXiv
    2411.10084.

    Args:
        forward_func (callable): The model, or any function that runs it.
        layer (Module, str or list of these): Layer whose neurons are read: a module, its name as
            in ``model.named_modules()``, or several, read in one pass.
        device_ids (list[int], optional): Order of the devices, for a function that applies a
            DataParallel model. Default: None

    To a type checker a layer gives one tensor and one spectrum, and a list of layers a list. A
    layer with several tensors gives tuples of them, which takes a ``typing.cast``.

    Examples::

        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
        >>> tagging = FrequencyTaggingAttribution(model, "1")
        >>> image = torch.rand(1, 3, 16, 16)
        >>> tagging.attribute(image).shape
        torch.Size([1, 4, 14, 14])
        >>> spectrum = tagging.spectrum(image, pooling="channel")
        >>> spectrum.amplitude((1, 1)).shape  # what each channel answers at f1 + f2
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
        layer: list[Any],  # of layers; a list[Layer] would not take a list[str]
        device_ids: list[int] | None = None,
    ) -> None: ...

    def __init__(
        self,
        forward_func: ForwardFunction,
        layer: Layer | list[Any] | None,
        device_ids: list[int] | None = None,
    ) -> None:
        super().__init__(forward_func, layer, device_ids)

    @property
    def multiplies_by_inputs(self) -> bool:
        """False: a response is not a product with the input."""
        return False

    def has_convergence_delta(self) -> bool:
        """False: responses do not sum to the output."""
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
    ) -> Attributions:
        r"""One number per neuron: how strongly it answers the tags.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): Input of the model, examples on dimension 0, of a
                floating dtype.
            baselines (scalar, Tensor or tuple, optional): What zero contrast looks like; broadcasts
                to the input. For a normalised image black is ``stimulus.black(mean, std)``.
                Default: 0
            target (optional): Accepted for Captum's combinators and not used: neurons are read, not
                the output. Default: None
            additional_forward_args (Any, optional): Further arguments of the forward function.
                Tensors are repeated along dimension 0, one example each. Default: None
            feature_mask (Tensor or tuple[Tensor, ...], optional): Part of every element:
                integers that broadcast to the input; ``p`` flickers at the design's tag ``p``,
                -1 stays at full contrast. Default: left half 0, right half 1 of the last dimension
                (all 0 for a design with one tag).
            attribute_to_layer_input (bool, optional): Read what goes into the layer. Default: False
            perturbations_per_eval (int, optional): Frames per forward pass, each with all examples.
                Default: None, as many as suit the memory, by the activations of the first frame.
            internal_batch_size (int, optional): Most rows in one forward pass; also splits the
                examples. Default: None
            show_progress (bool, optional): Progress bar over forward passes. Default: False
            design (Design, optional): A `TaggingDesign`, or a `ChebyshevGrid`, which needs fewer
                frames. Default: the paper's tags, 6 and 7.5 Hz in 240 frames at 120 Hz.
            components (str or sequence of tuple[int, ...], optional): ``"fundamentals"``,
                ``"harmonics"``, ``"intermodulations"``, ``"all"`` (to the order that the design
                resolves, `Design.default_order`), or integer tuples: (1, 1) is f1 + f2.
                Default: ``"fundamentals"``
            statistic (str, optional): ``"snr"``, ``"snr_db"``, ``"amplitude"``,
                ``"coefficient"`` (signed), ``"baseline_corrected"``, ``"zscore"`` or
                ``"variance_share"``; see `statistics`. Default: ``"snr"``
            reduction (str, optional): ``"mean"``, ``"sum"``, ``"max"`` or ``"energy"`` over the
                components. Default: ``"mean"``
            n_neighbors (int, optional): Bins on each side of a line that count as its noise, if
                there is any. Default: 2
            noise_std (float, optional): Standard deviation of Gaussian noise added to every
                element of every frame, in units of the input. Without it SNR is the amplitude in
                units of the rounding floor; with it, and with a single component, it has the null
                distribution of EEG (2.33, 3.26 and 4.78 at 5, 1 and 0.1 %), and all ``n_frames``
                run. Default: 0.0
            seed (int, optional): Seed of that noise. Default: 0

        Returns:
            Tensor, tuple or list: What ``LayerActivation`` returns for the layer: a tensor of its
            output's shape, a tuple for a layer with several tensors, a list for a list of layers.
            Finite, contiguous, float32 for half-precision layers.

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
    ) -> Spectra:
        r"""Everything the neurons answer: lines, amplitudes, signs, shares of the variance.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): This and the arguments to ``show_progress``, and
                ``design``, ``noise_std`` and ``seed``, are as in `attribute`.
            n_neighbors (int, optional): As in `attribute`; 0 leaves the neighbors out. Default: 2
            components (str or sequence of tuple[int, ...], optional): As in `attribute`.
                Default: ``"all"``
            max_order (int, optional): Highest order of a group of components. Default: None, the
                highest that the design resolves (4 for the default design), at most 8.
            pooling (str or callable, optional): ``"channel"`` averages each channel over space or
                tokens before the Fourier sums; a function maps the activations to any tensor with
                the batch first. Default: None
            channel_dim (int, optional): Dimension of the channels in what the layer gives. Needed
                only where no module of the network says it. Default: None
            estimate_error (bool, optional): Estimate by how much components of higher order falsify
                these, for `TaggedSpectrum.error`. Runs further frames: for a grid those of the grid
                with one more node per part (61 instead of 25 for 5 x 5), in time those of other
                phases (114 instead of 49 for the default, at most three times as many).
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
        plan = SpectrumPlan.build(
            design, components, max_order, n_neighbors, noise_std, estimate_error
        )
        stimulus = Stimulus.build(inputs, plan.design, feature_mask, baselines)
        size = PassSize.within(
            stimulus.n_examples,
            perturbations_per_eval,
            internal_batch_size,
            "perturbations_per_eval",
        )
        recorder = LayerRecorder(
            self.forward_func,
            self.layer if isinstance(self.layer, list) else [self.layer],
            layer_inputs=attribute_to_layer_input,
            device_ids=self.device_ids,
            channel_dim=channel_dim,
        )

        source = _source(
            recorder, stimulus, additional_forward_args, size, perturbations_per_eval is None
        )
        with recorder:
            results = stream_spectra(
                plan,
                stimulus,
                source,
                size,
                pooling=pooling,
                noise_std=noise_std,
                seed=seed,
                title=self.get_name() if show_progress else None,
            )
        arranged = [spectra if len(spectra) > 1 else spectra[0] for spectra in results]
        return cast(Spectra, arranged if isinstance(self.layer, list) else arranged[0])


def _source(
    recorder: LayerRecorder,
    stimulus: Stimulus,
    additional_forward_args: object,
    size: PassSize,
    fits_memory: bool,
) -> Source:
    """A recorder as what a spectrum is summed from."""
    forward_args = format_forward_args(additional_forward_args)

    def record(rows: slice, frames: tuple[Tensor, ...], n_frames: int, receive: Receiver) -> None:
        of_rows = tuple(
            _examples_of(argument, rows, stimulus.n_examples) for argument in forward_args
        )
        recorder.record(frames, repeat_forward_args(of_rows, n_frames), receive)

    def fit() -> int:
        return frames_that_fit(size.examples * recorder.bytes_per_row, stimulus.inputs[0].device)

    return Source(
        record,
        "activations of layer",
        recorder.names,
        recorder.layers,
        recorder.dims,
        fit if fits_memory else None,
    )


def _examples_of(argument: Any, rows: slice, n_examples: int) -> Any:
    """The rows of an argument with an example each; what has none is for all."""
    per_example = isinstance(argument, Tensor) and argument.dim() > 0
    return argument[rows] if per_example and len(argument) == n_examples else argument
