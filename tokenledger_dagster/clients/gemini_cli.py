"""Gemini CLI: sessions as one JSON document (2025) or as a journal of messages and patches (2026).

Here: how a message becomes a usage record, and which versions of it are one request.  Not here: the counters' meaning
(``clients.gemini_usage``), reading bytes, prices.  Facts and sources: ``docs/clients/gemini-cli.md``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tokenledger_dagster.clients import documents, gemini_usage, link_names, row_values, values
from tokenledger_dagster.clients.adapter import Adapter
from tokenledger_dagster.clients.base import (
    OWNER,
    BookingFacts,
    Claim,
    Copy,
    DocumentReader,
    Reader,
    Shape,
    Sink,
    SourceFile,
)
from tokenledger_dagster.clients.evidence import Evidence
from tokenledger_dagster.clients.memory import Memory
from tokenledger_dagster.clients.rows import Row, RowReader, member, object_of
from tokenledger_dagster.contracts.record import UsageRecord

_TOKENS = ("input", "output", "cached", "thoughts", "tool", "total")
_STATS = ("prompt", "candidates", "cached", "thoughts", "tool", "total")
_OTHERS = ("user", "info", "warning", "error", None)
"""Kinds of messages that no model wrote."""
_UNIQUE = 32
"""From this length on a message id is a UUID, unique by itself; a shorter one is known within its session only."""
_HEAD = 256


class Session(msgspec.Struct):
    """What a log tells of its session; kept between appends."""

    name: str | None = None
    time: str | None = None
    """When it began, or was last changed: the next best time of a message without one."""
    subagent: bool = False
    folder: str | None = None
    """The first of its own directories."""

    def update(self, told: Row) -> None:
        """Takes what a header, a patch or a document tells."""
        self.name = values.text(told.get("sessionId")) or self.name
        for key in ("startTime", "lastUpdated"):
            self.time = values.text(told.get(key)) or self.time
        if isinstance(told.get("kind"), str):
            self.subagent = told["kind"] == "subagent"
        folders = told.get("directories")
        if isinstance(folders, list) and folders:
            self.folder = values.text(folders[0]) or self.folder


class Messages:
    """Turns messages, wherever they stand, into usage records."""

    def __init__(self, client: str, file: SourceFile, sink: Sink, session: Session) -> None:
        self._client = client
        self._file = file
        self._sink = sink
        self.session = session
        self._project = project_of(file.path)

    def take(
        self, message: object, evidence: Evidence, flags: list[str], place: int | None = None, *, is_known: bool = False
    ) -> None:
        """Adds the record of one message, if it is not known yet; else says why not.

        ``place`` is its number among others that share its evidence.
        """
        if not isinstance(message, dict) or message.get("type") in _OTHERS:
            return
        tokens = row_values.usage_of(message.get("tokens"), self._sink)
        if tokens is None:
            return
        counters = gemini_usage.counters_of(tokens, _TOKENS, flags.append)
        if not counters.total:
            self._sink.skipped["zero_usage"] += 1
            return
        if is_known:
            return
        model = values.text(message.get("model"))
        if model is None:
            flags.append("model_missing")
        time = row_values.dated(self._file, self._sink, flags, message.get("timestamp"), self.session.time)
        session = self.session.name
        if session is None:
            session = row_values.name_of(self._file)
            flags.append("session_from_file")
        key = message_key(message, place)
        self._sink.records.append(
            UsageRecord(
                **evidence.placed(self._sink),
                timestamp_us=time,
                session_id=session,
                model_raw=model,
                counters=counters,
                message_id=key,
                by_content=key is None,
                is_sidechain=self.session.subagent,
                parent_session_id=_folder_of(self._file.path) if self.session.subagent else None,
                cwd=self._project or self.session.folder,
                flags=tuple(dict.fromkeys(flags)),
                raw_usage=row_values.kept_usage(tokens),
            )
        )

    def take_stats(
        self, document: Row, name: str, stats: object, evidence: Evidence, flags: list[str], *, is_known: bool = False
    ) -> None:
        """Adds the record of one model's sums in a saved ``--output-format json`` answer, if it is not known yet.

        They give way where the session's own messages are read too.
        """
        tokens = row_values.usage_of(member(stats, "tokens"), self._sink)
        if tokens is None:
            return
        counters = gemini_usage.counters_of(tokens, _STATS, flags.append)
        if not counters.total:
            self._sink.skipped["zero_usage"] += 1
            return
        if is_known:
            return
        told = values.text(document.get("session_id")) or values.text(document.get("sessionId"))
        flags.append("session_sum")
        if told is None:
            flags.append("session_from_file")
        self._sink.records.append(
            UsageRecord(
                **evidence.placed(self._sink),
                timestamp_us=row_values.dated(self._file, self._sink, flags, document.get("timestamp")),
                session_id=told or row_values.name_of(self._file),
                model_raw=values.text(name),
                counters=counters,
                message_id=None,
                by_content=True,
                flags=tuple(dict.fromkeys(flags)),
                raw_usage=row_values.kept_usage(tokens),
                source_rank=1 if told else 0,
                links=(link_names.session_log(self._client, told),) if told else (),
                joins=self._client if told else None,
            )
        )


def message_key(message: Row, place: int | None) -> str | None:
    """What a message is known by: its id, else its time, else its place in the session."""
    found = values.text(message.get("id"))
    if found is None and values.time_us(message.get("timestamp")) is not None:
        found = f"@{message['timestamp']}"
    if found is None and place is not None:
        found = f"#{place}"
    return found


class GeminiReader(RowReader):
    """Reads a journal: a header, messages (the last version of each counts) and patches."""

    def __init__(self, client: str, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        super().__init__(file, sink)
        self._memory = Memory.of(carry)
        told = self._memory.state.get("session")
        self._messages = Messages(client, file, sink, msgspec.convert(told, Session) if told else Session())

    def irrelevant(self, buffer: bytes | bytearray, start: int, end: int) -> bool:
        """What the person wrote, and the tools' answers: such a row names no tokens anywhere."""
        return (
            buffer.startswith(b'{"id":', start)
            and buffer.find(b'"type":"user"', start, min(end, start + _HEAD)) != -1
            and buffer.find(b'"tokens"', start, end) == -1
            and buffer.endswith(b"}", start, end)
        )

    def take(self, row: Row, evidence: Evidence, flags: list[str]) -> None:
        """Adds the usage that a row tells."""
        patch = row.get("$set")
        if isinstance(patch, dict):
            self._snapshot(patch, evidence, flags)
        elif "id" in row or "tokens" in row:
            self._remember(row, None)
            self._messages.take(row, evidence, flags)
        elif "stats" in row:
            for name, stats in _models(row).items():
                self._messages.take_stats(row, name, stats, evidence, [*flags])
        elif "sessionId" in row:
            self._snapshot(row, evidence, flags)

    def carry(self) -> bytes:
        """The session, and which version of each message was seen."""
        self._memory.state["session"] = msgspec.to_builtins(self._messages.session)
        return self._memory.encode()

    def _snapshot(self, told: Row, evidence: Evidence, flags: list[str]) -> None:
        """A header or a patch; one that holds all messages repeats those that stand as rows already."""
        self._messages.session.update(told)
        messages = told.get("messages")
        if not isinstance(messages, list):
            return
        for place, message in enumerate(messages):
            if self._remember(message, place):
                self._messages.take(message, evidence, [*flags], place)

    def _remember(self, message: object, place: int | None) -> bool:
        key = message_key(message, place) if isinstance(message, dict) else None
        return key is None or self._memory.is_news(key, _content(message))


