"""The tagging design: everything about a flickering stimulus but the image."""

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .._checks import count, finite_floats, integer, number, shown, warn_user
from .base import Collision, Design, Line, integers, numbers
from .collisions import (
    alias_turning_phases,
    collision_free_order,
    collisions,
    free_bins,
    harmonics_on_tags,
)
from .components import Component, label, listed_order, n_vectors
from .display import MOST_FRAMES as MOST_FRAMES_ON_DISPLAY
from .display import MOST_SEARCHED, display_bins, traded

Waveform = Literal["sine", "triangle"]

# A tag may miss whole cycles by this much and still be coherent.
CYCLE_TOLERANCE = 1e-6
# Typed decimals tell which whole number of cycles is meant if they round by less than this.
MOST_ROUNDING = 0.1
# Contrasts of more frames take gigabytes: ten hours at 2 kHz have fewer.
MOST_FRAMES = 100_000_000


@dataclass(frozen=True, repr=False)
class TaggingDesign(Design):
    r"""Tags, record and contrast range of a frequency-tagged stimulus.

    At moment ``t`` of ``n_frames``, part ``i`` of the input has the contrast

    .. math:: c_i(t) = m + a \sin(2 \pi f_i t / r + \phi_i)

    with sampling rate ``r``, and ``m``, ``a`` the middle and half-width of ``contrast``. The
    defaults are those of Böge et al. (arXiv 2411.10084).

    Args:
        frequencies (sequence of float, optional): Tag of each part in Hz. Each completes whole
            cycles in the record, lies below the Nyquist frequency and differs from the others.
            Rounded ones are understood: 6.67 Hz in three seconds are 20 cycles, 6.666... Hz. A
            warning tells of a tag that is a second or third harmonic of another.
            Default: (6.0, 7.5)
        sampling_rate (float, optional): Frames per second. Default: 120.0
        n_frames (int, optional): Frames in the record. Default: 240
        phases (float or sequence of float, optional): Phase of each tag in radians. With
            ``math.pi / 2`` fewer frames are distinct, and more aliases add to each component: see
            ``benchmarks/accuracy.py``. Default: 0.0
        contrast (tuple of float, optional): Lowest and highest contrast; 0 shows the baseline,
            1 the input. Default: (0.5, 1.0)
        waveform (str, optional): ``"sine"`` or ``"triangle"``, which shows all contrasts equally
            often. Default: ``"sine"``
        strict (bool, optional): False turns errors about cycles, Nyquist and equal tags into
            warnings, to reproduce other people's runs: a tag is then read at its nearest bin, and
            its SNR compares it with its own leakage into the neighbors. Default: True

    Raises:
        ValueError: If the design cannot separate its tags; the message names the nearest that can.
        TypeError: If a number is of the wrong type.

    Examples::

        >>> design = TaggingDesign()
        >>> design.bins, design.n_distinct_frames, design.collision_free_order
        ((12, 15), 49, 4)
        >>> TaggingDesign(phases=math.pi / 2).n_distinct_frames
        35
    """

    kind = "time"
    in_time = True

    frequencies: Sequence[float] = (6.0, 7.5)
    sampling_rate: float = 120.0
    n_frames: int = 240
    phases: float | Sequence[float] = 0.0
    contrast: tuple[float, float] = (0.5, 1.0)
    waveform: Waveform = "sine"
    strict: bool = True

    def _validate(self) -> None:
        super()._validate()
        frequencies = finite_floats(self.frequencies, "frequencies")
        phases = finite_floats(np.atleast_1d(np.asarray(self.phases, dtype=object)), "phases")
        if np.ndim(self.phases) == 0:
            phases *= len(frequencies)
        object.__setattr__(self, "phases", phases)
        (sampling_rate,) = finite_floats([self.sampling_rate], "sampling_rate")
        object.__setattr__(self, "sampling_rate", sampling_rate)
        object.__setattr__(self, "n_frames", integer(self.n_frames, "n_frames", at_least=3))
        if self.n_frames > MOST_FRAMES:
            raise ValueError(
                f"Expected `n_frames` to be at most {MOST_FRAMES:,}, but got {self.n_frames:,}; "
                "analyze a long record in pieces"
            )
        if sampling_rate <= 0:
            raise ValueError(
                f"Expected `sampling_rate` to be above 0 Hz, but got {sampling_rate:g}"
            )
        if not frequencies or min(frequencies) <= 0:
            raise ValueError(
                "Expected `frequencies` to hold one tag above 0 Hz per part, but got "
                f"{frequencies or 'none'}; give what should not flicker the id -1 in the mask"
            )
        if len(phases) != len(frequencies):
            raise ValueError(
                f"Expected `phases` to be one number or one per tag ({len(frequencies)}), but got "
                f"{len(phases)}"
            )
        if not isinstance(self.waveform, str) or self.waveform not in get_args(Waveform):
            raise ValueError(
                f"Expected `waveform` to be 'sine' or 'triangle', but got {shown(self.waveform)}"
            )
        if not isinstance(self.strict, bool):
            raise TypeError(f"Expected `strict` to be True or False, but got {shown(self.strict)}")
        if self.strict:
            frequencies = tuple(
                meant_frequency(frequency, sampling_rate, self.n_frames)
                for frequency in frequencies
            )
        object.__setattr__(self, "frequencies", frequencies)
        complaints = tag_complaints(frequencies, sampling_rate, self.n_frames)
        too_fast = max(frequencies) * self.n_frames / sampling_rate == math.inf
        if complaints and (self.strict or too_fast):
            raise ValueError(complaints[0])

    def _cautions(self) -> list[str]:
        cautions = tag_complaints(self.frequencies, self.sampling_rate, self.n_frames)
        found = harmonics_on_tags(self.bins, self.n_frames)
        if found:
            named = [
                f"the {('second', 'third')[multiple - 2]} harmonic of {self.frequencies[part]:g} "
                f"Hz falls on the tag {self.frequencies[other]:g} Hz"
                for part, multiple, other in found[:3]
            ]
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            cautions.append(
                f"Responses to parts cannot be told apart: {', '.join(named)}{more}. Move a tag by "
                f"{self.sampling_rate / self.n_frames:g} Hz or more, or take `choose_design` with "
                "a `max_order` of 2 or more"
            )
        return cautions

    @classmethod
    def for_display(
        cls,
        refresh_rate: float = 60,
        n_parts: int = 2,
        band: tuple[float, float] = (5, 15),
        seconds: float = 10,
        max_order: int = 4,
        subharmonics: bool = False,
    ) -> "TaggingDesign":
        """Choose tags for a screen, as for an EEG: within a band, apart, and with room for noise.

        Every tag lies in the band and completes whole cycles in the record. None is a multiple of
        another. To ``max_order``,

        - components have lines of their own (`collision_free_order`), also those that lie above
          the Nyquist frequency of the screen and fold back;
        - each has ten free bins on each side: ``neighbors(component, 10, max_order)`` gives ten
          below its line and ten above, of which none holds another component. They are the
          nearest such bins and, where lines are dense, not next to the line.

        Where the record or the band has no room for this, the collision-free order counts first,
        then the order to which all components have ten free bins on each side. A warning says
        what was traded. Of equally good tags, those are taken with a higher collision-free order
        (up to two above ``max_order``), fewer folded components, nearer free bins and wider gaps.
        The search gives the same tags every time; where there are too many sets of tags to try, it
        tries a part that is spread evenly.

        All this also holds of a recording of the same length at a rate that folds no component:
        ``dataclasses.replace(design, sampling_rate=500, n_frames=5000)`` is its design.

        Args:
            refresh_rate (float, optional): Frames that the screen shows per second. Default: 60
            n_parts (int, optional): Number of tags. Default: 2
            band (tuple of float, optional): Lowest and highest tag in Hz. Default: (5, 15)
            seconds (float, optional): Length of the record, rounded to whole frames. Default: 10
            max_order (int, optional): Highest order of the components to be read. Default: 4
            subharmonics (bool, optional): Whether half of each tag's frequency is to be a bin that
                holds no combination of the tags, of whatever order. Tags then make an even number
                of cycles that is no multiple of 4, in an even number of frames. Default: False

        Raises:
            ValueError: If a number is out of range, or the band has no such tags in the record.
            TypeError: If an argument is of the wrong type.

        Examples::

            >>> TaggingDesign.for_display()
            TaggingDesign(5.7, 7.1 Hz, 600 frames at 60 Hz, collision-free to order 11)
            >>> design = TaggingDesign.for_display(144, n_parts=3, subharmonics=True)
            >>> design
            TaggingDesign(5.8, 9, 13.4 Hz, 1440 frames at 144 Hz, collision-free to order 6)
            >>> design.neighbors((1, 0, 0), 10)[9:11]
            (57, 59)
        """
        rate, duration = number(refresh_rate, "refresh_rate"), number(seconds, "seconds")
        n_parts, max_order = integer(n_parts, "n_parts"), integer(max_order, "max_order")
        limits = finite_floats(band, "band", "give the lowest and the highest tag in Hz")
        if len(limits) != 2 or not 0 < limits[0] <= limits[1]:
            raise ValueError(
                "Expected `band` to be (lowest, highest) in Hz with 0 < lowest <= highest, but got "
                f"{limits}; the default is (5, 15)"
            )
        if not isinstance(subharmonics, bool):
            raise TypeError(
                f"Expected `subharmonics` to be True or False, but got {shown(subharmonics)}"
            )
        if n_parts * n_vectors(n_parts, 2 * max_order) > MOST_SEARCHED:
            raise ValueError(
                "Expected `n_parts` and `max_order` of tags that are found in seconds, but got "
                f"{count(n_parts, 'part')} to order {max_order}; take fewer parts, a lower order "
                "or `choose_design`"
            )
        shown_frames = rate * duration if min(rate, duration) > 0 else 0.0
        if not 2.5 < shown_frames <= MOST_FRAMES_ON_DISPLAY:
            raise ValueError(
                "Expected `refresh_rate` times `seconds` to be 3 to "
                f"{MOST_FRAMES_ON_DISPLAY:,} frames, but got {shown_frames:g}; show a shorter "
                "record, several times if need be"
            )
        n_frames = 2 * round(shown_frames / 2) if subharmonics else round(shown_frames)
        lowest, highest = (limit * n_frames / rate for limit in limits)
        bins = display_bins(
            (math.ceil(lowest - CYCLE_TOLERANCE), math.floor(highest + CYCLE_TOLERANCE)),
            n_frames,
            n_parts,
            max_order,
            subharmonics,
        )
        if bins is None:
            halves = " and half of whose cycles are an odd number" if subharmonics else ""
            raise ValueError(
                f"Expected `n_parts` tags in `band` below the Nyquist frequency, {rate / 2:g} Hz, "
                "that are no harmonics of one another, make whole cycles in `refresh_rate` times "
                f"`seconds` frames{halves}, but found no {n_parts} from {limits[0]:g} to "
                f"{limits[1]:g} Hz in {n_frames} frames; take more `seconds`, another `band` or "
                "fewer parts"
            )
        design = cls([line * rate / n_frames for line in bins], rate, n_frames)
        if missed := traded(design, max_order):
            warn_user(
                f"Not all that was asked for fits: with the best tags found, "
                f"{str(design).removeprefix('tags ')}, {', and '.join(missed)}. More `seconds`, a "
                "wider `band` or a lower `max_order` have more room"
            )
        return design

    @property
    def n_parts(self) -> int:
        """Number of tags."""
        return len(self.frequencies)

    @property
    def _phases(self) -> tuple[float, ...]:
        return self.phases  # type: ignore[return-value]  # a tuple after __post_init__

    @cached_property
    def leaks(self) -> bool:
        """Whether the tags are not coherent, which needs ``strict=False``."""
        return bool(tag_complaints(self.frequencies, self.sampling_rate, self.n_frames))

    @cached_property
    def bins(self) -> tuple[int, ...]:
        """Cycles of each tag in the record, which are the index of its DFT line."""
        return tuple(round(f * self.n_frames / self.sampling_rate) for f in self.frequencies)

    @cached_property
    def contrasts(self) -> NDArray[np.float64]:
        """Contrast of each part in each frame, shape ``(n_frames, n_parts)``."""
        cycles = np.asarray(self.frequencies) * self.n_frames / self.sampling_rate
        cycles = np.where(np.abs(cycles - self.bins) <= CYCLE_TOLERANCE, self.bins, cycles)
        # The remainder is exact for whole cycles, so that equal phases give equal contrasts.
        turns = np.arange(self.n_frames)[:, None] * cycles % self.n_frames / self.n_frames
        turns += np.asarray(self._phases) / (2 * np.pi)
        if self.waveform == "sine":
            wave: NDArray[np.float64] = np.sin(2 * np.pi * turns)
        else:
            wave = 1 - 2 * np.abs(2 * ((turns + 0.25) % 1) - 1)
        low, high = self.contrast
        return (low + high) / 2 + (high - low) / 2 * wave

    @cached_property
    def collision_free_order(self) -> int:
        """Highest order up to which every component has a line of its own."""
        return collision_free_order(self.bins, self.n_frames)

    @property
    def period(self) -> int:
        """Frames after which all tags are back at their first phase."""
        return self.n_frames // math.gcd(self.n_frames, *self.bins)

    def signed_bin(self, component: Sequence[int]) -> int:
        """Cycles of the component in the record, folded into ``(-n_frames/2, n_frames/2]``."""
        multiples = self._multiples(component)
        line = sum(n * k for n, k in zip(multiples, self.bins, strict=True)) % self.n_frames
        return line if line <= self.n_frames // 2 else line - self.n_frames

    def bin(self, component: Sequence[int]) -> int:
        """Index of the component's line in `numpy.fft.rfft`.

        Examples::

            >>> design = TaggingDesign()
            >>> design.bin((1, 1)), design.bin((1, -1))
            (27, 3)
        """
        return abs(self.signed_bin(component))

    def line(self, component: Sequence[int]) -> Line:
        """The component's `bin`."""
        return self.bin(component)

    def line_weights(self, lines: Sequence[Line]) -> NDArray[np.complex128]:
        """Exponentials of the discrete Fourier transform, shape ``(len(lines), n_frames)``."""
        # The integer remainder keeps the phase exact, however long the record.
        bins = integers(lines, "lines", ())
        turns = np.outer(bins, np.arange(self.n_frames)) % self.n_frames / self.n_frames
        weights: NDArray[np.complex128] = np.exp(-2j * np.pi * turns)
        return weights

    def turn(self, component: Sequence[int]) -> complex:
        """Factor that removes the tags' phases from a line, which may be the mirror image."""
        sign = -1 if self.signed_bin(component) >= 0 else 1
        return cmath.exp(sign * 1j * self.angle(component))

    def power_share(self, component: Sequence[int]) -> float:
        """Variance of a component divided by its squared amplitude.

        1/2; 1 at the Nyquist line, 0 at the line of the mean.
        """
        line = self.bin(component)
        return 0.0 if line == 0 else 1.0 if 2 * line == self.n_frames else 0.5

    def phase_of(self, contrasts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Phases in radians at which a part has the given contrasts, 0 at the highest."""
        if self.waveform == "sine":
            return super().phase_of(contrasts)
        low, high = self.contrast
        fallen = (high - numbers(contrasts, "contrasts")) / (high - low)
        return np.asarray(np.pi * np.clip(fallen, 0, 1))

    def replicate(self) -> tuple[Design, float]:
        r"""The same tags with other phases.

        The contributions of all aliases turn, as in Saltelli's resampling of phases. But where he
        takes several random shifts, this takes one that turns most aliases by a third of a cycle:
        the difference is then :math:`\sqrt 3` times the error.

        Raises:
            ValueError: If a tag is not coherent, as with ``strict=False``.
        """
        if self.leaks:
            raise ValueError(
                "Expected tags with whole cycles below the Nyquist frequency to estimate the error "
                f"from other phases, but got {self.frequencies} with strict=False"
            )
        shifts = alias_turning_phases(self.bins, self.n_frames, self.waveform == "triangle")
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        phases = np.add(self._phases, shifts).tolist()
        return self._rebuilt({**values, "phases": phases}), math.sqrt(3)

    def frequency(self, component: Sequence[int]) -> float:
        """Frequency of the component in Hz, ``abs(sum n_i f_i)``.

        Examples::

            >>> TaggingDesign().frequency((1, -1))
            1.5
        """
        return abs(self._signed_frequency(component))

    def _signed_frequency(self, component: Sequence[int]) -> float:
        multiples = self._multiples(component)
        return sum(n * f for n, f in zip(multiples, self.frequencies, strict=True))

    def angle(self, component: Sequence[int]) -> float:
        """Phase in radians of the component at the first frame: ``sum n_i (phi_i - pi/2)``."""
        phases = zip(self._multiples(component), self._phases, strict=True)
        return sum(n * (phase - math.pi / 2) for n, phase in phases)

    def line_frequency(self, line: Line) -> float:
        """Frequency of a DFT line in Hz."""
        return integer(line, "line", at_least=0) * self.sampling_rate / self.n_frames

    def label(self, component: Sequence[int]) -> str:
        """Name of the component, with the sign that makes its frequency positive.

        Examples::

            >>> TaggingDesign().label((1, -1))
            'f2 - f1'
        """
        positive = self._signed_frequency(component) >= 0
        return label(component if positive else [-n for n in component])

    def title(self, component: Sequence[int]) -> str:
        """Name of a component with its frequency, and that of its line where it is folded.

        Examples::

            >>> TaggingDesign().title((1, -1)), TaggingDesign().title((6, 4))
            ('f2 - f1 = 1.5 Hz', '6f1 + 4f2 = 66 Hz, seen at 54 Hz')
        """
        title, line = super().title(component), self.line_frequency(self.bin(component))
        is_folded = self.frequency(component) > (1 + 1e-9) * self.sampling_rate / 2
        return f"{title}, seen at {line:g} Hz" if is_folded else title

    def __str__(self) -> str:
        return "tags " + ", ".join(f"{frequency:g}" for frequency in self.frequencies) + " Hz"

    def __repr__(self) -> str:
        facts = [
            str(self).removeprefix("tags "),
            f"{self.n_frames} frames at {self.sampling_rate:g} Hz",
            f"collision-free to order {self.collision_free_order}",
        ]
        if self.contrast != (0.5, 1.0):
            facts.append(f"contrast {self.contrast[0]:g} to {self.contrast[1]:g}")
        if any(self._phases):
            facts.append("phases " + ", ".join(f"{phase:.4g}" for phase in self._phases))
        if self.waveform != "sine":
            facts.append(f"{self.waveform} wave")
        if self.leaks:
            facts.append("not coherent")
        return f"TaggingDesign({', '.join(facts)})"

    def collisions(self, components: Sequence[Component]) -> list[Collision]:
        """Components that share their line with another of no higher order, and that other.

        Fundamentals are also compared with order 2: a rectifier's second harmonic on another tag's
        line would look like a response to that tag.

        Returns:
            list: Pairs of the component and the lowest-order one on the same line. None stands for
            the mean. A component on the Nyquist line is paired with itself, its own negative.

        Examples::

            >>> TaggingDesign().collisions(TaggingDesign().components([(1, 1), (5, 0)]))
            [(Component(5f1), Component(4f2))]
        """
        wanted = self.components(components)
        listed_order(max(component.order for component in wanted), self.n_parts)
        return collisions(self.bins, self.n_frames, wanted)

    def neighbors(
        self, component: Sequence[int], n_neighbors: int = 2, max_order: int = 4
    ) -> tuple[int, ...]:
        """Bins around a component's line that hold no component: its noise.

        The nearest ``n_neighbors`` on each side, strictly between the mean and the Nyquist line.
        Where one side runs out of bins, the other side fills in, so that their number and with it
        the null distribution of the SNR stay the same.

        Args:
            component (sequence of int): The component.
            n_neighbors (int, optional): Bins on each side. Default: 2
            max_order (int, optional): Bins of components up to this order are left out. Default: 4

        Raises:
            ValueError: If fewer than ``2 * n_neighbors`` bins are free.

        Examples::

            >>> TaggingDesign().neighbors((1, 0))
            (10, 11, 13, 14)
        """
        lines = np.array([self.bin(component)])
        return tuple(neighbors_of_bins(self, lines, n_neighbors, max_order)[0].tolist())


def neighbors_of_bins(
    design: TaggingDesign, lines: NDArray[np.int64], n_neighbors: int, max_order: int
) -> NDArray[np.int64]:
    """`TaggingDesign.neighbors` of several bins at once, whatever lies on them.

    Returns:
        Array: Shape ``(bins, 2 * n_neighbors)``.

    Raises:
        ValueError: If fewer bins are free.
    """
    n_neighbors = integer(n_neighbors, "n_neighbors")
    free = free_bins(design.bins, design.n_frames, listed_order(max_order, design.n_parts))
    split = np.searchsorted(free, lines)
    own = np.isin(lines, free)
    n_free = len(free) - own
    if n_free.min() < 2 * n_neighbors:
        raise ValueError(
            f"Expected `n_neighbors` of at least 1 with {2 * n_neighbors} bins free of components "
            f"to order {max_order}, but got {n_neighbors} and {n_free.min()} free bins in "
            f"{design.n_frames} frames; a lower `max_order` or {3 * design.n_frames} frames of "
            "these tags leave more, and n_neighbors=0 does without"
        )
    start = np.clip(split - n_neighbors, 0, n_free - 2 * n_neighbors)
    places = start[:, None] + np.arange(2 * n_neighbors)
    places += own[:, None] & (places >= split[:, None])
    found: NDArray[np.int64] = free[places]
    return found


def meant_frequency(frequency: float, sampling_rate: float, n_frames: int) -> float:
    """The frequency of whole cycles that rounding, of a tag or the sampling rate, has hidden.

    A number stands for all that round to it. If these differ by less than a fifth of a cycle in
    the record, and one completes whole cycles, that one is meant. One decimal rounds nothing.

    Examples::

        >>> meant_frequency(6.67, 120.0, 360), meant_frequency(6.7, 120.0, 360)
        (6.666666666666667, 6.7)
    """
    cycles = frequency * n_frames / sampling_rate
    if not 0.5 < cycles < n_frames / 2:
        return frequency
    relative = _rounding(frequency) / frequency + _rounding(sampling_rate) / sampling_rate
    rounding = relative * cycles
    exact = round(cycles) * sampling_rate / n_frames
    missed = abs(cycles - round(cycles))
    is_meant = missed <= CYCLE_TOLERANCE or missed <= 1.001 * rounding < MOST_ROUNDING
    return exact if is_meant and not math.isclose(frequency, exact, rel_tol=1e-12) else frequency


def _rounding(number: float) -> float:
    """Half a unit in the last of two or more decimals; 0 for fewer."""
    # Numbers in single precision have these digits, too.
    close = (d for d in range(16) if math.isclose(round(number, d), number, rel_tol=1e-7))
    decimals = next(close, 16)
    return 0.5 * 10.0**-decimals if decimals > 1 else 0.0


def tag_complaints(frequencies: Sequence[float], sampling_rate: float, n_frames: int) -> list[str]:
    """One sentence for each problem that keeps tags from being separated, with the nearest remedy.

    Args:
        frequencies: Tags in Hz.
        sampling_rate: Frames per second.
        n_frames: Frames in the record.

    Examples::

        >>> tag_complaints((6.0, 7.5), 120.0, 240)
        []
        >>> tag_complaints((6.0, 6.0), 120.0, 240)[0].split("; ")[1]
        '0.5 Hz is free'
    """
    cycles = [frequency * n_frames / sampling_rate for frequency in frequencies]
    highest = (n_frames - 1) // 2
    bins = [round(min(made, n_frames)) for made in cycles]
    complaints = []
    for part, (frequency, made) in enumerate(zip(frequencies, cycles, strict=True)):
        near = _free_bins_near(made, highest, {*bins[:part], *bins[part + 1 :]})
        nearest = " or ".join(_written(line, sampling_rate, n_frames) for line in near)
        remedy = f"nearest: {nearest}" if near else "take more frames"
        if bins[part] > highest or made >= n_frames / 2:
            complaints.append(
                f"Expected `frequencies` to lie below the Nyquist frequency, {sampling_rate / 2:g} "
                f"Hz, but got {frequency:.15g} Hz; {remedy}"
            )
        elif bins[part] < 1 or abs(made - bins[part]) > CYCLE_TOLERANCE:
            complaints.append(
                f"Expected `frequencies` to complete whole cycles in {n_frames} frames at "
                f"{sampling_rate:.15g} Hz, but {frequency:.15g} Hz makes {made:.10g}; {remedy}"
            )
    if not complaints and len(set(bins)) < len(bins):
        free = _free_bins_near(0, highest, set(bins))
        remedy = (
            f"{_written(free[0], sampling_rate, n_frames)} Hz is free"
            if free
            else "take more frames"
        )
        complaints.append(
            f"Expected `frequencies` to differ from part to part, but got {tuple(frequencies)}; "
            + remedy
        )
    return complaints


def _free_bins_near(cycles: float, highest: int, taken: set[int]) -> list[int]:
    """The nearest bins below and above a number of cycles that no other tag has."""
    below = range(math.floor(min(cycles, highest)), 0, -1)
    above = range(max(1, math.ceil(min(cycles, highest + 1))), highest + 1)
    found = (next((n for n in bins if n not in taken), None) for bins in (below, above))
    return sorted({n for n in found if n is not None})


def _written(line: int, sampling_rate: float, n_frames: int) -> str:
    """The frequency of a bin, with as many digits as it takes to be understood."""
    exact = line * sampling_rate / n_frames
    texts = [f"{exact:.{digits}g}" for digits in range(6, 18)]
    understood = (
        text
        for text in texts
        if math.isclose(meant_frequency(float(text), sampling_rate, n_frames), exact, rel_tol=1e-12)
    )
    return next(understood, texts[-1])
