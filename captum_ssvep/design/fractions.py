"""Regular fractions: parts as columns over GF(2), and the words that make aliases.

A column is an integer, and part ``i`` of frame ``u`` has the sign ``(-1) ** popcount(u & column)``.
The product of the signs of several parts is then the sign of the XOR of their columns. A *word* is
a set of columns whose XOR is zero: the product of its signs is 1 in every frame, so that a product
over some of its parts cannot be told from the product over the others. The shorter a word, the
stronger the aliases. See Box and Hunter (1961), "The 2^(k-p) fractional factorial designs".
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, reduce
from itertools import combinations
from operator import mul, xor

import numpy as np
from numpy.typing import NDArray

MOST_FRAMES = 2**16
# Of words that cannot be avoided, so many lengths are made few.
N_LENGTHS = 4
# Sweeps of the search for columns with few words; fewer where columns times frames are many.
MOST_SWEEPS = 20
MOST_SWEPT = 2**25
# More halves of words are not listed.
MOST_LISTED = 1_000_000


def n_products(n_parts: int, max_order: int) -> int:
    """How many products of up to ``max_order`` signs there are, with the empty one.

    No fraction that separates them has fewer frames. Of more than the most frames, only so many are
    counted as are beyond doubt.

    Examples::

        >>> n_products(4, 2), n_products(10**9, 10**9) > MOST_FRAMES
        (11, True)
    """
    total = 0
    for order in range(min(n_parts, max_order) + 1):
        total += math.comb(n_parts, order)
        if total > MOST_FRAMES:
            break
    return total


@lru_cache(maxsize=64)
def find_columns(n_parts: int, strength: int) -> tuple[int, ...] | None:
    """Columns below the smallest power of two, of which no XOR of up to ``strength`` is zero.

    The lexicographic code, which takes the smallest allowed integer again and again, says how many
    frames are needed: those of Sanchez and Sanchez (2005), "Very large fractional factorial and
    central composite designs". From it, and from columns that each add the fewest words, single
    columns are exchanged as long as there are fewer of the shortest words, then of the next
    lengths.

    Returns:
        tuple or None: One column per part; None if they take more than the most frames.

    Examples::

        >>> find_columns(3, 4), find_columns(5, 4)
        ((1, 2, 4), (1, 2, 4, 8, 15))
    """
    if strength >= n_parts:
        return tuple(2**part for part in range(n_parts))
    found = _lexicode(n_parts, strength)
    if found is None:
        return None
    starts = [found]
    if (fewest := _few_words(n_parts, strength, found.n_bits)) is not None:
        starts.append(fewest)
    for subsets in starts:
        _exchange(subsets)
    return tuple(min(starts, key=lambda subsets: subsets.words()).columns)


class _Subsets:
    """Columns, and how many of their subsets have each XOR: ``counts[size, xor]``."""

    def __init__(self, strength: int, n_bits: int) -> None:
        self.strength, self.n_bits = strength, n_bits
        self.columns: list[int] = []
        self.counts = np.zeros((strength + N_LENGTHS + 1, 2**n_bits), dtype=np.int64)
        self.counts[0, 0] = 1

    def add(self, column: int, place: int | None = None) -> None:
        """Add a column: every subset comes once with it and once without."""
        self.columns.insert(len(self.columns) if place is None else place, column)
        partners = np.arange(2**self.n_bits) ^ column
        self.counts[1:] += self.counts[:-1, partners]

    def remove(self, place: int) -> int:
        """Remove a column, and return it."""
        column = self.columns.pop(place)
        partners = np.arange(2**self.n_bits) ^ column
        for size in range(1, len(self.counts)):
            self.counts[size] -= self.counts[size - 1, partners]
        return column

    def double(self) -> None:
        """Allow columns of twice the size."""
        self.n_bits += 1
        self.counts = np.concatenate([self.counts, np.zeros_like(self.counts)], axis=1)

    def allowed(self) -> NDArray[np.intp]:
        """Columns that make no word of up to ``strength`` letters."""
        return np.flatnonzero(~self.counts[: self.strength].any(axis=0))

    def best(self) -> NDArray[np.intp]:
        """Of the allowed columns, those that make the fewest of the shortest words, then of longer.

        A subset with the XOR of a column makes a word together with it.
        """
        columns = self.allowed()
        for counts in self.counts[self.strength :] if len(columns) else []:
            columns = columns[counts[columns] == counts[columns].min()]
        return columns

    def words(self) -> tuple[int, ...]:
        """How many words there are of each length above ``strength``."""
        return tuple(self.counts[self.strength + 1 :, 0].tolist())


def _lexicode(n_parts: int, strength: int) -> _Subsets | None:
    """Each column the smallest that is allowed; None if that takes more than the most frames."""
    subsets = _Subsets(strength, 1)
    while len(subsets.columns) < n_parts:
        allowed = subsets.allowed()
        if len(allowed):
            subsets.add(int(allowed[0]))
        elif 2 ** (subsets.n_bits + 1) > MOST_FRAMES:
            return None
        else:
            subsets.double()
    return subsets


def _few_words(n_parts: int, strength: int, n_bits: int) -> _Subsets | None:
    """The powers of two, then each column the best; None if there are not enough."""
    subsets = _Subsets(strength, n_bits)
    for bit in range(n_bits):
        subsets.add(2**bit)
    while len(subsets.columns) < n_parts:
        best = subsets.best()
        if not len(best):
            return None
        subsets.add(int(best[0]))
    return subsets


def _exchange(subsets: _Subsets) -> None:
    """Exchange single columns for better ones until nothing improves."""
    n_parts = len(subsets.columns)
    for _ in range(min(MOST_SWEEPS, MOST_SWEPT // (n_parts * 2**subsets.n_bits))):
        before = list(subsets.columns)
        for place in range(n_parts):
            column, best = subsets.remove(place), subsets.best()
            subsets.add(column if column in best else int(best[0]), place)
        if subsets.columns == before:
            return


def signs(lines: NDArray[np.int64], n_frames: int) -> NDArray[np.int8]:
    """Signs ``(-1) ** popcount(u & line)`` of lines or columns in the frames ``u``.

    Returns:
        Array: Shape ``(len(lines), n_frames)``, where the number of frames is a power of two.

    Examples::

        >>> signs(np.array([1, 3]), 4).tolist()
        [[1, -1, 1, -1], [1, -1, -1, 1]]
    """
    found = np.ones((len(lines), 1), dtype=np.int8)
    for bit in range(n_frames.bit_length() - 1):
        flips = (1 - 2 * (lines >> bit & 1)).astype(np.int8)
        found = np.concatenate([found, found * flips[:, None]], axis=1)
    return found


def word_counts(columns: Sequence[int], n_frames: int) -> Iterator[int]:
    r"""Count the words of length 0, 1, 2 and so on, up to the number of columns.

    By the identity of MacWilliams (1963), the numbers :math:`A_i` of frames with ``i`` parts of
    sign -1 tell the numbers of words, without a search for them:

    .. math:: B_j = \frac{1}{2^k} \sum_i A_i K_j(i)

    with the Krawtchouk polynomials :math:`K_j`.

    Examples::

        >>> list(word_counts((1, 2, 4, 8, 15), 16))
        [1, 0, 0, 0, 0, 1]
    """
    n_low = (signs(np.array(columns), n_frames) < 0).sum(axis=0)
    low = np.bincount(n_low).tolist()
    for values in _krawtchouk(len(columns)):
        yield sum(map(mul, low, values)) // n_frames


def _krawtchouk(n_parts: int) -> Iterator[list[int]]:
    """Values of each Krawtchouk polynomial at 0 to ``n_parts``, by their recurrence."""
    before, values = [0] * (n_parts + 1), [1] * (n_parts + 1)
    for degree in range(n_parts + 1):
        yield values
        following = [
            ((n_parts - 2 * i) * value - (n_parts - degree + 1) * other) // (degree + 1)
            for i, (value, other) in enumerate(zip(values, before, strict=True))
        ]
        before, values = values, following


def shortest_words(columns: Sequence[int], n_frames: int) -> tuple[int, int] | None:
    """Length of the shortest words, and how many there are; None if there is no word.

    Examples::

        >>> shortest_words((1, 2, 4, 8, 15), 16), shortest_words((1, 2), 4)
        ((5, 1), None)
    """
    counts = enumerate(word_counts(columns, n_frames))
    return next(((length, number) for length, number in counts if length and number), None)


def words(columns: Sequence[int], length: int) -> set[frozenset[int]]:
    """The words of a length, as sets of parts: two halves with the same XOR.

    Examples::

        >>> sorted(map(sorted, words((1, 2, 4, 7, 8, 14), 4)))
        [[0, 1, 2, 3], [0, 3, 4, 5], [1, 2, 4, 5]]
    """
    halves: dict[int, list[frozenset[int]]] = defaultdict(list)
    for parts in combinations(range(len(columns)), length // 2):
        halves[_xor(columns, parts)].append(frozenset(parts))
    found = set()
    for parts in combinations(range(len(columns)), length - length // 2):
        for other in halves.get(_xor(columns, parts), ()):
            if other.isdisjoint(parts):
                found.add(other.union(parts))
    return found


def _xor(columns: Sequence[int], parts: Iterable[int]) -> int:
    return reduce(xor, (columns[part] for part in parts), 0)


@lru_cache(maxsize=64)
def rotation_to_other_words(columns: tuple[int, ...], n_frames: int) -> tuple[int, float]:
    """By how many places to shift columns among the parts, so that words become others.

    Args:
        columns, n_frames: A fraction that has words.

    Returns:
        tuple: The number of places, and the share of the shortest words that stay as they are.

    Examples::

        >>> rotation_to_other_words((1, 2, 4, 8, 16, 32, 64, 31, 103), 128)
        (1, 0.0)
    """
    n_parts, (length, _) = len(columns), shortest_words(columns, n_frames) or (0, 0)
    if math.comb(n_parts, length - length // 2) > MOST_LISTED:
        return 1, 0.0  # of so many words few stay
    own = words(columns, length)

    def n_kept(places: int) -> int:
        shifted = {frozenset((part + places) % n_parts for part in word) for word in own}
        return len(shifted & own)

    best = min(range(1, n_parts), key=n_kept)
    return best, n_kept(best) / len(own)


def lowest_orders(columns: Sequence[int], n_frames: int) -> NDArray[np.int64]:
    """The fewest columns whose XOR is each line, shape ``(n_frames,)``.

    Examples::

        >>> lowest_orders((1, 2, 4, 7), 8).tolist()
        [0, 1, 1, 2, 1, 2, 2, 1]
    """
    orders = np.full(n_frames, n_frames, dtype=np.int64)
    orders[0] = order = 0
    while len(last := np.flatnonzero(orders == order)):
        order += 1
        for column in columns:
            orders[last ^ column] = np.minimum(orders[last ^ column], order)
    return orders


def fewest_parts(line: int, columns: Sequence[int], orders: NDArray[np.int64]) -> tuple[int, ...]:
    """The parts whose columns have a line as XOR, as few as there can be.

    Args:
        line, columns: The line and the columns.
        orders: The `lowest_orders`.

    Examples::

        >>> columns = (1, 2, 4, 7)
        >>> fewest_parts(5, columns, lowest_orders(columns, 8))
        (0, 2)
    """
    parts = []
    while line:
        nearer = orders[line ^ np.asarray(columns)] < orders[line]
        parts.append(int(nearer.argmax()))
        line ^= columns[parts[-1]]
    return tuple(parts)
