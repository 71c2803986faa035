"""The fast readers make exactly the records that the careful ones make of the same bytes, however a file is cut.

So do the compiled ones, where they were built: and their packs are those of the Python readers to the byte.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import Row, at, claude, claude_progress, jsonl, line, meta, rollout, spawned_by, tokens, turn, user
from tokenledger_dagster.clients import claude_pack, codex_pack, compiled
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.pack import decode_columns
from tokenledger_dagster.clients.pack_copies import copies
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.contracts.record import UsageRecord
from tokenledger_dagster.ingest import reading, scan
from tokenledger_dagster.ingest.bookkeeping import copy_of
from tokenledger_dagster.ingest.scan import Scanned, Start

NOW_US = 1_780_000_000_000_000
NO_CONTEXT: Mapping[str, str] = {}
TIERED = {"model": "gpt-5.4", "service_tier": "priority", "config_mtime_us": "1771407000000000"}
many = settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


# ------------------------------------------------------------------ both readings


def source(client: str, path: Path) -> SourceFile:
    found = (str(path), path.name, path.stat())
    return SourceFile.of(client, found)


CAREFUL, PACKED, BULK = "careful", "packed", "bulk"
BUILT = compiled.bulk()
READINGS = (CAREFUL, PACKED, BULK) if BUILT is not None else (CAREFUL, PACKED)


def read(file: SourceFile, start: Start, context: Mapping[str, str], how: str) -> Scanned:
    with patch.object(compiled, "bulk", lambda: BUILT if how == BULK else None):
        found, _ = scan._scan(file, start, context, NOW_US, fast=how != CAREFUL)
    return found


def records(client: str, found: Scanned) -> list[UsageRecord]:
    """All records of a reading, packed ones taken out of their columns, in order."""
    every = list(found.records)
    form = clients()[client].pack_format()
    for packed in found.packs:
        assert form is not None
        every += [record for _, record in form.records(decode_columns(packed.body))]
    return sorted(every, key=lambda record: record.ordinal)


def shown(record: UsageRecord) -> dict[str, Any]:
    """A record with its usage object as values: packs keep no order of keys, no nulls, no empty objects."""
    fields = msgspec.structs.asdict(record)
    if record.raw_usage is not None:
        fields["raw_usage"] = _told(json.loads(record.raw_usage))
    fields["cumulative"] = record.cumulative and tuple(record.cumulative)
    fields["last"] = record.last and tuple(record.last)
    return fields


def _told(value: Any) -> Any:
    """Without what says nothing; a list of iterations is kept as it is."""
    if not isinstance(value, dict):
        return value
    kept = {key: _told(item) for key, item in value.items()}
    return {key: item for key, item in kept.items() if item is not None and item != {} and item != 0}


def copies_alike(client: str, found: Scanned) -> None:
    """What booking works on comes from the columns as it comes from the records."""
    form = clients()[client].pack_format()
    for packed in found.packs:
        assert form is not None
        columns = decode_columns(packed.body)
        names = [form.priced(context)[0] for context in columns.contexts]
        numbers = {name: 70 + place for place, name in enumerate(names)}
        expected = [
            (clients()[client].group(record), copy_of(1000 + row, 7, numbers[record.session_id], record))
            for row, record in form.records(columns)
        ]
        every = range(len(columns.winners))
        assert list(copies(columns, every, 7, 1000, [numbers[name] for name in names])) == expected
        some = every[::2]
        kept = [one for one, event in zip(expected, columns.event_of, strict=True) if event in some]
        assert list(copies(columns, some, 7, 1000, [numbers[name] for name in names])) == kept


def sessions(found: Scanned) -> list[tuple[Any, ...]]:
    return sorted((note.name, note.first_us, note.project_us, note.project) for note in found.sessions)


def state(found: Scanned) -> Any:
    """What the reader remembers, free of the order in which sets are written."""
    return msgspec.msgpack.decode(found.carry) if found.carry else None


def same(client: str, fast: Scanned, careful: Scanned) -> None:
    differing = [
        {name: (one[name], other[name]) for name in one if one[name] != other[name]}
        for one, other in zip(map(shown, records(client, fast)), map(shown, careful.records), strict=True)
    ]
    assert [found for found in differing if found] == []
    copies_alike(client, fast)
    assert fast.skipped == careful.skipped
    assert fast.bad == careful.bad
    assert _unordered(state(fast)) == _unordered(state(careful))
    assert fast.lineage == careful.lineage
    assert fast.chain == careful.chain
    assert sessions(fast) == sessions(careful)
    assert (fast.position, fast.encoding, fast.error) == (careful.position, careful.encoding, careful.error)
    assert fast.count == careful.count == len(careful.records)


def _unordered(found: Any) -> Any:
    if isinstance(found, dict) and "reducer" in found:
        seen = sorted(map(tuple, found["reducer"]["seen"]))
        return {**found, "reducer": {**found["reducer"], "seen": seen}}
    return found


def read_alike(
    client: str, content: bytes, context: Mapping[str, str] = NO_CONTEXT, appends: tuple[int, ...] = ()
) -> Scanned:
    """Reads ``content`` every way, at once or as it grows to each of some sizes; returns the last fast reading."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (rollout().rpartition("/")[2] if client == "codex" else "s1.jsonl")
        starts = dict.fromkeys(READINGS, Start())
        found: dict[str, Scanned] = {}
        for size in (*sorted(appends), len(content)):
            path.write_bytes(content[:size])
            file = msgspec.structs.replace(source(client, path), mtime_ns=1_771_500_000_000_000_000)
            for how, start in starts.items():
                found[how] = read(file, start, context, how)
            same(client, found[PACKED], found[CAREFUL])
            if BUILT is not None:
                assert found[BULK] == found[PACKED]
            starts = {how: Start(one.position.offset, one.chain, one.carry) for how, one in found.items()}
    return found[PACKED]


