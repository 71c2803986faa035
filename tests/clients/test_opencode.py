"""opencode: what a message counts, which copies are one request, and what a growing database adds."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.clients.planted import KEY, MAIL, PROMPT, found_below
from tests.support import START, World, buckets, set_mtime, us
from tokenledger_dagster.clients.places import Names

T0 = int(START.timestamp() * 1000)
MODEL = "claude-sonnet-4-5-20250929"
Message = dict[str, Any]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def tokens(input: Any = 10, output: Any = 5, read: Any = 0, write: Any = 0, **more: Any) -> Message:
    return {"input": input, "output": output, "cache": {"read": read, "write": write}, **more}


def answer(minutes: float = 0, **message: Any) -> Message:
    """An assistant message as a finished request leaves it."""
    created = T0 + int(minutes * 60_000)
    found = {
        "role": "assistant",
        "modelID": MODEL,
        "providerID": "anthropic",
        "time": {"created": created, "completed": created + 2_500},
        "tokens": tokens(),
        "path": {"cwd": "/home/ada/code/tidepool", "root": "/home/ada/code/tidepool"},
        **message,
    }
    return {key: value for key, value in found.items() if value is not None}


def database(world: World, name: str = "opencode.db") -> Path:
    path = world.home_dir / ".local/share/opencode" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def put(path: Path, rows: Iterable[tuple[str, Any]], session: str = "ses_1", changed: int = T0) -> None:
    """Writes messages as opencode does: a row's content is replaced in place."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS session "
            "(id TEXT PRIMARY KEY, parent_id TEXT, directory TEXT, title TEXT, version TEXT)"
        )
        connection.execute(
            "CREATE TABLE IF NOT EXISTS message "
            "(id TEXT PRIMARY KEY, session_id TEXT, time_created INTEGER, time_updated INTEGER, data TEXT)"
        )
        for name, data in rows:
            content = data if isinstance(data, str | bytes) or data is None else json.dumps(data)
            connection.execute(
                "INSERT INTO message VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET data = excluded.data, time_updated = excluded.time_updated",
                (name, session, T0, changed, content),
            )


def put_session(path: Path, name: str, parent: str | None = None, directory: str | None = None) -> None:
    put(path, [])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?)", (name, parent, directory, PROMPT, "1.3.17"))


def message_file(world: World, name: str, message: Message | bytes, session: str = "ses_1") -> Path:
    path = world.home_dir / ".local/share/opencode/storage/message" / session / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(message if isinstance(message, bytes) else json.dumps(message).encode())
    return path


def booked(world: World) -> list[tuple[str, int, int]]:
    return [(event.session, event.input, event.output) for event in world.events()]


class TestCounters:
    def test_the_four_counters_are_disjoint_as_logged(self, world: World) -> None:
        put(database(world), [("msg_1", answer(tokens=tokens(100, 50, read=10, write=20)))])
        world.sync()

        assert buckets(world.events()) == [(100, 20, 10, 50)]

    def test_reasoning_stands_apart_and_is_output(self, world: World) -> None:
        put(database(world), [("msg_1", answer(tokens=tokens(100, 50, reasoning=7)))])
        world.sync()

        (event,) = world.events()
        assert (event.output, event.reasoning) == (57, 7)

    def test_a_total_shows_that_reasoning_is_inside_output(self, world: World) -> None:
        inside = answer(tokens=tokens(100, 50, read=10, write=20, reasoning=7, total=180))
        apart = answer(1, tokens=tokens(100, 43, read=10, write=20, reasoning=7, total=180))
        put(database(world), [("msg_1", inside), ("msg_2", apart)])
        world.sync()

        assert [(event.output, event.reasoning) for event in world.events()] == [(50, 7), (50, 7)]

    @pytest.mark.parametrize(
        ("bad", "flag"),
        [
            (-3, "counter_negative"),
            (True, "counter_not_a_count"),
            ("many", "counter_not_a_count"),
            (10**11, "counter_overflow"),
            ([1], "counter_not_a_count"),
        ],
    )
    def test_an_unreadable_counter_is_zero_and_the_message_stays(self, world: World, bad: Any, flag: str) -> None:
        put(database(world), [("msg_1", answer(tokens=tokens(bad, 5)))])
        world.sync()

        assert buckets(world.events()) == [(0, 0, 0, 5)]
        assert world.records()[0]["flags"] == [flag]

    def test_prompts_are_passed_over_and_answers_without_tokens_counted(self, world: World) -> None:
        rows = [
            ("msg_1", {"role": "user", "time": {"created": T0}, "summary": {"title": PROMPT}}),
            ("msg_2", {"role": "user", "tokens": tokens()}),
            ("msg_3", answer(tokens=None)),
            ("msg_4", answer(tokens=tokens(0, 0))),
            ("msg_5", answer(tokens="12")),
            ("msg_6", answer(tokens={"input": 3, "output": 1, "cache": "none"})),
        ]
        put(database(world), rows)

        summary = world.sync()
        assert summary.providers["opencode"].skipped == {"usage_null": 1, "zero_usage": 1, "usage_not_an_object": 1}
        assert buckets(world.events()) == [(3, 0, 0, 1)]

    def test_a_cost_of_zero_is_none(self, world: World) -> None:
        put(
            database(world), [("msg_1", answer(cost=0)), ("msg_2", answer(1, cost=0.03)), ("msg_3", answer(2, cost={}))]
        )
        world.sync()

        assert [record["reported_cost_usd"] and float(record["reported_cost_usd"]) for record in world.records()] == [
            None, 0.03, None
        ]  # fmt: skip


