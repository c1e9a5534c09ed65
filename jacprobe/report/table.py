"""Tables of a page: texts to read, and keys to sort them by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Cell(NamedTuple):
    """A text, and what its column is sorted by; "" where there is nothing to sort, which comes last."""

    text: str
    key: str
    state: str = ""

    @classmethod
    def of(cls, text: str, number: float | None = None) -> Cell:
        """Return a cell that is sorted by `number`, or by its text if None."""
        if number is None:
            return cls(text, text)
        return cls(text, "" if math.isnan(number) else str(number).replace("inf", "Infinity"))


class Column(NamedTuple):
    """A heading, whether its cells are numbers, and the group of columns that it is in."""

    heading: str
    is_number: bool = True
    group: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows; the second column names the row, the first is its place."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    foot: Sequence[str] = ()

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Name and number of columns of each group, in order; none where no column is in one."""
        groups: list[tuple[str, int]] = []
        for column in self.columns:
            if groups and groups[-1][0] == column.group:
                groups[-1] = column.group, groups[-1][1] + 1
            else:
                groups.append((column.group, 1))
        return groups if any(name for name, _ in groups) else []


def numbered(rows: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """Return the rows with their places, from 1, in front."""
    return [[Cell(str(place), str(place)), *row] for place, row in enumerate(rows, 1)]


PLACE = Column("#")
