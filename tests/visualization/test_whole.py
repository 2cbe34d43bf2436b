import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from captum_ssvep import TaggedSpectrum, TaggingDesign
from captum_ssvep.visualization import plot_neighbors, plot_spectrum, plot_whole_spectrum

matplotlib.use("Agg")
DESIGN = TaggingDesign(sampling_rate=250, n_frames=1000)


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


def noisy_product(n_neighbors=2, **names):
    product = 1e-6 * torch.as_tensor(DESIGN.contrasts.prod(axis=1))[:, None, None]
    noise = 1e-7 * torch.randn(1000, 12, 2, generator=torch.Generator().manual_seed(0))
    spectrum = TaggedSpectrum.from_series(
        product + noise, DESIGN, n_neighbors=n_neighbors, whole=True
    )
    for name, value in names.items():
        object.__setattr__(spectrum, name, value)
    return spectrum


@pytest.mark.parametrize(("n_neighbors", "threshold"), [(2, 2.33), (10, 2.02)])
def test_curves_are_mean_amplitude_and_snr_over_images_at_every_frequency(n_neighbors, threshold):
    spectrum = noisy_product(n_neighbors)
    figure, (above, below) = plot_whole_spectrum(spectrum, 1, highest=30)
    assert above.get_figure() is figure
    for ax, expected in ((above, spectrum.whole.amplitude), (below, spectrum.whole.snr())):
        frequencies, curve = ax.get_lines()[0].get_data()
        np.testing.assert_allclose(frequencies, np.arange(1, 121) / 4)
        np.testing.assert_allclose(curve, expected[1:121, :, 1].mean(dim=1))
    noise = next(line for line in above.get_lines() if line.get_label() == "noise")
    np.testing.assert_allclose(noise.get_ydata(), spectrum.whole.noise()[1:121, :, 1].mean(dim=1))
    chance = next(line for line in below.get_lines() if line.get_label() == "5 % by chance")
    assert chance.get_ydata()[0] == pytest.approx(threshold, abs=0.01)


def test_the_strongest_components_are_named_at_their_tips():
    spectrum = noisy_product()
    _, (above, _) = plot_whole_spectrum(spectrum, 0, n_labels=4)
    tips = {text.get_text(): text.xy for text in above.texts}
    assert set(tips) == {"f1", "f2", "f1 + f2", "f2 - f1"}
    assert tips["f1 + f2"] == pytest.approx(
        (13.5, spectrum.whole.amplitude[54, :, 0].mean().item())
    )
    _, (above, _) = plot_whole_spectrum(spectrum, 0, highest=10)
    assert all(text.xy[0] <= 10 for text in above.texts)


def test_a_recording_is_drawn_in_its_unit_with_the_names_of_its_channels():
    spectrum = noisy_product(neurons="channel", neuron_names=("Oz", "Pz"), neuron_units=("V", "V"))
    _, (above, _) = plot_whole_spectrum(spectrum, 1)
    assert above.get_ylabel() == "Amplitude (V)"
    assert above.get_title() == "Pz: mean and standard deviation of 12 trials"
    assert plot_whole_spectrum(spectrum[:1], 1)[1][0].get_title() == "Pz"
    _, ax = plot_spectrum(spectrum, 0, example=2)
    assert (ax.get_ylabel(), ax.get_title()) == ("Amplitude (V)", "Oz, trial 2")
    assert plot_spectrum(spectrum, 0, 2, "coefficient")[1].get_ylabel() == "Coefficient (V)"
    assert plot_neighbors(spectrum, 0, (1, 1), 2)[1].get_ylabel() == "Amplitude (V)"


def test_a_recording_and_a_network_share_a_figure():
    figure, axes = plt.subplots(2, 2, sharex=True)
    for column, names in enumerate(({}, {"neuron_names": ("Oz", "Pz")})):
        same, drawn = plot_whole_spectrum(noisy_product(**names), 0, axes=axes[:, column])
        assert same is figure
        assert list(drawn) == list(axes[:, column])
    assert [" ".join(ax.get_title().split()) for ax in axes[0]] == [
        "Neuron 0: mean and standard deviation of 12 images",
        "Oz: mean and standard deviation of 12 trials",
    ]


def test_a_network_is_drawn_in_units_of_its_activation():
    _, (above, _) = plot_whole_spectrum(noisy_product(), 0)
    assert above.get_ylabel() == "Amplitude (activation)"


def test_errors():
    spectrum = noisy_product()
    figure, axes = plt.subplots(2, 2)
    for wrong in (axes, axes[0, 0], axes[:1, 0]):
        with pytest.raises(ValueError, match="`axes` to be two"):
            plot_whole_spectrum(spectrum, 0, axes=wrong)
    with pytest.raises(TypeError, match="two axes to draw on"):
        plot_whole_spectrum(spectrum, 0, axes=[figure, figure])
    with pytest.raises(ValueError, match="`highest`"):
        plot_whole_spectrum(spectrum, 0, highest=0.1)
    with pytest.raises(ValueError, match="whole=True"):
        plot_whole_spectrum(TaggedSpectrum.from_series(torch.rand(1000, 1, 1), DESIGN), 0)
