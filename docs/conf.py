"""Sphinx's settings: `make docs`. Nothing is fetched: neither inventories of others nor fonts."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "medleak"
author = "The medleak authors"
copyright = "2026, the medleak authors"
version = release = version_of("medleak")

extensions = [
    "command_pages",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

# A single backtick in a docstring is code, as in Markdown.
default_role = "code"
autosummary_generate = True
# What a package re-exports is described once, where it is defined. SciPy's function comes without
# the name of its module, so that it would be taken for one of ours.
autodoc_default_options = {
    "members": True,
    "ignore-module-all": True,
    "exclude-members": "permutation_test",
    "show-inheritance": True,
}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "pydata_sphinx_theme"
html_title = "medleak"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "medleak"},
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navigation_with_keys": False,
    "show_nav_level": 1,
}
