"""References to names at the top of the package lead to the room that documents them."""

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import captum_ssvep


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Find `captum_ssvep.tiles` as `captum_ssvep.stimulus.tiles`."""
    package, _, path = node["reftarget"].partition(".")
    name = path.partition(".")[0]
    if node["refdomain"] != "py" or package != "captum_ssvep" or name not in captum_ssvep.__all__:
        return None
    python = env.get_domain("py")
    for found, entry in python.objects.items():
        if found.startswith("captum_ssvep.") and found.endswith(f".{path}"):
            return python.resolve_xref(
                env, node["refdoc"], app.builder, entry.objtype, found, node, content
            )
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Look for what Sphinx did not find."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
