"""A figure or table of the paper as a value: its cells, what is read off them, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from jacprobe.experiments.paper.plan import Labelled, Plan
from jacprobe.experiments.paper.verdicts import Claim, Entry

Figure = Any  # of matplotlib, which the package of the plots alone imports
Rows = dict[str, pd.DataFrame]  # by measure, each with the labels of its cells as columns


@dataclass(frozen=True)
class Item:
    """A figure or table.

    Attributes
    ----------
    name, title
        "figure 2a", and what it shows.
    cells
        Plan to labelled cells, those that share a network or scores side by side.
    entries, claims
        Rows and plan to the numbers of the paper, and to what it says of them.
    draw
        Rows and plan to a figure.
    """

    name: str
    title: str
    cells: Callable[[Plan], list[Labelled]]
    entries: Callable[[Rows, Plan], list[Entry]]
    claims: Callable[[Rows, Plan], list[Claim]]
    draw: Callable[[Rows, Plan], Figure]
