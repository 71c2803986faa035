"""pi, and what is made of it (omp, OpenClaw): one tree of entries a session, one entry a message.

Here: how an assistant's entry becomes a usage record, and which entries are one request.  Not here: reading bytes,
prices.  Facts and sources: ``docs/clients/pi.md``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from tokenledger_dagster.clients import row_values, values
from tokenledger_dagster.clients.adapter import Adapter
from tokenledger_dagster.clients.base import BookingFacts, Claim, Copy, Shape, Sink, SourceFile
from tokenledger_dagster.clients.copies import content_claims
from tokenledger_dagster.clients.evidence import Evidence
from tokenledger_dagster.clients.rows import Row, RowReader
from tokenledger_dagster.contracts.record import Counters, UsageRecord

FORKED = "pi.forked_entry"
_HEAD = 512
_PARTS = ("input", "output", "cacheWrite", "cacheRead")


class _State(msgspec.Struct):
    """What earlier rows tell of later ones."""

    header: str | None = None
    """The session's id as its header says it."""
    parent: str | None = None
    began_us: int | None = None
    cwd: str | None = None
    model: str | None = None
    provider: str | None = None


class PiReader(RowReader):
    """Reads one session's entries; branches that were left stay in the file and were paid for."""

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        super().__init__(file, sink)
        self._state = msgspec.msgpack.decode(carry, type=_State) if carry else _State()
        self._folder, self._agent = folder_of(file)

    def irrelevant(self, buffer: bytes | bytearray, start: int, end: int) -> bool:
        """Prompts and tool results: whatever usage they name is not theirs, and none is glued behind."""
        head = min(end, start + _HEAD)
        return (
            buffer.startswith(b'{"type":"message"', start)
            and (
                buffer.find(b'"message":{"role":"user"', start, head) != -1
                or buffer.find(b'"message":{"role":"toolResult"', start, head) != -1
            )
            and buffer.find(b'"assistant"', start, end) == -1
            and buffer.endswith(b"}", start, end)
        )

    def take(self, row: Row, evidence: Evidence, flags: list[str]) -> None:
        """Learns from an entry, and adds the usage of an answer."""
        kind, message = row.get("type"), row.get("message")
        if kind == "session":
            self._begin(row)
        elif kind == "model_change":
            self._state.model = values.text(row.get("modelId")) or self._state.model
            self._state.provider = values.upstream(row.get("provider")) or self._state.provider
        elif isinstance(message, dict) and message.get("role") == "assistant":
            self._answer(row, message, evidence, flags)

    def carry(self) -> bytes:
        """The header, and the model last chosen."""
        return msgspec.msgpack.encode(self._state)

    def _begin(self, row: Row) -> None:
        state = self._state
        state.header = values.text(row.get("id")) or state.header
        parent = values.text(row.get("parentSession")) or values.text(row.get("branchedFrom"))
        state.parent = session_of(parent) if parent else state.parent
        state.began_us = values.time_us(row.get("timestamp")) or state.began_us
        state.cwd = values.text(row.get("cwd")) or state.cwd
        state.model = values.text(row.get("modelId")) or state.model
        state.provider = values.upstream(row.get("provider")) or state.provider

    def _answer(self, row: Row, message: Row, evidence: Evidence, flags: list[str]) -> None:
        usage = row_values.usage_of(message.get("usage"), self.sink)
        if usage is None:
            return
        counters = counters_of(usage, flags)
        if not counters.total:
            self.sink.skipped["zero_usage"] += 1
            return
        state = self._state
        model = values.text(message.get("model")) or state.model
        if model is None:
            flags.append("model_missing")
        time = row_values.dated(self.file, self.sink, flags, row.get("timestamp"), message.get("timestamp"))
        timed = "timestamp_from_file" not in flags
        found = values.text(message.get("responseId"))
        cost = usage.get("cost")
        # a fork begins with its parent's entries as they were: those older than its own header are the parent's
        copied = timed and state.began_us is not None and time < state.began_us
        stopped = message.get("stopReason")
        own = session_of(self.file.shown) if "_" in row_values.name_of(self.file) else None
        # what the file says of itself holds under any name a copy of it may have
        session = (state.parent if copied else None) or state.header or own
        if session is None:
            session = row_values.name_of(self.file)
            flags.append("session_from_file")
        self.sink.records.append(
            UsageRecord(
                **evidence.placed(self.sink),
                timestamp_us=time,
                session_id=session,
                model_raw=model,
                counters=counters,
                message_id=found,
                request_id=values.text(row.get("id")),
                by_content=found is None and not timed,
                file_rule=FORKED if copied or state.parent is not None else None,
                parent_session_id=None if copied else state.parent,
                agent_id=self._agent,
                cwd=None if copied and state.parent is not None else state.cwd or self._folder,
                upstream=values.upstream(message.get("provider")) or state.provider,
                reported_cost_nano=values.cost_nano(cost.get("total") if isinstance(cost, dict) else cost),
                status=None if not isinstance(stopped, str) else "error" if stopped in ("error", "aborted") else "ok",
                flags=tuple(dict.fromkeys(flags)),
                raw_usage=row_values.kept_usage(usage),
            )
        )


