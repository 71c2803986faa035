"""The interface of a client adapter.

Here: the few types an adapter and the scanner share.  Not here: any client's own rules, how its logs are found
(``clients.logs``), or how bytes are read.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from tokenledger_dagster.clients.logs import Root
from tokenledger_dagster.clients.walk import Entry
from tokenledger_dagster.contracts.record import Bad, UsageRecord

if TYPE_CHECKING:
    import sqlite3

    from tokenledger_dagster.clients.pack import PackFormat

Environ = Mapping[str, str]
_LATEST_NS = 2**63 - 1
Shape = Literal["lines", "document", "database"]
"""How a source is read: line by line from where the last reading ended; whole, because its program writes it anew; or
as an SQLite database.  The last two are observed: each reading adds what the ones before it had not seen."""


class SourceFile(msgspec.Struct, frozen=True):
    """One log file found below a root, with what ``stat`` said of it."""

    client: str
    path: str
    relative: str
    """Path below its root, for identity and for people."""
    size: int
    mtime_ns: int
    ctime_ns: int
    """Changes with every write, also one that sets the modification time back."""
    device: int
    inode: int
    archived: bool = False
    """A copy the client itself put aside; an active file of the same stem wins over it."""
    subagent: bool = False
    """A subagent's own transcript; a main transcript owns what both hold."""
    shape: Shape = "lines"

    @classmethod
    def of(
        cls, client: str, found: Entry, *, archived: bool = False, subagent: bool = False, shape: Shape = "lines"
    ) -> SourceFile:
        """The file of a ``walk.log_files`` entry."""
        path, relative, stat = found
        return cls(
            client=client,
            path=path,
            relative=relative,
            size=stat.st_size,
            mtime_ns=_held(stat.st_mtime_ns),
            ctime_ns=_held(stat.st_ctime_ns),
            device=stat.st_dev,
            inode=stat.st_ino,
            archived=archived,
            subagent=subagent,
            shape=shape,
        )

    @property
    def shown(self) -> str:
        """The path as it is stored and printed; a name that is no UTF-8 has its odd bytes escaped."""
        return self.path.encode("utf-8", "backslashreplace").decode("utf-8")

    @property
    def stem(self) -> str:
        """File name without ``.gz``/``.zst``, rotation number and ``.jsonl``: the identity archives keep."""
        name = self.relative.rsplit("/", 1)[-1]
        cut = name.find(".jsonl")
        return name[:cut] if cut > 0 else name


def _held(time_ns: int) -> int:
    """A file's time as it can be stored: one beyond the year 2262 is held there."""
    return time_ns if -_LATEST_NS < time_ns < _LATEST_NS else max(-_LATEST_NS, min(_LATEST_NS, time_ns))


class Lineage(msgspec.Struct, frozen=True):
    """What a reader knows of the session its file is, where the client keeps one session a file."""

    session: str
    ancestors: list[str]
    """Sessions its history may be copied from: the parent first, then those that embedded history names."""
    copied_rule: str
    """Rule under which rows copied from an ancestor lose."""


class Sink:
    """Collects what a reader makes of one file."""

    def __init__(self, now_us: int, first_ordinal: int = 0) -> None:
        self.records: list[UsageRecord] = []
        self.first_ordinal = first_ordinal
        self.skipped: Counter[str] = Counter()
        self.bad: list[Bad] = []
        self.now_us = now_us
        self.packed = 0
        """Records that a fast reader keeps as columns (``clients.pack``)."""
        self.problems: list[str] = []
        """What a person should be told of this source, such as a table that is missing; without its path."""

    @property
    def ordinal(self) -> int:
        """Position the next record takes in its stream."""
        return self.first_ordinal + len(self.records) + self.packed

    def quarantine(self, line: bytes, offset: int, reason: str) -> None:
        """Counts a bad line and keeps its position and hash, never its bytes."""
        self.skipped[reason] += 1
        self.bad.append(Bad(offset, len(line), hashlib.sha256(line).hexdigest(), reason))


class Reader(Protocol):
    """Turns the lines of one file, in order, into records."""

    def irrelevant(self, buffer: bytes | bytearray, start: int, end: int) -> bool:
        """True only where ``buffer[start:end]`` provably carries no usage; the line is then not even copied."""
        ...

    def feed(self, line: bytes, offset: int, end: int) -> None:
        """Reads one line at ``offset``; everything wrong with it goes to the sink, nothing is raised."""
        ...

    def carry(self) -> bytes:
        """What the reader must remember to go on from here at the next append."""
        ...

    def lineage(self) -> Lineage | None:
        """The file's session and its parent; None where a file may hold rows of several sessions."""
        ...


