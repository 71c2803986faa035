"""Keys, blocks, selections and sums of reports, over literal events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support import World, claude, meta, rollout, tokens, turn, us
from tokenledger_dagster.contracts.report import Report
from tokenledger_dagster.errors import UsageError
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.usage.report import make_report, usd
from tokenledger_dagster.usage.selection import Selection, block_starts, day_number, iso_day

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def report(world: World, kind: str, *, descending: bool | None = None, **selection: Any) -> Report:
    connection = connect(world.ledger, read_only=True)
    try:
        return make_report(connection, kind, Selection(**selection), NOW, descending=descending)
    finally:
        connection.close()


def keys(world: World, kind: str, **selection: Any) -> list[tuple[str, int]]:
    return [(row.key, row.event_count) for row in report(world, kind, **selection).rows]


def fill(world: World, *times: str) -> None:
    world.claude(*(claude(f"m{n}", f"r{n}", timestamp=time) for n, time in enumerate(times)))
    world.sync()


def test_weeks_are_iso_weeks_and_belong_to_the_iso_year(world: World) -> None:
    fill(world, "2025-12-28T12:00:00Z", "2025-12-29T12:00:00Z", "2026-01-04T12:00:00Z", "2026-01-05T12:00:00Z")

    assert keys(world, "weekly") == [("2025-W52", 1), ("2026-W01", 2), ("2026-W02", 1)]


def test_months_are_cut_in_the_zone(world: World) -> None:
    fill(world, "2026-02-28T18:14:00Z", "2026-02-28T18:15:00Z")

    assert keys(world, "monthly", zone="Asia/Kathmandu") == [("2026-02", 1), ("2026-03", 1)]
    assert keys(world, "monthly") == [("2026-02", 2)]


class TestBlocks:
    def test_a_block_opens_at_the_full_hour_of_its_first_event(self, world: World) -> None:
        fill(world, "2026-02-18T09:59:59Z", "2026-02-18T13:59:59Z", "2026-02-18T14:00:00Z")

        assert keys(world, "block") == [("2026-02-18T09:00:00Z", 2), ("2026-02-18T14:00:00Z", 1)]

    def test_the_next_block_opens_with_the_next_event(self, world: World) -> None:
        fill(world, "2026-02-18T09:30:00Z", "2026-02-18T16:45:00Z", "2026-02-18T21:10:00Z")

        assert keys(world, "block") == [
            ("2026-02-18T09:00:00Z", 1), ("2026-02-18T16:00:00Z", 1), ("2026-02-18T21:00:00Z", 1),
        ]  # fmt: skip

    def test_a_filter_does_not_move_the_blocks(self, world: World) -> None:
        fill(world, "2026-02-18T09:30:00Z", "2026-02-18T12:30:00Z")
        world.codex(meta(), turn(), tokens((10, 0, 1), timestamp="2026-02-18T13:30:00Z"))
        world.sync()

        assert keys(world, "block", clients=("codex",)) == [("2026-02-18T09:00:00Z", 1)]

    def test_a_block_may_cross_midnight(self, world: World) -> None:
        fill(world, "2026-02-18T23:30:00Z", "2026-02-19T03:30:00Z")

        assert keys(world, "block") == [("2026-02-18T23:00:00Z", 2)]

    def test_starts_of_a_stream_of_rows(self) -> None:
        hour = 3_600_000_000
        rows: Iterator[tuple[int]] = iter([(0,), (5 * hour - 1,), (5 * hour,), (11 * hour + 1,)])

        assert [start // hour for start, _ in block_starts(rows)] == [0, 0, 5, 11]


def test_a_session_of_two_days_is_counted_once_in_their_sum(world: World) -> None:
    fill(world, "2026-02-18T09:00:00Z", "2026-02-19T09:00:00Z")
    found = report(world, "daily")

    assert [row.session_count for row in found.rows] == [1, 1]
    assert found.totals.session_count == 1


def test_a_session_without_folder_belongs_to_the_unknown_project(world: World) -> None:
    world.claude(claude("m1", "r1", cwd=None))
    world.sync()

    assert keys(world, "project") == [("unknown", 1)]
    assert report(world, "project", projects=("unknown",)).totals.event_count == 1


def test_a_model_groups_all_names_the_logs_gave_it(world: World) -> None:
    world.claude(claude("m1", "r1", model="claude-opus-4-5"), claude("m2", "r2", model="claude-opus-4-5-20251101"))
    world.sync()
    (row,) = report(world, "model").rows

    assert row.key == "claude-opus-4-5"
    assert row.models[0].model_raw == ["claude-opus-4-5", "claude-opus-4-5-20251101"]


def test_rows_whose_key_is_no_time_are_sorted_by_tokens_then_name(world: World) -> None:
    for minute, (name, size) in enumerate((("b", 10), ("c", 30), ("a", 10))):
        world.codex(meta(name), turn(), tokens((size, 0, 1), minutes=minute), name=rollout(name))
    world.sync()

    assert [row.key for row in report(world, "session").rows] == ["c", "a", "b"]
    assert [row.key for row in report(world, "session", descending=False).rows] == ["a", "b", "c"]


def test_a_partly_priced_row_sums_what_has_a_price_and_says_what_has_none(world: World) -> None:
    world.claude(
        claude("m1", "r1", input=1_000_000, output=0), claude("m2", "r2", input=7, output=0, model="acme-coder-9")
    )
    world.sync()
    (row,) = report(world, "daily").rows

    assert row.list_price_usd == Decimal("6")  # more than 200,000 tokens of prompt: the higher of two rates
    assert (row.unpriced_count, row.unpriced_tokens) == (1, 7)


def test_an_empty_selection_has_no_rows_and_zero_totals(world: World) -> None:
    fill(world, "2026-02-18T09:00:00Z")
    found = report(world, "daily", since="2026-02-19")

    assert found.rows == []
    assert (found.totals.event_count, found.totals.total_tokens, found.totals.list_price_usd) == (0, 0, None)


def test_both_ends_of_a_period_are_included(world: World) -> None:
    fill(world, *(f"2026-02-{day}T12:00:00Z" for day in range(10, 20)))

    assert keys(world, "monthly", since="2026-02-11", until="2026-02-13") == [("2026-02", 3)]


def test_the_filters_in_force_are_recorded(world: World) -> None:
    fill(world, "2026-02-18T09:00:00Z")

    found = report(world, "daily", since="2026-02-01", clients=("claude-code",), estimates=False).filters

    assert {name: list(one) if isinstance(one, tuple) else one for name, one in found.items()} == {
        "since": "2026-02-01", "clients": ["claude-code"], "estimates": False,
    }  # fmt: skip


def test_an_artifact_is_stamped_in_utc(world: World) -> None:
    fill(world, "2026-02-18T09:00:00Z")

    assert report(world, "daily").generated_at == "2026-03-01T12:00:00Z"


@pytest.mark.parametrize(("text", "day"), [("1970-01-01", 0), ("1969-12-31", -1), ("2026-02-18", 20_502)])
def test_days_are_numbered_from_1970(text: str, day: int) -> None:
    assert day_number(text, "--since") == day
    assert iso_day(day) == text


def test_a_bad_date_names_its_option() -> None:
    with pytest.raises(UsageError, match=r"--until 18\.2\.2026"):
        day_number("18.2.2026", "--until")


def test_nano_usd_are_exact() -> None:
    assert usd(1) == Decimal("0.000000001")
    assert usd(123_456_789_012_345_678) == Decimal("123456789.012345678")


def test_far_off_times_do_not_break_a_report(world: World) -> None:
    fill(world, "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-02-18T09:00:00Z")
    for kind in ("daily", "weekly", "monthly", "block", "session"):
        assert report(world, kind, zone="Pacific/Kiritimati").totals.event_count == 3
    assert us("2026-02-18T09:00:00Z") in {event.timestamp_us for event in world.events()}


def test_filters_are_named_in_the_order_of_the_contract() -> None:
    chosen = Selection(
        estimates=False, sessions=("s",), projects=("p",), models=("m",), clients=("c",), until="u", since="s"
    )

    assert list(chosen.filters()) == ["since", "until", "clients", "models", "projects", "sessions", "estimates"]
