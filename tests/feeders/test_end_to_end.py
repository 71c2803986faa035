"""From a feeder to the published figures, through the commands a person runs: land, validate, sync, orchestrate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.goldens import FIXTURES
from tests.landing.proxy_server import KEY, running
from tests.landing.rows import SECRETS, queued
from tests.support import plain_environ
from tokenledger_dagster.landing.management import KEY_VARIABLE

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


class Person:
    """Runs commands with a home and a ledger of their own."""

    def __init__(self, folder: Path) -> None:
        self.home, self.ledger = folder / "home", folder / "ledger"
        self.home.mkdir()
        self.environ = {
            **plain_environ(self.home, self.ledger),
            "DAGSTER_HOME": str(folder / "dagster"),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "PYTHONPATH": str(ROOT),
            KEY_VARIABLE: KEY,
        }
        (folder / "dagster").mkdir()
        self.said = ""

    def run(self, *arguments: str, code: int = 0) -> Any:
        """The command's JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "tokenledger_dagster.cli.main", *arguments, "--format", "json"],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=300,
        )
        self.said += done.stdout + done.stderr
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def published(self) -> tuple[Any, Any, Any]:
        """Ingest summary, pipeline summary and UI snapshot as they lie in the home."""
        names = ("ingest-summary.json", "orchestrate-latest-summary.json", "ui-snapshot.json")
        return tuple(json.loads((self.ledger / name).read_text()) for name in names)  # type: ignore[return-value]


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


def test_what_a_proxy_queues_reaches_the_snapshot_once(person: Person) -> None:
    with running() as proxy:
        proxy.push(queued("r1"), queued("r2", 1), {"refresh": True})
        first = person.run("proxy", "land", "--url", proxy.url, "--once")
        proxy.push(queued("r1"), queued("r3", 2))  # one is delivered again
        second = person.run("proxy", "land", "--url", proxy.url, "--once")
    files = [str(path) for path in sorted((person.ledger / "landing").rglob("*.jsonl"))]
    validated = person.run("feeder", "validate", "cliproxyapi", *files)
    synced = person.run("sync")
    run = person.run("orchestrate")
    ingest, pipeline, snapshot = person.published()

    assert (first["landed"], second["landed"]) == (2, 2)
    assert sum(report["accepted"] for report in validated["reports"]) == 4
    assert (synced["providers"]["cliproxyapi"]["scanned"], synced["emitted_total"]) == (4, 3)
    assert (run["checks"]["failed"], pipeline["checks"]["failed_names"]) == (0, [])
    assert ingest["ledger"] == {"records": 4, "events": 3, "duplicates": 1}
    assert [row["name"] for row in snapshot["top_clients"]] == ["cliproxyapi"]
    assert snapshot["totals"]["tokens"] == 3 * 12_800
    assert holding(person, SECRETS) == []


def test_what_a_collector_wrote_reaches_the_snapshot_once(person: Person) -> None:
    golden = json.loads((FIXTURES / "opentelemetry" / "expected.json").read_text())
    source = FIXTURES / "opentelemetry" / "home"
    files = sorted(path for path in source.rglob("*") if path.is_file())
    for path in files:
        target = person.home / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    run = json.loads((FIXTURES / "opentelemetry" / "run.json").read_text()) if has_run("opentelemetry") else {}
    person.environ |= {name: value.replace("$HOME", str(person.home)) for name, value in run.get("environ", {}).items()}
    added = [f"--source={name}={person.home}/{path}" for name, path in run.get("sources", [])]
    traces = next(path for path in person.home.rglob("traces.json"))
    (report,) = person.run("feeder", "validate", "otel", str(traces), code=1)["reports"]
    person.run("sync", *added)
    summary = person.run("orchestrate")
    again = person.run("sync", "--no-cache")
    ingest, _, snapshot = person.published()

    # a Collector set up as documented would have dropped the attribute that the contract bars
    assert (report["records"], report["accepted"]) == (10, 9)
    assert [one["reason"] for one in report["rejected"]] == ["secret_attribute"]
    assert summary["checks"]["failed"] == 0
    assert again["emitted_total"] == 0
    assert ingest["ledger"]["events"] == len(golden["events"])
    months = {event["timestamp"][:7] for event in golden["events"]}
    last = max(months)
    tokens = [sum_of(event["usage"]) for event in golden["events"] if event["timestamp"].startswith(last)]
    assert snapshot["totals"]["tokens"] == sum(tokens)


def has_run(client: str) -> bool:
    return (FIXTURES / client / "run.json").exists()


def sum_of(usage: dict[str, int]) -> int:
    parts = ("input", "output", "cache_write", "cache_read", "tool_input", "tool_output")
    return sum(usage.get(name, 0) for name in parts)


def holding(person: Person, secrets: tuple[str, ...]) -> list[tuple[str, str]]:
    """Where a secret stands: in what was printed, or in a file of the ledger or of Dagster."""
    found = [("printed", secret) for secret in secrets if secret in person.said]
    for root in (person.ledger, Path(person.environ["DAGSTER_HOME"])):
        for path in root.rglob("*"):
            if path.is_file() and not os.path.islink(path):
                data = path.read_bytes()
                found += [(str(path), secret) for secret in secrets if secret.encode() in data]
    return found
