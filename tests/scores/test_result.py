"""What scores say, against SciPy and loops over images, and how they are kept and put together."""

import copy
import functools
import io
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from torch.utils.data import Subset, TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    NeuronScores,
    TaggingDesign,
    choose_design,
    score_neurons,
)

pytestmark = pytest.mark.usefixtures("one_thread")

LAYERS = ("0", "1", "3")  # a convolution, which answers fundamentals alone, and two rectifiers
N_IMAGES = 16
GENERATOR = torch.Generator().manual_seed(0)  # at import, before any test's seed
IMAGES = torch.randn(N_IMAGES, 3, 10, 12, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.tensor([2, 0, 2, 1, 0, 2, 5, 0] * 2)
# 72 frames in noise, of which a network without it has to see 10.
DESIGN = choose_design(2, max_order=2, kind="time")
NOISE = dict(noise_std=0.3)
ALL = [(1, 0), (0, 1), (2, 0), (1, 1), (1, -1), (0, 2)]


@pytest.fixture(scope="module")
def tagging():
    torch.manual_seed(18)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU())
    return FrequencyTaggingAttribution(model.double().eval(), list(LAYERS))


@pytest.fixture(scope="module")
def score(tagging):
    """The scores of some of the images; computed once, as nobody changes them."""

    @functools.cache
    def compute(rows, arguments):
        data = Subset(TensorDataset(IMAGES, LABELS), rows)
        settings_of_all = dict(design=DESIGN, max_order=2, n_top_images=3, batch_size=5)
        return score_neurons(
            tagging, data, **settings_of_all | dict(arguments), show_progress=False
        )

    def scores(rows=range(N_IMAGES), **arguments):
        return compute(rows, tuple(sorted(arguments.items())))

    return scores


@pytest.fixture(scope="module")
def spectra(tagging):
    """Of all images, without noise and with it."""
    arguments = dict(design=DESIGN, max_order=2, pooling="channel")
    return {
        noisy: dict(
            zip(
                LAYERS,
                tagging.spectrum(IMAGES, **arguments, **(NOISE if noisy else {})),
                strict=True,
            )
        )
        for noisy in (False, True)
    }


def coefficients(spectrum, component, noisy=False):
    """Signed, of every image, as an array; what rounding may have made counts as nothing."""
    signed = spectrum.coefficient(component)
    return (signed if noisy else signed.where(spectrum.snr(component) > 1, 0)).numpy()


def literal_t_test(values):
    """SciPy's, neuron by neuron."""
    return [
        stats.ttest_1samp(column, 0).pvalue if column.any() else 1.0
        for column in values.reshape(len(values), -1).T
    ]


def literal_noise_test(spectrum, component):
    """An F test of every image, combined over images, neuron by neuron."""
    power = spectrum.amplitude(component).square().numpy()
    neighbors = spectrum.neighbor_amplitudes(component).square().numpy()
    p_values = stats.f.sf(power / neighbors.mean(axis=0), 2, 2 * len(neighbors))
    return [stats.combine_pvalues(column, method="fisher").pvalue for column in p_values.T]


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("by_class", [False, True])
def test_the_t_test_is_scipys_of_the_coefficients(score, spectra, noisy, by_class):
    scores = score(by_class=by_class, **(NOISE if noisy else {}))
    for layer, p_values in scores.p_values(test="t").items():
        expected = [
            literal_t_test(coefficients(spectra[noisy][layer], component, noisy))
            for component in ALL
        ]
        np.testing.assert_allclose(p_values, expected, rtol=1e-6)


@pytest.mark.parametrize("by_class", [False, True])
def test_the_noise_test_is_scipys_of_every_image_and_component(score, spectra, by_class):
    scores = score(by_class=by_class, **NOISE)
    for layer, p_values in scores.p_values(test="noise").items():
        expected = [literal_noise_test(spectra[True][layer], component) for component in ALL]
        np.testing.assert_allclose(p_values, expected, rtol=1e-6)


