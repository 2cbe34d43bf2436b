"""Shapley values and interactions, from the components of all corners."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ..design import Component


def value_weights(components: Sequence[Component], n_parts: int) -> NDArray[np.float64]:
    r"""What each component adds to the Shapley value of each part, shape ``(parts, components)``.

    The parts play a game whose payoff is the activation. A component :math:`T`, the product of the
    signs of its parts, changes from the empty to the full coalition only if it has an odd number of
    parts, and all of them share this equally:

    .. math:: \phi_i = \sum_{T \ni i, \, |T| \text{ odd}} \frac{2 c_T}{|T|}

    Examples::

        >>> value_weights([Component((1, 0)), Component((0, 1)), Component((1, 1))], 2).tolist()
        [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    """
    held = np.array(components, dtype=bool).T.reshape(n_parts, -1)
    orders = held.sum(axis=0)
    return np.where(held & (orders % 2 == 1), 2 / orders, 0.0)


def interaction_weights(components: Sequence[Component], n_parts: int) -> NDArray[np.float64]:
    r"""What each component adds to the Shapley interaction index, shape ``(pairs, components)``.

    .. math:: \phi_{ij} = \sum_{T \ni i, j, \, |T| \text{ even}} \frac{4 c_T}{|T| - 1}

    This is the index of Grabisch and Roubens (1999), with pairs in the order of
    ``itertools.combinations``.

    Examples::

        >>> interaction_weights([Component((1, 1, 0)), Component((1, 1, 1))], 3).tolist()
        [[4.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """
    held = np.array(components, dtype=bool).T.reshape(n_parts, -1)
    orders = held.sum(axis=0)
    shares = np.where(orders % 2 == 0, 4 / np.maximum(orders - 1, 1), 0.0)
    both = [held[i] & held[j] for i, j in combinations(range(n_parts), 2)]
    return np.array(both).reshape(-1, len(components)) * shares
