"""Nothing large waits for the garbage collector, which may not come for many batches."""

import gc

import pytest
import torch
from captum.attr import LayerGradientXActivation
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import FrequencyTaggingAttribution, FrequencyTunnel
from captum_ssvep.circuits import core_neurons, fidelity, neuron_interactions


def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(80, 2)).eval()


IMAGES = torch.rand(6, 3, 8, 8)
DATA = TensorDataset(IMAGES, torch.tensor([0, 1] * 3))


def class_of(model):
    return int(model(IMAGES)[0].argmax())


CALLS = {
    "spectrum": lambda model: FrequencyTaggingAttribution(model, "2").spectrum(IMAGES),
    "tag_layer": lambda model: FrequencyTaggingAttribution(model, "3").spectrum(
        IMAGES, tag_layer="0"
    ),
    "tunnel": lambda model: FrequencyTunnel(LayerGradientXActivation(model, model[2])).attribute(
        IMAGES, target=0
    ),
    "core_neurons": lambda model: core_neurons(model, [0, 1], "2", DATA, show_progress=False),
    "interactions": lambda model: neuron_interactions(model, 0, "2", DATA, show_progress=False),
    "fidelity": lambda model: fidelity(
        model, {"0": [0], "2": [1]}, DATA, class_of(model), n_random=1, show_progress=False
    ),
}


@pytest.mark.filterwarnings("ignore:The network calls all images:UserWarning")
@pytest.mark.parametrize("name", CALLS)
def test_no_tensor_is_left_in_a_cycle(name):
    model = network()
    CALLS[name](model)  # what is made once for all calls
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        CALLS[name](model)
        gc.collect()
        left = [tuple(item.shape) for item in gc.garbage if isinstance(item, torch.Tensor)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []
