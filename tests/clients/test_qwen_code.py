"""Qwen Code: what its counters mean, and which rows are one request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.checks import (
    ODD_COUNTS,
    ODD_LINES,
    check_any_order,
    check_growth,
    check_nothing_is_kept,
    flags,
    pretty,
    put,
)
from tests.support import Row, World, at, jsonl, set_mtime, us

CHATS = ".qwen/projects/-home-ada-code-kelp/chats/"
LOG = f"{CHATS}q1.jsonl"
NAMES = ("promptTokenCount", "candidatesTokenCount", "cachedContentTokenCount", "thoughtsTokenCount")


def usage(*counts: Any, total: Any = None, **more: Any) -> Row:
    found = dict(zip(NAMES, counts, strict=False))
    return {**found, **({} if total is None else {"totalTokenCount": total}), **more}


def assistant(name: str | None = "a1", used: Any = None, minutes: float = 0, **row: Any) -> Row:
    found = {
        "uuid": name,
        "parentUuid": None,
        "sessionId": "q1",
        "timestamp": at(minutes),
        "type": "assistant",
        "cwd": "/home/ada/code/kelp",
        "version": "0.18.1",
        "model": "qwen3-coder-plus",
        "message": {"role": "model", "parts": [{"text": "done"}]},
        "usageMetadata": usage(10, 5) if used is None else used,
        **row,
    }
    return {key: value for key, value in found.items() if value is not None and value is not ...}


def prompt(text: str = "please", minutes: float = 0) -> Row:
    message = {"role": "user", "parts": [{"text": text}]}
    return {"uuid": "u1", "sessionId": "q1", "timestamp": at(minutes), "type": "user", "message": message}


def telemetry(input: int, output: int, response: str = "chatcmpl-1") -> Row:
    event = {"event.name": "qwen-code.api_response", "response_id": response, "duration_ms": 1250}
    event |= {"input_token_count": input, "output_token_count": output}
    return {"uuid": "t1", "type": "system", "subtype": "ui_telemetry", "systemPayload": {"uiEvent": event}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def synced(world: World, *rows: Row | str | bytes, name: str = LOG) -> list[tuple[int, int, int, int]]:
    put(world, {name: jsonl(*rows)})
    world.sync()
    return [event.buckets for event in world.events()]


class TestCounters:
    def test_cached_is_part_of_the_prompt(self, world: World) -> None:
        assert synced(world, assistant(used=usage(600, 5, 50, total=605))) == [(550, 0, 50, 5)]

    def test_unless_the_total_only_fits_with_it_beside_the_prompt(self, world: World) -> None:
        assert synced(world, assistant(used=usage(10, 5, 90, total=105))) == [(10, 0, 90, 5)]

    def test_thoughts_are_added_to_the_output(self, world: World) -> None:
        assert synced(world, assistant(used=usage(100, 50, 5, 10))) == [(95, 0, 5, 60)]
        assert world.events()[0].reasoning == 10

    def test_unless_the_total_only_fits_with_them_inside_the_candidates(self, world: World) -> None:
        assert synced(world, assistant(used=usage(100, 50, 5, 10, total=150))) == [(95, 0, 5, 50)]
        assert world.events()[0].reasoning == 10

    def test_a_total_alone_counts_as_output(self, world: World) -> None:
        assert synced(world, assistant(used=usage(total=321))) == [(0, 0, 0, 321)]
        assert flags(world) == {"only_total_known"}

    def test_tool_prompt_tokens_stand_apart(self, world: World) -> None:
        assert synced(world, assistant(used=usage(100, 5, toolUsePromptTokenCount=7, total=112))) == [(100, 0, 0, 5)]
        assert world.records()[0]["tool_input_tokens"] == 7

    @pytest.mark.parametrize(("value", "counted", "flag"), ODD_COUNTS)
    def test_an_odd_counter_never_loses_the_row(self, world: World, value: Any, counted: int, flag: str | None) -> None:
        assert synced(world, assistant(used=usage(value, 5))) == [(counted, 0, 0, 5)]
        assert flags(world) == ({flag} if flag else set())

    def test_rows_without_usage_are_counted_and_no_events(self, world: World) -> None:
        rows = [assistant(used=...), assistant(used={}), assistant(used=usage(0, 0)), assistant(used=[1])]

        assert synced(world, *rows) == []
        assert world.skipped() == {"usage_null": 2, "zero_usage": 1, "usage_not_an_object": 1}

    def test_only_the_assistants_rows_count(self, world: World) -> None:
        rows = [{**assistant(f"x{kind}"), "type": kind} for kind in ("user", "system", "tool_result")]

        assert synced(world, *rows) == []


class TestRequests:
    def test_a_resumed_session_repeats_rows(self, world: World) -> None:
        copy = assistant(sessionId="q2")
        put(
            world,
            {LOG: jsonl(assistant()), f"{CHATS}q2.jsonl": jsonl(copy, assistant("a2", minutes=9, sessionId="q2"))},
        )
        world.sync()

        assert [(event.session, event.time) for event in world.events()] == [("q1", at(0)), ("q2", at(9))]
        assert world.rules() == {"qwen-code.copied_request": 1}

    def test_a_uuid_with_other_counters_is_another_request(self, world: World) -> None:
        assert synced(world, assistant(), assistant(used=usage(10, 6), minutes=1)) == [(10, 0, 0, 5), (10, 0, 0, 6)]
        assert {flag for (flag,) in world.query("SELECT booking_flags FROM events")} == {"id_reused"}

    def test_a_turn_in_two_rows_of_which_one_has_usage_is_one_event(self, world: World) -> None:
        assert synced(world, assistant(used=...), assistant(minutes=1)) == [(10, 0, 0, 5)]

    def test_rows_without_uuid_are_told_apart_by_content_and_place(self, world: World) -> None:
        rows = jsonl(assistant(None), assistant(None), assistant(None, minutes=1))
        put(world, {LOG: rows, f"{CHATS}copy.jsonl": rows})
        world.sync()

        assert len(world.events()) == 3

    def test_the_answer_told_of_before_names_the_response_and_how_long_it_took(self, world: World) -> None:
        other = telemetry(99, 9, "chatcmpl-2")
        synced(world, telemetry(10, 5), assistant(), other, assistant("a2", usage(10, 4), 1))

        told = [(record["request_id"], record["latency_ms"]) for record in world.records()]
        assert told == [("chatcmpl-1", 1250), (None, None)]

    def test_the_documents_of_the_first_builds_are_read(self, world: World) -> None:
        message = {"id": "m1", "type": "qwen", "timestamp": at(), "model": "qwen3-coder-plus"}
        told = {"sessionId": "old", "messages": [{**message, "tokens": {"input": 20, "output": 3, "cached": 5}}]}
        put(world, {".qwen/tmp/5d41/chats/session-1.json": pretty(told)})
        world.sync()

        assert [(event.session, event.buckets) for event in world.events()] == [("old", (15, 0, 5, 3))]


class TestContext:
    def test_session_folder_branch_and_version_are_the_rows_own(self, world: World) -> None:
        synced(world, assistant(gitBranch="tides"))

        (record,) = world.records()
        told = [record[name] for name in ("session_id", "cwd", "git_branch", "client_version")]
        assert told == ["q1", "/home/ada/code/kelp", "tides", "0.18.1"]

    def test_without_session_and_time_the_file_tells(self, world: World) -> None:
        put(world, {f"{CHATS}q7.jsonl": jsonl(assistant(sessionId=None, timestamp="never", model=None))})
        set_mtime(world.home_dir / f"{CHATS}q7.jsonl", us(at(9)) / 1e6)
        world.sync()

        assert [(event.session, event.time, event.model_raw) for event in world.events()] == [("q7", at(9), None)]
        assert flags(world) == {"session_from_file", "timestamp_from_file", "model_missing"}


class TestEveryWay:
    ROWS = (
        prompt(), telemetry(10, 5), assistant(), assistant("a2", usage(20, 2, 8), 1), b"not json",
        assistant(None, minutes=2), assistant(None, minutes=2),
    )  # fmt: skip

    def test_a_growing_journal(self, tmp_path: Path) -> None:
        check_growth(tmp_path, LOG, jsonl(*self.ROWS))

    def test_any_order(self, tmp_path: Path) -> None:
        files = {
            LOG: jsonl(*self.ROWS),
            f"{CHATS}q2.jsonl": jsonl(assistant(sessionId="q2"), assistant("a9", minutes=9, sessionId="q2")),
            f"{CHATS}q3.jsonl": jsonl(assistant(used=usage(11, 5), sessionId="q3"), assistant(None, minutes=2)),
        }
        check_any_order(tmp_path, files)

    def test_hostile_lines_stop_nothing(self, world: World) -> None:
        assert synced(world, assistant(), *ODD_LINES, assistant("a2", minutes=1)) == [(10, 0, 0, 5)] * 2

    def test_two_rows_on_one_line_are_both_read(self, world: World) -> None:
        glued = jsonl(prompt()).strip() + jsonl(assistant())

        assert synced(world, glued.rstrip(b"\n")) == [(10, 0, 0, 5)]

    def test_nothing_that_was_said_is_kept(self, world: World) -> None:
        secret = "planted-prompt-ada@example.com"
        said = assistant(used={**usage(10, 5), "note": secret}, message={"parts": [{"text": secret}]})
        synced(world, prompt(secret), said, f'{{"type":"assistant","uuid":"{secret}')

        assert len(world.events()) == 1
        check_nothing_is_kept(world, secret)
