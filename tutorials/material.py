"""The notebooks' material: a trained network, images for it, and where both come from.

Trained CIFAR-10 weights and images come from the folder that ``CAPTUM_SSVEP_DATA`` names. Without
that variable they are downloaded, and without internet the handwritten digits of the package are
used instead. Every notebook runs on both networks: both take 32 x 32 images and have three stages
with the same names.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import cifar
import torch
import torchvision
from torch import Tensor, nn
from train_digits import split_digits

from captum_ssvep import black
from captum_ssvep.demo import digits

# Raised without internet, or if a server sends something other than the file.
UNREACHABLE = (OSError, HTTPException, UnpicklingError)


class Material(NamedTuple):
    """A network in eval mode, its images, and what black looks like to it."""

    source: str
    model: nn.Module
    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def dark(self) -> Tensor:
        """Black, normalized like the images: the `baselines` of every call."""
        return black(self.mean, self.std)


@contextlib.contextmanager
def quiet_downloads() -> Iterator[None]:
    """Hide what downloads print, such as folders, from the notebooks' outputs."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def load(n_images: int = 100, depth: int = 32) -> Material:
    """A CIFAR-10 ResNet and ``n_images`` test images, or the package's digits."""
    try:
        with quiet_downloads():
            model = cifar.load_resnet(depth)
            images, labels = cifar.load_test_images(n_images)
    except UNREACHABLE as error:
        if os.environ.get("CAPTUM_SSVEP_DATA"):
            raise  # a mistyped folder should not lead to other images
        print(f"No CIFAR-10 here ({type(error).__name__}): the embedded digits stand in.")
        pixels, labels = digits.load_test_set()
        images = digits.preprocess(pixels[:n_images])
        names = tuple(str(digit) for digit in range(10))
        source = "digits network of the package, its held-out digits"
        return Material(
            source, digits.load_network(), images, labels[:n_images], names, (0.0,), (1.0,)
        )
    source = f"ResNet-{depth} trained on CIFAR-10, its test images"
    return Material(source, model, images, labels, cifar.CLASS_NAMES, cifar.MEAN, cifar.STD)


def load_training_images(n_images: int) -> tuple[Tensor, Tensor]:
    """Training images of the network that `load` gives, and their labels."""
    try:
        with quiet_downloads():
            return cifar.load_training_images(n_images)
    except UNREACHABLE:
        if os.environ.get("CAPTUM_SSVEP_DATA"):
            raise
        (pixels, labels), _ = split_digits()
        return digits.preprocess(pixels[:n_images]), torch.from_numpy(labels[:n_images])


def load_torchvision(name: str) -> tuple[nn.Module, nn.Module, str]:
    """A torchvision classifier in eval mode, its preprocessing, and where its weights come from."""
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        with quiet_downloads():
            model, source = torchvision.models.get_model(name, weights=weights), "trained"
    except UNREACHABLE as error:
        print(f"No weights here ({type(error).__name__}): {name} stays untrained.")
        torch.manual_seed(0)
        model, source = torchvision.models.get_model(name), "untrained, as no weights were found"
    return model.eval(), weights.transforms(), source


def load_photographs(n_images: int = 50) -> Material:
    """SqueezeNet 1.1 trained on ImageNet, and photographs of different classes.

    Both are in the folder that ``CAPTUM_SSVEP_DATA`` names, or the weights are downloaded and crops
    of scikit-learn's two sample photographs stand in, without labels.
    """
    categories = tuple(torchvision.models.SqueezeNet1_1_Weights.DEFAULT.meta["categories"])
    folder = Path(os.environ.get("CAPTUM_SSVEP_DATA", ""))
    weights, photographs = folder / "squeezenet1_1_imagenet.pt", folder / "photos"
    if weights.is_file() and photographs.is_dir():
        model = torchvision.models.squeezenet1_1().eval()
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        preprocess = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.transforms()
        data = torchvision.datasets.ImageFolder(photographs, transform=preprocess)
        every = max(len(data) // n_images, 1)  # folders are in the order of the classes
        images = torch.stack([data[i * every][0] for i in range(n_images)])
        classes = [int(data.classes[data.targets[i * every]][:3]) for i in range(n_images)]
        labels, source = torch.tensor(classes), "trained SqueezeNet 1.1, photographs of ImageNet"
    else:
        from sklearn.datasets import load_sample_images

        model, preprocess, trained = load_torchvision("squeezenet1_1")
        generator = torch.Generator().manual_seed(0)
        pictures = [torch.tensor(p).permute(2, 0, 1) for p in load_sample_images().images]
        crops = []
        for i in range(n_images):
            picture = pictures[i % len(pictures)]
            top, left = (
                int(torch.randint(n - 223, (), generator=generator)) for n in picture.shape[1:]
            )
            crop = picture[:, top : top + 224, left : left + 224].float() / 255
            crops.append(
                torchvision.transforms.functional.normalize(crop, preprocess.mean, preprocess.std)
            )
        images, labels = torch.stack(crops), torch.full([n_images], -1)
        source = f"SqueezeNet 1.1 ({trained}), crops of scikit-learn's sample photographs"
    mean, std = tuple(preprocess.mean), tuple(preprocess.std)
    return Material(source, model, images, labels, categories, mean, std)
