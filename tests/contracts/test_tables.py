"""One truth per table: every form of it says the same."""

from __future__ import annotations

import duckdb
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pytest

from tokenledger_dagster.contracts.tables import (
    COUNTERS,
    TABLES,
    USAGE_TABLES,
    Column,
    Table,
    arrow_schema,
    column_rows,
    comment_statements,
    create_statement,
    markdown,
    pandera_schema,
)

TINY = Table(
    "tiny",
    "A table's description.",
    (
        Column("name", "VARCHAR", "Who, or what's its name.", allowed=("ada", "grace")),
        Column("tokens", "BIGINT", "Tokens.", minimum=0),
        Column("share", "INTEGER", "Percent.", nullable=True, minimum=0, maximum=100),
        Column("at", "TIMESTAMP", "When; naive UTC."),
        Column("usd", "DECIMAL(18,9)", "USD.", nullable=True),
        Column("tags", "VARCHAR[]", "Tags | marks."),
    ),
    ("name",),
)


def test_the_public_tables_in_the_order_they_are_built() -> None:
    assert list(TABLES) == [
        "events",
        "duplicates",
        "event_costs",
        "usage_daily",
        "usage_weekly",
        "usage_monthly",
        "usage_sessions",
        "usage_projects",
        "usage_models",
        "usage_clients",
        "usage_blocks",
        "prices",
        "subscriptions",
        "unpriced",
        "runtime_metrics",
        "unified_model_provider_ledger",
        "unified_model_provider_pareto",
        "sources",
        "runs",
    ]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_key_is_made_of_columns_with_names_of_their_own(table: Table) -> None:
    assert set(table.key) <= set(table.column_names)
    assert len(set(table.column_names)) == len(table.columns)


@pytest.mark.parametrize("name", USAGE_TABLES)
def test_usage_tables_share_their_figures(name: str) -> None:
    figures = (*COUNTERS, "total_tokens", "list_price_usd", "unpriced_tokens", "event_count", "session_count")

    assert set(figures) <= set(TABLES[name].column_names)


def test_money_is_a_decimal_everywhere() -> None:
    kinds = {column.type for table in TABLES.values() for column in table.columns if "usd" in column.name}

    assert kinds == {"DECIMAL(18,9)"}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_duckdb_and_arrow_agree_on_types_and_nulls(table: Table) -> None:
    with duckdb.connect() as con:
        con.execute(create_statement(table))
        described = con.execute(f'SELECT column_name, "null" FROM (DESCRIBE "{table.name}")').fetchall()
        found = con.sql(f'SELECT * FROM "{table.name}"').to_arrow_table().schema

    schema = arrow_schema(table)
    assert [(field.name, field.type) for field in found] == [(field.name, field.type) for field in schema]
    assert [(name, null == "YES") for name, null in described] == [(field.name, field.nullable) for field in schema]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_comments_reach_the_table_and_every_column(table: Table) -> None:
    with duckdb.connect() as con:
        con.execute(create_statement(table))
        for statement in comment_statements(table):
            con.execute(statement)
        comments = dict(con.execute("SELECT column_name, comment FROM duckdb_columns() WHERE NOT internal").fetchall())
        assert con.execute("SELECT comment FROM duckdb_tables()").fetchone() == (table.description,)

    assert comments == {column.name: column.comment for column in table.columns}


def test_a_column_says_its_bounds() -> None:
    assert [row.constraints for row in column_rows(TINY)] == [
        ["one of: ada, grace"],
        [">= 0"],
        [">= 0", "<= 100"],
        [],
        [],
        [],
    ]
    assert column_rows(TINY)[1] == ("tokens", "bigint", False, "Tokens.", [">= 0"])
    assert arrow_schema(TINY).field("share").metadata == {b"description": b"Percent. [>= 0; <= 100]"}


def test_markdown_is_a_section_with_a_row_per_column() -> None:
    assert markdown(TINY) == (
        "## tiny\n\nA table's description.\n\nOne row per `name`.\n\n"
        "| column | type | null | meaning |\n|---|---|---|---|\n"
        "| `name` | VARCHAR |  | Who, or what's its name. [one of: ada, grace] |\n"
        "| `tokens` | BIGINT |  | Tokens. [>= 0] |\n"
        "| `share` | INTEGER | yes | Percent. [>= 0; <= 100] |\n"
        "| `at` | TIMESTAMP |  | When; naive UTC. |\n"
        "| `usd` | DECIMAL(18,9) | yes | USD. |\n"
        "| `tags` | VARCHAR[] |  | Tags \\| marks. |\n"
    )


# ------------------------------------------------------------------ pandera


def frame(**changes: list[object]) -> pd.DataFrame:
    values: dict[str, list[object]] = {
        "name": ["ada", "grace"],
        "tokens": [0, 7],
        "share": [None, 100],
        "at": [0, 1],
        "usd": [None, None],
        "tags": [[], ["a"]],
        **changes,
    }
    table = pa.table([pa.array(values[field.name], field.type) for field in arrow_schema(TINY)], arrow_schema(TINY))
    return table.to_pandas(types_mapper=pd.ArrowDtype)


def failures(found: pd.DataFrame) -> list[tuple[str, str, object]]:
    with pytest.raises(pandera.errors.SchemaErrors) as caught:
        pandera_schema(TINY).validate(found, lazy=True)
    cases = caught.value.failure_cases
    return list(zip(cases["column"], cases["check"], cases["failure_case"], strict=True))


def test_good_rows_pass() -> None:
    pandera_schema(TINY).validate(frame(), lazy=True)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"tokens": [0, -1]}, ("tokens", "greater_than_or_equal_to(0)", -1)),
        ({"share": [101, 1]}, ("share", "less_than_or_equal_to(100)", 101)),
        ({"name": ["ada", "alan"]}, ("name", "isin(('ada', 'grace'))", "alan")),
        ({"tokens": [None, 1]}, ("tokens", "not_nullable", None)),
    ],
)
def test_bad_values_are_named(changes: dict[str, list[object]], found: tuple[str, str, object]) -> None:
    [(column, check, value)] = failures(frame(**changes))

    assert (column, check) == found[:2]
    assert value == found[2] or (found[2] is None and pd.isna(value))  # type: ignore[call-overload]


def test_other_columns_or_another_order_fail() -> None:
    assert failures(frame().drop(columns="usd")) == [("tiny", "column_in_dataframe", "usd")]
    assert failures(frame()[["tokens", "name", "share", "at", "usd", "tags"]])[0][1] == "column_ordered"
