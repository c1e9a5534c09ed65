"""Files of one cell: what it measured as parquet, or why it failed as JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow
import pyarrow.parquet

from jacprobe.atomic import atomic_path
from jacprobe.errors import ArgumentError, DataError
from jacprobe.experiments.sweeping.cell import Cell


class Failure(NamedTuple):
    """Why a cell has no result: one line, and the traceback behind it ("" where there is none)."""

    error: str
    traceback: str


def write_frame(cell: Cell, frame: pd.DataFrame, path: Path) -> None:
    """Write what a cell measured, with its settings in the metadata.

    Raises
    ------
    ArgumentError
        `frame` is no table that parquet can hold.
    OutputError
        The file exists or cannot be written.
    """
    content = _parquet(cell, frame)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _parquet(cell: Cell, frame: pd.DataFrame) -> bytes:
    if not isinstance(frame, pd.DataFrame):
        raise ArgumentError(f"`measure` must return a DataFrame; got {type(frame).__name__} of {cell!r}. Return"
                            " one.")
    try:
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise ArgumentError(f"`measure` must return columns of one type each; {' '.join(str(error).split())} of"
                            f" {cell!r}. Use numbers and texts.") from error
    facts = json.dumps(_document(cell)).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"jacprobe.cell": facts})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, write_page_checksum=True)
    return buffer.getvalue()


def read_frame(path: Path) -> tuple[Cell, pyarrow.Table]:
    """Return a cell and what it measured.

    Raises
    ------
    DataError
        The file is damaged, or of another kind.
    """
    try:
        table = pyarrow.parquet.read_table(path, page_checksum_verification=True, partitioning=None)
        document = json.loads(table.schema.metadata[b"jacprobe.cell"])
        return Cell(document["measure"], document["settings"]), table
    except (OSError, pyarrow.ArrowException, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def write_failure(cell: Cell, failure: Failure, path: Path) -> None:
    """Write why a cell failed, in place of an earlier reason."""
    document = {**_document(cell), **failure._asdict()}
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")


def read_failure(path: Path) -> tuple[Cell, Failure]:
    """Return a cell and why it failed.

    Raises
    ------
    DataError
        The file is damaged, or of another kind.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Cell(document["measure"], document["settings"]), Failure(document["error"], document["traceback"])
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def _document(cell: Cell) -> dict:
    return {"measure": cell.measure, "settings": dict(cell.settings)}  # in the order in which they were given


def _damaged(path: Path, why: Exception) -> DataError:
    reason = (str(why).splitlines() or [type(why).__name__])[0].rstrip(".")
    return DataError(f"`{path}` must be a whole file of a sweep; {reason}. Delete it and run the sweep again.")
