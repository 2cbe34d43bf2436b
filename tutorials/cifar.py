"""The CIFAR-10 ResNets of He et al. (2016), their trained weights and the images.

Weights and images come from the folder that the environment variable ``CAPTUM_SSVEP_DATA`` names.
Without that variable they are downloaded.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.datasets import CIFAR10

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
# github.com/akamaster/pytorch_resnet_cifar10, BSD-2-Clause.
WEIGHTS_URL = "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models/"
WEIGHTS_FILES = {20: "resnet20-12fca82f.th", 32: "resnet32-d509ac18.th"}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; the shortcut subsamples and pads channels with zeros (option A)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.stride = stride
        self.padding = (channels - in_channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        shortcut = F.pad(shortcut, (0, 0, 0, 0, self.padding, self.padding))
        return self.relu2(out + shortcut)


class CifarResNet(nn.Module):
    """Residual network of ``depth = 6 n + 2`` layers for 32 x 32 images."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        n_blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        widths = (16, 16, 32, 64)
        for stage in (1, 2, 3):
            blocks = [
                BasicBlock(
                    widths[stage - 1] if block == 0 else widths[stage],
                    widths[stage],
                    stride=2 if block == 0 and stage > 1 else 1,
                )
                for block in range(n_blocks)
            ]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.linear(out.mean(dim=(2, 3)))


def load_resnet(depth: int = 32) -> CifarResNet:
    """ResNet-20 or ResNet-32 trained on CIFAR-10, in eval mode."""
    folder = os.environ.get("CAPTUM_SSVEP_DATA")
    if folder:
        path = Path(folder) / f"resnet{depth}_cifar10.pt"
        state = torch.load(path, map_location="cpu", weights_only=True)
    else:
        url = WEIGHTS_URL + WEIGHTS_FILES[depth]
        checkpoint = torch.hub.load_state_dict_from_url(url, map_location="cpu", weights_only=True)
        state = {
            name.removeprefix("module."): value for name, value in checkpoint["state_dict"].items()
        }
    model = CifarResNet(depth)
    model.load_state_dict(state)
    return model.eval()


def load_test_images(n_images: int = 500) -> tuple[Tensor, Tensor]:
    """The first test images of CIFAR-10, normalized ``(n, 3, 32, 32)``, and their labels."""
    return _load_images("cifar10_test_500.npz", n_images, train=False)


def load_training_images(n_images: int = 3000) -> tuple[Tensor, Tensor]:
    """Training images of CIFAR-10, as `load_test_images`."""
    return _load_images("cifar10_train_3000.npz", n_images, train=True)


def _load_images(file_name: str, n_images: int, train: bool) -> tuple[Tensor, Tensor]:
    folder = os.environ.get("CAPTUM_SSVEP_DATA")
    if folder:
        with np.load(Path(folder) / file_name, allow_pickle=False) as arrays:
            images, labels = arrays["images"][:n_images], arrays["labels"][:n_images]
    else:
        data = CIFAR10(Path.home() / ".cache" / "cifar10", train=train, download=True)
        images, labels = data.data[:n_images], np.array(data.targets[:n_images])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std, torch.from_numpy(labels).long()
