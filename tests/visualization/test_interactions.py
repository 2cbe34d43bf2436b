import itertools
import math

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    TaggedSpectrum,
    TaggingDesign,
    TwoLevelDesign,
    black,
    channel_groups,
    disc,
    halves,
    score_neurons,
    tiles,
)
from captum_ssvep.demo.digits import example_images, load_network
from captum_ssvep.visualization import (
    plot_and_or,
    plot_corners,
    plot_interaction_matrix,
    plot_interactions,
)

matplotlib.use("Agg")
pytestmark = pytest.mark.usefixtures("one_thread")

LAYERS = ["layer1", "layer3", "fc"]


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def digits():
    return example_images()[0]


@pytest.fixture(scope="module")
def quarters(digits):
    """The logits of two digits to all combinations of four tiles."""
    return FrequencyTaggingAttribution(load_network(), "fc").spectrum(
        digits,
        design=TwoLevelDesign(4, max_order=4),
        feature_mask=tiles(digits.shape, 2, 2),
    )


@pytest.fixture(scope="module")
def spectra(digits):
    """The answers of three layers to the four corners of two halves."""
    return FrequencyTaggingAttribution(load_network(), LAYERS).spectrum(
        digits, design=TwoLevelDesign(2), pooling="channel"
    )


def drawn_nodes(ax):
    (nodes,) = [c for c in ax.collections if len(c.get_offsets()) > 1]
    return nodes


def drawn_places(ax):
    return drawn_nodes(ax).get_offsets().data


def drawn_edges(ax):
    """Path, width and color of each edge, by its pair of nodes, in the order of drawing."""
    nodes = drawn_nodes(ax)
    (edges,) = [c for c in ax.collections if isinstance(c, type(nodes)) and c is not nodes]
    drawn = zip(edges.get_paths(), edges.get_linewidths(), edges.get_edgecolors(), strict=True)
    places, found = drawn_places(ax), {}
    for path, width, color in drawn:
        ends = path.vertices[[0, 2]]
        pair = tuple(int(np.hypot(*(places - end).T).argmin()) for end in ends)
        np.testing.assert_allclose(ends, places[[*pair]])
        found[pair] = path, width, color
    return found


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def is_red(color):
    return color[0] > color[2]


def inside(figure):
    """Whether everything that is drawn lies within the figure."""
    figure.canvas.draw()
    box, full = figure.get_tightbbox(figure.canvas.get_renderer()), figure.get_size_inches()
    return box.x0 >= -0.01 and box.y0 >= -0.01 and (box.max <= full + 0.01).all()


def test_edges_have_the_sign_and_the_size_of_interactions(quarters, digits):
    worths = quarters.shapley_interactions()[:, 1, 8]
    mask = tiles(digits.shape, 2, 2)
    figure, ax = plot_interactions(worths, feature_mask=mask, image=digits[1:])
    assert ax.get_figure() is figure
    edges = drawn_edges(ax)
    assert edges.keys() == {*itertools.combinations(range(4), 2)}
    largest = worths.abs().max()
    assert (worths > 0).any()
    assert (worths < 0).any()
    for pair, worth in zip(itertools.combinations(range(4), 2), worths, strict=True):
        _, width, color = edges[pair]
        assert width == pytest.approx(0.27 * 29 * float(worth.abs() / largest))
        assert color[3] == pytest.approx(0.2 + 0.8 * float(worth.abs() / largest))
        assert is_red(color) == (worth > 0)
    # Strongest on top, which is drawn last.
    widths = [width for _, width, _ in edges.values()]
    assert widths == sorted(widths)
    assert legend_texts(ax) == [f"{s * largest:+.2g}" for s in (1, 0.5, -0.5, -1)]
    assert "(activation)" in ax.get_legend().get_title().get_text()
    assert inside(figure)


