"""What all clients' copies have in common: which one wins, and how rows without any id are told apart.

Here: the order of copies, and claims by content (event contract, "Identity, winner, owner").  Not here: any client's
own identity rules, or the names that a request has in other sources (``clients.link_names``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from tokenledger_dagster.clients.base import Claim, Copy

SUPERSEDED = "superseded_by_source"
"""Rule of a record whose request a better source shows."""


def rank(copy: Copy) -> tuple[int, bool, bool, int, int, int, bytes]:
    """Sort key under which the winner among copies of one request comes first (event contract, "Winner")."""
    return (
        copy.source_rank,
        copy.is_sidechain,
        copy.is_progress,
        -copy.counters[1],
        -copy.total,
        copy.timestamp_us,
        copy.sha,
    )


def content_claims(client: str, copies: Sequence[Copy]) -> list[Claim]:
    """Claims of rows without any id: a file's n-th equal row is the n-th everywhere, files merged by the largest n."""
    by_place: dict[tuple[bytes, int], list[Copy]] = defaultdict(list)
    seen: dict[tuple[bytes, int], int] = defaultdict(int)
    for copy in sorted(copies, key=lambda copy: (copy.stream, copy.ordinal)):
        by_place[copy.sha, seen[copy.sha, copy.stream]].append(copy)
        seen[copy.sha, copy.stream] += 1
    return [Claim((client, sha.hex(), place), found, []) for (sha, place), found in by_place.items()]
