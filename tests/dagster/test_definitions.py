"""The code location loads, quickly and without the heavy libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from tokenledger_dagster.automation import EXECUTORS
from tokenledger_dagster.definitions import defs

ROOT = Path(__file__).parents[2]
HEAVY = ("pandas", "pandera", "great_expectations", "onnxruntime", "genai_prices", "pyarrow")


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_definitions_load() -> None:
    dg.Definitions.validate_loadable(defs)


def test_definitions_import_nothing_heavy() -> None:
    assert loaded_by("import tokenledger_dagster.definitions").isdisjoint(HEAVY)


def test_orchestrate_help_imports_no_dagster() -> None:
    assert "dagster" not in loaded_by("import tokenledger_dagster.cli.orchestrate")


def test_only_the_thin_layer_imports_dagster() -> None:
    library = ROOT / "tokenledger_dagster"
    importing = {
        path.relative_to(library).as_posix()
        for path in library.rglob("*.py")
        if any(line.strip().startswith(("import dagster", "from dagster")) for line in path.read_text().splitlines())
    }

    assert importing <= {"definitions.py", "automation.py", "cli/orchestrate.py"}


@pytest.mark.parametrize(("value", "name"), [("", "in_process"), ("multiprocess", "forkserver")])
def test_executor_is_chosen_by_the_environment(value: str, name: str) -> None:
    code = "from tokenledger_dagster.definitions import defs; print(defs.executor.name)"
    environment = {"TOKENLEDGER_EXECUTOR": value, "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )

    assert done.stdout.strip() == name, done.stderr
    assert set(EXECUTORS) == {"in_process", "multiprocess"}


def test_nothing_runs_by_itself_until_somebody_turns_it_on() -> None:
    repository = defs.get_repository_def()

    assert {sensor.name for sensor in repository.sensor_defs} == {"on_change", "by_condition"}
    assert {sensor.default_status for sensor in repository.sensor_defs} == {dg.DefaultSensorStatus.STOPPED}
    assert {schedule.default_status for schedule in repository.schedule_defs} == {dg.DefaultScheduleStatus.STOPPED}
