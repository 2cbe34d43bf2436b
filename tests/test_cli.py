"""The command line, run as a user runs it."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from captum_ssvep import TaggedSpectrum
from captum_ssvep.cli import main
from captum_ssvep.demo import digits

WRITTEN = {"spectrum.npz", "stimulus.png", "stimulus.gif", "spectrum.png", "contrast.png"}


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "cat.jpg"
    pixels = (255 * torch.rand(3, 60, 80)).to(torch.uint8)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    return path


def run(model, layer, picture, out, weights="none"):
    arguments = ["--model", model, "--layer", layer, "--image", str(picture), "--out", str(out)]
    return main(["run", *arguments, "--weights", weights])


def test_the_demo_prints_its_accuracy_and_two_digits(tmp_path):
    command = [sys.executable, "-m", "captum_ssvep", "demo", "--out", str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    accuracy = digits.accuracy(digits.load_network(), *digits.load_test_set())
    assert accuracy >= 0.97
    assert f"{accuracy:.1%} correct" in finished.stdout
    for text in ("handwritten 3", "handwritten 8", "f1 = 6 Hz", "f2 = 7.5 Hz", "f1 + f2 = 13.5 Hz"):
        assert text in finished.stdout
    for folder in ("digit_3", "digit_8"):
        assert {p.name for p in (tmp_path / folder).iterdir()} == WRITTEN | {"maps.png"}
        spectrum = TaggedSpectrum.load(tmp_path / folder / "spectrum.npz")
        assert spectrum.mean.shape == (1, 48)
    strongest = spectrum.amplitude((1, 1))[0].argmax().item()
    table = finished.stdout.split("handwritten 8")[1]
    first_row = next(line for line in table.splitlines() if line.strip()[:1].isdigit())
    assert int(first_row.split("|")[2].split()[0]) == strongest


@pytest.mark.parametrize(
    ("model", "layer", "n_channels"),
    [
        ("resnet18", "layer4", 512),
        ("vit_b_16", "encoder.layers.encoder_layer_1", 768),
        ("swin_t", "features.1", 96),
    ],
)
def test_any_classifier_runs(tmp_path, capsys, picture, model, layer, n_channels):
    assert run(model, layer, picture, tmp_path / "out") == 0
    assert f"of {n_channels} that answer most" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "out").iterdir()} == WRITTEN | {"maps.png"}


def test_a_layer_without_space_has_no_map(tmp_path, capsys, picture):
    assert run("squeezenet1_1", "classifier", picture, tmp_path / "out") == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} >= WRITTEN
    capsys.readouterr()
    assert run("resnet18", "fc", picture, tmp_path / "fc") == 0
    assert "No maps: fc" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "fc").iterdir()} == WRITTEN


def test_a_local_state_dict_is_loaded(tmp_path, picture):
    torch.manual_seed(1)
    model = torchvision.models.resnet18()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    spectra = []
    for _ in range(2):
        assert (
            run("resnet18", "layer1", picture, tmp_path / "out", str(tmp_path / "weights.pt")) == 0
        )
        spectra.append(TaggedSpectrum.load(tmp_path / "out" / "spectrum.npz"))
    assert torch.equal(spectra[0].lines, spectra[1].lines)


@pytest.mark.usefixtures("resnet18_weights")
def test_pretrained_weights_are_the_default(tmp_path, picture):
    arguments = ["--model", "resnet18", "--layer", "layer1", "--image", str(picture)]
    assert main(["run", *arguments, "--out", str(tmp_path / "default")]) == 0
    spectrum = TaggedSpectrum.load(tmp_path / "default" / "spectrum.npz")
    assert spectrum.mean.shape == (1, 64)


@pytest.mark.parametrize("content", [b"no picture", b"", "cut in half"])
def test_a_file_that_is_no_picture_is_told(tmp_path, capsys, picture, content):
    content = picture.read_bytes()[:1500] if content == "cut in half" else content
    picture.write_bytes(content)
    for path in (picture, tmp_path, tmp_path / "absent.png"):
        assert run("resnet18", "layer1", path, tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert error.startswith(f"captum-ssvep: Expected --image to be a picture, but {path} ")
        assert error.count("\n") == 1


def test_a_deep_picture_is_tagged_with_its_depth(tmp_path):
    """The same picture with 8 bits and, darker than white throughout, with 16."""
    levels = np.linspace(0, 200, 80 * 80).reshape(80, 80).astype(np.uint8)
    spectra = {}
    for kind, deep in (("8", levels), ("16", levels.astype(np.uint16) * 257)):
        path = tmp_path / f"{kind}.png"
        Image.fromarray(deep).save(path)
        torch.manual_seed(0)
        assert run("resnet18", "layer1", path, tmp_path / kind) == 0
        spectra[kind] = TaggedSpectrum.load(tmp_path / kind / "spectrum.npz")
    one, other = (s.amplitude((1, 0)) for s in spectra.values())
    torch.testing.assert_close(one, other, rtol=0.02, atol=0.02 * one.max().item())


@pytest.mark.parametrize(
    ("model", "layer", "weights", "words"),
    [
        ("resnet81", "layer4", "none", "resnet18"),
        ("fcn_resnet50", "backbone", "none", "torchvision classifier"),
        ("resnet18", "layer5", "none", "nearest: layer"),
        ("resnet18", "layer4", "absent.pt", "absent.pt"),
        ("resnet18", "layer4", __file__, "saved by torch.save"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, capsys, picture, model, layer, weights, words):
    assert run(model, layer, picture, tmp_path, weights) == 2
    error = capsys.readouterr().err
    assert error.startswith("captum-ssvep: ")
    assert words in error
    assert error.count("\n") == 1
