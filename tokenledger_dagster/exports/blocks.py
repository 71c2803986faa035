"""Five-hour blocks.

Here: which block an hour with events falls into.  Not here: sums.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

BLOCK = timedelta(hours=5)


def block_starts(hours: Iterable[datetime]) -> dict[datetime, datetime]:
    """Start of the block of every hour (UTC, floored) that has events.

    A block starts at the hour of the first event after the previous block's end, so it always starts and ends on the
    hour, and whole hours are enough to tell blocks apart.
    """
    found: dict[datetime, datetime] = {}
    start: datetime | None = None
    for hour in sorted(set(hours)):
        if start is None or hour - start >= BLOCK:
            start = hour
        found[hour] = start
    return found
