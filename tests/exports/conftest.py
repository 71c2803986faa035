"""A DuckDB in memory, and the small ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.exports.small import small_world
from tests.support import World


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture
def world(tmp_path: Path) -> World:
    return small_world(tmp_path)
