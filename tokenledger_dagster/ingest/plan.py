"""What has to be read: every found file against what is known of it.

Here: telling unchanged, grown, rewritten, moved, new and vanished files apart.  Not here: reading them
(``ingest.scan``) or recording the outcome (``ingest.commit``).
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.packed import encoding_of, opened
from tokenledger_dagster.clients.registry import parser_version
from tokenledger_dagster.ingest.reading import hash_at
from tokenledger_dagster.ingest.scan import Chain, Start

Action = Literal["unchanged", "tail", "reread", "observe", "reparse", "new"]
"""``observe``: a file that its program rewrites is looked at again; ``reparse``: the file is read anew because its
client's parser is newer than the one that read it."""


class Known(msgspec.Struct, frozen=True):
    """A row of the manifest's ``sources``."""

    source_no: int
    source_id: str
    client: str
    path: str
    status: str
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    encoding: str
    head_hash: str
    head_length: int
    read_offset: int
    tail_hash: str
    tail_length: int
    stream_no: int
    chain: str
    chain_length: int
    parser_version: int


class Task(msgspec.Struct, frozen=True):
    """One file and what to do with it."""

    file: SourceFile
    action: Action
    known: Known | None
    moved: bool = False


class Plan(msgspec.Struct):
    """All of a sync's work, and what became of the other files."""

    tasks: list[Task]
    """Files to read."""
    seen: Counter[str]
    """How many files were found, by client."""
    unchanged: int
    returned: list[int]
    """Numbers of sources that were missing and are there again."""
    moved: list[tuple[SourceFile, int]]
    """Files with another path that need no reading, and the numbers of their sources."""
    missing: list[Known]
    """Known sources that are gone."""


class Brief(NamedTuple):
    """As much of a source as most of them are asked for."""

    source_no: int
    client: str
    path: str
    status: str
    stream_no: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Sources:
    """The sources the manifest knows of some clients: briefly, and each whole when it has to be looked at."""

    def __init__(self, connection: sqlite3.Connection, names: Sequence[str]) -> None:
        self._db = connection
        marks = ", ".join("?" * len(names))
        rows = connection.execute(
            f"SELECT {', '.join(Brief._fields)} FROM sources WHERE client IN ({marks}) ORDER BY source_no",
            tuple(names),
        )
        self.briefs = list(map(Brief._make, rows))
        self.outdated: set[int] = set()
        """Streams that an older parser has read."""
        for name in names:
            query = "SELECT stream_no FROM streams WHERE client = ? AND parser_version < ?"
            found = connection.execute(query, (name, parser_version(name)))
            self.outdated.update(number for (number,) in found)

    def whole(self, brief: Brief) -> Known:
        """All that is known of a source."""
        own = ", ".join(f"o.{name}" for name in Known.__struct_fields__[:-1])
        query = f"SELECT {own}, s.parser_version FROM sources o JOIN streams s USING (stream_no) WHERE o.source_no = ?"
        return Known(*self._db.execute(query, (brief.source_no,)).fetchone())


def make_plan(found: Sequence[SourceFile], sources: Sources, *, no_cache: bool = False) -> Plan:
    """Decides for each found file.  Hard links and roots that overlap are read once, under the first path."""
    by_path = {(brief.client, brief.path): brief for brief in sources.briefs}
    files: list[tuple[SourceFile, tuple[str, str]]] = []
    seen: set[tuple[str, int, int]] = set()
    for file in found:
        identity = (file.client, file.device, file.inode)
        if identity not in seen or not file.inode:
            seen.add(identity)
            files.append((file, (file.client, file.path if file.path.isascii() else file.shown)))
    present = {place for _, place in files}
    gone = [sources.whole(brief) for brief in sources.briefs if (brief.client, brief.path) not in present]
    vanished = _Vanished(gone)
    plan = Plan([], Counter(file.client for file, _ in files), 0, [], [], [])
    for file, place in files:
        brief = by_path.get(place)
        moved = False
        if brief is not None:
            same = brief[-4:] == (file.size, file.mtime_ns, file.ctime_ns, file.inode)
            if same and not no_cache and brief.stream_no not in sources.outdated:
                plan.unchanged += 1
                if brief.status == "missing":
                    plan.returned.append(brief.source_no)
                continue
            source: Known | None = sources.whole(brief)
        else:
            source = vanished.continued_by(file)
            moved = source is not None
        task = _task(file, source, moved, no_cache)
        if source is not None and source.status == "missing":
            plan.returned.append(source.source_no)
        if task.action != "unchanged":
            plan.tasks.append(task)
            continue
        plan.unchanged += 1
        if moved and source is not None:
            plan.moved.append((file, source.source_no))
    plan.missing = [source for source in gone if source.source_no not in vanished.taken]
    return plan


