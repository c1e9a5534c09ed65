"""One try at a cell, in whatever process: a table, or why there is none."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import filelock
import pandas as pd
import torch

from jacprobe import __version__
from jacprobe.errors import ArgumentError
from jacprobe.experiments.sweeping.cell import Cell
from jacprobe.experiments.sweeping.cellfile import Failure
from jacprobe.experiments.sweeping.store import Store, identity_of

Measure = Callable[[Cell, Path], pd.DataFrame]


class Attempt(NamedTuple):
    """What came of a try at `cell`: its table or its failure."""

    cell: Cell
    frame: pd.DataFrame | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class Attempting:
    """A function of a cell that can be sent to another process and raises nothing that a measure raises.

    Attributes
    ----------
    measure
        Called with the cell and a folder for files of its own.
    folder, identity
        Of the store. A process that sees the same folder there keeps the files of a cell in it until the cell is
        recorded, so that the next try can go on from them; one that does not gets an empty folder each time.
    num_threads
        That torch may use; None to leave it as it is.
    version
        Of the jacprobe that asks; another one would measure something else.
    """

    measure: Measure
    folder: Path
    identity: str
    num_threads: int | None = None
    version: str = __version__

    @classmethod
    def of(cls, measure: Measure, store: Store, *, num_threads: int | None) -> Attempting:
        return cls(measure, store.folder.absolute(), store.identity, num_threads)

    def __call__(self, cell: Cell) -> Attempt:
        try:
            if self.version != __version__:
                raise ArgumentError(f"`address` must lead to workers with jacprobe {self.version}; one has"
                                    f" {__version__}. Install the same version there.")
            if self.num_threads is not None:
                torch.set_num_threads(self.num_threads)
            with self._scratch(cell) as folder:
                return Attempt(cell, frame=self.measure(cell, folder))
        except BaseException as error:  # whatever a cell does, the others go on
            if isinstance(error, KeyboardInterrupt):
                raise
            return not_made(cell, error)

    @contextmanager
    def _scratch(self, cell: Cell) -> Iterator[Path]:
        """Yield the cell's folder in the store; one for this try where that is not seen, or another process has it."""
        with ExitStack() as stack:
            kept = self.folder / "scratch" / cell.digest
            if identity_of(self.folder) == self.identity and _is_held(f"{kept}.lock", stack):
                kept.mkdir(exist_ok=True)
                yield kept
            else:
                yield Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jacprobe-")))


def _is_held(path: str, stack: ExitStack) -> bool:
    """Whether this process now holds the lock at `path`, until the stack ends or the process dies."""
    try:
        stack.enter_context(filelock.FileLock(path, timeout=0))
    except filelock.Timeout:
        return False
    return True


def not_made(cell: Cell, error: BaseException) -> Attempt:
    """Return the failed attempt at a cell that ended in `error`."""
    return Attempt(cell, failure=Failure(_one_line(error), _traceback(error)))


def killed_attempt(cell: Cell, error: BaseException | None = None) -> Attempt:
    """Return the failed attempt at a cell whose process was killed however often it was tried."""
    reason = "its process was killed each time; the machine may have too little memory for it"
    return Attempt(cell, failure=Failure(reason, "" if error is None else _traceback(error)))


def unsent_attempt(cell: Cell, error: BaseException) -> Attempt:
    """Return the failed attempt at a cell that no other process could take in."""
    reason = (str(error.__cause__ or error).strip().strip('"').strip().splitlines() or [""])[-1]
    text = f"`measure` must be a function that other processes can import; {reason}. Put it into a module."
    return Attempt(cell, failure=Failure(text, _traceback(error)))


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