class TestContext:
    def test_what_a_message_tells(self, world: World) -> None:
        put_session(database(world), "ses_1", "ses_0", "/elsewhere")
        put(database(world), [("msg_1", answer(providerID="OpenRouter"))])
        world.sync()

        (event,), (record,) = world.events(), world.records()
        assert (event.session, event.project, event.model_raw) == ("ses_1", "/home/ada/code/tidepool", MODEL)
        assert event.time == "2026-02-18T09:00:00.000Z"
        assert (record["upstream"], record["latency_ms"], record["status"]) == ("openrouter", 2_500, "ok")
        assert (record["parent_session_id"], record["client_version"]) == ("ses_0", "1.3.17")

    def test_model_and_provider_may_stand_in_an_object(self, world: World) -> None:
        nested = {"providerID": "openai", "modelID": "gpt-5.1-codex"}
        put(database(world), [("msg_1", answer(modelID=None, providerID=None, model=nested))])
        world.sync()

        assert world.events()[0].model_raw == "gpt-5.1-codex"
        assert world.records()[0]["upstream"] == "openai"

    def test_no_model_is_flagged(self, world: World) -> None:
        put(database(world), [("msg_1", answer(modelID=None))])
        world.sync()

        assert world.records()[0]["flags"] == ["model_missing"]

    def test_the_sessions_folder_stands_in_for_the_messages(self, world: World) -> None:
        put_session(database(world), "ses_1", None, "/home/ada/code/kelp")
        put(database(world), [("msg_1", answer(path=None)), ("msg_2", answer(1, path="/home/ada/old"))])
        world.sync()

        assert {record["cwd"] for record in world.records()} == {"/home/ada/code/kelp", "/home/ada/old"}

    def test_a_child_session_is_usage_of_its_own(self, world: World) -> None:
        put_session(database(world), "ses_2", "ses_1")
        put(database(world), [("msg_1", answer())])
        put(database(world), [("msg_2", answer(1))], session="ses_2")
        world.sync()

        assert booked(world) == [("ses_1", 10, 5), ("ses_2", 10, 5)]

    def test_a_failed_request_with_tokens_counts(self, world: World) -> None:
        put(database(world), [("msg_1", answer(error={"name": "MessageAbortedError", "data": {"message": PROMPT}}))])
        world.sync()

        assert booked(world) == [("ses_1", 10, 5)]
        assert world.records()[0]["status"] == "error"

    def test_its_end_stands_in_for_its_beginning(self, world: World) -> None:
        put(database(world), [("msg_1", answer(time={"completed": T0 + 60_000}))])
        world.sync()

        assert world.events()[0].time == "2026-02-18T09:01:00.000Z"
        assert world.records()[0]["flags"] == ["timestamp_fallback"]

    def test_without_a_time_the_row_tells_it_else_the_file(self, world: World) -> None:
        path = database(world)
        put(path, [("msg_1", answer(time=None))])
        world.sync()
        assert world.events()[0].time == "2026-02-18T09:00:00.000Z"
        assert world.records()[0]["flags"] == ["timestamp_fallback"]

        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("ALTER TABLE message DROP COLUMN time_created")
            connection.execute("UPDATE message SET id = 'msg_9'")
        set_mtime(path, us("2026-03-01T00:00:00Z") / 1e6)
        world.sync()
        assert world.events()[-1].time == "2026-03-01T00:00:00.000Z"


