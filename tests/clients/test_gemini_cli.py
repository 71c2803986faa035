"""Gemini CLI: what its counters mean, and which versions of a message are one request."""

from __future__ import annotations

import hashlib
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
from tokenledger_dagster.clients import gemini_usage, link_names, otel_counters
from tokenledger_dagster.clients.registry import clients

CHATS = ".gemini/tmp/kelp/chats/"
LOG = f"{CHATS}session-2026-02-18T09-00-aaaa0001.jsonl"
DOCUMENT = LOG.removesuffix("l")


def uuid(number: int) -> str:
    return f"0a1b2c3d-0000-4000-8000-{number:012d}"


def tokens(
    input: Any = 0, output: Any = 0, cached: Any = 0, thoughts: Any = 0, tool: Any = 0, total: Any = None
) -> Row:
    found = {"input": input, "output": output, "cached": cached, "thoughts": thoughts, "tool": tool}
    return {**found, "total": total} if total is not None else found


def message(number: int | str = 1, used: Any = None, minutes: float = 0, **row: Any) -> Row:
    found = {
        "id": uuid(number) if isinstance(number, int) else number,
        "timestamp": at(minutes),
        "type": "gemini",
        "content": "done",
        "model": "gemini-2.5-pro",
        "tokens": used if used is not None else tokens(10, 5),
        **row,
    }
    return {key: value for key, value in found.items() if value is not ...}


def header(session: str = "g1", **row: Any) -> Row:
    return {"sessionId": session, "projectHash": "kelp", "startTime": at(), "lastUpdated": at(), "kind": "main", **row}


def document(*messages: Any, session: str = "g1") -> bytes:
    return pretty({"sessionId": session, "projectHash": "kelp", "startTime": at(), "messages": list(messages)})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def synced(world: World, *rows: Row | str | bytes, name: str = LOG) -> list[tuple[int, int, int, int]]:
    put(world, {name: jsonl(*rows)})
    world.sync()
    return [event.buckets for event in world.events()]


class TestCounters:
    def test_cached_is_inside_input_where_the_total_fits_without_it(self, world: World) -> None:
        assert synced(world, header(), message(1, tokens(100, 20, 60, 0, 0, 120))) == [(40, 0, 60, 20)]

    def test_cached_is_outside_input_where_the_total_only_fits_with_it(self, world: World) -> None:
        assert synced(world, header(), message(1, tokens(100, 20, 60, 0, 0, 180))) == [(100, 0, 60, 20)]

    def test_cached_is_inside_input_where_no_total_tells(self, world: World) -> None:
        assert synced(world, header(), message(1, tokens(100, 20, 60))) == [(40, 0, 60, 20)]

    def test_cached_is_clamped_to_input(self, world: World) -> None:
        assert synced(world, header(), message(1, tokens(100, 20, 160))) == [(0, 0, 100, 20)]
        assert "cache_above_input" in flags(world)

    def test_thoughts_are_billed_as_output_and_told_as_reasoning(self, world: World) -> None:
        assert synced(world, header(), message(1, tokens(10, 5, 0, 7, 0, 22))) == [(10, 0, 0, 12)]
        assert world.events()[0].reasoning == 7

    def test_tool_prompt_tokens_stand_apart(self, world: World) -> None:
        synced(world, header(), message(1, tokens(10, 5, 0, 0, 3, 18)))

        (record,) = world.records()
        assert (record["input_tokens"], record["tool_input_tokens"], record["output_tokens"]) == (10, 3, 5)

    def test_a_total_alone_counts_as_output(self, world: World) -> None:
        assert synced(world, header(), message(1, {"total": 33})) == [(0, 0, 0, 33)]
        assert flags(world) == {"only_total_known"}

    @pytest.mark.parametrize(("value", "counted", "flag"), ODD_COUNTS)
    def test_an_odd_counter_never_loses_the_row(self, world: World, value: Any, counted: int, flag: str | None) -> None:
        assert synced(world, header(), message(1, tokens(value, 5))) == [(counted, 0, 0, 5)]
        assert flags(world) == ({flag} if flag else set())

    def test_messages_without_usage_are_counted_and_no_events(self, world: World) -> None:
        put(world, {LOG: jsonl(header(), message(1, ...), message(2, {}), message(3, tokens()), message(4, "many"))})

        skipped = world.sync().providers["gemini-cli"].skipped
        assert skipped == {"usage_null": 2, "zero_usage": 1, "usage_not_an_object": 1}
        assert world.events() == []

    @pytest.mark.parametrize("kind", ["user", "info", "warning", "error"])
    def test_what_no_model_wrote_is_ignored(self, world: World, kind: str) -> None:
        assert synced(world, header(), message(1, type=kind), message(2)) == [(10, 0, 0, 5)]
        assert world.skipped() == {}


