"""The mean activation of a layer over a data set."""

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .._checks import shown
from .._typing import ForwardFunction, Layer
from ..model.arguments import format_forward_args
from ..model.layers import root_module
from ..model.recorder import LayerRecorder
from .batches import Data, as_loader, batches_of, device_of


@torch.no_grad()
def layer_mean(
    model: ForwardFunction,
    layer: Layer,
    data: Data,
    *,
    additional_forward_args: object = None,
    batch_size: int = 32,
    num_workers: int = 0,
    show_progress: bool = True,
) -> Tensor:
    """What a layer returns on average: zero contrast for parts that lie inside a network.

    A channel without contrast is then an ordinary one, and not silent. Pass it as ``baselines``
    along with ``tag_layer``. For the mean of each channel over space as well, take
    ``mean.mean((2, 3), keepdim=True)``.

    Args:
        model (Module): The model, in eval mode, or a function that runs it.
        layer (Module or str): The layer, or its name. It returns one tensor, examples first.
        data (Dataset or DataLoader): Tensors, or (input, label) pairs.
        additional_forward_args (Any, optional): Further arguments of the forward function, the
            same for all images. Default: None
        batch_size (int, optional): Images in a batch of a Dataset. Default: 32
        num_workers (int, optional): Processes that load the images of a Dataset. Default: 0
        show_progress (bool, optional): Progress bar over batches. Default: True

    Returns:
        Tensor: Mean over images, shape ``(1, *neuron)``, in the type and on the device of the
        activations.

    Raises:
        ValueError: If the layer is not in the model, its shape differs between images, it returns
            several tensors or what is not finite, or the data are empty.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> from torch import nn
        >>> from torch.utils.data import TensorDataset
        >>> data = TensorDataset(torch.tensor([[-1.0, 2.0], [3.0, 4.0]]))
        >>> model = nn.Sequential(nn.ReLU(), nn.Linear(2, 1)).eval()
        >>> layer_mean(model, "0", data, show_progress=False)
        tensor([[1.5000, 3.0000]])
    """
    root = root_module(model)
    if isinstance(layer, (list, tuple)):
        raise TypeError(f"Expected `layer` to be a single one, but got {shown(layer)}; pick one")
    forward_args = format_forward_args(additional_forward_args)
    loader = as_loader(data, batch_size, num_workers)
    sums: list[Tensor] = []
    n_images = 0

    def receive(index: int, tensors: tuple[Tensor | None, ...]) -> None:
        held = [tensor for tensor in tensors if tensor is not None]
        shapes = [tuple(tensor.shape[1:]) for tensor in held]
        if len(held) != 1 or (sums and sums[0].shape != held[0].shape[1:]):
            expected = f"shape {tuple(sums[0].shape)} as before" if sums else "one tensor"
            raise ValueError(
                f"Expected `layer` to return {expected} for every image, but got {shapes}; give "
                "images of one size, and choose a layer with one output"
            )
        # In double precision, where the device has it.
        wide = torch.float32 if held[0].device.type == "mps" else torch.float64
        added = held[0].sum(dim=0, dtype=wide)
        sums[:] = [sums[0] + added if sums else added]
        dtypes.add(held[0].dtype)

    dtypes: set[torch.dtype] = set()
    with LayerRecorder(model, [layer]) as recorder:
        for batch in tqdm(
            batches_of(loader, device_of(root)), desc="mean", disable=not show_progress
        ):
            recorder.record(batch.tensors, forward_args, receive)
            n_images += len(batch)
    if not sums:
        raise ValueError("Expected `data` to hold at least one image, but got none")
    if not sums[0].isfinite().all():
        raise ValueError(
            "Expected `data` for which the layer is finite, but its mean holds NaN or infinity; "
            "leave out the images that cause them"
        )
    return (sums[0] / n_images)[None].to(dtypes.pop())
