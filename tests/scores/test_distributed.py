"""Scores that several processes share are those of a single one."""

import json
import random
import subprocess
import sys
import time

import numpy as np
import pytest
import score_worker
import torch
from score_worker import CASES, N_IMAGES, Workers, assert_same_scores, environment, score_case

from captum_ssvep import NeuronScores

pytestmark = pytest.mark.usefixtures("one_thread")

SHARED_CASES = [case for case in CASES if case != "residual network"]
# Each process scores half of the images, in two seconds at least.
PAUSE = 0.04


@pytest.fixture(scope="module")
def expected():
    """The scores of each case in a single process without a process group."""
    return {case: score_case(case)[0] for case in SHARED_CASES}


@pytest.fixture(scope="module")
def workers():
    with Workers() as started:
        yield started


@pytest.fixture(scope="module", params=[1, 2, 3], ids="{} processes".format)
def n_processes(request):
    return request.param


@pytest.fixture(scope="module")
def folder(workers, n_processes, tmp_path_factory):
    """What each process saved of each case."""
    made = tmp_path_factory.mktemp("cases")
    for case in SHARED_CASES:
        assert workers.finish(case, made, n_processes=n_processes) == [0] * n_processes
    return made


def scores_in(folder, case, n_processes):
    return [NeuronScores.load(folder / f"{case}.{rank}.npz") for rank in range(n_processes)]


@pytest.mark.parametrize("case", SHARED_CASES)
def test_every_process_returns_the_scores_over_all_images(folder, expected, case, n_processes):
    found = scores_in(folder, case, n_processes)
    for scores in found:
        assert scores.n_images == CASES[case].get("n_images", N_IMAGES)
        assert_same_scores(scores, expected[case])
    for scores in found[1:]:
        assert_same_scores(scores, found[0], rtol=0, atol=0)


@pytest.mark.parametrize("case", ["all images", "two images", "one image", "loaders"])
def test_every_image_is_fetched_once_by_the_process_whose_turn_it_is(folder, case, n_processes):
    n_images = CASES[case].get("n_images", N_IMAGES)
    for rank in range(n_processes):
        fetched = json.loads((folder / f"{case}.{rank}.json").read_text())
        assert fetched == list(range(rank, n_images, n_processes))


def test_sign_flip_tests_are_those_of_a_single_process(folder, expected, n_processes):
    case = "every example"
    arguments = dict(components=[(1, 1)], test="sign_flip")
    p_values = expected[case].p_values(**arguments)
    assert min(values.min() for values in p_values.values()) < 0.01
    last = scores_in(folder, case, n_processes)[-1]
    # Signs are flipped in the order of the images, whoever saw them.
    torch.testing.assert_close(last.p_values(**arguments), p_values, rtol=0, atol=1e-12)


def test_tests_in_noise_are_those_of_a_single_process(folder, expected, n_processes):
    p_values = expected["noise"].p_values()
    for scores in scores_in(folder, "noise", n_processes):
        torch.testing.assert_close(scores.p_values(), p_values, rtol=1e-9, atol=0)


def test_classes_that_a_process_never_sees_are_there(folder, n_processes):
    """Of two images over three processes, rank 2 has none."""
    for scores in scores_in(folder, "two images", n_processes):
        assert scores.classes == (0, 1)
        for label in (0, 1):
            found = scores.of_class(label)
            assert found.n_images == 1
            assert all((top == label).all() for top in found.top_images.values())


def n_done(path):
    with np.load(path, allow_pickle=False) as arrays:
        return json.loads(str(arrays["checkpoint"]))["n_done"]


def checkpoints_of(path, n_processes):
    """PATH, PATH.1, ..."""
    return [path, *(path.with_name(f"{path.name}.{rank}") for rank in range(1, n_processes))]


def wait_for(paths):
    patience = time.monotonic() + 60
    while not all(path.exists() for path in paths):
        assert time.monotonic() < patience
        time.sleep(0.005)


