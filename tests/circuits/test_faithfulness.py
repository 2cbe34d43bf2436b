"""Fidelity of circuits, against networks changed by hand."""

import pytest
import torch
from cifar import load_test_images, load_training_images
from scipy import stats
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum_ssvep.circuits import core_neurons, fidelity

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = torch.randn(40, 3, 6, 6, generator=torch.Generator().manual_seed(4))
DATA = TensorDataset(IMAGES)
CIRCUIT = {"3": [2, 4], "1": [0, 3, 1]}  # the later layer first


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 6, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    ).eval()  # fmt: skip
    with torch.no_grad():
        features = model[:6](IMAGES)
        model[6].weight /= features.std(0)
        model[6].bias.copy_(-model[6].weight @ features.mean(0))
    return model


def find(model, circuit=CIRCUIT, data=DATA, target=1, **arguments):
    arguments = {"n_random": 3, "show_progress": False} | arguments
    return fidelity(model, circuit, data, target, **arguments)


@torch.no_grad()
def literal(model, circuit, keep, baseline, target=1):
    """Raw and balanced, layer by layer."""
    whole = model(IMAGES).argmax(1) == target
    x = IMAGES
    fills = {name: model[: int(name) + 1](IMAGES).mean((0, 2, 3)) for name in ("1", "3")}
    for place, module in enumerate(model):
        x = module(x)
        for channel in range(x.shape[1]) if str(place) in circuit else ():
            if (channel in circuit[str(place)]) != keep:
                x[:, channel] = fills[str(place)][channel] if baseline == "mean" else 0.0
    called = x.argmax(1) == target
    raw = called[whole].float().mean().item()
    return raw, raw - called[~whole].float().mean().item()


def deviation_of_share(share, n):
    """Of the beta distribution that follows from Jeffreys' prior."""
    return stats.beta(share * n + 0.5, (1 - share) * n + 0.5).std()


def test_a_share_of_all_of_a_few_images_has_an_error(model):
    called = model(IMAGES).argmax(1) == 1
    few = torch.cat([IMAGES[called][:2], IMAGES[~called][:3]])
    row = find(model, {"1": range(5)}, TensorDataset(few)).at()
    assert (row.raw.value, row.balanced.value) == (1, 1)
    assert row.raw.error == pytest.approx(deviation_of_share(1, 2))
    assert row.raw.error > 0.15
    assert row.balanced.error > row.raw.error


@pytest.mark.parametrize("baseline", ["mean", "zero"])
@pytest.mark.parametrize("mode", ["keep", "mask"])
def test_fidelity_is_what_the_changed_network_says(model, baseline, mode):
    found = find(model, baseline=baseline)
    assert [(row.layers, row.mode) for row in found.rows] == [
        (layers, kind) for layers in ("3", "1", "all") for kind in ("keep", "mask")
    ]
    for layers, circuit in [*((k, {k: v}) for k, v in CIRCUIT.items()), ("all", CIRCUIT)]:
        row = found.at(layers, mode)
        raw, balanced = literal(model, circuit, mode == "keep", baseline)
        assert row.raw.value == pytest.approx(raw)
        assert row.balanced.value == pytest.approx(balanced)
        raw, balanced = literal(model, {name: [] for name in circuit}, mode == "keep", baseline)
        assert row.raw.empty == pytest.approx(raw)
        assert row.balanced.empty == pytest.approx(balanced)
        of_own = deviation_of_share(row.raw.value, found.n_own)
        assert row.raw.error == pytest.approx(of_own)
        of_others = deviation_of_share(row.raw.value - row.balanced.value, found.n_others)
        assert row.balanced.error**2 == pytest.approx(of_own**2 + of_others**2)


def test_the_whole_network_is_faithful_and_random_circuits_are_of_equal_size(model):
    every = {"1": range(5), "3": torch.arange(6)}
    found = find(model, every)
    for layers in ("1", "3", "all"):
        row = found.at(layers)
        assert (row.raw.value, row.balanced.value) == (1, 1)
        assert row.raw.random == row.balanced.random == (1, 1, 1)
        assert row.raw.random_spread == 0
        masked = find(model, every).at(layers, "mask")
        assert masked.raw.value == row.raw.empty


def test_random_circuits_are_drawn_by_the_seed(model):
    one, same, other = (find(model, n_random=20, seed=seed).at() for seed in (0, 0, 1))
    assert one.balanced.random == same.balanced.random != other.balanced.random
    assert len(one.raw.random) == 20
    assert one.raw.random_spread == pytest.approx(torch.tensor(one.raw.random).std(correction=0))


def test_batches_loaders_and_circuits_with_channels_change_nothing(model):
    class Circuit:
        channels, target = CIRCUIT, 1

    whole = find(model).table()
    assert find(model, batch_size=7).table() == whole
    assert find(model, data=DataLoader(DATA, batch_size=9)).table() == whole
    assert find(model, Circuit(), target=None).table() == whole
    assert whole[0].keys() >= {"layers", "mode", "raw", "raw_error", "balanced_random_spread"}


def test_a_network_that_calls_everything_the_class_is_not_balanced(model):
    """As a circuit without channels may be."""
    found = [find(model, {"3": []}, target=target) for target in range(3)]
    kept = [f.at("3").raw.value for f in found]
    assert sorted(kept) == [0, 0, 1]
    assert [f.at("3").balanced.value for f in found] == [0, 0, 0]


def test_a_class_that_is_never_or_always_called_is_said_so(model):
    with torch.no_grad():
        bias = model[6].bias.clone()
        model[6].bias[2] += 100
    try:
        with pytest.raises(ValueError, match="images that the network calls class 1, the `target`"):
            find(model)
        with pytest.warns(UserWarning, match="calls all images class 2"):
            found = find(model, target=2)
        assert found.at().balanced.value == found.at().raw.value
    finally:
        with torch.no_grad():
            model[6].bias.copy_(bias)


@pytest.mark.parametrize(
    ("circuit", "words"),
    [
        ({"1": [5]}, r"`circuit` in '1' to be 0 to 4, but got 5"),
        ({"9": [0]}, r"`circuit` to name a module"),
        ({}, "at least one layer"),
    ],
)
def test_circuits_that_do_not_fit_are_refused(model, circuit, words):
    with pytest.raises(ValueError, match=words):
        find(model, circuit)


def test_outputs_that_are_no_logits_are_told():
    one = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 1)).eval()
    with pytest.raises(ValueError, match="for a class as `target`, but the network gives"):
        find(one, {"0": [0]}, TensorDataset(torch.rand(3, 4)), 0)


@pytest.mark.data
def test_core_neurons_of_a_trained_network_are_more_faithful_than_random_ones(resnet32):
    images, labels = load_training_images(200)
    test = TensorDataset(load_test_images(200)[0])
    core = core_neurons(
        resnet32, 6, "layer3.1", TensorDataset(images[:100], labels[:100]), show_progress=False
    )
    row = find(resnet32, {"layer3.1": core.top(16)[0]}, test, 6, n_random=10).at()
    # A single layer's random circuits are far apart, by .2; some are as good.
    assert row.balanced.value > row.balanced.random_mean + row.balanced.random_spread
    assert row.balanced.value > 0.6
