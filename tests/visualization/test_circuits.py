"""Pictures of circuits show each node, its crops, and its edges by sign and weight."""

import matplotlib
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.patches import PathPatch, Rectangle

from captum_ssvep.circuits import Circuit, Edge, Node, Patch
from captum_ssvep.visualization import plot_circuit

matplotlib.use("Agg")
IMAGES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
PATCHES = tuple(Patch(i, (0, 0, 4, 4), 1.0) for i in range(5))
CIRCUIT = Circuit(
    1,
    ("a", "b"),
    (
        Node("a", (0, 4), (0.0, 0.0), (1.0, 1.0), PATCHES),
        Node("a", (1,), (0.0,), (1.0,), PATCHES, label="stripes"),
        Node("b", (2,), (0.0,), (1.0,), PATCHES),
    ),
    (Edge("a:0,4", "b:2", 0.75), Edge("a:1", "b:2", -0.25), Edge("b:2", "class 1", 1.0)),
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def drawn(kind, ax):
    return [artist for artist in ax.patches if type(artist) is kind]


def test_each_node_shows_its_crops():
    figure, ax = plot_circuit(CIRCUIT, IMAGES, n_patches=4, target_name="frog")
    figure.canvas.draw()
    assert len(ax.images) == 3 * 4
    assert len(drawn(Rectangle, ax)) == 4
    assert {text.get_text() for text in ax.texts} == {"0 4", "stripes\n1", "2", "frog", "a", "b"}


def test_edges_are_as_wide_as_their_weights_and_colored_by_sign():
    _, ax = plot_circuit(CIRCUIT)
    thin, wide, full = sorted(drawn(PathPatch, ax), key=lambda edge: edge.get_linewidth())
    assert wide.get_linewidth() == pytest.approx(3 * thin.get_linewidth())
    assert full.get_linewidth() == pytest.approx(4 * thin.get_linewidth())
    assert thin.get_edgecolor()[:3] == to_rgb("tab:red")
    assert wide.get_edgecolor()[:3] == to_rgb("tab:blue")


def test_tiny_weights_are_left_out():
    edges = (Edge("a:0,4", "b:2", 0.99), Edge("a:1", "b:2", 0.01))
    _, ax = plot_circuit(Circuit(1, CIRCUIT.layers, CIRCUIT.nodes, edges))
    assert len(drawn(PathPatch, ax)) == 1


def test_without_images_nodes_hold_their_captions():
    _, ax = plot_circuit(CIRCUIT)
    assert not ax.images
    assert "stripes\n1" in {text.get_text() for text in ax.texts}


def test_it_draws_on_given_axes():
    figure, given = plt.subplots()
    assert plot_circuit(CIRCUIT, ax=given) == (figure, given)


def test_gray_images_are_drawn_too():
    _, ax = plot_circuit(CIRCUIT, IMAGES[:, :1])
    assert len(ax.images) == 12


def test_other_arguments_are_refused():
    with pytest.raises(TypeError, match="`circuit` to be a circuit, but got dict"):
        plot_circuit({"layer": list(range(99))})
    with pytest.raises(ValueError, match="without an image 2"):
        plot_circuit(CIRCUIT, IMAGES[:2])
