"""GitHub Copilot CLI: requests of the session store, and what event logs tell where there is none."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import Row, World, at, jsonl, set_mtime, us
from tokenledger_dagster.clients.copilot_legs import RESUME, Legs, version_of
from tokenledger_dagster.usage.evidence import explain

COLUMNS = (
    "id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT, turn_index INTEGER, model TEXT, copilot_usage_model TEXT, "
    "input_tokens INTEGER, output_tokens INTEGER, cache_read_tokens INTEGER, cache_write_tokens INTEGER, "
    "reasoning_tokens INTEGER, total_nano_aiu INTEGER, request_multiplier REAL, initiator TEXT, agent_id TEXT, "
    "duration_ms REAL, time_to_first_token_ms REAL, created_at TEXT"
)
WRITTEN = at(600)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def home(world: World) -> Path:
    return world.home_dir / ".copilot"


def request(input: Any = 0, output: Any = 0, read: Any = 0, write: Any = 0, reasoning: Any = 0, **more: Any) -> Row:
    return {
        "session_id": "s1", "turn_index": 0, "model": "claude-sonnet-4.5", "input_tokens": input,
        "output_tokens": output, "cache_read_tokens": read, "cache_write_tokens": write,
        "reasoning_tokens": reasoning, "total_nano_aiu": 3_200, "request_multiplier": 1.0, "initiator": "agent",
        "duration_ms": 1500.4, "time_to_first_token_ms": 210.0, "created_at": "2026-02-18T09:01:00.000Z", **more,
    }  # fmt: skip


def store(world: World, *rows: Row, columns: str = COLUMNS, path: Path | None = None) -> Path:
    """Adds requests to the session store."""
    path = path or home(world) / "session-store.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, cwd TEXT, branch TEXT)")
        connection.execute("INSERT OR IGNORE INTO sessions VALUES ('s1', '/home/ada/kelp', 'main')")
        connection.execute(f"CREATE TABLE IF NOT EXISTS assistant_usage_events ({columns})")
        for one in rows:
            marks = ", ".join("?" * len(one))
            connection.execute(
                f"INSERT INTO assistant_usage_events ({', '.join(one)}) VALUES ({marks})", [*one.values()]
            )
    set_mtime(path, us(WRITTEN) / 1e6)
    return path


def event(kind: str, minutes: float = 0, row: Row | None = None, **data: Any) -> Row:
    return {"type": kind, "data": data, "id": f"e-{kind}-{minutes}", "timestamp": at(minutes), **(row or {})}


def start(version: str = "1.0.11", session: str = "s1", **more: Any) -> Row:
    context = {"cwd": "/home/ada/kelp", "branch": "main"}
    return event(
        "session.start", sessionId=session, copilotVersion=version, selectedModel="gpt-5.2", context=context, **more
    )


def said(output: Any, minutes: float, **more: Any) -> Row:
    return event("assistant.message", minutes, messageId=f"m-{minutes}", outputTokens=output, **more)


def metrics(input: Any, output: Any, read: Any = 0, write: Any = 0, **more: Any) -> Row:
    counters = {"inputTokens": input, "outputTokens": output, "cacheReadTokens": read, "cacheWriteTokens": write}
    return {"requests": {"count": 1, "cost": 1}, "usage": {**counters, **more}}


def shutdown(minutes: float, **models: Row) -> Row:
    return event(
        "session.shutdown", minutes, modelMetrics={name.replace("_", "."): one for name, one in models.items()}
    )


def log(world: World, *rows: Row | bytes, session: str = "s1") -> Path:
    path = world.write(home(world) / "session-state" / session / "events.jsonl", *rows)
    set_mtime(path, us(WRITTEN) / 1e6)
    return path


def flags(world: World) -> set[str]:
    return {flag for record in world.records() for flag in record["flags"]}


def found(world: World) -> list[tuple[str, tuple[int, int, int, int]]]:
    return [(event.time, event.buckets) for event in world.events()]


class TestStore:
    def test_cached_tokens_are_inside_input_and_reasoning_inside_output(self, world: World) -> None:
        store(world, request(100, 50, 60, 15, 20))
        world.sync()

        (event,) = world.events()
        assert (event.buckets, event.reasoning) == ((25, 15, 60, 50), 20)

    def test_every_row_is_one_request(self, world: World) -> None:
        store(world, request(100, 50), request(100, 50))
        world.sync()

        assert len(world.events()) == 2

    def test_context_comes_from_the_row_and_its_session(self, world: World) -> None:
        store(world, request(100, 50, agent_id="agent-7"))
        world.sync()

        (record,) = world.records()
        assert (record["cwd"], record["git_branch"], record["agent_id"]) == ("/home/ada/kelp", "main", "agent-7")
        assert (record["latency_ms"], record["ttft_ms"]) == (1500, 210)
        assert world.query("SELECT provider, model FROM models JOIN events USING (model_no)") == [
            ("copilot", "claude-sonnet-4-5")
        ]

    def test_rows_that_come_later_are_added(self, world: World) -> None:
        store(world, request(100, 50))
        world.sync()
        store(world, request(30, 5))
        world.sync()

        assert sorted(event.input for event in world.events()) == [30, 100]
        assert len(world.records()) == 2

    @pytest.mark.parametrize("option", ["no_cache", "full"])
    def test_reading_again_adds_nothing(self, world: World, option: str) -> None:
        store(world, request(100, 50), request(), request(30, 5))
        world.sync()
        before, skipped = world.booked(), world.skipped()
        world.sync(**{option: True})

        assert (world.booked(), world.skipped()) == (before, skipped)

    def test_a_store_made_anew_adds_its_rows(self, world: World) -> None:
        path = store(world, request(100, 50), request(70, 1))
        world.sync()
        path.unlink()
        store(world, request(30, 5, created_at="2026-02-19T08:00:00Z"))
        world.sync()

        assert sorted(event.input for event in world.events()) == [30, 70, 100]

    def test_a_copy_of_the_store_adds_nothing(self, world: World, tmp_path: Path) -> None:
        path = store(world, request(100, 50))
        copy = tmp_path / "session-store.db"
        copy.write_bytes(path.read_bytes())
        world.sync(add_sources=(("copilot-cli", str(copy)),))

        assert len(world.events()) == 1
        assert world.rules() == {"copilot-cli.copied_request": 1}

    def test_the_row_is_the_evidence(self, world: World) -> None:
        store(world, request(100, 50))
        world.sync()
        (event,) = world.events()

        assert explain(world.ledger, [event.event_id], verify=True)[0].status == "verified"

    @pytest.mark.parametrize(("model", "billed"), [("auto", "gpt-5.2"), (None, "gpt-5.2"), ("gpt-5.2", None)])
    def test_a_route_is_no_model(self, world: World, model: str | None, billed: str | None) -> None:
        store(world, request(100, 50, model=model, copilot_usage_model=billed))
        world.sync()

        assert [event.model_raw for event in world.events()] == ["gpt-5.2"]

    @pytest.mark.parametrize("odd", [-4, float("inf"), 10**15, "many", 2.5])
    def test_what_is_no_count_is_zero_and_the_rest_stays(self, world: World, odd: Any) -> None:
        store(world, request(odd, 7))
        world.sync()

        assert [event.buckets for event in world.events()] == [(0, 0, 0, 7)]
        assert any(flag.startswith("counter_") for flag in flags(world))

    def test_odd_rows_are_counted_or_flagged(self, world: World) -> None:
        nothing = dict.fromkeys(("input", "output", "read", "write", "reasoning"))
        store(
            world, request(**nothing), request(), request(5, 5, session_id=None),
            request(10, 5, 90, 0, 9, created_at="soon", model=None),
        )  # fmt: skip
        summary = world.sync()

        assert summary.providers["copilot-cli"].skipped == {"usage_null": 1, "zero_usage": 1, "session_missing": 1}
        assert found(world) == [(WRITTEN, (0, 0, 90, 5))]
        wanted = {"cache_above_input", "reasoning_above_output", "timestamp_from_file", "model_missing"}
        assert flags(world) == wanted

    @pytest.mark.parametrize(
        ("columns", "problem"),
        [
            ("id INTEGER PRIMARY KEY, session_id TEXT, tokens INTEGER", "lacks input_tokens, output_tokens"),
            (None, "the table assistant_usage_events is missing"),
        ],
    )
    def test_an_unknown_schema_is_told_and_event_logs_stand_in(
        self, world: World, columns: str | None, problem: str
    ) -> None:
        path = store(world, columns=columns or "id INTEGER")
        if columns is None:
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("DROP TABLE assistant_usage_events")
        log(world, start(), shutdown(5, gpt_5=metrics(10, 2)))
        summary = world.sync()

        assert summary.providers["copilot-cli"].skipped == {"schema_drift": 1}
        assert [problem in told for told in summary.problems] == [True]
        assert [event.buckets for event in world.events()] == [(10, 0, 0, 2)]

    def test_few_columns_are_enough(self, world: World) -> None:
        columns = "id INTEGER PRIMARY KEY, session_id TEXT, input_tokens INTEGER, output_tokens INTEGER"
        store(world, {"session_id": "s9", "input_tokens": 4, "output_tokens": 2}, columns=columns)
        world.sync()

        assert found(world) == [(WRITTEN, (4, 0, 0, 2))]

    def test_a_store_its_owner_writes_is_read(self, world: World) -> None:
        path = store(world, request(100, 50))
        with closing(sqlite3.connect(path)) as owner:
            owner.execute("PRAGMA journal_mode = wal")
            owner.execute("INSERT INTO assistant_usage_events (session_id, input_tokens) VALUES ('s1', 7)")
            owner.commit()
            world.sync()

        assert sorted(event.input for event in world.events()) == [7, 100]


class TestShutdown:
    def test_each_model_is_one_event_at_the_shutdown(self, world: World) -> None:
        log(
            world,
            start(),
            said(30, 1),
            shutdown(9, gpt_5=metrics(100, 20, 60, 15, reasoningTokens=4), gpt_5_mini=metrics(9, 10)),
        )
        world.sync()

        assert sorted((event.model_raw, event.time, event.buckets, event.reasoning) for event in world.events()) == [
            ("gpt.5", at(9), (25, 15, 60, 20), 4),
            ("gpt.5.mini", at(9), (9, 0, 0, 10), 0),
        ]

    def test_a_second_legs_counters_are_its_own_where_its_messages_say_so(self, world: World) -> None:
        rows = [
            start(),
            said(1_200, 1),
            shutdown(2, a=metrics(2_000, 1_200)),
            said(3_400, 3),
            shutdown(4, a=metrics(5_000, 3_400)),
        ]
        log(world, *rows)
        world.sync()

        assert [event.buckets for event in world.events()] == [(2_000, 0, 0, 1_200), (5_000, 0, 0, 3_400)]

    def test_counters_carried_over_count_once_where_messages_say_so(self, world: World) -> None:
        rows = [
            start(),
            said(1_200, 1),
            shutdown(2, a=metrics(2_000, 1_200)),
            event("session.resume", 3),
            said(3_400, 3),
        ]
        log(world, *rows, shutdown(4, a=metrics(5_000, 4_600), b=metrics(7, 0)))
        world.sync()

        assert sorted(event.buckets for event in world.events()) == [
            (7, 0, 0, 0), (2_000, 0, 0, 1_200), (3_000, 0, 0, 3_400),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("version", "total"), [("1.0.79", 7_000), ("1.0.80", 5_000), ("1.0.91-2", 5_000), ("?", 7_000)]
    )
    def test_where_messages_say_nothing_the_build_decides(self, world: World, version: str, total: int) -> None:
        rows = [
            start(version),
            shutdown(2, a=metrics(2_000, 12)),
            event("session.resume", 3),
            shutdown(4, a=metrics(5_000, 34)),
        ]
        log(world, *rows)
        world.sync()

        assert sum(event.input for event in world.events()) == total

    def test_counters_that_fell_began_anew(self, world: World) -> None:
        rows = [
            start("1.0.91"),
            shutdown(2, a=metrics(5_000, 40)),
            event("session.resume", 3),
            shutdown(4, a=metrics(300, 9)),
        ]
        log(world, *rows)
        world.sync()

        assert [event.input for event in world.events()] == [5_000, 300]

    def test_a_shutdown_without_counters_leaves_the_leg_open(self, world: World) -> None:
        log(world, start(), said(1_200, 1), shutdown(2), said(3_400, 3), shutdown(4, a=metrics(7_000, 4_600)))
        world.sync()

        assert found(world) == [(at(4), (7_000, 0, 0, 4_600))]

    def test_a_shutdown_written_twice_counts_once(self, world: World) -> None:
        last = shutdown(4, a=metrics(7_000, 30))
        log(world, start("1.0.91"), last, last)
        summary = world.sync()

        assert len(world.events()) == 1
        assert summary.providers["copilot-cli"].skipped == {"repeated_usage": 1}

    def test_details_stand_in_for_metrics_without_usage(self, world: World) -> None:
        details = {"input": {"tokenCount": 100}, "output": {"tokenCount": 15}, "cache_read": {"tokenCount": 5}}
        log(
            world,
            start(),
            event("session.shutdown", 4, modelMetrics={"gpt-5-mini": {"requests": 2}}, tokenDetails=details),
        )
        world.sync()

        assert [(event.model_raw, event.buckets) for event in world.events()] == [("gpt-5-mini", (100, 0, 5, 15))]

    def test_details_of_several_models_are_flagged(self, world: World) -> None:
        both = {"a": {"requests": 2}, "b": {"requests": 1}}
        details = {"input": {"tokenCount": 100}}
        log(world, start(), event("session.shutdown", 4, modelMetrics=both, tokenDetails=details, currentModel="b"))
        world.sync()

        assert [event.model_raw for event in world.events()] == ["b"]
        assert "several_models" in flags(world)


class TestMessages:
    def test_a_session_that_was_never_shut_down_counts_the_output_it_told(self, world: World) -> None:
        log(world, start(), said(30, 1), said(12, 2, model="gpt-5-mini"))
        world.sync()

        assert found(world) == [(at(1), (0, 0, 0, 30)), (at(2), (0, 0, 0, 12))]
        assert [event.model_raw for event in world.events()] == ["gpt-5.2", "gpt-5-mini"]
        assert flags(world) == {"input_unknown"}

    def test_the_shutdown_that_comes_later_takes_over(self, world: World) -> None:
        path = log(world, start(), said(30, 1), said(12, 2))
        world.sync()
        world.append(path, shutdown(5, a=metrics(900, 42)))
        world.sync()

        assert found(world) == [(at(5), (900, 0, 0, 42))]
        assert world.rules() == {"superseded_by_source": 2}

    def test_what_was_said_before_a_crash_stands_beside_the_next_legs_counters(self, world: World) -> None:
        log(world, start(), said(30, 1), event("session.resume", 2), said(12, 3), shutdown(5, a=metrics(900, 12)))
        world.sync()

        assert found(world) == [(at(1), (0, 0, 0, 30)), (at(5), (900, 0, 0, 12))]

    def test_what_was_said_before_a_compaction_stands_where_counters_began_anew(self, world: World) -> None:
        used = {"input": 500, "output": 40, "cachedInput": 200}
        compaction = event("session.compaction_complete", 2, success=True, compactionTokensUsed=used, requestId="r-9")
        log(world, start(), said(300, 1), compaction, said(12, 3), shutdown(5, a=metrics(900, 12)))
        world.sync()

        wanted = [(at(1), (0, 0, 0, 300)), (at(2), (300, 0, 200, 40)), (at(5), (900, 0, 0, 12))]
        assert found(world) == wanted

    def test_a_compaction_inside_a_covered_leg_is_counted_by_its_shutdown(self, world: World) -> None:
        used = {"inputTokens": 500, "outputTokens": 40, "cacheReadTokens": 200, "model": "gpt-5.2"}
        compaction = event("session.compaction_complete", 2, success=True, compactionTokensUsed=used)
        log(world, start(), said(300, 1), compaction, said(12, 3), shutdown(5, a=metrics(900, 352)))
        world.sync()

        assert found(world) == [(at(5), (900, 0, 0, 352))]

    def test_a_message_in_several_rows_is_one(self, world: World) -> None:
        log(world, start(), said(10, 1), {**said(30, 1), "timestamp": at(1.5)}, said(None, 2), said(0, 3))
        summary = world.sync()

        assert found(world) == [(at(1), (0, 0, 0, 30))]
        assert summary.providers["copilot-cli"].skipped == {"usage_null": 1, "zero_usage": 1}

    def test_one_sync_or_many_and_bytes_cut_anywhere(self, world: World, tmp_path: Path) -> None:
        rows = [start(), said(30, 1), shutdown(2, a=metrics(90, 30)), event("session.resume", 3), said(12, 4)]
        whole = jsonl(*rows, shutdown(5, a=metrics(40, 12)))
        log(world, whole)
        world.sync()
        other = World(tmp_path / "other")
        for cut in range(0, len(whole) + 60, 60):
            path = home(other) / "session-state" / "s1" / "events.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(whole[:cut])
            other.sync()

        assert other.events() == world.events()


class TestSources:
    @pytest.mark.parametrize("first", ["store", "log"])
    def test_the_store_stands_for_everything_a_log_tells_of_its_sessions(self, world: World, first: str) -> None:
        rows = [start(), said(30, 1), shutdown(2, a=metrics(90, 30)), event("session.resume", 3), said(12, 4)]
        steps = {
            "store": lambda: store(world, request(100, 50)),
            "log": lambda: log(world, *rows),
        }
        for step in sorted(steps, key=lambda name: name != first):
            steps[step]()
            world.sync()

        assert [event.buckets for event in world.events()] == [(100, 0, 0, 50)]
        assert world.rules() == {"superseded_by_source": 3}

    def test_sessions_the_store_does_not_know_keep_their_logs(self, world: World) -> None:
        store(world, request(100, 50))
        log(world, start(session="s2"), shutdown(2, a=metrics(90, 30)), session="s2")
        world.sync()

        assert sorted(event.session for event in world.events()) == ["s1", "s2"]


class TestFiles:
    def test_the_folder_names_a_session_whose_start_is_missing(self, world: World) -> None:
        log(world, shutdown(2, a=metrics(90, 30)), session="a-b-c")
        world.sync()

        assert [event.session for event in world.events()] == ["a-b-c"]
        assert "session_from_file" in flags(world)

    @pytest.mark.parametrize("name", ["session-state/s1.jsonl", "history-session-state/s1.jsonl"])
    def test_logs_of_early_builds_are_read(self, world: World, name: str) -> None:
        world.write(home(world) / name, start(), shutdown(2, a=metrics(90, 30)))
        world.sync()

        assert [event.buckets for event in world.events()] == [(90, 0, 0, 30)]

    def test_early_documents_hold_no_usage(self, world: World) -> None:
        path = home(world) / "history-session-state" / "s1.json"
        path.parent.mkdir(parents=True)
        path.write_text('{"history": [{"role": "human", "content": "words"}]}')
        world.write(path.with_name("s2.json"), b'{"history": ')

        assert world.sync().providers["copilot-cli"].skipped == {"usage_null": 1, "truncated_json": 1}

    def test_files_of_the_user_below_a_session_are_not_read(self, world: World) -> None:
        for name in ("files/events.jsonl", "files/a.json", "rewind-file-snapshots/index.json"):
            world.write(home(world) / "session-state" / "s1" / name, start(), said(30, 1))
        world.sync()

        assert world.query("SELECT count(*) FROM sources") == [(0,)]

    @pytest.mark.parametrize(
        ("chosen", "model", "told"), [("gpt-5.2", "gpt-5.2", set()), ("auto", None, {"model_missing"})]
    )
    def test_a_route_is_no_model(self, world: World, chosen: str, model: str | None, told: set[str]) -> None:
        used = {"inputTokens": 30, "outputTokens": 4, "model": "auto"}
        begun = event("session.start", sessionId="s1", selectedModel=chosen)
        log(world, begun, said(5, 1, model="auto"), event("session.compaction_complete", 2, compactionTokensUsed=used))
        ended = event("session.shutdown", 3, modelMetrics={"auto": metrics(50, 9)})
        log(world, {**begun, "data": {**begun["data"], "sessionId": "s2"}}, ended, session="s2")
        world.sync()

        assert [(event.model_raw, event.output) for event in world.events()] == [(model, 5), (model, 4), (model, 9)]
        assert {flag for record in world.records() for flag in record["flags"] if "model" in flag} == told

    def test_a_route_among_models_may_be_any(self, world: World) -> None:
        log(world, start(), event("session.shutdown", 3, modelMetrics={"auto": metrics(50, 9), "a": metrics(7, 2)}))
        world.sync()

        assert sorted((event.model_raw or "", event.output) for event in world.events()) == [("", 9), ("a", 2)]

    def test_bad_rows_are_counted_and_stop_nothing(self, world: World) -> None:
        glued = b'{"type":"user.message","data":{}} ' + jsonl(said(5, 3))
        rows = [
            b"\xef\xbb\xbf" + jsonl(start()), b'{"type":"assistant.message","data":{"outputTokens":4\n', b"[1]\n",
            b" \n",
            jsonl({"type": "assistant.message", "data": "words"}), glued,
            jsonl({"type": "session.shutdown", "data": {"modelMetrics": [3]}}),
            jsonl(event("session.shutdown", 4, modelMetrics={"a": 3, "b": {"usage": "x"}, "c": metrics(0, 0)})),
            jsonl(said(float("nan"), 5)), jsonl({**said(7, 6), "timestamp": {"odd": 1}}),
            jsonl(said(9, 7, content="x")).replace(b'"x"', b'"\xff"'),
        ]  # fmt: skip
        path = log(world)
        path.write_bytes(b"".join(rows) + b"\n")
        set_mtime(path, us(WRITTEN) / 1e6)
        summary = world.sync()

        assert summary.problems == []
        assert summary.providers["copilot-cli"].skipped == {
            "truncated_json": 1, "not_an_object": 1, "blank": 1, "usage_null": 1, "usage_not_an_object": 1,
            "zero_usage": 2,
        }  # fmt: skip
        assert found(world) == [(at(3), (0, 0, 0, 5)), (at(7), (0, 0, 0, 9)), (WRITTEN, (0, 0, 0, 7))]

    def test_nothing_secret_reaches_the_ledger(self, world: World, tmp_path: Path) -> None:
        secret = "ghp_0123456789abcdef"
        log(
            world, start(user=secret), event("user.message", 1, content=secret), said(5, 2, content=secret),
            event("session.shutdown", 4, modelMetrics={"a": metrics(9, 5, note=secret)}, summary=secret),
            f'{{"{secret}'.encode(),
        )  # fmt: skip
        store(world, request(100, 50, session_id="s2", initiator=secret))
        world.sync()
        assert len(world.events()) == 2

        kept = b"".join(path.read_bytes() for path in (tmp_path / "ledger").rglob("*") if path.is_file())
        assert secret.encode() not in kept


def test_the_agents_variable_names_its_folder(tmp_path: Path) -> None:
    world = World(tmp_path, COPILOT_HOME=str(tmp_path / "copilot"))
    store(world, request(100, 50), path=tmp_path / "copilot" / "session-store.db")
    world.sync()

    assert len(world.events()) == 1


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1.0.80", (1, 0, 80)), ("0.0.407-1", (0, 0, 407)), (None, ()), ("1.x", ()), ("1." + "9" * 20, ())],
)
def test_a_build_is_told_by_its_numbers(text: str | None, numbers: tuple[int, ...]) -> None:
    assert version_of(text) == numbers


counts = st.integers(0, 10_000)
legs = st.lists(st.tuples(counts, counts, counts, st.integers(1, 10_000), counts), min_size=1, max_size=6)


@settings(max_examples=100, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(legs, st.booleans(), st.sampled_from([(), (1, 0, 11), (1, 0, 91)]))
def test_what_messages_say_decides_for_any_build(
    told: list[tuple[int, int, int, int, int]], carried: bool, version: tuple[int, ...]
) -> None:
    found, reached, billed = Legs(), (0, 0, 0, 0, 0), [0, 0, 0, 0, 0]
    for number, leg in enumerate(told):
        if number:
            found.begin(RESUME)
        found.add_output(leg[3])
        reached = (*map(sum, zip(reached, leg, strict=True)),) if carried else leg  # type: ignore[assignment]
        grown, _ = found.close({"a": reached}, version)
        billed = [*map(sum, zip(billed, grown["a"], strict=True))]

    assert billed == [*map(sum, zip(*told, strict=True))]


class TestStoreMadeAnew:
    def test_a_new_store_that_is_longer_than_the_old_one_hides_nothing(self, world: World) -> None:
        path = store(world, *(request(10 + n, created_at=at(n)) for n in range(5)))
        world.sync()
        path.unlink()
        store(world, *(request(100 + n, created_at=at(60 + n)) for n in range(8)))
        world.sync()

        assert sorted(event.input for event in world.events()) == [*range(10, 15), *range(100, 108)]
