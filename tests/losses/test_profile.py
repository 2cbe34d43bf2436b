"""Profiles from every source, against cosines taken by NumPy."""

import numpy as np
import pytest
import torch

from captum_ssvep import ChebyshevGrid, TaggedSpectrum, TaggingDesign, TwoLevelDesign
from captum_ssvep.losses import Profile
from captum_ssvep.losses.profile import read_profile

DESIGN = TwoLevelDesign(2)


def answers(design, scale=1.0):
    """Three neurons of two images that depend on both parts."""
    left, right = torch.as_tensor(design.contrasts).T
    columns = [left + 0.5 * right, left * right, torch.maximum(left, right)]
    return scale * torch.stack([torch.stack(columns, dim=1), torch.stack(columns[::-1], 1)], dim=1)


def spectrum(design=DESIGN, scale=1.0):
    return TaggedSpectrum.from_series(answers(design, scale), design)


def cosine_distance(one, other):
    one, other = np.asarray(one), np.asarray(other)
    return 1 - one @ other / np.sqrt((one @ one) * (other @ other))


def mean_amplitudes(of):
    return [of.amplitude(component).mean().item() for component in of.components]


def test_distance_is_that_of_the_cosine():
    wanted = [0.3, 1.0, 0.2]
    expected = cosine_distance(mean_amplitudes(spectrum()), wanted)
    by_tuple = Profile(dict(zip([(1, 0), (0, 1), (1, 1)], wanted, strict=True)))
    by_label = Profile(dict(zip(["f1", "f2", "f1 + f2"], wanted, strict=True)))
    for profile in (Profile(wanted), Profile(torch.tensor(wanted).double()), by_tuple, by_label):
        assert profile(spectrum()).item() == pytest.approx(expected)


def test_fewer_components_than_the_spectrum_holds_may_be_wanted():
    first, second, _ = mean_amplitudes(spectrum())
    expected = cosine_distance([first, second], [1.0, 3.0])
    assert Profile({"f1": 1.0, "f2": 3.0})(spectrum()).item() == pytest.approx(expected)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_units_do_not_matter(scale):
    own = Profile(spectrum())
    assert own(spectrum(scale=scale)).item() == pytest.approx(0, abs=1e-12)
    other = Profile([3.0, 1.0, 1.0])
    assert other(spectrum(scale=scale)).item() == pytest.approx(other(spectrum()).item())


def test_a_recording_at_other_frequencies_is_a_template():
    recorded = TaggingDesign((5.5, 7.5), sampling_rate=250, n_frames=1000)
    recording = TaggedSpectrum.from_series(answers(recorded), recorded, max_order=2)
    found = Profile(recording)(spectrum(ChebyshevGrid(2)))
    assert found.item() == pytest.approx(0, abs=1e-3)


def test_noise_at_the_neighbors_of_a_recording_is_subtracted():
    design = TaggingDesign()
    noise = torch.randn(240, 2, 3, generator=torch.Generator().manual_seed(0)).double()
    components = [(1, 0), (0, 1), (1, 1)]
    noisy = TaggedSpectrum.from_series(answers(design) + 0.1 * noise, design, components)
    expected = {
        component: max(
            0.0,
            (
                noisy.amplitude(component).mean() - noisy.neighbor_amplitudes(component).mean()
            ).item(),
        )
        for component in components
    }
    assert Profile(noisy).target == pytest.approx(expected)
    assert Profile(noisy).target[1, 0] < noisy.amplitude((1, 0)).mean()


def test_a_csv_file_of_a_spectrums_table_is_a_template(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "template.csv"
    pandas.DataFrame(spectrum().table()).to_csv(path)
    assert Profile(path)(spectrum()).item() == pytest.approx(0, abs=1e-12)
    assert read_profile(path) == pytest.approx(
        dict(zip(["f1", "f2", "f1+f2"], mean_amplitudes(spectrum()), strict=True))
    )


def test_rows_of_a_component_are_averaged(tmp_path):
    path = tmp_path / "template.csv"
    path.write_text("\ufeffnote,amplitude,component\na,1.5,f1\nb,2,f1+f2\nc,0.5,f1\n", "utf-8")
    assert read_profile(path) == {"f1": 1.0, "f1+f2": 2.0}
    expected = Profile({(1, 0): 1.0, (1, 1): 2.0})(spectrum())
    assert Profile(str(path))(spectrum()) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tag,amplitude\nf1,1\n", r"columns component and amplitude, but got the columns \['tag'"),
        ("", r"columns component and amplitude, but got the columns \[\]"),
        ("component,amplitude\nf1,high\n", "`target` to hold numbers"),
        ("component,amplitude\nf1\n", "`target` to hold numbers"),
        ("component,amplitude\nf1,nan\nf2,1\n", "`target` to be finite"),
        ("component,amplitude\nf1,1\n", "`target` to hold amplitudes of 0 or more for at least"),
    ],
)
def test_files_that_hold_no_template_are_refused(tmp_path, text, words):
    path = tmp_path / "template.csv"
    path.write_text(text)
    with pytest.raises((ValueError, TypeError), match=words):
        Profile(path)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ([1.0, -1.0, 1.0], "amplitudes of 0 or more"),
        ([0.0, 0.0, 0.0], "not all 0"),
        ({(1, 0): 1.0}, "at least two components"),
        ({(0, 0): 1.0, (1, 0): 1.0}, "a component with a non-zero integer"),
        (None, "`target` to hold numbers, but got None; give a mapping"),
    ],
)
def test_what_is_no_template_is_refused(target, words):
    with pytest.raises((ValueError, TypeError), match=words):
        Profile(target)


def test_a_label_of_other_parts_is_refused():
    with pytest.raises(ValueError, match=r"label of a component of 2 part\(s\), .* but got 'f3'"):
        Profile({"f3": 1.0, "f1": 1.0})(spectrum())


def test_a_component_named_twice_is_refused():
    with pytest.raises(ValueError, match=r"each component once, but got f1 \+ f2 twice"):
        Profile({"f1 + f2": 1.0, "f2 + f1": 1.0})(spectrum())
