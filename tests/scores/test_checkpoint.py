"""Sweeps that were interrupted go on, and only their own."""

import collections
import copy
import errno
import gc
import io
import json
import math
import pickle
import random
import resource
import signal
import time
from functools import partial

import numpy as np
import pytest
import torch
from captum.attr import LayerGradientXActivation
from score_worker import (
    COMPONENTS,
    DRAWS,
    LAYERS,
    Augmented,
    Images,
    Workers,
    assert_same_scores,
    score,
    score_case,
    seed_all,
    small_network,
)
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    FrequencyTunnel,
    NeuronScores,
    TaggingDesign,
    ablated,
)
from captum_ssvep.design.components import Component
from captum_ssvep.scores.checkpoint import Checkpoint, digest

pytestmark = pytest.mark.usefixtures("one_thread")

N_IMAGES = 23
BATCH_SIZE = 4  # five batches and three images more


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scores.npz"


def images(**arguments):
    return Images(N_IMAGES, **arguments)


def small_tagging(seed=3, layers=LAYERS):
    return FrequencyTaggingAttribution(small_network(seed), layers)


def n_done(path):
    """How far a checkpoint is, 0 without any."""
    if not path.exists():
        return 0
    with np.load(path, allow_pickle=False) as arrays:
        return json.loads(str(arrays["checkpoint"]))["n_done"]


def assert_equal_scores(first, second):
    assert_same_scores(first, second, rtol=0, atol=0)


def assert_fetched_from(data, first):
    """Once each; but for the first image, which tells data apart."""
    assert [index for index in data.fetched if index > 0] == list(range(max(first, 1), len(data)))


def interrupt(path, fails_at, error=RuntimeError, of=lambda data: data, **arguments):
    with pytest.raises(error, match="interrupted"):
        score(of(images(fails_at=fails_at, error=error)), checkpoint=path, **arguments)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("checkpoint_every", [1, 2, 100])
@pytest.mark.parametrize("fails_at", [1, 4, 9, 15, 22])
def test_what_was_counted_is_not_fetched_again(path, error, checkpoint_every, fails_at):
    arguments = dict(checkpoint_every=checkpoint_every)
    interrupt(path, fails_at, error, **arguments)
    n_saved = fails_at // BATCH_SIZE * BATCH_SIZE
    assert n_done(path) == n_saved
    data = images()
    assert_equal_scores(score(data, checkpoint=path, **arguments), score(images()))
    assert_fetched_from(data, n_saved)
    assert n_done(path) == N_IMAGES


ARGUMENTS = [
    {},
    {"by_class": True},
    {"keep_coefficients": True},
    {"keep_coefficients": True, "by_class": True},
    {"noise_std": 0.1, "statistic": "snr", "seed": 2},
    {"pooling": "neuron", "reduction": "energy"},
    {"n_top_images": 30},
    {"design": ChebyshevGrid(), "baselines": 0.25},
]


@pytest.mark.parametrize("batch_size", [1, 3, 4, 23])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_it_goes_on_in_batches_of_any_size(path, batch_size, arguments):
    interrupt(path, 14, checkpoint_every=1, **arguments)
    assert n_done(path) == 12
    resumed = score(images(), checkpoint=path, batch_size=batch_size, **arguments)
    assert_same_scores(resumed, score(images(), **arguments))
    assert_equal_scores(NeuronScores.load(path), resumed)


def test_it_goes_on_after_any_number_of_interruptions(path):
    for fails_at in (3, 7, 7, 12, 20, 22):
        interrupt(path, fails_at, checkpoint_every=1, batch_size=2)
        assert n_done(path) == fails_at // 2 * 2
    resumed = score(images(), checkpoint=path, batch_size=2)
    assert_equal_scores(resumed, score(images(), batch_size=2))


def test_relevance_goes_on(path):
    model = small_network()
    method = LayerGradientXActivation(model, [model[1], model[3]])
    arguments = dict(attribution=FrequencyTunnel(method), labels_as="target")
    interrupt(path, 14, checkpoint_every=1, **arguments)
    assert n_done(path) == 12
    assert_equal_scores(score(images(), checkpoint=path, **arguments), score(images(), **arguments))


def test_it_goes_on_after_the_model_was_interrupted(path):
    tagging = small_tagging()
    n_passes = 0

    def fail(*_):
        nonlocal n_passes
        n_passes += 1
        if n_passes == 7:
            raise KeyboardInterrupt("interrupted")

    handle = tagging.forward_func[0].register_forward_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        score(images(), tagging, checkpoint=path, checkpoint_every=1)
    handle.remove()
    assert 0 < n_done(path) < N_IMAGES
    data = images()
    held = n_done(path)
    assert_equal_scores(score(data, tagging, checkpoint=path), score(images()))
    assert_fetched_from(data, held)


