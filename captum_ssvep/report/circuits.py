"""What the page shows of a circuit: its nodes layer by layer, with their crops, and its edges."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F

from ..circuits import Circuit, Node, crops
from ..visualization.circuits import LEAST_WEIGHT
from ..visualization.maps import to_pixels
from .encode import picture

MOST_CROPS = 4
# Larger crops are shown smaller, which keeps the page small.
CROP_PIXELS = 96


def circuit_data(
    circuit: Circuit,
    images: Any,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> dict[str, Any]:
    """Columns of nodes, the target last, and the edges between them.

    Args:
        circuit: From `build_circuit`.
        images: The data that the patches come from; None for nodes without crops.
        mean, std: Normalization to undo.
    """
    influence = {node.name: 0.0 for node in circuit.nodes}
    for edge in circuit.edges:
        influence[edge.source] += abs(edge.weight)
    strongest_first = sorted(circuit.nodes, key=lambda node: -influence[node.name])
    return {
        "kind": "circuit",
        "target": circuit.target_name,
        "columns": [
            {
                "layer": layer,
                "nodes": [
                    _node(node, images, mean, std)
                    for node in strongest_first
                    if node.layer == layer
                ],
            }
            for layer in circuit.layers
        ],
        "edges": [
            {"source": edge.source, "target": edge.target, "weight": round(edge.weight, 4)}
            for edge in sorted(circuit.edges, key=lambda edge: -abs(edge.weight))
            if abs(edge.weight) >= LEAST_WEIGHT
        ],
        "least_weight": LEAST_WEIGHT,
    }


def _node(
    node: Node, images: Any, mean: Sequence[float] | None, std: Sequence[float] | None
) -> dict[str, Any]:
    pictures = []
    if images is not None and node.patches:
        found = crops(images, node.patches[:MOST_CROPS])
        if max(found.shape[2:]) > CROP_PIXELS:
            found = F.interpolate(found, (CROP_PIXELS, CROP_PIXELS), mode="area")
        pictures = [picture(pixels) for pixels in to_pixels(found, mean, std)]
    return {
        "name": node.name,
        "label": node.label,
        "written": f"channel{'s' * (len(node.channels) > 1)} {', '.join(map(str, node.channels))}",
        "crops": pictures,
        "images": [patch.image for patch in node.patches[:MOST_CROPS]],
    }
