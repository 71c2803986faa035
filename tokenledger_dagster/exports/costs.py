"""The price of every published event, worked out anew from the events themselves, month by month.

Here: what has to be looked up in Python (names, channels, contexts, rates), once per distinct key, for
``event_costs.sql`` to multiply, and telling which months have to be priced at all.  Not here: booking's own price of an
event (``ingest.ledger``), which this one is checked against; fees of plans (``exports.allocation``).

A month (UTC) is priced again when its events, the snapshot they were priced under, or the declared plans changed; rows
of all other months are taken from the table as it is.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tokenledger_dagster.exports.engine import columns_of, literal, load, sql
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest import overridden
from tokenledger_dagster.ingest.accepted import standing
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.pricing.context import channels, plain_context
from tokenledger_dagster.pricing.events import look_up
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import MAKER_CONFIDENCE_CAP
from tokenledger_dagster.pricing.resolve import (
    RateKey,
    price_events_sql,
    resolve_distinct,
    resolved_rates_ddl,
)
from tokenledger_dagster.pricing.snapshots import Snapshot

if TYPE_CHECKING:
    import duckdb

    from tokenledger_dagster.models.overrides import Overrides

COSTS = "event_costs"
_DISTINCT = "SELECT DISTINCT channel, model, requested_context, bucket, provider FROM events WHERE bucket IS NOT NULL"


class Prices(msgspec.Struct, frozen=True):
    """What a ledger's events are priced with."""

    snapshot: Snapshot
    months: dict[str, str]
    """UTC month -> snapshot under which its events have the prices that they have."""
    overrides: Overrides | None
    """Names that a person gave, as events were booked with them."""

    @property
    def key(self) -> str:
        """Stands for all of it."""
        return hashlib.blake2b(
            json.dumps([self.snapshot.snapshot_id, self.months]).encode(), digest_size=16
        ).hexdigest()


class _Named(msgspec.Struct, frozen=True):
    """One distinct way a request is named, with what follows from it for its price."""

    client: str
    model_raw: str
    service_tier: str
    speed: str
    upstream: str
    message_prefix: str
    utc_day: Any
    channel: str
    model: str
    book_provider: str
    priced_model: str
    """Under which the rate is looked up: the canonical model, or what the pricing book calls it."""
    requested_context: str
    plain_context: str
    """The same without speed, tier and batch."""
    name_confidence: int
    usable: bool
    reason: str | None
    bucket_us: int


def prices_of(home: Home) -> Prices:
    """The accepted snapshot of a ledger, and that of each month.  Raises ManifestError."""
    if not home.manifest_path.exists():
        return Prices(standing(home, None).snapshot, {}, None)
    with closing(connect(home, read_only=True)) as manifest:
        return Prices(standing(home, manifest).snapshot, month_labels(manifest), overridden.booked(manifest))


def month_labels(manifest: sqlite3.Connection) -> dict[str, str]:
    """Snapshot by UTC month, in order."""
    return dict(manifest.execute("SELECT month, snapshot_id FROM price_months ORDER BY month").fetchall())


def month_keys(cursor: duckdb.DuckDBPyConnection, events: Path, prices: Prices, also: str) -> dict[str, str]:
    """By UTC month, a key of everything that its rows of ``event_costs`` depend on; ``also`` stands for the rest."""
    found = cursor.execute(sql("price_months", events=literal(events))).fetchall()
    default = prices.snapshot.snapshot_id
    rates = _rates_key(prices.snapshot.table)
    return {
        month: f"{count} {digest} {prices.months.get(month, default)} {rates(models)} {also}"
        for month, count, digest, models in found
    }


def _rates_key(table: RateTable) -> Callable[[list[dict[str, str]]], str]:
    """What stands for all rates of some models: a label says only that the price of a request is not another one."""
    rows: dict[str, list[tuple[object, ...]]] = {}
    for layer in table.layers:
        for (whose, model), listed in layer.rows.items():
            rows.setdefault(model, []).extend((layer.name, whose, *row) for row in listed)

    def key(models: list[dict[str, str]]) -> str:
        digest = hashlib.blake2b(digest_size=8)
        for one in models:
            name = table.named(one["provider"], resolve_model(one["model"], "", ""))
            for model in sorted({one["model"], name.model}):
                digest.update(repr((name, model, rows.get(model))).encode())
        return digest.hexdigest()

    return key


def prepare(cursor: duckdb.DuckDBPyConnection, events: Path, prices: Prices, months: list[str]) -> str:
    """Prices the events of some UTC months of a Parquet file in ``cursor``; returns the query of their rows."""
    table = prices.snapshot.table
    cursor.execute("SET VARIABLE message_prefixes = ?", [list(channels("message_prefix"))])
    labels = [(month, prices.months.get(month, prices.snapshot.snapshot_id)) for month in months]
    load(cursor, "priced_months", "month VARCHAR, price_snapshot_id VARCHAR", list(zip(*labels, strict=True)))
    cursor.execute(sql("price_facts", events=literal(events)))
    named = [_name(prices, row) for row in cursor.execute(sql("priced_names")).fetchall()]
    load(cursor, "named", _NAMED_COLUMNS, columns_of(named))
    cursor.execute(sql("price_inputs"))
    cursor.execute("DROP TABLE price_facts")
    keys = [RateKey(*row) for row in cursor.execute(_DISTINCT).fetchall()]
    keys += [msgspec.structs.replace(key, requested_context=plain_context(key.requested_context)) for key in keys]
    cursor.execute("DROP TABLE IF EXISTS resolved_rates")
    cursor.execute(resolved_rates_ddl())
    load(cursor, "resolved_rates", None, columns_of(resolve_distinct(table, keys)))
    return sql("event_costs", price_events=price_events_sql(), maker_cap=str(MAKER_CONFIDENCE_CAP))


def _name(prices: Prices, row: tuple[Any, ...]) -> _Named:
    client, model_raw, service_tier, speed, upstream, prefix, day, _ = row
    table = prices.snapshot.table
    said = prices.overrides.named(model_raw or None, client, day.isoformat()) if prices.overrides else None
    name = said or resolve_model(model_raw or None, client, day.isoformat())
    found = look_up(
        table,
        client=client,
        name=name,
        message_id=prefix or None,
        speed=speed or None,
        service_tier=service_tier or None,
        upstream=upstream or None,
    )
    return _Named(
        client=client,
        model_raw=model_raw,
        service_tier=service_tier,
        speed=speed,
        upstream=upstream,
        message_prefix=prefix,
        utc_day=day,
        channel=found.channel,
        model=name.model,
        book_provider=found.provider,
        priced_model=found.name.model,
        requested_context=found.context,
        plain_context=plain_context(found.context),
        name_confidence=found.name.confidence,
        usable=found.is_usable,
        reason=found.reason,
        bucket_us=table.bucket_start_us(found.channel, found.name.model, 1),
    )


_NAMED_COLUMNS = (
    "client VARCHAR, model_raw VARCHAR, service_tier VARCHAR, speed VARCHAR, upstream VARCHAR, "
    "message_prefix VARCHAR, utc_day DATE, channel VARCHAR, model VARCHAR, book_provider VARCHAR, "
    "priced_model VARCHAR, requested_context VARCHAR, plain_context VARCHAR, name_confidence INTEGER, "
    "usable BOOLEAN, reason VARCHAR, bucket_us BIGINT"
)
