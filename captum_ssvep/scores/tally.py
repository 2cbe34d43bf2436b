"""Running statistics of one layer over images, which add up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import choice
from ..design import Component, ComponentSelection
from ..spectrum.corners import corner_tables, interaction_effect
from ..spectrum.statistics import Reduction, Statistic
from ..spectrum.tagged import TaggedSpectrum
from .data import NOWHERE
from .significance import TESTS, Test, fisher_test, noise_surprise, sign_flip_test, t_test

# The fields of a `Tally` that hold moments, and those that hold what is kept of single images.
MOMENTS = ("score", "by_component", "coefficient", "interaction", "surprise")
KEPT = ("images", "coefficients")


@dataclass(frozen=True, eq=False, repr=False)
class Moments:
    r"""Count, mean and squared deviations of examples; those of disjoint sets add up.

    .. math::
        \bar x = \bar x_a + \delta \frac{n_b}{n}, \quad
        S = S_a + S_b + \delta^2 \frac{n_a n_b}{n}, \quad \delta = \bar x_b - \bar x_a

    (Welford 1962; Chan, Golub and LeVeque 1983). The result is the same to rounding for any order
    and any pieces, and a large mean costs far less precision than with sums of squares.

    Args:
        count (int): Number of examples.
        mean (Tensor): Their mean, float64.
        deviations (Tensor): Sum of the squared deviations from the mean, float64.

    Examples::

        >>> values = torch.tensor([1.0, 2.0, 6.0])
        >>> both = Moments.of(values[:2]) + Moments.of(values[2:])
        >>> both.count, both.mean.item(), both.variance.item()
        (3, 3.0, 7.0)
    """

    count: int
    mean: Tensor
    deviations: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Moments:
        """The moments of one or more examples along dimension 0."""
        doubles = values.to("cpu", torch.float64)
        mean = doubles.mean(0)
        return cls(len(doubles), mean, (doubles - mean).square().sum(0))

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        between = delta.square() * (self.count * other.count / count)
        return Moments(count, mean, self.deviations + other.deviations + between)

    @property
    def variance(self) -> Tensor:
        """Unbiased variance over examples; NaN (0 over 0) for a single one."""
        return self.deviations / (self.count - 1)


@dataclass(frozen=True)
class Reading:
    """What to read from the spectrum of a batch, and what to keep of its images.

    Args:
        components, statistic, reduction: As in `TaggedSpectrum.reduce`.
        n_top_images: For each neuron, how many of the images that drive it most to remember.
        keep_coefficients: Whether to keep the coefficients of every image.
    """

    components: ComponentSelection
    statistic: Statistic
    reduction: Reduction
    n_top_images: int
    keep_coefficients: bool


@dataclass(frozen=True, eq=False, repr=False)
class Tally:
    """Running statistics of one layer over images.

    Args:
        score: The statistic, reduced over components, shape ``(*neuron)``.
        by_component: The statistic of every component, shape ``(components, *neuron)``.
        coefficient: The signed coefficient of every component, same shape; zero where rounding
            alone could produce it.
        top_scores: The largest scores of any image, largest first, shape ``(n_top, *neuron)``.
        top_images: The indices of these images, -1 if they cannot be found again.
        n_top: How many of them to keep; there are fewer if there are not that many images.
        surprise: `significance.noise_surprise` of every component; None without noise.
        images: Indices of the images whose coefficients are kept, one tensor per batch.
        coefficients: Their coefficients, one tensor ``(images, components, *neuron)`` per batch.
    """

    score: Moments
    by_component: Moments
    coefficient: Moments
    top_scores: Tensor
    top_images: Tensor
    n_top: int
    interaction: Moments | None = None
    surprise: Moments | None = None
    images: tuple[Tensor, ...] = ()
    coefficients: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, spectrum: TaggedSpectrum, images: Tensor, reading: Reading) -> Tally:
        """The statistics of a batch, whose images have the indices ``images``, shape ``(N,)``."""

        def of_each(read: Callable[[Component], Tensor]) -> Tensor:
            return torch.stack([read(component) for component in spectrum.components], dim=1)

        def surprise_of(component: Component) -> Tensor:
            neighbors = spectrum.neighbor_amplitudes(component)
            return noise_surprise(
                spectrum.amplitude(component), neighbors, spectrum.floor_of_neurons
            )

        coefficients, surprise = of_each(spectrum.coefficient), None
        # Neighbors hold noise, unless the design leaks into them.
        if spectrum.n_neighbors > 0 and not spectrum.design.leaks:
            surprise = Moments.of(of_each(surprise_of))
        else:
            coefficients = coefficients.where(of_each(spectrum.snr) > 1, 0)
        tables = corner_tables(spectrum.components, spectrum.design)
        effects = [interaction_of(coefficients, *table) for table in tables.values()]
        statistic = reading.statistic
        score = spectrum.reduce(reading.components, statistic, reading.reduction).double().cpu()
        places = images.reshape(-1, *[1] * (score.dim() - 1)).expand_as(score)
        top_scores, top_images = _largest(score, places, reading.n_top_images)
        return cls(
            score=Moments.of(score),
            by_component=Moments.of(of_each(lambda c: spectrum.reduce([c], statistic, "sum"))),
            coefficient=Moments.of(coefficients),
            interaction=Moments.of(torch.stack(effects, dim=1)) if effects else None,
            surprise=surprise,
            top_scores=top_scores,
            top_images=top_images,
            n_top=reading.n_top_images,
            images=(images,) if reading.keep_coefficients else (),
            coefficients=(coefficients.cpu(),) if reading.keep_coefficients else (),
        )

    def __add__(self, other: Tally) -> Tally:
        top_scores, top_images = _largest(
            torch.cat([self.top_scores, other.top_scores]),
            torch.cat([self.top_images, other.top_images]),
            self.n_top,
        )
        sums: dict[str, Any] = {
            name: getattr(self, name) + getattr(other, name)
            for name in (*MOMENTS, *KEPT)
            if getattr(self, name)
        }
        return replace(self, **sums, top_scores=top_scores, top_images=top_images)

    @property
    def image_coefficients(self) -> Tensor:
        """The coefficients of every image, in the order of the data, as far as that is known.

        Raises:
            ValueError: If they were not kept.
        """
        if not self.images:
            raise ValueError(
                "Expected scores with the coefficients of every image, but they were not kept; "
                "score with keep_coefficients=True"
            )
        return torch.cat(self.coefficients)[torch.cat(self.images).argsort(stable=True)]

    def p_values(self, rows: Sequence[int], test: Test | None) -> Tensor:
        """The p-values of some components, shape ``(components, *neuron)``.

        Args:
            rows: Where the components stand among those of the tally.
            test: As in `NeuronScores.p_values`.

        Raises:
            ValueError: If the test is unknown, or needs data that were not kept.
        """
        if test is None:
            test = "t" if self.surprise is None else "noise"
        choice(test, "test", TESTS)
        count, coefficient = self.coefficient.count, self.coefficient
        if test == "t":
            return t_test(coefficient.mean[rows], coefficient.variance[rows], count)
        if test == "sign_flip":
            return sign_flip_test(self.image_coefficients[:, rows])
        if self.surprise is None:
            raise ValueError(
                "Expected scores with noise for test='noise', but got some without; score with "
                "noise_std and n_neighbors above 0, or use test='t'"
            )
        return fisher_test(self.surprise.mean[rows], count)

    def moved(self, offset: int) -> Tally:
        """The same statistics, with the indices of the images moved up."""

        def move(images: Tensor) -> Tensor:
            return (images + offset).where(images != NOWHERE, NOWHERE)

        return replace(self, top_images=move(self.top_images), images=tuple(map(move, self.images)))


def interaction_of(coefficients: Tensor, rows: Sequence[int], weights: Tensor) -> Tensor:
    """The `corners.interaction_effect` of two parts, shape ``(images, *neuron)``.

    Args:
        coefficients: Of all components, shape ``(images, components, *neuron)``.
        rows, weights: As `corners.corner_weights` gives them.
    """
    effects = interaction_effect(weights).to(coefficients)
    summed: Tensor = torch.tensordot(effects, coefficients[:, rows], dims=([0], [1]))
    return summed


def _largest(scores: Tensor, images: Tensor, n_top: int) -> tuple[Tensor, Tensor]:
    """The largest scores along dimension 0 and their images; equal scores in order of images."""
    by_image = images.argsort(dim=0, stable=True)
    order = scores.gather(0, by_image).argsort(dim=0, descending=True, stable=True)[:n_top]
    places = by_image.gather(0, order)
    return scores.gather(0, places), images.gather(0, places)


def pack(tallies: Sequence[Tally]) -> dict[str, NDArray[Any]]:
    """The tallies of one layer as arrays, joined along dimension 0."""
    tensors = {
        "top_scores": torch.cat([tally.top_scores for tally in tallies]),
        "top_images": torch.cat([tally.top_images for tally in tallies]),
        "count": torch.tensor([tally.score.count for tally in tallies]),
        "n_top": torch.tensor(tallies[0].n_top),
    }
    for name in MOMENTS:
        if moments := [m for m in (getattr(tally, name) for tally in tallies) if m]:
            tensors[f"{name}.mean"] = torch.stack([m.mean for m in moments])
            tensors[f"{name}.deviations"] = torch.stack([m.deviations for m in moments])
    for name in KEPT:
        if pieces := [piece for tally in tallies for piece in getattr(tally, name)]:
            tensors[name] = torch.cat(pieces)
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def unpack(arrays: Mapping[str, NDArray[Any]]) -> list[Tally]:
    """The tallies that `pack` made arrays of."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    counts, n_top = tensors["count"].tolist(), int(tensors["n_top"])
    tops = [min(count, n_top) for count in counts]
    # For each field, its values in all tallies.
    columns: dict[str, Iterable[Any]] = {
        name: torch.split(tensors[name], tops) for name in ("top_scores", "top_images")
    }
    for name in KEPT:
        if name in tensors:
            columns[name] = [(piece,) for piece in torch.split(tensors[name], counts)]
    for name in MOMENTS:
        if f"{name}.mean" in tensors:
            mean, deviations = tensors[f"{name}.mean"], tensors[f"{name}.deviations"]
            columns[name] = map(Moments, counts, mean, deviations)
    rows = zip(*columns.values(), strict=True)
    return [Tally(n_top=n_top, **dict(zip(columns, row, strict=True))) for row in rows]
