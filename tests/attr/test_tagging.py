"""The Captum layer method on small networks whose spectra are known."""

import math

import numpy as np
import pytest
import torch
from captum.attr import LayerActivation, NoiseTunnel
from torch import nn

from captum_ssvep import (
    FrequencyTaggingAttribution,
    TaggedSpectrum,
    TaggingDesign,
    choose_design,
    tiles,
)
from captum_ssvep.spectrum.plan import SpectrumPlan


class TwoInputs(nn.Module):
    """Two inputs, an extra tensor and a number; a tuple output; a layer behind it."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(5, 4)
        self.pair = Pair()

    def forward(self, x, y, offset=None, scale=1.0):
        out = self.first(x) + scale * self.second(y)
        if offset is not None:
            out = out + offset
        rectified, squared = self.pair(out)
        return rectified.sum(dim=1) + squared.sum(dim=1)


class Pair(nn.Module):
    def forward(self, x):
        return x.relu(), x[:, :2].square()


@pytest.fixture
def two_inputs():
    return TwoInputs().eval()


GENERATOR = torch.Generator().manual_seed(0)  # at import, before any test's seed
INPUTS = (torch.rand(3, 3, generator=GENERATOR), torch.rand(3, 5, generator=GENERATOR))
MASKS = (torch.tensor([0]), torch.tensor([1]))


def convolutional():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 2, 3),
        nn.Flatten(),
        nn.Linear(32, 2),
    ).eval()


def test_the_result_is_arranged_as_layer_activation_arranges_it(two_inputs):
    for layer in (two_inputs.first, two_inputs.pair, [two_inputs.pair, two_inputs.first]):
        expected = LayerActivation(two_inputs, layer).attribute(INPUTS)
        result = FrequencyTaggingAttribution(two_inputs, layer).attribute(
            INPUTS, feature_mask=MASKS
        )
        assert type(result) is type(expected)
        pairs = zip(
            result if isinstance(result, (list, tuple)) else [result],
            expected if isinstance(expected, (list, tuple)) else [expected],
            strict=True,
        )
        for ours, captums in pairs:
            if isinstance(captums, tuple):
                assert [t.shape for t in ours] == [t.shape for t in captums]
            else:
                assert (ours.shape, ours.dtype) == (captums.shape, captums.dtype)


def test_a_list_of_names_and_modules_is_read_in_one_pass(two_inputs):
    rows = []
    two_inputs.first.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    tagging = FrequencyTaggingAttribution(two_inputs, ["pair", two_inputs.first])
    pair, first = tagging.attribute(INPUTS, feature_mask=MASKS)
    assert sum(rows) == (49 + 1) * 3
    alone = FrequencyTaggingAttribution(two_inputs, "first").attribute(INPUTS, feature_mask=MASKS)
    torch.testing.assert_close(first, alone)
    assert isinstance(pair, tuple)


def test_inputs_tagged_apart_meet_only_behind_the_rectifier(two_inputs):
    tagging = FrequencyTaggingAttribution(two_inputs, ["first", "second", "pair"])
    first, second, (rectified, squared) = tagging.spectrum(INPUTS, feature_mask=MASKS)
    assert (first.snr((1, 0)) > 1e3).all()
    assert (first.snr((0, 1)) < 1).all()
    assert (second.snr((1, 0)) < 1).all()
    # (u cos1 + v cos2 + w)^2 has u v at both intermodulations and nothing above order 2.
    u, v = first.amplitude((1, 0))[:, :2], second.amplitude((0, 1))[:, :2]
    for component in ((1, 1), (1, -1)):
        torch.testing.assert_close(squared.amplitude(component), u * v, rtol=1e-3, atol=1e-6)
    assert (squared.snr((2, 1)) < 1).all()
    assert rectified.mean.shape == (3, 4)


def test_further_arguments_go_with_their_examples(two_inputs):
    offsets = torch.randn(3, 4)
    tagging = FrequencyTaggingAttribution(two_inputs, "pair")
    arguments = dict(feature_mask=MASKS, statistic="amplitude")
    together = tagging.attribute(INPUTS, additional_forward_args=(offsets, 0.5), **arguments)
    split = tagging.attribute(
        INPUTS, additional_forward_args=(offsets, 0.5), internal_batch_size=2, **arguments
    )
    for row in range(3):
        rows = slice(row, row + 1)
        alone = tagging.attribute(
            tuple(x[rows] for x in INPUTS),
            additional_forward_args=(offsets[rows], 0.5),
            **arguments,
        )
        for tensor, single, other in zip(together, alone, split, strict=True):
            torch.testing.assert_close(tensor[rows], single, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(tensor[rows], other[rows], rtol=1e-4, atol=1e-6)


def test_what_goes_into_a_layer_is_what_came_out_before_it():
    model, image = convolutional(), torch.rand(2, 3, 8, 8)
    before = FrequencyTaggingAttribution(model, "1").attribute(image, statistic="amplitude")
    into = FrequencyTaggingAttribution(model, "2").attribute(
        image, attribute_to_layer_input=True, statistic="amplitude"
    )
    torch.testing.assert_close(before, into)


def test_an_in_place_relu_behind_the_layer_leaves_no_trace():
    model, image = convolutional(), torch.rand(1, 3, 8, 8)
    spectrum = FrequencyTaggingAttribution(model, "0").spectrum(image)
    assert (spectrum.snr((1, 1)) < 1).all()  # a rectified convolution would have some


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_precisions(dtype, expected):
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU()).eval()
    reference = FrequencyTaggingAttribution(model, "1").attribute(
        torch.ones(1, 8), statistic="amplitude"
    )
    model = model.to(dtype)
    tagging = FrequencyTaggingAttribution(model, "1")
    result = tagging.attribute(torch.ones(1, 8, dtype=dtype), statistic="amplitude")
    assert result.dtype == expected
    torch.testing.assert_close(result.float(), reference, rtol=0.1, atol=2e-2)
    absent = FrequencyTaggingAttribution(model, "0").spectrum(torch.ones(1, 8, dtype=dtype))
    assert (absent.snr((1, 1)) < 1).all()


def test_a_large_constant_does_not_eat_the_signal():
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Identity()).eval()
    nn.init.constant_(model[0].weight, 0.5)
    spectrum = FrequencyTaggingAttribution(model, "1").spectrum(torch.ones(1, 2))

    class Raised(nn.Module):
        def forward(self, x):
            return x + 1000.0

    model[1] = Raised().eval()
    raised = FrequencyTaggingAttribution(model, "1").spectrum(torch.ones(1, 2))
    assert raised.amplitude((1, 0)).item() == pytest.approx(
        spectrum.amplitude((1, 0)).item(), rel=1e-3
    )
    assert raised.snr((1, 1)).item() < 1
    assert raised.variance.item() == pytest.approx(spectrum.variance.item(), rel=1e-3)


def test_a_dead_neuron_is_zero_everywhere():
    model = nn.Sequential(nn.Linear(2, 1), nn.ReLU()).eval()
    nn.init.constant_(model[0].bias, -100.0)
    tagging = FrequencyTaggingAttribution(model, "1")
    for noise_std in (0.0, 0.1):
        for statistic in ("snr", "zscore", "variance_share", "amplitude", "baseline_corrected"):
            result = tagging.attribute(torch.ones(1, 2), statistic=statistic, noise_std=noise_std)
            assert result.item() == 0


def test_several_parts_and_an_untagged_background():
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU()).eval()
    nn.init.ones_(model[0].weight)
    image = torch.ones(1, 1, 4, 4)
    mask = tiles(image.shape, 2, 2).clone()
    mask[..., 0, 0] = -1
    design = choose_design(4, max_order=2)
    spectrum = FrequencyTaggingAttribution(model, "1").spectrum(
        image, feature_mask=mask, design=design, max_order=2
    )
    for part in range(4):
        component = [int(part == other) for other in range(4)]
        expected = 0.25 * (mask == part).float()
        torch.testing.assert_close(spectrum.amplitude(component), expected, rtol=1e-5, atol=1e-6)
    assert spectrum.variance[0, 0, 0, 0] == 0


def test_one_tag_flickers_the_whole_input():
    model = nn.Sequential(nn.Linear(2, 1, bias=False)).eval()
    nn.init.ones_(model[0].weight)
    result = FrequencyTaggingAttribution(model, "0").attribute(
        torch.ones(1, 2), design=TaggingDesign((6.0,)), statistic="amplitude"
    )
    assert result.item() == pytest.approx(0.5, rel=1e-5)


def test_pooling_is_the_spectrum_of_the_pooled_activation():
    model, image = convolutional(), torch.rand(2, 3, 8, 8)
    tagging = FrequencyTaggingAttribution(model, "1")
    whole = tagging.spectrum(image)
    channels = tagging.spectrum(image, pooling="channel")
    rows = tagging.spectrum(image, pooling=lambda activations: activations.mean(dim=3))
    torch.testing.assert_close(channels.lines, whole.lines.mean(dim=(3, 4)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rows.lines, whole.lines.mean(dim=4), rtol=1e-4, atol=1e-5)
    assert channels.variance.shape == (2, 4)


class Swinlike(nn.Module):
    def forward(self, x):
        return x.movedim(1, -1).relu()


def test_pooling_asks_where_channels_may_be_last():
    model = nn.Sequential(Swinlike(), nn.Flatten(1, 2)).eval()
    image = torch.rand(2, 3, 8, 8)
    for layer in ("0", "1"):
        tagging = FrequencyTaggingAttribution(model, layer)
        with pytest.raises(ValueError, match="dimension 1 or the last; pass `channel_dim=1`"):
            tagging.spectrum(image, pooling="channel")
        channels = tagging.spectrum(image, pooling="channel", channel_dim=-1)
        by_hand = tagging.spectrum(image, pooling=lambda x: x.flatten(1, -2).mean(1))
        assert channels.mean.shape == (2, 3)
        assert torch.allclose(channels.lines, by_hand.lines)


def test_examples_keep_their_own_masks_and_baselines_in_blocks():
    model, images = convolutional(), torch.rand(3, 3, 8, 8)
    columns = torch.arange(8).expand(3, 1, 1, 8)
    masks = (columns > torch.tensor([1, 3, 5]).reshape(3, 1, 1, 1)).long()
    baselines = torch.rand(3, 3, 8, 8)
    tagging = FrequencyTaggingAttribution(model, "1")
    arguments = dict(feature_mask=masks, baselines=baselines, statistic="amplitude")
    together = tagging.attribute(images, **arguments)
    split = tagging.attribute(images, internal_batch_size=1, **arguments)
    torch.testing.assert_close(together, split, rtol=1e-4, atol=1e-6)
    for row in range(3):
        alone = tagging.attribute(
            images[row : row + 1],
            feature_mask=masks[row : row + 1],
            baselines=baselines[row : row + 1],
            statistic="amplitude",
        )
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("limits", "largest"),
    [
        (dict(perturbations_per_eval=5), 15),
        (dict(internal_batch_size=7), 6),
        (dict(internal_batch_size=2), 2),
        (dict(perturbations_per_eval=4, internal_batch_size=100), 12),
    ],
)
def test_rows_per_pass_are_limited(limits, largest):
    model, rows = convolutional(), []
    model[0].register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    FrequencyTaggingAttribution(model, "1").attribute(torch.rand(3, 3, 8, 8), **limits)
    assert sum(rows) == 3 * (49 + 1) if largest > 2 else 3 * 49 + 2
    assert max(rows) <= largest


@pytest.mark.parametrize(
    ("n_examples", "limits", "rows"),
    [
        (1, {}, [1, 24, 25]),
        (2, {}, [2, 24, 24, 24, 26]),
        (1, dict(internal_batch_size=100), [1, 24, 25]),
        (1, dict(internal_batch_size=20), [1, 16, 16, 17]),
        (1, dict(perturbations_per_eval=48), [1, 24, 25]),
        (1, dict(perturbations_per_eval=49), [1, 49]),
    ],
)
def test_passes_suit_the_largest_activation(n_examples, limits, rows):
    """1 MiB a frame, of 32 MiB."""
    model, seen = nn.Sequential(nn.Conv2d(3, 64, 1), nn.AvgPool2d(64)).eval(), []
    model[0].register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    FrequencyTaggingAttribution(model, "1").attribute(torch.rand(n_examples, 3, 64, 64), **limits)
    assert seen == rows


def test_sparse_activations_elsewhere_do_no_harm():
    class Sparse(nn.Module):
        def forward(self, x):
            return x.to_sparse()

    class Dense(nn.Module):
        def forward(self, x):
            return x.to_dense()

    model = nn.Sequential(nn.Linear(4, 3), Sparse(), Dense(), nn.ReLU()).eval()
    assert FrequencyTaggingAttribution(model, "3").attribute(torch.rand(2, 4)).shape == (2, 3)


def test_channels_last_models_give_the_same():
    model, image = convolutional(), torch.rand(2, 3, 8, 8)
    expected = FrequencyTaggingAttribution(model, "1").spectrum(image)
    model = model.to(memory_format=torch.channels_last)
    image = image.contiguous(memory_format=torch.channels_last)
    spectrum = FrequencyTaggingAttribution(model, "1").spectrum(image)
    torch.testing.assert_close(spectrum.lines, expected.lines, rtol=1e-4, atol=1e-4)
    attribution = FrequencyTaggingAttribution(model, "1").attribute(image)
    assert attribution.is_contiguous()


def test_the_floor_is_four_roundings_of_the_largest_activation():
    class Negated(nn.Module):
        def forward(self, x):
            return -3 * x

    model = nn.Sequential(Negated()).eval()
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        spectrum = FrequencyTaggingAttribution(model, "0").spectrum(
            torch.ones(1, 4, dtype=dtype), pooling=lambda x: x.float()
        )
        expected = 4 * torch.finfo(dtype).eps * 3
        assert spectrum.floor.item() == pytest.approx(expected, rel=1e-2)


def test_without_noise_snr_ranks_as_the_amplitude_whatever_the_design():
    """The paper's tags leave bins free; these do not, and high orders must not pass for noise."""
    model, image = convolutional(), torch.rand(1, 3, 8, 8)
    design = TaggingDesign((5.0, 5.5), contrast=(-1.0, 1.0))
    spectrum = FrequencyTaggingAttribution(model, "1").spectrum(image, design=design)
    ratio = spectrum.snr((1, 0)) * spectrum.floor
    torch.testing.assert_close(ratio, spectrum.amplitude((1, 0)))


