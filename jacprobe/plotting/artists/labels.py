"""How a figure tells apart what is exact, bounded, estimated or not known, and what it says of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes

from jacprobe.plotting.artists.hues import INK
from jacprobe.results import Spectrum

HATCH = "//////"  # of what is estimated
ESTIMATED, BOUNDED = ":", "--"  # line styles


def estimate_text(spectra: Iterable[Spectrum], kind: str = "estimated") -> str:
    """Return `kind` with the steps, probes and seeds of those spectra that are estimated.

    Examples
    --------
    >>> estimate_text([])
    'estimated'
    """
    found = [(getattr(part, "num_steps", None), part.num_probes, part.seed)
             for s in spectra for part in (s.density, s.moments) if part is not None]
    columns = zip(*found, strict=True) if found else ()
    facts = [f"{word} {_span(column)}" for word, column in zip(("k", "n_v", "seed"), columns, strict=False)
             if any(value is not None for value in column)]
    return f"{kind} ({', '.join(facts)})" if facts else kind


def _span(values: Sequence[int | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{min(known)}" if min(known) == max(known) else f"{min(known)}–{max(known)}"


def name_labels(ax: Axes, *, estimated: str = "", bounded: str = "") -> None:
    """Give the legend an entry for what is hatched, and one for what stands in a dashed frame, if there is any."""
    square = {"marker": "s", "s": 60, "edgecolor": INK, "linewidth": 0.5}
    if estimated:
        ax.scatter([], [], facecolor="0.85", hatch=HATCH, label=estimated, **square)
    if bounded:
        ax.scatter([], [], facecolor="none", linestyle=BOUNDED, label=bounded, **square)


def missing_word(spectrum: Spectrum) -> str:
    """Say why there is nothing to draw of this spectrum."""
    if not spectrum.is_known:
        return "no spectrum"
    if not (spectrum.is_complete or spectrum.density is not None):
        return "moments only"
    return "all zero" if spectrum.num_zeros == spectrum.num_inputs * spectrum.dim else "under floor"
