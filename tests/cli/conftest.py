from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support import World, claude, meta, rollout, tokens, turn
from tokenledger_dagster.cli.main import main


class Ran(msgspec.Struct):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Logs of both clients over three days and two months, found through the environment."""
    world = World(tmp_path)
    monkeypatch.setenv("HOME", str(world.home_dir))
    monkeypatch.setenv("TOKENLEDGER_HOME", str(world.ledger.root))
    world.claude(
        claude("m1", "r1", input=100, output=10, timestamp="2026-02-18T09:00:00Z"),
        claude("m1", "r1", input=100, output=4, timestamp="2026-02-18T09:00:01Z"),
        claude("m2", "r2", input=200, output=20, timestamp="2026-02-18T20:00:00Z"),
        claude("m3", "r3", input=300, output=30, timestamp="2026-03-08T12:00:00Z", model="acme-coder-9"),
    )
    world.codex(
        meta("t1", cwd="/home/ada/code/kelp"), turn("gpt-5.4"),
        tokens((1_000, 400, 50, 20), timestamp="2026-02-19T10:00:00Z"), name=rollout("t1"),
    )  # fmt: skip
    return world


@pytest.fixture
def run(world: World, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs a command in this process."""

    def command(*arguments: str) -> Ran:
        capfdbinary.readouterr()
        try:
            code = main(list(arguments))
        except SystemExit as leaving:  # argparse
            code = int(leaving.code or 0)
        found = capfdbinary.readouterr()
        return Ran(code, found.out.decode(), found.err.decode())

    return command
