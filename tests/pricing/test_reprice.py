"""Accepting other prices: what is shown before, what is written, and that the past ends up as if priced so at once."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.exports.small import build_all, rows, small_world
from tests.support import World, claude, meta, tokens, turn
from tokenledger_dagster.contracts.reprice import RepriceReport
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.exports.tables import build
from tokenledger_dagster.ingest.accepted import WAITING, standing
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.settling import settle
from tokenledger_dagster.pricing.reprice import reprice
from tokenledger_dagster.pricing.snapshots import by_id, current
from tokenledger_dagster.usage.effective import effective
from tokenledger_dagster.usage.evidence import explain
from tokenledger_dagster.usage.report import make_report
from tokenledger_dagster.usage.selection import Selection

NOW = datetime(2026, 4, 1, tzinfo=UTC)
HOUSE = {"house-model-7": {"input_usd_per_mtok": 2, "output_usd_per_mtok": 4}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return small_world(tmp_path)


def write_book(world: World, models: dict[str, Any], provider: str = "claude") -> None:
    book = {"meta": {"source": "a bill"}, "providers": {provider: {"models": models}}}
    world.ledger.pricing_book_path.write_text(json.dumps(book), encoding="utf-8")


def total(world: World) -> Decimal | None:
    with closing(connect(world.ledger, read_only=True)) as manifest:
        return make_report(manifest, "daily", Selection(), NOW).totals.list_price_usd


def labels(world: World) -> dict[str, str]:
    with closing(connect(world.ledger, read_only=True)) as manifest:
        return dict(manifest.execute("SELECT month, snapshot_id FROM price_months").fetchall())


def accepted(world: World) -> str:
    with closing(connect(world.ledger, read_only=True)) as manifest:
        return standing(world.ledger, manifest).snapshot.snapshot_id


# ------------------------------------------------------------------ what waits


def test_a_book_changes_no_booked_price_until_it_is_accepted(world: World) -> None:
    before = total(world)
    write_book(world, HOUSE)
    assert world.sync().notes == [WAITING]
    assert total(world) == before
    assert accepted(world) != current(world.ledger).snapshot_id


def test_what_would_change_is_shown_by_month_and_model(world: World) -> None:
    write_book(world, HOUSE)
    world.sync()
    found = reprice(world.ledger, now=NOW)
    assert not found.accepted
    (row,) = found.rows
    assert (row.month, row.provider, row.model, row.reason) == ("2026-02", "claude", "house-model-7", "new_rate")
    # 40 in at $2, 10 out at $4
    assert (row.events, row.newly_priced, row.old_usd, row.new_usd) == (1, 1, 0, Decimal("0.00012"))
    assert row.new_rate == "2/4 (read 2, writes 2/2) book: a bill"
    assert found.months == ["2026-02"]


def test_showing_writes_nothing(world: World) -> None:
    write_book(world, HOUSE)
    world.sync()
    before = total(world), labels(world), accepted(world)
    reprice(world.ledger)
    assert (total(world), labels(world), accepted(world)) == before


def test_accepting_prices_the_past_anew(world: World) -> None:
    write_book(world, HOUSE)
    world.sync()
    assert reprice(world.ledger, write=True).accepted
    assert total(world) == Decimal("0.0139")
    assert accepted(world) == current(world.ledger).snapshot_id
    assert reprice(world.ledger).rows == []


def test_a_second_run_looks_at_nothing(world: World) -> None:
    write_book(world, HOUSE)
    world.sync()
    reprice(world.ledger, write=True)
    assert reprice(world.ledger, write=True).events_looked_at == 0


def test_prices_of_models_that_were_never_used_are_taken_at_once(world: World) -> None:
    write_book(world, {"claude-opus-5-5": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}})
    assert world.sync().notes == []
    assert accepted(world) == current(world.ledger).snapshot_id


def test_a_book_that_says_what_the_list_says_is_taken_without_a_question(world: World) -> None:
    sonnet = {"input_usd_per_mtok": 3, "output_usd_per_mtok": 15, "cache_write_usd_per_mtok": 3.75}
    tier = {"above_tokens": 200_000, "input_usd_per_mtok": 6, "output_usd_per_mtok": 22.5}
    entry = {**sonnet, "cache_write_1h_usd_per_mtok": 6, "cache_read_usd_per_mtok": 0.3, "tier": tier}
    write_book(world, {"claude-sonnet-4-5": entry})
    world.sync()
    found = reprice(world.ledger)
    assert (found.accepted, found.rows) == (True, [])
    assert total(world) == Decimal("0.01378")


def test_new_requests_are_priced_as_accepted_while_other_prices_wait(world: World) -> None:
    write_book(world, HOUSE)
    world.append(world.claude_path(), claude("msg_9", "req_9", model="house-model-7", input=1000, minutes=400))
    world.sync()
    assert total(world) == Decimal("0.01378")
    reprice(world.ledger, write=True)
    # 1000 in at $2 and 5 out at $4 more
    assert total(world) == Decimal("0.0139") + Decimal("0.00202")


def test_only_months_that_change_get_another_label(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.claude(
        claude("m1", "r1"),
        claude("m2", "r2", timestamp="2026-03-05T10:00:00Z", model="house-model-7"),
    )
    world.sync()
    old = accepted(world)
    write_book(world, HOUSE)
    world.sync()
    found = reprice(world.ledger, write=True)
    assert labels(world) == {"2026-02": old, "2026-03": found.new_snapshot_id}


def test_costs_of_months_that_do_not_change_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenledger_dagster.exports import costs

    world = World(tmp_path)
    world.claude(
        claude("m1", "r1"),
        claude("m2", "r2", timestamp="2026-03-05T10:00:00Z", model="house-model-7"),
    )
    world.sync()
    priced: list[list[str]] = []
    prepare = costs.prepare
    monkeypatch.setattr(costs, "prepare", lambda *given: priced.append(given[3]) or prepare(*given))
    with duckdb.connect() as con:
        build("event_costs", con, world.ledger, "UTC")
        write_book(world, HOUSE)
        world.sync()
        found = reprice(world.ledger, write=True)
        build("event_costs", con, world.ledger, "UTC")
        build("event_costs", con, world.ledger, "UTC")
    assert priced == [["2026-02", "2026-03"], ["2026-03"]]
    assert rows(world, "event_costs", "price_snapshot_id", "list_price_usd") == [
        (found.old_snapshot_id, Decimal("0.000105")),
        (found.new_snapshot_id, Decimal("0.00004")),
    ]


def test_an_event_is_explained_by_the_prices_of_its_month(world: World) -> None:
    write_book(world, HOUSE)
    world.sync()
    reprice(world.ledger, write=True)
    settle(world.ledger)
    ids = [one for (one,) in world.query("SELECT event_id FROM events WHERE unpriced_reason IS NULL")]
    layers = {one.model: one.price["layer"] for one in explain(world.ledger, ids)}
    assert layers["house-model-7"] == "book"
    assert layers["claude-sonnet-4-5"] == "price_list"


def test_old_snapshots_stay(world: World) -> None:
    old = accepted(world)
    write_book(world, HOUSE)
    world.sync()
    reprice(world.ledger, write=True)
    write_book(world, {"house-model-7": {"input_usd_per_mtok": 9, "output_usd_per_mtok": 9}})
    world.sync()
    found = reprice(world.ledger, write=True)
    for one in (old, found.old_snapshot_id, found.new_snapshot_id):
        snapshot = by_id(world.ledger, one)
        assert snapshot is not None
        assert snapshot.table.snapshot_id == one


@pytest.mark.parametrize(
    "content", ["{", '{"providers": 3}', '{"providers": {"claude": {"models": {"x": {"input_usd_per_mtok": -1}}}}}']
)
def test_a_broken_book_changes_nothing_and_is_told(world: World, content: str) -> None:
    before = total(world)
    world.ledger.pricing_book_path.write_text(content, encoding="utf-8")
    (problem,) = world.sync().problems
    assert "pricing.json" in problem
    assert "prices stay" in problem
    assert total(world) == before


def test_a_book_that_was_there_from_the_first_sync_is_in_force(tmp_path: Path) -> None:
    world = World(tmp_path)
    write_book(world, HOUSE)
    world.claude(claude("m1", "r1", model="house-model-7", input=1000, output=0))
    world.sync()
    assert total(world) == Decimal("0.002")


def test_removing_the_book_waits_too(world: World) -> None:
    write_book(world, HOUSE)
    world.sync()
    reprice(world.ledger, write=True)
    world.ledger.pricing_book_path.unlink()
    world.sync()
    assert total(world) == Decimal("0.0139")
    (row,) = reprice(world.ledger, write=True).rows
    assert (row.reason, row.newly_unpriced) == ("rate_removed", 1)
    assert total(world) == Decimal("0.01378")


def test_a_lost_snapshot_prices_everything_anew_and_says_so(world: World) -> None:
    write_book(world, HOUSE)
    world.sync()
    reprice(world.ledger, write=True)
    shutil.rmtree(world.ledger.prices)
    world.ledger.pricing_book_path.unlink()
    (problem,) = world.sync().problems
    assert "is gone" in problem
    assert total(world) == Decimal("0.01378")


def test_all_tables_and_checks_hold_after_accepting(world: World) -> None:
    with duckdb.connect() as con:
        build_all(world, con)
        write_book(world, HOUSE)
        world.sync()
        reprice(world.ledger, write=True)
        build_all(world, con)
    assert sum(row[0] or 0 for row in rows(world, "event_costs", "list_price_usd")) == Decimal("0.0139")
    assert sum(row[0] for row in rows(world, "usage_monthly", "list_price_usd")) == Decimal("0.0139")


# ------------------------------------------------------------------ any book

RATE = st.decimals(Decimal("0.001"), Decimal("90"), places=4).map(float)
UNITS = st.fixed_dictionaries(
    {"input_usd_per_mtok": RATE, "output_usd_per_mtok": RATE},
    optional={"cache_read_usd_per_mtok": RATE, "cache_write_usd_per_mtok": RATE, "cache_write_1h_usd_per_mtok": RATE},
)
TIER = st.builds(lambda units, above: {**units, "above_tokens": above}, UNITS, st.sampled_from([1000, 200_000]))
DATED = st.builds(
    lambda units, start: {**units, "valid_from": start}, UNITS, st.sampled_from(["2026-02-20", "2026-03-10"])
)
ENTRY = st.one_of(
    UNITS,
    st.builds(lambda units, tier: {**units, "tier": tier}, UNITS, TIER),
    st.builds(lambda dated: {"rates": [dated]}, DATED),
    st.builds(lambda units: {"contexts": {"service_tier=priority": units}}, UNITS),
    st.builds(lambda units: {"rates": [{**units, "tod_from": "06:00", "tod_to": "18:30"}]}, UNITS),
    st.just({"input_usd_per_mtok": None, "output_usd_per_mtok": None}),
)
NAMES = st.sampled_from(["claude-sonnet-4-5", "claude-opus-4-5-20251101", "house-model-7", "deepseek-v4-pro"])
BOOKS = st.dictionaries(NAMES, ENTRY, max_size=3)
REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 40 * 24 * 60),
        st.sampled_from(
            [
                "claude-sonnet-4-5-20250929",
                "claude-opus-4-5-20251101",
                "house-model-7",
                "deepseek-v4-pro",
                "<synthetic>",
            ]
        ),
        st.integers(0, 3000),
        st.integers(0, 400_000),
        st.integers(0, 5000),
    ),
    min_size=1,
    max_size=10,
)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REQUESTS, BOOKS, BOOKS)
def test_accepting_makes_what_a_ledger_priced_so_from_the_start_would_hold(
    requests: list[tuple[int, str, int, int, int]], first: dict[str, Any], second: dict[str, Any]
) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        grown, fresh = World(folder / "a"), World(folder / "b")
        for one in (grown, fresh):
            one.claude(
                *(
                    claude(f"m{n}", f"r{n}", minutes=minutes, model=model, input=fresh_in, read=read, write=write)
                    for n, (minutes, model, fresh_in, read, write) in enumerate(requests)
                )
            )
            one.codex(meta(), turn(), tokens((1000, 400, 50), (1000, 400, 50), minutes=30))
        write_book(grown, first)
        grown.sync()
        write_book(grown, second)
        grown.sync()
        report = reprice(grown.ledger, write=True)
        write_book(fresh, second)
        fresh.sync()
        settle(fresh.ledger)
        _same(grown, fresh)
        _adds_up(report)
    finally:
        shutil.rmtree(folder)


_PRICED = (
    "SELECT event_id, list_price_nano, list_basis, price_confidence, channel, requested_context, priced_context, "
    "unpriced_reason FROM events ORDER BY event_id"
)
_SUMS = (
    "SELECT c.slot, s.session_id, m.model, sum(c.list_price_nano), sum(c.unpriced_count), sum(c.unpriced_tokens) "
    "FROM slots c JOIN sessions s USING (session_no) JOIN models m USING (model_no) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
)


def _same(one: World, other: World) -> None:
    for query in (_PRICED, _SUMS, _SUMS.replace("slots", "cells").replace("c.slot", "c.day")):
        found = []
        for world in (one, other):
            with closing(connect(world.ledger, read_only=True)) as manifest:
                found.append(manifest.execute(query).fetchall())
        assert found[0] == found[1]


def _adds_up(report: RepriceReport) -> None:
    assert report.totals.difference_usd == report.totals.new_usd - report.totals.old_usd
    assert report.totals.events == sum(row.events for row in report.rows)
    assert all(date.fromisoformat(f"{month}-01") for month in report.months)


def test_another_fee_of_the_book_waits_too(world: World) -> None:
    book = {"meta": {"source": "a bill"}, "providers": {"codex": {"subscription_usd_month": 20}}}
    world.ledger.pricing_book_path.write_text(json.dumps(book), encoding="utf-8")
    assert world.sync().notes == [WAITING]
    found = reprice(world.ledger)
    assert [(one.provider, one.old_usd_month, one.new_usd_month) for one in found.fees] == [("codex", 0, 20)]
    assert (found.accepted, found.rows) == (False, [])
    assert reprice(world.ledger, write=True).accepted
    assert world.sync().notes == []


def test_a_rate_that_is_a_guess_prices_nothing(world: World) -> None:
    write_book(world, {"house-model-7": {**HOUSE["house-model-7"], "confidence": 59}})
    world.sync()
    reprice(world.ledger, write=True)
    assert total(world) == Decimal("0.01378")


DAY_RATE = {"input_usd_per_mtok": 5, "output_usd_per_mtok": 5, "tod_from": "06:00", "tod_to": "18:00"}
NIGHT_RATE = {"input_usd_per_mtok": 50, "output_usd_per_mtok": 50, "tod_from": "18:00", "tod_to": "24:00"}


def test_rates_of_the_night_are_looked_at_in_the_night(tmp_path: Path) -> None:
    world = World(tmp_path)
    for hour in (3, 12, 20):
        world.claude(
            claude(f"m{hour}", f"r{hour}", model="house-model-7", input=1_000_000, output=0,
                   timestamp=f"2026-02-18T{hour:02}:00:00Z"),
            name=f"s{hour}.jsonl",
        )  # fmt: skip
    write_book(world, {"house-model-7": {"rates": [DAY_RATE]}})
    world.sync()
    assert total(world) == 5
    write_book(world, {"house-model-7": {"rates": [DAY_RATE, NIGHT_RATE]}})
    world.sync()
    (row,) = reprice(world.ledger).rows
    assert (row.events, row.newly_priced, row.new_usd) == (1, 1, 50)
    reprice(world.ledger, write=True)
    assert total(world) == 55


def test_an_entry_without_rates_changes_neither_prices_nor_reasons(world: World) -> None:
    before = world.query(_PRICED)
    write_book(world, {"house-model-7": {"input_usd_per_mtok": None, "output_usd_per_mtok": None}})
    assert world.sync().notes == []
    assert world.query(_PRICED) == before
    assert reprice(world.ledger).rows == []


@pytest.mark.parametrize("place", ["pricing_book_path", "plans_path"])
def test_a_link_that_leads_nowhere_is_no_missing_file(world: World, tmp_path: Path, place: str) -> None:
    getattr(world.ledger, place).symlink_to(tmp_path / "nowhere")
    if place == "plans_path":
        with pytest.raises(TokenLedgerError, match="leads to a file that is not there"):
            effective_costs(world)
    else:
        (problem,) = world.sync().problems
        assert "leads to a file that is not there" in problem


@pytest.mark.parametrize("place", ["pricing_book_path", "plans_path"])
def test_a_pipe_is_not_waited_for(world: World, place: str) -> None:
    os.mkfifo(getattr(world.ledger, place))
    if place == "plans_path":
        with pytest.raises(TokenLedgerError, match="no regular file"):
            effective_costs(world)
    else:
        (problem,) = world.sync().problems
        assert "no regular file" in problem


def effective_costs(world: World) -> None:
    with closing(connect(world.ledger, read_only=True)) as manifest:
        effective(manifest, str(world.ledger.root))


def test_a_standard_price_that_nobody_paid_is_told_as_it_is_now(tmp_path: Path) -> None:
    """All requests were fast ones, and that rate stays: no price changes, but what speed costs does."""
    fast = {"input_usd_per_mtok": 8, "output_usd_per_mtok": 40}
    world = World(tmp_path)
    usage = {"input_tokens": 1000, "output_tokens": 0, "speed": "fast"}
    world.claude(claude("m1", "r1", model="claude-opus-5-5", usage=usage, timestamp="2026-11-01T09:00:00Z"))
    columns = ("list_price_usd", "standard_list_price_usd", "rate_source")
    told = []
    for usd, source in ((4, "a bill"), (5, "a bill"), (5, "another bill")):
        entry = {"input_usd_per_mtok": usd, "output_usd_per_mtok": 20, "contexts": {"speed=fast": fast}}
        book = {"meta": {"source": source}, "providers": {"claude": {"models": {"claude-opus-5-5": entry}}}}
        world.ledger.pricing_book_path.write_text(json.dumps(book), encoding="utf-8")
        world.sync()
        reprice(world.ledger, write=True)
        with duckdb.connect() as con:
            build("event_costs", con, world.ledger, "UTC")
        told += rows(world, "event_costs", *columns)

    assert told == [
        (Decimal("0.008"), Decimal("0.004"), "a bill"),
        (Decimal("0.008"), Decimal("0.005"), "a bill"),
        (Decimal("0.008"), Decimal("0.005"), "another bill"),
    ]