@pytest.mark.parametrize("case", ["loaders by class", "every example"])
def test_processes_that_were_killed_together_go_on(workers, expected, tmp_path, case):
    moments = random.Random(1)
    path = tmp_path / "scores.npz"
    files = checkpoints_of(path, 2)
    arguments = dict(checkpoint=str(path), checkpoint_every=1, pause=PAUSE)
    held = [0, 0]
    for _ in range(2):
        workers.start(case, tmp_path, n_processes=2, **arguments)
        wait_for(files)
        time.sleep(moments.uniform(0, 0.4))
        workers.kill()
        assert workers.wait() == [-9, -9]
        before, held = held, [n_done(file) for file in files]
        assert all(0 < now < 50 for now in held)
        assert all(was <= now for was, now in zip(before, held, strict=True))
    assert {file.name for file in tmp_path.glob("scores.npz*")} >= {"scores.npz", "scores.npz.1"}
    assert workers.finish(case, tmp_path, n_processes=2, **arguments) == [0, 0]
    assert [n_done(file) for file in files] == [51, 50]
    for rank, scores in enumerate(scores_in(tmp_path, case, 2)):
        assert_same_scores(scores, expected[case])
        if case == "every example":
            fetched = json.loads((tmp_path / f"{case}.{rank}.json").read_text())
            # The first item tells the data apart.
            again = [index for index in fetched if index > 0 and index // 2 < held[rank]]
            assert not again


@pytest.mark.parametrize(("n_processes", "n_resumed"), [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_another_number_of_processes_is_refused(workers, tmp_path, n_processes, n_resumed):
    path = tmp_path / "scores.npz"
    case = "all images"
    request = dict(checkpoint=str(path))
    assert workers.finish(case, tmp_path, n_processes=n_processes, **request) == [0] * n_processes
    files = checkpoints_of(path, n_processes)
    contents = [file.read_bytes() for file in files]
    codes = workers.finish(case, tmp_path, n_processes=n_resumed, **request)
    assert codes == [1] * n_resumed
    for rank, file in enumerate(checkpoints_of(path, n_resumed)[:n_processes]):
        refusal = workers.failures[rank]
        assert refusal.startswith("ValueError: ")
        assert f"{file} to be of this very run, but it differs in processes;" in refusal
    assert [file.read_bytes() for file in files] == contents


def test_finished_checkpoints_give_every_process_the_scores(
    workers, expected, tmp_path, n_processes
):
    case = "two images"
    request = dict(n_processes=n_processes, checkpoint=str(tmp_path / "scores.npz"))
    for _ in range(2):
        assert workers.finish(case, tmp_path, **request) == [0] * n_processes
        for rank, scores in enumerate(scores_in(tmp_path, case, n_processes)):
            assert_same_scores(scores, expected[case])
            (tmp_path / f"{case}.{rank}.npz").unlink()


@pytest.mark.slow
@pytest.mark.parametrize("n_processes", [2, 3])
def test_torchrun(expected, tmp_path, n_processes):
    cases = ["all images", "by class", "two images", "loaders"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [f"--nproc_per_node={n_processes}", score_worker.__file__, str(tmp_path), *cases]
    finished = subprocess.run(
        [*launcher, *command], env=environment(), capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    for case in cases:
        for scores in scores_in(tmp_path, case, n_processes):
            assert_same_scores(scores, expected[case])


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.usefixtures("cifar_images")
def test_two_processes_score_a_residual_network_as_one_does(workers, tmp_path):
    case = "residual network"
    assert workers.finish(case, tmp_path, n_processes=2) == [0, 0]
    alone, _ = score_case(case)
    assert alone.n_images == N_IMAGES
    for scores in scores_in(tmp_path, case, 2):
        assert_same_scores(scores, alone, rtol=1e-6, atol=1e-7)
