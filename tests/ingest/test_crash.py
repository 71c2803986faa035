"""A process that dies at any point of the commit protocol loses nothing, doubles nothing and leaves no orphan."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from tests.ingest.families import claude_family, codex_family
from tests.support import Booked, World, claude, meta, plain_environ, rollout, tokens, turn
from tokenledger_dagster.ingest.compaction import compact

REPOSITORY = Path(__file__).resolve().parents[2]

POINTS = {
    "before the journal is written": "journal.SegmentWriter",
    "after the journal is flushed, before its rename": "fileio.os.replace",
    "after the journal is written": "segments.record",
    "inside the transaction, before booking": "booking.book",
    "inside the transaction, half of the tables written": "Cells.store",
    "before the transaction commits": "COMMIT",
    "after the commit, before the summary": "sync.write_json_atomic",
    "before files are marked missing": "_Sync._mark_missing",
    "while the manifest is made": "schema",
}
COMPACTION_POINTS = {
    "before any Parquet file": "compaction._write_part",
    "after the first Parquet file": "compaction._write_part:2",
    "after all Parquet files": "compaction.swap",
    "inside the swap": "segments.record",
    "before the swap commits": "COMMIT",
    "after the swap, before the old files go": "Path.unlink",
    "after some of the old files went": "Path.unlink:2",
}

# The hook dies without any clean-up, as a kill does, when the named function is called (for the n-th time).
_CHILD = """
import os, sqlite3, sys
from pathlib import Path
folder, what, point = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
name, _, nth = point.partition(":")
left = [int(nth or 1)]

def die(original):
    def dying(*arguments, **named):
        left[0] -= 1
        if left[0] <= 0:
            os._exit(99)
        return original(*arguments, **named)
    return dying

from tests.support import World
import tokenledger_dagster.fileio as fileio
from tokenledger_dagster.ingest import booking, compaction, journal, manifest, segments, sync
from tokenledger_dagster.ingest.cells import Cells
from tokenledger_dagster.ingest.sync import _Sync

class Dying(sqlite3.Connection):
    def execute(self, sql, *arguments):
        if sql == "COMMIT":
            left[0] -= 1
            if left[0] <= 0:
                os._exit(99)
        return super().execute(sql, *arguments)

world = World(folder)
if name == "COMMIT":
    connect = sqlite3.connect
    manifest.sqlite3.connect = lambda *a, **n: connect(*a, **{**n, "factory": Dying})
elif name == "schema":
    class Half(sqlite3.Connection):
        def executescript(self, script):
            super().executescript(script[: script.index("CREATE TABLE IF NOT EXISTS sessions")])
            os._exit(99)
    connect = sqlite3.connect
    manifest.sqlite3.connect = lambda *a, **n: connect(*a, **{**n, "factory": Half})
elif name:
    owner, _, attribute = name.rpartition(".")
    owners = {"journal": journal, "segments": segments, "booking": booking, "Cells": Cells, "sync": sync,
              "_Sync": _Sync, "compaction": compaction, "fileio.os": fileio.os, "Path": Path}
    if what == "sync" and name == "segments.record":
        import tokenledger_dagster.ingest.commit as commit
        commit.segments.record = die(segments.record)
    setattr(owners[owner], attribute, die(getattr(owners[owner], attribute)))
if what == "compact":
    compaction.compact(world.ledger)
else:
    world.sync()
