"""The lake and the booked state as DuckDB relations.

Here: ``attach``, which every asset, export and audit command starts from, and the list of segments.  Not here: writing
segments (``ingest.journal``, ``ingest.compaction``) or what is made of the relations (``exports``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenledger_dagster.contracts import record_table
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.journal import read_segment
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.segments import SegmentRow, segments
from tokenledger_dagster.ingest.settling import settle
from tokenledger_dagster.ingest.uncollected import no_collection

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_SQL = Path(__file__).parent
_FETCH_ROWS = 1_000
"""Rows that are Python values at a time: few enough to stay in the processor's cache."""
_INSERT_BATCHES = 100
"""Batches given to DuckDB at a time: an insert costs it milliseconds, whatever its size."""


def attach(con: duckdb.DuckDBPyConnection, home: Home) -> None:
    """Creates the relations of a ledger in ``con``.

    The view ``lake_records``, and the tables ``booking_events``, ``booking_records``, ``lake_sources``,
    ``lake_segments``, ``lake_quarantine`` and ``lake_skips``.

    Times are naive UTC, money nano-USD or DECIMAL(18,9) USD.  The state is that of one commit, whatever is written
    meanwhile.  Raises ManifestError where the home holds no manifest.
    """
    settle(home)
    with closing(connect(home, read_only=True)) as manifest, no_collection():
        manifest.execute("BEGIN")  # one snapshot for all that is read below
        _attach_records(con, home, segments(manifest))
        for name, query, kinds in _relations():
            _copy_table(con, manifest, name, query, kinds)
        con.execute((_SQL / "lake_views.sql").read_text("utf-8"))


def _attach_records(con: duckdb.DuckDBPyConnection, home: Home, found: Sequence[SegmentRow]) -> None:
    parquet = [str(home.lake / segment.name) for segment in found if segment.format == "parquet"]
    journals = [home.lake / segment.name for segment in found if segment.format == "journal"]
    con.register("journal_rows", journal_table(journals))
    con.execute("CREATE OR REPLACE TABLE journal_records AS SELECT * FROM journal_rows")
    con.unregister("journal_rows")
    both = "SELECT * FROM journal_records"
    if parquet:
        listed = ", ".join("'" + path.replace("'", "''") + "'" for path in parquet)
        both = f"SELECT * FROM read_parquet([{listed}], hive_partitioning = false) UNION ALL BY NAME {both}"
    con.execute(f"CREATE OR REPLACE VIEW lake_records AS {both}")


def journal_table(paths: Sequence[Path]) -> pa.Table:
    """Rows of journal segments under the lake's schema.  Raises OSError or DecodeError where one is damaged."""

    def rows() -> Iterator[tuple[Any, Any, str]]:
        for path in paths:
            for header, line in read_segment(path):
                yield line, header.streams[line.stream], header.host

    with no_collection():
        return record_table.table(rows())


def _relations() -> list[tuple[str, str, dict[str, str]]]:
    """(table, SQLite query, DuckDB type by column) of what is copied out of the manifest."""
    script = (_SQL / "lake_queries.sql").read_text("utf-8")
    found = []
    for part in script.split("-- relation: ")[1:]:
        head, _, query = part.partition("\n")
        name, *columns = head.split()
        kinds = dict(column.split(":") for column in columns)
        found.append((name, query.strip().rstrip(";"), kinds))
    return found


def _copy_table(
    con: duckdb.DuckDBPyConnection, manifest: sqlite3.Connection, name: str, query: str, kinds: dict[str, str]
) -> None:
    import pyarrow as pa

    types = {"BIGINT": pa.int64(), "VARCHAR": pa.string()}
    schema = pa.schema([(column, types[kind]) for column, kind in kinds.items()])
    con.register("copied_rows", schema.empty_table())
    con.execute(f"CREATE OR REPLACE TABLE {name} AS FROM copied_rows")
    cursor = manifest.execute(query)
    while batches := list(islice(_batches(cursor, schema), _INSERT_BATCHES)):
        con.register("copied_rows", pa.Table.from_batches(batches, schema=schema))
        con.execute(f"INSERT INTO {name} FROM copied_rows")
    con.unregister("copied_rows")


def _batches(cursor: sqlite3.Cursor, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    while rows := cursor.fetchmany(_FETCH_ROWS):
        columns = zip(*rows, strict=True)
        arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
        yield pa.record_batch(arrays, schema=schema)
