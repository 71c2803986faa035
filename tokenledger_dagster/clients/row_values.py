"""What rows as plain objects have in common: their usage, their time, and what stands in for a session's name.

Here: the few steps that every such row takes alike, wherever it stands.  Not here: the walk from a line to its objects
(``clients.rows``, ``clients.lines``), single values (``clients.values``), or any client's own keys.
"""

from __future__ import annotations

import json

import msgspec

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.clients.rows import Row


def usage_of(value: object, sink: Sink) -> Row | None:
    """A usage object; None where there is none, which the sink is told."""
    if isinstance(value, dict) and value:
        return value
    sink.skipped[why_none(value)] += 1
    return None


def why_none(*told: object) -> str:
    """Why none of these is a usage object: null, missing and empty are no usage (log-format rule 5)."""
    odd = any(value is not None and not isinstance(value, dict) for value in told)
    return "usage_not_an_object" if odd else "usage_null"


def dated(file: SourceFile, sink: Sink, flags: list[str], *told: object) -> int:
    """Microseconds of the first readable time, else of the file's last change; what was assumed is flagged."""
    for place, value in enumerate(told):
        time = values.time_us(value)
        if time is not None:
            if place:
                flags.append("timestamp_fallback")
            return stamped(file, sink, flags, time)
    return stamped(file, sink, flags, None)


def stamped(file: SourceFile, sink: Sink, flags: list[str], time_us: int | None) -> int:
    """The same of a time that was read already; None where there is none."""
    if time_us is None:
        time_us = file.mtime_ns // 1000
        flags.append("timestamp_from_file")
    values.flag_odd_time(time_us, sink.now_us, flags.append)
    return time_us


def kept_usage(usage: object) -> str | None:
    """A usage object as it is kept with the record: numbers and known enums only."""
    try:
        encoded = msgspec.json.encode(usage)
    except (OverflowError, ValueError, TypeError, RecursionError, msgspec.MsgspecError):
        try:
            encoded = json.dumps(usage, default=str).encode("utf-8", "replace")
        except (ValueError, RecursionError):
            return None
    return values.safe_usage(encoded)


def name_of(file: SourceFile) -> str:
    """A file's name without what packing, rotation and its format put behind it."""
    name = file.stem
    for ending in (".gz", ".zst", ".json"):
        name = name.removesuffix(ending)
    return name


def unheard(_flag: str) -> None:
    """For a number that is only compared: what is wrong with it is flagged where it counts."""
