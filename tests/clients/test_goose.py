"""Goose: accumulated counters of each session in its database, or in the first line of an older file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support import Row, World, at, set_mtime, us
from tokenledger_dagster.usage.evidence import explain

COLUMNS = (
    "id TEXT PRIMARY KEY, name TEXT DEFAULT '', working_dir TEXT, created_at TIMESTAMP, updated_at TIMESTAMP, "
    "total_tokens INTEGER, input_tokens INTEGER, output_tokens INTEGER, accumulated_total_tokens INTEGER, "
    "accumulated_input_tokens INTEGER, accumulated_output_tokens INTEGER, accumulated_cache_read_tokens INTEGER, "
    "accumulated_cache_write_tokens INTEGER, provider_name TEXT, model_config_json TEXT"
)
CREATED, UPDATED, WRITTEN = "2026-02-18 09:00:00", "2026-02-18 10:30:00", at(600)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def database(world: World) -> Path:
    return world.home_dir / ".local" / "share" / "goose" / "sessions" / "sessions.db"


def row(total: Any = None, input: Any = None, output: Any = None, session: Any = "20260218_090000", **more: Any) -> Row:
    return {
        "id": session, "working_dir": "/home/ada/kelp", "created_at": CREATED, "updated_at": UPDATED,
        "total_tokens": 9, "input_tokens": 8, "output_tokens": 1, "accumulated_total_tokens": total,
        "accumulated_input_tokens": input, "accumulated_output_tokens": output, "provider_name": "anthropic",
        "model_config_json": '{"model_name": "claude-sonnet-4-5"}', **more,
    }  # fmt: skip


def store(world: World, *rows: Row, columns: str = COLUMNS, path: Path | None = None, mtime: str = WRITTEN) -> Path:
    """Writes sessions; a row of a known id replaces it."""
    path = path or database(world)
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE IF NOT EXISTS sessions ({columns})")
        for one in rows:
            names = ", ".join(one)
            connection.execute(f"REPLACE INTO sessions ({names}) VALUES ({', '.join('?' * len(one))})", [*one.values()])
    set_mtime(path, us(mtime) / 1e6)
    return path


def older(world: World, head: Row | bytes, *messages: Row, name: str = "20260218_090000.jsonl") -> Path:
    path = world.write(database(world).with_name(name), head, *messages)
    set_mtime(path, us(WRITTEN) / 1e6)
    return path


def flags(world: World) -> set[str]:
    return {flag for record in world.records() for flag in record["flags"]}


class TestCounters:
    def test_accumulated_columns_count_and_those_of_the_last_turn_do_not(self, world: World) -> None:
        store(world, row(150, 100, 50))
        world.sync()

        assert [event.buckets for event in world.events()] == [(100, 0, 0, 50)]

    def test_what_the_total_holds_beyond_is_reasoning(self, world: World) -> None:
        store(world, row(180, 100, 50))
        world.sync()

        (event,) = world.events()
        assert (event.buckets, event.reasoning) == ((100, 0, 0, 80), 30)
        assert flags(world) == {"remainder_as_reasoning"}

    def test_a_total_alone_stands_under_output(self, world: World) -> None:
        store(world, row(180))
        world.sync()

        (event,) = world.events()
        assert (event.buckets, event.reasoning) == ((0, 0, 0, 180), 0)
        assert flags(world) == {"only_total_known"}

    def test_cached_tokens_are_taken_out_of_input(self, world: World) -> None:
        more = {"accumulated_cache_read_tokens": 60, "accumulated_cache_write_tokens": 15}
        store(world, row(150, 100, 50, **more))
        world.sync()

        assert [event.buckets for event in world.events()] == [(25, 15, 60, 50)]

    def test_cached_tokens_beside_input_stay_beside_it(self, world: World) -> None:
        more = {"accumulated_cache_read_tokens": 60, "accumulated_cache_write_tokens": 15}
        store(world, row(225, 100, 50, **more))
        world.sync()

        assert [event.buckets for event in world.events()] == [(100, 15, 60, 50)]

    @pytest.mark.parametrize("odd", [-4, float("inf"), 10**15, "many", b"\x00\xff", 2.5])
    def test_what_is_no_count_is_zero_and_the_rest_stays(self, world: World, odd: Any) -> None:
        store(world, row(None, odd, 7))
        world.sync()

        assert [event.buckets for event in world.events()] == [(0, 0, 0, 7)]
        assert any(flag.startswith("counter_") for flag in flags(world))

    def test_sessions_without_usage_are_counted(self, world: World) -> None:
        store(world, row(), row(0, 0, 0, session="b"), row(5, 5, 0, session=None))

        assert world.sync().providers["goose"].skipped == {"usage_null": 1, "zero_usage": 1, "session_missing": 1}


class TestDates:
    def test_the_first_look_stands_where_the_session_began_and_growth_where_it_was_updated(self, world: World) -> None:
        store(world, row(15, 10, 5))
        world.sync()
        store(world, row(75, 60, 15))
        world.sync()

        found = [(event.time, event.input, event.output) for event in world.events()]
        assert found == [("2026-02-18T09:00:00.000Z", 10, 5), ("2026-02-18T10:30:00.000Z", 50, 10)]
        assert world.query("SELECT DISTINCT booking_flags FROM events") == [("date_estimated,sum_of_requests",)]

    @pytest.mark.parametrize("created", [None, "yesterday", b"\xff"])
    def test_without_a_start_the_update_stands_in_and_then_the_file(self, world: World, created: Any) -> None:
        store(world, row(15, 10, 5, created_at=created), row(15, 10, 5, "b", created_at=created, updated_at=None))
        world.sync()

        assert [event.time for event in world.events()] == ["2026-02-18T10:30:00.000Z", WRITTEN]
        assert flags(world) == {"timestamp_from_file"}


class TestIdentity:
    def test_an_unchanged_session_adds_nothing_when_another_grows(self, world: World) -> None:
        store(world, row(15, 10, 5, "a"), row(15, 10, 5, "b"))
        world.sync()
        store(world, row(35, 30, 5, "b"))
        world.sync()

        assert len(world.records()) == 3
        assert sorted((event.session, event.input) for event in world.events()) == [("a", 10), ("b", 10), ("b", 20)]

    @pytest.mark.parametrize("option", ["no_cache", "full"])
    def test_reading_again_adds_nothing(self, world: World, option: str) -> None:
        for total in (15, 75):
            store(world, row(total, total - 5, 5))
            world.sync()
        before = world.events()
        world.sync(**{option: True})

        assert [(event.event_id, event.time) for event in world.events()] == [
            (event.event_id, event.time) for event in before
        ]

    def test_a_session_taken_over_from_an_older_file_is_not_counted_twice(self, world: World) -> None:
        older(world, {"accumulated_total_tokens": 15, "accumulated_input_tokens": 10, "accumulated_output_tokens": 5})
        world.sync()
        store(world, row(75, 60, 15))
        world.sync()

        # what was booked stays, and the newer file adds what it has more
        assert [event.buckets for event in world.events()] == [(10, 0, 0, 5), (50, 0, 0, 10)]

    def test_counted_ids_of_two_machines_stay_apart(self, world: World, tmp_path: Path) -> None:
        store(world, row(15, 10, 5, "20260218_1"))
        store(world, row(9, 7, 2, "20260218_1", created_at="2026-02-18 11:00:00"), path=tmp_path / "other.db")
        world.sync(add_sources=(("goose", str(tmp_path / "other.db")),))

        assert [(event.session, event.input) for event in world.events()] == [("20260218_1", 10), ("20260218_1", 7)]

    def test_the_counters_of_the_row_are_the_evidence(self, world: World) -> None:
        store(world, row(15, 10, 5))
        world.sync()
        (explained,) = explain(world.ledger, [world.events()[0].event_id], verify=True)
        assert explained.status == "verified"

        store(world, row(75, 60, 15))
        (explained,) = explain(world.ledger, [world.events()[0].event_id], verify=True)
        assert explained.status == "source_gone"


class TestContext:
    def test_provider_model_and_folder_stand_in_the_row(self, world: World) -> None:
        store(world, row(15, 10, 5, provider_name="OpenRouter", model_config_json='{"model_name": "openai/gpt-5.2"}'))
        world.sync()

        (record,) = world.records()
        assert (record["upstream"], record["model_raw"], record["cwd"]) == (
            "openrouter",
            "openai/gpt-5.2",
            "/home/ada/kelp",
        )
        assert world.query("SELECT provider, model FROM models JOIN events USING (model_no)") == [
            ("openrouter", "gpt-5.2")
        ]

    @pytest.mark.parametrize("config", [None, "{", "[]", '{"model_name": 3}', b"\xff"])
    def test_a_missing_model_is_flagged(self, world: World, config: Any) -> None:
        store(world, row(15, 10, 5, model_config_json=config))
        world.sync()

        assert [event.model_raw for event in world.events()] == [None]
        assert flags(world) == {"model_missing"}


class TestSchemas:
    def test_the_earliest_columns_are_enough(self, world: World) -> None:
        few = "id TEXT PRIMARY KEY, accumulated_total_tokens INTEGER, accumulated_input_tokens INTEGER"
        one = {"id": "a", "accumulated_total_tokens": 10, "accumulated_input_tokens": 10}
        store(world, one, columns=few)
        world.sync()

        assert [(event.input, event.time) for event in world.events()] == [(10, WRITTEN)]

    @pytest.mark.parametrize(
        ("columns", "problem"),
        [
            (None, "the table sessions is missing"),
            ("id TEXT, total_tokens INTEGER", "the table sessions has no accumulated counters"),
        ],
    )
    def test_an_unknown_schema_is_told_and_counted(self, world: World, columns: str | None, problem: str) -> None:
        path = store(world, columns=columns or "id TEXT")
        if columns is None:
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("ALTER TABLE sessions RENAME TO conversations")
        summary = world.sync()

        assert summary.providers["goose"].skipped == {"schema_drift": 1}
        assert [problem in told for told in summary.problems] == [True]

    def test_a_file_that_is_no_database_is_told(self, world: World) -> None:
        database(world).parent.mkdir(parents=True)
        database(world).write_bytes(b"SQLite format 3\x00 cut short")
        summary = world.sync()

        assert summary.providers["goose"].skipped == {"unreadable_file": 1}
        assert len(summary.problems) == 1

    def test_a_database_its_owner_holds_is_read(self, world: World) -> None:
        path = store(world, row(15, 10, 5))
        with closing(sqlite3.connect(path)) as owner:
            owner.execute("PRAGMA journal_mode = wal")
            owner.execute("BEGIN IMMEDIATE")
            owner.execute("UPDATE sessions SET accumulated_input_tokens = 900")
            world.sync()
            owner.rollback()

        assert [event.input for event in world.events()] == [10]


HEAD = {
    "working_dir": "/home/ada/kelp", "description": "words", "message_count": 2, "total_tokens": 9, "input_tokens": 8,
    "output_tokens": 1, "accumulated_total_tokens": 150, "accumulated_input_tokens": 100,
    "accumulated_output_tokens": 50,
}  # fmt: skip
MESSAGE = {"role": "user", "created": us(at(2)) // 1_000_000, "content": [{"type": "text", "text": "words"}]}


class TestOlderFiles:
    def test_the_first_line_tells_the_sums_and_the_first_message_the_time(self, world: World) -> None:
        older(world, HEAD, MESSAGE)
        world.sync()

        (event,) = world.events()
        assert (event.buckets, event.session, event.time) == ((100, 0, 0, 50), "20260218_090000", at(2))
        assert flags(world) == {"model_missing", "session_from_file"}

    def test_a_file_written_anew_adds_its_growth(self, world: World) -> None:
        older(world, HEAD, MESSAGE)
        world.sync()
        older(world, {**HEAD, "accumulated_total_tokens": 180, "accumulated_output_tokens": 80}, MESSAGE, MESSAGE)
        world.sync()

        assert [(event.time, event.buckets) for event in world.events()] == [
            (at(2), (100, 0, 0, 50)),
            (WRITTEN, (0, 0, 0, 30)),
        ]

    def test_the_first_line_is_the_evidence(self, world: World) -> None:
        path = older(world, HEAD, MESSAGE)
        world.sync()
        (event,) = world.events()

        assert explain(world.ledger, [event.event_id], verify=True)[0].status == "verified"
        older(world, {**HEAD, "message_count": 3})
        assert explain(world.ledger, [event.event_id], verify=True)[0].status == "source_gone"
        path.write_bytes(b"")
        assert explain(world.ledger, [event.event_id], verify=True)[0].status == "source_gone"

    @pytest.mark.parametrize(
        ("head", "reason"),
        [
            ({"total_tokens": 9}, "usage_null"),
            (b'{"accumulated_total_tokens": 4', "truncated_json"),
            (b"[3]", "not_an_object"),
            (b"", "blank"),
            ({"accumulated_total_tokens": 0}, "zero_usage"),
        ],
    )
    def test_a_head_without_sums_is_counted(self, world: World, head: Row | bytes, reason: str) -> None:
        older(world, head, MESSAGE)

        assert world.sync().providers["goose"].skipped == {reason: 1}
        assert world.events() == []


def test_nothing_secret_reaches_the_ledger(world: World, tmp_path: Path) -> None:
    secret = "sk-goose-0123456789"
    config = f'{{"model_name": "gpt-5", "api_key": "{secret}"}}'
    store(world, row(15, 10, 5, name=secret, model_config_json=config, provider_name=f"a b {secret}"))
    older(world, {**HEAD, "description": secret}, {**MESSAGE, "content": secret}, name="other.jsonl")
    world.sync()
    assert len(world.events()) == 2

    kept = b"".join(path.read_bytes() for path in (tmp_path / "ledger").rglob("*") if path.is_file())
    assert secret.encode() not in kept


@pytest.mark.parametrize(
    ("variable", "below"),
    [("GOOSE_PATH_ROOT", "data/sessions"), ("XDG_DATA_HOME", "goose/sessions"), ("APPDATA", "Block/goose/sessions")],
)
def test_every_place_is_looked_at(tmp_path: Path, variable: str, below: str) -> None:
    root = tmp_path / "root"
    world = World(tmp_path, **{variable: str(root)})
    store(world, row(15, 10, 5), path=root / below / "sessions.db")
    world.sync()

    assert len(world.events()) == 1
