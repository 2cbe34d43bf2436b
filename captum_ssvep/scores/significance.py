"""Tests over images and against noise, for many filters at once.

In a network without noise, the spectrum of an image has no sampling error; only the images vary.
A t-test or sign flips test their signed coefficients. With noise on the frames, every line of every
image can be tested against its neighbors.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from .._checks import integer, shown, tensor

Test = Literal["t", "sign_flip", "noise"]
TESTS: tuple[Test, ...] = get_args(Test)

# Critical values of the paper's SNR (an amplitude over the mean of two neighbors on each side) for
# a single component of a single image: pure noise exceeds them at these rates. They are exact to
# the digits given; the method reproduces Meigen & Bach (2000) for two neighbors.
SNR_THRESHOLDS = {0.05: 2.33, 0.01: 3.26, 0.001: 4.78}


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
