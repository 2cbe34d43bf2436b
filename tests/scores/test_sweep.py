"""Scoring a data set against a loop over its images, one at a time, with numpy behind it."""

import math

import numpy as np
import pytest
import torch
from captum.attr import LayerActivation, LayerGradientXActivation, Saliency
from cifar import MEAN, STD, load_test_images
from torch import nn
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    Subset,
    TensorDataset,
)

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    FrequencyTunnel,
    TaggingDesign,
    black,
    choose_design,
    margin_of,
    score_neurons,
)
from captum_ssvep.demo import digits
from captum_ssvep.spectrum.statistics import REDUCTIONS, STATISTICS
from captum_ssvep.visualization import plot_top_images

pytestmark = pytest.mark.usefixtures("one_thread")

RECTIFIED = ["1", "3"]
LAYERS = ["0", *RECTIFIED]
DIGIT_LAYERS = ["relu", "layer1.0.conv2", "layer3"]
N_TOP = 3
# 72 frames in noise, of which a network without it has to see 10.
SHORT = dict(design=choose_design(2, max_order=2, kind="time"), max_order=2)
GENERATOR = torch.Generator().manual_seed(0)  # at import, before any test's seed
IMAGES = torch.randn(7, 3, 10, 12, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.tensor([2, 0, 2, 1, 0, 2, 5])


def small_network():
    torch.manual_seed(18)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6),
    ).double().eval()  # fmt: skip


@pytest.fixture(scope="module")
def network():
    return small_network()


@pytest.fixture(scope="module")
def tagging(network):
    return FrequencyTaggingAttribution(network, LAYERS)


@pytest.fixture(scope="module")
def reading_network():
    """The trained digits network, in double precision."""
    return digits.load_network().double()


@pytest.fixture(scope="module")
def written_digits():
    images, labels = digits.load_test_set()
    rows = torch.cat([(labels == label).nonzero()[:2, 0] for label in (8, 3, 5)])[:5]
    return digits.preprocess(images[rows]).double(), labels[rows]


def score(attribution, data=None, **arguments):
    if data is None:
        data = TensorDataset(IMAGES, LABELS)
    arguments = dict(n_top_images=N_TOP, batch_size=4, show_progress=False) | arguments
    return score_neurons(attribution, data, **arguments)


def literal_statistic(spectrum, component, statistic):
    """From the line, its neighbors and the rounding floor, in numpy; decibels left for later."""
    design = spectrum.design
    line = spectrum.lines[spectrum.components.index(component)].numpy()
    amplitude = 2 * np.abs(line) / design.n_frames
    floor = spectrum.floor.numpy().reshape(-1, *[1] * (amplitude.ndim - 1)) + 0 * amplitude
    noise, spread = np.zeros_like(amplitude), np.zeros_like(amplitude)
    if spectrum.n_neighbors:
        bins = design.neighbors(component, spectrum.n_neighbors)
        rows = [spectrum.neighbor_bins.index(line) for line in bins]
        neighbors = 2 * np.abs(spectrum.neighbor_lines[rows].numpy()) / design.n_frames
        noise, spread = neighbors.mean(axis=0), neighbors.std(axis=0, ddof=1)
    if statistic in ("snr", "snr_db"):
        return over(amplitude, np.maximum(noise, floor))
    if statistic == "coefficient":
        # Of a difference that is negative, the line is that of its mirror image.
        signed = line if np.dot(component, design.bins) > 0 else line.conj()
        turn = np.exp(-1j * np.dot(component, np.array(design.phases) - math.pi / 2))
        return 2 / design.n_frames * (signed * turn).real
    if statistic == "baseline_corrected":
        return amplitude - noise
    if statistic == "zscore":
        return over(amplitude - noise, np.maximum(spread, floor))
    if statistic == "variance_share":
        variance = spectrum.variance.numpy()
        return over(amplitude**2 / 2, np.where(variance > floor**2, variance, 0))
    assert statistic == "amplitude"
    return amplitude


