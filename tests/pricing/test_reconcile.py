"""One reconciliation: what it writes, what it leaves alone, and what it finds out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support import World, claude
from tokenledger_dagster.contracts.reconcile import Disagreement, PricingReconcileSummary, ReportedCost
from tokenledger_dagster.errors import NothingToReport
from tokenledger_dagster.ingest.booked_usage import booked_usage, settled
from tokenledger_dagster.pricing.apply import apply_patch, write_book
from tokenledger_dagster.pricing.lists.store import import_list
from tokenledger_dagster.pricing.reconcile import disagreements, reconcile
from tokenledger_dagster.pricing.snapshots import current

NOW = datetime(2026, 3, 9, 8, 30, tzinfo=UTC)
LATER = datetime(2026, 3, 9, 9, 0, 5, tzinfo=UTC)
BOOK = b'{"meta": {"source": "us"}, "providers": {"claude": {"models": {"claude-opus-4-5": {"input_usd_per_mtok": 5.50,\
 "output_usd_per_mtok": 25, "cache_read_usd_per_mtok": 0.5, "cache_write_usd_per_mtok": 6.25,\
 "cache_write_1h_usd_per_mtok": 10}}}}}'


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two requests in February, and in March one each of a stranger, a misspelt name and two known models."""
    world = World(tmp_path)
    march = {"input": 300, "output": 30, "timestamp": "2026-03-08T12:00:00Z"}
    world.claude(
        claude("m1", "r1", input=100, output=10, timestamp="2026-02-18T09:00:00Z"),
        claude("m2", "r2", input=200, output=20, timestamp="2026-02-18T20:00:00Z"),
        claude("m3", "r3", **march, model="acme-coder-9"),
        claude("m4", "r4", **march, model="claude-sonet-4-5"),
        claude("m5", "r5", **march),
        claude("m6", "r6", **march, model="claude-opus-4-5"),
    )
    world.sync()
    return world


def run(world: World, **more: Any) -> PricingReconcileSummary:
    return reconcile(world.ledger, **{"now": NOW, **more})


def patch_of(summary: PricingReconcileSummary) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(summary.artifacts.patch_path).read_bytes())
    return found


def book(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(world.ledger.pricing_book_path.read_bytes())
    return found


# -------------------------------------------------------------------- a dry run


def test_a_run_leaves_three_files_and_a_pointer_to_the_latest(world: World) -> None:
    summary = run(world)

    folder = world.ledger.root / "reconcile-20260309-083000"
    assert sorted(path.name for path in folder.iterdir()) == [
        "pricing-patch.reconcile.json",
        "reconcile-summary.json",
        "unpriced-events.reconcile.jsonl",
    ]
    assert (summary.workdir, summary.month_filter) == (str(folder), "2026-03")
    written = (folder / "reconcile-summary.json").read_bytes()
    assert (world.ledger.root / "reconcile-latest-summary.json").read_bytes() == written
    document = json.loads(written)
    assert (document["schema_version"], document["generated_at"]) == (1, "2026-03-09T08:30:00Z")
    assert (document["dry_run"], document["allow_unpriced"], document["write_backup"]) == (True, False, True)
    assert document["artifacts"]["backup_path"] is None
    assert document["coverage"]["totals"] == {"events": 4, "tokens": 1320}
    assert document["pricing_apply"] == {
        "changed": True,
        "wrote_pricing": False,
        "metadata_updated": False,
        "summary": {
            "providers_added": ["claude"],
            "models_added": ["claude:acme-coder-9", "claude:claude-sonet-4-5"],
            "aliases_added": [],
            "models_skipped_existing": [],
            "models_filled": [],
            "models_overwritten": [],
            "models_without_rates": ["claude:acme-coder-9", "claude:claude-sonet-4-5"],
            "aliases_skipped_existing": [],
            "fields_added": [],
        },
    }
    assert document["pricing_check"] == {
        "passed": False,
        "month": "2026-03",
        "priced_count": 2,
        "unpriced_count": 2,
        "details": ["claude:acme-coder-9 (events=1)", "claude:claude-sonet-4-5 (events=1)"],
    }


def test_a_dry_run_leaves_the_book_as_it_is(world: World) -> None:
    run(world)
    assert not world.ledger.pricing_book_path.exists()

    world.ledger.pricing_book_path.write_bytes(BOOK)
    summary = run(world, accept_suggestions=True, allow_overwrite=True)

    assert world.ledger.pricing_book_path.read_bytes() == BOOK
    assert (summary.pricing_apply.changed, summary.pricing_apply.wrote_pricing) == (True, False)


def test_a_dry_run_checks_the_book_as_patched(world: World) -> None:
    summary = run(world, accept_suggestions=True)

    assert summary.coverage.unpriced_count == 2
    assert summary.pricing_apply.summary.aliases_added == ["claude:claude-sonet-4-5"]
    assert summary.pricing_check.details == ["claude:acme-coder-9 (events=1)"]


def test_two_runs_write_the_same_patch_but_for_its_time_stamp(world: World) -> None:
    one, two, three = (run(world, now=now) for now in (NOW, NOW, LATER))

    assert Path(two.workdir).name == "reconcile-20260309-083000-2"
    patches = [Path(one.artifacts.patch_path).read_bytes() for one in (one, two, three)]
    assert patches[0] == patches[1]
    stamps = b'"2026-03-09T08:30:00Z"', b'"2026-03-09T09:00:05Z"'
    assert [patches[0].count(stamps[0]), patches[2].count(stamps[1])] == [1, 1]
    assert patches[2].replace(stamps[1], stamps[0]) == patches[0]
    events = [Path(one.artifacts.unpriced_events_path).read_bytes() for one in (one, two, three)]
    assert events[0] == events[1] == events[2]


def test_another_folder_may_be_named(world: World, tmp_path: Path) -> None:
    summary = run(world, workdir=tmp_path / "deep" / "er")

    assert Path(summary.workdir) == tmp_path / "deep" / "er" / "reconcile-20260309-083000"
    assert world.ledger.reconcile_summary_path.exists()


def test_unpriced_events_are_told_one_a_line(world: World) -> None:
    summary = run(world)

    lines = Path(summary.artifacts.unpriced_events_path).read_text().splitlines()
    found = [json.loads(line) for line in lines]
    found.sort(key=lambda one: one["model"])
    assert [(one["model"], one["reason"]) for one in found] == [
        ("acme-coder-9", "unknown_model"),
        ("claude-sonet-4-5", "unknown_model"),
    ]
    assert {key: value for key, value in found[0].items() if key != "event_id"} == {
        "timestamp": "2026-03-08T12:00:00Z",
        "client": "claude-code",
        "provider": "claude",
        "model": "acme-coder-9",
        "model_raw": "acme-coder-9",
        "session_id": "s1",
        "usage": {
            "input_tokens": 300,
            "output_tokens": 30,
            "cache_write_tokens": 0,
            "cache_read_tokens": 0,
            "tool_input_tokens": 0,
            "tool_output_tokens": 0,
        },
        "channel": "anthropic",
        "requested_context": "standard",
        "reason": "unknown_model",
    }
    assert {one["event_id"] for one in found} <= {event.event_id for event in world.events()}


def test_months_are_cut_in_the_zone(world: World) -> None:
    world.claude(
        claude("m9", "r9", input=7, output=1, timestamp="2026-03-31T23:30:00Z", model="acme-coder-9"), name="s9.jsonl"
    )
    world.sync()

    assert run(world, zone="Europe/Berlin").month_filter == "2026-04"
    assert run(world, zone="UTC").coverage.unpriced_count == 3
    assert run(world, month="2026-03", zone="Europe/Berlin").coverage.unpriced_count == 2


def test_a_month_without_events_is_nothing_to_report(world: World) -> None:
    with pytest.raises(NothingToReport, match="no events for 2025-01"):
        run(world, month="2025-01")

    assert not list(world.ledger.root.glob("reconcile-*"))


# -------------------------------------------------------------------- written


def test_a_patch_as_it_is_prices_nothing(world: World) -> None:
    first = run(world, dry_run=False)
    second = run(world, dry_run=False, now=LATER)

    assert first.pricing_apply.wrote_pricing
    assert not first.pricing_check.passed
    assert (second.pricing_apply.changed, second.pricing_check.passed) == (False, False)
    assert second.pricing_apply.summary.models_skipped_existing == ["claude:acme-coder-9", "claude:claude-sonet-4-5"]
    assert patch_of(first)["providers"] == patch_of(second)["providers"]
    assert patch_of(first)["suggestions"] == patch_of(second)["suggestions"]
    assert {rate for entry in book(world)["providers"]["claude"]["models"].values() for rate in entry.values()} == {
        None,
        "booked from 2026-03-08 to 2026-03-08 without a known rate",
    }


def test_a_patch_with_real_rates_prices_everything(world: World) -> None:
    summary = run(world, dry_run=False)
    patch = patch_of(summary)
    for entry in patch["providers"]["claude"]["models"].values():
        entry |= {"input_usd_per_mtok": 2, "output_usd_per_mtok": 8}

    written = world.ledger.pricing_book_path.read_bytes()
    applied = apply_patch(written, json.dumps(patch).encode(), now=LATER)
    write_book(world.ledger, applied, write_backup=False)

    again = run(world, now=LATER)
    assert applied.summary.models_filled == ["claude:acme-coder-9", "claude:claude-sonet-4-5"]
    assert (again.pricing_check.passed, again.pricing_check.priced_count) == (True, 4)
    assert patch_of(again)["providers"] == {}


def test_booked_prices_stay_as_they_are(world: World) -> None:
    before = [event.nano for event in world.events()]

    run(world, dry_run=False, accept_suggestions=True)
    world.sync()

    assert [event.nano for event in world.events()] == before


def test_a_book_of_nulls_leaves_nothing_to_accept(world: World) -> None:
    run(world, dry_run=False)

    assert world.sync().notes == []


def test_the_book_before_is_kept_unless_nobody_wants_it(world: World) -> None:
    world.ledger.pricing_book_path.write_bytes(BOOK)

    kept = run(world, dry_run=False)
    world.ledger.pricing_book_path.write_bytes(BOOK)
    unkept = run(world, dry_run=False, write_backup=False, now=LATER)

    backup = world.ledger.root / "pricing.json.20260309-083000.bak"
    assert kept.artifacts.backup_path == str(backup)
    assert backup.read_bytes() == BOOK
    assert unkept.artifacts.backup_path is None
    assert b'"input_usd_per_mtok": 5.50' in world.ledger.pricing_book_path.read_bytes()


# -------------------------------------------------------------------- disagreements


def test_sources_are_compared_on_what_was_booked(world: World, tmp_path: Path) -> None:
    entry = {"mode": "chat", "litellm_provider": "anthropic"}
    units = {"cache_read_input_token_cost": 5e-7, "cache_creation_input_token_cost": 6.25e-6}
    units["cache_creation_input_token_cost_above_1hr"] = 1e-5
    listed = {
        "claude-opus-4-5": {**entry, **units, "input_cost_per_token": 5e-6, "output_cost_per_token": 3e-5},
        "claude-haiku-4-5": {**entry, "input_cost_per_token": 9e-6, "output_cost_per_token": 9e-5},
    }
    (tmp_path / "list.json").write_text(json.dumps(listed))
    import_list(world.ledger, "litellm", str(tmp_path / "list.json"))

    plain = run(world).disagreements
    world.ledger.pricing_book_path.write_bytes(BOOK)
    booked = run(world).disagreements

    about = [
        (one.provider, one.model, one.unit, one.ours, one.theirs, one.difference_percent, one.day, one.event_count)
        for found in (plain, booked)
        for one in found
        if isinstance(one, Disagreement)
    ]
    assert about == [
        (None, "claude-opus-4-5", "output", "price_list", "litellm", Decimal("20.00"), "2026-03-08", 1),
        ("claude", "claude-opus-4-5", "input", "book", "price_list", Decimal("-9.09"), "2026-03-08", 1),
        ("claude", "claude-opus-4-5", "input", "book", "litellm", Decimal("-9.09"), "2026-03-08", 1),
        ("claude", "claude-opus-4-5", "output", "book", "litellm", Decimal("20.00"), "2026-03-08", 1),
    ]


def test_what_logs_say_of_costs_is_held_against_list_prices(world: World) -> None:
    tokens = {"input": 300, "output": 30, "timestamp": "2026-03-08T13:00:00Z"}
    world.claude(
        claude("c1", "q1", **tokens, costUSD=0.0015),
        claude("c2", "q2", **tokens, model="claude-opus-4-5", costUSD=0.00226),
        name="s9.jsonl",
    )
    world.sync()

    summary = run(world)

    near = ReportedCost(
        client="claude-code",
        model="claude-opus-4-5",
        reported_usd=Decimal("0.00226"),
        computed_usd=Decimal("0.00225"),
        difference_percent=Decimal("-0.44"),
        event_count=1,
    )
    far = ReportedCost(
        client="claude-code",
        model="claude-sonnet-4-5",
        reported_usd=Decimal("0.0015"),
        computed_usd=Decimal("0.00135"),
        difference_percent=Decimal("-10.00"),
        event_count=1,
    )
    assert summary.coverage.reported_vs_computed == [far, near]
    assert summary.disagreements == [far]
    written = json.loads((Path(summary.workdir) / "reconcile-summary.json").read_bytes())
    assert written["disagreements"][0]["kind"] == "reported_cost"


def test_agreement_within_a_percent_is_none_of_our_business(world: World) -> None:
    world.ledger.pricing_book_path.write_bytes(BOOK.replace(b"5.50", b"5.05"))

    with settled(world.ledger) as connection:
        found = disagreements(booked_usage(connection), current(world.ledger))

    assert found == []


def test_a_rate_of_the_day_leaves_only_the_nights_requests_without_a_price(world: World) -> None:
    day = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2, "tod_from": "08:00", "tod_to": "20:00"}
    models = {"acme-coder-9": {"rates": [day]}}
    world.ledger.pricing_book_path.write_text(json.dumps({"providers": {"claude": {"models": models}}}))
    night = {"timestamp": "2026-03-08T21:00:00Z", "model": "acme-coder-9"}
    world.claude(claude("n1", "r7", **night), name="night.jsonl")
    world.sync()

    summary = run(world)

    events = Path(summary.artifacts.unpriced_events_path).read_bytes().splitlines()
    missing = [json.loads(line)["timestamp"] for line in events if b"acme-coder-9" in line]
    assert missing == ["2026-03-08T21:00:00Z"]
    assert summary.coverage.unpriced_count == len(events)
