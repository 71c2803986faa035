"""Helpers read a share of the files: whatever becomes of them, all is as if read alone, and none outlives a sync."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support import Booked, World, claude, meta, plain_environ, rollout, tokens, turn
from tokenledger_dagster.ingest import spawning, sync, workers
from tokenledger_dagster.ingest.manifest import connect

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = 12


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A few files of both clients, some of which show the same requests."""
    world = World(tmp_path)
    for number in range(FILES):
        rows = [claude(f"m{number}-{one}", f"r{one}", minutes=one, session=f"s{number}") for one in range(20)]
        copied = [claude("shared", "shared", minutes=1, session=f"s{number}")]
        world.claude(*rows, *copied, claude("odd", "odd", input=-1), name=f"s{number}.jsonl")
        totals = [tokens((10 * one, 0, one), minutes=one) for one in range(1, 20)]
        world.codex(meta(f"t{number}"), turn(), *totals, name=rollout(f"t{number}"))
    return world


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two helpers for any amount of work; lists the processes that were started."""
    monkeypatch.setattr(workers, "HELP_FROM_BYTES", 0)
    monkeypatch.setattr(workers, "_BYTES_A_TOKEN", 1)
    monkeypatch.setattr(workers, "_helpers", lambda pending, files: 2)
    found: list[int] = []
    spawn = os.posix_spawn

    def start(*arguments: object, **named: object) -> int:
        found.append(spawn(*arguments, **named))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(spawning.os, "posix_spawn", start)
    return found


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process takes no file before every helper had the time to take one."""
    taken = workers.tokens_from

    def waiting(taking: int, job: workers.Job) -> Iterator[tuple[int, int]]:
        time.sleep(1.5)
        yield from taken(taking, job)

    monkeypatch.setattr(workers, "tokens_from", waiting)


def alone(world: World, folder: Path) -> Booked:
    """What a ledger of the same logs holds that was filled without help."""
    other = World(folder)
    other.environ = world.environ
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "_helpers", lambda pending, files: 0)
        other.sync()
    return other.booked()


def ended(started: list[int]) -> bool:
    """Whether every helper is gone, and was waited for."""
    return bool(started) and not any(map(_lives, started))


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def boot(code: str) -> str:
    """A helper that runs this instead, once it has work; arguments as the real one's."""
    head = spawning._BOOT.partition("from tokenledger_dagster")[0]
    return f"{head}\nimport os\ntaking, given, going, out = map(int, sys.argv[2:])\nos.read(going, 1)\n{code}"


def test_helpers_find_what_reading_alone_finds(world: World, started: list[int], late: None, tmp_path: Path) -> None:
    world.sync()

    assert world.booked() == alone(world, tmp_path / "alone")
    assert len(started) == 2
    assert ended(started)


def test_helpers_begin_before_their_finds_are_asked_for_and_end_where_they_never_are(
    world: World, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: object) -> None:
        assert len(started) == 2
        raise RuntimeError("no rates")

    monkeypatch.setattr(sync._Sync, "_ledger", fails)
    with pytest.raises(RuntimeError, match="no rates"):
        world.sync()

    assert ended(started)


def test_large_files_are_read_first_then_the_small_ones() -> None:
    sizes = [5, 90, 40, 1, 100, 60]
    assert sorted(sizes, key=lambda size: workers._turn(size, large=90)) == [100, 90, 1, 5, 40, 60]


MB = 1_000_000


@pytest.mark.parametrize(
    ("records", "done", "total", "batch"),
    [
        (80_000, 100 * MB, 10_000 * MB, 50_000),  # much is to come: few large commits
        (16_000, 100 * MB, 1_000 * MB, 20_000),  # an eighth of what is expected
        (140_000, 875 * MB, 1_000 * MB, 10_000),  # half of what is left
        (158_000, 990 * MB, 1_000 * MB, 5_000),  # but never very small ones
        (100, 1 * MB, 1 * MB, 5_000),
        (0, 0, 0, 5_000),
    ],
)
def test_batches_are_large_until_the_end_is_near(records: int, done: int, total: int, batch: int) -> None:
    assert sync._shared_batch(records, done, total) == batch


@pytest.mark.slow
def test_helpers_take_appended_files_too(world: World, started: list[int], late: None, tmp_path: Path) -> None:
    world.sync()
    for number in range(FILES):
        world.append(world.claude_path(f"s{number}.jsonl"), claude(f"m{number}-19", "r19", output=77, minutes=19))
        world.append(world.codex_path(rollout(f"t{number}")), tokens((500, 0, 50), minutes=50))
    world.sync()

    assert len(started) == 4
    assert world.booked() == alone(world, tmp_path / "alone")


