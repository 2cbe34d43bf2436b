"""Parts inside the network: what a layer gives flickers, and what lies in front of it runs once."""

import copy
import itertools
import warnings
from collections import defaultdict

import pytest
import torch
import torchvision
from captum.attr import (
    LayerActivation,
    LayerConductance,
    LayerGradCam,
    LayerGradientXActivation,
    LayerIntegratedGradients,
    Saliency,
)
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    FrequencyTunnel,
    TaggedSpectrum,
    TaggingDesign,
    TwoLevelDesign,
    ablated,
    channel_groups,
    layer_mean,
    score_neurons,
)

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
    return model


@torch.no_grad()
def literal_series(model, layer, images, design, mask, baseline, reader, **forward_args):
    """What a layer answers while a hook multiplies the activation, one frame at a time."""
    rows, modules = [], dict(model.named_modules())
    for contrasts in design.contrasts:
        # The last entry is that of -1: what does not flicker.
        gain = torch.tensor([*contrasts, 1.0], dtype=torch.float64)[mask]

        def flicker(module, args, output, gain=gain):
            return (baseline + gain * (output - baseline)).to(output)

        with modules[layer].register_forward_hook(flicker):
            rows.append(LayerActivation(model, modules[reader]).attribute(images, **forward_args))
    return torch.stack(rows)


@pytest.mark.parametrize("n_images", [1, 3])
@pytest.mark.parametrize("layer", ["layer2.0.conv1", "layer2.0.bn2", "layer3", "conv1"])
def test_equals_a_literal_loop_that_multiplies_in_a_hook(resnet, layer, n_images):
    """Inside of residual blocks, too, whose shortcuts come from in front of the layer."""
    images = IMAGES[:n_images].double()
    design = TwoLevelDesign(3, contrast=(0.25, 1.0))
    shape = LayerActivation(resnet, dict(resnet.named_modules())[layer]).attribute(images).shape
    mask, baseline = channel_groups(shape, 3), torch.rand(1, shape[1], 1, 1).double()
    spectrum = FrequencyTaggingAttribution(resnet, "fc").spectrum(
        images, baseline, feature_mask=mask, design=design, tag_layer=layer
    )
    series = literal_series(resnet, layer, images, design, mask, baseline, "fc")
    expected = TaggedSpectrum.from_series(series, design)
    torch.testing.assert_close(spectrum.lines, expected.lines, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(spectrum.mean, expected.mean, rtol=1e-9, atol=1e-9)
    answers = series.reshape(2, 2, 2, n_images, -1).mean(2)  # of the third part
    effect = answers[0, 0] - answers[0, 1] - answers[1, 0] + answers[1, 1]
    torch.testing.assert_close(spectrum.interaction_effect((1, 2)), effect, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "design", [TaggingDesign(), ChebyshevGrid(contrast=(0.0, 1.0)), TwoLevelDesign(2)], ids=str
)
@pytest.mark.parametrize("n_images", [1, 3])
def test_what_lies_in_front_runs_once(design, n_images):
    rows = defaultdict(list)

    class Counting(nn.Linear):
        def forward(self, x):
            rows[self].append(len(x))
            return super().forward(x)

    first, second, behind = Counting(6, 8), Counting(8, 6), Counting(6, 2)
    model = nn.Sequential(first, nn.ReLU(), second, nn.Tanh(), behind).eval()
    tagging = FrequencyTaggingAttribution(model, behind)
    tagging.spectrum(torch.rand(n_images, 6), design=design, tag_layer=second)
    assert rows[first] == rows[second] == [n_images]
    assert sum(rows[behind]) >= n_images * design.n_distinct_frames


@pytest.mark.parametrize("internal_batch_size", [1, 2, 4, 7])
def test_blocks_of_examples_give_the_same(resnet, internal_batch_size):
    images = IMAGES.double()
    tagging = FrequencyTaggingAttribution(resnet, ["layer4", "fc"])
    arguments = dict(design=ChebyshevGrid(2, 3), tag_layer="layer3.0.conv2")
    whole = tagging.spectrum(images, **arguments)
    blocks = tagging.spectrum(images, internal_batch_size=internal_batch_size, **arguments)
    for one, other in zip(whole, blocks, strict=True):
        torch.testing.assert_close(one.lines, other.lines, rtol=1e-9, atol=1e-9)


def test_an_identity_in_front_of_the_network_equals_tagging_the_input(resnet):
    model = nn.Sequential(nn.Identity(), resnet).eval()
    images = IMAGES.double()
    for layer in ("1.layer1", "1.fc"):
        tagging = FrequencyTaggingAttribution(model, layer)
        arguments = dict(baselines=torch.rand(1, 3, 1, 1).double(), estimate_error=True)
        of_input = tagging.spectrum(images, **arguments)
        of_layer = tagging.spectrum(images, tag_layer="0", **arguments)
        assert torch.equal(of_input.lines, of_layer.lines)
        assert torch.equal(of_input.error((1, 1)), of_layer.error((1, 1)))


@pytest.mark.data
def test_a_real_network(resnet32, cifar_images):
    images, design = cifar_images[:3], TwoLevelDesign(4)
    mask = channel_groups((1, 64, 8, 8), 4)
    mean = layer_mean(resnet32, "layer3.1", TensorDataset(cifar_images), show_progress=False)
    layers = ["layer3.3", "layer3.4", "linear"]
    spectra = FrequencyTaggingAttribution(resnet32, layers).spectrum(
        images, mean, feature_mask=mask, design=design, tag_layer="layer3.1"
    )
    for layer, spectrum in zip(layers, spectra, strict=True):
        series = literal_series(resnet32, "layer3.1", images, design, mask, mean, layer)
        expected = TaggedSpectrum.from_series(series.double(), design)
        scale = expected.lines.abs().max()
        assert (spectrum.lines - expected.lines).abs().max() <= 1e-6 * scale


def test_a_transformer_with_tokens_as_inputs():
    """Integers cannot flicker; what the embedding gives can, token by token."""
    torch.manual_seed(1)

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(10, 8)
            self.positions = nn.Parameter(torch.randn(1, 6, 8))
            self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, tokens, padding):
            x = self.embedding(tokens) + self.positions
            return self.head(self.encoder(x, src_key_padding_mask=padding)[:, 0])

    model = Reader().double().eval()
    tokens, padding = torch.randint(10, (2, 6)), torch.zeros(2, 6, dtype=torch.bool)
    padding[1, 4:] = True
    design, mask = TwoLevelDesign(6, max_order=6), torch.arange(6)[:, None]
    spectrum = FrequencyTaggingAttribution(model, "head").spectrum(
        tokens,
        additional_forward_args=padding,
        feature_mask=mask,
        design=design,
        tag_layer="embedding",
    )
    series = literal_series(
        model, "embedding", tokens, design, mask, 0.0, "head", additional_forward_args=padding
    )
    expected = TaggedSpectrum.from_series(series, design)
    torch.testing.assert_close(spectrum.lines, expected.lines)
    values = spectrum.shapley_values()
    assert values.shape == (6, 2, 3)
    assert (values[4:, 1].abs() <= 1e-6).all()  # padding