def test_noise_without_neighbors_says_what_is_missing():
    tagging = FrequencyTaggingAttribution(nn.Conv2d(3, 2, 3).eval(), "")
    scores = score_neurons(
        tagging, TensorDataset(torch.rand(2, 3, 6, 6)), noise_std=0.1, n_neighbors=0,
        design=DESIGN, max_order=2, show_progress=False,
    )  # fmt: skip
    with pytest.raises(ValueError, match="with noise_std and n_neighbors above 0"):
        scores.p_values(test="noise")


def test_the_sign_flip_test_counts_all_flips_of_few_images(score, spectra):
    rows = range(8)
    scores = score(rows, keep_coefficients=True)
    found = scores.p_values(test="sign_flip")
    signs = np.array(list(itertools.product([1, -1], repeat=8)))
    for layer in LAYERS:
        for component, p_values in zip(ALL, found[layer], strict=True):
            values = coefficients(spectra[False][layer], component)[rows]
            flipped = np.abs(signs @ values) >= np.abs(values.sum(axis=0)) - 1e-12
            np.testing.assert_allclose(p_values, flipped.mean(axis=0), rtol=1e-9)


def test_the_sign_flip_test_does_not_depend_on_how_images_came(score):
    """Random flips, as the images are too many for all: of the same images in the same order."""
    together = score(keep_coefficients=True).p_values("fundamentals", "sign_flip")
    for arguments in ({"by_class": True}, {"batch_size": 3}, {"batch_size": 7, "by_class": True}):
        other = score(keep_coefficients=True, **arguments).p_values("fundamentals", "sign_flip")
        for layer in LAYERS:
            assert torch.equal(together[layer], other[layer])
    merged = score(range(5), keep_coefficients=True).merge(
        score(range(5, 16), keep_coefficients=True)
    )
    assert torch.equal(merged.p_values("fundamentals", "sign_flip")["3"], together["3"])


def test_the_coefficients_of_every_image_are_kept_in_the_order_of_the_data(score, spectra):
    for arguments in ({}, {"by_class": True, "batch_size": 3}):
        scores = score(keep_coefficients=True, **arguments)
        for layer, examples in scores.image_coefficients.items():
            expected = [coefficients(spectra[False][layer], component) for component in ALL]
            np.testing.assert_allclose(examples, np.stack(expected, 1), rtol=1e-6, atol=1e-13)
    with pytest.raises(ValueError, match="score with keep_coefficients=True"):
        _ = score().image_coefficients


@pytest.mark.parametrize("test", ["t", "sign_flip", "noise", None])
@pytest.mark.parametrize("pooling", ["channel", "neuron"])
def test_p_values_have_a_row_for_each_component(score, test, pooling):
    scores = score(range(4), keep_coefficients=True, pooling=pooling, **NOISE)
    shapes = {layer: mean.shape for layer, mean in scores.mean.items()}
    assert shapes["1"] == ((5,) if pooling == "channel" else (5, 8, 10))
    everything = scores.p_values(test=test)
    for components, rows in (
        ("all", [0, 1, 2, 3, 4, 5]),
        ("fundamentals", [0, 1]),
        ("harmonics", [0, 1, 2, 5]),
        ("intermodulations", [3, 4]),
        ([(1, -1), (1, 0)], [4, 0]),
        ([(-1, 1)], [4]),
    ):
        assert scores.rows(components) == rows
        for layer, p_values in scores.p_values(components, test).items():
            assert p_values.shape == (len(rows), *shapes[layer])
            assert p_values.dtype == torch.float64
            assert ((p_values >= 0) & (p_values <= 1)).all()
            if test != "sign_flip":
                assert torch.equal(p_values, everything[layer][rows])


def test_noise_decides_which_test_is_the_default(score):
    noisy, silent = score(**NOISE), score()
    for layer in LAYERS:
        assert torch.equal(noisy.p_values()[layer], noisy.p_values(test="noise")[layer])
        assert not torch.equal(noisy.p_values()[layer], noisy.p_values(test="t")[layer])
        assert torch.equal(silent.p_values()[layer], silent.p_values(test="t")[layer])


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("noise", "score with noise_std and n_neighbors above 0"),
        ("sign_flip", "score with keep_coefficients=True"),
        ("wilcoxon", "`test` to be one of t, sign_flip, noise, but got 'wilcoxon'"),
    ],
)
def test_tests_that_the_scores_do_not_allow_are_refused(score, test, words):
    for read in (score().p_values, score().count_important):
        with pytest.raises(ValueError, match=words):
            read(test=test)


