"""A ledger small enough to add up by hand, and readers of what is built from it.

The rows, all of 2026, UTC (prices per million tokens: sonnet 4.5 $3 in, $15 out, $3.75 write, $0.30 read; gpt-5.1-codex
$1.25 in, $10 out, $0.125 read):

    02-18 09:00  sonnet  1000 in, 200 out, 400 written, 10000 read   11600 tokens   $0.0105
    02-18 09:30  codex   600 in, 50 out, 400 read                     1050 tokens   $0.0013
    02-18 14:00  house-model-7  40 in, 10 out                           50 tokens   no price
    02-18 23:30  sonnet  100 in, 100 out                               200 tokens   $0.0018
    02-28 23:30  sonnet  10 in, 10 out, another session                 20 tokens   $0.00018

and the first of them twice, as a streaming client repeats it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from tests.support import World, claude, meta, tokens, turn
from tokenledger_dagster.contracts.tables import TABLES
from tokenledger_dagster.exports.tables import build, table_path

DAY = 24 * 60


def small_world(folder: Path) -> World:
    """The logs above, read."""
    world = World(folder)
    first = claude("msg_1", "req_1", input=1000, output=200, write=400, read=10_000)
    world.claude(
        {**first, "message": {**first["message"], "usage": {**first["message"]["usage"], "output_tokens": 1}}},
        first,
        claude("msg_2", "req_2", input=40, output=10, minutes=300, model="house-model-7"),
        claude("msg_3", "req_3", input=100, output=100, minutes=870),
    )
    world.claude(claude("msg_4", "req_4", input=10, output=10, minutes=10 * DAY + 870, session="s2"), name="s2.jsonl")
    world.codex(meta(), turn(), tokens((1000, 400, 50), (1000, 400, 50), minutes=30))
    world.sync()
    return world


def build_all(world: World, con: duckdb.DuckDBPyConnection, zone: str = "UTC") -> dict[str, bool]:
    """Builds every table; says of each whether it was left as it was."""
    return {name: build(name, con, world.ledger, zone).cache_hit for name in TABLES}


def rows(world: World, name: str, *columns: str) -> list[tuple[Any, ...]]:
    """Rows of a built table in its order, some columns of it."""
    with duckdb.connect() as con:
        listed = ", ".join(columns) or "*"
        return con.execute(f"SELECT {listed} FROM read_parquet('{table_path(world.ledger, name)}')").fetchall()
