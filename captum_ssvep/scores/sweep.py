"""Score the neurons of a network over a data set."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, distributed
from tqdm.auto import tqdm

from .._checks import integer, refuse_unknown_arguments
from ..attr.arranged import Arranged, layers_read
from ..attr.tagging import FrequencyTaggingAttribution
from ..attr.tunnel import FrequencyTunnel
from ..design import ComponentSelection
from ..model.channels import layout_of
from ..model.layers import root_module
from ..spectrum.plan import validate_statistic
from ..spectrum.run import Pooling
from ..spectrum.statistics import Reduction, Statistic, validate_choices
from ..spectrum.tagged import TaggedSpectrum
from .checkpoint import SCALARS, Checkpoint
from .data import Batch, Data, Shard, device_of
from .result import NeuronScores
from .tally import Tally

Method = FrequencyTaggingAttribution[Any, Any] | FrequencyTunnel
# Arguments that change the speed and not the scores.
PASS_SIZES = frozenset({"internal_batch_size", "perturbations_per_eval", "frames_per_pass"})


def score_neurons(
    attribution: Method,
    data: Data,
    *,
    batch_size: int = 32,
    num_workers: int = 0,
    pooling: Pooling | Literal["neuron"] = "channel",
    components: ComponentSelection = "all",
    statistic: Statistic = "amplitude",
    reduction: Reduction = "mean",
    by_class: bool = False,
    labels_as: str | None = None,
    n_top_images: int = 9,
    keep_coefficients: bool = False,
    checkpoint: str | Path | None = None,
    checkpoint_key: str = "",
    checkpoint_every: int = 10,
    show_progress: bool = True,
    **arguments: Any,
) -> NeuronScores:
    """Which neurons answer the tags, over all images of a data set.

    One sweep over the images reads any number of layers. Memory does not grow with the number of
    images, and batches of any size give the same to rounding.

    Under an initialised ``torch.distributed`` (``torchrun``) the processes share the images of a
    Dataset, process r of W taking items r, r + W, ..., and all return the scores over all images.

    Args:
        attribution (FrequencyTaggingAttribution or FrequencyTunnel): What to score by, with its
            layers.
        data (Dataset or DataLoader): Of tensors or (input, label) pairs, such as torchvision's
            ``ImageFolder``. Of a DataLoader, which brings batches of its own, each process is to
            have its own share, as by a ``DistributedSampler``, and images are counted in the order
            in which they come.
        batch_size (int, optional): Images at a time, of a Dataset. Default: 32
        num_workers (int, optional): Processes that load images, of a Dataset. Default: 0
        pooling (str or callable, optional): What a neuron is: ``"channel"``, the mean of each
            channel over space, as the paper's filters; ``"neuron"``; or a function as in
            `FrequencyTaggingAttribution.spectrum`. Default: ``"channel"``
        components (str or sequence, optional): What to read, as in
            `FrequencyTaggingAttribution.attribute`. Default: ``"all"``, to order 4.
        statistic (str, optional): Of every component, as there. Default: ``"amplitude"``
        reduction (str, optional): Over components, to the score that ranks neurons.
            Default: ``"mean"``
        by_class (bool, optional): Keep the images of each label apart. Default: False
        labels_as (str, optional): Argument of the method that takes the labels, ``"target"`` or
            ``"additional_forward_args"``: for a `FrequencyTunnel`. Default: None
        n_top_images (int, optional): How many of the images that drive each neuron most to
            remember. Default: 9
        keep_coefficients (bool, optional): Keep the coefficients of every image, for sign-flip
            tests: the one case in which memory grows. Default: False
        checkpoint (str or Path, optional): File in which to save the scores so far, and from which
            to go on if it exists. Finished scores stay in it; after an error or an interrupt it
            holds all images scored until then. The data have to come in the same order again.
            Compared are all arguments, the layers and the weights and buffers of the model, and
            length, order and first item of the data. Not noticed are changed code, attributes and
            hooks of the model (so `ablated`), and changes in later items: for these there is
            ``checkpoint_key``. Process r > 0 adds ``.r`` to the name. Default: None
        checkpoint_key (str, optional): Any text of yours; a checkpoint with another one is refused.
            Default: ``""``
        checkpoint_every (int, optional): Batches between two saves. Default: 10
        show_progress (bool, optional): Progress bar over images. Default: True
        **arguments (Any, optional): Further arguments of the method's ``spectrum``:
            ``baselines`` (``tag_baselines`` of a tunnel), ``design``, ``max_order``,
            ``noise_std``, ``internal_batch_size``, ... They hold for all images.

    Returns:
        NeuronScores: On the CPU.

    Raises:
        ValueError: If the data are empty or lack labels that are asked for, or images hold what
            cannot be scored; or the checkpoint is damaged or of other work, and is left as it is.
        OSError: If the checkpoint cannot be written, before anything runs.
        TypeError: If an argument is of the wrong kind.

    Examples::

        >>> from torch import nn
        >>> from torch.utils.data import TensorDataset
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
        >>> tagging = FrequencyTaggingAttribution(model, ["0", "1"])
        >>> images = TensorDataset(torch.rand(5, 3, 16, 16))
        >>> scores = score_neurons(tagging, images, show_progress=False)
        >>> scores.layers, scores.n_images, scores.mean["1"].shape
        (('0', '1'), 5, torch.Size([4]))
    """
    validate_choices(statistic, reduction)
    validate_statistic(statistic, arguments.get("design"))
    n_top_images = integer(n_top_images, "n_top_images")
    checkpoint_every = integer(checkpoint_every, "checkpoint_every")
    _validate_arguments(attribution, arguments)
    arguments |= {"pooling": None if pooling == "neuron" else pooling, "components": components}
    sweep = _Sweep(
        attribution,
        layers_read(attribution)[0],
        arguments,
        statistic,
        reduction,
        by_class,
        labels_as,
        n_top_images,
        keep_coefficients,
    )
    shard = Shard.of_this_process(data)
    file = None
    if checkpoint is not None:
        file = Checkpoint.of(
            checkpoint, shard, {**sweep.settings(), "checkpoint_key": checkpoint_key}
        )
    scores, n_done = file.load() if file else (None, 0)
    device = device_of(root_module(attribution.forward_func))
    with tqdm(
        desc=attribution.get_name(),
        total=shard.n_items,
        initial=n_done,
        unit="image",
        disable=not show_progress or shard.rank > 0,
    ) as bar:
        batches = shard.batches(batch_size, num_workers, device, n_done)
        scores = _continued(sweep, shard, batches, file, checkpoint_every, scores, n_done, bar)
    return _joined_over_processes(scores)


def _continued(
    sweep: _Sweep,
    shard: Shard,
    batches: Iterator[Batch],
    file: Checkpoint | None,
    checkpoint_every: int,
    scores: NeuronScores | None,
    n_done: int,
    bar: tqdm[Any],
) -> NeuronScores | None:
    """The scores so far, joined by those of the batches that are left."""
    n_saved = n_done
    try:
        for number, batch in enumerate(batches, 1):
            if file and number == 1:
                file.validate_folder()
            images = shard.indices(n_done, len(batch))
            _refuse_bad_values(batch, images)
            found = sweep.scores_of(batch, images)
            joined = found if scores is None else scores.joined(found)
            # Both at once, whenever an interrupt comes.
            scores, n_done = joined, n_done + len(batch)
            if file and number % checkpoint_every == 0:
                file.save(scores, n_done)
                n_saved = n_done
            bar.update(len(batch))
    finally:
        # What was scored before an interruption or a bad image is not lost.
        if file and scores and n_done > n_saved:
            file.save(scores, n_done)
    return scores


def _refuse_bad_values(batch: Batch, images: Tensor) -> None:
    """Name the images that hold no numbers, which nobody finds among many otherwise."""
    inputs = batch.inputs if isinstance(batch.inputs, tuple) else (batch.inputs,)
    finite = [tensor.isfinite().reshape(len(batch), -1).all(1).cpu() for tensor in inputs]
    fine = torch.stack(finite).all(0)
    if not fine.all():
        raise ValueError(
            f"Expected images that are finite, but images {images[~fine].tolist()} of the data "
            "hold NaN or infinity; leave them out"
        )


@dataclass(frozen=True)
class _Sweep:
    """How a batch becomes scores."""

    attribution: Method
    names: list[str]
    arguments: dict[str, Any]
    statistic: Statistic
    reduction: Reduction
    by_class: bool
    labels_as: str | None
    n_top_images: int
    keep_coefficients: bool

    def scores_of(self, batch: Batch, images: Tensor) -> NeuronScores:
        """The scores of a batch, whose images have some indices."""
        arguments = dict(self.arguments)
        if self.labels_as is not None:
            arguments[self.labels_as] = batch.required_labels("`labels_as`")
        spectra = _by_name(self.names, self.attribution.spectrum(batch.inputs, **arguments))
        first = next(iter(spectra.values()))
        members: dict[int | None, Tensor] = {None: torch.arange(len(images))}
        if self.by_class:
            labels = batch.required_classes("`by_class`").cpu()
            members = {
                int(label): (labels == label).nonzero().flatten()
                for label in sorted(set(labels.tolist()))
            }

        def tally(spectrum: TaggedSpectrum, rows: Tensor) -> Tally:
            return Tally.of(
                spectrum if len(rows) == len(spectrum) else spectrum[rows.to(spectrum.mean.device)],
                images[rows],
                self.arguments["components"],
                self.statistic,
                self.reduction,
                self.n_top_images,
                self.keep_coefficients,
            )

        return NeuronScores(
            components=first.components,
            design=first.design,
            statistic=self.statistic,
            reduction=self.reduction,
            tallies={
                label: {name: tally(spectrum, rows) for name, spectrum in spectra.items()}
                for label, rows in members.items()
            },
            neurons=first.neurons,
            layouts={
                name: layout_of(spectrum.mean.dim(), spectrum.channel_dim)
                if spectrum.neurons == "neuron"
                else None
                for name, spectrum in spectra.items()
            },
        )

    def settings(self) -> dict[str, Any]:
        """What a checkpoint of this sweep has to agree with."""
        root = root_module(self.attribution.forward_func)
        return {
            "method": _description(self.attribution),
            "model": self.attribution.forward_func if root is None else root,
            "layers": self.names,
            "statistic": self.statistic,
            "reduction": self.reduction,
            "by_class": self.by_class,
            "labels_as": self.labels_as,
            "n_top_images": self.n_top_images,
            "keep_coefficients": self.keep_coefficients,
            **{name: value for name, value in self.arguments.items() if name not in PASS_SIZES},
        }


def _description(method: Any) -> list[Any]:
    """Type and plain options of a method and of those that it wraps."""
    options = {name: value for name, value in vars(method).items() if isinstance(value, SCALARS)}
    options.pop("layer", None)
    inner = getattr(method, "attribution_method", None)
    return [type(method), options, None if inner is None else _description(inner)]


def _validate_arguments(attribution: Method, arguments: dict[str, Any]) -> None:
    """Refuse what the method's ``spectrum`` does not take, before anything runs.

    Raises:
        TypeError: If the method is another one, or an argument is unknown or not for scores.
    """
    if not isinstance(attribution, (FrequencyTaggingAttribution, FrequencyTunnel)):
        raise TypeError(
            "Expected `attribution` to be a FrequencyTaggingAttribution or a FrequencyTunnel, but "
            f"got {type(attribution).__name__}; any method of Captum goes into a FrequencyTunnel"
        )
    if "estimate_error" in arguments:
        raise TypeError(
            "Expected no `estimate_error`, since scores hold no errors, but got one; "
            "`attribution.spectrum` estimates those of some images"
        )
    known = [*inspect.signature(attribution.spectrum).parameters]
    if isinstance(attribution, FrequencyTunnel):
        wrapped = inspect.signature(attribution.attribution_method.attribute).parameters
        if any(parameter.kind == parameter.VAR_KEYWORD for parameter in wrapped.values()):
            return
        known += wrapped
    known = [name for name in known if name not in ("inputs", "kwargs")]
    refuse_unknown_arguments(arguments, known, f"{type(attribution).__name__}.spectrum")


def _by_name(names: list[str], result: Arranged[TaggedSpectrum]) -> dict[str, TaggedSpectrum]:
    """Spectra under the names of their layers, numbered where a layer has several tensors."""
    named = {}
    for name, item in zip(names, result if isinstance(result, list) else [result], strict=True):
        tensors = item if isinstance(item, tuple) else (item,)
        for number, spectrum in enumerate(tensors):
            named[name if len(tensors) == 1 else f"{name}[{number}]"] = spectrum
    return named


def _joined_over_processes(scores: NeuronScores | None) -> NeuronScores:
    """The scores over what all processes saw, the same in each of them."""
    parts = [scores]
    if distributed.is_available() and distributed.is_initialized():
        parts *= distributed.get_world_size()
        distributed.all_gather_object(parts, scores)
    held = [part for part in parts if part is not None]
    if not held:
        raise ValueError("Expected `data` to hold at least one image, but got none")
    return reduce(NeuronScores.joined, held)
