"""A planted circuit is recovered: its groups, edges and signs, in any unit."""

from itertools import product

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum_ssvep.circuits import Channel, Circuit, build_circuit, label_nodes
from captum_ssvep.visualization import plot_circuit

pytestmark = pytest.mark.usefixtures("one_thread")
# Every color with a red and a green of seven values: both have the same distribution, and are
# independent.
COLORS = torch.tensor([[r, g, 0.5] for r, g in product(torch.linspace(0, 1, 7).tolist(), repeat=2)])
IMAGES = COLORS[:, :, None, None].expand(-1, -1, 4, 4).contiguous()
LABELS = torch.arange(len(IMAGES)) % 3
DATA = TensorDataset(IMAGES, LABELS)
LAYERS = ["low", "high"]


class Planted(nn.Module):
    """Channels 0 and 1 of `low` see red, 2 and 3 green, 4 is dead and 5 leads nowhere.

    Channels 1 and 4 of `high` are 3 x red - green, 0 and 3 are green, 2 is dead and 5 leads
    nowhere. The first class is for the former and against the latter, the second for green.
    """

    def __init__(self, units=(1.0,) * 6):
        super().__init__()
        self.first, self.low = nn.Conv2d(3, 6, 1), nn.ReLU()
        self.second, self.high = nn.Conv2d(6, 6, 1), nn.ReLU()
        self.classifier = nn.Linear(6, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            low, high = self.first.weight[:, :, 0, 0], self.second.weight[:, :, 0, 0]
            low[[0, 1], 0] = torch.tensor([1.0, 2.0])
            low[[2, 3], 1] = torch.tensor([1.0, 0.5])
            low[5, 2] = 1
            self.first.bias[4] = -1
            high[[1, 4], 0], high[[1, 4], 1] = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0])
            high[[1, 4], 2], high[[1, 4], 3] = torch.tensor([-0.5, -1]), torch.tensor([-1.0, -2])
            high[[0, 3], 2] = torch.tensor([1.0, 4.0])
            high[[0, 3], 3] = torch.tensor([2.0, 8.0])
            high[5, 2] = 1
            self.second.bias[:] = torch.tensor([0.0, 3, -1, 0, 6, 0])
            self.classifier.weight[0, [1, 4]] = torch.tensor([2.0, 1.0])
            self.classifier.weight[0, [0, 3]] = torch.tensor([-1.0, -0.25])
            self.classifier.weight[1, [0, 3]] = torch.tensor([1.0, 0.25])
            units = torch.tensor(units)
            low *= units[:, None]
            self.first.bias *= units
            high /= units

    def forward(self, images):
        low = self.low(self.first(images))
        return self.classifier(self.high(self.second(low)).mean((2, 3)))


def built(net, target=0, **options):
    given = {"budget": 4, "n_groups": None, "n_patches": 0, "show_progress": False, **options}
    return build_circuit(net.eval(), target, LAYERS, DATA, **given)


def groups(circuit, layer):
    return {frozenset(node.channels) for node in circuit.nodes_of(layer)}


def weights(circuit):
    """Edges by the sets of channels at their ends."""
    sets = {node.name: frozenset(node.channels) for node in circuit.nodes}
    return {
        (sets[edge.source], sets.get(edge.target, edge.target)): edge.weight
        for edge in circuit.edges
    }


RED, GREEN = frozenset({0, 1}), frozenset({2, 3})
DIFFERENCE, SAME_GREEN = frozenset({1, 4}), frozenset({0, 3})


@pytest.mark.parametrize("baseline", ["mean", "zero"])
def test_groups_and_signs_are_those_that_were_planted(baseline):
    circuit = built(Planted(), baseline=baseline)
    assert groups(circuit, "low") == {RED, GREEN}
    assert groups(circuit, "high") == {DIFFERENCE, SAME_GREEN}
    signs = {ends: round(weight / abs(weight)) for ends, weight in weights(circuit).items()}
    assert signs == {
        (RED, DIFFERENCE): 1,
        (GREEN, DIFFERENCE): -1,
        (GREEN, SAME_GREEN): 1,
        (DIFFERENCE, "class 0"): 1,
        (SAME_GREEN, "class 0"): -1,
    }


def test_weights_are_exact_where_the_network_is_linear():
    """Red and green move alike: 3 to 1 into the difference; the logit is 6 x - 3 x green."""

    def logit(outputs):
        return outputs[:, 0]

    found = weights(built(Planted(), logit))
    assert found[RED, DIFFERENCE] == pytest.approx(0.75, abs=1e-5)
    assert found[GREEN, DIFFERENCE] == pytest.approx(-0.25, abs=1e-5)
    assert found[GREEN, SAME_GREEN] == pytest.approx(1, abs=1e-5)
    into_target = {ends: weight for ends, weight in found.items() if ends[1] == "target"}
    assert sum(map(abs, into_target.values())) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("target", [0, 1, [0, 1], Channel("classifier", 1)])
def test_incoming_weights_sum_to_one(target):
    circuits = built(Planted(), target)
    for circuit in circuits if isinstance(circuits, list) else [circuits]:
        for name in [*(node.name for node in circuit.nodes_of("high")), circuit.target_name]:
            total = sum(map(abs, circuit.incoming(name).values()))
            assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("units", [(1000.0,) * 6, (0.01, 10, 1, 300, 2, 0.5)])
def test_the_unit_of_a_layer_changes_nothing(units):
    one, other = built(Planted()), built(Planted(units))
    assert [node.name for node in one.nodes] == [node.name for node in other.nodes]
    for edge, same in zip(one.edges, other.edges, strict=True):
        assert (edge.source, edge.target) == (same.source, same.target)
        assert edge.weight == pytest.approx(same.weight, abs=1e-4)


