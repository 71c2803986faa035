"""Databases of other programs: read while they are written, locked or left behind, without a trace beside them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tokenledger_dagster.clients import databases, row_marks


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "BUSY_SECONDS", 0.2)


def made(path: Path, *, wal: bool = False, rows: int = 3) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        if wal:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(f"k{number}", "v") for number in range(rows)])
        connection.commit()
    return path


@contextmanager
def another_program(path: Path, does: str) -> Iterator[None]:
    """A process that does something with the database and holds it open; it is killed in the end."""
    opens = f"import sqlite3, sys\nc = sqlite3.connect({str(path)!r}, isolation_level=None)\n"
    script = f"{opens}{textwrap.dedent(does)}\nprint('ready', flush=True)\nsys.stdin.read()\n"
    program = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdin is not None
    assert program.stdout is not None
    try:
        assert program.stdout.readline() == "ready\n"
        yield
    finally:
        program.kill()
        program.wait()
        program.stdin.close()
        program.stdout.close()


def keys(path: Path) -> list[str]:
    with databases.opened(str(path)) as connection:
        return [key for (key,) in connection.execute("SELECT key FROM t ORDER BY key")]


def beside(path: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of the folder with its bytes and modification time; the index of a log is shared memory."""
    return {
        one.name: (b"" if one.name.endswith("-shm") else one.read_bytes(), one.stat().st_mtime_ns)
        for one in path.parent.iterdir()
        if not one.name.endswith("-shm") or one.exists()
    }


def content(path: Path) -> dict[str, bytes]:
    return {name: data for name, (data, _) in beside(path).items()}


@pytest.mark.parametrize("wal", [False, True])
class TestAtRest:
    def test_it_is_read_and_nothing_changes(self, tmp_path: Path, wal: bool) -> None:
        path = made(tmp_path / "state.vscdb", wal=wal)
        before = beside(path)

        assert keys(path) == ["k0", "k1", "k2"]
        assert beside(path) == before
        assert list(before) == ["state.vscdb"]

    def test_it_cannot_be_written_through_the_connection(self, tmp_path: Path, wal: bool) -> None:
        path = made(tmp_path / "state.vscdb", wal=wal)
        with databases.opened(str(path)) as connection, pytest.raises(sqlite3.OperationalError):
            connection.execute("DELETE FROM t")

    def test_its_owner_can_write_it_at_once_afterwards(self, tmp_path: Path, wal: bool) -> None:
        path = made(tmp_path / "state.vscdb", wal=wal)
        keys(path)
        does = "c.execute('PRAGMA busy_timeout = 0'); c.execute('BEGIN EXCLUSIVE')"
        with another_program(path, does):
            pass

    def test_through_a_symlink_beside_its_owner(self, tmp_path: Path, wal: bool) -> None:
        path = made(tmp_path / "state.vscdb", wal=wal)
        link = tmp_path / "elsewhere" / "state.vscdb"
        link.parent.mkdir()
        link.symlink_to(path)
        with another_program(path, "c.execute(\"INSERT INTO t VALUES ('k9', 'v')\")"):
            assert keys(link) == ["k0", "k1", "k2", "k9"]
        assert list(link.parent.iterdir()) == [link]


