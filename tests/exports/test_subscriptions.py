"""What requests cost under declared plans, and that every view says the same."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.exports.small import rows
from tests.support import World, claude, meta, tokens, turn
from tokenledger_dagster.exports.tables import build
from tokenledger_dagster.exports.ui_snapshot import make_snapshot
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.pricing.plan_types import PlansError
from tokenledger_dagster.pricing.reprice import reprice
from tokenledger_dagster.usage.effective import effective
from tokenledger_dagster.usage.report import KINDS, make_report
from tokenledger_dagster.usage.selection import Selection

Con = duckdb.DuckDBPyConnection

NOW = datetime(2026, 4, 1, tzinfo=UTC)
TODAY = date(2026, 6, 1)
MAX = """
schema_version: 1
subscriptions:
  - {name: max, plan: anthropic/max-20x, from: 2026-02-01, to: 2026-03-01}
"""


def usd(text: str) -> Decimal:
    return Decimal(text)


def declare(world: World, text: str) -> None:
    world.ledger.plans_path.write_text(text, encoding="utf-8")


def report(world: World, kind: str, **selection: object):  # type: ignore[no-untyped-def]
    with closing(connect(world.ledger, read_only=True)) as manifest:
        plans = effective(manifest, str(world.ledger.root), TODAY)
        return make_report(manifest, kind, Selection(**selection), NOW, plans=plans)  # type: ignore[arg-type]


def test_a_plan_carries_its_requests_instead_of_their_list_price(world: World, con: Con) -> None:
    declare(world, MAX)
    build("event_costs", con, world.ledger, "UTC")

    columns = ("provider", "list_price_usd", "variable_cost_usd", "subscription_allocated_usd", "pricing_mode")
    found = rows(world, "event_costs", *columns, "subscription")
    assert [row for row in found if row[0] == "codex"] == [
        ("codex", usd("0.0013"), usd("0.0013"), usd("0"), "token", None)
    ]
    carried = [row for row in found if row[0] == "claude"]
    assert {row[2] for row in carried} == {usd("0")}
    assert {row[4:] for row in carried} == {("subscription_derived", "max")}
    assert sum(row[3] for row in carried) == usd("200")


def test_a_request_without_a_list_price_takes_its_share_of_the_fee(world: World, con: Con) -> None:
    declare(world, MAX)
    build("event_costs", con, world.ledger, "UTC")

    columns = ("list_price_usd", "effective_cost_usd")
    ((unpriced, effective_cost),) = [row for row in rows(world, "event_costs", *columns) if row[0] is None]
    assert unpriced is None
    assert effective_cost > 0


def test_without_plans_cost_is_the_list_price(world: World, con: Con) -> None:
    build("event_costs", con, world.ledger, "UTC")
    columns = ("list_price_usd", "effective_cost_usd", "pricing_mode", "subscription_allocated_usd")
    assert all(row[:2] == (row[0], row[0]) and row[2:] == ("token", 0) for row in rows(world, "event_costs", *columns))


def test_taking_a_plan_back_restores_the_list_price(world: World, con: Con) -> None:
    before = build("event_costs", con, world.ledger, "UTC").digest
    declare(world, MAX)
    assert build("event_costs", con, world.ledger, "UTC").digest != before
    world.ledger.plans_path.unlink()
    assert build("event_costs", con, world.ledger, "UTC").digest == before


def test_every_kind_of_report_has_the_same_totals(world: World) -> None:
    declare(world, MAX)
    totals = {kind: report(world, kind).totals for kind in KINDS}
    assert len({repr(one) for one in totals.values()}) == 1
    assert totals["daily"].subscription_allocated_usd == usd("200")
    assert totals["daily"].total_cost_usd == usd("200.0013")


def test_days_without_requests_carry_what_is_idle(world: World) -> None:
    declare(world, MAX.replace("to: 2026-03-01", "to: 2026-04-01"))
    months = report(world, "monthly").rows
    assert [(row.key, row.idle_subscription_usd, row.total_tokens > 0) for row in months] == [
        ("2026-02", 0, True),
        ("2026-03", 200, False),
    ]
    days = report(world, "daily").rows
    assert sum(row.idle_subscription_usd for row in days) == 200
    assert sum(row.key.startswith("2026-03") for row in days) == 31


def test_a_selection_of_one_model_has_no_idle_fee(world: World) -> None:
    declare(world, MAX.replace("to: 2026-03-01", "to: 2026-04-01"))
    assert report(world, "daily", models=("claude-sonnet-4-5",)).totals.idle_subscription_usd == 0


def test_the_snapshot_counts_effective_cost_and_idle_fees(world: World) -> None:
    declare(world, MAX.replace("to: 2026-03-01", "to: 2026-04-01"))
    with closing(connect(world.ledger, read_only=True)) as manifest:
        plans = effective(manifest, str(world.ledger.root), TODAY)
        february = make_snapshot(manifest, month="2026-02", now=NOW, plans=plans)
        march = make_snapshot(manifest, month="2026-03", now=NOW, plans=plans)
    assert february.totals.cost_usd == usd("200.0013")
    assert february.totals.list_price_usd == usd("0.01378")
    assert march.totals.cost_usd == march.totals.idle_subscription_usd == 200
    assert [(row.name, row.total_cost_usd) for row in march.top_providers] == [("claude", 200)]


def test_the_table_of_subscriptions_says_what_became_of_a_fee(world: World, con: Con) -> None:
    declare(world, MAX)
    build("subscriptions", con, world.ledger, "UTC")
    columns = ("subscription", "plan", "provider", "month", "fee_usd", "allocated_usd", "idle_usd", "list_price_usd")
    assert rows(world, "subscriptions", *columns) == [
        ("max", "anthropic/max-20x", "claude", "2026-02", 200, 200, 0, usd("0.01248"))
    ]


def test_a_monthly_fee_of_the_pricing_book_is_a_plan(world: World, con: Con) -> None:
    book = '{"meta": {"source": "me"}, "providers": {"codex": {"subscription_usd_month": 20}}}'
    world.ledger.pricing_book_path.write_text(book, encoding="utf-8")
    world.sync()
    reprice(world.ledger, write=True)
    with closing(connect(world.ledger, read_only=True)) as manifest:
        found = effective(manifest, str(world.ledger.root), date(2026, 2, 28))
    assert found is not None
    assert [(month.subscription, month.fee_nano, month.allocated_nano) for month in found.months] == [
        ("codex (pricing.json)", 20 * 10**9, 20 * 10**9)
    ]


# ------------------------------------------------------------------ any ledger, any plans

PLANS = st.lists(
    st.sampled_from(
        [
            "{name: a, plan: anthropic/max-20x, from: 2026-01-15, to: 2026-04-20}",
            "{name: b, plan: openai/plus, from: 2026-01-31, weight: tokens}",
            "{name: c, provider: codex, from: 2026-02-03, to: 2026-03-17, weight: requests, "
            "fees: [{period: 2026-02-03, amount: 18.41, currency: EUR, usd_per_unit: 1.0837, source: bill}]}",
        ]
    ),
    unique=True,
    max_size=2,
).filter(lambda found: not any("name: b" in one for one in found) or not any("name: c" in one for one in found))
TERMS = st.sampled_from(["", "providers: {claude: {discount: 0.07}, codex: {discount: 0.333}}"])
MODELS = st.sampled_from(["claude-sonnet-4-5-20250929", "claude-opus-4-5-20251101", "house-model-7"])
REQUESTS = st.lists(
    st.tuples(st.integers(0, 80 * 24 * 60), MODELS, st.integers(0, 5), st.integers(0, 300_000), st.booleans()),
    min_size=1,
    max_size=12,
)


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REQUESTS, PLANS, TERMS)
def test_all_views_of_any_ledger_sum_to_the_same(
    requests: list[tuple[int, str, int, int, bool]], plans: list[str], terms: str
) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        world = World(folder)
        world.claude(
            *(
                claude(f"m{n}", f"r{n}", minutes=minutes, model=model, input=fresh, read=read, output=3)
                for n, (minutes, model, fresh, read, _) in enumerate(requests)
            )
        )
        total, events = 0, [meta(), turn()]
        for minutes, _, _, read, is_codex in sorted(requests):
            if is_codex:
                total += read + 1
                events.append(tokens((total, 0, 1), minutes=minutes))
        world.codex(*events)
        world.sync()
        listed = "".join(f"  - {one}\n" for one in plans)
        declare(world, f"schema_version: 1\n{'subscriptions:' if plans else ''}\n{listed}{terms}\n")
        _check(world)
    finally:
        shutil.rmtree(folder)


def _check(world: World) -> None:
    totals = {kind: report(world, kind) for kind in KINDS}
    (first, *rest) = [repr(one.totals) for one in totals.values()]
    assert rest == [first] * len(rest)
    whole = totals["daily"].totals
    for kind in ("daily", "weekly", "monthly"):
        assert sum(row.total_cost_usd or 0 for row in totals[kind].rows) == (whole.total_cost_usd or 0)
    for kind, one in totals.items():
        assert sum(row.effective_cost_usd or 0 for row in one.rows) == (whole.effective_cost_usd or 0), kind
    elsewhere = report(world, "daily", zone="Asia/Kathmandu").totals
    assert (elsewhere.effective_cost_usd, elsewhere.total_cost_usd) == (whole.effective_cost_usd, whole.total_cost_usd)
    with closing(connect(world.ledger, read_only=True)) as manifest:
        plans = effective(manifest, str(world.ledger.root), TODAY)
    assert plans is not None
    assert all(month.allocated_nano + month.idle_nano == month.fee_nano for month in plans.months)
    fees = sum(month.fee_nano for month in plans.months)
    assert (whole.subscription_allocated_usd + whole.idle_subscription_usd) * 10**9 == fees
    with duckdb.connect() as con:
        build("usage_daily", con, world.ledger, "UTC")
        costs = f"read_parquet('{world.ledger.tables}/event_costs.parquet')"
        figures = con.execute(
            f"SELECT sum(variable_cost_usd), sum(subscription_allocated_usd), sum(effective_cost_usd), "
            f"min(effective_cost_usd), min(subscription_allocated_usd) FROM {costs}"
        ).fetchone()
        days = con.execute(
            f"SELECT sum(effective_cost_usd) FROM read_parquet('{world.ledger.tables}/usage_daily.parquet')"
        ).fetchone()
    assert figures is not None
    assert days is not None
    variable, allocated, effective_cost, least, least_share = figures
    assert (variable or 0) == (whole.variable_cost_usd or 0)
    assert allocated == whole.subscription_allocated_usd
    assert (effective_cost or 0) == (whole.effective_cost_usd or 0) == (days[0] or 0)
    assert (least or 0) >= 0
    assert least_share >= 0


@pytest.mark.parametrize("text", ["subscriptions: [", "subscriptions: 3", "nonsense: 1"])
def test_plans_that_cannot_be_used_are_one_line(world: World, text: str) -> None:
    declare(world, text)
    with pytest.raises(PlansError, match=r"plans\.yaml"):
        report(world, "daily")
