"""The scree curve of one segment: its singular values from the largest to the smallest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from jacprobe.plotting.bands import (
    HATCH,
    draw_isometry_band,
    name_labels,
    name_set,
    name_spread,
    say_missing,
    style_of,
    view_limits,
)
from jacprobe.plotting.distribution import Distribution
from jacprobe.plotting.gauge import draw_gauge
from jacprobe.plotting.layers import check_epsilon
from jacprobe.plotting.panels import common_limits, panel_figure
from jacprobe.plotting.segments import (
    ManySpectra,
    OneSpectrum,
    Panel,
    check_panels,
    check_spectra,
    colors_of,
    sets_of,
)
from jacprobe.plotting.style import Sizes, axes_of, value_ticks
from jacprobe.results import Spectrum

_PLACES = 2001  # at which the band of an estimate is inverted
_DEEPEST = 1e-4  # of its largest value: so far down an estimate says something of single values


def draw_scree(
    spectra: OneSpectrum,
    *,
    ax: Axes | None = None,
    log: bool = True,
    epsilon: float = 0.1,
    color: object = None,
    label: str | None = None,
    **line: object,
) -> Axes:
    """Draw the singular values of one segment in decreasing order, and return the Axes.

    The line is the median over inputs of the k-th largest value, and a pale band holds those of all inputs. On a
    logarithmic axis it ends where the values reach the floor; the bar at the right has the share of structural zeros
    and, pale, of others under the floor. Of an estimate there are the quantiles of its distribution, dotted, in a
    hatched band that holds the true ones of all inputs together with 99 % probability; of bounds what they leave,
    dashed. The shaded band is 1 ± `epsilon`.

    Parameters
    ----------
    spectra
        One Spectrum, or at most ten by name, drawn over each other.
    ax
        Where to draw; a new figure without pyplot if None.
    log
        Whether the values are on a logarithmic axis.
    epsilon
        Half-width of the shaded band around 1.
    color, label
        Of a single spectrum; the label is what ``ax.legend()`` shows.
    **line
        Forwarded to ``Axes.plot``.

    Raises
    ------
    DtypeError, ArgumentError, NonFiniteError
        `spectra` are no such values, empty or not finite, or an option is outside its domain.

    See Also
    --------
    scree_data : the numbers that are drawn.

    Examples
    --------
    >>> import torch
    >>> values = torch.tensor([[3.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 4, 4, 1, values=values, zeros=torch.tensor([1]), floor=1e-15)
    >>> ax = draw_scree(layer, log=False, label="fc1")
    >>> [line.get_ydata().tolist() for line in ax.lines if line.get_label() == "fc1"]
    [[3.0, 2.0, 1.0, 0.0]]
    """
    named = check_spectra(spectra, "spectra")
    panel = Panel("", next(iter(named.values())).segment, named)
    epsilon = check_epsilon(epsilon, {})
    colors, ax = colors_of([panel], color), axes_of(ax)
    _draw(ax, panel, limits=_limits(panel, epsilon, log=log), log=log, epsilon=epsilon, colors=colors, line=line,
          label=label)
    return ax


def plot_scree(
    results: ManySpectra,
    *,
    log: bool = True,
    epsilon: float | None = None,
    segments: Sequence[str] | None = None,
    share: bool = True,
    width: float | None = None,
    height: float | None = None,
    title: str | None = None,
) -> Figure:
    """Return a figure with a panel per segment of its singular values in decreasing order.

    ``draw_scree`` says what is drawn.

    Parameters
    ----------
    results, epsilon, segments, width, height, title
        As for ``plot_spectrum``.
    log
        As for ``draw_scree``.
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
    epsilon = check_epsilon(epsilon, sets_of(results))
    colors = colors_of(panels)
    limits = iter(common_limits([_limits(panel, epsilon, log=log) for panel in panels], shared=share))

    def draw(ax: Axes, panel: Panel) -> str:
        _draw(ax, panel, limits=next(limits), log=log, epsilon=epsilon, colors=colors)
        return ""

    return panel_figure(panels, draw, width=width, height=height, title=title)


def scree_data(results: ManySpectra, *, segments: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the curves that ``draw_scree`` and ``plot_scree`` draw.

    Parameters
    ----------
    results
        One Spectrum or SpectrumSet, or several by name.
    segments
        Which segments; all by default.

    Returns
    -------
    DataFrame
        One row per set, segment and rank. Columns: set, segment, label, rank (1 is the largest), value (median over
        inputs; of an estimate the quantile (rank - 1/2) / dim from above, NaN below its smallest node; NaN where there
        are only bounds), least and most (over the inputs; of an estimate a band that holds with 99 % probability; of
        bounds what they leave). Structural zeros and values under the floor are among them, as they are.

    Raises
    ------
    DtypeError, ArgumentError, NonFiniteError
        `results` are no such values, empty or not finite; a segment is unknown.
    """
    panels = check_panels(results, "results", segments)
    rows = [_curve(name, spectrum) for panel in panels for name, spectrum in panel.spectra.items()]
    return pd.concat(rows, ignore_index=True)


def _curve(name: str, spectrum: Spectrum) -> pd.DataFrame:
    """Return the rows of one spectrum, of the set `name`, in ``scree_data``."""
    distribution = Distribution(spectrum)
    value = least = most = np.empty(0)
    if distribution.is_exact:
        values = spectrum.values.numpy()
        value, least, most = np.median(values, 0), values.min(0), values.max(0)
    elif distribution.is_estimated:
        value, least, most = _quantiles(distribution)
    elif distribution.is_bounded:
        least, most = _confined(spectrum)
        value = np.full(least.shape, np.nan)
    return pd.DataFrame({"set": name, "segment": spectrum.segment, "label": spectrum.label,
                         "rank": np.arange(1, value.size + 1), "value": value, "least": least, "most": most})


def _quantiles(distribution: Distribution) -> tuple[NDArray, NDArray, NDArray]:
    """Return the quantiles of an estimate at each rank, and those of both ends of its band."""
    density = distribution.spectrum.density
    shares = 1 - (np.arange(density.dim) + 0.5) / density.dim
    value = np.array([density.quantile(float(share)) for share in shares])
    known = max(distribution.resolution, _DEEPEST * density.maximum)
    x = np.concatenate([[0.0], np.geomspace(known, max(1.05 * density.maximum, 2 * known), _PLACES)]) \
        if density.maximum else np.zeros(1)
    least, most = distribution.band(x)
    highest = x[np.minimum(np.searchsorted(least, shares), x.size - 1)]
    lowest = x[np.maximum(np.searchsorted(most, shares) - 1, 0)]  # where it is reached lies above the place before
    return value, np.minimum(lowest, value), np.maximum(highest, value)


def _confined(spectrum: Spectrum) -> tuple[NDArray, NDArray]:
    """Return the least and the largest end of the intervals at each rank, over inputs."""
    known = spectrum.intervals()
    least, most = np.zeros(known.dim), np.zeros(known.dim)
    count = known.lower.shape[1]
    least[:count], most[:count] = known.lower.amin(0).numpy(), known.upper.amax(0).numpy()
    for last, rest in zip(known.upper[:, -1].tolist(), known.rest.tolist(), strict=True):
        most[count:count + rest] = np.maximum(most[count:count + rest], last)
    return least, most


def _limits(panel: Panel, epsilon: float, *, log: bool) -> tuple[float, float]:
    """Return the ends of the axis of values: all that are above the floor lie within."""
    ends = []
    for spectrum in panel.spectra.values():
        distribution = Distribution(spectrum)
        values = distribution.points[0]
        if values.size:
            ends.append((values[0], values[-1]))
        elif distribution.is_bounded:
            least, most = _confined(spectrum)
            high = float(most.max()) or 1.0
            ends.append((min(least[least > 0].min(initial=high), 0.1 * high), high))
    low, high = (min(low for low, _ in ends), max(high for _, high in ends)) if ends else (0.5, 1.5)
    return view_limits(low if log else 0.0, high, epsilon, log=log)


def _draw(
    ax: Axes,
    panel: Panel,
    *,
    limits: tuple[float, float],
    log: bool,
    epsilon: float,
    colors: Mapping[str, object],
    line: Mapping[str, object] | None = None,
    label: str | None = None,
) -> None:
    """Draw all curves of a panel on `ax`."""
    found = {name: Distribution(spectrum) for name, spectrum in panel.spectra.items()}
    sizes = Sizes.of(ax, 1, 1)
    ax.set_yscale("log" if log else "linear")
    draw_isometry_band(ax, epsilon, along="y", log=log)
    longest = 1
    for name, spectrum in panel.spectra.items():
        table, distribution, color = _curve(name, spectrum), found[name], colors[name]
        longest = max(longest, spectrum.dim or 1)
        shown = table["value"].where(table["value"] > (distribution.resolution if log else -1))
        if len(table) and (spectrum.num_inputs > 1 or not distribution.is_exact):
            least = np.maximum(table["least"], 0.1 * limits[0]) if log else table["least"]
            ax.fill_between(table["rank"], least, table["most"], where=table["most"] >= least, step="mid", zorder=1.8,
                            facecolor=to_rgba(color, 0.2), edgecolor=to_rgba(color, 0.5), linewidth=0.5,
                            linestyle="--" if distribution.is_bounded else "-", label=f"_band {name}",
                            hatch=HATCH if distribution.is_estimated else None)
        style = {"color": color, "linewidth": 1.4, "linestyle": style_of(distribution), "zorder": 2.5,
                 "drawstyle": "steps-mid", "label": name_set(name) if label is None else label}
        if shown.notna().sum() == 1:  # a line of one point would not be seen
            style |= {"marker": "o", "markersize": 4}
        ax.plot(table["rank"], shown, **style | dict(line or {}))
    ax.set(xlim=(0.5, longest + 0.5), ylim=limits)
    ax.set_xlabel("rank, from the largest", fontsize=sizes.font)
    ax.set_ylabel("singular value", fontsize=sizes.font)
    value_ticks(ax, log=log, font=sizes.font)
    value_ticks(ax, log=False, font=sizes.font, along="x")
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    name_spread(ax, found)
    name_labels(ax, found)
    say_missing(ax, found, sizes)
    draw_gauge(ax, found, colors, sizes)