class Pi(Adapter):
    """The adapter of pi and its kin."""

    name = "pi"

    def shape(self, path: str) -> Shape:
        """Line by line, also where a file of another name is added by hand."""
        return "lines"

    def reader(self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]) -> PiReader:
        """A reader for one session."""
        return PiReader(file, carry, sink)

    def group(self, record: UsageRecord) -> bytes:
        """The provider's response id, else the time: copies of an entry keep both."""
        if record.by_content:
            return super().group(record)
        return (f"id:{record.message_id}" if record.message_id else f"at:{record.timestamp_us}").encode()

    def claims(self, copies: Sequence[Copy], facts: BookingFacts) -> list[Claim]:
        """(response id or else time, model, counters, n) is a request; which rows are the n-th, ``_places`` tells.

        Response ids alone do not do: some local servers draw them from a few hundred.  Entry ids do not either: they
        are short, and given anew when a session's file is brought to a newer version.
        """
        claims = content_claims(self.name, [copy for copy in copies if copy.by_content])
        alike: dict[tuple[str | int | None, ...], list[Copy]] = defaultdict(list)
        for copy in copies:
            if not copy.by_content:
                alike[copy.message_id or copy.timestamp_us, copy.model_raw, *copy.counters].append(copy)
        for key, found in alike.items():
            found.sort(key=lambda copy: (copy.ordinal, copy.request_id or "", copy.stream))
            places = _by_answer(found) if found[0].message_id else _by_session(found, facts)
            for place, same in enumerate(places):
                forked = {copy.rid: FORKED for copy in same if copy.file_rule}
                claims.append(Claim((self.name, *key, place), same, rules=forked))
        return claims


def _by_answer(copies: Sequence[Copy]) -> list[list[Copy]]:
    """Rows that bear one response id: the n-th entry of any file with it is the n-th everywhere."""
    places: dict[int, list[Copy]] = defaultdict(list)
    seen: dict[int, dict[str | int, int]] = defaultdict(dict)
    for copy in copies:
        entries = seen[copy.stream]
        places[entries.setdefault(copy.request_id or copy.timestamp_us, len(entries))].append(copy)
    return [places[place] for place in sorted(places)]


def _by_session(copies: Sequence[Copy], facts: BookingFacts) -> list[list[Copy]]:
    """Rows of one time: entries of one session by their ids; those without an id are the n-th that has one.

    Sessions that nothing links are apart, whatever ids they share.  An entry in a fork's file is that of the same id in
    any other session, if there is one.
    """
    sessions: dict[str, list[Copy]] = defaultdict(list)
    forked: list[Copy] = []
    for copy in copies:
        (forked if copy.file_rule else sessions[facts.row_owner(copy)[0]]).append(copy)
    places: list[list[Copy]] = []
    known: dict[str, list[Copy]] = {}
    for name in sorted(sessions):
        entries = list(dict.fromkeys(copy.request_id for copy in sessions[name] if copy.request_id))
        own: dict[int, list[Copy]] = defaultdict(list)
        nameless: Counter[int] = Counter()
        for copy in sessions[name]:
            place = entries.index(copy.request_id) if copy.request_id else nameless[copy.stream]
            nameless[copy.stream] += not copy.request_id
            own[place].append(copy)
            if copy.request_id:
                known.setdefault(copy.request_id, own[place])
        places += [own[place] for place in sorted(own)]
    unnamed = [place for place in places if not any(copy.request_id for copy in place)]
    nameless = Counter()
    for copy in sorted(forked, key=lambda copy: copy.request_id is None):
        if copy.request_id:
            if copy.request_id not in known:  # a fork may have been brought to a newer version, its parent not
                known[copy.request_id] = unnamed.pop(0) if unnamed else []
            same = known[copy.request_id]
        else:
            number = nameless[copy.stream]
            nameless[copy.stream] += 1
            same = places[number] if number < len(places) else []
        if not same:
            places.append(same)
        same.append(copy)
    return places


def counters_of(usage: Row, flags: list[str]) -> Counters:
    """Disjoint as they stand; reasoning, where it is told, is part of the output unless the total counts it apart."""
    fresh, output, write, read = (values.count(usage.get(name), flags.append) for name in _PARTS)
    total = values.count(usage.get("totalTokens"), flags.append)
    thoughts = values.count(usage.get("reasoning"), flags.append)
    if total and not (fresh or output or write or read):
        flags.append("only_total_known")
        return Counters(output_tokens=total)
    if thoughts and total == fresh + output + write + read + thoughts:
        output += thoughts
    return Counters(
        input_tokens=fresh,
        output_tokens=output,
        cache_write_tokens=write,
        cache_read_tokens=read,
        reasoning_tokens=min(thoughts, output),
    )


def session_of(path: str) -> str:
    """A session's id in the name of its file, ``<time>_<id>.jsonl``: what stands behind the first underscore."""
    name = path.rsplit("/", 1)[-1].rsplit("\\", 1)[-1]
    cut = name.find(".jsonl")
    name = name[:cut] if cut > 0 else name
    return name.partition("_")[2] or name


def folder_of(file: SourceFile) -> tuple[str | None, str | None]:
    """The project's folder as the file lies in it, and the agent whose sessions these are (OpenClaw)."""
    above = file.shown.split("/")[:-1]
    if above and above[-1] == "sessions":  # no folder a project
        return None, above[-2] if len(above) > 2 and above[-3] == "agents" else None
    return above[-1] if above else None, None
