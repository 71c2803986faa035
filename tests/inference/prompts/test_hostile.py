"""Whatever stands in a log, a reading ends well: bytes, types, lengths, and files that grow while they are read."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.inference.prompts.goldens import FIXTURES, prompt_world, read
from tests.support import World, jsonl, meta, user
from tokenledger_dagster.clients.base import Shape, SourceFile
from tokenledger_dagster.inference.policy import policy
from tokenledger_dagster.inference.prompts.notes import Entry, Notes
from tokenledger_dagster.inference.prompts.reading import read as read_file
from tokenledger_dagster.inference.prompts.registry import READERS, reader_of

LIMITS = policy().prompts
PLACES: dict[str, tuple[str, Shape]] = {
    "claude-code": ("projects/p/s.jsonl", "lines"),
    "codex": ("sessions/rollout-x.jsonl", "lines"),
    "cursor": ("agent-transcripts/x/x.jsonl", "lines"),
    "droid": ("sessions/x.jsonl", "lines"),
    "opencode": ("storage/message/ses/msg.json", "document"),
    "gemini-cli": ("tmp/p/chats/session-x.jsonl", "lines"),
    "copilot-cli": ("session-state/x/events.jsonl", "lines"),
    "qwen-code": ("projects/p/chats/x.jsonl", "lines"),
    "amp": ("threads/T-x.json", "document"),
    "kimi": ("sessions/x/s/wire.jsonl", "lines"),
    "pi": ("sessions/p/x_s.jsonl", "lines"),
    "goose": ("sessions/x.jsonl", "lines"),
    "cline": ("sessions/s/s.messages.json", "document"),
    "roo": ("tasks/t/ui_messages.json", "document"),
    "kilo": ("tasks/t/ui_messages.json", "document"),
}


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="tokenledger-prompts-"))


def entries(client: str, content: bytes, **limits: int) -> tuple[list[tuple[Entry, str]], Counter[str]]:
    """What a client's reader notes of one file, and what it passed over."""
    relative, shape = PLACES[client]
    path = folder() / client / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    file = SourceFile.of(client, (str(path), relative, os.stat(path)), shape=shape)
    found: list[tuple[Entry, str]] = []
    allowed = msgspec.structs.replace(LIMITS, **limits)
    notes = Notes(file, b"k" * 32, allowed, lambda entry, text: found.append((entry, text)))
    reader = reader_of(file, notes)
    assert reader is not None
    with contextlib.suppress(OSError, EOFError, ValueError):  # damaged packing, which a reading tells
        read_file(file, reader, allowed, notes.skipped)
    return found, notes.skipped


@cache
def good_lines(client: str) -> list[bytes]:
    """Every row, or document, of the client's fixture."""
    pieces: list[bytes] = []
    for path in sorted((FIXTURES / client / "home").rglob("*.json*")):
        content = path.read_bytes()
        pieces += content.splitlines() if path.suffix == ".jsonl" else [content]
    return pieces


KEYS = st.sampled_from(
    (
        *(
            "type",
            "message",
            "content",
            "text",
            "role",
            "payload",
            "timestamp",
            "sessionId",
            "session_id",
            "id",
            "uuid",
        ),
        *("data", "user_input", "input", "messages", "ts", "say", "parts", "displayContent", "$set"),
        *(
            "origin",
            "kind",
            "attachment",
            "prompt",
            "time",
            "created",
            "history",
            "chatMessages",
            "isMeta",
            "item",
            "name",
        ),
    )
)
WORDS = st.sampled_from(
    (
        *("user", "text", "attachment", "queued_command", "user_message", "event_msg", "response_item", "session_meta"),
        *("message", "session", "user.message", "session.start", "turn.prompt", "TurnBegin", "user_feedback", "task"),
        *("human", "<system-reminder>", "<command-name>", ""),
    )
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@pytest.mark.parametrize("client", sorted(READERS))
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_bytes_are_read_without_an_error(client: str, data: st.DataObject) -> None:
    pieces = st.sampled_from(good_lines(client)) | st.binary(max_size=40)
    content = b"\n".join(data.draw(st.lists(pieces, max_size=6)))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(content)))
        content = content[:at] + data.draw(st.binary(max_size=4)) + content[at + data.draw(st.integers(0, 9)) :]

    for entry, text in entries(client, content)[0]:
        assert text.encode("utf-8").decode("utf-8") == text
        assert 0 < len(text) <= LIMITS.max_characters
        assert entry.session.isprintable() or entry.session


