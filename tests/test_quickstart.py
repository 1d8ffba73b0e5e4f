"""The notebook of the documentation runs from top to bottom."""

from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs" / "quickstart.ipynb"


def test_is_small_and_has_pictures():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert NOTEBOOK.stat().st_size < 200_000
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) == 2
    assert not any(output.output_type == "error" for output in outputs)


@pytest.mark.slow
def test_runs(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()  # raises what a cell raises
    assert (tmp_path / "tuned.onnx").is_file() and (tmp_path / "tuned.tflite").is_file()
    text = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    assert text.count("->") == 6 and "ONNX: largest difference" in text