def test_noise_is_not_taken_for_an_answer(score):
    """The convolution answers fundamentals alone; its lines of intermodulations are noise."""
    scores = score(noise_std=0.02)
    assert scores.count_important(components="fundamentals") == {"0": 5, "1": 5, "3": 4}
    found = scores.count_important(components="intermodulations")
    assert found["0"] == 0
    assert min(found["1"], found["3"]) >= 3


def literal_important(scores, spectra, threshold, alpha, components, test):
    """Neuron by neuron, in plain Python."""
    noisy = test == "noise"
    means, p_values = {}, {}
    for layer in LAYERS:
        spectrum = spectra[noisy][layer]
        for neuron in range(spectrum.mean.shape[1]):
            readings = [spectrum.reduce([c], scores.statistic) for c in components]
            means[layer, neuron] = max(values[:, neuron].mean().item() for values in readings)
            smallest = min(
                literal_noise_test(spectrum, c)[neuron]
                if noisy
                else literal_t_test(coefficients(spectrum, c))[neuron]
                for c in components
            )
            p_values[layer, neuron] = min(1, len(components) * smallest)
    accepted = dict.fromkeys(means, True)
    if threshold is not None:
        accepted = {key: means[key] > threshold for key in means}
    if alpha is not None:
        ranked = sorted(p_values.values())
        cuts = [p for rank, p in enumerate(ranked, 1) if p <= alpha * rank / len(ranked)]
        highest = max(cuts, default=-1)
        accepted = {key: accepted[key] and p_values[key] <= highest for key in accepted}
    return {
        layer: [found for (name, _), found in accepted.items() if name == layer] for layer in LAYERS
    }


@pytest.mark.parametrize("statistic", ["snr", "amplitude"])
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize(
    "components", [ALL, [(1, 1)], [(1, -1), (2, 0)]], ids=["all", "sum", "two"]
)
def test_important_neurons_are_those_of_the_literal_definition(
    score, spectra, statistic, noisy, components
):
    scores = score(statistic=statistic, **(NOISE if noisy else {}))
    test = "noise" if noisy else "t"
    means = torch.cat(
        [values[scores.rows(components)].amax(0) for values in scores.by_component.values()]
    )
    threshold = means.sort().values[6:8].mean().item()  # half of the neurons are above
    counts = set()
    for criterion in (
        dict(threshold=threshold, alpha=None),
        dict(threshold=None, alpha=1e-6),
        dict(threshold=None, alpha=0.05),
        dict(threshold=None, alpha=0.5),
        dict(threshold=threshold, alpha=0.05),
    ):
        expected = literal_important(scores, spectra, **criterion, components=components, test=test)
        found = scores.important(**criterion, components=components, test=test)
        assert {layer: mask.tolist() for layer, mask in found.items()} == expected
        assert {mask.dtype for mask in found.values()} == {torch.bool}
        assert scores.count_important(**criterion, components=components, test=test) == {
            layer: sum(mask) for layer, mask in expected.items()
        }
        counts.add(sum(map(sum, expected.values())))
    assert len(counts) > 1  # criteria that tell neurons apart


def test_without_a_criterion_the_false_discovery_rate_is_five_per_cent(score):
    scores = score(range(4))
    counts = [scores.count_important(alpha=alpha) for alpha in (0.01, 0.05)]
    assert counts[0] != counts[1]
    assert scores.count_important() == counts[1]
    with pytest.raises(ValueError, match="`alpha` to be at most 1, but got 5"):
        scores.important(alpha=5)


