"""Scores of a network's neurons over many images."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, reduce
from operator import add
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import _npz
from .._checks import choice, count, instance, integer, number
from ..design import Component, ComponentSelection, Design
from ..design.components import in_group
from ..model.channels import Layout
from ..spectrum.corners import and_or_index, corner_tables, corner_weights, interaction_effect
from ..spectrum.statistics import Reduction, Statistic
from ..spectrum.tagged import NeuronKind
from .data import NOWHERE
from .lowest import lowest_filters
from .significance import Test, benjamini_hochberg, sign_flip_test, t_test
from .tally import Moments, Tally, interaction_of, pack, unpack

# Responses closer to the sum of both parts are called neither AND nor OR.
LEAST_INDEX = 0.1


@dataclass(frozen=True, eq=False)
class NeuronScores:
    """What `score_neurons` returns: statistics over images for every neuron of every layer.

    All tensors are float64, on the CPU; ``*neuron`` is ``(filters,)`` for
    ``pooling="channel"``.

    Args:
        components (tuple[Component, ...]): The components that were read.
        design (Design): The stimulus.
        statistic (str): One of `statistics.STATISTICS`.
        reduction (str): How the statistic is combined over components into a score.
        tallies (dict): For each class, the `Tally` of each layer. If classes were not kept apart,
            None is the only class.
        neurons (str): What has a score: ``"channel"``, ``"neuron"`` or ``"pooled value"``.
        layouts (dict): The layout of each layer's output, for `to_map`; None where it is unknown.
        n_indexed (int): Length of the data that the indices of images refer to.
    """

    components: tuple[Component, ...]
    design: Design
    statistic: Statistic
    reduction: Reduction
    tallies: dict[int | None, dict[str, Tally]]
    neurons: NeuronKind
    layouts: dict[str, Layout | None]
    n_indexed: int

    @cached_property
    def overall(self) -> dict[str, Tally]:
        """The tally of each layer over all classes."""
        return {
            layer: reduce(add, (self.tallies[label][layer] for label in self._labels))
            for layer in self.layers
        }

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in the order in which they were given."""
        return tuple(next(iter(self.tallies.values())))

    @property
    def n_images(self) -> int:
        """Number of images."""
        return sum(tallies[self.layers[0]].score.count for tallies in self.tallies.values())

    @property
    def mean(self) -> dict[str, Tensor]:
        """Mean score over images, shape ``(*neuron)``, by which neurons are ranked."""
        return {layer: tally.score.mean for layer, tally in self.overall.items()}

    @property
    def variance(self) -> dict[str, Tensor]:
        """Variance of the score over images, shape ``(*neuron)``; NaN for a single image."""
        return {layer: tally.score.variance for layer, tally in self.overall.items()}

    @property
    def by_component(self) -> dict[str, Tensor]:
        """Mean over images of each component's statistic, shape ``(components, *neuron)``."""
        return {layer: tally.by_component.mean for layer, tally in self.overall.items()}

    @property
    def coefficient(self) -> dict[str, Tensor]:
        """Mean signed coefficient of each component, same shape; the "evoked" response of EEG."""
        return {layer: tally.coefficient.mean for layer, tally in self.overall.items()}

    @property
    def image_coefficients(self) -> dict[str, Tensor]:
        """Coefficients of every image, shape ``(images, components, *neuron)``.

        They come in the order of the data.

        Raises:
            ValueError: If they were not kept, as they are with ``keep_coefficients=True``, or if
                it is unknown which images these are.
        """
        for tally in self.overall.values():
            _validate_found(tally.images)
        return {layer: tally.image_coefficients for layer, tally in self.overall.items()}

    @property
    def top_images(self) -> dict[str, Tensor]:
        """Indices of the images with the highest scores, shape ``(n_top_images, *neuron)``.

        There are fewer if there are not that many images.

        Raises:
            ValueError: If it is unknown which images these are.
        """
        for tally in self.overall.values():
            _validate_found([tally.top_images])
        return {layer: tally.top_images for layer, tally in self.overall.items()}

    @property
    def classes(self) -> tuple[int, ...]:
        """Labels whose images were kept apart; empty without ``by_class``."""
        return tuple(label for label in self._labels if label is not None)

    @property
    def _labels(self) -> list[int | None]:
        return sorted(self.tallies, key=lambda label: -1 if label is None else label)

    def of_class(self, label: int) -> NeuronScores:
        """The scores over the images of one class.

        Raises:
            ValueError: If there are no such images.
            TypeError: If the label is not an integer.
        """
        label = integer(label, "label", at_least=-sys.maxsize)
        if label not in self.classes:
            raise ValueError(
                f"Expected a class among {list(self.classes)}, but got {label}"
                + ("" if self.classes else "; score with by_class=True to keep classes apart")
            )
        return replace(self, tallies={None: self.tallies[label]})

    def rows(self, components: ComponentSelection) -> list[int]:
        """Indices of components along the first dimension of `by_component`.

        Raises:
            ValueError: If a component was not scored, or the group has no scored component.
        """
        if isinstance(components, str):
            wanted = tuple(c for c in self.components if in_group(c, components))
        else:
            wanted = self.design.components(components)
        if not wanted or not set(wanted) <= set(self.components):
            raise ValueError(
                f"Expected components that were scored, but got {components!r}; these are "
                f"{', '.join(map(str, self.components))}"
            )
        return [self.components.index(component) for component in wanted]

    def at(self, components: ComponentSelection) -> dict[str, Tensor]:
        """Mean of the statistic over images and some of the components, shape ``(*neuron)``.

        Args:
            components (str or sequence): A group or integer tuples, among those scored.
        """
        rows = self.rows(components)
        return {layer: values[rows].mean(0) for layer, values in self.by_component.items()}

    def p_values(
        self, components: ComponentSelection = "all", test: Test | None = None
    ) -> dict[str, Tensor]:
        """How likely a response is by chance alone, for each component and neuron.

        Args:
            components (str or sequence, optional): Among those scored. Default: ``"all"``
            test (str, optional): ``"t"``: a t-test of whether the signed coefficients differ from
                zero over images; ``"sign_flip"``: the same by permutation, for scores with
                ``keep_coefficients=True``; ``"noise"``: whether lines stand out from their
                neighbors, by an F(2, 2K) test of each image (K neighbors), combined over images by
                Fisher's method. Default: ``"noise"`` for scores with noise, else ``"t"``.

        Returns:
            dict[str, Tensor]: Shape ``(components, *neuron)``, not adjusted for their number.

        Raises:
            ValueError: If the test is unknown, or needs data that the scores do not hold.
        """
        rows = self.rows(components)
        return {layer: tally.p_values(rows, test) for layer, tally in self.overall.items()}

    def important(
        self,
        threshold: float | None = None,
        alpha: float | None = None,
        components: ComponentSelection = "all",
        test: Test | None = None,
    ) -> dict[str, Tensor]:
        """Which neurons respond to at least one of the components.

        Without noise, the default test asks for responses of the same sign over images. To find
        all neurons that respond, whatever the sign, use ``threshold=1`` with ``statistic="snr"``.

        Args:
            threshold (float, optional): What the mean of the statistic over images must exceed.
                For ``statistic="snr"``: 1, the rounding floor, without noise; with noise the
                paper's 2.33, which a mean over many images exceeds by chance far more rarely than
                a single image does.
            alpha (float, optional): False discovery rate among all neurons (Benjamini-Hochberg)
                of p-values multiplied by the number of components (Bonferroni). Default: 0.05
                if there is no threshold. If both are given, neurons must meet both.
            components, test: As in `p_values`.

        Returns:
            dict[str, Tensor]: Boolean, shape ``(*neuron)``.
        """
        rows = self.rows(components)
        if threshold is None and alpha is None:
            alpha = 0.05
        lowest = -torch.inf if threshold is None else number(threshold, "threshold")
        found = {
            layer: values[rows].amax(0) > lowest for layer, values in self.by_component.items()
        }
        if alpha is not None:
            p_values = {
                layer: (values.amin(0) * len(rows)).clamp(max=1)
                for layer, values in self.p_values(components, test).items()
            }
            for layer, passes in _discoveries(p_values, alpha).items():
                found[layer].logical_and_(passes)
        return found

    def count_important(
        self,
        threshold: float | None = None,
        alpha: float | None = None,
        components: ComponentSelection = "all",
        test: Test | None = None,
    ) -> dict[str, int]:
        """How many neurons of each layer are `important`."""
        found = self.important(threshold, alpha, components, test)
        return {layer: int(mask.sum()) for layer, mask in found.items()}

    def interaction_effect(self, parts: Sequence[int]) -> dict[str, Tensor]:
        """Mean over images of `TaggedSpectrum.interaction_effect`, shape ``(*neuron)``.

        Args:
            parts (sequence of int): Two parts.

        Raises:
            ValueError: If these are not two parts with components of each and of both.
        """
        return self._of_mean_corners(parts, interaction_effect)

    def and_or_index(self, parts: Sequence[int]) -> dict[str, Tensor]:
        """`TaggedSpectrum.and_or_index` of the response averaged over images.

        A filter that is AND-like for some images and OR-like for others comes out in between.

        Args:
            parts (sequence of int): As in `interaction_effect`.

        Returns:
            dict[str, Tensor]: Between -1 and 1, shape ``(*neuron)``; NaN as there.
        """
        return self._of_mean_corners(parts, and_or_index)

    def _of_mean_corners(
        self, parts: Sequence[int], read: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor]:
        rows, weights = corner_weights(self.components, self.design, parts)
        return {
            layer: read(torch.tensordot(weights, coefficient[rows], dims=1))
            for layer, coefficient in self.coefficient.items()
        }

    def interaction_p_values(
        self, parts: Sequence[int], test: Literal["t", "sign_flip"] = "t"
    ) -> dict[str, Tensor]:
        """How likely the interaction effect of two parts is by chance alone, for each neuron.

        Args:
            parts (sequence of int): As in `interaction_effect`.
            test (str, optional): ``"t"``: whether the effect differs from zero over images;
                ``"sign_flip"``: the same by permutation, for scores with
                ``keep_coefficients=True``. Default: ``"t"``

        Returns:
            dict[str, Tensor]: Shape ``(*neuron)``, not adjusted for their number.

        Raises:
            ValueError: If the test is unknown, or needs data that the scores do not hold.
        """
        choice(test, "test", ("t", "sign_flip"))
        rows, weights = corner_weights(self.components, self.design, parts)
        if test == "sign_flip":
            return {
                layer: sign_flip_test(interaction_of(values, rows, weights))
                for layer, values in self.image_coefficients.items()
            }
        pairs = [*corner_tables(self.components, self.design)]
        row = pairs.index((min(parts), max(parts)))
        effects = {layer: cast(Moments, tally.interaction) for layer, tally in self.overall.items()}
        return {
            layer: t_test(effect.mean[row], effect.variance[row], effect.count)
            for layer, effect in effects.items()
        }

    def and_like(
        self, parts: Sequence[int], alpha: float = 0.05, test: Literal["t", "sign_flip"] = "t"
    ) -> dict[str, Tensor]:
        """Which neurons need both parts: beyond chance, and by more than a little.

        Their interaction effect differs from zero over images, and their `and_or_index` is at
        least 0.1: over many images, a test alone finds the smallest of effects.

        Args:
            parts (sequence of int): As in `interaction_effect`.
            alpha (float, optional): False discovery rate of interaction effects among all neurons
                (Benjamini-Hochberg). Default: 0.05
            test (str, optional): As in `interaction_p_values`. From a single image, none passes.
                Default: ``"t"``

        Returns:
            dict[str, Tensor]: Boolean, shape ``(*neuron)``.
        """
        return self._beyond_chance(parts, 1, alpha, test)

    def or_like(
        self, parts: Sequence[int], alpha: float = 0.05, test: Literal["t", "sign_flip"] = "t"
    ) -> dict[str, Tensor]:
        """Which neurons need but one of two parts: as `and_like`, with an index of at most -0.1.

        Args:
            parts, alpha, test: As in `and_like`.

        Returns:
            dict[str, Tensor]: Boolean, shape ``(*neuron)``.
        """
        return self._beyond_chance(parts, -1, alpha, test)

    def _beyond_chance(
        self, parts: Sequence[int], sign: int, alpha: float, test: Literal["t", "sign_flip"]
    ) -> dict[str, Tensor]:
        passes = _discoveries(self.interaction_p_values(parts, test), alpha)
        index = self.and_or_index(parts)
        return {layer: passes[layer] & (sign * index[layer] >= LEAST_INDEX) for layer in passes}

    def table(self) -> list[dict[str, Any]]:
        """One record per neuron, for ``pandas.DataFrame``.

        Each has ``layer``, ``neuron`` (an integer, or a tuple if neurons have several indices),
        ``score``, ``variance``, and the mean statistic of each component under its name.
        """
        return [
            self._record(layer, place)
            for layer, mean in self.mean.items()
            for place in range(mean.numel())
        ]

    def top(self, k: int, layer: str | None = None) -> list[dict[str, Any]]:
        """Records, as in `table`, of the k neurons with the highest scores, highest first.

        Args:
            k (int): How many neurons.
            layer (str, optional): The layer of the neurons. Default: all layers. Their units
                differ, so that layers with large activations have large amplitudes.
        """
        layers = self.layers if layer is None else (self.known_layer(layer),)
        k = integer(k, "k", at_least=0)
        places = [(name, p) for name in layers for p in range(self.mean[name].numel())]
        scores = torch.cat([self.mean[name].flatten() for name in layers])
        order = scores.argsort(descending=True, stable=True)[:k].tolist()
        return [self._record(*places[row]) for row in order]

    def lowest(self, ratio: float) -> dict[str, list[int]]:
        """The filters of each layer with the lowest scores, as `ablated` takes them.

        These respond least, and the network may need them all the same: to prune it, rank filters
        by `pruning.score_for_pruning`. Of equal scores, those with the lower index come first.

        Args:
            ratio (float): Share of each layer's filters, from 0 to below 1, rounded to whole
                filters as Python's ``round`` does.

        Raises:
            ValueError: If the ratio is out of range or takes all filters of a layer, or neurons
                have several indices.
            TypeError: If the ratio is not a number.
        """
        return lowest_filters(self.mean, ratio)

    def known_layer(self, layer: str) -> str:
        """The name of a layer, if it was scored.

        Raises:
            ValueError: If it was not.
        """
        choice(layer, "layer", self.layers)
        return layer

    def _record(self, layer: str, place: int) -> dict[str, Any]:
        tally = self.overall[layer]
        index = tuple(int(i) for i in np.unravel_index(place, tally.score.mean.shape))
        statistic = tally.by_component.mean.flatten(1)[:, place].tolist()
        return {
            "layer": layer,
            "neuron": index[0] if len(index) == 1 else index,
            "score": tally.score.mean[index].item(),
            "variance": tally.score.variance[index].item(),
            **dict(zip(map(self.design.label, self.components), statistic, strict=True)),
        }

    def merge(self, other: NeuronScores) -> NeuronScores:
        """The scores over the images of both, as if the other's data followed these.

        This joins disjoint shards of a data set that were scored elsewhere. The indices of the
        other's images move up by ``n_indexed``, as in a ``ConcatDataset``.

        Raises:
            ValueError: If the two were not scored alike. Scores do not hold the noise, baselines,
                weights and ``tag_layer``, so differences in these go unnoticed.
            TypeError: If the other is something else.
        """
        moved = {
            label: {layer: tally.moved(self.n_indexed) for layer, tally in tallies.items()}
            for label, tallies in neuron_scores(other, "other").tallies.items()
        }
        n_indexed = self.n_indexed + other.n_indexed
        return self.joined(replace(other, tallies=moved, n_indexed=n_indexed))

    def joined(self, other: NeuronScores) -> NeuronScores:
        """The scores over the images of both, with indices into the same data.

        Raises:
            ValueError, TypeError: As in `merge`.
        """
        neuron_scores(other, "other")
        for name in ("components", "design", "statistic", "reduction", "layers", "_kind"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"Expected scores with the same {name.strip('_')} to merge, but got "
                    f"{getattr(self, name)} and {getattr(other, name)}"
                )
        tallies = dict(self.tallies)
        for label, added in other.tallies.items():
            if held := tallies.get(label):
                added = {layer: held[layer] + tally for layer, tally in added.items()}
            tallies[label] = added
        n_indexed = max(self.n_indexed, other.n_indexed)
        return replace(self, tallies=tallies, n_indexed=n_indexed)

    @property
    def _kind(self) -> str:
        """What must agree, besides the settings, for scores to add up."""
        of_layers = next(iter(self.tallies.values()))
        tally = next(iter(of_layers.values()))
        shapes = ", ".join(str(tuple(t.score.mean.shape)) for t in of_layers.values())
        return (
            f"{self.neurons}s of shape {shapes}, "
            f"{'classes together' if None in self.tallies else 'classes apart'}, "
            f"{'with' if tally.surprise else 'without'} noise, "
            f"{'with' if tally.images else 'without'} every image's coefficients, "
            f"{tally.n_top} top images"
        )

    def __repr__(self) -> str:
        n_neurons = sum(mean.numel() for mean in self.mean.values())
        return (
            f"NeuronScores({self.statistic} of {count(n_neurons, self.neurons)}, "
            f"{count(len(self.layers), 'layer')}, {self.design}, "
            f"{count(len(self.components), 'component')}, {count(self.n_images, 'image')})"
        )

    def save(self, path: str | Path) -> None:
        """Write everything to an ``.npz`` file of plain arrays, completely or not at all."""
        _npz.save(path, self.to_arrays())

    @classmethod
    def load(cls, path: str | Path) -> NeuronScores:
        """Read what `save` wrote, or a checkpoint of `score_neurons`.

        Raises:
            ValueError: If the file is damaged or of another kind.
        """
        return cls.from_arrays(_npz.load(path, {"scores"}, "`NeuronScores.save`"), path)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays; the array ``scores`` describes them in JSON."""
        about = {field.name: getattr(self, field.name) for field in fields(self)}
        del about["tallies"]
        about |= {"design": self.design.to_dict(), "layers": self.layers, "classes": self._labels}
        arrays = {"scores": np.array(json.dumps(about))}
        for row, layer in enumerate(self.layers):
            packed = pack([self.tallies[label][layer] for label in self._labels])
            arrays |= {f"{row}.{name}": array for name, array in packed.items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], source: str | Path) -> NeuronScores:
        """The scores that `to_arrays` made arrays of.

        Raises:
            ValueError: If the arrays are damaged; the message names the source.
        """
        try:
            about = dict(json.loads(str(arrays["scores"])))
            classes, layers = about.pop("classes"), about.pop("layers")
            about["components"] = tuple(map(Component, about["components"]))
            about["design"] = Design.from_dict(about["design"])
            tallies: dict[int | None, dict[str, Tally]] = {label: {} for label in classes}
            for row, layer in enumerate(layers):
                prefix = f"{row}."
                packed = {
                    name.removeprefix(prefix): array
                    for name, array in arrays.items()
                    if name.startswith(prefix)
                }
                for label, tally in zip(classes, unpack(packed), strict=True):
                    tallies[label][layer] = tally
            return cls(**about, tallies=tallies)
        except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"Expected arrays written by `NeuronScores.save`, but those of {source} are "
                f"damaged ({error!r})"
            ) from None


def neuron_scores(value: Any, name: str = "scores") -> NeuronScores:
    """The value, if it is scores.

    Raises:
        TypeError: If it is not.
    """
    return instance(value, NeuronScores, name, "what `score_neurons` returned")


def _discoveries(p_values: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Which neurons of all layers together pass at a false discovery rate."""
    rate = number(alpha, "alpha", at_least=0, at_most=1)
    adjusted = benjamini_hochberg(torch.cat([p.flatten() for p in p_values.values()]))
    pieces = torch.split(adjusted, [p.numel() for p in p_values.values()])
    return {
        layer: piece.reshape(p.shape) <= rate
        for (layer, p), piece in zip(p_values.items(), pieces, strict=True)
    }


def _validate_found(images: Iterable[Tensor]) -> None:
    """Check that indices of images are known.

    Raises:
        ValueError: If they are not.
    """
    if any(NOWHERE in indices for indices in images):
        raise ValueError(
            "Expected scores of images that can be found again, but a DataLoader shuffled some of "
            "these, or changed its batches; score its Dataset, or with shuffle=False"
        )
