"""What a selection cost, by provider and model, and that the parts add up to the whole."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.exports.small import small_world
from tests.support import World
from tokenledger_dagster.contracts.costs import IDLE, CostBreakdown
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.usage.breakdown import cost_breakdown, costs_of_month
from tokenledger_dagster.usage.effective import effective
from tokenledger_dagster.usage.selection import Selection

NOW = datetime(2026, 4, 1, tzinfo=UTC)
TODAY = date(2026, 4, 1)
PLANS = """
schema_version: 1
subscriptions:
  - {name: max, plan: anthropic/max-20x, from: 2026-02-15, to: 2026-03-15}
  - {name: plus, plan: openai/plus, from: 2026-03-01, to: 2026-04-01}
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return small_world(tmp_path)


def costs(world: World, plans: str = "", **selection: object) -> CostBreakdown:
    if plans:
        world.ledger.plans_path.write_text(plans, encoding="utf-8")
    with closing(connect(world.ledger, read_only=True)) as manifest:
        found = effective(manifest, str(world.ledger.root), TODAY)
        return cost_breakdown(manifest, Selection(**selection), found, NOW)  # type: ignore[arg-type]


def test_without_plans_everything_is_variable(world: World) -> None:
    found = costs(world)
    assert (found.variable_cost_usd, found.monthly_total_usd, found.list_price_usd) == (Decimal("0.01378"),) * 3
    assert [(one.name, one.tokens, one.total_cost_usd) for one in found.provider_breakdown] == [
        ("claude", 11_870, Decimal("0.01248")),
        ("codex", 1_050, Decimal("0.0013")),
    ]
    assert (found.skipped_unpriced_count, found.unpriced_tokens, found.session_count) == (1, 50, 3)
    assert found.blended_usd_per_mtok == Decimal("1.066563467")


def test_cost_without_cache_reads_is_over_the_tokens_that_are_left(world: World) -> None:
    # 12,920 tokens, of which 10,400 were read from a cache
    assert costs(world).blended_usd_per_mtok_without_cache_reads == Decimal("5.468253968")


def test_a_plan_over_two_months_is_split_by_days(world: World) -> None:
    february = costs(world, PLANS, since="2026-02-01", until="2026-02-28")
    # 14 of the 28 days from 15 February to 14 March
    assert (february.subscription_allocated_usd, february.idle_subscription_usd) == (100, 0)
    march = costs(world, since="2026-03-01", until="2026-03-31")
    assert (march.subscription_allocated_usd, march.idle_subscription_usd) == (0, 120)
    assert [(one.name, one.idle_subscription_usd) for one in march.provider_breakdown] == [
        ("claude", 100),
        ("codex", 20),
    ]
    assert [(one.name, one.total_cost_usd) for one in march.model_breakdown] == [(IDLE, 120)]


def test_the_parts_add_up_to_the_whole(world: World) -> None:
    found = costs(world, PLANS)
    parts = found.variable_cost_usd + found.subscription_allocated_usd + found.idle_subscription_usd
    assert found.monthly_total_usd == parts
    for shares in (found.provider_breakdown, found.model_breakdown):
        assert sum(one.total_cost_usd for one in shares) == found.monthly_total_usd
        assert sum(one.tokens for one in shares) == found.total_tokens
    assert sum(one.fee_usd for one in found.subscriptions) == 220
    fees = found.subscription_allocated_usd + found.idle_subscription_usd
    assert fees == sum(one.allocated_usd + one.idle_usd for one in found.subscriptions) == 220


def test_a_model_alone_carries_no_idle_fee(world: World) -> None:
    found = costs(world, PLANS, models=("claude-sonnet-4-5",))
    assert found.idle_subscription_usd == 0
    assert found.subscriptions == []
    assert 0 < found.subscription_allocated_usd < 100


def test_why_costs_cannot_be_compared_is_said(world: World) -> None:
    assert costs(world).comparable
    found = costs(world, PLANS)
    assert not found.comparable
    assert found.not_comparable_reasons == ["mixed_modes", "idle_over_half"]


def test_a_model_says_how_it_was_paid(world: World) -> None:
    found = costs(world, PLANS)
    assert {one.name: one.pricing_modes for one in found.model_breakdown} == {
        "claude-sonnet-4-5": ["subscription_derived"],
        "gpt-5.1-codex": ["token"],
        "house-model-7": ["subscription_derived"],
        IDLE: ["subscription_derived"],
    }


def test_another_client_shows_no_plan_that_is_not_its_own(world: World) -> None:
    found = costs(world, PLANS, clients=("codex",))
    assert [one.name for one in found.provider_breakdown] == ["codex"]
    assert found.comparable


def test_the_latest_month_is_that_of_the_last_request(world: World) -> None:
    found = costs_of_month(world.ledger, None, "UTC")
    assert found is not None
    assert found.filters == {"since": "2026-02-01", "until": "2026-02-28"}
