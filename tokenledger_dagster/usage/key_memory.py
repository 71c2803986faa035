"""The keys of months as they were last worked out, for as long as the manifest is the file they were read from.

Here: one small file beside the aggregates, so that a run on an unchanged ledger reads no sums at all. Not here: the
keys themselves (`usage.month_key`). Like the aggregates it may be missing, damaged or old at any time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tokenledger_dagster.fileio import write_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.usage.aggregate_cache import CACHE_SCHEMA_VERSION, AggregateCache, read_entry
from tokenledger_dagster.usage.month_key import MonthKey

__all__ = ["KeyMemory", "manifest_stamp"]

FILE = "_keys.json"


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The file."""

    schema_version: int
    generated_at: str
    state: str
    """Stands for all that the keys depend on."""
    keys: dict[str, tuple[str, str]]
    """Of each month, in order: its requests and its pricing."""


class KeyMemory:
    """What is remembered of one state of the ledger."""

    def __init__(self, home: Home, cache: AggregateCache, stamp: str, about: str) -> None:
        """Takes the manifest's stamp from before it was opened, and what the keys depend on besides it."""
        self._home = home
        self._cache = cache
        self._stamp = stamp
        self._path = cache.folder / FILE
        text = f"{cache.program} {about} {stamp}"
        self._state = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        self.keys = self._read()
        """Keys by month, in order; None where nothing is remembered of this state."""

    def keep(self, keys: Mapping[str, MonthKey]) -> None:
        """Remembers the keys of all months, unless the ledger has changed meanwhile or nothing can be kept."""
        is_known = self.keys is not None or not self._cache.enabled or bool(self._cache.problem)
        if is_known or manifest_stamp(self._home) != self._stamp:
            return
        found = _Kept(
            schema_version=CACHE_SCHEMA_VERSION,
            generated_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            state=self._state,
            keys={month: (key.events, key.pricing) for month, key in keys.items()},
        )
        try:
            write_atomic(self._path, msgspec.json.encode(found) + b"\n")
        except OSError:
            return  # worked out again by the next run

    def _read(self) -> dict[str, MonthKey] | None:
        content = read_entry(self._path) if self._cache.enabled else None
        if content is None:
            return None
        try:
            found = msgspec.json.decode(content, type=_Kept)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return {month: MonthKey(*key) for month, key in found.keys.items()} if found.state == self._state else None


def manifest_stamp(home: Home) -> str:
    """What `stat` tells of the manifest; every commit changes it.  An empty log of writes is as good as none."""
    path = home.manifest_path
    return f"{_stat(path)} {_stat(path.with_name(path.name + '-wal'))}"


def _stat(path: Path) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_size, found.st_mtime_ns, found.st_ino) if found.st_size else ()
