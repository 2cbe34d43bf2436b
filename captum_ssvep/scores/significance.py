"""Tests over images and against noise, for many filters at once.

In a network without noise, the spectrum of an image has no sampling error; only the images vary.
A t-test or sign flips test their signed coefficients. With noise on the frames, every line of every
image can be tested against its neighbors.

A recording, or a network with noise in it, has phases that vary from trial to trial. There
`hotelling_test` and `t2circ_test` test complex coefficients over trials, and `line_f_test` a line
against its neighbors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from .._checks import integer, number, shown, tensor, warn_user

Test = Literal["t", "sign_flip", "noise"]
TESTS: tuple[Test, ...] = get_args(Test)

#: Critical values of the paper's SNR (an amplitude over the mean of two neighbors on each side) for
#: a single component of a single image: pure noise exceeds them at these rates. They are exact to
#: the digits given; the method reproduces Meigen & Bach (2000) for two neighbors. With another
#: number of neighbors, `captum_ssvep.spectrum.statistics.snr_threshold` gives them.
SNR_THRESHOLDS = {0.05: 2.33, 0.01: 3.26, 0.001: 4.78}

# Coefficients lie on a line in the complex plane if the smaller of their variances along two axes
# is this share of both: up to the rounding of single and of double precision.
COLLINEAR, EXACTLY_COLLINEAR = 1e-9, 1e-14


@dataclass(frozen=True)
class LineTest:
    """What a test of a response at a line found.

    Args:
        statistic (Tensor): The test's statistic, float64.
        degrees_of_freedom (tuple of int): Those of the F distribution, numerator first.
        p_value (Tensor): Chance of so large a statistic without a response, float64, same shape.
        scale (float): Factor that makes the statistic F.

    Examples::

        >>> found = line_f_test(torch.tensor(3.0), torch.ones(4))
        >>> found.statistic > found.critical_value(0.05)
        tensor(True)
    """

    statistic: Tensor
    degrees_of_freedom: tuple[int, int]
    p_value: Tensor
    scale: float = 1.0

    def critical_value(self, alpha: float = 0.05) -> float:
        """The statistic that is exceeded without a response at this rate.

        Args:
            alpha (float, optional): The rate, between 0 and 1. Default: 0.05

        Raises:
            ValueError: If it is not between 0 and 1.
            TypeError: If it is not a number.

        Examples::

            >>> round(line_f_test(torch.tensor(3.0), torch.ones(4)).critical_value(0.05), 3)
            4.459
        """
        from scipy import stats

        level = number(alpha, "alpha")
        if not 0 < level < 1:
            raise ValueError(f"Expected `alpha` to be between 0 and 1, but got {level}")
        return float(stats.f.isf(level, *self.degrees_of_freedom)) / self.scale


def t_test(mean: Tensor, variance: Tensor, n_images: int) -> Tensor:
    r"""Two-sided one-sample t-test of signed coefficients over images.

    .. math:: t = \bar x / \sqrt{s^2 / n} \sim t_{n - 1}

    Args:
        mean (Tensor): Mean coefficient over images, any shape.
        variance (Tensor): Unbiased variance of the coefficients, same shape.
        n_images (int): Number of images.

    Returns:
        Tensor: p-values, float64; 1 if all coefficients are zero, or there is only one image.

    Examples::

        >>> t_test(torch.tensor(1.0), torch.tensor(4.0), 16)
        tensor(0.0639, dtype=torch.float64)
    """
    from scipy import stats

    means = _doubles(mean, "mean")
    if integer(n_images, "n_images") == 1:
        return torch.ones_like(means)
    errors = (_doubles(variance, "variance", "mean", means.shape) / n_images).sqrt()
    # Zero over zero is no evidence.
    ratios = torch.where(means == 0, 0.0, means / errors)
    return _tensor(2 * stats.t.sf(ratios.abs().numpy(), n_images - 1))


def sign_flip_test(coefficients: Tensor, n_resamples: int = 9999, seed: int = 0) -> Tensor:
    """Two-sided permutation test of signed coefficients over images.

    Under the null hypothesis, a coefficient is as likely as its negative, so flipping the signs of
    images at random changes nothing. The test assumes no normal distribution. It uses SciPy's
    ``permutation_test``, which is exact if there are at most ``n_resamples`` different flips.

    Args:
        coefficients (Tensor): Shape ``(images, ...)``.
        n_resamples (int, optional): Number of random flips; p-values are at least 2 / (n + 1).
            Default: 9999
        seed (int, optional): Seed of the flips. Default: 0

    Returns:
        Tensor: p-values, float64, shape ``(...)``; 1 if there is only one image.

    Examples::

        >>> sign_flip_test(torch.tensor([[1.0, 1.0], [2.0, -2.0], [3.0, 1.0]]))
        tensor([0.2500, 1.0000], dtype=torch.float64)
    """
    from scipy import stats

    doubles = _doubles(coefficients, "coefficients")
    if not doubles.dim():
        raise ValueError("Expected `coefficients` of shape (images, ...), but got a single number")
    n_resamples = integer(n_resamples, "n_resamples")
    generator = np.random.default_rng(integer(seed, "seed", at_least=0))
    if len(doubles) < 2:
        return torch.ones(doubles.shape[1:], dtype=torch.float64)
    values = doubles.detach().cpu().numpy().reshape(len(doubles), -1)
    result = stats.permutation_test(
        (values,),
        lambda sample, axis: np.mean(sample, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=n_resamples,
        batch=max(1, 2**24 // values.size),
        random_state=generator,
    )
    return _tensor(result.pvalue).reshape(doubles.shape[1:])


def noise_surprise(amplitude: Tensor, neighbors: Tensor, floor: Tensor) -> Tensor:
    r"""How unlikely a line is in noise alone, :math:`-\ln p`: its power against its neighbors'.

    .. math:: F = A^2 / \max(\overline{A^2_\text{neighbors}}, \text{floor}^2) \sim F_{2, 2K}, \quad
        -\ln p = K \ln(1 + F / K)

    for K neighbors (Dobie and Wilson 1996). Rounding errors add to lines but not to their
    neighbors. Without the floor, the test would detect them if the noise is weaker.

    Args:
        amplitude (Tensor): Amplitude of the line, shape ``(...)``.
        neighbors (Tensor): Amplitudes of its neighbors, shape ``(K, ...)``.
        floor (Tensor): Amplitude that rounding alone can produce, broadcastable to ``amplitude``.

    Returns:
        Tensor: float64, shape ``(...)``; 0 where all amplitudes are zero.

    Examples::

        >>> floor = torch.tensor(1e-6)
        >>> noise_surprise(torch.tensor(2.0), torch.ones(4), floor).neg().exp()  # F(2, 8) of 4
        tensor(0.0625, dtype=torch.float64)
    """
    # Squares of small activations would underflow in single precision.
    signal = _doubles(amplitude, "amplitude").square()
    around = _doubles(neighbors, "neighbors", "amplitude", (-1, *signal.shape))
    n_neighbors = len(around)
    lowest = _doubles(floor, "floor", "amplitude", signal.shape).square()
    noise = torch.maximum(around.square().sum(0), n_neighbors * lowest)
    ratio = torch.where(signal == 0, 0.0, signal / noise)
    return n_neighbors * ratio.log1p()


def hotelling_test(coefficients: Tensor) -> LineTest:
    r"""Hotelling's one-sample test of complex coefficients over trials: is their mean zero?

    .. math:: T^2 = M \, \bar z^\top S^{-1} \bar z, \quad
        \frac{M - 2}{2 (M - 1)} T^2 \sim F_{2, M - 2}

    for M trials, with real and imaginary parts as two variables and their unbiased covariance S
    (Hotelling 1931). It assumes normal coefficients, whose noise may differ between the two axes of
    the complex plane. Where it does not, as in most recordings, `t2circ_test` finds more.

    It shows that a response is locked to the stimulus, and not what made it. Trials have to be
    independent. It is meant for trials of a recording, or of a network with noise in it. Over the
    images of a noiseless network without memory it is false: phases are then equal or opposite, so
    that coefficients lie on a line, for which there is a warning. Use `t_test` of signed
    coefficients there.

    Args:
        coefficients (Tensor): Complex, shape ``(trials, ...)``, such as
            ``torch.polar(spectrum.amplitude(component), spectrum.phase(component))``.

    Returns:
        LineTest: With ``statistic`` :math:`T^2` and ``p_value`` of shape ``(...)``; 0 and 1 if all
        coefficients are zero.

    Raises:
        ValueError: If there are fewer than 3 trials, or coefficients are not finite.
        TypeError: If coefficients are not a complex tensor.

    Examples::

        >>> trials = torch.tensor([1 + 1j, 2 + 1j, 1.5 + 2j, 2 + 2j])
        >>> found = hotelling_test(trials)
        >>> found.statistic, found.degrees_of_freedom
        (tensor(57.0000, dtype=torch.float64), (2, 2))
        >>> found.p_value
        tensor(0.0500, dtype=torch.float64)
    """
    trials = _complex_trials(coefficients, at_least=3)
    n_trials = len(trials)
    mean, (along, across, tilt) = trials.mean(0), _covariance(trials)
    total, determinant = along + across, along * across - tilt.square()
    _warn_of_lines(total, determinant)
    collinear = determinant <= EXACTLY_COLLINEAR * total.square()
    squares = across * mean.real**2 - 2 * tilt * mean.real * mean.imag + along * mean.imag**2
    # On a line, the limit of noise that vanishes across it.
    distance = torch.where(collinear, mean.abs().square() / total, squares / determinant)
    statistic = torch.where(mean == 0, 0.0, n_trials * distance)
    return _line_test(statistic, (2, n_trials - 2), (n_trials - 2) / (2 * (n_trials - 1)))


def t2circ_test(coefficients: Tensor) -> LineTest:
    r"""Test complex coefficients over trials by T2circ: is their mean zero (Victor and Mast 1991)?

    .. math:: T^2_\text{circ} = (M - 1) \frac{|\bar z|^2}{\sum_j |z_j - \bar z|^2}, \quad
        M \, T^2_\text{circ} \sim F_{2, 2M - 2}

    for M trials. It assumes normal coefficients with as much noise in their real as in their
    imaginary parts, independent of each other. Noise that is not locked to the stimulus is like
    that. Then it finds more than `hotelling_test`; otherwise it finds too much: 8.7 % of nulls at
    5 % if coefficients lie on a line. So they do over the images of a noiseless network without
    memory, where this test is false and warns; use `t_test` of signed coefficients there. What it
    shows is as for `hotelling_test`.

    Args:
        coefficients (Tensor): Complex, shape ``(trials, ...)``, as for `hotelling_test`.

    Returns:
        LineTest: With ``statistic`` :math:`T^2_\text{circ}` and ``p_value`` of shape ``(...)``; 0
        and 1 if all coefficients are zero.

    Raises:
        ValueError: If there are fewer than 2 trials, or coefficients are not finite.
        TypeError: If coefficients are not a complex tensor.

    Examples::

        >>> found = t2circ_test(torch.tensor([1 + 1j, 2 + 1j, 1.5 + 2j, 2 + 2j]))
        >>> found.statistic, found.degrees_of_freedom
        (tensor(8.6944, dtype=torch.float64), (2, 6))
        >>> found.p_value
        tensor(0.0005, dtype=torch.float64)
    """
    trials = _complex_trials(coefficients, at_least=2)
    n_trials = len(trials)
    mean, (along, across, tilt) = trials.mean(0), _covariance(trials)
    if n_trials > 2:  # two points always lie on a line
        _warn_of_lines(along + across, along * across - tilt.square())
    # The unbiased variances are (M - 1)ths of the sum in the denominator.
    statistic = torch.where(mean == 0, 0.0, mean.abs().square() / (along + across))
    return _line_test(statistic, (2, 2 * n_trials - 2), float(n_trials))


def line_f_test(amplitude: Tensor, neighbors: Tensor) -> LineTest:
    r"""F-test of a line's power against that of its neighbors (Dobie and Wilson 1996).

    .. math:: F = A^2 / \overline{A^2_\text{neighbors}} \sim F_{2, 2K}

    for K neighbors. It assumes noise that is normal and as strong at the line as at its neighbors.
    A single record is enough; for several, take the spectrum of their mean. It shows power above
    that of the noise, locked to the stimulus or not. Where a network adds no noise, its neighbors
    hold rounding errors alone, and so the test says nothing. It holds for lines between the mean
    and the Nyquist frequency.

    Args:
        amplitude (Tensor): Amplitude of the line, shape ``(...)``.
        neighbors (Tensor): Amplitudes of its neighbors, shape ``(K, ...)``, such as
            ``spectrum.neighbor_amplitudes(component)``.

    Returns:
        LineTest: With ``statistic`` F and ``p_value`` of shape ``(...)``; 0 and 1 where all
        amplitudes are zero.

    Raises:
        ValueError: If there are no neighbors, or shapes do not fit.
        TypeError: If an argument is no tensor.

    Examples::

        >>> found = line_f_test(torch.tensor(3.0), torch.ones(4))
        >>> found.statistic, found.degrees_of_freedom, found.p_value
        (tensor(9., dtype=torch.float64), (2, 8), tensor(0.0090, dtype=torch.float64))
    """
    signal = _doubles(amplitude, "amplitude").detach().cpu().square()
    around = _doubles(neighbors, "neighbors", "amplitude", (-1, *signal.shape)).detach().cpu()
    if not len(around):
        raise ValueError("Expected `neighbors` of at least 1 bin, but got none; take n_neighbors=2")
    ratio = torch.where(signal == 0, 0.0, signal / around.square().mean(0))
    return _line_test(ratio, (2, 2 * len(around)))


def _line_test(
    statistic: Tensor, degrees_of_freedom: tuple[int, int], scale: float = 1.0
) -> LineTest:
    from scipy import stats

    p_value = _tensor(stats.f.sf(scale * statistic.numpy(), *degrees_of_freedom))
    return LineTest(statistic, degrees_of_freedom, p_value, scale)


def _complex_trials(coefficients: Tensor, at_least: int) -> Tensor:
    """The coefficients in double precision, if they are complex and of enough trials."""
    values = tensor(coefficients, "coefficients").detach().cpu()
    if not values.is_complex():
        raise TypeError(
            f"Expected `coefficients` to be complex, but got {values.dtype}; "
            "`torch.polar(amplitude, phase)` makes them, and `t_test` takes signed ones"
        )
    if not values.dim() or len(values) < at_least:
        raise ValueError(
            f"Expected `coefficients` of shape (trials, ...) with at least {at_least} trials, but "
            f"got shape {tuple(values.shape)}; take more trials, or `line_f_test`"
        )
    if not values.isfinite().all():
        raise ValueError("Expected `coefficients` to be finite, but got NaN or infinity")
    return values.to(torch.complex128)


def _covariance(trials: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unbiased variances of real and imaginary parts, and their covariance."""
    apart = trials - trials.mean(0)
    rest = len(trials) - 1
    return (
        apart.real.square().sum(0) / rest,
        apart.imag.square().sum(0) / rest,
        (apart.real * apart.imag).sum(0) / rest,
    )


