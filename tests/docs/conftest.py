"""A copy of the sample with a ledger of its own and the plans of the documentation, published once for all examples."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.docs.generated import ROOT, blocks
from tokenledger_dagster.home import Home, ensure_home
from tokenledger_dagster.ingest.sync import SyncOptions, sync


class Sample:
    """The sample as a person has it: logs, and a home."""

    def __init__(self, folder: Path) -> None:
        self.logs = folder / "person"
        shutil.copytree(ROOT / "fixtures" / "sample" / "home", self.logs)
        self.home: Home = ensure_home(folder / "ledger", "test")

    @property
    def environ(self) -> dict[str, str]:
        """Variables under which commands find both."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        return {**kept, "HOME": str(self.logs), "TOKENLEDGER_HOME": str(self.home.root), "TZ": "UTC"}


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    found = Sample(tmp_path_factory.mktemp("sample"))
    sync(found.home, found.environ, SyncOptions())
    (plans,) = blocks(ROOT / "docs" / "contracts" / "plans.md", "yaml plans")
    found.home.plans_path.write_text(plans, encoding="utf-8")
    return found


@pytest.fixture(scope="session")
def published(sample: Sample) -> Path:
    """The analyst's database of the sample."""
    pytest.importorskip("tokenledger_dagster.exports.warehouse", reason="the published database does not exist yet")
    import duckdb

    from tokenledger_dagster.contracts.tables import TABLES
    from tokenledger_dagster.exports.model_ledger import write_ledger, write_runtime, write_seed
    from tokenledger_dagster.exports.tables import build
    from tokenledger_dagster.exports.warehouse import publish

    with duckdb.connect() as con:
        build("events", con, sample.home, "UTC")
        write_seed(sample.home)
        write_runtime(sample.home, sample.environ, con)
        write_ledger(sample.home, con)
        for name in TABLES:
            build(name, con, sample.home, "UTC")
    return publish(sample.home).path
