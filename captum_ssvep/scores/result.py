"""Scores of a network's neurons over many images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import _npz
from .._checks import count, integer, one_line
from ..design import Component, ComponentSelection, Design
from ..design.components import in_group
from ..model.channels import Layout
from ..spectrum.statistics import Reduction, Statistic
from ..spectrum.tagged import NeuronKind
from .significance import Test, benjamini_hochberg
from .tally import Tally, pack, unpack


@dataclass(frozen=True, eq=False)
class NeuronScores:
    """What `score_neurons` finds: statistics over images for every neuron of every layer.

    All tensors are float64, on the CPU; ``*neuron`` is ``(filters,)`` for
    ``pooling="channel"``.

    Args:
        components (tuple[Component, ...]): What was read.
        design (Design): The stimulus.
        statistic (str): One of `statistics.STATISTICS`.
        reduction (str): How the statistic is combined over components to a score.
        tallies (dict): For each class the `Tally` of each layer; for all images alike the one
            class is None.
        neurons (str): What has a score: ``"channel"``, ``"neuron"`` or ``"pooled value"``.
        layouts (dict): How each layer's output is arranged, as `to_map` takes it; None where
            nothing says it.
    """

    components: tuple[Component, ...]
    design: Design
    statistic: Statistic
    reduction: Reduction
    tallies: dict[int | None, dict[str, Tally]]
    neurons: NeuronKind
    layouts: dict[str, Layout | None]

    @cached_property
    def overall(self) -> dict[str, Tally]:
        """The tally of each layer over all classes."""
        per_class = [self.tallies[label] for label in self._labels]
        return {
            layer: reduce(add, (tallies[layer] for tallies in per_class)) for layer in self.layers
        }

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in the order in which they were given."""
        return tuple(next(iter(self.tallies.values())))

    @property
    def n_images(self) -> int:
        """Number of images."""
        return self.overall[self.layers[0]].score.count

    @property
    def mean(self) -> dict[str, Tensor]:
        """Mean score over images, shape ``(*neuron)``: what neurons are ranked by."""
        return {layer: tally.score.mean for layer, tally in self.overall.items()}

    @property
    def variance(self) -> dict[str, Tensor]:
        """Variance of the score over images, likewise; NaN for a single one."""
        return {layer: tally.score.variance for layer, tally in self.overall.items()}

    @property
    def by_component(self) -> dict[str, Tensor]:
        """Mean over images of each component's statistic, shape ``(components, *neuron)``."""
        return {layer: tally.by_component.mean for layer, tally in self.overall.items()}

    @property
    def coefficient(self) -> dict[str, Tensor]:
        """Mean signed coefficient of each component, likewise: the "evoked" response of EEG."""
        return {layer: tally.coefficient.mean for layer, tally in self.overall.items()}

    @property
    def image_coefficients(self) -> dict[str, Tensor]:
        """Coefficients of every image, ``(images, components, *neuron)``.

        Scores hold them with ``keep_coefficients``.

        Raises:
            ValueError: If they were not kept.
        """
        return {layer: tally.image_coefficients for layer, tally in self.overall.items()}

    @property
    def top_images(self) -> dict[str, Tensor]:
        """Indices of the images with the highest scores, shape ``(n_top_images, *neuron)``.

        Fewer where there are not so many images.
        """
        return {layer: tally.top_images for layer, tally in self.overall.items()}

    @property
    def classes(self) -> tuple[int, ...]:
        """Labels that were scored apart; empty without ``by_class``."""
        return tuple(label for label in self._labels if label is not None)

    @property
    def _labels(self) -> list[int | None]:
        return sorted(self.tallies, key=lambda label: -1 if label is None else label)

    def of_class(self, label: int) -> NeuronScores:
        """The scores over the images of one class.

        Raises:
            ValueError: If there are none.
        """
        if label not in self.classes:
            raise ValueError(
                f"Expected a class among {list(self.classes)}, but got {label!r}"
                + ("" if self.classes else "; score with by_class=True to have any")
            )
        return replace(self, tallies={None: self.tallies[label]})

    def rows(self, components: ComponentSelection) -> list[int]:
        """Where components stand among those scored, as along `by_component`.

        Raises:
            ValueError: If one was not scored, or the group holds none.
        """
        if isinstance(components, str):
            rows = [row for row, c in enumerate(self.components) if in_group(c, components)]
            wanted: tuple[Component, ...] = ()
        else:
            wanted = self.design.components(components)
            rows = [self.components.index(c) for c in wanted if c in self.components]
        if not rows or len(rows) < len(wanted):
            raise ValueError(
                f"Expected components that were scored, but got {components!r}; these are "
                f"{', '.join(map(str, self.components))}"
            )
        return rows

    def at(self, components: ComponentSelection) -> dict[str, Tensor]:
        """Mean of the statistic over images and some of the components, shape ``(*neuron)``.

        Args:
            components (str or sequence): A group, or integer tuples, among those scored.
        """
        rows = self.rows(components)
        return {layer: values[rows].mean(0) for layer, values in self.by_component.items()}

    def p_values(
        self, components: ComponentSelection = "all", test: Test | None = None
    ) -> dict[str, Tensor]:
        """How likely chance makes a response, for each component and neuron.

        Args:
            components (str or sequence, optional): Among those scored. Default: ``"all"``
            test (str, optional): ``"t"``: do the signed coefficients differ from zero over images,
                by a t-test; ``"sign_flip"``: the same by permutation, for scores with
                ``keep_coefficients=True``; ``"noise"``: do lines stand out from their neighbors, by
                an F(2, 2K) test of each image (K neighbors), combined over images by Fisher's
                method. Default: ``"noise"`` for scores with noise, else ``"t"``.

        Returns:
            dict[str, Tensor]: Shape ``(components, *neuron)``, not adjusted for their number.

        Raises:
            ValueError: If the test needs what the scores do not hold.
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
        """Which neurons answer at one of the components, by default with one sign over images.

        Without noise that is what the default asks; whether a neuron answers at all, be it now so
        and now so, is ``threshold=1`` with ``statistic="snr"``.

        Args:
            threshold (float, optional): What the mean of the statistic over images has to exceed.
                For ``statistic="snr"``: 1, the rounding floor, without noise; with noise the
                paper's 2.33, which the mean over many images exceeds far more rarely by chance
                than a single image.
            alpha (float, optional): False discovery rate among all neurons (Benjamini-Hochberg)
                of p-values multiplied by the number of components (Bonferroni). Default: 0.05
                where there is no threshold; both are required where both are given.
            components, test: As in `p_values`.

        Returns:
            dict[str, Tensor]: Boolean, shape ``(*neuron)``.
        """
        rows = self.rows(components)
        if threshold is None and alpha is None:
            alpha = 0.05
        found = {
            layer: torch.ones_like(mean, dtype=torch.bool) for layer, mean in self.mean.items()
        }
        if threshold is not None:
            for layer, values in self.by_component.items():
                found[layer] &= values[rows].amax(0) > threshold
        if alpha is not None:
            p_values = {
                layer: (values.amin(0) * len(rows)).clamp(max=1)
                for layer, values in self.p_values(components, test).items()
            }
            adjusted = benjamini_hochberg(torch.cat([p.flatten() for p in p_values.values()]))
            pieces = torch.split(adjusted, [p.numel() for p in p_values.values()])
            for (layer, p), values in zip(p_values.items(), pieces, strict=True):
                found[layer] &= values.reshape(p.shape) <= alpha
        return found

    def count_important(
        self,
        threshold: float | None = None,
        alpha: float | None = None,
        components: ComponentSelection = "all",
        test: Test | None = None,
    ) -> dict[str, int]:
        """How many neurons of each layer are `important`: by default, answer with one sign."""
        found = self.important(threshold, alpha, components, test)
        return {layer: int(mask.sum()) for layer, mask in found.items()}

    def table(self) -> list[dict[str, Any]]:
        """One record per neuron, as ``pandas.DataFrame`` takes them.

        Each has ``layer``, ``neuron`` (an integer, or a tuple where neurons have several indices),
        ``score``, ``variance``, and the mean statistic of each component under its name.
        """
        return [
            self._record(layer, place)
            for layer, mean in self.mean.items()
            for place in range(mean.numel())
        ]

    def top(self, k: int, layer: str | None = None) -> list[dict[str, Any]]:
        """Records, as of `table`, of the k neurons with the highest scores, in falling order.

        Args:
            k (int): How many.
            layer (str, optional): Among whose neurons. Default: those of all layers, whose units
                differ: an amplitude counts by the size of a layer's activations.
        """
        layers = self.layers if layer is None else (layer,)
        unknown = set(layers) - set(self.layers)
        if unknown:
            raise ValueError(f"Expected a layer among {list(self.layers)}, but got {layer!r}")
        k = integer(k, "k", at_least=0)
        places = [(name, p) for name in layers for p in range(self.mean[name].numel())]
        scores = torch.cat([self.mean[name].flatten() for name in layers])
        order = scores.argsort(descending=True, stable=True)[:k].tolist()
        return [self._record(*places[row]) for row in order]

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

        For shards of a data set that were scored elsewhere, each image in one of them; indices of
        the other's images move up by ``n_images``.

        Raises:
            ValueError: If both were not scored alike, as far as scores can tell: not by their
                noise, baselines or weights.
            TypeError: If the other is something else.
        """
        if not isinstance(other, NeuronScores):
            raise TypeError(f"Expected NeuronScores to merge, but got {type(other).__name__}")
        offset = self.n_images
        moved = {
            label: {layer: tally.moved(offset) for layer, tally in tallies.items()}
            for label, tallies in other.tallies.items()
        }
        return self.joined(replace(other, tallies=moved))

    def joined(self, other: NeuronScores) -> NeuronScores:
        """The scores over the images of both, whose indices are those of the same data.

        Raises:
            ValueError: As `merge`.
        """
        for name in (
            "components",
            "design",
            "statistic",
            "reduction",
            "layers",
            "_kind",
        ):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"Expected scores with the same {name.strip('_')} to merge, but got "
                    f"{getattr(self, name)} and {getattr(other, name)}"
                )
        tallies = dict(self.tallies)
        for label, added in other.tallies.items():
            held = tallies.get(label)
            tallies[label] = (
                {layer: held[layer] + tally for layer, tally in added.items()} if held else added
            )
        return replace(self, tallies=tallies)

    @property
    def _kind(self) -> str:
        """What must agree besides the settings for scores to add up."""
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
        return one_line(
            "NeuronScores",
            f"{self.statistic} of {count(n_neurons, self.neurons)}",
            count(len(self.layers), "layer"),
            f"{self.design}",
            count(len(self.components), "component"),
            count(self.n_images, "image"),
        )

    def save(self, path: str | Path) -> None:
        """Write everything to an ``.npz`` file of plain arrays, whole or not at all."""
        _npz.save(path, self.to_arrays())

    @classmethod
    def load(cls, path: str | Path) -> NeuronScores:
        """Read what `save` wrote, or a checkpoint of `score_neurons`.

        Raises:
            ValueError: If the file is damaged, or something else.
        """
        return cls.from_arrays(_npz.load(path, {"scores"}, "`NeuronScores.save`"), path)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays; what describes them is JSON in the array ``scores``."""
        about = {
            "components": self.components,
            "design": self.design.to_dict(),
            "statistic": self.statistic,
            "reduction": self.reduction,
            "layers": self.layers,
            "classes": self._labels,
            "neurons": self.neurons,
            "layouts": self.layouts,
        }
        arrays = {"scores": np.array(json.dumps(about))}
        for number, layer in enumerate(self.layers):
            packed = pack([self.tallies[label][layer] for label in self._labels])
            arrays |= {f"{number}.{name}": array for name, array in packed.items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], source: str | Path) -> NeuronScores:
        """The scores that `to_arrays` made arrays of.

        Raises:
            ValueError: If they are damaged; the message names the source.
        """
        try:
            return cls._from_arrays(arrays)
        except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"Expected arrays written by `NeuronScores.save`, but those of {source} are "
                f"damaged ({error!r})"
            ) from None

    @classmethod
    def _from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> NeuronScores:
        about = json.loads(str(arrays["scores"]))
        tallies: dict[int | None, dict[str, Tally]] = {label: {} for label in about["classes"]}
        for number, layer in enumerate(about["layers"]):
            prefix = f"{number}."
            packed = {
                name.removeprefix(prefix): array
                for name, array in arrays.items()
                if name.startswith(prefix)
            }
            for label, tally in zip(about["classes"], unpack(packed), strict=True):
                tallies[label][layer] = tally
        return cls(
            components=tuple(map(Component, about["components"])),
            design=Design.from_dict(about["design"]),
            statistic=about["statistic"],
            reduction=about["reduction"],
            tallies=tallies,
            neurons=about["neurons"],
            layouts=about["layouts"],
        )
