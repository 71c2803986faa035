"""What stands in each table, and when a table is built again."""

from __future__ import annotations

import os
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from tests.exports.small import DAY, build_all, rows, small_world
from tests.support import World, claude
from tokenledger_dagster.contracts.tables import TABLES, USAGE_TABLES
from tokenledger_dagster.exports.tables import build, is_as_built, stored, table_path
from tokenledger_dagster.observability import names
from tokenledger_dagster.observability.metrics import RecordingMetrics
from tokenledger_dagster.pricing.rate_table import rate_table

Con = duckdb.DuckDBPyConnection


def usd(text: str) -> Decimal:
    return Decimal(text)


# ------------------------------------------------------------------ content


def test_events_are_the_booked_requests_in_order_of_time(world: World, con: Con) -> None:
    build("events", con, world.ledger, "UTC")

    columns = ("timestamp", "client", "provider", "maker", "model", "session_id", "total_tokens", "message_id")
    assert rows(world, "events", *columns) == [
        (datetime(2026, 2, 18, 9, 0), "claude-code", "claude", "anthropic", "claude-sonnet-4-5", "s1", 11_600, "msg_1"),
        (datetime(2026, 2, 18, 9, 30), "codex", "codex", "openai", "gpt-5.1-codex", "t1", 1_050, None),
        (datetime(2026, 2, 18, 14, 0), "claude-code", "claude", None, "house-model-7", "s1", 50, "msg_2"),
        (datetime(2026, 2, 18, 23, 30), "claude-code", "claude", "anthropic", "claude-sonnet-4-5", "s1", 200, "msg_3"),
        (datetime(2026, 2, 28, 23, 30), "claude-code", "claude", "anthropic", "claude-sonnet-4-5", "s2", 20, "msg_4"),
    ]


def test_events_name_their_evidence(world: World, con: Con) -> None:
    build("events", con, world.ledger, "UTC")

    path, offset, length = rows(world, "events", "source_path", "byte_offset", "byte_length")[0]
    with Path(path).open("rb") as handle:
        handle.seek(offset)
        assert b'"output_tokens":200' in handle.read(length)


def test_duplicates_name_their_rule_and_owner(world: World, con: Con) -> None:
    build("events", con, world.ledger, "UTC")
    build("duplicates", con, world.ledger, "UTC")

    (owner,) = rows(world, "events", "event_id")[0]
    assert rows(world, "duplicates", "rule", "owner_event_id", "output_tokens") == [("claude.stream_copy", owner, 1)]


def test_costs_are_exact_and_absent_where_no_rate_is_known(world: World, con: Con) -> None:
    build("event_costs", con, world.ledger, "UTC")

    columns = ("list_price_usd", "variable_cost_usd", "subscription_allocated_usd", "effective_cost_usd")
    assert rows(world, "event_costs", *columns) == [
        (usd("0.0105"), usd("0.0105"), 0, usd("0.0105")),
        (usd("0.0013"), usd("0.0013"), 0, usd("0.0013")),
        (None, None, 0, None),
        (usd("0.0018"), usd("0.0018"), 0, usd("0.0018")),
        (usd("0.00018"), usd("0.00018"), 0, usd("0.00018")),
    ]
    columns = ("list_basis", "price_confidence", "priced_context", "unpriced_reason", "pricing_mode")
    assert rows(world, "event_costs", *columns)[:3] == [
        ("channel", 95, "standard", None, "token"),
        ("channel", 98, "standard", None, "token"),
        (None, 0, None, "unknown_model", "token"),
    ]
    assert set(rows(world, "event_costs", "price_snapshot_id")) == {(rate_table().snapshot_id,)}


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("UTC", [(date(2026, 2, 18), 11_800), (date(2026, 2, 28), 20)]),
        ("Europe/Berlin", [(date(2026, 2, 18), 11_600), (date(2026, 2, 19), 200), (date(2026, 3, 1), 20)]),
        # a quarter of an hour past the hour: the day begins at 18:15 UTC
        ("Asia/Kathmandu", [(date(2026, 2, 18), 11_600), (date(2026, 2, 19), 200), (date(2026, 3, 1), 20)]),
    ],
)
def test_days_are_cut_in_the_zone(world: World, con: Con, zone: str, days: list[tuple[date, int]]) -> None:
    build("usage_daily", con, world.ledger, zone)

    found = rows(world, "usage_daily", "day", "total_tokens", "model", "timezone")
    assert [(day, tokens) for day, tokens, model, _ in found if model == "claude-sonnet-4-5"] == days
    assert {row[3] for row in found} == {zone}


