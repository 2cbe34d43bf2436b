"""A circuit: names, weights, activities, and what is written is read back."""

import json

import networkx
import pytest
import torch

from captum_ssvep.circuits import Channel, Circuit, Edge, Node, Patch
from captum_ssvep.circuits.circuit import normalized

PATCH = Patch(3, (0, 0, 4, 4), 1.5)
LOW = [
    Node("a", (0, 4), (1.0, 2.0), (0.5, 2.0), (PATCH,)),
    Node("a", (1,), (0.0,), (1.0,), label="edges"),
]
HIGH = Node("b", (2, 3), (0.0, 0.0), (1.0, 0.0))
EDGES = [Edge("a:0,4", "b:2,3", 0.75), Edge("a:1", "b:2,3", -0.25), Edge("b:2,3", "class 1", -1.0)]


@pytest.fixture
def circuit():
    return Circuit(1, ("a", "b"), (*LOW, HIGH), tuple(EDGES))


def test_it_gives_its_channels_as_ablation_takes_them(circuit):
    assert circuit.channels == {"a": (0, 1, 4), "b": (2, 3)}
    assert circuit.nodes_of("a") == LOW
    assert circuit.node("b:2,3") is HIGH
    assert circuit.incoming("b:2,3") == {"a:0,4": 0.75, "a:1": -0.25}
    assert circuit.incoming("class 1") == {"b:2,3": -1.0}
    assert circuit.node(HIGH) is HIGH
    assert circuit.incoming(HIGH) == circuit.incoming("b:2,3")
    assert repr(circuit) == "Circuit(class 1, 2 layers, 3 nodes, 5 channels, 3 edges)"


@pytest.mark.parametrize("target", [1, Channel("c", 7)])
def test_it_comes_back_from_json(circuit, target, tmp_path):
    circuit = Circuit(target, circuit.layers, circuit.nodes, circuit.edges, ((3, 0.5),))
    assert Circuit.from_dict(json.loads(json.dumps(circuit.to_dict()))) == circuit
    circuit.save(tmp_path / "circuit.json")
    assert Circuit.load(tmp_path / "circuit.json") == circuit


def test_a_function_is_not_written(circuit):
    circuit = Circuit(lambda outputs: outputs[:, 0], circuit.layers, circuit.nodes, circuit.edges)
    assert circuit.target_name == "target"
    with pytest.raises(ValueError, match="a class or a channel, which can be written"):
        circuit.to_dict()


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="with the format 'captum_ssvep circuit 1', but got None"):
        Circuit.load(path)
    path.write_text('{"format": "captum_ssvep circuit 1", "target": 1, "layers": []}')
    with pytest.raises(ValueError, match=r"they lack or changed something \(KeyError: 'nodes'\)"):
        Circuit.load(path)
    path.write_text("no JSON")
    with pytest.raises(ValueError, match="is not JSON"):
        Circuit.load(path)


def test_the_graph_has_its_nodes_and_edges(circuit):
    graph = circuit.to_networkx()
    assert set(graph) == {"a:0,4", "a:1", "b:2,3", "class 1"}
    assert graph.edges["a:1", "b:2,3"]["weight"] == -0.25
    assert graph.nodes["a:1"] == {"layer": "a", "channels": (1,), "label": "edges"}
    assert networkx.is_directed_acyclic_graph(graph)


def test_activity_is_the_mean_of_standardized_channels():
    activations = torch.rand(5, 6, 3, 3)
    expected = ((activations[:, 0] - 1) / 0.5 + (activations[:, 4] - 2) / 2) / 2
    torch.testing.assert_close(LOW[0].activity(activations), expected)
    pooled = activations.mean((2, 3))
    torch.testing.assert_close(LOW[0].activity(pooled), expected.mean((1, 2)))


def test_a_channel_that_never_changes_does_not_count():
    activations = torch.rand(5, 6)
    torch.testing.assert_close(HIGH.activity(activations), activations[:, 2])
    dead = Node("b", (3,), (0.0,), (0.0,))
    assert not dead.activity(activations).any()


def test_labels_go_on_nodes(circuit):
    labeled = circuit.labeled({"a:0,4": "stripes"})
    assert [node.label for node in labeled.nodes] == ["stripes", "edges", ""]
    assert [node.label for node in circuit.nodes] == ["", "edges", ""]
    with pytest.raises(ValueError, match="`labels` of the nodes a:0,4, a:1, b:2,3, but got 'a:9'"):
        circuit.labeled({"a:9": "stripes"})


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
def test_weights_do_not_depend_on_the_unit(scale):
    effects = torch.tensor([[2.0, -1.0, 1.0], [0.0, 0.0, 0.0]])
    weights = normalized(scale * effects)
    torch.testing.assert_close(weights[0], torch.tensor([0.5, -0.25, 0.25]))
    assert not weights[1].any()


def test_unknown_names_are_told(circuit):
    with pytest.raises(ValueError, match="`layer` to be one of a, b, but got 'c'"):
        circuit.nodes_of("c")
    with pytest.raises(ValueError, match="but got 'c:1'"):
        circuit.incoming("c:1")
