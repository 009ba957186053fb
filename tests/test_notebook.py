"""The notebook of docs/ runs from its first cell to its last, in a kernel of its own."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "folder_to_table.ipynb"
SMALLER = {
    '"n_train": 8': '"n_train": 4',
    '"size": [128, 128], "count": [14, 20]': '"size": [64, 64], "count": [4, 6]',
    'augment={"crop": 96}': 'augment={"crop": 48}',
}
"""What the test changes: an untrained net finds nuclei everywhere, which takes its time."""


def test_it_was_executed_as_it_stands():
    cells = [c for c in nbformat.read(NOTEBOOK, 4).cells if c.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [out for cell in cells for out in cell.outputs if out.output_type == "error"]


@pytest.mark.whole
def test_it_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTEBOOK_FOLDER", str(tmp_path / "notebook"))
    monkeypatch.setenv("NOTEBOOK_STEPS", "5")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")  # of the kernel's own packages
    notebook = nbformat.read(NOTEBOOK, 4)
    for old, new in SMALLER.items():
        (cell,) = (cell for cell in notebook.cells if old in cell.source)
        cell.source = cell.source.replace(old, new)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    written = sorted(path.name for path in (tmp_path / "notebook" / "out").glob("[!.]*"))
    assert "synthetic-test-0000_labels.tif" in written and len(written) == 3 * 3 + 2
    scores = notebook.cells[-1].outputs[-1]["data"]["text/plain"]
    assert scores.startswith("{'map': ")
