"""Commands as processes: what they import, their help, pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import World, claude
from tokenledger_dagster.cli.main import COMMANDS

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = (
    "dagster",
    "pandas",
    "pyarrow",
    "duckdb",
    "genai_prices",
    "typer",
    "rich",
    "numpy",
    "pandera",
    "great_expectations",
)


def process(*arguments: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    command = ["-c", code] if code else ["-m", "tokenledger_dagster.cli.main"]
    return subprocess.run(
        [sys.executable, *command, *arguments],
        cwd=REPOSITORY,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    found = process(command, "--help")

    assert (found.returncode, found.stderr) == (0, "")
    assert f"usage: tokenledger {command}" in found.stdout
    assert f"tokenledger {command}" in found.stdout.partition("examples:")[2]
    assert "exit codes:" in found.stdout


def test_help_lists_the_commands() -> None:
    found = process("--help")

    assert found.returncode == 0
    assert {name for name in COMMANDS if name not in found.stdout} <= {"quickstart"}


def test_the_version_is_told() -> None:
    assert process("--version").stdout.startswith("tokenledger ")


@pytest.mark.parametrize("arguments", [["report", "daily"], ["report", "daily", "--format", "json"], ["sync"]])
def test_on_unchanged_logs_nothing_heavy_is_imported(world: World, arguments: list[str]) -> None:
    assert process("sync").returncode == 0
    code = (
        "import sys; from tokenledger_dagster.cli.main import main\n"
        f"code = main({arguments!r})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], code, file=sys.stderr)"
    )
    found = process(code=code)

    assert found.stderr.strip().splitlines()[-1] == "[] 0"


def test_results_go_to_stdout_as_one_document(world: World) -> None:
    found = process("report", "daily", "--format", "json")

    assert found.returncode == 0
    assert json.loads(found.stdout)["totals"]["event_count"] == 4
    assert found.stderr == ""


def test_a_closed_pipe_is_no_error(world: World) -> None:
    program = f"{sys.executable} -m tokenledger_dagster.cli.main events | head -c 10"
    found = subprocess.run(
        ["bash", "-o", "pipefail", "-c", program],
        cwd=REPOSITORY,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "Traceback" not in found.stderr


def test_control_characters_of_a_log_do_not_reach_the_terminal(world: World) -> None:
    from tests.support import claude

    world.claude(claude("x", "x", cwd="/home/ada/\x1b[31mred", session="s9"), name="s9.jsonl")

    assert "\x1b" not in process("report", "project").stdout


def test_snapshot_is_the_contracts(world: World) -> None:
    found = process("snapshot")
    snapshot = json.loads(found.stdout)

    assert found.returncode == 0
    assert (snapshot["schema_version"], snapshot["month"], snapshot["mode"]) == (1, "2026-03", "compact")
    assert json.loads(world.ledger.ui_snapshot_path.read_text()) == snapshot


def test_doctor_finds_the_logs_and_warns_of_the_clients_deletion(world: World) -> None:
    process("sync")
    found = process("doctor")

    assert found.returncode == 0
    assert "claude-code" in found.stdout
    assert "cleanupPeriodDays" in found.stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", [("report", "session"), ("doctor",), ("models", "status")], ids=" ".join)
def test_neither_a_narrow_encoding_nor_a_closed_stream_is_an_error(
    command: tuple[str, ...], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.claude(claude(model="modèle-7", cwd="/höhe/" + "x" * 90))
    monkeypatch.setenv("HOME", str(world.home_dir))
    monkeypatch.setenv("TOKENLEDGER_HOME", str(world.ledger.root))
    run = f"{sys.executable} -m tokenledger_dagster.cli.main {' '.join(command)}"

    for shell in (f"PYTHONIOENCODING=ascii {run}", f"{run} >&-", f"{run} >&- 2>&-"):
        done = subprocess.run(["sh", "-c", shell], cwd=REPOSITORY, capture_output=True, timeout=60)
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
        assert done.stdout.isascii()
