"""The pipeline's own reconciliation: made when something changed, and judged by nobody else's."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support import World, claude
from tokenledger_dagster.home import Home
from tokenledger_dagster.pricing.reconcile import reconcile
from tokenledger_dagster.pricing.standing import Reconciled, last_reconciled, reconcile_if_changed

NOW = datetime(2026, 3, 9, 8, 30, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A known model in February, a stranger in March."""
    world = World(tmp_path)
    world.claude(
        claude("m1", "r1", timestamp="2026-02-18T09:00:00Z"),
        claude("m2", "r2", timestamp="2026-03-08T12:00:00Z", model="acme-coder-9"),
    )
    world.sync()
    return world.ledger


def run(home: Home, month: str | None = None) -> Reconciled | None:
    return reconcile_if_changed(home, month=month, zone="UTC")


def test_what_did_not_change_is_not_reconciled_again(home: Home) -> None:
    first, second = run(home), run(home)

    assert first is not None
    assert second is not None
    assert (first.is_new, second.is_new) == (True, False)
    assert second.summary == first.summary == last_reconciled(home)
    assert len(list(home.root.glob("reconcile-2*"))) == 1


def test_another_month_is_another_question(home: Home) -> None:
    march, february = run(home), run(home, "2026-02")

    assert march is not None
    assert february is not None
    assert (march.summary.coverage.unpriced_count, february.summary.coverage.unpriced_count) == (1, 0)
    assert last_reconciled(home) == february.summary


def test_a_month_that_somebody_looks_at_by_hand_judges_nothing(home: Home) -> None:
    run(home)

    by_hand = reconcile(home, month="2026-02", now=NOW)

    again, judged = run(home), last_reconciled(home)
    assert by_hand.month_filter == "2026-02"
    assert again is not None
    assert judged is not None
    assert (again.is_new, again.summary.month_filter, judged.month_filter) == (False, "2026-03", "2026-03")


def test_a_month_without_usage_leaves_nothing_to_judge(home: Home) -> None:
    run(home)

    assert run(home, "2025-01") is None
    assert last_reconciled(home) is None


def test_a_book_that_cannot_be_used_leaves_nothing_to_judge(home: Home) -> None:
    run(home)
    home.pricing_book_path.write_text("{")

    assert run(home) is None
    assert last_reconciled(home) is None


def test_a_folder_that_is_gone_is_made_again(home: Home) -> None:
    first = run(home)
    assert first is not None
    Path(first.summary.workdir, "reconcile-summary.json").unlink()

    second = run(home)
    assert second is not None
    assert second.is_new
