"""README and the pages of the site: their Python runs, and what they name is there."""

import re
from pathlib import Path

import gallery
import matplotlib
import pytest
import torch
import torchvision
from PIL import Image

ROOT = Path(__file__).parents[1]
PICTURES = sorted(p for p in (ROOT / "images").iterdir() if p.suffix in {".png", ".gif"})
# Not the notebooks and the pages that a build makes there.
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in FILES
    if "_build" not in path.parts
}
README = PAGES["README.md"]
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
# Not those right behind a comment, which says why they cannot run here.
BLOCK = re.compile(r"(?<!-->\n)^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^()\s]+)\)")
SCRIPT = re.compile(r"(?:benchmarks|tests)/[\w/]+\.py|\b[01]\d_\w+\.ipynb")
# A decimal, a percentage, or numbers on both sides of a slash: what somebody measured.
MEASURED = re.compile(r"\d*\.\d|\d ?%|\d / \.?\d")
# As measured numbers are written in sentences; levels of tests aside.
IN_PROSE = re.compile(r"(?<![\w.])\.\d|(?<![\w.])\d[\d.]* ?%")
MARKED = "<!-- no measurements"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs the examples of a page, once, in a folder with a photograph; returns their names."""
    matplotlib.use("Agg")
    home = tmp_path_factory.mktemp("torch")  # with untrained weights, as nothing is downloaded
    weights = home / "hub/checkpoints" / Path(torchvision.models.ResNet18_Weights.DEFAULT.url).name
    weights.parent.mkdir(parents=True)
    torch.save(torchvision.models.resnet18().state_dict(), weights)
    ran = {}

    def run_page(name):
        if name not in ran:
            ran[name] = {"folder": tmp_path_factory.mktemp("page")}
            pixels = (255 * torch.rand(250, 300, 3)).to(torch.uint8)
            Image.fromarray(pixels.numpy()).save(ran[name]["folder"] / "cat.jpg")
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(ran[name]["folder"])
                patch.setenv("TORCH_HOME", str(home))
                for block in BLOCK.findall(PAGES[name]):
                    exec(compile(block, name, "exec"), ran[name])
        return ran[name]

    return run_page


@pytest.mark.parametrize("name", [name for name, text in PAGES.items() if BLOCK.search(text)])
def test_the_examples_run(name, run):
    run(name)


def test_what_the_readme_shows(run):
    names = run("README.md")
    assert names["spectrum"].amplitude((1, 0)).shape == (1, 512, 7, 7)
    assert names["channels"].interaction((0, 1)).shape == (1, 512)
    assert (names["folder"] / "maps.png").stat().st_size > 5000


def test_what_the_start_shows(run):
    names = run("docs/start.md")
    assert names["snr"].shape == (1, 512, 7, 7)
    assert names["spectrum"].error((1, 1)).shape == (1, 512)
    assert names["surface"].shape == (33, 33, 1, 512)
    assert {"snr.png", "spectrum.npz"} <= {path.name for path in names["folder"].iterdir()}


def test_what_the_page_on_data_sets_shows(run):
    names = run("docs/how_to/data_sets.md")
    assert names["scores"].n_images == 40
    assert len(names["scores"].layers) == 9
    assert names["interaction"].changes["layer3.0.conv2"].shape == (40, 48)


class TestExtensions:
    """The examples of `docs/how_to/extend.md` do what they say."""

    @pytest.fixture
    def names(self, run):
        return run("docs/how_to/extend.md")

    def test_the_statistic(self, names):
        values = names["lateralization"](names["spectrum"])
        assert values.shape == (2, 48)
        assert values.abs().max() <= 1
        assert (values > 0.1).any()
        assert (values < -0.1).any()
        left, right = (names["spectrum"].amplitude(c)[0, 7].item() for c in ((1, 0), (0, 1)))
        assert values[0, 7].item() == pytest.approx((left - right) / (left + right), rel=1e-5)

    def test_the_mask(self, names):
        mask = names["checkerboard"]((1, 1, 32, 32), 8)
        assert mask.dtype == torch.int64
        assert mask[:8, :8].eq(0).all()
        assert mask[:8, 8:16].eq(1).all()
        assert mask[8:16, 8:16].eq(0).all()
        assert (mask == 0).sum() == (mask == 1).sum() == 512
        assert names["snr"].shape == (2, 48, 8, 8)

    def test_the_design(self, names):
        exact, uneven = names["even"], names["uneven"]
        for component in ((1, 0), (0, 1), (1, 1)):
            scale = exact.amplitude(component).norm()
            difference = uneven.amplitude(component) - exact.amplitude(component)
            assert difference.norm() < 0.2 * scale
            assert uneven.error(component).norm() < scale

    def test_the_recorded_signal(self, names):
        snr = names["evoked"].snr((1, 1))[0]
        assert snr[2] > 50
        assert (snr[:2] < 5).all()
        assert names["evoked"].snr((1, 0))[0, 0] > 50


def test_ten_lines_are_ten_lines():
    lines = BLOCK.search(README).group(1).splitlines()
    assert len([line for line in lines if line.strip()]) == 10


def test_the_readme_is_short():
    assert len(README.split()) <= 900


def path_of(name, link):
    """What a link of a page leads to. Sphinx copies the notebooks to `docs/tutorials`."""
    path = (ROOT / name).parent / link
    return ROOT / path.resolve().relative_to(ROOT).as_posix().replace("docs/tutorials", "tutorials")


def anchors_of(path):
    """Anchors of the headings of a page, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text("utf-8")), re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in words}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name):
    for link in LINK.findall(FENCE.sub("", PAGES[name])):
        if not link.startswith(("https://", "http://")):
            target, _, anchor = link.partition("#")
            path = path_of(name, target) if target else ROOT / name
            assert path.exists(), link
            assert not anchor or anchor in anchors_of(path), link


