"""The analyst database ``tokenledger.duckdb``: every public table, commented, in one file that is replaced as a whole.

Here: building the file aside and renaming it.  Not here: the tables (``exports.tables``).

A reader that has the old file open keeps it, consistent, until it closes; nobody waits for anybody.  The file holds
tables, not views over other files, in the storage format of DuckDB 1.4, and no write-ahead log is left beside it.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tokenledger_dagster.contracts.columns import comment_statements, create_statement
from tokenledger_dagster.contracts.tables import TABLES
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.exports.tables import BuiltTable, stored
from tokenledger_dagster.fileio import staged, write_json_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.observability import names
from tokenledger_dagster.observability.metrics import MetricsBackend, NoopMetrics

if TYPE_CHECKING:
    import duckdb

STORAGE_VERSION = "v1.4.0"
"""The oldest DuckDB that analysts may read the file with."""

_REVISION = "1"
_NO_REASON_TO_REBUILD = ("runs",)
"""A run that changed nothing leaves a row here; that alone is no reason to write the whole file again."""


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """The published database."""

    path: Path
    digest: str
    """Stands for the content of its tables, hex."""
    bytes: int
    row_count: int
    tables: dict[str, int]
    """Rows by table."""
    duration_ms: int
    cache_hit: bool
    """True where no table had changed and the file was left as it was."""


class _Memory(msgspec.Struct):
    """``_published.json``: what the file was built from, and its stamp to notice that somebody else wrote it."""

    digest: str
    bytes: int
    mtime_ns: int
    tables: dict[str, int]


def publish(home: Home, *, force: bool = False, metrics: MetricsBackend | None = None) -> Published:
    """Publishes all public tables as ``tokenledger.duckdb``.

    Args:
        home: the ledger's home.
        force: build the file even when nothing changed.
        metrics: where figures go.

    Raises:
        TokenLedgerError: a table was not built yet.
    """
    started = time.perf_counter()
    tables = {name: _table(home, name) for name in TABLES}
    digest = _digest(tables)
    known = _remembered(home)
    if (
        not force
        and known is not None
        and known.digest == digest
        and _stamp(home.duckdb_path) == (known.bytes, known.mtime_ns)
    ):
        return _published(home, known, started, cache_hit=True)
    with staged(home.duckdb_path) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            _write(temporary, tables)
        finally:
            # DuckDB removes it at the checkpoint; after a failure it would be left
            temporary.with_name(temporary.name + ".wal").unlink(missing_ok=True)
        size = temporary.stat().st_size
    made = _Memory(digest, *_stamp(home.duckdb_path), {name: table.row_count for name, table in tables.items()})
    write_json_atomic(home.tables / "_published.json", made)
    result = _published(home, made, started, cache_hit=False)
    told = metrics or NoopMetrics()
    told.gauge(names.PUBLISH_BYTES, size, artifact="warehouse")
    told.histogram(names.PUBLISH_DURATION, time.perf_counter() - started, artifact="warehouse")
    return result


def is_published(home: Home) -> bool:
    """Whether the database was made from the tables as they are now; not whether somebody changed it since."""
    known = _remembered(home)
    if known is None or any(stored(home, name) is None for name in TABLES):
        return False
    return known.digest == _digest({name: _table(home, name) for name in TABLES})


def _table(home: Home, name: str) -> BuiltTable:
    found = stored(home, name)
    if found is None:
        raise TokenLedgerError(f"{home.tables}: table {name} was not built yet; run `tokenledger orchestrate`")
    return found


def _digest(tables: dict[str, BuiltTable]) -> str:
    digest = hashlib.blake2b(f"{_REVISION} {STORAGE_VERSION}".encode(), digest_size=16)
    for name, table in tables.items():
        digest.update(msgspec.json.encode(TABLES[name]))
        if name not in _NO_REASON_TO_REBUILD:
            digest.update(f"{name} {table.digest}".encode())
    return digest.hexdigest()


def _write(path: Path, tables: dict[str, BuiltTable]) -> None:
    import duckdb

    with duckdb.connect() as con:
        # else DuckDB would spill into whatever folder the caller works in
        con.execute(f"SET temp_directory = {literal(path.parent / 'tables' / '.spill')}")
        con.execute(f"ATTACH {literal(path)} AS published (STORAGE_VERSION {literal(STORAGE_VERSION)})")
        con.execute("USE published")
        for name, table in tables.items():
            _copy(con, name, table)
        con.execute("CHECKPOINT published")
        con.execute("USE memory")
        con.execute("DETACH published")


def _copy(con: duckdb.DuckDBPyConnection, name: str, table: BuiltTable) -> None:
    contract = TABLES[name]
    con.execute(create_statement(contract))
    con.execute(f'INSERT INTO "{name}" BY NAME SELECT * FROM read_parquet({literal(table.path)})')
    for statement in comment_statements(contract):
        con.execute(statement)


def _published(home: Home, known: _Memory, started: float, *, cache_hit: bool) -> Published:
    return Published(
        path=home.duckdb_path,
        digest=known.digest,
        bytes=known.bytes,
        row_count=sum(known.tables.values()),
        tables=known.tables,
        duration_ms=round((time.perf_counter() - started) * 1000),
        cache_hit=cache_hit,
    )


def _remembered(home: Home) -> _Memory | None:
    try:
        return msgspec.json.decode((home.tables / "_published.json").read_bytes(), type=_Memory)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of modification, zeros where there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns
