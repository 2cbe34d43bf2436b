"""Frequency tagging around any Captum method: the spectrum of attributions."""

import inspect
from typing import Any

import torch
from captum.attr import Attribution, GradientAttribution
from torch import Tensor

from .._checks import refuse_unknown_arguments
from .._compat import log_usage
from .._typing import Baselines, FeatureMask, Inputs
from ..design import ComponentSelection, Design
from ..model.channels import ChannelDims, watched
from ..model.forward import format_forward_args, repeat_forward_args, repeat_target
from ..model.recorder import Receiver, floating_tensors, validate_rows
from ..model.untouched import undisturbed
from ..spectrum.plan import SpectrumPlan, validate_statistic
from ..spectrum.run import PassSize, Pooling, Source, stream_spectra
from ..spectrum.statistics import STATISTICS, Reduction, Statistic, validate_choices
from ..spectrum.tagged import TaggedSpectrum
from ..stimulus.frames import Stimulus
from .arranged import Arranged, layers_read, reduce_spectra


class FrequencyTunnel(Attribution):
    r"""Runs any Captum method on every frame of a tagged input and analyses the attributions.

    What ``NoiseTunnel`` is to noise, this is to tagging: where `FrequencyTaggingAttribution` asks
    which neurons answer a part, the tunnel asks whose *relevance* follows it. It takes layer,
    neuron and input methods alike (``LayerGradientXActivation``, ``LayerConductance``,
    ``NeuronGradient``, ``Saliency``, ...) for what Captum itself can read. With
    ``LayerActivation`` inside it equals `FrequencyTaggingAttribution`.

    The method has to be deterministic: equal frames are shown once. Inside of ``NoiseTunnel``,
    which does not know ``tag_mask`` and ``tag_baselines``, these have to be the same for all
    examples.

    Args:
        attribution_method (Attribution): Any method of Captum whose ``attribute`` takes the inputs
            first.

    Examples::

        >>> from captum.attr import LayerGradientXActivation
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> tunnel = FrequencyTunnel(LayerGradientXActivation(model, model[1]))
        >>> tunnel.attribute(torch.rand(2, 4), target=torch.tensor([0, 1])).shape
        torch.Size([2, 3])
    """

    def __init__(self, attribution_method: Attribution) -> None:
        if not isinstance(attribution_method, Attribution):
            raise TypeError(
                "Expected `attribution_method` to be a method made for a model, as in "
                f"FrequencyTunnel(Saliency(model)), but got {attribution_method!r}"
            )
        self.attribution_method = attribution_method
        super().__init__(attribution_method.forward_func)

    @property
    def multiplies_by_inputs(self) -> bool:
        """That of the wrapped method."""
        return bool(self.attribution_method.multiplies_by_inputs)

    def has_convergence_delta(self) -> bool:
        """False: a spectrum of attributions does not sum to the output."""
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
        **kwargs: Any,
    ) -> Arranged[Tensor]:
        """One number per attribution: how strongly it follows the tags.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): Input of the model, examples on dimension 0.
            tag_mask (Tensor or tuple[Tensor, ...], optional): Part of every element of the input,
                as ``feature_mask`` of `FrequencyTaggingAttribution`. Default: left and right half
            tag_baselines (scalar, Tensor or tuple, optional): What zero contrast looks like.
                Default: 0
            frames_per_pass (int, optional): Frames per call of the wrapped method, each with all
                examples. Default: 16
            show_progress (bool, optional): Progress bar over frames. Default: False
            design, components, statistic, reduction, n_neighbors, noise_std, seed: As in
                `FrequencyTaggingAttribution.attribute`.
            **kwargs (Any, optional): Arguments of the wrapped method. ``target``, ``baselines``,
                ``feature_mask`` and ``additional_forward_args`` with one entry per example are
                repeated for every frame.

        Returns:
            Tensor, tuple or list: Arranged and shaped as the wrapped method's result.

        Raises:
            ValueError, TypeError: If an argument does not fit; the message says what to do.
        """
        validate_choices(statistic, reduction)
        validate_statistic(statistic, design)
        # Here already: `spectrum` would take `pooling` and `max_order` for its own.
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
        **kwargs: Any,
    ) -> Arranged[TaggedSpectrum]:
        """The whole spectrum of the attributions.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): This and the arguments to ``show_progress``, and
                ``design``, ``noise_std``, ``seed`` and ``**kwargs``, are as in `attribute`.
            components, max_order, pooling, channel_dim, n_neighbors, estimate_error: As in
                `FrequencyTaggingAttribution.spectrum`.

        Returns:
            TaggedSpectrum, tuple or list: One spectrum per tensor, arranged as the wrapped method
            arranges its result.

        Raises:
            ValueError, TypeError: If an argument does not fit; the message says what to do.
        """
        self._validate_arguments(kwargs)
        plan = SpectrumPlan.build(
            design, components, max_order, n_neighbors, noise_std, estimate_error
        )
        stimulus = Stimulus.build(inputs, plan.design, tag_mask, tag_baselines, prefix="tag_")
        method = self.attribution_method
        # Whether the method gives a list, and for each item whether it is a tuple.
        arrangement: tuple[bool, list[bool]] = (False, [])

        def record(
            rows: slice, frames: tuple[Tensor, ...], n_frames: int, receive: Receiver
        ) -> None:
            nonlocal arrangement
            if isinstance(method, GradientAttribution):
                frames = tuple(frame.requires_grad_() for frame in frames)
            # The undecorated method, where it is decorated, as NoiseTunnel calls it.
            attribute = type(method).attribute
            result = getattr(attribute, "__wrapped__", attribute)(
                method,
                frames if isinstance(inputs, tuple) else frames[0],
                **expand_arguments(kwargs, stimulus.inputs, n_frames),
            )
            items = result if isinstance(result, list) else [result]
            arrangement = isinstance(result, list), [isinstance(item, tuple) for item in items]
            for index, item in enumerate(items):
                tensors = tuple(tensor.detach() for tensor in floating_tensors(item))
                validate_rows(tensors, len(frames[0]), method.get_name())
                receive(index, tensors)

        names, modules = layers_read(method)
        dims = ChannelDims(channel_dim)
        source = Source(record, "attributions to", names, modules, dims)
        with undisturbed(), watched(dims.see):
            results = stream_spectra(
                plan,
                stimulus,
                source,
                PassSize.within(stimulus.n_examples, frames_per_pass, None, "frames_per_pass"),
                pooling=pooling,
                noise_std=noise_std,
                seed=seed,
                title=f"{self.get_name()}: {method.get_name()}" if show_progress else None,
            )
        is_list, are_tuples = arrangement
        arranged = [
            spectra if is_tuple else spectra[0]
            for is_tuple, spectra in zip(are_tuples, results, strict=True)
        ]
        return arranged if is_list else arranged[0]

    def _validate_arguments(self, kwargs: dict[str, Any]) -> None:
        if kwargs.get("return_convergence_delta"):
            raise ValueError(
                "Expected attributions alone, but got return_convergence_delta=True; a delta has "
                "no neurons to tag"
            )
        parameters = inspect.signature(self.attribution_method.attribute).parameters
        if all(parameter.kind != parameter.VAR_KEYWORD for parameter in parameters.values()):
            method = type(self.attribution_method).__name__
            hint = "what flickers is `tag_mask`, and what it flickers to is `tag_baselines`"
            refuse_unknown_arguments(kwargs, [*parameters], f"{method}.attribute", hint)


