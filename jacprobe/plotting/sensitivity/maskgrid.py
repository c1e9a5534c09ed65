"""Pictures of many masks in lines, a row per set of masks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from matplotlib.axes import Axes
from torch import Tensor

from jacprobe.plotting.artists.hues import INK
from jacprobe.plotting.artists.sizes import LEAST_TYPE
from jacprobe.plotting.artists.words import elide, percent, short_name
from jacprobe.plotting.masks import draw_mask

_SMALLEST, _SMALL, _LARGEST = 0.22, 0.4, 1.0  # inches, the side of the picture of a mask; below small where many
_MARGIN = 0.3  # inches beside the pictures
_TEXT, _LITTLE_TEXT = 0.17, 0.125  # inches, the height of a line of text above or below large and small pictures


class MaskGrid(NamedTuple):
    """How the pictures of masks are arranged: lines of columns, each line with a row per set, in inches."""

    num_lines: int
    num_columns: int
    num_sets: int
    side: float
    gap: float
    text: float

    @classmethod
    def of(cls, num_masks: int, num_sets: int, width: float, highest: float) -> MaskGrid:
        room, gap = width - _MARGIN, 0.05
        fewest = max(int(room / (_SMALL + gap)), 1)
        for num_columns in range(fewest, max(fewest, num_masks) + 1):
            num_lines = math.ceil(num_masks / num_columns)
            even = math.ceil(num_masks / num_lines)
            side = min(room / even - gap, _LARGEST)
            grid = cls(num_lines, even, num_sets, side, gap, _TEXT if side >= _SMALL else _LITTLE_TEXT)
            if grid.height <= highest or grid.side < _SMALLEST:
                break
        fitting = (highest / grid.num_lines - grid.text - gap) / num_sets - grid.text
        return grid._replace(side=min(grid.side, max(fitting, _SMALLEST)))

    @property
    def height(self) -> float:
        return self.num_lines * (self.num_sets * (self.side + self.text) + self.text + self.gap)

    def box(self, index: int, row: int, width: float) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of the picture of mask `index` in set `row`, as shares of the panel."""
        line, column = divmod(index, self.num_columns)
        full = self.num_columns * (self.side + self.gap)
        left = max(width - full, 0) / 2 + column * (self.side + self.gap)
        top = line * self.height / self.num_lines + self.text + row * (self.side + self.text)
        return left / width, 1 - (top + self.side) / self.height, self.side / width, self.side / self.height


def draw_masks(panel: Axes, grid: MaskGrid, names: list[str], sets: Mapping[str, Mapping[str, Tensor]], *,
                font: float) -> None:
    """Draw a picture per set and mask on insets of `panel`, with the removed share below."""
    panel.set_axis_off()
    panel.set_label("masks")
    width = panel.get_window_extent().width / panel.figure.dpi
    shown = [elide(short_name(name)) for name in names]
    size = max(min(font - 1, 72 * grid.side / 4.2, 72 * grid.text / 1.6), LEAST_TYPE)
    fitting = 72 * (grid.side + grid.gap) / (0.6 * max(map(len, shown)))  # type that keeps the names apart
    for row, (key, masks) in enumerate(sets.items()):
        for index, name in enumerate(names):
            ax = panel.inset_axes(grid.box(index, row, width), label=f"{key} {name}".lstrip())
            draw_mask(masks[name], ax=ax, aspect="auto")
            ax.set_box_aspect(1)
            removed = float((~masks[name]).double().mean())
            ax.set_xlabel(f"{percent(removed)} %", fontsize=size, labelpad=1, color=INK)
            if row == 0 and fitting >= LEAST_TYPE:
                ax.set_title(shown[index], fontsize=min(size, fitting), pad=2, parse_math=False)
            elif row == 0 and index % grid.num_columns == 0:
                line = shown[index:index + grid.num_columns]
                heading = " to ".join(dict.fromkeys([line[0], line[-1]]))
                ax.set_title(heading, loc="left", fontsize=min(font - 1, 72 * grid.text / 1.5), pad=2, parse_math=False)
            if index % grid.num_columns == 0 and key:
                ax.set_ylabel(key, fontsize=size, labelpad=2, parse_math=False)
