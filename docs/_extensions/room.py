"""Directives for the names of a module: a table of them, and what is said of each."""

import inspect
from importlib import import_module
from typing import Generic

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Names(SphinxDirective):
    """A table of the names in `__all__` of a module, but for modules.

    The arguments are the module and, if only these are meant, names in it.
    """

    required_arguments = 1
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Write what autosummary and autodoc read, and have it read."""
        module = import_module(self.arguments[0])
        names = "".join(self.arguments[1:]).split() or module.__all__
        found = {name: getattr(module, name) for name in names}
        return self.parse_text_to_nodes("\n".join(self.lines(found)))

    def lines(self, found: dict[str, object]) -> list[str]:
        """The directive of autosummary, for what is not a module."""
        names = [f"   {name}" for name, subject in found.items() if not inspect.ismodule(subject)]
        table = [".. autosummary::", "   :nosignatures:", "", *names]
        return [f".. py:currentmodule:: {self.arguments[0]}", "", *table]


class Room(Names):
    """The docstring of a module, the table of its names, and their docstrings."""

    def lines(self, found: dict[str, object]) -> list[str]:
        """The directives of autosummary and autodoc."""
        lines = [f".. automodule:: {self.arguments[0]}", "   :no-members:", ""]
        lines += super().lines(found)
        for name, subject in found.items():
            if not inspect.ismodule(subject):
                lines += ["", f".. {directive_for(subject)}:: {name}"]
            if inspect.isclass(subject) and subject.__base__ not in (object, tuple, Generic):
                lines += ["   :show-inheritance:"]
        return lines


def directive_for(subject: object) -> str:
    """Which directive of autodoc documents it."""
    if inspect.isclass(subject):
        return "autoclass"
    return "autofunction" if inspect.isroutine(subject) else "autodata"


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directives."""
    app.add_directive("names", Names)
    app.add_directive("room", Room)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
