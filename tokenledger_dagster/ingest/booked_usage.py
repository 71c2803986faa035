"""What was booked, summed by everything that decides a price: what coverage, reconciling and re-pricing start from.

Here: reading these sums from the manifest, whose packs are settled first. Not here: what is made of them (`pricing`).
Times are UTC; a month is a calendar month of a time zone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path

import msgspec

from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.settling import settle
from tokenledger_dagster.ingest.zones import DAY_US, Zone
from tokenledger_dagster.models.names import SYNTHETIC, ModelName
from tokenledger_dagster.pricing.context import booked_provider
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import Rate
from tokenledger_dagster.quarters import SLOT_US
from tokenledger_dagster.usage.selection import as_date, month_days

_SQL = Path(__file__).with_name("booked_usage.sql")
_EPOCH = date(1970, 1, 1)
_SLOTS_A_DAY = DAY_US // SLOT_US
HALF_HOUR_US = 2 * SLOT_US


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of one half hour (UTC) that have their rate in common."""

    model_no: int
    client: str
    provider: str
    """Key of the pricing book for whoever serves and bills, as reports name it."""
    biller: str
    """The same as rates are looked up: where the request itself named its channel, that channel's."""
    channel: str
    model_raw: str | None
    name: ModelName
    upstream: str | None
    requested_context: str
    day: int
    """UTC, days since 1970."""
    half_hour: int = 24
    """Half hour of that day; rates by the time of day change on it."""
    event_count: int
    priceable_count: int
    """Of them, those that count tokens: the others cost nothing, whatever the rates."""
    tokens: int
    unpriced_count: int
    unpriced_tokens: int
    """Of requests without a price; tokens of a request that counts none need no price."""
    list_nano: int
    reported_nano: int
    """What logs say that these cost, where they say so."""
    reported_list_nano: int
    """List price of exactly those."""
    reported_count: int
    unpriced_reason: str | None
    """One of their reasons."""

    @property
    def needs_price(self) -> bool:
        """False for messages that a client made up itself."""
        return self.name.model != SYNTHETIC and self.tokens > 0

    @property
    def half_hours(self) -> int:
        """Half hours since 1970, UTC."""
        return self.day * (DAY_US // HALF_HOUR_US) + self.half_hour

    def rate(self, table: RateTable) -> Rate | None:
        """The rate that a table has for these; None where there is none that may be used."""
        found = table.named(self.biller, self.name)
        if found.confidence < 60:
            return None
        at = self.half_hours * HALF_HOUR_US
        return table.resolve(self.channel, found.model, self.requested_context, at, self.biller)


@contextmanager
def settled(home: Home) -> Iterator[sqlite3.Connection]:
    """A read-only manifest in which every event stands as a row.  Raises ManifestError."""
    settle(home)
    connection = connect(home, read_only=True)
    try:
        connection.execute("BEGIN")
        yield connection
    finally:
        connection.close()


def booked_usage(connection: sqlite3.Connection, month: str | None = None, zone: str = "UTC") -> list[Usage]:
    """Everything that was booked, or in one month of a zone.  Raises UsageError for what is no month."""
    start, end = (-(2**62), 2**62) if month is None else month_bounds(month, zone)
    found = []
    for row in connection.execute(_SQL.read_text("utf-8"), (start, end)):
        number, client, provider, raw, upstream, model, maker, modifiers, rule, confidence, channel, context, *rest = (
            row
        )
        name = ModelName(model, maker, msgspec.json.decode(modifiers, type=dict[str, str]), rule, confidence)
        found.append(
            Usage(
                model_no=number,
                client=client,
                provider=provider,
                biller=booked_provider(client, name, upstream, channel),
                channel=channel,
                model_raw=raw,
                name=name,
                upstream=upstream,
                requested_context=context,
                **dict(zip(_SUMS, rest, strict=True)),
            )
        )
    return found


def last_used(home: Home) -> dict[str, date]:
    """The last UTC day on which each canonical model was used; empty in a home that was never filled."""
    if not home.manifest_path.exists():
        return {}
    query = "SELECT m.model, max(c.slot) FROM slots c JOIN models m USING (model_no) GROUP BY m.model"
    with closing(connect(home, read_only=True)) as connection:
        found = connection.execute(query).fetchall()
    return {model: as_date(slot // _SLOTS_A_DAY) for model, slot in found}


def latest_month(connection: sqlite3.Connection, zone: str) -> str | None:
    """The month of the latest event, None in an empty ledger."""
    (latest,) = connection.execute("SELECT max(timestamp_us) FROM events").fetchone()
    return None if latest is None else (_EPOCH + timedelta(days=Zone(zone).day(latest))).isoformat()[:7]


def month_bounds(month: str, zone: str) -> tuple[int, int]:
    """First microsecond of a month, YYYY-MM, and of the next.  Raises UsageError."""
    first, last = map(date.fromisoformat, month_days(month))
    return _local_us(first, Zone(zone)), _local_us(last + timedelta(days=1), Zone(zone))


def _local_us(day: date, zone: Zone) -> int:
    """The instant at which a local day begins."""
    naive = (day - _EPOCH).days * DAY_US
    # the offset at the instant itself; where clocks change on that night, the one after the change
    return naive - zone.offset_us(naive - zone.offset_us(naive))


_SUMS = (
    "day",
    "half_hour",
    "event_count",
    "priceable_count",
    "tokens",
    "unpriced_count",
    "unpriced_tokens",
    "list_nano",
    "reported_nano",
    "reported_list_nano",
    "reported_count",
    "unpriced_reason",
)
