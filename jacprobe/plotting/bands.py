"""Marks that the figures of single spectra have in common: the band around 1, and what is not exact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from jacprobe.plotting.distribution import Distribution
from jacprobe.plotting.hues import PALETTE, legend_text
from jacprobe.plotting.marks import missing_word
from jacprobe.plotting.style import INK, QUIET, TINY, Sizes
from jacprobe.results.spectrum import BAND_CONFIDENCE

HATCH = "//////"
ESTIMATED = ":"  # line style
BOUNDED = "--"
SPREAD = "spread over inputs"


def draw_isometry_band(ax: Axes, epsilon: float, *, along: str, log: bool) -> None:
    """Shade 1 ± `epsilon` on the x or y axis."""
    span, line = (ax.axvspan, ax.axvline) if along == "x" else (ax.axhspan, ax.axhline)
    low = max(1 - epsilon, TINY) if log else 1 - epsilon
    span(low, 1 + epsilon, color=PALETTE[2], alpha=0.2, linewidth=0, zorder=0.6, label=f"1 ± {epsilon:g}")
    line(1, color=QUIET, linewidth=0.8, zorder=0.7)


def name_set(name: str) -> str:
    """Return the name of a set as a legend shows it literally; a set alone is "measured"."""
    return legend_text(name) or "measured"


def style_of(distribution: Distribution) -> str:
    """Return the style of a line that says whether it is exact."""
    if distribution.is_exact:
        return "-"
    return ESTIMATED if distribution.is_estimated else BOUNDED


def name_labels(ax: Axes, found: Mapping[str, Distribution]) -> None:
    """Give the legend an entry per label that is not exact, with the facts of estimates."""
    for text in label_texts(found.values()):
        hatched = text.startswith("estimated")
        ax.scatter([], [], marker="s", s=60, facecolor="0.85" if hatched else "none", edgecolor=INK, linewidth=0.5,
                   linestyle="-" if hatched else BOUNDED, hatch=HATCH if hatched else None, label=text)


def name_spread(ax: Axes, found: Mapping[str, Distribution]) -> None:
    """Give the legend an entry for the pale bands of exact spectra, where there is one."""
    if any(distribution.is_exact and distribution.spectrum.num_inputs > 1 for distribution in found.values()):
        ax.fill_between([], [], facecolor=to_rgba(QUIET, 0.3), edgecolor=QUIET, linewidth=0.5, label=SPREAD)


def label_texts(found: Iterable[Distribution]) -> list[str]:
    """Return what the legend says of estimates and bounds: steps k, probes n_v and seed; confidence.

    Examples
    --------
    >>> label_texts([])
    []
    """
    found = list(found)
    densities = [distribution.spectrum.density for distribution in found if distribution.is_estimated]
    texts = []
    if densities:
        facts = {"k": "num_steps", "n_v": "num_probes", "seed": "seed"}
        spans = ", ".join(f"{name} = {_span([getattr(d, field) for d in densities])}" for name, field in facts.items())
        texts.append(f"estimated, {100 * BAND_CONFIDENCE:.0f} % band\n{spans}")
    if bounded := [distribution for distribution in found if distribution.is_bounded]:
        confidence = min(distribution.spectrum.confidence for distribution in bounded)
        texts.append("bounded" + (f" ({100 * confidence:.4g} %)" if confidence < 1 else ""))
    return texts


def _span(values: list[int]) -> str:
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


def say_missing(ax: Axes, found: Mapping[str, Distribution], sizes: Sizes) -> None:
    """Write why a set has nothing to draw, in the middle of `ax`."""
    lines = []
    for name, distribution in found.items():
        if not (distribution.points[0].size or distribution.is_bounded):
            lines.append(f"{name}: {missing_word(distribution.spectrum)}" if name else
                         missing_word(distribution.spectrum))
    if lines:
        ax.text(0.5, 0.5, "\n".join(lines), transform=ax.transAxes, ha="center", va="center", color=QUIET,
                fontsize=sizes.font - 1, parse_math=False,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})


def view_limits(low: float, high: float, epsilon: float, *, log: bool) -> tuple[float, float]:
    """Return the ends of an axis of values from `low` to `high`, with the band around 1 where it is near."""
    near = 100 if log else 4
    if low / near < 1 + epsilon and 1 - epsilon < high * near:
        low, high = min(low, max(1 - 1.5 * epsilon, 0.5 * low)), max(high, 1 + 1.5 * epsilon)
    if log:
        pad = (high / low) ** 0.04
        return low / pad, high * pad
    pad = 0.04 * (high - low)
    return max(low - pad, 0.0) if low >= 0 else low - pad, high + pad


def finite_max(*arrays: object) -> float:
    """Return the largest finite number of all arrays, or 0."""
    values = np.concatenate([np.ravel(np.asarray(array, dtype=float)) for array in arrays])
    return float(values[np.isfinite(values)].max(initial=0.0))
