"""The usage record as a table: columns of a Parquet segment of the lake, and of DuckDB's ``lake_records``.

Here: one list of columns and how a journal line becomes a row of them.  Not here: segments or files.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from tokenledger_dagster.contracts.record import Counters, UsageRecord

if TYPE_CHECKING:
    import pyarrow as pa

    from tokenledger_dagster.ingest.journal import Line, StreamHead

COUNTERS: tuple[str, ...] = Counters.__struct_fields__
_BATCH_ROWS = 20_000
_EPOCH = datetime(1970, 1, 1)
_LIMITS = (datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59))

_HEAD = ("client", "source_id", "source_path", "generation", "parser_version", "encoding")
_TEXTS = (
    "message_id",
    "request_id",
    "parent_session_id",
    "agent_id",
    "cwd",
    "git_branch",
    "client_version",
    "service_tier",
    "speed",
    "raw_usage",
    "file_rule",
    "upstream",
    "locator",
    "joins",
    "status",
    "account_hash",
    "billing_kind",
)


def arrow_schema() -> pa.Schema:
    """Arrow schema of a segment; times are naive UTC microseconds, money is DECIMAL(18,9) USD."""
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    vector = pa.list_(number)
    fields: list[tuple[str, pa.DataType, bool]] = [
        ("rid", number, False),
        ("client", text, False),
        ("source_id", text, False),
        ("source_path", text, False),
        ("generation", number, False),
        ("parser_version", number, False),
        ("encoding", text, False),
        ("host", text, True),
        ("ordinal", number, False),
        ("byte_offset", number, False),
        ("byte_length", number, False),
        ("record_sha256", text, False),
        ("timestamp", pa.timestamp("us"), False),
        ("session_id", text, False),
        ("model_raw", text, True),
        *((name, number, False) for name in COUNTERS),
        *((name, text, True) for name in _TEXTS),
        ("by_content", pa.bool_(), False),
        ("is_sidechain", pa.bool_(), False),
        ("is_progress", pa.bool_(), False),
        ("is_estimated", pa.bool_(), False),
        ("reported_cost_usd", pa.decimal128(18, 9), True),
        ("flags", pa.list_(text), False),
        ("cumulative", vector, True),
        ("last", vector, True),
        ("source_rank", number, False),
        ("links", pa.list_(text), False),
        ("latency_ms", number, True),
        ("ttft_ms", number, True),
        ("is_sum", pa.bool_(), False),
    ]
    return pa.schema([pa.field(name, kind, nullable=nullable) for name, kind, nullable in fields])


def timestamp(timestamp_us: int) -> datetime:
    """Naive UTC time of microseconds since 1970; times beyond the calendar are held at its ends."""
    try:
        return _EPOCH + timedelta(microseconds=timestamp_us)
    except OverflowError:
        return _LIMITS[timestamp_us > 0]


def microseconds(moment: datetime) -> int:
    """Inverse of ``timestamp``."""
    delta = moment.replace(tzinfo=UTC) - _EPOCH.replace(tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def table(rows: Iterable[tuple[Line, StreamHead, str]]) -> pa.Table:
    """Journal lines under ``arrow_schema``; each row is (line, its stream, host)."""
    import pyarrow as pa

    schema = arrow_schema()
    rest = iter(rows)
    batches = []
    # as Python values a record takes twenty times the memory
    while part := list(islice(rest, _BATCH_ROWS)):
        found = _columns(part)
        arrays = [pa.array(found[field.name], type=field.type) for field in schema]
        batches.append(pa.record_batch(arrays, schema=schema))
    return pa.Table.from_batches(batches, schema=schema)


def _columns(rows: list[tuple[Line, StreamHead, str]]) -> dict[str, list[Any]]:
    """Values by column; times as microseconds."""
    lines = [row[0] for row in rows]
    records: list[UsageRecord] = [line.record for line in lines]
    counters = [record.counters for record in records]
    found: dict[str, list[Any]] = {"rid": [line.rid for line in lines], "host": [row[2] for row in rows]}
    for names, values in ((_HEAD, [row[1] for row in rows]), (_RECORD, records), (COUNTERS, counters)):
        for name in names:
            found[name] = list(map(attrgetter(name), values))
    found["timestamp"] = [_held(record.timestamp_us) for record in records]
    costs = [record.reported_cost_nano for record in records]
    found["reported_cost_usd"] = [None if cost is None else Decimal(cost).scaleb(-9) for cost in costs]
    return found


def _held(timestamp_us: int) -> int:
    """The same time where the calendar has it, else the nearer of its ends."""
    return timestamp_us if _FIRST_US <= timestamp_us <= _LAST_US else microseconds(timestamp(timestamp_us))


_RECORD = (
    *("ordinal", "byte_offset", "byte_length", "record_sha256", "session_id", "model_raw", *_TEXTS),
    *("by_content", "is_sidechain", "is_progress", "is_estimated", "flags", "cumulative", "last"),
    *("source_rank", "links", "latency_ms", "ttft_ms", "is_sum"),
)
_FIRST_US, _LAST_US = microseconds(datetime.min), microseconds(datetime.max)
