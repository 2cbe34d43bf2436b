"""AND or OR: the table of four corners, its readings, and Shapley values from all corners."""

import itertools
import math

import numpy as np
import pytest
import torch
from captum.attr import ShapleyValues
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_ssvep import (
    ChebyshevGrid,
    FrequencyTaggingAttribution,
    TaggedSpectrum,
    TaggingDesign,
    TwoLevelDesign,
    black,
    choose_design,
    tiles,
)
from captum_ssvep.spectrum import corners

CORNERS = TwoLevelDesign(2)


def spectrum_of(response, design, **arguments):
    """Of a function of the parts' contrasts."""
    contrasts = torch.as_tensor(design.contrasts).T
    return TaggedSpectrum.from_series(response(*contrasts)[:, None], design, **arguments)


def relu_above(t):
    return lambda a, b: (a + b - t).relu()


def saturated_at(s):
    return lambda a, b: (a + b).clamp(max=s)


@pytest.mark.parametrize(
    ("response", "index", "rising"),
    [
        (lambda a, b: a + b, 0, 1),
        (lambda a, b: a * b, 1, 1),
        (torch.minimum, 1, 1),
        (torch.maximum, -1, 1),
        *((relu_above(t), t / (2 - t), 1) for t in (0.25, 0.5, 1.0)),
        *((relu_above(t), 1, 1) for t in (1.25, 1.75)),
        *((saturated_at(s), (s - 2) / s, 1) for s in (1.0, 1.25, 1.75, 2.0)),
        (lambda a, b: a + b - a * b, -1, 1),
        (lambda a, b: 1 - a * b, 1, -1),
        (lambda a, b: (1 - a) * (1 - b), -1, -1),
        (lambda a, b: 1e6 + 3 * a * b, 1, 1),
    ],
)
def test_the_index_of_known_responses_on_corners(response, index, rising):
    spectrum = spectrum_of(response, CORNERS)
    assert spectrum.and_or_index((0, 1)).item() == pytest.approx(index, abs=1e-5)
    assert spectrum.monotonicity((0, 1)).item() == pytest.approx(rising, abs=1e-5)


@pytest.mark.parametrize(
    ("response", "rising"),
    [
        (lambda a, b: a + b - 2 * a * b, 0),  # XOR
        (lambda a, b: a - b, 0),
        (lambda a, b: a - 0.9 * b, 0.1 / 1.9),
    ],
)
def test_the_index_is_undefined_where_the_response_neither_rises_nor_falls(response, rising):
    spectrum = spectrum_of(response, CORNERS)
    assert spectrum.monotonicity((0, 1)).item() == pytest.approx(rising, abs=1e-12)
    assert spectrum.and_or_index((0, 1)).isnan().all()


def test_a_neuron_that_does_not_respond_has_no_index():
    series = torch.stack([torch.full((4,), 3.0), torch.tensor(CORNERS.contrasts[:, 0])], dim=1)
    series[0, 0] += 1e-7  # rounding
    spectrum = TaggedSpectrum.from_series(series[:, None].float(), CORNERS)
    assert spectrum.and_or_index((0, 1)).isnan().tolist() == [[True, False]]
    assert spectrum.monotonicity((0, 1)).isnan().tolist() == [[True, False]]


