"""A report after little was appended: what it need not look at again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support import World, claude
from tokenledger_dagster.clients import walk
from tokenledger_dagster.ingest import resolved
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.meta import get_meta, set_meta
from tokenledger_dagster.models import kept, names, rules
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.snapshots import Snapshot


@pytest.fixture
def filled(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("TZ", "UTC")
    names.resolve_model.cache_clear()
    assert run("sync").code == 0
    names.resolve_model.cache_clear()
    yield world
    names.resolve_model.cache_clear()


def _refuse(*_: object) -> RateTable:
    raise AssertionError("read although everything was resolved before")


def _price(run: Run) -> object:
    return run("report", "daily", "--format", "json", "--tz", "UTC").json["totals"]["list_price_usd"]


def test_known_names_and_rates_are_not_looked_up_again(
    filled: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _price(run)
    monkeypatch.setattr(Snapshot, "table", property(_refuse))
    monkeypatch.setattr(rules, "catalog", _refuse)
    filled.append(filled.claude_path(), claude("m9", "r9", input=100, output=10, timestamp="2026-02-18T21:00:00Z"))

    assert _price(run) > before  # type: ignore[operator]


def test_what_was_kept_for_other_prices_is_not_used(filled: World, run: Run) -> None:
    connection = connect(filled.ledger)
    text = get_meta(connection, resolved.KEY)
    assert text is not None
    wrong = text.replace(text.split('"')[1], "another key", 1).replace("anthropic", "nobody")
    set_meta(connection, resolved.KEY, wrong)
    connection.close()
    filled.append(filled.claude_path(), claude("m9", "r9", input=100, output=10, timestamp="2026-02-18T21:00:00Z"))
    run("report", "daily")

    assert filled.query("SELECT DISTINCT maker FROM models WHERE maker = 'nobody'") == []


def test_a_name_is_kept_for_the_days_on_which_it_holds() -> None:
    found: kept.Kept[str, str, str] = kept.Kept()
    found.start(iter([("opus", "2026-01-01", "2026-02-01", "old"), ("opus", "2026-02-01", "~", "new")]))

    assert [found.get("opus", day) for day in ("2026-01-31", "2026-02-01", "2099-01-01")] == ["old", "new", "new"]
    assert found.get("opus", "2025-12-31") is kept.MISSING


def test_the_logs_are_walked_once(filled: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[str] = []
    log_files = walk.log_files
    monkeypatch.setattr(walk, "seen_below", lambda root: None)

    def counted(root: str) -> Iterator[walk.Entry]:
        walked.append(root)
        return log_files(root)

    filled.append(filled.claude_path(), claude("m9", "r9", input=1, timestamp="2026-02-18T21:00:00Z"))
    monkeypatch.setattr(walk, "log_files", counted)
    run("report", "daily")

    assert len(walked) == len(set(map(Path, walked))) == 2


def test_a_look_is_void_once_somebody_else_has_booked(filled: World, run: Run) -> None:
    from tokenledger_dagster.ingest.unchanged import Walked, facts_of

    connection = connect(filled.ledger, read_only=True)
    look, facts = Walked(), facts_of(connection)
    assert facts is not None
    look.began(facts[2])
    assert look.holds(connection)
    filled.append(filled.claude_path(), claude("m9", "r9", input=1, timestamp="2026-02-18T21:00:00Z"))
    run("sync")

    assert not look.holds(connection)
    connection.close()
