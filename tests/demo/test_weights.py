"""Weights are found in what people save, and what does not fit is said in a sentence."""

import pytest
import torch
from torch import nn

from captum_ssvep.demo.weights import load_weights


def network(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Linear(width, 2))


def prefixed(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


SAVED = {
    "a state dict": (lambda state: state, ""),
    "in a checkpoint": (lambda state: {"epoch": 90, "state_dict": state}, "'state_dict'"),
    "of DataParallel": (lambda state: prefixed("module.", state), "without 'module.'"),
    "compiled, in Lightning": (
        lambda state: {"model": prefixed("net._orig_mod.", state)},
        "'model', names without 'net._orig_mod.'",
    ),
    "beside others": (
        lambda state: {"optimizer": {"step": torch.zeros(1)}, "ema": state, "lr": 0.1},
        "'ema'",
    ),
    "without counts of batches": (
        lambda state: {k: v for k, v in state.items() if "num_batches" not in k},
        "",
    ),
}


@pytest.mark.parametrize("kind", SAVED)
def test_weights_are_those_that_were_saved(tmp_path, kind):
    saved_as, words = SAVED[kind]
    source, model = network(), network()
    torch.save(saved_as(source.state_dict()), tmp_path / "saved.pt")
    note = load_weights(model, tmp_path / "saved.pt")
    assert words in note
    assert bool(note) == bool(words)
    for name, tensor in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


MISFITS = {
    "other names": (
        lambda state: {"features.weight": torch.zeros(3)},
        "lacks 0.weight, 0.bias and 7 more and has unknown features.weight",
    ),
    "other shapes": (
        lambda state: network(5).state_dict(),
        r"another shape of 0.weight \(5 x 3 x 3 x 3 instead of 4 x 3 x 3 x 3\), 0.bias .* and 5",
    ),
    "one missing": (
        lambda state: {k: v for k, v in state.items() if k != "2.bias"},
        "lacks 2.bias;",
    ),
    "no tensors": (lambda state: {"epoch": 3, "lr": 0.1, "x": 2}, "of 'epoch', 'lr' and 1 more"),
    "nothing": (lambda state: {}, "holds an empty dictionary"),
    "a list": (lambda state: [1, 2], "holds a list"),
    "a tensor": (lambda state: torch.zeros(3), "holds a Tensor"),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_what_does_not_fit_is_said_in_one_sentence(tmp_path, kind):
    saved_as, words = MISFITS[kind]
    path = tmp_path / "saved.pt"
    torch.save(saved_as(network().state_dict()), path)
    with pytest.raises(ValueError, match=words) as caught:
        load_weights(network(), path)
    assert str(caught.value).startswith("Expected --weights to ")
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_files_that_torch_did_not_save_are_refused(tmp_path):
    torch.save(network(), tmp_path / "model.pt")
    for name, content in (("empty.pt", b""), ("words.pt", b"words"), ("cut.pt", None)):
        cut = (tmp_path / "model.pt").read_bytes()[:500]
        (tmp_path / name).write_bytes(cut if content is None else content)
    for name in ("model.pt", "empty.pt", "words.pt", "cut.pt"):
        with pytest.raises(ValueError, match=f"saved by torch.save, but .*{name} is not; save"):
            load_weights(network(), tmp_path / name)
    for path in (tmp_path, tmp_path / "absent.pt"):
        with pytest.raises(ValueError, match=f"{path} cannot be read"):
            load_weights(network(), path)
