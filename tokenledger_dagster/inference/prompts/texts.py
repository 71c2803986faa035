"""The words themselves, kept only where the feature `inference.store_prompts` is on.

Here: one SQLite file below `<home>/inference/prompts`, readable by its owner alone, which is deleted as a whole when
the feature is switched off.  Not here: anything that is kept otherwise (`index`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from zlib import crc32

from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.prompts import masking
from tokenledger_dagster.inference.prompts.index import discard, is_damage, private_file, remove

__all__ = ["Texts", "forget", "opened"]

TEXTS = "texts.sqlite"
_WAIT_SECONDS = 30.0
_AT_A_TIME = 500
_TABLE = "CREATE TABLE IF NOT EXISTS texts (digest BLOB PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID"


class Texts:
    """Words by their digest; without a connection nothing is kept, and nothing is found.

    A file that fails while it is used is told once and not used any more; a damaged one is removed.
    """

    def __init__(self, connection: sqlite3.Connection | None, path: Path, told: list[str]) -> None:
        self._db, self._path, self._told = connection, path, told

    def find(self, digests: Iterable[bytes]) -> dict[bytes, str]:
        """Those of the texts that are kept."""
        wanted, found = list(digests), dict[bytes, str]()
        for start in range(0, len(wanted), _AT_A_TIME):
            if self._db is None:
                break
            chunk = wanted[start : start + _AT_A_TIME]
            query = f"SELECT digest, text FROM texts WHERE digest IN ({', '.join('?' * len(chunk))})"
            try:
                found.update(self._db.execute(query, chunk).fetchall())
            except sqlite3.Error as error:
                self._give_up(error)
        return found

    def keep(self, texts: dict[bytes, str]) -> None:
        """Keeps texts for later readings."""
        if self._db is not None and texts:
            try:
                with self._db:
                    self._db.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?)", texts.items())
            except sqlite3.Error as error:
                self._give_up(error)

    def forget_others(self, digests: set[bytes]) -> None:
        """Keeps these alone: what no session shows any more is not kept either."""
        if self._db is not None:
            try:
                kept = {digest for (digest,) in self._db.execute("SELECT digest FROM texts")}
                with self._db:
                    self._db.executemany("DELETE FROM texts WHERE digest = ?", ((one,) for one in kept - digests))
            except sqlite3.Error as error:
                self._give_up(error)

    def close(self) -> None:
        """Uses the file no more."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _give_up(self, error: sqlite3.Error) -> None:
        self.close()
        if is_damage(error):
            remove(self._path)
            self._told.append(
                f"{self._path} was damaged; it was removed, and what the logs still hold is kept next time"
            )
        else:
            self._told.append(f"{self._path} cannot be used any more ({error}); prompts are read and not kept")


@contextlib.contextmanager
def opened(home: Home, *, is_on: bool, told: list[str]) -> Iterator[Texts]:
    """The texts of a home; where none are to be kept, none that keeps."""
    path = home.prompts / TEXTS
    with contextlib.closing(Texts(_connected(path, told) if is_on else None, path, told)) as found:
        yield found


def forget(home: Home) -> str | None:
    """Delete all kept texts; returns what a person should be told, None where there were none."""
    path = home.prompts / TEXTS
    if not any(os.path.exists(f"{path}{ending}") for ending in ("", "-journal")):
        return None
    try:
        remove(path)
    except OSError as error:
        return f"{path} cannot be removed ({error.strerror}), though prompts are not to be kept: remove it"
    return f"{path}: the prompts kept there were removed, since `inference.store_prompts` is off"


def _connected(path: Path, told: list[str]) -> sqlite3.Connection | None:
    for _ in range(2):
        try:
            private_file(path)
            connection = sqlite3.connect(path, timeout=_WAIT_SECONDS)
            try:
                connection.execute("PRAGMA secure_delete = 1")
                connection.execute(_TABLE)
                connection.execute("SELECT digest, text FROM texts LIMIT 1").fetchone()
                _mask_anew(connection)
            except BaseException:
                connection.close()
                raise
            return connection
        except (sqlite3.OperationalError, OSError) as error:
            told.append(f"{path} cannot be used now ({error}); prompts are read and not kept")
            return None
        except sqlite3.DatabaseError:
            told.append(f"{path} was damaged; it is made anew")
            discard(path, told)
    return None


def _mask_anew(connection: sqlite3.Connection) -> None:
    """Mask kept words by the patterns of today: those of a log that is gone are not read again."""
    rules = crc32(masking.PATH.read_bytes()) & 0x7FFF_FFFF  # SQLite keeps the number with a sign
    if connection.execute("PRAGMA user_version").fetchone() == (rules,):
        return
    found = connection.execute("SELECT digest, text FROM texts").fetchall()
    changed = ((new, digest) for digest, text in found if (new := masking.masked(text, len(text))[0]) != text)
    with connection:
        connection.executemany("UPDATE texts SET text = ? WHERE digest = ?", changed)
        connection.execute(f"PRAGMA user_version = {rules}")