def test_it_goes_on_with_processes_that_load(path):
    arguments = dict(checkpoint_every=1, num_workers=1)
    interrupt(path, 14, **arguments)
    # Batches are loaded ahead of those that are scored, and an error comes in its turn.
    assert n_done(path) == 12
    assert_equal_scores(score(images(), checkpoint=path, **arguments), score(images()))


class Stream(IterableDataset):
    def __init__(self, data):
        self.data = data

    def __iter__(self):
        return (self.data[index] for index in range(len(self.data)))


def in_loader(batch_size=BATCH_SIZE, as_stream=False):
    return lambda data: DataLoader(Stream(data) if as_stream else data, batch_size=batch_size)


@pytest.mark.parametrize("as_stream", [False, True])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("fails_at", [2, 14, 22])
def test_a_loader_goes_on(path, as_stream, error, fails_at):
    of = in_loader(as_stream=as_stream)
    interrupt(path, fails_at, error, of=of, checkpoint_every=1)
    assert n_done(path) == fails_at // BATCH_SIZE * BATCH_SIZE
    assert_equal_scores(score(of(images()), checkpoint=path), score(images()))
    assert n_done(path) == N_IMAGES


@pytest.mark.parametrize("batch_size", [1, 2, 3, 6, 12])
def test_a_loader_goes_on_in_other_batches_that_end_where_the_others_did(path, batch_size):
    interrupt(path, 14, of=in_loader(), checkpoint_every=1)
    resumed = score(in_loader(batch_size)(images()), checkpoint=path)
    assert_same_scores(resumed, score(images()))


