"""The command line, run as a user runs it."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
import torchvision
from matplotlib import pyplot as plt
from PIL import Image

from captum_ssvep import FrequencyTaggingAttribution, TaggedSpectrum, TaggingDesign, black
from captum_ssvep.cli import main
from captum_ssvep.demo import digits
from captum_ssvep.demo.folders import NAMES
from captum_ssvep.demo.networks import load_network

LAYER = {"spectrum.npz", "spectrum.png", "contrast.png"}
WRITTEN = LAYER | {"stimulus.png", "stimulus.gif", "table.csv"}
# A network of the user's own, small enough for many runs.
FILE = """
from torch import nn
from torchvision import transforms

def build():
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.Conv2d(6, 8, 3, 2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )
    return network, transforms.Compose(
        [transforms.Resize(40), transforms.CenterCrop(32), transforms.ToTensor(),
         transforms.Normalize([0.5] * 3, [0.25] * 3)]
    )

def ends_in_a_linear_layer():
    return nn.Sequential(nn.Flatten(), nn.Linear(10, 3))

def fails():
    assert False

def remembers():
    return nn.Sequential(nn.Flatten(2), nn.LSTM(48, 3))
"""


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "cat.jpg"
    pixels = (255 * torch.rand(3, 60, 80)).to(torch.uint8)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    return path


@pytest.fixture
def small(tmp_path, picture):
    """Arguments for the user's own network; others follow and replace them."""
    (tmp_path / "net.py").write_text(FILE)
    model = f"{tmp_path / 'net.py'}:build"
    return ["run", "--model", model, "--image", str(picture), "--out", str(tmp_path / "out")]


def run(model, layer, picture, out, weights="none"):
    arguments = ["--model", model, "--layer", layer, "--image", str(picture), "--out", str(out)]
    return main(["run", *arguments, "--weights", weights])


