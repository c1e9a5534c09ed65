"""What no axis of values can show, in bars of their own beside it: the shares of zeros."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from jacprobe.plotting.distribution import Distribution
from jacprobe.plotting.style import INK, Sizes, percent
from jacprobe.theory.spectrallaw import SpectralLaw

PALE = 0.4
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
    zeros = {name: distribution.zeros for name, distribution in found.items()}
    under = {name: distribution.under_floor for name, distribution in found.items()}
    expected = 0.0 if law is None else law.zero_mass
    if not (np.nansum(list(zeros.values())) + np.nansum(list(under.values())) + expected > 0):
        return
    bar = 1.9 * (sizes.font - 1) / 72  # inches, as wide as its number
    beside = ax.figure.dpi_scale_trans + ScaledTranslation(1, 0, ax.transAxes)
    place = blended_transform_factory(beside, ax.transAxes)
    strip = ax.inset_axes([0.07, 0, bar * len(found), 1], transform=place, label="zeros")
    strip.set(xlim=(-0.5, len(found) - 0.5), ylim=(0, 1), facecolor="none", xticks=[], yticks=[])
    strip.spines[:].set_visible(False)
    for index, name in enumerate(found):
        strip.bar(index, 1, 0.84, color="0.93", label="all")
        if np.isnan(zeros[name]):
            continue
        strip.bar(index, zeros[name], 0.84, color=[colors[name]], label="zeros")
        strip.bar(index, under[name], 0.84, bottom=zeros[name], color=[colors[name]], alpha=PALE, label="under floor")
        top = zeros[name] + under[name]
        inside = zeros[name] > 0.7
        strip.text(index, zeros[name] - 0.02 if inside else min(top + 0.02, 0.85), percent(zeros[name]), ha="center",
                   va="top" if inside else "bottom", fontsize=sizes.font - 1.5, color="white" if inside else INK)
    if expected:
        strip.axhline(expected, color=INK, linestyle="--", linewidth=1, label="theory")
    strip.set_title("zeros\n%", fontsize=sizes.font - 1.5, pad=2)
    if any(share > 0 for share in under.values()):
        ax.scatter([], [], marker="s", color="0.4", alpha=PALE, label=UNDER_FLOOR)
