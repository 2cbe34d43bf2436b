"""The notebooks of `tutorials/`, copied to where Sphinx looks for pages."""

import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config


def copy_notebooks(app: Sphinx, config: Config) -> None:
    """Copy them with their dates, so that those that did not change are not read again."""
    pages = Path(app.srcdir) / "tutorials"
    pages.mkdir(exist_ok=True)
    originals = sorted((Path(app.srcdir).parent / "tutorials").glob("*.ipynb"))
    names = {original.name for original in originals}
    for stale in (copy for copy in pages.glob("*.ipynb") if copy.name not in names):
        stale.unlink()
    for original in originals:
        shutil.copy2(original, pages)


def setup(app: Sphinx) -> dict[str, bool]:
    """Copy before Sphinx looks for pages."""
    app.connect("config-inited", copy_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
