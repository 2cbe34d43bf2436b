import functools
from collections import OrderedDict

import pytest
import torch
from torch import nn

from captum_ssvep.model.recorder import LayerRecorder

IMAGES = torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def record(recorder, inputs):
    recorder.record((inputs,), (), lambda index, tensors: None)


def n_hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_a_model_in_train_mode_warns_and_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    with pytest.warns(UserWarning, match=r"train mode.*model\.eval"):  # noqa: SIM117
        with LayerRecorder(model, ["2"]) as recorder:
            record(recorder, IMAGES)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(random_state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("trains", "words"),
    [
        ([1], "^The module 'norm' is in train mode"),
        ([1, 3], "^The modules 'norm', 'drop' are in train mode"),
        ([0, 1, 2, 3, 4], "^The modules 'conv', 'norm', 'relu' and 2 more are in train mode"),
    ],
)
def test_modules_in_train_mode_are_named(trains, words):
    parts = {
        "conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "relu": nn.ReLU(),
        "drop": nn.Dropout(0.5), "last": nn.ReLU(),
    }  # fmt: skip
    model = nn.Sequential(OrderedDict(parts)).eval()
    for place in trains:
        model[place].train()
    with pytest.warns(UserWarning, match=words):  # noqa: SIM117
        with LayerRecorder(model, ["last"]) as recorder:
            record(recorder, IMAGES)


def test_functions_around_a_model_are_looked_into():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).train()
    model[2].eval()
    with pytest.warns(UserWarning, match="train mode"):  # noqa: SIM117
        with LayerRecorder(lambda x: model(x)[0], [model[2]]) as recorder:
            record(recorder, IMAGES)
    assert model[1].num_batches_tracked == 0


@pytest.mark.parametrize("kind", ["function", "partial", "object", "helper"])
def test_state_is_kept_however_the_model_is_called(kind):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).train()

    class Runner:
        def __init__(self):
            self.parts = {"model": model}

        def run(self, x):
            return self.parts["model"](x)

        __call__ = run

    runner = Runner()
    forward = {
        "function": lambda x: model(x),
        "partial": functools.partial(lambda m, x: m(x), model),
        "object": runner,
        "helper": lambda x: runner.run(x),
    }[kind]
    with pytest.warns(UserWarning, match="train mode"):  # noqa: SIM117
        with LayerRecorder(forward, [model[2]]) as recorder:
            record(recorder, IMAGES)
    assert model[1].num_batches_tracked == 0


class Caching(nn.Module):
    """Fills one buffer and replaces another in the forward pass."""

    def __init__(self):
        super().__init__()
        self.register_buffer("filled", None)
        self.register_buffer("replaced", torch.zeros(1))

    def forward(self, x):
        self.filled = x.mean()
        self.replaced = self.replaced + 1
        return x


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_buffers_are_put_back_on_every_path(error):
    model = nn.Sequential(Caching(), nn.ReLU()).eval()
    replaced = model[0].replaced

    def interrupt(index, tensors):
        if error:
            raise error

    def run():
        with LayerRecorder(model, ["1"]) as recorder:
            recorder.record((IMAGES,), (), interrupt)

    if error:
        with pytest.raises(error):
            run()
    else:
        run()
    assert model[0].filled is None
    assert model[0].replaced is replaced
    assert replaced.item() == 0
    assert n_hooks(model) == 0


def test_a_graph_that_saved_buffers_survives():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    loss = model(IMAGES).sum()
    with LayerRecorder(model, ["1"]) as recorder:
        record(recorder, IMAGES)
    loss.backward()
    assert model[0].weight.grad is not None