def test_the_tunnel_with_a_method_that_starts_behind(resnet):
    images, design = IMAGES.double(), TwoLevelDesign(2)
    mask = channel_groups((1, 256, 2, 2), 2)
    for kind in (LayerGradientXActivation, LayerGradCam):
        spectrum = FrequencyTunnel(kind(resnet, resnet.layer4)).spectrum(
            images, mask, design=design, tag_layer="layer3", target=torch.tensor([1, 5, 7])
        )
        series = []
        for contrasts in design.contrasts:
            gain = torch.tensor(contrasts)[mask]
            with resnet.layer3.register_forward_hook(lambda *call, gain=gain: call[2] * gain):
                attributions = kind(resnet, resnet.layer4).attribute(images, target=[1, 5, 7])
            series.append(attributions.detach())
        expected = TaggedSpectrum.from_series(torch.stack(series), design)
        torch.testing.assert_close(spectrum.lines, expected.lines, rtol=1e-7, atol=1e-9)


def test_the_tunnel_around_activations_equals_the_method_itself(resnet):
    images, arguments = IMAGES.double(), dict(design=TwoLevelDesign(2), tag_layer="layer2.1.conv1")
    tunnel = FrequencyTunnel(LayerActivation(resnet, resnet.layer4)).attribute(images, **arguments)
    itself = FrequencyTaggingAttribution(resnet, "layer4").attribute(images, **arguments)
    torch.testing.assert_close(tunnel, itself)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Saliency, "attributes to 'inputs', in front"),
        (lambda m: LayerGradientXActivation(m, m.layer2), "attributes to 'layer2', in front"),
        (lambda m: LayerIntegratedGradients(m, m.layer4), "was called with others"),
        (lambda m: LayerConductance(m, m.layer4), "was called with others"),
    ],
)
def test_methods_that_run_what_lies_in_front_are_refused(resnet, method, message):
    tunnel = FrequencyTunnel(method(resnet))
    with pytest.raises(ValueError, match=message):
        tunnel.attribute(IMAGES.double(), tag_layer="layer3", target=0, design=TwoLevelDesign(2))


