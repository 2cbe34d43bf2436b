"""The committed notebooks are as a reader wants them; `make notebooks` executes them."""

import json
import re
import sys
from pathlib import Path
from urllib.error import URLError

import cifar
import material
import pytest
import skimage
import torch
from efficientnet import CATEGORIES, load_efficientnet_lite0
from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return json.loads(request.param.read_text(encoding="utf-8"))


def test_there_are_notebooks():
    numbers = [f"{number:02d}" for number in range(1, 11)]
    assert [path.stem[:2] for path in NOTEBOOKS] == numbers


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_file_is_small_and_the_readme_names_it(path):
    assert path.stat().st_size < 1_000_000
    assert path.name in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_cell_says_what_one_learns_and_needs(notebook):
    first = notebook["cells"][0]
    text = "".join(first["source"])
    assert first["cell_type"] == "markdown"
    assert text.startswith("# ")
    assert "**You learn**" in text
    assert "**You need**" in text


def test_all_cells_ran_in_order_without_errors_or_warnings(notebook):
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]


def test_nothing_tells_of_the_machine_it_ran_on(notebook):
    shown = json.dumps([output for cell in notebook["cells"] for output in cell.get("outputs", [])])
    shown = re.sub(r'"image/png": "[^"]*"', "", shown)
    assert not re.search(r"(?<![\w.])/(work|tmp|root|home|usr)/", shown)
    assert not [cell for cell in notebook["cells"] if "execution" in cell["metadata"]]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


def test_a_mistyped_folder_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTUM_SSVEP_DATA", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):
        material.load(2)


def test_without_a_network_the_digits_stand_in(monkeypatch, capsys):
    def unreachable(depth):
        sys.stdout.write("Downloading: to a folder that nobody needs to know")
        raise URLError("no network")

    monkeypatch.delenv("CAPTUM_SSVEP_DATA", raising=False)
    monkeypatch.setattr(cifar, "load_resnet", unreachable)
    found = material.load(12)
    assert capsys.readouterr().out == "No CIFAR-10 here (URLError): the embedded digits stand in.\n"
    assert found.images.shape == (12, 1, 32, 32)
    assert (found.dark == 0).all()
    assert (found.model(found.images).argmax(1) == found.labels).double().mean() > 0.9


def test_efficientnet_is_trained_and_sees_a_cat():
    model, preprocess = load_efficientnet_lite0()
    image = preprocess(Image.fromarray(skimage.data.chelsea()))[None]
    with torch.no_grad():
        probability, best = model(image).softmax(1)[0].topk(3)
    assert not model.training
    assert image.shape == (1, 3, 224, 224)
    assert {CATEGORIES[index] for index in best} == {"tiger cat", "Egyptian cat", "tabby"}
    assert probability.sum() > 0.9