def test_a_day_counts_events_sessions_and_what_has_no_price(world: World, con: Con) -> None:
    build("usage_daily", con, world.ledger, "UTC")

    figures = ("list_price_usd", "unpriced_tokens", "unpriced_count", "event_count", "session_count")
    assert rows(world, "usage_daily", "client", "model", *figures)[:3] == [
        ("claude-code", "claude-sonnet-4-5", usd("0.0123"), 0, 0, 2, 1),
        ("claude-code", "house-model-7", 0, 50, 1, 1, 1),
        ("codex", "gpt-5.1-codex", usd("0.0013"), 0, 0, 1, 1),
    ]


def test_weeks_begin_on_monday(world: World, con: Con) -> None:
    build("usage_weekly", con, world.ledger, "Europe/Berlin")

    found = rows(world, "usage_weekly", "week", "week_start", "model", "total_tokens")
    assert [row for row in found if row[2] == "claude-sonnet-4-5"] == [
        ("2026-W08", date(2026, 2, 16), "claude-sonnet-4-5", 11_800),
        ("2026-W09", date(2026, 2, 23), "claude-sonnet-4-5", 20),
    ]


def test_months_are_cut_in_the_zone(world: World, con: Con) -> None:
    build("usage_monthly", con, world.ledger, "Europe/Berlin")

    found = rows(world, "usage_monthly", "month", "model", "list_price_usd")
    assert [row for row in found if row[1] == "claude-sonnet-4-5"] == [
        ("2026-02", "claude-sonnet-4-5", usd("0.0123")),
        ("2026-03", "claude-sonnet-4-5", usd("0.00018")),
    ]


def test_sessions_tell_their_time_project_and_models(world: World, con: Con) -> None:
    build("usage_sessions", con, world.ledger, "UTC")

    columns = ("session_id", "client", "project", "first_time", "last_time", "models", "total_tokens", "session_count")
    tidepool, kelp = "/home/ada/code/tidepool", "/home/ada/code/kelp"
    nine, late, last = datetime(2026, 2, 18, 9), datetime(2026, 2, 18, 23, 30), datetime(2026, 2, 28, 23, 30)
    half = datetime(2026, 2, 18, 9, 30)
    assert rows(world, "usage_sessions", *columns) == [
        ("s1", "claude-code", tidepool, nine, late, ["claude-sonnet-4-5", "house-model-7"], 11_850, 1),
        ("s2", "claude-code", tidepool, last, last, ["claude-sonnet-4-5"], 20, 1),
        ("t1", "codex", kelp, half, half, ["gpt-5.1-codex"], 1_050, 1),
    ]


def test_projects_models_and_clients(world: World, con: Con) -> None:
    build_all(world, con)

    assert rows(world, "usage_projects", "project", "client", "total_tokens", "session_count") == [
        ("/home/ada/code/kelp", "codex", 1_050, 1),
        ("/home/ada/code/tidepool", "claude-code", 11_870, 2),
    ]
    assert rows(world, "usage_models", "model", "client", "event_count") == [
        ("claude-sonnet-4-5", "claude-code", 3),
        ("gpt-5.1-codex", "codex", 1),
        ("house-model-7", "claude-code", 1),
    ]
    assert rows(world, "usage_clients", "client", "event_count", "session_count") == [
        ("claude-code", 4, 2),
        ("codex", 1, 1),
    ]


def test_blocks_follow_each_other_over_all_clients(world: World, con: Con) -> None:
    build("usage_blocks", con, world.ledger, "UTC")

    # 14:00 is the end of the block that began at 09:00, so the next one begins there
    assert rows(world, "usage_blocks", "block_start", "block_end", "client", "total_tokens") == [
        (datetime(2026, 2, 18, 9), datetime(2026, 2, 18, 14), "claude-code", 11_600),
        (datetime(2026, 2, 18, 9), datetime(2026, 2, 18, 14), "codex", 1_050),
        (datetime(2026, 2, 18, 14), datetime(2026, 2, 18, 19), "claude-code", 50),
        (datetime(2026, 2, 18, 23), datetime(2026, 2, 19, 4), "claude-code", 200),
        (datetime(2026, 2, 28, 23), datetime(2026, 3, 1, 4), "claude-code", 20),
    ]