def test_nodes_lie_at_the_centers_of_parts_and_show_their_values(quarters, digits):
    worths, values = quarters.shapley_interactions()[:, 0, 3], quarters.shapley_values()[:, 0, 3]
    values[2] = -1.0
    mask = tiles(digits.shape, 2, 2)
    _, ax = plot_interactions(worths, values, mask, digits[:1])
    np.testing.assert_allclose(
        drawn_places(ax), [(7.5, 7.5), (23.5, 7.5), (7.5, 23.5), (23.5, 23.5)]
    )
    shares = (values / values.abs().max()).numpy()
    diameters = np.sqrt(drawn_nodes(ax).get_sizes())
    np.testing.assert_allclose(diameters, 29 * (1 + np.abs(shares)) / 2, rtol=1e-6)
    colors = drawn_nodes(ax).get_facecolors()
    assert [is_red(color) for color in colors] == [share > 0 for share in shares]
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2", "3"]
    np.testing.assert_allclose([text.get_position() for text in ax.texts], drawn_places(ax))
    assert legend_texts(ax)[-4:] == [f"{s * values.abs().max():+.2g}" for s in (1, 0.5, -0.5, -1)]
    # Numbers can be read on their nodes.
    darkest = int(np.argmax(np.abs(shares)))
    assert ax.texts[darkest].get_color() == "white"