def _warn_of_lines(total: Tensor, determinant: Tensor) -> None:
    """Warn if the coefficients of most tests lie on a line in the complex plane.

    Args:
        total: Sum of the variances along two axes; 0 where coefficients do not vary.
        determinant: Product of the variances along the principal axes.
    """
    varies = total > 0
    collinear = varies & (determinant <= COLLINEAR * total.square())
    if 2 * collinear.sum() > varies.sum():
        warn_user(
            f"Coefficients of {int(collinear.sum())} of {total.numel()} tests lie on a line in the "
            "complex plane, as those of a noiseless network over images do: the test is false for "
            "them. Use `t_test` of signed coefficients"
        )


def fisher_test(mean_surprise: Tensor, n_images: int) -> Tensor:
    r"""Combine the p-values of images into one by Fisher's method.

    .. math:: -2 \sum_{i=1}^n \ln p_i \sim \chi^2_{2n}

    Args:
        mean_surprise (Tensor): Mean of :math:`-\ln p` over images, from `noise_surprise`.
        n_images (int): Number of images, each with independent noise.

    Returns:
        Tensor: p-values, float64.

    Examples::

        >>> fisher_test(torch.tensor(0.5).log().neg(), 1)
        tensor(0.5000, dtype=torch.float64)
    """
    from scipy import stats

    surprise = _doubles(mean_surprise, "mean_surprise")
    n_images = integer(n_images, "n_images")
    return _tensor(stats.chi2.sf(2 * n_images * surprise.numpy(), 2 * n_images))