def over(numerator, denominator):
    """Zero over zero is zero."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def decibels(ratio):
    return 20 * np.log10(np.maximum(ratio, 1e-3))


LITERAL_REDUCTIONS = {
    "mean": lambda values: sum(values) / len(values),
    "sum": sum,
    "max": lambda values: np.max(values, axis=0),
    "energy": lambda values: np.sqrt(sum(value**2 for value in values)),
}


class Literal:
    """What scores are to be, from the spectra of all images of one layer, one by one."""

    def __init__(self, spectra, statistic="amplitude", reduction="mean"):
        scores, by_component, coefficient = [], [], []
        for spectrum in spectra:
            values = [literal_statistic(spectrum, c, statistic) for c in spectrum.components]
            reduced = LITERAL_REDUCTIONS[reduction](values)
            in_decibels = statistic == "snr_db"
            scores.append(decibels(reduced)[0] if in_decibels else reduced[0])
            by_component.append([decibels(v)[0] if in_decibels else v[0] for v in values])
            signed = [literal_statistic(spectrum, c, "coefficient")[0] for c in spectrum.components]
            ratios = [literal_statistic(spectrum, c, "snr")[0] for c in spectrum.components]
            heard = np.array(ratios) > 1
            coefficient.append(np.where(heard | (spectrum.n_neighbors > 0), signed, 0))
        self.scores = np.array(scores)
        self.by_component, self.coefficient = np.array(by_component), np.array(coefficient)
        self.top_images = np.argsort(-self.scores, axis=0, kind="stable")


def literal_loop(attribution, images, arguments_of=lambda row: {}, **arguments):
    """The spectra of each layer, image by image."""
    rows = [
        attribution.spectrum(images[row : row + 1], **arguments, **arguments_of(row))
        for row in range(len(images))
    ]
    return list(zip(*rows, strict=True))


def assert_literal(scores, layer, expected, n_top=N_TOP, rtol=1e-6, atol=1e-12):
    def same(actual, values):
        np.testing.assert_allclose(actual, values, rtol=rtol, atol=atol)

    same(scores.mean[layer], expected.scores.mean(axis=0))
    same(scores.variance[layer], expected.scores.var(axis=0, ddof=1))
    same(scores.by_component[layer], expected.by_component.mean(axis=0))
    same(scores.coefficient[layer], expected.coefficient.mean(axis=0))
    tally = scores.overall[layer]
    same(tally.coefficient.variance, expected.coefficient.var(axis=0, ddof=1))
    same(tally.by_component.variance, expected.by_component.var(axis=0, ddof=1))
    same(tally.top_scores, np.sort(expected.scores, axis=0)[::-1][:n_top])
    assert scores.n_images == len(expected.scores)
    assert np.array_equal(scores.top_images[layer], expected.top_images[:n_top])
    assert {values.dtype for values in (scores.mean[layer], tally.top_scores)} == {torch.float64}


def assert_same(first, second, rtol=1e-6, atol=1e-12, layers=None):
    """Scores agree in all that they hold."""
    if layers is None:
        assert first.layers == second.layers
        layers = {layer: layer for layer in first.layers}
    assert first.components == second.components
    assert first.n_images == second.n_images
    for one, other in layers.items():
        for name in ("mean", "variance", "by_component", "coefficient"):
            torch.testing.assert_close(
                getattr(first, name)[one],
                getattr(second, name)[other],
                rtol=rtol, atol=atol, equal_nan=True,
            )  # fmt: skip
        assert torch.equal(first.top_images[one], second.top_images[other])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("statistic", STATISTICS)
def test_every_statistic_and_reduction_is_that_of_a_loop_over_images(network, statistic, reduction):
    # Behind rectifiers, where every component is far above rounding.
    tagging = FrequencyTaggingAttribution(network, RECTIFIED)
    scores = score(tagging, statistic=statistic, reduction=reduction)
    assert scores.layers == tuple(RECTIFIED)
    assert (scores.statistic, scores.reduction) == (statistic, reduction)
    for layer, spectra in zip(
        RECTIFIED, literal_loop(tagging, IMAGES, pooling="channel"), strict=True
    ):
        assert_literal(scores, layer, Literal(spectra, statistic, reduction))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_every_statistic_in_noise_is_that_of_a_loop_over_images(tagging, statistic):
    """Also of the convolution, of whose higher components noise alone is left."""
    arguments = dict(noise_std=0.1, seed=5, n_neighbors=3, **SHORT)
    scores = score(tagging, statistic=statistic, **arguments)
    spectra = literal_loop(tagging, IMAGES, pooling="channel", **arguments)
    for layer, of_layer in zip(LAYERS, spectra, strict=True):
        assert_literal(scores, layer, Literal(of_layer, statistic))


@pytest.mark.parametrize("components", ["fundamentals", "intermodulations", [(2, 1), (0, 3)]])
def test_components_and_other_arguments_reach_the_spectrum(network, components):
    tagging = FrequencyTaggingAttribution(network, RECTIFIED)
    mask = (torch.arange(12) % 2).expand(10, 12)
    arguments = dict(
        components=components,
        design=TaggingDesign((5.0, 8.0), 120.0, 120, phases=0.3),
        baselines=0.25,
        feature_mask=mask,
    )
    scores = score(tagging, reduction="max", **arguments)
    spectra = literal_loop(tagging, IMAGES, pooling="channel", **arguments)
    assert scores.components == spectra[0][0].components
    assert scores.design == arguments["design"]
    for layer, of_layer in zip(RECTIFIED, spectra, strict=True):
        assert_literal(scores, layer, Literal(of_layer, reduction="max"))


def test_a_trained_network_is_scored_as_in_a_loop_over_images(reading_network, written_digits):
    images, labels = written_digits
    tagging = FrequencyTaggingAttribution(reading_network, DIGIT_LAYERS)
    scores = score(tagging, TensorDataset(images, labels), batch_size=2, **SHORT)
    spectra = literal_loop(tagging, images, pooling="channel", **SHORT)
    assert [len(values) for values in scores.mean.values()] == [16, 16, 48]
    for layer, of_layer in zip(DIGIT_LAYERS, spectra, strict=True):
        assert_literal(scores, layer, Literal(of_layer))


@pytest.mark.parametrize("labels_as", ["target", "additional_forward_args"])
def test_relevance_is_scored_as_in_a_loop_over_images(reading_network, written_digits, labels_as):
    """Of the logit of each image's own class, or of its margin."""
    images, labels = written_digits
    modules = [reading_network.get_submodule(name) for name in DIGIT_LAYERS]
    function = reading_network if labels_as == "target" else margin_of(reading_network)
    tunnel = FrequencyTunnel(LayerGradientXActivation(function, modules))
    arguments = dict(components="intermodulations", **SHORT)
    scores = score(
        tunnel, TensorDataset(images, labels), batch_size=3, labels_as=labels_as, **arguments
    )
    spectra = literal_loop(
        tunnel,
        images,
        lambda row: {labels_as: labels[row : row + 1]},
        pooling="channel",
        **arguments,
    )
    assert scores.layers == tuple(DIGIT_LAYERS)
    for layer, of_layer in zip(DIGIT_LAYERS, spectra, strict=True):
        assert_literal(scores, layer, Literal(of_layer))
    # The labels count: those of another class give other scores.
    others = score(tunnel, TensorDataset(images, labels.roll(2)), labels_as=labels_as, **arguments)
    assert not torch.allclose(others.mean["layer3"], scores.mean["layer3"], rtol=1e-2)


