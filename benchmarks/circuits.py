"""Which method finds circuits that do what the network does, and what it costs.

ResNet-32 on CIFAR-10, classes cat, frog and ship, layers 1.4, 2.1, 2.4, 3.1 and 3.4. Scores come
from training images, judgement from test images, which no score saw. Seconds are of the processor
on one thread. Parts of this script:

- `fidelity`: core neurons by each method, as many in each layer, kept alone or masked; beside the
  empty circuit and 20 random ones. The standard error of a mean over classes treats their images as
  independent, and layers, which share images, as one.
- `nodes`: relative change of single neurons of one layer with a few channels of the layer in front,
  and NeurFlow's optimality and correlation.
- `neurflow`: what its form gives, integrated gradients for every node and unions of their channels.
- `interactions`: of pairs of channels, Spearman correlation with 2 x 2 ablation on other images.
- `groups`: whether channels of a group act alike: correlation of ablation profiles on other images
  within minus between groups, in standard deviations of 200 permutations.
- `squeezenet`: fidelity on photographs, of which there is one a class; the classes are summed up to
  three kinds.

    CAPTUM_SSVEP_DATA=... python benchmarks/circuits.py [parts]

About an hour in all on one core, of which `fidelity` takes most.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from scipy import stats
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from captum_ssvep.circuits import (
    CoreNeurons,
    core_neurons,
    fidelity,
    neuron_groups,
    neuron_interactions,
    node_fidelity,
    optimality,
    relevance_correlation,
)
from captum_ssvep.circuits.behind import behind
from captum_ssvep.circuits.methods import ablation
from captum_ssvep.circuits.prepared import prepared
from captum_ssvep.scores.batches import Batch, as_loader

sys.path.append(str(Path(__file__).parents[1] / "tutorials"))
from cifar import load_resnet, load_test_images, load_training_images

CLASSES = {"cat": 3, "frog": 6, "ship": 8}
LAYERS = ["layer1.4", "layer2.1", "layer2.4", "layer3.1", "layer3.4"]
N_OWN, N_OTHER = 24, 8  # training images of each of the classes, of each other class
QUIET = {"show_progress": False}
METHODS: dict[str, dict[str, Any]] = {
    "ablation to mean": {},
    "ablation to zero": {"baseline": "zero"},
    "activation x gradient": {"method": "activation_gradient", "baseline": "zero"},
    "IG, 8 steps": {"method": "ig", "baseline": "zero"},
    "tagged, intermodulations": {"method": "tagged"},
}


def training_data(n_own: int = N_OWN, n_other: int = N_OTHER, skip: int = 0) -> TensorDataset:
    """Images of the classes mixed with others."""
    images, labels = load_training_images()
    chosen = []
    for label in range(10):
        n = n_own if label in CLASSES.values() else n_other
        chosen.append((labels == label).nonzero().flatten()[skip : skip + n])
    places = torch.cat(chosen)
    return TensorDataset(images[places], labels[places])


def judging_data() -> TensorDataset:
    """Test images: all of the classes, and a sixth of the others."""
    images, labels = load_test_images()
    own = torch.isin(labels, torch.tensor([*CLASSES.values()]))
    places = torch.cat([own.nonzero().flatten(), (~own).nonzero().flatten()[::6]])
    return TensorDataset(images[places], labels[places])


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and its seconds of the processor."""
    start = time.process_time()
    return call(), time.process_time() - start


def find_cores(model: nn.Module, data: TensorDataset, **arguments: Any) -> list[CoreNeurons]:
    """Core neurons of the classes in all layers."""
    classes = [*CLASSES.values()]
    return [core_neurons(model, classes, layer, data, **QUIET, **arguments) for layer in LAYERS]


def mean_and_error(values: Sequence[float], errors: Sequence[float]) -> str:
    """Of classes, whose images are independent."""
    return f"{np.mean(values):.2f} ({np.linalg.norm(errors) / len(errors):.2f})"


