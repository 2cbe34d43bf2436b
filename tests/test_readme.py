"""The README's Python runs as it stands, block after block."""

import re
from pathlib import Path

import gallery
import matplotlib
import pytest
import torch
from PIL import Image

PETS = ("cats", "dogs")
README = Path(__file__).parents[1] / "README.md"
IMAGES = README.parent / "images"
PICTURES = [path for path in IMAGES.iterdir() if path.suffix in {".png", ".gif"}]


@pytest.mark.usefixtures("resnet18_weights")
def test_the_examples_run(tmp_path, monkeypatch):
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    photos = [Path("cat.jpg"), *(Path(f"photos/{pet}/{n}.jpg") for pet in PETS for n in range(2))]
    for photo in photos:
        photo.parent.mkdir(parents=True, exist_ok=True)
        pixels = (255 * torch.rand(250, 300, 3)).to(torch.uint8)
        Image.fromarray(pixels.numpy()).save(photo)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 3
    names = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    assert names["snr"].shape == (1, 512, 7, 7)
    assert names["spectrum"].mean.shape == (1, 512)
    assert names["spectrum"].error((1, 1)).shape == (1, 512)
    assert names["surface"].shape == (33, 33, 1, 512)
    assert names["scores"].n_images == 4
    assert len(names["scores"].layers) == 20
    assert names["interaction"].changes["layer4.1.conv2"].shape == (4, 512)
    assert names["binding"].mean["layer4.1.conv2"].shape == (512,)
    assert (tmp_path / "snr.png").stat().st_size > 5000
    assert (tmp_path / "spectrum.npz").exists()


def test_everything_that_it_links_to_is_there():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README.read_text(encoding="utf-8"))
    local = {link for link in links if not link.startswith("https://")}
    assert all((README.parent / link).exists() for link in local)
    pictures = {f"images/{path.name}" for path in PICTURES}
    assert pictures <= local
    assert all(path.stat().st_size < 150_000 for path in PICTURES)


def test_the_source_of_every_picture_is_told():
    sources = (IMAGES / "README.md").read_text(encoding="utf-8")
    assert not [path.name for path in PICTURES if f"`{path.name}`" not in sources]


@pytest.mark.parametrize("name", gallery.PICTURES)
def test_the_gallery_is_the_notebooks(name):
    assert (IMAGES / f"{name}.png").read_bytes() == gallery.picture(*gallery.PICTURES[name])


@pytest.mark.parametrize("name", gallery.FILMS)
def test_the_films_are_the_notebooks(name):
    assert (IMAGES / f"{name}.gif").read_bytes() == gallery.picture(*gallery.FILMS[name], "gif")


def test_every_script_that_it_names_is_there():
    scripts = re.findall(r"benchmarks/\w+\.py", README.read_text(encoding="utf-8"))
    assert scripts
    assert all((README.parent / script).exists() for script in scripts)