@pytest.mark.parametrize("batch_size", [5, 7, 13, 23])
def test_a_loader_whose_batches_end_elsewhere_is_refused(path, batch_size):
    interrupt(path, 14, of=in_loader(), checkpoint_every=1)
    content = path.read_bytes()
    with pytest.raises(ValueError, match=r"batches of the checkpoint.*set its batch size back"):
        score(in_loader(batch_size)(images()), checkpoint=path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("held", [False, True])
def test_a_loader_that_shuffles_is_refused(path, held):
    if held:
        score(in_loader()(images()), checkpoint=path)
    content = path.read_bytes() if held else None
    loader = DataLoader(images(), batch_size=BATCH_SIZE, shuffle=True)
    with pytest.raises(ValueError, match=r"fixed order with `checkpoint`.*shuffles"):
        score(loader, checkpoint=path)
    assert path.exists() == held
    assert not held or path.read_bytes() == content
    with pytest.warns(UserWarning, match="cannot be found again"):
        assert score(loader).n_images == N_IMAGES


def count_passes(model):
    passes = []
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    return passes


@pytest.mark.parametrize("of", [lambda data: data, in_loader()], ids=["dataset", "loader"])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_finished_scores_are_returned_without_running_the_model(path, of, arguments):
    tagging = small_tagging()
    passes = count_passes(tagging.forward_func)
    scores = score(of(images()), tagging, checkpoint=path, **arguments)
    assert passes
    assert n_done(path) == N_IMAGES
    assert_equal_scores(NeuronScores.load(path), scores)
    passes.clear()
    data = images()
    assert_equal_scores(score(of(data), tagging, checkpoint=path, **arguments), scores)
    assert not passes
    if of(data) is data:
        assert_fetched_from(data, N_IMAGES)
    assert n_done(path) == N_IMAGES


def test_finished_scores_need_no_place_to_write(path, monkeypatch):
    scores = score(images(), checkpoint=path)
    monkeypatch.setattr(Checkpoint, "validate_folder", lambda self: pytest.fail("not to be asked"))
    assert_equal_scores(score(images(), checkpoint=path), scores)


def test_nor_do_those_of_a_loader_that_drops_the_rest(path, monkeypatch):
    loader = DataLoader(images(), batch_size=4, drop_last=True)
    assert N_IMAGES % 4
    scores = score(loader, checkpoint=path)
    monkeypatch.setattr(Checkpoint, "validate_folder", lambda self: pytest.fail("not to be asked"))
    assert_equal_scores(score(loader, checkpoint=path), scores)


def test_a_file_that_was_left_unfinished_does_no_harm(path):
    unfinished = path.with_name("scores.npz.unfinished")
    unfinished.write_bytes(b"PK\x03\x04 half of it")
    expected = score(images())
    assert_equal_scores(score(images(), checkpoint=path), expected)
    assert not unfinished.exists()
    path.unlink()
    interrupt(path, 14, checkpoint_every=1)
    unfinished.write_bytes(path.read_bytes()[:-50])
    assert_equal_scores(score(images(), checkpoint=path), expected)
    assert not unfinished.exists()


@pytest.fixture(scope="module")
def workers():
    with Workers() as started:
        yield started


def test_a_process_that_is_killed_ten_times_goes_on(workers, tmp_path, path):
    case = "every example"
    delays = random.Random(1)
    arguments = dict(checkpoint=str(path), checkpoint_every=1, batch_size=1, in_group=False)
    arguments["pause"] = 0.03
    held = [0]
    for number in range(10):
        workers.start(case, tmp_path, **arguments)
        while number % 2 and n_done(path) == held[-1]:
            time.sleep(0.01)  # on a busy machine the first image may be late
        # All images take three seconds at least, and ten delays less.
        time.sleep(delays.uniform(0, 0.3))
        workers.kill()
        assert workers.wait() == [-9]
        held.append(n_done(path))
    assert held == sorted(held)
    assert len({done for done in held if 0 < done < 101}) >= 3, held
    assert workers.finish(case, tmp_path, **arguments) == [0]
    expected, _ = score_case(case)
    assert_same_scores(NeuronScores.load(tmp_path / f"{case}.0.npz"), expected)
    assert_same_scores(NeuronScores.load(path), expected)
    assert n_done(path) == 101
    fetched = json.loads((tmp_path / f"{case}.0.json").read_text())
    assert [index for index in fetched if index > 0] == list(range(max(held[-1], 1), 101))


def test_a_process_that_dies_while_it_saves_leaves_the_last_checkpoint(workers, tmp_path, path):
    """The kernel ends it when its file, which grows with the images, passes a limit."""
    case = "every example"
    expected, _ = score_case(case)
    expected.save(path)
    limit = path.stat().st_size * 3 // 4
    path.unlink()
    arguments = dict(checkpoint=str(path), checkpoint_every=1, in_group=False)
    assert workers.finish(case, tmp_path, file_limit=limit, **arguments) == [-signal.SIGXFSZ]
    unfinished = path.with_name("scores.npz.unfinished")
    assert unfinished.stat().st_size > 0.8 * limit
    with pytest.raises(ValueError, match="damaged"):
        NeuronScores.load(unfinished)
    assert 0 < n_done(path) < 101
    assert workers.finish(case, tmp_path, **arguments) == [0]
    assert_same_scores(NeuronScores.load(path), expected)
    assert not unfinished.exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_is_told_and_leaves_the_last_checkpoint(path):
    """As the kernel tells it of a file that passes a limit, where the process lives on."""
    interrupt(path, 6, checkpoint_every=1, keep_coefficients=True)
    content = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content), limits[1]))
    try:
        with pytest.raises(OSError) as raised:  # noqa: PT011  # the number says which
            score(images(), checkpoint=path, keep_coefficients=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.errno == errno.EFBIG
    del raised
    gc.collect()  # here, not in another test: NumPy 1 leaves its zip file open, which complains
    assert path.read_bytes() == content
    resumed = score(images(), checkpoint=path, keep_coefficients=True)
    assert_equal_scores(resumed, score(images(), keep_coefficients=True))


def test_a_bad_image_is_named_and_loses_nothing(path):
    data = images()
    data.images[9, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match=r"finite, but images \[9\] of the data"):
        score(data, checkpoint=path)
    assert n_done(path) == 8
    resumed = score(images(), checkpoint=path)
    assert_equal_scores(resumed, score(images()))


@pytest.mark.parametrize("folder", ["missing", "missing/deeper"])
def test_a_folder_that_is_missing_is_named(tmp_path, folder):
    words = f"got {tmp_path / folder / 'scores.npz'}; make the folder {tmp_path / folder}$"
    with pytest.raises(FileNotFoundError, match=words):
        score(images(), checkpoint=tmp_path / folder / "scores.npz")


@pytest.mark.parametrize("error", [FileNotFoundError, NotADirectoryError, IsADirectoryError])
def test_a_file_that_cannot_be_written_is_told_by_the_system(tmp_path, error):
    (tmp_path / "file").touch()
    path = {
        FileNotFoundError: tmp_path / "missing" / "scores.npz",
        NotADirectoryError: tmp_path / "file" / "scores.npz",
        IsADirectoryError: tmp_path,
    }[error]
    tagging = small_tagging()
    passes = count_passes(tagging.forward_func)
    with pytest.raises(error, match=path.name):
        score(images(), tagging, checkpoint=path)
    assert not passes


def test_a_folder_without_permission_is_told_by_the_system(workers, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o500)
    case, path = "two images", closed / "scores.npz"
    arguments = dict(checkpoint=str(path), unprivileged=True, in_group=False)
    assert workers.finish(case, tmp_path, **arguments) == [1]
    assert workers.failures[0].startswith("PermissionError: ")
    assert str(path) in workers.failures[0]


def saved(made):
    """The bytes of a file that something with a `save` writes, or numpy's of arrays."""

    def content(folder):
        path = folder / "made.npz"
        if isinstance(made(), dict):
            np.savez(path, **made())
        else:
            made().save(path)
        return path.read_bytes()

    return content


def spectrum():
    return small_tagging().spectrum(images().images[:2], pooling="channel")[0]


def with_progress(progress):
    return lambda: score(images()).to_arrays() | {"checkpoint": np.array(progress)}


def npy(folder):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def torch_file(folder):
    torch.save({"n_done": 3}, folder / "made.pt")
    return (folder / "made.pt").read_bytes()


NO_CHECKPOINT = {
    "empty": lambda folder: b"",
    "random": lambda folder: random.Random(0).randbytes(5000),
    "random archive": lambda folder: b"PK\x03\x04" + random.Random(0).randbytes(5000),
    "text": lambda folder: b"Scores of all neurons\n",
    "one array": npy,
    "pickle": lambda folder: pickle.dumps({"n_done": 3}),
    "torch": torch_file,
    "spectrum": saved(spectrum),
    "scores": saved(lambda: score(images())),
    "other arrays": saved(lambda: {"lines": np.zeros(3)}),
    "progress alone": saved(lambda: {"checkpoint": np.array('{"n_done": 3, "owner": {}}')}),
    "progress that is none": saved(with_progress("12")),
    "progress without an owner": saved(with_progress('{"n_done": 12}')),
    "progress in words": saved(with_progress('{"n_done": "most", "owner": {}}')),
    "progress in pieces": saved(with_progress('{"n_done": 12, "ow')),
    "nobody's progress": saved(with_progress('{"n_done": 12, "owner": {}}')),
}


def assert_refused(path, words):
    """Before any image or the model runs, naming the file, which stays as it is."""
    content = path.read_bytes()
    tagging = small_tagging()
    passes = count_passes(tagging.forward_func)
    data = images()
    with pytest.raises(ValueError, match=words) as raised:
        score(data, tagging, checkpoint=path)
    assert str(path) in str(raised.value)
    assert path.read_bytes() == content
    assert not passes
    assert_fetched_from(data, N_IMAGES)
    assert not path.with_name(f"{path.name}.unfinished").exists()


@pytest.mark.parametrize("kind", NO_CHECKPOINT)
def test_files_that_are_no_checkpoints_are_refused(tmp_path, path, kind):
    path.write_bytes(NO_CHECKPOINT[kind](tmp_path))
    words = {
        "spectrum": "lacks checkpoint, scores",
        "scores": "lacks checkpoint",
        "torch": "lacks checkpoint, scores",
        "other arrays": "lacks checkpoint, scores",
        "progress alone": "lacks scores",
        "one array": "is not one, or is damaged",
        "nobody's progress": "differs in .*model",
    }.get(kind, "damaged")
    assert_refused(path, words)


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 0.9999])
def test_truncated_checkpoints_are_refused(path, share):
    score(images(), checkpoint=path)
    content = path.read_bytes()
    path.write_bytes(content[: math.ceil(share * len(content)) - (share > 0.999)])
    assert_refused(path, "`score_neurons` as its checkpoint, but .*damaged")