class TestWhileItIsWritten:
    def test_with_a_log_what_is_committed_is_seen_and_what_is_not_is_not(self, tmp_path: Path) -> None:
        path = made(tmp_path / "state.vscdb", wal=True)
        does = """
        c.execute("INSERT INTO t VALUES ('k3', 'committed')")
        c.execute("BEGIN IMMEDIATE")
        c.execute("INSERT INTO t VALUES ('k4', 'open')")
        """
        with another_program(path, does):
            before = content(path)
            assert keys(path) == ["k0", "k1", "k2", "k3"]
            assert content(path) == before
            assert set(before) == {"state.vscdb", "state.vscdb-wal", "state.vscdb-shm"}

    def test_with_a_log_the_owner_goes_on_writing_while_it_is_read(self, tmp_path: Path) -> None:
        path = made(tmp_path / "state.vscdb", wal=True)
        with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as owner:
            owner.execute("INSERT INTO t VALUES ('k3', 'v')")
            with databases.opened(str(path)) as connection:
                owner.execute("INSERT INTO t VALUES ('k4', 'v')")
                # one state of the database for all that is read of it
                assert connection.execute("SELECT count(*) FROM t").fetchone() == (4,)
            owner.execute("INSERT INTO t VALUES ('k5', 'v')")
        assert keys(path) == ["k0", "k1", "k2", "k3", "k4", "k5"]

    def test_with_a_rollback_journal_an_open_transaction_is_not_seen(self, tmp_path: Path) -> None:
        path = made(tmp_path / "state.vscdb")
        does = "c.execute('BEGIN IMMEDIATE'); c.execute(\"INSERT INTO t VALUES ('k3', 'open')\")"
        with another_program(path, does):
            before = content(path)
            assert keys(path) == ["k0", "k1", "k2"]
            assert content(path) == before

    def test_locked_exclusively_with_a_rollback_journal_a_copy_is_read(self, tmp_path: Path) -> None:
        path = made(tmp_path / "state.vscdb")
        does = "c.execute('BEGIN EXCLUSIVE'); c.execute(\"INSERT INTO t VALUES ('k3', 'open')\")"
        with another_program(path, does):
            before = beside(path)
            assert keys(path) == ["k0", "k1", "k2"]
            assert beside(path) == before

    def test_locked_exclusively_with_a_log_a_copy_is_read(self, tmp_path: Path) -> None:
        path = made(tmp_path / "state.vscdb", wal=True)
        does = "c.execute('PRAGMA locking_mode = EXCLUSIVE'); c.execute(\"INSERT INTO t VALUES ('k3', 'v')\")"
        with another_program(path, does):
            before = beside(path)
            assert keys(path) == ["k0", "k1", "k2", "k3"]
            assert beside(path) == before

    def test_locked_and_too_large_to_copy_it_is_told_and_left_for_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(databases, "COPY_BYTES", 1)
        path = made(tmp_path / "state.vscdb")
        locks = another_program(path, "c.execute('BEGIN EXCLUSIVE')")
        with locks, pytest.raises(sqlite3.OperationalError, match="locked"):
            keys(path)
        assert keys(path) == ["k0", "k1", "k2"]


