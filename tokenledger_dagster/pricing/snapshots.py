"""Price snapshots: everything prices are made of, under one id, kept so that old prices can still be explained.

A snapshot has parts: the built-in price list (`config/rates.csv`), the user's book, imported lists; its id stands for
their bytes. Here: the snapshot of this moment, keeping one in a home (`prices/`), and its rate table. Not here: which
snapshot a ledger has accepted (`ingest.accepted`), and what accepting another one changes (`reprice.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import write_atomic, write_json_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY
from tokenledger_dagster.pricing.rates import BOOK, BUILT_IN, COLUMNS

if TYPE_CHECKING:
    from tokenledger_dagster.pricing.book import Book
    from tokenledger_dagster.pricing.rate_table import RateTable

SCHEMA_VERSION = 1
ID_LENGTH = 16
_AGAIN = "`tokenledger pricing import` takes it again"


class SnapshotError(TokenLedgerError):
    """A snapshot that a ledger was priced with is not there any more, or is damaged."""


class _Record(msgspec.Struct, frozen=True):
    """`prices/<id>.json`."""

    schema_version: int
    snapshot_id: str
    parts: dict[str, str]
    """Name of the part -> SHA-256 of its bytes, which lie in `prices/parts/`."""


class Snapshot:
    """One price snapshot; its parts are read when they are needed."""

    def __init__(self, parts: dict[str, str], read: Callable[[str], bytes], place: str) -> None:
        self.parts = parts
        """Name of the part (`price_list`, `book`, `litellm`, ...) -> SHA-256 of its bytes."""
        self.snapshot_id = _id_of(parts)
        self._read = read
        self._place = place

    @property
    def has_book(self) -> bool:
        """Whether a pricing book is part of it."""
        return BOOK in self.parts

    def content(self, part: str) -> bytes:
        """Return a part's bytes.  Raises SnapshotError where they are gone."""
        return self._read(part)

    @cached_property
    def book(self) -> Book | None:
        """The pricing book; None where there is none.  Raises BookError."""
        if not self.has_book:
            return None
        from tokenledger_dagster.pricing.book import parse_book  # few ledgers have one, and every report would pay

        return parse_book(self._read(BOOK), self._place)

    def check(self) -> None:
        """See whether the table could be made, without making it.

        Raises:
            BookError: the book cannot be used.
            SnapshotError: a part is gone, or has the columns of another version of this program.
        """
        header = ",".join(COLUMNS).encode()
        for name in self.parts:
            if name != BOOK and self._read(name).partition(b"\n")[0].rstrip(b"\r") != header:
                raise SnapshotError(f"price list {name}: has the columns of another version of this program; {_AGAIN}")
        _ = self.book

    @cached_property
    def table(self) -> RateTable:
        """The rates; loaded once.  Raises SnapshotError, BookError."""
        from tokenledger_dagster.pricing.rate_table import RateTable, read_rows

        rows = {name: read_rows(self._read(name), name) for name in self.parts if name != BOOK}
        return RateTable(rows.pop(BUILT_IN), self.snapshot_id, book=self.book, lists=rows)


def current(home: Home | None) -> Snapshot:
    """Return the snapshot of the files as they are now; without a home, that of the built-in list alone.

    Raises:
        BookError: the book cannot be read.
        PriceListError: what was imported is damaged.
    """
    contents = {BUILT_IN: (CONFIG_DIRECTORY / "rates.csv").read_bytes()}
    place = "config/rates.csv"
    if home is not None:
        place = str(home.pricing_book_path)
        if os.path.lexists(home.pricing_book_path):
            from tokenledger_dagster.pricing.book import read_bytes

            contents[BOOK] = read_bytes(home.pricing_book_path) or b""
        if (home.price_lists / "index.json").exists():
            from tokenledger_dagster.pricing.lists.store import current_lists, rows_content

            contents |= {found.source: rows_content(home, found) for found in current_lists(home)}
    return _of(contents, place)


def of_book(home: Home | None, book: bytes, place: str) -> Snapshot:
    """Return the snapshot that there would be with another book, which lies in memory."""
    now = current(home)
    return _of({name: now.content(name) for name in now.parts if name != BOOK} | {BOOK: book}, place)


def keep(home: Home, snapshot: Snapshot) -> None:
    """Keep a snapshot's parts in the home; a part that is there already is left as it is."""
    folder = home.prices / "parts"
    for name, digest in snapshot.parts.items():
        path = folder / digest
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(str(path), snapshot.content(name))
    path = home.prices / f"{snapshot.snapshot_id}.json"
    if not path.exists():
        write_json_atomic(path, _Record(SCHEMA_VERSION, snapshot.snapshot_id, snapshot.parts))


def kept(home: Home, snapshot_id: str) -> Snapshot | None:
    """Return a snapshot that the home keeps, None where it does not.  Raises SnapshotError for a damaged one."""
    path = home.prices / f"{snapshot_id}.json"
    try:
        record = msgspec.json.decode(path.read_bytes(), type=_Record)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise SnapshotError(f"{path}: is no price snapshot ({error}); restore it or remove it") from error

    def read(part: str) -> bytes:
        place = home.prices / "parts" / record.parts[part]
        try:
            content = place.read_bytes()
        except OSError as error:
            raise SnapshotError(f"{place}: {error.strerror or error}; restore it from a backup") from error
        if hashlib.sha256(content).hexdigest() != record.parts[part]:
            raise SnapshotError(f"{place}: is not what its name says; restore it from a backup")
        return content

    there = all((home.prices / "parts" / one).exists() for one in record.parts.values())
    if _id_of(record.parts) != snapshot_id or not there:
        return None
    return Snapshot(record.parts, read, str(path))


def by_id(home: Home, snapshot_id: str) -> Snapshot | None:
    """Return the snapshot of this id, whether it is today's or a kept one; None where it is neither."""
    try:
        now = current(home)
    except TokenLedgerError:
        now = current(None)
    return now if now.snapshot_id == snapshot_id else kept(home, snapshot_id)


def _id_of(parts: dict[str, str]) -> str:
    """The price list's own digest where nothing else takes part, so that its id is that of a file one can look at."""
    if parts.keys() == {BUILT_IN}:
        return parts[BUILT_IN][:ID_LENGTH]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:ID_LENGTH]


def _of(contents: dict[str, bytes], place: str) -> Snapshot:
    parts = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return Snapshot(parts, contents.__getitem__, place)