@pytest.mark.parametrize("contrast", [(0.0, 1.0), (0.5, 1.0), (-1.0, 2.0)])
def test_corners_are_the_answers_of_a_literal_loop_exactly(contrast):
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double().eval()
    image, dark = torch.rand(3, 4).double(), torch.rand(3, 4).double()
    design = TwoLevelDesign(2, contrast=contrast)
    spectrum = FrequencyTaggingAttribution(model, "2").spectrum(
        image, baselines=dark, design=design
    )
    levels = torch.tensor(contrast, dtype=torch.float64)
    literal = torch.empty(2, 2, 3, 3, dtype=torch.float64)
    for i, j in itertools.product(range(2), repeat=2):
        gain = torch.tensor([levels[i], levels[i], levels[j], levels[j]], dtype=torch.float64)
        with torch.no_grad():
            literal[i, j] = model(dark + gain * (image - dark))
    torch.testing.assert_close(spectrum.corners((0, 1)), literal, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(
        spectrum.interaction_effect((0, 1)),
        literal[1, 1] - literal[1, 0] - literal[0, 1] + literal[0, 0],
        rtol=1e-13,
        atol=1e-14,
    )
    first = (literal[1] - literal[0]).mean(0)
    second = (literal[:, 1] - literal[:, 0]).mean(0)
    torch.testing.assert_close(
        spectrum.main_effects((0, 1)), torch.stack([first, second]), rtol=1e-13, atol=1e-14
    )


@pytest.mark.parametrize(
    "design",
    [
        TaggingDesign(),
        TaggingDesign(phases=(0.4, 2.0)),
        ChebyshevGrid(),
        ChebyshevGrid(2, 5, (0.0, 2.0)),
        choose_design(3, kind="time", contrast=(0.0, 1.0)),
        ChebyshevGrid(3, 5, (-0.5, 1.0)),
    ],
    ids=str,
)
def test_designs_with_more_contrasts_reconstruct_the_corners_of_a_polynomial(design):
    def response(a, b, *others):
        return 1 + a - 2 * b + 3 * a * b - a**2 * b + 0.5 * b**3 + sum(c * a for c in others)

    spectrum = spectrum_of(response, design)
    mean = np.mean(design.contrast)
    low, high = design.contrast
    others = [torch.tensor(mean)] * (design.n_parts - 2)
    for i, j in itertools.product(range(2), repeat=2):
        expected = response(
            torch.tensor((low, high)[i]), torch.tensor((low, high)[j]), *others
        ).item()
        assert spectrum.corners((0, 1))[i, j].item() == pytest.approx(expected, abs=1e-10)
    swapped = spectrum.corners((1, 0))
    torch.testing.assert_close(swapped, spectrum.corners((0, 1)).transpose(0, 1))


def test_a_sum_on_the_nyquist_line_leaves_its_place_to_the_difference():
    design = TaggingDesign((25.0, 35.0), 120.0, 240, phases=(0.3, 1.2))
    with pytest.warns(UserWarning, match="mirror image"):
        spectrum = spectrum_of(torch.mul, design, max_order=2)
    assert spectrum.and_or_index((0, 1)).item() == pytest.approx(1 / 3, abs=1e-6)


def test_one_sign_of_a_component_stands_for_both():
    grid = ChebyshevGrid(contrast=(0.0, 1.0))
    both = spectrum_of(torch.mul, grid)
    one = spectrum_of(torch.mul, grid, components=[(1, 0), (0, 1), (1, 1)])
    torch.testing.assert_close(one.corners((0, 1)), both.corners((0, 1)))


def test_kinks_converge_slowly_as_the_docs_say():
    design = choose_design(2, max_order=40, kind="grid", contrast=(0.0, 1.0))
    values = [
        spectrum_of(torch.minimum, design, max_order=order).and_or_index((0, 1)).item()
        for order in (2, 4)
    ]
    assert [round(value, 2) for value in values] == [1.0, 0.94]


def test_all_pairs_of_a_fraction_are_averages_over_the_other_parts():
    """A response without components above order 2, against all corners."""
    generator = torch.Generator().manual_seed(3)
    singles = torch.randn(6, generator=generator).double()
    pairs = torch.randn(6, 6, generator=generator).double()

    def response(*contrasts):
        x = torch.stack(contrasts, dim=1)
        return x @ singles + torch.einsum("ti,ij,tj->t", x, pairs, x)

    fraction, whole = TwoLevelDesign(6), TwoLevelDesign(6, max_order=6)
    assert (fraction.n_frames, whole.n_frames) == (32, 64)
    answers = response(*torch.as_tensor(whole.contrasts).T)
    for i, j in itertools.combinations(range(6), 2):
        table = torch.empty(2, 2, dtype=torch.float64)
        for a, b in itertools.product(range(2), repeat=2):
            shown = torch.as_tensor(whole.contrasts)
            table[a, b] = answers[(shown[:, i] == a) & (shown[:, j] == b)].mean()
        for design in (fraction, whole):
            found = spectrum_of(response, design).corners((i, j))[..., 0]
            torch.testing.assert_close(found, table)


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=4),
    st.floats(0.01, 100),
    st.floats(-1e3, 1e3),
)
def test_the_index_is_bounded_and_keeps_under_scale_and_order(values, scale, shift):
    table = torch.tensor(values, dtype=torch.float64).reshape(2, 2)
    index, rising = corners.and_or_index(table), corners.monotonicity(table)
    if not rising.isnan():
        assert abs(rising) <= 1 + 1e-9
    if index.isnan() or corners.path_length(table) < 1e-6:
        return
    assert abs(index) <= 1 + 1e-9
    for same in (table.T, -table, scale * table):
        torch.testing.assert_close(corners.and_or_index(same), index, atol=1e-9, rtol=0)
    moved = corners.and_or_index(table + shift)
    if abs(abs(rising) - corners.LEAST_MONOTONICITY) > 1e-6:
        torch.testing.assert_close(moved, index, atol=1e-6, rtol=0)