class DocumentReader(Protocol):
    """Reads a file whose program writes it anew as a whole."""

    def read(self, data: bytes) -> None:
        """Adds to the sink what earlier readings had not seen; everything wrong goes to the sink, nothing is raised."""
        ...

    def carry(self) -> bytes:
        """What has been seen so far (``clients.memory``)."""
        ...


class DatabaseReader(Protocol):
    """Reads an SQLite database that another program may be writing."""

    def read(self, connection: sqlite3.Connection) -> None:
        """The same from a read-only connection; lets ``sqlite3.Error`` pass, which is told with the file's path."""
        ...

    def carry(self) -> bytes:
        """What has been seen so far, also where ``read`` was broken off."""
        ...

    @property
    def whole(self) -> bool:
        """Whether this reading looked at every row, so that what was passed over before is counted anew."""
        ...

    @property
    def bytes_read(self) -> int:
        """Bytes of the values looked at."""
        ...


class Copy(msgspec.Struct, gc=False, array_like=True):
    """What booking needs to know of one record; the lake keeps the rest."""

    rid: int
    stream: int
    ordinal: int
    session: int
    timestamp_us: int
    timed: bool
    """False where the row told no time and the file's stands in: such a time never beats a logged one."""
    sha: bytes
    model_raw: str | None
    counters: tuple[int, ...]
    total: int
    message_id: str | None
    request_id: str | None
    cumulative: tuple[int, ...] | None
    last: tuple[int, ...] | None
    by_content: bool
    file_rule: str | None
    is_sidechain: bool
    is_progress: bool
    service_tier: str | None
    speed: str | None
    reported_cost_nano: int | None
    is_estimated: bool
    upstream: str | None = None
    source_rank: int = 0
    is_sum: bool = False
    billing_kind: str | None = None
    account_hash: str | None = None


OWNER = "\x00owner"
"""Stands in a claim's identity for the session that will own the event."""


class Claim(msgspec.Struct):
    """Copies that are one request: the event's identity, who may own it, and the copies that cannot win."""

    identity: tuple[str | int | None, ...]
    copies: list[Copy]
    losers: list[tuple[Copy, str]] = []
    """Copies of the same request that never compete, each with the rule that says so."""
    owners: list[str] | None = None
    """Names of the sessions that may own it; None = those the copies name."""
    flags: tuple[str, ...] = ()
    """What had to be assumed."""
    rules: dict[int, str] = {}
    """Rule of a copy (by rid) should it lose, where more is known than two rows show."""


class BookingFacts(Protocol):
    """What a client may ask about the rest of the ledger while it decides which copies are one request."""

    def row_owner(self, copy: Copy) -> tuple[str, str | None]:
        """Session that owns the row by its position in its stream, and the rule if the row is a copied one."""
        ...

    def is_superseded(self, stream: int) -> bool:
        """True for the archived copy of a file that is also there as an active one, unless it carries that one on."""
        ...

    def has_file(self, session: str) -> bool:
        """Whether any file of the session itself was read."""
        ...


class Client(Protocol):
    """One agent's adapter; ``clients.logs.Logs`` is the half of it that finds the logs."""

    name: str
    parser_version: int
    override: str | None

    def roots(self, environ: Environ) -> list[Root]:
        """The folders that exist on this machine, from environment overrides or defaults."""
        ...

    def entries(self, root: Root) -> Iterator[Entry]:
        """The log files below a root as the walk finds them; nothing is opened."""
        ...

    def files(self, root: Root) -> Iterator[SourceFile]:
        """The log files below a root."""
        ...

    def reader(
        self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]
    ) -> Reader | DocumentReader | DatabaseReader:
        """A reader of the file's shape that goes on from ``carry``, or begins where it is None."""
        ...

    def context(self, root: Root) -> Mapping[str, str]:
        """Side facts of a root that rows lack, such as the model set in a configuration file."""
        ...

    def pack_format(self) -> PackFormat | None:
        """How the client's usual rows are read in bulk; None where every row is read with care."""
        ...

    def group(self, record: UsageRecord) -> bytes:
        """Key material of the booking group: records that could be one request share it."""
        ...

    def claims(self, copies: Sequence[Copy], facts: BookingFacts) -> list[Claim]:
        """Which copies of one booking group are one request."""
        ...

    def duplicate_rule(self, loser: Copy, winner: Copy, subagent: Callable[[int], bool]) -> str:
        """Name of the rule by which ``loser`` is a copy of ``winner``."""
        ...

    def links(self, copy: Copy, session: str) -> Iterable[str]:
        """Names under which weaker witnesses of the client's own requests know them (``ingest.witnesses``).

        Asked only for sessions that a witness names.
        """
        ...
