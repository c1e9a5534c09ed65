"""The empirical distribution function of the singular values of one segment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from jacprobe.plotting.arguments import check_epsilon
from jacprobe.plotting.artists.figures import axes_of
from jacprobe.plotting.artists.isometry import draw_isometry_band
from jacprobe.plotting.artists.sizes import Sizes
from jacprobe.plotting.artists.ticks import value_ticks
from jacprobe.plotting.spectra.bands import THEORY, draw_band, finish_panel, line_of, view_limits
from jacprobe.plotting.spectra.distribution import Distribution
from jacprobe.plotting.spectra.laws import Theory, check_theory, distance_text, distances_text
from jacprobe.plotting.spectra.panels import Look, common_limits, panel_figure
from jacprobe.plotting.spectra.segments import ManySpectra, OneSpectrum, Panel, check_panels, one_panel, sets_of
from jacprobe.plotting.spectra.spectrumdata import grid_of, is_log
from jacprobe.results import Spectrum
from jacprobe.theory.spectrallaw import SpectralLaw

_PLACES = 601  # of a band or a law
_MOST_STEPS = 4096  # of one curve; more would look the same


def draw_ecdf(
    spectra: OneSpectrum,
    *,
    ax: Axes | None = None,
    log: bool | None = None,
    theory: Theory | None = None,
    epsilon: float = 0.1,
    color: object = None,
    label: str | None = None,
    **line: object,
) -> Axes:
    """Draw which share of the singular values of one segment is at most x, and return the Axes.

    The curve is of the values of all inputs together, zeros included: it begins at their share, of which the bar at the
    right says how much is structural. Of several inputs a pale band holds the curves. An estimate is dotted, in a
    hatched band that holds its true curve with 99 % probability; where there are only bounds, there is a dashed band
    alone. Theory is dashed; the legend says the Kolmogorov-Smirnov distance.

    Parameters
    ----------
    spectra
        One Spectrum, or at most ten by name, drawn over each other.
    ax
        Where to draw; a new figure without pyplot if None.
    log
        Whether the values are on a logarithmic axis; by default where they spread over more than two decades.
    theory
        A SpectralLaw, or laws by segment name.
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
    ecdf_data : the numbers that are drawn.

    Examples
    --------
    >>> import torch
    >>> values = torch.tensor([[3.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 4, 4, 1, values=values, zeros=torch.tensor([1]), floor=1e-15)
    >>> ax = draw_ecdf(layer, label="fc1")
    >>> [line.get_ydata().max() for line in ax.lines if line.get_label() == "fc1"]
    [np.float64(1.0)]
    """
    panel = one_panel(spectra)
    laws = check_theory(theory, [panel.segment])
    epsilon = check_epsilon(epsilon, {})
    look = Look.of([panel], log=is_log([panel], log), epsilon=epsilon, color=color, label=label, shape=line)
    ax = axes_of(ax)
    _draw(ax, panel, look, laws.get(panel.segment), _limits(panel, look.epsilon, log=look.log))
    return ax


def plot_ecdf(
    results: ManySpectra,
    *,
    log: bool | None = None,
    theory: Theory | None = None,
    epsilon: float | None = None,
    segments: Sequence[str] | None = None,
    share: bool = True,
    width: float | None = None,
    height: float | None = None,
    title: str | None = None,
) -> Figure:
    """Return a figure with a panel per segment of which share of its singular values is at most x.

    ``draw_ecdf`` says what is drawn.

    Parameters
    ----------
    results, theory, epsilon, segments, share, width, height, title
        As for ``plot_spectrum``.
    log
        As for ``draw_ecdf``; one for all panels.

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
    laws = check_theory(theory, [panel.segment for panel in panels], results)
    look = Look.of(panels, log=is_log(panels, log), epsilon=check_epsilon(epsilon, sets_of(results)))
    limits = iter(common_limits([_limits(panel, look.epsilon, log=look.log) for panel in panels], shared=share))
    alone = len(panels) == 1

    def draw(ax: Axes, panel: Panel) -> str:
        law = laws.get(panel.segment)
        _draw(ax, panel, look, law, next(limits), say_distance=alone)
        return "" if alone else distances_text(panel.spectra.values(), law)

    return panel_figure(panels, draw, width=width, height=height, title=title, shared=share)


def ecdf_data(
    results: ManySpectra,
    *,
    log: bool | None = None,
    theory: Theory | None = None,
    segments: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the curves that ``draw_ecdf`` and ``plot_ecdf`` draw.

    Parameters
    ----------
    results, log, theory, segments
        As for ``spectrum_data``.

    Returns
    -------
    DataFrame
        One row per set, segment and x. Columns: set, segment, label, x (exact values, of more than 4,096 as many evenly
        spaced order statistics; else even places), share (of all values of all inputs that are at most x; NaN where
        there are only bounds), least and most (of exact values over the inputs; of an estimate a band that holds at
        every x with 99 % probability; of bounds what they leave), expected (by theory).

    Raises
    ------
    DtypeError, ArgumentError, NonFiniteError
        As ``spectrum_data``.
    """
    panels = check_panels(results, "results", segments)
    laws = check_theory(theory, [panel.segment for panel in panels], results)
    log = is_log(panels, log)
    rows = [_curve(name, spectrum, _limits(panel, 0.0, log=log), laws.get(panel.segment), log=log)
            for panel in panels for name, spectrum in panel.spectra.items()]
    return pd.concat(rows, ignore_index=True)


def _limits(panel: Panel, epsilon: float, *, log: bool) -> tuple[float, float]:
    grid = grid_of(panel, log, None)
    return view_limits(grid.low, grid.high, epsilon, log=log)


def _curve(
    name: str, spectrum: Spectrum, limits: tuple[float, float], law: SpectralLaw | None = None, *, log: bool
) -> pd.DataFrame:
    """Return the rows of one spectrum, of the set `name`, in ``ecdf_data``, from end to end of an axis."""
    distribution = Distribution(spectrum)
    x = _places(distribution, limits, log=log)
    least, most = _over_inputs(distribution, x) if distribution.is_exact else distribution.band(x)
    return pd.DataFrame({"set": name, "segment": spectrum.segment, "label": spectrum.label, "x": x,
                         "share": distribution.cdf(x), "least": least, "most": most,
                         "expected": np.nan if law is None else law.cdf(x)})


def _places(distribution: Distribution, limits: tuple[float, float], *, log: bool) -> NDArray:
    if not distribution.is_exact:
        return (np.geomspace if log else np.linspace)(*limits, _PLACES)
    values = np.unique(distribution.points[0])
    if values.size > _MOST_STEPS:
        values = values[np.linspace(0, values.size - 1, _MOST_STEPS).round().astype(int)]
    return np.unique(np.concatenate([limits[:1], values[values > limits[0]], limits[1:]]))


def _over_inputs(distribution: Distribution, x: NDArray) -> tuple[NDArray, NDArray]:
    """Return the least and the largest share of values at most `x` of any single input."""
    least, most = np.ones(x.shape), np.zeros(x.shape)
    for row in distribution.spectrum.values.numpy():
        share = np.searchsorted(row[::-1], x, side="right") / row.size
        least, most = np.minimum(least, share), np.maximum(most, share)
    return least, most


def _draw(ax: Axes, panel: Panel, look: Look, law: SpectralLaw | None, limits: tuple[float, float], *,
          say_distance: bool = True) -> None:
    """Draw all curves of a panel on `ax`."""
    found = {name: Distribution(spectrum) for name, spectrum in panel.spectra.items()}
    sizes = Sizes.of(ax)
    ax.set_xscale("log" if look.log else "linear")
    draw_isometry_band(ax, look.epsilon, along="x", log=look.log)
    for name, spectrum in panel.spectra.items():
        table, color = _curve(name, spectrum, limits, log=look.log), look.colors[name]
        if spectrum.num_inputs > 1 or not found[name].is_exact:
            draw_band(ax, table, "x", found[name], color, name, step="post" if found[name].is_exact else None)
        text = look.text(name) + (distance_text(found[name], law) if say_distance else "")
        ax.plot(table["x"], table["share"], **line_of(found[name], color, text) | {"drawstyle": "steps-post"}
                | look.shape)
    if law is not None:
        x = (np.geomspace if look.log else np.linspace)(*limits, _PLACES)
        ax.plot(x, law.cdf(x), **THEORY)
    ax.set(xlim=limits, ylim=(0, 1.02))
    ax.set_xlabel("singular value", fontsize=sizes.font)
    ax.set_ylabel("values up to x", fontsize=sizes.font)
    value_ticks(ax, log=False, font=sizes.font)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1])
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    value_ticks(ax, log=look.log, font=sizes.font, along="x")
    finish_panel(ax, found, look, sizes, law=law, over_inputs=True)