def expand_arguments(
    kwargs: dict[str, Any], inputs: tuple[Tensor, ...], n_frames: int
) -> dict[str, Any]:
    """Repeat for every frame the arguments that hold one entry per example, as NoiseTunnel does.

    Examples::

        >>> inputs = (torch.ones(2, 3),)
        >>> expanded = expand_arguments({"target": [1, 2], "n_steps": 5}, inputs, n_frames=2)
        >>> expanded["target"], expanded["n_steps"]
        ([1, 2, 1, 2], 5)
    """
    n_examples = len(inputs[0])
    # A mask with fewer dimensions than the input has no batch, however long its first one is.
    ranks = {tensor.dim() for tensor in inputs}

    def by_example(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(by_example, value))
        if isinstance(value, Tensor) and value.dim() in ranks and len(value) == n_examples > 1:
            return torch.cat([value] * n_frames)
        return value

    expanded = dict(kwargs)
    for name in ("baselines", "feature_mask"):
        if name in kwargs:
            expanded[name] = by_example(kwargs[name])
    if "target" in kwargs:
        expanded["target"] = repeat_target(kwargs["target"], n_frames)
    if kwargs.get("additional_forward_args") is not None:
        forward_args = format_forward_args(kwargs["additional_forward_args"])
        expanded["additional_forward_args"] = repeat_forward_args(forward_args, n_frames)
    return expanded
