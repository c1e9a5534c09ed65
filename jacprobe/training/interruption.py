"""Ctrl-C that waits for the end of an iteration, when all numbers fit together."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Interruption:
    """Context in which the first SIGINT only sets `requested`; a second one interrupts at once.

    It does nothing where `active` is False, in any thread but the main one, which alone gets signals, and where
    somebody has a handler of their own.
    """

    def __init__(self, *, active: bool):
        in_main = threading.current_thread() is threading.main_thread()
        self._active = active and in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        self.requested = False

    def __enter__(self) -> Interruption:
        if self._active:
            signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        if self._active:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            signal.default_int_handler(number, frame)
        self.requested = True
