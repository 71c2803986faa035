"""What the suites share: a person's home in a temporary folder, rows as the agents write them, and what was booked.

Here: builders of Claude Code and Codex rows, ``World`` (logs, ledger, sync) and readers of the booked state.  Not here:
any expectation.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from tokenledger_dagster.clients.registry import logs
from tokenledger_dagster.contracts.summaries import IngestSummary
from tokenledger_dagster.home import Home, ensure_home
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.settling import settle
from tokenledger_dagster.ingest.sync import SyncOptions, sync

START = datetime(2026, 2, 18, 9, 0, tzinfo=UTC)
SONNET = "claude-sonnet-4-5-20250929"

Row = dict[str, Any]


def at(minutes: float = 0, start: datetime = START) -> str:
    """A row's time, that many minutes after the start of the day's work."""
    moment = start + timedelta(minutes=minutes)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def us(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time."""
    delta = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


# ------------------------------------------------------------------ Claude Code rows


def claude(
    message: str | None = "msg_1",
    request: str | None = "req_1",
    *,
    input: Any = 10,
    output: Any = 5,
    write: Any = 0,
    read: Any = 0,
    minutes: float = 0,
    session: str | None = "s1",
    model: str | None = SONNET,
    sidechain: bool = False,
    usage: Any = None,
    **row: Any,
) -> Row:
    """An assistant row with usage; further keys of the row by their own names (``None`` leaves a key out)."""
    counters = {
        "input_tokens": input,
        "cache_creation_input_tokens": write,
        "cache_read_input_tokens": read,
        "output_tokens": output,
    }
    found = {
        "type": "assistant",
        "timestamp": at(minutes),
        "sessionId": session,
        "isSidechain": sidechain,
        "cwd": "/home/ada/code/tidepool",
        "version": "2.1.38",
        "requestId": request,
        "message": {
            "id": message,
            "role": "assistant",
            "model": model,
            "content": [{"type": "text", "text": "done"}],
            "usage": counters if usage is None else usage,
        },
        **row,
    }
    found["message"] = {key: value for key, value in found["message"].items() if value is not None}
    return {key: value for key, value in found.items() if value is not None}


def claude_progress(direct: Row, **row: Any) -> Row:
    """The row by which a parent transcript repeats a subagent's message."""
    nested = {"type": "assistant", "timestamp": direct["timestamp"], "message": direct["message"]}
    if "requestId" in direct:
        nested["requestId"] = direct["requestId"]
    return {
        "type": "progress",
        "timestamp": direct["timestamp"],
        "sessionId": direct["sessionId"],
        "isSidechain": False,
        "data": {"type": "agent_progress", "agentId": "a1", "message": nested},
        **row,
    }


def user(text: str = "please", minutes: float = 0, session: str = "s1") -> Row:
    """A prompt: no usage."""
    return {
        "parentUuid": None,
        "sessionId": session,
        "type": "user",
        "message": {"role": "user", "content": text},
        "timestamp": at(minutes),
    }


# ------------------------------------------------------------------ Codex rows


def meta(session: str = "t1", minutes: float = 0, **payload: Any) -> Row:
    """The ``session_meta`` row a rollout opens with."""
    named = {"id": session, "timestamp": at(minutes), "cwd": "/home/ada/code/kelp", "cli_version": "0.104.0"}
    return {"timestamp": at(minutes), "type": "session_meta", "payload": {**named, **payload}}


def spawned_by(parent: str) -> Row:
    """The ``source`` of a thread that another one spawned."""
    return {"subagent": {"thread_spawn": {"parent_thread_id": parent}}}


def turn(model: str = "gpt-5.1-codex", minutes: float = 0, **payload: Any) -> Row:
    """A ``turn_context`` row."""
    return {"timestamp": at(minutes), "type": "turn_context", "payload": {"model": model, **payload}}


def vector(input: Any = 0, cached: Any = 0, output: Any = 0, reasoning: Any = 0, write: Any = None) -> Row:
    """Codex counters: cached inside input, reasoning inside output."""
    named = {"input_tokens": input, "cached_input_tokens": cached, "output_tokens": output}
    named |= {"reasoning_output_tokens": reasoning, "total_tokens": 0}
    if write is not None:
        named["cache_write_input_tokens"] = write
    return named


