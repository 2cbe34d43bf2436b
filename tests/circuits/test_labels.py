"""Labels of groups, against a literal version of CLIP-Dissect's formula and on trained networks."""

import math

import cifar
import pytest
import torch
from torch.utils.data import TensorDataset

from captum_ssvep.circuits import (
    Circuit,
    EmbeddingLabeler,
    Labeler,
    Node,
    Patch,
    build_circuit,
    crops,
    explain,
    label_nodes,
    soft_wpmi,
)

IMAGES = torch.zeros(6, 3, 4, 4)
for place in range(6):
    IMAGES[place, place % 3] = 1 + place
PATCHES = [tuple(Patch(i, (0, 0, 4, 4), 1.0) for i in (c, c + 3)) for c in range(3)]


def literal(similarities, sharpness, weight):
    """The formula of the paper, number by number."""
    n_groups, n_crops, n_texts = similarities.shape
    log_given = [[0.0] * n_texts for _ in range(n_groups)]
    for group in range(n_groups):
        for text in range(n_texts):
            for crop in range(n_crops):
                row = [math.exp(sharpness * s) for s in similarities[group, crop].tolist()]
                probability = row[text] / sum(row)
                belongs = 0.998 - crop / n_crops * (0.998 - 0.97)
                log_given[group][text] += math.log(belongs * probability + (1 - belongs))
    scores = torch.zeros(n_groups, n_texts, dtype=torch.double)
    for text in range(n_texts):
        marginal = sum(math.exp(row[text]) for row in log_given) / n_groups
        for group in range(n_groups):
            scores[group, text] = log_given[group][text] - weight * math.log(marginal)
    return scores


@pytest.mark.parametrize(("sharpness", "weight"), [(10.0, 1.0), (3.0, 0.6)])
def test_soft_wpmi_is_the_formula_of_the_paper(sharpness, weight):
    similarities = 2 * torch.rand(4, 6, 5) - 1
    scores = soft_wpmi(similarities, sharpness=sharpness, weight=weight)
    torch.testing.assert_close(scores, literal(similarities, sharpness, weight))


def test_a_text_that_fits_all_groups_is_held_back():
    similarities = torch.zeros(3, 4, 4)
    similarities[:, :, 3] = 1.0
    similarities[torch.arange(3), :, torch.arange(3)] = 0.9
    assert soft_wpmi(similarities).argmax(1).tolist() == [0, 1, 2]
    assert soft_wpmi(similarities, weight=0.0).argmax(1).tolist() == [3, 3, 3]


def color_labeler():
    return EmbeddingLabeler(["red", "green", "blue"], torch.eye(3), lambda c: c.mean((2, 3)))


def test_embeddings_label_the_nodes():
    nodes = [Node("a", (c,), (0.0,), (1.0,), PATCHES[c]) for c in (2, 0, 1)]
    circuit = label_nodes(Circuit(1, ("a",), tuple(nodes), ()), IMAGES, color_labeler())
    assert [node.label for node in circuit.nodes] == ["blue", "red", "green"]


def test_circuits_are_labeled_together():
    circuits = [
        Circuit(1, ("a",), (Node("a", (c,), (0.0,), (1.0,), PATCHES[c]),), ()) for c in (2, 0)
    ]
    labeled = label_nodes(circuits, IMAGES, color_labeler())
    assert [circuit.nodes[0].label for circuit in labeled] == ["blue", "red"]


def test_any_function_labels_the_nodes():
    seen = []

    def ask(crops):
        seen.extend(crops)
        return [f"group {number}" for number in range(len(crops))]

    assert isinstance(ask, Labeler)
    nodes = [Node("a", (c,), (0.0,), (1.0,), PATCHES[c]) for c in range(3)]
    circuit = label_nodes(Circuit(1, ("a",), tuple(nodes), ()), IMAGES, ask)
    assert [node.label for node in circuit.nodes] == ["group 0", "group 1", "group 2"]
    assert all(given.equal(crops(IMAGES, p)) for given, p in zip(seen, PATCHES, strict=True))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: color_labeler()([IMAGES]), "two groups or more"),
        (lambda: color_labeler()([IMAGES, IMAGES[:2]]), "as many crops for each"),
        (lambda: EmbeddingLabeler(["a"], torch.eye(3), len), r"of shape \(1, dimensions\)"),
        (
            lambda: EmbeddingLabeler(["a"], torch.ones(1, 2), lambda c: c)([IMAGES, IMAGES]),
            r"`embed` to give shape \(6, 2\)",
        ),
        (lambda: soft_wpmi(torch.rand(2, 3)), r"\(groups, crops, texts\), but got \(2, 3\)"),
        (
            lambda: label_nodes(
                Circuit(1, ("a",), (Node("a", (0,), (0.0,), (1.0,)),), ()), IMAGES, color_labeler()
            ),
            "whose nodes have patches, but a:0 has none",
        ),
        (
            lambda: label_nodes(
                Circuit(1, ("a",), (Node("a", (0,), (0.0,), (1.0,), PATCHES[0]),), ()),
                IMAGES,
                lambda crops: "red",
            ),
            "to give a list of 1 texts",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_the_type_is_named_where_it_is_the_problem():
    labeler = EmbeddingLabeler(["a"], torch.ones(1, 3), lambda c: c.mean((2, 3)).numpy())
    with pytest.raises(TypeError, match=r"`embed\(crops\)` to be a tensor, but got .*as_tensor"):
        labeler([IMAGES, IMAGES])
    circuit = Circuit(1, ("a",), (Node("a", (0,), (0.0,), (1.0,), PATCHES[0]),), ())
    with pytest.raises(TypeError, match="to give texts, but got 7 of type int; return `str` of it"):
        label_nodes(circuit, IMAGES, lambda crops: [7])


@pytest.mark.data
@pytest.mark.slow
def test_groups_of_the_last_stage_are_labeled_with_the_classes_that_drive_them(resnet32):
    """Another network's embeddings, with the rows of its last layer as those of the class names."""
    images, labels = cifar.load_test_images(150)
    other = cifar.load_resnet(20)

    def embed(crops):
        stem = other.relu(other.bn1(other.conv1(crops)))
        return other.layer3(other.layer2(other.layer1(stem))).mean((2, 3))

    circuits = build_circuit(
        resnet32, list(range(10)), ["layer3.4"], TensorDataset(images, labels), n_patches=8,
        scales=(1.0, 0.5), show_progress=False,
    )  # fmt: skip
    labeler = EmbeddingLabeler(cifar.CLASS_NAMES, other.linear.weight.detach(), embed)
    agree, strongest = [], []
    for target, circuit in enumerate(label_nodes(circuits, images, labeler)):
        activity = explain(resnet32, circuit, images).activity
        for node in circuit.nodes:
            of_class = [activity[node.name][labels == c].mean() for c in range(10)]
            agree.append(node.label == cifar.CLASS_NAMES[of_class.index(max(of_class))])
        incoming = circuit.incoming(circuit.target_name)
        best = circuit.node(max(incoming, key=incoming.get))
        strongest.append(best.label == cifar.CLASS_NAMES[target])
    # By chance a tenth; several classes drive most groups.
    assert sum(agree) > 0.7 * len(agree)
    assert sum(strongest) >= 8
