"""The public tables as Parquet below ``TOKENLEDGER_HOME/tables``, each rebuilt only when what it stands on changed.

Here: when a table is built, its figures and its digest.  Not here: how each is computed (``exports.recipes`` and the
SQL beside it), its columns (``contracts.tables``), or the analyst database (``exports.warehouse``).

A digest stands for a table's content, not for its file's bytes.  It is the data version of the asset, and part of the
key of every table built on top, so that a change that changes nothing stops where it began.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tokenledger_dagster.contracts.columns import ordering, select_list
from tokenledger_dagster.contracts.tables import TABLES, Table
from tokenledger_dagster.exports.engine import literal, sql
from tokenledger_dagster.exports.recipes import RECIPES, Recipe, Site
from tokenledger_dagster.fileio import staged, write_json_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.observability import names
from tokenledger_dagster.observability.metrics import MetricsBackend, NoopMetrics

if TYPE_CHECKING:
    import duckdb

__all__ = ["BuiltTable", "build", "stored", "table_path"]

_REVISION = "1"
"""Raised when Python code that shapes a table changes; SQL and columns are part of the key by themselves."""


_FORMAT = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"
"""Higher levels take twice the time and save nothing on these columns."""


class BuiltTable(msgspec.Struct, frozen=True, kw_only=True):
    """One table as it lies on the disk."""

    name: str
    path: Path
    row_count: int
    digest: str
    """Content digest, hex; equal for equal rows in any order."""
    total_tokens: int | None
    """Sum of the table's tokens; None where it has no such column."""
    list_price_usd: Decimal | None
    """Sum of its list prices, USD; None where it has no such column."""
    duration_ms: int
    """Time this call took."""
    cache_hit: bool
    """True where nothing it stands on had changed and the file was left as it was."""


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What ``_built.json`` keeps of a table."""

    inputs: str
    row_count: int
    digest: str
    total_tokens: int
    list_price_usd: Decimal
    parts: dict[str, str] = {}
    """Keys of the parts it is made of, where a table is made part by part."""
    bytes: int = 0
    mtime_ns: int = 0
    """With ``bytes`` the stamp of the file as it was written; zeros in what older versions kept."""


class _Memory(msgspec.Struct, kw_only=True):
    """``_built.json``."""

    schema_version: int = 1
    tables: dict[str, _Stored] = {}


def build(
    name: str,
    con: duckdb.DuckDBPyConnection,
    home: Home,
    zone: str,
    *,
    force: bool = False,
    metrics: MetricsBackend | None = None,
) -> BuiltTable:
    """Brings one table up to date, and first those it is made from.

    Args:
        name: one of ``contracts.tables.TABLES``.
        con: an in-memory DuckDB connection; used only on a miss, through a cursor of its own.  The lake is attached to
            it when it has to be read, once per state: share one connection over the tables of a run.
        home: the ledger's home, synced at least once.
        zone: IANA name of the zone in which days, weeks and months are cut.
        force: build this table even when nothing changed.
        metrics: where figures go.

    Raises:
        KeyError: no such table.
        ManifestError: the home holds no ledger.
        UsageError: no such time zone.
    """
    return _Builder(con, home, zone, metrics or NoopMetrics()).build(name, force=force)


def stored(home: Home, name: str) -> BuiltTable | None:
    """The table as it was last built, None where it is not there; needs no DuckDB."""
    found = _remembered(home).tables.get(name)
    path = table_path(home, name)
    if found is None or not path.exists():
        return None
    return _result(name, path, found, time.perf_counter(), cache_hit=True)


def is_current(home: Home, name: str, con: duckdb.DuckDBPyConnection, zone: str) -> bool:
    """Whether nothing that a table stands on changed since it was built; builds nothing.

    Raises ManifestError where the home holds no ledger.
    """
    return _Builder(con, home, zone, NoopMetrics()).is_current(name)


def is_as_built(home: Home, name: str, con: duckdb.DuckDBPyConnection) -> bool:
    """Whether a table's file holds what was built: by its stamp, else by its content, as after a home was copied.

    Raises duckdb.Error where a file that somebody else wrote cannot be read.
    """
    found = _remembered(home).tables.get(name)
    path = table_path(home, name)
    if found is None:
        return False
    stat = path.stat()
    if (stat.st_size, stat.st_mtime_ns) == (found.bytes, found.mtime_ns):
        return True
    tokens, price = _sums(TABLES.get(name))
    statement = sql("figures", path=literal(path), tokens=tokens, price=price)
    # of its own: an answer that is not read to its end keeps the next one off the connection
    with con.cursor() as cursor:
        row = cursor.execute(statement).fetchone()
    return row is not None and row[1] == found.digest


def table_path(home: Home, name: str) -> Path:
    """Where a table lies; names that are no public table are hidden behind an underscore."""
    return home.tables / f"{name if name in TABLES else '_' + name}.parquet"


class _Builder:
    """One call of ``build``: tables already looked at are not looked at again."""

    def __init__(self, con: duckdb.DuckDBPyConnection, home: Home, zone: str, metrics: MetricsBackend) -> None:
        self._con = con
        self._home = home
        self._zone = zone
        self._metrics = metrics
        self._done: dict[str, BuiltTable] = {}

    def build(self, name: str, *, force: bool = False) -> BuiltTable:
        if name not in self._done:
            self._done[name] = self._build(name, RECIPES[name], force)
        return self._done[name]

    def is_current(self, name: str) -> bool:
        recipe, known = RECIPES[name], _remembered(self._home).tables.get(name)
        needed = [stored(self._home, need) for need in recipe.needs]
        there = [table for table in needed if table is not None]
        if known is None or len(there) < len(needed) or not all(map(self.is_current, recipe.needs)):
            return False
        return known.inputs == self._inputs(name, recipe, there) and table_path(self._home, name).exists()

    def _build(self, name: str, recipe: Recipe, force: bool) -> BuiltTable:
        needed = [self.build(need) for need in recipe.needs]
        started = time.perf_counter()
        inputs = self._inputs(name, recipe, needed)
        path = table_path(self._home, name)
        known = _remembered(self._home).tables.get(name)
        if known is not None and known.inputs == inputs and known.bytes and path.exists() and not force:
            return _result(name, path, known, started, cache_hit=True)
        cursor = self._con.cursor()
        try:
            parts = known.parts if known is not None and not force and _is_untouched(known, path) else {}
            made = self._write(cursor, name, recipe, path, inputs, parts)
        finally:
            cursor.close()
        _remember(self._home, name, made)
        result = _result(name, path, made, started, cache_hit=False)
        self._tell(name, result)
        return result

    def _inputs(self, name: str, recipe: Recipe, needed: list[BuiltTable]) -> str:
        """Key of everything the table's content depends on."""
        digest = hashlib.blake2b(_code(name, recipe).encode(), digest_size=16)
        for table in needed:
            digest.update(f"{table.name} {table.digest}".encode())
        digest.update(recipe.inputs(self._site()).encode())
        return digest.hexdigest()

    def _site(self) -> Site:
        return Site(home=self._home, zone=self._zone, con=self._con, path_of=lambda name: table_path(self._home, name))

    def _write(
        self,
        cursor: duckdb.DuckDBPyConnection,
        name: str,
        recipe: Recipe,
        path: Path,
        inputs: str,
        parts: dict[str, str],
    ) -> _Stored:
        site = msgspec.structs.replace(self._site(), code=_code(name, recipe), parts=parts, made={})
        query = recipe.query(cursor, site)
        table = TABLES.get(name)
        if table is not None:
            query = f"SELECT {select_list(table)} FROM ({query}) ORDER BY {ordering(table.key)}"
        with staged(path) as temporary:
            cursor.execute(f"COPY ({query}) TO {literal(temporary)} ({_FORMAT})")
            # of what was written, not of what was meant
            tokens, price = _sums(table)
            statement = sql("figures", path=literal(temporary), tokens=tokens, price=price)
            row = cursor.execute(statement).fetchone()
        assert row is not None  # an aggregate always has one
        stat = path.stat()
        return _Stored(
            inputs=inputs,
            row_count=row[0],
            digest=row[1],
            total_tokens=row[2],
            list_price_usd=row[3],
            parts=site.made,
            bytes=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
        )

    def _tell(self, name: str, result: BuiltTable) -> None:
        if name == "event_costs":
            self._metrics.histogram(names.PRICING_DURATION, result.duration_ms / 1000)
        if name == "unpriced":
            self._metrics.gauge(names.PRICING_UNPRICED_TOKENS, result.total_tokens or 0)


