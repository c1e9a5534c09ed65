"""Colours and markers by which the paper tells its curves apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from matplotlib.colors import is_color_like

from jacprobe.errors import ArgumentError

CYCLE = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")


@dataclass(frozen=True)
class Mark:
    """Colour and marker of a curve, and the marker that shows as an outline."""

    color: object
    marker: str
    hollow: str


def _mark(index: int, marker: str, hollow: str = "") -> Mark:
    return Mark(CYCLE[index], marker, hollow or marker)


# The first seven have their colours, and the first five their markers, from Fig. 2.
CURVES = {
    "LDI-Rand": _mark(0, "o"),
    "LDI-Rand-AI": _mark(1, "^"),
    "VS-CS": _mark(2, "x", "X"),  # a plain cross has no face to be left empty
    "LDI-CS": _mark(3, "p"),
    "LDI-CS-AI": _mark(4, "d"),
    "LDI-Mag": _mark(5, "s"),
    "LDI-Dense": _mark(6, "v"),
    "LDI-CS-AIF": _mark(4, "d"),  # the same repair as LDI-CS-AI, by its full name
    "LDI-CS-AIS": _mark(9, "P"),
    "Reference": _mark(4, "o"),  # of Fig. 3; Table 6 calls it the base
    "Base": _mark(4, "o"),
    "Equivalent 1": _mark(3, "^"),
    "Equivalent 2": _mark(2, "D"),
    "Equivalent 3": _mark(0, "s"),
}
_OTHERS = (_mark(7, "<"), _mark(8, ">"), _mark(9, "h"), _mark(0, "D"), _mark(1, "*"), _mark(2, "8"), _mark(3, "H"),
           _mark(5, "P"), _mark(6, "X"), _mark(7, "s"))


def marks_of(curves: Iterable[str], palette: Mapping[str, object] | None) -> dict[str, Mark]:
    """Return the marks of curves: the paper's curves in its order, then the others as they come.

    Examples
    --------
    >>> list(marks_of(["mine", "LDI-CS", "LDI-Rand"], None))
    ['LDI-Rand', 'LDI-CS', 'mine']
    """
    wanted = list(dict.fromkeys(curves))
    known, others = [name for name in CURVES if name in wanted], [name for name in wanted if name not in CURVES]
    if len(others) > len(_OTHERS):
        raise ArgumentError(f"`measured` must hold at most {len(_OTHERS)} curves that are not in the paper; got "
                            f"{len(others)}. Plot fewer at once.")
    marks = {name: CURVES[name] for name in known} | dict(zip(others, _OTHERS, strict=False))
    for name, color in (palette or {}).items():
        if not is_color_like(color):
            raise ArgumentError(f"`palette` must hold matplotlib colors; got {color!r} for {name!r}. Leave it out.")
        if name in marks:
            marks[name] = Mark(color, marks[name].marker, marks[name].hollow)
    return marks
