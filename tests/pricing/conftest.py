from __future__ import annotations

from pathlib import Path

import pytest

from tokenledger_dagster.pricing.rate_table import RateTable


@pytest.fixture(scope="session")
def config_directory() -> Path:
    return Path(__file__).resolve().parents[2] / "config"


@pytest.fixture(scope="session")
def table(config_directory: Path) -> RateTable:
    return RateTable.load(config_directory / "rates.csv")