"""


def child(folder: Path, what: str, point: str = "") -> int:
    """Runs a sync or a compaction in a process of its own that dies at ``point``; returns its exit code."""
    environ = {**plain_environ(folder / "home", folder / "ledger"), "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run(
        [sys.executable, "-c", _CHILD, str(folder), what, point],
        cwd=REPOSITORY,
        env=environ,
        capture_output=True,
        text=True,
    )
    assert run.returncode in (0, 99), run.stderr
    return run.returncode


def lay(world: World, part: int) -> None:
    """The logs as they are at two moments: a first state, then growth, a rewrite, a fork and a vanished file."""
    first = [claude(f"m{n}", f"r{n}", minutes=n, output=n + 1) for n in range(4)]
    rows = [tokens((100 * n, 0, n), (100, 0, 1), n) for n in range(1, 4)]
    if part == 0:
        world.claude(*first, b"oops", name="grows.jsonl")
        world.claude(claude("x1", "y1", session="s2", minutes=50), name="rewritten.jsonl")
        world.claude(claude("z1", "z1", session="s3", minutes=60), name="vanishes.jsonl")
        world.codex(meta("p"), turn(), *rows, name=rollout("p"))
        return
    world.append(
        world.claude_path("grows.jsonl"), claude("m1", "r1", minutes=1, output=90), claude("m8", "r8", minutes=8)
    )
    copied = claude("m0", "r0", session="s2", output=1)
    world.claude(copied, claude("x2", "y2", session="s2", minutes=55), name="rewritten.jsonl")
    world.claude_path("vanishes.jsonl").unlink()
    world.codex(meta("c", 9, forked_from_id="p"), turn(), *rows[:2], tokens((250, 0, 5), None, 10), name=rollout("c"))


def undisturbed(folder: Path) -> Booked:
    world = World(folder)
    for part in (0, 1):
        lay(world, part)
        world.sync()
    return world.booked()


def assert_sound(world: World) -> None:
    """No file without a commit, no commit without its file, none with other bytes."""
    import hashlib

    listed = dict(world.query("SELECT name, sha256 FROM segments"))
    assert world.files() == sorted(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((world.ledger.lake / name).read_bytes()).hexdigest() == digest
    assert world.query("SELECT count(*) FROM records") == [(len(world.records()),)]
    assert world.query("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_a_sync_killed_at_any_step_is_made_good_by_the_next(tmp_path: Path, point: str) -> None:
    world = World(tmp_path / "killed")
    lay(world, 0)
    if point != "schema":
        world.sync()
        lay(world, 1)
    assert child(tmp_path / "killed", "sync", point) == 99
    world.sync()
    if point == "schema":
        lay(world, 1)
        world.sync()

    assert world.booked() == undisturbed(tmp_path / "whole")
    assert_sound(world)


@pytest.mark.parametrize("point", COMPACTION_POINTS.values(), ids=COMPACTION_POINTS)
def test_a_compaction_killed_at_any_step_is_made_good_by_the_next(tmp_path: Path, point: str) -> None:
    world = World(tmp_path)
    for part in (0, 1):
        lay(world, part)
        world.sync()
    before, booked = world.records(), world.booked()
    assert child(tmp_path, "compact", point) == 99
    world.sync()
    after_sync = world.records()
    compact(world.ledger)

    assert after_sync == before
    assert world.records() == before
    assert world.booked() == booked
    assert {kind for (kind,) in world.query("SELECT format FROM segments")} == {"parquet"}
    assert_sound(world)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_killed_at_random_moments_over_and_over(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    world, whole = World(tmp_path / "killed"), World(tmp_path / "whole")
    environ = {**plain_environ(world.home_dir, world.ledger.root), "PYTHONPATH": str(REPOSITORY)}
    for part in range(4):
        family = {**claude_family(random), **codex_family(random)}
        for path, content in family.items():
            for one in (world, whole):
                target = (one.home_dir / path).with_name(f"{part}-{Path(path).name}")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
                os.utime(target, (1_771_500_000, 1_771_500_000))
        for _ in range(3):
            what = random.choice(("sync", "sync", "compact")) if part else "sync"
            process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(tmp_path / "killed"), what, ""],
                cwd=REPOSITORY, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(random.uniform(0.1, 0.6))
            process.send_signal(signal.SIGKILL)
            process.wait()
        whole.sync()
    world.sync()

    assert world.booked() == whole.booked()
    assert_sound(world)
