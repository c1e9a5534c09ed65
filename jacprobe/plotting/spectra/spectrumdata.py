"""The numbers of the spectrum figure, apart from its drawing: histograms, and densities of a chosen width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jacprobe.plotting.arguments import check_positive, check_whole
from jacprobe.plotting.spectra.distribution import Distribution
from jacprobe.plotting.spectra.laws import UNKNOWN, Theory, check_theory, distance
from jacprobe.plotting.spectra.points import quantile
from jacprobe.plotting.spectra.segments import ManySpectra, Panel, check_panels
from jacprobe.plotting.spectra.smoothing import smoothed, smoothed_band, smoothed_law
from jacprobe.results import Spectrum
from jacprobe.theory.spectrallaw import SpectralLaw

_WIDE = 100  # from this ratio of the largest value to the 5 % quantile on, an axis is logarithmic by default
_TAIL = 0.002  # of the values, at most, lie below a logarithmic axis
_FEWEST_BINS, _MOST_BINS = 15, 51  # both odd, so that a single value lies in the middle of a bin
_ATOMS = 3  # different values, at most, that are spikes and look so
_NEAR = 0.5  # of that tail's end: values above this share of it are no tail
_FLAT = 0.02  # a distribution narrower than this, relative to its values, is one bin
_ALIKE = 1e-4  # of the range: values closer than this are one, such as those of a linear layer for all inputs
_PLACES = 301  # of a curve


class Grid(NamedTuple):
    """Ends of the axis of a panel that hold what is known, and how finely it is cut."""

    low: float
    high: float
    num_bins: int
    log: bool

    @property
    def edges(self) -> NDArray:
        edges = (np.geomspace if self.log else np.linspace)(self.low, self.high, self.num_bins + 1)
        edges[[0, -1]] = self.low, self.high  # rounding must not lose the extremes
        return edges

    @property
    def scale(self) -> NDArray:
        """The edges as the axis shows them: decades where it is logarithmic."""
        return np.log10(self.edges) if self.log else self.edges


def spectrum_data(
    results: ManySpectra,
    *,
    num_bins: int | None = None,
    log: bool | None = None,
    theory: Theory | None = None,
    segments: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the histograms that ``draw_spectrum`` and ``plot_spectrum`` draw.

    Parameters
    ----------
    results
        One Spectrum or SpectrumSet, or several by name.
    num_bins
        Bins of equal width between the lowest and the highest value of a segment, in the logarithm where `log`; by
        default as many as the different values, or the steps of an estimate, allow.
    log
        Whether the axis is logarithmic; by default where the 5 % quantile of the values above the floor lies below a
        hundredth of the largest.
    theory
        A law, or laws by segment name; True for those that the set carries.
    segments
        Which segments; all by default.

    Returns
    -------
    DataFrame
        One row per set, segment and part. Columns: set, segment, label (exact, bounded, estimated or none), part
        (zeros, under floor, below for what lies below a logarithmic axis, or bin), low and high (the ends of a bin,
        else NaN), share (of all singular values of all inputs, in [0, 1]; NaN where there are only bounds), least and
        most (an interval that holds the share: of an estimate with 99 % probability for all bins at once), density
        (share over the width of the bin, in decades on a logarithmic axis), expected (share by theory), distance,
        distance_least and distance_most (Kolmogorov-Smirnov, to theory, and an interval of it).

    Raises
    ------
    DtypeError, ArgumentError, NonFiniteError
        `results` are no such values, empty or not finite, or an option is outside its domain.

    Examples
    --------
    >>> import torch
    >>> from jacprobe.results import Spectrum
    >>> values = torch.tensor([[3.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 4, 4, 1, values=values, zeros=torch.tensor([1]), floor=1e-15)
    >>> spectrum_data(layer, num_bins=2)[["part", "low", "high", "share"]]
              part  low  high  share
    0        zeros  NaN   NaN   0.25
    1  under floor  NaN   NaN   0.00
    2        below  NaN   NaN   0.00
    3          bin  1.0   2.0   0.25
    4          bin  2.0   3.0   0.50
    """
    panels = check_panels(results, "results", segments)
    laws = check_theory(theory, [panel.segment for panel in panels], results)
    log = is_log(panels, log)
    rows = []
    for panel in panels:
        grid, law = grid_of(panel, log, num_bins), laws.get(panel.segment)
        for name, spectrum in panel.spectra.items():
            rows.append(histogram(name, spectrum, grid, law))
    return pd.concat(rows, ignore_index=True)


