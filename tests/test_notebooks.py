from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.notebook
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the Jupyter client, which is not ours
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_from_top_to_bottom_without_a_warning(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "ignore:IProgress not found")  # of tqdm in Jupyter without ipywidgets
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output["text"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_keeps_its_outputs_for_readers(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in cells)
    assert not any(output.get("name") == "stderr" for cell in cells for output in cell.outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_begins_with_a_question_and_ends_with_the_answer_and_a_picture(path):
    cells = nbformat.read(path, as_version=4).cells
    assert "?" in cells[0].source
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    assert texts[-1].startswith("**Answer.**")
    pictures = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs
                if "image/png" in output.get("data", {})]
    assert pictures


def test_the_notebook_on_own_models_keeps_the_results_of_packages_that_are_optional():
    (path,) = [path for path in NOTEBOOKS if path.stem == "05_your_own_model"]
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    printed = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    assert "model.h.2.attn" in printed
    assert "stages.3.blocks.0" in printed
    assert "This part needs" not in printed
