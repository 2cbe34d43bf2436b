"""The running statistics of BatchNorms, estimated anew."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from tqdm.auto import tqdm

from .._checks import network
from .._compat import BatchNorm
from ..scores.batches import Data, as_loader, batches_of, device_of


@torch.no_grad()
def recalibrate(
    model: nn.Module,
    data: Data,
    *,
    batch_size: int = 100,
    num_workers: int = 0,
    show_progress: bool = True,
) -> None:
    """Estimate the mean and variance that BatchNorms have stored anew.

    Without some filters, later layers get other activations than those that the stored statistics
    describe. Labels are not needed and no weight changes. The new statistics are the means over
    batches, weighted by their images.

    Args:
        model (Module): The model. Only the running statistics of its BatchNorms change; dropout
            is off meanwhile, and train flags are restored.
        data (Dataset or DataLoader): Training images, with labels or without.
        batch_size (int, optional): Images in a batch of a Dataset. Default: 100
        num_workers (int, optional): Processes that load the images of a Dataset. Default: 0
        show_progress (bool, optional): Progress bar over batches. Default: True

    Raises:
        ValueError: If the model has no BatchNorm with running statistics, or the data are empty or
            hold a batch of a single image.
        TypeError: If an argument is of the wrong type.

    Examples::

        >>> from torch.utils.data import TensorDataset
        >>> model = nn.Sequential(nn.BatchNorm1d(1)).eval()
        >>> images = TensorDataset(torch.tensor([[1.0], [3.0]]))
        >>> recalibrate(model, images, show_progress=False)
        >>> model[0].running_mean, model[0].running_var, model.training
        (tensor([2.]), tensor([2.]), False)
    """
    norms = [
        module
        for module in network(model).modules()
        if isinstance(module, BatchNorm) and module.running_mean is not None
    ]
    if not norms:
        raise ValueError(
            "Expected a `model` with BatchNorms that hold running statistics, but it has none; "
            "without them nothing has to be recalibrated"
        )
    batches = batches_of(as_loader(data, batch_size, num_workers), device_of(model))
    with _estimating(model, norms):
        n_images = 0
        for batch in tqdm(batches, desc="recalibration", disable=not show_progress):
            if len(batch) == 1:
                raise ValueError(
                    "Expected `data` in batches of several images, which have a variance, but got "
                    "one of a single image; choose a `batch_size` that leaves none over"
                )
            n_images += len(batch)
            for norm in norms:
                norm.momentum = len(batch) / n_images
            model(*batch.tensors)
        if not n_images:
            raise ValueError("Expected `data` to hold at least one image, but got none")


@contextmanager
def _estimating(model: nn.Module, norms: list[BatchNorm]) -> Iterator[None]:
    """Let BatchNorms average over batches from now on, and everything else run as in eval mode.

    After an error, the old statistics are back.
    """
    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(setattr, module, "training", module.training)
        before = [{name: value.clone() for name, value in norm.named_buffers()} for norm in norms]
        model.eval()
        for norm in norms:
            stack.callback(setattr, norm, "momentum", norm.momentum)
            norm.reset_running_stats()
            norm.train()
        try:
            yield
        except BaseException:
            for norm, values in zip(norms, before, strict=True):
                for name, buffer in norm.named_buffers():
                    buffer.copy_(values[name])
            raise
