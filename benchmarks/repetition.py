"""How far equal frames get different answers: honest networks, and those that tagging cannot read.

The first frame of a 5 x 5 grid is shown again at its end. For each network, the largest difference
of the two answers in about 8 layers is given in rounding floors of the layer (see `Repetition`).
Weights are random, the image is noise.

    pip install timm
    python benchmarks/repetition.py [honest] [half] [faults] [cost]
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence

import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from captum_ssvep import ChebyshevGrid, FrequencyTaggingAttribution
from captum_ssvep.model.recorder import Recording
from captum_ssvep.spectrum.repetition import Company, Repetition

TORCHVISION = (
    *("alexnet", "vgg11_bn", "resnet18", "resnet50"),
    *("resnext50_32x4d", "wide_resnet50_2", "densenet121", "googlenet"),
    *("inception_v3", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small"),
    *("mnasnet0_5", "shufflenet_v2_x0_5", "efficientnet_b0", "regnet_y_400mf"),
    *("convnext_tiny", "vit_b_32", "swin_t", "swin_v2_t"),
    *("maxvit_t",),
)
TIMM = (
    *("deit_tiny_patch16_224", "mixer_s32_224", "gmlp_ti16_224", "poolformer_s12"),
    *("cait_xxs24_224", "xcit_nano_12_p16_224", "levit_128s", "crossvit_tiny_240"),
    *("coat_tiny", "efficientformer_l1", "edgenext_xx_small", "nfnet_f0"),
    *("repvgg_a0", "hrnet_w18_small", "ghostnet_100", "mobilevit_xxs"),
    *("pvt_v2_b0", "twins_pcpvt_small"),
)
IN_HALF = ["resnet18", "mobilenet_v3_small", "convnext_tiny", "vit_b_32", "swin_t"]


class Measured(Repetition):
    """Keeps what it would judge."""

    def judge(
        self,
        recording: Recording,
        differences: Sequence[float],
        limits: Sequence[float],
        company: Company,
    ) -> None:
        self.largest, self.limit = max(zip(differences, limits, strict=True))
        self.drew = any(recording.drew)


class Never(Repetition):
    """Repeats no frame."""

    def is_due(self, n_frames: int, n_examples: int) -> bool:
        return False


def measure(model: Callable[..., Tensor], layers: list[nn.Module], image: Tensor) -> Measured:
    tagging = FrequencyTaggingAttribution(model, layers)
    tagging.repetition = measured = Measured()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tagging.spectrum(image, design=ChebyshevGrid(), components="fundamentals")
    return measured


def spread_layers(model: nn.Module, image: Tensor, n: int = 8) -> list[nn.Module]:
    """About ``n`` modules that return one floating tensor with the batch in front."""
    seen: list[nn.Module] = []

    def note(module: nn.Module, args: object, output: object) -> None:
        fits = isinstance(output, Tensor) and output.is_floating_point() and output.dim() > 1
        if fits and len(output) == 3 and module not in seen:
            seen.append(module)

    image = image.expand(3, -1, -1, -1)  # a table of positions has one row as well
    handles = [module.register_forward_hook(note) for module in model.modules()]
    with torch.no_grad():
        model(image)
    for handle in handles:
        handle.remove()
    return list(dict.fromkeys([*seen[:: max(1, len(seen) // n)], seen[-1]]))


def build(name: str, size: int = 224) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    if name in TORCHVISION:
        extra: dict[str, object] = {}
        if name in ("googlenet", "inception_v3"):
            extra, size = {"init_weights": False}, 299
        if name == "vit_b_32":
            extra = {"image_size": size}
        model = torchvision.models.get_model(name, weights=None, **extra)
    else:
        model = timm.create_model(name, pretrained=False)
        size = model.default_cfg["input_size"][-1]
    return model.eval(), torch.rand(1, 3, size, size)


def show(name: str, kind: str, measured: Measured) -> None:
    verdict = "warns" if measured.drew or measured.largest > measured.limit else "passes"
    print(
        f"{name:32s} {kind:16s} {measured.largest:14,.2f} {measured.limit:8,.0f}  {verdict}",
        flush=True,
    )


class Dropout(nn.Module):
    """As a functional one that ignores the mode."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5)


