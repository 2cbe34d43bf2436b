"""Passes of frames through a source that is no network."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_ssvep import ChebyshevGrid, TaggedSpectrum, TaggingDesign, tagged_sequence
from captum_ssvep.model.channels import ChannelDims
from captum_ssvep.model.recorder import Recording
from captum_ssvep.spectrum.passes import CPU_BYTES, PassSize, frames_that_fit
from captum_ssvep.spectrum.plan import SpectrumPlan
from captum_ssvep.spectrum.run import Source, stream_spectra
from captum_ssvep.stimulus.frames import Stimulus

pytestmark = pytest.mark.usefixtures("one_thread")

DESIGN = TaggingDesign()
IMAGES = torch.rand(5, 4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
WEIGHTS = torch.randn(24, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def linear(frames):
    return frames.flatten(1) @ WEIGHTS


def cube(frames):
    return (linear(frames) ** 3)[:, :, None, None].expand(-1, -1, 2, 4)


class Functions:
    """A source of functions of the frames, which remembers the passes it was shown."""

    def __init__(self, *functions, fit=None, modules=None):
        self.functions = functions
        self.passes = []
        self.source = Source(
            record=self.record,
            kind="output of function",
            recording=Recording(
                names=[function.__name__ for function in functions],
                modules=modules or [None] * len(functions),
                dims=ChannelDims(),
            ),
            fit=fit,
        )

    def record(self, rows, frames, n_frames, receive):
        (shown,) = frames
        self.passes.append((rows, n_frames, len(shown)))
        for index, function in enumerate(self.functions):
            outputs = function(shown)
            receive(index, outputs if isinstance(outputs, tuple) else (outputs,))


def stream(source, size=None, noise_std=0.0, images=IMAGES, design=DESIGN, **options):
    plan = SpectrumPlan.build(design, "all", 3, 2, noise_std)
    stimulus = Stimulus.build(images, design, None, None)
    size = size or PassSize.within(len(images), None, None, "frames")
    return stream_spectra(plan, stimulus, source, size, noise_std=noise_std, **options)


def expected_of(function, design=DESIGN):
    """Of the whole record at once."""
    series = function(tagged_sequence(IMAGES, design).flatten(0, 1))
    series = series.unflatten(0, (design.n_frames, len(IMAGES)))
    return TaggedSpectrum.from_series(series, design, max_order=3, n_neighbors=0)


def assert_equal(actual, expected):
    assert actual.components == expected.components
    for name in ("lines", "mean", "variance", "neighbor_lines"):
        torch.testing.assert_close(
            getattr(actual, name), getattr(expected, name), rtol=1e-9, atol=1e-10
        )


SIZES = [PassSize(sys.maxsize, 5), PassSize(1, 5), PassSize(7, 2), PassSize(48, 4), PassSize(3, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("design", [DESIGN, ChebyshevGrid()], ids=["tags", "grid"])
def test_a_spectrum_is_that_of_the_whole_record_however_it_is_cut(size, design):
    source = Functions(linear, cube).source
    (of_linear,), (of_cube,) = stream(source, size, design=design)
    assert_equal(of_linear, expected_of(linear, design))
    assert_equal(of_cube, expected_of(cube, design))
    assert of_cube.mean.shape == (5, 3, 2, 4)
    assert (of_linear.layer, of_cube.layer) == ("linear", "cube")


def test_the_first_frame_of_a_block_runs_alone_and_the_rest_in_full_passes():
    recording = Functions(linear)
    stream(recording.source, PassSize(20, 3))
    n_frames = [1, 20, 20, 8]
    assert recording.passes == [
        *((slice(0, 3), n, 3 * n) for n in n_frames),
        *((slice(3, 6), n, 2 * n) for n in n_frames),
    ]


def test_what_suits_the_memory_is_asked_after_the_first_frame():
    asked = []

    def fit():
        asked.append(len(recording.passes))
        return 13

    recording = Functions(linear, fit=fit)
    stream(recording.source, PassSize(40, 5))
    assert [n for _, n, _ in recording.passes] == [1, 13, 13, 13, 9]
    assert asked == [1]
    stream(recording.source, PassSize(12, 5))  # the smaller one counts
    assert [n for _, n, _ in recording.passes[5:]] == [1, 12, 12, 12, 12]


def test_several_tensors_have_a_spectrum_each():
    def two(frames):
        return linear(frames), linear(frames)[:, :2].exp()

    ((first, second),) = stream(Functions(two).source, PassSize(9, 2))
    assert_equal(first, expected_of(linear))
    assert_equal(second, expected_of(lambda frames: two(frames)[1]))


def test_pooling_comes_before_the_sums():
    def most(activations):
        return activations.amax(dim=(2, 3))

    convolution = nn.Conv2d(3, 3, 1)
    source = Functions(cube, modules=[convolution]).source
    ((plain,),) = stream(source)
    ((channels,),) = stream(source, pooling="channel")
    ((pooled,),) = stream(source, pooling=most)
    assert_equal(channels, expected_of(lambda frames: cube(frames).mean(dim=(2, 3))))
    assert_equal(pooled, expected_of(lambda frames: most(cube(frames))))
    assert [s.neurons for s in (plain, channels, pooled)] == ["neuron", "channel", "pooled value"]
    assert [s.channel_dim for s in (plain, channels, pooled)] == [1, 1, None]


def test_half_precision_is_pooled_wide():
    def halved(frames):
        return cube(frames).half()

    seen = []
    stream(Functions(halved).source, pooling=lambda t: seen.append(t.dtype) or t)
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize(
    ("pooling", "words"),
    [
        ("channels", "`pooling` to be None, 'channel' or a function, but got 'channels'"),
        (lambda t: t.mean(), r"keep the batch of 5 on dimension 0, but it gave \(\)"),
        (lambda t: t[:4], r"keep the batch of 5 on dimension 0, but it gave \(4, 3, 2, 4\)"),
        (lambda t: (t,), "keep the batch of 5 on dimension 0, but it gave tuple"),
        ("channel", "to find where the channels of layer 'cube' lie"),
    ],
)
def test_pooling_that_cannot_be_is_refused(pooling, words):
    with pytest.raises(ValueError, match=words):
        stream(Functions(cube).source, pooling=pooling)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("example", [0, 4])
def test_what_is_not_finite_is_refused_by_name(value, example):
    def broken(frames):
        outputs = linear(frames)
        if len(frames) > 3:  # not in the first frame
            outputs[example % 2, 1] = value
        return outputs

    with pytest.raises(ValueError, match="the output of function 'broken' to be finite"):
        stream(Functions(linear, broken).source, PassSize(30, 2))


def test_noise_is_the_same_however_frames_and_examples_are_cut():
    source = Functions(linear).source
    ((whole,),) = stream(source, noise_std=0.1)
    ((cut,),) = stream(source, PassSize(7, 2), noise_std=0.1)
    ((other,),) = stream(source, noise_std=0.1, seed=1)
    assert_equal(cut, whole)
    assert not torch.allclose(other.lines, whole.lines)
    assert len(whole.neighbor_bins) > 0
    # White noise of this spread on the inputs, through the weights.
    spread = 0.1 * WEIGHTS.square().sum(dim=0).sqrt() * DESIGN.n_frames**0.5
    found = whole.neighbor_lines.abs().square().mean(dim=(0, 1)).sqrt()
    torch.testing.assert_close(found, spread, rtol=0.2, atol=0)


def test_a_progress_bar_counts_rows(capsys):
    stream(Functions(linear).source, PassSize(20, 3), title="tagging")
    shown = capsys.readouterr().err
    assert "tagging" in shown
    assert f"{49 * 5}/{49 * 5}" in shown
    stream(Functions(linear).source)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("n_frames", "max_rows", "expected"),
    [
        (None, None, (sys.maxsize, 5)),
        (7, None, (7, 5)),
        (None, 12, (2, 5)),
        (None, 3, (1, 3)),
        (7, 3, (1, 3)),
        (1, 12, (1, 5)),
        (np.int64(2), np.int64(50), (2, 5)),
    ],
)
def test_pass_sizes(n_frames, max_rows, expected):
    assert PassSize.within(5, n_frames, max_rows, "frames") == PassSize(*expected)


@given(st.integers(1, 50), st.none() | st.integers(1, 50), st.integers(1, 200))
def test_a_pass_is_as_large_as_it_may_be(n_examples, n_frames, max_rows):
    size = PassSize.within(n_examples, n_frames, max_rows, "frames")
    assert 1 <= size.examples <= n_examples
    assert 1 <= size.frames <= (n_frames or max_rows)
    assert size.frames * size.examples <= max_rows
    # One example, or one frame, more would be too many.
    assert size.examples == n_examples or size.examples == max_rows
    assert size.frames == n_frames or (size.frames + 1) * size.examples > max_rows


@pytest.mark.parametrize(
    ("n_frames", "max_rows", "error", "words"),
    [
        (0, None, ValueError, "`perturbations_per_eval` to be at least 1, but got 0"),
        (1.5, None, TypeError, "`perturbations_per_eval` to be an integer, but got 1.5"),
        (None, -3, ValueError, "`internal_batch_size` to be at least 1, but got -3"),
        (None, "8", TypeError, "`internal_batch_size` to be an integer, but got '8'"),
    ],
)
def test_passes_hold_whole_numbers(n_frames, max_rows, error, words):
    with pytest.raises(error, match=words):
        PassSize.within(5, n_frames, max_rows, "perturbations_per_eval")


def test_frames_that_fit_the_processor_and_the_accelerator(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert frames_that_fit(CPU_BYTES // 4, cpu) == 4
    assert frames_that_fit(2 * CPU_BYTES, cpu) == 1
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (700, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200)
    assert frames_that_fit(20, cuda) == 5  # of 700 + 300 - 200 bytes, eight times 20 each
    assert frames_that_fit(2000, cuda) == 1
