"""What a circuit says about images, against hooks by hand and against `ablated`."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum_ssvep import ablated
from captum_ssvep.circuits import Channel, Circuit, Node, explain, what_if
from captum_ssvep.evaluation import margin

pytestmark = pytest.mark.usefixtures("one_thread")
IMAGES = torch.rand(9, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LOW, HIGH = Node("1", (0, 3), (0.0, 0.0), (0.5, 0.2)), Node("3", (4,), (0.0,), (1.0,))
CIRCUIT = Circuit(1, ("1", "3"), (LOW, HIGH), ())


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
    ).eval()  # fmt: skip


def values(net, target=1):
    with torch.no_grad():
        return margin(net(IMAGES), torch.full((9,), target))


def test_activity_is_read_from_the_layers(net):
    found = explain(net, CIRCUIT, IMAGES)
    with torch.no_grad():
        low, high = net[:2](IMAGES), net[:4](IMAGES)
    torch.testing.assert_close(found.maps["1:0,3"], (low[:, 0] / 0.5 + low[:, 3] / 0.2) / 2)
    torch.testing.assert_close(found.activity["1:0,3"], found.maps["1:0,3"].mean((1, 2)))
    torch.testing.assert_close(found.activity["3:4"], high[:, 4].mean((1, 2)))
    torch.testing.assert_close(found.target, values(net))


def test_channels_whose_mean_is_zero_are_off_as_if_ablated(net):
    found = explain(net, CIRCUIT, IMAGES)
    for node in CIRCUIT.nodes:
        with ablated(net, {node.layer: node.channels}):
            expected = values(net)
        torch.testing.assert_close(found.without[node.name], expected)
        torch.testing.assert_close(found.contributions[node.name], values(net) - expected)


def test_channels_are_held_at_their_means(net):
    node = Node("1", (2,), (0.7,), (1.0,))
    found = explain(net, Circuit(1, ("1",), (node,), ()), IMAGES)

    def hold(module, args, output):
        output = output.clone()
        output[:, 2] = 0.7
        return output

    with net[1].register_forward_hook(hold):
        torch.testing.assert_close(found.without["1:2"], values(net))


@pytest.mark.parametrize("batch_size", [2, 9])
def test_several_nodes_go_off_together(net, batch_size):
    change = what_if(
        net, CIRCUIT, ["1:0,3", "3:4"], TensorDataset(IMAGES), batch_size=batch_size,
        show_progress=False,
    )  # fmt: skip
    with ablated(net, CIRCUIT.channels):
        torch.testing.assert_close(change.after, values(net))
    torch.testing.assert_close(change.before, values(net))
    order = change.change.abs().argsort(descending=True)
    assert change.most_changed(4).tolist() == order[:4].tolist()


@pytest.mark.parametrize("node", [HIGH, [HIGH], ("3:4",)])
def test_a_node_is_as_good_as_its_name(net, node):
    data = TensorDataset(IMAGES)
    by_name = what_if(net, CIRCUIT, "3:4", data, show_progress=False)
    torch.testing.assert_close(
        what_if(net, CIRCUIT, node, data, show_progress=False).after, by_name.after
    )


def test_an_image_without_a_batch_is_told(net):
    normed = nn.Sequential(nn.BatchNorm2d(3), *net).eval()
    for model, layer in ((net, "1"), (normed, "2")):
        circuit = Circuit(1, (layer,), (Node(layer, (0,), (0.0,), (1.0,)),), ())
        with pytest.raises(
            ValueError, match=r"with shape \(3, .*add a batch dim.*`inputs\[None\]`"
        ):
            explain(model, circuit, IMAGES[0])


def test_other_inputs_of_three_dimensions_are_explained():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2), nn.Flatten()).eval()
    circuit = Circuit(lambda output: output[:, 0], ("1",), (Node("1", (1,), (0.0,), (1.0,)),), ())
    assert explain(net, circuit, torch.rand(2, 5, 4), channel_dim=2).target.shape == (2,)


def test_images_behind_a_loader_keep_their_indices(net):
    loader = DataLoader(TensorDataset(IMAGES), batch_size=2, sampler=[4, 2, 6])
    change = what_if(net, CIRCUIT, "3:4", loader, show_progress=False)
    assert change.images.tolist() == [4, 2, 6]
    assert set(change.most_changed(2).tolist()) <= {4, 2, 6}


def test_a_channel_may_be_the_target(net):
    found = explain(net, Circuit(Channel("3", 2), ("1",), (LOW,), ()), IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(found.target, net[:4](IMAGES)[:, 2].mean((1, 2)))
        with ablated(net, {"1": [0, 3]}):
            expected = net[:4](IMAGES)[:, 2].mean((1, 2))
    torch.testing.assert_close(found.without["1:0,3"], expected)


def test_layers_without_two_dimensions_have_no_map():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    circuit = Circuit(0, ("1",), (Node("1", (1,), (0.0,), (1.0,)),), ())
    assert explain(net, circuit, torch.rand(2, 4)).maps == {}


def test_the_model_is_left_as_it_was(net):
    explain(net, CIRCUIT, IMAGES)
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda net: explain(net[:4], CIRCUIT, IMAGES), "logits of shape"),
        (
            lambda net: explain(net, Circuit(0, ("1",), (Node("1", (7,), (0.0,), (1.0,)),), ()),
                                IMAGES),
            "its channel 7 of '1' is not among 4",
        ),
        (
            lambda net: explain(net, Circuit(0, ("1", "3"), (LOW,), ()), IMAGES),
            "nodes in each of its layers, but it has none in 3",
        ),
        (lambda net: explain(net, CIRCUIT, IMAGES / 0), "`inputs` to be finite"),
        (
            lambda net: what_if(net, CIRCUIT, "a:1", TensorDataset(IMAGES), show_progress=False),
            "name of a node of the circuit, one of 1:0,3, 3:4, but got 'a:1'",
        ),
        (
            lambda net: what_if(net, CIRCUIT, [], TensorDataset(IMAGES), show_progress=False),
            "at least one node",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(net, call, words):
    with pytest.raises(ValueError, match=words):
        call(net)