def names(folder):
    return {path.name for path in folder.iterdir()}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_demo_prints_its_accuracy_and_two_digits(tmp_path):
    command = [sys.executable, "-m", "captum_ssvep", "demo", "--out", str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    accuracy = digits.accuracy(digits.load_network(), *digits.load_test_set())
    assert accuracy >= 0.97
    assert f"{accuracy:.1%} correct" in finished.stdout
    for text in ("handwritten 3", "handwritten 8", "f1 = 6 Hz", "f2 = 7.5 Hz", "f1 + f2 = 13.5 Hz"):
        assert text in finished.stdout
    assert finished.stderr == ""
    assert names(tmp_path) == {"table.csv", "report.html", "digit_3", "digit_8"}
    for folder in ("digit_3", "digit_8"):
        assert names(tmp_path / folder) == (WRITTEN - {"table.csv"}) | {"maps.png"}
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
    assert names(tmp_path / "out") == WRITTEN | {"maps.png"}


def test_a_layer_without_space_has_no_map(tmp_path, capsys, picture):
    assert run("squeezenet1_1", "classifier", picture, tmp_path / "out") == 0
    assert "No maps: classifier has a single place" in capsys.readouterr().out
    assert names(tmp_path / "out") == WRITTEN
    assert run("resnet18", "fc", picture, tmp_path / "fc") == 0
    assert "No maps: fc has no two spatial dimensions" in capsys.readouterr().out
    assert names(tmp_path / "fc") == WRITTEN


@pytest.mark.data
def test_imagenet_weights_are_loaded_from_a_file(tmp_path, picture):
    if not os.environ.get("CAPTUM_SSVEP_DATA"):
        pytest.skip("CAPTUM_SSVEP_DATA is not set: no SqueezeNet weights")
    weights = Path(os.environ["CAPTUM_SSVEP_DATA"]) / "squeezenet1_1_imagenet.pt"
    assert run("squeezenet1_1", "features.12", picture, tmp_path / "out", str(weights)) == 0
    model = torchvision.models.squeezenet1_1()
    model.load_state_dict(torch.load(weights, weights_only=True))
    preprocess = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.transforms()
    with Image.open(picture) as file:
        image = preprocess(file.convert("RGB"))[None]
    spectrum = TaggedSpectrum.load(tmp_path / "out" / "spectrum.npz")
    tagging = FrequencyTaggingAttribution(model.eval(), "features.12")
    dark = black(preprocess.mean, preprocess.std)
    by_hand = tagging.spectrum(image, baselines=dark, pooling="channel")
    torch.testing.assert_close(spectrum.amplitude((1, 1)), by_hand.amplitude((1, 1)))
    torch.testing.assert_close(spectrum.mean, by_hand.mean)


@pytest.mark.usefixtures("resnet18_weights")
def test_pretrained_weights_are_the_default(tmp_path, picture):
    arguments = ["--model", "resnet18", "--layer", "layer1", "--image", str(picture)]
    assert main(["run", *arguments, "--out", str(tmp_path / "default")]) == 0
    spectrum = TaggedSpectrum.load(tmp_path / "default" / "spectrum.npz")
    assert spectrum.mean.shape == (1, 64)


def test_a_network_of_ones_own_with_its_preprocessing(tmp_path, capsys, small, picture):
    assert main([*small, "--layer", "2"]) == 0
    printed = capsys.readouterr()
    assert "cat.jpg through " in printed.out
    assert printed.err == ""
    spectrum = TaggedSpectrum.load(tmp_path / "out" / "spectrum.npz")
    assert spectrum.design == TaggingDesign()
    # The same again by hand; black is -2 in the network's inputs.
    network = load_network(small[2])
    with Image.open(picture) as file:
        image = network.preprocess(file.convert("RGB"))[None]
    tagging = FrequencyTaggingAttribution(network.model, "2")
    by_hand = tagging.spectrum(image, baselines=-2.0, pooling="channel")
    torch.testing.assert_close(spectrum.lines, by_hand.lines)


def test_several_images_and_layers_have_a_folder_each_and_one_table(tmp_path, small):
    photos = tmp_path / "photos"
    photos.mkdir()
    noise = np.random.default_rng(0).integers(100, 200, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photos / "light.png")
    (photos / "notes.txt").write_text("no picture")
    arguments = ["--image", str(photos), "--layer", "2", "--layer", "4", "2"]
    assert main([*small, *arguments]) == 0
    out = tmp_path / "out"
    assert names(out) == {"cat", "light", "table.csv"}
    for image in ("cat", "light"):
        assert names(out / image) == {"2", "4", "stimulus.png", "stimulus.gif"}
        assert names(out / image / "2") == LAYER | {"maps.png"}
        assert names(out / image / "4") == LAYER
    table = rows(out / "table.csv")
    places = [("cat", "2"), ("cat", "4"), ("light", "2"), ("light", "4")]
    assert list(dict.fromkeys((row["image"], row["layer"]) for row in table)) == places
    spectrum = TaggedSpectrum.load(out / "light" / "2" / "spectrum.npz")
    of_light = [row for row in table if (row["image"], row["layer"]) == ("light", "2")]
    assert [float(row["amplitude"]) for row in of_light] == pytest.approx(
        [record["amplitude"] for record in spectrum.table()]
    )


@pytest.mark.filterwarnings("always:One part flickers")
@pytest.mark.parametrize(
    ("arguments", "n_parts", "kind"),
    [
        (["--mask", "tiles", "2x2"], 4, "time"),
        (["--mask", "sectors", "3", "--design", "grid"], 3, "grid"),
        (["--mask", "ring", "--design", "two-level"], 2, "two-level"),
        (["--mask", "sectors", "6", "--design", "two-level"], 6, "two-level"),
        (["--mask", "disc", "9", "--frequencies", "5", "9"], 2, "time"),
        (["--mask", "tiles", "1x1"], 1, "time"),
    ],
)
def test_parts_and_designs_are_those_that_were_asked_for(tmp_path, small, arguments, n_parts, kind):
    assert main([*small, "--layer", "2", *arguments]) == 0
    spectrum = TaggedSpectrum.load(tmp_path / "out" / "spectrum.npz")
    assert (spectrum.design.n_parts, spectrum.design.kind) == (n_parts, kind)
    if "--frequencies" in arguments:
        assert spectrum.design.frequencies == (5, 9)
    assert ("stimulus.gif" in names(tmp_path / "out")) == (kind == "time")
    assert ("contrast.png" in names(tmp_path / "out")) == (kind != "two-level")
    assert "maps.png" in names(tmp_path / "out")


@pytest.mark.filterwarnings("always")
def test_a_report_shows_the_images_and_what_came_up(tmp_path, capsys, small):
    page = tmp_path / "pages" / "page.html"
    arguments = ["--image", small[4], "--layer", "2", "--report", str(page)]
    assert main([*small, *arguments, "--frequencies", "6", "12"]) == 0
    printed = capsys.readouterr()
    tags, components = printed.err.splitlines()
    assert tags.startswith("captum-ssvep: Responses to parts cannot be told apart")
    assert components.startswith("captum-ssvep: Components share a line")
    for advice in (tags, components):
        assert "--frequencies" in advice
        assert "`" not in advice  # nothing about Python
    assert "f1 + f2 is missing" in printed.out
    text = page.read_text(encoding="utf-8")
    for words in ("cat, cat-2: 2 of ", f"of {small[2]}", "second harmonic of 6 Hz", "f1 + f2"):
        assert words in text
    assert ">seed<" not in text
    assert names(tmp_path / "out") == {"cat", "cat-2", "table.csv"}


@pytest.mark.filterwarnings("always")
def test_what_may_surprise_is_said_in_a_line(tmp_path, capsys, small):
    np.save(tmp_path / "mask.npy", np.zeros((32, 32), dtype=int))
    assert main([*small, "--layer", "2", "--mask", str(tmp_path / "mask.npy")]) == 0
    assert capsys.readouterr().err.startswith("captum-ssvep: One part flickers")
    assert main([*small, "--layer", "2", "--frequencies", "59", "59.5"]) == 0
    assert "f1 + f2 = 118.5 Hz, seen at 1.5 Hz: it lies above half" in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_results_are_written_though_nobody_reads_what_is_printed(tmp_path, small, closed):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "captum_ssvep", *small, "--layer", "2"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, closed: writing}
    finished = subprocess.run([*command, "--frequencies", "6", "12"], text=True, **streams)
    os.close(writing)
    assert finished.returncode == 0
    assert names(tmp_path / "out") == WRITTEN | {"maps.png"}
    assert "Errno" not in (finished.stdout or "") + (finished.stderr or "")
    assert "Traceback" not in (finished.stderr or "")