def payoffs_of(model, image, dark, mask):
    """The answer to every coalition of parts, as a dictionary."""
    n_parts = int(mask.max()) + 1
    answers = {}
    for coalition in itertools.chain.from_iterable(
        itertools.combinations(range(n_parts), size) for size in range(n_parts + 1)
    ):
        held = torch.isin(mask, torch.tensor(coalition))
        answers[frozenset(coalition)] = model(torch.where(held, image, dark))
    return answers


def literal_values(answers, n_parts):
    """Shapley values from their definition (Shapley 1953)."""
    values = []
    for part in range(n_parts):
        total = 0
        others = [other for other in range(n_parts) if other != part]
        for size in range(n_parts):
            weight = 1 / (n_parts * math.comb(n_parts - 1, size))
            for coalition in map(frozenset, itertools.combinations(others, size)):
                total = total + weight * (answers[coalition | {part}] - answers[coalition])
        values.append(total)
    return torch.stack(values)


def literal_interactions(answers, n_parts):
    """Shapley interaction indices from their definition (Grabisch and Roubens 1999)."""
    values = []
    for i, j in itertools.combinations(range(n_parts), 2):
        total = 0
        others = [other for other in range(n_parts) if other not in (i, j)]
        for size in range(n_parts - 1):
            weight = 1 / ((n_parts - 1) * math.comb(n_parts - 2, size))
            for coalition in map(frozenset, itertools.combinations(others, size)):
                both = answers[coalition | {i, j}] + answers[coalition]
                single = answers[coalition | {i}] + answers[coalition | {j}]
                total = total + weight * (both - single)
        values.append(total)
    return torch.stack(values)


@torch.no_grad()
def test_shapley_values_are_those_of_captum_and_of_the_definition():
    model = nn.Sequential(nn.Linear(10, 12), nn.ReLU(), nn.Linear(12, 3)).double().eval()
    images = torch.rand(2, 10).double()
    mask = torch.arange(10) // 2
    spectrum = FrequencyTaggingAttribution(model, "2").spectrum(
        images, design=TwoLevelDesign(5, max_order=5), feature_mask=mask
    )
    values, interactions = spectrum.shapley_values(), spectrum.shapley_interactions()
    assert values.shape == (5, 2, 3)
    assert interactions.shape == (10, 2, 3)
    for target in range(3):
        captums = ShapleyValues(model).attribute(
            images, target=target, feature_mask=mask[None], baselines=0.0
        )
        assert (values[:, :, target].T - captums[:, ::2]).abs().max() <= 1e-6
    for row in range(2):
        answers = payoffs_of(model, images[row], torch.zeros(10).double(), mask)
        torch.testing.assert_close(values[:, row], literal_values(answers, 5))
        torch.testing.assert_close(interactions[:, row], literal_interactions(answers, 5))


