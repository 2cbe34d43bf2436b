"""How often networks with ImageNet weights name photographs of known classes.

EfficientNet-Lite0 with its own normalization and with the one of torchvision's networks, and
SqueezeNet 1.1, on the folder ``photos`` that ``CAPTUM_SSVEP_DATA`` names: one folder per class,
whose name starts with the class's index. The error is the standard error of a share. Half a minute.

    CAPTUM_SSVEP_DATA=... python benchmarks/photographs.py
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.datasets import ImageFolder
from torchvision.models import EfficientNet_B0_Weights, SqueezeNet1_1_Weights, squeezenet1_1

sys.path.append(str(Path(__file__).parents[1] / "tutorials"))
from efficientnet import load_efficientnet_lite0


def load_squeezenet(folder: Path) -> nn.Module:
    """SqueezeNet 1.1 in eval mode."""
    model = squeezenet1_1()
    weights = torch.load(folder / "squeezenet1_1_imagenet.pt", weights_only=True)
    model.load_state_dict(weights)
    return model.eval()


@torch.inference_mode()
def are_right(model: nn.Module, preprocess: nn.Module, folder: Path) -> Tensor:
    """Which photographs the network names, shape ``(photographs,)``."""
    data = ImageFolder(folder / "photos", transform=preprocess)
    answers = torch.stack([model(image[None])[0].argmax() for image, _ in data])
    return answers == torch.tensor([int(data.classes[place][:3]) for place in data.targets])


def main() -> None:
    """Print the table."""
    folder = Path(os.environ["CAPTUM_SSVEP_DATA"])
    efficientnet, own = load_efficientnet_lite0()
    squeezenet_weights = SqueezeNet1_1_Weights.IMAGENET1K_V1
    # Those of B0 are resized and cut in the same way, but normalized by ImageNet's statistics.
    cases = {
        "EfficientNet-Lite0, its own normalization": (efficientnet, own),
        "EfficientNet-Lite0, ImageNet's": (
            efficientnet,
            EfficientNet_B0_Weights.IMAGENET1K_V1.transforms(),
        ),
        "SqueezeNet 1.1, ImageNet's": (load_squeezenet(folder), squeezenet_weights.transforms()),
    }
    for name, (model, preprocess) in cases.items():
        right = are_right(model, preprocess, folder).double()
        error = right.std() / len(right) ** 0.5
        print(f"{name:<42} {right.mean():.1%} of {len(right)}, standard error {error:.1%}")


if __name__ == "__main__":
    main()