class Siamese(nn.Module):
    """Called twice in a pass; and a layer that gives two tensors."""

    def __init__(self):
        super().__init__()
        self.shared, self.head, self.pair = nn.Linear(6, 4), nn.Linear(4, 2), Pair()
        self.total = nn.Linear(1, 1)

    def forward(self, x):
        first, _ = self.pair(self.shared(x))
        return self.head(self.shared(x.flip(1)) + first)


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("layer", "arguments", "error", "message"),
    [
        ("head", dict(tag_layer="shared"), ValueError, "to be called once in a forward pass"),
        ("head", dict(tag_layer="pair"), TypeError, "one floating tensor, examples first"),
        ("head", dict(tag_layer="total"), ValueError, "to be called in the forward pass"),
        ("head", dict(tag_layer="nowhere"), ValueError, "no 'nowhere'"),
        ("pair", dict(tag_layer="head"), ValueError, "behind `tag_layer`"),
        (
            "head",
            dict(tag_layer="head", attribute_to_layer_input=True),
            ValueError,
            "behind `tag_layer`",
        ),
    ],
)
def test_layers_that_cannot_flicker_or_be_read_are_refused(layer, arguments, error, message):
    model = Siamese().eval()
    tagging = FrequencyTaggingAttribution(model, layer)
    with pytest.raises(error, match=message):
        tagging.attribute(torch.rand(2, 6), **arguments)
    assert not any("forward" in vars(module) for module in model.modules())


def test_masks_and_baselines_that_do_not_fit_the_layer_are_refused(resnet):
    tagging = FrequencyTaggingAttribution(resnet, "fc")
    with pytest.raises(ValueError, match=r"that flickers, of shape \(3, 256, 2, 2\)"):
        tagging.attribute(IMAGES.double(), torch.rand(1, 3, 1, 1), tag_layer="layer3")
    with pytest.raises(ValueError, match="without a pixel"):
        tagging.attribute(
            IMAGES.double(),
            feature_mask=channel_groups((1, 256, 2, 2), 2),
            design=TwoLevelDesign(3),
            tag_layer="layer3",
        )


