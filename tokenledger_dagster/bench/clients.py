"""How fast each client's logs are read: its fixtures many times over, first whole, then with a little more.

Here: multiplying a client's fixtures and measuring syncs of them.  Not here: the large made-up logs of Claude Code and
Codex (``bench.corpus``).

A copy of the fixtures has every id its golden names replaced, so that its requests are others; where an identity is a
hash of more than ids, copies are the same requests again, and reading them costs the same.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tokenledger_dagster.bench.machine import PACKAGE_ROOT, machine, versions
from tokenledger_dagster.bench.process import Ran, environment, run
from tokenledger_dagster.bench.results import now_text
from tokenledger_dagster.bench.scenarios import Say
from tokenledger_dagster.contracts.bench import ClientSpeed, ClientsResult
from tokenledger_dagster.errors import TokenLedgerError

FIXTURES = PACKAGE_ROOT / "fixtures" / "clients"
TAIL_SHARE = 100
"""One copy more for so many."""
MOST_COPIES = 500
"""Fixtures are small files: more of them would measure the file system."""
_IDS = ("message_id", "request_id", "session", "parent_session_id")
_SHORTEST_ID = 4


def measure_clients(names: Sequence[str], size: int, rounds: int, say: Say) -> ClientsResult:
    """Measures syncs of about ``size`` bytes of each client's logs.

    Raises TokenLedgerError where a client has no fixtures.
    """
    chosen = list(names) or sorted(path.parent.name for path in FIXTURES.glob("*/expected.json"))
    if not chosen:
        raise TokenLedgerError(f"{FIXTURES}: holds no client's fixtures; run this from a clone of the repository")
    return ClientsResult(
        generated_at=now_text(),
        machine=machine(),
        versions=versions(),
        clients=[_measure(name, size, rounds, say) for name in chosen],
    )


def _measure(client: str, size: int, rounds: int, say: Say) -> ClientSpeed:
    with tempfile.TemporaryDirectory(prefix="tokenledger-bench-") as folder:
        logs = Path(folder) / "logs"
        one = _Fixture(client)
        copies = min(max(2, size // max(1, one.bytes)), MOST_COPIES)
        for number in range(copies):
            one.copy(logs / f"{number:06d}", number)
        cold: list[Ran] = []
        tail: list[Ran] = []
        more = max(1, copies // TAIL_SHARE)
        for turn in range(rounds):
            home = Path(folder) / f"home-{turn}"
            environ = {**environment(Path(folder) / "nobody", home), "TOKENLEDGER_HOME": str(home)}
            (Path(folder) / "nobody").mkdir(exist_ok=True)
            arguments = ["sync", "--client", client, f"--source={client}={logs}", "--format", "json"]
            cold.append(run(arguments, environ, logs))
            for number in range(copies, copies + more):
                one.copy(logs / f"{number:06d}", number)
            tail.append(run(["sync", "--client", client, "--format", "json"], environ, logs))
            for number in range(copies, copies + more):
                shutil.rmtree(logs / f"{number:06d}")
        first = json.loads(cold[0].output)
        found = first["providers"][client]
        sizes = [path.stat().st_size for path in logs.rglob("*") if path.is_file()]
        read = sum(sizes)
        wall = statistics.median(ran.round.wall_s for ran in cold)
        say(f"  {client}: {read / 1e6:,.1f} MB in {wall:.2f} s")
        return ClientSpeed(
            client=client,
            bytes=read,
            files=len(sizes),
            records=found["scanned"],
            events=found["emitted"],
            cold_s=wall,
            tail_s=statistics.median(ran.round.wall_s for ran in tail),
            tail_share=more / copies,
            mb_per_s=read / 1e6 / wall,
            records_per_s=found["scanned"] / wall,
        )


class _Fixture:
    """A client's fixtures, copied under other ids."""

    def __init__(self, client: str) -> None:
        home = FIXTURES / client / "home"
        if not home.is_dir():
            raise TokenLedgerError(f"{home}: is not there; name a client that has fixtures")
        golden = json.loads((FIXTURES / client / "expected.json").read_text("utf-8"))
        named = {event[name] for event in golden["events"] for name in _IDS if name in event}
        self._ids = sorted((one for one in named if len(one) >= _SHORTEST_ID), key=len, reverse=True)
        self._files = {
            path.relative_to(home).as_posix(): path.read_bytes() for path in home.rglob("*") if path.is_file()
        }
        self.bytes = sum(map(len, self._files.values()))

    def copy(self, folder: Path, number: int) -> None:
        """Writes the fixtures below ``folder``; databases are made of their scripts."""
        for name, content in self._files.items():
            target = folder / self._renamed(name.encode(), number).decode("utf-8", "surrogateescape")
            target.parent.mkdir(parents=True, exist_ok=True)
            text = self._renamed(content, number)
            if target.suffix != ".sql":
                target.write_bytes(text)
                continue
            with closing(sqlite3.connect(target.with_suffix(""))) as connection:
                connection.executescript(text.decode("utf-8"))

    def _renamed(self, content: bytes, number: int) -> bytes:
        for one in self._ids:
            content = content.replace(one.encode(), f"{one}-{number}".encode())
        return content
