"""The rate table at run time: layers of rate rows, and the row of a request among them.

Here: loading rows, and finding the one that holds for a channel, model, context and moment. Layers are asked in order:
the user's pricing book, the built-in price list, imported lists. Not here: what a row costs (`rates.py`), which channel
and context a request belongs to (`context.py`), which tables a ledger has accepted (`snapshots.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.models.names import SYNTHETIC
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY
from tokenledger_dagster.pricing.rates import (
    BOOK,
    BOOK_COLUMNS,
    BUILT_IN,
    COLUMNS,
    HIGH_COLUMNS,
    MAKER_CONFIDENCE_CAP,
    MIN_CONFIDENCE,
    STANDARD,
    STRICT_CONTEXT,
    TOOL_COLUMNS,
    UNIT_COLUMNS,
    ListBasis,
    Rate,
)

if TYPE_CHECKING:
    from tokenledger_dagster.models.names import ModelName
    from tokenledger_dagster.pricing.book import Book

Row = Sequence[str]
"""Cells in the order of `COLUMNS`, of the book in that of `BOOK_COLUMNS`."""

_DAY_US = 86_400_000_000
_SLOT_US = 1_800_000_000
_OPEN = 2**62
_COLUMN = {name: index for index, name in enumerate(BOOK_COLUMNS)}
_CHANNEL = _COLUMN["channel"]
_MODEL = _COLUMN["model"]
_CONTEXT = _COLUMN["context"]
_TOD_FROM = _COLUMN["tod_from"]
_OWN_CHANNEL = _COLUMN["own_channel"]
_FIRST_UNIT = _COLUMN["input"]
_FIRST_TOOL = _COLUMN["tool_input"]
_PROVIDER = _COLUMN["provider"]
_CONFIDENCE = _COLUMN["confidence"]


class RateTableError(TokenLedgerError):
    """A file of rates cannot be used; the message names it and the remedy."""


_REMEDY = "import an imported list again, regenerate the built-in one (`tokenledger rates generate`)"


class _Period(msgspec.Struct, frozen=True):
    """When one row holds: days as microseconds since the epoch, time of day as microseconds since midnight."""

    row: Row
    start_us: int
    end_us: int
    tod_from_us: int
    tod_to_us: int
    outlived_us: int
    """From here on the row stands in for a scheduled one that the ledger does not price with yet."""

    def holds(self, ts_us: int) -> bool:
        return self.start_us <= ts_us < self.end_us and self.tod_from_us <= ts_us % _DAY_US < self.tod_to_us


class Layer:
    """The rows of one source, by whose price they are (a channel; in the book a provider) and model."""

    def __init__(self, name: str, rows: Iterable[Row], by: int = _CHANNEL) -> None:
        self.name = name
        self.rows: dict[tuple[str, str], list[Row]] = {}
        self.own_channel: dict[str, str] = {}
        self.slotted: set[str] = set()
        for row in rows:
            self.rows.setdefault((row[by], row[_MODEL]), []).append(row)
            if row[_OWN_CHANNEL]:
                self.own_channel[row[_MODEL]] = row[_CHANNEL]
            if row[_TOD_FROM]:
                self.slotted.add(row[_MODEL])
        self._periods: dict[tuple[str, str], dict[str, list[_Period]]] = {}

    def period(self, whose: str, model: str, context: str, ts_us: int) -> _Period | None:
        """Return the row that holds, None where there is none."""
        key = (whose, model)
        if key not in self.rows:
            return None
        if key not in self._periods:
            by_context: dict[str, list[Row]] = {}
            for row in self.rows[key]:
                by_context.setdefault(row[_CONTEXT], []).append(row)
            self._periods[key] = {name: _periods(rows) for name, rows in by_context.items()}
        return next((period for period in self._periods[key].get(context, ()) if period.holds(ts_us)), None)


class RateTable:
    """The rates of one price snapshot, immutable once loaded."""

    def __init__(
        self,
        rows: Iterable[Row],
        snapshot_id: str,
        *,
        book: Book | None = None,
        lists: Mapping[str, Iterable[Row]] | None = None,
    ) -> None:
        self.snapshot_id = snapshot_id
        self.book = book
        self._book = Layer(BOOK, book.rows, _PROVIDER) if book is not None else None
        self._lists = [Layer(BUILT_IN, rows), *(Layer(name, listed) for name, listed in (lists or {}).items())]
        layers = self.layers
        self.slotted_models = frozenset(set().union(*(layer.slotted for layer in layers)))
        """Models with time-of-day rates: their bucket is a 30-minute slot instead of a day."""
        self._resolved: dict[tuple[str, str, str, str, int], Rate | None] = {}

    @classmethod
    def load(cls, path: Path) -> RateTable:
        """Return the table in a `rates.csv` file; its `snapshot_id` is the first 16 hex digits of the file's SHA-256.

        Raises:
            FileNotFoundError: there is no such file.
            RateTableError: the file's columns are not `COLUMNS`.
        """
        content = path.read_bytes()
        return cls(read_rows(content, str(path)), hashlib.sha256(content).hexdigest()[:16])

    @property
    def layers(self) -> list[Layer]:
        """Return the layers in the order in which they are asked."""
        return [*([self._book] if self._book is not None else []), *self._lists]

    def bucket(self, channel: str, model: str, ts_us: int) -> int:
        """Return the number of the stretch of time within which a model's rate cannot change.

        That is the UTC day since the epoch, or the 30-minute slot for `slotted_models`. The channel is part of the
        signature because buckets are only comparable within one (channel, model).
        """
        return ts_us // (_SLOT_US if model in self.slotted_models else _DAY_US)

    def bucket_start_us(self, channel: str, model: str, bucket: int) -> int:
        """Return the first microsecond of a bucket of this (channel, model)."""
        return bucket * (_SLOT_US if model in self.slotted_models else _DAY_US)

    def named(self, provider: str, name: ModelName) -> ModelName:
        """Return the name under which the provider's book prices a model, else the name itself."""
        return name if self.book is None else self.book.named(provider, name)

    def resolve(self, channel: str, model: str, context: str, ts_us: int, provider: str = "") -> Rate | None:
        """Return the rate for a request, or None when no layer lists the model for the channel or the maker.

        A context that is asked for is looked up in every layer before its parts are, and these before standard; a
        channel without the model falls back to the maker's own list price (`list_basis` maker, confidence at most 84).
        Rates that were only announced are not used: the last active one stays, marked `scheduled`.

        Args:
            channel: the price list's provider id, from `channel_for`.
            model: canonical model id, or the book's own name of it (`named`).
            context: requested context, from `requested_context`.
            ts_us: time of the request, microseconds since the epoch, UTC.
            provider: the pricing book's key of whoever bills; only a book needs it.
        """
        if model == SYNTHETIC:
            return _free_rate(channel)
        key = (provider if self.book is not None else "", channel, model, context, self.bucket(channel, model, ts_us))
        if key not in self._resolved:
            self._resolved[key] = self._find(provider, channel, model, context, ts_us)
        return self._resolved[key]

    def steady(self, model: str, ts_us: int) -> tuple[int, int]:
        """Return the stretch of time around an instant in which no rate of a model (not slotted) begins or ends."""
        days = {
            _day_us(row[column], -_OPEN)
            for layer in self.layers
            for (_, name), rows in layer.rows.items()
            if name == model
            for row in rows
            for column in (_COLUMN["valid_from_utc"], _COLUMN["valid_to_utc"])
        }
        return max((day for day in days if day <= ts_us), default=-_OPEN), min(
            (day for day in days if day > ts_us), default=_OPEN
        )

    def steady_from(self, channel: str, model: str, context: str, ts_us: int) -> tuple[int, int]:
        """Return a stretch of whole days around an instant in which the rate of a request (not slotted) is the same."""
        start = ts_us // _DAY_US * _DAY_US
        return start, start + _DAY_US

    def _find(self, provider: str, channel: str, model: str, context: str, ts_us: int) -> Rate | None:
        own = next((layer.own_channel[model] for layer in self._lists if model in layer.own_channel), None)
        listed = [(layer, channel) for layer in self._lists]
        places: list[tuple[list[tuple[Layer, str]], ListBasis]] = [
            ([(self._book, provider), *listed] if self._book is not None else listed, "channel")
        ]
        if own is not None and own != channel:
            places.append(([(layer, own) for layer in self._lists], "maker"))
        for layers, basis in places:
            for candidate in _fallbacks(context):
                for layer, whose in layers:
                    period = layer.period(whose, model, candidate, ts_us)
                    if period is not None and int(period.row[_CONFIDENCE]) >= MIN_CONFIDENCE:
                        return _as_rate(period, basis, ts_us, layer.name)
        return None