def _code(name: str, recipe: Recipe) -> str:
    """Stands for the columns and the SQL of a table."""
    digest = hashlib.blake2b(_REVISION.encode(), digest_size=16)
    if name in TABLES:
        digest.update(msgspec.json.encode(TABLES[name]))
    for file_name in recipe.sql_files:
        digest.update(sql(file_name).encode())
    return digest.hexdigest()


def _is_untouched(known: _Stored, path: Path) -> bool:
    """Whether a table's file is the one that was written, by its stamp."""
    try:
        stat = path.stat()
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (known.bytes, known.mtime_ns)


_NO_COLUMN = "0"
"""What is summed where a table has no such column."""


def _sums(table: Table | None) -> tuple[str, str]:
    """Expressions for the tokens and list price of a table."""
    columns = table.column_names if table else ()
    tokens = next((f"sum({name})" for name in ("total_tokens", "unpriced_tokens") if name in columns), _NO_COLUMN)
    return tokens, "sum(list_price_usd)" if "list_price_usd" in columns else _NO_COLUMN


def _result(name: str, path: Path, kept: _Stored, started: float, *, cache_hit: bool) -> BuiltTable:
    tokens, price = _sums(TABLES.get(name))
    return BuiltTable(
        name=name,
        path=path,
        row_count=kept.row_count,
        digest=kept.digest,
        total_tokens=None if tokens == _NO_COLUMN else kept.total_tokens,
        list_price_usd=None if price == _NO_COLUMN else kept.list_price_usd,
        duration_ms=round((time.perf_counter() - started) * 1000),
        cache_hit=cache_hit,
    )


# -------------------------------------------------------------------- what is remembered of built tables


def _remembered(home: Home) -> _Memory:
    """What ``_built.json`` says; nothing when it is missing or not understood, and then all is built anew."""
    try:
        return msgspec.json.decode((home.tables / "_built.json").read_bytes(), type=_Memory)
    except (FileNotFoundError, msgspec.DecodeError):
        return _Memory()


def _remember(home: Home, name: str, kept: _Stored) -> None:
    with _memory_lock(home):
        memory = _remembered(home)
        memory.tables[name] = kept
        write_json_atomic(home.tables / "_built.json", memory)


@contextlib.contextmanager
def _memory_lock(home: Home) -> Iterator[None]:
    """Steps of one run may be processes of their own; each adds its table to the same file."""
    handle = os.open(home.tables / "._built.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
