"""What is remembered of prompts between two readings: files as they were, and keyed digests of what they showed.

Here: the key, and the SQLite file below `<home>/inference/prompts`, readable by its owner alone.  Not here: whose a
prompt is (`owners`), or the words themselves (`texts`); no word is in this file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import msgspec

from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.prompts import masking, typed
from tokenledger_dagster.inference.prompts.notes import UNTIMED, Entry, Notes
from tokenledger_dagster.inference.prompts.registry import VERSION

__all__ = [
    "FileRow",
    "Index",
    "discard",
    "in_memory",
    "is_damage",
    "load_key",
    "opened",
    "private_file",
    "remove",
    "statement",
]

INDEX, KEY = "index.sqlite", "key"
_KEY_BYTES = 32
_SCHEMA = "1"
_WAIT_SECONDS = 30.0
_SQL = Path(__file__).with_name("index.sql")


class FileRow(NamedTuple):
    """What is known of a file."""

    file_no: int
    state: str
    is_gone: bool
    skipped: Counter[str]


class Index:
    """The tables of `index.sql`; the caller holds the connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.db = connection

    def files(self, client: str) -> dict[str, FileRow]:
        """A client's known files by path."""
        query = "SELECT path, file_no, state, is_gone, skipped FROM files WHERE client = ?"
        return {
            path: FileRow(number, state, bool(gone), Counter(msgspec.json.decode(skipped)))
            for path, number, state, gone, skipped in self.db.execute(query, (client,))
        }

    def begin(self, file: SourceFile) -> int:
        """The number of a file that is about to be read; what it showed before is forgotten."""
        (number,) = self.db.execute(
            "INSERT INTO files (client, path, state, is_gone, skipped) VALUES (?, ?, '', 0, '{}') "
            "ON CONFLICT (client, path) DO UPDATE SET state = '', is_gone = 0 RETURNING file_no",
            (file.client, file.shown),
        ).fetchone()
        self.db.execute("DELETE FROM prompts WHERE file_no = ?", (number,))
        return int(number)

    def add(self, file_no: int, first: int, entries: Iterable[Entry]) -> None:
        """Entries of a file, in order."""
        rows = (
            (file_no, place, one.session, one.identity, one.digest, one.time_us, one.source, int(one.copied))
            for place, one in enumerate(entries, first)
        )
        self.db.executemany("INSERT INTO prompts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def damaged(self, file: SourceFile, state: str, skipped: Counter[str]) -> None:
        """A file that cannot be read as it is now; what it showed before stands."""
        self.db.execute(
            "INSERT INTO files (client, path, state, is_gone, skipped) VALUES (?1, ?2, ?3, 0, ?4) "
            "ON CONFLICT (client, path) DO UPDATE SET state = ?3, is_gone = 0, skipped = ?4",
            (file.client, file.shown, state, msgspec.json.encode(dict(skipped)).decode()),
        )

    def finish(self, file_no: int, file: SourceFile, state: str, notes: Notes) -> None:
        """A file was read to its end: what stands before any time takes the first one, else the file's own."""
        if notes.has_untimed:
            own = {"file_no": file_no, "untimed": UNTIMED, "file_us": file.mtime_ns // 1000}
            self.db.execute(statement("dated"), own)
        lineage, skipped = notes.lineage, notes.skipped
        told = msgspec.json.encode(lineage).decode() if lineage is not None and lineage.ancestors else None
        self.db.execute(
            "UPDATE files SET state = ?, lineage = ?, skipped = ? WHERE file_no = ?",
            (state, told, msgspec.json.encode(dict(skipped)).decode(), file_no),
        )

    def mark(self, file_numbers: Iterable[int], *, is_gone: bool) -> None:
        """Files that are not there any more, or are there again; what they showed stands."""
        rows = ((int(is_gone), number) for number in file_numbers)
        self.db.executemany("UPDATE files SET is_gone = ? WHERE file_no = ?", rows)

    def get(self, key: str) -> str | None:
        """A note of the index's own."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set(self, key: str, value: str) -> None:
        """Sets such a note."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction, of one process at a time.  Raises sqlite3.OperationalError where another holds on."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def opened(home: Home, key: bytes, rules: str, told: list[str]) -> Iterator[Index]:
    """The index of a home.

    A damaged index is made anew.  Where none can be written, or another process has it for long, one in memory stands
    in: all is read, and nothing is remembered.  Either is told in one line.  `rules` stands for what decides what is
    read of a file: where it, the patterns or the key are not those of the last time, every file counts as changed.
    """
    connection = _connect(home.prompts / INDEX, _stamp(key, rules), told)
    try:
        yield Index(connection)
    finally:
        connection.close()


@contextlib.contextmanager
def in_memory(home: Home, error: sqlite3.Error, told: list[str]) -> Iterator[Index]:
    """An empty index in place of one that failed while it was used; a damaged one is removed, so that none stays."""
    path = home.prompts / INDEX
    if is_damage(error):
        told.append(f"{path} was damaged; it was removed, and every log is read again")
        discard(path, told)
    else:
        told.append(f"{path} cannot be used any more ({error}); prompts are read anew and nothing is remembered")
    connection = _prepared(sqlite3.connect(":memory:", isolation_level=None), "")
    try:
        yield Index(connection)
    finally:
        connection.close()


def load_key(home: Home) -> tuple[bytes, str | None]:
    """The home's random key, made at first; where it cannot be kept, one for this time, and why."""
    path = home.prompts / KEY
    found = _key_in(path)
    if found is not None:
        return found, None
    made = secrets.token_bytes(_KEY_BYTES)
    whole = path.with_name(f".{KEY}.{os.getpid()}.tmp")
    try:
        private_file(whole)
        try:
            whole.write_bytes(made)
            os.link(whole, path)  # of several processes that begin at once, one makes it
        except OSError:
            if (found := _key_in(path)) is not None:
                return found, None
            os.replace(whole, path)  # what is there is no key, or links are not to be had
        finally:
            whole.unlink(missing_ok=True)
    except OSError as error:
        return made, f"{path} cannot be written ({error.strerror}); what is read of prompts is not remembered"
    return made, None


def _key_in(path: Path) -> bytes | None:
    try:
        if not path.is_file():
            return None
        found = path.read_bytes()
        os.chmod(path, 0o600)
    except OSError:
        return None
    return found if len(found) == _KEY_BYTES else None


def is_damage(error: sqlite3.Error) -> bool:
    """Whether a file's content is at fault, and not what happens around it."""
    return not isinstance(error, sqlite3.OperationalError)


def discard(path: Path, told: list[str]) -> None:
    """Delete a damaged database; where that is refused it is told."""
    try:
        remove(path)
    except OSError as error:
        told.append(f"{path} cannot be removed ({error.strerror}): remove it")


def remove(path: Path) -> None:
    """Delete a database: first what it was about to write, which holds parts of it as well.  Raises OSError."""
    for ending in ("-journal", ""):
        Path(f"{path}{ending}").unlink(missing_ok=True)


def private_file(path: Path) -> None:
    """Make `path` and its folder, for their owner alone.  Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(path.parent, 0o700)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    os.chmod(path, 0o600)


@cache
def statement(name: str) -> str:
    """A part of `index.sql` by its head."""
    parts = ("\n" + _SQL.read_text("utf-8")).split(f"\n-- {name}\n", 1)
    return parts[1].split("\n\n-- ", 1)[0]


def _connect(path: Path, stamp: str, told: list[str]) -> sqlite3.Connection:
    for _ in range(2):
        try:
            private_file(path)
            return _prepared(sqlite3.connect(path, isolation_level=None, timeout=_WAIT_SECONDS), stamp)
        except sqlite3.OperationalError as error:
            told.append(f"{path} cannot be used now ({error}); prompts are read anew and nothing is remembered")
            break
        except sqlite3.DatabaseError:
            told.append(f"{path} was damaged; it is made anew and every log is read again")
            discard(path, told)
        except OSError as error:
            told.append(f"{path} cannot be written ({error.strerror}); prompts are read and nothing is remembered")
            break
    return _prepared(sqlite3.connect(":memory:", isolation_level=None), stamp)


def _prepared(connection: sqlite3.Connection, stamp: str) -> sqlite3.Connection:
    try:
        connection.execute("PRAGMA temp_store = MEMORY")
        # what a power cut may spoil is found out and made anew from the logs
        connection.execute("PRAGMA synchronous = OFF")
        index = Index(connection)
        with index.writing():
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "meta" not in names or index.get("schema") != _SCHEMA:
                for name in names:
                    connection.execute(f'DROP TABLE "{name}"')
                for part in statement("schema").split(";\n"):
                    connection.execute(part)
                index.set("schema", _SCHEMA)
            if index.get("stamp") != stamp:
                connection.execute("UPDATE files SET state = ''")
                index.set("stamp", stamp)
    except BaseException:
        connection.close()
        raise
    return connection


def _stamp(key: bytes, rules: str) -> str:
    parts = [str(VERSION), rules, typed.PATH.read_text("utf-8"), masking.PATH.read_text("utf-8")]
    return blake2b("\0".join(parts).encode(), digest_size=16, key=key).hexdigest()
