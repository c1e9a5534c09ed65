"""The scree curve of one segment: its singular values from the largest to the smallest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from jacprobe.plotting.arguments import check_epsilon
from jacprobe.plotting.artists.figures import axes_of
from jacprobe.plotting.artists.isometry import draw_isometry_band
from jacprobe.plotting.artists.sizes import Sizes
from jacprobe.plotting.artists.ticks import value_ticks
from jacprobe.plotting.spectra.bands import draw_band, finish_panel, line_of, view_limits
from jacprobe.plotting.spectra.distribution import Distribution
from jacprobe.plotting.spectra.panels import Look, common_limits, panel_figure
from jacprobe.plotting.spectra.segments import ManySpectra, OneSpectrum, Panel, check_panels, one_panel, sets_of
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
    panel = one_panel(spectra)
    look = Look.of([panel], log=log, epsilon=check_epsilon(epsilon, {}), color=color, label=label, shape=line)
    ax = axes_of(ax)
    _draw(ax, panel, look, _limits(panel, look))
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
    look = Look.of(panels, log=log, epsilon=check_epsilon(epsilon, sets_of(results)))
    limits = iter(common_limits([_limits(panel, look) for panel in panels], shared=share))

    def draw(ax: Axes, panel: Panel) -> str:
        _draw(ax, panel, look, next(limits))
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


def _limits(panel: Panel, look: Look) -> tuple[float, float]:
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
    return view_limits(low if look.log else 0.0, high, look.epsilon, log=look.log)


def _draw(ax: Axes, panel: Panel, look: Look, limits: tuple[float, float]) -> None:
    """Draw all curves of a panel on `ax`."""
    found = {name: Distribution(spectrum) for name, spectrum in panel.spectra.items()}
    sizes = Sizes.of(ax)
    ax.set_yscale("log" if look.log else "linear")
    draw_isometry_band(ax, look.epsilon, along="y", log=look.log)
    longest = 1
    for name, spectrum in panel.spectra.items():
        table, distribution = _curve(name, spectrum), found[name]
        longest = max(longest, spectrum.dim or 1)
        shown = table["value"].where(table["value"] > (distribution.resolution if look.log else -1))
        if len(table) and (spectrum.num_inputs > 1 or not distribution.is_exact):
            if look.log:
                table["least"] = table["least"].clip(lower=0.1 * limits[0])
            draw_band(ax, table, "rank", distribution, look.colors[name], name, step="mid",
                      where=table["most"] >= table["least"])
        line = line_of(distribution, look.colors[name], look.text(name)) | {"drawstyle": "steps-mid"}
        if shown.notna().sum() == 1:  # a line of one point would not be seen
            line |= {"marker": "o", "markersize": 4}
        ax.plot(table["rank"], shown, **line | look.shape)
    ax.set(xlim=(0.5, longest + 0.5), ylim=limits)
    ax.set_xlabel("rank, from the largest", fontsize=sizes.font)
    ax.set_ylabel("singular value", fontsize=sizes.font)
    value_ticks(ax, log=look.log, font=sizes.font)
    value_ticks(ax, log=False, font=sizes.font, along="x")
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    finish_panel(ax, found, look, sizes, over_inputs=True)
