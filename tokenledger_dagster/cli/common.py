"""What commands share: the home, the zone, syncing with progress, filters.

Here: small helpers around arguments and settings.  Not here: printing results (``cli.output``).
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tokenledger_dagster.cli import arguments
from tokenledger_dagster.contracts.summaries import IngestSummary
from tokenledger_dagster.errors import NothingToReport, TokenLedgerError
from tokenledger_dagster.home import Home, ensure_home
from tokenledger_dagster.ingest.manifest import connect, writer_lock
from tokenledger_dagster.ingest.segments import require_manifest
from tokenledger_dagster.ingest.sync import Progress, SyncOptions, sync
from tokenledger_dagster.ingest.zones import Zone, system_zone
from tokenledger_dagster.settings import Settings

if TYPE_CHECKING:
    import argparse

    from tokenledger_dagster.ingest.unchanged import Walked
    from tokenledger_dagster.usage.selection import Selection

_QUIET_BELOW_BYTES = 32 << 20
_LINE_EVERY_SECONDS = 5.0


def open_home(settings: Settings) -> Home:
    """The home the settings name, made if it is new."""
    return ensure_home(settings.home)


def zone_name(settings: Settings) -> str:
    """Zone of reports and cells: the setting, else the system's."""
    return settings.timezone or system_zone()


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Filters shared by report, events, duplicates and explain."""
    parser.add_argument("--since", metavar="DATE", help="first day, as 2026-02-01")
    parser.add_argument("--until", metavar="DATE", help="last day, included")
    parser.add_argument("--tz", metavar="ZONE", help="IANA time zone that days are cut in (default: the system's)")
    parser.add_argument("--client", metavar="NAME", action="append", default=[], help="only this client (repeatable)")
    parser.add_argument(
        "--model", metavar="NAME", action="append", default=[], help="only this model, canonical or raw"
    )
    parser.add_argument("--project", metavar="PATH", action="append", default=[], help="only this project folder")
    parser.add_argument("--session", metavar="ID", action="append", default=[], help="only this session")
    parser.add_argument("--no-estimates", action="store_true", help="leave estimated figures out")


def add_no_sync(parser: argparse.ArgumentParser) -> None:
    """The switch that answers from the last commit."""
    parser.add_argument("--no-sync", action="store_true", help="do not read the logs; answer from the last commit")


def selection_of(args: arguments.Arguments, settings: Settings) -> Selection:
    """The selection an argument list asks for.  Raises UsageError for unknown clients, zones and dates."""
    zone = args.tz or zone_name(settings)
    Zone(zone)
    return arguments.selection_of(args, zone)


def synced(
    home: Home, settings: Settings, options: SyncOptions | None = None, walked: Walked | None = None
) -> IngestSummary:
    """Syncs, showing progress on stderr where there is much to read, and says what a person should know."""
    options = options or SyncOptions(zone=zone_name(settings), host=settings.host)
    summary = sync(home, os.environ, options, progress=progress(), walked=walked)
    if not summary.synced:
        note("another process is writing this ledger; answering from its last commit")
    for problem in summary.problems if summary.synced else []:
        note(problem)
    for text in summary.notes:
        note(text)
    return summary


def ledger(home: Home) -> sqlite3.Connection:
    """The manifest, for reading.  Raises NothingToReport on a home that was never filled."""
    if not home.manifest_path.exists():
        raise NothingToReport(f"no events yet in {home.root}; run `tokenledger sync`, or leave --no-sync out")
    connection = connect(home, read_only=True)
    try:
        require_manifest(home, connection)
    except TokenLedgerError:
        connection.close()
        raise
    return connection


def note_if_busy(home: Home) -> None:
    """Says that another process is waited for, where one writes this ledger."""
    with writer_lock(home) as held:
        if not held:
            note("another process is writing this ledger; waiting for it")


def journal_rows(home: Home) -> int:
    """Records that still lie in journals."""
    connection = connect(home, read_only=True)
    try:
        query = "SELECT coalesce(sum(row_count), 0) FROM segments WHERE format = 'journal'"
        return int(connection.execute(query).fetchone()[0])
    finally:
        connection.close()


def note(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr)


def now() -> datetime:
    """The time artifacts are stamped with."""
    return datetime.now(UTC)


def progress() -> Progress:
    """Progress on stderr: a bar on a terminal, a line every few seconds elsewhere, nothing for little work."""
    if sys.stderr.isatty():
        return _Bar()
    last = time.monotonic()

    def line(done: int, total: int, done_bytes: int, total_bytes: int) -> None:
        nonlocal last
        if total_bytes >= _QUIET_BELOW_BYTES and (time.monotonic() - last > _LINE_EVERY_SECONDS):
            last = time.monotonic()
            note(f"reading logs: {done:,} of {total:,} files, {done_bytes >> 20:,} of {total_bytes >> 20:,} MB")

    return line


class _Bar:
    """A rich progress bar, loaded only when there is enough to read."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, done: int, total: int, done_bytes: int, total_bytes: int) -> None:
        if total_bytes < _QUIET_BELOW_BYTES:
            return
        if self._bar is None:
            self._bar = _rich_bar(total_bytes)
        self._bar.update(self._bar.task_ids[0], completed=done_bytes, files=f"{done:,}/{total:,} files")
        if done == total:
            self._bar.stop()


def _rich_bar(total_bytes: int) -> Any:
    from rich import progress as parts
    from rich.console import Console

    columns = [parts.TextColumn("reading logs"), parts.BarColumn(), parts.DownloadColumn()]
    columns += [parts.TextColumn("{task.fields[files]}"), parts.TimeRemainingColumn()]
    bar = parts.Progress(*columns, console=Console(stderr=True), transient=True)
    bar.add_task("", total=total_bytes, files="")
    bar.start()
    return bar