class GeminiDocumentReader:
    """Reads a session's document, which is written anew with every message, or a saved headless answer."""

    def __init__(self, client: str, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        self._sink = sink
        self._memory = Memory.of(carry)
        self._messages = Messages(client, file, sink, Session())

    def read(self, data: bytes) -> None:
        """Adds the messages, or versions of them, that earlier readings had not seen."""
        loaded = documents.load(data, self._sink)
        if loaded is None:
            return
        document, flags = loaded
        told = document.value
        if not isinstance(told, dict):
            self._sink.skipped["not_an_object"] += 1
        elif isinstance(told.get("messages"), list):
            self._messages.session.update(told)
            messages = document.get("messages")
            for place, part in enumerate(messages.elements() if messages is not None else ()):
                message = part.value
                key = message_key(message, place) if isinstance(message, dict) else None
                is_known = key is not None and not self._memory.is_news(key, _content(message))
                self._messages.take(message, part.evidence, [*flags], place, is_known=is_known)
        elif _models(told):
            for name in _models(told):
                model = document.get("stats", "models", name)
                if model is not None:
                    evidence = model.evidence
                    is_known = not self._memory.is_news(model.pointer, evidence.sha256)
                    self._messages.take_stats(told, name, model.value, evidence, [*flags], is_known=is_known)
        else:
            self._sink.skipped["unknown_layout"] += 1

    def carry(self) -> bytes:
        """Which version of each message was seen."""
        return self._memory.encode()


class GeminiCLI(Adapter):
    """The Gemini CLI adapter."""

    name = "gemini-cli"
    latest_wins = True

    def shape(self, path: str) -> Shape:
        """Documents by their name; whatever else is added by hand is read line by line."""
        return "document" if super().shape(path) == "document" else "lines"

    def reader(
        self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]
    ) -> Reader | DocumentReader:
        """A reader of the file's shape."""
        kind = GeminiDocumentReader if file.shape == "document" else GeminiReader
        return kind(self.name, file, carry, sink)

    def group(self, record: UsageRecord) -> bytes:
        """The message's id; a short one together with its session."""
        if record.by_content or _is_unique(record.message_id):
            return super().group(record)
        return f"{record.session_id}\x00{record.message_id}".encode()

    def claims(self, copies: Sequence[Copy], facts: BookingFacts) -> list[Claim]:
        """One request a message, of whose versions the last one counts."""
        found = super().claims(copies, facts)
        for claim in found:
            name = claim.copies[0].message_id
            if name is not None and not _is_unique(name):
                claim.identity = (self.name, OWNER, name)
        return found

    def links(self, copy: Copy, session: str) -> Iterable[str]:
        """Telemetry knows a request by its counters, a headless answer by its session."""
        if copy.source_rank:
            return ()
        return (
            *super().links(copy, session),
            link_names.request(self.name, session, copy.model_raw, copy.counters),
            link_names.session_log(self.name, session),
        )


