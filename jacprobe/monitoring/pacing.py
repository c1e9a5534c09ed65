"""When to record: at multiples of a number of steps, as long as it costs little beside the training itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_RESERVE = 0.1  # of what recording may take, for what no clock here sees: calls without a record, caches left cold


class Pace:
    """Keeps account of the time that recording takes, and of the rest.

    Parameters
    ----------
    every
        Steps from one record to the next that is due.
    max_share
        Most that recording may take, of the time between the first step and now that went elsewhere; None for any.
    """

    def __init__(self, every: int, max_share: float | None):
        self._every, self._max_share = every, max_share
        self._spent = self._needed = 0.0  # seconds so far, and what the next record may take
        self._begun: float | None = None  # at the first step: what lies before is no training
        self._spent_before = 0.0

    @property
    def spent(self) -> float:
        """Seconds that went into recording."""
        return self._spent

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Count the time of the block as that of a record, of which the next may take twice as much."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begin
            self.charge(seconds)
            self._needed = max(2 * seconds, self._needed)

    def charge(self, seconds: float) -> None:
        """Count `seconds` as those of a record, such as the first, which surveys the model and is the slowest."""
        self._spent += seconds
        self._needed = max(seconds, self._needed / 2)  # forgets, record by record, what was slow once

    def is_due(self, before: int, now: int) -> bool:
        """Whether to record after step `now`, the step seen last being `before`."""
        if self._begun is None:
            self._begun, self._spent_before = time.perf_counter(), self._spent
        if now // self._every == before // self._every:
            return False
        if self._max_share is None:
            return True
        elsewhere = time.perf_counter() - self._begun - (self._spent - self._spent_before)
        return self._spent + self._needed <= (1 - _RESERVE) * self._max_share * elsewhere
