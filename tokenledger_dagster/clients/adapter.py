"""What most adapters have in common: requests known by an id, and sessions known by their running sums.

Here: base classes that leave a client only its roots (``places.csv``) and its reader.  Not here: any client's layout.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tokenledger_dagster.clients import lines, values
from tokenledger_dagster.clients.base import (
    BookingFacts,
    Claim,
    Copy,
    DatabaseReader,
    DocumentReader,
    Reader,
    Shape,
    Sink,
    SourceFile,
)
from tokenledger_dagster.clients.copies import SUPERSEDED, content_claims, prompt_link
from tokenledger_dagster.clients.logs import Root
from tokenledger_dagster.clients.places import Places, client_places
from tokenledger_dagster.contracts.record import Counters, UsageRecord, Vector

SNAPSHOT_SUPERSEDED = "session_snapshot_superseded"
_SHAPES: dict[str, Shape] = {".json": "document", ".db": "database", ".vscdb": "database", ".sqlite": "database"}


class LineReader:
    """A reader of JSON lines that needs no memory between appends: subclasses take one object at a time in ``row``."""

    def __init__(self, file: SourceFile, sink: Sink) -> None:
        self.file = file
        self.sink = sink

    def irrelevant(self, buffer: bytes | bytearray, start: int, end: int) -> bool:
        """Every line may carry usage."""
        return False

    def feed(self, line: bytes, offset: int, end: int) -> None:
        """Takes the objects of a line; what is none is counted and quarantined."""
        for row, piece, at, flags in lines.objects(line, offset, self.sink):
            self.row(row, piece, at, flags)

    def row(self, row: dict[str, Any], piece: bytes, offset: int, flags: list[str]) -> None:
        """Takes one object: its bytes, where they stand, and what had to be mended."""
        raise NotImplementedError

    def time(self, value: object, flags: list[str]) -> int:
        """Microseconds of a row's time; the file's own where it tells none that can be read."""
        found = values.time_us(value)
        if found is None:
            found = self.file.mtime_ns // 1000
            flags.append("timestamp_from_file")
        values.flag_odd_time(found, self.sink.now_us, flags.append)
        return found

    def carry(self) -> bytes:
        """Nothing to remember."""
        return b""

    def lineage(self) -> None:
        """Rows name their session themselves."""
        return


class Adapter(Places):
    """An adapter whose requests are told by ``message_id``, or else by ``request_id``, or else by their content.

    Subclasses set ``name`` and make a ``reader``; those of other packages also set ``places`` and ``parser_version``.
    """

    name: str
    parser_version = 1
    places: Sequence[tuple[str, str]] = ()
    """Path and file names of each place, spelt as in ``places.csv``; for this package's own clients that file tells."""
    latest_wins = False
    """True where a program rewrites a request in place: of one file's versions of it the last one counts."""

    def __init__(self) -> None:
        known = client_places().get(self.name)
        if known is None:
            about = {"client": self.name, "parser_version": str(self.parser_version), "adapter": ""}
            known = Places(about, [{"path": path, "files": files} for path, files in self.places])
        self.__dict__.update(known.__dict__)

    def files(self, root: Root) -> Iterator[SourceFile]:
        """The log files below a root, each with its shape."""
        for found in self.entries(root):
            yield SourceFile.of(self.name, found, shape=self.shape(found[0]))

    def shape(self, path: str) -> Shape:
        """How a file is read, told by its name."""
        name = path.removesuffix(".gz").removesuffix(".zst")
        return next((shape for ending, shape in _SHAPES.items() if name.endswith(ending)), "lines")

    def context(self, root: Root) -> Mapping[str, str]:
        """Rows carry everything themselves."""
        return {}

    def reader(
        self, file: SourceFile, carry: bytes | None, sink: Sink, context: Mapping[str, str]
    ) -> Reader | DocumentReader | DatabaseReader:
        """A reader of the file's shape."""
        raise NotImplementedError

    def pack_format(self) -> None:
        """Every row is read with care."""
        return

    def group(self, record: UsageRecord) -> bytes:
        """The request's id, else its content."""
        if record.by_content:
            return b"\x00" + record.record_sha256.encode()
        return (record.message_id or record.request_id or "").encode()

    def claims(self, copies: Sequence[Copy], facts: BookingFacts) -> list[Claim]:
        """One request an id; rows without one are told apart by their content and place."""
        claims = content_claims(self.name, [copy for copy in copies if copy.by_content])
        by_id: dict[str, list[Copy]] = defaultdict(list)
        for copy in copies:
            if not copy.by_content:
                by_id[copy.message_id or copy.request_id or ""].append(copy)
        for identity, rows in by_id.items():
            kept, barred = self._latest(rows) if self.latest_wins else (rows, [])
            claims.append(Claim((self.name, identity), kept, barred))
        return claims

    def _latest(self, rows: Sequence[Copy]) -> tuple[list[Copy], list[tuple[Copy, str]]]:
        last: dict[int, Copy] = {}
        for copy in rows:
            if copy.stream not in last or copy.ordinal > last[copy.stream].ordinal:
                last[copy.stream] = copy
        kept = list(last.values())
        return kept, [(copy, f"{self.name}.rewritten") for copy in rows if copy.rid != last[copy.stream].rid]

    def duplicate_rule(self, loser: Copy, winner: Copy, subagent: Callable[[int], bool]) -> str:
        """A request's other copies are told by where they stand."""
        if loser.source_rank != winner.source_rank:
            return SUPERSEDED
        return f"{self.name}.{'same_request' if loser.stream == winner.stream else 'copied_request'}"

    def links(self, copy: Copy, session: str) -> Iterable[str]:
        """Telemetry names a client's request by what was sent; a row that bills nothing is none."""
        if copy.file_rule is None:
            yield prompt_link(self.name, session, copy.counters)