def test_dead_channels_and_those_that_lead_nowhere_are_left_out():
    circuit = built(Planted(), budget=6)
    assert circuit.channels == {"low": (0, 1, 2, 3), "high": (0, 1, 3, 4)}
    numbers = [weight for edge in circuit.edges for weight in [edge.weight]]
    numbers += [value for node in circuit.nodes for value in (*node.means, *node.scales)]
    assert torch.tensor(numbers).isfinite().all()


def test_there_are_no_more_groups_than_live_channels():
    circuit = built(Planted(), n_groups=8)
    assert groups(circuit, "low") == {frozenset({c}) for c in range(4)}
    assert groups(built(Planted(), n_groups=1), "low") == {RED | GREEN}


def test_one_of_several_targets_is_as_by_itself():
    net = Planted()
    several = built(net, [0, 1])
    for target, circuit in enumerate(several):
        alone = built(net, target)
        assert [node.name for node in circuit.nodes] == [node.name for node in alone.nodes]
        assert [e.weight for e in circuit.edges] == pytest.approx([e.weight for e in alone.edges])


def test_batches_do_not_matter():
    one, other = built(Planted(), batch_size=49), built(Planted(), batch_size=8)
    assert [edge.weight for edge in one.edges] == pytest.approx(
        [edge.weight for edge in other.edges], abs=1e-5
    )


def test_nodes_have_the_crops_that_drive_them():
    circuit = built(Planted(), n_patches=3)
    red = next(node for node in circuit.nodes_of("low") if set(node.channels) == RED)
    assert [COLORS[patch.image, 0] for patch in red.patches] == [1, 1, 1]
    deviation = COLORS[:, 0].std(correction=0)
    assert red.patches[0].activation == pytest.approx((0.5 / deviation).item(), rel=1e-4)


@pytest.mark.parametrize("data", [DATA, DataLoader(DATA, batch_size=9)])
def test_other_images_are_noticed(data):
    circuit = build_circuit(Planted().eval(), 0, LAYERS, data, 4, n_patches=2, show_progress=False)
    assert circuit.image_means == tuple(
        (place, pytest.approx(IMAGES[place].mean().item()))
        for place in sorted({node.patches[0].image for node in circuit.nodes})
    )

    def label(images):
        label_nodes(circuit, images, lambda crops: ["same"] * len(crops))

    label(IMAGES)
    label(IMAGES + 1e-4)  # another computer may decode pictures so
    for others in (IMAGES.flip(0) ** 2, IMAGES + 0.1):
        with pytest.warns(UserWarning, match="not those that the circuit was built from, as image"):
            label(others)
        with pytest.warns(UserWarning, match="not those that the circuit was built from"):
            plot_circuit(circuit, others)


def test_images_that_a_loader_makes_are_not_known_again():
    def from_numbers(items):
        return IMAGES[items], LABELS[items]

    loader = DataLoader(range(len(IMAGES)), batch_size=7, collate_fn=from_numbers)
    circuit = build_circuit(Planted().eval(), 0, LAYERS, loader, n_patches=1, show_progress=False)
    assert circuit.image_means == ()


def test_it_survives_json():
    circuit = built(Planted(), n_patches=2)
    assert Circuit.from_dict(circuit.to_dict()) == circuit


def test_the_model_is_left_as_it_was():
    net = Planted()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    built(net)
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
    assert not any("forward" in vars(module) for module in net.modules())


def test_layers_out_of_order_are_refused_before_anything_else():
    net, calls = Planted().eval(), []
    net.first.register_forward_hook(lambda *given: calls.append(given))
    with pytest.raises(ValueError, match="but got high, low; they run in the order low, high"):
        build_circuit(net, 0, ["high", "low"], DATA, show_progress=False)
    assert len(calls) == 1


def test_train_mode_and_missing_classes_are_mentioned_once():
    net = Planted().eval()
    net.low.train()
    data = TensorDataset(IMAGES, LABELS * 0)
    with pytest.warns(UserWarning, match="'low' is in train mode|for class 0, 1; mix") as caught:
        build_circuit(net, [0, 1], LAYERS, data, n_patches=2, show_progress=False)
    assert len({str(warning.message) for warning in caught}) == len(caught) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"layers": ["low", "low"]}, "each once"),
        ({"layers": []}, "`layers` to name at least one"),
        ({"layers": ["lower"]}, "nearest: "),
        ({"target": 9}, "a class from 0 to 2"),
        ({"target": Channel("low", 2), "layers": ["high"]}, "to lie behind"),
        ({"target": 2}, "does not depend on any channel|depends"),
        ({"budget": 0}, "`budget` to be at least 1"),
        ({"n_patches": -1}, "`n_patches` to be at least 0"),
        ({"data": DataLoader(DATA, shuffle=True), "n_patches": 2}, "shuffles"),
        ({"data": TensorDataset(torch.rand(6, 3)), "n_patches": 2}, "takes n_patches=0 for other"),
        ({"scales": [2], "n_patches": 2}, "`scales` as shares"),
        ({"n_groups": 0}, "`n_groups` to be at least 1"),
        ({"data": TensorDataset(torch.rand(0, 3, 4, 4))}, "at least one image"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, words):
    given = {"target": 0, "layers": LAYERS, "data": DATA, "n_patches": 0, **arguments}
    if given["target"] == 2:  # the margin of a constant class depends on the others
        given["target"] = lambda outputs: outputs[:, 2]
    with pytest.raises(ValueError, match=words):
        build_circuit(Planted().eval(), show_progress=False, **given)
