"""What no axis of values can show, in bars of their own beside it: the shares of zeros."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from jacprobe.plotting.artists.hues import EMPTY, INK
from jacprobe.plotting.artists.shares import PALE, strip_beside
from jacprobe.plotting.artists.sizes import Sizes
from jacprobe.plotting.artists.words import percent
from jacprobe.plotting.spectra.distribution import Distribution
from jacprobe.theory.spectrallaw import SpectralLaw

UNDER_FLOOR = "under the floor"


def draw_gauge(
    ax: Axes,
    found: Mapping[str, Distribution],
    colors: Mapping[str, object],
    sizes: Sizes,
    law: SpectralLaw | None = None,
) -> None:
    """Draw a bar per set at the right of `ax`, from 0 to 100 % of its values, where there is any zero.

    Structural zeros are solid, with their percentage; further values under the floor pale above them. A line marks the
    share of zeros that `law` expects.
    """
    expected = 0.0 if law is None else law.zero_mass
    hidden = np.array([[one.zeros, one.under_floor] for one in found.values()])
    if not (np.nansum(hidden) + expected > 0):
        return
    bar = 1.9 * (sizes.font - 1) / 72  # inches, as wide as its number
    strip = strip_beside(ax, 0.07, bar * len(found), "zeros")
    strip.set(xlim=(-0.5, len(found) - 0.5), ylim=(0, 1))
    for index, (name, (zeros, under)) in enumerate(zip(found, hidden, strict=True)):
        strip.bar(index, 1, 0.84, color=EMPTY, label="all")
        if np.isnan(zeros):
            continue
        strip.bar(index, zeros, 0.84, color=[colors[name]], label="zeros")
        strip.bar(index, under, 0.84, bottom=zeros, color=[colors[name]], alpha=PALE, label="under floor")
        inside, top = zeros > 0.7, zeros + under
        top = max(top, expected) if expected < top + 0.1 else top  # the number stands above the line of the theory
        strip.text(index, zeros - 0.02 if inside else min(top + 0.02, 0.85), percent(zeros), ha="center",
                   va="top" if inside else "bottom", fontsize=sizes.font - 1.5, color="white" if inside else INK)
    if expected:
        strip.axhline(expected, color=INK, linestyle="--", linewidth=1, label="theory")
    strip.set_title("zeros\n%", fontsize=sizes.font - 1.5, pad=2)
    if (hidden[:, 1] > 0).any():
        ax.scatter([], [], marker="s", color="0.4", alpha=PALE, label=UNDER_FLOOR)
