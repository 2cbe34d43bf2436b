"""Which frames a plan shows and which lines it reads."""

import math

import numpy as np
import pytest
import torch

from captum_ssvep import ChebyshevGrid, Component, TaggingDesign
from captum_ssvep.spectrum.plan import (
    SpectrumPlan,
    neighbors_of,
    validate_statistic,
)

DESIGN = TaggingDesign()
# In either wave, with several and with few distinct moments, and without time.
DESIGNS = {
    "tags": DESIGN,
    "cosine phases": TaggingDesign(phases=math.pi / 2),
    "triangle": TaggingDesign((10.0, 11.0), phases=(0.3, 1.0), waveform="triangle"),
    "grid": ChebyshevGrid(2, 5, (0.2, 1.1)),
}


def answer(contrasts):
    """Of three neurons to two parts; the last one does not vary."""
    left, right = torch.from_numpy(contrasts).T
    return torch.stack([(left * right).exp(), (left - 0.7 * right).relu(), 0 * left + 2], dim=1)


def sums_of(plan, answers):
    """Of one example, whose answers to the plan's frames are given."""
    sums = plan.new_sums(answers[:1], torch.finfo(answers.dtype).eps)
    sums.add(0, answers[:, None])
    return sums


@pytest.mark.parametrize("name", DESIGNS)
def test_distinct_frames_stand_for_all(name):
    design = DESIGNS[name]
    components = design.components("all", 3)
    few, every = (SpectrumPlan(design, components, distinct=distinct) for distinct in (True, False))
    np.testing.assert_array_equal(every.contrasts, design.contrasts)
    assert len(few.contrasts) == design.n_distinct_frames
    assert len(np.unique(few.contrasts.round(9), axis=0)) == len(few.contrasts)
    answers = answer(design.contrasts)
    for plan in (few, every):
        sums = sums_of(plan, answer(plan.contrasts))
        lines, neighbors, deviations = plan.separate(sums.lines())
        weights = torch.from_numpy(design.line_weights([design.line(c) for c in components]))
        expected = weights @ answers.to(weights.dtype)
        torch.testing.assert_close(lines[:, 0], expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(sums.mean()[0], answers.mean(dim=0))
        torch.testing.assert_close(
            sums.variance()[0], answers.var(dim=0, correction=0), rtol=1e-9, atol=1e-15
        )
        assert neighbors.shape == (0, 1, 3)
        assert deviations is None


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("with_error", [False, True])
def test_shares_sum_to_one_and_a_constant_has_no_lines(name, with_error):
    plan = SpectrumPlan(DESIGNS[name], ((1, 0), (2, 1)), with_error=with_error)
    sums = plan.new_sums(torch.zeros(1, 1, dtype=torch.float64), 0.0)
    sums.add(0, torch.ones(len(plan.contrasts), 1, 1, dtype=torch.float64))
    assert sums.mean().item() == pytest.approx(1, abs=1e-14)
    assert sums.variance().item() == pytest.approx(0, abs=1e-14)
    assert sums.lines().abs().max() < 1e-11


def test_lines_come_in_the_order_of_the_components_and_those_that_share_one_are_equal():
    with pytest.warns(UserWarning, match="second harmonic"):
        design = TaggingDesign((10.0, 20.0))
    components = tuple(map(Component, [(0, 1), (1, 0), (2, 0)]))
    plan = SpectrumPlan(design, components)
    lines, *_ = plan.separate(sums_of(plan, answer(plan.contrasts)).lines())
    expected = np.fft.fft(answer(design.contrasts).numpy(), axis=0)[[40, 20, 40]]
    np.testing.assert_allclose(lines[:, 0], expected, atol=1e-10)


def test_neighbors_are_read_where_there_is_noise():
    plan = SpectrumPlan.build(DESIGN, "all", 2, 2, noise_std=0.1)
    wanted = [set(DESIGN.neighbors(c, 2, 4)) for c in DESIGN.components("all", 2)]
    assert plan.neighbor_bins == tuple(sorted(set.union(*wanted)))
    answers = answer(plan.contrasts) + torch.randn(240, 3, dtype=torch.float64)
    lines, neighbors, _ = plan.separate(sums_of(plan, answers).lines())
    expected = np.fft.rfft(answers.numpy(), axis=0)
    np.testing.assert_allclose(neighbors[:, 0], expected[list(plan.neighbor_bins)], atol=1e-9)
    bins = [DESIGN.bin(component) for component in plan.components]
    np.testing.assert_allclose(lines[:, 0], expected[bins], atol=1e-9)


def test_neighbors_are_not_read_where_nothing_could_be_in_them():
    silent = SpectrumPlan.build(DESIGN, "all", 2, 2, noise_std=0)
    assert (silent.n_neighbors, silent.neighbor_bins) == (0, ())
    assert len(silent.contrasts) == DESIGN.n_distinct_frames
    unwanted = SpectrumPlan.build(DESIGN, "all", 2, 0, noise_std=0.1)
    assert unwanted.neighbor_bins == ()
    assert len(unwanted.contrasts) == 240  # every frame has noise of its own
    with pytest.warns(UserWarning, match="whole cycles"):
        loose = TaggingDesign((6.0, 7.3), strict=False)
    leaking = SpectrumPlan.build(loose, "fundamentals", None, 2, noise_std=0)
    assert leaking.n_neighbors == 2
    assert len(leaking.neighbor_bins) > 0


def test_neighbors_are_free_of_components_to_order_four_and_of_all_that_are_read():
    close = TaggingDesign((5.0, 5.5))
    for order, kept_out in ((1, 4), (6, 6)):
        components = close.components("all", order)
        for component in components:
            expected = close.neighbors(component, 2, kept_out)
            assert neighbors_of(component, components, close, 2) == expected
    assert neighbors_of((1, 0), close.components("all", 1), close, 0) == ()


@pytest.mark.parametrize("name", DESIGNS)
def test_a_replicate_is_told_apart(name):
    design = DESIGNS[name]
    components = design.components("all", 3)
    plan = SpectrumPlan(design, components, with_error=True)
    other, excess = design.replicate()
    both = np.concatenate([design.contrasts, other.contrasts])
    assert len(plan.contrasts) == len(np.unique(both.round(9), axis=0))

    sums = sums_of(plan, answer(plan.contrasts))
    lines, _, deviations = plan.separate(sums.lines())
    alone = SpectrumPlan(design, components)
    sums_alone = sums_of(alone, answer(alone.contrasts))
    expected, *_ = alone.separate(sums_alone.lines())
    torch.testing.assert_close(lines, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(sums.mean(), sums_alone.mean())
    torch.testing.assert_close(sums.variance(), sums_alone.variance(), rtol=1e-9, atol=1e-15)

    second = SpectrumPlan(other, components)
    repeated, *_ = second.separate(sums_of(second, answer(second.contrasts)).lines())
    for row, component in enumerate(components):
        # Both as amplitudes in cosine phase; their difference, as a Fourier sum of the first.
        first = lines[row] * design.turn(component) * design.scale(component)
        again = repeated[row] * other.turn(component) * other.scale(component)
        torch.testing.assert_close(
            deviations[row], (first - again) / excess / design.scale(component), rtol=0, atol=1e-9
        )
    assert deviations.abs().max() > 1e-6


def test_the_papers_design_is_the_default():
    plan = SpectrumPlan.build(None, "all", None, 2, 0.0)
    assert plan.design == DESIGN
    assert plan.components == DESIGN.components("all", 4)
    with pytest.raises(TypeError, match=r"`design` to be a design.*but got 'grid'"):
        SpectrumPlan.build("grid", "all", None, 2, 0.0)


@pytest.mark.parametrize(
    ("design", "noise_std", "estimate_error", "words"),
    [
        (None, -0.1, False, "`noise_std` to be at least 0, but got -0.1"),
        (None, math.nan, False, "`noise_std` to be finite"),
        (None, math.inf, False, "`noise_std` to be finite"),
        (DESIGNS["grid"], 0.1, False, "design in time for `noise_std`, but got a 5 x 5 grid"),
        (None, 0.1, True, "`estimate_error` without `noise_std`"),
    ],
)
def test_noise_has_to_make_sense(design, noise_std, estimate_error, words):
    with pytest.raises(ValueError, match=words):
        SpectrumPlan.build(design, "all", None, 2, noise_std, estimate_error)


def test_a_plan_with_collisions_warns_once():
    with pytest.warns(UserWarning, match="second harmonic"):
        design = TaggingDesign((10.0, 20.0))
    with pytest.warns(UserWarning, match=r"2f1 with f2.* and \d+ more.*free to order 1") as caught:
        SpectrumPlan.build(design, "all", 3, 0, 0.0)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize("statistic", ["zscore", "baseline_corrected"])
def test_comparing_with_neighbors_takes_time(statistic):
    validate_statistic(statistic, None)
    for possible in ("snr", "snr_db", "amplitude", "coefficient", "variance_share"):
        validate_statistic(possible, DESIGNS["grid"])
    with pytest.raises(ValueError, match=f"in time for statistic='{statistic}', but got a 5 x 5"):
        validate_statistic(statistic, DESIGNS["grid"])
