"""Networks of torchvision and of the user's own functions, with what turns pictures into inputs."""

import sys

import pytest
import torch
from PIL import Image
from torch import nn

from captum_ssvep.demo.networks import load_network

FILE = """
import torch
from torch import nn
from torchvision import transforms

def plain():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout())

def with_preprocessing():
    return plain(), transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()])

def fails():
    raise KeyError("no\\nkey")

def takes_one(x):
    return plain()

def gives_a_dictionary():
    return {"model": plain()}

def gives_three():
    return plain(), 1, 2

def gives_no_function():
    return plain(), "resize"

network = plain()
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "nets.py"
    path.write_text(FILE)
    return path


def test_a_function_gives_a_model_in_eval_mode(file):
    network = load_network(f"{file}:plain")
    assert network.model.training is False
    assert network.model[1].training is False
    assert "no preprocessing" in network.note
    red = network.preprocess(Image.new("RGB", (6, 5), "red"))
    assert torch.equal(red, torch.eye(3)[0].reshape(3, 1, 1).expand(3, 5, 6))
    assert load_network(f"{file}:network").model[0].out_channels == 4


def test_a_function_gives_a_model_and_its_preprocessing(file):
    network = load_network(f"{file}:with_preprocessing")
    assert not network.note
    picture = Image.new("RGB", (20, 10), "white")
    assert torch.equal(network.preprocess(picture), torch.ones(3, 8, 8))
    # A deep picture is a tensor; the function gets a picture of PIL.
    assert torch.equal(network.preprocess(torch.ones(3, 10, 20)), torch.ones(3, 8, 8))


def test_modules_beside_the_file_are_found_and_the_path_is_as_before(tmp_path, file):
    (tmp_path / "beside_the_file.py").write_text("WIDTH = 7\n")
    file.write_text("def build():\n from torch import nn; import beside_the_file\n"
                    " return nn.Linear(beside_the_file.WIDTH, 1)\n")  # fmt: skip
    before = list(sys.path)
    assert load_network(f"{file}:build").model.in_features == 7
    assert sys.path == before


@pytest.mark.parametrize("name", ["resnet18", "FILE:plain"])
def test_a_seed_fixes_random_weights_and_leaves_the_generator_alone(file, name):
    name, weights = name.replace("FILE", str(file)), "none" if name == "resnet18" else "default"
    state = torch.get_rng_state()
    first, again, other = (
        next(load_network(name, weights, s).model.parameters()) for s in (3, 3, 4)
    )
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_weights_of_a_file_replace_those_of_the_function(tmp_path, file):
    trained = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout())
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "weights.pt")
    network = load_network(f"{file}:plain", str(tmp_path / "weights.pt"))
    assert torch.equal(network.model[0].weight, trained[0].weight)
    assert "'state_dict'" in network.note


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("FILE:plian", "has no 'plian'; it has plain"),
        ("FILE:takes_one", r"takes_one\(\) of .* raised TypeError"),
        ("FILE:fails", r"fails\(\) of .* raised KeyError"),
        ("FILE:gives_a_dictionary", "a model and its preprocessing, but got "),
        ("FILE:gives_three", "but got a tuple of Sequential, int, int"),
        ("FILE:gives_no_function", "but got a tuple of Sequential, str"),
        ("FILE", "add a colon and the name of a function"),
        ("absent.py:build", "there is no Python file absent.py"),
        ("FOLDER:build", "there is no Python file"),
        ("BROKEN:build", "raised SyntaxError"),
        ("resnet81", "try resnet18"),
        ("fcn_resnet50", "torchvision classifier"),
    ],
)
def test_what_is_no_network_is_refused(tmp_path, file, name, words):
    (tmp_path / "broken.py").write_text("def build(:\n")
    for word, path in {"FILE": file, "FOLDER": tmp_path, "BROKEN": tmp_path / "broken.py"}.items():
        name = name.replace(word, str(path))
    with pytest.raises(ValueError, match=words) as caught:
        load_network(name)
    assert str(caught.value).startswith("Expected ")
    assert "\n" not in str(caught.value)


def test_a_function_decides_about_random_weights_itself(file):
    with pytest.raises(ValueError, match="Expected --weights PATH"):
        load_network(f"{file}:plain", "none")