def test_a_run_replaces_the_files_of_an_earlier_one(tmp_path, small):
    assert main([*small, "--layer", "2"]) == 0
    (tmp_path / "out" / "notes.txt").write_text("of the user")
    assert WRITTEN | {"maps.png"} <= set(NAMES)
    assert main([*small, "--layer", "2", "--design", "two-level"]) == 0
    left = WRITTEN - {"contrast.png", "stimulus.gif"}
    assert names(tmp_path / "out") == left | {"maps.png", "notes.txt"}


def test_pictures_with_the_same_name_are_told_apart_by_their_folders(tmp_path, capsys, small):
    pictures = [tmp_path / folder / "1.jpg" for folder in ("macaw", "toucan")]
    for path in pictures:
        path.parent.mkdir()
        path.write_bytes(Path(small[4]).read_bytes())
    of_both = ["--image", *map(str, pictures)]
    without = [*small[:3], *small[5:]]
    assert main([*without, *of_both, "--layer", "2"]) == 0
    assert names(tmp_path / "out") == {"macaw_1", "toucan_1", "table.csv"}
    assert "macaw_1.jpg through" in capsys.readouterr().out


def test_a_seed_fixes_random_weights(tmp_path, picture):
    found = []
    for seed in ("3", "4"):
        arguments = ["--model", "squeezenet1_1", "--weights", "none", "--layer", "features.0"]
        paths = ["--image", str(picture), "--out", str(tmp_path / seed)]
        assert main(["run", *arguments, *paths, "--seed", seed]) == 0
        found.append(TaggedSpectrum.load(tmp_path / seed / "spectrum.npz").mean)
    assert not torch.allclose(*found)
    torch.manual_seed(4)
    model = torchvision.models.squeezenet1_1().eval()
    preprocess = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.transforms()
    with Image.open(picture) as file:
        image = preprocess(file.convert("RGB"))[None]
    # A linear layer's mean response is that to the mean contrast, 3/4 of the way from black.
    halfway = 0.75 * image + 0.25 * black(preprocess.mean, preprocess.std)
    expected = model.features[0](halfway).mean(dim=(2, 3)).detach()
    torch.testing.assert_close(found[1].float(), expected, rtol=1e-3, atol=1e-3)


def test_nothing_is_left_open_or_changed(small):
    backend, figures, state = matplotlib.get_backend(), plt.get_fignums(), torch.get_rng_state()
    assert main([*small, "--layer", "2"]) == 0
    assert plt.get_fignums() == figures
    assert matplotlib.get_backend() == backend
    assert torch.equal(torch.get_rng_state(), state)


def test_a_terminal_shows_progress(small, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main([*small, "--layer", "2"]) == 0
    assert "49/49" in capsys.readouterr().err
    assert main([*small, "--image", small[4], "--layer", "2"]) == 0
    assert "2/2" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"no picture", b"", "cut in half"])