class TestRequests:
    def test_of_a_messages_versions_the_last_one_counts(self, world: World) -> None:
        first, last = message(1, tokens(100, 50)), message(1, tokens(100, 20))

        assert synced(world, header(), first, last) == [(100, 0, 0, 20)]
        assert world.rules() == {"gemini-cli.rewritten": 1}

    def test_a_message_that_gets_its_tokens_later_is_one_event(self, world: World) -> None:
        assert synced(world, header(), message(1, ...), message(1, tokens(10, 5))) == [(10, 0, 0, 5)]

    def test_a_snapshot_repeats_the_rows_it_follows(self, world: World) -> None:
        patch = {"$set": {"messages": [message(1), message(2, tokens(20, 2), 1)], "lastUpdated": at(2)}}

        assert synced(world, header(), message(1), patch) == [(10, 0, 0, 5), (20, 0, 0, 2)]
        assert world.rules() == {}

    def test_a_snapshot_overrides_the_rows_it_follows(self, world: World) -> None:
        patch = {"$set": {"messages": [message(1, tokens(10, 4))]}}

        assert synced(world, header(), message(1), patch) == [(10, 0, 0, 4)]

    def test_rewound_messages_were_paid_for(self, world: World) -> None:
        assert len(synced(world, header(), message(1), {"$rewindTo": uuid(1)}, message(2, minutes=1))) == 2

    def test_a_session_that_moved_from_document_to_journal_is_booked_once(self, world: World) -> None:
        put(world, {DOCUMENT: document(message("m1")), LOG: jsonl(header(), message("m1"), message("m2", minutes=1))})
        world.sync()

        assert [event.session for event in world.events()] == ["g1", "g1"]
        assert world.rules() == {"gemini-cli.copied_request": 1}

    def test_short_ids_are_known_within_their_session_only(self, world: World) -> None:
        other = f"{CHATS}session-2026-02-19T09-00-aaaa0002.json"
        put(world, {DOCUMENT: document(message("m1")), other: document(message("m1"), session="g2")})
        world.sync()

        assert sorted(event.session for event in world.events()) == ["g1", "g2"]
        assert len({event.event_id for event in world.events()}) == 2

    def test_a_uuid_is_known_in_every_session(self, world: World) -> None:
        other = f"{CHATS}session-2026-02-19T09-00-aaaa0002.json"
        put(world, {DOCUMENT: document(message(1)), other: document(message(1), session="g2")})
        world.sync()

        assert len(world.events()) == 1

    def test_a_message_without_id_is_known_by_its_time_or_its_place(self, world: World) -> None:
        timeless = message(..., tokens(7, 7), timestamp=...)
        put(world, {DOCUMENT: document(message(...), timeless), LOG: jsonl(header(), message(...))})
        world.sync()

        assert sorted(event.buckets for event in world.events()) == [(7, 0, 0, 7), (10, 0, 0, 5)]

    def test_of_the_versions_of_several_looks_the_last_counts_too(self, world: World) -> None:
        for output in (50, 20):
            put(world, {DOCUMENT: document(message(1, tokens(100, output)))})
            world.sync()
        world.sync(no_cache=True)

        assert [event.buckets for event in world.events()] == [(100, 0, 0, 20)]
        assert world.rules() == {"gemini-cli.rewritten": 1}

    def test_a_document_is_looked_at_again_when_it_changes(self, world: World) -> None:
        for messages in ([message(1, ...)], [message(1)], [message(1), message(2, minutes=1)], [message(2, minutes=1)]):
            put(world, {DOCUMENT: document(*messages)})
            world.sync()

        assert [event.message for event in named(world)] == [uuid(1), uuid(2)]
        assert world.rules() == {}


class Named:
    def __init__(self, record: Any) -> None:
        self.message = record["message_id"]


def named(world: World) -> list[Named]:
    return [Named(record) for record in world.records()]


