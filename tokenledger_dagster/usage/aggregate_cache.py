"""Aggregates of months as they were last computed, one small file each below `cache/aggregates/` of the home.

Here: keeping what an aggregate is and what it stood on, finding it again, and counting how often that was possible. Not
here: what it stands on (`usage.month_key`), and which aggregates are kept (`usage.aggregates`).

A cache is never a reason for an error: what is missing, damaged, of another version or of another state is computed
again, and where nothing can be written nothing is kept. Everything here may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TypeVar

import msgspec

from tokenledger_dagster import __version__
from tokenledger_dagster.fileio import write_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.usage.month_key import MonthKey

__all__ = [
    "CACHE_SCHEMA_VERSION",
    "MOST_ENTRIES",
    "AggregateCache",
    "Question",
    "entry_name",
    "is_entry_name",
    "read_entry",
]

CACHE_SCHEMA_VERSION = 1
MOST_ENTRIES = 512
"""Entries that are kept; the ones written longest ago go."""
MOST_BYTES = 16 << 20
"""No entry is larger than this; a larger file is not one of ours."""

_LIBRARY = Path(__file__).parents[1]
_CODE = (
    *("usage/aggregates.py", "usage/breakdown.py", "usage/declared.py", "usage/effective.py", "usage/month_key.py"),
    *("usage/selection.py", "usage/atoms.sql", "usage/month_key.sql", "contracts/costs.py", "contracts/snapshot.py"),
    *("exports/ui_snapshot.py", "exports/sql/snapshot_cells.sql", "exports/sql/snapshot_slots.sql"),
    *("pricing/economics.py", "pricing/periods.py", "pricing/plan_types.py", "pricing/plans.py"),
)
"""What makes aggregates of the manifest's sums: what other code made of them is computed again."""
_ENTRY_NAME = re.compile(r"[a-z]{1,20}-\d{4}-\d\d-[0-9a-f]{16}\.json", re.ASCII)
_Aggregate = TypeVar("_Aggregate")


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a month; one entry for each."""

    kind: str
    """`costs` or `snapshot`."""
    month: str
    """YYYY-MM."""
    zone: str
    """IANA name of the zone in which it is cut."""
    filters: dict[str, list[str] | bool] = {}
    """Clients, models, projects and sessions that are asked for, and whether estimates are left out."""


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file."""

    schema_version: int
    generated_at: str
    program: str
    question: Question
    events: str
    pricing: str
    digest: str
    """Of the bytes of `aggregate`."""
    aggregate: msgspec.Raw


class AggregateCache:
    """The cache of one home during one run, and its counts."""

    def __init__(self, home: Home, *, enabled: bool = True, booking: str = "") -> None:
        """`enabled` False reads and writes nothing; `booking` is the key of the rules that events were booked by."""
        self.enabled = enabled
        self.folder = home.aggregate_cache
        self.hits = self.misses = self.invalidated = 0
        """How often the answer was kept, how often it was not, and in how many of the latter another one was."""
        self.problem = ""
        """Why nothing can be kept; empty where all is well."""
        self.program = f"{program()} {booking}"
        """Stands for what makes aggregates; what another one made is computed again."""

    def get(
        self, question: Question, key: MonthKey, kind: type[_Aggregate], compute: Callable[[], _Aggregate]
    ) -> _Aggregate:
        """The aggregate that was kept for this question and these keys, else the computed one, which is then kept."""
        if not self.enabled:
            return compute()
        path = self.folder / entry_name(question)
        found = None if (content := read_entry(path)) is None else self._decoded(content, question, key, kind)
        if found is not None:
            self.hits += 1
            return found
        self.misses += 1
        self.invalidated += content is not None
        made = compute()
        self._keep(path, question, key, made)
        return made

    def _decoded(self, content: bytes, question: Question, key: MonthKey, kind: type[_Aggregate]) -> _Aggregate | None:
        try:
            entry = msgspec.json.decode(content, type=_Entry)
            stands = (entry.schema_version, entry.program, entry.question, entry.events, entry.pricing)
            wanted = (CACHE_SCHEMA_VERSION, self.program, question, key.events, key.pricing)
            if stands != wanted or entry.digest != _digest(bytes(entry.aggregate)):
                return None
            return msgspec.json.decode(entry.aggregate, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def _keep(self, path: Path, question: Question, key: MonthKey, made: object) -> None:
        aggregate = msgspec.json.encode(made)
        entry = _Entry(
            schema_version=CACHE_SCHEMA_VERSION,
            generated_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            program=self.program,
            question=question,
            events=key.events,
            pricing=key.pricing,
            digest=_digest(aggregate),
            aggregate=msgspec.Raw(aggregate),
        )
        content = msgspec.json.encode(entry) + b"\n"
        if len(content) > MOST_BYTES:
            return
        try:
            if any(one.is_symlink() for one in (self.folder, self.folder.parent)):
                raise OSError("is a link; nothing is written through it")
            self.folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                _make_room(self.folder)
            write_atomic(path, content)
        except OSError as error:
            # the figures are right without it; the summary says why nothing is kept
            self.problem = f"{self.folder}: {error.strerror or error}; nothing is kept"


def entry_name(question: Question) -> str:
    """Name of the file of a question's entry."""
    digest = hashlib.blake2b(msgspec.json.encode(question, order="sorted"), digest_size=8).hexdigest()
    return f"{question.kind}-{question.month}-{digest}.json"


def is_entry_name(name: str) -> bool:
    """Whether a file of this name can be an entry."""
    return _ENTRY_NAME.fullmatch(name) is not None


def question_filters(filters: Mapping[str, object]) -> dict[str, list[str] | bool]:
    """A selection's filters but its period, each list in one order."""
    found: dict[str, list[str] | bool] = {}
    for name, value in filters.items():
        if name not in ("since", "until"):
            found[name] = sorted(map(str, value)) if isinstance(value, (list, tuple)) else bool(value)
    return found


@cache
def program() -> str:
    """Stands for this program: its version and the code that aggregates are made by."""
    digest = hashlib.blake2b(digest_size=8)
    for name in _CODE:
        digest.update(name.encode() + hashlib.blake2b((_LIBRARY / name).read_bytes()).digest())
    return f"{__version__} {digest.hexdigest()}"


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def read_entry(path: Path) -> bytes | None:
    """Bytes of a small file, empty where there is something else in its place, None where there is nothing."""
    try:
        # no link or pipe is ours, and opening the latter would wait for a writer
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError:
        return b""
    try:
        found = os.fstat(handle)
        is_ours = stat.S_ISREG(found.st_mode) and found.st_size <= MOST_BYTES
        return os.read(handle, MOST_BYTES) if is_ours else b""
    except OSError:
        return b""
    finally:
        os.close(handle)


def _make_room(folder: Path) -> None:
    """Removes the entries that were written longest ago, so that one more fits."""
    with os.scandir(folder) as found:
        listed = sorted(
            (entry.stat(follow_symlinks=False).st_mtime_ns, entry.name)
            for entry in found
            if is_entry_name(entry.name) and entry.is_file(follow_symlinks=False)
        )
    for _, name in listed[: max(0, len(listed) + 1 - MOST_ENTRIES)]:
        os.unlink(folder / name)
