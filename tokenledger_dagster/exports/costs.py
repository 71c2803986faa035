"""The price of every published event, worked out anew from the events themselves.

Here: what has to be looked up in Python (names, channels, contexts, rates), once per distinct key, for
``event_costs.sql`` to multiply.  Not here: booking's own price of an event (``ingest.ledger``), which this one is
checked against.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tokenledger_dagster.exports.engine import columns_of, literal, load, sql
from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY
from tokenledger_dagster.pricing.context import channels
from tokenledger_dagster.pricing.events import MIN_CONFIDENCE, price_event
from tokenledger_dagster.pricing.rates import MAKER_CONFIDENCE_CAP, RateTable
from tokenledger_dagster.pricing.resolve import (
    RateKey,
    price_events_sql,
    resolve_distinct,
    resolved_rates_ddl,
)

if TYPE_CHECKING:
    import duckdb

RATES = CONFIG_DIRECTORY / "rates.csv"


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
    requested_context: str
    name_confidence: int
    usable: bool
    reason: str | None
    bucket_us: int


def prepare(cursor: duckdb.DuckDBPyConnection, events: Path) -> str:
    """Makes the relations that price a Parquet file of events in ``cursor``; returns the query of ``event_costs``."""
    table = RateTable.load(RATES)
    cursor.execute("SET VARIABLE message_prefixes = ?", [list(channels("message_prefix"))])
    cursor.execute("SET VARIABLE price_snapshot_id = ?", [table.snapshot_id])
    cursor.execute(sql("price_facts", events=literal(events)))
    named = [_name(table, row) for row in cursor.execute(sql("priced_names")).fetchall()]
    load(cursor, "named", _NAMED_COLUMNS, columns_of(named))
    cursor.execute(sql("price_inputs"))
    cursor.execute("DROP TABLE price_facts")
    distinct = "SELECT DISTINCT channel, model, requested_context, bucket FROM events WHERE bucket IS NOT NULL"
    keys = [RateKey(*row) for row in cursor.execute(distinct).fetchall()]
    cursor.execute("DROP TABLE IF EXISTS resolved_rates")
    cursor.execute(resolved_rates_ddl())
    load(cursor, "resolved_rates", None, columns_of(resolve_distinct(table, keys)))
    return sql("event_costs", price_events=price_events_sql(), maker_cap=str(MAKER_CONFIDENCE_CAP))


def _name(table: RateTable, row: tuple[Any, ...]) -> _Named:
    client, model_raw, service_tier, speed, upstream, prefix, day, day_us = row
    name = resolve_model(model_raw or None, client, day.isoformat())
    # without rates, price_event still says all that does not depend on them, by its own rules
    unrated = price_event(
        _NO_RATES,
        client=client,
        name=name,
        ts_us=day_us,
        message_id=prefix or None,
        speed=speed or None,
        service_tier=service_tier or None,
        input=1,
        cache_read=0,
        cache_write_5m=0,
        cache_write_1h=0,
        output=0,
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
        channel=unrated.channel,
        model=name.model,
        requested_context=unrated.requested_context,
        name_confidence=name.confidence,
        usable=name.confidence >= MIN_CONFIDENCE,
        reason=unrated.reason,
        bucket_us=table.bucket_start_us(unrated.channel, name.model, 1),
    )


_NO_RATES = RateTable([], "none")

_NAMED_COLUMNS = (
    "client VARCHAR, model_raw VARCHAR, service_tier VARCHAR, speed VARCHAR, upstream VARCHAR, "
    "message_prefix VARCHAR, utc_day DATE, channel VARCHAR, "
    "model VARCHAR, requested_context VARCHAR, name_confidence INTEGER, usable BOOLEAN, "
    "reason VARCHAR, bucket_us BIGINT"
)
