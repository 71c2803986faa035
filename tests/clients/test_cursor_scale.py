"""A large ``state.vscdb``: read once in bounded memory, and afterwards only as far as it has grown."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support import plain_environ

MESSAGES = 4_000
TEXT = "word " * 4_000
_SYNC = """
import pathlib, resource, sys
from tokenledger_dagster.cli.main import main
main(["sync", "--format", "json"])
status = pathlib.Path("/proc/self/status")
if status.exists():  # elsewhere the peak would be that of whoever started this, when it began larger
    peak = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak, file=sys.stderr)
"""


@pytest.mark.slow
def test_two_hundred_megabytes(tmp_path: Path) -> None:
    state = tmp_path / "home" / ".config" / "Cursor" / "User" / "globalStorage" / "state.vscdb"
    state.parent.mkdir(parents=True)
    with closing(sqlite3.connect(state, isolation_level=None)) as owner:
        owner.execute("PRAGMA journal_mode = WAL")
        owner.execute("CREATE TABLE cursorDiskKV (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
        owner.execute("BEGIN")
        for number in range(MESSAGES):
            owner.execute("INSERT INTO cursorDiskKV VALUES (?, ?)", message(number))
            owner.execute("INSERT INTO cursorDiskKV VALUES (?, ?)", (f"agentKv:blob:{number:064x}", TEXT * 2))
        owner.execute("COMMIT")
        size = state.stat().st_size + Path(f"{state}-wal").stat().st_size
        assert size > 200_000_000

        first = sync(tmp_path)  # its owner has it open
        owner.execute("INSERT INTO cursorDiskKV VALUES (?, ?)", message(0, output=60))
        owner.execute("INSERT INTO cursorDiskKV VALUES (?, ?)", message(MESSAGES))
        second = sync(tmp_path)

    counts = first["providers"]["cursor"]
    assert (counts["emitted"], second["providers"]["cursor"]["emitted"]) == (MESSAGES, 1)
    assert counts["bytes_read"] < size / 2  # not the agent's store
    assert second["providers"]["cursor"]["bytes_read"] < 3 * len(TEXT)
    assert first["problems"] == second["problems"] == []
    assert max(first["max_rss"], second["max_rss"]) < 300_000_000
    assert [one.name for one in state.parent.iterdir()] == ["state.vscdb"]


def message(number: int, output: int = 50) -> tuple[str, str]:
    """A message's row with counts."""
    told = {
        "type": 2,
        "createdAt": 1_748_000_000_000 + number * 1_000,
        "tokenCount": {"inputTokens": 1_000, "outputTokens": output},
        "text": TEXT,
    }
    return f"bubbleId:chat-{number // 50}:m{number}", json.dumps(told)


def sync(folder: Path) -> dict[str, Any]:
    """The summary of a sync in a process of its own, and the most memory it took."""
    environ = plain_environ(folder / "home", folder / "ledger")
    run = subprocess.run([sys.executable, "-c", _SYNC], capture_output=True, text=True, check=True, env=dict(environ))
    unit = 1 if sys.platform == "darwin" else 1024
    return {**json.loads(run.stdout), "max_rss": int(run.stderr.split()[-1]) * unit}