@pytest.mark.parametrize("noise_std", [0.0, 0.1])
def test_activations_inside_of_the_tunnel_score_as_without_it(network, tagging, noise_std):
    tunnel = FrequencyTunnel(LayerActivation(network, [network[0], network[1], network[3]]))
    arguments = dict(noise_std=noise_std, by_class=True, **SHORT)
    assert_same(score(tunnel, **arguments), score(tagging, **arguments))


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"by_class": True}, {"noise_std": 0.1, **SHORT}, {"design": ChebyshevGrid()}],
    ids=["paper", "by class", "noise", "grid"],
)
def test_batches_of_any_size_give_the_same(tagging, batch_size, arguments):
    whole = score(tagging, batch_size=7, **arguments)
    assert_same(score(tagging, batch_size=batch_size, **arguments), whole)


class Images(Dataset):
    """Without labels and without tuples, as a folder of pictures."""

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        return IMAGES[index]


class Pairs(Images):
    """With labels that are numbers, as torchvision's."""

    def __getitem__(self, index):
        return IMAGES[index], LABELS[index].item()


class Stream(IterableDataset):
    def __iter__(self):
        return iter(Pairs())


DATA = {
    "dataset of tensors": lambda: Images(),
    "dataset of 1-tuples": lambda: TensorDataset(IMAGES),
    "dataset of pairs": lambda: Pairs(),
    "loader": lambda: DataLoader(TensorDataset(IMAGES, LABELS), batch_size=4),
    "loader of tensors": lambda: DataLoader(Images(), batch_size=4),
    "loader of a stream": lambda: DataLoader(Stream(), batch_size=4),
    "tensor": lambda: IMAGES,
    "list": lambda: list(zip(IMAGES, LABELS, strict=True)),
}