# ------------------------------------------------------------------ rows, known and odd


def draw_claude(random: Random) -> Row | bytes:
    """A transcript's row: mostly of the writer's own layout, sometimes odd in one place."""
    number = random.randint(0, 4)
    row = claude(
        random.choice((f"m{number}", f"msg_vrtx_{number}", f"msg_bdrk_{number}")) if random.random() < 0.95 else None,
        random.choice((f"r{number}", f"r{number}", f"r{number}", None, "other")),
        minutes=random.choice((number, number, number + 0.01, 900)),
        output=random.choice((0, 1, 5, 5, 90)),
        write=random.choice((0, 40)),
        read=random.choice((0, 900, 250_000)),
        session=random.choice(("s1", "s1", "s1", "s2", None)),
        sidechain=random.random() < 0.1,
        model=random.choice(("claude-sonnet-4-5", "claude-opus-4-5", "<synthetic>", None, "")),
    )
    if random.random() < 0.5:
        return row
    usage = row["message"]["usage"]
    odd = random.choice(_CLAUDE_ODD)
    found = odd(row, usage)
    return row if found is None else found


def _put(name: str, *choices: Any) -> Callable[[Row, Row], Any]:
    return lambda row, usage: usage.__setitem__(name, choices[len(json.dumps(row)) % len(choices)])


def _row(name: str, *choices: Any) -> Callable[[Row, Row], Any]:
    return lambda row, usage: row.__setitem__(name, choices[len(json.dumps(row)) % len(choices)])


def _message(name: str, *choices: Any) -> Callable[[Row, Row], Any]:
    return lambda row, usage: row["message"].__setitem__(name, choices[len(json.dumps(row)) % len(choices)])


