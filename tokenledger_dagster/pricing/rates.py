"""The committed rate table at run time: load it, find the rate of a request, multiply.

Money is integer nano-USD (1 USD = 1,000,000,000), rates are nano-USD per million tokens. Standard library and msgspec
only: every command that shows a price pays for this import. Where the table comes from is `generate.py`; which channel
and context a request belongs to is `context.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from tokenledger_dagster.models.names import SYNTHETIC
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY

Units = tuple[int, int, int, int, int]
"""Input, cache read, 5-minute cache write, 1-hour cache write, output."""

ListBasis = Literal["channel", "maker"]

UNIT_COLUMNS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
HIGH_COLUMNS = tuple(f"{unit}_high" for unit in UNIT_COLUMNS)
COLUMNS = (
    "channel",
    "model",
    "context",
    "valid_from_utc",
    "valid_to_utc",
    "tod_from",
    "tod_to",
    "tier_from_tokens",
    "tier_inclusive",
    *UNIT_COLUMNS,
    *HIGH_COLUMNS,
    "own_channel",
    "price_list_model",
    "source",
    "source_version",
    "status",
    "confidence",
)
"""Columns of `config/rates.csv`, in order."""

STANDARD = "standard"
MAKER_CONFIDENCE_CAP = 84
STRICT_CONTEXT = "variant=free"
"""A free variant is free only where a row says so; the paid rate would be a made-up price."""

_DAY_US = 86_400_000_000
_SLOT_US = 1_800_000_000
_OPEN = 2**62
_MTOK = 1_000_000


class Rate(msgspec.Struct, frozen=True):
    """One resolved row. All rates in nano-USD per million tokens; the `_high` ones apply above the tier."""

    channel: str
    """Channel the rate was found under: with `list_basis` maker, the maker's own."""
    model: str
    priced_context: str
    valid_from_us: int | None
    valid_to_us: int | None
    tier_from_tokens: int | None
    tier_inclusive: bool
    input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int
    input_high: int
    cache_read_high: int
    cache_write_5m_high: int
    cache_write_1h_high: int
    output_high: int
    list_basis: ListBasis
    confidence: int
    source: str
    source_version: str
    status: str
    """`active`, or `scheduled` when the price list announced another rate from before this event's day on."""

    def units(self, *, high: bool) -> Units:
        """Return the five unit rates below (`high=False`) or above the tier threshold."""
        if high:
            return (
                self.input_high,
                self.cache_read_high,
                self.cache_write_5m_high,
                self.cache_write_1h_high,
                self.output_high,
            )
        return self.input, self.cache_read, self.cache_write_5m, self.cache_write_1h, self.output


class _Period(msgspec.Struct, frozen=True):
    """When one row holds: days as microseconds since the epoch, time of day as microseconds since midnight."""

    row: list[str]
    start_us: int
    end_us: int
    tod_from_us: int
    tod_to_us: int
    outlived_us: int
    """From here on the row stands in for a scheduled one that the ledger does not price with yet."""

    def holds(self, ts_us: int) -> bool:
        return self.start_us <= ts_us < self.end_us and self.tod_from_us <= ts_us % _DAY_US < self.tod_to_us


