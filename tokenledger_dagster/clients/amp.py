"""Amp: threads as JSON documents, whose requests stand in a usage ledger or, since 2026, in the messages themselves.

Here: how ledger and messages become usage records, and which of them tell of one request.  Not here: where the threads
lie (``places.csv``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from tokenledger_dagster.clients import documents, values
from tokenledger_dagster.clients.adapter import Adapter
from tokenledger_dagster.clients.base import DatabaseReader, DocumentReader, Reader, Sink, SourceFile
from tokenledger_dagster.clients.memory import Memory
from tokenledger_dagster.clients.row_values import dated, kept_usage, name_of, usage_of
from tokenledger_dagster.clients.rows import Row, object_of
from tokenledger_dagster.contracts.record import Counters, UsageRecord


class Amp(Adapter):
    """The Amp adapter: a ledger entry or an answer is a request; the ledger counts where both tell of it."""

    name = "amp"
    latest_wins = True

    def reader(
        self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]
    ) -> Reader | DocumentReader | DatabaseReader:
        """A reader of one thread."""
        return ThreadFile(file, carry, sink)


class _Thread(msgspec.Struct, frozen=True):
    """What a thread says of all its requests."""

    name: str
    folder: str | None
    flags: list[str]


class ThreadFile:
    """Reads one thread, which is written anew at each change."""

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        self._file, self._sink = file, sink
        self._memory = Memory.of(carry)

    def carry(self) -> bytes:
        """The requests seen so far."""
        return self._memory.encode()

    def read(self, data: bytes) -> None:
        """Adds the requests that are new or were rewritten."""
        loaded = documents.load(data, self._sink)
        if loaded is None:
            return
        thread, flags = loaded
        members = thread.members()
        if not members:
            self._sink.skipped["unknown_layout"] += 1
            return
        name = values.text(members["id"].value if "id" in members else None)
        if name is None:
            name = values.text(name_of(self._file)) or "unknown"
            flags.append("session_from_file")
        messages = [
            (part, message)
            for part in (members["messages"].elements() if "messages" in members else ())
            if isinstance(message := part.value, dict)
        ]
        entries = thread.get("usageLedger", "events")
        ledger = [(one, one.value) for one in (entries.elements() if entries is not None else ())]
        about = _Thread(name, _folder(thread), flags)
        if any(isinstance(object_of(entry).get("tokens"), dict) for _, entry in ledger):
            self._ledger(ledger, messages, about)
        else:
            self._messages(messages, about)

    def _ledger(
        self,
        ledger: list[tuple[documents.Part, Any]],
        messages: list[tuple[documents.Part, Row]],
        about: _Thread,
    ) -> None:
        """Ledger entries, each with the cached tokens of the message it led to."""
        by_id = {_id(message.get("messageId")): message.get("usage") for _, message in messages}
        joined = set()
        for part, entry in ledger:
            if not isinstance(entry, dict):
                self._sink.skipped["not_an_object"] += 1
                continue
            tokens = usage_of(entry.get("tokens"), self._sink)
            if tokens is None:
                continue
            flags = list(about.flags)
            led_to = _id(entry.get("toMessageId"))
            # several entries may lead to one message: its cached tokens are counted with the first of them
            cached = object_of(by_id.get(led_to)) if led_to is not None and led_to not in joined else {}
            if led_to is not None:
                joined.add(led_to)
            counters = Counters(
                input_tokens=values.count(tokens.get("input"), flags.append),
                output_tokens=values.count(tokens.get("output"), flags.append),
                cache_write_tokens=_count(tokens, cached, "cacheCreationInputTokens", flags),
                cache_read_tokens=_count(tokens, cached, "cacheReadInputTokens", flags),
            )
            own = _id(entry.get("id"))
            key = f"{about.name}/{own}" if own is not None else f"{about.name}{part.pointer}"
            # an entry that names no message stands for all of them, a message without a number gives way to any entry
            link = f"amp:{about.name}/{led_to}" if led_to is not None else f"amp:{about.name}"
            model = values.text(entry.get("model")) or values.text(cached.get("model"))
            links = (link, f"amp:{about.name}:unnumbered")
            self._add(part, entry, counters, model, entry.get("timestamp"), key, about, flags, rank=0, links=links)
        for _, message in messages:
            usage = message.get("usage")
            if isinstance(usage, dict) and "inputTokens" in usage and _id(message.get("messageId")) not in joined:
                self._sink.skipped["covered_by_ledger"] += 1

    def _messages(self, messages: list[tuple[documents.Part, Row]], about: _Thread) -> None:
        """Answers with their own usage: the newer layout, in which there is no ledger."""
        for part, message in messages:
            if message.get("usage") is None and message.get("role") != "assistant":
                continue
            usage = usage_of(message.get("usage"), self._sink)
            if usage is None:
                continue
            flags = list(about.flags)
            told = values.count(usage.get("inputTokens"), flags.append)
            write = values.count(usage.get("cacheCreationInputTokens"), flags.append)
            read = values.count(usage.get("cacheReadInputTokens"), flags.append)
            if 0 < write + read <= told == values.count(usage.get("totalInputTokens"), flags.append):
                told -= write + read  # the stated total shows that input is the whole prompt here
                flags.append("cache_inside_input")
            counters = Counters(
                input_tokens=told,
                output_tokens=values.count(usage.get("outputTokens"), flags.append),
                cache_write_tokens=write,
                cache_read_tokens=read,
            )
            own = _id(message.get("messageId"))
            time = usage.get("timestamp")
            # a message without a number is known by its time, else by its place in the thread
            place = own if own is not None else f"@{time}" if values.time_us(time) is not None else part.pointer
            links = (f"amp:{about.name}", f"amp:{about.name}{f'/{own}' if own is not None else ':unnumbered'}")
            model = values.text(usage.get("model"))
            self._add(part, usage, counters, model, time, f"{about.name}#{place}", about, flags, rank=1, links=links)

    def _add(
        self,
        part: documents.Part,
        told: Row,
        counters: Counters,
        model: str | None,
        stated_time: object,
        key: str,
        about: _Thread,
        flags: list[str],
        *,
        rank: int,
        links: tuple[str, ...],
    ) -> None:
        if not counters.total:
            self._sink.skipped["zero_usage"] += 1
            return
        if model is None:
            flags.append("model_missing")
        evidence = part.evidence
        if not self._memory.is_news(key, f"{part.pointer} {counters} {evidence.sha256}"):
            return
        self._sink.records.append(
            UsageRecord(
                **evidence.placed(self._sink),
                timestamp_us=dated(self._file, self._sink, flags, stated_time),
                session_id=about.name,
                model_raw=model,
                counters=counters,
                message_id=key,
                cwd=about.folder,
                flags=tuple(dict.fromkeys(flags)),
                raw_usage=kept_usage(told),
                source_rank=rank,
                links=links,
            )
        )


def _folder(thread: documents.Part) -> str | None:
    """The first folder the thread was begun in."""
    trees = thread.get("env", "initial", "trees")
    for tree in trees.elements() if trees is not None else ():
        uri = values.text(object_of(tree.value).get("uri"))
        if uri is not None and uri.startswith("file:///"):
            return values.text(unquote(uri.removeprefix("file://")))
    return None


def _count(tokens: Row, cached: Row, name: str, flags: list[str]) -> int:
    """Cached tokens of an entry: its own where it has them, else those of the message it led to."""
    return values.count(tokens.get(name, cached.get(name)), flags.append)


def _id(value: object) -> str | None:
    """A message's number or an entry's id as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return values.text(value)
