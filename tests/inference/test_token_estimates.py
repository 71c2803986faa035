"""Sessions whose log has text but no counts: which are listed, what of them is estimated, and what stays untouched."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clients.goldens import world_of
from tests.inference.uncounted_logs import ANSWER, PROMPT, bubble, cursor_chat, cursor_export, said
from tests.support import SONNET, Row, World, at, claude, jsonl, meta, set_mtime, tokens, turn, user
from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.estimates.building import Estimated, build
from tokenledger_dagster.inference.estimates.estimator import load_shipped
from tokenledger_dagster.inference.estimates.features import features_of
from tokenledger_dagster.inference.estimates.logs import claude_code, codex, copilot_cli, cursor, gemini_cli, roles
from tokenledger_dagster.inference.estimates.logs.piece import Piece
from tokenledger_dagster.inference.estimates.standing import estimates_standing, forget
from tokenledger_dagster.inference.estimates.table import TOKEN_ESTIMATES, table_path
from tokenledger_dagster.settings import load_settings

pytest.importorskip("numpy", reason="the extra `inference` is not installed")

SHIPPED = load_shipped().estimators[0]


def rows(home: Home) -> list[dict[str, Any]]:
    """The table, row by row."""
    import pyarrow.parquet as pq

    return pq.read_table(table_path(home)).to_pylist()


def estimated(world: World) -> tuple[Estimated, list[dict[str, Any]]]:
    """Reads the logs, makes the table."""
    world.sync()
    return build(world.ledger), rows(world.ledger)


# ------------------------------------------------------------------ what is listed


def test_a_rollout_without_counts_is_listed(tmp_path: Path) -> None:
    world = World(tmp_path)
    call = {"type": "function_call", "name": "shell", "arguments": '{"command": ["pytest"]}'}
    world.codex(
        meta("old"),
        turn("gpt-5-codex"),
        said("user", PROMPT, 1),
        {"timestamp": at(2), "type": "response_item", "payload": call},
        said("assistant", ANSWER, 3),
    )
    made, (row,) = estimated(world)

    called = features_of("shell"), features_of('{"command": ["pytest"]}')
    written = [features_of(ANSWER), *called]
    assert row == {
        "client": "codex",
        "session_id": "old",
        "first_time": row["first_time"],
        "last_time": row["last_time"],
        "model_raw": "gpt-5-codex",
        "maker": "openai",
        "prompt_count": 1,
        "answer_count": 2,
        "prompt_characters": len(PROMPT),
        "answer_characters": len(ANSWER) + len("shell") + len('{"command": ["pytest"]}'),
        "estimated_prompt_tokens": 10,
        "estimated_answer_tokens": SHIPPED.tokens(tuple(map(sum, zip(*written, strict=True)))),  # type: ignore[arg-type]
        "is_estimated": True,
        "method": "shipped",
        "expected_error_percent": 17,
        "sample_count": SHIPPED.sample_count,
        "booked_events": 0,
        "source_path": str(world.codex_path()),
    }
    assert (row["first_time"].isoformat(), row["last_time"].isoformat()) == (
        "2026-02-18T09:01:00",
        "2026-02-18T09:03:00",
    )
    assert (made.row_count, made.prompt_tokens) == (1, 10)
    assert world.skipped() == {"no_usage": 1}


def test_a_rollout_of_the_first_builds_is_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": PROMPT}]}
    answer = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": ANSWER}]}
    world.codex({"id": "first", "timestamp": at(), "instructions": "x"}, message, answer)
    _, (row,) = estimated(world)

    assert (row["session_id"], row["prompt_count"], row["answer_count"]) == ("first", 1, 1)
    assert (row["first_time"], row["model_raw"], row["maker"]) == (None, None, "openai")


def test_a_rollout_with_counts_is_not(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.codex(meta(), said("user", PROMPT), said("assistant", ANSWER), tokens((10, 0, 15), (10, 0, 15)))
    made, found = estimated(world)

    assert found == []
    assert made.samples == {"openai": 1}


def test_chats_of_today_s_cursor_are_listed(tmp_path: Path) -> None:
    world = World(tmp_path)
    cursor_chat(world, "chat-a", bubble(1, PROMPT, minutes=1), bubble(2, ANSWER, minutes=2))
    cursor_chat(world, "chat-b", bubble(1, PROMPT), bubble(2, ANSWER, {"inputTokens": 900, "outputTokens": 14}))
    _, (row,) = estimated(world)

    assert (row["client"], row["session_id"], row["maker"]) == ("cursor", "chat-a", "anthropic")
    assert (row["prompt_count"], row["answer_count"], row["booked_events"]) == (1, 1, 0)
    assert (row["estimated_prompt_tokens"], row["estimated_answer_tokens"]) == (10, 16)
    assert world.skipped() == {"zero_usage": 1}


def test_of_a_chat_with_some_counts_the_others_are_listed(tmp_path: Path) -> None:
    world = World(tmp_path)
    counts = {"inputTokens": 900, "outputTokens": 14}
    cursor_chat(
        world,
        "chat",
        bubble(1, PROMPT, requestId="r1"),
        bubble(2, ANSWER, counts, requestId="r1"),
        bubble(2, "and one more file", requestId="r1"),  # its request has the count above
        bubble(1, "thanks, now the docs", requestId="r2"),
        bubble(2, "done", requestId="r2"),
    )
    _, (row,) = estimated(world)

    assert (row["prompt_count"], row["answer_count"], row["booked_events"]) == (1, 1, 1)
    assert (row["prompt_characters"], row["answer_characters"]) == (20, 4)


def test_what_a_usage_export_covers_is_booked_and_not_listed(tmp_path: Path) -> None:
    world = World(tmp_path)
    cursor_export(world, 0, 300)
    cursor_chat(world, "inside", bubble(1, PROMPT, minutes=100), bubble(2, ANSWER, minutes=101))
    cursor_chat(world, "later", bubble(1, PROMPT, minutes=900), bubble(2, ANSWER, minutes=901))
    made, found = estimated(world)

    assert [row["session_id"] for row in found] == ["later"]
    assert made.covered == 2


def test_logs_that_get_counts_later_leave_the_list(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.codex(meta("old"), said("user", PROMPT, 1), said("assistant", ANSWER, 2))
    cursor_chat(world, "chat", bubble(1, PROMPT), bubble(2, ANSWER))
    assert {row["session_id"] for row in estimated(world)[1]} == {"old", "chat"}

    world.append(world.codex_path(), said("assistant", ANSWER, 5), tokens((10, 0, 15), (10, 0, 15), minutes=6))
    cursor_chat(world, "chat", bubble(1, PROMPT), bubble(2, ANSWER, {"inputTokens": 900, "outputTokens": 14}))

    assert estimated(world)[1] == []


def test_a_transcript_of_an_agent_gives_way_to_the_chat(tmp_path: Path) -> None:
    world = World(tmp_path)
    cursor_chat(world, "chat", bubble(1, PROMPT), bubble(2, ANSWER))
    for name in ("chat", "alone"):
        message = {"role": "assistant", "message": {"content": [{"type": "text", "text": ANSWER}]}}
        prompt = {"role": "user", "message": {"content": [{"type": "text", "text": PROMPT}]}}
        world.write(world.home_dir / f".cursor/projects/kelp/agent-transcripts/{name}.jsonl", prompt, message)
    _, found = estimated(world)

    assert {row["session_id"]: (row["prompt_count"], row["answer_count"]) for row in found} == {
        "alone": (1, 1),
        "chat": (1, 1),
    }


def test_a_prompt_that_nothing_answered_was_no_request(tmp_path: Path) -> None:
    world = World(tmp_path)
    cursor_chat(world, "chat", bubble(1, PROMPT))
    assert estimated(world)[1] == []


def test_messages_in_two_files_are_estimated_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    folder = world.home_dir / ".gemini/tmp/kelp/chats"
    name = "5ea7eed0-0000-4000-8000-00000000000"
    messages = [
        {"id": f"{name}1", "timestamp": at(), "type": "user", "content": [{"text": PROMPT}]},
        {"id": f"{name}2", "timestamp": at(1), "type": "gemini", "content": ANSWER, "model": "gemini-2.5-pro"},
    ]
    world.write(folder / "session-a.jsonl", {"sessionId": "g1", "startTime": at()}, *messages)
    (folder / "session-a.json").write_text(json.dumps({"sessionId": "g1", "startTime": at(), "messages": messages}))
    _, (row,) = estimated(world)

    assert (row["client"], row["session_id"], row["maker"]) == ("gemini-cli", "g1", "google")
    assert (row["prompt_count"], row["answer_count"]) == (1, 1)


def test_a_transcript_of_droid_without_its_settings_is_listed(tmp_path: Path) -> None:
    world = World(tmp_path)
    folder = world.home_dir / ".factory/sessions/-home-ada"
    spoken = [
        {"type": "message", "id": "1", "timestamp": at(), "message": {"role": "user", "content": PROMPT}},
        {"type": "message", "id": "2", "timestamp": at(1), "message": {"role": "assistant", "content": ANSWER}},
    ]
    world.write(folder / "alone.jsonl", *spoken)
    world.write(folder / "counted.jsonl", *spoken)
    (folder / "counted.settings.json").write_text(json.dumps({"tokenUsage": {"inputTokens": 5, "outputTokens": 3}}))
    assert [row["session_id"] for row in estimated(world)[1]] == ["alone"]


# ------------------------------------------------------------------ own counts


def counted_answers(count: int, per_character: float = 0.5) -> list[Row]:
    """Answers of Claude Code in several sessions, whose counts follow their length."""
    made = []
    for number in range(count):
        text = f"step {number}: " + "word " * (10 + number * 7 % 50)
        row = claude(f"msg_{number}", f"req_{number}", output=round(len(text) * per_character), minutes=number)
        row["sessionId"] = f"s{number % 6}"
        row["message"] |= {"content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
        made.append(row)
    return made


def test_own_counts_of_a_maker_serve_for_its_models_wherever_they_run(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.claude(*counted_answers(80))
    cursor_chat(world, "claude", bubble(1, PROMPT), bubble(2, ANSWER))
    cursor_chat(world, "gpt", bubble(1, PROMPT), bubble(2, ANSWER), model="gpt-5")
    made, found = estimated(world)
    by_session = {row["session_id"]: row for row in found}

    assert made.samples == {"anthropic": 80}
    # twenty of them have the figures of another one
    assert (by_session["claude"]["method"], by_session["claude"]["sample_count"]) == ("fitted", 60)
    assert by_session["claude"]["expected_error_percent"] <= 2
    assert by_session["gpt"]["method"] == "shipped"
    # twice as many tokens a character as the shipped weights give
    assert by_session["claude"]["estimated_answer_tokens"] > by_session["gpt"]["estimated_answer_tokens"] * 1.5


def test_answers_with_hidden_thinking_or_without_an_end_teach_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    hidden, cut, whole = counted_answers(3)
    hidden["message"]["content"].insert(0, {"type": "thinking", "thinking": "", "signature": "x"})
    cut["message"]["stop_reason"] = None
    world.claude(user(), hidden, cut, whole)
    cursor_chat(world, "chat", bubble(1, PROMPT), bubble(2, ANSWER))

    assert estimated(world)[0].samples == {"anthropic": 1}


@pytest.mark.parametrize(("outputs", "stop"), [((2, 9), None), ((9, 9), "end_turn"), ((0, 9), "end_turn")])
def test_blocks_of_one_answer_share_its_last_count(outputs: tuple[int, int], stop: str | None) -> None:
    found: list[Piece] = []
    reader = claude_code.reader(file_of("claude-code", "s1.jsonl"), found.append)
    for text, output in zip(("first part", "second part"), outputs, strict=True):
        row = claude(output=output)
        row["message"] |= {"content": [{"type": "text", "text": text}], "stop_reason": stop}
        reader.take(row, b"")
    reader.close()  # type: ignore[attr-defined]

    assert [(one.features[:2], one.tokens, one.model_raw) for one in found] == [((2, 21), 9, SONNET)]


def test_only_so_much_is_read_for_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenledger_dagster.inference.estimates import building
    from tokenledger_dagster.inference.policy import policy

    class Tight:
        estimates = policy().estimates.__class__(
            min_check_samples=1, min_fit_samples=2, folds=2, max_samples=5, max_fit_bytes=100_000
        )
        prompts = policy().prompts

    monkeypatch.setattr(building, "policy", lambda: Tight)
    world = World(tmp_path)
    for number in range(4):
        rows_of = counted_answers(4)
        for row in rows_of:
            row["message"]["id"] += f"_{number}"
        set_mtime(world.claude(*rows_of, name=f"s{number}.jsonl"), 1_771_400_000 + number)
    made, _ = estimated(world)

    assert made.samples == {"anthropic": 5}
    assert made.files_read == 2  # the newest; the second one filled the measure


# ------------------------------------------------------------------ what stays untouched


def test_nothing_booked_changes_by_an_estimate(tmp_path: Path) -> None:
    world = world_of("cursor", tmp_path)
    cursor_chat(world, "chat", bubble(1, PROMPT), bubble(2, ANSWER))
    world.sync()
    before, lake = world.booked(), world.files()
    build(world.ledger)
    world.sync()

    assert world.booked() == before
    assert set(world.files()) - set(lake) == {"inference/token_estimates.json", "inference/token_estimates.parquet"}


def test_no_text_is_kept(tmp_path: Path) -> None:
    world = World(tmp_path)
    cursor_chat(world, "chat", bubble(1, PROMPT), bubble(2, ANSWER))
    world.codex(meta("old"), said("user", PROMPT), said("assistant", ANSWER))
    world.sync()
    build(world.ledger)

    kept = b"".join(path.read_bytes() for path in (world.ledger.lake / "inference").iterdir())
    assert not any(word.encode() in kept for word in (PROMPT, ANSWER, "flaky", "fixture"))


def test_the_file_has_the_columns_that_are_promised(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from tokenledger_dagster.contracts.columns import arrow_schema

    world = World(tmp_path)
    cursor_chat(world, "b", bubble(1, PROMPT), bubble(2, ANSWER))
    cursor_chat(world, "a", bubble(1, PROMPT), bubble(2, ANSWER))
    _, found = estimated(world)

    assert pq.read_schema(table_path(world.ledger)).equals(arrow_schema(TOKEN_ESTIMATES))
    assert [row["session_id"] for row in found] == ["a", "b"]
    for column in TOKEN_ESTIMATES.columns:
        for row in found:
            value = row[column.name]
            assert value is not None or column.nullable
            assert not column.allowed or value in column.allowed
            assert column.minimum is None or value >= column.minimum


@pytest.mark.slow
def test_the_contract_holds_for_the_file(tmp_path: Path) -> None:
    import pandas as pd
    import pyarrow.parquet as pq

    from tokenledger_dagster.contracts.columns import pandera_schema

    world = World(tmp_path)
    cursor_chat(world, "chat", bubble(1, PROMPT), bubble(2, ANSWER))
    estimated(world)
    frame = pq.read_table(table_path(world.ledger)).to_pandas(types_mapper=pd.ArrowDtype)
    assert len(pandera_schema(TOKEN_ESTIMATES).validate(frame)) == 1


# ------------------------------------------------------------------ again, off, and damaged


def test_nothing_is_read_where_nothing_changed(tmp_path: Path) -> None:
    world = World(tmp_path)
    cursor_chat(world, "chat", bubble(1, PROMPT), bubble(2, ANSWER))
    first, _ = estimated(world)
    again = build(world.ledger)
    assert (first.cache_hit, again.cache_hit, again.digest) == (False, True, first.digest)

    cursor_chat(world, "more", bubble(1, PROMPT, minutes=5), bubble(2, ANSWER, minutes=6))
    grown, _ = estimated(world)
    assert (grown.cache_hit, grown.row_count) == (False, 2)
    table_path(world.ledger).unlink()
    assert build(world.ledger).cache_hit is False


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({}, "prompts are not read"),
        ({"TOKENLEDGER_FEATURE_INFERENCE": "false"}, "the feature `inference` is false"),
        ({"TOKENLEDGER_FEATURE_INFERENCE_PROMPTS": "true"}, "no log was read yet"),
    ],
)
def test_it_is_off_until_prompts_are_read(tmp_path: Path, environ: dict[str, str], why: str) -> None:
    world = World(tmp_path)
    standing = estimates_standing(world.ledger, load_settings(environ=environ))
    assert (standing.on, standing.why) == (False, why)
    assert standing.remedy


def test_looking_whether_it_is_on_imports_nothing_heavy() -> None:
    code = (
        "import sys; import tokenledger_dagster.inference.estimates.standing, "
        "tokenledger_dagster.inference.estimates.building, tokenledger_dagster.inference.tokenization; "
        "heavy = {'numpy', 'pyarrow', 'pandas', 'duckdb', 'tokenizers', 'tiktoken', 'sentencepiece'}; "
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_it_needs_no_model(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.sync()
    standing = estimates_standing(
        world.ledger, load_settings(environ={"TOKENLEDGER_FEATURE_INFERENCE_PROMPTS": "true"})
    )
    assert (standing.on, standing.prompts, standing.why, standing.model) == (True, True, "", None)


def test_switched_off_it_leaves_nothing_that_looks_current(tmp_path: Path) -> None:
    world = World(tmp_path)
    cursor_chat(world, "chat", bubble(1, PROMPT), bubble(2, ANSWER))
    estimated(world)
    forget(world.ledger)
    forget(world.ledger)
    assert list((world.ledger.lake / "inference").iterdir()) == []


def test_a_log_that_went_or_broke_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    world = World(tmp_path)
    gone = world.codex(meta("gone"), said("assistant", ANSWER), name="2026/02/18/rollout-gone.jsonl")
    world.codex(meta("kept"), said("user", PROMPT), said("assistant", ANSWER), name="2026/02/18/rollout-kept.jsonl")
    database = cursor_chat(world, "chat", bubble(1, PROMPT), bubble(2, ANSWER))
    world.sync()
    gone.unlink()
    database.write_bytes(b"no database at all" * 1000)
    made = build(world.ledger)

    assert [row["session_id"] for row in rows(world.ledger)] == ["kept"]
    assert sorted(line.split(": not read for estimates (")[0] for line in made.problems) == sorted(
        map(str, (gone, database))
    )
    assert all("\n" not in line for line in made.problems)


# ------------------------------------------------------------------ whatever a log holds


def file_of(client: str, name: str, shape: str = "lines") -> SourceFile:
    """A file that nobody opens."""
    return SourceFile(client, f"/logs/{name}", name, 1, 1, 1, 1, 1, shape=shape)  # type: ignore[arg-type]


_NAMES = """type payload message role content text id usage output_tokens info data tokens last_token_usage
total_token_usage $set messages sessionId toolCalls args name model outputTokens messageId history stop_reason timestamp
instructions input requestId"""
_TOLD = """assistant user gemini message response_item event_msg token_count session_meta turn_context function_call
text tool_use thinking user.message assistant.message session.start human"""
_KEYS = st.sampled_from(_NAMES.split())
_WORDS = st.sampled_from([*_TOLD.split(), at(), "\ud800", "\x00", ""])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=8,
)
_READERS = {
    "claude-code": lambda emit: claude_code.reader(file_of("claude-code", "a.jsonl"), emit),
    "codex": lambda emit: codex.reader(file_of("codex", "a.jsonl"), emit),
    "copilot-cli": lambda emit: copilot_cli.reader(file_of("copilot-cli", "s/events.jsonl"), emit),
    "early copilot-cli": lambda emit: copilot_cli.reader(file_of("copilot-cli", "s.json", "document"), emit),
    "cursor": lambda emit: cursor.reader(file_of("cursor", "agent-transcripts/a.jsonl"), emit),
    "droid": lambda emit: roles.reader(file_of("droid", "a.jsonl"), emit),
    "gemini-cli": lambda emit: gemini_cli.reader(file_of("gemini-cli", "a.jsonl"), emit),
    "early gemini-cli": lambda emit: gemini_cli.reader(file_of("gemini-cli", "a.json", "document"), emit),
}


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(found=st.lists(st.dictionaries(_KEYS, _VALUES, max_size=6), max_size=6), kind=st.sampled_from(list(_READERS)))
def test_no_row_of_any_shape_stops_a_reader(found: list[dict[str, Any]], kind: str) -> None:
    pieces: list[Piece] = []
    reader: Any = _READERS[kind](pieces.append)
    for row in found:
        reader.take(*((row,) if "early" in kind else (row, b"")))
    if hasattr(reader, "close"):
        reader.close()
    for one in pieces:
        assert one.features[0] >= 1
        assert one.tokens is None or (one.tokens > 0 and one.is_answer)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.one_of(_VALUES, st.dictionaries(_KEYS, _VALUES, max_size=6)), min_size=1, max_size=6))
def test_nor_does_any_row_of_cursor_s_database(values: list[Any]) -> None:
    pieces: list[Piece] = []
    reader: Any = cursor.reader(file_of("cursor", "state.vscdb", "database"), pieces.append)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE cursorDiskKV (key TEXT, value BLOB)")
        for number, value in enumerate(values):
            if isinstance(value, dict):
                value = {**value, "type": 1 + number % 2, "tokenCount": value.get("tokens")}
            told = json.dumps(value)
            for key in (f"composerData:c{number}", f"bubbleId:c{number % 2}:b{number}"):
                connection.execute("INSERT INTO cursorDiskKV VALUES (?, ?)", (key, told))
        reader.take(connection)
    assert all(one.features[0] >= 1 for one in pieces)


def test_rows_of_other_kinds_are_passed_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.codex(meta("odd"), b"\x00\x00", b'{"type": "response_item"', b"[1]", said("assistant", ANSWER), b"\xff\xfe")
    assert jsonl(said("assistant", ANSWER)) in world.codex_path().read_bytes()
    _, (row,) = estimated(world)
    assert (row["session_id"], row["answer_count"]) == ("odd", 1)