@pytest.mark.parametrize("name", ["0.score.mean", "1.top_images", "scores", "checkpoint"])
def test_changed_numbers_are_noticed(path, name):
    """By the archive's check sums."""
    score(images(), checkpoint=path)
    content = path.read_bytes()
    with np.load(path, allow_pickle=False) as arrays:
        values = arrays[name].tobytes()
    assert content.count(values) == 1
    place = content.index(values) + len(values) // 2
    changed = bytes([content[place] ^ 1])
    path.write_bytes(content[:place] + changed + content[place + 1 :])
    assert_refused(path, "damaged")


def tunnel(**options):
    model = small_network()
    return FrequencyTunnel(LayerGradientXActivation(model, [model[1], model[3]], **options))


def changed(kind):
    """One number of the model other than it was."""
    tagging = small_tagging()
    model = tagging.forward_func
    numbers = {"weight": model[2].bias, "buffer": model[6].running_var}[kind]
    numbers.data[1] += 1e-7
    return tagging


def deeper(module):
    model = small_network().append(module).double().eval()
    return FrequencyTaggingAttribution(model, LAYERS)


def changed_pixel():
    data = images()
    data.images[0, 2, 7, 7] += 1e-9
    return data


MASK = (torch.arange(8) % 2).expand(8, 8)
# What is other than by default, and how the message calls it.
FOREIGN = {
    "weights": (dict(attribution=lambda: small_tagging(seed=4)), "model"),
    "a weight": (dict(attribution=lambda: changed("weight")), "model"),
    "a buffer": (dict(attribution=lambda: changed("buffer")), "model"),
    "a layer behind": (dict(attribution=lambda: deeper(nn.Linear(3, 2))), "model"),
    "a layer without weights": (dict(attribution=lambda: deeper(nn.Tanh())), "model"),
    "layers": (dict(attribution=lambda: small_tagging(layers=["1"])), "layers"),
    "order of layers": (dict(attribution=lambda: small_tagging(layers=LAYERS[::-1])), "layers"),
    "method": (dict(attribution=tunnel, labels_as="target"), "labels_as, method"),
    "statistic": (dict(statistic="snr"), "statistic"),
    "reduction": (dict(reduction="max"), "reduction"),
    "components": (dict(components=COMPONENTS[:2]), "components"),
    "group of components": (dict(components="fundamentals"), "components"),
    "baselines": (dict(baselines=0.25), "baselines"),
    "tensor of baselines": (dict(baselines=torch.full((3, 1, 1), 0.5)), "baselines"),
    "feature mask": (dict(feature_mask=MASK), "feature_mask"),
    "design": (dict(design=ChebyshevGrid()), "design"),
    "pooling": (dict(pooling="neuron"), "pooling"),
    "noise": (dict(noise_std=0.1), "noise_std"),
    "classes": (dict(by_class=True), "by_class"),
    "top images": (dict(n_top_images=6), "n_top_images"),
    "examples": (dict(keep_coefficients=True), "keep_coefficients"),
    "key": (dict(checkpoint_key="of a user"), "checkpoint_key"),
    "images": (dict(data=lambda: images(seed=1)), "data"),
    "a pixel of the first image": (dict(data=changed_pixel), "data"),
    "length": (dict(data=lambda: Subset(images(), range(N_IMAGES - 1))), "data"),
    "a label": (dict(data=lambda: TensorDataset(images().images, torch.ones(N_IMAGES))), "data"),
    "several": (dict(statistic="snr", by_class=True), "by_class, statistic"),
}