def of_fidelity() -> None:
    """Tables of fidelity."""
    model, data, test = load_resnet(32), training_data(), judging_data()
    print(f"scores from {len(data)} training images, fidelity from {len(test)} test images")
    for name, arguments in METHODS.items():
        used = training_data(10, 2) if "tagged" in name else data
        cores, seconds = timed(lambda u=used, a=arguments: find_cores(model, u, **a))
        print(f"\n{name}: {seconds:.1f} s for 3 classes and 5 layers, {len(used)} images")
        best = name == "ablation to mean"
        for baseline, n in [("mean", 8), ("mean", 16), ("zero", 16)] if best else [("mean", 16)]:
            n_random = 20 if best and baseline == "mean" else 1
            found = [
                fidelity(
                    model,
                    {core.layer: core.top(n)[row] for core in cores},
                    test,
                    label,
                    baseline=baseline,
                    n_random=n_random,
                    **QUIET,
                )
                for row, label in enumerate(CLASSES.values())
            ]
            print_fidelity(found, baseline, n, n_random)


def print_fidelity(found: list[Any], baseline: str, n: int, n_random: int) -> None:
    """Means over classes, of single layers and of all."""
    for mode, kind in itertools.product(("keep", "mask"), ("raw", "balanced")):
        parts = []
        for name, layers in (("one", LAYERS), ("2.4 and 3.1", LAYERS[2:4]), ("five", ["all"])):
            measured = [[getattr(f.at(layer, mode), kind) for layer in layers] for f in found]
            values = [np.mean([m.value for m in row]) for row in measured]
            errors = [np.mean([m.error for m in row]) for row in measured]
            empty = np.mean([m.empty for row in measured for m in row])
            text = f"{name} {mean_and_error(values, errors)}, empty {empty:.2f}"
            if n_random > 1:
                random = np.mean([[m.random for m in row] for row in measured], axis=(0, 1))
                single = np.mean([m.random_spread for row in measured for m in row])
                text += f", random {random.mean():.2f} (sd {random.std():.2f}; single {single:.2f})"
            parts.append(text)
        print(f"  n = {n:2}, {baseline}, {mode} {kind:8}: " + " | ".join(parts), flush=True)


def of_nodes() -> None:
    """Single neurons: of each layer the four that matter most to a class, on its images."""
    model = load_resnet(32)
    images, labels = load_training_images()
    test_images, test_labels = load_test_images()
    cores = {core.layer: core for core in find_cores(model, training_data())}
    for name, arguments in [*METHODS.items()][:3]:
        changes: dict[str, list[float]] = {}
        seconds = 0.0
        for row, label in enumerate(CLASSES.values()):
            data = TensorDataset(images[labels == label][:32])
            test = TensorDataset(test_images[test_labels == label])
            for layer, above in itertools.pairwise(LAYERS):
                targets = [(above, node) for node in cores[above].top(4)[row].tolist()]
                core, took = timed(
                    lambda t=targets, la=layer, d=data, a=arguments: core_neurons(
                        model, t, la, d, **QUIET, **a
                    )
                )
                seconds += took
                for n in (4, 8):
                    add_changes(changes, model, targets, core, n, test)
                if name == "ablation to mean":
                    report_neurflow_measures(model, targets, core, test)
        print(f"{name}: {seconds:.1f} s for {len(CLASSES) * 16} nodes, 32 images each")
        for key, values in changes.items():
            if name == "ablation to mean" or "random" not in key:
                print(f"  {key}: {np.mean(values):.2f} ({stats.sem(values):.2f})", flush=True)


def add_changes(
    changes: dict[str, list[float]],
    model: nn.Module,
    targets: list[Any],
    core: CoreNeurons,
    n: int,
    test: TensorDataset,
) -> None:
    """Relative changes of some nodes with their n channels, and with random ones."""
    for baseline in ("mean", "zero"):
        found = node_fidelity(
            model, targets, core.layer, core.top(n), test, baseline=baseline, **QUIET
        )
        for mode in ("keep", "mask"):
            key = f"{mode}, {baseline}, n = {n}"
            changes.setdefault(key, []).extend(getattr(found, mode).tolist())
            random = getattr(found, f"random_{mode}").mean(0).tolist()
            changes.setdefault(f"{key}, random", []).extend(random)


def report_neurflow_measures(
    model: nn.Module, targets: list[Any], core: CoreNeurons, test: TensorDataset
) -> None:
    """Optimality and correlation, of 15 of the test images."""
    best = optimality(model, targets, core.layer, core.top(8), test, k=15, n_random=50, **QUIET)
    correlation = relevance_correlation(model, core, test, k=15, n_sets=10, **QUIET)
    print(
        f"  {core.layer}, 8 of {core.n_channels}: overlap without them {best.overlap.mean():.2f}, "
        f"without random ones {best.random.mean():.2f}, random sets beaten "
        f"{best.share_beaten.mean():.2f}; correlation of relevance and overlap "
        f"{correlation.mean():.2f}",
        flush=True,
    )