def test_unpriced_names_model_and_reason(world: World, con: Con) -> None:
    build("unpriced", con, world.ledger, "UTC")

    columns = ("client", "model", "model_raw", "unpriced_reason", "event_count", "unpriced_tokens")
    assert rows(world, "unpriced", *columns) == [
        ("claude-code", "house-model-7", "house-model-7", "unknown_model", 1, 50)
    ]


def test_prices_are_usd_per_million_tokens(world: World, con: Con) -> None:
    build("prices", con, world.ledger, "UTC")

    columns = ("input_usd_per_mtok", "output_usd_per_mtok", "tier_from_tokens", "input_high_usd_per_mtok")
    found = rows(world, "prices", "channel", "model", "context", *columns)
    assert [row[3:] for row in found if row[:3] == ("anthropic", "claude-sonnet-4-5", "standard")] == [
        (usd("3"), usd("15"), 200_000, usd("6"))
    ]


def test_sources_tell_what_was_read_of_each_log(world: World, con: Con) -> None:
    build("sources", con, world.ledger, "UTC")

    found = rows(world, "sources", "path", "client", "status", "record_count", "size_bytes - read_offset")
    assert sorted((Path(path).name, *rest) for path, *rest in found) == [
        ("rollout-2026-02-18T09-00-00-t1.jsonl", "codex", "present", 1, 0),
        ("s1.jsonl", "claude-code", "present", 4, 0),
        ("s2.jsonl", "claude-code", "present", 1, 0),
    ]


def test_every_usage_table_has_the_same_totals(world: World, con: Con) -> None:
    built = [build(name, con, world.ledger, "America/St_Johns") for name in USAGE_TABLES]

    assert {(one.total_tokens, one.list_price_usd) for one in built} == {(12_920, usd("0.01378"))}


def test_a_ledger_without_events_has_all_tables_without_rows(tmp_path: Path, con: Con) -> None:
    empty = World(tmp_path)
    empty.sync()
    build_all(empty, con)

    assert {name for name in TABLES if rows(empty, name)} == {"prices"}


# ------------------------------------------------------------------ building again


def test_nothing_is_built_twice(world: World, con: Con) -> None:
    first, second = build_all(world, con), build_all(world, con)

    assert set(first.values()) == {False}
    assert set(second.values()) == {True}


def test_a_table_is_built_with_what_it_stands_on(world: World, con: Con) -> None:
    build("usage_daily", con, world.ledger, "UTC")

    assert [name for name in ("events", "event_costs", "usage_daily") if stored(world.ledger, name)] == [
        "events",
        "event_costs",
        "usage_daily",
    ]
    assert stored(world.ledger, "usage_weekly") is None


def test_a_hit_opens_no_lake(world: World, con: Con) -> None:
    build_all(world, con)
    with duckdb.connect() as fresh:
        build_all(world, fresh)

        assert fresh.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (0,)


def test_a_new_event_rebuilds_what_it_changes(world: World, con: Con) -> None:
    build_all(world, con)
    world.claude(claude("msg_9", "req_9", input=7, output=0, minutes=5, session="s9"), name="s9.jsonl")
    world.sync()

    again = build_all(world, con)
    ledger = {"runtime_metrics", "unified_model_provider_ledger", "unified_model_provider_pareto"}
    assert {name for name, hit in again.items() if hit} == {"prices", "subscriptions", "runs", *ledger}
    assert rows(world, "usage_clients", "event_count")[0] == (5,)


def test_a_change_that_changes_no_event_stops_at_the_events(world: World, con: Con) -> None:
    build_all(world, con)
    copy = claude("msg_4", "req_4", input=10, output=10, minutes=10 * DAY + 870, session="s2")
    world.append(world.claude_path("s2.jsonl"), copy)
    world.sync()

    again = build_all(world, con)
    assert again["events"] is False
    assert again["duplicates"] is False
    assert again["event_costs"] is True
    assert again["usage_daily"] is True


