"""Frequency tagging around any Captum method: the spectrum of attributions."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from captum.attr import Attribution, GradientAttribution
from torch import Tensor

from .._checks import instance, refuse_unknown_arguments, shown
from .._compat import log_usage
from .._typing import Baselines, FeatureMask, Inputs, Layer
from ..design import ComponentSelection, Design
from ..model.arguments import (
    format_forward_args,
    repeat_forward_args,
    repeat_target,
    run_forward,
    warn_of_square_args,
)
from ..model.channels import ChannelDims, watched
from ..model.layers import model_of
from ..model.outputs import ComputingPrecision, floating_tensors, validate_rows
from ..model.recorder import Receiver, Recording
from ..model.untouched import initialize_lazy, undisturbed
from ..spectrum.passes import PassSize
from ..spectrum.plan import SpectrumPlan, validate_statistic
from ..spectrum.repetition import Repetition
from ..spectrum.run import Pooling, Source, stream_spectra
from ..spectrum.statistics import STATISTICS, Reduction, Statistic, validate_choices
from ..spectrum.tagged import TaggedSpectrum
from ..stimulus.frames import validated_batch
from .arranged import Arranged, layers_read, reduce_spectra
from .flicker import Flicker, Parts, flickering


class FrequencyTunnel(Attribution):
    r"""Runs any Captum method on every frame of a tagged input and analyzes the attributions.

    This is to tagging what `NoiseTunnel` is to noise. `FrequencyTaggingAttribution` shows which
    neurons respond to a part; the tunnel shows whose *relevance* follows it. It takes layer, neuron
    and input methods (`LayerGradientXActivation`, `LayerConductance`, `NeuronGradient`,
    `Saliency`, ...) and can read what Captum itself can read. With `LayerActivation` inside, it
    equals `FrequencyTaggingAttribution`.

    The method must be deterministic, since equal frames are shown only once. `NoiseTunnel` does
    not expand ``tag_mask`` and ``tag_baselines``, so inside of it these must be the same for all
    examples.

    Args:
        attribution_method (Attribution): Any method of Captum whose ``attribute`` takes the inputs
            as its first argument.

    Examples::

        >>> from captum.attr import LayerGradientXActivation
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> tunnel = FrequencyTunnel(LayerGradientXActivation(model, model[1]))
        >>> tunnel.attribute(torch.rand(2, 4), target=torch.tensor([0, 1])).shape
        torch.Size([2, 3])
    """

    def __init__(self, attribution_method: Attribution) -> None:
        expected = "an instance of a Captum method, as in FrequencyTunnel(Saliency(model))"
        instance(attribution_method, Attribution, "attribution_method", expected)
        self.attribution_method = attribution_method
        self.repetition = Repetition(
            "frames_per_pass=1 and one image at a time", "frames_per_pass=1"
        )
        super().__init__(attribution_method.forward_func)

    @property
    def multiplies_by_inputs(self) -> bool:
        """As in the wrapped method."""
        return bool(self.attribution_method.multiplies_by_inputs)

    def has_convergence_delta(self) -> bool:
        """False, since a spectrum of attributions does not sum to the output."""
        return False

    @log_usage(part_of_slo=True)
    @torch.no_grad()
    def attribute(
        self,
        inputs: Inputs,
        tag_mask: FeatureMask = None,
        tag_baselines: Baselines = None,
        frames_per_pass: int = 16,
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
        **kwargs: Any,
    ) -> Arranged[Tensor]:
        """One number per attribution: how strongly it follows the tags.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): Input of the model, examples on dimension 0.
            tag_mask (Tensor or tuple[Tensor, ...], optional): The part that each element of the
                input belongs to, like ``feature_mask`` of `FrequencyTaggingAttribution`. Default:
                left and right half
            tag_baselines (scalar, Tensor or tuple, optional): What zero contrast looks like.
                Default: 0
            frames_per_pass (int, optional): Frames per call of the wrapped method, each with all
                examples. Default: 16
            show_progress (bool, optional): Progress bar over frames. Default: False
            design, components, statistic, reduction, n_neighbors, noise_std, seed, tag_layer: As in
                `FrequencyTaggingAttribution.attribute`. With a ``tag_layer``, the method must
                attribute to a layer behind it, and run the model on the inputs alone, as
                `LayerGradientXActivation` does.
            **kwargs (Any, optional): Arguments of the wrapped method. ``target``, ``baselines``,
                ``feature_mask`` and ``additional_forward_args`` with one entry per example are
                repeated for every frame.

        Returns:
            Tensor, tuple or list: Arranged and shaped like the wrapped method's result.

        Raises:
            ValueError, TypeError: If an argument does not fit; the message says what to do.
        """
        validate_choices(statistic, reduction)
        validate_statistic(statistic, design)
        # Checked here, since `spectrum` would accept `pooling` and `max_order` as its own.
        self._validate_arguments(kwargs)
        spectra = self.spectrum(
            inputs,
            tag_mask,
            tag_baselines,
            frames_per_pass,
            show_progress,
            design=design,
            components=components,
            n_neighbors=n_neighbors if STATISTICS[statistic].reads_neighbors else 0,
            noise_std=noise_std,
            seed=seed,
            tag_layer=tag_layer,
            **kwargs,
        )
        return reduce_spectra(spectra, components, statistic, reduction)

    @torch.no_grad()
    def spectrum(
        self,
        inputs: Inputs,
        tag_mask: FeatureMask = None,
        tag_baselines: Baselines = None,
        frames_per_pass: int = 16,
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
        **kwargs: Any,
    ) -> Arranged[TaggedSpectrum]:
        """The full spectrum of the attributions.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): This, the arguments up to ``show_progress``, and
                ``design``, ``noise_std``, ``seed``, ``tag_layer`` and ``**kwargs`` are as in
                `attribute`.
            components, max_order, pooling, channel_dim, n_neighbors, estimate_error: As in
                `FrequencyTaggingAttribution.spectrum`.

        Returns:
            TaggedSpectrum, tuple or list: One spectrum per tensor, arranged like the wrapped
            method's result.

        Raises:
            ValueError, TypeError: If an argument does not fit; the message says what to do.
        """
        self._validate_arguments(kwargs)
        plan = SpectrumPlan.build(
            design, components, max_order, n_neighbors, noise_std, estimate_error
        )
        method = self.attribution_method
        recording = Recording(*layers_read(method), ChannelDims(channel_dim))

        def size_of(n_examples: int) -> PassSize:
            return PassSize.within(n_examples, frames_per_pass, None, "frames_per_pass")

        with flickering(
            self.forward_func,
            tag_layer,
            inputs,
            format_forward_args(kwargs.get("additional_forward_args")),
            Parts(plan.design, tag_mask, tag_baselines, prefix="tag_"),
            size_of,
        ) as flicker:
            wrapped = _WrappedMethod(
                method,
                kwargs,
                validated_batch(inputs),
                isinstance(inputs, tuple),
                recording,
                flicker,
            )
            with wrapped.listening():
                results = stream_spectra(
                    plan,
                    flicker.stimulus,
                    Source(wrapped.record, "attributions to", recording),
                    size_of(flicker.stimulus.n_examples),
                    pooling=pooling,
                    noise_std=noise_std,
                    seed=seed,
                    title=f"{self.get_name()}: {method.get_name()}" if show_progress else None,
                    repetition=self.repetition,
                )
        kind, *kinds = wrapped.kinds
        arranged = [
            spectra if issubclass(item, tuple) else spectra[0]
            for item, spectra in zip(kinds, results, strict=True)
        ]
        return arranged if issubclass(kind, list) else arranged[0]

    def _validate_arguments(self, kwargs: dict[str, Any]) -> None:
        if kwargs.get("return_convergence_delta"):
            raise ValueError(
                "Expected attributions alone, but got return_convergence_delta=True; leave it out, "
                "since a delta has no neurons"
            )
        if "presentation" in kwargs:
            raise ValueError(
                "Expected no `presentation` in a FrequencyTunnel, whose method runs the model as "
                f"often as it wants, but got {shown(kwargs['presentation'])}; show frames in time "
                "with FrequencyTaggingAttribution"
            )
        parameters = inspect.signature(self.attribution_method.attribute).parameters
        if all(parameter.kind != parameter.VAR_KEYWORD for parameter in parameters.values()):
            method = type(self.attribution_method).__name__
            hint = "pass the parts as `tag_mask`, and zero contrast as `tag_baselines`"
            refuse_unknown_arguments(kwargs, [*parameters], f"{method}.attribute", hint)


@dataclass
class _WrappedMethod:
    """A method of Captum with its arguments, as it attributes to frames.

    Args:
        method: The method.
        kwargs: Its arguments.
        inputs: Inputs of the model, one row for each example.
        takes_tuple: Whether the user gave the inputs as a tuple.
        recording: The layers to which it attributes.
        flicker: What flickers.

    Raises:
        ValueError: If a layer flickers, and the method attributes to what lies in front of it.
    """

    method: Attribution
    kwargs: dict[str, Any]
    inputs: tuple[Tensor, ...]
    takes_tuple: bool
    recording: Recording
    flicker: Flicker
    # The type of the method's result, then those of its items.
    kinds: list[type] = field(default_factory=list)

    def __post_init__(self) -> None:
        front = self.flicker.front
        for name, module in zip(self.recording.names, self.recording.modules, strict=True):
            if front and (module is None or module in front.finished):
                raise ValueError(
                    f"Expected a method that attributes to a layer behind `tag_layer` "
                    f"{front.name!r}, but {self.method.get_name()} attributes to {name!r}, in "
                    "front of it; take a layer method, such as LayerGradientXActivation"
                )

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Leave the model as it is, and learn of it while the method runs."""
        forward_func = self.method.forward_func
        model, self.precision = model_of(forward_func), ComputingPrecision()
        forward_args = format_forward_args(self.kwargs.get("additional_forward_args"))
        warn_of_square_args(forward_args, len(self.inputs[0]))
        initialize_lazy(model, lambda: run_forward(forward_func, self.inputs, forward_args))
        with (
            undisturbed(model) as self.trace,
            watched(self.recording.dims.see),
            watched(self.precision.see),
        ):
            yield

    def record(
        self, rows: slice, frames: tuple[Tensor, ...], n_frames: int, receive: Receiver
    ) -> None:
        """Attribute to one pass of frames."""
        shown = self.flicker.inputs_of(rows, frames, n_frames)
        if self.kinds:
            result = self._attribute(shown, n_frames)
        else:
            with self.trace.draws, self.flicker.learning():
                result = self._attribute(shown, n_frames)
            self.recording.learn(self.precision.eps, self.trace)
        items = result if isinstance(result, list) else [result]
        self.kinds = [*map(type, (result, *items))]
        for index, item in enumerate(items):
            tensors = tuple(tensor.detach() for tensor in floating_tensors(item))
            validate_rows(tensors, len(shown[0]), self.method.get_name())
            receive(index, tensors)

    def _attribute(self, frames: tuple[Tensor, ...], n_frames: int) -> Any:
        if isinstance(self.method, GradientAttribution):
            frames = tuple(f.requires_grad_() if f.is_floating_point() else f for f in frames)
        # Without its decorator if it has one, as NoiseTunnel does.
        attribute = type(self.method).attribute
        return getattr(attribute, "__wrapped__", attribute)(
            self.method,
            frames if self.takes_tuple else frames[0],
            **expand_arguments(self.kwargs, self.inputs, n_frames),
        )


