import math

import pytest
import torch
from torchvision.transforms.functional import normalize

from captum_ssvep import TaggingDesign, TwoLevelDesign, black, halves, tagged_sequence, tiles
from captum_ssvep.stimulus.frames import FrameNoise, Stimulus

DESIGN = TaggingDesign()


def literal_frame(image, mask, baseline, contrasts):
    """One pixel after another, as the formula says."""
    frame = torch.empty_like(image)
    for index in torch.cartesian_prod(*map(torch.arange, image.shape)).tolist():
        place = tuple(index)
        part = int(mask.expand_as(image)[place])
        contrast = 1.0 if part == -1 else contrasts[part]
        dark = baseline.expand_as(image)[place]
        frame[place] = dark + contrast * (image[place] - dark)
    return frame


@pytest.mark.parametrize("background", [False, True])
def test_frames_are_those_of_the_formula(background):
    image = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    mask = tiles(image.shape, 1, 2).clone()
    if background:
        mask[..., :1, :] = -1
    baseline = torch.rand(1, 3, 1, 1, dtype=torch.float64)
    sequence = tagged_sequence(image, DESIGN, mask, baseline)
    assert sequence.shape == (240, 2, 3, 4, 5)
    for moment in (0, 7, 100):
        expected = literal_frame(image, mask, baseline, DESIGN.contrasts[moment])
        torch.testing.assert_close(sequence[moment], expected)


def test_the_untagged_background_stays_at_full_contrast():
    image = torch.rand(1, 3, 4, 4)
    mask = torch.tensor([0, -1, -1, 1])
    dim = TaggingDesign(contrast=(0.0, 0.5))
    sequence = tagged_sequence(image, dim, mask, 0.3)
    torch.testing.assert_close(
        sequence[..., 1:3], image[..., 1:3].expand(240, 1, 3, 4, 2), rtol=1e-6, atol=1e-7
    )


def test_each_example_may_have_its_own_mask():
    image = torch.rand(2, 1, 2, 2)
    mask = torch.tensor([[0, 1], [1, 0]]).reshape(2, 1, 1, 2)
    sequence = tagged_sequence(image, DESIGN, mask)
    first = torch.as_tensor(DESIGN.contrasts[9], dtype=torch.float32)
    torch.testing.assert_close(sequence[9, 0, 0, 0], image[0, 0, 0] * first)
    torch.testing.assert_close(sequence[9, 1, 0, 0], image[1, 0, 0] * first.flip(0))


def test_inputs_of_a_tuple_share_the_tags():
    inputs = (torch.ones(2, 3), torch.ones(2, 4, 5))
    masks = (torch.tensor([0]), torch.tensor([1]))
    left, right = tagged_sequence(inputs, DESIGN, masks, (0.0, 0.0))
    contrasts = torch.as_tensor(DESIGN.contrasts, dtype=torch.float32)
    torch.testing.assert_close(left, contrasts[:, :1, None].expand(240, 2, 3))
    torch.testing.assert_close(right, contrasts[:, 1:, None, None].expand(240, 2, 4, 5))


