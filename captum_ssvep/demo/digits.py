"""The demo's network: a small residual network that reads handwritten digits.

It runs without a download, since its weights and its test images are part of the package. The
images are a held-out fifth of scikit-learn's ``load_digits``, which is a copy of the test set of
"Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning
Repository, https://doi.org/10.24432/C50P49), license CC BY 4.0; unchanged except for the split and
the storage as bytes. ``tutorials/train_digits.py`` makes both files again.
"""

import io
from importlib import resources
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

WEIGHTS_FILE = "digits_resnet.pt"
TEST_SET_FILE = "digits_test.npz"

# A 3 and an 8 of the test set with ink on both sides, 45 % and 50 % of it in the left half: the
# network can only combine the halves if both show something.
EXAMPLES = [143, 26]

_DATA = resources.files("captum_ssvep.demo") / "data"


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut around them (He et al. 2016), named as in torchvision.

    Args:
        in_channels (int): Channels of the input.
        channels (int): Channels of the output.
        stride (int, optional): Stride of the first convolution and the shortcut. Default: 1
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        # Not the first ReLU again, so that every layer can be tagged by its own name.
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Shape ``(N, in_channels, H, W)`` to ``(N, channels, H / stride, W / stride)``."""
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu2(inner + self.downsample(x))
        return out


class DigitsResNet(nn.Module):
    """Residual network of three one-block stages for digits, with torchvision's layer names.

    Examples::

        >>> DigitsResNet()(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = nn.Sequential(BasicBlock(16, 16))
        self.layer2 = nn.Sequential(BasicBlock(16, 32, stride=2))
        self.layer3 = nn.Sequential(BasicBlock(32, 48, stride=2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images from `preprocess`, shape ``(N, 1, 32, 32)``, to logits ``(N, 10)``."""
        features = self.relu(self.bn1(self.conv1(x)))
        features = self.layer3(self.layer2(self.layer1(features)))
        logits: Tensor = self.fc(self.avgpool(features).flatten(1))
        return logits


def load_network() -> DigitsResNet:
    """The trained network, on the CPU and in eval mode.

    Examples::

        >>> images, labels = example_images()
        >>> load_network()(images).argmax(dim=1).tolist()
        [3, 8]
    """
    network = DigitsResNet()
    weights = io.BytesIO((_DATA / WEIGHTS_FILE).read_bytes())
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


def load_test_set() -> tuple[Tensor, Tensor]:
    """The digits that training did not use, by the same 13 people as those it did use.

    Returns:
        tuple[Tensor, Tensor]: Images, uint8 from 0 to 16, shape ``(360, 8, 8)``, and labels, int64,
        shape ``(360,)``.
    """
    arrays = np.load(io.BytesIO((_DATA / TEST_SET_FILE).read_bytes()), allow_pickle=False)
    return torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])


def preprocess(images: NDArray[Any] | Tensor) -> Tensor:
    """Enlarge digits to the network's input.

    No mean is subtracted: black stays 0, so that Captum's default baseline of 0 is zero contrast.

    Args:
        images (ndarray or Tensor): Values from 0 to 16, shape ``(N, 8, 8)``.

    Returns:
        Tensor: Values from 0 to 1, shape ``(N, 1, 32, 32)``.

    Raises:
        ValueError: If the images have another shape.

    Examples::

        >>> preprocess(torch.full((1, 8, 8), 16)).unique()
        tensor([1.])
    """
    digits = torch.as_tensor(images)
    if digits.dim() != 3 or digits.shape[1:] != (8, 8):
        raise ValueError(
            f"Expected `images` of shape (N, 8, 8), like scikit-learn's `load_digits().images`, "
            f"but got shape {tuple(digits.shape)}"
        )
    unit = digits[:, None].float() / 16
    return F.interpolate(unit, scale_factor=4, mode="bilinear", align_corners=False)


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of digits that a network reads correctly.

    Args:
        network (Module): In eval mode; takes what `preprocess` gives.
        images (Tensor): As from `load_test_set`.
        labels (Tensor): The digits' values.

    Returns:
        float: From 0 to 1.
    """
    guesses = network(preprocess(images)).argmax(dim=1)
    return float((guesses == labels).double().mean())


def example_images() -> tuple[Tensor, Tensor]:
    """The two digits that the demo shows, a 3 and an 8.

    Returns:
        tuple[Tensor, Tensor]: Preprocessed images, shape ``(2, 1, 32, 32)``, and labels.

    Examples::

        >>> images, labels = example_images()
        >>> labels.tolist()
        [3, 8]
    """
    images, labels = load_test_set()
    return preprocess(images[EXAMPLES]), labels[EXAMPLES]