_ADVISOR = {"type": "advisor_message", "model": "claude-opus-4-6", "input_tokens": 7, "output_tokens": 2}
_ODD_COUNTS = (-3, 2.0, 2.5, "12", "x", True, None, [], {}, 10_000_000_000, 10_000_000_001, 10**30, 1e400, 1e300)
_ODD_TIMES = (
    None, "", "not-a-date", 5, 1_771_405_200, 1_771_405_200_000, "1771405200", "2026-02-18T09:00:00+05:45",
    "2026-02-18T09:00:00-03:30", "2026-02-18t09:00:00z", "2026-02-18 09:00:00Z", "2026-02-18T09:00:00",
    "2026-02-18T09:00:00.123456789Z", "2026-02-18T09:00:00.1Z", "1969-12-31T23:59:59Z", "1970-06-01T00:00:00Z",
    "1971-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z",
    "2026-02-18T24:00:00Z", "2026-02-30T09:00:00Z", "2026-06-30T23:59:60Z", "2026-02-18T09:00Z", "20260218T090000Z",
)  # fmt: skip
_ODD_TEXTS = (
    None,
    "",
    5,
    True,
    [],
    {},
    "a\x00b",
    "x" * 1_100,
    "\u2028",
    "tab\there",
    "ü",
    "\ud800",
    "\x7f",
    "café\u200b",
)
_WORDS = (None, "", "standard", "batch", "free text", "x" * 30, 5, {}, "Ü")
_CLAUDE_ODD: tuple[Callable[[Row, Row], Any], ...] = (
    _put("input_tokens", *_ODD_COUNTS),
    _put("cache_creation_input_tokens", *_ODD_COUNTS),
    _put("cache_read_input_tokens", *_ODD_COUNTS),
    _put("output_tokens", *_ODD_COUNTS),
    lambda row, usage: usage.pop("input_tokens"),
    lambda row, usage: usage.pop("output_tokens") and None,
    _put("service_tier", *_WORDS),
    _put("speed", *_WORDS),
    _put("inference_geo", *_WORDS),
    _put("surprise", 1, "text", None, {"a": 1}),
    _put("iterations", [], None, {}, "x", 5, [_ADVISOR], [{"type": "message", "input_tokens": 1}], [_ADVISOR, 3],
         [{"type": "message", "note": "free text"}], [[]], [{}], [_ADVISOR, _ADVISOR]),
    _put("cache_creation", None, {}, {"ephemeral_5m_input_tokens": 40}, {"ephemeral_1h_input_tokens": 40}, 5, [],
         {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 10}, {"ephemeral_1h_input_tokens": 3},
         {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, {"ephemeral_2h_input_tokens": 1}),
    _put("server_tool_use", None, {}, {"web_search_requests": 2}, {"web_search_requests": 2, "web_fetch_requests": 1},
         {"web_fetch_requests": 0, "web_search_requests": 0}, {"other": 1}, 5, {"web_search_requests": -1}),
    _row("timestamp", *_ODD_TIMES),
    _row("sessionId", *_ODD_TEXTS),
    _row("requestId", *_ODD_TEXTS),
    _row("cwd", *_ODD_TEXTS),
    _row("gitBranch", *_ODD_TEXTS),
    _row("version", *_ODD_TEXTS),
    _row("agentId", *_ODD_TEXTS),
    _row("isSidechain", True, None, 1, "true"),
    _row("costUSD", 0.25, 0, -1, 1e-12, 1e9, "0.25", None, True, 10**400 // 10**390),
    _row("inputTokens", 5, None, "x"),
    _row("data", None, 5, {"type": "hook"}, {"message": None}, {"message": {"message": {"usage": None}}}),
    _message("id", *_ODD_TEXTS),
    _message("model", *_ODD_TEXTS),
    _message("usage", None, {}, [], 5, "x", {"output_tokens": 5}, {"input_tokens": 0, "output_tokens": 0}),
    lambda row, usage: claude_progress({"sessionId": None, **row}),
    lambda row, usage: claude_progress({"sessionId": None, **row}, agentId="a9", cwd="/"),
    lambda row, usage: {**claude_progress({"sessionId": None, **row}), "timestamp": None},
    lambda row, usage: claude_progress({"sessionId": None, **row, "timestamp": "nonsense"}),
    lambda row, usage: user("a prompt that quotes \"usage\":{\"input_tokens\":5}"),
    lambda row, usage: {"type": "summary", "summary": "none", "leafUuid": "x"},
    lambda row, usage: {"timestamp": at(), "sessionId": "s1", "inputTokens": 5, "outputTokens": 6},
    lambda row, usage: line(user()) + line(row),
    lambda row, usage: line(row) + line(user()),
    lambda row, usage: line(row) + b" " + line(row),
    lambda row, usage: line(row)[:-1],
    lambda row, usage: line(row)[: len(line(row)) // 2],
    lambda row, usage: line(row).replace(b":", b": ").replace(b",", b" , "),
    lambda row, usage: json.dumps(row, indent=1).replace("\n", "\r").encode(),
    lambda row, usage: line(row) + b"\r",
    lambda row, usage: b"\xef\xbb\xbf" + line(row),
    lambda row, usage: b"\x00\x00" + line(row) + b"\x00",
    lambda row, usage: b"  " + line(row) + b"\t",
    lambda row, usage: line(row).replace(b"tidepool", b"tide\xffpool"),
    lambda row, usage: line(row).replace(b'"done"', b'"\xed\xa0\x80"'),
    lambda row, usage: line(row).replace(b'"output_tokens":', b'"output_tokens":1,"output_tokens":'),
    lambda row, usage: line(row).replace(b'"output_tokens":', b'"output_tokens":00'),
    lambda row, usage: line({**row, "message": {**row["message"], "content": [[[[]]]]}}),
    lambda row, usage: b"",
    lambda row, usage: b" \t",
    lambda row, usage: b"\x00\x00",
    lambda row, usage: b"[]",
    lambda row, usage: b"5",
    lambda row, usage: b"null",
    lambda row, usage: b"{}",
    lambda row, usage: b"{",
    lambda row, usage: b"no JSON",
    lambda row, usage: b'{"message":{"role":"user","content":"' + b"x" * 2_000 + b'"}}',
    lambda row, usage: b"{" + b'"a":{' * 3_000 + b"}" * 3_001,
)  # fmt: skip


def draw_codex(random: Random, total: list[int]) -> Row | bytes:
    """A rollout's row; ``total`` is the running total, which grows, stays, jumps or falls."""
    minutes = random.choice((0, 0, 0.001, 5, 30, 800))
    kind = random.random()
    if kind < 0.08:
        return tokens(minutes=minutes)
    step = [
        random.choice((10, 25, 200_000)),
        random.choice((0, 4, 40)),
        random.choice((1, 2)),
        random.choice((0, 1, 3)),
    ]
    if kind < 0.2:
        return tokens(tuple(step) if kind < 0.14 else None, None if kind < 0.14 else tuple(step), minutes)
    if kind < 0.9:
        total[:] = [one + other for one, other in zip(total, step, strict=True)]
    row = tokens(
        (*total, 3) if random.random() < 0.1 else tuple(total), random.choice((None, tuple(step), tuple(step))), minutes
    )
    if random.random() < 0.6:
        return row
    odd = random.choice(_CODEX_ODD)
    found = odd(row, row["payload"]["info"])
    return row if found is None else found


def _total(name: str, *choices: Any) -> Callable[[Row, Row], Any]:
    return lambda row, info: info["total_token_usage"].__setitem__(name, choices[len(json.dumps(row)) % len(choices)])


def _last(name: str, *choices: Any) -> Callable[[Row, Row], Any]:
    def change(row: Row, info: Row) -> None:
        if "last_token_usage" in info:
            info["last_token_usage"][name] = choices[len(json.dumps(row)) % len(choices)]

    return change


_CODEX_ODD: tuple[Callable[[Row, Row], Any], ...] = (
    *(
        change(name, *_ODD_COUNTS)
        for change in (_total, _last)
        for name in ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens", "total_tokens")
    ),
    _total("cache_write_input_tokens", 0, 5, None, -1),
    _last("cache_write_input_tokens", 0, 5, None, -1),
    _total("surprise", 1),
    _last("prompt_tokens", 1),
    lambda row, info: info["total_token_usage"].pop("cached_input_tokens") and None,
    lambda row, info: info.get("last_token_usage", {}).pop("output_tokens", None) and None,
    lambda row, info: info.__setitem__("total_token_usage", {}),
    lambda row, info: info.__setitem__("total_token_usage", 5),
    lambda row, info: info.__setitem__("last_token_usage", {}),
    lambda row, info: info.__setitem__("last_token_usage", None),
    lambda row, info: info.__setitem__("model", "gpt-5.3"),
    lambda row, info: info.__setitem__("model", 5),
    lambda row, info: row["payload"].__setitem__("info", 5),
    lambda row, info: row["payload"].__setitem__("model", "gpt-5.2"),
    lambda row, info: row["payload"].__setitem__("metadata", {"model": "gpt-5.1"}),
    lambda row, info: row["payload"].__setitem__("type", "other"),
    lambda row, info: row.__setitem__("payload", None),
    lambda row, info: row.__setitem__("type", "response_item"),
    *(lambda row, info, time=time: row.__setitem__("timestamp", time) for time in _ODD_TIMES),
    lambda row, info: {**row, "timestamp": None, "created_at": at(7)},
    lambda row, info: turn("gpt-5.4"),
    lambda row, info: turn("", cwd="/elsewhere"),
    lambda row, info: turn(None),  # type: ignore[arg-type]
    lambda row, info: meta("t2"),
    lambda row, info: meta("t3", forked_from_id="t4"),
    lambda row, info: {"type": "thread.started", "thread_id": "t9"},
    lambda row, info: {"type": "turn.completed", "usage": {"input_tokens": 9, "output_tokens": 1}},
    lambda row, info: {"type": "x", "data": {"usage": {"input_tokens": 9}, "timestamp": at(3)}},
    lambda row, info: {"timestamp": at(), "type": "response_item", "payload": {"type": "message", "text": "hi"}},
    lambda row, info: {"timestamp": at(), "type": "event_msg", "payload": {"type": "agent_message", "message": "hi"}},
    lambda row, info: line({"timestamp": at(), "type": "compacted", "payload": {"message": "x"}}) + line(row),
    lambda row, info: line({"timestamp": at(), "type": "response_item", "payload": {"a": {}}}) + line(row),
    lambda row, info: line(row) + line(row),
    lambda row, info: line(row)[:-2],
    lambda row, info: line(row) + b"\r",
    lambda row, info: b"\xef\xbb\xbf" + line(row),
    lambda row, info: b"\x00" + line(row),
    lambda row, info: line(row).replace(b"primary", b"prim\xffary"),
    lambda row, info: line(row).replace(b":", b" : "),
    lambda row, info: b"",
    lambda row, info: b"[1]",
    lambda row, info: b"nonsense",
)


def transcript(random: Random) -> bytes:
    rows = [draw_claude(random) for _ in range(random.randint(1, 14))]
    return _joined(random, rows)


def rollout_of(random: Random) -> bytes:
    about: Row = random.choice(({}, {}, {"forked_from_id": "t0"}, {"source": spawned_by("t0")}))
    rows: list[Row | bytes] = [meta("t1", **about), turn(random.choice(("gpt-5.1-codex", "gpt-5.4")))]
    rows = rows[random.choice((0, 0, 0, 1, 2)) :]
    total = [0, 0, 0, 0]
    rows += [draw_codex(random, total) for _ in range(random.randint(1, 14))]
    return _joined(random, rows)


def _joined(random: Random, rows: list[Row | bytes]) -> bytes:
    content = jsonl(*rows)
    if random.random() < 0.2:
        content = content.replace(b"\n", b"\r\n")
    return content[: -random.randint(1, 9)] if random.random() < 0.3 else content


randoms = st.integers(0, 2**24).map(Random)


# ------------------------------------------------------------------ the same records


def test_replayed_rows_before_any_model_is_known_are_flagged_alike() -> None:
    replayed = [tokens((10 * one, 0, one), minutes=0) for one in range(1, 4)]
    rows = [meta("t1", source=spawned_by("t0")), *replayed, turn(), tokens((90, 0, 9), minutes=5)]
    found = read_alike("codex", jsonl(*rows))
    flags = [record.flags for record in records("codex", found)]
    assert flags == [("replay_burst", "model_fallback")] * 3 + [()]


@settings(many, max_examples=300)
@given(randoms)
def test_any_transcript_is_read_alike(random: Random) -> None:
    read_alike("claude-code", transcript(random))


@settings(many, max_examples=300)
@given(randoms)
def test_any_rollout_is_read_alike(random: Random) -> None:
    read_alike("codex", rollout_of(random), random.choice((NO_CONTEXT, TIERED)))


@pytest.mark.parametrize("number", range(len(_CLAUDE_ODD)))
def test_every_odd_transcript_row_is_read_alike_among_usual_ones(number: int) -> None:
    for salt in range(20):
        row = claude(f"m{salt}", f"r{salt}", output=salt + 1, minutes=salt, cwd="/" + "x" * salt)
        found = _CLAUDE_ODD[number](row, row["message"]["usage"])
        read_alike("claude-code", jsonl(claude(), row if found is None else found, claude(output=9)))


@pytest.mark.parametrize("number", range(len(_CODEX_ODD)))
def test_every_odd_rollout_row_is_read_alike_among_usual_ones(number: int) -> None:
    for salt in range(16):
        row = tokens((100, 4, 5, 1), (10, 4, 5, 1), minutes=1, note="x" * salt)
        found = _CODEX_ODD[number](row, row["payload"]["info"])
        after = tokens((150, 4, 9, 1), (50, 0, 4, 0), minutes=2)
        read_alike("codex", jsonl(meta(), turn(), row if found is None else found, after, row), TIERED)


@many
@given(randoms)
def test_a_file_that_grows_is_read_alike(random: Random) -> None:
    client, content = random.choice((("claude-code", transcript(random)), ("codex", rollout_of(random))))
    read_alike(client, content, appends=tuple(random.randint(0, len(content)) for _ in range(3)))


def test_usual_rows_are_packed_and_odd_ones_are_not() -> None:
    found = read_alike("claude-code", jsonl(claude(), claude("m2", "r2", input=-1), claude("m3", "r3")))
    assert ([packed.rows for packed in found.packs], len(found.records)) == ([2], 1)

    found = read_alike("codex", jsonl(meta(), turn(), tokens((9, 0, 1)), tokens(last=(5, 0, 1)), tokens((20, 0, 2))))
    assert ([packed.rows for packed in found.packs], len(found.records)) == ([2], 1)


# ------------------------------------------------------------------ however it is cut


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Blocks of so many bytes; a longer line makes its own block grow."""

    def cut(size: int) -> None:
        monkeypatch.setattr(reading, "BLOCK_BYTES", size)
        monkeypatch.setattr(reading, "_buffer", bytearray(size))

    return cut


CLAUDE_FILE = jsonl(
    user("x" * 30), claude(), b"", claude(output=9), line(claude("m2", "r2")) + b"\r", claude("m3", "r3", input="7")
)
CODEX_FILE = jsonl(meta(), turn(), tokens((9, 0, 1)), line(tokens()) + b"\r", tokens((20, 3, 2), (11, 3, 1)))


@pytest.mark.parametrize(("client", "content"), [("claude-code", CLAUDE_FILE), ("codex", CODEX_FILE)])
def test_blocks_may_end_at_any_byte(client: str, content: bytes, small_blocks: Callable[[int], None]) -> None:
    whole = records(client, read_alike(client, content))
    for size in range(1, len(content) + 2, 7):
        small_blocks(size)
        assert records(client, read_alike(client, content)) == whole


@pytest.mark.slow
@pytest.mark.parametrize(("client", "content"), [("claude-code", CLAUDE_FILE), ("codex", CODEX_FILE)])
def test_an_append_may_end_at_any_byte(client: str, content: bytes) -> None:
    for size in range(len(content) + 1):
        read_alike(client, content, appends=(size,))


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_packs_may_end_in_the_middle_of_a_message(
    rows: int, monkeypatch: pytest.MonkeyPatch, small_blocks: Callable[[int], None]
) -> None:
    monkeypatch.setattr(scan, "PACK_ROWS", rows)
    small_blocks(512)
    streamed = [claude(f"m{number // 3}", f"r{number // 3}", output=number + 1, minutes=number) for number in range(12)]
    odd = [claude("odd", "odd", input=-1, minutes=3)]
    found = read_alike("claude-code", jsonl(*streamed[:5], *odd, *streamed[5:]))

    assert len(found.packs) > 12 // (rows + 2)
    assert sum(packed.rows for packed in found.packs) == 12
    assert [record.ordinal for record in records("claude-code", found)] == list(range(13))

    totals = [tokens((10 * number, 0, number), minutes=number) for number in (1, 2, 2, 3, 4, 4, 5)]
    found = read_alike("codex", jsonl(meta(), turn(), *totals[:3], tokens(last=(5, 0, 1), minutes=2), *totals[3:]))
    assert [record.ordinal for record in records("codex", found)] == list(range(8))


@settings(many, max_examples=60)
@given(randoms, st.integers(1, 4))
def test_any_file_in_small_packs_is_read_alike(random: Random, rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "PACK_ROWS", rows)
        patch.setattr(reading, "_buffer", bytearray(256))
        read_alike("claude-code", transcript(random))
        read_alike("codex", rollout_of(random))


# ------------------------------------------------------------------ what a pack says of itself


def test_a_pack_stands_for_the_sums_of_the_events_its_file_alone_tells() -> None:
    rows = [claude("m1", "r1", output=5), claude("m1", "r1", output=9), claude("m2", "r2", input=3, minutes=20)]
    found = read_alike("claude-code", jsonl(*rows))
    (packed,) = found.packs

    assert packed.rules == {"claude.stream_copy": 1}
    assert [(cell.count, cell.counters[:2]) for cell in packed.cells] == [(1, [10, 9]), (1, [3, 5])]
    slots = [cell.slot for cell in packed.cells]
    assert all(after - before == 1 for before, after in pairwise(slots))


def test_equal_requests_have_equal_keys_in_both_readings() -> None:
    for client, content in (("claude-code", CLAUDE_FILE), ("codex", CODEX_FILE)):
        form = clients()[client].pack_format()
        assert form is not None
        for packed in read_alike(client, content).packs:
            columns = decode_columns(packed.body)
            keys = form.keys(columns.identities)
            for row, record in form.records(columns):
                assert form.record_key(record) == keys[columns.event_of[row]]


def test_a_row_that_no_decoder_takes_goes_to_the_careful_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (claude_pack, codex_pack):
        monkeypatch.setattr(module, "decoded_lines", lambda decoder, lines: [None] * len(lines))
    monkeypatch.setattr(sys.modules[__name__], "BUILT", None)

    assert read_alike("claude-code", CLAUDE_FILE).packs == []
    assert read_alike("codex", CODEX_FILE).packs == []
