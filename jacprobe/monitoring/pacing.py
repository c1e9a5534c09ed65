"""When to record: at multiples of a number of steps, as long as it costs little beside the training itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


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
        self._spent = self._latest = 0.0
        self._begun: float | None = None  # at the first step: what lies before is no training
        self._spent_before = 0.0

    @property
    def spent(self) -> float:
        """Seconds that went into recording."""
        return self._spent

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Count the time of the block as that of a record, and the next one as like it."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.charge(time.perf_counter() - begin)

    def charge(self, seconds: float) -> None:
        """Count `seconds` as those of a record."""
        self._latest = seconds
        self._spent += seconds

    def is_due(self, before: int, now: int) -> bool:
        """Whether to record after step `now`, the step seen last being `before`."""
        if self._begun is None:
            self._begun, self._spent_before = time.perf_counter(), self._spent
        if now // self._every == before // self._every:
            return False
        if self._max_share is None:
            return True
        elsewhere = time.perf_counter() - self._begun - (self._spent - self._spent_before)
        return self._spent + self._latest <= self._max_share * elsewhere