@pytest.mark.parametrize("kind", DATA)
def test_data_of_any_kind_give_the_same(tagging, kind):
    expected = score(tagging)
    assert_same(score(tagging, DATA[kind]()), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["dataset of pairs", "loader", "loader of a stream", "list"])
def test_labels_of_any_kind_of_data_are_found(tagging, kind):
    scores = score(tagging, DATA[kind](), by_class=True)
    assert scores.classes == (0, 1, 2, 5)
    assert_same(scores, score(tagging, by_class=True), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # from Python 3.12 on
def test_processes_that_load_change_nothing(tagging):
    assert_same(score(tagging, Pairs(), num_workers=1), score(tagging), rtol=0, atol=0)


LOADERS = {
    "in order": dict(batch_size=3),
    "drop last": dict(batch_size=3, drop_last=True),
    "sampler": dict(batch_size=2, sampler=[5, 0, 6, 3]),
    "batches": dict(batch_sampler=[[4, 6], [1], [2, 0]]),
    "distributed": dict(batch_size=3, sampler=DistributedSampler(IMAGES, 1, 0, seed=2)),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_top_images_are_indices_into_the_dataset_of_a_loader(tagging, kind):
    loader = DataLoader(TensorDataset(IMAGES, LABELS), **LOADERS[kind])
    order = torch.cat([torch.atleast_1d(torch.as_tensor(i)) for i in loader.batch_sampler])
    scores = score(tagging, loader, keep_coefficients=True)
    expected = score(tagging, Subset(loader.dataset, order.tolist()), keep_coefficients=True)
    for layer in LAYERS:
        assert torch.equal(scores.top_images[layer], order[expected.top_images[layer]])
        torch.testing.assert_close(
            scores.image_coefficients[layer],
            expected.image_coefficients[layer][order.argsort()],
            rtol=1e-6, atol=1e-12,
        )  # fmt: skip


def test_indices_move_by_the_length_of_the_dataset_when_scores_are_merged(tagging):
    data, others = TensorDataset(IMAGES), TensorDataset(2 - IMAGES)
    first = score(tagging, DataLoader(data, batch_size=3, drop_last=True))
    merged = first.merge(score(tagging, DataLoader(others, sampler=[5, 2])))
    order = [*range(6), 7 + 5, 7 + 2]
    expected = score(tagging, Subset(ConcatDataset([data, others]), order))
    for layer in LAYERS:
        places = torch.tensor(order)[expected.top_images[layer]]
        assert torch.equal(merged.top_images[layer], places)
    assert merged.n_indexed == 14
    stream = score(tagging, DataLoader(Stream(), batch_size=4))
    assert stream.merge(stream).n_indexed == 14


@pytest.mark.parametrize("by_class", [False, True])
def test_a_loader_that_shuffles_has_scores_without_images(tagging, by_class):
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=2, shuffle=True)
    arguments = dict(by_class=by_class, keep_coefficients=True)
    with pytest.warns(UserWarning, match="cannot be found again") as warned:
        scores = score(tagging, loader, **arguments)
    assert len(warned) == 1
    expected = score(tagging, **arguments)
    assert scores.classes == expected.classes
    for label in expected.classes:
        assert scores.of_class(label).n_images == expected.of_class(label).n_images
    for layer in LAYERS:
        torch.testing.assert_close(scores.mean[layer], expected.mean[layer])
        top_scores = (s.overall[layer].top_scores for s in (scores, expected))
        torch.testing.assert_close(*top_scores)
        flipped = (s.p_values("fundamentals", "sign_flip")[layer] for s in (scores, expected))
        torch.testing.assert_close(*flipped)
    for mixed in (scores, scores.merge(expected), expected.merge(scores)):
        for read in ("top_images", "image_coefficients"):
            with pytest.raises(ValueError, match=r"found again.*score its Dataset, or with shuf"):
                getattr(mixed, read)
        with pytest.raises(ValueError, match="found again"):
            plot_top_images(mixed, "1", 0, IMAGES)


@pytest.mark.parametrize(
    "images", [DataLoader(IMAGES), Stream(), iter(IMAGES), 3], ids=lambda i: type(i).__name__
)
def test_pictures_are_drawn_of_what_has_indices(tagging, images):
    words = f"`images` to be the Dataset .* got {type(images).__name__}; .* pass its `dataset`"
    with pytest.raises(TypeError, match=words):
        plot_top_images(score(tagging), "1", 0, images)


@pytest.mark.parametrize("function", [FrequencyTunnel.attribute, FrequencyTunnel.spectrum, score])
def test_a_margin_asks_for_labels(network, function):
    tunnel = FrequencyTunnel(LayerGradientXActivation(margin_of(network), network[1]))
    data = () if function is score else (IMAGES,)
    with pytest.raises(TypeError, match=r"labels for `margin_of`.*labels_as='additional_forward"):
        function(tunnel, *data)


def test_several_inputs_come_as_a_tuple():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x, y):
            return self.relu(x * y - 0.2)

    first, second = torch.rand(2, 5, 4, dtype=torch.float64)
    tagging = FrequencyTaggingAttribution(Product().eval(), ["relu"])
    masks = (torch.tensor([0]), torch.tensor([1]))
    items = [((x, y), label) for label, (x, y) in enumerate(zip(first, second, strict=True))]
    scores = score(tagging, items, batch_size=2, feature_mask=masks)
    (spectra,) = zip(
        *(
            tagging.spectrum((first[row : row + 1], second[row : row + 1]), feature_mask=masks)
            for row in range(5)
        ),
        strict=True,
    )
    assert_literal(scores, "relu", Literal(spectra))


