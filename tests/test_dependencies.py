"""Tests that what the tests import is declared, and what is declared for them is used.

The packages themselves are checked by deptry, in ``make check``.
"""

import ast
import re
import tomllib
from importlib.metadata import packages_distributions

from tests.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Run, not imported: by make, by pytest as plugins, by notebooks, or as extras of medleak itself.
TOOLS = {
    *("deptry", "import-linter", "pyright", "ruff", "pytest-timeout", "pytest-xdist"),
    *("myst-parser", "pydata-sphinx-theme"),
    *("medleak", "tenseal"),
    "ipykernel",  # in which notebooks run
}


def name_of(requirement: str) -> str:
    """A distribution's name, as all spellings of it have it."""
    name = re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> set[str]:
    """Distributions that tests and documents import."""
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "docs").rglob("*.py")]
    modules: set[str] = {"hatchling"}  # by filters/wheel/hook.py, in the build
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module)
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "importorskip":
                (name, *_) = node.args
                modules.add(str(ast.literal_eval(name)))
    known = packages_distributions()
    found = {d for m in modules for d in known.get(m.partition(".")[0], [])}
    return {name_of(d) for d in found}


def test_what_the_tests_import_is_declared_and_what_is_declared_for_them_is_imported():
    extras = PROJECT["optional-dependencies"]
    product = {name_of(r) for r in PROJECT["dependencies"]}
    named = ("bundle", "dicom", "flower", "he", "lpips", "medmnist", "nifti", "zstd")
    optional = {name_of(r) for extra in named for r in extras[extra]}
    development = {name_of(r) for e in ("dev", "docs") for r in extras[e]}
    # docutils comes with Sphinx, whose directives are made of it.
    assert imported() <= product | optional | development | {"medleak", "docutils"}
    assert development - TOOLS <= imported()
