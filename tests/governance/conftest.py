"""The small ledger with everything built and published, and ways to break it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from tests.exports.small import build_all, small_world
from tests.support import World
from tokenledger_dagster.exports.model_ledger import write_ledger, write_runtime, write_seed
from tokenledger_dagster.exports.pipeline_summary import make_summary, write_summary
from tokenledger_dagster.exports.tables import table_path
from tokenledger_dagster.exports.ui_snapshot import make_snapshot, write_snapshot
from tokenledger_dagster.exports.warehouse import publish
from tokenledger_dagster.governance.invariants import CheckOutcome, Inspection, inspect
from tokenledger_dagster.ingest.manifest import connect


class Audit(NamedTuple):
    """A ledger under inspection."""

    world: World
    con: duckdb.DuckDBPyConnection

    def inspect(self, name: str) -> CheckOutcome:
        return inspect(name, Inspection(self.world.ledger, self.con, "UTC"))

    def rewrite(self, table: str, select: str) -> None:
        """Replaces a table's file by what a query makes of it, as a fault of building would."""
        path = table_path(self.world.ledger, table)
        with self.con.cursor() as con:
            con.execute(f"CREATE TEMP TABLE t AS SELECT * FROM read_parquet('{path}')")
            con.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")

    def tamper(self, statement: str) -> None:
        """Changes the manifest, as a fault of booking would."""
        with closing(sqlite3.connect(self.world.ledger.manifest_path)) as manifest, manifest:
            manifest.execute(statement)


@contextmanager
def _audit(folder: Path) -> Iterator[Audit]:
    world = small_world(folder)
    with duckdb.connect() as con:
        build_all(world, con)
        write_seed(world.ledger)
        write_runtime(world.ledger, {}, con)
        write_ledger(world.ledger, con, datetime(2026, 3, 1, tzinfo=UTC))
        build_all(world, con)
        publish(world.ledger)
        with closing(connect(world.ledger, read_only=True)) as manifest:
            write_snapshot(world.ledger, make_snapshot(manifest))
        write_summary(world.ledger, make_summary(run_id="run-1", started=datetime(2026, 3, 1, tzinfo=UTC).timestamp()))
        yield Audit(world, con)


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audit]:
    """Not to be changed."""
    with _audit(tmp_path_factory.mktemp("good")) as audit:
        yield audit


@pytest.fixture
def audit(good: Audit, tmp_path: Path) -> Iterator[Audit]:
    """A copy, to break; the logs are found where the ledger knows them, as if they had been moved along."""
    shutil.copytree(good.world.ledger.root.parent, tmp_path, dirs_exist_ok=True)
    with duckdb.connect() as con:
        yield Audit(World(tmp_path), con)
