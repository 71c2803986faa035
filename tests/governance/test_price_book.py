"""What the checks of governed prices find: a book with faults, prices that wait, fees that do not add up."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.exports.small import build_all
from tests.governance.conftest import Audit
from tokenledger_dagster.pricing.lists.store import import_list
from tokenledger_dagster.pricing.reprice import reprice
from tokenledger_dagster.pricing.standing import reconcile_if_changed

MAX = "schema_version: 1\nsubscriptions:\n  - {name: max, plan: anthropic/max-20x, from: 2026-02-01, to: 2026-03-01}\n"


def write_book(audit: Audit, models: object, **meta: str) -> None:
    known = {"source": "a bill", "updated_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), **meta}
    book = {"meta": known, "providers": {"claude": {"models": models}}}
    audit.world.ledger.pricing_book_path.write_text(json.dumps(book), encoding="utf-8")


def test_a_rate_below_zero_is_named_with_its_place(audit: Audit) -> None:
    write_book(audit, {"claude-opus-5-5": {"input_usd_per_mtok": -4, "output_usd_per_mtok": 20}})

    found = audit.inspect("book_lints")
    assert (found.passed, found.blocking, found.actual) == (False, False, 1)
    assert found.rows[0]["place"] == "providers.claude.models.claude-opus-5-5.input_usd_per_mtok"


def test_an_old_book_is_a_warning(audit: Audit) -> None:
    write_book(audit, {}, updated_at="2026-01-01T00:00:00Z")

    found = audit.inspect("prices_audited")
    assert (found.passed, found.severity) == (False, "WARN")
    assert "stale_book" in {row["rule"] for row in found.rows}


def test_prices_that_wait_are_told_until_somebody_takes_them(audit: Audit) -> None:
    write_book(audit, {"house-model-7": {"input_usd_per_mtok": 2, "output_usd_per_mtok": 4}})

    found = audit.inspect("prices_accepted")
    assert (found.passed, found.severity) == (False, "WARN")
    assert "tokenledger pricing reprice" in found.description
    reprice(audit.world.ledger, write=True)
    assert audit.inspect("prices_accepted").passed


def test_a_fee_that_does_not_add_up_blocks(audit: Audit) -> None:
    audit.world.ledger.plans_path.write_text(MAX, encoding="utf-8")
    build_all(audit.world, audit.con)
    assert audit.inspect("fees_spread_exactly").passed
    audit.rewrite(
        "event_costs",
        "SELECT * REPLACE (if(list_price_usd IS NULL, 0, subscription_allocated_usd) AS subscription_allocated_usd) "
        "FROM t",
    )

    found = audit.inspect("fees_spread_exactly")
    assert (found.passed, found.blocking, found.actual) == (False, True, 1)
    assert found.rows[0]["subscription"] == "max"


def test_usage_without_a_rate_is_listed_with_the_patch_that_waits_for_it(audit: Audit) -> None:
    reconcile_if_changed(audit.world.ledger, month=None, zone="UTC")

    found = audit.inspect("everything_priced")
    assert (found.passed, found.actual) == (False, 1)
    assert found.rows[0]["model"] == "house-model-7"
    assert "pricing-patch.reconcile.json" in found.description


@pytest.mark.parametrize(("read", "passed"), [(0.3e-6, True), (0.6e-6, False)])
def test_sources_that_differ_are_told(audit: Audit, read: float, passed: bool) -> None:
    entry = {
        "litellm_provider": "anthropic",
        "mode": "chat",
        "input_cost_per_token": 3e-6,
        "output_cost_per_token": 15e-6,
        "cache_creation_input_token_cost": 3.75e-6,
        "cache_creation_input_token_cost_above_1hr": 6e-6,
        "cache_read_input_token_cost": read,
        "input_cost_per_token_above_200k_tokens": 6e-6,
        "output_cost_per_token_above_200k_tokens": 22.5e-6,
        "cache_creation_input_token_cost_above_200k_tokens": 7.5e-6,
        "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 12e-6,
        "cache_read_input_token_cost_above_200k_tokens": 2 * read,
    }
    path = audit.world.home_dir / "list.json"
    path.write_text(json.dumps({"claude-sonnet-4-5": entry}), encoding="utf-8")
    import_list(audit.world.ledger, "litellm", str(path))
    reconcile_if_changed(audit.world.ledger, month=None, zone="UTC")

    found = audit.inspect("price_sources_agree")
    assert found.passed is passed, found.rows
