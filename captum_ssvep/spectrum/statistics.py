"""Statistics of a neuron's response at a line, as pure functions.

All take tensors of any shape, element by element. Definitions used elsewhere (MNE, Letswave, the
face-categorization literature) differ in the window and in whether they take amplitude or power.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import choice, integer, number, tensor

Statistic = Literal[
    "snr", "snr_db", "amplitude", "coefficient", "baseline_corrected", "zscore", "variance_share"
]
Reduction = Literal["mean", "sum", "max", "energy"]
#: What `reduce` knows.
REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)

LOWEST_SNR_DB = -60.0

Function = TypeVar("Function", bound=Callable[..., Tensor])


def _checked(main: str) -> Callable[[Function], Function]:
    """Refuse tensors that a statistic cannot take, by the name of the argument.

    A spectrum's own tensors need no check, which would wait for the device: it calls what is
    wrapped.

    Args:
        main: The argument whose shape the others have to fit.
    """

    def decorate(function: Function) -> Function:
        parameters = inspect.signature(function)

        @wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Tensor:
            given = parameters.bind(*args, **kwargs).arguments
            names = [n for n, kind in function.__annotations__.items() if kind is Tensor]
            for name in (name for name in given if name in names):
                _validate(name, given[name], main, given[main])
            return function(*args, **kwargs)

        return cast(Function, checked)

    return decorate


def _validate(name: str, value: Any, main: str, main_value: Tensor) -> None:
    """Refuse what is no tensor of finite numbers, or does not fit the main one."""
    if not tensor(value, name).is_floating_point():
        raise TypeError(
            f"Expected `{name}` of a floating dtype, but got {value.dtype}; convert it, as "
            "`.double()` does"
        )
    if not value.isfinite().all():
        raise ValueError(f"Expected `{name}` to be finite, but got NaN or infinity")
    is_list = name == "neighbors"
    shape, ours = tuple(value.shape)[is_list:], tuple(tensor(main_value, main).shape)
    pairs = zip(reversed(shape), reversed(ours), strict=False)
    fits = len(shape) <= len(ours) and all(size in (1, other) for size, other in pairs)
    if not fits or value.dim() < is_list:
        raise ValueError(
            f"Expected `{name}` to fit `{main}` of shape {ours}"
            f"{', neighbors first' if is_list else ''}, but got shape {tuple(value.shape)}"
        )


@_checked("amplitude")
def snr(amplitude: Tensor, neighbors: Tensor, floor: Tensor) -> Tensor:
    r"""Signal-to-noise ratio of a line, finite in a network without noise.

    .. math:: \mathrm{SNR} = A / \max(\bar{A}_{\text{neighbors}}, \text{floor})

    This is the paper's ratio (arXiv 2411.10084, Fig. 3), with the rounding floor of the activations
    in place of neighbors that a network without noise leaves out. Above 1 there is energy at the
    line, of the component or of an alias of higher order. Zero over zero is 0.

    Args:
        amplitude (Tensor): Amplitude of the line, shape ``(...)``.
        neighbors (Tensor): Amplitudes of the neighboring bins, shape ``(n, ...)``; n may be 0.
        floor (Tensor): Amplitude that rounding alone can cause, broadcastable to ``amplitude``.

    Examples::

        >>> snr(torch.tensor(6.0), torch.tensor([1.0, 2.0, 2.0, 3.0]), torch.tensor(1e-6))
        tensor(3.)
        >>> snr(torch.tensor(0.0), torch.zeros(4), torch.tensor(0.0))
        tensor(0.)
    """
    noise = torch.maximum(_mean(neighbors, amplitude), floor)
    return torch.where(noise > 0, amplitude / noise, torch.zeros_like(amplitude))


@_checked("ratio")
def decibels(ratio: Tensor) -> Tensor:
    """Amplitude ratio in decibels, ``20 log10``, but at least -60 dB, which 0 gives too.

    Examples::

        >>> decibels(torch.tensor([0.0, 1.0, 10.0]))
        tensor([-60.,   0.,  20.])
    """
    return 20 * ratio.clamp(min=10 ** (LOWEST_SNR_DB / 20)).log10()


@_checked("amplitude")
def baseline_corrected(amplitude: Tensor, neighbors: Tensor) -> Tensor:
    """Amplitude minus the mean amplitude of the neighbors; can be summed over harmonics.

    Examples::

        >>> baseline_corrected(torch.tensor(6.0), torch.tensor([1.0, 2.0, 2.0, 3.0]))
        tensor(4.)
    """
    return amplitude - _mean(neighbors, amplitude)


@_checked("amplitude")
def zscore(amplitude: Tensor, neighbors: Tensor, floor: Tensor) -> Tensor:
    r"""Baseline-corrected amplitude in standard deviations of the neighbors.

    .. math:: z = (A - \bar{A}_{\text{neighbors}}) / \max(s_{\text{neighbors}}, \text{floor})

    with the sample standard deviation (n - 1), as in Letswave. Normal quantiles are too lenient
    for it: with 4 to 18 neighbors, a nominal 5 % is really 8 to 13 %.

    Examples::

        >>> zscore(torch.tensor(6.0), torch.tensor([1.0, 2.0, 2.0, 3.0]), torch.tensor(0.0))
        tensor(4.8990)
    """
    spread = neighbors.std(dim=0) if len(neighbors) > 1 else torch.zeros_like(amplitude)
    spread = torch.maximum(spread, floor)
    corrected = baseline_corrected(amplitude, neighbors)
    return torch.where(spread > 0, corrected / spread, torch.zeros_like(amplitude))


@_checked("power")
def variance_share(power: Tensor, variance: Tensor, floor: Tensor) -> Tensor:
    r"""Share of a neuron's variance over the record that lies in some lines.

    Over all lines of one part this is the part's first-order Sobol index, and over the
    intermodulations of several parts it is their interaction (Parseval and the ANOVA
    decomposition). If the variance is within the rounding floor, the shares are 0.

    Args:
        power (Tensor): Variance in the lines, ``A ** 2 / 2`` each.
        variance (Tensor): Variance of the neuron over the record.
        floor (Tensor): Amplitude that rounding alone can cause.

    Examples::

        >>> variance_share(torch.tensor([1.0, 1.0]), torch.tensor([4.0, 0.0]), torch.tensor(1e-6))
        tensor([0.2500, 0.0000])
    """
    varies = variance > floor.square()
    return torch.where(varies, power / variance.where(varies, torch.ones_like(variance)), 0.0)


@_checked("values")
def reduce(values: Tensor, reduction: Reduction) -> Tensor:
    """Combine a statistic over components, dimension 0.

    Args:
        values (Tensor): Shape ``(components, ...)``.
        reduction (str): ``"mean"``, ``"sum"``, ``"max"`` or ``"energy"``, the square root of the
            sum of squares.

    Raises:
        ValueError: If the reduction is unknown.

    Examples::

        >>> reduce(torch.tensor([3.0, 4.0]), "energy")
        tensor(5.)
    """
    choice(reduction, "reduction", REDUCTIONS)
    if not (values.dim() and len(values)):
        raise ValueError(
            f"Expected `values` of at least one component, but got shape {tuple(values.shape)}"
        )
    if reduction == "mean":
        return values.mean(dim=0)
    if reduction == "sum":
        return values.sum(dim=0)
    if reduction == "max":
        return values.amax(dim=0)
    return values.square().sum(dim=0).sqrt()


@_checked("spectrum")
def neighbor_ratio(spectrum: Tensor, n_neighbors: int = 2, n_skip: int = 0) -> Tensor:
    """Each bin of a whole spectrum divided by the mean of its neighbors.

    For series recorded elsewhere (EEG, noisy networks). An amplitude spectrum and the defaults give
    the paper's SNR; a power spectrum with ``n_neighbors=3, n_skip=1`` gives that of MNE's SSVEP
    tutorial.

    Args:
        spectrum (Tensor): Amplitude or power, shape ``(..., bins)``.
        n_neighbors (int, optional): Bins averaged on each side. Default: 2
        n_skip (int, optional): Bins left out next to the line on each side. Default: 0

    Returns:
        Tensor: Shape of ``spectrum``; NaN at both edges, where neighbors are missing.

    Raises:
        ValueError: If the window does not fit into the spectrum.

    Examples::

        >>> neighbor_ratio(torch.tensor([1.0, 1.0, 6.0, 2.0, 2.0]))
        tensor([nan, nan, 4., nan, nan])
    """
    n_neighbors = integer(n_neighbors, "n_neighbors")
    reach = n_neighbors + integer(n_skip, "n_skip", at_least=0)
    n_bins = spectrum.shape[-1] if spectrum.dim() else 0
    if 2 * reach >= n_bins:
        raise ValueError(
            f"Expected `n_neighbors` and `n_skip` with a window of {2 * reach + 1} bins within the "
            f"{n_bins} of `spectrum`, but got n_neighbors={n_neighbors}, n_skip={n_skip}"
        )
    window = torch.ones(2 * reach + 1, dtype=spectrum.dtype, device=spectrum.device)
    window[n_neighbors : n_neighbors + 2 * n_skip + 1] = 0
    windows = spectrum.unfold(-1, 2 * reach + 1, 1)
    noise = (windows * window).sum(-1) / (2 * n_neighbors)
    return F.pad(spectrum[..., reach : n_bins - reach] / noise, (reach, reach), value=torch.nan)


def snr_threshold(n_neighbors: int = 2, alpha: float = 0.05) -> float:
    r"""The SNR of a single line that noise alone exceeds at this rate.

    Amplitudes of noise have a Rayleigh distribution. With :math:`\phi` the characteristic function
    of its standard form, and K neighbors in all,

    .. math:: P(\mathrm{SNR} > c) = \mathrm{E} \exp(-c^2 \bar A^2 / 2)
        = \mathrm{E}_z \, \phi(c z / K)^K, \qquad
        \phi(t) = 1 + i t \sqrt{\pi / 2} \; w(t / \sqrt 2)

    for a normal z, with the Faddeeva function w. It holds for one line of one record, not for the
    mean or the largest of several, and not for a network without noise.

    Args:
        n_neighbors (int, optional): Noise bins on each side of the line. Default: 2
        alpha (float, optional): The rate, between 0 and 1. Default: 0.05

    Raises:
        ValueError: If a number is out of range.
        TypeError: If it is none.

    Examples::

        >>> round(snr_threshold(), 2), round(snr_threshold(10), 2)
        (2.33, 2.02)
    """
    level = number(alpha, "alpha")
    if not 0 < level < 1:
        raise ValueError(f"Expected `alpha` to be between 0 and 1, but got {level}")
    return _snr_threshold(2 * integer(n_neighbors, "n_neighbors"), level)


@lru_cache
def _snr_threshold(n_bins: int, alpha: float) -> float:
    from scipy import optimize, special

    # Dense near zero, where the function is narrow if the SNR is large.
    steps = np.linspace(-12, 12, 4801)
    z = 1e-4 * np.sinh(steps)
    weights = np.exp(-(z**2) / 2) * np.cosh(steps)
    weights /= weights.sum()

    def excess(log_snr: float) -> float:
        t = np.exp(log_snr) * z / n_bins
        of_neighbor = 1 + 1j * t * np.sqrt(np.pi / 2) * special.wofz(t / np.sqrt(2))
        return float(weights @ (of_neighbor**n_bins).real) - alpha

    return math.exp(optimize.brentq(excess, -10, 10))


def _mean(neighbors: Tensor, amplitude: Tensor) -> Tensor:
    return neighbors.mean(dim=0) if len(neighbors) else torch.zeros_like(amplitude)


def _same(value: Tensor) -> Tensor:
    return value


@dataclass(frozen=True)
class StatisticInfo:
    """All that is known about a statistic.

    Args:
        function: Computes the statistic, element by element.
        takes: The function's arguments, as names of methods and properties of `TaggedSpectrum`.
        label: Name of the statistic in pictures.
        unit: Unit of the statistic; None for a plain number. Default: None
        signed: Whether the statistic can be negative. Default: False
        finish: Applied after the reduction over components. Default: no change
    """

    function: Callable[..., Tensor]
    takes: tuple[str, ...]
    label: str
    unit: str | None = None
    signed: bool = False
    finish: Callable[[Tensor], Tensor] = _same

    @property
    def reads_neighbors(self) -> bool:
        """Whether the statistic compares a line with its neighbors."""
        return "neighbor_amplitudes" in self.takes

    @property
    def needs_neighbors(self) -> bool:
        """Whether the statistic needs a design in time; the SNR can use the rounding floor."""
        return self.reads_neighbors and self.function is not snr

    @property
    def axis_label(self) -> str:
        """Label with the unit, if any."""
        return self.label if self.unit is None else f"{self.label} ({self.unit})"


_LINE_AND_NOISE = ("amplitude", "neighbor_amplitudes", "floor_of_neurons")
#: Every statistic by its name.
STATISTICS: dict[Statistic, StatisticInfo] = {
    "snr": StatisticInfo(snr, _LINE_AND_NOISE, "SNR"),
    # Decibels are taken after the reduction: their own sum or energy would mean nothing.
    "snr_db": StatisticInfo(snr, _LINE_AND_NOISE, "SNR", "dB", signed=True, finish=decibels),
    "amplitude": StatisticInfo(_same, ("amplitude",), "Amplitude", "activation"),
    "coefficient": StatisticInfo(_same, ("coefficient",), "Coefficient", "activation", signed=True),
    "baseline_corrected": StatisticInfo(
        baseline_corrected, _LINE_AND_NOISE[:2], "Baseline-corrected amplitude", "activation", True
    ),
    "zscore": StatisticInfo(zscore, _LINE_AND_NOISE, "z-score", signed=True),
    "variance_share": StatisticInfo(
        variance_share, ("power", "known_variance", "floor_of_neurons"), "Share of variance"
    ),
}


def validate_choices(statistic: str, reduction: str) -> None:
    """Refuse unknown names before anything runs.

    Raises:
        ValueError: If a name is unknown; the message lists the valid ones.
    """
    choice(statistic, "statistic", STATISTICS)
    choice(reduction, "reduction", REDUCTIONS)
