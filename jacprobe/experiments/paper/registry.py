"""All figures and tables by name."""

from __future__ import annotations

from jacprobe.experiments.paper.appendixfigures import FIGURE_4, FIGURE_6, FIGURE_7
from jacprobe.experiments.paper.beyond import FIGURE_BEYOND
from jacprobe.experiments.paper.imagetables import FIGURE_3, FIGURE_8, TABLE_2, TABLE_3, TABLE_6
from jacprobe.experiments.paper.isometryfigures import FIGURE_2A
from jacprobe.experiments.paper.item import Item
from jacprobe.experiments.paper.lossfigures import FIGURE_2B, FIGURE_5
from jacprobe.experiments.paper.maskfigure import FIGURE_1
from jacprobe.experiments.paper.mnisttables import TABLE_1, TABLE_4, TABLE_5

FIGURES: dict[str, Item] = {item.name.removeprefix("figure "): item for item in (
    FIGURE_1, FIGURE_2A, FIGURE_2B, FIGURE_3, FIGURE_4, FIGURE_5, FIGURE_6, FIGURE_7, FIGURE_8, FIGURE_BEYOND)}
TABLES: dict[str, Item] = {item.name.removeprefix("table "): item for item in (
    TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6)}