class Ending(Dataset):
    """Data of which all but the first images are lost."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        if index > 13:
            raise RuntimeError("interrupted")
        return self.data[index]


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_checkpoint_of_other_work_is_refused(path, kind, finished):
    changes, words = FOREIGN[kind]
    arguments = dict(checkpoint=path, checkpoint_every=1) | changes
    arguments["attribution"] = changes.get("attribution", small_tagging)()
    data = arguments.pop("data", images)()
    if finished:
        score(data, **arguments)
    else:
        with pytest.raises(RuntimeError, match="interrupted"):
            score(Ending(data), **arguments)
        assert n_done(path) == 12
    assert_refused(path, f"{path} to be of this very run, but it differs in {words};")


def test_options_of_a_wrapped_method_are_told_apart(path):
    score(images(), tunnel(), labels_as="target", checkpoint=path)
    others = dict(labels_as="target", checkpoint=path)
    assert score(images(), tunnel(), **others).n_images == N_IMAGES
    with pytest.raises(ValueError, match="differs in method;"):
        score(images(), tunnel(multiply_by_inputs=False), **others)


def test_a_key_tells_apart_what_is_not_noticed(path):
    """As silent filters, which are no weights."""
    tagging = small_tagging()
    interrupt(path, 14, checkpoint_every=1, checkpoint_key="whole")
    content = path.read_bytes()
    with ablated(tagging.forward_func, {"0": [0, 1]}):
        for key in ("ablated", "Whole", ""):
            with pytest.raises(ValueError, match="differs in checkpoint_key;"):
                score(images(), tagging, checkpoint=path, checkpoint_key=key)
    assert path.read_bytes() == content
    data = images()
    resumed = score(data, tagging, checkpoint=path, checkpoint_key="whole")
    assert_equal_scores(resumed, score(images()))
    assert_fetched_from(data, 12)


@pytest.mark.parametrize("items", [range(3, 7), [0, 2, 1, 3], [0, 1, 2], [0, 1, 2, 3, 4]], ids=str)
def test_a_loader_of_another_order_is_refused(path, items):
    score(DataLoader(images(), sampler=range(4), batch_size=2), checkpoint=path)
    score(DataLoader(images(), sampler=[0, 1, 2, 3], batch_size=4), checkpoint=path)
    with pytest.raises(ValueError, match="differs in data;"):
        score(DataLoader(images(), sampler=items, batch_size=2), checkpoint=path)


def test_what_changes_nothing_is_no_other_work(path):
    """The same arguments otherwise written, and what hooks or gradients the model has."""
    arguments = dict(feature_mask=MASK, components=COMPONENTS, design=TaggingDesign())
    interrupt(path, 14, checkpoint_every=1, **arguments)
    tagging = small_tagging()
    count_passes(tagging.forward_func)
    for parameter in tagging.forward_func.parameters():
        parameter.requires_grad_(False)
    others = dict(
        feature_mask=MASK.T.contiguous().T,
        components=[Component(component) for component in COMPONENTS],
        design=TaggingDesign(frequencies=[6, 7.5]),
        show_progress=False,
        num_workers=0,
        checkpoint_every=3,
    )
    resumed = score(images(), tagging, checkpoint=str(path), **others)
    assert_equal_scores(resumed, score(images(), **arguments))


def test_pooling_by_a_function_that_is_defined_anew_goes_on(path):
    def arguments():
        return dict(pooling=lambda values: values.mean((2, 3)))

    interrupt(path, 14, checkpoint_every=1, **arguments())
    data = images()
    resumed = score(data, checkpoint=path, **arguments())
    assert_equal_scores(resumed, score(images(), **arguments()))
    assert_fetched_from(data, 12)


def test_pooling_by_a_function_of_torch_goes_on(path):
    arguments = dict(pooling=torch.Tensor.square)
    interrupt(path, 14, checkpoint_every=1, **arguments)
    resumed = score(images(), checkpoint=path, **arguments)
    assert_equal_scores(resumed, score(images(), **arguments))


def test_the_size_of_passes_may_change(path):
    score(images(), checkpoint=path, internal_batch_size=2)
    written = path.stat().st_mtime_ns
    score(images(), checkpoint=path, internal_batch_size=9, perturbations_per_eval=3)
    assert path.stat().st_mtime_ns == written  # nothing was new


@pytest.mark.parametrize("of", [lambda data: data, in_loader()], ids=["dataset", "loader"])
@pytest.mark.parametrize("source", DRAWS)
def test_random_augmentation_can_go_on(path, source, of):
    arguments = dict(checkpoint=path, checkpoint_every=1, keep_coefficients=True)
    with pytest.raises(RuntimeError, match="interrupted"):
        score(of(Augmented(N_IMAGES, DRAWS[source], fails_at=14)), **arguments)
    begun = NeuronScores.load(path)
    assert begun.n_images == 12
    seed_all(7)
    resumed = score(of(Augmented(N_IMAGES, DRAWS[source])), **arguments)
    assert resumed.n_images == N_IMAGES
    for layer in resumed.layers:
        (images_of_first,), (coefficients,) = (
            getattr(begun.overall[layer], name) for name in ("images", "coefficients")
        )
        held = resumed.overall[layer]
        assert torch.cat(held.images).tolist() == list(range(N_IMAGES))
        assert images_of_first.tolist() == list(range(12))
        assert torch.equal(torch.cat(held.coefficients)[:12], coefficients)


@pytest.mark.parametrize("source", DRAWS)
def test_a_coin_that_is_tossed_for_the_first_image_never_refuses(path, source):
    """Even where it falls the same way twice."""

    def coin():
        return DRAWS[source]() < 0.5

    score(Augmented(3, coin), checkpoint=path)
    for seed in range(12):
        seed_all(seed)
        score(Augmented(3, coin), checkpoint=path)


def test_augmentation_of_other_data_is_refused(path):
    draw = DRAWS["torch"]
    score(Augmented(N_IMAGES, draw), checkpoint=path)
    assert_refused(path, "differs in data;")
    with pytest.raises(ValueError, match="differs in data;"):
        score(Augmented(N_IMAGES, draw, seed=1), checkpoint=path)


@pytest.mark.parametrize("of", [lambda data: data, in_loader()], ids=["dataset", "loader"])
@pytest.mark.parametrize("source", DRAWS)
def test_a_checkpoint_does_not_move_the_random_state(path, source, of):
    drawn, scores = [], []
    for checkpoint in (None, path, path):
        seed_all(5)
        scores.append(score(of(Augmented(N_IMAGES, DRAWS[source])), checkpoint=checkpoint))
        drawn.append([draw() for draw in DRAWS.values()])
    assert_equal_scores(scores[0], scores[1])
    assert_equal_scores(scores[1], scores[2])
    assert drawn[0] == drawn[1]


def test_the_first_image_alone_is_fetched_to_tell_data_apart(path):
    score(images(), checkpoint=path)
    data = images()
    score(data, checkpoint=path)
    assert set(data.fetched) == {0}


class CountedStream(Stream):
    def __len__(self):
        return len(self.data)


def test_a_stream_of_known_length_is_kept(path):
    loader = DataLoader(CountedStream(images()), batch_size=BATCH_SIZE)
    assert score(loader, checkpoint=path).n_images == N_IMAGES


@pytest.mark.parametrize("about", [{"n_done": 3, "owner": []}, {"n_done": 22}, {"n_done": -1}])
def test_a_description_that_does_not_fit_is_damage(path, about):
    score(images(), checkpoint=path)
    with np.load(path) as archive:
        arrays = dict(archive)
    held = json.loads(str(arrays["checkpoint"]))
    np.savez(path, **{**arrays, "checkpoint": np.array(json.dumps(held | about))})
    assert_refused(path, r"scores\.npz (is damaged|to be of this very run)")


def normalised(**buffers):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    for name, value in buffers.items():
        getattr(model[1], name).data.fill_(value)
    return model


class OtherName(nn.Sequential):
    pass


def looked_on(model):
    model[0].register_forward_hook(lambda module, args, output: None)
    return model


BYTES = torch.arange(8, dtype=torch.uint8)
UNEQUAL = {
    "dtypes of equal bytes": [BYTES.view(dtype) for dtype in (
        torch.uint8, torch.int8, torch.int16, torch.float16, torch.bfloat16, torch.int32,
        torch.float32, torch.int64, torch.float64, torch.complex64,
    )],
    "shapes of equal bytes": [
        BYTES, BYTES[None], BYTES[:, None], BYTES.view(2, 4), BYTES.view(4, 2), BYTES.view(2, 2, 2)
    ],
    "order": [BYTES, BYTES.flip(0), BYTES.view(2, 4).T, BYTES.view(4, 2)],
    "bfloat16": [torch.tensor([1.0, value], dtype=torch.bfloat16) for value in (1.0, 1.01, 2.0)],
    "no dimension": [
        torch.tensor(1.0), torch.tensor([1.0]), torch.tensor([[1.0]]), torch.tensor(2.0),
        torch.tensor(1), torch.tensor(True), torch.tensor(1.0, dtype=torch.bfloat16), 1.0, [1.0],
    ],
    "empty": [
        torch.empty(0), torch.empty(0, 3), torch.empty(3, 0), torch.empty(0, dtype=torch.int64),
        torch.empty(0, dtype=torch.bfloat16), torch.zeros(1), [], None, "",
    ],
    "without values": [torch.empty(size, device="meta") for size in (2, 3)],
    "not numbers": [torch.tensor(value) for value in (math.nan, math.inf, -math.inf, 0.0)],
    "arrays": [
        np.zeros(2), np.zeros(2, dtype=np.int64), np.zeros((1, 2)), np.ones(2), np.int64(1),
        np.int64(2), np.int32(1), np.float32(1), np.float64(1), (np.int64(1), np.int64(0)),
        (np.int64(0), np.int64(1)),
    ],
    "plain values": [None, False, True, 0, 1, 0.0, 1.0, "", "0", "None", 0.1, 0.1 + 1e-16, 1e-9],
    "sequences": [
        [], [[]], [1], [[1]], [1, 1], [[1], 1], [1, [1]], ["1"], [1.0], [None], "1", [1, 2], [2, 1],
        [12], [1, 2.0], 12,
    ],
    "mappings": [
        {}, {"a": 1}, {"b": 1}, {"a": 2}, {"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": {"b": 1}},
        {"a": [1]}, {"a": None}, {"a": {"b": {"c": torch.zeros(2)}}},
        {"a": {"b": {"c": torch.ones(2)}}}, {"a": {"b": 1, "c": 2}}, {"a": {"b": 1}, "c": 2},
        {1: 1}, {"1": 1}, {"a:1;b": 2}, None,
    ],
    "mappings and sequences": [{}, [], {"a": 1}, [["a", 1]]],
    "designs": [
        TaggingDesign(), TaggingDesign(phases=0.1), TaggingDesign((6.0, 9.0)),
        TaggingDesign(contrast=(0.4, 1.0)), TaggingDesign(waveform="triangle"),
        ChebyshevGrid(), ChebyshevGrid(nodes=4), ChebyshevGrid(contrast=(0.4, 1.0)),
    ],
    "models": [
        normalised(), normalised(running_mean=1), normalised(running_var=2), normalised(bias=1),
        normalised(num_batches_tracked=1), normalised().double(), normalised()[:1],
        OtherName(*normalised()), nn.Sequential(*normalised(), nn.Linear(3, 3)), nn.ReLU(),
    ],
    "functions": [torch.mean, torch.amax, torch.nn.functional.relu, normalised, spectrum, nn.ReLU],
}  # fmt: skip


@pytest.mark.parametrize("kind", UNEQUAL)
def test_digests_tell_apart(kind):
    seen = collections.defaultdict(list)
    for value in UNEQUAL[kind]:
        seen[digest(value)].append(value)
    assert [values for values in seen.values() if len(values) > 1] == []


EQUAL = {
    "copies": lambda: (BYTES, BYTES.clone()),
    "strides": lambda: (BYTES.view(2, 4).T, BYTES.view(2, 4).T.contiguous()),
    "steps": lambda: (BYTES[::3], torch.tensor([0, 3, 6], dtype=torch.uint8)),
    "expanded": lambda: (torch.zeros(1).expand(4), torch.zeros(4)),
    "channels last": lambda: (
        torch.ones(2, 3, 4, 5), torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last)
    ),
    "gradients": lambda: (torch.ones(2), torch.ones(2, requires_grad=True)),
    "parameters": lambda: (torch.ones(2), nn.Parameter(torch.ones(2))),
    "bfloat16": lambda: (torch.ones(3).bfloat16(), torch.ones(3, dtype=torch.bfloat16)),
    "conjugates": lambda: (torch.tensor([1 + 2j]).conj(), torch.tensor([1 - 2j])),
    "sparse": lambda: (torch.eye(2).to_sparse(), torch.eye(2)),
    "no dimension": lambda: (torch.tensor(2.5), torch.tensor([2.5])[0]),
    "empty": lambda: (torch.empty(0, 3), torch.rand(4, 3)[4:]),
    "order": lambda: ({"a": 1, "b": [2, 3]}, {"b": [2, 3], "a": 1}),
    "nested order": lambda: (
        {"x": {"a": torch.ones(1), "b": None}, "y": {"d": 1, "c": {"f": 2, "e": 3}}},
        {"y": {"c": {"e": 3, "f": 2}, "d": 1}, "x": {"b": None, "a": torch.ones(1)}},
    ),
    "kinds of mappings": lambda: ({"a": 1}, collections.OrderedDict(a=1)),
    "kinds of sequences": lambda: ([(1, 0), (1, 1)], ((1, 0), [1, 1])),
    "components": lambda: ([(1, 0), (1, -1)], [Component((1, 0)), Component((-1, 1))]),
    "designs": lambda: (TaggingDesign(), TaggingDesign([6, 7.5], 120, phases=(0, 0))),
    "models": lambda: (normalised(), normalised().requires_grad_(False)),
    "hooks": lambda: (normalised(), looked_on(normalised())),
    "attributes of models": lambda: (normalised(), normalised().eval()),
    "deep copies": lambda: (normalised(), copy.deepcopy(normalised())),
    "functions": lambda: (images, images),
    "functions of one name": lambda: [lambda values, by=by: values * by for by in (1, 2)],
    "objects of one type": lambda: [partial(torch.mean, dim=dim) for dim in (1, 2)],
}  # fmt: skip


@pytest.mark.parametrize("kind", EQUAL)
def test_digests_of_equals_are_equal(kind):
    first, second = EQUAL[kind]()
    assert digest(first) == digest(second)


def test_digests_see_a_weight_and_a_buffer_change():
    model = normalised()
    digests = [digest(model)]
    model(torch.rand(4, 2))  # moves the running statistics
    digests.append(digest(model))
    with torch.no_grad():
        model[0].weight[2, 1] += 1e-6
    digests.append(digest(model))
    assert len(set(digests)) == 3
    assert digest(model) == digests[-1]
