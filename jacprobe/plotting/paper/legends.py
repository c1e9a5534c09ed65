"""One legend below a figure: curves in rows, and under them how measured and published lines look."""

from __future__ import annotations

import math

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from jacprobe.plotting.artists.words import legend_text
from jacprobe.plotting.paper.frames import text_width
from jacprobe.plotting.paper.hues import Mark

MEASURED, PUBLISHED, BAND = "measured", "published", "± s.e."
_INK = "0.25"
_HANDLE, _POINT, _PAD, _GAP = 2.1, 0.9, 0.5, 1.2  # of the size of type


def curve_handle(mark: Mark, *, font: float) -> Line2D:
    """Return what a legend shows for a curve."""
    return Line2D([], [], color=mark.color, marker=mark.marker, linewidth=font / 6.2, markersize=font / 1.8)


def kind_handles(*, published: bool, band: bool, font: float, line: bool = True) -> dict[str, Artist]:
    """Return handles that say which marks are measured and which published, and what a band is."""
    lines = ("-", "--") if line else ("none", "none")
    size = {"color": _INK, "marker": "o", "linewidth": font / 7, "markersize": font / 1.9}
    found: dict[str, Artist] = {}
    if published:
        found[MEASURED] = Line2D([], [], linestyle=lines[0], **size)
        found[PUBLISHED] = Line2D([], [], linestyle=lines[1], **size, markerfacecolor="none")
    if band:
        found[BAND] = (Patch(color=_INK, alpha=0.25, linewidth=0) if line else
                       Line2D([], [], linestyle="none", marker="|", color=_INK, markersize=1.2 * font))
    return found


def legend_below(figure: Figure, curves: dict[str, Artist], kinds: dict[str, Artist], *, font: float) -> float:
    """Write one legend under the figure, curves first and kinds on a line of their own; return its height in inches."""
    entries, keys = [(legend_text(name), handle) for name, handle in curves.items()], list(kinds.items())
    handle = _HANDLE if any(isinstance(h, Patch) or h.get_linestyle() != "None" for h in curves.values()) else _POINT
    room = 72 * figure.get_figwidth() - font
    columns = _columns(entries, keys, font, handle, room)
    cells = _cells(entries, keys, columns)
    order = [cell for column in range(columns) for cell in cells[column::columns]]  # a legend fills column by column
    figure.legend([handle for _, handle in order], [label for label, _ in order], loc="outside lower center",
                  frameon=False, fontsize=font, ncols=columns, handlelength=handle, handletextpad=_PAD,
                  columnspacing=_GAP, borderaxespad=0.4, labelspacing=0.35)
    return (1.45 * math.ceil(len(cells) / columns) + 1) * font / 72


def _columns(entries: list[tuple[str, Artist]], keys: list[tuple[str, Artist]], font: float, handle: float,
             room: float) -> int:
    """Return how many columns fit, and no more than make rows of entries as equal as can be: 3 + 2, not 4 + 1."""
    most = len(entries) + len(keys)
    fitting = [n for n in range(1, most + 1) if _width(_cells(entries, keys, n), n, font, handle) <= room] or [1]
    columns = max(fitting)
    if not entries or columns >= len(entries):
        return columns
    equal = max(math.ceil(len(entries) / math.ceil(len(entries) / columns)), min(len(keys), columns))
    return equal if equal in fitting else columns


def _cells(entries: list[tuple[str, Artist]], keys: list[tuple[str, Artist]], columns: int) -> list[tuple[str, Artist]]:
    """Return what a legend holds row by row, with blanks so that the keys start a row unless all stands in one."""
    one_row = len(entries) + len(keys) <= columns
    blanks = 0 if one_row or not keys else -len(entries) % columns
    return [*entries, *[("", Line2D([], [], linestyle="none"))] * blanks, *keys]


def _width(cells: list[tuple[str, Artist]], columns: int, font: float, handle: float) -> float:
    """Return the width of a legend in points."""
    texts = [max(text_width(label, font) for label, _ in cells[column::columns]) for column in range(columns)]
    return sum(texts) + columns * (handle + _PAD + _GAP) * font