class TestCopies:
    def test_the_database_stands_before_the_file_whatever_came_first(self, tmp_path: Path) -> None:
        for number, order in enumerate(itertools.permutations(("file", "database"))):
            world = World(tmp_path / str(number))
            for source in order:
                if source == "file":
                    message_file(world, "msg_1", answer(id="msg_1", tokens=tokens(999, 999)))
                else:
                    put(database(world), [("msg_1", answer())])
                world.sync()

            assert booked(world) == [("ses_1", 10, 5)]
            assert world.rules() == {"superseded_by_source": 1}

    def test_files_are_known_by_their_id_or_name_nested_or_flat(self, world: World) -> None:
        message_file(world, "msg_1", answer(id="msg_1", sessionID="ses_1"))
        message_file(world, "msg_2", answer(1))
        flat = message_file(world, "msg_3", answer(2, sessionID="ses_3"))
        flat.rename(flat.parent.parent / "msg_3.json")
        world.sync()

        assert booked(world) == [("ses_1", 10, 5), ("ses_1", 10, 5), ("ses_3", 10, 5)]
        assert sorted(record["message_id"] for record in world.records()) == ["msg_1", "msg_2", "msg_3"]

    def test_a_files_session_tells_its_parent_and_folder(self, world: World) -> None:
        told = {
            "id": "ses_1",
            "parentID": "ses_0",
            "directory": "/home/ada/code/kelp",
            "version": "0.9",
            "title": PROMPT,
        }
        path = world.home_dir / ".local/share/opencode/storage/session/p1/ses_1.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(told))
        message_file(world, "msg_1", answer(path=None))
        world.sync()

        (record,) = world.records()
        assert (record["parent_session_id"], record["cwd"], record["client_version"]) == (
            "ses_0", "/home/ada/code/kelp", "0.9",
        )  # fmt: skip

    def test_a_channels_database_is_read_too_and_a_message_in_both_counts_once(self, world: World) -> None:
        put(database(world), [("msg_1", answer())])
        put(database(world, "opencode-beta.db"), [("msg_1", answer()), ("msg_2", answer(1))])
        world.sync()

        assert len(world.events()) == 2
        assert world.rules() == {"opencode.copied_request": 1}

    def test_a_file_that_is_rewritten_counts_in_its_last_state(self, world: World) -> None:
        message_file(world, "msg_1", answer(tokens=tokens(10, 90)))
        world.sync()
        message_file(world, "msg_1", answer(tokens=tokens(12, 40)))
        world.sync()

        assert booked(world) == [("ses_1", 12, 40)]
        assert world.rules() == {"opencode.rewritten": 1}

    def test_nothing_beside_the_messages_is_walked(self, world: World) -> None:
        places = Names(["/opencode.db", "/storage/message/*.json", "/storage/message/*/*.json"])

        assert places.leads("storage", "")
        assert places.leads("message", "storage/")
        assert places.leads("ses_1", "storage/message/")
        assert not any(places.leads(name, "") for name in ("snapshot", "log", "worktree", "bin"))
        assert not places.leads("part", "storage/")
        assert not places.leads("deeper", "storage/message/ses_1/")


