"""Groups of channels that are known by construction, and numbers of groups in known clouds."""

import numpy as np
import pytest
import torch
from scipy.cluster import hierarchy
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum_ssvep.circuits import cluster, neuron_groups, patch_groups
from captum_ssvep.circuits.clusters import _silhouette

pytestmark = pytest.mark.usefixtures("one_thread")

GENERATOR = torch.Generator().manual_seed(5)
GROUPS = ((0, 3, 5, 6), (1, 4, 8), (2, 7))


def blobs(n_each, n_kinds, spread, features=10):
    directions = torch.eye(features)[:n_kinds].repeat_interleave(n_each, 0)
    return directions + spread * torch.randn(directions.shape, generator=GENERATOR)


class Planted(nn.Module):
    """Nine channels in three groups; each group reads its own color and writes its own logit.

    Channel 9 is dead. Channels differ in size by up to a thousand.
    """

    def __init__(self, scale=1.0):
        super().__init__()
        self.channels = nn.Conv2d(3, 10, 1, bias=False)
        self.relu = nn.ReLU()
        self.head = nn.Linear(10, 4, bias=False)
        sizes = scale * torch.tensor([1, 0.1, 10, 3, 100, 0.5, 0.2, 1, 1, 1])
        weight, head = torch.zeros(10, 3), torch.zeros(4, 10)
        for group, members in enumerate(GROUPS):
            for channel in members:
                weight[channel, group] = sizes[channel]
                head[group, channel] = 1 / sizes[channel]
        self.channels.weight.data = weight[:, :, None, None]
        self.head.weight.data = head

    def forward(self, x):
        return self.head(self.relu(self.channels(x)).mean((2, 3)))


IMAGES = torch.rand(12, 3, 4, 4, generator=GENERATOR)
DATA = TensorDataset(IMAGES)


def find(model, layer="relu", data=DATA, **arguments):
    return neuron_groups(model, layer, data, show_progress=False, **arguments)


@pytest.mark.parametrize("target", [None, [0, 1, 2], [lambda out: out[:, 0] - out[:, 1]]])
@pytest.mark.parametrize("n_groups", [None, 3])
def test_planted_groups_are_found(target, n_groups):
    groups = find(Planted().eval(), target=target, n_groups=n_groups)
    expected = GROUPS if target is None or len(target) > 1 else GROUPS[:2]
    if len(expected) == 3:
        assert groups.members == expected
        assert groups.left_out == (9,)
    elif n_groups is None:
        # Nothing leads from the third group to this target.
        assert groups.members == expected
        assert groups.left_out == (2, 7, 9)


@pytest.mark.parametrize("features", ["activation", "tagged"])
def test_groups_by_response_are_those_that_see_the_same(features):
    assert find(Planted().eval(), features=features, n_groups=3).members == GROUPS


def test_rescaling_changes_nothing():
    one, other = find(Planted().eval()), find(Planted(scale=1e-6).eval())
    assert one.members == other.members
    # Beyond three groups, rounding decides which of equal channels to part.
    assert [one.scores[n] for n in (2, 3)] == pytest.approx([other.scores[n] for n in (2, 3)])


def test_batches_and_loaders_change_nothing():
    whole, loaded = (
        find(Planted().eval()),
        find(Planted().eval(), data=DataLoader(DATA, batch_size=5)),
    )
    torch.testing.assert_close(whole.profiles, loaded.profiles)
    assert whole.members == loaded.members


def test_chosen_channels_keep_their_numbers():
    groups = find(Planted().eval(), channels=[8, 3, 1, 0, 9], n_groups=2)
    assert groups.members == ((0, 3), (1, 8)) or groups.members == ((8, 1), (3, 0))
    assert groups.left_out == (9,)
    with pytest.raises(ValueError, match=r"channels from 0 to 9, but got \[10\]"):
        find(Planted().eval(), channels=[10])