def tokens(total: Any = None, last: Any = None, minutes: float = 0, **row: Any) -> Row:
    """A ``token_count`` row; a tuple stands for ``vector(*tuple)``."""
    info: Row = {}
    for name, value in (("total_token_usage", total), ("last_token_usage", last)):
        if value is not None:
            info[name] = vector(*value) if isinstance(value, tuple) else value
    payload = {"type": "token_count", "info": info or None, "rate_limits": {"primary": {"used_percent": 3.0}}}
    return {"timestamp": at(minutes), "type": "event_msg", "payload": payload, **row}


def rollout(session: str = "t1", day: str = "2026/02/18") -> str:
    """Path of a rollout below ``~/.codex/sessions``."""
    return f"{day}/rollout-{day.replace('/', '-')}T09-00-00-{session}.jsonl"


# ------------------------------------------------------------------ files


def line(row: Row | str | bytes) -> bytes:
    """A row as its writer lays it out; text and bytes as they are."""
    if isinstance(row, bytes):
        return row
    if isinstance(row, str):
        return row.encode()
    return json.dumps(row, separators=(",", ":")).encode()


def jsonl(*rows: Row | str | bytes) -> bytes:
    """Rows as a file, every line ended."""
    return b"".join(line(row) + b"\n" for row in rows)


class World:
    """A person's home with agents' logs, and the ledger that reads them."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.home_dir = folder / "home"
        self.home_dir.mkdir(parents=True, exist_ok=True)
        self.environ: dict[str, str] = {"HOME": str(self.home_dir), **environ}
        self.ledger: Home = ensure_home(folder / "ledger", "test")
        self.sources: tuple[tuple[str, str], ...] = ()
        """(client, path) of logs outside the clients' own places."""

    # -------------------------------------------------------------- logs

    def claude_path(self, name: str = "s1.jsonl") -> Path:
        """A transcript's path; a bare name lies in one project's folder."""
        return self.home_dir / ".claude" / "projects" / (name if "/" in name else f"-home-ada-code-tidepool/{name}")

    def codex_path(self, name: str | None = None, *, archived: bool = False) -> Path:
        """A rollout's path."""
        return self.home_dir / ".codex" / ("archived_sessions" if archived else "sessions") / (name or rollout())

    def claude(self, *rows: Row | str | bytes, name: str = "s1.jsonl") -> Path:
        """Writes a transcript."""
        return self.write(self.claude_path(name), *rows)

    def codex(self, *rows: Row | str | bytes, name: str | None = None, archived: bool = False) -> Path:
        """Writes a rollout."""
        return self.write(self.codex_path(name, archived=archived), *rows)

    @staticmethod
    def write(path: Path, *rows: Row | str | bytes) -> Path:
        """Writes rows as the whole file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jsonl(*rows))
        return path

    @staticmethod
    def append(path: Path, *rows: Row | str | bytes) -> Path:
        """Adds rows at the end."""
        with path.open("ab") as handle:
            handle.write(jsonl(*rows))
        return path

    # -------------------------------------------------------------- ledger

    def sync(self, **options: Any) -> IngestSummary:
        """Brings the ledger up to date."""
        return sync(self.ledger, self.environ, SyncOptions(**{"add_sources": self.sources, **options}))

    def query(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Rows of the manifest, every record and event among them; settling them must not change what they sum to."""
        before = self._cells()
        settle(self.ledger)
        assert self._cells() == before
        connection = connect(self.ledger, read_only=True)
        try:
            return connection.execute(sql, arguments).fetchall()
        finally:
            connection.close()

    def _cells(self) -> list[tuple[Any, ...]]:
        connection = connect(self.ledger, read_only=True)
        try:
            query = "SELECT 'day', * FROM cells UNION ALL SELECT 'slot', * FROM slots ORDER BY 1, 2, 3, 4, 5"
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def events(self) -> list[Event]:
        """Booked events in order of time."""
        losers: dict[int, list[str]] = {}
        for number, rule in self.query(
            "SELECT event_no, rule FROM records WHERE rule IS NOT NULL AND event_no IS NOT NULL"
        ):
            losers.setdefault(number, []).append(rule)
        return [Event(*row, tuple(sorted(losers.get(number, ())))) for number, *row in self.query(_EVENTS)]

    def duplicates(self) -> list[tuple[str, str | None]]:
        """(rule, owner event) of every record that was not booked, sorted."""
        sql = (
            "SELECT r.rule, e.event_id FROM records r LEFT JOIN events e USING (event_no) "
            "WHERE r.rule IS NOT NULL ORDER BY 1, 2"
        )
        return [(rule, owner) for rule, owner in self.query(sql)]

    def rules(self) -> dict[str, int]:
        """How many records were not booked, by rule."""
        return dict(self.query("SELECT rule, count(*) FROM records WHERE rule IS NOT NULL GROUP BY rule ORDER BY rule"))

    def records(self) -> list[Any]:
        """Every record of the lake as its journals or Parquet segments hold it."""
        import duckdb

        from tokenledger_dagster.ingest.lake import attach

        connection = duckdb.connect()
        try:
            attach(connection, self.ledger)
            cursor = connection.execute("SELECT * FROM lake_records ORDER BY rid")
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        finally:
            connection.close()

    def skipped(self) -> dict[str, int]:
        """Lines passed over, by reason, of the whole ledger."""
        return dict(self.query("SELECT reason, sum(row_count) FROM skips GROUP BY reason ORDER BY reason"))

    def booked(self) -> Booked:
        """All that booking decided, free of numbers that depend on the order of reading."""
        return Booked(self.events(), self.duplicates(), self.cells())

    def cells(self) -> list[tuple[Any, ...]]:
        """Sums by day, session and model."""
        return self.query(_CELLS)

    def files(self) -> list[str]:
        """Every file of the lake but the manifest and what was put aside, below the lake."""
        lake = self.ledger.lake
        return sorted(
            path.relative_to(lake).as_posix()
            for path in lake.rglob("*")
            if path.is_file() and not path.name.startswith("manifest.sqlite") and "orphaned" not in path.parts
        )


