"""The notebooks run from their first cell to the last, as a reader runs them."""

import nbformat
import pytest
from nbclient import NotebookClient
from tests.places import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


SAYS = {
    "choosing-a-defence": "secure_aggregation:sites=3: RDLV",
    "first-audit": "Inversion of the final model: not tested",
    "own-federation": "SSIM",
}
"""What the last words of each need, beside that no cell fails."""


def test_there_are_three():
    assert {path.stem for path in NOTEBOOKS} == set(SAYS)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_says_what_its_text_says(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=500, resources=resources).execute()
    said = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ())
    )
    assert SAYS[path.stem] in said


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
