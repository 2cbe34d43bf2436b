"""Links from the types in docstrings, which are words: "sequence of Tensor, optional"."""

import re

from sphinx.application import Sphinx

import captum_ssvep

ELSEWHERE = {
    "Any": "typing.Any",
    "Attribution": "captum.attr.Attribution",
    "Axes": "matplotlib.axes.Axes",
    "DataLoader": "torch.utils.data.DataLoader",
    "Dataset": "torch.utils.data.Dataset",
    "Epochs": "mne.Epochs",
    "Evoked": "mne.Evoked",
    "Module": "torch.nn.Module",
    "Path": "pathlib.Path",
    "Raw": "mne.io.Raw",
    "Tensor": "torch.Tensor",
    "array": "numpy.ndarray",
    "callable": "collections.abc.Callable",
    "iterable": "collections.abc.Iterable",
    "mapping": "collections.abc.Mapping",
    "mne.Info": "mne.Info",
    "ndarray": "numpy.ndarray",
    "sequence": "collections.abc.Sequence",
}
OURS = {
    name: f"captum_ssvep.{room}.{name}"
    for room in captum_ssvep._ROOMS
    for name in getattr(getattr(captum_ssvep, room), "__all__", ())
    if name[0].isupper()
}
TARGETS = ELSEWHERE | OURS
# A line that gives a type, as Napoleon writes it.
TYPE = re.compile(r"^(\s*:(?:type [^:]+|rtype):)(.*)$")


def linked(word: re.Match[str]) -> str:
    """A word of a type, with a link where it is a name."""
    target = TARGETS.get(word[0])
    return word[0] if target is None else f":py:obj:`{word[0]} <{target}>`"


def link_types(
    app: Sphinx, what: str, name: str, subject: object, options: object, lines: list[str]
) -> None:
    """Put links into the lines of a docstring that give types."""
    for number, line in enumerate(lines):
        if found := TYPE.match(line):
            words = re.sub(r"[\w.]*\w", linked, found[2])
            # Of plain words Sphinx would make links to what is not there.
            lines[number] = found[1] + (words if "`" in words else f" *{words.strip()}*")


def setup(app: Sphinx) -> dict[str, bool]:
    """Come after Napoleon, whose priority is 500."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", link_types, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
