"""The analyst database: whole, commented, readable by DuckDB 1.4, and never in a reader's way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.exports.small import build_all
from tests.support import World, claude
from tokenledger_dagster.contracts.tables import TABLES
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.exports.pipeline_summary import make_summary, write_summary
from tokenledger_dagster.exports.warehouse import publish
from tokenledger_dagster.observability import names
from tokenledger_dagster.observability.metrics import RecordingMetrics

Con = duckdb.DuckDBPyConnection


@pytest.fixture
def built(world: World, con: Con) -> World:
    build_all(world, con)
    return world


def ask(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{path}' AS ledger (READ_ONLY)")
        con.execute("USE ledger")
        return con.execute(query).fetchall()


def grow(world: World, con: Con, number: int) -> None:
    world.claude(claude(f"msg_n{number}", f"req_n{number}", session=f"n{number}"), name=f"n{number}.jsonl")
    world.sync()
    build_all(world, con)


def test_every_table_is_there_with_its_rows(built: World) -> None:
    published = publish(built.ledger)

    found = ask(published.path, "SELECT table_name, table_type FROM information_schema.tables")
    assert sorted(found) == sorted((name, "BASE TABLE") for name in TABLES)
    assert published.tables["events"] == 5
    assert ask(published.path, "SELECT sum(total_tokens), sum(list_price_usd)::VARCHAR FROM usage_daily") == [
        (12_920, "0.013780000")
    ]


def test_every_table_and_column_is_commented(built: World) -> None:
    path = publish(built.ledger).path

    assert ask(path, "SELECT table_name FROM duckdb_tables() WHERE database_name = 'ledger' AND comment IS NULL") == []
    columns = "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'ledger' AND comment IS NULL"
    assert ask(path, columns) == []
    (comment,) = ask(path, "SELECT comment FROM duckdb_columns() WHERE table_name = 'events' AND column_name = 'host'")[
        0
    ]
    assert comment == "Machine whose log was read."


def test_it_can_be_read_by_duckdb_1_4(built: World) -> None:
    path = publish(built.ledger).path

    # DuckDB 1.4.5 was seen to open a file with this mark and answer
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{path}' AS ledger (READ_ONLY)")
        (tags,) = con.execute("SELECT tags FROM duckdb_databases() WHERE database_name = 'ledger'").fetchone() or ({},)
    assert tags["storage_version"].startswith("v1.4")


def test_nothing_else_is_left_beside_it(built: World) -> None:
    publish(built.ledger)

    beside = {name for name in os.listdir(built.ledger.root) if "duckdb" in name}
    assert beside == {"tokenledger.duckdb"}


def test_nothing_new_leaves_the_file_alone(built: World) -> None:
    first = publish(built.ledger)
    before = first.path.stat()
    second = publish(built.ledger)

    assert (first.cache_hit, second.cache_hit) == (False, True)
    assert second.path.stat().st_ino == before.st_ino
    assert second.digest == first.digest


def test_a_run_that_changed_nothing_is_no_reason_to_write_it_again(built: World, con: Con) -> None:
    publish(built.ledger)
    write_summary(built.ledger, make_summary(run_id="r1", started=1_790_000_000.0, now=1_790_000_001.0))
    assert build_all(built, con)["runs"] is False

    assert publish(built.ledger).cache_hit


def test_a_file_that_somebody_else_wrote_is_written_again(built: World) -> None:
    path = publish(built.ledger).path
    with path.open("r+b") as handle:
        handle.seek(4200)
        handle.write(b"garbled")

    assert not publish(built.ledger).cache_hit
    assert ask(path, "SELECT count(*) FROM events") == [(5,)]


def test_a_file_that_was_cut_is_written_again(built: World) -> None:
    path = publish(built.ledger).path
    path.write_bytes(path.read_bytes()[:4096])

    assert not publish(built.ledger).cache_hit
    assert ask(path, "SELECT count(*) FROM events") == [(5,)]


@pytest.fixture
def reader(built: World) -> Iterator[Con]:
    """An analyst who opened the file and does not let go."""
    path = publish(built.ledger).path
    with duckdb.connect(str(path), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM events").fetchone() == (5,)
        yield con


@pytest.mark.slow
def test_a_reader_neither_blocks_nor_sees_two_rebuilds(built: World, con: Con, reader: Con) -> None:
    for number in (1, 2):
        grow(built, con, number)
        published = publish(built.ledger)

        assert not published.cache_hit
        # the reader's file is the old one, whole; whoever opens the name now gets the new one
        assert reader.execute("SELECT count(*), sum(total_tokens) FROM events").fetchone() == (5, 12_920)
        assert ask(published.path, "SELECT count(*) FROM events") == [(5 + number,)]


def test_a_table_that_was_not_built_is_named(world: World) -> None:
    with pytest.raises(TokenLedgerError, match="table events was not built yet"):
        publish(world.ledger)


def test_a_failure_leaves_the_old_file(built: World, con: Con) -> None:
    path = publish(built.ledger).path
    before = path.read_bytes()
    grow(built, con, 1)
    (built.ledger.tables / "usage_blocks.parquet").write_bytes(b"no Parquet")

    with pytest.raises(duckdb.Error):
        publish(built.ledger)
    assert path.read_bytes() == before
    assert {name for name in os.listdir(built.ledger.root) if "duckdb" in name} == {"tokenledger.duckdb"}


def test_publishing_tells_its_metrics(built: World) -> None:
    metrics = RecordingMetrics()
    published = publish(built.ledger, metrics=metrics)

    assert metrics.value(names.PUBLISH_BYTES, artifact="warehouse") == published.bytes
    assert len(metrics.observations(names.PUBLISH_DURATION, artifact="warehouse")) == 1
