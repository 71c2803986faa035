"""One writer at a time; readers answer from the last commit."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support import World, claude, plain_environ
from tokenledger_dagster.ingest.compaction import compact
from tokenledger_dagster.ingest.manifest import ManifestError, connect, writer_lock

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def hold(world: World, seconds: float) -> subprocess.Popen[str]:
    """Another process that holds the lock for a while."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from tokenledger_dagster.home import Home\n"
        "from tokenledger_dagster.ingest.manifest import writer_lock\n"
        "with writer_lock(Home(Path(sys.argv[1]))) as held:\n"
        "    print('held', held, flush=True); time.sleep(float(sys.argv[2]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(world.ledger.root), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=dict(plain_environ(world.home_dir, world.ledger.root)),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held True\n"
    return process


def stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_while_another_writes_a_filled_ledger_answers_from_its_last_commit(world: World) -> None:
    path = world.claude(claude("m1", "r1"))
    world.sync()
    world.append(path, claude("m2", "r2"))
    process = hold(world, 60)
    try:
        started = time.monotonic()
        summary = world.sync()
        waited = time.monotonic() - started
    finally:
        stop(process)

    assert not summary.synced
    assert waited < 1
    assert len(world.events()) == 1


def test_a_ledger_that_was_never_filled_waits_for_the_first_commit(world: World) -> None:
    world.claude(claude("m1", "r1"))
    process = hold(world, 0.5)
    try:
        summary = world.sync()
    finally:
        stop(process)

    assert summary.synced
    assert len(world.events()) == 1


def test_a_first_fill_that_has_begun_is_waited_for_too(world: World) -> None:
    world.claude(claude("m1", "r1"))
    connect(world.ledger).close()  # the other has made the manifest and is still reading logs
    process = hold(world, 0.5)
    try:
        summary = world.sync()
    finally:
        stop(process)

    assert summary.synced
    assert len(world.events()) == 1


def test_a_killed_writer_leaves_no_lock(world: World) -> None:
    world.claude(claude("m1", "r1"))
    stop(hold(world, 60))

    assert world.sync().synced


def test_the_lock_is_one_for_a_home(world: World) -> None:
    with writer_lock(world.ledger) as first, writer_lock(world.ledger) as second:
        assert (first, second) == (True, False)
    with writer_lock(world.ledger) as third:
        assert third


def test_compaction_yields_to_a_writer(world: World) -> None:
    world.claude(claude("m1", "r1"))
    world.sync()
    with writer_lock(world.ledger):
        result = compact(world.ledger, wait_seconds=0)

    assert not result.held
    assert {kind for (kind,) in world.query("SELECT format FROM segments")} == {"journal"}


def test_two_syncs_at_once_book_every_event_once(world: World) -> None:
    world.claude(*(claude(f"m{n}", f"r{n}", minutes=n) for n in range(200)))
    threads = [threading.Thread(target=world.sync) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(world.events()) == 200
    assert world.rules() == {}


def test_a_reader_is_not_blocked_by_a_transaction_in_progress(world: World) -> None:
    world.claude(claude("m1", "r1"))
    world.sync()
    assert len(world.events()) == 1
    writing = connect(world.ledger)
    try:
        writing.execute("BEGIN IMMEDIATE")
        writing.execute("DELETE FROM events")
        assert len(world.events()) == 1
    finally:
        writing.execute("ROLLBACK")
        writing.close()


def test_a_manifest_that_is_none_is_named_with_its_remedy(world: World) -> None:
    world.ledger.lake.mkdir(parents=True)
    world.ledger.manifest_path.write_bytes(b"this is no database, it is a text file " * 40)

    with pytest.raises(ManifestError, match="move it aside") as raised:
        world.sync()
    assert str(world.ledger.manifest_path) in str(raised.value)


def test_a_manifest_of_another_version_is_refused(world: World) -> None:
    world.claude(claude())
    world.sync()
    connection = connect(world.ledger)
    connection.execute("UPDATE meta SET value = '99' WHERE key = 'manifest_version'")
    connection.close()

    with pytest.raises(ManifestError, match="version 99"):
        world.sync()


def test_a_step_that_waits_reads_when_the_other_is_done(world: World) -> None:
    path = world.claude(claude("m1", "r1"))
    world.sync()
    world.append(path, claude("m2", "r2"))
    process = hold(world, 0.5)
    try:
        summary = world.sync(wait_seconds=60)
    finally:
        stop(process)
    assert (summary.synced, summary.emitted_total) == (True, 1)
