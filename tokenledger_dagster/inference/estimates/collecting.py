"""What the logs hold: counted answers to fit on, and sums of what has no counts, session by session.

Here: which files are read, newest first and within bounds, and what becomes of a reader's findings. Not here: how a
client's log is read (`logs`), estimates (`choosing`), and the table (`table`).
"""

from __future__ import annotations

import os
import sqlite3
from bisect import bisect_right
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.cursor_hours import BRIDGED, hour_of
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.inference.estimates.features import NOTHING, Features, added
from tokenledger_dagster.inference.estimates.fitting import Sample
from tokenledger_dagster.inference.estimates.logs.piece import Closing, Piece
from tokenledger_dagster.inference.estimates.logs.registry import Texts, reader_of, texts_of
from tokenledger_dagster.inference.policy import EstimatePolicy, PromptPolicy
from tokenledger_dagster.inference.prompts.reading import read
from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.quarters import SLOT_US

__all__ = ["Collected", "Source", "Uncounted", "booked_counts", "collect", "sources"]

_SQL = Path(__file__).parent / "sql"
_EXPORT_SESSION = "dashboard"
"""The session in which requests of Cursor's usage export stand."""
_READ_FIRST = {"database": 0, "document": 1, "lines": 2}
"""Of two logs of one session the better one comes first."""


class Source(NamedTuple):
    """A log as the ledger knows it."""

    client: str
    path: str
    size: int
    mtime_ns: int
    uncounted: bool
    """Whether the ledger read no usage from it, or passed rows over that may be requests without counts."""


