"""Tables in the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_PIPED_WIDTH = 200  # a file or pipe has no width of its own; nothing may be cut off there


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, num_left: int = 1) -> None:
    """Print rows of texts on stdout; the first `num_left` columns are names, the others numbers."""
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=True)
    for i, column in enumerate(columns):
        table.add_column(escape(column), justify="left" if i < num_left else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    width = max(80, shutil.get_terminal_size().columns) if sys.stdout.isatty() else _PIPED_WIDTH
    console = Console(width=width, highlight=False)
    console.print(escape(title), style="bold", soft_wrap=True)  # a title of the table would wrap at its width
    console.print(table)
