"""Sphinx's settings: `make docs`. Nothing is fetched: neither inventories of others nor fonts."""

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

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
}
autodoc_member_order = "bysource"
autodoc_mock_imports = ["flwr"]  # an extra that needs an environment of its own
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "pydata_sphinx_theme"
html_title = "medleak"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
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


def rejoin(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Undo what napoleon makes of "Words: more words" beside a constant: a type called "Words"."""
    if what in ("attribute", "data", "property") and lines and lines[-1].startswith(":type: "):
        lines[:] = [f"{lines[-1].removeprefix(':type: ')}: {lines[0]}", *lines[1:-1]]


def keep_stars(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Shapes such as [C, *size] hold a star that starts no emphasis."""
    lines[:] = [re.sub(r"(?<![`*\\\w])\*(?=\w+\])", r"\\*", line) for line in lines]


def setup(app: Any) -> None:
    """Hear of docstrings before and after napoleon."""
    app.connect("autodoc-process-docstring", keep_stars, priority=100)
    app.connect("autodoc-process-docstring", rejoin, priority=900)