class SnapshotAdapter(Adapter):
    """An adapter of a client that keeps running sums of a session: each observation is one, an event its growth.

    A record's ``message_id`` is the session's id; its ``cumulative`` holds the sums, which here are disjoint: input,
    cache read, cache write, output (reasoning inside), reasoning.
    """

    def group(self, record: UsageRecord) -> bytes:
        """All observations of a session."""
        return (record.message_id or "").encode()

    def claims(self, copies: Sequence[Copy], facts: BookingFacts) -> list[Claim]:
        """(session, sums) is an event whose counters are the growth since the largest sums seen below it.

        Whatever order observations arrive in, the events add up to the largest sums.
        """
        by_sums: dict[tuple[int, ...], list[Copy]] = defaultdict(list)
        for copy in copies:
            if copy.cumulative is not None:
                by_sums[copy.cumulative].append(copy)
        claims: list[Claim] = []
        reached: tuple[int, ...] = (0, 0, 0, 0, 0)
        for sums in sorted(by_sums, key=lambda one: (sum(one[:4]), one)):
            rows = by_sums[sums]
            counters = growth(reached, sums)
            reached = _largest(reached, sums)
            if not counters.total:
                claims.append(
                    Claim((self.name, rows[0].message_id, *sums), [], [(copy, SNAPSHOT_SUPERSEDED) for copy in rows])
                )
                continue
            plain = msgspec.structs.astuple(counters)
            grown = [msgspec.structs.replace(copy, counters=plain, total=counters.total) for copy in rows]
            claims.append(Claim((self.name, rows[0].message_id, *sums), grown, flags=("date_estimated",)))
        return claims

    def duplicate_rule(self, loser: Copy, winner: Copy, subagent: Callable[[int], bool]) -> str:
        """Equal sums of a session, seen twice."""
        return SNAPSHOT_SUPERSEDED

    def links(self, copy: Copy, session: str) -> Iterable[str]:
        """A session's sums are no request that telemetry could name."""
        return ()


def growth(before: Sequence[int], after: Sequence[int]) -> Counters:
    """What was added between two observations, as disjoint counters; what fell counts as nothing."""
    fresh, read, write, output, reasoning = (max(0, now - then) for then, now in zip(before, after, strict=True))
    return Counters(
        input_tokens=fresh,
        output_tokens=output,
        cache_write_tokens=write,
        cache_read_tokens=read,
        reasoning_tokens=min(reasoning, output),
    )


def counters_of(sums: Vector) -> Counters:
    """A session's sums as counters."""
    return growth((0, 0, 0, 0, 0), sums)


def _largest(left: Sequence[int], right: Sequence[int]) -> tuple[int, ...]:
    return tuple(max(pair) for pair in zip(left, right, strict=True))
