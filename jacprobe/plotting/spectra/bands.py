"""What the figures of single spectra have in common: lines and bands that say how sure they are, and their ending."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from jacprobe.plotting.artists.hues import INK, QUIET
from jacprobe.plotting.artists.labels import BOUNDED, ESTIMATED, HATCH, estimate_text, missing_word, name_labels
from jacprobe.plotting.artists.sizes import Sizes
from jacprobe.plotting.artists.ticks import padded
from jacprobe.plotting.spectra.distribution import Distribution
from jacprobe.plotting.spectra.gauge import draw_gauge
from jacprobe.plotting.spectra.panels import Look
from jacprobe.results.spectrum import BAND_CONFIDENCE
from jacprobe.theory.spectrallaw import SpectralLaw

SPREAD = "spread over inputs"
THEORY = {"color": INK, "linestyle": (0, (4, 2)), "linewidth": 1.1, "zorder": 3, "label": "theory"}


def draw_band(ax: Axes, table: pd.DataFrame, x: str, distribution: Distribution, color: object, name: str,
              **fill: object) -> None:
    """Shade from the column `least` to `most` over `x`: hatched around an estimate, dashed where there are bounds."""
    ax.fill_between(table[x], table["least"], table["most"], facecolor=to_rgba(color, 0.2), linewidth=0.5, zorder=1.8,
                    edgecolor=to_rgba(color, 0.5), hatch=HATCH if distribution.is_estimated else None,
                    linestyle=BOUNDED if distribution.is_bounded else "-", label=f"_band {name}", **fill)


def line_of(distribution: Distribution, color: object, text: str) -> dict[str, object]:
    """Return the look of a line that says whether it is exact."""
    style = "-" if distribution.is_exact else ESTIMATED if distribution.is_estimated else BOUNDED
    return {"color": color, "linewidth": 1.4, "linestyle": style, "zorder": 2.5, "label": text}


def finish_panel(ax: Axes, found: Mapping[str, Distribution], look: Look, sizes: Sizes, *,
                 law: SpectralLaw | None = None, over_inputs: bool = False) -> None:
    """Say in the legend and on `ax` what is not exact or missing, and draw the bars of zeros at its right.

    `over_inputs` says that the bands of exact spectra are their spread over the inputs.
    """
    if over_inputs and any(one.is_exact and one.spectrum.num_inputs > 1 for one in found.values()):
        ax.fill_between([], [], facecolor=to_rgba(QUIET, 0.3), edgecolor=QUIET, linewidth=0.5, label=SPREAD)
    estimated = any(one.is_estimated for one in found.values())
    confidence = min((one.spectrum.confidence for one in found.values() if one.is_bounded), default=None)
    bounded = "" if confidence is None else "bounded" + (f" ({100 * confidence:.4g} %)" if confidence < 1 else "")
    text = estimate_text(look.estimates, f"estimated, {100 * BAND_CONFIDENCE:.0f} % band")
    name_labels(ax, estimated=text if estimated else "", bounded=bounded)
    _say_missing(ax, found, sizes)
    draw_gauge(ax, found, look.colors, sizes, law)


def _say_missing(ax: Axes, found: Mapping[str, Distribution], sizes: Sizes) -> None:
    """Write why a set has nothing to draw, in the middle of `ax`."""
    words = {name: missing_word(one.spectrum) for name, one in found.items()
             if not (one.points[0].size or one.is_bounded)}
    if words:
        ax.text(0.5, 0.5, "\n".join(f"{name}: {word}" if name else word for name, word in words.items()),
                transform=ax.transAxes, ha="center", va="center", color=QUIET, fontsize=sizes.font - 1,
                parse_math=False, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})


def view_limits(low: float, high: float, epsilon: float, *, log: bool) -> tuple[float, float]:
    """Return the ends of an axis of values from `low` to `high`, with the band around 1 where it is near."""
    near = 100 if log else 4
    if low / near < 1 + epsilon and 1 - epsilon < high * near:
        low, high = min(low, max(1 - 1.5 * epsilon, 0.5 * low)), max(high, 1 + 1.5 * epsilon)
    left, right = padded(low, high, 0.04, log=log)
    return (left if log or low < 0 else max(left, 0.0)), right


def finite_max(*arrays: object) -> float:
    """Return the largest finite number of all arrays, or 0."""
    values = np.concatenate([np.ravel(np.asarray(array, dtype=float)) for array in arrays])
    return float(values[np.isfinite(values)].max(initial=0.0))
