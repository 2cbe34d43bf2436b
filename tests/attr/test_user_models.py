"""Models and arguments as users bring them: without a batch, nested, lazy, offloaded, sharded."""

import warnings

import pytest
import torch
from captum.attr import LayerActivation, LayerGradientXActivation
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    FrequencyTunnel,
    ablation_damage,
    score_neurons,
    tagged_sequence,
)

pytestmark = pytest.mark.usefixtures("one_thread")

GRID = ChebyshevGrid()


def spectrum_of(model, layer, x, arguments=(), **options):
    """What a layer gives for every frame, recorded by Captum one frame at a time."""
    activation = LayerActivation(model, model.get_submodule(layer))
    frames = tagged_sequence(x, GRID, options.get("feature_mask"))
    series = [activation.attribute(f, additional_forward_args=arguments) for f in frames]
    return torch.stack([s.detach() for s in series])


def assert_as_recorded_by_captum(model, layer, x, arguments=(), **options):
    """The mean over the frames of a grid, however they are cut into passes."""
    tagging = FrequencyTaggingAttribution(model, layer)
    given = {"additional_forward_args": arguments, "design": GRID, **options}
    spectrum = tagging.spectrum(x, **given)
    expected = spectrum_of(model, layer, x, arguments, **options).mean(0)
    torch.testing.assert_close(spectrum.mean, expected)
    for size in (1, 3):
        other = tagging.spectrum(x, **given, perturbations_per_eval=size)
        torch.testing.assert_close(other.mean, expected)