def test_another_zone_rebuilds_usage_alone(world: World, con: Con) -> None:
    build_all(world, con)

    again = build_all(world, con, "Asia/Tokyo")
    assert {name for name, hit in again.items() if not hit} == set(USAGE_TABLES)


def test_a_missing_file_is_built_again_with_the_same_content(world: World, con: Con) -> None:
    before = build("usage_daily", con, world.ledger, "UTC")
    before.path.unlink()
    assert stored(world.ledger, "usage_daily") is None

    after = build("usage_daily", con, world.ledger, "UTC")
    assert not after.cache_hit
    assert (after.digest, after.row_count) == (before.digest, before.row_count)


def test_what_is_remembered_may_be_lost(world: World, con: Con) -> None:
    before = build("events", con, world.ledger, "UTC")
    (world.ledger.tables / "_built.json").write_text("{")

    assert build("events", con, world.ledger, "UTC").digest == before.digest


def test_equal_logs_in_another_home_have_equal_costs(world: World, con: Con, tmp_path: Path) -> None:
    other = small_world(tmp_path / "other")
    with duckdb.connect() as second:
        theirs = build("event_costs", second, other.ledger, "UTC")

    assert theirs.digest == build("event_costs", con, world.ledger, "UTC").digest


def test_stored_figures_are_those_of_the_build(world: World, con: Con) -> None:
    built = build("event_costs", con, world.ledger, "UTC")
    found = stored(world.ledger, "event_costs")

    assert found is not None
    assert (found.row_count, found.total_tokens, found.list_price_usd) == (5, 12_920, usd("0.01378"))
    assert (found.digest, found.cache_hit) == (built.digest, True)


def test_pricing_tells_its_metrics(world: World, con: Con) -> None:
    metrics = RecordingMetrics()
    build("event_costs", con, world.ledger, "UTC", metrics=metrics)
    build("unpriced", con, world.ledger, "UTC", metrics=metrics)

    assert len(metrics.observations(names.PRICING_DURATION)) == 1
    assert metrics.value(names.PRICING_UNPRICED_TOKENS) == 50


def test_an_unknown_table_is_refused(world: World, con: Con) -> None:
    with pytest.raises(KeyError, match="usage_yearly"):
        build("usage_yearly", con, world.ledger, "UTC")


def test_a_home_with_quotes_in_its_name(tmp_path: Path, con: Con) -> None:
    world = small_world(tmp_path / "ada's [home]")
    build_all(world, con)

    assert table_path(world.ledger, "usage_blocks").exists()


def test_what_speed_tier_and_batch_add_or_save_is_told(tmp_path: Path, con: Con) -> None:
    world = World(tmp_path)
    usage = {"input_tokens": 1000, "output_tokens": 0}
    world.claude(
        claude("m1", "r1", model="claude-opus-5-5", usage={**usage, "speed": "fast"}, timestamp="2026-11-01T09:00:00Z"),
        claude("m2", "r2", model="claude-opus-5-5", usage={**usage, "service_tier": "batch"},
               timestamp="2026-11-01T10:00:00Z"),
        claude("m3", "r3", model="claude-opus-5-5", usage=usage, timestamp="2026-11-01T11:00:00Z"),
    )  # fmt: skip
    world.sync()
    build("event_costs", con, world.ledger, "UTC")

    columns = ("requested_context", "list_price_usd", "standard_list_price_usd")
    assert rows(world, "event_costs", *columns) == [
        ("speed=fast", usd("0.008"), usd("0.004")),
        ("processing=batch", usd("0.002"), usd("0.004")),
        ("standard", usd("0.004"), usd("0.004")),
    ]


def test_looking_at_a_copied_table_leaves_the_connection_free(world: World, con: Con) -> None:
    build("events", con, world.ledger, "UTC")
    path = table_path(world.ledger, "events")
    os.utime(path, ns=(1, 1))

    assert is_as_built(world.ledger, "events", con)
    # DuckDB refuses other work on a connection whose last answer was not read to its end
    assert con.register("others", pa.table({"n": [1]})) is con
    assert con.execute("FROM others").fetchall() == [(1,)]
