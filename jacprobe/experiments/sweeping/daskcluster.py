"""Cells on the workers of a Dask cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from jacprobe.errors import ClusterError
from jacprobe.experiments.sweeping.addresses import WAIT, check_answers, not_installed, unreachable
from jacprobe.experiments.sweeping.attempt import Attempt, Attempting, killed_attempt, not_made
from jacprobe.experiments.sweeping.cell import Cell

if TYPE_CHECKING:
    from distributed import Client, as_completed

WITHOUT_WORKERS = 60  # seconds after which a cluster counts as deserted


def dask_attempts(attempting: Attempting, cells: Sequence[Cell], *, jobs: int | None = None,
                  address: str | None = None) -> Iterator[Attempt]:
    """Yield an attempt at each cell, made by the workers of a scheduler, in the order in which they end.

    Dask gives the cells of a worker that dies to others, and gives up those which saw four workers die; they may have
    been beside the one that was to blame, so they are tried again, one by one, when the others are through.
    """
    try:
        from distributed import KilledWorker
    except ImportError as error:
        raise not_installed("dask") from error
    with ExitStack() as stack:
        client = _client(stack, jobs, address)
        suspects = []
        for cell, found in _results(client, attempting, cells):
            if isinstance(found, KilledWorker):
                suspects.append(cell)
            else:
                yield _attempt(cell, found)
        for suspect in suspects:
            ((cell, found),) = _results(client, attempting, [suspect])
            yield killed_attempt(cell, found) if isinstance(found, KilledWorker) else _attempt(cell, found)


def _results(client: Client, attempting: Attempting, cells: Sequence[Cell]) -> Iterator[tuple[Cell, object]]:
    """Yield each cell with its attempt, or with the exception where there is none.

    These are Dask's own futures: joblib's backend for Dask gives up all cells when one loses its workers.
    """
    from distributed import as_completed

    futures = client.map(attempting, cells, key="cell", pure=False)
    cell_of = dict(zip((future.key for future in futures), cells, strict=True))
    completed = as_completed(futures, loop=client.loop, with_results=True, raise_errors=False)
    del futures  # so that the cluster can forget a result which has arrived
    while not completed.is_empty():
        _await_one(completed, client)
        future, found = next(completed)
        if future.status == "cancelled":
            raise ClusterError(f"`address` must lead to a Dask scheduler that stays; {client.scheduler.addr!r} went"
                               " away. Run the sweep again: what it has recorded stays.")
        yield cell_of[future.key], found if future.status == "finished" else found[1]


def _await_one(completed: as_completed, client: Client) -> None:
    """Wait until a future is through.

    Raises
    ------
    ClusterError
        There has been no worker for a minute: Dask starts no other for one that dies while it starts.
    """
    last_seen = last_look = time.monotonic()
    while not completed.has_ready():
        time.sleep(0.005)
        now = time.monotonic()
        if now > last_look + 1:
            last_look = now
            if client.scheduler_info()["workers"]:
                last_seen = now
            elif now > last_seen + WITHOUT_WORKERS:
                raise ClusterError(f"`backend` must keep workers; the Dask cluster at {client.scheduler.addr!r} has had"
                                   f" none for {WITHOUT_WORKERS} s. Run the sweep again: what it has recorded stays.")


def _attempt(cell: Cell, found: object) -> Attempt:
    return found if isinstance(found, Attempt) else not_made(cell, found)


def _client(stack: ExitStack, jobs: int | None, address: str | None) -> Client:
    """Return a client of the scheduler at `address`, or of one made here; both end with the stack."""
    from distributed import Client, LocalCluster
    from distributed.comm import get_address_host_port

    if address is None:
        address = stack.enter_context(LocalCluster(n_workers=jobs, threads_per_worker=1, memory_limit=None,
                                                   dashboard_address=":0", silence_logs="CRITICAL"))
        return stack.enter_context(Client(address, set_as_default=False))
    try:
        check_answers(*get_address_host_port(address))
        client = stack.enter_context(Client(address, timeout=WAIT, set_as_default=False))
        client.wait_for_workers(1, timeout=WAIT)
    except (OSError, ValueError) as error:
        raise unreachable("a Dask scheduler with workers", address, error) from error
    return client
