"""The spectrum of one segment: a histogram or a density of its singular values, and what theory expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jacprobe.errors import UnknownNameError
from jacprobe.plotting.arguments import check_epsilon
from jacprobe.plotting.artists.figures import axes_of
from jacprobe.plotting.artists.isometry import draw_isometry_band
from jacprobe.plotting.artists.labels import BOUNDED, HATCH
from jacprobe.plotting.artists.sizes import Sizes
from jacprobe.plotting.artists.ticks import value_ticks
from jacprobe.plotting.spectra.bands import THEORY, draw_band, finish_panel, finite_max, line_of, view_limits
from jacprobe.plotting.spectra.distribution import Distribution
from jacprobe.plotting.spectra.laws import Theory, check_theory, distance_text, distances_text
from jacprobe.plotting.spectra.panels import Look, common_limits, panel_figure
from jacprobe.plotting.spectra.segments import ManySpectra, OneSpectrum, Panel, check_panels, one_panel, sets_of
from jacprobe.plotting.spectra.smoothing import smoothed_law, windowed_law
from jacprobe.plotting.spectra.spectrumdata import Grid, curve, grid_of, histogram, is_log
from jacprobe.theory.spectrallaw import SpectralLaw

KINDS = ("histogram", "density")
_PLACES = 801  # of a law
_TALL = 2.0  # times the highest density: a band above that leaves the axis


def draw_spectrum(
    spectra: OneSpectrum,
    *,
    ax: Axes | None = None,
    kind: str = "histogram",
    num_bins: int | None = None,
    log: bool | None = None,
    theory: Theory | None = None,
    epsilon: float = 0.1,
    color: object = None,
    label: str | None = None,
    **shape: object,
) -> Axes:
    """Draw how the singular values of one segment are distributed, and return the Axes.

    The height is a density over x, or over decades where the axis is logarithmic: its area is the share of the values
    above the floor. Structural zeros are in a bar of their own at the right, from 0 to 100 %, with their percentage;
    further values at or under the floor are pale above them. A triangle at the foot of the lowest bin tells that up to
    0.2 % of the values lie below it on a logarithmic axis. An estimate is hatched, in a band that holds its true
    histogram, or density, with 99 % probability; of what is only bounded there is the band alone, dashed. A band may
    leave the axis at its top. Theory is dashed: a law is averaged over a bin, or blurred, as the measured values are,
    so that its atoms and edges can be compared; the legend says the Kolmogorov-Smirnov distance.

    Parameters
    ----------
    spectra
        One Spectrum, or at most ten by name, drawn over each other.
    ax
        Where to draw; a new figure without pyplot if None.
    kind
        "histogram" or "density".
    num_bins
        Of the histogram; the width of a bin also is that of the density. By default as many as the data allow.
    log
        Whether the values are on a logarithmic axis; by default where they spread over more than two decades.
    theory
        A SpectralLaw, or laws by segment name.
    epsilon
        Half-width of the shaded band around 1.
    color, label
        Of a single spectrum; the label is what ``ax.legend()`` shows.
    **shape
        Forwarded to ``Axes.stairs`` for a histogram, and to ``Axes.plot`` for a density.

    Raises
    ------
    DtypeError, ArgumentError, NonFiniteError
        `spectra` are no such values, empty or not finite, or an option is outside its domain.

    See Also
    --------
    spectrum_data, spectrum_curve : the numbers that are drawn.

    Examples
    --------
    >>> import torch
    >>> from jacprobe.results import Spectrum
    >>> values = torch.tensor([[3.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 4, 4, 1, values=values, zeros=torch.tensor([1]), floor=1e-15)
    >>> ax = draw_spectrum(layer)
    >>> [text.get_text() for text in ax.child_axes[0].texts]
    ['25']
    """
    panel = one_panel(spectra)
    _check_kind(kind)
    laws = check_theory(theory, [panel.segment])
    epsilon = check_epsilon(epsilon, {})
    look = Look.of([panel], log=is_log([panel], log), epsilon=epsilon, color=color, label=label, shape=shape)
    ax = axes_of(ax)
    grid = grid_of(panel, look.log, num_bins)
    _draw(ax, panel, look, grid, laws.get(panel.segment), _limits(grid, look), kind=kind)
    return ax


def plot_spectrum(
    results: ManySpectra,
    *,
    kind: str = "histogram",
    num_bins: int | None = None,
    log: bool | None = None,
    theory: Theory | None = None,
    epsilon: float | None = None,
    segments: Sequence[str] | None = None,
    share: bool = True,
    width: float | None = None,
    height: float | None = None,
    title: str | None = None,
) -> Figure:
    """Return a figure with a panel per segment of how its singular values are distributed.

    ``draw_spectrum`` says what is drawn. Above each of several panels stand the Kolmogorov-Smirnov distances (KS) to
    theory, in the order of the sets.

    Parameters
    ----------
    results
        One Spectrum or SpectrumSet, or at most ten by name, such as ``{"dense": ..., "pruned": ...}``. Segments are
        matched by name.
    kind, num_bins, log
        As for ``draw_spectrum``; a logarithmic axis is one for all panels.
    theory
        A SpectralLaw, or laws by segment name; True for those of a set that was measured with ``theory=True``.
    epsilon
        Half-width of the shaded band around 1; that of the sets if None.
    segments
        Which segments; all by default.
    share
        Whether the axis of values is the same in all panels.
    width, height
        Of the figure, in inches; a paper's column is 3.3 wide.
    title
        Text above the figure.

    Returns
    -------
    Figure
        Not known to pyplot, so that nothing must be closed; Jupyter shows it as the value of a cell.

    Raises
    ------
    DtypeError, ArgumentError, NonFiniteError
        `results` are no such values, empty or not finite; a segment is unknown; an option is outside its domain; the
        sets differ in `epsilon` and none is given.
    """
    panels = check_panels(results, "results", segments)
    _check_kind(kind)
    laws = check_theory(theory, [panel.segment for panel in panels], results)
    look = Look.of(panels, log=is_log(panels, log), epsilon=check_epsilon(epsilon, sets_of(results)))
    grids = [grid_of(panel, look.log, num_bins) for panel in panels]
    limits = common_limits([_limits(grid, look) for grid in grids], shared=share)
    plans = iter(zip(grids, limits, strict=True))
    alone = len(panels) == 1

    def draw(ax: Axes, panel: Panel) -> str:
        (grid, ends), law = next(plans), laws.get(panel.segment)
        _draw(ax, panel, look, grid, law, ends, kind=kind, say_distance=alone)
        return "" if alone else distances_text(panel.spectra.values(), law)

    return panel_figure(panels, draw, width=width, height=height, title=title, shared=share)


def _check_kind(kind: object) -> None:
    if kind not in KINDS:
        raise UnknownNameError("kind", kind, KINDS)


def _limits(grid: Grid, look: Look) -> tuple[float, float]:
    return view_limits(grid.low, grid.high, look.epsilon, log=grid.log)


def _draw(ax: Axes, panel: Panel, look: Look, grid: Grid, law: SpectralLaw | None, limits: tuple[float, float], *,
          kind: str, say_distance: bool = True) -> None:
    """Draw all spectra of a panel on `ax`: band, shapes, theory, and the bars of zeros."""
    found = {name: Distribution(spectrum) for name, spectrum in panel.spectra.items()}
    sizes = Sizes.of(ax)
    ax.set_xscale("log" if grid.log else "linear")
    draw_isometry_band(ax, look.epsilon, along="x", log=grid.log)
    draw = _draw_histogram if kind == "histogram" else _draw_density
    tops, caps = [], []
    for name, distribution in found.items():
        text = look.text(name) + (distance_text(distribution, law) if say_distance else "")
        top, cap = draw(ax, name, distribution, look, grid, text, several=len(found) > 1)
        tops.append(top)
        caps.append(cap)
    if law is not None:
        tops.append(_draw_law(ax, law, grid, limits, kind))
    top = max(max(tops), min(max(caps), _TALL * max(tops)) if any(tops) else max(caps))
    ax.set(xlim=limits, ylim=(0, 1.06 * top or 1.0))
    ax.set_xlabel("singular value", fontsize=sizes.font)
    ax.set_ylabel("density, per decade" if grid.log else "density", fontsize=sizes.font)
    value_ticks(ax, log=False, font=sizes.font)
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    value_ticks(ax, log=grid.log, font=sizes.font, along="x")
    _mark_below(ax, found, grid, look.colors, sizes)
    finish_panel(ax, found, look, sizes, law=law)


def _draw_histogram(ax: Axes, name: str, distribution: Distribution, look: Look, grid: Grid, text: str, *,
                    several: bool) -> tuple[float, float]:
    """Draw one histogram with its band; return the highest bar and the top of the band."""
    bins = histogram(name, distribution.spectrum, grid).query("part == 'bin'")
    color, widths = look.colors[name], np.diff(grid.scale)
    least, most = (bins[column].to_numpy() / widths for column in ("least", "most"))
    if not distribution.is_exact and np.isfinite(most).any():
        ax.stairs(most, grid.edges, baseline=least, fill=True, facecolor=to_rgba(color, 0.15), edgecolor=color,
                  linewidth=0.6, linestyle=BOUNDED if distribution.is_bounded else "-", zorder=1.8,
                  label=f"_band {name}" if not distribution.is_bounded else text)
    if bins["share"].notna().any() and bins["share"].any():
        estimated = {"hatch": HATCH, "alpha": 0.45} if distribution.is_estimated else {}
        chosen = {"fill": True, "alpha": 0.4 if several else 0.75, "facecolor": color, "edgecolor": color,
                  "linewidth": 0.8 if several or estimated else 0, "zorder": 2, "label": text}
        ax.stairs(bins["density"].to_numpy(), grid.edges, **chosen | estimated | look.shape)
    elif not distribution.is_bounded:
        ax.stairs([np.nan], [1, 2], color=color, label=text)  # for the legend
    return finite_max(bins["density"]), finite_max(most) if not distribution.is_exact else 0.0


def _draw_density(ax: Axes, name: str, distribution: Distribution, look: Look, grid: Grid, text: str, *,
                  several: bool) -> tuple[float, float]:
    """Draw one density with its band; return its highest value and the top of the band."""
    table = curve(name, distribution.spectrum, grid)
    if not distribution.is_exact and table["most"].notna().any():
        draw_band(ax, table, "x", distribution, look.colors[name], name)
    ax.plot(table["x"], table["density"], **line_of(distribution, look.colors[name], text) | look.shape)
    return finite_max(table["density"]), finite_max(table["most"]) if not distribution.is_exact else 0.0


def _draw_law(ax: Axes, law: SpectralLaw, grid: Grid, limits: tuple[float, float], kind: str) -> float:
    """Draw a law beside what was measured, as wide as that; return its highest density."""
    width = float(np.diff(grid.scale).mean())
    low, high = np.log10(limits) if grid.log else limits
    places = np.linspace(low, high, _PLACES)
    density = (windowed_law if kind == "histogram" else smoothed_law)(law, places, width, log=grid.log)
    ax.plot(10.0**places if grid.log else places, density, **THEORY)
    return float(density.max())


def _mark_below(ax: Axes, found: Mapping[str, Distribution], grid: Grid, colors: Mapping[str, object],
                sizes: Sizes) -> None:
    """Mark where the lowest bin begins for the sets that have values below it."""
    tails = [name for name, distribution in found.items() if (distribution.points[0] < grid.low).any()]
    for index, name in enumerate(tails):
        ax.scatter([grid.low], [0.03 + 0.05 * index], s=min(sizes.font, 5.5) ** 2, marker="<", color=[colors[name]],
                   edgecolor="white", linewidth=0.5, transform=ax.get_xaxis_transform(), zorder=4,
                   label="_below the axis")