class InPlace(nn.Module):
    """Modules in front that write into what is read behind the layer, or pass it on."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.first, self.layer, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.relu, self.same, self.flat = nn.ReLU(inplace=True), nn.Identity(), nn.Flatten()

    def forward(self, x):
        if self.kind == "input":
            x = x.sub_(0.5)
        z = self.first(x) if self.kind != "clone" else x.clone()
        if self.kind == "unread":
            return self.head(self.layer(self.relu(z)))
        if self.kind in ("relu", "clone", "input"):
            y = self.relu(z)
        elif self.kind == "same":
            y = self.same(z)
            y += 1
        elif self.kind == "flat":
            y = self.flat(z[:, :, None])
            y *= 2
        else:
            y = self.relu(self.same(z))
        return self.head(self.layer(y) + z)


@pytest.mark.parametrize("n_images", [1, 3])
@pytest.mark.parametrize("layer", ["layer", "relu"])
@pytest.mark.parametrize("kind", ["relu", "clone", "input", "same", "flat", "both", "unread"])
def test_modules_that_work_in_place(kind, layer, n_images):
    if layer == "relu" and kind in ("same", "flat"):
        pytest.skip("this one is not called there")
    torch.manual_seed(0)
    model = InPlace(kind).double().eval()
    images = torch.randn(n_images, 6).double()
    before, design, mask = images.clone(), TwoLevelDesign(2), torch.tensor([0, 0, 0, 1, 1, 1])
    spectrum = FrequencyTaggingAttribution(model, "head").spectrum(
        images, design=design, feature_mask=mask, tag_layer=layer
    )
    assert torch.equal(images, before)
    rows, module = [], getattr(model, layer)
    for contrasts in design.contrasts:
        gain = torch.tensor(contrasts)[mask]
        with (
            torch.no_grad(),
            module.register_forward_hook(lambda *call, gain=gain: call[2] * gain),
        ):
            rows.append(model(images.clone()))
    expected = TaggedSpectrum.from_series(torch.stack(rows), design)
    torch.testing.assert_close(spectrum.lines, expected.lines)
    torch.testing.assert_close(spectrum.mean, expected.mean)


@pytest.mark.parametrize("n_images", [1, 3])
def test_activations_kept_in_front_are_refused(n_images):
    class Keeps(nn.Module):
        def forward(self, x):
            self.skip = x * 2
            return x

    class Reads(nn.Module):
        def __init__(self, keeps):
            super().__init__()
            self.held = [keeps]

        def forward(self, x):
            return x + self.held[0].skip

    keeps = Keeps()
    model = nn.Sequential(nn.Linear(4, 4), keeps, nn.Linear(4, 4), Reads(keeps)).eval()
    tagging = FrequencyTaggingAttribution(model, "3")
    with pytest.raises(ValueError, match="'1' keeps some as `skip`"):
        tagging.attribute(torch.rand(n_images, 4), tag_layer="2")
    assert not hasattr(keeps, "skip")


def test_what_is_read_behind_is_repeated_and_nothing_else():
    """Memory for the first convolutions is not taken for every frame."""
    sizes = defaultdict(set)

    class Noting(nn.Identity):
        def forward(self, x):
            return x.clone()

    class Skipping(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.third = Noting(), Noting(), Noting()
            self.layer, self.head = Noting(), nn.Linear(4, 2)

        def forward(self, x):
            kept = self.second(self.first(x))
            return self.head(self.layer(self.third(kept)) + kept.abs())

    model = Skipping().eval()
    for name in ("first", "second", "third"):
        getattr(model, name).register_forward_hook(
            lambda module, args, output, name=name: sizes[name].add(
                output.untyped_storage().nbytes() // 4
            )
        )
    images = torch.randn(2, 4)
    spectrum = FrequencyTaggingAttribution(model, "head").spectrum(
        images, design=TwoLevelDesign(2), tag_layer="layer"
    )
    assert max(sizes["second"]) >= 3 * 2 * 4
    assert min(sizes["first"]) == min(sizes["third"]) == 1
    series = literal_series(
        model, "layer", images, TwoLevelDesign(2), torch.tensor([0, 0, 1, 1]), 0.0, "head"
    )
    expected = TaggedSpectrum.from_series(series, TwoLevelDesign(2))
    torch.testing.assert_close(spectrum.lines, expected.lines)


def test_sparse_arguments_and_preprocessing_that_rounds_are_fine():
    model = Adjacent().eval()
    adjacency = torch.eye(4).to_sparse()
    spectrum = FrequencyTaggingAttribution(model, "head").spectrum(
        torch.rand(2, 4), additional_forward_args=adjacency, tag_layer="layer"
    )
    assert spectrum.mean.shape == (2, 3)


class Adjacent(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Identity(), nn.Linear(4, 3)

    def forward(self, x, adjacency):
        return self.head(self.layer((adjacency @ x.T).T))


def test_a_tunnel_with_lazy_modules_that_never_run():
    lazy = Spare(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))).eval()
    tunnel = FrequencyTunnel(LayerGradientXActivation(lazy, lazy.model[1]))
    result = tunnel.attribute(
        torch.rand(2, 4), tag_layer=lazy.model[0], target=0, design=TwoLevelDesign(2)
    )
    assert result.shape == (2, 4)


class Spare(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.spare = model, nn.LazyLinear(3)

    def forward(self, x):
        return self.model(x)


def test_functions_around_the_model_are_refused(resnet):
    for function in (lambda x: resnet(x), resnet.forward):
        tagging = FrequencyTaggingAttribution(function, resnet.fc)
        with pytest.raises(ValueError, match="pass the model itself"):
            tagging.attribute(IMAGES.double(), tag_layer=resnet.layer3)


def test_the_layer_itself_can_be_read(resnet):
    images, layer = IMAGES.double(), resnet.layer3
    spectrum = FrequencyTaggingAttribution(resnet, layer).spectrum(
        images, tag_layer=layer, design=TwoLevelDesign(2)
    )
    activation = LayerActivation(resnet, layer).attribute(images)
    first, second = spectrum.main_effects((0, 1))
    torch.testing.assert_close(first + second, activation)
    assert not second[..., 0].any()


def test_filters_that_are_silenced_stay_silent(resnet):
    images, arguments = IMAGES.double(), dict(design=TwoLevelDesign(2), tag_layer="layer3")
    tagging = FrequencyTaggingAttribution(resnet, "fc")
    mask = channel_groups((1, 256, 2, 2), [[*range(100)], [*range(100, 256)]])
    with ablated(resnet, {"layer3": [*range(100)]}):
        spectrum = tagging.spectrum(images, feature_mask=mask, **arguments)
    first, second = spectrum.main_effects((0, 1))
    assert first.abs().max() <= 1e-9 < second.abs().max()


def test_scores_over_images_do_not_depend_on_batches(resnet):
    tagging = FrequencyTaggingAttribution(resnet, ["layer4", "fc"])
    data = TensorDataset(torch.randn(5, 3, 32, 32).double())
    mean = layer_mean(resnet, "layer3", data, batch_size=2, show_progress=False)
    arguments = dict(
        design=TwoLevelDesign(2),
        feature_mask=channel_groups((1, 256, 2, 2), 2),
        baselines=mean,
        tag_layer="layer3",
        show_progress=False,
    )
    one, two = (
        score_neurons(tagging, data, batch_size=size, **arguments).interaction_effect((0, 1))
        for size in (2, 5)
    )
    for layer in ("layer4", "fc"):
        torch.testing.assert_close(one[layer], two[layer], rtol=1e-9, atol=1e-12)


def test_the_model_is_left_as_it_was(resnet):
    state, images = copy.deepcopy(resnet.state_dict()), IMAGES.double()
    before = resnet(images)
    attributes = {module: dict(vars(module)) for module in resnet.modules()}
    tagging = FrequencyTaggingAttribution(resnet, "fc")
    tagging.attribute(images, tag_layer="layer2")
    with pytest.raises(RuntimeError), resnet.layer4.register_forward_pre_hook(raise_error):
        tagging.attribute(images, tag_layer="layer2")
    assert all(vars(module).keys() == attributes[module].keys() for module in attributes)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in attributes)
    assert torch.equal(resnet(images), before)
    for name, value in resnet.state_dict().items():
        assert torch.equal(value, state[name])


def raise_error(module, args):
    raise RuntimeError("of the user's")


def test_batch_norm_and_dropout_in_front_do_not_disturb_frames():
    """They run once, in train mode too; what lies behind is warned of as ever."""
    front = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)).train()
    model = nn.Sequential(front, nn.Identity(), nn.Linear(6, 3).eval())
    counts = front[1].num_batches_tracked.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spectrum = FrequencyTaggingAttribution(model, "2").spectrum(
            torch.rand(4, 4), design=TwoLevelDesign(2), tag_layer="0"
        )
    assert torch.equal(front[1].num_batches_tracked, counts)
    assert (spectrum.interaction_effect((0, 1)).abs() <= spectrum.floor[:, None] * 8).all()


def test_designs_in_time_read_the_same_as_corners_of_a_product():
    """Two groups of channels that are multiplied behind the layer."""

    class Product(nn.Module):
        def forward(self, x):
            return x[:, :1] * x[:, 1:]

    model = nn.Sequential(nn.Identity(), Product()).eval()
    inputs = torch.tensor([[2.0, 3.0], [1.0, -1.0]])
    for design in (TaggingDesign(contrast=(0.0, 1.0)), TwoLevelDesign(2)):
        spectrum = FrequencyTaggingAttribution(model, "1").spectrum(
            inputs, feature_mask=channel_groups((1, 2), [[0], [1]]), design=design, tag_layer="0"
        )
        effect = spectrum.interaction_effect((0, 1)).flatten().tolist()
        assert effect == pytest.approx([6.0, -1.0], abs=1e-5)
        assert spectrum.and_or_index((0, 1)).flatten().tolist() == pytest.approx([1, 1], abs=1e-5)


def test_layer_mean_is_the_mean_of_captums_activations(resnet):
    images = torch.randn(5, 3, 32, 32).double()
    labels = torch.arange(5)
    for layer in ("conv1", "layer3.0.conv2", "fc"):
        module = dict(resnet.named_modules())[layer]
        expected = LayerActivation(resnet, module).attribute(images).mean(0, keepdim=True)
        for data, size in itertools.product(
            (TensorDataset(images), TensorDataset(images, labels)), (2, 5)
        ):
            found = layer_mean(resnet, layer, data, batch_size=size, show_progress=False)
            torch.testing.assert_close(found, expected)


def test_layer_mean_needs_images_and_one_output_of_one_size():
    sizes = [(torch.rand(3, 8, 8),), (torch.rand(3, 9, 9),)]
    model = nn.Sequential(nn.Conv2d(3, 2, 3), Pair()).eval()
    with pytest.raises(ValueError, match="images of one size"):
        layer_mean(model, "0", sizes, batch_size=1, show_progress=False)
    with pytest.raises(ValueError, match="to return one tensor"):
        layer_mean(model, "1", sizes, batch_size=1, show_progress=False)
    with pytest.raises(ValueError, match="at least one image"):
        layer_mean(model, "0", [], show_progress=False)
