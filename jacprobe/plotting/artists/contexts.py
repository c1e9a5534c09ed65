"""Looks for a purpose: a column of a paper, a notebook, a slide."""

from __future__ import annotations

from contextlib import AbstractContextManager

import matplotlib

from jacprobe.errors import UnknownNameError

_EMBEDDED = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}  # TrueType, which publishers ask for
STYLES = {
    "paper": {"figure.figsize": (3.3, 2.3), "figure.dpi": 300, "font.size": 8, "axes.linewidth": 0.6,
              "lines.linewidth": 1.0, "lines.markersize": 3, **_EMBEDDED},
    "notebook": {"figure.figsize": (7.0, 4.0), "figure.dpi": 110, "font.size": 10, "axes.linewidth": 0.8,
                 "lines.linewidth": 1.4, "lines.markersize": 4.5},
    "slide": {"figure.figsize": (10.0, 5.2), "figure.dpi": 150, "font.size": 16, "axes.linewidth": 1.0,
              "lines.linewidth": 2.2, "lines.markersize": 7},
}


def style(name: str) -> AbstractContextManager[None]:
    """Return a context in which figures have the size, the type and the lines that a purpose wants.

    Parameters
    ----------
    name
        "paper" for a column of 84 mm, "notebook", or "slide".

    Returns
    -------
    Context manager
        It sets matplotlib's own parameters and puts back what was there. Figures made in it keep their look behind it;
        save PDF files inside, so that their fonts are embedded as TrueType.

    Raises
    ------
    UnknownNameError
        There is no such style.

    Examples
    --------
    >>> import torch
    >>> from jacprobe.plotting import plot_depth
    >>> from jacprobe.results import Spectrum, SpectrumSet
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 2, 2, 1, values=torch.tensor([[2.0, 1.0]]).double(), floor=0.0)
    >>> with style("paper"):
    ...     figure = plot_depth(SpectrumSet((layer,)))
    >>> float(figure.get_figwidth())
    3.3
    """
    if name not in STYLES:
        raise UnknownNameError("name", name, STYLES)
    return matplotlib.rc_context(STYLES[name])