class TestForks:
    """A fork copies what came before it under new ids into a session of its own."""

    @staticmethod
    def _session(path: Path, name: str, minutes: float) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            put(path, [])
            columns = [row[1] for row in connection.execute("PRAGMA table_info(session)")]
            if "time_created" not in columns:
                connection.execute("ALTER TABLE session ADD COLUMN time_created INTEGER")
            created = T0 + int(minutes * 60_000)
            connection.execute("INSERT INTO session (id, time_created) VALUES (?, ?)", (name, created))

    def test_copied_messages_are_counted_once_in_any_order(self, tmp_path: Path) -> None:
        sessions = {
            "ses_1": [("msg_1", answer(0)), ("msg_2", answer(1))],
            "ses_2": [("msg_3", answer(0)), ("msg_4", answer(1)), ("msg_5", answer(31))],
            "ses_3": [("msg_6", answer(0)), ("msg_7", answer(1)), ("msg_8", answer(31)), ("msg_9", answer(61))],
        }
        for number, order in enumerate(itertools.permutations(sessions)):
            world = World(tmp_path / str(number))
            path = database(world)
            for session in order:
                self._session(path, session, {"ses_1": 0, "ses_2": 30, "ses_3": 60}[session])
                put(path, sessions[session], session=session)
                world.sync()

            assert [(event.session, event.time) for event in world.events()] == [
                ("ses_1", "2026-02-18T09:00:00.000Z"),
                ("ses_1", "2026-02-18T09:01:00.000Z"),
                ("ses_2", "2026-02-18T09:31:00.000Z"),
                ("ses_3", "2026-02-18T10:01:00.000Z"),
            ]
            assert world.rules() == {"superseded_by_source": 5}

    def test_without_the_original_the_older_fork_counts(self, world: World) -> None:
        path = database(world)
        for session, minutes, name in (("ses_3", 60, "msg_3"), ("ses_2", 30, "msg_2")):
            self._session(path, session, minutes)
            put(path, [(name, answer(0))], session=session)
        world.sync()

        assert booked(world) == [("ses_2", 10, 5)]

    def test_forks_of_message_files_too(self, world: World) -> None:
        for session, name, created in (("ses_1", "msg_1", T0), ("ses_2", "msg_2", T0 + 60_000)):
            message_file(world, name, answer(0), session)
            path = world.home_dir / f".local/share/opencode/storage/session/p1/{session}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"id": session, "time": {"created": created}}))
        world.sync()

        assert booked(world) == [("ses_1", 10, 5)]

    def test_equal_requests_of_two_sessions_are_two(self, world: World) -> None:
        path = database(world)
        for session in ("ses_1", "ses_2"):
            self._session(path, session, 0)
            put(path, [(f"msg_{session}", answer(1))], session=session)
        world.sync()

        assert len(world.events()) == 2


class TestSecondLayout:
    """Since 2.0 messages stand in ``session_message``; the older ones are taken over with their ids."""

    @staticmethod
    def _put(path: Path, *rows: tuple[str, str, Message]) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS session_v2 (id TEXT, parent_id TEXT, directory TEXT)")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS session_message (id TEXT PRIMARY KEY, session_id TEXT, type TEXT, "
                "seq INTEGER, time_created INTEGER, time_updated INTEGER, data TEXT)"
            )
            for name, kind, data in rows:
                connection.execute(
                    "REPLACE INTO session_message VALUES (?, 'ses_1', ?, 0, ?, ?, ?)",
                    (name, kind, T0, T0, json.dumps(data)),
                )
            connection.execute("INSERT INTO session_v2 VALUES ('ses_1', 'ses_0', '/home/ada/code/kelp')")

    def test_an_assistant_row_is_a_request(self, world: World) -> None:
        told = {"model": {"id": MODEL, "providerID": "anthropic"}, "tokens": tokens(7, 3), "time": {"created": T0}}
        self._put(
            database(world), ("msg_1", "assistant", told), ("msg_2", "user", {"text": PROMPT, "tokens": tokens()})
        )
        world.sync()

        (event,), (record,) = world.events(), world.records()
        assert (event.session, event.project, event.model_raw, event.buckets) == (
            "ses_1", "/home/ada/code/kelp", MODEL, (7, 0, 0, 3),
        )  # fmt: skip
        assert (record["upstream"], record["parent_session_id"]) == ("anthropic", "ses_0")

    def test_a_message_of_both_tables_counts_once_and_both_grow(self, world: World) -> None:
        path = database(world)
        put(path, [("msg_1", answer()), ("msg_2", answer(1))])
        world.sync()
        self._put(path, ("msg_1", "assistant", answer()), ("msg_3", "assistant", answer(2, time={"created": T0})))
        world.sync()
        self._put(path, ("msg_3", "assistant", answer(2, tokens=tokens(50, 5))), ("msg_4", "assistant", answer(3)))
        world.sync()
        world.sync(no_cache=True)

        assert sorted(booked(world)) == [("ses_1", 10, 5)] * 3 + [("ses_1", 50, 5)]
        assert world.rules() == {"opencode.rewritten": 2}

    def test_the_table_alone_is_not_yet_what_the_program_writes(self, world: World) -> None:
        path = database(world)
        put(path, [("msg_1", answer())])
        self._put(path, ("evt_1", "assistant", answer()))
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DROP TABLE session_v2")
        world.sync()

        assert len(world.events()) == 1


