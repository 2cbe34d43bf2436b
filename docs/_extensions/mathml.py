"""Formulas as MathML, which browsers draw themselves: no script, and nothing to fetch."""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)


def mathml(node: nodes.math | nodes.math_block, on_its_own: bool) -> str:
    """The formula of a node; its LaTeX, with a warning, where docutils cannot read it."""
    try:
        return tex2mathml(node.astext(), as_block=on_its_own)
    except MathError as error:
        logger.warning("%s: %s", error, node.astext(), location=node, type="mathml")
        return f"<code>{node.astext()}</code>"


def in_line(translator: HTML5Translator, node: nodes.math) -> None:
    """Write a formula in a line of text."""
    translator.body.append(mathml(node, on_its_own=False))
    raise nodes.SkipNode


def on_its_own(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on a line of its own."""
    translator.body.append(f'<div class="math">{mathml(node, on_its_own=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Offer the renderer to `html_math_renderer`."""
    app.add_html_math_renderer("mathml", (in_line, None), (on_its_own, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
