"""The state of a home and of the logs that feed it, as findings a person can act on.

Here: what ``tokenledger doctor`` reports.  Not here: printing, or checks over published tables (``invariants``).
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import msgspec

from tokenledger_dagster import __version__
from tokenledger_dagster.clients import compiled
from tokenledger_dagster.clients.logs import agents_environ
from tokenledger_dagster.clients.registry import clients, finder, roots_of
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.model_card import read_card
from tokenledger_dagster.inference.model_status import model_status
from tokenledger_dagster.ingest import overridden
from tokenledger_dagster.ingest.accepted import WAITING, standing
from tokenledger_dagster.ingest.journal import SegmentDamagedError
from tokenledger_dagster.ingest.manifest import ManifestError, connect, get_meta
from tokenledger_dagster.ingest.segments import segments, verify
from tokenledger_dagster.ingest.sync import ledger_counts
from tokenledger_dagster.settings import Settings
from tokenledger_dagster.usage.effective import effective

Level = Literal["ok", "info", "warning", "error"]
CLAUDE_DEFAULT_DAYS = 30
"""Days after which Claude Code deletes transcripts when its settings do not say (vendor's settings reference)."""


class Finding(msgspec.Struct, frozen=True):
    """One thing found."""

    level: Level
    topic: str
    text: str


def examine(home: Home, environ: Mapping[str, str], settings: Settings) -> list[Finding]:
    """Everything worth telling about ``home`` and its sources; reads logs' names and sizes only."""
    found = _versions()
    found += _readers()
    found += _sources(environ)
    found += _retention(environ)
    found += _state(home)
    found += _inference(home, settings)
    return found


def _versions() -> list[Finding]:
    packages = []
    for name in ("dagster", "duckdb", "pyarrow", "msgspec"):
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            packages.append(f"{name} missing")
    python = ".".join(map(str, sys.version_info[:3]))
    text = f"tokenledger {__version__}, Python {python} on {platform.system()}, {', '.join(packages)}"
    return [Finding("info", "versions", text)]


def _readers() -> list[Finding]:
    """Whether transcripts and rollouts are read by the compiled readers; the result is the same."""
    if compiled.bulk() is not None:
        return [Finding("ok", "readers", "Claude Code and Codex logs are read by the compiled readers")]
    remedy = "install a C compiler and Python's headers, then run `make setup`"
    if os.environ.get(compiled.SWITCH) == "off":
        remedy = f"unset {compiled.SWITCH}"
    return [
        Finding("info", "readers", f"Claude Code and Codex logs are read by the slower readers; to change it, {remedy}")
    ]


def _sources(environ: Mapping[str, str]) -> list[Finding]:
    found = []
    absent = []
    for client in clients():
        finding = finder(client)
        roots, wrong = roots_of(client, agents_environ(environ))
        if wrong is not None:
            found.append(
                Finding("warning", client, f"its adapter cannot be used ({wrong}); mend or remove its package")
            )
        if not roots:
            absent.append(client)
        for root in roots:
            sizes = [stat.st_size for _, _, stat in finding.entries(root)]
            text = f"{root.path} ({root.origin}): {len(sizes):,} files, {sum(sizes) / 1e6:,.1f} MB"
            found.append(Finding("ok", client, text))
    if absent:
        found.append(Finding("info", "clients", f"no logs found on this machine: {', '.join(absent)}"))
    return found


def _retention(environ: Mapping[str, str]) -> list[Finding]:
    """Claude Code deletes transcripts; what the ledger has read stays."""
    found = []
    for root in finder("claude-code").roots(agents_environ(environ)):
        days = cleanup_days(root.path.parent / "settings.json")
        if days is None:
            continue
        text = (
            f"Claude Code deletes transcripts under {root.path} after {days} days (cleanupPeriodDays); the ledger "
            "keeps what it has read, so sync at least that often"
        )
        found.append(Finding("warning", "retention", text))
    return found


def cleanup_days(path: Path) -> int | None:
    """Days after which Claude Code deletes transcripts; None where its settings cannot be read at all."""
    try:
        settings = json.loads(path.read_text("utf-8")) if path.exists() else {}
    except (OSError, ValueError):
        return None
    days = settings.get("cleanupPeriodDays") if isinstance(settings, dict) else None
    return days if isinstance(days, int) and not isinstance(days, bool) else CLAUDE_DEFAULT_DAYS


def _inference(home: Home, settings: Settings) -> list[Finding]:
    """Whether texts are embedded, by which model, and whether those are words that a person typed."""
    status = model_status(home, settings, read_card())
    left = [] if status.store_prompts else _kept_words(home)
    if status.problem:
        return [Finding("error", "inference", status.problem), *left]
    if not status.on:
        asked_for = settings.features.inference == "true"
        off = Finding("warning" if asked_for else "info", "inference", f"off: {status.why}; {status.turn_on}")
        return [off, *left]
    text = f"on: {status.model} from {status.source}, {status.requested_backend} is asked first"
    kept = f"kept in {home.root}" if status.store_prompts else "not kept"
    words = f"read and embedded on this machine, {kept}" if status.prompts else "not read"
    return [Finding("ok", "inference", text), Finding("info", "prompts", f"the words you typed are {words}"), *left]


def _kept_words(home: Home) -> list[Finding]:
    """Words of an earlier run, which the next look at the sessions deletes."""
    from tokenledger_dagster.inference.prompts.texts import TEXTS

    path = home.prompts / TEXTS
    if not os.path.exists(path):  # False also where the folder cannot be entered
        return []
    told = f"{path} holds words you typed, which are not to be kept any more; the next `tokenledger search` that reads "
    return [Finding("warning", "prompts", f"{told}prompts or run of inference/session_vectors deletes it, as you may")]


def _state(home: Home) -> list[Finding]:
    if not home.manifest_path.exists():
        return [Finding("info", "home", f"{home.root} is empty; `tokenledger sync` fills it")]
    try:
        connection = connect(home, read_only=True)
    except ManifestError as error:
        return [Finding("error", "home", str(error))]
    try:
        return [*_counts(home, connection), *_prices(home, connection), *_segments(home, connection)]
    finally:
        connection.close()


def _counts(home: Home, connection: sqlite3.Connection) -> list[Finding]:
    records, events = ledger_counts(connection)
    found = [Finding("ok", "home", f"{home.root}: {events:,} events, {records - events:,} duplicates")]
    health = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if health != "ok":
        found.append(Finding("error", "manifest", f"{home.manifest_path}: {health}; restore it from a backup"))
    given = overridden.wanted(home, connection)
    if given.problem:
        found.append(Finding("error", "names", given.problem))
    elif given.overrides:
        listed = ", ".join(one.name for one in given.overrides.entries[:5])
        found.append(Finding("ok", "names", f"{len(given.overrides.entries):,} model names are yours ({listed})"))
    if get_meta(connection, "booking_key") not in (None, overridden.key_of(given.overrides)):
        found.append(Finding("info", "names", "rules or names changed since the last sync; the next one books anew"))
    missing = connection.execute("SELECT count(*) FROM sources WHERE status = 'missing'").fetchone()[0]
    if missing:
        found.append(Finding("ok", "durability", f"{missing:,} logs are gone from disk; their events are kept"))
    bad = connection.execute("SELECT count(*) FROM quarantine").fetchone()[0]
    if bad:
        found.append(Finding("warning", "bad input", f"{bad:,} lines could not be read; see lake_quarantine"))
    unpriced = connection.execute("SELECT coalesce(sum(unpriced_count), 0) FROM cells").fetchone()[0]
    if unpriced:
        names = connection.execute(
            "SELECT DISTINCT model FROM models JOIN cells USING (model_no) WHERE unpriced_count > 0 LIMIT 5"
        ).fetchall()
        listed = ", ".join(name for (name,) in names)
        found.append(Finding("warning", "prices", f"{unpriced:,} events have no known price ({listed})"))
    return found


def _prices(home: Home, connection: sqlite3.Connection) -> list[Finding]:
    """What the ledger is priced with, what waits, and what is declared of plans."""
    prices = standing(home, connection)
    parts = ", ".join(f"{name} {digest[:8]}" for name, digest in prices.snapshot.parts.items())
    found = [Finding("ok", "prices", f"snapshot {prices.snapshot.snapshot_id} ({parts})")]
    if prices.problem:
        found.append(Finding("error", "prices", prices.problem))
    if prices.waiting is not None:
        found.append(Finding("warning", "prices", WAITING))
    try:
        plans = effective(connection, str(home.root))
    except TokenLedgerError as error:
        return [*found, Finding("error", "plans", str(error))]
    # of each plan the latest days; months stand in order of time
    latest = {month.subscription: month for month in plans.months} if plans is not None else {}
    for name, last in latest.items():
        fee = f"${last.fee_nano / 1e9:,.2f} from {last.segment_start} to before {last.segment_end}"
        found.append(Finding("ok", "plans", f"{name} carries {last.provider}: {fee}, {last.event_count:,} requests"))
    return found


def _segments(home: Home, connection: sqlite3.Connection) -> list[Finding]:
    found = []
    listed = segments(connection)
    for segment in listed:
        try:
            verify(home, segment)
        except SegmentDamagedError as error:
            found.append(Finding("error", "lake", str(error)))
    if not found:
        size = sum(segment.bytes for segment in listed)
        found.append(Finding("ok", "lake", f"{len(listed):,} segments intact, {size / 1e6:,.1f} MB"))
    return found
