"""What the page shows of scores over a data set: filters, their significance, and AND or OR."""

from typing import Any

import torch
from torch import Tensor

from .._checks import count
from ..scores.result import NeuronScores
from ..spectrum.corners import corner_tables, corner_weights, monotonicity
from ..spectrum.statistics import STATISTICS
from ..visualization.style import simplest_components
from .encode import rounded
from .spectra import (
    MOST_COLUMNS,
    and_or_kinds,
    component_facts,
    is_mixed,
    mark_of,
    most_rows,
)

FALSE_DISCOVERY_RATE = 0.05


def scores_data(scores: NeuronScores) -> dict[str, Any]:
    """All numbers of scores that the page shows."""
    layers = scores.layers
    score = _joined(scores.mean)
    notes: list[str] = []
    rows = torch.arange(len(score))
    most = most_rows(2 * len(scores.components))
    if len(rows) > most:
        rows = score.topk(most).indices.sort().values
        kind = count(most, scores.neurons)
        notes.append(f"The table has the {kind} of {len(score)} with the highest scores.")
    values = torch.cat([v.flatten(1) for v in scores.by_component.values()], dim=1)
    pairs = [*corner_tables(scores.components, scores.design)]
    columns: dict[str, Any] = {
        "score": rounded(score[rows]),
        "spread": rounded(_joined(scores.variance).sqrt()[rows]),
    }
    example: dict[str, Any] = {"pairs": [], "choices": [], "statistic": rounded(values[:, rows])}
    important = None
    if scores.n_images > 1:
        p_values = torch.cat([p.flatten(1) for p in scores.p_values().values()], dim=1)
        example["p_values"] = rounded(p_values[:, rows])
        adjusted = (p_values.amin(0) * len(p_values)).clamp(max=1)
        columns["p_value"] = rounded(adjusted[rows])
        important = scores.important(alpha=FALSE_DISCOVERY_RATE)
        columns["important"] = _joined(important)[rows].int().tolist()
    if pairs:
        index, rising = scores.and_or_index(pairs[0]), _rising(scores, pairs[0])
        mixed = is_mixed(_joined(rising))[rows].int().tolist()
        example["choices"] = [{"and_or": rounded(_joined(index)[rows]), "mixed": mixed}]
    return {
        "kind": "scores",
        "layer": layers[0] if len(layers) == 1 else f"{len(layers)} layers",
        "heading": f"What holds over {count(scores.n_images, 'image')}",
        "row_kind": scores.neurons,
        **_names(scores, rows),
        "components": component_facts(scores.components, scores.design),
        "columns": _columns(scores, important is not None, bool(pairs)),
        "statistics": [
            {
                "key": "statistic",
                "label": STATISTICS[scores.statistic].axis_label,
                "signed": STATISTICS[scores.statistic].signed,
            }
        ],
        "threshold": None,
        "curves": [],
        "choices": [],
        "finding": None,
        "unit": "activation",
        "in_time": scores.design.in_time,
        "range": list(scores.design.contrast),
        "examples": [{**example, **columns}],
        "maps": None,
        "notes": notes,
        "counts": _counts(scores, important),
        "and_or_of_layers": [
            {"layer": layer, "kinds": and_or_kinds(values, rising[layer])}
            for layer, values in index.items()
        ]
        if pairs
        else [],
    }


def _rising(scores: NeuronScores, parts: tuple[int, int]) -> dict[str, Tensor]:
    """`monotonicity` of the response averaged over images."""
    places, weights = corner_weights(scores.components, scores.design, parts)
    return {
        layer: monotonicity(torch.tensordot(weights.to(values), values[places], dims=1))
        for layer, values in scores.coefficient.items()
    }


def _joined(values: dict[str, Tensor]) -> Tensor:
    """The neurons of all layers, one after the other."""
    return torch.cat([value.flatten() for value in values.values()])


def _names(scores: NeuronScores, rows: Tensor) -> dict[str, Any]:
    """Names of the rows, and the layer of each."""
    names, groups = [], []
    for number, values in enumerate(scores.mean.values()):
        for place in torch.ones_like(values).nonzero().tolist():
            names.append(", ".join(map(str, place)))
            groups.append(number)
    chosen = rows.tolist()
    return {
        "names": [names[row] for row in chosen],
        "groups": [groups[row] for row in chosen],
        "group_names": list(scores.layers),
    }


def _columns(scores: NeuronScores, has_test: bool, has_pairs: bool) -> list[dict[str, str]]:
    """The columns of the table behind layer and name."""
    label = STATISTICS[scores.statistic].axis_label
    columns = [
        {
            "key": "score",
            "label": "Score",
            "hint": f"{label}: {scores.reduction} over components, mean over images",
            "format": "number",
        },
        {
            "key": "spread",
            "label": "SD",
            "hint": "Standard deviation of the score over images",
            "format": "number",
        },
    ]
    columns += [
        {
            "key": f"c{scores.components.index(component)}",
            "label": scores.design.label(component),
            "hint": f"{label} at {scores.design.title(component)}, mean over images",
            "format": "number",
            "mark": mark_of(component),
        }
        for component in simplest_components(scores.components)[:MOST_COLUMNS]
    ]
    if has_test:
        hint = "Smallest p-value of the components, times their number (Bonferroni)"
        columns.append({"key": "p_value", "label": "p", "hint": hint, "format": "p"})
        hint = f"Whether it passes at a false discovery rate of {FALSE_DISCOVERY_RATE:g}"
        columns.append({"key": "important", "label": "Important", "hint": hint, "format": "mark"})
    if has_pairs:
        hint = "1: needs both parts (AND); 0: adds them up; -1: needs either (OR)"
        columns.append({"key": "and_or", "label": "AND/OR", "hint": hint, "format": "index"})
    return columns


def _counts(scores: NeuronScores, important: dict[str, Tensor] | None) -> list[dict[str, Any]]:
    """How many neurons of each layer are important; none without a test."""
    return [
        {"layer": layer, "found": int(mask.sum()), "of": mask.numel()}
        for layer, mask in (important or {}).items()
    ]