def project_of(path: str) -> str | None:
    """The folder a session ran in: ``.project_root`` beside its ``chats``, else what ``projects.json`` knows.

    Until 2026 a project's folder was named by the SHA-256 of its path, since then by a short name; the registry lists
    the paths of both.
    """
    home, chats, _ = path.rpartition("/chats/")
    if not chats:
        return None
    told = _read(f"{home}/.project_root").strip()
    if told:
        return values.text(told)
    folder = os.path.basename(home)
    try:
        known = msgspec.json.decode(_read(os.path.dirname(os.path.dirname(home)) + "/projects.json"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    projects = member(known, "projects")
    for root, short in projects.items() if isinstance(projects, dict) else ():
        if folder in (short, hashlib.sha256(root.encode("utf-8", "replace")).hexdigest()):
            return values.text(root)
    return None


def _folder_of(path: str) -> str | None:
    """A subagent's log lies in a folder named by its parent session."""
    name = os.path.basename(os.path.dirname(path))
    return values.text(name) if name != "chats" else None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read(1 << 20)
    except (OSError, ValueError):
        return ""


def _models(document: Row) -> dict[str, Any]:
    return object_of(member(document, "stats", "models"))


def _content(message: object) -> str:
    """What of a message matters here: versions that differ in their text alone are no news."""
    return repr([member(message, name) for name in ("type", "model", "tokens", "timestamp")])


def _is_unique(name: str | None) -> bool:
    return name is not None and len(name) >= _UNIQUE
