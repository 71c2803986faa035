"""Which rows of a file are its parent's: prefixes copied when a session was forked or spawned a thread.

Here: the longest common prefix between files, and the session that owns each row by its position.  Not here: what a
client logs as its parent (``clients``) or which copy wins (``ingest.booking``).  Rules 8 and 36 of
``docs/clients/codex.md``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

WIDTH = 8
"""Bytes that stand for one row in ``Stream.vectors``."""

Run = tuple[int, str, str | None]
"""Rows before this ordinal (and after the previous run) belong to this session, by this rule."""


class Stream(msgspec.Struct):
    """What lineage needs of one stream."""

    number: int
    session: str
    ancestors: list[str]
    """The parent, then the sessions above it, as far as the file names them."""
    vectors: bytes
    copied_rule: str
    """Name of the rule under which this stream's copied rows lose."""


def common_prefix(left: bytes, right: bytes) -> int:
    """Rows that two streams share at their start."""
    length = min(len(left), len(right)) // WIDTH
    if left[: length * WIDTH] == right[: length * WIDTH]:
        return length
    low, high = 0, length
    while low < high:  # prefixes of prefixes are equal too, so halving finds the end
        middle = (low + high + 1) // 2
        if left[: middle * WIDTH] == right[: middle * WIDTH]:
            low = middle
        else:
            high = middle - 1
    return low


def lineages(streams: Iterable[Stream]) -> dict[int, list[Run]]:
    """The runs of every stream of one family (all streams that are linked by parents).

    A prefix equal to the parent's file belongs to whoever owns it there.  Where the parent's file is missing, the
    prefix that siblings share belongs to the missing parent; what only one child shows stays the child's.
    """
    found = {stream.number: stream for stream in streams}
    by_session: dict[str, list[Stream]] = defaultdict(list)
    by_parent: dict[str, list[Stream]] = defaultdict(list)
    for stream in found.values():
        by_session[stream.session].append(stream)
        if stream.ancestors:
            by_parent[stream.ancestors[0]].append(stream)
    resolved: dict[int, list[Run]] = {}

    def resolve(stream: Stream, above: frozenset[int]) -> list[Run]:
        """Runs of one stream; ``above`` are the streams being resolved, so that a circle of parents ends."""
        if stream.number in resolved:
            return resolved[stream.number]
        runs: list[Run] = []
        # the nearest ancestor whose file is there shows what was copied
        nearest = next((by_session[name] for name in stream.ancestors if name in by_session), [])
        parents = [one for one in nearest if one.number not in above and one.session != stream.session]
        if parents:
            shared, best = max((common_prefix(stream.vectors, one.vectors), -one.number) for one in parents)
            if shared:
                inherited = resolve(found[-best], above | {stream.number})
                runs = [(min(end, shared), owner, stream.copied_rule) for end, owner, _ in _until(inherited, shared)]
        elif stream.ancestors:
            siblings = [one for one in by_parent[stream.ancestors[0]] if one.session != stream.session]
            shared = max((common_prefix(stream.vectors, one.vectors) for one in siblings), default=0)
            if shared:
                runs = [(shared, stream.ancestors[0], stream.copied_rule)]
        runs.append((len(stream.vectors) // WIDTH, stream.session, None))
        if not above:
            resolved[stream.number] = runs
        return runs

    for stream in found.values():
        resolve(stream, frozenset())
    return resolved


def _until(runs: list[Run], end: int) -> list[Run]:
    kept: list[Run] = []
    for run in runs:
        kept.append(run)
        if run[0] >= end:
            break
    return kept


def owner_at(runs: list[Run], ordinal: int) -> tuple[str, str | None]:
    """Session and rule of the row at ``ordinal``."""
    for end, owner, rule in runs:
        if ordinal < end:
            return owner, rule
    return runs[-1][1], runs[-1][2]
