"""Clusters of profiles by Ward's method; their number by silhouette, and one if there are none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import integer, tensor, warn_user

Array = NDArray[np.float64]
# Clouds without clusters that are drawn, and the share of them that clusters have to beat.
N_CLOUDS, LEVEL = 40, 0.95


@dataclass(frozen=True, eq=False)
class Clusters:
    """Rows that belong together.

    Args:
        members (tuple[tuple[int, ...], ...]): The rows of each group, the largest group first.
        left_out (tuple[int, ...]): Rows of zeros, which belong to none.
        scores (dict[int, float]): Mean silhouette for each number of groups from two on.
        chance (float or None): The best silhouette that a single cloud of the same size and shape
            reaches in 5 % of cases. If none of the scores is higher, there is one group. None where
            the number of groups was given, since clouds take most of the time.
        seed (int): Seed of these clouds.
    """

    members: tuple[tuple[int, ...], ...]
    left_out: tuple[int, ...]
    scores: dict[int, float]
    chance: float | None
    seed: int


def cluster(
    profiles: Tensor, n_groups: int | None = None, max_groups: int = 20, seed: int = 0
) -> Clusters:
    r"""Group rows by the direction of their profiles.

    Each row is divided by its length, so that size does not count, and rows are joined by Ward's
    method. The number of groups has the highest mean silhouette. This is at least two, also for a
    single cloud of rows, so it has to be higher than in 95 % of clouds drawn from a normal
    distribution with the rows' own mean and covariance; otherwise all rows are one group.

    Args:
        profiles (Tensor): Shape ``(rows, features)``.
        n_groups (int, optional): How many groups instead; fewer if there are not as many rows but
            zeros. Default: None
        max_groups (int, optional): Most groups that are tried. A warning says if the silhouette is
            highest there, since it may rise further. Default: 20
        seed (int, optional): Seed of the clouds. Default: 0

    Returns:
        Clusters: The groups.

    Raises:
        ValueError, TypeError: If the profiles are no finite matrix, or a number does not fit.

    Examples::

        >>> clusters = cluster(torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 3.0]]), 2)
        >>> clusters.members
        ((0, 1), (2, 3))
    """
    if tensor(profiles, "profiles").dim() != 2 or not profiles.isfinite().all():
        raise ValueError(
            "Expected `profiles` to be a finite matrix, a row for each item, but got shape "
            f"{tuple(profiles.shape)} with {int((~profiles.isfinite()).sum())} not finite"
        )
    most = integer(max_groups, "max_groups")
    seed = integer(seed, "seed", at_least=0)
    rows = profiles.detach().cpu().double()
    # Of different sizes, whose squares may be too small to add up.
    largest = rows.abs().amax(1) if rows.shape[1] else rows.new_zeros(len(rows))
    live = largest.nonzero().flatten()
    directions = torch.nn.functional.normalize(rows[live] / largest[live, None], dim=1).numpy()
    if n_groups is not None:
        n_groups = min(integer(n_groups, "n_groups"), len(live))
    scores, chance = _scores(directions, most), None
    if n_groups is None:
        chance = _chance(directions, most, seed) if scores else 1.0
        best = max(scores, key=scores.__getitem__, default=1)
        n_groups = best if scores and scores[best] > chance else 1
        if n_groups == most and 1 < most < len(live) - 1:
            warn_user(
                f"The silhouette is highest at `max_groups`, {most}, and may rise further; raise "
                "`max_groups`, or give `n_groups`"
            )
    labels = _cut(directions, [n_groups])[0] if len(live) else np.zeros(0, dtype=int)
    members = [tuple(live[labels == label].tolist()) for label in np.unique(labels)]
    return Clusters(
        tuple(sorted(members, key=lambda group: (-len(group), group))),
        tuple((largest == 0).nonzero().flatten().tolist()),
        scores,
        chance,
        seed,
    )


def _cut(rows: Array, sizes: list[int]) -> list[NDArray[np.int64]]:
    """Labels of the rows in each number of groups."""
    from scipy.cluster import hierarchy

    labels = np.arange(len(rows))
    found = {len(rows): labels.copy()}
    merges = hierarchy.linkage(rows, "ward") if len(rows) > 1 else []
    for step, (one, other, *_) in enumerate(merges, start=1):
        labels[(labels == one) | (labels == other)] = len(rows) + step - 1
        found[len(rows) - step] = labels.copy()
    return [found[size] for size in sizes]


def _scores(rows: Array, most: int) -> dict[int, float]:
    """Mean silhouette for each number of groups that leaves a pair together."""
    sizes = [*range(2, min(most, len(rows) - 1) + 1)]
    if not sizes:
        return {}
    squares = (rows**2).sum(1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0))
    distances[distances < 1e-7 * np.sqrt(squares.max())] = 0  # of equal rows, by rounding
    return {
        size: _silhouette(distances, labels)
        for size, labels in zip(sizes, _cut(rows, sizes), strict=True)
    }


def _silhouette(distances: Array, labels: NDArray[np.int64]) -> float:
    """Mean silhouette (Rousseeuw, 1987); rows alone in their group count as zero."""
    each = np.arange(len(labels))
    kinds, own = np.unique(labels, return_inverse=True)
    is_in = own[:, None] == np.arange(len(kinds))
    sums, sizes = distances @ is_in, is_in.sum(0)
    inside = sums[each, own] / np.maximum(sizes[own] - 1, 1)
    means = sums / sizes
    means[each, own] = np.inf
    outside = means.min(1)
    larger = np.maximum(inside, outside)
    values = np.divide(outside - inside, larger, out=np.zeros_like(larger), where=larger > 0)
    return float(np.where(sizes[own] > 1, values, 0).mean())


def _chance(rows: Array, most: int, seed: int) -> float:
    """What the best silhouette of a single cloud exceeds in 5 % of cases."""
    generator = np.random.default_rng(seed)
    _, sizes, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    scale = sizes / np.sqrt(len(rows))
    clouds = (generator.normal(size=(len(rows), len(scale))) * scale for _ in range(N_CLOUDS))
    return float(np.quantile([max(_scores(cloud, most).values()) for cloud in clouds], LEVEL))