def benjamini_hochberg(p_values: Tensor) -> Tensor:
    """Adjust p-values for their number: those below ``q`` have a false discovery rate of ``q``.

    Args:
        p_values (Tensor): Any shape.

    Returns:
        Tensor: Adjusted p-values, same shape.

    Examples::

        >>> benjamini_hochberg(torch.tensor([0.01, 0.04, 0.03]))
        tensor([0.0300, 0.0400, 0.0400], dtype=torch.float64)
    """
    from scipy import stats

    doubles = _doubles(p_values, "p_values")
    if not ((doubles >= 0) & (doubles <= 1)).all():
        raise ValueError(f"Expected `p_values` between 0 and 1, but got {shown(p_values)}")
    flat = stats.false_discovery_control(doubles.numpy().ravel())
    return _tensor(flat).reshape(doubles.shape)


def _doubles(
    values: Tensor, name: str, main: str = "", expected: Sequence[int] | None = None
) -> Tensor:
    """The values in double precision.

    Args:
        values: What the user gave.
        name: What the user calls it.
        main: The argument that it has to fit.
        expected: The shape to expand it to; -1 for any length. Default: its own

    Raises:
        TypeError, ValueError: If it is no tensor, holds NaN or does not fit.
    """
    doubles = tensor(values, name).double()
    if doubles.isnan().any():
        raise ValueError(f"Expected `{name}` to hold numbers, but got NaN; leave it out")
    try:
        return doubles if expected is None else doubles.expand(tuple(expected))
    except RuntimeError:
        raise ValueError(
            f"Expected `{name}` to fit `{main}`, with shape {tuple(expected or ())}, but got "
            f"shape {tuple(doubles.shape)}"
        ) from None


def _tensor(values: object) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))
