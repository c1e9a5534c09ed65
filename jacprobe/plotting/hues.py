"""Colours, markers and names by which sets are told apart, and legends that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import seaborn
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import is_color_like
from matplotlib.figure import Figure

from jacprobe.errors import ArgumentError
from jacprobe.results import Spectrum

PALETTE = seaborn.color_palette("colorblind")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">")  # so that a grey print tells sets apart
MOST_SETS = len(MARKERS)


def colors_of(num_sets: int, palette: Sequence[object] | None, name: str) -> list[object]:
    """Return a colour per set of the argument called `name`: those given, or the colour-blind safe ones."""
    if num_sets > MOST_SETS:
        raise ArgumentError(f"`{name}` must hold at most {MOST_SETS} sets; got {num_sets}. Plot fewer at once.")
    if palette is None:
        return list(PALETTE[:num_sets])
    colors = [palette] if isinstance(palette, str) else list(palette)
    wrong = [color for color in colors if not is_color_like(color)]
    if wrong or len(colors) < num_sets:
        got = repr(wrong[0]) if wrong else f"{len(colors)}"
        raise ArgumentError(f"`palette` must hold {num_sets} matplotlib colors; got {got}. Leave it out.")
    return colors[:num_sets]


def legend_text(name: object) -> str:
    """Return `name` as a legend shows it literally: no formula, and not hidden by a leading underscore.

    Examples
    --------
    >>> legend_text("_a$b$")
    ' _a\\\\$b\\\\$'
    """
    text = str(name)
    return (f" {text}" if text.startswith("_") else text).replace("$", r"\$")


def estimate_text(spectra: Iterable[Spectrum]) -> str:
    """Return "estimated" with the steps, probes and seeds of those spectra that are.

    Examples
    --------
    >>> estimate_text([])
    'estimated'
    """
    found = [(getattr(part, "num_steps", None), part.num_probes, part.seed)
             for s in spectra for part in (s.density, s.moments) if part is not None]
    facts = [f"{word} {_span(column)}" for word, column in zip(("k", "n_v", "seed"), zip(*found, strict=True),
                                                              strict=False) if any(v is not None for v in column)]
    return f"estimated ({', '.join(facts)})" if facts else "estimated"


def _span(values: Sequence[int | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{min(known)}" if min(known) == max(known) else f"{min(known)}–{max(known)}"


def finished(
    figure: Figure, axes: Sequence[Axes], *, font: float, title: str | None, first: Iterable[str] = ()
) -> Figure:
    """Return the figure with one legend for all `axes` below and its title above."""
    _legend_below(figure, axes, font=font, first=first)
    if title is not None:
        figure.suptitle(title, fontsize=1.15 * font, parse_math=False)
    return figure


def _legend_below(figure: Figure, axes: Sequence[Axes], *, font: float, first: Iterable[str]) -> None:
    """Write one legend under the figure, every label of `axes` once, those of `first` before the others."""
    found: dict[str, Artist] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if not found:
        return
    order = [label for label in map(legend_text, first) if label in found]
    found = {label: found[label] for label in [*order, *found]}
    room = 72 * figure.get_figwidth()
    widest = max(len(label) for label in found) * 0.55 * font + 3.5 * font
    figure.legend(list(found.values()), list(found), loc="outside lower center", frameon=False, fontsize=font,
                  ncols=max(1, min(len(found), int(room / widest), 6)), handlelength=1.6, handletextpad=0.5,
                  columnspacing=1.4)