def read_rows(content: bytes, path: str) -> Iterable[Row]:
    """Return the rows of a rate table as CSV.

    Raises:
        RateTableError: it is none, or its columns are not `COLUMNS`.
    """
    import csv

    try:
        reader = csv.reader(content.decode("utf-8").splitlines())
        header = next(reader, [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise RateTableError(f"{path}: is no rate table ({error}); {_REMEDY}") from error
    if tuple(header) != COLUMNS:
        raise RateTableError(f"{path}: has the columns of another version of this program; {_REMEDY}")
    return reader


@cache
def rate_table() -> RateTable:
    """Return the committed rate table, loaded once a process."""
    return RateTable.load(CONFIG_DIRECTORY / "rates.csv")


def _fallbacks(context: str) -> list[str]:
    if context == STANDARD:
        return [STANDARD]
    parts = context.split(";")
    if STRICT_CONTEXT in parts:
        return [context, STRICT_CONTEXT]
    return [context, *(parts if len(parts) > 1 else ()), STANDARD]


def _periods(rows: Sequence[Row]) -> list[_Period]:
    active = [row for row in rows if row[_COLUMN["status"]] == "active"]
    announced = min(
        (_day_us(row[_COLUMN["valid_from_utc"]], 0) for row in rows if row[_COLUMN["status"]] == "scheduled"),
        default=_OPEN,
    )
    periods = []
    for row in active:
        end = _day_us(row[_COLUMN["valid_to_utc"]], _OPEN)
        periods.append(
            _Period(
                row=row,
                start_us=_day_us(row[_COLUMN["valid_from_utc"]], -_OPEN),
                end_us=_OPEN if end == announced else end,
                tod_from_us=_minutes_us(row[_TOD_FROM], 0),
                tod_to_us=_minutes_us(row[_COLUMN["tod_to"]], _DAY_US),
                outlived_us=announced if end == announced else _OPEN,
            )
        )
    return periods


def _day_us(text: str, empty: int) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days * _DAY_US if text else empty


def _minutes_us(text: str, empty: int) -> int:
    return (int(text[:2]) * 60 + int(text[3:])) * 60_000_000 if text else empty


def _as_rate(period: _Period, basis: ListBasis, ts_us: int, layer: str) -> Rate:
    row = period.row
    low = [int(value) for value in row[_FIRST_UNIT : _FIRST_UNIT + 5]]
    tier = row[_COLUMN["tier_from_tokens"]]
    high = [int(value) for value in row[_FIRST_UNIT + 5 : _FIRST_UNIT + 10]] if tier else low
    if len(row) > _FIRST_TOOL:
        tools = [int(value) for value in row[_FIRST_TOOL : _FIRST_TOOL + 4]]
    else:
        tools = [low[0], low[4], high[0], high[4]]
    confidence = int(row[_COLUMN["confidence"]])
    names = (*UNIT_COLUMNS, *HIGH_COLUMNS, *TOOL_COLUMNS)
    units = dict(zip(names, (*low, *high, *tools), strict=True))
    return Rate(
        channel=row[_CHANNEL],
        model=row[_MODEL],
        priced_context=row[_CONTEXT],
        valid_from_us=None if period.start_us == -_OPEN else period.start_us,
        valid_to_us=None if period.end_us == _OPEN else period.end_us,
        tier_from_tokens=int(tier) if tier else None,
        tier_inclusive=row[_COLUMN["tier_inclusive"]] == "true",
        list_basis=basis,
        confidence=confidence if basis == "channel" else min(confidence, MAKER_CONFIDENCE_CAP),
        source=row[_COLUMN["source"]],
        source_version=row[_COLUMN["source_version"]],
        status="scheduled" if ts_us >= period.outlived_us else "active",
        layer=layer,
        **units,
    )


def _free_rate(channel: str) -> Rate:
    return Rate(
        channel=channel,
        model=SYNTHETIC,
        priced_context=STANDARD,
        valid_from_us=None,
        valid_to_us=None,
        tier_from_tokens=None,
        tier_inclusive=False,
        list_basis="channel",
        confidence=100,
        source="tokenledger",
        source_version="",
        status="active",
        layer=BUILT_IN,
        **dict.fromkeys((*UNIT_COLUMNS, *HIGH_COLUMNS, *TOOL_COLUMNS), 0),
    )