class TestContext:
    def test_the_project_is_told_by_the_marker_beside_the_chats(self, world: World) -> None:
        put(world, {".gemini/tmp/kelp/.project_root": b"/home/ada/code/kelp\n"})
        synced(world, header(), message())

        assert world.events()[0].project == "/home/ada/code/kelp"

    @pytest.mark.parametrize("folder", ["tide", hashlib.sha256(b"/home/ada/code/tide").hexdigest()])
    def test_or_by_the_registry_of_projects_under_its_name_or_its_hash(self, world: World, folder: str) -> None:
        put(world, {".gemini/projects.json": pretty({"projects": {"/home/ada/code/tide": "tide"}})})
        synced(world, header(), message(), name=f".gemini/tmp/{folder}/chats/session-1.jsonl")

        assert world.events()[0].project == "/home/ada/code/tide"

    @pytest.mark.parametrize("registry", [b"", b"[]", b'{"projects": [1]}', b'{"projects": {"/x": 7}}', b"\xff"])
    def test_or_stays_unknown(self, world: World, registry: bytes) -> None:
        put(world, {".gemini/projects.json": registry})
        synced(world, header(), message())

        assert world.events()[0].project is None

    def test_a_subagents_log_lies_below_its_parents_session(self, world: World) -> None:
        synced(world, header("scout", kind="subagent", directories=["/home/ada"]), message(), name=f"{CHATS}g1/s.jsonl")

        (record,) = world.records()
        assert (record["session_id"], record["parent_session_id"], record["cwd"]) == ("scout", "g1", "/home/ada")

    def test_a_time_that_cannot_be_read_falls_to_the_session_then_to_the_file(self, world: World) -> None:
        put(world, {LOG: jsonl(message(1, timestamp="soon"), header(), message(2, tokens(20, 2), timestamp=None))})
        set_mtime(world.home_dir / LOG, us(at(9)) / 1e6)
        world.sync()

        assert [(event.time, event.input) for event in world.events()] == [(at(0), 20), (at(9), 10)]
        assert flags(world) == {"timestamp_fallback", "timestamp_from_file", "session_from_file"}

    def test_the_variables_of_the_client_and_of_other_readers_are_followed(self, tmp_path: Path) -> None:
        for number, (variable, below) in enumerate((("GEMINI_DATA_DIR", ""), ("GEMINI_CLI_HOME", ".gemini/"))):
            world = World(tmp_path / str(number), **{variable: str(tmp_path / "else")})
            path = tmp_path / "else" / f"{below}tmp/kelp/chats/session-1.jsonl"
            world.write(path, header(), message())
            world.sync()
            assert len(world.events()) == 1


class TestHeadless:
    @staticmethod
    def answer(**told: Any) -> bytes:
        used = {"prompt": 100, "candidates": 20, "cached": 60, "thoughts": 3, "tool": 2, "total": 125}
        models = {"gemini-2.5-pro": {"api": {"totalRequests": 2}, "tokens": used}}
        return pretty({"response": "done", "stats": {"models": models}, **told})

    def test_a_saved_answer_is_a_sum_of_its_requests(self, world: World) -> None:
        put(world, {"saved/answer.json": self.answer()})
        world.sync(add_sources=(("gemini-cli", str(world.home_dir / "saved/answer.json")),))

        (event,) = world.events()
        assert (event.buckets, event.reasoning, event.session) == ((40, 0, 60, 23), 3, "answer")
        assert flags(world) == {"session_sum", "session_from_file", "timestamp_from_file"}

    @pytest.mark.parametrize("log_first", [True, False])
    def test_it_gives_way_to_the_messages_of_its_session(self, world: World, log_first: bool) -> None:
        files = [{LOG: jsonl(header(), message())}, {"saved/answer.json": self.answer(session_id="g1")}]
        (world.home_dir / "saved").mkdir()
        for one in files if log_first else reversed(files):
            put(world, one)
            world.sync(add_sources=(("gemini-cli", str(world.home_dir / "saved/answer.json")),))

        assert [event.buckets for event in world.events()] == [(10, 0, 0, 5)]
        assert world.rules() == {"superseded_by_source": 1}

    def test_what_it_passes_over_stays_counted_at_every_look(self, world: World) -> None:
        messages = [message(1, ...), message(2, tokens()), message(3, []), message(4)]
        answer = {"stats": {"models": {"a": {"tokens": {}}, "b": {"tokens": {"total": 0}}, "c": {}}}}
        counted = {"usage_not_an_object": 1, "usage_null": 3, "zero_usage": 2}
        for look in range(3):
            put(world, {
                DOCUMENT: pretty({"sessionId": "g1", "messages": messages, "look": look}),
                f"{CHATS}session-answer.json": pretty({**answer, "look": look}),
            })  # fmt: skip
            world.sync()

            assert world.skipped() == counted
        assert len(world.events()) == 1

    def test_a_document_of_another_kind_is_told(self, world: World) -> None:
        put(world, {DOCUMENT: pretty({"history": []})})
        world.sync()

        assert world.skipped() == {"unknown_layout": 1}


