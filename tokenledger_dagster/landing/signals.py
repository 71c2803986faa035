"""Stopping a lander from the keyboard or by its supervisor without losing the answer in flight.

Here: turning SIGINT and SIGTERM into a flag while records may be between the proxy and the disk.  Not here: landing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tokenledger_dagster.landing.cliproxyapi import Stop


class SignalStop(Stop):
    """Asked by a signal; the second one ends the process at once."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._event = threading.Event()
        self._note = note
        self.by_keyboard = False

    @property
    def asked(self) -> bool:  # type: ignore[override]
        """Whether a signal came."""
        return self._event.is_set()

    def wait(self, seconds: float) -> None:
        """Waits that long, or until a signal comes."""
        self._event.wait(seconds)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        if self.asked:
            raise KeyboardInterrupt
        self.by_keyboard = number == signal.SIGINT
        self._event.set()
        self._note("stopping once the answer in flight is landed; once more stops at once and may lose it")


@contextmanager
def stopped_by_signals(note: Callable[[str], None]) -> Iterator[SignalStop]:
    """Signals end the run gently inside the block."""
    stop = SignalStop(note)
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
