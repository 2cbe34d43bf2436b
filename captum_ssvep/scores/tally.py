"""What images say of the neurons of a layer, in pieces that add up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import unknown_choice
from ..design import Component, ComponentSelection
from ..spectrum.statistics import Reduction, Statistic
from ..spectrum.tagged import TaggedSpectrum
from .significance import TESTS, Test, fisher_test, noise_surprise, sign_flip_test, t_test

MOMENTS = ("score", "by_component", "coefficient", "surprise")


@dataclass(frozen=True, eq=False, repr=False)
class Moments:
    r"""Count, mean and squared deviations of examples, which add up over disjoint sets of them.

    .. math::
        \bar x = \bar x_a + \delta \frac{n_b}{n}, \quad
        S = S_a + S_b + \delta^2 \frac{n_a n_b}{n}, \quad \delta = \bar x_b - \bar x_a

    (Welford 1962; Chan, Golub and LeVeque 1983). Any order and any pieces give the same to
    rounding, and a large mean costs far less precision than with sums of squares.

    Args:
        count (int): Number of examples.
        mean (Tensor): Their mean, float64.
        deviations (Tensor): Sum of the squared deviations from it, likewise.

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
        """The moments of examples along dimension 0, of which there is at least one."""
        doubles = values.to("cpu", torch.float64)
        mean = doubles.mean(0)
        return cls(len(doubles), mean, (doubles - mean).square().sum(0))

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        delta = other.mean - self.mean
        return Moments(
            count,
            self.mean + delta * (other.count / count),
            self.deviations
            + other.deviations
            + delta.square() * (self.count * other.count / count),
        )

    @property
    def variance(self) -> Tensor:
        """Unbiased variance over examples; NaN for a single one."""
        if self.count == 1:
            return torch.full_like(self.mean, torch.nan)
        return self.deviations / (self.count - 1)


@dataclass(frozen=True, eq=False, repr=False)
class Tally:
    """Running statistics of one layer over images.

    Args:
        score: The statistic, reduced over components, shape ``(*neuron)``.
        by_component: The statistic of every component, ``(components, *neuron)``.
        coefficient: The signed coefficient, likewise; zero where rounding alone could make it.
        top_scores: The largest scores of any image, in falling order, ``(n_top, *neuron)``.
        top_images: The indices of these images.
        n_top: How many to keep, of as many images as there are.
        surprise: Against the noise of the image, `significance.noise_surprise`; None without noise.
        images: Indices of the images whose coefficients are kept, a tensor for each batch.
        coefficients: These, shape ``(images, components, *neuron)``, likewise.
    """

    score: Moments
    by_component: Moments
    coefficient: Moments
    top_scores: Tensor
    top_images: Tensor
    n_top: int
    surprise: Moments | None = None
    images: tuple[Tensor, ...] = ()
    coefficients: tuple[Tensor, ...] = ()

    @classmethod
    def of(
        cls,
        spectrum: TaggedSpectrum,
        images: Tensor,
        components: ComponentSelection,
        statistic: Statistic,
        reduction: Reduction,
        n_top: int,
        keep_coefficients: bool,
    ) -> Tally:
        """What a batch says.

        Args:
            spectrum: Of the batch.
            images: Indices of its images, shape ``(N,)``.
            components, statistic, reduction: As in `TaggedSpectrum.reduce`.
            n_top: How many of the images that drive a neuron most to remember.
            keep_coefficients: Whether to keep the coefficients of every image.
        """
        score = spectrum.reduce(components, statistic, reduction)

        def of_each(read: Callable[[Component], Tensor]) -> Tensor:
            return torch.stack([read(component) for component in spectrum.components], dim=1)

        # Neighbors hold noise, but for a design that leaks into them.
        noisy = spectrum.n_neighbors > 0 and not spectrum.design.leaks
        coefficients = of_each(spectrum.coefficient)
        if not noisy:
            coefficients = coefficients.where(of_each(spectrum.snr) > 1, 0)

        def surprise_of(component: Component) -> Tensor:
            neighbors = spectrum.neighbor_amplitudes(component)
            return noise_surprise(
                spectrum.amplitude(component), neighbors, spectrum.floor_of_neurons
            )

        surprise = of_each(surprise_of) if noisy else None
        values = score.double().cpu()
        places = images.reshape(-1, *[1] * (values.dim() - 1)).expand_as(values)
        top = _largest(values, places, n_top)
        return cls(
            score=Moments.of(score),
            by_component=Moments.of(of_each(lambda c: spectrum.reduce([c], statistic, "sum"))),
            coefficient=Moments.of(coefficients),
            surprise=None if surprise is None else Moments.of(surprise),
            top_scores=top[0],
            top_images=top[1],
            n_top=n_top,
            images=(images,) if keep_coefficients else (),
            coefficients=(coefficients.cpu(),) if keep_coefficients else (),
        )

    def __add__(self, other: Tally) -> Tally:
        scores, images = _largest(
            torch.cat([self.top_scores, other.top_scores]),
            torch.cat([self.top_images, other.top_images]),
            self.n_top,
        )
        return Tally(
            score=self.score + other.score,
            by_component=self.by_component + other.by_component,
            coefficient=self.coefficient + other.coefficient,
            surprise=self.surprise + other.surprise if self.surprise and other.surprise else None,
            top_scores=scores,
            top_images=images,
            n_top=self.n_top,
            images=self.images + other.images,
            coefficients=self.coefficients + other.coefficients,
        )

    @property
    def image_coefficients(self) -> Tensor:
        """The coefficients of every image, in the order of the data.

        Raises:
            ValueError: If they were not kept.
        """
        if not self.images:
            raise ValueError(
                "Expected scores with the coefficients of every image, but they were not kept; "
                "score with keep_coefficients=True"
            )
        return torch.cat(self.coefficients)[torch.cat(self.images).argsort()]

    def p_values(self, rows: Sequence[int], test: Test | None) -> Tensor:
        """Of some components, as `NeuronScores.p_values`, shape ``(components, *neuron)``.

        Raises:
            ValueError: If the test needs what was not kept, or is unknown.
        """
        if test is None:
            test = "t" if self.surprise is None else "noise"
        count, coefficient = self.coefficient.count, self.coefficient
        if test == "t":
            return t_test(coefficient.mean[rows], coefficient.variance[rows], count)
        if test == "sign_flip":
            return sign_flip_test(self.image_coefficients[:, rows])
        if test == "noise":
            if self.surprise is None:
                raise ValueError(
                    "Expected scores with noise for test='noise', but got some without; score with "
                    "noise_std and n_neighbors above 0, or take test='t'"
                )
            return fisher_test(self.surprise.mean[rows], count)
        raise unknown_choice("test", test, TESTS)

    def moved(self, offset: int) -> Tally:
        """The same for images that stand later in the data."""
        return replace(
            self,
            top_images=self.top_images + offset,
            images=tuple(images + offset for images in self.images),
        )


