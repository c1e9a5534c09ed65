"""Cells on the workers of a Ray cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from jacprobe.experiments.sweeping.addresses import check_answers, not_installed, unreachable
from jacprobe.experiments.sweeping.attempt import Attempt, Attempting, killed_attempt, not_made
from jacprobe.experiments.sweeping.cell import Cell

NUM_RETRIES = 3  # of a cell whose worker dies


def ray_attempts(attempting: Attempting, cells: Sequence[Cell], *, jobs: int | None = None,
                 address: str | None = None) -> Iterator[Attempt]:
    """Yield an attempt at each cell, made by the workers of a cluster, in the order in which they end."""
    try:
        import ray
    except ImportError as error:
        raise not_installed("ray") from error
    with ExitStack() as stack:
        if not ray.is_initialized():  # else by the caller, who may need it afterwards
            stack.callback(ray.shutdown)
            _connect(jobs, address)
        remote = ray.remote(num_cpus=1, max_retries=NUM_RETRIES)(_attempt)
        shared = ray.put(attempting)
        cell_of = {remote.remote(shared, cell): cell for cell in cells}
        while cell_of:
            (reference,), _ = ray.wait(list(cell_of))
            cell = cell_of.pop(reference)
            try:
                yield ray.get(reference)
            except ray.exceptions.WorkerCrashedError as error:
                yield killed_attempt(cell, error)
            except ray.exceptions.RayError as error:  # such as a worker that cannot import the attempt
                yield not_made(cell, error)


def _attempt(attempting: Attempting, cell: Cell) -> Attempt:
    return attempting(cell)  # Ray takes functions only


def _connect(jobs: int | None, address: str | None) -> None:
    import ray

    if address is None:
        ray.init("local", num_cpus=jobs, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        return
    try:
        if found := re.fullmatch(r"(?:ray://)?([^/:]+):(\d+)", address):
            check_answers(found[1], int(found[2]))
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        raise unreachable("a Ray cluster", address, error) from error
