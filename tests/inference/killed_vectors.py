"""Brings vectors up to date and is killed at one call after the other: `python killed_vectors.py FOLDER STEP`.

Here: the work and where it dies; a home per death in FOLDER/<number>, with `told` naming every session that was told as
done. Not here: what must be true afterwards (`test_session_vectors`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.inference.words import Session, index_sessions, rules, session
from tokenledger_dagster.home import Home, ensure_home
from tokenledger_dagster.inference import vector_store  # noqa: F401
from tokenledger_dagster.inference.policy import policy

FIRST = [session("a", "flaky test", minutes=1), session("b", "css", minutes=2), session("c", "docs", minutes=3)]
THEN = [*FIRST[:1], session("b", "invoice", minutes=2), *FIRST[2:], session("d", "deploy", minutes=4)]
"""One has changed and one is new."""
KILLED = 9


class Deaths:
    """Counts the calls that write to the folder of vectors, and ends the process at one of them, before or after it."""

    def __init__(self, wanted: int) -> None:
        self._left = wanted
        for name in ("open", "replace", "unlink"):  # a file is opened to be flushed, and so is its folder
            setattr(os, name, self._counted(getattr(os, name)))
        whole = pq.ParquetWriter.write_table

        def write_table(writer, table):  # type: ignore[no-untyped-def]
            whole(writer, table)
            self._die()  # rows are in the file, and no end

        pq.ParquetWriter.write_table = write_table

    def _counted(self, call):  # type: ignore[no-untyped-def]
        def counted(path, *arguments, **named):  # type: ignore[no-untyped-def]
            if "session_vectors" not in os.fspath(path):
                return call(path, *arguments, **named)
            self._die()
            found = call(path, *arguments, **named)
            self._die()
            return found

        return counted

    def _die(self) -> None:
        if not self._left:
            os._exit(KILLED)
        self._left -= 1


def work(home: Home, told: Path) -> None:
    """Two updates of one session a batch, merged as often as can be."""
    handle = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for sessions in (FIRST, THEN):
        pending = _newest_first(home, sessions)

        def tell(done: int, total: int, pending: list[Session] = pending) -> None:
            if not done:
                return
            one = pending[done - 1]
            os.write(handle, f"{one.session_id} {one.texts}\n".encode())  # type: ignore[str-bytes-safe]

        index_sessions(home, sessions, progress=tell, rules=rules(batch_sessions=1, merge_files=2))


def _newest_first(home: Home, sessions: list[Session]) -> list[Session]:
    """What an update of a home without any kill has to embed, in its order."""
    changed = sessions if sessions is FIRST else [one for one in THEN if one not in FIRST]
    return sorted(changed, key=lambda one: one.started_at, reverse=True)  # type: ignore[arg-type,return-value]


def main(folder: Path, step: int) -> None:
    """One process for each death, or for every so many, until none dies any more."""
    policy()  # once, before the forks
    for wanted in range(0, 1_000, step):
        place = folder / f"{wanted:03d}"
        home = ensure_home(place, "test")
        child = os.fork()
        if not child:
            Deaths(wanted)
            work(home, place / "told")
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            return
    raise SystemExit("never came to an end")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
