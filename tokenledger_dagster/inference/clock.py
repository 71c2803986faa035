"""The time that documents of inference bear.

Here: one spelling of it. Not here: clocks that measure how long something takes.
"""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["utc_stamp"]


def utc_stamp(now: datetime | None = None) -> str:
    """A time as documents tell it, e.g. "2026-03-01T00:00:00Z"; None is the clock's."""
    return (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
