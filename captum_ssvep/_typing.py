"""Types that several rooms share."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Inputs = Tensor | tuple[Tensor, ...]
Baselines = Tensor | float | tuple[Tensor | float, ...] | None
FeatureMask = Tensor | tuple[Tensor, ...] | None

ForwardFunction = Callable[..., Any]
# A module, or its name as in `model.named_modules()`.
Layer = nn.Module | str
