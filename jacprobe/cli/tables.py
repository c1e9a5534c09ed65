"""Tables in the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

_PIPED_WIDTH = 200  # a file or pipe has no width of its own; nothing may be cut off there
_GAP, _RULE = 2, " │ "  # between columns, and between groups of them


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, num_left: int = 1) -> None:
    """Print rows of texts on stdout; the first `num_left` columns are names, the others numbers."""
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=True)
    for i, column in enumerate(columns):
        table.add_column(escape(column), justify="left" if i < num_left else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console(width=_width(), highlight=False)
    console.print(escape(title), style="bold", soft_wrap=True)  # a title of the table would wrap at its width
    console.print(table)


def print_groups(title: str, table: pd.DataFrame, *, optional: Sequence[str] = ()) -> list[str]:
    """Print texts on stdout with the first level of the columns as headings over groups; return what was left out.

    The group "" holds names, the others numbers. Where the terminal is too narrow, `optional` columns are left out one
    by one; a line is never cut or folded by this function.
    """
    left_out: list[str] = []
    while sys.stdout.isatty() and _line_width(table) > _width() and len(left_out) < len(optional):
        left_out.append(optional[len(left_out)])
        table = table.loc[:, [column not in left_out for _, column in table.columns]]
    console = Console(width=_width(), highlight=False)
    console.print(escape(title), style="bold", soft_wrap=True)
    for i, line in enumerate(_lines(table)):
        console.print(escape(line), style="bold" if i < 2 else None, soft_wrap=True)
    return left_out


def _width() -> int:
    return max(80, shutil.get_terminal_size().columns) if sys.stdout.isatty() else _PIPED_WIDTH


def _line_width(table: pd.DataFrame) -> int:
    return max(map(cell_len, _lines(table)))


def _lines(table: pd.DataFrame) -> list[str]:
    """Return two lines of headings and one per row, as wide as their texts."""
    blocks = []
    for group in dict.fromkeys(table.columns.get_level_values(0)):
        cells = [[column, *map(str, values)] for column, values in table[group].items()]
        widths = [max(map(cell_len, column)) for column in cells]
        widths[0] += max(0, cell_len(group) - (sum(widths) + _GAP * (len(widths) - 1)))
        pad = _left if group == "" else _right
        rows = [(" " * _GAP).join(map(pad, row, widths)) for row in zip(*cells, strict=True)]
        blocks.append([_centred(group, cell_len(rows[0])), *rows])
    return [_RULE.join(parts).rstrip() for parts in zip(*blocks, strict=True)]


def _left(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _right(text: str, width: int) -> str:
    return " " * (width - cell_len(text)) + text


def _centred(text: str, width: int) -> str:
    return _left(" " * ((width - cell_len(text)) // 2) + text, width)