def test_a_threshold_is_exceeded_by_the_mean_not_by_an_image(score):
    """And not by equality: the mean of the component with the highest mean itself is too high."""
    scores = score()
    highest = scores.by_component["1"].amax(0)
    for neuron, value in enumerate(highest.tolist()):
        assert not scores.important(threshold=value)["1"][neuron]
        assert scores.important(threshold=value * (1 - 1e-12))["1"][neuron]


def test_at_is_the_mean_over_components(score):
    scores = score()
    for components, rows in (
        ("harmonics", [0, 1, 2, 5]),
        ([(1, 1)], [3]),
        ([(0, 2), (1, 0)], [5, 0]),
    ):
        for layer, values in scores.at(components).items():
            expected = sum(scores.by_component[layer][row] for row in rows) / len(rows)
            torch.testing.assert_close(values, expected)
    torch.testing.assert_close(scores.at("all"), scores.mean)  # of an amplitude's means


@pytest.mark.parametrize(
    ("components", "words"),
    [
        ([(3, 0)], r"scored, but got \[\(3, 0\)\]; these are f1, f2"),
        ([(1, 0), (3, 0)], "components that were scored"),
        ([(1, 0, 0)], "tuples of 2 integers"),
        ([], "but got none"),
        ("sums", "`components` to be one of"),
    ],
)
def test_components_that_were_not_scored_are_refused(score, components, words):
    scores = score()
    for read in (scores.at, scores.p_values, scores.rows):
        with pytest.raises(ValueError, match=words):
            read(components)
    with pytest.raises(ValueError, match=words):
        scores.important(components=components)


def test_a_group_without_scored_components_is_refused(score):
    scores = score(components="fundamentals")
    assert scores.rows("harmonics") == [0, 1]
    with pytest.raises(ValueError, match=r"components that were scored.*'intermodulations'"):
        scores.at("intermodulations")


@pytest.mark.parametrize("pooling", ["channel", "neuron"])
def test_the_table_has_a_record_for_each_neuron(score, pooling):
    scores = score(range(4), pooling=pooling)
    records = scores.table()
    expected = [
        (layer, place if len(place) > 1 else place[0])
        for layer, mean in scores.mean.items()
        for place in itertools.product(*map(range, mean.shape))
    ]
    assert [(record["layer"], record["neuron"]) for record in records] == expected
    names = ["f1", "f2", "2f1", "f1 + f2", "f2 - f1", "2f2"]
    for record in records:
        layer, neuron = record["layer"], record["neuron"]
        assert list(record) == ["layer", "neuron", "score", "variance", *names]
        assert type(layer) is str
        if pooling == "neuron":
            assert type(neuron) is tuple
            assert [type(index) for index in neuron] == [int] * 3
        else:
            assert type(neuron) is int
        assert {type(value) for value in list(record.values())[2:]} == {float}
        assert record["score"] == scores.mean[layer][neuron].item()
        assert record["variance"] == scores.variance[layer][neuron].item()
        values = [scores.by_component[layer][row][neuron].item() for row in range(len(names))]
        assert [record[name] for name in names] == values
    assert json.loads(json.dumps(records[0]))["layer"] == "0"


@pytest.mark.parametrize("layer", [None, *LAYERS])
@pytest.mark.parametrize("k", [0, 1, 4, 1000])
def test_the_top_records_are_the_highest_scores_in_order(score, layer, k):
    scores = score()
    records = [record for record in scores.table() if layer in (None, record["layer"])]
    by_score = sorted(records, key=lambda record: -record["score"])
    assert scores.top(k, layer) == by_score[:k]


def test_equal_scores_stay_in_the_order_of_the_table(score):
    """Of rectified pixels, many of which are zero throughout."""
    scores = score(range(1), pooling="neuron")
    records = [{**record, "variance": None} for record in scores.table()]
    assert sum(record["score"] == 0 for record in records) > 10
    found = [{**record, "variance": None} for record in scores.top(len(records))]
    assert found == sorted(records, key=lambda record: -record["score"])