class BatchStatistics(nn.Module):
    """As a BatchNorm without running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)) / (x.std(0, correction=0) + 1e-3)


class MinibatchDeviation(nn.Module):
    """As the last block of a GAN's discriminator."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x.std(0, correction=0).mean()


class Capacity(nn.Module):
    """Passes on the first four rows, as an expert that is full."""

    def forward(self, x: Tensor) -> Tensor:
        served = torch.arange(len(x)) < 4
        return x * served.reshape(-1, *[1] * (x.dim() - 1))


class Graph(nn.Module):
    """Rows are nodes; each also gets what the one before it holds."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.zeros_like(x).index_add(0, torch.tensor([1, 0]), x[:2])


class Memory(nn.Module):
    """Leaky integrator with its state in a plain attribute."""

    state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.state is None or self.state.shape != x.shape:
            self.state = torch.zeros_like(x)
        self.state = 0.9 * self.state + x
        return self.state.clone()


class Counter(nn.Module):
    """Grows by a hundredth with every call."""

    n_calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n_calls += 1
        return x * (1 + 0.01 * self.n_calls)


FAULTS = (Dropout, BatchStatistics, MinibatchDeviation, Capacity, Graph, Memory, Counter)


def faulty(fault: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.ReLU(),
        fault(),
        nn.Conv2d(16, 16, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 28 * 28, 10),
    ).eval()


def honest() -> None:
    for name in (*TORCHVISION, *TIMM):
        model, image = build(name)
        show(name, "float32", measure(model, spread_layers(model, image), image))


def half() -> None:
    """Small pictures, since processors without half precision take long."""
    for name in IN_HALF:
        for dtype in (torch.bfloat16, torch.float16):
            model, image = build(name, 64)
            layers = spread_layers(model, image)

            def run(x: Tensor, model: nn.Module = model, dtype: torch.dtype = dtype) -> Tensor:
                with torch.autocast("cpu", dtype):
                    return model(x)

            run.__wrapped__ = model  # type: ignore[attr-defined]
            show(name, f"autocast {str(dtype)[6:]}", measure(run, layers, image))
            show(name, str(dtype)[6:], measure(model.to(dtype), layers, image.to(dtype)))
        model, image = build(name, 64)
        model = model.to(memory_format=torch.channels_last)
        image = image.to(memory_format=torch.channels_last)
        show(name, "channels last", measure(model, spread_layers(model, image), image))


def faults() -> None:
    for fault in FAULTS:
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            for n_images in (1, 2):
                if fault is Graph and n_images == 1:
                    continue
                model = faulty(fault).to(dtype)
                image = torch.rand(n_images, 3, 32, 32).to(dtype)
                measured = measure(model, [model[3], model[6]], image)
                show(f"{fault.__name__}, {n_images} image(s)", str(dtype)[6:], measured)


def cost() -> None:
    """A call with the repeated frame over one without it, ResNet-18 at 224, interleaved."""
    model, image = build("resnet18")
    for layer in ("layer4", "layer1"):
        tagging = FrequencyTaggingAttribution(model, layer)
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(15):
            for checked in (True, False):
                tagging.repetition = Repetition() if checked else Never()
                start = time.perf_counter()
                tagging.attribute(image)
                seconds[checked].append(time.perf_counter() - start)
        ratios = [a / b for a, b in zip(seconds[True], seconds[False], strict=True)]
        print(
            f"{layer}: with / without the repeated frame {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f}), {statistics.median(seconds[True]):.2f} s"
        )


PARTS = {"honest": honest, "half": half, "faults": faults, "cost": cost}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default="all", choices=[*PARTS, "all"])
    chosen = parser.parse_args().parts
    print(f"{'network':32s} {'precision':16s} {'floors':>14s} {'limit':>8s}")
    for part in PARTS if "all" in chosen else chosen:
        PARTS[part]()


if __name__ == "__main__":
    main()