class Uncounted:
    """What one session holds without counts."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.prompts: Features = NOTHING
        self.answers: Features = NOTHING
        self.prompt_count = self.answer_count = 0
        self.first_us: int | None = None
        self.last_us: int | None = None
        self.models: Counter[str | None] = Counter()

    def add(self, piece: Piece) -> None:
        """Adds a prompt or an answer."""
        if piece.is_answer:
            self.answers, self.answer_count = added(self.answers, piece.features), self.answer_count + 1
            self.models[piece.model_raw] += 1
        else:
            self.prompts, self.prompt_count = added(self.prompts, piece.features), self.prompt_count + 1
        if piece.time_us is not None:
            self.first_us = piece.time_us if self.first_us is None else min(self.first_us, piece.time_us)
            self.last_us = piece.time_us if self.last_us is None else max(self.last_us, piece.time_us)

    @property
    def model_raw(self) -> str | None:
        """The model that wrote most of its answers; None where the log names none."""
        named = [(count, name) for name, count in self.models.items() if name]
        return max(named)[1] if named else None


class Collected:
    """What one look at the logs came to."""

    def __init__(self) -> None:
        self.samples: dict[str, list[Sample]] = {}
        """Counted answers by the maker of the model."""
        self.sessions: dict[tuple[str, str], Uncounted] = {}
        """By client and session."""
        self.files_read = 0
        self.bytes_read = 0
        self.covered = 0
        """Prompts and answers of hours that a usage export covers: their requests are booked from it."""
        self.skipped: Counter[str] = Counter()
        self.problems: list[str] = []


def sources(connection: sqlite3.Connection) -> list[Source]:
    """Logs that are there and may hold texts, of all clients whose texts are read; the newest first."""
    found = []
    for client, path, size, mtime_ns, has_usage, told in connection.execute(_sql("sources")):
        texts = texts_of(client)
        if texts is not None:
            is_uncounted = not has_usage or not set(texts.reasons).isdisjoint((told or "").split(","))
            found.append(Source(client, path, size, mtime_ns, is_uncounted))
    return sorted(found, key=_newest_first)


def booked_counts(connection: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """Booked requests by client and session."""
    return {(client, session): count for client, session, count in connection.execute(_sql("booked"))}


def collect(connection: sqlite3.Connection, limits: EstimatePolicy, reading: PromptPolicy) -> Collected:
    """Look at the logs.

    Args:
        connection: the manifest of a home, read only.
        limits: how many samples are enough, and how many bytes may be read for them.
        reading: how long a line or document may be.
    """
    look = _Look(connection, limits, reading)
    found = sources(connection)
    for one in sorted(found, key=lambda one: _READ_FIRST[_shape(one)]):
        if one.uncounted:
            look.read(one)
    for one in found:
        if not one.uncounted:
            look.read_for_samples(one)
    return look.found


class _Look:
    """One walk over the logs."""

    def __init__(self, connection: sqlite3.Connection, limits: EstimatePolicy, reading: PromptPolicy) -> None:
        self.found = Collected()
        self._limits, self._reading = limits, reading
        self._booked = booked_counts(connection)
        self._exported = _ExportHours(connection)
        self._seen: set[bytes] = set()
        self._shapes: dict[tuple[str, str], str] = {}
        self._spent: Counter[str] = Counter()
        """Bytes read for samples alone, by client."""
        self._given: Counter[str] = Counter()
        """Samples by client."""

    def read_for_samples(self, one: Source) -> None:
        """Reads a file whose requests all have counts, as long as that may be of use."""
        limits, spent = self._limits, self._spent[one.client] + one.size
        if spent > limits.max_fit_bytes or self._given[one.client] >= limits.max_samples:
            return
        self._spent[one.client] = spent
        self.read(one)

    def read(self, one: Source) -> None:
        """Reads a file; what cannot be read is told and passed over."""
        texts = texts_of(one.client)
        if texts is None:
            return
        try:
            file = _file(one)
            take = _Take(self, one, texts, file.shape)
            reader = reader_of(file, take)
            if reader is None:
                return
            self.found.bytes_read += read(file, reader, self._reading, self.found.skipped)
            if isinstance(reader, Closing):
                reader.close()
        except (OSError, EOFError, ValueError, sqlite3.Error) as fault:
            # what is said of a wrong value may quote it
            text = type(fault).__name__ if isinstance(fault, ValueError) else " ".join(str(fault).split())[:200]
            self.found.problems.append(f"{one.path}: not read for estimates ({text})")
            return
        self.found.files_read += 1

    def sample(self, client: str, piece: Piece, tokens: int) -> None:
        """Keeps a counted answer, while there are not enough."""
        maker = maker_of(client, piece.model_raw, piece.time_us)
        kept = self.found.samples.setdefault(maker, [])
        if len(kept) < self._limits.max_samples:
            self._given[client] += 1
            kept.append(Sample(piece.features, tokens, piece.session_id))

    def is_new(self, key: bytes) -> bool:
        """Whether no other file showed this prompt or answer."""
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def is_booked(self, client: str, piece: Piece, *, by_request: bool) -> bool:
        """Whether the request of a prompt or answer without counts is booked all the same, from another log."""
        if not by_request:
            return bool(self._booked.get((client, piece.session_id)))
        if client == "cursor" and piece.time_us is not None and self._exported.cover(piece.time_us):
            self.found.covered += 1
            return True
        return False

    def uncounted(self, client: str, path: str, shape: str, piece: Piece) -> None:
        """Adds to its session what has no counts; one session is told by one kind of log alone."""
        key = client, piece.session_id
        if self._shapes.setdefault(key, shape) == shape:
            self.found.sessions.setdefault(key, Uncounted(path)).add(piece)


class _Take:
    """Takes the findings of one file."""

    def __init__(self, look: _Look, source: Source, texts: Texts, shape: str) -> None:
        self._look, self._source, self._texts, self._shape = look, source, texts, shape

    def __call__(self, piece: Piece) -> None:
        look, client = self._look, self._source.client
        if not look.is_new(piece.key):
            return
        if piece.tokens is not None:
            look.sample(client, piece, piece.tokens)
        if piece.is_counted or not self._source.uncounted:
            return
        if not look.is_booked(client, piece, by_request=self._texts.by_request):
            look.uncounted(client, self._source.path, self._shape, piece)


class _ExportHours:
    """The hours that usage exports of Cursor cover, as `clients.cursor_hours` has it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute(_sql("export_slots"), ("cursor", _EXPORT_SESSION))
        self._hours = [hour_of(slot * SLOT_US) for (slot,) in rows]

    def cover(self, time_us: int) -> bool:
        """Whether the hour lies between two rows that are not too far apart."""
        hour = hour_of(time_us)
        place = bisect_right(self._hours, hour)
        if place and self._hours[place - 1] == hour:
            return True
        return 0 < place < len(self._hours) and self._hours[place] - self._hours[place - 1] <= BRIDGED


def maker_of(client: str, model_raw: str | None, time_us: int | None) -> str:
    """Who made the model, and so its tokenizer; empty where that is not known."""
    moment = datetime.fromtimestamp((time_us or 0) / 1e6, UTC)
    return resolve_model(model_raw, client, moment.strftime("%Y-%m-%d")).maker or ""


def _newest_first(one: Source) -> tuple[int, str, str]:
    return -one.mtime_ns, one.client, one.path


def _file(one: Source) -> SourceFile:
    found = (one.path, os.path.basename(one.path), os.stat(one.path))
    return SourceFile.of(one.client, found, shape=_shape(one))  # type: ignore[arg-type]


def _shape(one: Source) -> str:
    adapter = clients()[one.client]
    shape = getattr(adapter, "shape", None)
    return shape(one.path) if shape is not None else "lines"


@cache
def _sql(name: str) -> str:
    return (_SQL / f"{name}.sql").read_text("utf-8")
