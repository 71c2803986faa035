"""Workflows run fixed versions of others' code, with no more rights than they need, and nothing but make targets."""

from __future__ import annotations

import re
import subprocess
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
    assert [path.name for path in WORKFLOWS] == ["ledger-diff.yml"]


@each_workflow
def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(path: Path) -> None:
    lines = [line.strip() for line in path.read_text("utf-8").splitlines() if re.search(r"\buses:", line)]
    pinned = re.compile(r"(- )?uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*")

    assert len(lines) == sum("uses" in step for step in _steps(path)) > 0
    assert [line for line in lines if not pinned.fullmatch(line)] == []


@each_workflow
def test_every_command_is_a_make_target_that_exists(path: Path) -> None:
    commands = [step["run"] for step in _steps(path) if "run" in step]
    targets = [match[1] for command in commands if (match := re.fullmatch(r"make ([a-z-]+)", command))]

    assert len(targets) == len(commands) > 0
    for target in targets:
        done = subprocess.run(["make", "-n", "-C", str(ROOT), target], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@each_workflow
def test_a_workflow_may_read_the_sources_and_nothing_else(path: Path) -> None:
    workflow = _workflow(path)

    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name, job in workflow["jobs"].items() if "permissions" in job] == []
    checkouts = [step for step in _steps(path) if step.get("uses", "").startswith("actions/checkout@")]
    assert [step["with"]["persist-credentials"] for step in checkouts] == [False]
