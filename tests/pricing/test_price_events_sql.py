"""The SQL prices many events with the same nano-USD as `price_nano` prices one."""

from __future__ import annotations

from typing import Any

import duckdb
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import price_nano
from tokenledger_dagster.pricing.resolve import RateKey, price_events_sql, resolve_distinct, resolved_rates_ddl

MODELS = [
    ("anthropic", "claude-sonnet-4-5", "standard"),
    ("anthropic", "claude-opus-4-6", "speed=fast"),
    ("anthropic", "claude-haiku-5-5", "standard"),
    ("anthropic", "<synthetic>", "standard"),
    ("aws", "claude-opus-4-5", "endpoint=global"),
    ("cursor", "claude-opus-5-5", "standard"),
    ("deepseek", "deepseek-v4-pro", "standard"),
    ("openai", "gpt-5.5", "service_tier=priority"),
    ("openai", "gpt-6.1-sol", "processing=batch"),
    ("openai", "claude-opus-9-9", "standard"),
    ("x-ai", "grok-4.7", "standard"),
]
COUNTER = st.one_of(st.just(0), st.integers(0, 3_000), st.sampled_from([199_999, 200_000, 272_000, 10**12]))
SECOND = st.integers(1_735_689_600, 1_800_000_000)
EVENT = st.tuples(st.sampled_from(MODELS), SECOND, st.tuples(*[COUNTER] * 5), st.booleans())
EVENTS_DDL = """
CREATE TEMP TABLE events (
    event_id BIGINT, channel VARCHAR, model VARCHAR, requested_context VARCHAR, bucket BIGINT, provider VARCHAR,
    input_tokens BIGINT, cache_read_tokens BIGINT, cache_write_5m_tokens BIGINT, cache_write_1h_tokens BIGINT,
    output_tokens BIGINT, is_sum BOOLEAN, tool_input_tokens BIGINT DEFAULT 0, tool_output_tokens BIGINT DEFAULT 0
)
"""

_EVENT_COLUMNS = (
    "events (event_id, channel, model, requested_context, bucket, provider, input_tokens, cache_read_tokens, "
    "cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, is_sum)"
)
Event = tuple[tuple[str, str, str], int, tuple[int, ...], bool]
"""Channel, model and context; seconds since 1970; counters; whether these are several requests together."""


def price_in_sql(table: RateTable, events: list[Event]) -> dict[int, int | None]:
    keyed = [
        (RateKey(channel, model, context, table.bucket(channel, model, second * 1_000_000)), (*counts, is_sum))
        for (channel, model, context), second, counts, is_sum in events
    ]
    resolved = [msgspec.structs.astuple(rate) for rate in resolve_distinct(table, (key for key, _ in keyed))]
    with duckdb.connect() as connection:
        connection.execute(EVENTS_DDL)
        connection.execute(resolved_rates_ddl())
        insert(connection, _EVENT_COLUMNS, [(i, *msgspec.structs.astuple(key), *n) for i, (key, n) in enumerate(keyed)])
        insert(connection, "resolved_rates", resolved)
        rows = connection.execute(price_events_sql()).fetchall()
    return {row[0]: row[1] for row in rows}


def insert(connection: duckdb.DuckDBPyConnection, relation: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        places = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {relation} VALUES ({places})", rows)


def price_one(table: RateTable, event: Event) -> int | None:
    (channel, model, context), second, counts, is_sum = event
    rate = table.resolve(channel, model, context, second * 1_000_000)
    if rate is None:
        return None if any(counts) else 0
    return price_nano(rate, *counts, is_sum=is_sum)


@settings(max_examples=40, deadline=None)
@given(st.lists(EVENT, min_size=1, max_size=40))
def test_the_sql_equals_price_nano_to_the_nano(table: RateTable, events: list[Event]) -> None:
    assert price_in_sql(table, events) == {i: price_one(table, event) for i, event in enumerate(events)}


def test_keys_are_resolved_once(table: RateTable) -> None:
    key = RateKey("anthropic", "claude-opus-5-5", "standard", 20_000)
    assert len(resolve_distinct(table, [key, key])) == 1


def test_a_price_that_does_not_fit_stays_empty_and_the_others_are_priced(table: RateTable) -> None:
    events: list[Event] = [
        (("openai", "gpt-5.5", "standard"), 1_790_000_000, (2**62, 0, 0, 0, 0), False),
        (("openai", "gpt-5.5", "standard"), 1_790_000_000, (1_000, 0, 0, 0, 0), False),
    ]
    assert price_in_sql(table, events) == {0: None, 1: 5_000_000}
