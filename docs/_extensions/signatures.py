"""Signatures as they are written: with the names of aliases, and not what these stand for."""

import re

from numpy.typing import ArrayLike
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

ARRAY_LIKE = stringify_annotation(ArrayLike, "smart")
ARRAY = re.compile(r"~numpy\.ndarray\[tuple\[~typing\.Any, \.\.\.\], ~numpy\.dtype\[(~[\w.]+)\]\]")


def with_aliases(text: str | None) -> str | None:
    """Put the aliases of NumPy for what autodoc makes of them."""
    if text is None:
        return None
    return ARRAY.sub(
        r"~numpy.typing.NDArray[\1]", text.replace(ARRAY_LIKE, "~numpy.typing.ArrayLike")
    )


def change_signature(
    app: Sphinx,
    what: str,
    name: str,
    subject: object,
    options: object,
    arguments: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    """Handle autodoc's event."""
    return with_aliases(arguments), with_aliases(returned)


def setup(app: Sphinx) -> dict[str, bool]:
    """Change signatures before they are written."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-signature", change_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
