"""Other threads that use this model or another one notice nothing."""

import functools
import random
import threading
import warnings
from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    TwoLevelDesign,
    ablation_damage,
    score_neurons,
)
from captum_ssvep._compat import uncompiled
from captum_ssvep.model.recorder import LayerRecorder
from captum_ssvep.model.threads import in_this_thread
from captum_ssvep.model.untouched import undisturbed

pytestmark = pytest.mark.usefixtures("one_thread")


def small_network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3),
        nn.Flatten(),
        nn.Linear(64, 3),
    ).eval()


@contextmanager
def meanwhile(*functions):
    """Call functions again and again, each in a thread of its own; yields what they raised."""
    stop, raised = threading.Event(), []

    def repeat(function):
        while not stop.is_set():
            try:
                function()
            except BaseException as error:
                raised.append(error)

    threads = [threading.Thread(target=repeat, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    try:
        yield raised
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def in_another_thread(function):
    result = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    thread.join()
    return result[0]


@pytest.mark.parametrize("with_kwargs", [False, True])
def test_a_hook_that_was_removed_in_the_middle_of_a_call_does_no_harm(with_kwargs):
    """torch takes its list of hooks first, then looks up whether a hook takes `kwargs`."""
    model, seen = nn.Linear(2, 2), []
    handles = []
    model.register_forward_pre_hook(lambda *_: handles[0].remove())
    hook = in_this_thread(lambda module, args, kwargs=None: seen.append(args))
    handles.append(model.register_forward_pre_hook(hook, with_kwargs=with_kwargs))
    in_another_thread(lambda: model(torch.ones(1, 2)))
    assert not seen


@pytest.mark.parametrize("layer_inputs", [False, True])
def test_a_pass_in_another_thread_is_neither_recorded_nor_stopped(layer_inputs):
    model, recorded = small_network(), []
    x = torch.rand(2, 3, 8, 8)
    with LayerRecorder(model, ["2"], layer_inputs=layer_inputs) as recorder:
        recorder.record((x,), (), lambda index, tensors: None)
        recorder._begin(2, lambda index, tensors: recorded.append(index))
        output = in_another_thread(lambda: model(x))
    assert not recorded
    torch.testing.assert_close(output, model(x))


def test_threads_that_let_layers_flicker_and_others_that_infer():
    model, x = small_network(), torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        expected = model(x)
    wrong = []

    def tag(layer):
        tagging = FrequencyTaggingAttribution(model, "5")
        spectrum = tagging.spectrum(x, tag_layer=layer, design=TwoLevelDesign(2))
        if not torch.equal(spectrum.lines, alone[layer].lines):
            wrong.append(layer)

    def infer():
        with torch.no_grad():
            if not torch.equal(model(x), expected):
                wrong.append("inference")

    alone = {
        layer: FrequencyTaggingAttribution(model, "5").spectrum(
            x, tag_layer=layer, design=TwoLevelDesign(2)
        )
        for layer in ("0", "2", "3")
    }
    functions = [functools.partial(tag, layer) for layer in alone]
    with meanwhile(*functions, infer, infer) as raised:
        for _ in range(20):
            tag("2")
            infer()
    assert not raised
    assert not wrong
    assert not any("forward" in vars(module) for module in model.modules())


def test_modules_of_other_models_are_not_put_back():
    other = nn.BatchNorm1d(3).train()
    with undisturbed(None):
        for _ in range(5):
            in_another_thread(lambda: other(torch.rand(4, 3)))
    assert other.num_batches_tracked == 5


@pytest.mark.parametrize("known", [True, False])
def test_what_other_threads_draw_is_not_drawn_again(known):
    model = small_network()
    forward = model if known else lambda x: model(x)
    layer = model[2]
    drawn = []
    model[0].register_forward_hook(
        lambda *_: drawn.append(in_another_thread(lambda: torch.rand(1).item()))
    )
    FrequencyTaggingAttribution(forward, layer).attribute(
        torch.rand(1, 3, 8, 8), perturbations_per_eval=1
    )
    after = torch.rand(1).item()
    assert len(drawn) > 40
    assert len({*drawn, after}) == len(drawn) + 1


def test_compiled_code_runs_again_after_overlapping_contexts():
    import torch._dynamo

    def stance():
        return torch._dynamo.eval_frame._stance.stance

    first, second = uncompiled(), uncompiled()
    first.__enter__()
    in_another_thread(second.__enter__)
    first.__exit__(None, None, None)
    between = stance()
    in_another_thread(lambda: second.__exit__(None, None, None))
    assert (between, stance()) == ("force_eager", "default")


def test_damage_in_one_thread_leaves_inference_in_others_alone():
    model = small_network()
    data = TensorDataset(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]))
    x = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        expected = model(x)
    expected_damage = ablation_damage(model, data, ["0", "3"], show_progress=False)
    wrong = []

    def infer():
        with torch.no_grad():
            if not torch.equal(model(x), expected):
                wrong.append(True)

    with meanwhile(infer, infer) as raised:
        damages = [ablation_damage(model, data, ["0", "3"], show_progress=False) for _ in range(5)]
    assert not raised
    assert not wrong
    for damage in damages:
        torch.testing.assert_close(damage.signed, expected_damage.signed)
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.slow
def test_threads_that_infer_train_and_tag_do_not_disturb_each_other():
    model, trained = small_network(), small_network(1).train()
    x, image = torch.rand(2, 3, 8, 8), torch.rand(1, 3, 8, 8)
    grid = ChebyshevGrid()
    with torch.no_grad():
        expected = model(x)
    expected_scores = FrequencyTaggingAttribution(model, "2").attribute(image, design=grid)
    calls, wrong = Counter(), Counter()

    def infer():
        with torch.no_grad():
            output = model(x)
        calls["infer"] += 1
        wrong["infer"] += not torch.equal(output, expected)

    def train():
        trained(torch.rand(2, 3, 8, 8)).sum().backward()
        calls["train"] += 1

    def tag():
        scores = FrequencyTaggingAttribution(model, "2").attribute(
            image, design=grid, perturbations_per_eval=random.choice([1, 4, None])
        )
        calls["tag"] += 1
        wrong["tag"] += not torch.allclose(scores, expected_scores, rtol=1e-3, atol=2)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with meanwhile(infer, infer, infer, infer, train, tag, tag) as raised:
            while (calls["tag"] < 100 or sum(calls.values()) < 1000) and not raised:
                threading.Event().wait(0.05)
    assert not raised
    assert not +wrong
    assert trained[1].num_batches_tracked == calls["train"]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_scores_are_right_while_the_model_infers_elsewhere():
    model = small_network()
    data = TensorDataset(torch.rand(6, 3, 8, 8))
    tagging = FrequencyTaggingAttribution(model, ["0", "2"])
    expected = score_neurons(tagging, data, show_progress=False).mean
    with meanwhile(lambda: model(torch.rand(3, 3, 8, 8))) as raised:
        found = score_neurons(tagging, data, show_progress=False).mean
    assert not raised
    torch.testing.assert_close(dict(found), dict(expected))