def of_neurflow() -> None:
    """Unions of the channels of all nodes, as NeurFlow takes them."""
    model, data = load_resnet(32), training_data(48, 0)
    for name, label in CLASSES.items():
        images, labels = data.tensors
        own = TensorDataset(images[labels == label])
        targets: list[Any] = [label]
        sizes, seconds, n_nodes = [], 0.0, 0
        for layer in reversed(LAYERS):
            core, took = timed(
                lambda t=targets, la=layer, o=own: core_neurons(
                    model, t, la, o, method="ig", baseline="zero", **QUIET
                )
            )
            seconds, n_nodes = seconds + took, n_nodes + len(targets)
            union = sorted(set(core.top(16).flatten().tolist()))
            sizes.append(f"{len(union)} of {core.n_channels}")
            targets = [(layer, channel) for channel in union]
        print(
            f"{name}: unions of 16 per node, last layer first: {', '.join(sizes)}; "
            f"{seconds / n_nodes:.2f} s a node with 8 of its 50 steps, {seconds:.0f} s in all",
            flush=True,
        )


def of_interactions() -> None:
    """Pairs of 21 random channels."""
    model = load_resnet(32)
    scored, judged = training_data(16, 0), training_data(16, 0, skip=100)
    generator = torch.Generator().manual_seed(0)
    cases = [("layer3.1", 3), ("layer2.4", 3), ("layer2.4", ("layer3.1", 7))]
    for baseline, (layer, target) in itertools.product(("mean", "zero"), cases):
        n_channels = 64 if "3" in layer[:6] else 32
        channels = torch.randperm(n_channels, generator=generator)[:21].tolist()
        arguments = {"baseline": baseline, **QUIET}

        def found(
            data: TensorDataset, method: str, la: str = layer, t: Any = target,
            c: list[int] = channels, a: dict[str, Any] = arguments,
        ) -> Tensor:  # fmt: skip
            return neuron_interactions(model, t, la, data, channels=c, method=method, **a).absolute

        truth, again = found(judged, "ablation")[0], found(scored, "ablation")[0]
        gradient, seconds = timed(lambda f=found: f(scored, "gradient")[0])
        alone = core_neurons(model, target, layer, scored, **arguments).absolute[0, channels]
        rows, columns = torch.triu_indices(21, 21, offset=1)
        truth = truth[rows, columns]

        def agreement(
            scores: Tensor, r: Tensor = rows, c: Tensor = columns, t: Tensor = truth
        ) -> float:
            return float(stats.spearmanr(scores[r, c], t).statistic)

        # Of 210 pairs whose correlation is near .9, by Fisher's transformation.
        print(
            f"{layer} on {target}, {baseline}: reliability {agreement(again):.3f}, ablate one and "
            f"read the gradient {agreement(gradient):.3f} ({seconds:.1f} s), product of relevances "
            f"{agreement(alone[:, None] * alone):.3f}",
            flush=True,
        )


def profiles_by_ablation(model: nn.Module, layer: str, data: TensorDataset, baseline: Any) -> Any:
    """What each logit loses in each image without each channel, ``(channels, images x 10)``."""
    targets = [lambda output, k=k: output[:, k] for k in range(10)]
    loader = as_loader(data, len(data))
    with prepared(model, [layer], loader, baseline) as known:
        batch = Batch(data.tensors[0], None)
        with behind(model, layer, targets, batch, known.dims) as segment:
            return ablation(segment, known.fill[layer]).permute(2, 0, 1).flatten(1).numpy()


def z_of_groups(members: Sequence[Sequence[int]], profiles: Any, n: int = 200) -> float:
    """Within- minus between-group correlation, in standard deviations of permuted groups."""
    chosen = [channel for group in members for channel in group]
    labels = np.repeat(np.arange(len(members)), [len(group) for group in members])
    correlation = np.corrcoef(profiles[chosen])
    upper = np.triu_indices(len(chosen), 1)

    def gap(of: Any) -> float:
        same = (of[:, None] == of)[upper]
        return float(correlation[upper][same].mean() - correlation[upper][~same].mean())

    generator = np.random.default_rng(0)
    null = [gap(generator.permutation(labels)) for _ in range(n)]
    return (gap(labels) - float(np.mean(null))) / float(np.std(null))