class TestTelemetry:
    def test_a_request_is_known_by_session_model_and_counters(self) -> None:
        name = link_names.request("gemini-cli", "g1", "gemini-2.5-pro", (40, 25, 0, 60, 7, 0, 0, 5, 0))

        assert name == "gemini-cli:request:g1:gemini-2.5-pro:40:60:7:25:5"

    @pytest.mark.parametrize(
        ("total", "buckets"),
        [
            (132, (40, 60, 7, 25)),
            (192, (100, 60, 7, 25)),
            (127, (40, 60, 7, 20)),
            (187, (100, 60, 7, 20)),
            (0, (40, 60, 7, 25)),
            (999, (40, 60, 7, 25)),
        ],
        ids=["usual", "cache beside", "thoughts inside", "cache beside, thoughts inside", "not told", "fits nothing"],
    )
    def test_the_log_and_its_telemetry_mean_the_same_by_their_counts(
        self, total: int, buckets: tuple[int, ...]
    ) -> None:
        names = ("input", "output", "cached", "thoughts", "tool", "total")
        sent = ("input_token_count", "output_token_count", "cached_content_token_count", "thoughts_token_count")
        counts = (100, 20, 60, 5, 7, total)
        logged = gemini_usage.counters_of(dict(zip(names, counts, strict=True)), names, [].append)
        told = otel_counters.counters_of(
            dict(zip((*sent, "tool_token_count", "total_token_count"), counts, strict=True)), "gemini", [].append
        )

        assert told is not None
        assert told[0] == logged
        found = (logged.input_tokens, logged.cache_read_tokens, logged.tool_input_tokens, logged.output_tokens)
        assert found == buckets

    def test_thoughts_stand_beside_wherever_the_total_fits_so(self) -> None:
        usage = {"input": 100, "output": 20, "cached": 5, "thoughts": 5, "tool": 0, "total": 125}
        names = ("input", "output", "cached", "thoughts", "tool", "total")
        logged = gemini_usage.counters_of(usage, names, [].append)

        assert (logged.input_tokens, logged.cache_read_tokens, logged.output_tokens) == (95, 5, 25)
        assert clients()["gemini-cli"].latest_wins  # type: ignore[attr-defined]


class TestEveryWay:
    ROWS = (
        header(),
        message(1, ...),
        message(1),
        {"$set": {"messages": [message(1), message(2, tokens(20, 2), 1)]}},
        b"not json",
        message(2, tokens(20, 3), 1),
        message(3, tokens(30, 3), 2),
    )

    def test_a_growing_journal(self, tmp_path: Path) -> None:
        check_growth(tmp_path, LOG, jsonl(*self.ROWS))

    def test_any_order(self, tmp_path: Path) -> None:
        other = f"{CHATS}session-2026-02-19T09-00-aaaa0002.json"
        files = {
            LOG: jsonl(*self.ROWS),
            DOCUMENT: document(message(1), message(2, tokens(20, 2), 1)),
            other: document(message(3, tokens(30, 3), 2), message("m9", minutes=5), session="g2"),
        }
        check_any_order(tmp_path, files)

    def test_hostile_lines_stop_nothing(self, world: World) -> None:
        assert synced(world, header(), message(1), *ODD_LINES, message(2, minutes=1)) == [(10, 0, 0, 5)] * 2

    @pytest.mark.parametrize("content", [*ODD_LINES, document(message())[:-40]])
    def test_hostile_documents_stop_nothing(self, world: World, content: bytes) -> None:
        put(world, {DOCUMENT: content, LOG: jsonl(header(), message())})
        world.sync()

        assert len(world.events()) == 1

    def test_nothing_that_was_said_is_kept(self, world: World) -> None:
        secret = "planted-prompt-ada@example.com"
        said = {"content": secret, "thoughts": [{"description": secret}], "displayContent": secret}
        used = {**tokens(10, 5), "note": secret}
        patch = {"$set": {"summary": secret, "messages": [message(2, used, 1, **said)]}}
        put(
            world,
            {LOG: jsonl(header(), message(1, used, **said), patch, f'{{"x": "{secret}'), DOCUMENT: secret.encode()},
        )
        world.sync()

        assert len(world.events()) == 2
        check_nothing_is_kept(world, secret)
