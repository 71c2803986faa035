"""A ledger filled from the sample by the whole job, once; tests that change it get a copy."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import pytest

SAMPLE = Path(__file__).parents[2] / "fixtures" / "sample" / "home"


def pytest_configure(config: pytest.Config) -> None:
    """Dagster 1.13 calls what pydantic 2.14 deprecated (`__fields__`); goes when Dagster no longer does."""
    config.addinivalue_line("filterwarnings", r"ignore::DeprecationWarning:dagster_shared\..*")


class Ran(NamedTuple):
    """A run of the whole job, and what it told."""

    result: dg.ExecuteInProcessResult
    instance: dg.DagsterInstance

    @property
    def made(self) -> dict[str, dg.AssetMaterialization]:
        """Materialisations by asset."""
        found = (event.materialization for event in self.result.get_asset_materialization_events())
        return {one.asset_key.to_user_string(): one for one in found}

    @property
    def rows(self) -> dict[str, int]:
        """Row count by asset."""
        return {name: one.metadata["dagster/row_count"].value for name, one in self.made.items()}  # type: ignore[misc]

    @property
    def versions(self) -> dict[str, str]:
        """Data version by asset."""
        return {name: (one.tags or {})["dagster/data_version"] for name, one in self.made.items()}

    @property
    def failed_checks(self) -> list[str]:
        """Checks of severity ERROR that failed, as asset: name."""
        return sorted(
            f"{one.asset_key.to_user_string()}: {one.check_name}"
            for one in self.result.get_asset_check_evaluations()
            if not one.passed and one.severity == dg.AssetCheckSeverity.ERROR
        )


def run_everything(home: Path, instance: dg.DagsterInstance, **options: object) -> Ran:
    """The job `orchestrate` on the ledger at `home`."""
    return run_job("orchestrate", home, instance, **options)


def run_job(name: str, home: Path, instance: dg.DagsterInstance, **options: object) -> Ran:
    """A job on the ledger at `home`."""
    from tokenledger_dagster.definitions import defs  # not before the filter above is in force

    config = {
        "resources": {
            "home": {"config": {"root": str(home), "timezone": "UTC"}},
            "options": {"config": options},
        },
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    job = defs.resolve_job_def(name)
    return Ran(job.execute_in_process(run_config=config, instance=instance, raise_on_error=False), instance)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Ran]]:
    """A ledger made from the sample, and the run that made it. Not to be changed."""
    home = tmp_path_factory.mktemp("filled") / "ledger"
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "TOKENLEDGER_EXECUTOR"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(SAMPLE))
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield home, run_everything(home, instance)


@pytest.fixture
def ledger(filled: tuple[Path, Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the filled ledger to change, its logs the sample's."""
    monkeypatch.setenv("HOME", str(SAMPLE))
    shutil.copytree(filled[0], tmp_path / "ledger")
    monkeypatch.setenv("TOKENLEDGER_HOME", str(tmp_path / "ledger"))
    return tmp_path / "ledger"


@pytest.fixture
def run(ledger: Path) -> Iterator[Callable[..., Ran]]:
    """Runs the whole job on the copy, recorded in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield lambda **options: run_everything(ledger, instance, **options)
