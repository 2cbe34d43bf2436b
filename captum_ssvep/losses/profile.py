"""A template for the response of a layer: how large each component should be."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._checks import finite_floats, shown
from ..design import Component, Design
from ..design.components import component_of
from ..spectrum import TaggedSpectrum
from .objectives import rounding_of_sums

# What a template may be given as.
Target = Mapping[Any, float] | Sequence[float] | Tensor | TaggedSpectrum | str | Path


@dataclass(frozen=True)
class Profile:
    r"""Distance of a layer's amplitudes from a template, whatever their unit.

    .. math:: L = 1 - \frac{\sum_n p_n t_n}{\lVert p \rVert \lVert t \rVert}

    with the template's amplitude :math:`t_n` of each component, and the layer's :math:`p_n`, its
    mean over images and neurons. 0 for proportional profiles; 1 for those without a common
    component, and without gradient for a layer that does not respond at these components.

    A template may be

    - a mapping from components to amplitudes: ``{(1, 0): 1.0, (0, 1): 0.8, (1, 1): 0.3}``, or with
      labels as keys, ``{"f1": 1.0, "f2": 0.8, "f1 + f2": 0.3}``;
    - one amplitude for each component of the loss, in their order (`Design.components`);
    - the path of a CSV file with a header and the columns ``component`` and ``amplitude``, such as
      ``pandas.DataFrame(spectrum.table()).to_csv(path)`` writes. Components are labels, as
      ``f1 + f2`` or ``2f1 - f2``. Rows of the same component are averaged, other columns ignored;
    - a recording: a `TaggedSpectrum`. Amplitudes are averaged over its images and neurons (epochs
      and electrodes), from which the mean of their neighboring lines is subtracted first, if it
      has some; what is then negative counts as 0. Average epochs before, to be rid of more noise.

    The tags' frequencies may differ between template and design: components are integers. A
    two-level design has no harmonics. For one, take those of a recording that it has:
    ``Profile({c: eeg.amplitude(c).mean().item() for c in ((1, 0), (0, 1), (1, 1))})``.

    Args:
        target (Mapping, sequence, path or TaggedSpectrum): The template.

    Raises:
        ValueError, TypeError: If the amplitudes are no numbers of 0 or more, fewer than two, or all
            0, or the file has no such columns.

    Examples::

        >>> from captum_ssvep import TwoLevelDesign
        >>> design = TwoLevelDesign(2)
        >>> left, right = torch.as_tensor(design.contrasts).T
        >>> spectrum = TaggedSpectrum.from_series((left + right)[:, None], design)
        >>> round(Profile({"f1": 2.0, "f2": 2.0, "f1 + f2": 0.0})(spectrum).item(), 4)
        0.0
        >>> round(Profile([0.0, 0.0, 1.0])(spectrum).item(), 4)  # the intermodulation alone
        1.0
    """

    target: Target

    def __post_init__(self) -> None:
        amplitudes = _amplitudes_of(self.target)
        values = _values(amplitudes)
        if len(values) < 2 or min(values) < 0 or not any(values):
            raise ValueError(
                "Expected `target` to hold amplitudes of 0 or more for at least two components, "
                f"not all 0, but got {shown(list(values))}; a profile says how they compare"
            )
        object.__setattr__(self, "target", amplitudes)

    def __call__(self, spectrum: TaggedSpectrum) -> Tensor:
        """Distance of a spectrum from the template."""
        wanted = self._by_component(spectrum.components, spectrum.design)
        profile = torch.stack([spectrum.amplitude(component).mean() for component in wanted])
        target = profile.new_tensor(list(wanted.values()))
        size = torch.linalg.vector_norm(profile)
        responds = size > rounding_of_sums(spectrum).mean()
        similarity: Tensor = profile @ (target / target.norm()) / size.where(responds, 1.0)
        return 1 - similarity.where(responds, 0.0)

    def select(self, components: Sequence[Component], design: Design) -> list[Component]:
        """The components of the template.

        Raises:
            ValueError: If the loss does not read all of them, or the design cannot tell them apart.
        """
        wanted = list(self._by_component(components, design))
        collisions = design.collisions(wanted)
        if collisions:
            component, other = collisions[0]
            partner = "the mean" if other is None else design.label(other)
            raise ValueError(
                "Expected `target` with components that the design can tell apart, but "
                f"{design.label(component)} lies on the line of {partner} for {design}; leave it "
                "out, or take a design for a higher order, as `choose_design` makes"
            )
        return wanted

    def _by_component(
        self, components: Sequence[Component], design: Design
    ) -> dict[Component, float]:
        target: Any = self.target
        if not isinstance(target, Mapping):
            if len(target) != len(components):
                raise ValueError(
                    "Expected `target` to hold one amplitude for each component of the loss, "
                    f"{', '.join(map(str, components))}, but got {len(target)} for "
                    f"{len(components)}; a mapping from components names them"
                )
            return dict(zip(components, target, strict=True))
        found: dict[Component, float] = {}
        for key, amplitude in target.items():
            is_label = isinstance(key, str)
            component = component_of(key, design.n_parts) if is_label else Component(key)
            if component not in components:
                raise ValueError(
                    f"Expected `target` with components of the loss, but got {component} for "
                    f"{', '.join(map(str, components))} of {design}; leave it out, or take a "
                    "design that resolves it and `components` that hold it"
                )
            if component in found:
                raise ValueError(
                    f"Expected `target` with each component once, but got {component} twice; "
                    "a component and its negative are the same"
                )
            found[component] = amplitude
        return found


def _amplitudes_of(target: Target) -> dict[Any, float] | tuple[float, ...]:
    """The amplitudes of a template, by component or label, or in the order of the components."""
    if isinstance(target, TaggedSpectrum):
        return {component: _mean_amplitude(target, component) for component in target.components}
    if isinstance(target, (str, Path)):
        return read_profile(target)
    remedy = "give a mapping, numbers, a spectrum or the path of a CSV file"
    if isinstance(target, Mapping):
        amplitudes = finite_floats(target.values(), "target", remedy)
        keys = [key if isinstance(key, str) else Component(key) for key in target]
        return dict(zip(keys, amplitudes, strict=True))
    return finite_floats(target, "target", remedy)


def _values(amplitudes: dict[Any, float] | tuple[float, ...]) -> tuple[float, ...]:
    return tuple(amplitudes.values()) if isinstance(amplitudes, dict) else amplitudes


def _mean_amplitude(recording: TaggedSpectrum, component: Component) -> float:
    """Amplitude over images and neurons, without that of the neighboring lines if it has some."""
    amplitude, neighbors = recording.amplitude(component), recording.neighbor_amplitudes(component)
    noise = neighbors.mean() if neighbors.numel() else 0.0
    return max(0.0, float(amplitude.mean() - noise))


def read_profile(path: str | Path) -> dict[str, float]:
    """Read a template from a CSV file, as `Profile` does.

    Returns:
        dict[str, float]: Mean amplitude by the label of the component, without its spaces.

    Raises:
        ValueError: If the columns ``component`` and ``amplitude`` are missing, or an amplitude is
            no number.
    """
    found: dict[str, list[Any]] = defaultdict(list)
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or []
        if not {"component", "amplitude"} <= set(names):
            raise ValueError(
                "Expected the file of `target` to be CSV with the columns component and amplitude, "
                f"but got the columns {shown(list(names))} in {str(path)!r}"
            )
        for row in reader:
            found["".join((row["component"] or "").split())].append(row["amplitude"])
    numbers = {label: finite_floats(cells, "target") for label, cells in found.items()}
    return {label: sum(values) / len(values) for label, values in numbers.items()}
