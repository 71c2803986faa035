"""A new environment gets the fastest Python of the version that uv would take, and never a worse one for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tokenledger_dagster import interpreters
from tokenledger_dagster.interpreters import fastest


class Machine:
    """A uv that lists made-up interpreters, each of which tells of itself what it is given."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: list[dict[str, object]] = []
        self.uv = str(folder / "uv")

    def python(
        self,
        name: str,
        seconds: float,
        *,
        headers: bool = True,
        version: tuple[int, int] = (3, 11),
        implementation: str = "cpython",
    ) -> str:
        path = self._folder / name
        self._script(path, json.dumps([seconds, headers, str(path), version]))
        return self._list(path, version, implementation)

    def broken(self, name: str) -> str:
        path = self._folder / name
        path.write_text("#!/bin/sh\nexit 1\n")
        path.chmod(0o755)
        return self._list(path, (3, 11))

    def _list(self, path: Path, version: tuple[int, int], implementation: str = "cpython") -> str:
        parts = {"major": version[0], "minor": version[1], "patch": 0}
        kind = {"variant": "default", "implementation": implementation}
        self._listed.append({"path": str(path), "version_parts": parts, **kind})
        listed = json.dumps(self._listed)
        first = self._listed[0]["path"]
        Path(self.uv).write_text(f"#!/bin/sh\ncase $2 in find) echo '{first}';; list) echo '{listed}';; esac\n")
        Path(self.uv).chmod(0o755)
        return str(path)

    @staticmethod
    def _script(path: Path, text: str) -> None:
        path.write_text(f"#!/bin/sh\necho '{text}'\n")
        path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    found = Machine(tmp_path)
    found.python("standard", 0.30)
    return found


def test_the_fastest_of_the_version_is_taken(machine: Machine) -> None:
    machine.python("faster", 0.20)
    best = machine.python("best", 0.15)
    assert fastest(machine.uv) == best


def test_a_little_faster_is_no_reason_to_leave_what_uv_takes(machine: Machine) -> None:
    machine.python("other", 0.28)
    assert fastest(machine.uv) is None


def test_another_version_is_not_compared(machine: Machine) -> None:
    machine.python("newer", 0.10, version=(3, 13))
    assert fastest(machine.uv) is None


def test_pypy_could_not_load_what_the_lock_names(machine: Machine) -> None:
    machine.python("pypy", 0.01, implementation="pypy")
    assert fastest(machine.uv) is None


def test_one_without_headers_could_not_compile_the_readers(machine: Machine) -> None:
    machine.python("bare", 0.10, headers=False)
    assert fastest(machine.uv) is None


def test_one_that_does_not_run_is_passed_over(machine: Machine) -> None:
    machine.broken("broken")
    best = machine.python("best", 0.15)
    assert fastest(machine.uv) == best


@pytest.mark.parametrize("answer", [None, "exit 2", "echo null", "echo '[{}]'", "echo"])
def test_it_says_nothing_where_uv_cannot_be_asked(tmp_path: Path, answer: str | None) -> None:
    if answer is not None:
        (tmp_path / "uv").write_text(f"#!/bin/sh\ncase $2 in find) echo {sys.executable};; *) {answer};; esac\n")
        (tmp_path / "uv").chmod(0o755)
    command = [sys.executable, interpreters.__file__, str(tmp_path / "uv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_says_what_it_takes(machine: Machine) -> None:
    best = machine.python("best", 0.15)
    command = [sys.executable, interpreters.__file__, machine.uv]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{best}\n"
    assert done.stderr == f"Python: {best} is the fastest of its version here (UV_PYTHON names another)\n"


def test_a_real_interpreter_does_the_work_and_tells_of_itself() -> None:
    found = interpreters._measured(sys.executable)
    assert 0 < found.seconds < 60
    assert (found.path, found.version) == (str(Path(sys.executable).resolve()), sys.version_info[:2])