def test_an_unknown_layer_or_class_is_refused(score):
    with pytest.raises(ValueError, match="`layer` to be one of 0, 1, 3, but got 'fc'"):
        score().top(1, "fc")
    with pytest.raises(ValueError, match=r"among \[0, 1, 2, 5\], but got 3"):
        score(by_class=True).of_class(3)
    with pytest.raises(ValueError, match="score with by_class=True"):
        score().of_class(0)


def test_a_single_image_has_scores_but_no_variance_and_no_evidence(score):
    scores = score(range(1))
    assert scores.n_images == 1
    for layer in LAYERS:
        assert scores.mean[layer].isfinite().all()
        assert scores.variance[layer].isnan().all()
        assert (scores.p_values()[layer] == 1).all()
        assert scores.top_images[layer].tolist() == [[0] * len(scores.mean[layer])]
    assert sum(scores.count_important().values()) == 0
    assert sum(scores.count_important(threshold=0).values()) == 14


def test_the_words_for_scores(score):
    assert repr(score()) == (
        "NeuronScores(amplitude of 14 channels, 3 layers, tags 3, 4 Hz, 6 components, 16 images)"
    )


def assert_identical(first, second):
    """To the last bit and the dtype."""
    for name in ("components", "design", "statistic", "reduction", "layers", "classes"):
        assert getattr(first, name) == getattr(second, name)
    assert {type(c) for c in second.components} == {type(c) for c in first.components}
    assert set(first.tallies) == set(second.tallies)
    for label, layer in itertools.product(first.tallies, first.layers):
        one, other = (scores.tallies[label][layer] for scores in (first, second))
        assert one.n_top == other.n_top
        tensors = {"top_scores": None, "top_images": None}
        for name in ("score", "by_component", "coefficient", "surprise"):
            moments, others = getattr(one, name), getattr(other, name)
            assert (moments is None) == (others is None)
            if moments is not None:
                assert moments.count == others.count
                tensors |= {f"{name}.mean": None, f"{name}.deviations": None}
        for name in tensors:
            values, others = (functools.reduce(getattr, name.split("."), t) for t in (one, other))
            assert values.dtype == others.dtype
            assert torch.equal(values, others)
        assert bool(one.images) == bool(other.images)
        for name in ("images", "coefficients") if one.images else ():
            values, others = (torch.cat(getattr(tally, name)) for tally in (one, other))
            assert values.dtype == others.dtype
            assert torch.equal(values, others)


VARIANTS = {
    "plain": {},
    "by class": dict(by_class=True),
    "every example": dict(keep_coefficients=True),
    "every example by class": dict(keep_coefficients=True, by_class=True, batch_size=3),
    "noise": dict(NOISE),
    "noise by class": dict(NOISE, by_class=True, keep_coefficients=True),
    "grid": dict(design=ChebyshevGrid(nodes=3), by_class=True),
    "other phases": dict(design=TaggingDesign((5.0, 8.0), 120.0, 120, phases=(0.1, 2.0))),
    "neurons": dict(pooling="neuron", keep_coefficients=True),
    "decibels": dict(statistic="snr_db", reduction="max", components="fundamentals"),
}


@pytest.mark.parametrize("rows", [range(N_IMAGES), range(1)], ids=["many images", "one image"])
@pytest.mark.parametrize("kind", VARIANTS)
def test_scores_come_back_from_their_file(score, tmp_path, kind, rows):
    scores = score(rows, **VARIANTS[kind])
    path = tmp_path / "scores.npz"
    scores.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["scores.npz"]
    loaded = NeuronScores.load(str(path))
    assert_identical(scores, loaded)
    assert repr(loaded) == repr(scores)
    for layer in scores.layers:
        assert torch.equal(loaded.p_values()[layer], scores.p_values()[layer])
    assert (loaded.table() == scores.table()) or len(rows) == 1  # whose variance is NaN
    loaded.save(path)
    assert_identical(scores, NeuronScores.load(path))


def test_classes_of_a_file_are_scores_of_their_own(score, tmp_path):
    scores = score(by_class=True, keep_coefficients=True)
    scores.save(tmp_path / "scores.npz")
    loaded = NeuronScores.load(tmp_path / "scores.npz")
    for label in scores.classes:
        assert_identical(loaded.of_class(label), scores.of_class(label))
        scores.of_class(label).save(tmp_path / "class.npz")
        assert_identical(NeuronScores.load(tmp_path / "class.npz"), scores.of_class(label))


