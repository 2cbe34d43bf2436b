import numpy as np
import pytest
import torch
from captum.attr import (
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    LayerActivation,
    LayerConductance,
    LayerGradientXActivation,
    LayerLRP,
    NeuronGradient,
    NoiseTunnel,
    Saliency,
)
from torch import nn

from captum_ssvep import (
    FrequencyTaggingAttribution,
    FrequencyTunnel,
    TaggingDesign,
    tagged_sequence,
)


class Network(nn.Module):
    """Two inputs, a further argument with an example each, a layer with two outputs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU()
        self.pair = Pair()
        self.head = nn.Linear(4, 3)

    def forward(self, x, y=None, gain=None):
        out = self.relu(self.conv(x))
        if y is not None:
            out = out * y[:, :, None, None].sigmoid()
        first, second = self.pair(out)
        logits = self.head((first * second).mean(dim=(2, 3)))
        return logits if gain is None else logits * gain


class Pair(nn.Module):
    def forward(self, x):
        return x.sin(), x.exp()


@pytest.fixture
def model():
    return Network().eval()


GENERATOR = torch.Generator().manual_seed(0)  # at import, before any test's seed
IMAGES = torch.rand(3, 3, 6, 6, generator=GENERATOR)
GAINS = torch.rand(3, 1, generator=GENERATOR)


def layers(model):
    return {"one tensor": model.relu, "two tensors": model.pair, "list": [model.pair, model.conv]}


@pytest.mark.parametrize("which", ["one tensor", "two tensors", "list"])
@pytest.mark.parametrize("noise_std", [0.0, 0.1])
def test_with_activations_inside_it_is_frequency_tagging(model, which, noise_std):
    layer = layers(model)[which]
    arguments = dict(statistic="amplitude", components="all", noise_std=noise_std, seed=3)
    expected = FrequencyTaggingAttribution(model, layer).attribute(IMAGES, **arguments)
    result = FrequencyTunnel(LayerActivation(model, layer)).attribute(IMAGES, **arguments)
    assert type(result) is type(expected)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-6)


def test_the_spectrum_is_that_of_the_attributions_frame_by_frame(model):
    design = TaggingDesign()
    method = LayerGradientXActivation(model, model.relu)
    spectrum = FrequencyTunnel(method).spectrum(IMAGES, target=1)
    series = torch.stack(
        [method.attribute(frame, target=1).detach() for frame in tagged_sequence(IMAGES, design)]
    )
    lines = np.fft.rfft(series.double().numpy(), axis=0)
    largest = np.abs(lines[1:]).max()
    for component, line in zip(spectrum.components, spectrum.lines, strict=True):
        assert np.abs(line.numpy() - lines[design.bin(component)]).max() < 1e-5 * largest


METHODS = {
    "layer gradient": (lambda m: LayerGradientXActivation(m, m.relu), dict(target=[0, 1, 2])),
    "layer conductance": (
        lambda m: LayerConductance(m, m.relu),
        dict(target=torch.tensor([0, 1, 2]), n_steps=4, baselines=IMAGES.flip(0)),
    ),
    "neuron gradient": (
        lambda m: NeuronGradient(m, m.head),
        dict(neuron_selector=1, additional_forward_args=(None, GAINS)),
    ),
    "saliency": (lambda m: Saliency(m), dict(target=[0, 1, 2], abs=False)),
    "integrated gradients": (
        lambda m: IntegratedGradients(m),
        dict(
            target=[0, 1, 2],
            n_steps=4,
            baselines=0.5,
            additional_forward_args=(None, GAINS),
        ),
    ),
}


def one_example(value, row):
    if isinstance(value, list):
        return value[row : row + 1]
    if isinstance(value, torch.Tensor):
        return value[row : row + 1]
    return value


@pytest.mark.parametrize("name", METHODS)
def test_any_method_keeps_its_shape_and_its_examples_apart(model, name):
    build, arguments = METHODS[name]
    tunnel = FrequencyTunnel(build(model))
    result = tunnel.attribute(IMAGES, statistic="amplitude", frames_per_pass=10, **arguments)
    plain = build(model).attribute(IMAGES.clone().requires_grad_(), **arguments)
    assert result.shape == plain.shape
    assert result.isfinite().all()
    assert result.max() > 0
    for row in range(3):
        single = {
            key: tuple(one_example(v, row) for v in value)
            if key == "additional_forward_args"
            else one_example(value, row)
            if key != "neuron_selector"
            else value
            for key, value in arguments.items()
        }
        alone = tunnel.attribute(IMAGES[row : row + 1], statistic="amplitude", **single)
        torch.testing.assert_close(result[row : row + 1], alone, rtol=1e-3, atol=1e-6)


def test_several_inputs_are_tagged_apart_and_keep_their_tuple(model):
    inputs = (IMAGES, torch.rand(3, 4))
    masks = (torch.tensor([0]), torch.tensor([1]))
    first, second = FrequencyTunnel(InputXGradient(model)).attribute(
        inputs, tag_mask=masks, target=0, statistic="amplitude", components=[(0, 1)]
    )
    assert first.shape == IMAGES.shape
    assert second.shape == (3, 4)
    only = FrequencyTunnel(InputXGradient(model)).attribute(
        (IMAGES,), target=0, statistic="amplitude"
    )
    assert isinstance(only, tuple)
    assert len(only) == 1


def test_a_linear_model_has_constant_gradients_and_tagged_products():
    model = nn.Sequential(nn.Linear(4, 2)).eval()
    inputs = torch.rand(2, 4)
    gradient = FrequencyTunnel(Saliency(model)).spectrum(inputs, target=0)
    assert gradient.reduce("all", "amplitude", "max").max() < 1e-6
    product = FrequencyTunnel(InputXGradient(model)).spectrum(inputs, target=0)
    expected = 0.25 * (inputs * model[0].weight[0]).abs()
    torch.testing.assert_close(
        product.amplitude((1, 0))[:, :2], expected[:, :2].detach(), rtol=1e-4, atol=1e-6
    )
    assert (product.snr((0, 1))[:, :2] < 1).all()


def test_pooling_and_the_feature_mask_of_the_wrapped_method(model):
    mask = torch.arange(36).reshape(1, 1, 6, 6) // 9
    tunnel = FrequencyTunnel(FeatureAblation(model))
    result = tunnel.attribute(
        IMAGES, target=0, feature_mask=mask, perturbations_per_eval=2, statistic="amplitude"
    )
    assert result.shape == IMAGES.shape
    channels = FrequencyTunnel(LayerGradientXActivation(model, model.relu)).spectrum(
        IMAGES, target=0, pooling="channel"
    )
    assert channels.mean.shape == (3, 4)


def test_conventions(model, capsys):
    method = LayerGradientXActivation(model, model.relu)
    tunnel = FrequencyTunnel(method)
    assert tunnel.multiplies_by_inputs is True
    assert tunnel.has_convergence_delta() is False
    assert tunnel.get_name() == "Frequency Tunnel"
    plain = tunnel.attribute(IMAGES, target=0, statistic="amplitude", show_progress=True)
    assert "Frequency Tunnel: Layer Gradient X Activation" in capsys.readouterr().err
    noisy = NoiseTunnel(tunnel).attribute(
        IMAGES, nt_samples=2, stdevs=0.0, target=0, statistic="amplitude"
    )
    torch.testing.assert_close(noisy, plain, rtol=1e-4, atol=1e-7)
    assert not plain.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not IMAGES.requires_grad


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(return_convergence_delta=True), "return_convergence_delta"),
        (dict(frames_per_pass=0), "`frames_per_pass` to be at least 1"),
        (dict(statistic="power"), "`statistic`"),
        (dict(tag_baselines=torch.zeros(2)), "`tag_baselines` to broadcast"),
        (dict(tag_mask=torch.full((6,), 3)), "ids of `tag_mask`"),
        (dict(tag_mask=torch.zeros(6)), "`tag_mask` to be an integer tensor"),
        (dict(feature_mask=torch.zeros(6)), "LayerGradientXActivation.*feature_mask.*`tag_mask`"),
    ],
)
def test_bad_input_is_refused(model, arguments, words):
    tunnel = FrequencyTunnel(LayerGradientXActivation(model, model.relu))
    with pytest.raises((ValueError, TypeError), match=words):
        tunnel.attribute(IMAGES, target=0, **arguments)


def test_a_class_is_no_method():
    with pytest.raises(TypeError, match=r"FrequencyTunnel\(Saliency\(model\)\)"):
        FrequencyTunnel(Saliency)


def test_a_model_in_train_mode_is_warned_of(model):
    model.train()
    tunnel = FrequencyTunnel(LayerGradientXActivation(model, model.relu))
    with pytest.warns(UserWarning, match="train mode") as caught:
        tunnel.attribute(IMAGES, target=0)
    assert caught[0].filename == __file__


def test_methods_that_captum_leaves_undecorated_run_too():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    tunnel = FrequencyTunnel(LayerLRP(model, model[0]))
    assert tunnel.attribute(torch.rand(2, 4), target=0).shape == (2, 3)


def test_what_is_not_the_methods_is_refused_in_attribute_and_batches_are_checked(model):
    tunnel = FrequencyTunnel(LayerGradientXActivation(model, model.relu))
    with pytest.raises(TypeError, match="pooling"):
        tunnel.attribute(IMAGES, target=0, pooling="channel")
    score = FrequencyTunnel(FeatureAblation(lambda x: model(x).sum()))
    with pytest.raises(ValueError, match="Feature Ablation to keep the batch"):
        score.attribute(IMAGES)


def test_neighbors_are_asked_for_only_where_they_count(model):
    tunnel = FrequencyTunnel(LayerActivation(model, model.relu))
    arguments = dict(noise_std=0.1, n_neighbors=200)
    assert tunnel.attribute(IMAGES, statistic="amplitude", **arguments).isfinite().all()
    with pytest.raises(ValueError, match="`n_neighbors`"):
        tunnel.attribute(IMAGES, **arguments)
