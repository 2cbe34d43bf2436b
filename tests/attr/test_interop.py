"""Captum's combinators around the layer method: what they compute is what it says by itself."""

from types import SimpleNamespace

import pytest
import torch
from captum import attr
from captum.concept import TCAV, Classifier, Concept
from captum.metrics import infidelity, infidelity_perturb_func_decorator, sensitivity_max
from torch import nn
from torch.utils.data import DataLoader

from captum_ssvep import FrequencyTaggingAttribution, as_explanation, halves, to_inputs, top_neurons
from captum_ssvep.demo.digits import example_images, load_network

COLUMNS = torch.arange(16).reshape(1, 1, 1, 16)


class Pair(nn.Module):
    """A layer with two tensors of different shapes."""

    def forward(self, x):
        return x.relu(), x.square().mean((2, 3))


class Sum(nn.Module):
    def forward(self, pair):
        return pair[0].mean((2, 3)) + pair[1]


@pytest.fixture
def model():
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3, stride=2), Pair(), Sum()
    return nn.Sequential(*layers, nn.Linear(5, 2)).double().eval()


@pytest.fixture
def images():
    return torch.rand(2, 3, 16, 16, dtype=torch.float64)


@pytest.fixture(scope="module")
def digits():
    return load_network(), example_images()[0]


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize(("batch_size", "sizes"), [(None, [5]), (2, [2, 2, 1])])
@pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
@pytest.mark.parametrize("layer", ["1", "3"])
def test_a_noise_tunnel_sees_noisy_images(model, images, layer, nt_type, batch_size, sizes):
    tagging = FrequencyTaggingAttribution(model, layer)
    # Masks and baselines differ between examples: each has to go with its own copies.
    masks = (torch.tensor([4, 9]).reshape(2, 1, 1, 1) < COLUMNS).long()
    by_example = dict(feature_mask=masks, baselines=images.flip(0) / 4)
    arguments = dict(statistic="amplitude", components=[(1, 0), (1, 1)])
    tunnel = attr.NoiseTunnel(tagging)
    assert not tunnel.multiplies_by_inputs
    torch.manual_seed(1)
    settings = dict(nt_type=nt_type, nt_samples=5, nt_samples_batch_size=batch_size, stdevs=0.2)
    result = tunnel.attribute(images, target=1, **settings, **by_example, **arguments)
    torch.manual_seed(1)
    samples = []
    for size in sizes:
        noise = torch.normal(0, torch.full((2 * size, 3, 16, 16), 0.2))
        noisy = images.repeat_interleave(size, 0) + noise
        repeated = {name: value.repeat_interleave(size, 0) for name, value in by_example.items()}
        result_of_each = as_tuple(tagging.attribute(noisy, **repeated, **arguments))
        samples.append([tensor.unflatten(0, (2, size)) for tensor in result_of_each])
    assert isinstance(result, tuple) == (layer == "3")
    for tunnelled, *batches in zip(as_tuple(result), *samples, strict=True):
        attributions = torch.cat(batches, dim=1)
        expected = {
            "smoothgrad": attributions.mean(1),
            "smoothgrad_sq": attributions.square().mean(1),
            "vargrad": attributions.var(1, correction=0),
        }[nt_type]
        assert (expected > 0).any()
        torch.testing.assert_close(tunnelled, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("layer", ["1", "3"])
@pytest.mark.parametrize("arguments", [dict(), dict(noise_std=0.1, components=[(1, 0)])])
def test_a_noise_tunnel_without_noise_changes_nothing(model, images, layer, arguments):
    tagging = FrequencyTaggingAttribution(model, layer)
    plain = tagging.attribute(images, **arguments)
    tunnelled = attr.NoiseTunnel(tagging).attribute(
        images, nt_samples=3, nt_samples_batch_size=2, stdevs=0.0, **arguments
    )
    # Without noise SNR is in units of the rounding floor.
    atol = 1e-9 if "noise_std" in arguments else 1e-2
    torch.testing.assert_close(tunnelled, plain, rtol=1e-6, atol=atol)


class MeanDifference(Classifier):
    """A concept's direction: from the other concept's mean activation to its own."""

    def __init__(self):
        pass

    def train_and_eval(self, dataloader, **kwargs):
        activations, labels = map(torch.cat, zip(*dataloader, strict=True))
        self.labels = labels.unique().tolist()
        first, second = (activations[labels == label].mean(0) for label in self.labels)
        self.directions = torch.stack([first - second, second - first])

    def weights(self):
        return self.directions

    def classes(self):
        return self.labels


def test_tcav_projects_the_responses_on_concepts(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten()).eval()
    model[0].weight.data.abs_()  # bright where the concepts are
    inputs, concepts = torch.rand(5, 3, 8, 8), []
    for label, name in enumerate(("left", "right")):
        shown = torch.rand(6, 3, 8, 8) / 10 + (halves((6, 3, 8, 8)) == label)
        concepts.append(Concept(label, name, DataLoader(shown, batch_size=3)))
    tagging = FrequencyTaggingAttribution(model, None)
    tcav = TCAV(model, ["1", "2"], "model", MeanDifference(), tagging, save_path=str(tmp_path))
    arguments = dict(statistic="amplitude", components=[(1, 0)])
    scores = tcav.interpret(inputs, [concepts], target=0, **arguments)["0-1"]
    for layer in ("1", "2"):
        responses = FrequencyTaggingAttribution(model, layer).attribute(inputs, **arguments)
        projections = responses.flatten(1) @ tcav.cavs["0-1"][layer].stats["weights"].T
        signs, magnitudes = (projections > 0).float().mean(0), projections.mean(0)
        torch.testing.assert_close(scores[layer]["sign_count"], signs)
        torch.testing.assert_close(scores[layer]["magnitude"], magnitudes, rtol=1e-4, atol=1e-5)
    # The first convolution answers f1 on the left, where "left" activates it.
    assert scores["1"]["sign_count"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        (attr.FeatureAblation, dict(feature_mask=COLUMNS // 2)),
        (attr.Occlusion, dict(sliding_window_shapes=(3, 8, 8), strides=(3, 4, 4))),
        (attr.ShapleyValueSampling, dict(feature_mask=COLUMNS // 4, n_samples=3)),
    ],
)
def test_what_drives_a_response(model, images, method, arguments):
    tagging, batches = FrequencyTaggingAttribution(model, "2"), []

    def score(x):
        batches.append(len(x))
        return tagging.attribute(x).flatten(1).mean(1)

    results = []
    for n_perturbations in (1, 3):
        torch.manual_seed(0)  # ShapleyValueSampling draws permutations
        attribute = method(score).attribute
        results.append(attribute(images, perturbations_per_eval=n_perturbations, **arguments))
        assert max(batches) == 2 * n_perturbations
    assert results[0].shape == images.shape
    assert (results[0] != 0).any()
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-2)
    if method is attr.ShapleyValueSampling:
        # The parts of every permutation add up to the score, since black has no response.
        total = results[0][:, 0, 0, ::4].sum(1)  # Captum gives single precision
        torch.testing.assert_close(total, score(images).float(), rtol=1e-5, atol=1e-2)


def test_ablating_a_tagged_half_silences_its_tag(model, images):
    tagging = FrequencyTaggingAttribution(model, "2")

    def amplitude(component, x):
        return tagging.attribute(x, statistic="amplitude", components=[component]).flatten(1)

    dark_left = images * halves(images.shape)
    for component in ((1, 0), (1, 1), (2, 0)):
        assert (amplitude(component, images).amax(1) > 1e-4).all()
        assert (amplitude(component, dark_left) < 1e-12).all()
    assert (amplitude((0, 1), dark_left).amax(1) > 1e-2).all()
    # Ablation therefore puts all of f1 down to the left half, and all of f2 to the right.
    for component, own in (((1, 0), 0), ((0, 1), -1)):
        ablated = attr.FeatureAblation(lambda x, c=component: amplitude(c, x).mean(1)).attribute(
            images, feature_mask=halves(images.shape), perturbations_per_eval=2
        )
        whole = amplitude(component, images).mean(1)
        torch.testing.assert_close(ablated[:, 0, 0, own], whole)
        assert (ablated[:, 0, 0, -1 - own].abs() < whole / 2).all()


@pytest.mark.parametrize("layer", ["2", "3"])
def test_a_summarizer_gathers_statistics_over_batches(model, layer):
    tagging, results = FrequencyTaggingAttribution(model, layer), []
    summarizer = attr.Summarizer([attr.Mean(), attr.StdDev()])
    for batch in torch.rand(3, 2, 3, 16, 16, dtype=torch.float64):
        result = tagging.attribute(batch, statistic="amplitude")
        summarizer.update(result)
        results.append(as_tuple(result))
    summary = summarizer.summary
    summaries = summary if isinstance(summary, list) else [summary]
    for found, *batches in zip(summaries, *results, strict=True):
        stacked = torch.stack(batches)
        torch.testing.assert_close(found["mean"], stacked.mean(0))
        torch.testing.assert_close(found["std_dev"], stacked.std(0, correction=0))


def test_sensitivity_of_a_homogeneous_network_is_the_change_of_its_input(images):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), Pair()).double().eval()
    arguments = dict(perturb_func=lambda x: 1.25 * x, n_perturb_samples=3, max_examples_per_batch=4)
    relu, pair = (
        sensitivity_max(as_explanation(tagging, statistic="amplitude"), images, **arguments)
        for tagging in (FrequencyTaggingAttribution(model, layer) for layer in ("1", "2"))
    )
    torch.testing.assert_close(relu, torch.full_like(relu, 0.25))
    assert ((pair > 0.25) & (pair < 1.25**2 - 1)).all()  # its second tensor is of degree 2


def test_sensitivity_with_arguments_for_each_example(digits):
    network, examples = digits
    tagging = FrequencyTaggingAttribution(network, "layer1")
    baselines = examples.flip(0) / 2
    explain = as_explanation(tagging, statistic="amplitude")
    (bare,), (wrapped,) = (explain(x, baselines=baselines) for x in (examples, (examples,)))
    assert torch.equal(bare, wrapped)
    tensors_only = as_explanation(SimpleNamespace(attribute=torch.neg))
    assert torch.equal(tensors_only((examples,))[0], -examples)
    arguments = dict(perturb_radius=0.02, n_perturb_samples=2)
    together = sensitivity_max(explain, examples, baselines=baselines, **arguments)
    assert ((together > 0) & (together < 1)).all()
    cam = as_explanation(attr.LayerGradCam(network, network.layer1))
    assert sensitivity_max(cam, examples, target=[3, 8], **arguments).isfinite().all()


def test_captums_bug_that_makes_the_adapter_necessary(model, images):
    """`sensitivity_max` iterates over the examples of a single tensor. If this test fails, Captum
    has mended that, and `as_explanation` is no longer needed for it.
    """
    for method in (FrequencyTaggingAttribution(model, "1"), attr.LayerActivation(model, model[1])):
        with pytest.raises(RuntimeError, match="must match the size"):
            sensitivity_max(method.attribute, images)
        assert sensitivity_max(as_explanation(method), images).shape == (2,)


@infidelity_perturb_func_decorator(False)
def darker(x):
    return x - 0.2 * torch.rand_like(x)


def test_infidelity_of_a_map_of_the_inputs_shape(digits):
    # On ones under equal weights the response is proportional to the gradient: faithful.
    model = nn.Sequential(nn.Conv2d(1, 1, 4, stride=4), nn.AvgPool2d(4), nn.Flatten()).eval()
    nn.init.constant_(model[0].weight, 0.3)
    images, arguments = torch.ones(2, 1, 16, 16), dict(n_perturb_samples=20, normalize=True)
    tagging = FrequencyTaggingAttribution(model, "0")
    left = tagging.attribute(images, statistic="amplitude", components=[(1, 0)])
    assert (to_inputs(left, images, layout="channels_first")[..., :6] > 0.1).all()
    assert (to_inputs(left, images, layout="channels_first")[..., 10:] < 1e-6).all()
    faithful = to_inputs(
        tagging.attribute(images, statistic="amplitude"), images, layout="channels_first"
    )
    wrong = faithful * torch.linspace(-1, 1, 16)
    assert (infidelity(model, darker, images, faithful, **arguments) < 1e-6).all()
    assert (infidelity(model, darker, images, wrong, **arguments) > 0.1).all()
    network, examples = digits
    mapped = to_inputs(
        FrequencyTaggingAttribution(network, "layer3").attribute(examples),
        examples,
        layout="channels_first",
    )
    found = infidelity(network, darker, examples, mapped, target=[3, 8], **arguments)
    assert found.isfinite().all()


def test_captum_looks_closer_at_the_neurons_that_snr_picks(digits):
    network, examples = digits
    layer = network.layer3
    snr = FrequencyTaggingAttribution(network, layer).attribute(examples, components=[(1, 0)])
    for example in (0, 1):
        image = examples[example, None].clone().requires_grad_()
        inner = network.layer1(network.relu(network.bn1(network.conv1(image))))
        activation = layer(network.layer2(inner))[0]
        neurons = top_neurons(snr, 2, example)
        values = [snr[example][neuron].item() for neuron in neurons]
        assert values == snr[example].flatten().topk(2).values.tolist()
        for neuron in neurons:
            gradient = attr.NeuronGradient(network, layer).attribute(image, neuron)
            (expected,) = torch.autograd.grad(activation[neuron], image, retain_graph=True)
            torch.testing.assert_close(gradient, expected)
            assert (gradient[..., :16] != 0).any()  # it answers f1, so it sees the left half
            method = attr.NeuronConductance(network, layer)
            conductance = method.attribute(image, neuron, target=3, n_steps=5)
            assert 0 < conductance.abs().sum() < torch.inf


def test_products_with_other_layer_methods(digits):
    network, examples = digits
    layer = network.layer2
    snr = FrequencyTaggingAttribution(network, layer).attribute(examples)
    cam = attr.LayerGradCam(network, layer).attribute(examples, target=[3, 8])
    method = attr.LayerConductance(network, layer)
    conductance = method.attribute(examples, target=[3, 8], n_steps=5)
    assert conductance.shape == snr.shape
    for other in (cam, conductance):
        product = snr * other
        assert (product.shape, product.dtype) == (snr.shape, other.dtype)
        assert product.isfinite().all()
        assert torch.equal(product != 0, (snr != 0) & (other != 0))
