"""The table of sessions whose log has text but no counts.

Here: its columns, where it lies, and writing it. Not here: what stands in it (`building`).

It lies apart from the public tables, which nothing of it may enter: no report and no export reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from tokenledger_dagster.contracts.columns import (
    Column,
    Table,
    arrow_schema,
    count_column,
    text_column,
    time_column,
)
from tokenledger_dagster.fileio import staged
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.estimates.estimator import Method

__all__ = ["TOKEN_ESTIMATES", "Row", "about_path", "table_path", "write_table"]

TOKEN_ESTIMATES = Table(
    "token_estimates",
    "Sessions whose log has text but no counts: tokens of the texts in the log, estimated. Never booked, never priced.",
    (
        text_column("client", "Program that wrote the log: cursor, codex, ..."),
        text_column("session_id", "The session, as the ledger names it."),
        time_column("first_time", "First text without a count that tells its time", null=True),
        time_column("last_time", "Last text without a count that tells its time", null=True),
        text_column("model_raw", "Model that wrote most of the answers, as the log named it; null = none.", null=True),
        text_column("maker", "Who made that model, and so its tokenizer; null = not known.", null=True),
        count_column("prompt_count", "Prompts without a count."),
        count_column("answer_count", "Answers without a count."),
        count_column("prompt_characters", "Characters of these prompts."),
        count_column("answer_characters", "Characters of these answers, calls of tools among them."),
        count_column(
            "estimated_prompt_tokens", "Tokens of the prompts' text; what was sent beside it is not in the log."
        ),
        count_column(
            "estimated_answer_tokens", "Tokens of the answers' text; reasoning that the log hides is not in it."
        ),
        Column("is_estimated", "BOOLEAN", "Always true: no provider counted any of this."),
        text_column("method", "How the tokens were estimated.", allowed=get_args(Method)),
        count_column("expected_error_percent", "Mean error of that method as measured, percent of the true count."),
        count_column("sample_count", "Counted texts that the error was measured on."),
        count_column("booked_events", "Requests of the session that are booked; the estimate is of the others."),
        text_column("source_path", "Log that shows the texts."),
    ),
    ("client", "session_id"),
)
"""Shaped as the public tables are; documented in `docs/contracts/inference.md`."""

Row = tuple[object, ...]
"""Values in the order of the columns."""


def table_path(home: Home) -> Path:
    """Where the table lies."""
    return home.lake / "inference" / "token_estimates.parquet"


def about_path(home: Home) -> Path:
    """What is remembered of the table, beside it."""
    return table_path(home).with_suffix(".json")


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Writes the table as Parquet, all of it or nothing.

    Raises:
        OSError: the disk refused.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema(TOKEN_ESTIMATES)
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
    with staged(path) as temporary:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), temporary, compression="zstd")
