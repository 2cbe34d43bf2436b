"""A training loss on a layer's response to tagged parts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .._checks import choice, count, instance, integer, network, shown, warn_user
from .._typing import Baselines, FeatureMask, Inputs, Layer
from ..design import ComponentSelection, Design
from ..model.arguments import format_forward_args, repeat_forward_args
from ..model.in_training import MODES, Buffers, Mode, adopt, copied_buffers, on_buffers
from ..model.recorder import LayerRecorder
from ..spectrum import TaggedSpectrum
from ..spectrum.passes import Pass
from ..spectrum.plan import SpectrumPlan
from ..spectrum.run import LayerSums, Pooling, Source, validate_pooling
from ..stimulus.frames import Stimulus
from .objectives import Objective, Share
from .profile import Profile

# What a layer gave: its floating tensors, None for one without a batch.
Given = tuple[Tensor | None, ...]


class FrequencyTaggingLoss:
    r"""A number that says how far a layer's response to tagged parts is from what it should be.

    It is differentiable to the parameters of the model, through the frames and the Fourier sums.
    The spectrum is the one that `FrequencyTaggingAttribution.spectrum` computes. Every distinct
    frame of the design costs a forward and a backward pass of all images: take a design with few,
    as ``TwoLevelDesign(2)`` with four. Where time is short, tag a part of the batch, or draw two of
    many parts at random for every call: on average this is the mean over all pairs. All frames are
    shown, since shares and amplitudes are not linear in them: a random subset would be biased.

    A forward pass in train mode normalizes images by the statistics of their batch, and a batch of
    frames is not one of images: black ones are among them. So the frames are shown in eval mode by
    default, as the trained network will see them, and none of them enters the running statistics.
    Where the loss is strong, keep BatchNorm in eval mode for the task as well: a network that
    trains on batch statistics may become another one than the one that is tagged
    (``benchmarks/loss.py``).

    A network that calls ``torch.utils.checkpoint`` itself runs parts of itself again in the
    backward pass, when modes and buffers are those of training again. Take ``checkpoint`` of this
    class instead.

    Args:
        model (Module): The network in training. Its parameters get gradients; train flags, buffers,
            attributes and random generators are as before after every call.
        layer (Module, str or list of these): The layer to read, or several. The loss is their mean.
        design (Design): The stimulus.
        objective (callable or list of these): `Share`, `Profile`, or any function of a
            `TaggedSpectrum` that gives one number; a list has one for each layer.
        components (str or sequence, optional): What the spectrum holds, as in `Design.components`.
            Default: ``"all"``
        max_order (int, optional): Highest order of a group. Default: None,
            `Design.default_order`
        pooling (str or callable, optional): ``"channel"`` reads the mean of each channel; a
            function takes and gives batches. Default: None, every neuron
        channel_dim (int, optional): Dimension of the channels, where modules do not show it.
            Default: None
        mode (str, optional): How frames are shown. ``"eval"``: in eval mode, with the running
            statistics of BatchNorm and without dropout. ``"train"``: in the mode the model is in;
            in train mode BatchNorm then takes the statistics of all rows of a pass, so that
            frames and images meet, and running statistics stay as they are; dropout differs
            from frame to frame, and counts as a response. ``"update"``: the same,
            and running statistics take in the frames. Default: ``"eval"``
        perturbations_per_eval (int, optional): Frames per forward pass, each with all images.
            Default: None, all in one pass
        checkpoint (bool, optional): Compute activations again in the backward pass instead of
            keeping them; with ``perturbations_per_eval=1`` one frame's are held at a time.
            Default: False

    Raises:
        ValueError, TypeError: If an argument does not fit; the message says what to do.

    Examples::

        >>> from captum_ssvep import TwoLevelDesign
        >>> from captum_ssvep.losses import FrequencyTaggingLoss, Share
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> images, labels = torch.rand(5, 3, 8, 8), torch.tensor([0, 1, 0, 1, 0])
        >>> binding = FrequencyTaggingLoss(
        ...     model, "1", design=TwoLevelDesign(2), objective=Share((0, 1), at_most=0.0)
        ... )
        >>> loss = nn.functional.cross_entropy(model(images), labels) + 2 * binding(images)
        >>> loss.backward()
        >>> model[0].weight.grad.shape
        torch.Size([4, 3, 3, 3])
    """

    def __init__(
        self,
        model: nn.Module,
        layer: Layer | list[Any],
        *,
        design: Design,
        objective: Objective | Sequence[Objective],
        components: ComponentSelection = "all",
        max_order: int | None = None,
        pooling: Pooling = None,
        channel_dim: int | None = None,
        mode: Mode = "eval",
        perturbations_per_eval: int | None = None,
        checkpoint: bool = False,
    ) -> None:
        self.model = network(model)
        self.layers = layer if isinstance(layer, list) else [layer]
        instance(design, Design, "design", "a design, as `TwoLevelDesign(2)`")
        self.plan = SpectrumPlan.build(design, components, max_order, 0, 0.0)
        validate_pooling(pooling)
        self.pooling = pooling
        self.channel_dim = channel_dim
        choice(mode, "mode", MODES)
        self.mode = mode
        self.frames_per_pass = len(self.plan.contrasts)
        if perturbations_per_eval is not None:
            self.frames_per_pass = integer(perturbations_per_eval, "perturbations_per_eval")
        self.checkpoint = checkpoint
        self._new_recorder()  # refuses unknown layers
        self.objectives = self._checked_objectives(objective)

    def __call__(
        self,
        inputs: Inputs,
        baselines: Baselines = None,
        additional_forward_args: object = None,
        feature_mask: FeatureMask = None,
    ) -> Tensor:
        """The objective, averaged over layers, as a tensor without dimensions.

        Args:
            inputs, baselines, additional_forward_args, feature_mask: As in
                `FrequencyTaggingAttribution.attribute`. All may change from call to call.

        Raises:
            ValueError, TypeError: If arguments do not fit, or the objective gives something else.
        """
        spectra = self._spectra(inputs, baselines, additional_forward_args, feature_mask)
        # Of small differences half precision would lose what matters.
        with torch.autocast(spectra[0][0].mean.device.type, enabled=False):
            values = [
                _scalar(objective(spectrum))
                for objective, of_layer in zip(self.objectives, spectra, strict=True)
                for spectrum in of_layer
            ]
        loss = torch.stack(values).mean()
        if torch.is_grad_enabled() and not loss.requires_grad:
            warn_user(
                "The loss has no gradient, since nothing up to its layers takes one: parameters "
                "are frozen, or the layers lie within a reentrant `torch.utils.checkpoint`; "
                "unfreeze them, or pass use_reentrant=False there"
            )
        return loss

    def spectra(
        self,
        inputs: Inputs,
        baselines: Baselines = None,
        additional_forward_args: object = None,
        feature_mask: FeatureMask = None,
    ) -> list[TaggedSpectrum]:
        """The spectra behind the loss, differentiable as well.

        Args:
            inputs, baselines, additional_forward_args, feature_mask: As in a call.

        Returns:
            list[TaggedSpectrum]: One for each layer, or several for a layer with several tensors.

        Raises:
            ValueError, TypeError: If arguments do not fit.
        """
        spectra = self._spectra(inputs, baselines, additional_forward_args, feature_mask)
        return [spectrum for of_layer in spectra for spectrum in of_layer]

    def _spectra(
        self,
        inputs: Inputs,
        baselines: Baselines,
        additional_forward_args: object,
        feature_mask: FeatureMask,
    ) -> list[tuple[TaggedSpectrum, ...]]:
        """For each layer, a spectrum per tensor."""
        stimulus = Stimulus.build(inputs, self.plan.design, feature_mask, baselines)
        forward_args = format_forward_args(additional_forward_args)
        n_examples, contrasts = stimulus.n_examples, self.plan.contrasts
        recorder = self._learn(stimulus, forward_args)
        buffers = copied_buffers(self.model)
        source = Source(lambda *_: None, "activations of layer", recorder.learned)
        sums = [
            LayerSums(self.plan, source, index, self.pooling, n_examples)
            for index in range(len(self.layers))
        ]
        for start in range(0, len(contrasts), self.frames_per_pass):
            part = Pass(start, min(start + self.frames_per_pass, len(contrasts)))
            frames = stimulus.frames(contrasts[part.start : part.stop])
            given = repeat_forward_args(forward_args, n_examples, part.n_new)
            run = partial(self._run, recorder, buffers, given)
            answers: list[Given]
            if self.checkpoint:
                answers = checkpoint(run, *frames, use_reentrant=False)
            else:
                answers = run(*frames)
            for of_layer, tensors in zip(sums, answers, strict=True):
                of_layer.add(part, n_examples, tensors)
        if self.mode == "update":
            adopt(buffers)
        return [of_layer.spectra() for of_layer in sums]

    def _learn(self, stimulus: Stimulus, forward_args: tuple[Any, ...]) -> LayerRecorder:
        """A recorder that has seen a complete pass, of two frames of one image.

        The other passes stop at the last layer, also when they are computed again.
        """
        recorder = self._new_recorder()
        first = slice(0, 1)
        frames = stimulus.examples(first).frames(self.plan.contrasts[[0, -1]])
        given = repeat_forward_args(forward_args, stimulus.n_examples, 2, first)
        buffers = copied_buffers(self.model)
        with torch.no_grad(), on_buffers(self.model, buffers, self.mode), recorder:
            recorder.record(frames, given, lambda index, tensors: None)
        # Older versions of torch use what autocast converted here again, without its gradient.
        torch.clear_autocast_cache()
        return recorder

    def _new_recorder(self) -> LayerRecorder:
        return LayerRecorder(
            self.model, self.layers, channel_dim=self.channel_dim, warns_of_train_mode=False
        )

    def _run(
        self,
        recorder: LayerRecorder,
        buffers: Buffers,
        forward_args: tuple[Any, ...],
        *frames: Tensor,
    ) -> list[Given]:
        """Show frames once, and give what each layer returned."""
        kept: dict[int, Given] = {}

        def keep(index: int, tensors: Given) -> None:
            # Copies, so that in-place operations of later layers cannot change them.
            kept[index] = tuple(None if t is None else t.clone() for t in tensors)

        with on_buffers(self.model, buffers, self.mode), recorder:
            recorder.record(frames, forward_args, keep)
        return [kept[index] for index in range(len(self.layers))]

    def _checked_objectives(self, objective: Any) -> list[Objective]:
        """One objective for each layer."""
        is_list = isinstance(objective, (list, tuple))
        objectives = list(objective) if is_list else [objective] * len(self.layers)
        if not all(map(callable, objectives)):
            raise TypeError(
                "Expected `objective` to be a `Share`, a `Profile` or a function of a spectrum, or "
                f"a list of these, but got {shown(objective)}"
            )
        if len(objectives) != len(self.layers):
            raise ValueError(
                f"Expected `objective` to be one for all layers or one for each of "
                f"{len(self.layers)}, but got {len(objectives)}"
            )
        for each in objectives:
            if isinstance(each, (Share, Profile)):
                each.select(self.plan.components, self.plan.design)
        return objectives

    def __repr__(self) -> str:
        return (
            f"FrequencyTaggingLoss({count(len(self.layers), 'layer')}, {self.plan.design}, "
            f"{count(len(self.plan.contrasts), 'frame')}, mode={self.mode!r})"
        )


def _scalar(value: Any) -> Tensor:
    """What an objective gave, if it is one number."""
    is_number = isinstance(value, Tensor) and value.numel() == 1 and value.is_floating_point()
    if not is_number:
        raise ValueError(
            "Expected `objective` to give one floating number as a tensor, but it gave "
            f"{shown(value)}; `.mean()` makes one of many"
        )
    return cast(Tensor, value).reshape(())