class TestGrowth:
    def test_many_syncs_give_what_one_gives(self, tmp_path: Path) -> None:
        rows = [(f"msg_{n}", answer(n, tokens=tokens(10 + n, n))) for n in range(6)]
        at_once, bit_by_bit = World(tmp_path / "a"), World(tmp_path / "b")
        put(database(at_once), rows)
        at_once.sync()
        for n, row in enumerate(rows):
            put(database(bit_by_bit), [row], changed=T0 + n)
            bit_by_bit.sync()

        assert bit_by_bit.booked() == at_once.booked()

    def test_a_streamed_message_counts_in_its_last_state(self, world: World) -> None:
        path = database(world)
        running = answer(time={"created": T0}, tokens=tokens(0, 0))
        for state in (running, answer(time={"created": T0}, tokens=tokens(10, 90)), answer(tokens=tokens(12, 40))):
            put(path, [("msg_1", state)])
            world.sync()

        assert booked(world) == [("ses_1", 12, 40)]
        assert world.rules() == {"opencode.rewritten": 1}

    def test_a_later_reading_looks_at_new_changed_and_open_rows_only(self, world: World) -> None:
        path, hour = database(world), 3_600_000
        put(path, [(f"msg_{n}", answer(n)) for n in range(50)], changed=T0)
        put(path, [("msg_open", answer(60, time={"created": T0 + hour}, tokens=tokens(1, 1)))], changed=T0)
        put(path, [("msg_last", answer(61))], changed=T0 + 9 * hour)
        first = world.sync().providers["opencode"].bytes_read

        put(path, [("msg_3", answer(3, tokens=tokens(7, 7)))], changed=T0 + 10 * hour)
        put(path, [("msg_open", answer(60, tokens=tokens(2, 2)))], changed=T0)
        put(path, [("msg_old", answer(62, tokens=tokens(3, 3)))], changed=T0 - hour)
        second = world.sync().providers["opencode"].bytes_read

        assert len(world.events()) == 53
        assert {(7, 7), (2, 2), (3, 3)} <= {(event.input, event.output) for event in world.events()}
        assert second < first / 8

    def test_a_database_that_begins_anew_is_read_whole(self, world: World) -> None:
        path = database(world)
        put(path, [(f"msg_{n}", answer(n)) for n in range(5)])
        world.sync()
        path.unlink()
        put(path, [("msg_9", answer(9))], changed=T0 - 10**9)
        world.sync()

        assert len(world.events()) == 6

    def test_reading_everything_again_adds_nothing(self, world: World) -> None:
        put(database(world), [("msg_1", answer()), ("msg_2", answer(tokens=None))])
        message_file(world, "msg_3", answer(3))
        world.sync()
        before = world.booked(), world.skipped(), len(world.records())
        world.sync(no_cache=True)
        world.sync(full=True)

        assert (world.booked(), world.skipped(), len(world.records())) == before

    def test_a_database_without_times_of_change_is_read_whole(self, world: World) -> None:
        path = database(world)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE message (id TEXT PRIMARY KEY, session_id TEXT, data TEXT) WITHOUT ROWID")
            connection.execute("INSERT INTO message VALUES ('msg_1', 'ses_1', ?)", (json.dumps(answer()),))
        world.sync()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE message SET data = ?", (json.dumps(answer(tokens=tokens(20, 20))),))
        world.sync()

        assert booked(world) == [("ses_1", 20, 20)]


