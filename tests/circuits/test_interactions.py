"""Interactions of channels, in networks where they are known."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum_ssvep.circuits import neuron_interactions

pytestmark = pytest.mark.usefixtures("one_thread")

GENERATOR = torch.Generator().manual_seed(2)
IMAGES = torch.rand(6, 5, generator=GENERATOR).double()
DATA = TensorDataset(IMAGES)


class Products(nn.Module):
    """Two outputs, each a weighted sum of products of channels and of channels alone."""

    def __init__(self):
        super().__init__()
        self.channels = nn.Linear(5, 5)
        matrix = torch.randn(2, 5, 5, generator=GENERATOR).triu(1)
        matrix[:, 0, 3] = 0
        self.register_buffer("matrix", matrix)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        a = self.channels(x)
        return torch.einsum("ni,kij,nj->nk", a, self.matrix, a) + self.head(a)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    return Products().double().eval()


TARGETS = [lambda out: out[:, 0], lambda out: out[:, 1]]


def find(model, target=TARGETS, layer="channels", data=DATA, **arguments):
    return neuron_interactions(model, target, layer, data, show_progress=False, **arguments)


@pytest.mark.parametrize("method", ["ablation", "gradient"])
@pytest.mark.parametrize("baseline", ["mean", "zero"])
def test_products_interact_by_their_size_with_sign(model, method, baseline):
    found = find(model, method=method, baseline=baseline, batch_size=4)
    with torch.no_grad():
        changes = model.channels(IMAGES)
    if baseline == "mean":
        changes = changes - changes.mean(0)
    weights = model.matrix + model.matrix.mT
    expected = weights * changes[:, None, :, None] * changes[:, None, None, :]
    torch.testing.assert_close(found.signed, expected.mean(0).float())
    torch.testing.assert_close(found.absolute, expected.abs().mean(0).float())
    assert found.absolute[:, 0, 3].tolist() == pytest.approx([0, 0], abs=1e-12)


@pytest.mark.parametrize("method", ["ablation", "gradient"])
def test_groups_interact_by_the_sum_over_their_channels(model, method):
    single = find(model, method=method).signed
    members = [[4, 0], [2], [1]]
    grouped = find(model, channels=members, method=method)
    assert grouped.members == ((4, 0), (2,), (1,))
    torch.testing.assert_close(grouped.signed[:, 0, 1], single[:, 4, 2] + single[:, 0, 2])
    torch.testing.assert_close(grouped.signed[:, 1, 2], single[:, 2, 1])


def test_pairs_are_ablated_one_by_one():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2),
    ).double().eval()  # fmt: skip
    images = torch.randn(3, 3, 8, 8, generator=GENERATOR).double()
    found = find(model, ("3", 2), "1", TensorDataset(images), baseline="zero")

    @torch.no_grad()
    def without(*channels):
        activations = model[:2](images)
        activations[:, list(channels)] = 0
        return model[2:4](activations)[:, 2].mean((1, 2))

    expected = without() - without(1) - without(3) + without(1, 3)
    assert found.signed[0, 1, 3].item() == pytest.approx(expected.mean().item(), abs=1e-6)
    assert found.absolute[0, 3, 1].item() == pytest.approx(expected.abs().mean().item(), abs=1e-6)


def test_few_channels_are_ablated_and_many_read_from_gradients():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU()).double()

    def target(output):
        return output.pow(4).sum(1)

    every, gradient = (find(model.eval(), target, "1", method=m) for m in (None, "gradient"))
    torch.testing.assert_close(every.signed, gradient.signed)
    few = range(16)
    some, exact = (find(model, target, "1", channels=few, method=m) for m in (None, "ablation"))
    torch.testing.assert_close(some.signed, exact.signed)
    assert (some.signed - gradient.signed[:, :16, :16]).abs().max() > 0.01 * exact.signed.max()


def test_a_dead_channel_interacts_with_none_and_loaders_change_nothing(model):
    with torch.no_grad():
        model.channels.weight[2] = 0
    for method in ("ablation", "gradient"):
        whole = find(model, method=method)
        assert whole.absolute.isfinite().all()
        assert whole.absolute[:, 2].abs().max() < 1e-12
        loaded = find(model, data=DataLoader(DATA, batch_size=4), method=method)
        torch.testing.assert_close(loaded.signed, whole.signed)


@pytest.mark.parametrize("channels", [[0, 0], [[0, 1], [1]], [5], [[]], []])
def test_channels_that_are_not_different_ones_are_refused(model, channels):
    with pytest.raises(ValueError, match="different channels from 0 to 4"):
        find(model, channels=channels)
