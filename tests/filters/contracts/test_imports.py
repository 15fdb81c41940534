"""What medleak.filters may import, and when."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import medleak.filters

ROOT = Path(medleak.filters.__path__[0])
SOURCES = sorted(ROOT.rglob("*.py"))
HEAVY = {"torch", "monai", "nvflare", "scipy", "dp_accounting", "opacus", "pandas", "safetensors"}


def imports(path, *, top_level_only=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_filters_depend_on_neither_training_nor_attacks(path):
    assert not [m for m in imports(path) if m.startswith(("medleak.custom", "medleak.inversion"))]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_adapters_import_nvflare(path):
    if "adapters" not in path.relative_to(ROOT).parts:
        assert not [m for m in imports(path) if m.startswith("nvflare")]


def test_defences_ledger_and_doctor_need_only_numpy_at_import():
    code = (
        "import sys\n"
        "from medleak.filters import doctor, registry, storage\n"
        "from medleak.filters.apart import leakage_gate, process\n"
        "from medleak.filters.defences import error_feedback\n"
        "from medleak.filters.privacy import accounting, ledger\n"
        "print(*sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & {m.partition(".")[0] for m in out.stdout.split()}


def test_adapters_do_not_import_torch():
    code = "import sys\nimport medleak.filters.adapters\nprint('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