class RateTable:
    """The rates of one price snapshot, immutable once loaded."""

    def __init__(self, rows: Iterable[list[str]], snapshot_id: str) -> None:
        self.snapshot_id = snapshot_id
        self._rows: dict[tuple[str, str], list[list[str]]] = {}
        self._own_channel: dict[str, str] = {}
        slotted: set[str] = set()
        for row in rows:
            self._rows.setdefault((row[_CHANNEL], row[_MODEL]), []).append(row)
            if row[_OWN_CHANNEL]:
                self._own_channel[row[_MODEL]] = row[_CHANNEL]
            if row[_TOD_FROM]:
                slotted.add(row[_MODEL])
        self.slotted_models = frozenset(slotted)
        """Models with time-of-day rates: their bucket is a 30-minute slot instead of a day."""
        self._periods: dict[tuple[str, str], dict[str, list[_Period]]] = {}
        self._resolved: dict[tuple[str, str, str, int], Rate | None] = {}

    @classmethod
    def load(cls, path: Path) -> RateTable:
        """Return the table in a `rates.csv` file; its `snapshot_id` is the first 16 hex digits of the file's SHA-256.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file's columns are not `COLUMNS`; regenerate it.
        """
        import csv

        content = path.read_bytes()
        reader = csv.reader(content.decode("utf-8").splitlines())
        header = next(reader, [])
        if tuple(header) != COLUMNS:
            raise ValueError(f"{path}: unexpected columns {header}; regenerate the rate table")
        return cls(reader, hashlib.sha256(content).hexdigest()[:16])

    def bucket(self, channel: str, model: str, ts_us: int) -> int:
        """Return the number of the stretch of time within which a model's rate cannot change.

        That is the UTC day since the epoch, or the 30-minute slot for `slotted_models`. The channel is part of the
        signature because buckets are only comparable within one (channel, model).
        """
        return ts_us // (_SLOT_US if model in self.slotted_models else _DAY_US)

    def bucket_start_us(self, channel: str, model: str, bucket: int) -> int:
        """Return the first microsecond of a bucket of this (channel, model)."""
        return bucket * (_SLOT_US if model in self.slotted_models else _DAY_US)

    def resolve(self, channel: str, model: str, context: str, ts_us: int) -> Rate | None:
        """Return the rate for a request, or None when neither the channel nor the maker lists the model.

        A requested context without a row falls back to one of its parts, then to standard; a channel without the
        model falls back to the maker's own list price (`list_basis` maker, confidence at most 84). Rates the price
        list only announced are not used: the last active one stays, marked `scheduled`.

        Args:
            channel: the price list's provider id, from `channel_for`.
            model: canonical model id.
            context: requested context, from `requested_context`.
            ts_us: time of the request, microseconds since the epoch, UTC.
        """
        if model == SYNTHETIC:
            return _free_rate(channel)
        key = (channel, model, context, self.bucket(channel, model, ts_us))
        if key not in self._resolved:
            self._resolved[key] = self._find(channel, model, context, ts_us)
        return self._resolved[key]

    def steady(self, model: str, ts_us: int) -> tuple[int, int]:
        """Return the stretch of time around an instant in which no rate of a model (not slotted) begins or ends."""
        days = {
            _day_us(row[column], -_OPEN)
            for (_, name), rows in self._rows.items()
            if name == model
            for row in rows
            for column in (_COLUMN["valid_from_utc"], _COLUMN["valid_to_utc"])
        }
        return max((day for day in days if day <= ts_us), default=-_OPEN), min(
            (day for day in days if day > ts_us), default=_OPEN
        )

    def _find(self, channel: str, model: str, context: str, ts_us: int) -> Rate | None:
        own = self._own_channel.get(model)
        places: list[tuple[str, ListBasis]] = [(channel, "channel")]
        if own is not None and own != channel:
            places.append((own, "maker"))
        for where, basis in places:
            contexts = self._contexts(where, model)
            for candidate in _fallbacks(context):
                period = next((p for p in contexts.get(candidate, ()) if p.holds(ts_us)), None)
                if period is not None:
                    return _as_rate(period, basis, ts_us)
        return None

    def _contexts(self, channel: str, model: str) -> dict[str, list[_Period]]:
        key = (channel, model)
        if key not in self._periods:
            by_context: dict[str, list[list[str]]] = {}
            for row in self._rows.get(key, ()):
                by_context.setdefault(row[_CONTEXT], []).append(row)
            self._periods[key] = {context: _periods(rows) for context, rows in by_context.items()}
        return self._periods[key]


@cache
def rate_table() -> RateTable:
    """Return the committed rate table, loaded once a process."""
    return RateTable.load(CONFIG_DIRECTORY / "rates.csv")


def price_nano(
    rate: Rate,
    input_tokens: int,
    cache_read: int,
    cache_write_5m: int,
    cache_write_1h: int,
    output: int,
    *,
    is_sum: bool = False,
) -> int:
    """Return the price of one request in nano-USD, rounded half-even once.

    The tier is a step on the whole request: when input plus cache reads plus cache writes cross the threshold, every
    token of the request, output included, pays the high rate.  Of several requests that are known only together
    (`is_sum`) each is taken to lie below it.
    """
    prompt = input_tokens + cache_read + cache_write_5m + cache_write_1h
    high = (
        not is_sum
        and rate.tier_from_tokens is not None
        and (prompt > rate.tier_from_tokens or (rate.tier_inclusive and prompt == rate.tier_from_tokens))
    )
    units = rate.units(high=high)
    counts = (input_tokens, cache_read, cache_write_5m, cache_write_1h, output)
    whole, rest = divmod(sum(count * unit for count, unit in zip(counts, units, strict=True)), _MTOK)
    if 2 * rest > _MTOK or (2 * rest == _MTOK and whole % 2):
        whole += 1
    return whole


_COLUMN = {name: index for index, name in enumerate(COLUMNS)}
_CHANNEL = _COLUMN["channel"]
_MODEL = _COLUMN["model"]
_CONTEXT = _COLUMN["context"]
_TOD_FROM = _COLUMN["tod_from"]
_OWN_CHANNEL = _COLUMN["own_channel"]
_FIRST_UNIT = _COLUMN["input"]


def _fallbacks(context: str) -> list[str]:
    if context == STANDARD:
        return [STANDARD]
    parts = context.split(";")
    if STRICT_CONTEXT in parts:
        return [context, STRICT_CONTEXT]
    return [context, *(parts if len(parts) > 1 else ()), STANDARD]


def _periods(rows: list[list[str]]) -> list[_Period]:
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


def _as_rate(period: _Period, basis: ListBasis, ts_us: int) -> Rate:
    row = period.row
    low = [int(value) for value in row[_FIRST_UNIT : _FIRST_UNIT + 5]]
    tier = row[_COLUMN["tier_from_tokens"]]
    high = [int(value) for value in row[_FIRST_UNIT + 5 : _FIRST_UNIT + 10]] if tier else low
    confidence = int(row[_COLUMN["confidence"]])
    units = dict(zip((*UNIT_COLUMNS, *HIGH_COLUMNS), (*low, *high), strict=True))
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
        **dict.fromkeys((*UNIT_COLUMNS, *HIGH_COLUMNS), 0),
    )
