"""Crops that drive channels, against a search through all of them."""

import gc

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from captum_ssvep.circuits import Patch, concept_patches, crops
from captum_ssvep.circuits.patches import sliding_boxes, strongest_patches

pytestmark = pytest.mark.usefixtures("one_thread")
NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3, stride=2), nn.ReLU()).eval()
SCALES = (1.0, 0.5, 0.25)


@pytest.fixture(scope="module")
def images():
    return torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def found(images, channels=None, **options):
    data = TensorDataset(images)
    return concept_patches(NET, "3", channels, data, show_progress=False, **options)


def by_search(images, channel, k, per_image):
    """Every crop by itself, then sorted: slow, literal, and without any state."""
    everything = []
    for place, image in enumerate(images):
        of_image = []
        for left, top, right, bottom in sliding_boxes(16, 16, SCALES):
            crop = image[None, :, top:bottom, left:right]
            shown = nn.functional.interpolate(crop, (16, 16), mode="bilinear")
            value = NET(shown)[0, channel].mean().item()
            of_image.append(((left, top, right, bottom), value))
        of_image.sort(key=lambda pair: -pair[1])
        everything += [(place, box, value) for box, value in of_image[:per_image]]
    return sorted(everything, key=lambda row: -row[2])[:k]


@pytest.mark.parametrize(("k", "per_image"), [(3, 1), (9, 2), (50, 3)])
def test_they_are_those_of_a_search_through_all(images, k, per_image):
    with torch.no_grad():
        patches = found(images, k=k, per_image=per_image, batch_size=3)
        for channel in range(5):
            expected = by_search(images, channel, k, per_image)
            assert len(patches[channel]) == len(expected) == min(k, 7 * per_image)
            activations = torch.tensor([patch.activation for patch in patches[channel]])
            torch.testing.assert_close(activations, torch.tensor([row[2] for row in expected]))
            if activations.unique().numel() == len(activations):
                rows = [(patch.image, patch.box) for patch in patches[channel]]
                assert rows == [row[:2] for row in expected]


def test_batches_do_not_matter(images):
    for one, other in zip(
        found(images, k=4, batch_size=7).values(),
        found(images, k=4, batch_size=2).values(),
        strict=True,
    ):
        assert [patch[:2] for patch in one] == [patch[:2] for patch in other]


def test_some_channels_are_those_of_all(images):
    everything = found(images, k=2)
    some = found(images, [4, 1], k=2)
    assert list(some) == [4, 1]
    assert found(images, torch.tensor([4, 1]), k=2) == some
    for channel in some:
        assert [p[:2] for p in some[channel]] == [p[:2] for p in everything[channel]]


def test_layers_share_a_pass(images):
    data = TensorDataset(images)
    both = strongest_patches(
        NET, {"1": None, "3": [{0: 0.5, 2: 2.0}]}, data, 2, SCALES, show_progress=False
    )
    assert len(both["1"]) == 4
    (patches,) = both["3"]
    with torch.no_grad():
        shown = NET(crops(images, patches)).mean((2, 3))
    expected = 0.5 * shown[:, 0] + 2 * shown[:, 2]
    torch.testing.assert_close(torch.tensor([p.activation for p in patches]), expected)


def test_a_silent_channel_gets_the_first_images(images):
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()).eval()
    with torch.no_grad():
        net[0].weight[0], net[0].bias[0] = -1, 0
    (patches,) = concept_patches(
        net, "1", [0], TensorDataset(images), k=2, show_progress=False
    ).values()
    assert patches == (Patch(0, (0, 0, 16, 16), 0.0), Patch(1, (0, 0, 16, 16), 0.0))


def test_crops_are_what_the_network_saw(images):
    (patches,) = found(images, [2], k=6).values()
    with torch.no_grad():
        values = NET(crops(images, patches))[:, 2].mean((1, 2))
    torch.testing.assert_close(values, torch.tensor([patch.activation for patch in patches]))
    labeled = TensorDataset(images, torch.arange(7))
    torch.testing.assert_close(crops(labeled, patches), crops(images, patches))


@pytest.mark.parametrize("size", [(5, 7), (32, 32), (1, 9)])
def test_boxes_cover_the_image_to_its_border(size):
    height, width = size
    for scale in SCALES:
        covered = torch.zeros(size)
        for left, top, right, bottom in sliding_boxes(height, width, [scale]):
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
            covered[top:bottom, left:right] = 1
        assert covered.all()


def test_images_behind_a_loader_keep_their_indices(images):
    data = TensorDataset(images, torch.arange(7))
    order = [4, 2, 6]
    loader = DataLoader(data, batch_size=2, sampler=order)
    (patches,) = concept_patches(NET, "3", [1], loader, show_progress=False).values()
    (expected,) = found(images[order], [1]).values()
    assert [(p.image, p.box) for p in patches] == [(order[p.image], p.box) for p in expected]


class Counting(Dataset):
    """Images that note how many numbers all tensors hold, each time one of them is read."""

    def __init__(self, n_images):
        self.n_images = n_images
        self.held = []

    def __len__(self):
        return self.n_images

    def __getitem__(self, place):
        if place % 8 == 7:
            alive = [found for found in gc.get_objects() if type(found) is torch.Tensor]
            self.held.append(sum(tensor.numel() for tensor in alive))
        return torch.full((3, 16, 16), 1 / (1 + place))


def test_memory_does_not_grow_with_the_images():
    data = Counting(48)
    concept_patches(NET, "3", None, data, k=4, scales=[1, 0.5], batch_size=4, show_progress=False)
    assert len(data.held) == 6
    assert data.held[-1] < data.held[1] + 3 * 16 * 16  # not one image more


def test_the_model_is_left_as_it_was(images):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    concept_patches(model, "2", [0], TensorDataset(images), show_progress=False)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


class Stream(IterableDataset):
    def __iter__(self):
        yield from torch.rand(2, 3, 16, 16)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": [9]}, "`channels` to be between 0 and 4, but got 9"),
        ({"channels": []}, "`channels` to name at least one"),
        ({"channels": [1, 1]}, "each once"),
        ({"scales": (2.0,)}, "above 0 and up to 1"),
        ({"k": 0}, "`k` to be at least 1"),
        ({"data": TensorDataset(torch.rand(4, 3))}, "patches are crops of images"),
        ({"data": TensorDataset(torch.rand(0, 3, 16, 16))}, "at least one image"),
        ({"data": DataLoader(TensorDataset(torch.rand(4, 3, 16, 16)), shuffle=True)}, "shuffles"),
        ({"data": DataLoader(Stream())}, "pass its Dataset"),
        ({"data": TensorDataset(torch.full((2, 3, 16, 16), torch.nan))}, "NaN or infinity"),
    ],
)
def test_what_does_not_fit_is_refused(images, arguments, words):
    given = {"channels": [0], "data": TensorDataset(images), **arguments}
    with pytest.raises(ValueError, match=words):
        concept_patches(NET, "3", show_progress=False, **given)


def test_boxes_of_other_images_are_refused(images):
    with pytest.raises(ValueError, match="pass the `data` that they come from"):
        crops(images, [Patch(0, (0, 0, 32, 32), 1.0)])
    with pytest.raises(ValueError, match="without an image 99"):
        crops(images, [Patch(99, (0, 0, 8, 8), 1.0)])