def test_files_are_plain_arrays(score, tmp_path):
    score(by_class=True).save(tmp_path / "scores.npz")
    with np.load(tmp_path / "scores.npz", allow_pickle=False) as arrays:
        about = json.loads(str(arrays["scores"]))
        assert about["layers"] == list(LAYERS)
        assert arrays["0.count"].tolist() == [6, 2, 6, 2]  # images of each class
        assert arrays["1.score.mean"].shape == (4, 5)


def write_spectrum(path, scores, tagging):
    tagging.spectrum(IMAGES[:1], design=DESIGN, max_order=2)[0].save(path)


def write_shorter(share):
    def write(path, scores, tagging):
        scores.save(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])

    return write


def write_flipped_bit(path, scores, tagging):
    scores.save(path)
    content = bytearray(path.read_bytes())
    mean = scores.mean["1"].numpy().tobytes()
    content[content.index(mean)] ^= 1
    path.write_bytes(bytes(content))


def as_file(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


DAMAGED = {
    "cut in half": write_shorter(0.5),
    "without its end": write_shorter(0.99),
    "beginning": write_shorter(0.01),
    "empty": write_shorter(0),
    "another bit": write_flipped_bit,
    "text": lambda path, scores, tagging: path.write_text("layer,neuron,score\n"),
    "array": lambda path, scores, tagging: path.write_bytes(as_file(np.ones(3))),
    "spectrum": write_spectrum,
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_and_foreign_files_are_refused_and_left_alone(score, tagging, tmp_path, kind):
    path = tmp_path / "scores.npz"
    DAMAGED[kind](path, score(), tagging)
    content = path.read_bytes()
    with pytest.raises(ValueError, match=r"Expected a file written by `NeuronScores.save`"):
        NeuronScores.load(path)
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["scores.npz"]


def test_a_file_that_is_not_there_is_missed(tmp_path):
    with pytest.raises(FileNotFoundError):
        NeuronScores.load(tmp_path / "scores.npz")


def assert_agree(first, second):
    """In everything, to rounding."""
    assert first.components == second.components
    assert first.classes == second.classes
    assert first.n_images == second.n_images
    for label in [None, *first.classes]:
        one, other = (s if label is None else s.of_class(label) for s in (first, second))
        assert one.n_images == other.n_images
        for layer in LAYERS:
            assert torch.equal(one.top_images[layer], other.top_images[layer])
            for name in ("mean", "variance", "by_component", "coefficient"):
                torch.testing.assert_close(
                    getattr(one, name)[layer],
                    getattr(other, name)[layer],
                    rtol=1e-9,
                    atol=1e-13,
                    equal_nan=True,
                )
            torch.testing.assert_close(
                one.p_values()[layer], other.p_values()[layer], rtol=1e-6, atol=1e-12
            )


@pytest.mark.parametrize("kind", [kind for kind in VARIANTS if kind not in ("neurons", "decibels")])
@pytest.mark.parametrize("cut", [1, 7, 15])
def test_two_shards_make_the_whole(score, kind, cut):
    arguments = VARIANTS[kind]
    first, second = score(range(cut), **arguments), score(range(cut, N_IMAGES), **arguments)
    kept = copy.deepcopy((first, second))
    merged = first.merge(second)
    assert_agree(merged, score(**arguments))
    # Neither is changed, nor its indices.
    assert_identical(first, kept[0])
    assert_identical(second, kept[1])
    assert max(second.top_images["3"].flatten().tolist()) < N_IMAGES - cut


@settings(max_examples=25)
@given(st.data())
def test_any_shards_in_any_tree_make_the_whole(score, data):
    """Of neighbors only, as indices follow from the order."""
    cuts = sorted(data.draw(st.sets(st.sampled_from(range(2, N_IMAGES, 2)))))
    shards = [
        score(range(*ends), by_class=True) for ends in itertools.pairwise([0, *cuts, N_IMAGES])
    ]
    while len(shards) > 1:
        place = data.draw(st.integers(0, len(shards) - 2))
        shards[place : place + 2] = [shards[place].merge(shards[place + 1])]
    assert_agree(shards[0], score(by_class=True))


def test_a_class_may_be_in_one_shard_alone(score):
    first, second = (score(rows, by_class=True) for rows in (range(2), range(2, 7)))
    assert (first.classes, second.classes) == ((0, 2), (0, 1, 2, 5))
    for merged in (first.merge(second), second.merge(first)):
        assert merged.classes == (0, 1, 2, 5)
        assert merged.of_class(5).n_images == 1
    # The index of the one 5: among the images of both.
    assert first.merge(second).of_class(5).top_images["1"].tolist() == [[6] * 5]
    assert second.merge(first).of_class(5).top_images["1"].tolist() == [[4] * 5]


def test_a_file_can_be_merged_with(score, tmp_path):
    score(range(7), keep_coefficients=True, by_class=True).save(tmp_path / "scores.npz")
    loaded = NeuronScores.load(tmp_path / "scores.npz")
    merged = loaded.merge(score(range(7, N_IMAGES), keep_coefficients=True, by_class=True))
    assert_agree(merged, score(keep_coefficients=True, by_class=True))
    merged.save(tmp_path / "scores.npz")
    assert_identical(NeuronScores.load(tmp_path / "scores.npz"), merged)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(statistic="snr"), "same statistic to merge, but got amplitude and snr"),
        (dict(reduction="max"), "same reduction to merge, but got mean and max"),
        (dict(design=ChebyshevGrid(nodes=3)), "same (design|components) to merge"),
        (dict(design=replace(DESIGN, phases=0.0)), "same design to merge"),
        (dict(components="fundamentals"), "same components to merge"),
        (dict(by_class=True), "same kind to merge.*classes apart"),
        (dict(NOISE), "same kind to merge.*with noise"),
        (dict(keep_coefficients=True), "same kind to merge.*with every image's"),
        (dict(n_top_images=4), "same kind to merge.*4 top images"),
    ],
)
def test_scores_of_another_kind_do_not_merge(score, arguments, words):
    plain, other = score(range(4)), score(range(4), **arguments)
    for first, second in ((plain, other), (other, plain)):
        with pytest.raises(ValueError, match="to merge"):
            first.merge(second)
    with pytest.raises(ValueError, match=words):
        plain.merge(other)


