"""Cells on this machine: one after the other, or in several processes, any of which may be killed."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence

import joblib
from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError

from jacprobe.experiments.sweeping.attempt import Attempt, Attempting, killed_attempt, unsent_attempt
from jacprobe.experiments.sweeping.cell import Cell

NUM_TRIES = 3  # of a cell that is alone when its process is killed


def serial_attempts(attempting: Attempting, cells: Sequence[Cell], *, jobs: int | None = None,
                    address: str | None = None) -> Iterator[Attempt]:
    """Yield an attempt at each cell, made in this process."""
    yield from map(attempting, cells)


def process_attempts(attempting: Attempting, cells: Sequence[Cell], *, jobs: int | None = None,
                     address: str | None = None) -> Iterator[Attempt]:
    """Yield an attempt at each cell, made in `jobs` processes (one per core), in the order in which they end.

    A process that is killed takes the others with it. Cells that were under way then are tried again, one by one, when
    the others are through: so the one that gets its process killed is known, and has all the memory.
    """
    jobs = joblib.cpu_count() if jobs is None else jobs
    waiting, suspects = deque(cells), []
    while waiting:
        lost, _ = yield from _until_one_is_killed(attempting, waiting, jobs)
        suspects += lost
    for cell in suspects:
        for _ in range(NUM_TRIES):
            lost, error = yield from _until_one_is_killed(attempting, deque([cell]), 2)  # 1 would mean this process
            if not lost:
                break
        else:
            yield killed_attempt(cell) if isinstance(error, TerminatedWorkerError) else unsent_attempt(cell, error)


def _until_one_is_killed(attempting: Attempting, waiting: deque[Cell], jobs: int
                         ) -> Generator[Attempt, None, tuple[list[Cell], BrokenProcessPool | None]]:
    """Take cells from `waiting` and yield attempts until there is none; return the cells that were lost, and why."""
    under_way: dict[Cell, None] = {}

    def tasks() -> Iterator[tuple]:
        while waiting:
            cell = waiting.popleft()
            under_way[cell] = None
            yield joblib.delayed(attempting)(cell)

    with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1):
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs")
    attempts = parallel(tasks())
    try:
        for attempt in attempts:
            del under_way[attempt.cell]
            yield attempt
    except BrokenProcessPool as error:
        return list(under_way), error
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a sweep which was interrupted has cells under way
            attempts.close()
    return [], None
