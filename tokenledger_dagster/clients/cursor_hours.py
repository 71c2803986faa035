"""Which hours a source of Cursor's usage is complete for, as links between records of different sources.

Here: the names of hours.  Not here: what becomes of them (``ingest.witnesses``): a record gives way where a better
source has one of its names.
"""

from __future__ import annotations

from collections.abc import Iterable

EXPORT = "covers:cursor:"
"""An hour that an export covers; chats and loose records of that hour give way."""
STATE = "covers:cursor-state:"
"""An hour that the chats cover; loose records of that hour give way."""
BRIDGED = 400 * 24
"""Rows further apart than this do not show that nothing happened between them."""
_HOUR_US = 3_600_000_000


def hour_of(timestamp_us: int) -> int:
    """Hours since 1970."""
    return timestamp_us // _HOUR_US


def stretch(earlier: int, later: int) -> range:
    """The hours from one to another, both included; only the later one where they are too far apart."""
    return range(earlier if later - earlier <= BRIDGED else later, later + 1)


def names(kind: str, hours: Iterable[int]) -> tuple[str, ...]:
    """Links of some hours."""
    return tuple(f"{kind}{hour}" for hour in sorted(set(hours)))
