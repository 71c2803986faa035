"""What has to be read: every found file against what is known of it.

Here: telling unchanged, grown, rewritten, moved, new and vanished files apart.  Not here: reading them
(``ingest.scan``) or recording the outcome (``ingest.commit``).
"""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import msgspec

from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.registry import clients
from tokenledger_dagster.ingest.reading import encoding_of, hash_at, opened
from tokenledger_dagster.ingest.scan import Chain, Start

Action = Literal["unchanged", "tail", "reread", "reparse", "new"]
"""``reparse``: the file is read anew because its client's parser is newer than the one that read it."""


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
    """All of a sync's work, and the known sources that are gone."""

    tasks: list[Task]
    missing: list[Known]


def load_known(connection: sqlite3.Connection) -> list[Known]:
    """Every source the manifest knows."""
    own = ", ".join(f"o.{name}" for name in Known.__struct_fields__[:-1])
    query = f"SELECT {own}, s.parser_version FROM sources o JOIN streams s USING (stream_no) ORDER BY o.source_no"
    return [Known(*row) for row in connection.execute(query)]


def make_plan(found: Sequence[SourceFile], known: Sequence[Known], *, no_cache: bool = False) -> Plan:
    """Decides for each found file.  Hard links and roots that overlap are read once, under the first path."""
    by_path = {(source.client, source.path): source for source in known}
    files: list[SourceFile] = []
    seen: set[tuple[str, int, int]] = set()
    for file in found:
        if (file.client, file.device, file.inode) not in seen or not file.inode:
            seen.add((file.client, file.device, file.inode))
            files.append(file)
    present = {(file.client, file.shown) for file in files}
    gone = [source for source in known if (source.client, source.path) not in present]
    vanished = _Vanished(gone)
    tasks: list[Task] = []
    for file in files:
        source = by_path.get((file.client, file.shown))
        moved = False
        if source is None:
            source = vanished.continued_by(file)
            moved = source is not None
        if source is None:
            tasks.append(Task(file, "new", None))
        elif source.parser_version < clients()[file.client].parser_version:
            tasks.append(Task(file, "reparse", source, moved))
        else:
            tasks.append(Task(file, "reread" if no_cache else _action(file, source, moved), source, moved))
    return Plan(tasks, [source for source in gone if source.source_no not in vanished.taken])


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
    return Start(kept=chain if task.action == "reread" else None)