def test_a_file_that_is_no_picture_is_told(tmp_path, capsys, picture, content):
    content = picture.read_bytes()[:1500] if content == "cut in half" else content
    picture.write_bytes(content)
    for path in (picture, tmp_path, tmp_path / "absent.png"):
        assert run("resnet18", "layer1", path, tmp_path / "out") == 2
        error = capsys.readouterr().err
        named = picture if path == tmp_path else path
        assert error.startswith(f"captum-ssvep: Expected --image to be a picture, but {named} ")
        assert error.count("\n") == 1


def test_a_deep_picture_is_tagged_with_its_depth(tmp_path):
    """The same picture with 8 bits and, darker than white throughout, with 16."""
    levels = np.linspace(0, 200, 80 * 80).reshape(80, 80).astype(np.uint8)
    spectra = {}
    for kind, deep in (("8", levels), ("16", levels.astype(np.uint16) * 257)):
        path = tmp_path / f"{kind}.png"
        Image.fromarray(deep).save(path)
        assert run("resnet18", "layer1", path, tmp_path / kind) == 0
        spectra[kind] = TaggedSpectrum.load(tmp_path / kind / "spectrum.npz")
    one, other = (s.amplitude((1, 0)) for s in spectra.values())
    torch.testing.assert_close(one, other, rtol=0.02, atol=0.02 * one.max().item())


MISTAKES = {
    "a model's name": (["--model", "resnet81"], "try resnet18"),
    "no classifier": (["--model", "fcn_resnet50"], "torchvision classifier"),
    "a function's name": (["--model", "FOLDER/net.py:biuld"], "it has build"),
    "a function that fails": (["--model", "FOLDER/net.py:fails"], "AssertionError; try it"),
    "no function": (["--model", "FOLDER/net.py"], "add a colon"),
    "another input": (
        ["--model", "FOLDER/net.py:ends_in_a_linear_layer"],
        "given an image of shape (1, 3, 60, 80), to run, but it raised RuntimeError",
    ),
    "a layer's name": (["--layer", "22"], "nearest: 2"),
    "several tensors": (
        ["--model", "FOLDER/net.py:remembers", "--layer", "1"],
        "Expected",
    ),
    "weights of another network": (["--weights", "FOLDER/other.pt"], "lacks 0.weight, 0.bias"),
    "no weights": (["--weights", "FOLDER/absent.pt"], "absent.pt cannot be read"),
    "words for weights": (["--weights", __file__], "saved by torch.save"),
    "random weights": (["--weights", "none"], "its function decides"),
    "a seed beyond torch's": (["--seed", str(2**64)], "--seed to be from 0 to 2^64 - 1"),
    "an empty folder": (["--image", "FOLDER/empty"], "empty holds none"),
    "tags that do not fit": (["--frequencies", "6", "7.3"], "nearest: 7 or 7.5"),
    "too many tags": (["--frequencies", "6", "7.5", "9"], "each of the 2 parts"),
    "a letter as a tag": (["--frequencies", "six"], "invalid float value: 'six'; `captum-ssvep"),
    "a design's name": (["--design", "gird"], "auto, grid, time, two-level"),
    "a mask's name": (["--mask", "halfs"], "tiles RxC"),
    "a mask of another size": (["--mask", "FOLDER/mask.npy"], "of 32 x 32 or 60 x 80 pixels"),
    "a device that is not there": (["--device", "cuda:99"], "cuda:99 cannot be used"),
    "no device": (["--device", "gpu"], "gpu cannot be used"),
    "an unknown option": (["--lyer", "2"], "unrecognized arguments: --lyer 2; `captum-ssvep"),
    "no page": (["--report", "FOLDER/page.txt"], "page.html"),
    "a page in a file": (["--report", "FOLDER/net.py/page.html"], "net.py is a file"),
    "a folder as a page": (["--report", "FOLDER/empty"], "empty/report.html"),
    "a file to write to": (["--out", "FOLDER/net.py"], "net.py is a file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_line_and_leave_nothing_behind(tmp_path, capsys, small, mistake):
    arguments, words = MISTAKES[mistake]
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "mask.npy", np.eye(4, dtype=int))
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pt")
    if "--image" in arguments:
        small = [word for word in small if not word.endswith("cat.jpg") and word != "--image"]
    arguments = [word.replace("FOLDER", str(tmp_path)) for word in arguments]
    layer = [] if "--layer" in arguments else ["--layer", "2"]
    before = sorted(tmp_path.iterdir())
    try:
        status = main([*small, *layer, *arguments])
    except SystemExit as exit_of_argparse:
        status = exit_of_argparse.code
    error = capsys.readouterr().err
    assert status == 2
    assert error.startswith("captum-ssvep")
    assert words in error
    assert error.count("\n") == 1
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "__pycache__"] == before
