"""Colours and markers by which sets are told apart."""

from __future__ import annotations

from collections.abc import Sequence

import seaborn
from matplotlib.colors import is_color_like

from jacprobe.errors import ArgumentError
from jacprobe.plotting.arguments import check_num_sets

INK = "0.15"
QUIET = "0.45"
EMPTY = "0.93"  # behind a bar of a share
PALETTE = seaborn.color_palette("colorblind")
ISOMETRY = PALETTE[2]  # of the band around 1
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">")  # so that a grey print tells sets apart


def colors_of(num_sets: int, palette: Sequence[object] | None, name: str) -> list[object]:
    """Return a colour per set of the argument called `name`: those given, or the colour-blind safe ones."""
    check_num_sets(num_sets, name)
    if palette is None:
        return list(PALETTE[:num_sets])
    colors = [palette] if isinstance(palette, str) else list(palette)
    wrong = [color for color in colors if not is_color_like(color)]
    if wrong or len(colors) < num_sets:
        got = repr(wrong[0]) if wrong else f"{len(colors)}"
        raise ArgumentError(f"`palette` must hold {num_sets} matplotlib colors; got {got}. Leave it out.")
    return colors[:num_sets]
