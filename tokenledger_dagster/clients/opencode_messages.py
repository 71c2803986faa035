"""opencode's messages, and the JSON files that held them before its database; Kilo's CLI writes the same.

Here: how one message becomes a usage record, and the reader of message files.  Not here: the database's tables
(``clients.opencode_tables``), or where they lie (``places.csv``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import msgspec

from tokenledger_dagster.clients import documents, values
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.clients.evidence import Evidence
from tokenledger_dagster.clients.memory import Memory
from tokenledger_dagster.clients.row_values import dated, kept_usage, name_of, usage_of
from tokenledger_dagster.clients.rows import Row, object_of
from tokenledger_dagster.contracts.record import Counters, UsageRecord


class Session(msgspec.Struct, frozen=True):
    """What the session's own row or file adds to its messages."""

    parent: str | None = None
    directory: str | None = None
    version: str | None = None
    created_us: int | None = None


class Place(msgspec.Struct, frozen=True):
    """Where a message stands: its evidence, and what its container says of it."""

    evidence: Evidence
    message_id: str | None
    session_id: str | None
    time: object = None
    """The next best time."""
    is_file: bool = False
    """True for a file of its own, which is older than the database."""


def record_of(
    message: Row,
    place: Place,
    session: Callable[[str], Session],
    file: SourceFile,
    sink: Sink,
    flags: list[str],
) -> UsageRecord | None:
    """The usage record of a message; None where it is a prompt, or (counted by its reason) has no usage."""
    if not is_answer(message):
        return None
    tokens = usage_of(message.get("tokens"), sink)
    if tokens is None:
        return None
    counters = _counters(tokens, flags)
    if not counters.total:
        sink.skipped["zero_usage"] += 1
        return None
    times = object_of(message.get("time"))
    started, ended = values.time_us(times.get("created")), values.time_us(times.get("completed"))
    time = dated(file, sink, flags, times.get("created"), times.get("completed"), place.time)
    session_id = place.session_id or values.text(message.get("sessionID"))
    if session_id is None:
        session_id = name_of(file)
        flags.append("session_from_file")
    told = session(session_id)
    model, upstream = _model(message)
    if model is None:
        flags.append("model_missing")
    path = message.get("path")
    folders = path if isinstance(path, dict) else {"cwd": path}
    message_id = values.text(message.get("id")) or place.message_id
    source_rank, links = _witness(file.client, place, told, started, f"{started} {ended} {model} {counters}")
    return UsageRecord(
        **place.evidence.placed(sink),
        timestamp_us=time,
        session_id=session_id,
        model_raw=model,
        counters=counters,
        message_id=message_id,
        by_content=message_id is None,
        parent_session_id=told.parent,
        cwd=values.text(folders.get("cwd")) or values.text(folders.get("root")) or told.directory,
        client_version=told.version,
        reported_cost_nano=values.cost_nano(message.get("cost")),
        flags=tuple(dict.fromkeys(flags)),
        raw_usage=kept_usage(tokens),
        upstream=upstream,
        source_rank=source_rank,
        links=links,
        latency_ms=(ended - started) // 1000
        if started is not None and ended is not None and ended >= started
        else None,
        status="error" if message.get("error") else "ok" if ended is not None else None,
    )


def _witness(
    client: str, place: Place, session: Session, started: int | None, what: str
) -> tuple[int, tuple[str, ...]]:
    """How good a source of the request this message is, and the names it is known by.

    A fork copies the messages before it under new ids into a new session: whatever is older than its own session is
    such a copy, and gives way to the message itself, or else to the copy in the older fork.
    """
    if started is None:
        return int(place.is_file), ()
    if session.created_us is not None and started < session.created_us:
        return 2 + (session.created_us - started) // 1000, tuple(f"{client}:{kind}:{what}" for kind in ("row", "file"))
    return int(place.is_file), (f"{client}:{'file' if place.is_file else 'row'}:{what}",)


def _counters(tokens: Row, flags: list[str]) -> Counters:
    cache = object_of(tokens.get("cache"))
    fresh, output, reasoning, read, write, total = (
        values.count(value, flags.append)
        for value in (
            tokens.get("input"), tokens.get("output"), tokens.get("reasoning"),
            cache.get("read"), cache.get("write"), tokens.get("total"),
        )
    )  # fmt: skip
    # builds that state a total show by it whether output holds the reasoning already
    inside = reasoning <= output and total == fresh + output + read + write
    return Counters(
        input_tokens=fresh,
        output_tokens=output if inside else output + reasoning,
        cache_write_tokens=write,
        cache_read_tokens=read,
        reasoning_tokens=reasoning,
    )


def _model(message: Row) -> tuple[str | None, str | None]:
    """Model and provider; of 2026 they stand in an object of their own."""
    nested = object_of(message.get("model"))
    model = values.text(message.get("modelID")) or values.text(nested.get("modelID")) or values.text(nested.get("id"))
    return model, values.upstream(message.get("providerID")) or values.upstream(nested.get("providerID"))


def is_answer(message: Row) -> bool:
    """Whether a message is an answer; one that names no role may be."""
    role = message.get("role")
    return role == "assistant" or not isinstance(role, str)


class MessageFile:
    """Reads ``storage/message/<session>/<message>.json``, what came before the database; it is moved into it once.

    The file stays, so every message of it also stands in the database, which is the newer: a file ranks behind it.
    """

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink, sessions: SessionFiles) -> None:
        self._file, self._sink, self._sessions = file, sink, sessions
        self._memory = Memory.of(carry)

    def read(self, data: bytes) -> None:
        """One message a file."""
        loaded = documents.load(data, self._sink)
        if loaded is None:
            return
        part, flags = loaded
        message = part.value
        if not isinstance(message, dict):
            self._sink.skipped["not_an_object"] += 1
            return
        folder, _, name = self._file.path.rpartition("/")
        above = folder.rpartition("/")[2]
        place = Place(
            part.evidence,
            message_id=values.text(name.split(".json", 1)[0]),
            session_id=values.text(message.get("sessionID")) or (values.text(above) if above != "message" else None),
            is_file=True,
        )
        record = record_of(message, place, self._session, self._file, self._sink, flags)
        if record is not None and self._memory.is_news("", place.evidence.sha256):
            self._sink.records.append(record)

    def carry(self) -> bytes:
        """The content last read."""
        return self._memory.encode()

    def _session(self, name: str) -> Session:
        return self._sessions.get(self._file.path, name)


class SessionFiles:
    """Sessions beside message files: ``storage/session/<project>/<session>.json``; each is looked up once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Session] = {}

    def get(self, message_path: str, name: str) -> Session:
        """The session a message file names; an empty one where its file is not there."""
        folder, _, _ = message_path.rpartition("/message/")
        key = (folder, name)
        if key not in self._known:
            found = next(self._read(f"{folder}/session", name), None)
            if found is None:  # it may come later
                return Session()
            self._known[key] = found
        return self._known[key]

    @staticmethod
    def _read(folder: str, name: str) -> Iterator[Session]:
        if "/" in name or "\x00" in name or not folder.startswith("/"):
            return
        try:
            projects = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())
        except OSError:
            return
        for project in projects:
            path = f"{project}/{name}.json"
            try:
                if not os.path.isfile(path):  # a pipe would wait for its writer
                    continue
                with open(path, "rb") as handle:
                    told = object_of(msgspec.json.decode(handle.read(1 << 20)))
            except (OSError, ValueError, RecursionError):
                continue
            yield Session(
                values.text(told.get("parentID")),
                values.text(told.get("directory")),
                values.text(told.get("version")),
                values.time_us(object_of(told.get("time")).get("created")),
            )
