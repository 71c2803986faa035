"""Days in a time zone, fast enough for every event.

Here: local days of UTC microseconds.  Not here: weeks, months or report keys (``usage``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tokenledger_dagster.errors import UsageError
from tokenledger_dagster.ingest.zone_names import named_zone
from tokenledger_dagster.quarters import SLOT_US

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_UTC_NAMES = ("UTC", "Etc/UTC")
"""Known without asking the time zone database, whose import costs more than a day's cells."""

DAY_US = 86_400_000_000


def system_zone(environ: Mapping[str, str] = os.environ) -> str:
    """IANA name of the system's time zone: ``TZ``, else the /etc/localtime link, else UTC."""
    name = named_zone(environ)
    return name if name == "UTC" or _known(name) else "UTC"


def _known(name: str) -> bool:
    if name in _UTC_NAMES:
        return True
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _zone(name: str) -> ZoneInfo | None:
    """The zone of a known name, None for UTC."""
    if name in _UTC_NAMES:
        return None
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


class Zone:
    """Cuts UTC instants into local days."""

    def __init__(self, name: str) -> None:
        """Raises UsageError for a name the time zone database does not know."""
        if not _known(name):
            raise UsageError(f"--tz {name}: no such time zone; use an IANA name such as Europe/Berlin")
        self.name = name
        self._zone = _zone(name)
        self._offsets: dict[int, int] = {}

    def offset_us(self, timestamp_us: int) -> int:
        """Local minus UTC, microseconds, at an instant."""
        if self._zone is None:
            return 0
        slot = timestamp_us // SLOT_US
        found = self._offsets.get(slot)
        if found is None:
            try:
                at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=slot * SLOT_US)
                found = int((at.astimezone(self._zone).utcoffset() or timedelta()).total_seconds()) * 1_000_000
            except (OverflowError, ValueError):
                found = 0
            self._offsets[slot] = found
        return found

    def day(self, timestamp_us: int) -> int:
        """Days since 1970-01-01 of the local date at an instant."""
        return (timestamp_us + self.offset_us(timestamp_us)) // DAY_US