def of_groups() -> None:
    """Eight groups by each kind of feature; the number of groups by silhouette."""
    model = load_resnet(32)
    scored, judged = training_data(8, 8), training_data(8, 8, skip=100)
    for layer in reversed(LAYERS):
        chosen, seconds = timed(lambda la=layer: neuron_groups(model, la, scored, **QUIET))
        best = max(chosen.scores, key=chosen.scores.get)
        print(
            f"{layer}: {len(chosen)} by silhouette: at most {chosen.scores[best]:.3f}, with {best} "
            f"groups; a single cloud reaches {chosen.clusters.chance:.3f} ({seconds:.1f} s)"
        )
        profiles = {b: profiles_by_ablation(model, layer, judged, b) for b in ("zero", "mean")}
        live = [c for c in range(len(profiles["zero"])) if np.ptp(profiles["zero"][c])]
        for features in ("relevance", "activation", "tagged"):
            groups = neuron_groups(
                model, layer, scored, features=features, channels=live, n_groups=8, **QUIET
            )
            z = [z_of_groups(groups.members, p) for p in profiles.values()]
            print(f"  8 by {features}: z {z[0]:.1f} (zero), {z[1]:.1f} (mean)", flush=True)


class Kinds(nn.Module):
    """ImageNet classes summed up: a dog, another animal, a thing."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(x)
        dogs, animals = logits[:, 151:269], (logits[:, :151], logits[:, 269:398])
        kinds = (dogs, torch.cat(animals, 1), logits[:, 398:])
        return torch.stack([kind.logsumexp(1) for kind in kinds], 1)


def photographs() -> Tensor:
    """As ImageNet's networks take them, one of each class, in the order of the classes."""
    preprocess = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.transforms()
    paths = sorted((Path(os.environ["CAPTUM_SSVEP_DATA"]) / "photos").rglob("*.*"))
    return torch.stack([preprocess(Image.open(path).convert("RGB")) for path in paths])


def of_squeezenet() -> None:
    """A third of the photographs for scores, the others for judgement."""
    model = torchvision.models.squeezenet1_1(weights=None)
    path = Path(os.environ["CAPTUM_SSVEP_DATA"]) / "squeezenet1_1_imagenet.pt"
    model.load_state_dict(torch.load(path, weights_only=True))
    kinds, images = Kinds(model).eval(), photographs()
    with torch.no_grad():
        called = kinds(images).argmax(1)
    is_scored = torch.arange(len(images)) % 3 == 0
    data = TensorDataset(images[is_scored], called[is_scored])
    test = TensorDataset(images[~is_scored])
    layers = [f"network.features.{i}" for i in (10, 12)]
    batches = {"batch_size": 32, **QUIET}
    cores, seconds = timed(
        lambda: [core_neurons(kinds, [0, 1, 2], la, data, **batches) for la in layers]
    )
    print(f"core neurons of three kinds, two layers, {len(data)} photographs: {seconds:.1f} s")
    for n in (32, 128):
        found = [
            fidelity(
                kinds,
                {core.layer: core.top(n)[kind] for core in cores},
                test,
                kind,
                n_random=5,
                **batches,
            )
            for kind in range(3)
        ]
        for layer, kind in itertools.product((*layers, "all"), ("raw", "balanced")):
            measured = [getattr(f.at(layer), kind) for f in found]
            text = mean_and_error([m.value for m in measured], [m.error for m in measured])
            empty, random = (
                np.mean([of(m) for m in measured])
                for of in (lambda m: m.empty, lambda m: m.random_mean)
            )
            print(
                f"  n = {n:3}, keep {layer}, {kind}: {text}, empty {empty:.2f}, "
                f"random {random:.2f}",
                flush=True,
            )


PARTS: dict[str, Callable[[], None]] = {
    "nodes": of_nodes,
    "interactions": of_interactions,
    "groups": of_groups,
    "neurflow": of_neurflow,
    "squeezenet": of_squeezenet,
    "fidelity": of_fidelity,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    torch.set_num_threads(1)
    for part in parser.parse_args().parts or PARTS:
        print(f"\n{part}")
        _, seconds = timed(PARTS[part])
        print(f"({seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