class TestHostile:
    def test_bad_rows_are_counted_and_the_others_read(self, world: World) -> None:
        rows: list[tuple[str, Any]] = [
            ("msg_0", answer()),
            ("msg_1", '{"role":"assistant","tokens":{"input":'),
            ("msg_2", "not json"),
            ("msg_3", "[1,2]"),
            ("msg_4", None),
            ("msg_5", b'{"role":"assistant","modelID":"m\xff","time":{"created":1771405200000},"tokens":{"input":4}}'),
            ("msg_6", '{"role":"assistant","time":{"created":1771405200000},"tokens":{"input":NaN,"output":6}}'),
            ("msg_7", answer(time={"created": "soon", "completed": [1]}, path=3, modelID=5, providerID={})),
            ("msg_8", '{"tokens":' * 5_000),
        ]
        put(database(world), rows)
        summary = world.sync()

        assert sorted(buckets(world.events())) == [(0, 0, 0, 6), (4, 0, 0, 0), (10, 0, 0, 5), (10, 0, 0, 5)]
        assert summary.providers["opencode"].skipped == {"truncated_json": 1, "invalid_json": 2, "not_an_object": 2}
        assert summary.problems == []

    def test_another_layout_is_told(self, world: World) -> None:
        with closing(sqlite3.connect(database(world))) as connection, connection:
            connection.execute("CREATE TABLE event (id TEXT)")
        summary = world.sync()

        assert summary.providers["opencode"].skipped == {"schema_drift": 1}
        assert len(summary.problems) == 1
        assert "its table message(id, session_id, data) is not there" in summary.problems[0]

    def test_what_is_no_database_stops_nothing(self, world: World) -> None:
        database(world).write_bytes(b"no database at all" * 100)
        put(database(world, "opencode-beta.db"), [("msg_1", answer())])
        summary = world.sync()

        assert len(world.events()) == 1
        assert len(summary.problems) == 1

    @pytest.mark.parametrize("data", [b"", b"\x00\x00", b"[]", b"7", b'{"tokens":', b'{"tokens":{"input":1}}}'])
    def test_a_bad_file_is_counted(self, world: World, data: bytes) -> None:
        message_file(world, "msg_1", data)
        message_file(world, "msg_2", answer())

        assert sum(world.sync().providers["opencode"].skipped.values()) == 1
        assert len(world.events()) == 1

    def test_nothing_but_counts_and_names_is_kept(self, world: World) -> None:
        planted = {"prompt": PROMPT, "key": KEY, "mail": MAIL}
        put_session(database(world), "ses_1")
        put(database(world), [("msg_1", answer(summary=planted, system=[PROMPT], tokens=tokens(note=KEY)))])
        put(database(world), [("msg_2", json.dumps(answer(error={"data": planted}))[:-9])])
        message_file(world, "msg_3", answer(error={"data": planted}, agent=MAIL))
        world.sync()

        assert len(world.events()) == 2
        assert found_below(world.ledger.root) == []


class TestDatabaseInAnothersPlace:
    def test_an_older_database_in_the_place_of_a_newer_one_is_read_as_a_whole(self, world: World) -> None:
        path = database(world)
        put(path, [(f"msg_new_{n}", answer(n, tokens=tokens(100 + n))) for n in range(20)], changed=T0 + 86_400_000)
        world.sync()
        path.unlink()
        put(path, [(f"msg_old_{n}", answer(n, tokens=tokens(1_000 + n))) for n in range(30)], changed=T0)
        world.sync()

        assert sorted(event.input for event in world.events()) == [*range(100, 120), *range(1_000, 1_030)]

    def test_the_same_messages_among_more_of_them_are_not_doubled(self, world: World) -> None:
        path = database(world)
        put(path, [(f"msg_{n}", answer(n, tokens=tokens(100 + n))) for n in range(0, 40, 2)])
        world.sync()
        path.unlink()
        put(path, [(f"msg_{n}", answer(n, tokens=tokens(100 + n))) for n in range(40)])
        world.sync()

        assert sorted(event.input for event in world.events()) == [*range(100, 140)]
