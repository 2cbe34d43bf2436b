"""Short references: `NoiseTunnel` of Captum, `captum_ssvep.tiles` of the room `stimulus`."""

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.intersphinx import InventoryAdapter, resolve_reference_any_inventory

import captum_ssvep


def in_a_room(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Find a name at the top of the package in the room that documents it."""
    package, _, path = node["reftarget"].partition(".")
    name = path.partition(".")[0]
    if node["refdomain"] != "py" or package != "captum_ssvep" or name not in captum_ssvep.__all__:
        return None
    python = env.get_domain("py")
    for found in python.objects:
        if found.startswith("captum_ssvep.") and found.endswith(f".{path}"):
            return python.resolve_xref(
                env, node["refdoc"], app.builder, node["reftype"], found, node, content
            )
    return None


def elsewhere(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Find a name in backticks in the inventories, if one of them alone has it."""
    if node["reftype"] != "any":
        return None
    names = {name for found in InventoryAdapter(env).main_inventory.values() for name in found}
    matches = [name for name in names if name.endswith("." + node["reftarget"])]
    if len(matches) != 1:
        return None
    node["reftarget"] = matches[0]
    return resolve_reference_any_inventory(env, False, node, content)


def setup(app: Sphinx) -> dict[str, bool]:
    """Look for what Sphinx did not find."""
    app.connect("missing-reference", in_a_room)
    app.connect("missing-reference", elsewhere)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
