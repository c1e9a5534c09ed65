"""The spread of one segment's singular values over inputs, the worst input first and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from jacprobe.plotting.arguments import check_epsilon
from jacprobe.plotting.artists.figures import axes_of
from jacprobe.plotting.artists.isometry import draw_isometry_band
from jacprobe.plotting.artists.labels import BOUNDED, HATCH
from jacprobe.plotting.artists.sizes import Sizes
from jacprobe.plotting.artists.ticks import value_ticks
from jacprobe.plotting.artists.words import elide, plain_number
from jacprobe.plotting.spectra.bands import finish_panel, view_limits
from jacprobe.plotting.spectra.distribution import Distribution
from jacprobe.plotting.spectra.inputsdata import CRITERIA, check_criterion, inputs_table
from jacprobe.plotting.spectra.panels import Look, common_limits, panel_figure
from jacprobe.plotting.spectra.segments import ManySpectra, OneSpectrum, Panel, check_panels, one_panel, sets_of
from jacprobe.plotting.spectra.spectrumdata import is_log

_NAMED = 10  # inputs up to which each has its index below it
_MOST_WORST = 3  # sets whose worst input is named, a line each


def draw_inputs(
    spectra: OneSpectrum,
    *,
    ax: Axes | None = None,
    worst: str = "deviation",
    log: bool | None = None,
    epsilon: float = 0.1,
    color: object = None,
    label: str | None = None,
    **line: object,
) -> Axes:
    """Draw how the singular values of one segment differ between inputs, and return the Axes.

    Inputs stand side by side, the worst at the left, which is named above. Of each there are the range of the values
    above the floor (pale), the middle half of them, and their median. Estimates are hatched; of bounds there is the
    range, dashed. Several spectra are each in their own order; at most three, the worst, are named.

    Parameters
    ----------
    spectra
        One Spectrum, or at most ten by name, drawn over each other.
    ax
        Where to draw; a new figure without pyplot if None.
    worst
        By what inputs are sorted: "deviation" (the root mean square of value - 1), "cond", "max", "std", "min", "ldi".
    log
        Whether the values are on a logarithmic axis; by default where they spread over more than two decades.
    epsilon
        Half-width of the shaded band around 1.
    color, label
        Of a single spectrum; the label is what ``ax.legend()`` shows.
    **line
        Of the medians, forwarded to ``Axes.stairs``.

    Raises
    ------
    DtypeError, ArgumentError, NonFiniteError
        `spectra` are no such values, empty or not finite, or an option is outside its domain.

    See Also
    --------
    inputs_data : the numbers that are drawn.

    Examples
    --------
    >>> import torch
    >>> from jacprobe.results import Spectrum
    >>> values = torch.tensor([[1.0, 1.0], [3.0, 1.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 2, 2, 2, values=values, floor=1e-15)
    >>> draw_inputs(layer).get_title(loc="right")
    'worst: input 1, deviation 1.41'
    """
    panel = one_panel(spectra)
    check_criterion(worst)
    epsilon = check_epsilon(epsilon, {})
    look = Look.of([panel], log=is_log([panel], log), epsilon=epsilon, color=color, label=label, shape=line)
    ax = axes_of(ax)
    tables = _tables(panel, worst, look.epsilon)
    text = _worst(tables, worst)
    _draw(ax, panel, look, tables, _limits(tables, look), is_sorted=bool(text))
    ax.set_title(text, loc="right", fontsize=ax.xaxis.label.get_fontsize(), pad=3, parse_math=False)
    return ax


def plot_inputs(
    results: ManySpectra,
    *,
    worst: str = "deviation",
    log: bool | None = None,
    epsilon: float | None = None,
    segments: Sequence[str] | None = None,
    share: bool = True,
    width: float | None = None,
    height: float | None = None,
    title: str | None = None,
) -> Figure:
    """Return a figure with a panel per segment of how its singular values differ between inputs.

    ``draw_inputs`` says what is drawn.

    Parameters
    ----------
    results, epsilon, segments, width, height, title
        As for ``plot_spectrum``.
    worst, log
        As for ``draw_inputs``; a logarithmic axis is one for all panels.
    share
        Whether the axis of values is the same in all panels.

    Returns
    -------
    Figure
        Not known to pyplot, so that nothing must be closed; Jupyter shows it as the value of a cell.

    Raises
    ------
    DtypeError, ArgumentError, NonFiniteError
        As ``plot_spectrum``.
    """
    panels = check_panels(results, "results", segments)
    check_criterion(worst)
    look = Look.of(panels, log=is_log(panels, log), epsilon=check_epsilon(epsilon, sets_of(results)))
    found = [_tables(panel, worst, look.epsilon) for panel in panels]
    limits = common_limits([_limits(tables, look) for tables in found], shared=share)
    plans = iter(zip(found, limits, strict=True))

    def draw(ax: Axes, panel: Panel) -> str:
        tables, ends = next(plans)
        text = _worst(tables, worst)
        _draw(ax, panel, look, tables, ends, is_sorted=bool(text))
        return text

    return panel_figure(panels, draw, width=width, height=height, title=title)


def _tables(panel: Panel, worst: str, epsilon: float) -> dict[str, pd.DataFrame]:
    return {name: inputs_table(name, spectrum, worst, epsilon) for name, spectrum in panel.spectra.items()}


def _worst(tables: Mapping[str, pd.DataFrame], worst: str) -> str:
    """Name the worst input and its number; of several sets a line each, and of many those that are worst."""
    firsts = {name: table.iloc[0] for name, table in tables.items()
              if len(table) and not np.isnan(table[worst].iloc[0])}
    if not firsts:
        return ""
    numbers = {name: plain_number(float(f"{first[worst]:.3g}")) for name, first in firsts.items()}
    if len(tables) == 1:
        return "".join(f"worst: input {first['input']}, {worst} {numbers[name]}" for name, first in firsts.items())
    named = sorted(firsts, key=lambda name: firsts[name][worst], reverse=CRITERIA[worst])[:_MOST_WORST]
    head = f"worst {worst}" + (f", {len(named)} of {len(firsts)} sets" if len(named) < len(firsts) else "")
    return "\n".join([head, *(f"{elide(name)}: input {firsts[name]['input']}, {numbers[name]}"
                              for name in firsts if name in named)])


def _limits(tables: Mapping[str, pd.DataFrame], look: Look) -> tuple[float, float]:
    both = pd.concat([table[["min", "max", "low", "high"]].astype(float) for table in tables.values()])
    high = float(np.nanmax([both["max"].max(), both["high"].max(), 0.0])) or 1.5
    lows = both[["min", "low"]].to_numpy().ravel()
    low = float(lows[lows > 0].min(initial=high))
    if (both["low"] == 0).any():
        low = min(low, high / 100)
    return view_limits(low if look.log else 0.0, high, look.epsilon, log=look.log)


def _draw(ax: Axes, panel: Panel, look: Look, tables: Mapping[str, pd.DataFrame], limits: tuple[float, float], *,
          is_sorted: bool) -> None:
    """Draw the inputs of all spectra of a panel on `ax`."""
    found = {name: Distribution(spectrum) for name, spectrum in panel.spectra.items()}
    sizes = Sizes.of(ax)
    ax.set_yscale("log" if look.log else "linear")
    draw_isometry_band(ax, look.epsilon, along="y", log=look.log)
    for name, table in tables.items():
        color = look.colors[name]
        if found[name].is_bounded:
            _fill(ax, table["low"], table["high"], limits, facecolor=to_rgba(color, 0.15), edgecolor=color,
                  linestyle=BOUNDED, linewidth=0.8, label=f"_bounds {name}")
        else:
            _fill(ax, table["min"], table["max"], limits, facecolor=to_rgba(color, 0.15), linewidth=0.4,
                  edgecolor=to_rgba(color, 0.5), label=f"_range {name}",
                  hatch=HATCH if found[name].is_estimated else None)
            _fill(ax, table["q25"], table["q75"], limits, facecolor=to_rgba(color, 0.4), linewidth=0,
                  label=f"_middle half {name}")
        line = {"baseline": None, "color": color, "linewidth": 1.4, "zorder": 2.5, "label": look.text(name)}
        medians = table["median"].to_numpy(dtype=float)
        ax.stairs(medians if medians.size else [np.nan], **line | look.shape)
    num_inputs = max([len(table) for table in tables.values()] + [1])
    ax.set(xlim=(0, num_inputs), ylim=limits)
    ax.set_xlabel(_count(num_inputs) + ", the worst first" * (is_sorted and num_inputs > 1), fontsize=sizes.font)
    ax.set_ylabel("singular value", fontsize=sizes.font)
    value_ticks(ax, log=look.log, font=sizes.font)
    ax.set_xticks([])
    if num_inputs <= _NAMED and len(tables) == 1:
        (table,) = tables.values()
        ax.set_xticks(np.arange(len(table)) + 0.5, table["input"].astype(str), fontsize=sizes.font)
    finish_panel(ax, found, look, sizes)


def _count(num_inputs: int) -> str:
    return "1 input" if num_inputs == 1 else f"{num_inputs} inputs"


def _fill(ax: Axes, low: pd.Series, high: pd.Series, limits: tuple[float, float], **style: object) -> None:
    """Fill between two values of each input, down to beyond the axis where one is zero."""
    if len(low):
        least = np.maximum(low.to_numpy(dtype=float), 0.1 * limits[0])
        ax.stairs(high.to_numpy(dtype=float), baseline=least, fill=True, zorder=1.8, **style)
