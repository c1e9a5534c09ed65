"""Records in a CSV file: settings in its first line, then a row per number, appended record by record."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from jacprobe.atomic import atomic_path, check_output
from jacprobe.errors import ArgumentError, DataError, OutputError
from jacprobe.monitoring.statistics import Record

_MARK = "# jacprobe monitor "
_TOLD = "provenance"  # facts that may differ between the runs of one file


class RecordFile:
    """A file to which records are appended, each in one write, so that a crash leaves whole records behind.

    Parameters
    ----------
    path
        Ends in ``.csv``.
    settings
        What must not change while records are appended; with `resume` the file must have the same.
    start
        With `resume`: the step from which training goes on; later records are dropped, as they will come again.

    Attributes
    ----------
    records
        Those which the file held already.

    Raises
    ------
    ArgumentError
        The name ends otherwise, or the file has other settings; the message names one.
    OutputError
        The file exists and `resume` is False, or it cannot be written.
    DataError
        `resume` is True and the file is none of this kind.
    """

    def __init__(self, path: str | os.PathLike, settings: Mapping[str, object], *, resume: bool, start: int | None):
        self.path = check_record_path(path, resume=resume)
        self.records: list[Record] = []
        if resume and self.path.exists():
            before, found = _read(self.path)
            _check_same(self.path, before, settings)
            settings = before  # with the provenance of the first run
            self.records = [row for row in _whole(found, before) if start is None or row.step <= start]
        with atomic_path(self.path, overwrite=resume) as temporary:
            head = f"{_MARK}{json.dumps(dict(settings))}\n{_rows([Record._fields])}"
            temporary.write_text(head + _rows(self.records), encoding="utf-8", newline="")

    def append(self, records: Iterable[Record]) -> None:
        """Write the rows of one record."""
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(_rows(records))
        except OSError as error:
            raise OutputError(f"`{self.path}` could not be written: {error.strerror or error}.") from error


def check_record_path(path: str | os.PathLike, *, resume: bool) -> Path:
    """Return `path` after the checks that need no look into the file."""
    if Path(path).suffix.lower() != ".csv":
        raise ArgumentError(f"`path` must end in .csv; got {str(path)!r}. Rename it.")
    try:
        return check_output(path, overwrite=resume)
    except OutputError as error:
        text = str(error).replace("overwrite=True (--overwrite).", "resume=True to append to it.")
        raise OutputError(text) from error


def read_records(path: str | os.PathLike) -> pd.DataFrame:
    """Return what a ``Monitor`` wrote to `path`, as ``Monitor.frame``; a record cut off by a crash is left out.

    Raises
    ------
    DataError
        The file is missing, or was not written by a ``Monitor``.
    """
    settings, found = _read(Path(path))
    return frame_of(_whole(found, settings))


def frame_of(records: Iterable[Record]) -> pd.DataFrame:
    """Return a row per record."""
    table = pd.DataFrame(list(records), columns=list(Record._fields))
    return table.astype({"step": "int64", "value": "float64", "standard_error": "float64"})


def _rows(records: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        ["" if cell != cell else cell for cell in row] for row in records)  # NaN is an empty cell
    return text.getvalue()


def _read(path: Path) -> tuple[dict, list[Record]]:
    """Return the settings and all whole lines."""
    try:
        head, _, body = path.read_text(encoding="utf-8").partition("\n")
        if not head.startswith(_MARK):
            raise ValueError("its first line has no settings")
        settings = json.loads(head.removeprefix(_MARK))
        if not (isinstance(settings, dict) and {"segments", "statistics"} <= settings.keys()):
            raise ValueError("its settings name no segments and statistics")
        lines = list(csv.reader(io.StringIO(body[: body.rfind("\n") + 1])))[1:]
        return settings, [Record(int(step), segment, statistic, *_numbers(value), label, *_numbers(error))
                          for step, segment, statistic, value, label, error in lines]
    except FileNotFoundError as error:
        raise DataError(f"`{path}` must be a file; there is none. Check the path.") from error
    except (OSError, ValueError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise DataError(f"`{path}` must be a file that a Monitor wrote; {error}. Choose another.") from error


def _numbers(*cells: str) -> list[float]:
    return [float(cell) if cell else float("nan") for cell in cells]


def _whole(records: list[Record], settings: Mapping[str, object]) -> list[Record]:
    """Drop the last record where a crash left only a part of it."""
    expected = len(settings["segments"]) * len(settings["statistics"])
    return records[: len(records) // expected * expected] if expected else []


def _check_same(path: Path, before: Mapping[str, object], settings: Mapping[str, object]) -> None:
    now = json.loads(json.dumps(dict(settings)))
    for name in [*now, *before]:
        if name != _TOLD and before.get(name) != now.get(name):
            raise ArgumentError(f"`path` must name a file of the same settings; {path.name!r} has {name}"
                                f" {_short(before.get(name))}, not {_short(now.get(name))}. Choose another file.")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
