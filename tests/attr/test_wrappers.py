"""Models that are wrapped, compiled, in other precisions, elsewhere, in training or jitted."""

import copy
import math
import shutil
import warnings
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from captum.attr import LayerActivation
from torch import distributed as dist
from torch import nn

from captum_ssvep import FrequencyTaggingAttribution, FrequencyTunnel, TaggingDesign, layers_of

# 10 distinct frames, collision-free to order 2.
DESIGN = TaggingDesign((3.0, 4.0), sampling_rate=24.0, n_frames=24, phases=math.pi / 2)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten())
        self.head = nn.Linear(64, 2)

    def forward(self, x):
        return self.head(self.body(self.relu(self.norm(self.conv(x)))))


IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LAYERS = ["conv", "relu", "body.1"]


@pytest.fixture
def model():
    torch.manual_seed(1)
    return Network().eval()


def tag(forward_func, layers=LAYERS, inputs=IMAGES, device_ids=None, **arguments):
    tagging = FrequencyTaggingAttribution(forward_func, layers, device_ids)
    return tagging.spectrum(inputs, design=DESIGN, max_order=2, **arguments)


def assert_same_spectra(spectra, expected, tolerance=1e-5):
    for ours, theirs in zip(spectra, expected, strict=True):
        largest = theirs.lines.abs().amax()
        assert largest > 0.01
        assert (ours.lines.to(theirs.lines) - theirs.lines).abs().amax() <= tolerance * largest


def modules_of(model):
    return list(map(model.get_submodule, LAYERS))


passthrough = pytest.mark.skipif(
    torch.cuda.is_available(), reason="DataParallel moves its inputs where there is a GPU"
)


@passthrough
@pytest.mark.parametrize("device_ids", [None, [0]])
@pytest.mark.parametrize("name_of", ["{}", "module.{}", None], ids=["inner", "outer", "modules"])
def test_data_parallel_on_the_cpu(model, name_of, device_ids):
    expected = tag(model)
    layers = [name_of.format(name) for name in LAYERS] if name_of else modules_of(model)
    assert_same_spectra(tag(nn.DataParallel(model), layers, device_ids=device_ids), expected)


