"""Notebooks run from top to bottom in a quick form; what readers see in them is the full one."""

import os
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
QUICK = {  # numbers that the notebooks set by name, small
    "01_quickstart": {"num_inputs": 10},
    "02_layerwise_isometry": {"num_inputs": 5},
    "03_dense_pruned_repaired": {"num_inputs": 5, "num_steps": 3},
    "04_convolutional_networks": {"num_inputs": 1},
    "05_your_own_model": {"num_inputs": 2},
    "06_theory_against_measurement": {"widths": (25, 50), "num_networks": 2},
    "07_the_paper": {"num_steps": 20},
}


def quickened(notebook, settings):
    """Return a copy of the notebook in which these names are set to these values, each of them once."""
    quick = nbformat.from_dict(notebook)
    cells = [cell for cell in quick.cells if cell.cell_type == "code"]
    for name, value in settings.items():
        changes = 0
        for cell in cells:
            cell.source, count = re.subn(rf"^{name} = .+$", f"{name} = {value!r}", cell.source, flags=re.MULTILINE)
            changes += count
        assert changes == 1, f"{name} is set {changes} times"
    return quick


@pytest.fixture(scope="module")
def client():
    """A kernel for all notebooks, as most of their time would go into importing torch."""
    client = nbclient.NotebookClient(nbformat.v4.new_notebook(), timeout=300)
    quiet = {"PYTHONWARNINGS": "ignore:IProgress not found"}  # of tqdm in Jupyter without ipywidgets
    with client.setup_kernel(env=os.environ | quiet):
        yield client


@pytest.mark.notebook
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the Jupyter client, which is not ours
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_from_top_to_bottom_without_a_warning(path, tmp_path, client):
    notebook = quickened(nbformat.read(path, as_version=4), QUICK[path.stem])
    notebook.cells.insert(0, nbformat.v4.new_code_cell(f"%reset -f\n%cd -q {tmp_path}"))  # no name of another one
    client.nb = notebook
    client.reset_execution_trackers()
    for index, cell in enumerate(notebook.cells):
        client.execute_cell(cell, index)
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output["text"]


def test_only_names_that_are_set_once_are_quickened():
    cells = [nbformat.v4.new_code_cell("num_steps = 100\nfor step in range(num_steps):\n    pass"),
             nbformat.v4.new_markdown_cell("num_steps = 100")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    quick = quickened(notebook, {"num_steps": 3})
    assert quick.cells[0].source == "num_steps = 3\nfor step in range(num_steps):\n    pass"
    assert quick.cells[1].source == notebook.cells[0].source.splitlines()[0] == "num_steps = 100"
    with pytest.raises(AssertionError, match="num_inputs is set 0 times"):
        quickened(notebook, {"num_inputs": 3})


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
