"""Score the neurons of a network over a data set."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, distributed
from tqdm.auto import tqdm

from .._checks import choice, integer, refuse_unknown_arguments
from ..attr.arranged import Arranged, layers_read
from ..attr.tagging import FrequencyTaggingAttribution
from ..attr.tunnel import FrequencyTunnel
from ..design import ComponentSelection
from ..model.layers import layer_name, resolve_layer, root_module
from ..spectrum.plan import validate_statistic
from ..spectrum.run import Pooling
from ..spectrum.statistics import Reduction, Statistic, validate_choices
from ..spectrum.tagged import TaggedSpectrum
from .batches import Batch, Data, device_of
from .checkpoint import SCALARS, Checkpoint
from .data import Shard
from .result import NeuronScores
from .tally import Reading, Tally

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
    """Score how strongly each neuron responds to the tags, over all images of a data set.

    One sweep over the images reads any number of layers. Memory does not grow with the number of
    images, and the batch size changes the scores only by rounding.

    If ``torch.distributed`` is initialized (``torchrun``), the processes share the images of a
    Dataset: process r of W takes items r, r + W, ... All of them return the scores over all images.

    Args:
        attribution (FrequencyTaggingAttribution or FrequencyTunnel): The method to score with; its
            layers are scored.
        data (Dataset or DataLoader): Tensors or (input, label) pairs, such as torchvision's
            ``ImageFolder``. A DataLoader keeps its own batches. Images have their indices in its
            Dataset, or in a stream their places; those of a loader that shuffles have none. With
            several processes, each needs a loader of its own share, for example through a
            ``DistributedSampler``, or over a ``Subset``, whose images have their indices in the
            Dataset behind it.
        batch_size (int, optional): Images in a batch of a Dataset. Default: 32
        num_workers (int, optional): Processes that load the images of a Dataset. Default: 0
        pooling (str or callable, optional): What a neuron is: ``"channel"``, the mean of each
            channel over space, like the paper's filters; ``"neuron"``, a single one; or a function
            as in `FrequencyTaggingAttribution.spectrum`. Default: ``"channel"``
        components (str or sequence, optional): What to read, as in
            `FrequencyTaggingAttribution.attribute`. Default: ``"all"``, up to the order that the
            design resolves (4 for the default design)
        statistic (str, optional): The statistic of every component, as in
            `FrequencyTaggingAttribution.attribute`. Default: ``"amplitude"``
        reduction (str, optional): How it is combined over components into the score that ranks
            neurons. Default: ``"mean"``
        by_class (bool, optional): Keep the images of each label apart. Default: False
        labels_as (str, optional): For a `FrequencyTunnel`, the argument of the method that takes
            the labels, ``"target"`` or ``"additional_forward_args"``. Default: None
        n_top_images (int, optional): For each neuron, how many of the images that drive it most to
            remember. Default: 9
        keep_coefficients (bool, optional): Keep the coefficients of every image, for sign-flip
            tests. Only then does memory grow with the number of images. Default: False
        checkpoint (str or Path, optional): File in which to save the scores so far; if it exists,
            the sweep resumes from it. Finished scores stay in it. After an error or an interrupt,
            it holds all images scored until then. The data must come in the same order again.
            All arguments, the layers, the weights and buffers of the model (if not offloaded), and
            the length, order and first item of the data are compared. Changed code, attributes or
            hooks of the model (such as filters silenced by `ablated`) and changed later items go
            unnoticed, and functions (such as a pooling) are compared by name alone; use
            ``checkpoint_key`` for those. Process r > 0 adds ``.r`` to the name. Default: None
        checkpoint_key (str, optional): Any text; a checkpoint with a different key is refused.
            Default: ``""``
        checkpoint_every (int, optional): Batches between two saves. Default: 10
        show_progress (bool, optional): Progress bar over images. Default: True
        **arguments (Any, optional): Further arguments of the method's ``spectrum``:
            ``baselines`` (``tag_baselines`` of a tunnel), ``design``, ``max_order``,
            ``noise_std``, ``internal_batch_size``, ... They are the same for all images.

    Returns:
        NeuronScores: On the CPU.

    Raises:
        ValueError: If the data are empty, lack labels that are needed, or hold images that cannot
            be scored; or if the checkpoint is damaged or belongs to another run (it is not
            changed).
        OSError: If the checkpoint cannot be written, before anything runs.
        TypeError: If an argument is of the wrong type.

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
    if labels_as is not None:
        choice(labels_as, "labels_as", ("target", "additional_forward_args"))
    _validate_arguments(attribution, arguments)
    of_neurons = isinstance(pooling, str) and pooling == "neuron"
    arguments |= {"pooling": None if of_neurons else pooling, "components": components}
    reading = Reading(components, statistic, reduction, n_top_images, keep_coefficients)
    sweep = _Sweep(
        attribution, layers_read(attribution)[0], arguments, reading, by_class, labels_as
    )
    shard = Shard.of_this_process(data)
    file = None
    if checkpoint is not None:
        settings = sweep.settings() | {"checkpoint_key": checkpoint_key}
        file = Checkpoint.of(checkpoint, shard, settings)
    scores = file.load() if file else None
    n_done = scores.n_images if scores else 0
    device = device_of(root_module(attribution.forward_func))
    with tqdm(
        desc=attribution.get_name(),
        total=shard.n_items,
        initial=n_done,
        unit="image",
        disable=not show_progress or shard.rank > 0,
    ) as bar:
        batches = shard.batches(batch_size, num_workers, device, n_done)
        with attribution.repetition.sparsely(n_done):
            scores = _continued(sweep, shard, batches, file, checkpoint_every, scores, bar)
    return _joined_over_processes(scores, shard.n_processes)