def test_collisions_are_warned_of_at_the_callers_line():
    model = nn.Sequential(nn.Linear(2, 1)).eval()
    tagging = FrequencyTaggingAttribution(model, "0")
    with pytest.warns(UserWarning, match=r"second harmonic of 10 Hz falls on") as caught:
        design = TaggingDesign((10.0, 20.0))
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=r"f2 with 2f1.*choose_design") as caught:
        tagging.attribute(torch.ones(1, 2), design=design)
    assert caught[0].filename == __file__


def test_noise_is_the_same_for_an_image_in_any_batch():
    model, images = convolutional(), torch.rand(3, 3, 8, 8)
    tagging = FrequencyTaggingAttribution(model, "1")
    together = tagging.attribute(images, noise_std=0.1)
    alone = tagging.attribute(images[1:2], noise_std=0.1, perturbations_per_eval=7)
    torch.testing.assert_close(together[1:2], alone, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(together, tagging.attribute(images, noise_std=0.1, seed=1))
    split = tagging.attribute(images, noise_std=0.1, internal_batch_size=2)
    torch.testing.assert_close(together, split, rtol=1e-3, atol=1e-3)


def test_the_global_random_state_and_gradients_are_untouched():
    model, image = convolutional(), torch.rand(1, 3, 8, 8, requires_grad=True)
    state = torch.get_rng_state()
    result = FrequencyTaggingAttribution(model, "1").attribute(image, noise_std=0.1)
    assert torch.equal(state, torch.get_rng_state())
    assert not result.requires_grad
    assert torch.is_grad_enabled()
    assert image.grad is None
    assert all(parameter.grad is None for parameter in model.parameters())


def test_captums_conventions():
    tagging = FrequencyTaggingAttribution(convolutional(), None)
    assert tagging.get_name() == "Frequency Tagging Attribution"
    assert tagging.multiplies_by_inputs is False
    assert tagging.has_convergence_delta() is False
    assert tagging.attribute.__wrapped__  # what NoiseTunnel and TCAV call
    tagging.layer = tagging.forward_func[1]  # as TCAV assigns it
    assert tagging.attribute(torch.rand(1, 3, 8, 8), target=1).shape == (1, 4, 6, 6)


def test_a_noise_tunnel_without_noise_changes_nothing():
    model, image = convolutional(), torch.rand(2, 3, 8, 8)
    tagging = FrequencyTaggingAttribution(model, model[1])
    plain = tagging.attribute(image)
    tunnelled = NoiseTunnel(tagging).attribute(image, nt_samples=3, stdevs=0.0)
    torch.testing.assert_close(tunnelled, plain, rtol=1e-3, atol=1.0)


def test_the_progress_bar_counts_frames(capsys):
    model = nn.Sequential(nn.Linear(2, 1)).eval()
    FrequencyTaggingAttribution(model, "0").attribute(torch.ones(2, 2), show_progress=True)
    shown = capsys.readouterr().err
    assert "Frequency Tagging Attribution" in shown
    assert "98/98" in shown
    FrequencyTaggingAttribution(model, "0").attribute(torch.ones(2, 2))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("noise_std", [0.0, 0.2])
def test_streaming_equals_the_series_analysed_at_once(noise_std):
    """The same network through `tagged_sequence`-like frames and `from_series`."""
    model, image = convolutional().double(), torch.rand(1, 3, 8, 8, dtype=torch.float64)
    design = TaggingDesign(phases=(0.4, math.pi / 2))
    recorded = []
    handle = model[1].register_forward_hook(lambda _, __, out: recorded.append(out.clone()))
    streamed = FrequencyTaggingAttribution(model, "1").spectrum(
        image, design=design, noise_std=noise_std
    )
    handle.remove()
    series = torch.cat(recorded)
    series = torch.cat([series[:-2], series[-1:]])  # without the frame that is shown again
    if not noise_std:  # one frame for all moments with equal contrasts
        shown = SpectrumPlan.build(design, "all", None, 2, noise_std).contrasts
        distances = torch.cdist(torch.tensor(design.contrasts), torch.tensor(shown))
        series = series[distances.argmin(dim=1)]
    whole = TaggedSpectrum.from_series(series[:, None], design)
    for component in design.components("all"):
        torch.testing.assert_close(streamed.amplitude(component), whole.amplitude(component))
        torch.testing.assert_close(streamed.coefficient(component), whole.coefficient(component))
        if noise_std:
            torch.testing.assert_close(streamed.snr(component), whole.snr(component))
    torch.testing.assert_close(streamed.variance, whole.variance)
    torch.testing.assert_close(streamed.mean, whole.mean)


def test_with_leaky_sampling_the_snr_is_that_of_other_peoples_pipelines():
    """240 frames over two seconds with both ends, as `numpy.linspace` samples them."""
    with pytest.warns(UserWarning, match="whole cycles"):
        design = TaggingDesign(sampling_rate=119.5, strict=False)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)).double().eval()
    image = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    times = torch.linspace(0, 2, 240, dtype=torch.float64)
    contrasts = [0.75 + 0.25 * torch.sin(2 * math.pi * f * times) for f in (6.0, 7.5)]
    sides = [contrast[:, None].expand(-1, 4) for contrast in contrasts]
    frames = image * torch.cat(sides, 1)[:, None, None]
    with torch.no_grad():
        amplitude = np.abs(np.fft.rfft(model(frames).numpy(), axis=0))
    tagging = FrequencyTaggingAttribution(model, model[2])
    for component, line in (((1, 0), 12), ((0, 1), 15), ((1, 1), 27)):
        noise = amplitude[[line - 2, line - 1, line + 1, line + 2]].mean(0)
        snr = tagging.attribute(image, design=design, components=[component])
        np.testing.assert_allclose(snr[0], amplitude[line] / noise, rtol=1e-6)