@pytest.fixture
def process_group(tmp_path):
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("torch.distributed has no gloo here")
    dist.init_process_group("gloo", f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("by_name", [True, False], ids=["names", "modules"])
def test_distributed_data_parallel(model, process_group, by_name):
    expected = tag(model)
    wrapped = nn.parallel.DistributedDataParallel(model).eval()
    assert_same_spectra(tag(wrapped, LAYERS if by_name else modules_of(model)), expected)
    wrapped(IMAGES).sum().backward()  # its reducer still works
    assert model.conv.weight.grad is not None


class CountingBackend:
    """Compiles nothing; counts graphs made and graphs run."""

    def __init__(self):
        self.n_graphs = self.n_runs = 0

    def __call__(self, graph, example_inputs):
        self.n_graphs += 1

        def run(*arguments):
            self.n_runs += 1
            return graph(*arguments)

        return run


@pytest.fixture
def backend():
    torch._dynamo.reset()
    with torch.no_grad():  # Dynamo, in making graphs with gradients, warns of its own `.grad`
        yield CountingBackend()
    torch._dynamo.reset()


def in_place(model, backend, part=""):
    model.get_submodule(part).compile(backend=backend)
    return model


COMPILED = {
    "module": torch.compile,
    "one graph": partial(torch.compile, fullgraph=True),
    "any shape": partial(torch.compile, dynamic=True),
    "in place": in_place,
    "a part": partial(in_place, part="body"),
}
each_compiled = pytest.mark.parametrize("compiled", COMPILED.values(), ids=COMPILED)


@each_compiled
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("by_name", [True, False], ids=["names", "modules"])
def test_a_compiled_model_gives_what_the_plain_one_gives(model, backend, compiled, warm, by_name):
    expected, output = tag(model), model(IMAGES)
    layers = LAYERS if by_name else modules_of(model)
    wrapped = compiled(model, backend=backend)
    if warm:
        wrapped(IMAGES)
    for limits in ({}, {}, dict(perturbations_per_eval=3)):
        assert_same_spectra(tag(wrapped, layers, **limits), expected)
        assert torch.equal(wrapped(IMAGES), output)


@each_compiled
def test_tagging_neither_recompiles_nor_disables_what_is_compiled(model, backend, compiled):
    output = model(IMAGES)
    expected = {name: tag(model, [name]) for name in LAYERS}
    wrapped = compiled(model, backend=backend)
    wrapped(IMAGES)
    n_graphs = backend.n_graphs
    for name in LAYERS:  # one after the other: graphs made before know nothing of a new hook
        assert_same_spectra(tag(wrapped, [name]), expected[name])
        n_runs = backend.n_runs
        assert torch.equal(wrapped(IMAGES), output)
        # Older torch makes no graph of a Sequential at all.
        assert (backend.n_runs > n_runs) == (n_graphs > 0)
    assert backend.n_graphs == n_graphs


def test_other_methods_and_the_list_of_layers_see_through_graphs_made_before(model, backend):
    wrapped = torch.compile(model, backend=backend, fullgraph=True)
    wrapped(IMAGES)
    assert layers_of(wrapped, (nn.Conv2d,), IMAGES) == ["_orig_mod.conv", "_orig_mod.body.0"]
    results = [
        FrequencyTunnel(LayerActivation(forward, model.relu)).attribute(IMAGES, design=DESIGN)
        for forward in (wrapped, model)
    ]
    assert torch.equal(*results)


def test_names_reach_through_several_wrappers(model, process_group, backend):
    expected = tag(model)
    compiled = partial(torch.compile, backend=backend)
    distributed = nn.parallel.DistributedDataParallel
    for wrapped in (distributed(compiled(model)), compiled(distributed(model))):
        assert_same_spectra(tag(wrapped.eval()), expected)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler for inductor")
def test_the_default_compiler(model, backend):
    expected, output = tag(model), model(IMAGES)
    wrapped = torch.compile(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # inductor's own
        for _ in range(2):
            torch.testing.assert_close(wrapped(IMAGES), output)
            assert_same_spectra(tag(wrapped), expected)


def test_autocast_in_the_forward_function(model):
    def forward(x):
        with torch.autocast("cpu", torch.bfloat16):
            return model(x)

    conv, relu = tag(forward, [model.conv, model.relu])
    assert_same_spectra([conv, relu], tag(model, ["conv", "relu"]), tolerance=0.05)
    assert conv.lines.dtype == torch.complex64
    assert conv.snr((1, 0)).amax() > 3  # bfloat16 has a high rounding floor
    assert conv.snr((1, 1)).amax() < 1


def available(device):
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    marks = [pytest.mark.gpu, pytest.mark.skipif(not there[device], reason=f"no {device} here")]
    return pytest.param(device, marks=marks)


@pytest.mark.parametrize("device", ["cpu", available("cuda"), available("mps")])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # On GPUs float32 convolutions run in TF32.
    [(torch.float16, 0.02), (torch.bfloat16, 0.1), (torch.float32, 1e-3), (torch.float64, 1e-5)],
    ids=str,
)
def test_precisions_on_every_device(model, device, dtype, tolerance):
    if (device, dtype) == ("mps", torch.float64):
        pytest.skip("MPS has no float64")
    plain = nn.Sequential(model.conv, nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    expected = tag(plain, ["0", "1", "3"])
    moved, images = plain.to(device, dtype), IMAGES.to(device, dtype)
    spectra = tag(moved, ["0", "1", "3"], images)
    assert_same_spectra([spectrum.to("cpu") for spectrum in spectra], expected, tolerance)
    assert all(spectrum.lines.device.type == device for spectrum in spectra)
    assert spectra[0].snr((1, 1)).amax() < 1  # a convolution alone
    result = FrequencyTaggingAttribution(moved, "3").attribute(images, design=DESIGN)
    assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert result.isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no cuda here")
def test_wrappers_on_cuda(model):
    expected = tag(model)
    images, wrapped = IMAGES.cuda(), nn.DataParallel(model.cuda())  # all GPUs there are
    for device_ids in (None, list(range(torch.cuda.device_count()))):
        spectra = tag(wrapped, inputs=images, device_ids=device_ids)
        assert_same_spectra([spectrum.to("cpu") for spectrum in spectra], expected, 1e-3)
    with torch.autocast("cuda", torch.bfloat16):
        spectra = tag(model, inputs=images)
    assert_same_spectra([spectrum.to("cpu") for spectrum in spectra], expected, 0.05)


def jitted(model, how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated in torch 2.11
        return torch.jit.script(model) if how == "script" else torch.jit.trace(model, IMAGES)


@pytest.mark.parametrize("how", ["trace", "script"])
@pytest.mark.parametrize("bound", [False, True], ids=["model", "method"])
def test_a_jitted_model_is_refused(model, how, bound):
    scripted = jitted(model, how)
    with pytest.raises(ValueError, match=r"forward hooks, but got a jitted one .* Python model"):
        tag(scripted.forward if bound else scripted, ["conv"])


@pytest.mark.parametrize("how", ["trace", "script"])
@pytest.mark.parametrize("layer", ["conv", "conv.0", "module"])
def test_a_jitted_layer_is_refused_and_the_others_are_not(model, how, layer):
    expected = tag(model, ["relu", "body.1"])
    model.conv = jitted(nn.Sequential(model.conv), how)
    assert_same_spectra(tag(model, ["relu", "body.1"]), expected)
    with pytest.raises(ValueError, match="got a jitted one"):
        tag(model, [model.conv if layer == "module" else layer])


def state_of(model):
    """Copies of everything that running or training a model may change."""
    return copy.deepcopy(
        {
            "tensors": model.state_dict(),
            "gradients": [parameter.grad for parameter in model.parameters()],
            "train flags": [module.training for module in model.modules()],
            "hooks": [(m._forward_hooks, m._forward_pre_hooks) for m in model.modules()],
            "random": torch.get_rng_state(),
        }
    )


@pytest.mark.parametrize("fails", [False, True], ids=["success", "failure"])
def test_a_model_in_train_mode_warns_and_stays_bit_identical(model, fails):
    model.train()
    model.body[1].eval()
    model(IMAGES).sum().backward()
    if fails:
        model.body[2].register_forward_hook(lambda *_: [][0])
    before = state_of(model)
    with (
        pytest.warns(UserWarning, match=r"train mode.*`model\.eval\(\)`") as caught,
        pytest.raises(IndexError) if fails else nullcontext(),
    ):
        assert all(spectrum.lines.isfinite().all() for spectrum in tag(model, ["norm", "head"]))
    assert [warning.filename for warning in caught] == [__file__]
    after = state_of(model)
    for key in ("tensors", "gradients", "random"):
        torch.testing.assert_close(after.pop(key), before.pop(key), rtol=0, atol=0)
    assert after == before
    assert all(parameter.requires_grad for parameter in model.parameters())
