"""Configuration of the documentation, which `make docs` builds."""

import sys
from importlib.metadata import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

import captum.attr
from matplotlib.axes import Axes
from torch import nn
from torch.utils import data

import captum_ssvep

# Where their own documentation has them, and not where they are defined.
for module, *classes in (
    ("captum.attr", captum.attr.Attribution, captum.attr.LayerAttribution),
    ("matplotlib.axes", Axes),
    ("torch.nn", nn.Module),
    ("torch.utils.data", data.DataLoader, data.Dataset),
):
    for documented in classes:
        documented.__module__ = module

project = "captum-ssvep"
author = "The captum-ssvep authors"
copyright = author
release = version = captum_ssvep.__version__

extensions = [
    "argument_types",
    "mathml",
    "notebooks",
    "room",
    "short_names",
    "signatures",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

# Docstrings write `TaggedSpectrum` for what it is, wherever it lies.
default_role = "any"
add_module_names = False
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autosummary_generate = False
maximum_signature_line_length = 88
python_display_short_literal_types = True
toc_object_entries_show_parents = "hide"

nitpick_ignore = [
    # Python's documentation has no entry for it.
    ("py:class", "warnings.WarningMessage"),
    # What the constructors of results take, which nobody calls.
    ("py:class", "captum_ssvep.spectrum.plan.SpectrumPlan"),
    ("py:class", "captum_ssvep.spectrum.sums.FourierSums"),
    ("py:class", "captum_ssvep.spectrum.sums.RecordSums"),
    ("py:class", "captum_ssvep.spectrum.whole.WholeSpectrum"),
    # Type variables: a tensor and a spectrum, or lists of them.
    *(
        (role, f"captum_ssvep.attr.tagging.{variable}")
        for role in ("py:class", "py:obj")
        for variable in ("Attributions", "Spectra")
    ),
]

nb_execution_mode = "off"  # notebooks come with their outputs
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

# Text files, which list the names that are used here: nothing is fetched.
intersphinx_mapping = {
    name: (url, f"inventories/{name}.txt")
    for name, url in {
        "captum": "https://captum.ai/api/",
        "matplotlib": "https://matplotlib.org/stable/",
        "networkx": "https://networkx.org/documentation/stable/",
        "mne": "https://mne.tools/stable/",
        "numpy": "https://numpy.org/doc/stable/",
        "python": "https://docs.python.org/3/",
        "torch": "https://docs.pytorch.org/docs/stable/",
        "xarray": "https://docs.xarray.dev/en/stable/",
    }.items()
}

# Where the site and its source lie is in `pyproject.toml`, once the project has an address.
urls = dict(url.split(", ") for url in metadata("captum-ssvep").get_all("Project-URL") or [])
html_baseurl = urls.get("Documentation", "")
html_copy_source = False
html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = "captum-ssvep"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = html_logo = "_static/logo.svg"
html_theme_options = {
    "source_repository": urls.get("Source", ""),
    "source_branch": "main",
    "source_directory": "docs/",
    # The colors of the package's figures: blue is where parts are combined.
    "light_css_variables": {
        "color-brand-primary": "#1f4fd6",
        "color-brand-content": "#1f4fd6",
        "color-brand-visited": "#1f4fd6",
        "color-api-name": "#b3232a",
        "color-api-pre-name": "#b3232a",
    },
    "dark_css_variables": {
        "color-brand-primary": "#9db2ff",
        "color-brand-content": "#9db2ff",
        "color-brand-visited": "#9db2ff",
        "color-api-name": "#ff8a80",
        "color-api-pre-name": "#ff8a80",
    },
}
