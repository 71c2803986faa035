"""The month at a glance, from the manifest alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from sqlite3 import Connection

import pytest

from tests.support import World, claude
from tokenledger_dagster.contracts.snapshot import validate_snapshot
from tokenledger_dagster.errors import UsageError
from tokenledger_dagster.exports.ui_snapshot import make_snapshot, write_snapshot
from tokenledger_dagster.ingest.manifest import connect

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@pytest.fixture
def manifest(world: World) -> Iterator[Connection]:
    with closing(connect(world.ledger, read_only=True)) as connection:
        yield connection


def test_the_document_is_that_of_the_contract(world: World, manifest: Connection) -> None:
    path = write_snapshot(world.ledger, make_snapshot(manifest, now=NOW))

    assert path == world.ledger.ui_snapshot_path
    assert json.loads(path.read_text()) == {
        "schema_version": 1,
        "generated_at": "2026-03-02T08:00:00Z",
        "month": "2026-02",
        "mode": "compact",
        "totals": {
            "cost_usd": 0.01378,
            "tokens": 12_920,
            # 0.01378 / 0.01292
            "blended_usd_per_mtok": 1.066563467,
            "session_count": 3,
            "skipped_unpriced_count": 1,
            "list_price_usd": 0.01378,
            "estimated_tokens": 0,
            "idle_subscription_usd": 0,
        },
        "top_providers": [
            {
                "name": "claude",
                "tokens": 11_870,
                "total_cost_usd": 0.01248,
                "blended_usd_per_mtok": 1.051390059,
                "session_count": 2,
                "list_price_usd": 0.01248,
            },
            {
                "name": "codex",
                "tokens": 1_050,
                "total_cost_usd": 0.0013,
                "blended_usd_per_mtok": 1.238095238,
                "session_count": 1,
                "list_price_usd": 0.0013,
            },
        ],
        "top_models": [
            {
                "name": "claude-sonnet-4-5",
                "tokens": 11_820,
                "total_cost_usd": 0.01248,
                "blended_usd_per_mtok": 1.055837563,
                "session_count": 2,
                "list_price_usd": 0.01248,
            },
            {
                "name": "gpt-5.1-codex",
                "tokens": 1_050,
                "total_cost_usd": 0.0013,
                "blended_usd_per_mtok": 1.238095238,
                "session_count": 1,
                "list_price_usd": 0.0013,
            },
            {
                "name": "house-model-7",
                "tokens": 50,
                "total_cost_usd": 0,
                "blended_usd_per_mtok": 0,
                "session_count": 1,
                "list_price_usd": 0,
            },
        ],
        "suggestions": [],
        "timezone": "UTC",
        "top_clients": [
            {
                "name": "claude-code",
                "tokens": 11_870,
                "total_cost_usd": 0.01248,
                "blended_usd_per_mtok": 1.051390059,
                "session_count": 2,
                "list_price_usd": 0.01248,
            },
            {
                "name": "codex",
                "tokens": 1_050,
                "total_cost_usd": 0.0013,
                "blended_usd_per_mtok": 1.238095238,
                "session_count": 1,
                "list_price_usd": 0.0013,
            },
        ],
    }


def test_what_is_written_is_valid(world: World, manifest: Connection) -> None:
    for mode in ("compact", "extended"):
        path = write_snapshot(world.ledger, make_snapshot(manifest, mode))  # type: ignore[arg-type]
        assert validate_snapshot(json.loads(path.read_text())) == []


def test_another_zone_is_answered_from_the_quarter_hours(manifest: Connection) -> None:
    berlin = make_snapshot(manifest, zone="Europe/Berlin", month="2026-02")
    march = make_snapshot(manifest, zone="Europe/Berlin", now=NOW)

    assert (berlin.timezone, berlin.totals.tokens, berlin.totals.cost_usd) == (
        "Europe/Berlin",
        12_900,
        Decimal("0.0136"),
    )
    # the last event is of 23:30 UTC on the last day of February
    assert (march.month, march.totals.tokens) == ("2026-03", 20)


def test_cells_and_quarter_hours_give_the_same_answer(world: World, manifest: Connection) -> None:
    from_slots = make_snapshot(manifest, zone="Asia/Tokyo", now=NOW)
    world.sync(zone="Asia/Tokyo")
    from_cells = make_snapshot(manifest, now=NOW)

    assert from_cells == from_slots


def test_compact_keeps_the_first_rows_and_extended_all(world: World) -> None:
    models = [f"house-model-{number}" for number in range(8)]
    world.claude(
        *(
            claude(f"m{number}", f"r{number}", input=100 + number % 2, output=0, session="s8", model=model)
            for number, model in enumerate(models)
        ),
        name="s8.jsonl",
    )
    world.sync()
    with closing(connect(world.ledger, read_only=True)) as manifest:
        compact = make_snapshot(manifest)
        extended = make_snapshot(manifest, "extended")

    # by tokens, then by name
    names = [row.name for row in extended.top_models[2:]]
    assert names == [
        "house-model-7",
        "house-model-1",
        "house-model-3",
        "house-model-5",
        "house-model-0",
        "house-model-2",
        "house-model-4",
        "house-model-6",
    ]
    assert compact.top_models == extended.top_models[:5]
    assert compact.totals == extended.totals


def test_a_month_without_events_is_all_zeros(manifest: Connection) -> None:
    snapshot = make_snapshot(manifest, month="2025-12")

    assert (snapshot.month, snapshot.totals.tokens, snapshot.totals.blended_usd_per_mtok) == ("2025-12", 0, 0)
    assert snapshot.top_models == []


def test_before_the_first_event_the_month_is_the_current_one(tmp_path: Path) -> None:
    empty = World(tmp_path / "empty")
    empty.sync()
    with closing(connect(empty.ledger, read_only=True)) as manifest:
        assert make_snapshot(manifest, now=NOW).month == "2026-03"


@pytest.mark.parametrize("month", ["2026-13", "February", "2026-2"])
def test_what_is_no_month_is_refused(manifest: Connection, month: str) -> None:
    with pytest.raises(UsageError, match="no such month"):
        make_snapshot(manifest, month=month)


def test_the_latest_reconcile_summary_is_pointed_to(world: World, manifest: Connection) -> None:
    world.ledger.reconcile_summary_path.write_text("{}")
    path = write_snapshot(world.ledger, make_snapshot(manifest), world.ledger.root / "elsewhere.json")

    found = json.loads(path.read_text())
    assert found["reconcile_latest_summary_path"] == str(world.ledger.reconcile_summary_path)
    assert validate_snapshot(found) == []


def test_it_needs_none_of_the_heavy_libraries(world: World) -> None:
    code = (
        "import sys, pathlib\n"
        "from tokenledger_dagster.home import Home\n"
        "from tokenledger_dagster.ingest.manifest import connect\n"
        "from tokenledger_dagster.exports.ui_snapshot import make_snapshot, write_snapshot\n"
        f"home = Home(pathlib.Path({str(world.ledger.root)!r}))\n"
        "connection = connect(home, read_only=True)\n"
        "write_snapshot(home, make_snapshot(connection))\n"
        "connection.close()\n"
        "print([name for name in ('duckdb', 'pandas', 'pyarrow', 'pandera', 'dagster') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
