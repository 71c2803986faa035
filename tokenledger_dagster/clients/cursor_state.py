"""Cursor's chats in ``state.vscdb``: the token counts that builds of 2025 stored with each answer.

Here: the rows of one such database that carry token counts.  Not here: opening it beside Cursor (``databases``), or the
folder a chat belongs to (``cursor_workspaces``).  Keys are read by ranges, never ``cursorAuth/*``; the far larger rows
of the agent's own store are not touched.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import msgspec

from tokenledger_dagster.clients import cursor_hours, cursor_workspaces, row_marks, values
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.clients.databases import row_evidence, tables
from tokenledger_dagster.clients.evidence import Evidence
from tokenledger_dagster.clients.memory import Memory
from tokenledger_dagster.clients.row_values import kept_usage, stamped, usage_of
from tokenledger_dagster.contracts.record import Counters, UsageRecord

TABLE = "cursorDiskKV"
_BUBBLES = ("bubbleId:", "bubbleId;")
_CHATS = ("composerData:", "composerData;")
_ANSWER = 2
_WORKSPACES = "/workspaceStorage/"
_TIMES = {"timestamp_from_file", "timestamp_fallback", "timestamp_epoch", "timestamp_future"}
_EPOCH_MS = 1e11
"""Smaller times of a stop watch count from the start of the program."""


class _Bubble(msgspec.Struct):
    """What is read of one message; its text is never decoded."""

    type: Any = None
    bubbleId: Any = None  # noqa: N815 - Cursor's own names
    createdAt: Any = None  # noqa: N815
    timestamp: Any = None
    timingInfo: Any = None  # noqa: N815
    tokenCount: Any = None  # noqa: N815
    modelInfo: Any = None  # noqa: N815
    modelType: Any = None  # noqa: N815
    requestId: Any = None  # noqa: N815
    workspaceProjectDir: Any = None  # noqa: N815
    workspaceUris: Any = None  # noqa: N815

    @property
    def model(self) -> str | None:
        """The model it names itself."""
        told = self.modelInfo.get("modelName") if isinstance(self.modelInfo, dict) else None
        return values.text(told) or values.text(self.modelType)

    @property
    def folder(self) -> str | None:
        """The folder it names itself."""
        uris = self.workspaceUris
        first = uris[0] if isinstance(uris, list) and uris else None
        return cursor_workspaces.path_of(self.workspaceProjectDir) or cursor_workspaces.path_of(first)


class _Chat(msgspec.Struct):
    """What is read of one chat."""

    createdAt: Any = None  # noqa: N815
    lastUpdatedAt: Any = None  # noqa: N815
    modelConfig: Any = None  # noqa: N815
    createdOnBranch: Any = None  # noqa: N815
    subComposerIds: Any = None  # noqa: N815
    conversation: Any = None
    conversationMap: Any = None  # noqa: N815

    @property
    def model(self) -> str | None:
        """The model it is set to."""
        return values.text(self.modelConfig.get("modelName")) if isinstance(self.modelConfig, dict) else None


class _Counted(msgspec.Struct):
    """A message with token counts, before its chat is known."""

    bubble: str
    told: _Bubble
    counters: Counters
    evidence: Evidence
    flags: list[str]


_bubble = msgspec.json.Decoder(_Bubble)
_chat = msgspec.json.Decoder(_Chat)


def _evidence(key: str, value: Any) -> Evidence:
    return row_evidence(TABLE, {"key": key}, {"value": value})


class StateReader:
    """Reads one ``state.vscdb``, from where the last reading of it ended."""

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        self._file, self._sink = file, sink
        self._memory = Memory.of(carry)
        self._chats: dict[str, _Chat] = {}
        self._models: dict[str, dict[str, str]] = {}
        """Model by request, of each chat."""
        self._counted: dict[str, list[_Counted]] = {}
        self._folders: dict[str, str] | None = None
        self.whole = True
        self.bytes_read = 0

    def carry(self) -> bytes:
        """Messages seen so far, and how far the table was read."""
        return self._memory.encode()

    def read(self, connection: sqlite3.Connection) -> None:
        """Adds the messages that are new, or whose counts have grown."""
        found = tables(connection)
        if not self._is_known(found):
            return
        since = row_marks.read_up_to(connection, TABLE, "key", self._memory.marks, self._file.inode)
        self.whole = since is None
        for key, value in self._rows(connection, _CHATS, since):
            self._read_chat(key.removeprefix(_CHATS[0]), key, value)
        self._flush(connection)
        last = None
        for key, value in self._rows(connection, _BUBBLES, since):
            chat, _, bubble = key.removeprefix(_BUBBLES[0]).rpartition(":")
            if self.whole and chat != last:  # in order of keys, so that the one before is complete
                self._flush(connection)
            last = chat
            told = self._decoded(value, _bubble, _Bubble)
            if told is not None:
                self._note(chat, bubble, told, partial(_evidence, key, value))
        self._flush(connection)
        self._memory.marks = row_marks.marks_of(connection, TABLE, "key", self._file.inode, counted=False)

    # ---------------------------------------------------------------- rows

    def _is_known(self, found: dict[str, list[str]]) -> bool:
        """Whether the table is there; a workspace's own database may do without, as the list of its chats suffices."""
        if {"key", "value"} <= set(found.get(TABLE, ())):
            return True
        workspace = _WORKSPACES in self._file.path
        if not workspace or TABLE in found or {"key", "value"} - set(found.get("ItemTable", ())):
            what = "has other columns than known" if TABLE in found else "is missing"
            name = "ItemTable" if workspace and TABLE not in found else TABLE
            self._sink.skipped["schema_drift"] += 1
            self._sink.problems.append(
                f"its table {name} {what}, so no usage is read from it; Cursor may have changed its layout"
            )
        return False

    def _rows(
        self, connection: sqlite3.Connection, keys: tuple[str, str], since: int | None
    ) -> Iterator[tuple[str, Any]]:
        """Key and value of the rows between two keys: all in order of keys, or those above a row number."""
        if since is None:
            rows = connection.execute(f"SELECT key, value FROM {TABLE} WHERE key >= ? AND key < ? ORDER BY key", keys)
        else:  # the plus keeps SQLite from walking the whole index of keys
            query = f"SELECT key, value FROM {TABLE} WHERE rowid > ? AND +key >= ? AND +key < ? ORDER BY rowid"
            rows = connection.execute(query, (since, *keys))
        for key, value in rows:
            self.bytes_read += len(value) if isinstance(value, str | bytes) else 0
            yield key, value

    def _decoded(self, value: Any, decoder: Any, kind: type) -> Any:
        """A row's value, or None where it cannot be used, which the sink is told."""
        if value is None:
            self._sink.skipped["null_value"] += 1
            return None
        content = value if isinstance(value, str | bytes) else str(value)
        try:
            return decoder.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        raw = content.encode("utf-8", "replace") if isinstance(content, str) else content
        try:
            told = json.loads(raw.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            self._sink.quarantine(raw, 0, "invalid_json")
            return None
        if not isinstance(told, dict):
            self._sink.skipped["not_an_object"] += 1
            return None
        return msgspec.convert(told, kind)

    def _read_chat(self, chat: str, key: str, value: Any) -> None:
        told = self._decoded(value, _chat, _Chat)
        if told is None:
            return
        for child in told.subComposerIds if isinstance(told.subComposerIds, list) else []:
            if isinstance(child, str):
                self._memory.state.setdefault("parents", {})[child] = chat
        inline = told.conversation if isinstance(told.conversation, list) else []
        if isinstance(told.conversationMap, dict):
            inline = [*inline, *told.conversationMap.values()]
        told.conversation = told.conversationMap = None
        self._chats[chat] = told
        evidence = cache(partial(_evidence, key, value))
        for message in inline:  # builds before bubbles had rows of their own
            if isinstance(message, dict):
                bubble = msgspec.convert(message, _Bubble)
                self._note(chat, values.text(bubble.bubbleId) or "", bubble, evidence)

    def _note(self, chat: str, bubble: str, told: _Bubble, evidence: Callable[[], Evidence]) -> None:
        model, request = told.model, values.text(told.requestId)
        if model and request:
            self._models.setdefault(chat, {}).setdefault(request, model)
        answers = told.type == _ANSWER
        if not answers and not (isinstance(told.tokenCount, dict) and told.tokenCount):
            return
        usage = usage_of(told.tokenCount, self._sink)
        if usage is None:
            return
        flags: list[str] = []
        counters = Counters(
            input_tokens=values.count(usage.get("inputTokens"), flags.append),
            output_tokens=values.count(usage.get("outputTokens"), flags.append),
        )
        if counters.total == 0:
            if answers or flags:  # a prompt's own zeros say nothing
                self._sink.skipped["zero_usage"] += 1
            return
        self._counted.setdefault(chat, []).append(_Counted(bubble, told, counters, evidence(), flags))

    # ---------------------------------------------------------------- records

    def _flush(self, connection: sqlite3.Connection) -> None:
        """Makes records of what was counted so far."""
        counted, self._counted = self._counted, {}
        for chat, messages in counted.items():
            for one in messages:
                name = one.bubble or one.evidence.sha256
                content = json.dumps([msgspec.structs.astuple(one.counters), one.told.createdAt, one.told.model])
                if self._memory.is_news(f"{one.evidence.locator}{name}", content):
                    self._sink.records.append(self._record(connection, chat, name, one))
        if self.whole:
            self._models.clear()

    def _record(self, connection: sqlite3.Connection, chat: str, name: str, one: _Counted) -> UsageRecord:
        about = self._chat(connection, chat)
        flags, told = one.flags, one.told
        model = told.model or self._model(connection, chat, values.text(told.requestId)) or about.model
        if model is None:
            flags.append("model_missing")
        time = self._time(told, about, flags)
        parent = self._parents.get(chat)
        subagent = "\n" in chat or parent is not None
        session = chat.replace("\n", " ")
        return UsageRecord(
            **one.evidence.placed(self._sink),
            timestamp_us=time,
            # what a tool started is no chat of its own
            session_id=(parent or session) if "\n" in chat else session,
            parent_session_id=parent,
            agent_id=session if "\n" in chat else None,
            is_sidechain=subagent,
            model_raw=model,
            counters=one.counters,
            message_id=name,
            request_id=values.text(told.requestId),
            cwd=values.text(told.folder or self._folder(parent or chat)),
            git_branch=values.text(about.createdOnBranch),
            flags=tuple(dict.fromkeys(flags)),
            raw_usage=kept_usage(told.tokenCount),
            source_rank=1,
            links=self._links(cursor_hours.hour_of(time), dated=not any(map(_TIMES.__contains__, flags))),
        )

    @property
    def _parents(self) -> dict[str, str]:
        found = self._memory.state.get("parents")
        return found if isinstance(found, dict) else {}

    def _chat(self, connection: sqlite3.Connection, chat: str) -> _Chat:
        found = self._chats.get(chat)
        if found is None:
            row = connection.execute(f"SELECT value FROM {TABLE} WHERE key = ?", (_CHATS[0] + chat,)).fetchone()
            try:
                found = _chat.decode(row[0]) if row else _Chat()
            except (msgspec.DecodeError, UnicodeDecodeError, TypeError, RecursionError):
                found = _Chat()  # told when its row itself was read
            found.conversation = found.conversationMap = None
            self._chats[chat] = found
        return found

    def _model(self, connection: sqlite3.Connection, chat: str, request: str | None) -> str | None:
        """The model that the prompt of the request names."""
        if request is None:
            return None
        known = self._models.get(chat, {})
        if request not in known and not self.whole:  # the prompt was read before
            for (value,) in connection.execute(
                f"SELECT value FROM {TABLE} WHERE key >= ? AND key < ?",
                (f"{_BUBBLES[0]}{chat}:", f"{_BUBBLES[0]}{chat};"),
            ):
                try:
                    told = _bubble.decode(value)
                except (msgspec.DecodeError, UnicodeDecodeError, TypeError, RecursionError):
                    continue
                if told.model and isinstance(told.requestId, str):
                    known.setdefault(told.requestId, told.model)
            self._models[chat] = known
            known.setdefault(request, "")
        return known.get(request) or None

    def _folder(self, chat: str) -> str | None:
        known: dict[str, str] = self._memory.state.setdefault("folders", {})
        if chat not in known:
            if self._folders is None:
                self._folders = cursor_workspaces.folders(self._file.path)
            found = self._folders.get(chat)
            if found is None and _WORKSPACES in self._file.path:
                found = cursor_workspaces.folder_of(self._file.path.rpartition("/")[0])
            if found is None:
                return None  # a later reading may know it
            known[chat] = found
        return known[chat]

    def _time(self, told: _Bubble, about: _Chat, flags: list[str]) -> int:
        own = [told.createdAt, told.timestamp]
        if isinstance(told.timingInfo, dict):
            clock = [told.timingInfo.get(name) for name in ("clientStartTime", "clientRpcSendTime", "clientEndTime")]
            own += [one for one in clock if isinstance(one, int | float) and one > _EPOCH_MS]
        time = next((found for found in map(values.time_us, own) if found is not None), None)
        if time is None:
            outer = map(values.time_us, (about.lastUpdatedAt, about.createdAt))
            time = next((found for found in outer if found is not None), None)
            if time is not None:
                flags.append("timestamp_fallback")
        return stamped(self._file, self._sink, flags, time)

    def _links(self, hour: int, *, dated: bool) -> tuple[str, ...]:
        covered = self._covered(hour) if dated else range(hour, hour + 1)
        return cursor_hours.names(cursor_hours.EXPORT, [hour]) + cursor_hours.names(cursor_hours.STATE, covered)

    def _covered(self, hour: int) -> range:
        """The hours that this message adds to those between the first and the last one with token counts."""
        state = self._memory.state
        first, last = state.setdefault("hours", [hour, hour])
        if hour > last:
            state["hours"] = [first, hour]
            return cursor_hours.stretch(last + 1, hour)
        if hour < first:
            state["hours"] = [hour, last]
            return range(hour, first if first - hour <= cursor_hours.BRIDGED else hour + 1)
        return range(hour, hour + 1)