class Event(msgspec.Struct, frozen=True):
    """A booked event as tests look at it."""

    event_id: str
    client: str
    session: str
    project: str | None
    timestamp_us: int
    model_raw: str | None
    model: str
    input: int
    output: int
    cache_write: int
    cache_read: int
    cache_write_1h: int
    reasoning: int
    web_searches: int
    nano: int | None
    context: str
    provider: str
    tool_input: int
    tool_output: int
    copies: tuple[str, ...] = ()
    """Rules of the records that were not booked in its favour."""

    @property
    def buckets(self) -> tuple[int, int, int, int]:
        """Input, cache write, cache read, output."""
        return self.input, self.cache_write, self.cache_read, self.output

    @property
    def time(self) -> str:
        """RFC 3339, UTC."""
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.timestamp_us)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Booked(msgspec.Struct, frozen=True):
    """Events, duplicates and cells."""

    events: list[Event]
    duplicates: list[tuple[str, str | None]]
    cells: list[tuple[Any, ...]]


_EVENTS = """
SELECT e.event_no, e.event_id, s.client, s.session_id, s.project, e.timestamp_us, m.model_raw, m.model, e.input_tokens,
  e.output_tokens, e.cache_write_tokens, e.cache_read_tokens, e.cache_write_1h_tokens, e.reasoning_tokens,
  e.web_search_requests, e.list_price_nano, e.requested_context, m.provider, e.tool_input_tokens, e.tool_output_tokens
FROM events e JOIN sessions s USING (session_no) JOIN models m USING (model_no) ORDER BY e.timestamp_us, e.event_id
"""
_CELLS = """
SELECT c.day, s.client, s.session_id, m.model_raw, m.model, c.event_count, c.input_tokens, c.output_tokens,
  c.cache_write_tokens, c.cache_read_tokens, c.cache_write_1h_tokens, c.reasoning_tokens, c.list_price_nano,
  c.unpriced_count, c.unpriced_tokens
FROM cells c JOIN sessions s USING (session_no) JOIN models m USING (model_no) ORDER BY 1, 2, 3, 4, 5
"""


def buckets(events: Iterable[Event]) -> list[tuple[int, int, int, int]]:
    """Input, cache write, cache read, output of each event."""
    return [event.buckets for event in events]


def totals(events: Iterable[Event]) -> tuple[int, int, int, int]:
    """Input, cache write, cache read, output, summed."""
    found = buckets(events)
    return tuple(map(sum, zip(*found, strict=True))) if found else (0, 0, 0, 0)  # type: ignore[return-value]


def set_mtime(path: Path, seconds: float) -> None:
    """Sets a file's modification time."""
    os.utime(path, (seconds, seconds))


def plain_environ(home: Path, state: Path) -> Mapping[str, str]:
    """An environment for subprocesses: this interpreter's own, with a home and a ledger of its own."""
    agents = {name for one in logs().values() for name in (one.override, *getattr(one, "watched", ()))}
    kept = {key: value for key, value in os.environ.items() if key not in agents and not key.startswith("XDG_")}
    return {**kept, "HOME": str(home), "TOKENLEDGER_HOME": str(state), "TZ": "UTC"}