@pytest.mark.slow
@pytest.mark.parametrize("client", sorted(READERS))
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(VALUES, max_size=4))
def test_values_of_any_type_are_read_without_an_error(client: str, rows: list[Any]) -> None:
    if PLACES[client][1] == "lines":
        content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    else:
        content = json.dumps(rows[0] if len(rows) == 1 else rows).encode()

    for _, text in entries(client, content)[0]:
        assert text


@pytest.mark.slow
@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(cuts=st.lists(st.integers(0, 4_000), min_size=1, max_size=3))
@pytest.mark.parametrize("client", ["claude-code", "codex", "kimi"])
def test_a_file_that_grows_piece_by_piece_gives_what_reading_it_once_gives(client: str, cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as place:
        world = prompt_world(client, Path(place))
        path = max(world.home_dir.rglob("*.jsonl"), key=lambda one: one.stat().st_size)
        content = path.read_bytes()
        wanted = [(one.session_id, one.texts, one.started_at) for one in read(world)[0]]
        often = World(Path(place) / "often")
        often.environ["HOME"] = str(world.home_dir)
        for cut in sorted(cuts):
            path.write_bytes(content[:cut])
            read(often)
        path.write_bytes(content)

        assert [(one.session_id, one.texts, one.started_at) for one in read(often)[0]] == wanted


ODD: list[Any] = [
    *(None, 0, -1, 1.5, 2**62, "", "text", b"\xff\x00", "[]", "{", "null", '"x"', "[" * 5_000),
    *('{"role":"user"}', '{"role":"user","time":7}', '[{"type":"text","text":7}]'),
    *('{"type":1,"text":7}', '{"type":1,"text":{"a":1},"createdAt":[]}', '{"subComposerIds":{},"conversation":7}'),
    '{"conversation":[7,null,{"type":1}],"conversationMap":[]}',
]
_PERSONS = """'{"role":"user"}'"""
_PART = """'{"type":"text","text":"Good words."}'"""
TABLES: dict[str, tuple[str, list[str], list[str]]] = {
    "cursor": (
        ".config/Cursor/User/globalStorage/state.vscdb",
        [
            "CREATE TABLE cursorDiskKV (key, value)",
            """INSERT INTO cursorDiskKV VALUES ('bubbleId:c:good', '{"type":1,"text":"Good words."}')""",
        ],
        [f"INSERT INTO cursorDiskKV VALUES ('{kind}:' || ?1, ?2)" for kind in ("bubbleId:c", "composerData")],
    ),
    "opencode": (
        ".local/share/opencode/opencode.db",
        [
            "CREATE TABLE session (id, parent_id, time_created)",
            "CREATE TABLE message (id, session_id, data)",
            "CREATE TABLE part (id, message_id, data)",
            f"INSERT INTO message VALUES ('good', 's', {_PERSONS})",
            f"INSERT INTO part VALUES ('p', 'good', {_PART})",
        ],
        [
            "INSERT INTO message VALUES (?1, 's', ?2)",
            f"INSERT INTO message VALUES (?2, ?2, {_PERSONS})",
            "INSERT INTO part VALUES (?1, ?2, ?2)",
            "INSERT INTO session VALUES (?2, ?2, ?2)",
        ],
    ),
    "goose": (
        ".local/share/goose/sessions/sessions.db",
        [
            "CREATE TABLE sessions (id, session_type)",
            "CREATE TABLE messages (session_id, role, content_json, created_timestamp, message_id, metadata_json)",
            f"INSERT INTO messages VALUES ('s', 'user', '[' || {_PART} || ']', 7, 'm', NULL)",
        ],
        [
            "INSERT INTO messages VALUES ('other', 'user', ?2, ?2, ?2, ?2)",
            "INSERT INTO messages VALUES (?2, 'user', '[]', 1, 1, 1)",
            "INSERT INTO sessions VALUES (?2, ?2)",
        ],
    ),
}
"""A client's database, the statements that make it with one good prompt, and those that fill a row with anything."""


@pytest.mark.parametrize("client", sorted(TABLES))
def test_rows_of_any_type_leave_the_good_ones(tmp_path: Path, client: str) -> None:
    place, made, odd = TABLES[client]
    world = World(tmp_path)
    path = world.home_dir / place
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        for statement in made:
            connection.execute(statement)
        for statement in odd:
            connection.executemany(statement, [(str(number), value) for number, value in enumerate(ODD)])
        connection.commit()

    found, report = read(world)

    assert [one.texts for one in found if "Good words." in (one.texts or ())] == [["Good words."]]
    assert report.problems == []


def test_a_database_of_another_layout_is_counted(tmp_path: Path) -> None:
    world = World(tmp_path)
    for place, _, _ in TABLES.values():
        path = world.home_dir / place
        path.parent.mkdir(parents=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE other (id)")

    assert read(world)[1].skipped == {"schema_drift": 3}


# ------------------------------------------------------------------ lengths and packing


def test_a_line_beyond_the_limit_is_passed_over_in_bounded_memory() -> None:
    huge = b'{"type":"user","message":{"role":"user","content":"' + b"x" * (5 << 20) + b'"}}'
    content = jsonl(user("before", 1), huge, user("after", 2))

    found, skipped = entries("claude-code", content, max_line_bytes=2 << 20)

    assert [text for _, text in found] == ["before", "after"]
    assert skipped == {"line_too_long": 1}


def test_a_long_line_within_the_limit_is_read() -> None:
    found, skipped = entries("claude-code", jsonl(user("word " * 700_000, 1), user("after", 2)))

    assert [text[:9] for _, text in found] == ["word word", "after"]
    assert skipped == {}


def test_a_document_beyond_the_limit_is_passed_over() -> None:
    document = json.dumps([{"type": "say", "say": "text", "text": "x" * 3_000_000}]).encode()

    assert entries("roo", document, max_document_bytes=1 << 20) == ([], {"document_too_large": 1})


@pytest.mark.parametrize("ending", [b"", b"\x00" * 4_096, b"\n\n\n", b"\r\n", b"\xff\xfe\xff", b'{"type":"user"'])
@pytest.mark.parametrize("beginning", [b"", b"\xef\xbb\xbf", b"\x00\x00"])
def test_what_surrounds_the_rows_changes_nothing(beginning: bytes, ending: bytes) -> None:
    content = beginning + jsonl(user("one", 1), user("two", 2)).replace(b"\n", b"\r\n") + ending

    assert [text for _, text in entries("claude-code", content)[0]] == ["one", "two"]


def test_packed_logs_are_read(tmp_path: Path) -> None:
    import gzip

    world = World(tmp_path)
    path = world.codex(meta("t1"))
    event = {"timestamp": "2026-02-18T09:01:00.000Z", "type": "event_msg"}
    row = {**event, "payload": {"type": "user_message", "message": "Packed words."}}
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(jsonl(meta("t1"), row)))
    path.unlink()

    assert [(one.session_id, one.texts) for one in read(world)[0]] == [("t1", ["Packed words."])]


def test_a_plan_that_an_agent_wrote_is_no_prompt_in_the_session_that_carries_it_out() -> None:
    plan = {**user("Implement the following plan:\n\n# Plan", 1), "planContent": "# Plan"}

    found, skipped = entries("claude-code", jsonl(plan, user("Go on.", 2)))

    assert [text for _, text in found] == ["Go on."]
    assert skipped == {"not_a_person": 1}


def test_odd_text_is_mended() -> None:
    rows = [
        user("a\x00b \ud800 c", 1),
        b'{"type":"user","sessionId":"s1","message":{"role":"user","content":"d\xff e"}}',
    ]

    assert [text for _, text in entries("claude-code", jsonl(*rows))[0]] == ["ab ? c", "d\ufffd e"]


# ------------------------------------------------------------------ pipes


class _WaitedError(BaseException):
    """Not caught where any other failure of a file is."""


@pytest.fixture
def impatient() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _WaitedError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 10)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("client", sorted(READERS))
def test_a_pipe_among_the_logs_is_not_waited_for(tmp_path: Path, client: str) -> None:
    world = prompt_world(client, tmp_path)
    wanted = [(one.session_id, one.texts) for one in read(world)[0]]
    for path in [path for path in world.home_dir.rglob("*") if path.is_file()]:
        names = {f"0{path.name}", f"zz{path.suffix}", "history_item.json", "task_metadata.json"}
        for name in sorted(names):
            if not path.with_name(name).exists():
                os.mkfifo(path.with_name(name))
        if path.name != "history_item.json":
            os.utime(path)
        path.parent.joinpath("loop").unlink(missing_ok=True)
        path.parent.joinpath("loop").symlink_to(world.home_dir)

    found = [(one.session_id, one.texts) for one in read(world)[0]]

    assert sorted(found, key=repr) == sorted(wanted, key=repr)