def test_black_is_what_normalisation_makes_of_black():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = normalize(torch.zeros(1, 3, 2, 2), mean, std)
    torch.testing.assert_close(black(mean, std).expand(1, 3, 2, 2), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_frames_keep_the_dtype(dtype):
    assert tagged_sequence(torch.ones(1, 4, dtype=dtype)).dtype == dtype


def test_noise_depends_on_the_image_and_the_seed_and_not_on_the_batch():
    images = torch.rand(3, 1, 4, 4)

    def noise(inputs, seed=0, chunks=(3, 2)):
        source = FrameNoise((inputs,), 0.1, seed)
        parts = []
        for n_frames in chunks:
            frames = torch.zeros(n_frames * len(inputs), 1, 4, 4)
            source.add_to((frames,))
            parts.append(frames.reshape(n_frames, len(inputs), 1, 4, 4))
        return torch.cat(parts)

    together = noise(images)
    assert together.std().item() == pytest.approx(0.1, rel=0.15)
    assert torch.equal(together[:, 1:2], noise(images[1:2]))
    assert torch.equal(together, noise(images, chunks=(1, 4)))
    assert not torch.equal(together, noise(images, seed=1))
    assert not torch.equal(together[:, 0], together[:, 1])
    assert not torch.equal(together[0], together[1])
    # The second of two inputs counts as well.
    frames = [torch.zeros(3, 1, 4, 4) for _ in range(4)]
    for second, (first_frames, second_frames) in ((images, frames[:2]), (images + 1, frames[2:])):
        FrameNoise((images, second), 0.1, 0).add_to((first_frames, second_frames))
    assert not torch.equal(frames[0], frames[2])


def test_building_a_stimulus_leaves_the_inputs_alone():
    image = torch.rand(1, 3, 4, 4)
    before = image.clone()
    stimulus = Stimulus.build(image, DESIGN, None, None)
    (frames,) = stimulus.frames(DESIGN.contrasts[:2])
    FrameNoise((image,), 1.0, 0).add_to((frames,))
    assert torch.equal(image, before)


def test_phases_shift_the_contrast():
    shifted = TaggingDesign(phases=(math.pi / 2, 0.0))
    assert shifted.contrasts[0].tolist() == pytest.approx([1.0, 0.75])


WIDE = torch.rand(2, 3, 4, 6)
REFUSALS = {
    "swapped mask": (
        dict(feature_mask=torch.arange(4).expand(1, 1, 6, 4) // 2),
        ValueError,
        r"\(2, 3, 4, 6\).*got shape \(1, 1, 6, 4\); the last two dimensions are swapped",
    ),
    "smaller mask": (
        dict(feature_mask=torch.arange(3).expand(1, 1, 2, 3)),
        ValueError,
        "needs the same size, or 1, in each dimension",
    ),
    "list as mask": (dict(feature_mask=[0, 1]), TypeError, "`feature_mask` .* got list"),
    "one baseline per channel": (
        dict(baselines=torch.zeros(3)),
        ValueError,
        r"take shape \(\d, 1, 1\)",
    ),
    "mask as baseline": (dict(baselines=halves(WIDE.shape)), TypeError, "floating dtype.*int64"),
    "true as baseline": (dict(baselines=WIDE > 0.5), TypeError, "floating dtype.*bool"),
    "list of images": (dict(inputs=list(WIDE)), TypeError, "tuple of tensors, but got list"),
    "class of a design": (dict(design=TaggingDesign), TypeError, "`design` to be a design, as"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_makes_no_stimulus_is_refused(name):
    arguments, error, words = REFUSALS[name]
    with pytest.raises(error, match=words):
        tagged_sequence(**{"inputs": WIDE, **arguments})


def test_a_picture_without_its_batch_gives_a_warning():
    with pytest.warns(UserWarning, match=r"\(3, 8, 8\) are shown as 3 examples.*`inputs\[None\]`"):
        tagged_sequence(torch.rand(3, 8, 8))
    tagged_sequence(torch.rand(2, 8, 8))
    tagged_sequence(torch.rand(3, 4, 8))


@pytest.mark.parametrize(
    ("mean", "std", "error", "words"),
    [
        (
            0.5,
            (0.5,),
            TypeError,
            "`mean` to hold numbers, but got 0.5; give one",
        ),
        ((0.5,), None, TypeError, "`std` to hold numbers, but got None"),
        ((0.5,) * 3, (0.5,), ValueError, "`mean` and `std` to be one number per channel"),
        ((0.5,), (0.0,), ValueError, "each `std` above 0"),
    ],
)
def test_black_needs_the_whole_normalization(mean, std, error, words):
    with pytest.raises(error, match=words):
        black(mean, std)


def test_a_number_as_baseline_is_exact_in_double_precision():
    frames = tagged_sequence(torch.ones(1, 3, 2, 4).double(), TwoLevelDesign(2), baselines=0.1)
    assert frames[-1].unique().tolist() == [0.1]