_FAULTS = {
    "dies at once": "sys.exit(1)",
    "dies with a file taken": "import os; os.read(taking, 4); os._exit(1)",
    "is killed": "import os, signal; os.read(taking, 4); os.kill(os.getpid(), signal.SIGKILL)",
    "sends half a result": (
        "import os; os.read(taking, 4); os.write(out, (1000).to_bytes(8, 'little') + b'half'); os._exit(0)"
    ),
    "closes its stream and stays": "import os, time; os.read(taking, 4); os.close(out); time.sleep(60)",
    "raises": "raise RuntimeError",
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", _FAULTS)
def test_a_helper_that_fails_costs_time_only(
    world: World,
    started: list[int],
    late: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fault: str,
) -> None:
    monkeypatch.setattr(spawning, "_BOOT", boot(_FAULTS[fault]))
    world.sync()

    assert ended(started)
    assert world.booked() == alone(world, tmp_path / "alone")


_GARBAGE = {
    "no message": "os.write(out, (4).to_bytes(8, 'little') + b'junk')",
    "a length below zero": "os.write(out, (-5).to_bytes(8, 'little', signed=True) + b'junk')",
    "another shape": "os.write(out, (1).to_bytes(8, 'little') + b'\\x90')",
}


@pytest.mark.slow
@pytest.mark.parametrize("garbage", _GARBAGE)
def test_garbage_from_a_helper_costs_time_only(
    world: World,
    started: list[int],
    late: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    garbage: str,
) -> None:
    monkeypatch.setattr(spawning, "_BOOT", boot(f"import os; os.read(taking, 4); {_GARBAGE[garbage]}"))
    world.sync()

    assert ended(started)
    assert world.booked() == alone(world, tmp_path / "alone")


def test_without_helpers_everything_is_read_here(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(*arguments: object, **named: object) -> int:
        raise OSError("no more processes")

    monkeypatch.setattr(workers, "_helpers", lambda pending, files: 2)
    monkeypatch.setattr(spawning.os, "posix_spawn", refused)
    world.sync()
    monkeypatch.undo()

    assert world.booked() == alone(world, tmp_path / "alone")


def test_no_helper_outlives_a_sync_that_fails(
    world: World, started: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(job: workers.Job, number: int) -> workers.Found:
        raise RuntimeError("the disk is gone")

    before = _descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(workers, "scan_one", fail)
        with pytest.raises(RuntimeError, match="the disk is gone"):
            world.sync()

    assert ended(started)
    assert _descriptors() == before
    with contextlib.closing(connect(world.ledger, read_only=True)) as manifest:
        assert manifest.execute("SELECT count(*) FROM sources").fetchone() == (0,)
    world.sync()
    assert world.booked() == alone(world, tmp_path / "alone")


def test_nothing_is_left_open_by_helpers(world: World, started: list[int]) -> None:
    before = _descriptors()
    world.sync()

    assert len(started) == 2
    assert _descriptors() == before


def _descriptors() -> set[str]:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("open files are listed under /proc only")
    return set(os.listdir("/proc/self/fd"))


_CHILD = """
import signal
import sys
from pathlib import Path
from tests.support import World
from tokenledger_dagster.ingest import spawning, sync, workers

# a shell starts what it puts in the background with the signal ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
workers._helpers = lambda pending, files: 2
workers._BYTES_A_TOKEN = 1
start = spawning.Crew._start
def told(crew):
    start(crew)
    print(crew._helpers[-1], flush=True)
spawning.Crew._start = told
if sys.argv[2] == "slow":
    import time
    workers.scan_one = lambda job, number: time.sleep(60)
World(Path(sys.argv[1])).sync()
"""


def _gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_no_helper_outlives_a_command_that_is_ended(world: World, tmp_path: Path, how: signal.Signals) -> None:
    environ = {**plain_environ(world.home_dir, world.ledger.root), "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(tmp_path), "slow"],
        cwd=REPOSITORY,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    helpers = [int(child.stdout.readline()) for _ in range(2)]
    child.send_signal(how)
    child.stdout.close()

    assert child.wait(10) != 0
    assert all(map(_gone, helpers))


def test_helpers_that_were_started_early_get_the_work(world: World, started: list[int], tmp_path: Path) -> None:
    before = _descriptors()
    spawning.start_early()
    early = len(started)
    world.sync()

    assert len(started) == early > 0 or spawning.spare_cores() == 0
    assert not any(map(_lives, started))
    assert _descriptors() == before
    assert world.booked() == alone(world, tmp_path / "alone")


def test_helpers_that_were_started_early_end_where_there_is_little_to_read(world: World) -> None:
    before = _descriptors()
    spawning.start_early()
    world.sync()

    assert spawning.early() is None
    assert _descriptors() == before


def test_files_of_one_stretch_are_about_the_same_size() -> None:
    split: Callable[[list[int]], list[tuple[int, int]]] = workers._tokens

    assert split([3 << 20, 2 << 20, 100, 100]) == [(0, 1), (1, 2), (2, 4)]
    assert split([]) == []
    tiny = split([10] * 50_000)
    assert (tiny[0][0], tiny[-1][1], len(tiny) <= workers._MOST_TOKENS) == (0, 50_000, True)
    assert all(end == start for (_, end), (start, _) in pairwise(tiny))