class Mixing(nn.Module):
    """Nodes, or moments, that a matrix mixes, with a shift for each example."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x, matrix, shift=0.0, scale=None):
        mixed = matrix @ self.first(x) + shift
        return self.last(mixed.relu() if scale is None else mixed.relu() * scale)


ARGUMENTS = {
    "adjacency": lambda: (torch.rand(5, 5),),
    "adjacency and one number": lambda: (torch.rand(5, 5), torch.tensor(0.5)),
    "adjacency and a shift of each example": lambda: (torch.rand(5, 5), torch.rand(2, 1, 1)),
    "matrix of each example": lambda: (torch.rand(2, 5, 5),),
    "matrix with a batch of one": lambda: (torch.rand(1, 5, 5), 0.5),
    "positions": lambda: (torch.rand(5, 5), torch.rand(5, 8)),
    "scale of each feature": lambda: (torch.rand(5, 5), 0.0, torch.rand(8)),
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_arguments_without_examples_are_passed_as_they_are(kind):
    assert_as_recorded_by_captum(Mixing().eval(), "last", torch.rand(2, 5, 4), ARGUMENTS[kind]())


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_the_tunnel_passes_them_as_they_are_too(kind):
    model, x, arguments = Mixing().eval(), torch.rand(2, 5, 4), ARGUMENTS[kind]()
    tunnel = FrequencyTunnel(LayerActivation(model, model.last))
    spectrum = tunnel.spectrum(x, design=GRID, additional_forward_args=arguments)
    torch.testing.assert_close(spectrum.mean, spectrum_of(model, "last", x, arguments).mean(0))


@pytest.mark.parametrize("method", ["tagging", "tunnel"])
def test_a_square_argument_as_large_as_the_batch_is_warned_of(method):
    model, x, adjacency = Mixing().eval(), torch.rand(5, 5, 4), torch.rand(5, 5)
    expected = spectrum_of(model, "last", x, adjacency).mean(0)
    tunnel = FrequencyTunnel(LayerActivation(model, model.last))
    way = FrequencyTaggingAttribution(model, "last") if method == "tagging" else tunnel
    with pytest.warns(UserWarning, match=r"pass it as `matrix\[None\]`"):  # noqa: SIM117
        with pytest.raises(RuntimeError):
            way.spectrum(x, design=GRID, additional_forward_args=adjacency)
    spectrum = way.spectrum(x, design=GRID, additional_forward_args=adjacency[None])
    torch.testing.assert_close(spectrum.mean, expected)


def test_arguments_with_examples_are_split_with_them():
    model, x, shift = Mixing().eval(), torch.rand(4, 5, 4), torch.rand(4, 1, 1)
    arguments = (torch.rand(5, 5), shift)
    assert_as_recorded_by_captum(model, "last", x, arguments, internal_batch_size=2)


class Block(nn.Module):
    """Also returns a table without a batch, or an auxiliary loss."""

    def __init__(self, extra):
        super().__init__()
        self.linear, self.extra = nn.Linear(8, 8), nn.Parameter(extra)

    def forward(self, x):
        return self.linear(x), self.extra * 2


class WithBlock(nn.Module):
    def __init__(self, extra):
        super().__init__()
        self.block, self.head = Block(extra), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.block(x)[0])


@pytest.mark.parametrize(
    "extra",
    [torch.rand(1, 2, 3, 3), torch.rand(7), torch.rand(3, 3), torch.tensor(0.5)],
    ids=["position bias", "vector", "table", "loss"],
)
@pytest.mark.parametrize("n_examples", [1, 2])
def test_tensors_without_a_batch_are_left_out_with_a_warning(extra, n_examples):
    model, x = WithBlock(extra).eval(), torch.rand(n_examples, 3, 8)
    tagging = FrequencyTaggingAttribution(model, "block")
    with pytest.warns(UserWarning, match=r"'block' also gives a tensor of shape \(") as caught:
        result = tagging.attribute(x, design=GRID)
    assert len(caught) == 1
    alone = FrequencyTaggingAttribution(model, "block.linear").attribute(x, design=GRID)
    torch.testing.assert_close(result, alone)
    with pytest.warns(UserWarning, match="also gives"):
        pooled = tagging.spectrum(x, design=GRID, pooling="channel", channel_dim=-1)
    assert pooled.mean.shape == (n_examples, 8)


class Encoder(nn.Module):
    def __init__(self, norm_first=False):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
        self.project = nn.Linear(6, 8)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=not norm_first)

    def forward(self, x, padding=None):
        return self.encoder(self.project(x), src_key_padding_mask=padding)


@pytest.mark.parametrize("layer", ["encoder.layers.0", "encoder.layers.1.linear2", "encoder"])
@pytest.mark.parametrize("length", [3, 5])
def test_padded_sequences_are_read_at_full_length(layer, length):
    model, x = Encoder().eval(), torch.rand(2, 5, 6)
    padding = torch.arange(5).expand(2, 5) >= torch.tensor([[2], [length]])
    mask = (torch.arange(5) % 2)[:, None]
    tagging = FrequencyTaggingAttribution(model, layer)
    spectrum = tagging.spectrum(x, additional_forward_args=padding, feature_mask=mask, design=GRID)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        expected = spectrum_of(model, layer, x, padding, feature_mask=mask).mean(0)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    torch.testing.assert_close(spectrum.mean, expected)
    assert torch.backends.mha.get_fastpath_enabled()


LAZY = {
    "convolution": lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU()),
    "linear": lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.LazyLinear(4)),
    "partly": lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.LazyConv2d(4, 1), nn.ReLU()),
}


@pytest.mark.parametrize("kind", LAZY)
@pytest.mark.parametrize("method", ["tagging", "tunnel"])
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_lazy_modules_are_made_and_read(kind, method):
    model, x = LAZY[kind]().eval(), torch.rand(1, 3, 8, 8)
    if method == "tagging":
        found = FrequencyTaggingAttribution(model, "2").spectrum(x, design=GRID).mean
    else:
        found = FrequencyTunnel(LayerActivation(model, model[2])).spectrum(x, design=GRID).mean
    torch.testing.assert_close(found, spectrum_of(model, "2", x).mean(0))


def plain_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(64, 3),
    ).eval()


@pytest.mark.parametrize("where", ["leaves", "blocks"])
def test_offloaded_parameters_are_offloaded_again(where):
    from accelerate import cpu_offload
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    model, x = plain_network(), torch.rand(2, 3, 8, 8)
    expected = FrequencyTaggingAttribution(model, "1.0").attribute(x, design=GRID)
    if where == "leaves":
        cpu_offload(model, execution_device="cpu")
    else:  # a block loads all that it holds, and puts it back when it returns
        for block in (model[0], model[1]):
            weights = {name: value.clone() for name, value in block.state_dict().items()}
            hook = AlignDevicesHook("cpu", offload=True, weights_map=weights, place_submodules=True)
            add_hook_to_module(block, hook)
    found = FrequencyTaggingAttribution(model, "1.0").attribute(x, design=GRID)
    torch.testing.assert_close(found, expected)
    assert model[1][0].weight.is_meta
    assert model[0][0].weight.is_meta
    data = TensorDataset(x, torch.tensor([0, 1]))
    tagging = FrequencyTaggingAttribution(model, "1.0")
    score_neurons(tagging, TensorDataset(x), design=GRID, show_progress=False)
    if where == "leaves":
        ablation_damage(model, data, ["0.0"], show_progress=False)


def test_sharded_parameters_are_sharded_again(tmp_path):
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    x, expected = torch.rand(1, 3, 8, 8), plain_network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dist.init_process_group("gloo", f"file://{tmp_path / 'store'}", rank=0, world_size=1)
        try:
            mesh, model = init_device_mesh("cpu", (1,)), plain_network()
            for part in (model[0], model[1]):
                fully_shard(part, mesh=mesh)
            fully_shard(model, mesh=mesh, reshard_after_forward=True)
            found = FrequencyTaggingAttribution(model, "1.0").attribute(x, design=GRID)
            kinds = {type(parameter).__name__ for parameter in model.parameters()}
        finally:
            dist.destroy_process_group()
    assert kinds == {"DTensor"}
    torch.testing.assert_close(
        found, FrequencyTaggingAttribution(expected, "1.0").attribute(x, design=GRID)
    )


@pytest.mark.parametrize("around", [True, False])
def test_hooks_around_a_layer_see_every_pass_and_those_behind_it_do_not(around):
    model, x = plain_network(), torch.rand(1, 3, 8, 8)
    seen = []
    (model[1] if around else model[3]).register_forward_hook(lambda *_: seen.append(1))
    FrequencyTaggingAttribution(model, "1.0").attribute(x, design=GRID, perturbations_per_eval=1)
    assert len(seen) == (26 if around else 1)


class Fourier(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x)


class Sign(nn.Module):
    def forward(self, x):
        return (x > 0.5).long()


class Count(nn.Module):
    def forward(self, x):
        return x.sum()


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Fourier, r"tensor of torch.complex64; read a layer before it, or one that gives "),
        (Sign, r"tensor of torch.int64, which has no amplitude; read a layer before it"),
        (Count, "got a single number"),
    ],
)
def test_layers_that_give_other_numbers_are_named_with_their_type(layer, words):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.layer = nn.Linear(8, 8), layer()

        def forward(self, x):
            y = self.linear(x)
            self.layer(y)
            return y

    with pytest.raises(TypeError, match=rf"Expected layer 'layer' to give .*{words}"):
        FrequencyTaggingAttribution(Model().eval(), "layer").attribute(torch.rand(1, 8))


def test_relevance_of_a_lazy_network():
    model, x = LAZY["linear"]().eval(), torch.rand(2, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tunnel = FrequencyTunnel(LayerGradientXActivation(model, model[0]))
        assert tunnel.attribute(x, target=0, design=GRID).shape == (2, 2, 6, 6)