def spectrum_curve(
    results: ManySpectra,
    *,
    width: float | None = None,
    log: bool | None = None,
    theory: Theory | None = None,
    segments: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the densities that ``draw_spectrum`` and ``plot_spectrum`` draw with ``kind="density"``.

    Parameters
    ----------
    results, log, theory, segments
        As for ``spectrum_data``.
    width
        Standard deviation of the Gaussian that blurs measured values and theory alike, in decades where the axis is
        logarithmic; by default that of a histogram's bin.

    Returns
    -------
    DataFrame
        Columns: set, segment, label, x, density (of all values; its integral over x, or over decades, is the share of
        those above the floor), least and most (of the density blurred in the same way; of an estimate with 99 %
        probability at every x at once), expected (by theory).

    Raises
    ------
    DtypeError, ArgumentError, NonFiniteError
        As ``spectrum_data``.
    """
    panels = check_panels(results, "results", segments)
    laws = check_theory(theory, [panel.segment for panel in panels], results)
    log = is_log(panels, log)
    rows = []
    for panel in panels:
        grid, law = grid_of(panel, log, None), laws.get(panel.segment)
        for name, spectrum in panel.spectra.items():
            rows.append(curve(name, spectrum, grid, law, width=width))
    return pd.concat(rows, ignore_index=True)


def is_log(panels: Iterable[Panel], log: bool | None) -> bool:
    """Return whether the axis of values is logarithmic, as asked for or as their spread suggests."""
    if log is not None:
        return bool(log)
    low, high = math.inf, 0.0
    for panel in panels:
        for spectrum in panel.spectra.values():
            values, masses = Distribution(spectrum).points
            if values.size:
                low = min(low, quantile(values, masses, 0.05))
                high = max(high, float(values[-1]))
            elif Distribution(spectrum).is_bounded:
                high = max(high, float(spectrum.intervals().upper.max()))
                low = min(low, max(float(spectrum.intervals().lower.min()), high / _WIDE))
    return high > _WIDE * low


def grid_of(panel: Panel, log: bool, num_bins: int | None) -> Grid:
    """Return the grid that all spectra of a panel have in common."""
    if num_bins is not None:
        check_whole(num_bins, "num_bins", 1, 30)
    found = [Distribution(spectrum) for spectrum in panel.spectra.values()]
    ranges = [ends for ends in (_range(distribution, log) for distribution in found) if ends]
    low, high = (min(ends[0] for ends in ranges), max(ends[1] for ends in ranges)) if ranges else (0.5, 1.5)
    if high - low <= _FLAT * high:
        low, high = (low / 1.25, high * 1.25) if log else (low - 0.25 * high, 1.25 * high)
        return Grid(low, high, num_bins or _FEWEST_BINS, log)
    return Grid(low, high, num_bins or min(_num_bins(distribution, log) for distribution in found), log)


def histogram(name: str, spectrum: Spectrum, grid: Grid, law: SpectralLaw | None = None) -> pd.DataFrame:
    """Return the rows of one spectrum, of the set `name`, in ``spectrum_data``."""
    distribution, edges, widths = Distribution(spectrum), grid.edges, np.diff(grid.scale)
    values, masses = distribution.points
    known = distribution.is_exact or distribution.is_estimated
    shares = np.histogram(values, edges, weights=masses)[0] if known else np.full(grid.num_bins, np.nan)
    below = masses[values < edges[0]].sum() if known else np.nan
    expected = np.full(grid.num_bins, np.nan) if law is None else np.diff(law.cdf(edges))
    rows = [_lone("zeros", distribution.zeros, np.nan if law is None else law.zero_mass),
            _lone("under floor", distribution.under_floor), _lone("below", below)]
    for low, high, width, share, by_theory in zip(edges[:-1], edges[1:], widths, shares, expected, strict=True):
        least, most = distribution.share_band(low, high, share)
        rows.append({"part": "bin", "low": low, "high": high, "share": share, "least": least, "most": most,
                     "density": share / width, "expected": by_theory})
    gap = UNKNOWN if law is None else distance(distribution, law)
    facts = {"set": name, "segment": spectrum.segment, "label": spectrum.label}
    table = pd.DataFrame([facts | row for row in rows])
    return table.assign(distance=gap.value, distance_least=gap.least, distance_most=gap.most)


def _lone(part: str, share: float, expected: float = np.nan) -> dict[str, object]:
    """Return the row of a part that is no bin."""
    return {"part": part, "low": np.nan, "high": np.nan, "share": share, "least": share, "most": share,
            "density": np.nan, "expected": expected}


def curve(
    name: str, spectrum: Spectrum, grid: Grid, law: SpectralLaw | None = None, *, width: float | None = None
) -> pd.DataFrame:
    """Return the rows of one spectrum, of the set `name`, in ``spectrum_curve``."""
    distribution = Distribution(spectrum)
    width = float(np.diff(grid.scale).mean()) if width is None else check_positive(width, "width")
    ends = grid.scale[[0, -1]] + np.array([-3, 3]) * width
    places = np.linspace(ends[0] if grid.log else max(ends[0], 0.0), ends[1], _PLACES)
    values, masses = distribution.points
    known = distribution.is_exact or distribution.is_estimated
    density = smoothed(values, masses, places, width, log=grid.log) if known else np.full(_PLACES, np.nan)
    least, most = density, density
    if distribution.is_estimated or distribution.is_bounded:
        least, most = smoothed_band(distribution, places, width, log=grid.log)
    expected = np.full(_PLACES, np.nan) if law is None else smoothed_law(law, places, width, log=grid.log)
    x = 10.0**places if grid.log else places
    return pd.DataFrame({"set": name, "segment": spectrum.segment, "label": spectrum.label, "x": x,
                         "density": density, "least": least, "most": most, "expected": expected})


def _range(distribution: Distribution, log: bool) -> tuple[float, float] | None:
    values, masses = distribution.points
    if values.size:
        low = quantile(values, masses, _TAIL) if log else float(values[0])
        return low if values[0] < _NEAR * low else float(values[0]), float(values[-1])
    if not distribution.is_bounded:
        return None
    known = distribution.spectrum.intervals()
    high = float(known.upper.max())
    low = float(known.lower[known.lower > 0].min()) if (known.lower > 0).any() else high
    if known.rest.any() or not log:
        low = min(low, high / _WIDE if log else 0.0)
    return (min(low, high / 2), high) if high > 0 else None


def _num_bins(distribution: Distribution, log: bool) -> int:
    if distribution.is_estimated:
        num = distribution.spectrum.density.num_steps // 2  # a bin should hold some nodes of each probe
    else:
        distinct = _num_distinct(distribution, log)
        num = round(math.sqrt(distinct))
        if distinct > _ATOMS and 2 * num < _FEWEST_BINS:
            return 2 * num + 1
    return min(max(num, _FEWEST_BINS), _MOST_BINS) // 2 * 2 + 1


def _num_distinct(distribution: Distribution, log: bool) -> float:
    """Return how many values tell of the distribution: those that repeat from input to input would be spikes."""
    values = distribution.points[0]
    if not values.size:
        return 0
    places, least = (np.log10(values), 0.0) if log else (values, distribution.resolution)
    width = float(np.ptp(places))
    step = max(_ALIKE * width, least)
    distinct = np.unique(np.round((places - places[0]) / step)).size if step else 1
    if not distribution.is_exact or distribution.spectrum.num_inputs == 1:
        return distinct
    known = distribution.spectrum.values.numpy()
    known = known[:, (known > distribution.resolution).all(0)]
    if not known.shape[1]:
        return distinct
    ranks = np.log10(known) if log else known
    gaps = np.median(np.ptp(ranks, 0)) * ranks.shape[1] / max(width, step, 1e-300)  # that a rank's values spread over
    return min(distinct, ranks.shape[1] * max(gaps, 1.0) ** 2)
