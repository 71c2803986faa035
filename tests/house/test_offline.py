"""Reading, pricing and publishing need no network, and try none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import plain_environ

ROOT = Path(__file__).parents[2]
REFUSE = """
import os, socket

def refuse(name):
    def call(self, address, *rest):
        if self.family != socket.AF_UNIX:
            with open(os.environ["TRIED"], "a") as tried:
                tried.write(f"{name} {address}\\n")
            raise OSError("no network here")
        return original[name](self, address, *rest)
    return call

original = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex", "sendto")}
for name in original:
    setattr(socket.socket, name, refuse(name))

def lookup(host, *rest, **named):
    with open(os.environ["TRIED"], "a") as tried:
        tried.write(f"getaddrinfo {host}\\n")
    raise OSError("no network here")

socket.getaddrinfo = lookup
"""
COMMANDS = (
    ["sync"],
    ["report", "monthly"],
    ["pricing", "reconcile", "--allow-unpriced"],
    ["orchestrate"],
)


@pytest.mark.slow
def test_the_whole_pipeline_talks_to_nobody(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "fixtures" / "sample" / "home", tmp_path / "home")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(REFUSE)
    tried = tmp_path / "tried"
    environ = {
        **plain_environ(tmp_path / "home", tmp_path / "ledger"),
        "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{ROOT}",
        "TRIED": str(tried),
    }
    for arguments in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", "tokenledger_dagster.cli.main", *arguments],
            cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (arguments, done.stderr[-2000:])

    assert not tried.exists() or tried.read_text() == ""


def test_the_trap_of_this_file_works(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(REFUSE)
    tried = tmp_path / "tried"
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "TRIED": str(tried)}

    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert tried.read_text() == "getaddrinfo 127.0.0.1\n"
