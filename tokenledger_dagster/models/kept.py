"""What was resolved before, kept with the stretch of time in which it holds.

Here: a small look-up by key and time.  A ledger stores two of these (`ingest.resolved`), names and rates, so that a
sync whose models are known reads neither naming data nor price lists.  Not here: resolving anything.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import cache
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
At = TypeVar("At", str, int)
Value = TypeVar("Value")

MOST = 4_000
"""Beyond this nothing more is kept: then reading the data is not what takes the time."""
MISSING: Any = object()


class Kept(Generic[Key, At, Value]):
    """Values by key, each from one time until before another."""

    def __init__(self) -> None:
        self._spans: dict[Key, list[tuple[At, At, Value]]] = {}
        self._count = 0
        self.recording = False
        """Whether somebody stores what is added."""
        self.grown = False
        """Whether anything was added since ``start``."""

    def start(self, entries: Iterator[tuple[Key, At, At, Value]]) -> None:
        """Forgets all and begins with ``entries``."""
        self._spans.clear()
        self._count = 0
        self.recording = True
        for entry in entries:
            self.add(*entry)
        self.grown = False

    def get(self, key: Key, at: At) -> Value:
        """The value at a time, ``MISSING`` where none is kept."""
        for start, end, value in self._spans.get(key, ()):
            if start <= at < end:
                return value
        return MISSING  # type: ignore[no-any-return]

    def span(self, key: Key, at: At) -> tuple[At, At] | None:
        """The time from which and before which the value at a time holds; None where none is kept."""
        return next(((start, end) for start, end, _ in self._spans.get(key, ()) if start <= at < end), None)

    def add(self, key: Key, start: At, end: At, value: Value) -> None:
        """Keeps a value that holds from ``start`` until before ``end``."""
        if self.recording and self._count < MOST:
            self._spans.setdefault(key, []).append((start, end, value))
            self._count += 1
            self.grown = True

    def entries(self) -> list[tuple[Key, At, At, Value]]:
        """All that is kept."""
        return [(key, start, end, value) for key, spans in self._spans.items() for start, end, value in spans]


@cache
def kept_names() -> Kept[tuple[str, str | None], str, Any]:
    """This process's resolved names, by client and logged string; times are UTC days."""
    return Kept()