def test_many_classes_are_projected_without_turning_profiles():
    model = Planted().eval()
    wide = nn.Linear(10, 200, bias=False)
    with torch.no_grad():
        wide.weight.zero_()
        wide.weight[:4] = model.head.weight
    model.head = wide.eval()
    groups = find(model)
    assert groups.profiles.shape[1] == 12 * 32
    assert groups.members == GROUPS


def test_images_with_the_same_cause_are_a_group_and_one_cause_is_one():
    red, green = torch.zeros(6, 3, 4, 4), torch.zeros(6, 3, 4, 4)
    red[:, 0], green[:, 1] = torch.rand(6, 4, 4), torch.rand(6, 4, 4)
    model = Planted().eval()

    def either(output):
        return output[:, 0] + output[:, 1]

    def groups(images):
        return patch_groups(model, either, "relu", TensorDataset(images), show_progress=False)

    assert groups(torch.cat([red, green])).members == ((*range(6),), (*range(6, 12),))
    assert groups(red).members == ((*range(6),),)


@pytest.mark.parametrize(("n_kinds", "spread"), [(1, 0.3), (3, 0.15), (4, 0.1)])
def test_the_number_of_clouds_is_found_and_may_be_one(n_kinds, spread):
    clusters = cluster(blobs(12, n_kinds, spread))
    assert len(clusters.members) == n_kinds
    assert max(clusters.scores.values()) > clusters.chance or n_kinds == 1


def test_the_most_groups_are_mentioned_where_more_may_fit():
    rows = blobs(12, 4, 0.1)
    with pytest.warns(UserWarning, match="highest at `max_groups`, 3, and may rise further"):
        clusters = cluster(rows, max_groups=3)
    assert len(clusters.members) == 3
    assert len(cluster(rows, max_groups=5).members) == 4


def test_clouds_are_not_drawn_for_a_given_number():
    rows = blobs(12, 4, 0.1)
    given, chosen = cluster(rows, 4), cluster(rows)
    assert given.chance is None
    assert (given.members, given.scores) == (chosen.members, chosen.scores)


def test_few_single_clouds_are_split():
    """The level is 5 %; of 20 clouds, more than four would come up in .3 % of cases."""
    split = [len(cluster(blobs(12, 1, 0.5), max_groups=6).members) > 1 for _ in range(20)]
    assert sum(split) <= 4


def test_equal_rows_are_one_group_and_rows_of_zeros_none():
    rows = torch.tensor([[1.0, 2.0], [2.0, 4.0], [0.0, 0.0], [1e-30, 2e-30]])
    clusters = cluster(rows)
    assert clusters.members == ((0, 1, 3),)
    assert clusters.left_out == (2,)
    assert cluster(torch.zeros(3, 2)).members == ()
    assert cluster(torch.ones(1, 2)).members == ((0,),)


def test_silhouettes_are_those_of_the_definition():
    rows = blobs(5, 3, 0.4).double().numpy()
    distances = np.linalg.norm(rows[:, None] - rows, axis=2)
    labels = hierarchy.fcluster(hierarchy.linkage(rows, "ward"), 4, "maxclust")
    values = []
    for i, own in enumerate(labels):
        others = [j for j in range(15) if labels[j] == own and j != i]
        if not others:
            values.append(0.0)
            continue
        inside = distances[i, others].mean()
        outside = min(distances[i, labels == k].mean() for k in set(labels) - {own})
        values.append((outside - inside) / max(inside, outside))
    assert _silhouette(distances, labels) == pytest.approx(np.mean(values))


def test_there_are_no_more_groups_than_rows_but_zeros():
    clusters = cluster(torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), n_groups=3)
    assert clusters.members == ((0,), (2,))
    assert cluster(torch.zeros(3, 2), n_groups=2).members == ()


def test_profiles_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="`profiles` to be a finite matrix"):
        cluster(torch.full((2, 2), torch.nan))


def test_features_that_do_without_a_target_refuse_one():
    with pytest.raises(ValueError, match="no `target` for features='activation'"):
        find(Planted().eval(), target=0, features="activation")
