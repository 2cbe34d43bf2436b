"""The documentation has a page for every room, and its links lead somewhere."""

import re
from pathlib import Path

import check_links
import pytest

import captum_ssvep

DOCS = Path(__file__).parents[1] / "docs"
LISTED = [
    pytest.param(*line.split(), id=line.split()[0])
    for inventory in sorted((DOCS / "inventories").glob("*.txt"))
    for line in inventory.read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


@pytest.mark.parametrize("room", captum_ssvep._ROOMS)
def test_every_room_has_its_page(room):
    page = (DOCS / "reference" / f"{room}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# captum_ssvep.{room}\n")
    assert f":: captum_ssvep.{room}\n" in page
    assert f"reference/{room}\n" in (DOCS / "index.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "role", "page"), LISTED)
def test_what_the_inventories_list_exists(name, role, page):
    module, _, attribute = name.rpartition(".")
    found = getattr(pytest.importorskip(module or "builtins"), attribute, None)
    assert found is not None or name == "None"
    assert role != "exception" or issubclass(found, Exception)
    assert page.endswith(".html")


@pytest.mark.parametrize(
    ("link", "broken"),
    [
        ("other.html", False),
        ("other.html#there", False),
        ("folder/", True),
        ("#here", False),
        ("", False),
        ("a%20picture.png", False),
        ("https://example.org/#missing", False),
        ("missing.html", True),
        ("other.html#here", True),
        ("#there", True),
        ("../outside.html", True),
    ],
)
def test_broken_links_within_the_site_are_found(tmp_path, link, broken):
    site = tmp_path / "site"
    site.mkdir()
    (tmp_path / "outside.html").touch()
    (site / "a picture.png").touch()
    (site / "other.html").write_text('<p id="there">')
    (site / "page.html").write_text(f'<a id="here" href="{link}">link</a><img src="{link}">')
    assert check_links.broken_links(site) == 2 * broken * [f"page.html: {link}"]


def test_what_is_cited_is_complete():
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load((DOCS.parent / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert cited.keys() >= {
        "message",
        "title",
        "type",
        "abstract",
        "license",
        "keywords",
        "authors",
    }
    (paper,) = cited["references"]
    assert paper.keys() >= {"type", "title", "year", "authors", "doi", "url"}
    assert paper["doi"].removeprefix("10.48550/arXiv.") == paper["url"].rpartition("/")[2]
    assert f'Paper = "{paper["url"]}"' in (DOCS.parent / "pyproject.toml").read_text("utf-8")


def test_the_repository_has_one_address():
    # None before the first release: then CITATION.cff has none, either.
    project = (DOCS.parent / "pyproject.toml").read_text(encoding="utf-8")
    source = re.search(r'^Source = "(.*)"$', project, re.MULTILINE)
    citation = (DOCS.parent / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r'^repository-code: "(.*)"$', citation, re.MULTILINE) == (
        [source[1]] if source else []
    )
