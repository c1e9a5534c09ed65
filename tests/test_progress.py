"""Bars are widgets where a notebook can show them, and text on a terminal, never a warning."""

import importlib.util
import sys
import types

import pytest
import tqdm

from jacprobe.progress import progress_bar, shows_widgets


@pytest.fixture
def notebook(monkeypatch):
    """A kernel of Jupyter; give it whether ipywidgets is installed."""

    def made(has_widgets):
        shell = types.SimpleNamespace(kernel=object())
        monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: "there" if has_widgets else None)
        widget = types.SimpleNamespace(tqdm=lambda iterable, **settings: ("widget", iterable, settings))
        monkeypatch.setitem(sys.modules, "tqdm.notebook", widget)

    return made


@pytest.mark.parametrize(("progress", "hidden"), [(None, False), (True, False), (False, True)])
def test_a_notebook_with_ipywidgets_shows_a_widget(notebook, progress, hidden):
    notebook(True)
    assert progress_bar([1], progress=progress, desc="x") == ("widget", [1], {"disable": hidden, "desc": "x"})


def test_a_notebook_without_ipywidgets_has_plain_text_and_no_warning(notebook, capsys):
    notebook(False)
    with progress_bar(range(2), progress=True, desc="counting") as bar:
        assert type(bar) is tqdm.tqdm and list(bar) == [0, 1]
    assert "counting" in capsys.readouterr().err


def test_nothing_is_shown_where_stderr_is_no_terminal(capsys):
    assert not shows_widgets()
    assert list(progress_bar(range(3), progress=None, desc="counting")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
