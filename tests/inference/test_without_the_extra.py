"""An installation without the extras: everything else as before, and what needs them says so in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import World, claude, user

pytestmark = pytest.mark.slow
CHECKOUT = Path(__file__).parents[2]
INSTALL = "run `make setup-inference`"


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


COMMANDS = (
    *("report daily --format json", "doctor", "models status", "models build", "models verify"),
    *("search flaky", "activity", "ledger review", "orchestrate --job inference"),
)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    """What each command said in one process that has none of the packages."""
    world = World(tmp_path_factory.mktemp("bare"))
    world.claude(user("fix the flaky test"), claude())
    script = ["-m", "tests.inference.without_the_extra", json.dumps([one.split() for one in COMMANDS])]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOKENLEDGER_")}
    # a person may have asked for all of it
    asked = {"TOKENLEDGER_FEATURE_INFERENCE": "true", "TOKENLEDGER_FEATURE_INFERENCE_PROMPTS": "true"}
    environ = {**kept, **asked, "HOME": str(world.home_dir), "TOKENLEDGER_HOME": str(world.ledger.root), "TZ": "UTC"}
    ran = subprocess.run([sys.executable, *script], cwd=CHECKOUT, env=environ, capture_output=True, timeout=120)
    assert ran.returncode == 0, ran.stderr.decode()
    return {
        command: Said(one["code"], one["out"], one["err"])
        for command, one in zip(COMMANDS, json.loads(ran.stdout), strict=True)
    }


def test_reports_say_what_they_always_said(said: dict[str, Said]) -> None:
    code, out, err = said["report daily --format json"]

    assert (code, err) == (0, "")
    assert json.loads(out)["totals"]["event_count"] == 1


def test_the_doctor_says_what_is_off_and_how_it_is_turned_on(said: dict[str, Said]) -> None:
    code, out, _ = said["doctor"]
    (line,) = [line for line in out.splitlines() if " inference " in line]

    assert code == 0
    assert "off: no model in" in line
    assert line.endswith(f"{INSTALL}, then `tokenledger models build`")


@pytest.mark.parametrize("command", ["models build", "search flaky", "activity"])
def test_what_needs_them_says_so_in_one_line(command: str, said: dict[str, Said]) -> None:
    code, out, err = said[command]

    assert (code, out) == (4, "")
    assert len(err.splitlines()) == 1
    assert INSTALL in err


def test_nothing_to_verify_is_told_with_the_command_that_makes_it(said: dict[str, Said]) -> None:
    assert said["models verify"].code == 4
    assert said["models verify"].err.rstrip().endswith("run `tokenledger models build`")


@pytest.mark.parametrize("command", ["models status", "ledger review", "orchestrate --job inference"])
def test_what_does_not_need_them_works(command: str, said: dict[str, Said]) -> None:
    assert said[command].code in (0, 3)
    assert "Traceback" not in said[command].err


def test_the_job_says_once_for_each_step_why_it_is_empty(said: dict[str, Said]) -> None:
    told = said["orchestrate --job inference"].err

    assert [line.split()[0] for line in told.splitlines() if line.startswith("inference/")].count(
        "inference/session_vectors"
    ) == 1
    assert INSTALL in told
