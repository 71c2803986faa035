"""What rows as plain objects have in common: their evidence, their time, and the usage kept with them.

Here: the few steps that every such row takes alike, wherever it stands.  Not here: the walk from a line to its objects
(``clients.rows``, ``clients.lines``), single values (``clients.values``), or any client's own keys.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from tokenledger_dagster.clients import lines, values
from tokenledger_dagster.clients.base import Sink, SourceFile

Row = dict[str, Any]
_UPSTREAM = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Evidence(msgspec.Struct, frozen=True):
    """Where a record stands, and the hash of what stands there."""

    offset: int
    length: int
    sha256: str
    locator: str | None = None

    @classmethod
    def of(cls, content: bytes, offset: int = 0, locator: str | None = None) -> Evidence:
        """The evidence of exactly this content."""
        return cls(offset, len(content), hashlib.sha256(content).hexdigest(), locator)


def objects(line: bytes, offset: int, sink: Sink) -> Iterator[tuple[Row, bytes, int, list[str]]]:
    """Yields ``(object, its bytes, its offset, flags)`` of a line; everything wrong with it goes to the sink."""
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        yield from lines.objects(line, offset, sink)
        return
    if isinstance(found, dict):
        yield found, line, offset, []
    else:
        sink.skipped["not_an_object"] += 1


def dated(file: SourceFile, sink: Sink, flags: list[str], *told: object) -> int:
    """Microseconds of the first readable time, else of the file's last change; what was assumed is flagged."""
    for place, value in enumerate(told):
        time = values.time_us(value)
        if time is not None:
            if place:
                flags.append("timestamp_fallback")
            break
    else:
        time = file.mtime_ns // 1000
        flags.append("timestamp_from_file")
    values.flag_odd_time(time, sink.now_us, flags.append)
    return time


def kept_usage(usage: object) -> str | None:
    """A usage object as it is kept with the record: numbers and known enums only."""
    try:
        encoded = msgspec.json.encode(usage)
    except (OverflowError, ValueError, TypeError, msgspec.MsgspecError):
        encoded = json.dumps(usage).encode("utf-8")
    return values.safe_usage(encoded)


def upstream(value: object) -> str | None:
    """Who served a request, in small letters; None where the log's word is no plain name."""
    name = value.lower() if isinstance(value, str) else ""
    return name if _UPSTREAM.fullmatch(name) else None


def name_of(file: SourceFile) -> str:
    """A file's name without what packing, rotation and its format put behind it."""
    name = file.stem
    for ending in (".gz", ".zst", ".json"):
        name = name.removesuffix(ending)
    return name
