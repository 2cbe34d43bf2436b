"""Scores in processes of their own, for tests that kill them or let them share the work.

Under torchrun this script is one of the processes. With ``--serve`` it imports everything once and
forks a process for every request, which saves each the seconds that its imports would take.
"""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import distributed, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    black,
    score_neurons,
)

N_IMAGES = 101
LAYERS = ["1", "3"]
# Behind rectifiers these are far above rounding.
COMPONENTS = [(1, 0), (0, 1), (1, 1)]
CASES = {
    "all images": {},
    "by class": {"by_class": True},
    "every example": {"keep_coefficients": True},
    "noise": {"noise_std": 0.1, "n_images": 23},
    "share of variance": {"statistic": "variance_share", "reduction": "max"},
    "many top images": {"n_top_images": 60},
    "two images": {"n_images": 2, "keep_coefficients": True, "by_class": True},
    "one image": {"n_images": 1},
    "loaders": {"in_loaders": True},
    "loaders by class": {"in_loaders": True, "by_class": True, "keep_coefficients": True},
    "residual network": {"of_cifar": True},
}
NOBODY = 65534
# Numbers from the global generators from which augmentation may draw.
DRAWS = {
    "torch": lambda: torch.rand(()).item(),
    "numpy": np.random.rand,
    "random": random.random,
}


def seed_all(seed):
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


def small_network(seed=3):
    """With the same weights every time, whatever the random state, which stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 3),
        )  # fmt: skip
    return model.double().eval()


class Images(Dataset):
    """Random pairs with three classes, which remember what was fetched, and can be slow or fail."""

    def __init__(self, n_images=N_IMAGES, seed=0, pause=0.0, fails_at=None, error=RuntimeError):
        generator = torch.Generator().manual_seed(seed)
        self.images = torch.rand(n_images, 3, 8, 8, generator=generator, dtype=torch.float64)
        self.pause, self.fails_at, self.error = pause, fails_at, error
        self.fetched = []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        self.fetched.append(index)
        time.sleep(self.pause)
        if index == self.fails_at:
            raise self.error("interrupted")
        return self.images[index], index % 3


class Augmented(Images):
    """With a number drawn at random whenever an image is fetched, which brightens it."""

    def __init__(self, n_images, draw, **arguments):
        super().__init__(n_images, **arguments)
        self.draw = draw

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return image + 0.1 * self.draw(), label


def score(data, attribution=None, **arguments):
    if attribution is None:
        attribution = FrequencyTaggingAttribution(small_network(), LAYERS)
    defaults = dict(components=COMPONENTS, batch_size=4, n_top_images=5, show_progress=False)
    return score_neurons(attribution, data, **defaults | arguments)


def score_case(case, rank=0, n_processes=1, pause=0.0, **arguments):
    """The scores of a case, and the indices that this process fetched."""
    arguments = CASES[case] | arguments
    if arguments.pop("of_cifar", False):
        return score_cifar(**arguments), []
    data = Images(arguments.pop("n_images", N_IMAGES), pause=pause)
    if not arguments.pop("in_loaders", False):
        return score(data, **arguments), data.fetched
    share = Subset(data, range(rank, len(data), n_processes))
    return score(DataLoader(share, batch_size=3), **arguments), data.fetched


def save_case(folder, case, rank, *arguments, **more):
    scores, fetched = score_case(case, rank, *arguments, **more)
    scores.save(folder / f"{case}.{rank}.npz")
    (folder / f"{case}.{rank}.json").write_text(json.dumps(fetched))


def score_cifar(**arguments):
    from cifar import MEAN, STD, load_resnet, load_test_images

    return score(
        TensorDataset(*load_test_images(N_IMAGES)),
        FrequencyTaggingAttribution(load_resnet(20), ["relu", "layer1", "layer2", "layer3"]),
        design=ChebyshevGrid(nodes=3),
        baselines=black(MEAN, STD),
        **arguments,
    )


def assert_same_scores(first, second, rtol=1e-12, atol=1e-12):
    """All that scores hold agrees, over all images and over those of each class."""
    for name in ("layers", "components", "design", "statistic", "reduction", "classes"):
        assert getattr(first, name) == getattr(second, name)
    for label in (None, *first.classes):
        one, other = (s if label is None else s.of_class(label) for s in (first, second))
        assert one.n_images == other.n_images
        for layer in one.layers:
            found, expected = (values_of(scores, layer) for scores in (one, other))
            torch.testing.assert_close(found, expected, rtol=rtol, atol=atol, equal_nan=True)
            assert torch.equal(one.top_images[layer], other.top_images[layer])


def values_of(scores, layer):
    names = ("mean", "variance", "by_component", "coefficient")
    values = {name: getattr(scores, name)[layer] for name in names}
    tally = scores.overall[layer]
    values["top scores"] = tally.top_scores
    if tally.surprise:
        values["surprise"] = tally.surprise.mean
    if tally.images:
        order = torch.cat(tally.images).argsort()
        values["images"] = torch.cat(tally.images)[order]
        values["coefficients"] = torch.cat(tally.coefficients)[order]
    return values


def environment():
    """Of processes that are to find what the tests find, on one core each."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}