class TokenNetwork(nn.Module):
    """Patches of an image as tokens, as in a ViT."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x):
        return self.encoder(self.patches(x).flatten(2).transpose(1, 2))


POOLINGS = {
    "channel": (lambda x: x.mean(dim=(2, 3)), (5,)),
    "neuron": (lambda x: x, (5, 8, 10)),
    "function": (lambda x: x.amax(dim=(2, 3)).sort(1).values[:, :2], (2,)),
    "to a single neuron": (lambda x: x.mean(dim=(1, 2, 3)), ()),
}


@pytest.mark.parametrize("kind", POOLINGS)
def test_a_neuron_is_what_pooling_makes_of_the_layer(network, kind):
    pool, shape = POOLINGS[kind]
    tagging = FrequencyTaggingAttribution(network, ["1"])
    # A spectrum is linear in the activations: means may be taken behind it.
    pooling = kind if kind in ("channel", "neuron") else pool
    scores = score(tagging, pooling=pooling)
    assert scores.mean["1"].shape == scores.variance["1"].shape == shape
    assert scores.by_component["1"].shape == scores.coefficient["1"].shape == (20, *shape)
    assert scores.top_images["1"].shape == (N_TOP, *shape)
    (spectra,) = literal_loop(tagging, IMAGES, pooling=pool)
    assert_literal(scores, "1", Literal(spectra))


def test_tokens_are_pooled_by_a_function():
    model = TokenNetwork().double().eval()
    tagging = FrequencyTaggingAttribution(model, ["encoder.linear1", "encoder"])
    images = torch.rand(4, 3, 8, 12, dtype=torch.float64)
    arguments = dict(pooling=lambda tokens: tokens.mean(1), baselines=0.1)
    scores = score(tagging, TensorDataset(images), **arguments)
    assert [len(values) for values in scores.mean.values()] == [16, 8]
    for layer, spectra in zip(
        scores.layers, literal_loop(tagging, images, **arguments), strict=True
    ):
        assert_literal(scores, layer, Literal(spectra))
    of_channels = score(tagging, TensorDataset(images), baselines=0.1)
    for layer in scores.layers:
        assert torch.allclose(of_channels.mean[layer], scores.mean[layer])


def test_classes_are_scored_as_subsets_of_the_data(tagging):
    data = TensorDataset(IMAGES, LABELS)
    scores = score(tagging, by_class=True)
    assert scores.classes == (0, 1, 2, 5)
    for label in scores.classes:
        rows = (label == LABELS).nonzero().flatten()
        expected = score(tagging, Subset(data, rows.tolist()))
        found = scores.of_class(label)
        assert found.n_images == len(rows) == expected.n_images
        assert found.classes == ()
        for layer in LAYERS:
            assert torch.equal(found.top_images[layer], rows[expected.top_images[layer]])
            for name in ("mean", "variance", "by_component", "coefficient"):
                torch.testing.assert_close(
                    getattr(found, name)[layer],
                    getattr(expected, name)[layer],
                    rtol=1e-6, atol=1e-12, equal_nan=True,
                )  # fmt: skip
    assert_same(scores, score(tagging))


@pytest.mark.parametrize("batch_size", [2, 7])
@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("n_top_images", [1, 4, 7, 50])
def test_top_images_are_those_of_a_stable_sort(network, batch_size, by_class, n_top_images):
    """Black images and a dead filter answer exactly nothing: ties, which the first images win."""
    model = small_network()
    with torch.no_grad():
        model[0].bias.zero_()
        model[0].weight[0].zero_()
    images = IMAGES.clone()
    images[[1, 4]] = 0
    tagging = FrequencyTaggingAttribution(model, ["1"])
    scores = score(
        tagging,
        TensorDataset(images, LABELS),
        batch_size=batch_size,
        by_class=by_class,
        n_top_images=n_top_images,
    )
    (spectra,) = literal_loop(tagging, images, pooling="channel")
    expected = Literal(spectra)
    assert (expected.scores[:, 0] == 0).all()
    assert (expected.scores[[1, 4]] == 0).all()
    n_held = min(n_top_images, 7)
    assert scores.top_images["1"].shape == (n_held, 5)
    assert scores.top_images["1"][:, 0].tolist() == list(range(n_held))
    assert_literal(scores, "1", expected, n_held)


def test_the_linear_control():
    """A convolution answers fundamentals alone; behind the rectifier all components are there."""
    model = digits.load_network()
    images, _ = digits.load_test_set()
    tagging = FrequencyTaggingAttribution(model, ["conv1", "bn1", "relu"])
    scores = score(tagging, TensorDataset(digits.preprocess(images[:12])), statistic="snr")
    higher = [component for component in scores.components if component.order > 1]
    assert len(higher) == 18
    for layer in ("conv1", "bn1"):
        for component in higher:
            assert scores.at([component])[layer].max() < 1
        # Not in a single image either, and exactly so for the tests.
        assert (scores.coefficient[layer][scores.rows(higher)] == 0).all()
        assert (scores.p_values(higher)[layer] == 1).all()
        assert not scores.important(alpha=0.99, components=higher)[layer].any()
        assert scores.important(threshold=1, alpha=0.01, components="fundamentals")[layer].any()
    assert (scores.at(higher)["relu"] > 1).sum() >= 15
    assert scores.count_important(threshold=1, alpha=0.01, components=higher)["relu"] >= 15


@pytest.mark.data
@pytest.mark.parametrize("noise_std", [1e-9, 1e-7, 1e-3])
def test_a_convolution_has_no_intermodulations_however_small_the_noise(resnet32, noise_std):
    images, _ = load_test_images(6)
    tagging = FrequencyTaggingAttribution(resnet32, ["conv1"])
    scores = score(tagging, TensorDataset(images), noise_std=noise_std)
    assert scores.count_important(components="intermodulations") == {"conv1": 0}
    assert scores.count_important(components="fundamentals") == {"conv1": 16}


@pytest.mark.parametrize("noise_std", [0.0, 0.1])
def test_what_leaks_into_neighbors_is_not_taken_for_noise(tagging, noise_std):
    with pytest.warns(UserWarning, match="whole"):
        leaky = TaggingDesign((6.0, 7.7), strict=False)
    arguments = dict(design=leaky, components=[(1, 0), (1, 1)], noise_std=noise_std)
    scores = score(tagging, keep_coefficients=True, **arguments)
    spectra = tagging.spectrum(IMAGES, pooling="channel", **arguments)
    for layer, spectrum in zip(LAYERS, spectra, strict=True):
        coefficients, ratios = (
            torch.stack([read(component) for component in spectrum.components])
            for read in (spectrum.coefficient, spectrum.snr)
        )
        heard = coefficients.where(ratios > 1, 0)
        assert heard.any()
        assert not heard.all()
        torch.testing.assert_close(scores.coefficient[layer], heard.mean(1))
        assert torch.equal(scores.p_values()[layer], scores.p_values(test="t")[layer])
    with pytest.raises(ValueError, match="scores with noise"):
        scores.p_values(test="noise")


def test_a_layer_with_several_tensors_has_a_name_for_each():
    class Pair(nn.Module):
        def forward(self, x):
            return x.sin(), x.exp()

    model = nn.Sequential(nn.Conv2d(3, 4, 3), Pair()).double().eval()
    tagging = FrequencyTaggingAttribution(model, ["0", "1"])
    scores = score(tagging)
    assert scores.layers == ("0", "1[0]", "1[1]")
    plain, pairs = literal_loop(tagging, IMAGES, pooling="channel")
    assert_literal(scores, "0", Literal(plain))
    for number, spectra in enumerate(zip(*pairs, strict=True)):
        assert_literal(scores, f"1[{number}]", Literal(spectra))


def test_layers_behind_a_plain_function_have_names_of_their_own(network):
    def function(x):
        return network(x)

    modules = [network[0], network[1], network[3]]
    scores = score(FrequencyTaggingAttribution(function, modules))
    assert len(set(scores.layers)) == 3
    assert [name.split(" ")[0] for name in scores.layers] == ["Conv2d", "ReLU", "ReLU"]
    named = score(FrequencyTaggingAttribution(network, LAYERS))
    pairs = dict(zip(scores.layers, named.layers, strict=True))
    assert_same(scores, named, layers=pairs)


def test_a_layer_that_is_no_list_and_attributions_to_inputs(network):
    scores = score(FrequencyTaggingAttribution(network, "3"))
    assert scores.layers == ("3",)
    tunnel = FrequencyTunnel(Saliency(network))
    scores = score(tunnel, labels_as="target", pooling="neuron", components=[(1, 1)])
    assert scores.layers == ("inputs",)
    assert scores.mean["inputs"].shape == IMAGES.shape[1:]


def test_the_network_is_left_as_it_was(reading_network, written_digits):
    state = {name: value.clone() for name, value in reading_network.state_dict().items()}
    function = margin_of(reading_network)
    modules = [reading_network.get_submodule(name) for name in DIGIT_LAYERS]
    tunnel = FrequencyTunnel(LayerGradientXActivation(function, modules))
    for attribution in (FrequencyTaggingAttribution(reading_network, DIGIT_LAYERS), tunnel):
        labels_as = "additional_forward_args" if attribution is tunnel else None
        score(
            attribution,
            TensorDataset(*written_digits),
            labels_as=labels_as,
            design=ChebyshevGrid(nodes=2),
        )
    for name, value in reading_network.state_dict().items():
        assert torch.equal(value, state[name])
    for module in reading_network.modules():
        assert not module.training
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    for parameter in reading_network.parameters():
        assert parameter.requires_grad
        assert parameter.grad is None


def test_a_progress_bar_counts_the_images(tagging, capsys):
    score(tagging, show_progress=True)
    shown = capsys.readouterr().err
    assert "Frequency Tagging Attribution" in shown
    assert "7/7" in shown
    score(tagging)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("argument", [{"by_class": True}, {"labels_as": "target"}])
def test_labels_that_are_missing_are_asked_for(tagging, argument):
    (name,) = argument
    with pytest.raises(ValueError, match=rf"\(input, label\) pairs for `{name}`"):
        score(tagging, TensorDataset(IMAGES), **argument)


def test_errors_are_not_estimated(tagging):
    with pytest.raises(TypeError, match="no `estimate_error`, since scores hold no errors"):
        score(tagging, TensorDataset(IMAGES), estimate_error=True)


class Untouched(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        raise RuntimeError("looked at the data")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(n_top_images=0), "`n_top_images` to be at least 1, but got 0"),
        (dict(checkpoint_every=0), "`checkpoint_every` to be at least 1"),
        (dict(statistic="power"), "`statistic` to be one of snr,"),
        (dict(reduction="median"), "`reduction` to be one of mean,"),
        (dict(batch_size=0), "batch_size"),
    ],
)
def test_arguments_are_refused_before_anything_runs(tagging, arguments, words):
    with pytest.raises(ValueError, match=words):
        score(tagging, Untouched(), **arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (dict(components="sums"), ValueError, "`components` to be one of"),
        (dict(components=[(1, 0, 0)]), ValueError, "tuples of 2 integers"),
        (dict(pooling="filter"), ValueError, "`pooling`"),
        (dict(target_layer="1"), TypeError, "target_layer"),
        (dict(labels_as="class"), ValueError, "`labels_as` to be one of target, add"),
    ],
)
def test_arguments_of_the_spectrum_are_refused_by_it(tagging, arguments, error, words):
    with pytest.raises(error, match=words):
        score(tagging, **arguments)


@pytest.mark.parametrize("made", ["method", "model", "class"])
def test_what_does_not_tag_is_refused(network, made):
    wrong = {
        "method": LayerActivation(network, network[0]),
        "model": network,
        "class": FrequencyTaggingAttribution,
    }[made]
    with pytest.raises(TypeError, match="FrequencyTaggingAttribution or a FrequencyTunnel"):
        score(wrong, Untouched())


@pytest.mark.parametrize(
    "make",
    [
        lambda: TensorDataset(IMAGES[:0], LABELS[:0]),
        lambda: DataLoader(TensorDataset(IMAGES[:0])),
        lambda: [],
    ],
    ids=["dataset", "loader", "list"],
)
def test_empty_data_are_refused(tagging, make):
    with pytest.raises(ValueError, match="at least one image"):
        score(tagging, make())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Stream, "Dataset with a length, or a DataLoader, but got Stream"),
        (lambda: iter(IMAGES), "but got"),
        (lambda: ["a picture", "another"], "hold tensors.*but got str"),
        (lambda: [1, 2], "floating dtype"),
    ],
    ids=["stream", "iterator", "strings", "numbers"],
)
def test_data_of_the_wrong_kind_are_refused(tagging, make, words):
    with pytest.raises(TypeError, match=words):
        score(tagging, make())


@pytest.mark.data
def test_a_residual_network_in_single_precision(resnet32):
    """Scores of batches, of a margin's relevance too, are those of one image after the other."""
    images, labels = load_test_images(4)
    layers = ["conv1", "layer2.0.relu2", "layer3"]
    modules = [resnet32.get_submodule(name) for name in layers]
    tunnel = FrequencyTunnel(LayerGradientXActivation(margin_of(resnet32), modules))
    tagging = FrequencyTaggingAttribution(resnet32, layers)
    arguments = dict(design=ChebyshevGrid(nodes=3), components=[(1, 0), (1, 1)])
    for attribution, baselines, labels_as in (
        (tagging, "baselines", None),
        (tunnel, "tag_baselines", "additional_forward_args"),
    ):
        arguments_of_both = dict(
            arguments, labels_as=labels_as, keep_coefficients=True, **{baselines: black(MEAN, STD)}
        )
        data = TensorDataset(images, labels)
        whole, single = (
            score(attribution, data, batch_size=size, **arguments_of_both) for size in (4, 1)
        )
        assert whole.layers == single.layers == tuple(layers)
        for layer in layers:
            scale = whole.mean[layer].max().item()
            torch.testing.assert_close(
                whole.mean[layer], single.mean[layer], rtol=1e-3, atol=1e-5 * scale
            )
            assert scale > 0


@pytest.mark.parametrize("labels", [torch.arange(7) / 2, torch.eye(7, dtype=torch.long)])
def test_labels_that_are_no_classes_are_refused(tagging, labels):
    with pytest.raises(ValueError, match="one integer per example as label for `by_class`"):
        score(tagging, TensorDataset(IMAGES[:7], labels), by_class=True)


class StreamOfKnownLength(Stream):
    def __len__(self):
        return len(IMAGES)


@pytest.mark.parametrize("stream", [Stream(), StreamOfKnownLength()])
def test_a_stream_needs_a_loader(tagging, stream):
    with pytest.raises(TypeError, match="Dataset with a length, or a DataLoader, but got Stream"):
        score(tagging, stream)


@pytest.mark.parametrize("statistic", ["zscore", "baseline_corrected"])
def test_statistics_that_a_grid_lacks_are_refused_before_anything_runs(tagging, statistic):
    with pytest.raises(ValueError, match="Expected a design in time"):
        score(tagging, Untouched(), statistic=statistic, design=ChebyshevGrid())
