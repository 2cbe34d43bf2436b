"""From a network to a circuit with crops, its labels, an explanation, a picture and a file."""

import os
from pathlib import Path

import matplotlib
import pytest
import torch
import torchvision
from matplotlib import pyplot as plt
from torch.utils.data import TensorDataset

from captum_ssvep.circuits import (
    Circuit,
    build_circuit,
    concept_patches,
    crops,
    explain,
    label_nodes,
    patch_groups,
    what_if,
)
from captum_ssvep.visualization import plot_circuit

matplotlib.use("Agg")


def squeezenet():
    """Trained on ImageNet."""
    folder = os.environ.get("CAPTUM_SSVEP_DATA")
    if not folder:
        pytest.skip("CAPTUM_SSVEP_DATA is not set: no SqueezeNet weights")
    model = torchvision.models.squeezenet1_1()
    path = Path(folder) / "squeezenet1_1_imagenet.pt"
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model


def vision_transformer():
    model = torchvision.models.vit_b_16(num_classes=5, image_size=32)
    torch.nn.init.normal_(model.heads.head.weight)  # zero otherwise: nothing acts on the logits
    return model


CASES = {
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=5), ["layer2", "layer4"], 64),
    "vit_b_16": (
        vision_transformer,
        ["encoder.layers.encoder_layer_2", "encoder.layers.encoder_layer_8.mlp"],
        32,
    ),
    "swin_t": (lambda: torchvision.models.swin_t(num_classes=5), ["features.1", "features.5"], 64),
    "squeezenet1_1": (squeezenet, ["features.4", "features.11"], 64),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_networks_go_through_the_whole_chain(name):
    make, layers, size = CASES[name]
    model = make().eval()
    images, labels = torch.randn(6, 3, size, size), torch.tensor([1, 0, 1, 2, 3, 1])
    data = TensorDataset(images, labels)
    options = {"show_progress": False}
    circuit = build_circuit(
        model, 1, layers, data, budget=4, method="activation_gradient", n_patches=3,
        scales=[1, 0.5], **options,
    )  # fmt: skip
    assert all(len(channels) == 4 for channels in circuit.channels.values())
    for parent in [circuit.target_name, *(node.name for node in circuit.nodes_of(layers[1]))]:
        assert sum(map(abs, circuit.incoming(parent).values())) == pytest.approx(1, abs=1e-5)
    assert Circuit.from_dict(circuit.to_dict()) == circuit
    found = explain(model, circuit, images[:2])
    values = [*found.activity.values(), *found.maps.values(), *found.without.values()]
    assert all(value.isfinite().all() for value in values)
    assert len(found.maps) == len(circuit.nodes)
    node = circuit.nodes[-1]
    change = what_if(model, circuit, node.name, data, **options)
    torch.testing.assert_close(change.after[:2], found.without[node.name], rtol=1e-4, atol=1e-4)
    labeled = label_nodes(circuit, images, lambda crops: ["group"] * len(crops))
    figure, _ = plot_circuit(labeled, images, mean=[0.5] * 3, std=[0.2] * 3)
    figure.canvas.draw()
    plt.close(figure)
    (patches,) = concept_patches(model, layers[1], [2], data, 6, [1, 0.5], **options).values()
    groups = patch_groups(
        model, (layers[1], 2), layers[0], TensorDataset(crops(images, patches)), **options
    )
    assert sum(map(len, groups.members)) + len(groups.left_out) == 6