@pytest.mark.parametrize("name", PAGES)
def test_every_script_that_is_named_is_there(name):
    scripts = re.findall(r"(?:benchmarks|tests|tutorials)/[\w/]+\.(?:py|ipynb)", PAGES[name])
    assert [script for script in scripts if not path_of("README.md", script).exists()] == []


def test_every_picture_is_shown_and_small():
    shown = {
        path_of(name, link)
        for name, text in PAGES.items()
        for link in LINK.findall(text)
        if link.endswith((".png", ".gif"))
    }
    assert {path.name for path in PICTURES} == {path.name for path in shown}
    assert [path.name for path in PICTURES if path.stat().st_size >= 150_000] == []


@pytest.mark.parametrize("name", gallery.PICTURES)
def test_the_gallery_is_the_notebooks(name):
    path = ROOT / "images" / f"{name}.png"
    assert path.read_bytes() == gallery.picture(*gallery.PICTURES[name])


@pytest.mark.parametrize("name", gallery.FILMS)
def test_the_films_are_the_notebooks(name):
    path = ROOT / "images" / f"{name}.gif"
    assert path.read_bytes() == gallery.picture(*gallery.FILMS[name], "gif")


def test_the_source_of_every_picture_is_told():
    sources = (ROOT / "images" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in PICTURES if f"`{path.name}`" not in sources] == []


def paragraphs_of(text):
    """The paragraphs, lists, tables and headings of a page, without code blocks."""
    return [part.strip() for part in re.split(r"\n\s*\n", FENCE.sub("", text)) if part.strip()]


def is_measured(table):
    """Whether a cell of a Markdown table holds a measured number; not in code or an address."""
    return any(
        MEASURED.search(re.sub(r"`[^`]*`|\]\([^)]*\)", "", row)) for row in table.splitlines()[2:]
    )


def unsourced_tables(text):
    """First lines of the tables with measured numbers and no script in a paragraph beside them."""
    paragraphs = paragraphs_of(text)
    around = zip(["", *paragraphs], paragraphs, [*paragraphs[1:], ""], strict=False)
    return [
        table.splitlines()[0]
        for before, table, after in around
        if table.startswith("|") and is_measured(table)
        if not SCRIPT.search(before + after) and MARKED not in before + after
    ]


def unsourced_sections(text):
    """Headings of sections whose sentences hold measured numbers, but name no script."""
    sections = re.split(r"^(?=#+ )", FENCE.sub("", text), flags=re.MULTILINE)
    return [
        section.splitlines()[0]
        for section in sections
        if IN_PROSE.search(re.sub(r"`[^`]*`|^\|.*$|\$\$.*?\$\$", "", section, flags=re.MULTILINE))
        if not SCRIPT.search(section) and MARKED not in section
    ]


@pytest.mark.parametrize("name", PAGES)
def test_numbers_name_the_script_that_prints_them(name):
    assert unsourced_tables(PAGES[name]) == []
    assert unsourced_sections(PAGES[name]) == []


@pytest.mark.parametrize(
    ("text", "n_tables", "n_sections"),
    [
        ("|a|\n|---|\n| .25 |", 1, 0),
        ("|a|\n|---|\n| 12 % |", 1, 0),
        ("|a|\n|---|\n| 3 / 4 |", 1, 0),
        ("|a|\n|---|\n| 12 | \n\nText.", 0, 0),
        ("|a|\n|---|\n| `TaggingDesign(contrast=(0.5, 1.0))` |", 0, 0),
        ("From `benchmarks/speed.py`:\n\n|a|\n|---|\n| .25 |", 0, 0),
        ("|a|\n|---|\n| .25 |\n\nFrom [01](01_first_look.ipynb).", 0, 0),
        ("<!-- no measurements -->\n\n|a|\n|---|\n| .25 |", 0, 0),
        ("From `benchmarks/speed.py`:\n\nMore.\n\n|a|\n|---|\n| .25 |", 1, 0),
        ("# A\n\nIt is .25 of it.", 0, 1),
        ("# A\n\nIt is .25 of it.\n\n# B\n\n`benchmarks/speed.py` prints.", 0, 1),
        ("# A\n\nIt is 12 % (`benchmarks/speed.py`).\n\n# B\n\nTags of 7.5 Hz.", 0, 0),
    ],
)
def test_what_counts_as_named(text, n_tables, n_sections):
    assert len(unsourced_tables(text)) == n_tables
    assert len(unsourced_sections(text)) == n_sections
