"""Two-level designs: columns, words, coefficients, aliases and errors, against brute force."""

import itertools
import json
import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from captum.attr import LayerActivation
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

from captum_ssvep import (
    ChebyshevGrid,
    Design,
    FrequencyTaggingAttribution,
    FrequencyTunnel,
    TaggedSpectrum,
    TwoLevelDesign,
    choose_design,
    score_neurons,
)
from captum_ssvep.design.fractions import word_counts
from captum_ssvep.design.fractions import words as listed_words

pytestmark = pytest.mark.usefixtures("one_thread")

# Designs with words of odd and of even lengths.
FRACTIONS = [(3, 1), (5, 1), (9, 1), (5, 2), (6, 2), (8, 2), (9, 2), (10, 2), (9, 3)]


def xor(columns):
    total = 0
    for column in columns:
        total ^= column
    return total


def subsets(n_parts, sizes):
    for size in sizes:
        yield from itertools.combinations(range(n_parts), size)


def words_of(design, sizes=None):
    """Sets of parts whose columns cancel, by trying all."""
    sizes = range(1, design.n_parts + 1) if sizes is None else sizes
    tried = subsets(design.n_parts, sizes)
    return [parts for parts in tried if xor(design.columns[part] for part in parts) == 0]


def levels_of(design):
    """Contrasts from -1 to 1."""
    low, high = design.contrast
    return (2 * design.contrasts - low - high) / (high - low)


def polynomial(design, coefficients):
    """Answers of a sum of products of levels; by parts, with () for the constant."""
    levels = levels_of(design)
    return sum(
        strength * levels[:, list(parts)].prod(axis=1) for parts, strength in coefficients.items()
    )


def random_polynomial(n_parts, orders, seed=0):
    random = np.random.default_rng(seed)
    return {parts: random.normal() for parts in subsets(n_parts, orders)}


def spectrum_of(answers, design, **arguments):
    return TaggedSpectrum.from_series(answers[:, None], design, **arguments)