def test_the_image_is_dimmed_and_has_the_borders_of_parts():
    pixels = torch.rand(1, 3, 8, 8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    normalized = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    pair = torch.tensor([0.5])
    _, ax = plot_interactions(
        pair, None, halves(pixels.shape), normalized, mean=mean, std=std, ax=plt.figure().subplots()
    )
    shown = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(shown, 0.5 + 0.5 * pixels[0].mean(dim=0), atol=1e-6)
    borders = [c for c in ax.collections if hasattr(c, "levels")]
    assert {x for c in borders for path in c.get_paths() for x in path.vertices[:, 0]} == {3.5}
    np.testing.assert_allclose(drawn_places(ax), [(1.5, 3.5), (5.5, 3.5)])


def test_without_an_image_the_borders_show_where_the_parts_are():
    mask = halves((1, 64, 8, 8))  # as of a layer; of height 1, which stands for any
    _, ax = plot_interactions(torch.tensor([-0.5]), feature_mask=mask)
    assert ax.images[0].get_array().shape == (8, 8)
    assert ax.images[0].get_array().min() == 1
    np.testing.assert_allclose(drawn_places(ax), [(1.5, 3.5), (5.5, 3.5)])


def test_a_node_lies_in_its_part():
    mask = disc((1, 3, 9, 9), radius=2)
    _, ax = plot_interactions(torch.tensor([1.0]), feature_mask=mask)
    first, second = drawn_places(ax).astype(int)
    assert first.tolist() == [4, 4]
    assert mask[0, 0, second[1], second[0]] == 1


@pytest.mark.parametrize("n_parts", [2, 3, 4, 9, 16])
def test_parts_without_a_mask_lie_on_a_circle_apart_from_each_other(n_parts):
    worths = torch.randn(n_parts * (n_parts - 1) // 2)
    figure, ax = plot_interactions(worths, torch.rand(n_parts))
    assert inside(figure)
    places = drawn_places(ax)
    np.testing.assert_allclose(places[0], [0, 1], atol=1e-12)
    np.testing.assert_allclose(np.hypot(*places.T), 1)
    assert n_parts == 2 or places[1, 0] > 0  # clockwise
    at = ax.transData.transform(places) * 72 / figure.dpi
    radii = np.sqrt(drawn_nodes(ax).get_sizes()) / 2
    for i, j in itertools.combinations(range(n_parts), 2):
        assert math.dist(at[i], at[j]) > radii[i] + radii[j]


@pytest.mark.parametrize("mask", [tiles((1, 3, 32, 32), 3, 3), tiles((1, 3, 32, 32), 4, 4), None])
def test_edges_pass_by_the_nodes_of_other_parts(mask):
    n_parts = 9 if mask is None else len(mask.unique())
    figure, ax = plot_interactions(
        torch.ones(n_parts * (n_parts - 1) // 2), torch.rand(n_parts), mask
    )
    figure.canvas.draw()
    at = ax.transData.transform(drawn_places(ax)) * 72 / figure.dpi
    steps = np.linspace(0, 1, 101)[:, None]
    for pair, (path, _, _) in drawn_edges(ax).items():
        start, middle, end = path.vertices
        curve = (1 - steps) ** 2 * start + 2 * steps * (1 - steps) * middle + steps**2 * end
        curve = ax.transData.transform(curve) * 72 / figure.dpi
        for other in {*range(n_parts)} - {*pair}:
            assert np.hypot(*(curve - at[other]).T).min() > 10  # points


def test_nothing_to_draw_is_drawn_as_nothing():
    _, ax = plot_interactions(torch.zeros(3), torch.zeros(3))
    assert {width for _, width, _ in drawn_edges(ax).values()} == {0}
    assert legend_texts(ax) == ["+0", "+0"]
    figure, _ = plot_interaction_matrix(torch.zeros(3))
    figure.canvas.draw()


def test_the_matrix_is_symmetric_and_centered_at_zero(quarters):
    worths, values = quarters.shapley_interactions()[:, 0, 3], quarters.shapley_values()[:, 0, 3]
    figure, ax = plot_interaction_matrix(worths, values)
    (image,) = ax.images
    matrix = image.get_array().filled(np.nan)
    np.testing.assert_array_equal(matrix, matrix.T)
    # Values have no color: they may be many times larger.
    assert np.isnan(np.diag(matrix)).all()
    assert [text.get_text() for text in ax.texts] == [f"{float(value):.2g}" for value in values]
    for (i, j), worth in zip(itertools.combinations(range(4), 2), worths, strict=True):
        assert matrix[i, j] == pytest.approx(float(worth))
    assert image.norm.vmax == -image.norm.vmin == np.nanmax(np.abs(matrix))
    assert is_red(image.cmap(1.0))
    assert not is_red(image.cmap(0.0))
    bar = image.colorbar.ax.get_ylabel()
    assert bar == "Interaction (activation)\non the diagonal: value of the part"
    assert ax.get_xlabel() == ax.get_ylabel() == "Part"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2", "3"]
    assert inside(figure)
    given = plt.figure().subplots()
    _, ax = plot_interaction_matrix(worths, ax=given)
    assert ax is given
    assert np.ma.getmaskarray(ax.images[0].get_array()).tolist() == np.eye(4, dtype=bool).tolist()
    assert ax.images[0].colorbar.ax.get_ylabel() == "Interaction (activation)"


def test_corners_are_shown_with_their_frames_and_answers(spectra, digits):
    spectrum = spectra[2]
    figure, axes = plot_corners(spectrum, digits, neuron=8, example=1)
    assert axes.shape == (2, 2)
    network = load_network()
    for first, second in itertools.product((0, 1), repeat=2):
        frame = digits[1:].clone()
        frame[..., :16] *= first
        frame[..., 16:] *= second
        axis = axes[first, second]
        np.testing.assert_allclose(axis.images[0].get_array(), frame[0, 0])
        with torch.no_grad():
            answer = network(frame)[0, 8]
        assert float(axis.get_title().split()[-1]) == pytest.approx(float(answer), rel=6e-3)
        assert axis.get_title().startswith("mean activation ")
    assert [axis.get_ylabel() for axis in axes[:, 0]] == [f"part 0 at contrast {c}" for c in (0, 1)]
    assert [axis.get_xlabel() for axis in axes[1]] == [f"part 1 at contrast {c}" for c in (0, 1)]
    index, rising, effect = (
        float(getattr(spectrum, name)((0, 1))[1, 8])
        for name in ("and_or_index", "monotonicity", "interaction_effect")
    )
    assert figure.get_suptitle().split("\n") == [
        "Channel 8 of fc, image 1",
        f"AND/OR index {index:.2f}, monotonicity {rising:.2f}",
        f"interaction effect {effect:.3g}, contrasts 0 to 1",
    ]
    assert inside(figure)


def test_corners_of_two_among_several_parts():
    images = torch.rand(2, 3, 8, 8)
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    mask, baselines = tiles(images.shape, 2, 2), black(mean, std)
    normalized = (images - 0.5) / 0.25
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)).eval()
    spectrum = FrequencyTaggingAttribution(model, "1").spectrum(
        normalized,
        design=ChebyshevGrid(4, 3, contrast=(0.5, 1)),
        feature_mask=mask,
        baselines=baselines,
    )
    figure, axes = plot_corners(
        spectrum,
        normalized,
        (3, 1),
        (2, 0, 5),
        feature_mask=mask,
        baselines=baselines,
        mean=mean,
        std=std,
    )
    half = images[0].clone()
    half[:, 4:, 4:] *= 0.5  # the first of the two, part 3, is at its lowest contrast above
    shown = np.asarray(axes[0, 1].images[0].get_array())
    np.testing.assert_allclose(shown, half.permute(1, 2, 0), atol=1e-6)
    table = spectrum.corners((3, 1))[:, :, 0, 2, 0, 5]
    titles = [[float(axis.get_title().split()[-1]) for axis in row] for row in axes]
    np.testing.assert_allclose(titles, table, rtol=6e-3)
    assert axes[0, 0].get_ylabel() == "part 3 at contrast 0.5"
    *_, contrasts, others = figure.get_suptitle().split("\n")
    assert contrasts.endswith("contrasts 0.5 to 1")
    assert others == "activations are means over other parts' contrasts"


def test_an_index_without_a_meaning_is_undefined():
    left, right = torch.as_tensor(TwoLevelDesign(2).contrasts).T
    spectrum = TaggedSpectrum.from_series((left - right)[:, None, None], TwoLevelDesign(2))
    figure, _ = plot_corners(spectrum, torch.rand(1, 1, 8, 8))
    assert "AND/OR index undefined, monotonicity 0.00" in figure.get_suptitle()


def bars_of(ax):
    """Left ends and widths of the pieces of each bar, by their name in the legend."""
    pieces = {}
    for container, text in zip(ax.containers, ax.get_legend().get_texts(), strict=True):
        pieces[text.get_text()] = [(bar.get_x(), bar.get_width()) for bar in container]
    return pieces


KINDS = {
    "OR-like: below -0.5": lambda k: k < -0.5,
    "weakly OR": lambda k: (k >= -0.5) & (k < -0.1),
    "additive: -0.1 to 0.1": lambda k: k.abs() <= 0.1,
    "undefined": lambda k: k.isnan(),
    "weakly AND": lambda k: (k > 0.1) & (k <= 0.5),
    "AND-like: above 0.5": lambda k: k > 0.5,
}


def assert_bars_show(ax, indices):
    pieces, starts = bars_of(ax), np.zeros(len(indices))
    assert [*pieces] == [*KINDS]
    for name, belongs in KINDS.items():
        shares = [100 * belongs(index).double().mean().item() for index in indices]
        np.testing.assert_allclose([x for x, _ in pieces[name]], starts, atol=1e-9)
        np.testing.assert_allclose([width for _, width in pieces[name]], shares, atol=1e-9)
        starts += shares
    np.testing.assert_allclose(starts, 100)


def test_bars_count_images_and_channels_by_their_index(spectra):
    figure, ax = plot_and_or(spectra)
    assert ax.get_figure() is figure
    assert_bars_show(ax, [spectrum.and_or_index((0, 1)) for spectrum in spectra])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == LAYERS
    assert ax.yaxis_inverted()  # the first layer on top
    assert ax.get_title() == "AND/OR index of parts 0 and 1, contrasts 0 to 1"
    assert ax.get_xlabel() == "Share of channels, counted in 2 images (%)"
    first, last = (ax.containers[i][0].get_facecolor() for i in (0, -1))
    assert is_red(last)
    assert not is_red(first)
    written = [text.get_text() for text in ax.texts if text.get_text()]
    widths = [width for piece in bars_of(ax).values() for _, width in piece]
    assert written == [f"{width:.0f}" for width in widths if width >= 5]
    assert inside(figure)


def test_bars_of_scores_count_filters(digits):
    scores = score_neurons(
        FrequencyTaggingAttribution(load_network(), LAYERS),
        TensorDataset(digits, torch.tensor([3, 8])),
        design=TwoLevelDesign(2),
        show_progress=False,
    )
    _, ax = plot_and_or(scores, (1, 0), ax=plt.figure().subplots())
    assert_bars_show(ax, [*scores.and_or_index((1, 0)).values()])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == LAYERS
    assert ax.get_title() == "AND/OR index of parts 1 and 0, contrasts 0 to 1"
    assert ax.get_xlabel() == "Share of channels, by the mean over 2 images (%)"


def test_bars_of_series_with_known_indices():
    a, b = torch.as_tensor(TwoLevelDesign(2).contrasts).T
    answers = [a * b, torch.maximum(a, b), a + b, a - b, 2 * (a + b) + 0.5 * a * b]
    spectrum = TaggedSpectrum.from_series(torch.stack(answers, 1)[:, None], TwoLevelDesign(2))
    _, ax = plot_and_or([spectrum, spectrum[0]])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["series 0", "series 1"]
    shares = {name: [width for _, width in piece] for name, piece in bars_of(ax).items()}
    assert {name: pytest.approx([20, 20]) for name in KINDS if name != "weakly OR"} == {
        name: widths for name, widths in shares.items() if name != "weakly OR"
    }
    colors = [container[0].get_facecolor() for container in ax.containers]
    assert len({*colors}) == len(KINDS)
    assert to_rgba("0.9") in colors


MASK, IMAGE = tiles((1, 3, 8, 8), 2, 2), torch.rand(1, 3, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (dict(interactions=torch.rand(5)), ValueError, r"1, 3, 6, 10, .* but got \(5,\)"),
        (dict(interactions=torch.rand(0)), ValueError, r"shape \(pairs,\).* but got \(0,\)"),
        (dict(interactions=torch.rand(6, 2, 10)), ValueError, r"take one image and neuron"),
        (dict(interactions=torch.full([6], torch.nan)), ValueError, "`interactions` to be finite"),
        (dict(interactions=torch.ones(6).int()), TypeError, "`interactions` of a floating dtype"),
        (dict(interactions=[0.5]), TypeError, "`interactions` to be a tensor"),
        (dict(values=torch.rand(3)), ValueError, r"`values` of shape \(4,\).* but got \(3,\)"),
        (dict(values=torch.tensor([0, 1, 2, math.inf])), ValueError, "`values` to be finite"),
        (dict(values=[1.0, 2.0, 3.0, 4.0]), TypeError, "`values` to be a tensor"),
    ],
)
@pytest.mark.parametrize("plot", [plot_interactions, plot_interaction_matrix])
def test_wrong_interactions_and_values_are_refused(plot, arguments, error, words):
    with pytest.raises(error, match=words):
        plot(**{"interactions": torch.rand(6), **arguments})
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (dict(image=IMAGE), ValueError, "`feature_mask` with an image"),
        (dict(feature_mask=MASK.double()), TypeError, "`feature_mask` to hold integers"),
        (dict(feature_mask=MASK.numpy()), TypeError, "`feature_mask` to be a tensor"),
        (dict(feature_mask=MASK + 1), ValueError, r"parts 0 to 3 .* but got \[1, 2, 3, 4\]"),
        (dict(feature_mask=channel_groups((1, 4, 8, 8), 4)), ValueError, "differ between images"),
        (dict(feature_mask=MASK, image=torch.rand(1, 3, 8, 9)), ValueError, "8 x 9 pixels"),
        (dict(feature_mask=MASK, image=torch.rand(2, 3, 8, 8)), ValueError, r"`image\[:1\]`"),
        (dict(feature_mask=MASK, image=IMAGE[0]), ValueError, r"make a batch: `image\[None\]`"),
        (dict(feature_mask=MASK, image=IMAGE, mean=(0.5,)), TypeError, "`std` to hold numbers"),
        (dict(ax=plt), TypeError, "`ax` to be the axes"),
    ],
)
def test_a_wrong_mask_or_image_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        plot_interactions(torch.rand(6), **arguments)
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (dict(parts=(0, 2)), ValueError, "`parts` to be two with components"),
        (dict(parts=0), TypeError, "`parts` to be two"),
        (dict(neuron=10), ValueError, "`neuron` to be between 0 and 9"),
        (dict(example=2), ValueError, "which of the 2 images"),
        (dict(inputs=torch.rand(1, 1, 32, 32)), ValueError, "`inputs` to be the 2 images"),
        (dict(spectrum=[]), TypeError, "the spectrum of one layer"),
        (dict(feature_mask=tiles((1, 1, 32, 32), 2, 2)), ValueError, "`feature_mask` to be 0 to 1"),
    ],
)
def test_wrong_corners_are_refused(spectra, digits, arguments, error, words):
    with pytest.raises(error, match=words):
        plot_corners(**{"spectrum": spectra[2], "inputs": digits, **arguments})
    assert not plt.get_fignums()


def test_bars_are_of_scores_or_of_spectra_that_are_alike(spectra):
    for wrong in (spectra[0], "layer1", [spectra], [*spectra, None]):
        with pytest.raises(TypeError, match=r"`results` to be scores, or .*`\[spectrum\]`"):
            plot_and_or(wrong)
    series = torch.rand(240, 2, 3)
    other = TaggedSpectrum.from_series(series, TaggingDesign())
    for unlike in ([], [spectra[0], spectra[0][0]], [spectra[0], other]):
        with pytest.raises(ValueError, match="`results` to be spectra with the same contrasts"):
            plot_and_or(unlike)
    with pytest.raises(ValueError, match="`parts` to be two different ones"):
        plot_and_or(spectra, (0, 0))
    assert not plt.get_fignums()
