"""A folder of cells: each is measured once, recorded whole, and found again by the next run."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from jacprobe import __version__
from jacprobe.atomic import atomic_path
from jacprobe.errors import ArgumentError, DataError, OutputError
from jacprobe.experiments.sweeping.cell import Cell
from jacprobe.experiments.sweeping.cellfile import Failure, read_failure, read_frame, write_failure, write_frame
from jacprobe.experiments.sweeping.rows import failure_table, row_table
from jacprobe.provenance import plain_facts

FORMAT = 1
_FILE = "store.json"


@dataclass(frozen=True)
class Store:
    """The results of a sweep in a folder.

    ``cells/<digest>.parquet`` holds what a cell measured, ``failed/<digest>.json`` why it failed, ``scratch/<digest>/``
    what it left for its next try, and ``store.json`` what all cells have in common. Several processes may fill one
    folder at once: a file appears whole, and of two results for one cell the first stays.

    Attributes
    ----------
    folder
        Where it is.
    facts
        Settings that all cells share, such as the kind of device.
    identity
        Drawn when the folder was made; tells a process elsewhere whether it sees the same folder.
    """

    folder: Path
    facts: Mapping[str, Any]
    identity: str

    @classmethod
    def open(cls, folder: str | os.PathLike, *, facts: Mapping[str, Any], resume: bool = True) -> Store:
        """Return the store in `folder`, a new one where there is none.

        Parameters
        ----------
        facts
            What JSON can hold; a folder that exists must have the same.
        resume
            Whether the folder may hold a store already.

        Raises
        ------
        ArgumentError
            The store was made by another version or with other facts, or `resume` is False and there is one.
        DataError
            ``store.json`` cannot be read.
        OutputError
            `folder` is a file, holds other things, or cannot be written.
        """
        folder = Path(folder)
        now = {"format": FORMAT, "jacprobe": __version__, "facts": plain_facts("facts", facts)}
        if not (folder / _FILE).exists():
            _create(folder, now)
        elif not resume:
            raise ArgumentError(f"`folder` must be new or empty; {str(folder)!r} holds a sweep. Choose another folder,"
                                " or continue it with resume=True.")
        _check_same(folder, _read(folder), now)
        return cls.read(folder)

    @classmethod
    def read(cls, folder: str | os.PathLike) -> Store:
        """Return the store that is in `folder`, whatever made it.

        Raises
        ------
        DataError
            There is none.
        """
        found = _read(Path(folder))
        return cls(Path(folder), found["facts"], found["identity"])

    def done(self, cell: Cell) -> bool:
        """Whether `cell` is recorded."""
        return self._result(cell).exists()

    def write(self, cell: Cell, frame: pd.DataFrame) -> bool:
        """Record what `cell` measured and return True, or False where it was recorded already, which stays.

        Raises
        ------
        ArgumentError
            `frame` is no table that parquet can hold.
        OutputError
            The folder cannot be written.
        """
        if self.done(cell):
            return False
        try:
            write_frame(cell, frame, self._result(cell))
        except OutputError:
            if self.done(cell):  # by another process, meanwhile
                return False
            raise
        self._failure(cell).unlink(missing_ok=True)
        shutil.rmtree(self.scratch(cell), ignore_errors=True)  # of no more use; a leftover does no harm
        Path(f"{self.scratch(cell)}.lock").unlink(missing_ok=True)
        return True

    def fail(self, cell: Cell, error: str, traceback: str = "") -> None:
        """Record why `cell` has no result; it stays to be done.

        Raises
        ------
        OutputError
            The folder cannot be written.
        """
        if not self.done(cell):
            write_failure(cell, Failure(error, traceback), self._failure(cell))

    def rows(self, cells: Iterable[Cell] | None = None) -> pd.DataFrame:
        """Return all rows that `cells` measured, behind the columns ``measure`` and the settings.

        Cells that are not recorded have no rows. Without `cells`, those of the whole folder come in the order of their
        settings as texts. The parts of nested settings are named by a dot, as in ``training.rate``; a setting that has
        the name of a measured column is called ``settings.`` and that name.

        Raises
        ------
        DataError
            A file is damaged.
        """
        if cells is None:
            found = sorted(map(read_frame, (self.folder / "cells").glob("*.parquet")), key=lambda pair: pair[0].text)
        else:
            found = [read_frame(self._result(cell)) for cell in dict.fromkeys(cells) if self.done(cell)]
        return row_table(found)

    def failures(self, cells: Iterable[Cell] | None = None) -> pd.DataFrame:
        """Return a row per failed cell: ``measure``, the settings, ``error`` and ``traceback``.

        Raises
        ------
        DataError
            A file is damaged.
        """
        if cells is None:
            paths = sorted((self.folder / "failed").glob("*.json"))
        else:
            paths = [self._failure(cell) for cell in dict.fromkeys(cells)]
        return failure_table([read_failure(path) for path in paths if path.exists()])

    def scratch(self, cell: Cell) -> Path:
        """Return the folder in which `cell` may leave files for its next try; it may not exist."""
        return self.folder / "scratch" / cell.digest

    def _result(self, cell: Cell) -> Path:
        return self.folder / "cells" / f"{cell.digest}.parquet"

    def _failure(self, cell: Cell) -> Path:
        return self.folder / "failed" / f"{cell.digest}.json"


def identity_of(folder: Path) -> str | None:
    """Return which store lies in `folder` as this machine sees it, None where it sees none."""
    try:
        return _read(folder)["identity"]
    except DataError:
        return None


def _create(folder: Path, facts: Mapping[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(path.name not in ("cells", "failed", "scratch") and not path.name.startswith(".store-")
               for path in folder.iterdir()):
            raise OutputError(f"`folder` must be new, empty or hold a sweep; {str(folder)!r} holds other files. Choose"
                              " another.")
        for name in ("cells", "failed", "scratch"):
            (folder / name).mkdir(exist_ok=True)
        with atomic_path(folder / _FILE) as temporary:
            temporary.write_text(json.dumps({**facts, "identity": uuid.uuid4().hex}, indent=1), encoding="utf-8")
    except OSError as error:
        if (folder / _FILE).exists():  # another process made the same folder
            return
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"`folder` must be a folder that can be written; got {str(folder)!r}: {error.strerror}."
                          " Choose another.") from error


def _read(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        if not isinstance(found["identity"], str) or not isinstance(found["facts"], dict):
            raise ValueError("its facts are not a mapping")
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"`{folder / _FILE}` must be the facts of a sweep; {error}. Choose another"
                        " folder.") from error


def _check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    pairs = [(f"{name} version" if name == "jacprobe" else name, before.get(name), now[name])
             for name in ("format", "jacprobe")]
    names = dict.fromkeys([*now["facts"], *before["facts"]])
    pairs += [(name, before["facts"].get(name), now["facts"].get(name)) for name in names]
    for name, old, new in pairs:
        if old != new:
            raise ArgumentError(f"`folder` must hold a sweep of the same facts; {str(folder)!r} has {name}"
                                f" {_short(old)}, not {_short(new)}. Choose another folder.")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