def test_scores_of_other_layers_do_not_merge(score, tagging):
    other = FrequencyTaggingAttribution(tagging.forward_func, ["0", "1"])
    fewer = score_neurons(
        other, TensorDataset(IMAGES[:2]), design=DESIGN, max_order=2, n_top_images=3,
        show_progress=False,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"same layers to merge, but got \('0', '1', '3'\)"):
        score().merge(fewer)


def without_array(name):
    return lambda arrays: {kept: array for kept, array in arrays.items() if kept != name}


def with_description(text):
    return lambda arrays: {**arrays, "scores": np.array(text)}


@pytest.mark.parametrize(
    "damage",
    [
        without_array("0.count"),
        without_array("1.score.mean"),
        without_array("2.top_images"),
        with_description("{}"),
        with_description("[1]"),
        with_description("no JSON"),
    ],
)
def test_incomplete_arrays_are_refused(score, tmp_path, damage):
    path = tmp_path / "scores.npz"
    np.savez(path, **damage(score().to_arrays()))
    with pytest.raises(ValueError, match=r"scores\.npz are damaged"):
        NeuronScores.load(path)


def test_what_cannot_be_merged_is_refused(score, tagging):
    with pytest.raises(TypeError, match="`other` to be what `score_neurons` returned, but got"):
        score().merge(3)
    with pytest.raises(ValueError, match="same kind to merge"):
        score().merge(score(pooling="neuron"))
    with pytest.raises(ValueError, match="`k` to be at least 0"):
        score().top(-1)