class Workers:
    """Groups of processes that score, one group after the other, forked from one server."""

    def __enter__(self):
        command = [sys.executable, __file__, "--serve"]
        self.server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
        )
        self.n_groups = 0
        return self

    def __exit__(self, *exception):
        self.server.stdin.close()
        self.server.stdout.close()
        self.server.wait()

    def start(self, case, folder, n_processes=1, **request):
        """Returns when all processes are about to score."""
        self.n_groups += 1
        self.heard = defaultdict(list)
        request |= dict(case=case, folder=str(folder), n_processes=n_processes)
        request["store"] = str(folder / f"store of group {self.n_groups}")
        self.server.stdin.write(f"{json.dumps(request)}\n")
        self.server.stdin.flush()
        (self.group,) = self.hear("group")
        for _ in range(n_processes):
            self.hear("ready")

    def hear(self, kind):
        """What the next line of some kind says."""
        while not self.heard[kind]:
            said, *words = json.loads(self.server.stdout.readline())
            assert said != "ended" or kind == "ended", self.heard
            self.heard[said].append(words)
        return self.heard[kind].pop(0)

    @property
    def failures(self):
        """Errors by rank."""
        return dict(self.heard["failed"])

    def kill(self):
        os.killpg(self.group, signal.SIGKILL)

    def wait(self):
        """Exit codes by rank, negative for a signal."""
        return self.hear("ended")

    def finish(self, *arguments, **request):
        """Start processes and wait for them."""
        self.start(*arguments, **request)
        return self.wait()


def say(*words):
    # In one call, as processes share the pipe.
    os.write(sys.stdout.fileno(), f"{json.dumps(words)}\n".encode())


def serve():
    for line in sys.stdin:
        request = json.loads(line)
        processes = []
        for rank in range(request["n_processes"]):
            process = os.fork()
            if process == 0:
                answer(rank, **request)
            processes.append(process)
            os.setpgid(process, processes[0])
        say("group", processes[0])
        say("ended", *(os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in processes))


def answer(
    rank,
    case,
    folder,
    store,
    n_processes,
    in_group=True,
    file_limit=None,
    unprivileged=False,
    **arguments,
):
    """Score in a process that was forked, and end it."""
    code = 1
    try:
        if in_group:
            distributed.init_process_group(
                "gloo", init_method=f"file://{store}", rank=rank, world_size=n_processes
            )
        if file_limit:
            # Python ignores the signal by default.
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
        if unprivileged and os.geteuid() == 0:
            os.setuid(NOBODY)
        say("ready")
        save_case(Path(folder), case, rank, n_processes, **arguments)
        code = 0
    except Exception as error:
        say("failed", rank, f"{type(error).__name__}: {error}")
    finally:
        os._exit(code)


def main(folder, cases):
    distributed.init_process_group("gloo")
    rank, n_processes = distributed.get_rank(), distributed.get_world_size()
    for case in cases:
        save_case(folder, case, rank, n_processes)
    distributed.destroy_process_group()


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        main(Path(sys.argv[1]), sys.argv[2:])