def _task(file: SourceFile, source: Known | None, moved: bool, no_cache: bool) -> Task:
    if source is None:
        return Task(file, "new", None)
    if source.parser_version < parser_version(file.client):
        return Task(file, "reparse", source, moved)
    if file.shape != "lines" and (no_cache or _action(file, source, moved) != "unchanged"):
        return Task(file, "observe", source, moved)
    return Task(file, "reread" if no_cache else _action(file, source, moved), source, moved)


def _action(file: SourceFile, source: Known, moved: bool) -> Action:
    # a move changes the ctime alone; elsewhere it betrays a write that set the modification time back
    same = (file.size, file.mtime_ns) == (source.size, source.mtime_ns)
    same = same and (moved or file.ctime_ns == source.ctime_ns)
    if same and file.inode == source.inode:
        return "unchanged"
    # a file may have grown between its stat and its reading: then its new size is what was read already
    grown = file.size > source.read_offset or source.size != file.size == source.read_offset
    # a program that appends keeps the inode; an editor that writes a file anew does not
    if source.encoding == "plain" and source.head_length and grown and file.inode == source.inode:
        try:
            with open(file.path, "rb", buffering=0) as handle:
                if (
                    hash_at(handle, 0, source.head_length) == source.head_hash
                    and hash_at(handle, source.read_offset - source.tail_length, source.tail_length) == source.tail_hash
                ):
                    return "tail"
        except OSError:
            return "reread"
    return "reread"


class _Vanished:
    """Sources whose path is gone, found again by how their content begins."""

    def __init__(self, gone: Sequence[Known]) -> None:
        self.taken: set[int] = set()
        self._by_head: dict[tuple[str, int, str], list[Known]] = defaultdict(list)
        for source in gone:
            # a path that exists but was not found belongs to a root that is not read now
            if source.head_length and not os.path.lexists(source.path):
                self._by_head[source.client, source.head_length, source.head_hash].append(source)
        self._lengths = sorted({(client, length) for client, length, _ in self._by_head})

    def continued_by(self, file: SourceFile) -> Known | None:
        """The vanished source whose content this new path carries on, or None."""
        for client, length in self._lengths:
            if client != file.client:
                continue
            alike = self._by_head.get((client, length, _head(file, length)), [])
            open_ones = [source for source in alike if source.source_no not in self.taken]
            if open_ones:
                # copies begin alike: a moved file keeps its inode, or at least its size and time
                best = max(open_ones, key=lambda source: _likeness(file, source))
                self.taken.add(best.source_no)
                return best
        return None


def _likeness(file: SourceFile, source: Known) -> tuple[bool, bool, int]:
    same_inode = (file.device, file.inode) == (source.device, source.inode)
    same_stamp = (file.size, file.mtime_ns) == (source.size, source.mtime_ns)
    return same_inode, same_stamp, -source.source_no


def _head(file: SourceFile, length: int) -> str:
    try:
        with opened(file.path, encoding_of(file.path)) as handle:
            return hash_at(handle, 0, length)
    except (OSError, EOFError, ValueError):
        return ""


def start_of(task: Task, carry: bytes | None) -> Start:
    """Where the scan of a task begins."""
    if task.known is None:
        return Start()
    chain = Chain(task.known.chain, task.known.chain_length)
    if task.action == "tail":
        return Start(task.known.read_offset, chain, carry)
    if task.action == "observe":
        return Start(0, chain, carry)
    return Start(kept=chain if task.action == "reread" else None)
