"""Shared fixtures."""

import os
import random
from pathlib import Path

import cifar
import numpy as np
import pytest
import torch
import torchvision
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")


@pytest.fixture(autouse=True)
def fixed_seed():
    """Every test starts from the same random state, whatever ran before."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # third-party code draws from the global generator
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def one_thread():
    """On a busy machine threads wait for each other: for small networks they cost, not save."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def cifar_images():
    """The first twenty CIFAR-10 test images, normalised."""
    if not os.environ.get("CAPTUM_SSVEP_DATA"):
        pytest.skip("CAPTUM_SSVEP_DATA is not set: no CIFAR-10 images")
    return cifar.load_test_images(20)[0]


@pytest.fixture(scope="session")
def resnet32():
    """ResNet-32 with its trained CIFAR-10 weights."""
    if not os.environ.get("CAPTUM_SSVEP_DATA"):
        pytest.skip("CAPTUM_SSVEP_DATA is not set: no ResNet-32 weights")
    return cifar.load_resnet(32)


@pytest.fixture
def resnet18_weights(tmp_path, monkeypatch):
    """A local file where torchvision keeps ResNet-18's downloaded weights, so that it loads them.

    Untrained ones, as nothing is downloaded in tests.
    """
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    checkpoints = tmp_path / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    path = checkpoints / Path(weights.url).name
    torch.save(torchvision.models.resnet18().state_dict(), path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return path