@dataclass(frozen=True)
class _Sweep:
    """How to turn a batch into scores."""

    attribution: Method
    names: list[str]
    arguments: dict[str, Any]
    reading: Reading
    by_class: bool
    labels_as: str | None

    def scores_of(self, batch: Batch, images: Tensor, n_indexed: int) -> NeuronScores:
        """The scores of a batch, given the indices of its images in data of some length."""
        arguments = dict(self.arguments)
        if self.labels_as is not None:
            arguments[self.labels_as] = batch.required_labels("`labels_as`")
        spectra = _by_name(self.names, self.attribution.spectrum(batch.inputs, **arguments))
        first = next(iter(spectra.values()))
        if any(spectrum.design != first.design for spectrum in spectra.values()):
            raise ValueError(
                "Expected layers with the same sampling rate to score, but some give fewer moments "
                "than others; score these layers one by one"
            )
        members: dict[int | None, Tensor | slice] = {None: slice(None)}
        if self.by_class:
            labels = batch.required_classes("`by_class`").cpu()
            members = {
                int(label): (labels == label).nonzero().flatten() for label in torch.unique(labels)
            }
        return NeuronScores(
            components=first.components,
            design=first.design,
            statistic=self.reading.statistic,
            reduction=self.reading.reduction,
            tallies={
                label: {
                    name: Tally.of(spectrum[rows], images[rows], self.reading)
                    for name, spectrum in spectra.items()
                }
                for label, rows in members.items()
            },
            neurons=first.neurons,
            layouts={name: spectrum.layout for name, spectrum in spectra.items()},
            n_indexed=max(n_indexed, int(images.max()) + 1),
        )

    def settings(self) -> dict[str, Any]:
        """The settings that a checkpoint of this sweep must agree with."""
        root = root_module(self.attribution.forward_func)
        arguments = {k: value for k, value in self.arguments.items() if k not in PASS_SIZES}
        if arguments.get("tag_layer") is not None:
            # By its name: the weights of a ReLU do not tell it from another.
            module = resolve_layer(arguments["tag_layer"], root, "tag_layer")
            arguments["tag_layer"] = layer_name(module, root)
        return {
            "method": _description(self.attribution),
            # Behind a plain function, at least the layers are known.
            "model": layers_read(self.attribution)[1] if root is None else root,
            "layers": self.names,
            "by_class": self.by_class,
            "labels_as": self.labels_as,
            **vars(self.reading),
            **arguments,
        }


def _continued(
    sweep: _Sweep,
    shard: Shard,
    batches: Iterator[tuple[Batch, Tensor]],
    file: Checkpoint | None,
    checkpoint_every: int,
    scores: NeuronScores | None,
    bar: "tqdm[Any]",
) -> NeuronScores | None:
    """The scores so far, joined by those of the batches that are left."""
    saved = scores
    try:
        for number, (batch, images) in enumerate(batches, 1):
            if file and number == 1:
                file.validate_folder()
            _refuse_bad_values(batch, images)
            found = sweep.scores_of(batch, images, shard.n_indexed)
            scores = scores.joined(found) if scores else found
            if file and number % checkpoint_every == 0:
                file.save(scores)
                saved = scores
            bar.update(len(batch))
    finally:
        # After an interrupt or a bad image, keep what was scored before.
        if file and scores and scores is not saved:
            file.save(scores)
    return scores


def _refuse_bad_values(batch: Batch, images: Tensor) -> None:
    """Name the images with NaN or infinity, which are hard to find among many."""
    finite = [tensor.isfinite().reshape(len(batch), -1).all(1).cpu() for tensor in batch.tensors]
    fine = torch.stack(finite).all(0)
    if not fine.all():
        raise ValueError(
            f"Expected images that are finite, but images {images[~fine].tolist()} of the data "
            "hold NaN or infinity; leave them out"
        )


def _description(method: Any) -> list[Any]:
    """Type and plain options of a method and of the methods that it wraps."""
    options = {name: value for name, value in vars(method).items() if isinstance(value, SCALARS)}
    options.pop("layer", None)
    inner = getattr(method, "attribution_method", None)
    return [type(method), options, None if inner is None else _description(inner)]


def _validate_arguments(attribution: Method, arguments: dict[str, Any]) -> None:
    """Refuse arguments that the method's ``spectrum`` does not take, before anything runs.

    Raises:
        TypeError: If the method is not one of tagging, or an argument is unknown or not for scores.
    """
    if not isinstance(attribution, (FrequencyTaggingAttribution, FrequencyTunnel)):
        raise TypeError(
            "Expected `attribution` to be a FrequencyTaggingAttribution or a FrequencyTunnel, but "
            f"got {type(attribution).__name__}; wrap other methods of Captum in a FrequencyTunnel"
        )
    if "estimate_error" in arguments:
        raise TypeError(
            "Expected no `estimate_error`, since scores hold no errors, but got one; estimate the "
            "errors of some images with `attribution.spectrum`"
        )
    known = {*signature(score_neurons).parameters, *signature(attribution.spectrum).parameters}
    if isinstance(attribution, FrequencyTunnel):
        wrapped = signature(attribution.attribution_method.attribute).parameters
        if any(parameter.kind == parameter.VAR_KEYWORD for parameter in wrapped.values()):
            return
        known |= wrapped.keys()
    known -= {"inputs", "kwargs", "arguments"}
    kind = type(attribution).__name__
    refuse_unknown_arguments(arguments, sorted(known), f"score_neurons or of {kind}.spectrum")


def _by_name(names: list[str], result: Arranged[TaggedSpectrum]) -> dict[str, TaggedSpectrum]:
    """Spectra under the names of their layers, with a number if a layer has several tensors."""
    named = {}
    for name, item in zip(names, result if isinstance(result, list) else [result], strict=True):
        tensors = item if isinstance(item, tuple) else (item,)
        for number, spectrum in enumerate(tensors):
            named[name if len(tensors) == 1 else f"{name}[{number}]"] = spectrum
    return named


def _joined_over_processes(scores: NeuronScores | None, n_processes: int) -> NeuronScores:
    """The scores over the images of all processes, the same in each process."""
    parts = [scores] * n_processes
    if n_processes > 1:
        distributed.all_gather_object(parts, scores)
    held = [part for part in parts if part is not None]
    if not held:
        raise ValueError("Expected `data` to hold at least one image, but got none")
    return reduce(NeuronScores.joined, held)