class TestLeftBehind:
    def test_after_a_crash_the_log_is_read_and_stays(self, tmp_path: Path) -> None:
        path = made(tmp_path / "state.vscdb", wal=True)
        with another_program(path, "c.execute(\"INSERT INTO t VALUES ('k3', 'v')\")"):
            pass  # killed: its log and the index remain
        before = content(path)

        assert keys(path) == ["k0", "k1", "k2", "k3"]
        assert content(path) == before
        assert set(before) == {"state.vscdb", "state.vscdb-wal", "state.vscdb-shm"}

    def test_a_log_without_index_is_read_and_no_index_appears(self, tmp_path: Path) -> None:
        path = made(tmp_path / "state.vscdb", wal=True)
        with another_program(path, "c.execute(\"INSERT INTO t VALUES ('k3', 'v')\")"):
            pass
        Path(f"{path}-shm").unlink()
        before = beside(path)

        assert keys(path) == ["k0", "k1", "k2", "k3"]
        assert beside(path) == before
        assert set(before) == {"state.vscdb", "state.vscdb-wal"}

    def test_a_log_without_index_that_is_too_large_to_copy_is_left_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(databases, "COPY_BYTES", 1)
        path = made(tmp_path / "state.vscdb", wal=True)
        with another_program(path, "c.execute(\"INSERT INTO t VALUES ('k3', 'v')\")"):
            pass
        Path(f"{path}-shm").unlink()

        assert keys(path) == ["k0", "k1", "k2"]

    def test_a_transaction_that_a_crash_cut_is_rolled_back_in_a_copy(self, tmp_path: Path) -> None:
        path = made(tmp_path / "state.vscdb", rows=2_000)
        does = """
        c.execute('PRAGMA cache_size = 1')
        c.execute('PRAGMA cache_spill = 1')
        c.execute('BEGIN')
        c.execute("UPDATE t SET value = hex(randomblob(50)), key = 'x' || key")
        """
        with another_program(path, does):
            pass
        before = beside(path)

        assert len(Path(f"{path}-journal").read_bytes()) > 512
        assert {key[0] for key in keys(path)} == {"k"}
        assert beside(path) == before

    @pytest.mark.parametrize("wal", [False, True])
    @pytest.mark.parametrize("index", [False, True])
    def test_on_media_that_cannot_be_written(self, wal: bool, index: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:  # one that others can reach
            path = made(Path(folder) / "state.vscdb", wal=wal)
            with another_program(path, "c.execute(\"INSERT INTO t VALUES ('k3', 'v')\")"):
                pass
            if not index:
                Path(f"{path}-shm").unlink(missing_ok=True)
            for one in path.parent.iterdir():
                one.chmod(0o444)
            path.parent.chmod(0o555)
            before = beside(path)
            try:
                assert _as_nobody(path) == "k0 k1 k2 k3\n"
                assert beside(path) == before
            finally:
                path.parent.chmod(0o755)


class TestWhatIsNoDatabase:
    @pytest.mark.parametrize("data", [b"this is not a database at all, not even nearly" * 40, b"SQLite format 3\x00"])
    def test_other_bytes(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "state.vscdb"
        path.write_bytes(data)
        with pytest.raises(sqlite3.DatabaseError):
            keys(path)
        assert list(content(path)) == ["state.vscdb"]

    def test_an_empty_file_has_no_tables(self, tmp_path: Path) -> None:
        path = tmp_path / "state.vscdb"
        path.touch()
        with databases.opened(str(path)) as connection:
            assert databases.tables(connection) == {}

    def test_a_cut_one(self, tmp_path: Path) -> None:
        path = made(tmp_path / "state.vscdb", rows=5_000)
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(sqlite3.DatabaseError):
            keys(path)

    @pytest.mark.parametrize("name", ["folder", "nothing"])
    def test_a_folder_or_nothing(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "folder").mkdir()
        with pytest.raises(sqlite3.OperationalError, match=r"unable to open|disk I/O"):
            keys(tmp_path / name)


INODE = 7


class TestHowFarATableWasRead:
    def marks(self, connection: sqlite3.Connection) -> dict[str, int]:
        return row_marks.marks_of(connection, "t", "key", INODE)

    def read_up_to(self, connection: sqlite3.Connection, marks: dict[str, int], inode: int = INODE) -> int | None:
        return row_marks.read_up_to(connection, "t", "key", marks, inode)

    @pytest.fixture
    def connection(self, tmp_path: Path) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(made(tmp_path / "state.vscdb", rows=100), isolation_level=None)) as found:
            yield found

    def test_new_and_replaced_rows_stand_above_the_mark(self, connection: sqlite3.Connection) -> None:
        marks = self.marks(connection)
        connection.execute("INSERT INTO t VALUES ('k5', 'changed'), ('new', 'v')")

        assert self.read_up_to(connection, marks) == 100
        found = connection.execute("SELECT key FROM t WHERE rowid > 100 ORDER BY rowid").fetchall()
        assert found == [("k5",), ("new",)]

    def test_without_marks_everything_is_to_be_read(self, connection: sqlite3.Connection) -> None:
        assert self.read_up_to(connection, {}) is None

    def test_rows_removed_from_the_end_give_their_numbers_anew(self, connection: sqlite3.Connection) -> None:
        marks = self.marks(connection)
        connection.execute("DELETE FROM t WHERE rowid > 95")
        assert self.read_up_to(connection, marks) is None
        connection.executemany("INSERT INTO t VALUES (?, 'v')", [(f"n{number}",) for number in range(20)])
        assert self.read_up_to(connection, marks) is None

    def test_vacuum_gives_numbers_anew(self, connection: sqlite3.Connection) -> None:
        marks = self.marks(connection)
        connection.execute("DELETE FROM t WHERE rowid % 2 = 0")
        connection.execute("VACUUM")
        connection.executemany("INSERT INTO t VALUES (?, 'v')", [(f"n{number}",) for number in range(80)])

        assert self.read_up_to(connection, marks) is None

    def test_another_file_in_its_place(self, connection: sqlite3.Connection) -> None:
        marks = self.marks(connection)
        connection.execute("UPDATE t SET key = 'other' || key")

        assert self.read_up_to(connection, marks) is None

    def test_a_file_with_another_inode_is_another_file(self, connection: sqlite3.Connection) -> None:
        assert self.read_up_to(connection, self.marks(connection), inode=8) is None

    def test_rows_that_come_in_below_the_mark(self, connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM t WHERE rowid = 41")
        marks = self.marks(connection)
        assert self.read_up_to(connection, marks) == 100
        connection.execute("INSERT INTO t (rowid, key, value) VALUES (41, 'late', 'v')")

        assert self.read_up_to(connection, marks) is None

    def test_an_empty_table(self, connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM t")
        assert self.marks(connection) == {}


def _as_nobody(path: Path) -> str:
    """The keys as a process reads them that may not write there, also where the tests run as root."""
    script = """
    import os, sqlite3, sys
    from tokenledger_dagster.clients import databases
    if os.geteuid() == 0:
        os.setuid(65534)
    with databases.opened(sys.argv[1]) as connection:
        print(*[key for (key,) in connection.execute("SELECT key FROM t ORDER BY key")])
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout
