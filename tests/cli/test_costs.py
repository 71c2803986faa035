"""``tokenledger costs``, and what plans make of the other commands."""

from __future__ import annotations

from tests.cli.conftest import Run
from tests.support import World

MAX = "schema_version: 1\nsubscriptions:\n  - {name: max, plan: anthropic/max-20x, from: 2026-02-01, to: 2026-04-01}\n"


def test_json_is_the_contract(run: Run) -> None:
    found = run("costs", "--month", "2026-02", "--format", "json")
    assert found.code == 0
    assert (found.json["schema_version"], found.json["monthly_total_usd"]) == (1, found.json["list_price_usd"])


def test_plans_are_shown_with_what_became_of_their_fees(run: Run, world: World) -> None:
    world.ledger.plans_path.write_text(MAX, encoding="utf-8")
    found = run("costs")
    assert found.code == 0
    assert "max   2026-02-01  2026-02-28  $200.00    $200.00" in found.out
    assert "Idle fees" in found.out


def test_a_period_without_anything_is_said(run: Run) -> None:
    found = run("costs", "--month", "2031-01")
    assert (found.code, found.out) == (3, "")


def test_a_month_and_days_contradict(run: Run) -> None:
    assert run("costs", "--month", "2026-02", "--since", "2026-02-01").code == 2


def test_a_report_shows_costs_beside_list_prices_where_plans_are_declared(run: Run, world: World) -> None:
    assert "Cost" not in run("report", "monthly").out
    world.ledger.plans_path.write_text(MAX, encoding="utf-8")
    found = run("report", "monthly")
    assert "Cost" in found.out
    assert "cost with plans $400." in found.out


def test_an_answer_is_not_kept_beyond_its_plans(run: Run, world: World) -> None:
    before = run("report", "monthly", "--format", "json").json["totals"]["total_cost_usd"]
    world.ledger.plans_path.write_text(MAX, encoding="utf-8")
    with_plans = run("report", "monthly", "--format", "json").json["totals"]["total_cost_usd"]
    world.ledger.plans_path.unlink()
    assert with_plans > 400 > before
    assert run("report", "monthly", "--format", "json").json["totals"]["total_cost_usd"] == before


def test_plans_that_cannot_be_used_are_one_line(run: Run, world: World) -> None:
    world.ledger.plans_path.write_text("subscriptions: 3\n", encoding="utf-8")
    for command in (("report",), ("snapshot",), ("costs",)):
        found = run(*command)
        assert found.code == 4
        assert "plans.yaml" in found.err
        assert len(found.err.strip().splitlines()) == 1
    assert "plans.yaml" in run("doctor").out


def test_doctor_tells_of_prices_and_plans(run: Run, world: World) -> None:
    world.ledger.plans_path.write_text(MAX, encoding="utf-8")
    run("sync")
    found = run("doctor").out
    assert "max carries claude: $200.00 from 2026-03-01 to before 2026-04-01" in found
    assert "price_list" in found
