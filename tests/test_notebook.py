"""The notebook runs from top to bottom, and shows progress and results as a notebook does."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.run import ROOT

NOTEBOOK = ROOT / "docs" / "first-study.ipynb"


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pages = ["".join(output["data"].get("text/html", "")) for output in outputs if "data" in output]
    bars = [page for page in pages if "<progress" in page]
    assert any("embed random:hubert-tiny" in bar and 'value="1.000"' in bar for bar in bars)
    assert any("classify" in bar or "trials" in bar for bar in bars)
    assert any("UAR 0." in page and "<table>" in page for page in pages)  # the study
    assert any('class="dataframe"' in page for page in pages)  # its layers
    assert (tmp_path / "runs" / "first" / "bundle" / "bundle.json").is_file()


def test_it_is_stored_without_outputs():
    """Outputs would be out of date, and differ on each machine."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
