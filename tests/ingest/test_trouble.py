"""No file and no adapter stops a sync: what fails is told once, everything else is read."""

from __future__ import annotations

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import World, claude, jsonl
from tokenledger_dagster.clients import registry
from tokenledger_dagster.clients.claude_code import ClaudeReader
from tokenledger_dagster.ingest.trouble import is_lasting


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("client", ["cline", "roo", "amp", "cursor", "gemini-cli", "droid", "pi", "claude-code"])
def test_an_added_file_of_another_kind_is_told_and_left_alone(world: World, tmp_path: Path, client: str) -> None:
    world.claude(claude("m1"))
    wrong = tmp_path / "wrong.db"
    with closing(sqlite3.connect(wrong)) as connection:
        connection.execute("CREATE TABLE other (a)")
    first = world.sync(add_sources=((client, str(wrong)),))
    second = world.sync()

    assert len(world.events()) == 1
    assert first.providers[client].skipped
    assert second.problems == []


def test_damaged_data_is_told_once_and_read_again_when_it_changes(world: World) -> None:
    whole = gzip.compress(jsonl(claude("m1"), claude("m2", "r2")))
    path = world.claude_path("s1.jsonl.gz")
    path.parent.mkdir(parents=True)
    path.write_bytes(whole[:-20])
    told = world.sync().problems
    again = world.sync()
    path.write_bytes(whole)
    mended = world.sync()

    assert len(told) == 1
    assert "what could be read of it is kept" in told[0]
    assert (again.problems, again.sources.unchanged) == ([], 1)
    assert (mended.problems, len(world.events())) == ([], 2)


def test_a_fault_of_an_adapter_is_told_by_its_place_and_not_by_its_text(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.claude(claude("m1"))
    world.codex(name="x.jsonl")

    def fail(*_: object) -> None:
        raise KeyError("a prompt of the log")

    monkeypatch.setattr(ClaudeReader, "carry", fail)
    monkeypatch.setattr("tokenledger_dagster.ingest.scan._taking", lambda packer, cut: fail)
    summary = world.sync()

    assert len(summary.problems) == 1
    assert "the adapter failed on it (KeyError at test_trouble.py:" in summary.problems[0]
    assert "prompt" not in summary.problems[0]


@pytest.mark.parametrize(
    ("problem", "lasting"),
    [
        (PermissionError(13, "no"), False),
        (OSError("damaged gzip data"), True),
        (EOFError(), True),
        (KeyError("x"), True),
        (sqlite3.DatabaseError("file is not a database"), True),
    ],
)
def test_only_what_a_change_of_the_file_can_mend_waits_for_one(problem: Exception, lasting: bool) -> None:
    assert is_lasting(problem) is lasting


def test_a_package_whose_adapter_is_broken_is_told_and_the_others_are_read(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site-packages"
    about = packages / "broken-1.0.dist-info"
    about.mkdir(parents=True)
    (packages / "broken_adapter.py").write_text("raise RuntimeError('no')\n")
    (packages / "half_adapter.py").write_text("class Half:\n    name = 'half'\n")
    points = "broken = broken_adapter:Broken\nhalf = half_adapter:Half\ngone = nowhere:Gone\n"
    (about / "entry_points.txt").write_text(f"[tokenledger.clients]\n{points}")
    monkeypatch.syspath_prepend(str(packages))
    for one in (registry.plugins, registry.clients, registry._loaded_plugins):
        one.forget()
    try:
        world.claude(claude("m1"))
        problems = sorted(world.sync().problems)
    finally:
        monkeypatch.undo()
        for one in (registry.plugins, registry.clients, registry._loaded_plugins):
            one.forget()

    assert [problem.split(" cannot be used")[0] for problem in problems] == [
        f"the adapter of {name}" for name in ("broken", "gone", "half")
    ]
    assert "half_adapter:Half has no parser_version, roots" in problems[2]
    assert len(world.events()) == 1
