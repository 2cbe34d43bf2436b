"""What a whole circuit with crops costs, and whether labels of groups are the classes behind them.

ResNet-32 on CIFAR-10, test images. `cost`: circuits of cat, frog and ship over five layers, from
24 images of each and 11 of each other class, with 20 crops on each node; seconds of the processor
on one thread. `labels`: groups of the last stage in the circuits of all ten classes, labeled by the
embeddings of ResNet-20 with the rows of its last layer as those of the class names. Printed is how
many labels are the class for which the group is most active on average, and for how many classes
the group that raises it most has its name; circuits labeled together, and one by one.

    CAPTUM_SSVEP_DATA=... python benchmarks/whole_circuits.py

Five minutes on one core.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from captum_ssvep.circuits import Circuit, EmbeddingLabeler, build_circuit, explain, label_nodes

sys.path.append(str(Path(__file__).parents[1] / "tutorials"))
from cifar import CLASS_NAMES, load_resnet, load_test_images

LAYERS = ["layer1.4", "layer2.1", "layer2.4", "layer3.1", "layer3.4"]
CLASSES = [3, 6, 8]  # cat, frog, ship


def mixed_images() -> TensorDataset:
    images, labels = load_test_images(500)
    chosen = [(labels == c).nonzero().flatten()[: 24 if c in CLASSES else 11] for c in range(10)]
    return TensorDataset(images[torch.cat(chosen)], labels[torch.cat(chosen)])


def of_cost() -> None:
    model, data = load_resnet(32), mixed_images()
    for n_patches in (0, 20):
        start = time.process_time()
        circuits = build_circuit(
            model, CLASSES, LAYERS, data, n_patches=n_patches, show_progress=False
        )
        seconds = time.process_time() - start
        nodes = ", ".join(str(len(circuit.nodes)) for circuit in circuits)
        print(
            f"{len(data)} images, {n_patches} crops a node: {seconds:.0f} s for circuits of "
            f"{nodes} nodes"
        )


def of_labels() -> None:
    model, other = load_resnet(32), load_resnet(20)
    images, labels = load_test_images(150)

    def embed(crops: Tensor) -> Tensor:
        stem = other.relu(other.bn1(other.conv1(crops)))
        return other.layer3(other.layer2(other.layer1(stem))).mean((2, 3))

    circuits = build_circuit(
        model, list(range(10)), ["layer3.4"], TensorDataset(images, labels), n_patches=8,
        scales=(1.0, 0.5), show_progress=False,
    )  # fmt: skip
    driving = []
    for circuit in circuits:
        activity = explain(model, circuit, images).activity
        of_class = {
            name: torch.stack([value[labels == c].mean() for c in range(10)])
            for name, value in activity.items()
        }
        driving.append({name: CLASS_NAMES[int(v.argmax())] for name, v in of_class.items()})
    labeler = EmbeddingLabeler(CLASS_NAMES, other.linear.weight.detach(), embed)
    together = label_nodes(circuits, images, labeler)
    report("together", together, driving)
    report("one by one", [label_nodes(c, images, labeler) for c in circuits], driving)


def report(name: str, circuits: Sequence[Circuit], driving: Sequence[dict[str, str]]) -> None:
    right = [
        node.label == classes[node.name]
        for circuit, classes in zip(circuits, driving, strict=True)
        for node in circuit.nodes
    ]
    strongest = 0
    for target, circuit in enumerate(circuits):
        incoming = circuit.incoming(circuit.target_name)
        best = circuit.node(max(incoming, key=incoming.__getitem__))
        strongest += best.label == CLASS_NAMES[target]
    print(
        f"labeled {name}: {sum(right)} of {len(right)} groups by the class that drives them most; "
        f"the group that raises a class most has its name for {strongest} of 10"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    of_cost()
    of_labels()