class Rectifiers:
    """100 neurons above two layers of rectifiers, with random weights and one input per part."""

    def __init__(self, n_parts, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        layers = []
        for before, after in ((n_parts, 32), (32, 32), (32, 100)):
            linear = nn.Linear(before, after).double()
            linear.weight.data = normal(after, before) * (2 / before) ** 0.5
            linear.bias.data = 0.3 * normal(after)
            layers += [linear, nn.ReLU()]
        self.model = nn.Sequential(*layers).eval()
        self.inputs = normal(1, n_parts)

    def spectrum(self, design, **arguments):
        return FrequencyTaggingAttribution(self.model, "5").spectrum(
            self.inputs,
            feature_mask=torch.arange(design.n_parts),
            design=design,
            perturbations_per_eval=2000,
            **arguments,
        )


SIZES = {
    2: {
        1: 2, 2: 4, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 8: 64, 9: 128, 11: 128, 12: 256, 17: 256,
        18: 512, 21: 512, 22: 1024, 29: 1024, 52: 4096, 64: 8192,
    },
    1: {2: 4, 3: 4, 4: 8, 7: 8, 31: 32, 32: 64},
    3: {6: 64, 7: 64, 8: 128, 9: 256},
}  # fmt: skip


@pytest.mark.parametrize(
    ("max_order", "n_parts", "n_frames"),
    [(order, *sizes) for order, table in SIZES.items() for sizes in table.items()],
)
def test_frames_are_as_few_as_published(max_order, n_parts, n_frames):
    design = TwoLevelDesign(n_parts, max_order)
    assert design.n_frames == design.n_distinct_frames == n_frames
    assert len(design.columns) == design.n_parts == n_parts
    assert max(design.columns) < n_frames
    assert design.collision_free_order >= min(max_order, n_parts)


@pytest.mark.parametrize(("n_parts", "max_order"), [(4, 2), (6, 3), (3, 5), (1, 1)])
def test_all_corners_are_shown_once_the_order_reaches_half_the_parts(n_parts, max_order):
    design = TwoLevelDesign(n_parts, max_order, (0.25, 1.5))
    assert design.columns == tuple(2**part for part in range(n_parts))
    corners = set(map(tuple, design.contrasts))
    assert corners == set(itertools.product((0.25, 1.5), repeat=n_parts))
    assert design.collision_free_order == design.default_order == n_parts
    assert design.replicate() == (design, 1.0)


@pytest.mark.parametrize(("n_parts", "max_order"), [*FRACTIONS, (17, 2), (64, 1)])
def test_no_few_columns_cancel(n_parts, max_order):
    columns = TwoLevelDesign(n_parts, max_order).columns
    few = subsets(n_parts, range(1, 2 * max_order + 1))
    assert all(xor(columns[part] for part in parts) for parts in few)


@pytest.mark.parametrize(("n_parts", "max_order"), [(5, 2), (9, 2), (25, 2), (9, 3), (31, 1)])
def test_products_of_signs_are_orthogonal(n_parts, max_order):
    design = TwoLevelDesign(n_parts, max_order)
    components = design.components("all", max_order)
    weights = design.line_weights([0, *map(design.line, components)])
    assert weights.dtype == np.complex128
    np.testing.assert_array_equal(weights @ weights.T, design.n_frames * np.eye(len(weights)))
    levels = levels_of(design)
    assert (levels[0] == 1).all()
    for component, row in zip(components, weights[1:], strict=True):
        np.testing.assert_array_equal(row, levels[:, list(component.parts)].prod(axis=1))


def test_signs_are_parities_of_bits():
    design = TwoLevelDesign(9)
    for (frame, levels), part in itertools.product(enumerate(levels_of(design)), range(9)):
        assert levels[part] == (-1) ** bin(frame & design.columns[part]).count("1")


@pytest.mark.parametrize(("n_parts", "max_order"), FRACTIONS)
def test_words_are_counted_without_listing_them(n_parts, max_order):
    design = TwoLevelDesign(n_parts, max_order)
    words = words_of(design)
    counts = [sum(len(word) == size for word in words) for size in range(1, n_parts + 1)]
    assert list(word_counts(design.columns, design.n_frames)) == [1, *counts]
    assert design.collision_free_order == (min(map(len, words)) - 1) // 2
    for size in range(1, n_parts + 1):
        of_size = {frozenset(word) for word in words if len(word) == size}
        assert listed_words(design.columns, size) == of_size


def fewest_words(n_parts, n_bits, shortest):
    """Of all columns that hold the powers of two, the fewest words of each length."""
    patterns = []
    for others in itertools.combinations(range(1, 2**n_bits), n_parts - n_bits):
        picks = [
            pick for m in range(1, len(others) + 1) for pick in itertools.combinations(others, m)
        ]
        lengths = [len(pick) + bin(xor(pick)).count("1") for pick in picks]
        if min(lengths) >= shortest:
            patterns.append([lengths.count(length) for length in range(1, n_parts + 1)])
    return min(patterns)


@pytest.mark.parametrize(
    ("n_parts", "max_order"), [(5, 1), (6, 1), (5, 2), (6, 2), (7, 2), (8, 2), (9, 2), (9, 3)]
)
def test_words_are_as_few_as_can_be(n_parts, max_order):
    """Fewest of the shortest, then of the next length and so on: minimum aberration."""
    design = TwoLevelDesign(n_parts, max_order)
    lengths = [len(word) for word in words_of(design)]
    expected = fewest_words(n_parts, design.n_frames.bit_length() - 1, 2 * max_order + 1)
    assert [lengths.count(length) for length in range(1, n_parts + 1)] == expected


def test_nine_parts_have_no_word_of_length_five():
    assert sorted(map(len, words_of(TwoLevelDesign(9)))) == [6, 6, 6]


def test_columns_of_many_parts_have_fewer_words_than_the_smallest_integers():
    """Of the lexicographic code: 76 of length 5 for 25 parts, 1174 for 64."""
    for n_parts, n_words in ((25, 76), (64, 1174)):
        design = TwoLevelDesign(n_parts)
        assert list(itertools.islice(word_counts(design.columns, design.n_frames), 6))[5] < n_words


@st.composite
def low_polynomials(draw):
    """A design, perhaps mirrored, and a polynomial of its order."""
    n_parts, max_order = draw(st.integers(1, 10)), draw(st.integers(1, 3))
    low = draw(st.floats(-1, 1))
    mirrored = draw(st.sets(st.integers(0, n_parts - 1)))
    design = TwoLevelDesign(
        n_parts, max_order, (low, low + draw(st.floats(0.1, 2))), tuple(mirrored)
    )
    orders = range(min(max_order, n_parts) + 1)
    return design, random_polynomial(n_parts, orders, draw(st.integers(0, 2**32)))


@settings(max_examples=60)
@given(low_polynomials())
def test_coefficients_of_low_polynomials_are_exact(case):
    design, coefficients = case
    spectrum = spectrum_of(polynomial(design, coefficients), design, max_order=design.max_order)
    assert spectrum.mean.item() == pytest.approx(coefficients.pop(()), abs=1e-12)
    assert {component.parts for component in spectrum.components} == coefficients.keys()
    for component in spectrum.components:
        wanted = coefficients[component.parts]
        assert spectrum.coefficient(component).item() == pytest.approx(wanted, abs=1e-12)
        assert spectrum.amplitude(component).item() == pytest.approx(abs(wanted), abs=1e-12)
    variance = sum(strength**2 for strength in coefficients.values())
    assert spectrum.variance.item() == pytest.approx(variance, abs=1e-12)
    assert spectrum.explained_variance.item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("mirrored", [(), (0, 3)])
@pytest.mark.parametrize(("n_parts", "max_order"), FRACTIONS)
def test_a_coefficient_is_the_sum_of_all_on_its_line(n_parts, max_order, mirrored):
    mirrored = [part for part in mirrored if part < n_parts]
    design = TwoLevelDesign(n_parts, max_order, mirrored=mirrored)
    coefficients = random_polynomial(n_parts, range(n_parts + 1))
    spectrum = spectrum_of(polynomial(design, coefficients), design, max_order=max_order)
    for component in spectrum.components:
        on_line = sum(
            strength * (-1) ** len(({*parts} ^ {*component.parts}) & {*mirrored})
            for parts, strength in coefficients.items()
            if xor(design.columns[part] for part in parts) == design.line(component)
        )
        assert spectrum.coefficient(component).item() == pytest.approx(on_line, abs=1e-12)


def test_resolution_five_keeps_pairs_and_triples_out_of_single_effects():
    design = TwoLevelDesign(8)
    coefficients = random_polynomial(8, [1, 2, 3])
    spectrum = spectrum_of(polynomial(design, coefficients), design, max_order=2)
    errors = {
        component: spectrum.coefficient(component).item() - coefficients[component.parts]
        for component in spectrum.components
    }
    for component, error in errors.items():
        if component.order == 1:
            assert error == pytest.approx(0, abs=1e-12)
    assert max(map(abs, errors.values())) > 0.1  # triples disturb pairs


def four_corners(model, inputs, mask):
    answers = {
        shown: model(inputs * torch.tensor(shown, dtype=inputs.dtype)[mask])
        for shown in itertools.product((1, 0), repeat=2)
    }
    return answers[1, 1], answers[1, 0], answers[0, 1], answers[0, 0]


def test_two_parts_are_the_loop_over_four_corners():
    """Exactly, with integers that no operation rounds."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).double().eval()
    for parameter in model.parameters():
        parameter.data = torch.randint(-4, 5, parameter.shape, generator=generator).double()
    inputs = torch.randint(-9, 10, (3, 6), generator=generator).double()
    mask = torch.tensor([0, 0, 1, 1, 1, 0])
    design = TwoLevelDesign(2)
    with torch.no_grad():
        both, first, second, none = four_corners(model, inputs, mask)
    shown = FrequencyTaggingAttribution(model, "2").spectrum(
        inputs, feature_mask=mask, design=design
    )
    series = TaggedSpectrum.from_series(torch.stack([both, second, first, none]), design)
    for spectrum in (shown, series):
        assert torch.equal(spectrum.mean, (both + first + second + none) / 4)
        assert torch.equal(spectrum.coefficient((1, 0)), (both + first - second - none) / 4)
        assert torch.equal(spectrum.coefficient((0, 1)), (both - first + second - none) / 4)
        assert torch.equal(spectrum.coefficient((1, 1)), (both - first - second + none) / 4)
        effect = both - first - second + none
        assert torch.equal(4 * spectrum.coefficient((1, 1)), effect)
        assert spectrum.components == ((1, 0), (0, 1), (1, 1))


def test_shares_of_all_corners_add_up_to_one():
    spectrum = Rectifiers(5).spectrum(TwoLevelDesign(5, 3))
    assert len(spectrum.components) == 31
    active = spectrum.variance > 1e-9
    assert active.sum() > 50
    torch.testing.assert_close(
        spectrum.explained_variance[active], torch.ones(active.sum(), dtype=torch.float64)
    )
    total = sum(spectrum.interaction(parts) for parts in subsets(5, range(2, 6)))
    total += sum(spectrum.first_order(part) for part in range(5))
    torch.testing.assert_close(total, spectrum.explained_variance)


def rms(values):
    return torch.cat(list(values)).square().mean().sqrt().item()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n_parts", "max_order"), [(9, 2), (10, 2), (9, 1), (12, 3)])
def test_errors_are_the_true_ones_to_a_factor_of_two(n_parts, max_order, seed):
    network = Rectifiers(n_parts, seed)
    design = TwoLevelDesign(n_parts, max_order)
    spectrum = network.spectrum(design, max_order=max_order, estimate_error=True)
    truth = network.spectrum(TwoLevelDesign(n_parts, n_parts), max_order=max_order)
    for order in range(1, max_order + 1):
        components = [c for c in spectrum.components if c.order == order]
        true = rms(spectrum.coefficient(c) - truth.coefficient(c) for c in components)
        assert true > 1e-6  # aliasing, not rounding
        assert 0.5 < rms(map(spectrum.error, components)) / true < 2


def test_all_corners_have_no_error():
    spectrum = Rectifiers(5).spectrum(TwoLevelDesign(5, 3), estimate_error=True)
    for component in spectrum.components:
        assert (spectrum.error(component)[0] <= spectrum.floor).all()


@pytest.mark.parametrize(("n_parts", "max_order"), FRACTIONS)
def test_a_replicate_has_other_words_or_turns_the_single_one(n_parts, max_order):
    design = TwoLevelDesign(n_parts, max_order)
    replicate, factor = design.replicate()
    words = {frozenset(word) for word in words_of(design)}
    others = {frozenset(word) for word in words_of(replicate)}
    if len(words) == 1:
        assert len(words.pop() & {*replicate.mirrored}) % 2
        assert factor == 2
    else:
        shortest = {word for word in words if len(word) == min(map(len, words))}
        kept = len(shortest & others) / len(shortest)
        assert kept < 0.5
        assert factor == pytest.approx(math.sqrt(2 * (1 - kept)))
        assert sorted(map(len, words)) == sorted(map(len, others))
    assert replicate.n_frames == design.n_frames
    assert replicate.collision_free_order == design.collision_free_order


@pytest.mark.parametrize("n_parts", [8, 9, 10, 11, 12])
def test_no_component_has_an_error_bar_that_is_far_too_short(n_parts):
    """With all aliases of a pair in the replicate as well, its bar would be zero."""
    network, design = Rectifiers(n_parts), TwoLevelDesign(n_parts)
    spectrum = network.spectrum(design, max_order=2, estimate_error=True)
    truth = network.spectrum(TwoLevelDesign(n_parts, n_parts), max_order=2)
    ratios = []
    for component in spectrum.components:
        true = rms([spectrum.coefficient(component) - truth.coefficient(component)])
        ratios.append(rms([spectrum.error(component)]) / true)
    assert min(ratios) > 0.4


def test_mirrored_parts_exchange_their_contrasts():
    design, mirrored = TwoLevelDesign(9), TwoLevelDesign(9, mirrored=[4, 1])
    assert mirrored.mirrored == (1, 4)
    expected = design.contrasts.copy()
    expected[:, [1, 4]] = 1 - expected[:, [1, 4]]
    np.testing.assert_array_equal(mirrored.contrasts, expected)


def test_sixty_four_parts_have_a_replicate():
    design = TwoLevelDesign(64)
    replicate, factor = design.replicate()
    assert (replicate.n_frames, replicate.collision_free_order) == (8192, 2)
    assert sorted(replicate.columns) == sorted(design.columns)
    assert factor == pytest.approx(math.sqrt(2), rel=0.05)


@pytest.mark.parametrize(("n_parts", "max_order"), FRACTIONS)
def test_collisions_are_those_that_listing_finds(n_parts, max_order):
    design = TwoLevelDesign(n_parts, max_order)
    on_line = defaultdict(list)  # () is the mean
    for parts in subsets(n_parts, range(n_parts + 1)):
        on_line[xor(design.columns[part] for part in parts)].append(parts)
    components = design.components("all", n_parts)
    found = dict(design.collisions(components))
    for component in components:
        others = {*on_line[design.line(component)]} - {component.parts}
        lowest = min(map(len, others))
        assert (component in found) == (lowest <= component.order)
        if component in found:
            other = found[component]
            assert (() if other is None else other.parts) in others
            assert (other.order if other else 0) == lowest
    assert None in found.values()


def test_colliding_components_give_a_warning():
    design = TwoLevelDesign(5)
    answers = np.arange(16.0)
    with pytest.warns(UserWarning, match=r"f1 \+ f2 \+ f3 with f4 \+ f5.*free to order 2"):
        spectrum = spectrum_of(answers, design, components=[(1, 1, 1, 0, 0), (1, 1, 1, 1, 1)])
    assert design.power_share((1, 1, 1, 1, 1)) == 0
    assert spectrum.coefficient((1, 1, 1, 1, 1)).item() == spectrum.mean.item() == 7.5
    assert spectrum.power((1, 1, 1, 1, 1)).item() == 0


@pytest.mark.parametrize("max_order", [1, 2, 3])
def test_groups_are_those_of_other_designs_without_multiples_and_differences(max_order):
    design, grid = TwoLevelDesign(4, 2), ChebyshevGrid(4)
    for group in ("fundamentals", "harmonics", "intermodulations", "all"):
        if (group, max_order) == ("intermodulations", 1):
            continue
        wanted = grid.components(group, max_order)
        wanted = tuple(component for component in wanted if {0, 1}.issuperset(component))
        assert design.components(group, max_order) == wanted


def test_a_component_and_its_negative_are_the_same():
    design = TwoLevelDesign(3)
    assert design.components([(-1, -1, 0)]) == ((1, 1, 0),)
    assert design.line((-1, -1, 0)) == design.line((1, 1, 0)) == 3


def test_groups_are_listed_to_the_order_that_memory_takes():
    design = TwoLevelDesign(13, 7)
    assert design.collision_free_order == 13
    assert design.default_order == 6
    assert len(design.components()) * design.n_frames <= 2**25
    assert TwoLevelDesign(64).default_order == 2
    assert len(TwoLevelDesign(64).components()) == 64 + 2016


def test_one_line_holds_the_response_of_a_component():
    assert TwoLevelDesign(3).equal_lines((1, 1, 1)) == 1
    for design in (ChebyshevGrid(3), choose_design(3, kind="time")):
        assert design.equal_lines((1, 0, 0)) == 1
        assert design.equal_lines((0, 2, -1)) == 2
        assert design.equal_lines((1, 1, 3)) == 4


def test_a_design_survives_its_dictionary():
    for design in (TwoLevelDesign(9, 3, (0.2, 0.9)), TwoLevelDesign(5).replicate()[0]):
        values = json.loads(json.dumps(design.to_dict()))
        assert values["kind"] == "two-level"
        assert Design.from_dict(values) == design


def test_saving_keeps_the_design(tmp_path):
    spectrum = Rectifiers(5).spectrum(TwoLevelDesign(5), estimate_error=True)
    for original in (spectrum, spectrum + spectrum):
        original.save(tmp_path / "spectrum.npz")
        loaded = TaggedSpectrum.load(tmp_path / "spectrum.npz")
        assert loaded.design == TwoLevelDesign(5)
        assert loaded.components == original.components
        pair = (1, 0, 0, 1, 0)
        assert torch.equal(loaded.coefficient(pair), original.coefficient(pair))
        assert torch.equal(loaded.error(pair), original.error(pair))


def test_designs_compare_by_value_and_name_themselves():
    assert TwoLevelDesign(np.int64(9), contrast=[0, 1]) == TwoLevelDesign(9)
    assert TwoLevelDesign(9) != TwoLevelDesign(9, mirrored=[0])
    assert str(TwoLevelDesign(9)) == "two-level design of 9 parts"
    assert str(TwoLevelDesign(1)) == "two-level design of 1 part"
    assert repr(TwoLevelDesign(5, contrast=(0.5, 1), mirrored=[0])) == (
        "TwoLevelDesign(5 parts at contrast 0.5 or 1, 16 frames, collision-free to order 2, "
        "mirrored 0)"
    )
    np.testing.assert_allclose(TwoLevelDesign(2).phase_of(np.array([0.0, 1.0])), [math.pi, 0])


def test_choosing_gives_it():
    assert choose_design(9, 2, "two-level", (0.0, 1.0)) == TwoLevelDesign(9)
    assert choose_design(3, kind="two-level") == TwoLevelDesign(3, 4)
    assert choose_design(3, kind="two-level", contrast=(0.5, 1)) == TwoLevelDesign(3, 4, (0.5, 1))


THIRDS = torch.tensor([0, 0, 1, 1, 2, 2])
IMAGES = torch.rand(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def model():
    layers = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4), nn.ReLU())
    return layers.double().eval()


def test_the_tunnel_takes_it(model):
    design = TwoLevelDesign(3)
    plain = FrequencyTaggingAttribution(model, "1").spectrum(
        IMAGES, feature_mask=THIRDS, design=design, estimate_error=True
    )
    through = FrequencyTunnel(LayerActivation(model, model[1])).spectrum(
        IMAGES, tag_mask=THIRDS, design=design, estimate_error=True, frames_per_pass=3
    )
    torch.testing.assert_close(through.lines, plain.lines, rtol=1e-9, atol=1e-13)
    assert through.components == plain.components


def test_neurons_are_scored_with_it(model):
    design = TwoLevelDesign(3)
    tagging = FrequencyTaggingAttribution(model, "1")
    scores = score_neurons(
        tagging,
        TensorDataset(IMAGES, torch.zeros(3, dtype=torch.int64)),
        design=design,
        feature_mask=THIRDS,
        components="intermodulations",
        statistic="amplitude",
        show_progress=False,
    )
    spectrum = tagging.spectrum(IMAGES, feature_mask=THIRDS, design=design)
    expected = spectrum.reduce("intermodulations", "amplitude").mean(dim=0)
    torch.testing.assert_close(scores.mean["1"].to(expected), expected, rtol=1e-6, atol=1e-12)


REFUSALS = {
    "no part": (lambda: TwoLevelDesign(0), ValueError, "`n_parts` to be at least 1, but got 0"),
    "half a part": (lambda: TwoLevelDesign(1.5), TypeError, "`n_parts` to be an integer"),
    "no order": (lambda: TwoLevelDesign(2, 0), ValueError, "`max_order` to be at least 1"),
    "true order": (lambda: TwoLevelDesign(2, True), TypeError, "`max_order` to be an integer"),
    "reversed contrast": (
        lambda: TwoLevelDesign(2, contrast=(1, 0)),
        ValueError,
        "lowest < highest",
    ),
    "missing part": (
        lambda: TwoLevelDesign(2, mirrored=[2]),
        ValueError,
        r"`mirrored` to hold different parts among 0 to 1, but got \(2,\)",
    ),
    "part twice": (lambda: TwoLevelDesign(2, mirrored=[1, 1]), ValueError, r"got \(1, 1\)"),
    "half a mirror": (lambda: TwoLevelDesign(2, mirrored=[0.5]), TypeError, "hold integers"),
    "harmonic": (
        lambda: TwoLevelDesign(2).components([(2, 0)]),
        ValueError,
        "entries 0 and 1, .* but got 2f1; take `ChebyshevGrid` or tags",
    ),
    "difference": (
        lambda: TwoLevelDesign(2).components([(1, -1)]),
        ValueError,
        "but got f1 - f2",
    ),
    "length": (
        lambda: TwoLevelDesign(2).components([(1, 0, 0)]),
        ValueError,
        "tuples of 2 integers",
    ),
    "group": (
        lambda: TwoLevelDesign(2).components("pairs"),
        ValueError,
        "one of fundamentals, .* but got 'pairs'",
    ),
    "lonely intermodulations": (
        lambda: TwoLevelDesign(1).components("intermodulations"),
        ValueError,
        "1 part to order 1 have none; intermodulations need two parts",
    ),
    "too many components": (
        lambda: TwoLevelDesign(64).components("all", 3),
        ValueError,
        "`max_order` of at most 2 for a two-level design of 64 parts, but got 3",
    ),
    "triangle": (
        lambda: choose_design(2, kind="two-level", waveform="triangle"),
        ValueError,
        "'sine' for kind='two-level'.*got 'triangle'; take kind='time'",
    ),
    "zscore": (
        lambda: Rectifiers(2).spectrum(TwoLevelDesign(2)).reduce(statistic="zscore"),
        ValueError,
        "design in time for .*, but got a two-level design of 2 parts",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_no_two_level_design_is_refused(name):
    call, error, words = REFUSALS[name]
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    "numbers", [(17, 9), (73, 3), (300, 2), (2000, 2), (10**5, 1), (10**9, 10**9)]
)
def test_what_takes_too_many_frames_is_refused(numbers):
    words = (
        r"at most 65,536 frames .* \d+ parts to order \d+ take more; lower `max_order`, or group"
    )
    for call in (TwoLevelDesign, lambda *numbers: choose_design(*numbers, kind="two-level")):
        with pytest.raises(ValueError, match=words):
            call(*numbers)
