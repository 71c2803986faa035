"""Workflows run fixed versions of others' code, with no more rights than they need, and nothing but make targets."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def _workflow(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def _steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in _workflow(path)["jobs"].values() for step in job["steps"]]


def test_there_are_workflows() -> None:
    names = ["bench.yml", "docs.yml", "inference.yml", "ledger-diff.yml", "pricing.yml", "sample.yml", "tests.yml"]
    assert [path.name for path in WORKFLOWS] == names


def test_the_workflows_together_run_every_gate_of_make_ci() -> None:
    found = {target for path in WORKFLOWS for target in _targets(path)}
    gates = re.search(r"^GATES := (.*)$", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)

    assert gates is not None
    assert found - {"test-slow", "test-duckdb", "inference-ci"} == set(gates[1].split())


def test_versions_that_are_tested_are_the_bounds_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    jobs = _workflow(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]
    pythons = [word.rpartition(" ")[2] for word in project["classifiers"] if "Python :: 3." in word]
    (duckdb,) = [one for one in project["dependencies"] if one.startswith("duckdb")]
    lowest, above = re.fullmatch(r"duckdb>=([\d.]+),<(\d+)", duckdb).groups()  # type: ignore[union-attr]

    assert jobs["tests"]["strategy"]["matrix"]["python"] == [pythons[0], pythons[-1]]
    assert project["requires-python"] == f">={pythons[0]}"
    assert jobs["duckdb"]["strategy"]["matrix"]["duckdb"] == [f"{lowest}.0", f"{int(above) - 1}.*"]


def _targets(path: Path) -> list[str]:
    """Targets of make that a workflow runs; there is no other command."""
    commands = [step["run"] for step in _steps(path) if "run" in step]
    targets = [match[1] for command in commands if (match := re.fullmatch(r"make ([a-z-]+)", command))]
    assert len(targets) == len(commands)
    return targets


@each_workflow
def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(path: Path) -> None:
    lines = [line.strip() for line in path.read_text("utf-8").splitlines() if re.search(r"\buses:", line)]
    pinned = re.compile(r"(- )?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*")

    assert len(lines) == sum("uses" in step for step in _steps(path)) > 0
    assert [line for line in lines if not pinned.fullmatch(line)] == []


@each_workflow
def test_every_command_is_a_make_target_that_exists(path: Path) -> None:
    targets = _targets(path)

    assert targets
    for target in targets:
        done = subprocess.run(["make", "-n", "-C", str(ROOT), target], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@each_workflow
def test_a_workflow_ends_by_itself_and_gives_way_to_a_newer_run(path: Path) -> None:
    workflow = _workflow(path)

    assert workflow["concurrency"] == {"group": "${{ github.workflow }}-${{ github.ref }}", "cancel-in-progress": True}
    assert [name for name, job in workflow["jobs"].items() if not 0 < job.get("timeout-minutes", 0) <= 60] == []
    assert "pull_request" in workflow[True]  # "on" is a truth to YAML
    assert "latest" not in "".join(str(job["runs-on"]) for job in workflow["jobs"].values())


@each_workflow
def test_a_workflow_may_read_the_sources_and_nothing_else(path: Path) -> None:
    workflow = _workflow(path)

    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name, job in workflow["jobs"].items() if "permissions" in job] == []
    checkouts = [step for step in _steps(path) if step.get("uses", "").startswith("actions/checkout@")]
    assert {step["with"]["persist-credentials"] for step in checkouts} == {False}
