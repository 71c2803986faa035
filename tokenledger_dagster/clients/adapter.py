"""What most adapters have in common: requests known by an id, and sessions known by their running sums.

Here: base classes that leave a client only its roots (``places.csv``) and its reader.  Not here: any client's layout.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from tokenledger_dagster.clients import link_names
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
from tokenledger_dagster.clients.copies import SUPERSEDED, content_claims
from tokenledger_dagster.clients.logs import Root
from tokenledger_dagster.clients.places import Places, client_places
from tokenledger_dagster.contracts.record import Counters, UsageRecord, Vector

SNAPSHOT_SUPERSEDED = "session_snapshot_superseded"
_SHAPES: dict[str, Shape] = {".json": "document", ".db": "database", ".vscdb": "database", ".sqlite": "database"}


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
            yield link_names.prompt(self.name, session, copy.counters)


class SnapshotAdapter(Adapter):
    """An adapter of a client that keeps running sums of a session: each observation is one, an event its growth.

    A record's ``message_id`` is the session's id; its ``cumulative`` holds the sums, which here are disjoint: input,
    cache read, cache write, output (reasoning inside), reasoning; its ``last`` says when the file was looked at and
    when it had been written (``looked_at``).  Records without ``cumulative`` are requests, as for any other adapter.
    """

    def group(self, record: UsageRecord) -> bytes:
        """All observations of a session."""
        if record.cumulative is None:
            return super().group(record)
        return b"\x01" + (record.message_id or "").encode()

    def claims(self, copies: Sequence[Copy], facts: BookingFacts) -> list[Claim]:
        """(session, sums) is an event whose counters are the growth over the largest sums seen before.

        Whatever order observations arrive in, a session's events add up to its largest sums; sums that fell, as those
        of a restored backup, add nothing.
        """
        requests = [copy for copy in copies if copy.cumulative is None]
        claims = super().claims(requests, facts) if requests else []
        sessions: dict[str, list[Copy]] = defaultdict(list)
        for copy in copies:
            if copy.cumulative is not None:
                sessions[copy.message_id or ""].append(copy)
        for session, rows in sessions.items():
            claims += self._growths(session, rows)
        return claims

    def _growths(self, session: str, rows: Sequence[Copy]) -> list[Claim]:
        by_sums: dict[tuple[int, ...], list[Copy]] = defaultdict(list)
        for copy in rows:
            by_sums[copy.cumulative or ()].append(copy)
        chains = _Chains(rows)
        flags = ("date_estimated",)
        claims: list[Claim] = []
        waiting: list[tuple[Copy, str]] = []
        reached: tuple[int, ...] = (0, 0, 0, 0, 0)
        booked = 0
        # in the order in which they were seen: what comes later never changes what was booked of an earlier day
        for sums, seen in sorted(by_sums.items(), key=lambda one: (min(map(_seen, one[1])), _size(one[0]))):
            if chains.is_stale(sums, seen):
                waiting += [(copy, SNAPSHOT_SUPERSEDED) for copy in seen]
                continue
            counters = _unclassified(sums, booked) if _is_total_only(sums) else growth(reached, sums)
            reached = _largest(reached, sums)
            if not counters.total:
                waiting += [(copy, SNAPSHOT_SUPERSEDED) for copy in seen]
                continue
            # what was added since is dated by the look that saw it, not by when a copy of the session began
            dated = [copy for copy in seen if not chains.is_opening(copy)] if booked else seen
            plain = msgspec.structs.astuple(counters)
            grown = [
                msgspec.structs.replace(
                    copy,
                    counters=plain,
                    total=counters.total,
                    timestamp_us=_written(copy) if booked and chains.is_opening(copy) else copy.timestamp_us,
                )
                for copy in dated or seen
            ]
            losers = [(copy, SNAPSHOT_SUPERSEDED) for copy in seen if dated and copy not in dated]
            claims.append(Claim((self.name, session, *sums), grown, [*waiting, *losers], flags=flags))
            waiting = []
            booked += counters.total
        if waiting:
            claims[-1].losers += waiting  # sums of nothing are no records, so something was booked
        return claims

    def duplicate_rule(self, loser: Copy, winner: Copy, subagent: Callable[[int], bool]) -> str:
        """Equal sums of a session, seen twice."""
        if loser.cumulative is None:
            return super().duplicate_rule(loser, winner, subagent)
        return SNAPSHOT_SUPERSEDED

    def links(self, copy: Copy, session: str) -> Iterable[str]:
        """A session's sums are no request that telemetry could name."""
        return ()


class _Chains:
    """A session's observations by the file that showed them: which were a file's first, and which say nothing new."""

    def __init__(self, rows: Sequence[Copy]) -> None:
        self._first: dict[int, int] = {}
        self._looks: dict[int, set[tuple[int, ...]]] = defaultdict(set)
        for copy in rows:
            self._first[copy.stream] = min(copy.ordinal, self._first.get(copy.stream, copy.ordinal))
            self._looks[copy.stream].add(copy.cumulative or ())
        self._openings = [copy for copy in rows if self.is_opening(copy)]
        parts = [copy.cumulative or () for copy in rows if not _is_total_only(copy.cumulative or ())]
        self._parts_total = max((sum(one[:4]) for one in parts), default=0)

    def is_opening(self, copy: Copy) -> bool:
        """Whether the file showed nothing of the session before."""
        return copy.ordinal == self._first[copy.stream]

    def is_stale(self, sums: tuple[int, ...], rows: Sequence[Copy]) -> bool:
        """True for an old copy of the session in a file that never grew, and for a bare total that parts replace."""
        if _is_total_only(sums) and sum(sums[:4]) <= self._parts_total:
            return True
        never_grew = all(self.is_opening(copy) and len(self._looks[copy.stream]) == 1 for copy in rows)
        since = min(map(_seen, rows))
        # a copy that was there first was no copy then
        return never_grew and any(
            _seen(copy) <= since and _size(sums) < _size(copy.cumulative or ()) for copy in self._openings
        )


def looked_at(file: SourceFile, sink: Sink) -> Vector:
    """When a file is looked at, and when it was written: microseconds, for ``UsageRecord.last`` of a sum."""
    return sink.now_us, file.mtime_ns // 1000, 0, 0, 0


def _seen(copy: Copy) -> int:
    return copy.last[0] if copy.last else 0


def _written(copy: Copy) -> int:
    return copy.last[1] if copy.last else copy.timestamp_us


def _size(sums: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    return sum(sums[:4]), sums


def _is_total_only(sums: Sequence[int]) -> bool:
    """Sums of a source that told nothing but a total, which stands under output."""
    return not any(sums[:3])


def _unclassified(sums: Sequence[int], booked: int) -> Counters:
    output = max(0, sum(sums[:4]) - booked)
    return Counters(output_tokens=output, reasoning_tokens=min(sums[4], output))


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
