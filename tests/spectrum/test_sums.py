"""Sums over frames, against numpy's transform of all frames at once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_ssvep.spectrum import sums as sums_module
from captum_ssvep.spectrum.sums import FLOOR_ROUNDINGS, FourierSums, RecordSums


def fourier(n_frames, lines):
    return np.exp(-2j * np.pi * np.outer(lines, np.arange(n_frames)) / n_frames)


def sums_of(series, lines, sizes=None):
    """Of frames ``(frames, N, *neuron)``, which come in pieces of some sizes."""
    n_frames = len(series)
    shares = np.full(n_frames, 1 / n_frames)
    eps = torch.finfo(series.dtype).eps
    sums = FourierSums(fourier(n_frames, lines), shares, series[0], eps)
    start = 0
    for piece in series.split(sizes or n_frames):
        sums.add(start, piece)
        start += len(piece)
    return sums


@st.composite
def recordings(draw):
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    n_frames = draw(st.integers(3, 20))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    offset = draw(st.sampled_from([0.0, 1.0, -1e6]))
    series = offset + torch.randn(n_frames, *shape, generator=generator, dtype=torch.float64)
    sizes = []
    while sum(sizes) < n_frames:
        sizes.append(draw(st.integers(1, n_frames - sum(sizes))))
    return series, sizes


@settings(max_examples=50)
@given(recordings())
def test_pieces_give_what_the_whole_record_does(recording):
    series, sizes = recording
    lines = range(len(series) // 2 + 1)  # that of the mean is the first
    sums = sums_of(series, lines, sizes)
    size = float(series.abs().max())
    expected = np.fft.rfft(series.numpy(), axis=0)
    np.testing.assert_allclose(sums.lines()[1:], expected[1:], rtol=0, atol=1e-12 + 1e-13 * size)
    np.testing.assert_allclose(sums.lines()[0], expected[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(sums.mean(), series.mean(dim=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        sums.variance(), series.var(dim=0, correction=0), rtol=1e-9, atol=1e-12
    )
    largest = series.abs().transpose(0, 1).flatten(1).amax(dim=1)
    assert torch.equal(sums.floor(), FLOOR_ROUNDINGS * 2**-52 * largest)
    assert sums.is_finite
    whole = sums_of(series, lines)
    torch.testing.assert_close(sums.lines(), whole.lines(), rtol=1e-12, atol=1e-12 + 1e-13 * size)


def test_a_batch_at_once_is_one_example_after_the_other():
    series = torch.randn(12, 3, 2, 4)
    together = sums_of(series, [1, 3], 5)
    for example in range(3):
        alone = sums_of(series[:, example : example + 1], [1, 3], 5)
        for name in ("lines", "mean", "variance", "floor"):
            both = getattr(together, name)(), getattr(alone, name)()
            picked = both[0][:, [example]] if name == "lines" else both[0][[example]]
            torch.testing.assert_close(picked, both[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_large_constant_does_not_eat_the_signal(dtype):
    wave = torch.cos(2 * torch.pi * 3 * torch.arange(64, dtype=torch.float64) / 64)
    series = (1000 + 32 * wave)[:, None, None].to(dtype)
    sums = sums_of(series, [3, 5], 7)
    signal = torch.fft.fft((series - 1000).double(), dim=0)[[3, 5]]
    wide = torch.promote_types(dtype, torch.float32)
    assert sums.lines().dtype == (torch.complex128 if dtype == torch.float64 else torch.complex64)
    assert sums.mean().dtype == sums.variance().dtype == sums.floor().dtype == wide
    torch.testing.assert_close(sums.lines().to(torch.complex128), signal, rtol=1e-5, atol=2e-4)


def test_channels_last_stay_where_they_are():
    series = torch.randn(8, 2, 3, 4, 5)
    last = torch.stack([frame.contiguous(memory_format=torch.channels_last) for frame in series])
    frame = last[0].contiguous(memory_format=torch.channels_last)
    sums = FourierSums(fourier(8, [1, 2]), np.full(8, 1 / 8), frame, 0.0)
    for start in (0, 3):
        piece = last[start : start + (3 if start == 0 else 5)]
        rows = piece.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        sums.add(start, rows.unflatten(0, (-1, 2)))
    plain = sums_of(series, [1, 2])
    assert sums.lines().shape == (2, 2, 3, 4, 5)
    torch.testing.assert_close(sums.lines(), plain.lines())
    torch.testing.assert_close(sums.mean(), plain.mean())
    torch.testing.assert_close(sums.variance(), plain.variance())


def test_real_weights_have_no_imaginary_sums():
    weights = np.random.default_rng(0).normal(size=(3, 6))
    weights -= weights.mean(axis=1, keepdims=True)
    weights[2] += 1  # and so reads the mean, too
    series = torch.randn(6, 2, 4, dtype=torch.float64)
    sums = FourierSums(weights + 0j, np.full(6, 1 / 6), series[0], 0.0)
    sums.add(0, series)
    expected = np.einsum("lf,fij->lij", weights, series.numpy())
    np.testing.assert_allclose(sums.lines().real, expected, atol=1e-12)
    assert not sums.lines().imag.any()


def test_shares_need_not_be_equal():
    shares = np.array([0.5, 0.25, 0.25, 0.0])
    series = torch.randn(4, 1, 5, dtype=torch.float64)
    series[3] = 100
    sums = FourierSums(fourier(4, [1]), shares, series[2], 1.0)
    sums.add(0, series)
    values = series.numpy()
    mean = np.average(values, axis=0, weights=shares)
    np.testing.assert_allclose(sums.mean(), mean)
    np.testing.assert_allclose(sums.variance(), np.average((values - mean) ** 2, 0, shares))
    # Nor is what has none the largest activation.
    assert sums.floor().item() == FLOOR_ROUNDINGS * series[:3].abs().max().item()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("frame", [0, 5])
def test_what_is_not_finite_is_seen(value, frame):
    series = torch.randn(8, 2, 3)
    assert sums_of(series, [1], 3).is_finite
    series[frame, 1, 2] = value
    assert not sums_of(series, [1], 3).is_finite
    unshared = FourierSums(fourier(8, [1]), np.array([0.25] * 4 + [0.0] * 4), series[7], 0.0)
    unshared.add(0, series)
    assert not unshared.is_finite


def test_what_is_given_is_left_alone():
    series = torch.randn(4, 2, 3)
    before = series.clone()
    sums = sums_of(series, [0, 1], 2)
    first = sums.lines()
    sums.mean(), sums.variance(), sums.floor()
    assert torch.equal(series, before)
    assert torch.equal(sums.lines(), first)  # reading changes nothing
    series.zero_()
    assert torch.equal(sums.lines(), first)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("n_frames", [3, 60, 61, 127])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("shape", [(1,), (2, 3), (5, 2, 4)])
def test_transforms_of_a_record_are_its_sums(dtype, n_frames, offset, shape, monkeypatch):
    """Of all lines, with that of the mean and of Nyquist, in blocks of few neurons."""
    monkeypatch.setattr(sums_module, "BLOCK_BYTES", 3 * 8 * n_frames)
    generator = torch.Generator().manual_seed(n_frames)
    record = (offset + torch.randn(n_frames, *shape, generator=generator)).to(dtype)
    bins = [*range(n_frames // 2, -1, -1)]
    expected = sums_of(record, bins)
    time_last = record.movedim(0, -1).contiguous().movedim(-1, 0)
    for given_record in (record, time_last):
        before = given_record.clone()
        found = RecordSums(given_record, bins, torch.finfo(dtype).eps)
        assert torch.equal(given_record, before)
        wide = torch.promote_types(dtype, torch.float32)
        scale = torch.finfo(wide).eps * n_frames
        for name in ("lines", "mean", "variance", "floor"):
            ours, theirs = getattr(found, name)(), getattr(expected, name)()
            assert ours.dtype == theirs.dtype
            torch.testing.assert_close(ours, theirs, rtol=8 * scale, atol=8 * scale)
        assert found.is_finite


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_in_a_record_is_seen(value):
    record = torch.randn(8, 2, 3)
    record[5, 1, 2] = value
    assert not RecordSums(record, [1], 0.0).is_finite


def both_kinds(record, lines):
    return sums_of(record, lines, 7), RecordSums(record, lines, torch.finfo(record.dtype).eps)


@pytest.mark.parametrize("scale", [1e-36, 1e-24, 1e-13, 1e18, 1e24, 1e30])
@pytest.mark.parametrize("others", [1.0, 0.0])
def test_squares_that_single_precision_does_not_hold_are_held(scale, others):
    """Of one example; another one is ordinary, or zero."""
    plain = torch.randn(20, 2, 3, generator=torch.Generator().manual_seed(0))
    record = plain * torch.tensor([scale, others])[:, None]
    values = record.double().numpy()
    for sums in both_kinds(record, [0, 3, 10]):
        assert sums.lines().dtype == torch.complex128
        assert sums.mean().dtype == torch.float32
        np.testing.assert_allclose(
            sums.lines(), np.fft.rfft(values, axis=0)[[0, 3, 10]], rtol=1e-4, atol=1e-7 * scale
        )
        np.testing.assert_allclose(sums.variance(), values.var(axis=0), rtol=1e-5)
        largest = np.abs(values).max(axis=(0, 2))
        np.testing.assert_allclose(sums.floor(), FLOOR_ROUNDINGS * 2**-23 * largest)


@pytest.mark.parametrize("scale", [1e-11, 1.0, 1e17])
def test_ordinary_sizes_stay_in_single_precision(scale):
    for sums in both_kinds(scale * torch.rand(20, 2, 3), [3]):
        assert sums.lines().dtype == torch.complex64
        assert sums.variance().dtype == sums.floor().dtype == torch.float32


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_squares_that_not_even_double_precision_holds_are_refused(scale):
    record = torch.ones(20, 2, 3, dtype=torch.float64)
    record[:, 1] *= scale
    message = f"largest of an example is {scale:.0e}.*multiply them by a constant"
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        sums_of(record, [3])
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        RecordSums(record, [3], 0.0)


def test_sums_widen_in_the_middle_of_a_record():
    record = torch.rand(20, 1, 3)
    record[10:] *= 1e25
    sums, _ = both_kinds(record, [3])
    np.testing.assert_allclose(sums.variance()[0], record[:, 0].double().numpy().var(axis=0), 1e-5)


def test_sums_widen_for_frames_without_a_share():
    record = 1e25 * torch.rand(20, 1, 3)
    shares = np.repeat([0.0, 0.1], 10)
    sums = FourierSums(fourier(20, [1]), shares, record[0], 0.0)
    sums.add(0, record[:5])
    sums.add(5, record[5:])
    np.testing.assert_allclose(sums.variance(), record[10:].double().numpy().var(axis=0), 1e-5)