def _largest(scores: Tensor, images: Tensor, n_top: int) -> tuple[Tensor, Tensor]:
    """The largest scores along dimension 0 and their images; of equal ones the first image."""
    by_image = images.argsort(dim=0, stable=True)
    order = scores.gather(0, by_image).argsort(dim=0, descending=True, stable=True)[:n_top]
    places = by_image.gather(0, order)
    return scores.gather(0, places), images.gather(0, places)


def pack(tallies: Sequence[Tally]) -> dict[str, NDArray[Any]]:
    """Tallies of one layer as arrays: one after the other, along dimension 0."""
    arrays: dict[str, NDArray[Any]] = {
        "n_top": np.array(tallies[0].n_top),
        "count": np.array([tally.score.count for tally in tallies]),
        "top_scores": torch.cat([tally.top_scores for tally in tallies]).numpy(),
        "top_images": torch.cat([tally.top_images for tally in tallies]).numpy(),
    }
    for name in MOMENTS:
        moments = [getattr(tally, name) for tally in tallies]
        if None not in moments:
            arrays[f"{name}.mean"] = torch.stack([m.mean for m in moments]).numpy()
            arrays[f"{name}.deviations"] = torch.stack([m.deviations for m in moments]).numpy()
    if tallies[0].images:
        images = [image for tally in tallies for image in tally.images]
        arrays["images"] = torch.cat(images).numpy()
        coefficients = [kept for tally in tallies for kept in tally.coefficients]
        arrays["coefficients"] = torch.cat(coefficients).numpy()
    return arrays


def unpack(arrays: Mapping[str, NDArray[Any]]) -> list[Tally]:
    """The tallies that `pack` made arrays of."""
    counts, n_top = arrays["count"].tolist(), int(arrays["n_top"])
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}

    tops = [min(count, n_top) for count in counts]
    lengths = {"top_scores": tops, "top_images": tops, "images": counts, "coefficients": counts}
    pieces = {
        name: torch.split(tensors[name], sizes)
        for name, sizes in lengths.items()
        if name in tensors
    }

    def tally(row: int) -> Tally:
        fields: dict[str, Any] = {
            name: Moments(
                counts[row], tensors[f"{name}.mean"][row], tensors[f"{name}.deviations"][row]
            )
            for name in MOMENTS
            if name != "surprise" or "surprise.mean" in tensors
        }
        fields |= {name: pieces[name][row] for name in ("top_scores", "top_images")}
        fields |= {
            name: (pieces[name][row],) for name in ("images", "coefficients") if name in pieces
        }
        return Tally(**fields, n_top=n_top)

    return [tally(row) for row in range(len(counts))]
