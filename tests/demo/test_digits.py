from importlib import resources

import numpy as np
import pytest
import torch
from torch import nn

from captum_ssvep.demo import digits

DATA = resources.files("captum_ssvep.demo") / "data"


@pytest.fixture(scope="module")
def network():
    return digits.load_network()


@pytest.fixture(scope="module")
def test_set():
    return digits.load_test_set()


def test_network_and_weights_are_small():
    assert sum(p.numel() for p in digits.DigitsResNet().parameters()) <= 100_000
    assert len((DATA / digits.WEIGHTS_FILE).read_bytes()) <= 500_000
    assert len((DATA / digits.TEST_SET_FILE).read_bytes()) <= 50_000


def test_weights_load_without_pickled_code():
    with (DATA / digits.WEIGHTS_FILE).open("rb") as file:
        state = torch.load(file, weights_only=True)
    assert {v.dtype for v in state.values()} == {torch.float32, torch.int64}  # BN counts batches
    assert all(v.isfinite().all() for v in state.values())


def test_network_is_in_eval_mode_with_torchvision_names(network):
    assert not any(module.training for module in network.modules())
    names = [name for name, _ in network.named_children()]
    assert names == ["conv1", "bn1", "relu", "layer1", "layer2", "layer3", "avgpool", "fc"]


def test_every_module_runs_once_per_forward_and_no_relu_in_place(network):
    calls = {name: 0 for name, module in network.named_modules() if name}
    handles = [
        module.register_forward_hook(lambda *_, name=name: calls.__setitem__(name, calls[name] + 1))
        for name, module in network.named_modules()
        if name
    ]
    network(torch.zeros(1, 1, 32, 32))
    for handle in handles:
        handle.remove()
    assert set(calls.values()) == {1}
    assert not any(m.inplace for m in network.modules() if isinstance(m, nn.ReLU))


def test_accuracy_on_the_held_out_digits(network, test_set):
    images, labels = test_set
    measured = digits.accuracy(network, images, labels)
    assert measured >= 0.97
    # A share of right answers: with every label moved on by one, the right ones become wrong.
    assert digits.accuracy(network, images, (labels + 1) % 10) <= 1 - measured


def test_examples_are_read_correctly_and_have_ink_on_both_sides(network):
    images, labels = digits.example_images()
    assert images.shape == (2, 1, 32, 32)
    assert labels.tolist() == [3, 8]
    probabilities = network(images).softmax(dim=1)
    assert probabilities.argmax(dim=1).equal(labels)
    assert probabilities.amax(dim=1).min() > 0.9
    left_share = images[..., :16].sum(dim=(1, 2, 3)) / images.sum(dim=(1, 2, 3))
    assert left_share.tolist() == pytest.approx([0.45, 0.50], abs=0.02)


def test_preprocess_enlarges_and_keeps_black_at_zero(test_set):
    images, _ = test_set
    inputs = digits.preprocess(images)
    assert inputs.shape == (360, 1, 32, 32)
    assert inputs.dtype == torch.float32
    assert inputs.min() == 0
    assert inputs.max() == 1
    assert digits.preprocess(torch.zeros_like(images[:1])).count_nonzero() == 0
    # Column i lies at (i + 0.5) / 4 - 0.5 of the small image; a ramp is enlarged without error.
    ramp = torch.arange(8.0).expand(1, 8, 8)
    middle = digits.preprocess(ramp)[0, 0, 16, 2:-2]
    assert middle.tolist() == pytest.approx((np.arange(28) / 4 + 0.125) / 16)


def test_preprocess_takes_arrays_and_tensors_alike(test_set):
    images = test_set[0][:5]
    from_array = digits.preprocess(images.numpy().astype(np.float64))
    assert from_array.equal(digits.preprocess(images))


@pytest.mark.parametrize("shape", [(8, 8), (1, 1, 8, 8), (1, 28, 28), (1, 64)])
def test_preprocess_rejects_other_shapes(shape):
    with pytest.raises(ValueError, match=r"Expected `images` of shape \(N, 8, 8\)"):
        digits.preprocess(np.zeros(shape))


def test_shipped_test_set_is_the_split_of_the_script(test_set):
    pytest.importorskip("sklearn")
    import train_digits

    (train_images, train_labels), (test_images, test_labels) = train_digits.split_digits()
    images, labels = test_set
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    np.testing.assert_array_equal(images.numpy(), test_images)
    np.testing.assert_array_equal(labels.numpy(), test_labels)
    assert len(train_images) == len(train_labels) == 1797 - 360
    seen = {image.tobytes() for image in train_images}
    assert not any(image.tobytes() in seen for image in test_images)


def test_shift_moves_each_image_by_its_own_offset_and_fills_with_black():
    pytest.importorskip("sklearn")
    import train_digits

    images = torch.zeros(200, 1, 32, 32)
    images[:, :, 16, 16] = 1
    moved = train_digits.shifted(images, 3, torch.Generator().manual_seed(0))
    _, _, rows, columns = moved.nonzero(as_tuple=True)
    assert moved.shape == images.shape
    assert len(rows) == 200
    assert set(rows.tolist()) == set(columns.tolist()) == set(range(13, 20))
    edge = train_digits.shifted(torch.ones(50, 1, 32, 32), 3, torch.Generator().manual_seed(0))
    assert edge.min() == 0
