"""Run the cells of a sweep that its store has not yet."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

import pandas as pd

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.experiments.sweeping.attempt import Attempt, Attempting, Measure
from jacprobe.experiments.sweeping.backends import BACKENDS
from jacprobe.experiments.sweeping.cell import Cell
from jacprobe.experiments.sweeping.cellfile import Failure
from jacprobe.experiments.sweeping.store import Store
from jacprobe.progress import progress_bar


@dataclass(frozen=True)
class Outcome:
    """What a run did, and the results of its cells.

    Attributes
    ----------
    cells
        Without repetitions, in their order.
    store
        Where the results are.
    done, failed, skipped
        How many were measured now, have no result, and had one before.
    seconds
        That the run took.
    """

    cells: tuple[Cell, ...]
    store: Store
    done: int
    failed: int
    skipped: int
    seconds: float

    @property
    def rows(self) -> pd.DataFrame:
        """All rows of the cells: ``measure``, the settings, and what was measured."""
        return self.store.rows(self.cells)

    @property
    def failures(self) -> pd.DataFrame:
        """A row per cell without a result: ``measure``, the settings, ``error`` and ``traceback``."""
        return self.store.failures(self.cells)

    def __repr__(self) -> str:
        failed = f", {self.failed} failed (see .failures)" if self.failed else ""
        return (f"Outcome of {len(self.cells)} cells in {str(self.store.folder)!r}: {self.done} measured in"
                f" {self.seconds:.1f} s, {self.skipped} there already{failed}")


def run_cells(cells: Iterable[Cell], store: Store, measure: Measure, *, backend: str = "processes",
              jobs: int | None = None, address: str | None = None, progress: bool | None = None) -> Outcome:
    """Measure the cells that `store` has not recorded, and record each as soon as it is through.

    A cell that raises is recorded as failed and the others go on; the next run tries it again. What is recorded stays
    when the run is interrupted. Only this process writes results, so that workers elsewhere need no common disk.

    Parameters
    ----------
    measure
        Called with a cell and a folder that is its own, where it may leave files to go on from when it is killed;
        returns a table. Must be a function of a module where other processes call it.
    backend
        "serial", "processes", "dask" or "ray".
    jobs
        Number of processes on this machine, one per core by default. Each uses one thread where there are several.
    address
        Of the scheduler of a cluster, with its own workers; by default "dask" and "ray" start some on this machine.
    progress
        Whether to show a bar; None shows it on a terminal.

    Raises
    ------
    UnknownNameError
        There is no such backend.
    ArgumentError
        `jobs` is no positive number, or does not go with `address`, or `address` not with `backend`.
    ClusterError
        `address` leads to no cluster, the cluster went away, or the library of `backend` is not installed.
    OutputError
        The store cannot be written.
    """
    check_backend(backend, jobs, address)
    begin = time.perf_counter()
    wanted = tuple(dict.fromkeys(cells))
    missing = [cell for cell in wanted if not store.done(cell)]
    attempting = Attempting.of(measure, store, num_threads=None if backend == "serial" or jobs == 1 else 1)
    done = failed = 0
    bar = progress_bar(total=len(missing), progress=progress, desc="sweep", unit="cell")
    with bar, closing(BACKENDS[backend](attempting, missing, jobs=jobs, address=address)) as attempts:
        for attempt in attempts if missing else ():
            recorded = _recorded(attempt, store)
            done, failed = done + recorded, failed + (not recorded)
            bar.update()
            if failed:
                bar.set_postfix(failed=failed)
    return Outcome(wanted, store, done, failed, len(wanted) - len(missing), time.perf_counter() - begin)


def check_backend(name: str, jobs: int | None, address: str | None) -> None:
    """Refuse a backend that does not exist, or that does not go with `jobs` and `address`.

    Raises
    ------
    UnknownNameError, ArgumentError
        As in `run_cells`.
    """
    if name not in BACKENDS:
        raise UnknownNameError("backend", name, BACKENDS)
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise ArgumentError(f"`jobs` must be a number of processes; got {jobs!r}. Leave it out for one per core.")
    if address is not None and name in ("serial", "processes"):
        raise ArgumentError(f"`address` must come with a cluster; got {address!r} for the backend {name}. Use dask"
                            " or ray.")
    if address is not None and jobs is not None:
        raise ArgumentError(f"`jobs` must be left out with an address; got {jobs}. The cluster has its own workers.")


def _recorded(attempt: Attempt, store: Store) -> bool:
    """Record an attempt; return whether its cell has a result now."""
    cell, frame, failure = attempt
    if failure is None:
        try:
            store.write(cell, frame)
            return True
        except ArgumentError as error:  # a table that no file can hold
            failure = Failure(f"ArgumentError: {error}", "")
    store.fail(cell, *failure)
    return store.done(cell)  # another run may have measured it meanwhile
