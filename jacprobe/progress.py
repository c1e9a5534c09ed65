"""Progress bars: on a terminal, and as a widget in a notebook where ipywidgets is installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable

import tqdm


def progress_bar(iterable: Iterable | None = None, *, progress: bool | None, **settings: object) -> tqdm.tqdm:
    """Return a bar of tqdm, which is shown if `progress` is True, or None and someone can see it move.

    ``tqdm.auto`` would warn in notebooks without ipywidgets, and hides its widget where stdout is no terminal, as in
    every notebook.

    Examples
    --------
    >>> list(progress_bar([1, 2], progress=False, desc="count"))
    [1, 2]
    """
    if shows_widgets():
        from tqdm.notebook import tqdm as widget

        return widget(iterable, disable=progress is False, **settings)
    return tqdm.tqdm(iterable, disable=None if progress is None else not progress, **settings)


def shows_widgets() -> bool:
    """Whether this runs in a kernel of Jupyter and ipywidgets is installed."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel") and importlib.util.find_spec("ipywidgets") is not None
