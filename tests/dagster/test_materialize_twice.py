"""`dagster asset materialize --select '*'` a second time: all found up to date, and the same bytes published."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import plain_environ

ROOT = Path(__file__).parents[2]
VERSIONS = """
import json, warnings
warnings.simplefilter("ignore")
import dagster as dg
from tokenledger_dagster.definitions import defs
with dg.DagsterInstance.get() as instance:
    found = {}
    for node in defs.resolve_asset_graph().asset_nodes:
        if event := instance.get_latest_materialization_event(node.key):
            made = event.asset_materialization
            hits = made.metadata.get("cache_hit_ratio")
            found[node.key.to_user_string()] = [made.tags.get("dagster/data_version"), hits and hits.value]
print(json.dumps(found))
"""
OF_THE_RUN = (
    *("runs/", "bundle/", "quality/", "tables/runs.parquet", "tables/_", "cache/aggregates/_"),
    *("orchestrate-latest-summary.json", "ingest-summary.json", "lake/manifest.sqlite", "tokenledger.duckdb"),
)
"""What tells of runs and when they were: not the same after another one."""


def files(home: Path) -> dict[str, str]:
    """Digest of every artifact that no run makes new, without the time it was made."""
    found = {}
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home).as_posix()
        if path.is_file() and not name.startswith(OF_THE_RUN):
            content = path.read_bytes()
            if path.suffix == ".json" and isinstance(document := json.loads(content), dict):
                content = json.dumps({**document, "generated_at": ""}).encode()
            found[name] = hashlib.sha256(content).hexdigest()
    return found


@pytest.mark.slow
def test_the_second_time_nothing_is_made_anew(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "fixtures" / "sample" / "home", tmp_path / "home")
    (tmp_path / "dagster").mkdir()
    shutil.copy(ROOT / "dagster.yaml", tmp_path / "dagster")
    environ = {
        **plain_environ(tmp_path / "home", tmp_path / "ledger"),
        "DAGSTER_HOME": str(tmp_path / "dagster"),
        "PYTHONWARNINGS": "ignore",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = ["dagster", "asset", "materialize", "--select", "*", "-m", "tokenledger_dagster.definitions"]

    def materialize() -> tuple[dict[str, tuple[str, float | None]], dict[str, str]]:
        subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, check=True)
        told = subprocess.run([sys.executable, "-c", VERSIONS], cwd=ROOT, env=environ, capture_output=True, check=True)
        return json.loads(told.stdout), files(tmp_path / "ledger")

    first, made = materialize()
    second, again = materialize()

    assert {name: version for name, (version, _) in second.items()} == {
        name: version for name, (version, _) in first.items()
    }
    assert [name for name, (_, hits) in second.items() if hits not in (None, 1.0)] == []
    assert len([name for name, (_, hits) in second.items() if hits == 1.0]) > 20
    assert again == made
    assert len(made) > 40