def expand_arguments(
    kwargs: dict[str, Any], inputs: tuple[Tensor, ...], n_frames: int
) -> dict[str, Any]:
    """Repeat arguments with one entry per example for every frame, as NoiseTunnel does.

    Examples::

        >>> inputs = (torch.ones(2, 3),)
        >>> expanded = expand_arguments({"target": [1, 2], "n_steps": 5}, inputs, n_frames=2)
        >>> expanded["target"], expanded["n_steps"]
        ([1, 2, 1, 2], 5)
    """
    n_examples = len(inputs[0])
    # A mask with fewer dimensions than the input has no batch, whatever its length.
    ranks = {tensor.dim() for tensor in inputs}

    def by_example(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(by_example, value))
        if isinstance(value, Tensor) and value.dim() in ranks and len(value) == n_examples > 1:
            return torch.cat([value] * n_frames)
        return value

    expanded = dict(kwargs)
    for name in {"baselines", "feature_mask"} & kwargs.keys():
        expanded[name] = by_example(kwargs[name])
    if "target" in kwargs:
        expanded["target"] = repeat_target(kwargs["target"], n_frames)
    if kwargs.get("additional_forward_args") is not None:
        forward_args = format_forward_args(kwargs["additional_forward_args"])
        expanded["additional_forward_args"] = repeat_forward_args(
            forward_args, n_examples, n_frames
        )
    return expanded
