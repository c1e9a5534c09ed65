"""The band around 1, in which the singular values of an isometry lie."""

from __future__ import annotations

from matplotlib.axes import Axes

from jacprobe.plotting.artists.hues import ISOMETRY, QUIET
from jacprobe.plotting.artists.ticks import TINY


def draw_isometry_band(ax: Axes, epsilon: float, *, along: str, log: bool) -> None:
    """Shade 1 ± `epsilon` on the x or y axis, with a line at 1."""
    span, line = (ax.axvspan, ax.axvline) if along == "x" else (ax.axhspan, ax.axhline)
    low = max(1 - epsilon, TINY) if log else 1 - epsilon
    span(low, 1 + epsilon, color=ISOMETRY, alpha=0.2, linewidth=0, zorder=0.6, label=f"1 ± {epsilon:g}")
    line(1, color=QUIET, linewidth=0.8, zorder=0.7, label="_one")
