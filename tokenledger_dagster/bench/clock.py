"""Times of made-up rows: milliseconds since 1970, and how clients write them.

Here: the two texts a row or a file name needs.  Not here: what time it is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def millis(day: str) -> int:
    """The first moment of an ISO day, UTC."""
    return (datetime.fromisoformat(day).replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


@lru_cache(maxsize=1024)
def _date(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")


def day_of(ms: int) -> str:
    """The ISO day, UTC."""
    return _date(ms // DAY_MS)


def stamp(ms: int) -> str:
    """RFC 3339 with milliseconds, as both clients write it."""
    day, rest = divmod(ms, DAY_MS)
    seconds, thousandths = divmod(rest, 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{_date(day)}T{hour:02}:{minute:02}:{second:02}.{thousandths:03}Z"