@pytest.mark.data
@torch.no_grad()
def test_shapley_values_of_nine_patches_for_all_channels_of_a_real_network(resnet32, cifar_images):
    """512 coalitions, against brute force."""
    image, mask = cifar_images[:1], tiles(cifar_images[:1].shape, 3, 3)
    dark = black((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    spectrum = FrequencyTaggingAttribution(resnet32, "layer3.4").spectrum(
        image,
        baselines=dark,
        feature_mask=mask,
        design=TwoLevelDesign(9, max_order=9),
        pooling="channel",
    )
    found = {}
    hook = resnet32.layer3[4].register_forward_hook(
        lambda module, args, output: found.update(last=output.mean((2, 3))[0].double())
    )

    def pooled(frame):
        resnet32(frame)
        return found["last"]

    with hook:
        answers = payoffs_of(pooled, image, dark, mask)
    for values, literal in (
        (spectrum.shapley_values(), literal_values(answers, 9)),
        (spectrum.shapley_interactions(), literal_interactions(answers, 9)),
    ):
        assert (values[:, 0].double() - literal).abs().max() <= 1e-6
    total = answers[frozenset(range(9))] - answers[frozenset()]
    torch.testing.assert_close(
        spectrum.shapley_values()[:, 0].sum(0).double(), total, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("spectrum", "parts", "message"),
    [
        (spectrum_of(torch.mul, CORNERS), (0, 2), "components of each and of both"),
        (spectrum_of(torch.mul, CORNERS), (0, 0), "two different ones"),
        (spectrum_of(torch.mul, CORNERS), (0, 1, 2), "two different ones"),
        (
            spectrum_of(torch.mul, ChebyshevGrid(), components=[(1, 0), (0, 1), (2, 1)]),
            (0, 1),
            "`max_order` of at least 2",
        ),
        (
            spectrum_of(torch.mul, ChebyshevGrid(), components=[(2, 0), (0, 1), (1, 1)]),
            (0, 1),
            "`max_order` of at least 2",
        ),
        (
            spectrum_of(torch.mul, ChebyshevGrid(), components="fundamentals"),
            (0, 1),
            "`max_order` of at least 2",
        ),
    ],
)
def test_parts_without_components_are_refused(spectrum, parts, message):
    for read in (spectrum.corners, spectrum.interaction_effect, spectrum.and_or_index):
        with pytest.raises(ValueError, match=message):
            read(parts)


def aliased():
    """All components of five parts, but of 16 frames alone, so that they share lines."""
    with pytest.warns(UserWarning, match="share a line"):
        return spectrum_of(lambda *parts: parts[0] * parts[1], TwoLevelDesign(5), max_order=5)


@pytest.mark.parametrize(
    "spectrum",
    [
        spectrum_of(torch.mul, ChebyshevGrid()),
        spectrum_of(torch.mul, CORNERS, components=[(1, 1)]),
        spectrum_of(lambda *parts: parts[0] * parts[1], TwoLevelDesign(9)),
        aliased(),
    ],
)
def test_shapley_values_need_all_corners(spectrum):
    for read in (spectrum.shapley_values, spectrum.shapley_interactions):
        with pytest.raises(ValueError, match="components of all corners"):
            read()


def test_two_contrasts_give_no_curve():
    with pytest.raises(ValueError, match="more than two contrasts"):
        spectrum_of(torch.mul, CORNERS).contrast_response(0)
